import { crc32c } from './crc32c.ts';

/**
 * The CRC32C of pieces of equal length, one behind the other, out of those of the pieces: crc(a ‖ b) is crc(b) ⊕ crc(a) taken through as many zero bytes as b is long, which is a linear map
 * (zlib's crc32_combine does the same). One look-up a byte of the CRC, so that a hundred joined checksums cost less than reading one piece.
 */
export class ChecksumJoin {
	/** What the map makes of each value of each byte of a CRC. */
	readonly #tables = new Int32Array(4 * 256);

	/** `pieceBytes`: a power of two. */
	constructor(pieceBytes: number) {
		if (!Number.isInteger(Math.log2(pieceBytes))) throw new RangeError(`pieces of ${pieceBytes} bytes: not a power of two`);
		// crc(b) alone has the effect of the initial value in it; what is left of two different beginnings is the map of their difference.
		let map = Int32Array.from({ length: 32 }, (_, bit) => crc32c(zeroByte, (1 << bit) >>> 0) ^ crc32c(zeroByte, 0));
		for (let bytes = 1; bytes < pieceBytes; bytes *= 2) map = map.map((column) => mapped(map, column));
		for (let at = 0; at < this.#tables.length; at++) this.#tables[at] = mapped(map, (at & 0xff) << (8 * (at >>> 8)));
	}

	/** The checksum of the first `count` pieces. */
	joined(checksums: Uint32Array, count: number): number {
		const tables = this.#tables;
		let crc = 0;
		for (let piece = 0; piece < count; piece++) {
			crc =
				tables[crc & 0xff]! ^
				tables[0x100 | ((crc >>> 8) & 0xff)]! ^
				tables[0x200 | ((crc >>> 16) & 0xff)]! ^
				tables[0x300 | (crc >>> 24)]! ^
				checksums[piece]!;
		}
		return crc >>> 0;
	}
}

const zeroByte = new Uint8Array(1);

function mapped(map: Int32Array, vector: number): number {
	let sum = 0;
	for (let bit = 0; bit < 32; bit++) if ((vector & (1 << bit)) !== 0) sum ^= map[bit]!;
	return sum;
}
