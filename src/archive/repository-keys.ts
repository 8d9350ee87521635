import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, scrypt } from 'node:crypto';

/** What an encrypted repository's master key gives, 32 bytes each. */
export interface RepositoryKeys {
	readonly data: Uint8Array;
	readonly nonce: Uint8Array;
	readonly names: Uint8Array;
}

/** How the master key stands in the repository's object: encrypted with a key that scrypt (RFC 7914) makes of the passphrase. Bytes are hexadecimal. */
export interface KeyEnvelope {
	readonly kdf: 'scrypt';
	readonly salt: string;
	readonly n: number;
	readonly r: number;
	readonly p: number;
	readonly nonce: string;
	/** 32 bytes of key and 16 of tag: a wrong passphrase is told by the tag. */
	readonly wrapped: string;
}

/** 64 MiB and about 0.3 s: what OWASP's cheat sheet on password storage gives as one of the equal choices (N = 2^16, r = 8, p = 2). */
const cost = { n: 2 ** 16, r: 8, p: 2 } as const;
/** An object that says more is not tried: it would take the machine's memory. */
const costMax = { n: 2 ** 20, r: 32, p: 16, memoryBytes: 2 ** 30 } as const;

export async function wrapMasterKey(
	passphrase: string,
	id: string,
	n: number = cost.n,
): Promise<{ envelope: KeyEnvelope; master: Buffer }> {
	const master = randomBytes(32);
	const salt = randomBytes(32);
	const nonce = randomBytes(12);
	const key = await stretched(passphrase, salt, n, cost.r, cost.p);
	const cipher = createCipheriv('aes-256-gcm', key, nonce);
	cipher.setAAD(Buffer.from(id, 'hex'));
	const wrapped = Buffer.concat([cipher.update(master), cipher.final(), cipher.getAuthTag()]);
	return {
		envelope: {
			kdf: 'scrypt',
			salt: salt.toString('hex'),
			n,
			r: cost.r,
			p: cost.p,
			nonce: nonce.toString('hex'),
			wrapped: wrapped.toString('hex'),
		},
		master,
	};
}

/** undefined: another passphrase. */
export async function unwrapMasterKey(passphrase: string, id: string, envelope: KeyEnvelope): Promise<Buffer | undefined> {
	const { n, r, p } = envelope;
	const key = await stretched(passphrase, Buffer.from(envelope.salt, 'hex'), n, r, p);
	const wrapped = Buffer.from(envelope.wrapped, 'hex');
	const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(envelope.nonce, 'hex'));
	decipher.setAAD(Buffer.from(id, 'hex'));
	decipher.setAuthTag(wrapped.subarray(32));
	const master = decipher.update(wrapped.subarray(0, 32));
	try {
		decipher.final();
	} catch {
		// The one thing that final() of GCM throws for: the tag does not match.
		return undefined;
	}
	return master;
}

/** Whether parsed JSON is an envelope that can be tried. */
export function isKeyEnvelope(value: unknown): value is KeyEnvelope {
	if (typeof value !== 'object' || value === null) return false;
	const { kdf, salt, n, r, p, nonce, wrapped } = value as Record<string, unknown>;
	return (
		kdf === 'scrypt' &&
		isHex(salt, 32) &&
		isHex(nonce, 12) &&
		isHex(wrapped, 48) &&
		isCount(n, costMax.n) &&
		Number.isInteger(Math.log2(n)) &&
		n > 1 &&
		isCount(r, costMax.r) &&
		isCount(p, costMax.p) &&
		128 * n * r <= costMax.memoryBytes
	);
}

/** RFC 5869 with the repository's id as salt. */
export function deriveKeys(master: Uint8Array, id: string): RepositoryKeys {
	const derived = (info: string): Uint8Array => new Uint8Array(hkdfSync('sha256', master, Buffer.from(id, 'hex'), info, 32));
	return {
		data: derived('blockport archive data'),
		nonce: derived('blockport archive nonce'),
		names: derived('blockport archive names'),
	};
}

/** What an object's name shows of the SHA-256 of its bytes: all, or with keys nothing. `kind` is that of the envelope. 64 hexadecimal digits. */
export function nameOfHash(kind: number, hash: Uint8Array, keys: RepositoryKeys | undefined): string {
	if (keys === undefined) return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString('hex');
	return createHmac('sha256', keys.names).update(Uint8Array.of(kind)).update(hash).digest('hex');
}

function stretched(passphrase: string, salt: Uint8Array, n: number, r: number, p: number): Promise<Buffer> {
	return new Promise((resolve, reject) => {
		scrypt(passphrase.normalize('NFC'), salt, 32, { N: n, r, p, maxmem: 256 * n * r + 2 ** 20 }, (error, key) => {
			if (error === null) resolve(key);
			else reject(error);
		});
	});
}

function isHex(value: unknown, bytes: number): value is string {
	return typeof value === 'string' && value.length === 2 * bytes && /^[0-9a-f]*$/.test(value);
}

function isCount(value: unknown, max: number): value is number {
	return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max;
}
