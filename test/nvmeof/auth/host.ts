import { createHash } from 'node:crypto';
import { type AuthGroup, primeOf } from '../../../src/nvmeof/auth-group.ts';

/** The host's side of DH-HMAC-CHAP, written from the standard with offsets by hand, RFC 2104 by hand and modular powers of bigints: nothing in common with src but the primes. */
export const hashIDs: Record<string, number> = { sha256: 1, sha384: 2, sha512: 3 };
export const groupIDs: Record<AuthGroup, number> = { null: 0, ffdhe2048: 1, ffdhe3072: 2, ffdhe4096: 3, ffdhe6144: 4, ffdhe8192: 5 };
const hashBytes = [0, 32, 48, 64];
const groupBytes = [0, 256, 384, 512, 768, 1024];

export function hmac(hash: string, key: Uint8Array, ...parts: readonly (Uint8Array | string)[]): Buffer {
	const block = hash === 'sha256' ? 64 : 128;
	const padded = Buffer.alloc(block);
	(key.length > block ? createHash(hash).update(key).digest() : Buffer.from(key)).copy(padded);
	const inner = createHash(hash).update(padded.map((byte) => byte ^ 0x36));
	for (const part of parts) inner.update(part);
	return createHash(hash)
		.update(padded.map((byte) => byte ^ 0x5c))
		.update(inner.digest())
		.digest();
}

export function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
	let result = 1n;
	let square = base % modulus;
	for (let rest = exponent; rest > 0n; rest >>= 1n) {
		if ((rest & 1n) === 1n) result = (result * square) % modulus;
		square = (square * square) % modulus;
	}
	return result;
}

export function bigEndian(value: bigint, lengthBytes: number): Buffer {
	return Buffer.from(value.toString(16).padStart(2 * lengthBytes, '0'), 'hex');
}

export function negotiate(
	options: { tID?: number; scC?: number; hashes?: number[]; groups?: number[]; halen?: number; dhlen?: number } = {},
): Buffer {
	const { hashes = [1, 2, 3], groups = [0, 1, 2, 3, 4, 5] } = options;
	const message = Buffer.alloc(8 + 64);
	message.writeUInt16LE(options.tID ?? 7, 4);
	message[6] = options.scC ?? 0;
	message[7] = 1;
	message[8] = 1;
	message[10] = options.halen ?? hashes.length;
	message[11] = options.dhlen ?? groups.length;
	message.set(hashes, 12);
	message.set(groups, 42);
	return message;
}

export interface Identity {
	readonly hostNQN: string;
	readonly subsystemNQN: string;
	/** As both sides use it, transformed already. */
	readonly key: Buffer;
}

export interface Reply {
	readonly message: Buffer;
	/** RVAL that the controller has to give, when asked for. */
	readonly expected: (controllerKey: Buffer) => Buffer;
}

/** DH-HMAC-CHAP_Reply to a challenge. With `ask` the controller has to prove itself. */
export function reply(challenge: Buffer, { hostNQN, subsystemNQN, key }: Identity, ask: boolean, exponent = 0x1234567890abcdefn): Reply {
	const [hl, hashID, groupID] = [challenge[6] as number, challenge[8] as number, challenge[9] as number];
	const hash = Object.keys(hashIDs).find((name) => hashIDs[name] === hashID) as string;
	const group = (Object.keys(groupIDs) as AuthGroup[]).find((name) => groupIDs[name] === groupID) as AuthGroup;
	if (hl !== hashBytes[hashID] || challenge.readUInt16LE(10) !== groupBytes[groupID]) throw new Error('lengths of the challenge');
	if (challenge.length !== 16 + hl + challenge.readUInt16LE(10)) throw new Error('length of the challenge');
	const tID = challenge.subarray(4, 6);
	const dhvlen = challenge.readUInt16LE(10);
	let own: Buffer = Buffer.alloc(0);
	let session: Buffer | undefined;
	if (group !== 'null') {
		const prime = BigInt(`0x${primeOf(group).toString('hex')}`);
		own = bigEndian(power(2n, exponent, prime), dhvlen);
		const shared = power(BigInt(`0x${challenge.subarray(16 + hl).toString('hex')}`), exponent, prime);
		session = createHash(hash).update(bigEndian(shared, dhvlen)).digest();
	}
	const augmented = (value: Buffer) => (session === undefined ? value : hmac(hash, session, value));
	const response = hmac(
		hash,
		key,
		augmented(challenge.subarray(16, 16 + hl)),
		challenge.subarray(12, 16),
		tID,
		Buffer.of(0),
		`HostHost${hostNQN}\0${subsystemNQN}`,
	);
	const message = Buffer.alloc(16 + 2 * hl + own.length);
	message.set([1, 2], 0);
	message.set(tID, 4);
	message[6] = hl;
	message[8] = ask ? 1 : 0;
	message.writeUInt16LE(own.length, 10);
	message.writeUInt32LE(ask ? 0x89abcdef : 0, 12);
	message.set(response, 16);
	const challenge2 = Buffer.alloc(hl, 0xc2);
	if (ask) message.set(challenge2, 16 + hl);
	message.set(own, 16 + 2 * hl);
	return {
		message,
		expected: (controllerKey) =>
			hmac(
				hash,
				controllerKey,
				augmented(challenge2),
				message.subarray(12, 16),
				tID,
				Buffer.of(0),
				`Controller${subsystemNQN}\0${hostNQN}`,
			),
	};
}

export function success2(tID = 7): Buffer {
	const message = Buffer.alloc(16);
	message.set([1, 4], 0);
	message.writeUInt16LE(tID, 4);
	return message;
}

export function failure2(code = 1): Buffer {
	return Buffer.from([0, 0xf0, 0, 0, 7, 0, 1, code]);
}
