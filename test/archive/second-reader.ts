import { createDecipheriv, createHash, createHmac, hkdfSync, scryptSync } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';

/**
 * A reader of archives that knows docs/archive-format.md and no line of src/archive. It takes a bucket as a map from keys to bytes.
 */
type Bucket = ReadonlyMap<string, Buffer>;

interface Keys {
	readonly data: Buffer;
	readonly names: Buffer;
}

const kinds = { repository: 1, chunk: 2, list: 3, manifest: 4, revocation: 10 };

export function restoreAll(bucket: Bucket, passphrase?: string): Map<string, Buffer> {
	const keys = keysOf(bucket, passphrase);
	const volumes = new Map<string, Buffer>();
	for (const [key, object] of bucket) {
		if (!key.startsWith('manifests/') || object[4] === kinds.revocation) continue;
		volumes.set(key.slice('manifests/'.length), restore(bucket, keys, open(object, kinds.manifest, keys)));
	}
	return volumes;
}

function restore(bucket: Bucket, keys: Keys | undefined, manifest: Buffer): Buffer {
	demand(sha256(manifest.subarray(0, -32)).equals(manifest.subarray(-32)), 'hash of the manifest');
	const jsonBytes = manifest.readUInt32LE(0);
	const { volume, chunkBytes, chunks, merkleRoot } = JSON.parse(manifest.toString('utf8', 4, 4 + jsonBytes)) as {
		volume: { sizeBytes: number };
		chunkBytes: number;
		chunks: number;
		merkleRoot: string;
	};
	const bytes = Buffer.alloc(volume.sizeBytes);
	const leaves: Buffer[] = [];
	for (let list = 0; list * 4096 < chunks; list++) {
		const row = manifest.subarray(4 + jsonBytes + list * 76, 4 + jsonBytes + (list + 1) * 76);
		const count = Math.min(4096, chunks - list * 4096);
		const isZero = row.subarray(0, 40).every((byte) => byte === 0);
		const entries = isZero ? Buffer.alloc(count * 40) : content(bucket, keys, kinds.list, row);
		demand(entries.length === count * 40, 'length of a list');
		const roots: Buffer[] = [];
		let data = 0;
		for (let index = 0; index < count; index++) {
			const entry = entries.subarray(index * 40, (index + 1) * 40);
			const leaf = sha256(Buffer.concat([Buffer.of(0), entry.subarray(0, 32)]));
			leaves.push(leaf);
			roots.push(leaf);
			if (entry.every((byte) => byte === 0)) continue;
			data++;
			const chunk = content(bucket, keys, kinds.chunk, entry);
			const at = (list * 4096 + index) * chunkBytes;
			demand(chunk.length === Math.min(chunkBytes, volume.sizeBytes - at), 'length of a chunk');
			chunk.copy(bytes, at);
		}
		demand(tree(roots).equals(row.subarray(40, 72)), 'root of a list');
		demand(row.readUInt32LE(72) === data, 'chunks of a list');
	}
	demand(tree(leaves).toString('hex') === merkleRoot, 'root');
	return bytes;
}

function content(bucket: Bucket, keys: Keys | undefined, kind: number, entry: Buffer): Buffer {
	const hash = entry.subarray(0, 32);
	const name =
		keys === undefined ? hash.toString('hex') : createHmac('sha256', keys.names).update(Buffer.of(kind)).update(hash).digest('hex');
	const key = `${kind === kinds.chunk ? 'chunks' : 'lists'}/${name.slice(0, 2)}/${name}-${entry.toString('hex', 32, 40)}`;
	const plain = open(bucket.get(key), kind, keys);
	demand(sha256(plain).equals(hash), `hash of ${key}`);
	return plain;
}

function keysOf(bucket: Bucket, passphrase: string | undefined): Keys | undefined {
	const { format, id, encryption } = JSON.parse(open(bucket.get('repository'), kinds.repository, undefined).toString('utf8')) as {
		format: number;
		id: string;
		encryption: { salt: string; n: number; r: number; p: number; nonce: string; wrapped: string } | null;
	};
	demand(format === 1, 'format');
	if (encryption === null) return undefined;
	const { salt, n, r, p, nonce, wrapped } = encryption;
	const key = scryptSync((passphrase ?? '').normalize('NFC'), Buffer.from(salt, 'hex'), 32, { N: n, r, p, maxmem: 256 * n * r + 2 ** 20 });
	const bytes = Buffer.from(wrapped, 'hex');
	const master = decrypt(key, Buffer.from(nonce, 'hex'), Buffer.from(id, 'hex'), bytes.subarray(0, 32), bytes.subarray(32));
	const derived = (info: string): Buffer => Buffer.from(hkdfSync('sha256', master, Buffer.from(id, 'hex'), info, 32));
	return { data: derived('blockport archive data'), names: derived('blockport archive names') };
}

function open(object: Buffer | undefined, kind: number, keys: Keys | undefined): Buffer {
	if (object === undefined) throw new Error('an object is missing');
	demand(object.readUInt32LE(object.length - 4) === crc32c(object.subarray(0, -4)), 'checksum');
	demand(object.readUInt32LE(0) === 0x31415042 && object[4] === kind, 'magic and kind');
	const flags = object[5] ?? 0;
	demand((flags & ~3) === 0 && object.readUInt16LE(6) === 0 && object.readUInt32LE(28) === 0, 'reserved');
	demand(((flags & 2) !== 0) === (keys !== undefined), 'encrypted or not');
	const payloadBytes = object.readUInt32LE(12);
	demand(object.length === 32 + payloadBytes + (keys === undefined ? 0 : 16) + 4, 'lengths');
	let payload = object.subarray(32, 32 + payloadBytes);
	if (keys !== undefined) {
		payload = decrypt(keys.data, object.subarray(16, 28), object.subarray(0, 32), payload, object.subarray(32 + payloadBytes, -4));
	}
	const plain = (flags & 1) === 0 ? payload : zstdDecompressSync(payload);
	demand(plain.length === object.readUInt32LE(8), 'plain length');
	return plain;
}

function decrypt(key: Buffer, nonce: Buffer, additional: Buffer, bytes: Buffer, tag: Buffer): Buffer {
	const decipher = createDecipheriv('aes-256-gcm', key, nonce);
	decipher.setAAD(additional);
	decipher.setAuthTag(tag);
	return Buffer.concat([decipher.update(bytes), decipher.final()]);
}

/** RFC 9162 §2.1.1, as it is written there. */
function tree(leaves: readonly Buffer[]): Buffer {
	const [only] = leaves;
	if (leaves.length === 1 && only !== undefined) return only;
	let left = 1;
	while (left * 2 < leaves.length) left *= 2;
	return sha256(Buffer.concat([Buffer.of(1), tree(leaves.slice(0, left)), tree(leaves.slice(left))]));
}

function sha256(bytes: Uint8Array): Buffer {
	return createHash('sha256').update(bytes).digest();
}

function crc32c(bytes: Uint8Array): number {
	let crc = 0xffffffff;
	for (const byte of bytes) {
		crc ^= byte;
		for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f63b78);
	}
	return ~crc >>> 0;
}

function demand(holds: boolean, what: string): void {
	if (!holds) throw new Error(`not as the document says: ${what}`);
}
