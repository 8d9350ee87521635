import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { crc32c } from '../wire/crc32c.ts';
import { letGo } from './let-go.ts';
import type { RepositoryKeys } from './repository-keys.ts';
import { ArchiveError } from './repository-types.ts';
import { pack, unpack } from './zstd.ts';

/**
 * The envelope of every object: header, payload, tag of AES-256-GCM if encrypted, CRC32C (docs/archive-format.md, "Envelope").
 *
 * A payload is the plain bytes, compressed if that makes them shorter. The nonce comes from an HMAC of the payload that is encrypted, so equal payloads are equal objects
 * within a repository, and two different ones never share a nonce: also not when two builds compress the same chunk differently.
 */
export const objectKinds = {
	repository: 1,
	chunk: 2,
	list: 3,
	manifest: 4,
	pending: 5,
	lease: 6,
	condemned: 7,
	collected: 8,
	collector: 9,
	revoked: 10,
} as const;

export type ObjectKind = keyof typeof objectKinds;

export const headerBytes = 32;
const magic = 0x31415042;
const flagCompressed = 1;
const flagEncrypted = 2;
const nonceAt = 16;
const nonceBytes = 12;
const tagBytes = 16;
const checksumBytes = 4;
const compressedFromBytes = 256;

/** An object of a kind, ready for the store; in a buffer of its own. */
export function seal(kind: ObjectKind, plain: Uint8Array, keys: RepositoryKeys | undefined): Buffer {
	// Small ones are not worth a try.
	const packed = plain.length < compressedFromBytes ? undefined : pack(plain);
	const payload = packed ?? plain;
	const object = Buffer.allocUnsafeSlow(headerBytes + payload.length + (keys === undefined ? 0 : tagBytes) + checksumBytes);
	object.fill(0, 0, headerBytes);
	object.writeUInt32LE(magic, 0);
	object.writeUInt8(objectKinds[kind], 4);
	object.writeUInt8((packed === undefined ? 0 : flagCompressed) | (keys === undefined ? 0 : flagEncrypted), 5);
	object.writeUInt32LE(plain.length, 8);
	object.writeUInt32LE(payload.length, 12);
	if (keys === undefined) object.set(payload, headerBytes);
	else {
		const nonce = createHmac('sha256', keys.nonce).update(object.subarray(0, nonceAt)).update(payload).digest().subarray(0, nonceBytes);
		object.set(nonce, nonceAt);
		const cipher = createCipheriv('aes-256-gcm', keys.data, nonce);
		cipher.setAAD(object.subarray(0, headerBytes));
		const encrypted = cipher.update(payload);
		object.set(encrypted, headerBytes);
		letGo(encrypted);
		cipher.final();
		object.set(cipher.getAuthTag(), headerBytes + payload.length);
	}
	object.writeUInt32LE(crc32c(object.subarray(0, object.length - checksumBytes)), object.length - checksumBytes);
	return object;
}

/**
 * The plain bytes of an object, in a buffer of its own; or ArchiveError `corrupt` with the object's key. `plainMax` bounds what is unpacked, whatever the header says.
 */
export function unseal(kind: ObjectKind, object: Buffer, keys: RepositoryKeys | undefined, key: string, plainMax: number): Buffer {
	const corrupt = (what: string, cause?: unknown): ArchiveError => new ArchiveError('corrupt', `${key} ${what}`, { object: key, cause });
	if (object.length < headerBytes + checksumBytes) throw corrupt(`is cut off after ${object.length} bytes`);
	const end = object.length - checksumBytes;
	if (object.readUInt32LE(end) !== crc32c(object.subarray(0, end))) throw corrupt('does not match its checksum');
	if (object.readUInt32LE(0) !== magic) throw corrupt('is no object of an archive');
	const found = object.readUInt8(4);
	if (found !== objectKinds[kind]) throw corrupt(`is of kind ${found}, not ${objectKinds[kind]} (${kind})`);
	const flags = object.readUInt8(5);
	if ((flags & ~(flagCompressed | flagEncrypted)) !== 0 || object.readUInt16LE(6) !== 0 || object.readUInt32LE(28) !== 0)
		throw corrupt('has a header that this version does not know');
	const isEncrypted = (flags & flagEncrypted) !== 0;
	// Whoever can write to the store must not be able to pass off an object of his own as one of an encrypted repository.
	if (isEncrypted !== (keys !== undefined)) throw corrupt(isEncrypted ? 'is encrypted and its repository is not' : 'is not encrypted');
	const plainLength = object.readUInt32LE(8);
	const payloadLength = object.readUInt32LE(12);
	if (plainLength > plainMax || headerBytes + payloadLength + (isEncrypted ? tagBytes : 0) !== end)
		throw corrupt('has lengths that cannot be');
	let payload = object.subarray(headerBytes, headerBytes + payloadLength);
	if (keys !== undefined) {
		try {
			const decipher = createDecipheriv('aes-256-gcm', keys.data, object.subarray(nonceAt, nonceAt + nonceBytes));
			decipher.setAAD(object.subarray(0, headerBytes));
			decipher.setAuthTag(object.subarray(headerBytes + payloadLength, end));
			payload = decipher.update(payload);
			decipher.final();
		} catch (error) {
			throw corrupt('was not encrypted with the key of this repository', error);
		}
	}
	if ((flags & flagCompressed) === 0) {
		if (payload.length !== plainLength) throw corrupt('has lengths that cannot be');
		const plain = Buffer.allocUnsafeSlow(plainLength);
		plain.set(payload);
		return plain;
	}
	const plain = unpack(payload, plainLength);
	if (plain === undefined) throw corrupt('cannot be unpacked');
	return plain;
}
