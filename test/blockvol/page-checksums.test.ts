import test from 'ava';
import fc from 'fast-check';
import { pageBytes } from '../../src/blockvol/limits.ts';
import { matchingPages, pageChecksum, pageChecksums } from '../../src/blockvol/page-checksums.ts';
import { crc32c } from '../../src/wire/crc32c.ts';

/** A page whose CRC is `crc`: its last four bytes make up for the others (CRC32C is linear, so each of their bits is tried once). */
function pageOf(crc: number): Buffer {
	const page = Buffer.alloc(pageBytes, 5);
	page.writeUInt32LE(0, pageBytes - 4);
	const base = crc32c(page);
	const rows = Array.from({ length: 32 }, (_, bit) => {
		page.writeUInt32LE((1 << bit) >>> 0, pageBytes - 4);
		return { effect: (crc32c(page) ^ base) >>> 0, bits: (1 << bit) >>> 0 };
	});
	let wanted = (crc ^ base) >>> 0;
	let bits = 0;
	for (let bit = 31; bit >= 0; bit--) {
		const pivot = rows.findIndex(({ effect }) => 31 - Math.clz32(effect) === bit);
		const [row] = rows.splice(pivot, 1) as [{ effect: number; bits: number }];
		for (const other of rows) {
			if (((other.effect >>> bit) & 1) === 0) continue;
			other.effect = (other.effect ^ row.effect) >>> 0;
			other.bits = (other.bits ^ row.bits) >>> 0;
		}
		if (((wanted >>> bit) & 1) === 0) continue;
		wanted = (wanted ^ row.effect) >>> 0;
		bits = (bits ^ row.bits) >>> 0;
	}
	page.writeUInt32LE(bits, pageBytes - 4);
	return page;
}

const noise = Uint8Array.from({ length: 8 * pageBytes }, (_, at) => Math.imul(at + 1, 0x9e3779b1) >>> 24);

test('a run of pages matches up to the first page that was changed, in any byte', (t) => {
	const flips = fc.array(fc.record({ at: fc.nat(8 * pageBytes - 1), by: fc.integer({ min: 1, max: 255 }) }), { maxLength: 3 });
	fc.assert(
		fc.property(fc.integer({ min: 1, max: 8 }), flips, (pages, changes) => {
			const bytes = noise.slice(0, pages * pageBytes);
			const checksums = new Uint32Array(9);
			pageChecksums(bytes, pages, checksums);
			if (matchingPages(bytes, checksums, pages) !== pages) return false;
			const before = Buffer.from(bytes);
			for (const { at, by } of changes) if (at < bytes.length) bytes[at]! ^= by;
			let whole = 0;
			while (
				whole < pages &&
				before.compare(bytes, whole * pageBytes, (whole + 1) * pageBytes, whole * pageBytes, (whole + 1) * pageBytes) === 0
			)
				whole++;
			return matchingPages(bytes, checksums, pages) === whole;
		}),
		{ seed: 7, numRuns: 200 },
	);
	t.pass();
});

test('pages whose CRC a map cannot hold: alone, in a run, and beside those that have the values which stand for them', (t) => {
	const crcs = [0, 1, 2, 3, 4, 5, 6, 0xffffffff];
	const data = Buffer.concat(crcs.map(pageOf));
	const checksums = new Uint32Array(crcs.length);
	pageChecksums(data, crcs.length, checksums);
	t.deepEqual([...checksums], [3, 4, 5, 3, 4, 5, 6, 0xffffffff]);
	t.is(matchingPages(data, checksums, crcs.length), crcs.length);
	for (const [at, crc] of crcs.entries()) t.is(pageChecksum(pageOf(crc)), checksums[at] as number);
	data[4 * pageBytes]! ^= 1;
	t.is(matchingPages(data, checksums, crcs.length), 4);
});
