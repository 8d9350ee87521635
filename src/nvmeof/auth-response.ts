import { createHmac } from 'node:crypto';
import type { AuthHash } from './auth-hash.ts';

export interface ResponseInputs {
	readonly hash: AuthHash;
	/** Of the responder, transformed by its NQN. */
	readonly key: Buffer;
	readonly challenge: Uint8Array;
	/** KS; undefined with the NULL group. */
	readonly sessionKey: Buffer | undefined;
	readonly seqnum: number;
	readonly tID: number;
	readonly scC: number;
	readonly responder: 'HostHost' | 'Controller';
	readonly responderNQN: string;
	readonly otherNQN: string;
}

/**
 * RVAL (NVMe Base 2.0 §8.13.5.4 and §8.13.5.5): HMAC(key, C' || SEQNUM || T_ID || SC_C || "HostHost" or "Controller" || own NQN || 00h || other's NQN), where C' is the
 * challenge, augmented to HMAC(KS, C) when there is a Diffie-Hellman exchange.
 */
export function responseValue(inputs: ResponseInputs): Buffer {
	const { hash, sessionKey, challenge } = inputs;
	const numbers = Buffer.alloc(7);
	numbers.writeUInt32LE(inputs.seqnum, 0);
	numbers.writeUInt16LE(inputs.tID, 4);
	numbers.writeUInt8(inputs.scC, 6);
	return createHmac(hash, inputs.key)
		.update(sessionKey === undefined ? challenge : createHmac(hash, sessionKey).update(challenge).digest())
		.update(numbers)
		.update(inputs.responder)
		.update(inputs.responderNQN, 'utf8')
		.update('\0')
		.update(inputs.otherNQN, 'utf8')
		.digest();
}
