/** A pattern from the beginning of each logical block on, as often as it fits (SBC-4, OVERWRITE service action parameter list). */
export function repeated(pattern: Uint8Array, blockSize: number, lengthBytes: number): Buffer {
	const block = Buffer.alloc(blockSize, pattern);
	return Buffer.alloc(lengthBytes, block);
}

/** What the first of so many passes writes, when the last one is to write `last`. */
export function firstPattern(last: Buffer, passes: number, invert: boolean): Buffer {
	return invert && passes % 2 === 0 ? inverted(last) : last;
}

export function inverted(bytes: Buffer): Buffer {
	return Buffer.from(bytes.map((byte) => ~byte & 0xff));
}
