import test from 'ava';
import { pageChecksum } from '../../src/blockvol/page-checksums.ts';
import { hasTable, headerBytes, openHeader, recordBytes, recordType, sealHeader, tableBytes } from '../../src/blockvol/wal-record.ts';
import { crc32c } from '../../src/wire/crc32c.ts';

const stamp = { walGeneration: 2 ** 47 + 12345, epoch: 9 };
const lsn = 2 ** 40 + 3;

function record(type: number, pages: number, lengthUnits = recordBytes(type, pages) / 64): Buffer {
	const bytes = Buffer.alloc(Math.max(headerBytes, recordBytes(type, pages)), 0x5a);
	if (hasTable(type)) bytes.fill(0x11, headerBytes, headerBytes + tableBytes(pages));
	sealHeader(bytes, 0, stamp, type, lsn, 2 ** 33 + 1, pages, lengthUnits, 2 ** 31 + 7, 2 ** 39);
	return bytes;
}

test('lengths: header 64, table 4 bytes a page padded to 64, pages only in a write', (t) => {
	t.is(recordBytes(recordType.write, 1), 64 + 64 + 4096);
	t.is(recordBytes(recordType.write, 17), 64 + 128 + 17 * 4096);
	t.is(recordBytes(recordType.direct, 256), 64 + 1024);
	t.is(recordBytes(recordType.zero, 2 ** 34), 64);
	t.is(recordBytes(recordType.barrier, 0), 64);
});

test('a header comes back as it was sealed, for every type', (t) => {
	for (const type of Object.values(recordType)) {
		const pages = type === recordType.pad || type === recordType.barrier ? 0 : 20;
		const bytes = record(type, pages);
		t.deepEqual(openHeader(bytes, 0, stamp.walGeneration, lsn), {
			type,
			lsn,
			epoch: 9,
			firstPage: 2 ** 33 + 1,
			pages,
			lengthUnits: recordBytes(type, pages) / 64,
			time: 2 ** 31 + 7,
			durableLSN: 2 ** 39,
		});
	}
});

test('every flipped bit in header and table is noticed', (t) => {
	const good = record(recordType.write, 3);
	const covered = headerBytes + tableBytes(3);
	for (let bit = 0; bit < covered * 8; bit++) {
		const bytes = Buffer.from(good);
		bytes[bit >> 3] = bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7));
		t.is(openHeader(bytes, 0, stamp.walGeneration, lsn), undefined, `bit ${bit}`);
	}
	// The pages have checksums of their own.
	const data = Buffer.from(good);
	data[covered] = 0;
	t.truthy(openHeader(data, 0, stamp.walGeneration, lsn));
});

test('a record of another log or another place does not look right', (t) => {
	const bytes = record(recordType.zero, 5);
	t.is(openHeader(bytes, 0, stamp.walGeneration + 1, lsn), undefined);
	t.is(openHeader(bytes, 0, stamp.walGeneration, lsn + 1), undefined);
	t.is(openHeader(Buffer.concat([Buffer.alloc(64), bytes]), 0, stamp.walGeneration, lsn), undefined);
	t.truthy(openHeader(Buffer.concat([Buffer.alloc(64), bytes]), 64, stamp.walGeneration, lsn));
});

test('a header or table that the buffer does not hold counts as absent', (t) => {
	const bytes = record(recordType.direct, 100);
	for (const length of [0, 3, 63, 64, bytes.length - 1])
		t.is(openHeader(bytes.subarray(0, length), 0, stamp.walGeneration, lsn), undefined);
});

test('sound checksums over impossible figures are not believed', (t) => {
	t.is(openHeader(record(recordType.write, 2, 3), 0, stamp.walGeneration, lsn), undefined, 'a length that is not its');
	const wide = record(recordType.zero, 1);
	sealHeader(wide, 0, stamp, recordType.zero, lsn, 0, 2 ** 34 + 1, 1, 0, 0);
	t.is(openHeader(wide, 0, stamp.walGeneration, lsn), undefined, 'more pages than any volume has');
	const absurd = Buffer.alloc(64);
	sealHeader(absurd, 0, stamp, recordType.pad, lsn, 0, 0, 1, 0, 0);
	absurd.writeUInt32LE(recordType.write, 28);
	absurd.writeUInt32LE(0xffffffff, 40);
	absurd.writeUInt32LE(crc32c(absurd.subarray(4)), 0);
	t.is(openHeader(absurd, 0, stamp.walGeneration, lsn), undefined, 'a table longer than the buffer');
});

test("a page's checksum never is one of the map's special values", (t) => {
	// Four bytes at the end that bring the CRC32C of a page to 0, 1 and 2 exist; the smallest are found by their effect, for a checksum is linear.
	const page = Buffer.alloc(4096, 0x33);
	const basis: { crc: number; bits: number }[] = [];
	const base = crc32c(page);
	for (let bit = 0; bit < 32; bit++) {
		const flipped = Buffer.from(page);
		flipped.writeUInt32LE((flipped.readUInt32LE(4092) ^ (1 << bit)) >>> 0, 4092);
		let crc = (crc32c(flipped) ^ base) >>> 0;
		let bits = (1 << bit) >>> 0;
		for (const one of basis) if ((crc ^ one.crc) >>> 0 < crc) [crc, bits] = [(crc ^ one.crc) >>> 0, (bits ^ one.bits) >>> 0];
		basis.push({ crc, bits });
		basis.sort((a, b) => b.crc - a.crc);
	}
	for (const wanted of [0, 1, 2, 3]) {
		let crc = (base ^ wanted) >>> 0;
		let bits = 0;
		for (const one of basis) if ((crc ^ one.crc) >>> 0 < crc) [crc, bits] = [(crc ^ one.crc) >>> 0, (bits ^ one.bits) >>> 0];
		const made = Buffer.from(page);
		made.writeUInt32LE((made.readUInt32LE(4092) ^ bits) >>> 0, 4092);
		t.is(crc32c(made), wanted);
		t.is(pageChecksum(made), wanted < 3 ? wanted + 3 : wanted);
	}
});
