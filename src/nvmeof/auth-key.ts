import { createHmac, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { AuthHash } from './auth-hash.ts';

/** The text is no key; the message says in one sentence what is wrong with it and never repeats it. */
export class DhchapKeyError extends Error {
	override readonly name = 'DhchapKeyError';
}

/** The transformation in the text's second field: none, or HMAC with one of the hashes. */
const transformations: Readonly<Record<string, AuthHash | undefined>> = { '00': undefined, '01': 'sha256', '02': 'sha384', '03': 'sha512' };

const form = /^DHHC-1:(?<transformation>0[0-3]):(?<base64>(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?):$/;
const crcBytes = 4;
/** Whatever the transformation: `nvme gen-dhchap-key` makes one as long as the hash, but others are in use. */
const secretBytes = [32, 48, 64];

/** A secret of DH-HMAC-CHAP (NVMe Base 2.0 §8.13.5.8, secret representation): `DHHC-1:hh:BASE64(secret and its CRC-32, little-endian):`. */
export class DhchapKey {
	readonly #secret: Buffer;
	readonly #transformation: AuthHash | undefined;

	private constructor(secret: Buffer, transformation: AuthHash | undefined) {
		this.#secret = secret;
		this.#transformation = transformation;
	}

	/** Throws DhchapKeyError. */
	static parse(text: string): DhchapKey {
		const parts = form.exec(text)?.groups;
		const [code, base64] = [parts?.['transformation'], parts?.['base64']];
		if (code === undefined || base64 === undefined) {
			throw new DhchapKeyError('A DH-HMAC-CHAP secret looks like DHHC-1:00:BASE64: and ends with a colon; nvme gen-dhchap-key makes one.');
		}
		const bytes = Buffer.from(base64, 'base64');
		const secret = bytes.subarray(0, -crcBytes);
		const transformation = transformations[code];
		if (!secretBytes.includes(secret.length)) {
			throw new DhchapKeyError(`A DH-HMAC-CHAP secret has 32, 48 or 64 bytes, not ${secret.length}.`);
		}
		if (crc32(secret) !== bytes.readUInt32LE(secret.length)) {
			throw new DhchapKeyError('The check sum in the DH-HMAC-CHAP secret is wrong: it was mistyped or cut.');
		}
		return new DhchapKey(Buffer.from(secret), transformation);
	}

	/** What a response is computed with (§8.13.5.8): the secret, or HMAC(secret, NQN and "NVMe-over-Fabrics"), by the NQN of whom the secret belongs to. */
	transformed(nqn: string): Buffer {
		if (this.#transformation === undefined) return this.#secret;
		return createHmac(this.#transformation, this.#secret).update(nqn, 'utf8').update('NVMe-over-Fabrics').digest();
	}

	/** The same secret, whatever its transformation. */
	sameSecret(other: DhchapKey): boolean {
		return this.#secret.length === other.#secret.length && timingSafeEqual(this.#secret, other.#secret);
	}
}
