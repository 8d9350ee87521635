import test from 'ava';
import * as fc from 'fast-check';
import { Generation, placeLayer, placeWal } from '../../src/blockvol/generation.ts';

/** Pages that collide in their low bits, and those whose numbers need more than 32 bits. */
const page = fc.oneof(
	fc.nat(40),
	fc.nat(40).map((n) => n * 4096),
	fc.nat(40).map((n) => 2 ** 33 + n),
	fc.nat(40).map((n) => n * 2 ** 28),
	fc.nat(2000).map((n) => n * 32),
);
const put = fc.record({ kind: fc.constant('put' as const), page, checksum: fc.nat(), place: fc.constantFrom(placeWal, placeLayer) });
const zero = fc.record({ kind: fc.constant('zero' as const), page, length: fc.integer({ min: 1, max: 5000 }) });
const operations: fc.Arbitrary<Operation[]> = fc.array(fc.oneof({ weight: 4, arbitrary: put }, { weight: 1, arbitrary: zero }), {
	maxLength: 60,
});

interface Known {
	location: number;
	checksum: number;
	place: number;
}

/** The naive form: a page's newest entry, and the LSN of the newest zero that covers it. */
class Naive {
	readonly entries = new Map<number, Known>();
	readonly zeros: { start: number; end: number; lsn: number }[] = [];

	zeroedAt(wanted: number): number {
		return this.zeros.findLast(({ start, end }) => start <= wanted && wanted < end)?.lsn ?? -1;
	}
}

type Operation = { kind: 'put'; page: number; checksum: number; place: number } | { kind: 'zero'; page: number; length: number };

function apply(generation: Generation, naive: Naive, list: readonly Operation[], from: number): number {
	let location = from;
	for (const one of list) {
		location += 65;
		if (one.kind === 'put') {
			generation.put(one.page, location, one.checksum, one.place);
			naive.entries.set(one.page, { location, checksum: one.checksum, place: one.place });
		} else {
			generation.zeros.add(one.page, one.page + one.length, location);
			naive.zeros.push({ start: one.page, end: one.page + one.length, lsn: location });
		}
	}
	return location;
}

function differs(generation: Generation, naive: Naive): string | undefined {
	for (const [wanted, { location, checksum, place }] of naive.entries) {
		const index = generation.find(wanted);
		if (index < 0) return `page ${wanted} is gone`;
		if (generation.pageOf(index) !== wanted || generation.locationOf(index) !== location) return `page ${wanted} is an old one`;
		if (generation.checksumOf(index) !== checksum || generation.placeOf(index) !== place) return `page ${wanted} has another's figures`;
		if (generation.isNewest(index) !== naive.zeroedAt(wanted) < location) return `page ${wanted} and the zero over it`;
		if (generation.zeros.lsnOf(wanted) !== naive.zeroedAt(wanted)) return `the zero over page ${wanted}`;
	}
	const newest = Array.from({ length: generation.length }, (_, index) => index).filter((index) => generation.isNewest(index));
	const pages = newest.map((index) => generation.pageOf(index));
	if (new Set(pages).size !== pages.length) return 'an older entry counts as the newest';
	for (const wanted of naive.entries.keys()) {
		const [first, end] = [Math.max(0, wanted - 700), wanted + 1];
		if (!generation.mayHoldAny(first, end) || !generation.mayHoldAny(wanted, wanted + 700))
			return `a range with page ${wanted} is ruled out`;
	}
	if (generation.livePages !== naive.entries.size) return `${generation.livePages} live pages`;
	for (const absent of [41, 4095, 2 ** 33 - 1]) if (!naive.entries.has(absent) && generation.find(absent) >= 0) return `page ${absent}`;
	return undefined;
}

test('any sequence of writes and zeros agrees with a Map, and so does the union of two generations', (t) => {
	fc.assert(
		fc.property(operations, operations, (older, younger) => {
			const first = new Generation();
			const both = new Naive();
			const between = apply(first, both, older, 0);
			const fault = differs(first, both);
			if (fault !== undefined) throw new Error(`older: ${fault}`);
			const second = new Generation();
			apply(second, new Naive(), younger, between);
			apply(new Generation(), both, younger, between);
			const merged = differs(first.mergedWith(second), both);
			if (merged !== undefined) throw new Error(`merged: ${merged}`);
		}),
		{ numRuns: 300 },
	);
	t.pass();
});

test('entries survive every growth of the table, overwritten ones count as entries but not as live pages', (t) => {
	const generation = new Generation();
	const count = 20_000;
	for (let round = 0; round < 2; round++) {
		for (let at = 0; at < count; at++) generation.put(at * 1021, round * count + at, at, placeWal);
	}
	t.is(generation.length, 2 * count);
	t.is(generation.livePages, count);
	let wrong = 0;
	for (let at = 0; at < count; at++) {
		const index = generation.find(at * 1021);
		if (generation.locationOf(index) !== count + at || generation.checksumOf(index) !== at) wrong++;
		if (generation.isNewest(at)) wrong++;
	}
	t.is(wrong, 0);
});

test('a generation with a zeroed range and no page is not empty', (t) => {
	const generation = new Generation();
	t.true(generation.isEmpty);
	generation.zeros.add(0, 1, 5);
	t.false(generation.isEmpty);
	t.is(generation.find(0), -1);
});

test('whether a page of it is in the log: never of large writes alone, however often', (t) => {
	const generation = new Generation();
	t.false(generation.hasLogPages);
	for (let round = 0; round < 3; round++) for (let page = 0; page < 3000; page++) generation.put(page, 100 + round, 1, placeLayer);
	t.false(generation.hasLogPages);
	t.false(generation.mergedWith(new Generation()).hasLogPages);
	generation.put(2999, 104, 1, placeWal);
	t.true(generation.hasLogPages);
	t.true(new Generation().mergedWith(generation).hasLogPages);
	generation.clear();
	t.false(generation.hasLogPages);
	generation.put(7, 105, 1, placeWal);
	t.true(generation.hasLogPages);
});

test('a merge leaves both generations as they were', (t) => {
	const older = new Generation();
	const younger = new Generation();
	older.put(1, 10, 100, placeWal);
	younger.put(1, 20, 200, placeLayer);
	older.mergedWith(younger);
	t.is(older.checksumOf(older.find(1)), 100);
	t.is(younger.checksumOf(younger.find(1)), 200);
	t.is(older.length + younger.length, 2);
});

test('cleared, it holds nothing and takes what comes', (t) => {
	const generation = new Generation();
	for (let page = 0; page < 3000; page++) generation.put(page, page + 1, page, placeLayer);
	generation.clear();
	t.true(generation.isEmpty);
	t.is(generation.find(17), -1);
	t.false(generation.mayHoldAny(0, 3000));
	generation.put(17, 5, 6, placeWal);
	t.is(generation.checksumOf(generation.find(17)), 6);
	t.is(generation.livePages, 1);
});

test('pages at any distance from each other are found, while the table grows', (t) => {
	for (const distance of [1, 2, 31, 32, 33, 256, 1024, 2 ** 15, 2 ** 20]) {
		const generation = new Generation();
		const pages = 5000;
		for (let at = 0; at < pages; at++) generation.put(at * distance, at, at * 3, placeWal);
		for (let at = 0; at < pages; at++) t.is(generation.find(at * distance), at);
		t.is(generation.find(pages * distance), -1);
		t.is(generation.livePages, pages);
	}
});
