import test from 'ava';
import * as fc from 'fast-check';
import { ZeroRanges } from '../../src/blockvol/zero-ranges.ts';

const pages = 64;
const range = fc.tuple(fc.nat(pages - 1), fc.integer({ min: 1, max: 24 }));

test('any sequence of ranges agrees with an array of LSNs, page by page', (t) => {
	fc.assert(
		fc.property(fc.array(range, { maxLength: 40 }), (added) => {
			const ranges = new ZeroRanges();
			const naive = Array.from({ length: pages + 32 }, () => -1);
			for (const [lsn, [start, length]] of added.entries()) {
				ranges.add(start, start + length, lsn);
				naive.fill(lsn, start, start + length);
				for (let page = 0; page < naive.length; page++) if (ranges.lsnOf(page) !== naive[page]) return false;
			}
			const listed = [...ranges];
			if (listed.length !== ranges.count) return false;
			for (const [index, one] of listed.entries()) {
				if (one.start >= one.end || one.start < (listed[index - 1]?.end ?? 0)) return false;
			}
			for (let page = 0; page < naive.length; page++) {
				const next = listed.find(({ start }) => start >= page)?.start ?? Infinity;
				if (ranges.nextStart(page) !== next) return false;
				const covering = listed.find(({ start, end }) => start <= page && page < end);
				if (covering !== undefined && ranges.endOf(page) !== covering.end) return false;
			}
			for (let first = 0; first < pages; first += 3) {
				for (let end = first + 1; end < pages; end += 5) {
					if (ranges.overlaps(first, end) !== naive.slice(first, end).some((lsn) => lsn >= 0)) return false;
				}
			}
			return true;
		}),
		{ numRuns: 300 },
	);
	t.pass();
});

test('an empty set covers nothing', (t) => {
	const ranges = new ZeroRanges();
	t.is(ranges.lsnOf(0), -1);
	t.is(ranges.count, 0);
	t.is(ranges.nextStart(0), Infinity);
	t.false(ranges.overlaps(0, 2 ** 34));
});

test('a range over the whole of 64 TiB swallows all others, and one inside it leaves two ends', (t) => {
	const ranges = new ZeroRanges();
	for (let at = 0; at < 100; at++) ranges.add(at * 10, at * 10 + 1, at);
	ranges.add(0, 2 ** 34, 100);
	t.deepEqual([...ranges], [{ start: 0, end: 2 ** 34, lsn: 100 }]);
	ranges.add(2 ** 33, 2 ** 33 + 1, 101);
	t.deepEqual(
		[...ranges],
		[
			{ start: 0, end: 2 ** 33, lsn: 100 },
			{ start: 2 ** 33, end: 2 ** 33 + 1, lsn: 101 },
			{ start: 2 ** 33 + 1, end: 2 ** 34, lsn: 100 },
		],
	);
});
