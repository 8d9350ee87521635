import { pageBytes } from './limits.ts';

/** How everything that a volume keeps is to be made unreadable (SBC-4, sanitize operations). */
export interface SanitizeOrder {
	/** overwrite: the blocks that were written hold the pattern afterwards. blockErase: everything reads as zeros, and the space is given back. */
	readonly method: 'overwrite' | 'blockErase';
	/** How often each byte is overwritten, 1 to passesMax. */
	readonly passes: number;
	/** Each bit is inverted from one pass to the next; the last pass writes the pattern as it is. */
	readonly invert: boolean;
	/** Repeated from the beginning of each logical block on: 1 byte to a logical block. */
	readonly pattern: Uint8Array;
	/** After a failure the volume may be used again, empty, though what it held may still be on the disk (AUSE). */
	readonly mayExitFailure: boolean;
}

/** An order in the superblock: it is there from before the first byte is overwritten until the volume is another one. */
export interface Sanitize extends SanitizeOrder {
	/** It could not be carried out: nothing is done before somebody asks for it again. */
	readonly hasFailed: boolean;
}

export const passesMax = 31;

/** docs/format.md, "sanitize". */
const methods = ['overwrite', 'blockErase'] as const;
const headerBytes = 8;
const flagInvert = 1;
const flagMayExitFailure = 2;
const flagFailed = 4;

/** Why an order cannot be, or undefined. */
export function orderFault({ passes, pattern }: SanitizeOrder): string | undefined {
	if (!Number.isInteger(passes) || passes < 1 || passes > passesMax) return `${passes} passes`;
	return pattern.length < 1 || pattern.length > pageBytes ? `a pattern of ${pattern.length} bytes` : undefined;
}

export function encodeSanitize(sanitize: Sanitize): Buffer {
	const fault = orderFault(sanitize);
	if (fault !== undefined) throw new RangeError(fault);
	const { method, passes, invert, mayExitFailure, hasFailed, pattern } = sanitize;
	const bytes = Buffer.alloc(headerBytes + pattern.length);
	bytes[0] = methods.indexOf(method) + 1;
	bytes[1] = passes;
	bytes[2] = (invert ? flagInvert : 0) + (mayExitFailure ? flagMayExitFailure : 0) + (hasFailed ? flagFailed : 0);
	bytes.writeUInt32LE(pattern.length, 4);
	bytes.set(pattern, headerBytes);
	return bytes;
}

/** The order in the last bytes of a superblock, or what is wrong with them. */
export function decodeSanitize(bytes: Buffer): Sanitize | string {
	if (bytes.length < headerBytes || bytes.length !== headerBytes + bytes.readUInt32LE(4))
		return 'the length does not fit the order to sanitize';
	const method = methods[bytes.readUInt8(0) - 1];
	if (method === undefined) return 'an order to sanitize by no method';
	const flags = bytes.readUInt8(2);
	const sanitize: Sanitize = {
		method,
		passes: bytes.readUInt8(1),
		invert: (flags & flagInvert) !== 0,
		mayExitFailure: (flags & flagMayExitFailure) !== 0,
		hasFailed: (flags & flagFailed) !== 0,
		pattern: Uint8Array.from(bytes.subarray(headerBytes)),
	};
	return orderFault(sanitize) ?? sanitize;
}
