import { crc32c as packagedCrc32c } from '@node-rs/crc32';
import { isal } from './isal.ts';

/**
 * CRC32C (Castagnoli, reflected polynomial 82F63B78h): RFC 7143 §13.1, and the checksum of everything on our disk.
 * A native call costs about 0.25 µs before its first byte, so short spans go through a slicing-by-8 table.
 */
const nativeFromBytes = 512;
const nativeCrc32c =
	isal?.crc32c ?? ((data: Uint8Array, start: number, end: number, seed: number) => packagedCrc32c(data.subarray(start, end), seed));
const polynomial = 0x82f63b78;

/** Eight tables of 256 in one array: table k gives the effect of a byte followed by k zero bytes. */
const tables = makeTables();

/** CRC32C as an unsigned 32-bit number. `seed` is the result over the bytes before these: crc32c(b, crc32c(a)) is that of a and b in one. */
export function crc32c(data: Uint8Array, seed = 0): number {
	return crc32cOfRange(data, 0, data.length, seed);
}

/** The same for a part of a buffer, without making a view of it when it is short or has just been read. RangeError for what is no part of it. */
export function crc32cOfRange(data: Uint8Array, start: number, end: number, seed = 0): number {
	if (start < 0 || start > end || end > data.length) throw new RangeError('a checksum behind the end of the data');
	if (end - start >= nativeFromBytes) return nativeCrc32c(data, start, end, seed) >>> 0;
	let crc = ~seed;
	let at = start;
	for (const last = end - 8; at <= last; at += 8) {
		crc ^= data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24);
		crc =
			tables[0x700 | (crc & 0xff)]! ^
			tables[0x600 | ((crc >>> 8) & 0xff)]! ^
			tables[0x500 | ((crc >>> 16) & 0xff)]! ^
			tables[0x400 | (crc >>> 24)]! ^
			tables[0x300 | data[at + 4]!]! ^
			tables[0x200 | data[at + 5]!]! ^
			tables[0x100 | data[at + 6]!]! ^
			tables[data[at + 7]!]!;
	}
	for (; at < end; at++) crc = (crc >>> 8) ^ tables[(crc ^ data[at]!) & 0xff]!;
	return ~crc >>> 0;
}

/** The checksums of `count` pieces of `pieceBytes` each, one behind the other from the beginning of `data`. */
export function crc32cOfPieces(data: Uint8Array, pieceBytes: number, count: number, target: Uint32Array): void {
	if (isal !== undefined && pieceBytes >= nativeFromBytes) {
		isal.crc32cOfPieces(data, pieceBytes, count, target);
		return;
	}
	if (pieceBytes * count > data.length || count > target.length) throw new RangeError('pieces behind the end of the data');
	for (let piece = 0; piece < count; piece++) target[piece] = crc32cOfRange(data, piece * pieceBytes, (piece + 1) * pieceBytes);
}

function makeTables(): Int32Array {
	const made = new Int32Array(8 * 256);
	for (let value = 0; value < 256; value++) {
		let crc = value;
		for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ polynomial;
		made[value] = crc;
	}
	for (let at = 256; at < made.length; at++) {
		const before = made[at - 256]!;
		made[at] = (before >>> 8) ^ made[before & 0xff]!;
	}
	return made;
}
