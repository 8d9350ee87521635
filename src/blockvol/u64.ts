/** Unsigned 64-bit little-endian fields as numbers: everything that the format counts stays below 2^53 (limits.ts). */
export function writeU64(buffer: Buffer, value: number, offset: number): void {
	buffer.writeUInt32LE(value % 2 ** 32, offset);
	buffer.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4);
}

/** A value of 2^53 or more loses its low bits; it is impossible anyway and fails the caller's range check. */
export function readU64(buffer: Buffer, offset: number): number {
	return buffer.readUInt32LE(offset + 4) * 2 ** 32 + buffer.readUInt32LE(offset);
}
