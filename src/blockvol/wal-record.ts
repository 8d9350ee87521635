import { crc32cOfRange } from '../wire/crc32c.ts';
import { readU64, writeU64 } from './u64.ts';
import { limits, pageBytes, unitBytes } from './limits.ts';
import { snapshotBodyBytes } from './snapshot-record.ts';

/**
 * docs/format.md, "WAL record": a 64-byte header, for write, direct and overwrite a table of page checksums (4 bytes a page, padded to 64), for write the pages;
 * for snapshot 128 bytes (snapshot-record.ts).
 * The header's checksum covers header and table; the table covers the pages. A record's LSN is its own address: a record read from the wrong place
 * does not look right.
 */
export const recordType = { write: 1, zero: 2, direct: 3, snapshot: 4, overwrite: 5, barrier: 6, pad: 7 } as const;

export const headerBytes = 64;
const magic = 0x52575642; // 'BVWR'

/** Constant over the life of an open log. */
export interface RecordStamp {
	readonly walGeneration: number;
	readonly epoch: number;
}

export interface RecordHeader {
	type: number;
	lsn: number;
	epoch: number;
	firstPage: number;
	pages: number;
	/** Header, table, pages and padding. */
	lengthUnits: number;
	/** When it was appended (record-clock.ts); 0 while nobody keeps a history. */
	time: number;
	/** What was known to be on stable storage when the record was written: everything below this LSN. */
	durableLSN: number;
}

/** Bytes of the checksum table, padded. */
export function tableBytes(pages: number): number {
	return Math.ceil((pages * 4) / unitBytes) * unitBytes;
}

/** Bytes of a whole record. */
export function recordBytes(type: number, pages: number): number {
	if (type === recordType.write) return headerBytes + tableBytes(pages) + pages * pageBytes;
	return headBytesOf(type, pages);
}

/** Bytes that the header's checksum covers: the header and what stands behind it, pages excepted. */
export function headBytesOf(type: number, pages: number): number {
	if (type === recordType.snapshot) return headerBytes + snapshotBodyBytes;
	return hasTable(type) ? headerBytes + tableBytes(pages) : headerBytes;
}

/** Writes header and its checksum over header and table; the table stands behind the header already. */
export function sealHeader(
	target: Buffer,
	at: number,
	stamp: RecordStamp,
	type: number,
	lsn: number,
	firstPage: number,
	pages: number,
	lengthUnits: number,
	time: number,
	durableLSN: number,
): void {
	target.writeUInt32LE(magic, at + 4);
	writeU64(target, stamp.walGeneration, at + 8);
	writeU64(target, lsn, at + 16);
	target.writeUInt32LE(stamp.epoch, at + 24);
	target.writeUInt32LE(type, at + 28);
	writeU64(target, firstPage, at + 32);
	writeU64(target, pages, at + 40);
	target.writeUInt32LE(lengthUnits, at + 48);
	target.writeUInt32LE(time, at + 52);
	writeU64(target, durableLSN, at + 56);
	const covered = headBytesOf(type, pages);
	target.writeUInt32LE(crc32cOfRange(target, at + 4, at + covered), at);
}

/** True if a header of this log may stand at `at`; its checksum is not looked at. */
export function hasMagic(source: Buffer, at: number, walGeneration: number): boolean {
	return source.readUInt32LE(at + 4) === magic && readU64(source, at + 8) === walGeneration;
}

/**
 * The header at an offset, or undefined if there is none of this log and LSN, its checksum does not match or its figures are impossible. `source` holds at least
 * header and table, or the record counts as absent.
 */
export function openHeader(source: Buffer, at: number, walGeneration: number, expectedLSN: number): RecordHeader | undefined {
	if (at + headerBytes > source.length || !hasMagic(source, at, walGeneration)) return undefined;
	const lsn = readU64(source, at + 16);
	if (lsn !== expectedLSN) return undefined;
	const type = source.readUInt32LE(at + 28);
	const pages = readU64(source, at + 40);
	if (pages > limits.zeroPagesMax || (hasTable(type) && pages * pageBytes > limits.segmentBytesMax)) return undefined;
	const covered = headBytesOf(type, pages);
	if (at + covered > source.length) return undefined;
	if (crc32cOfRange(source, at + 4, at + covered) !== source.readUInt32LE(at)) return undefined;
	const lengthUnits = source.readUInt32LE(at + 48);
	if (type !== recordType.pad && lengthUnits * unitBytes !== recordBytes(type, pages)) return undefined;
	return {
		type,
		lsn,
		epoch: source.readUInt32LE(at + 24),
		firstPage: readU64(source, at + 32),
		pages,
		lengthUnits,
		time: source.readUInt32LE(at + 52),
		durableLSN: readU64(source, at + 56),
	};
}

export function hasTable(type: number): boolean {
	return type === recordType.write || type === recordType.direct || type === recordType.overwrite;
}
