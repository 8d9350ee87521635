import { createHash } from 'node:crypto';
import { limits } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

/** A name and what proves it. The secret's UTF-8 bytes are the key. */
export interface ChapCredentials {
	readonly user: string;
	readonly secret: string;
}

/** What an initiator proves itself by, and the target if the initiator asks for that. */
export interface ChapAccess {
	readonly initiator: ChapCredentials;
	/** Undefined: the target cannot prove itself, and an initiator that asks for it is refused. */
	readonly target: ChapCredentials | undefined;
}

/** Values of CHAP_A: 5 by RFC 7143 §12.1.3, all of them in IANA's registry of PPP authentication algorithms. */
export const chapAlgorithms: ReadonlyMap<number, { readonly hash: string; readonly bytes: number }> = new Map([
	[5, { hash: 'md5', bytes: 16 }],
	[6, { hash: 'sha1', bytes: 20 }],
	[7, { hash: 'sha256', bytes: 32 }],
	[8, { hash: 'sha3-256', bytes: 32 }],
]);

/** RFC 1994 §4.1: the hash over identifier, secret and challenge. */
export function chapResponse(algorithm: number, identifier: number, secret: string, challenge: Uint8Array): Buffer {
	const known = chapAlgorithms.get(algorithm);
	if (known === undefined) throw new RangeError(`no CHAP algorithm ${algorithm}`);
	return createHash(known.hash).update(Uint8Array.of(identifier)).update(Buffer.from(secret, 'utf8')).update(challenge).digest();
}

/** RFC 7143 §6.1, hex-constant. */
export function printBinary(bytes: Buffer): string {
	return `0x${bytes.toString('hex')}`;
}

/** RFC 7143 §6.1, large-binary-value: 0x and hexadecimal digits, or 0b and base64. Throws ProtocolError for what is neither, is empty, or longer than any challenge. */
export function parseBinary(text: string): Buffer {
	const bytes = decoded(text);
	if (bytes === undefined || bytes.length === 0) throw new ProtocolError('a binary value that is none');
	if (bytes.length > limits.chapChallengeBytes) throw new ProtocolError(`a binary value of ${bytes.length} bytes`);
	return bytes;
}

function decoded(text: string): Buffer | undefined {
	const digits = text.slice(2);
	if (/^0[xX]/.test(text)) {
		// An odd number of digits leaves the first zero out.
		return /^[0-9a-fA-F]+$/.test(digits) ? Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex') : undefined;
	}
	if (/^0[bB]/.test(text)) {
		return /^[A-Za-z0-9+/]+={0,2}$/.test(digits) && digits.length % 4 === 0 ? Buffer.from(digits, 'base64') : undefined;
	}
	return undefined;
}
