import { type KeyObject, createHash, createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import { der } from './auth-der.ts';
import type { AuthHash } from './auth-hash.ts';

/** Diffie-Hellman groups of DH-HMAC-CHAP, the weaker first (NVMe Base 2.0, DH group identifiers). */
export type AuthGroup = 'null' | 'ffdhe2048' | 'ffdhe3072' | 'ffdhe4096' | 'ffdhe6144' | 'ffdhe8192';

interface Group {
	readonly dhgID: number;
	/** Of the prime, and of a public value on the wire. */
	readonly bytes: number;
	/** X of RFC 7919, appendix A. */
	readonly x: bigint;
	/** RFC 7919 §5.2 says how many bits make the exponent as strong as the group: rounded up to whole words. */
	readonly exponentBytes: number;
}

export const groups: Readonly<Record<AuthGroup, Group>> = {
	null: { dhgID: 0, bytes: 0, x: 0n, exponentBytes: 0 },
	ffdhe2048: { dhgID: 1, bytes: 256, x: 560316n, exponentBytes: 32 },
	ffdhe3072: { dhgID: 2, bytes: 384, x: 2625351n, exponentBytes: 36 },
	ffdhe4096: { dhgID: 3, bytes: 512, x: 5736041n, exponentBytes: 44 },
	ffdhe6144: { dhgID: 4, bytes: 768, x: 15705020n, exponentBytes: 48 },
	ffdhe8192: { dhgID: 5, bytes: 1024, x: 10965728n, exponentBytes: 52 },
};

export const groupNames = Object.keys(groups) as readonly AuthGroup[];

const generator = Buffer.of(2);
/** 1.2.840.113549.1.3.1 */
const dhKeyAgreement = Buffer.from('06092a864886f70d010301', 'hex');
const primes = new Map<AuthGroup, Buffer>();

/** RFC 7919, appendix A: p = 2^b − 2^(b−64) + (⌊2^(b−130) · e⌋ + X) · 2^64 − 1. Computed by the first who needs it. */
export function primeOf(name: Exclude<AuthGroup, 'null'>): Buffer {
	let prime = primes.get(name);
	if (prime === undefined) {
		const { bytes, x } = groups[name];
		const bits = BigInt(bytes) * 8n;
		const p = (1n << bits) - (1n << (bits - 64n)) + ((scaledE(bits - 130n) + x) << 64n) - 1n;
		prime = Buffer.from(p.toString(16), 'hex');
		primes.set(name, prime);
	}
	return prime;
}

/** ⌊2^bits · e⌋, by the series 1/0! + 1/1! + …, with bits to spare for what each term loses. */
function scaledE(bits: bigint): bigint {
	const spare = 64n;
	let sum = 0n;
	let term = 1n << (bits + spare);
	for (let divisor = 1n; term > 0n; divisor++) {
		sum += term;
		term /= divisor;
	}
	return sum >> spare;
}

/**
 * One side's ephemeral key of one exchange. Keys are brought in as DER, because createDiffieHellman() tests the prime each time: 29 s for ffdhe8192. So a step takes
 * 0.6 ms (ffdhe2048) to 7 ms (ffdhe8192), once per queue that authenticates.
 */
export class DhExponent {
	/** As long as the prime. */
	readonly publicValue: Buffer;
	readonly #privateKey: KeyObject;
	readonly #prime: Buffer;

	/** `random` are group.exponentBytes random bytes. */
	constructor(group: Exclude<AuthGroup, 'null'>, random: Buffer) {
		if (random.length !== groups[group].exponentBytes) throw new RangeError(`${random.length} bytes for an exponent of ${group}`);
		this.#prime = primeOf(group);
		// PKCS #8 (RFC 5958): version, algorithm, the exponent.
		const pkcs8 = der.sequence(der.integer(Buffer.of(0)), algorithm(this.#prime), der.octets(der.integer(random)));
		this.#privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
		const spki = createPublicKey(this.#privateKey).export({ format: 'der', type: 'spki' });
		this.publicValue = der.lastInteger(spki, this.#prime.length);
	}

	/** The session key KS: the hash of the shared value, which is as long as the prime (§8.13.5.4). Undefined when the other side's value is 0, 1, p − 1 or not below p. */
	sessionKey(otherValue: Uint8Array, hash: AuthHash): Buffer | undefined {
		const value = BigInt(`0x${Buffer.from(otherValue).toString('hex')}`);
		const prime = BigInt(`0x${this.#prime.toString('hex')}`);
		if (value <= 1n || value >= prime - 1n) return undefined;
		const spki = der.sequence(algorithm(this.#prime), der.bits(der.integer(otherValue)));
		const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
		const shared = diffieHellman({ privateKey: this.#privateKey, publicKey });
		return createHash(hash)
			.update(Buffer.alloc(this.#prime.length - shared.length))
			.update(shared)
			.digest();
	}
}

/** PKCS #3: dhKeyAgreement with prime and base. */
function algorithm(prime: Buffer): Buffer {
	return der.sequence(dhKeyAgreement, der.sequence(der.integer(prime), der.integer(generator)));
}
