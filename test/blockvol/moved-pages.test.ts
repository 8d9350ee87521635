import test from 'ava';
import * as fc from 'fast-check';
import { MovedPages } from '../../src/blockvol/moved-pages.ts';

const checksumOf = (page: number): number => (page * 2654435761) >>> 0;

function moved(pages: readonly number[]): MovedPages {
	const all = new MovedPages(pages.length + 3);
	for (const page of pages) all.add(page, checksumOf(page));
	return all;
}

function isInOrder(pages: readonly number[], lookUp: (page: number) => number): boolean {
	const sorted = moved(pages).sorted(lookUp);
	const expected = [...pages].sort((one, other) => one - other);
	return (
		expected.length === sorted.pages.length &&
		expected.every((page, at) => sorted.pages[at] === page && sorted.checksums[at] === checksumOf(page))
	);
}

/** Ascending stretches with gaps, one inside the other or not; each page once. */
const stretches = fc
	.array(fc.record({ first: fc.nat(2000), pages: fc.integer({ min: 1, max: 40 }), step: fc.integer({ min: 1, max: 3 }) }), {
		maxLength: 30,
	})
	.map((list) => [...new Set(list.flatMap(({ first, pages, step }) => Array.from({ length: pages }, (_, at) => first + at * step)))]);

test('in the order of the pages, each with its checksum, however they came', (t) => {
	fc.assert(fc.property(fc.uniqueArray(fc.nat(2 ** 34), { maxLength: 200 }), (pages) => isInOrder(pages, checksumOf)));
	fc.assert(fc.property(stretches, (pages) => isInOrder(pages, checksumOf)));
	t.pass();
});

const stretch = (first: number, length: number): number[] => Array.from({ length }, (_, at) => first + at);

test('long stretches are put in order without a look for any page', (t) => {
	const never = (page: number): number => t.fail(`page ${page} was looked for`);
	t.true(isInOrder([], never));
	t.true(isInOrder(stretch(7, 100), never));
	// A writer that came to the end and began anew.
	t.true(isInOrder([...stretch(1000, 32), ...stretch(0, 1000)], never));
	t.true(isInOrder([...stretch(96, 32), ...stretch(0, 32), ...stretch(64, 32), ...stretch(32, 32)], never));
	// Gaps do no harm to who goes up.
	t.true(isInOrder([50, 60, 70, 80, 90, 95, 96, 99], never));
});

test('pages without neighbours are sorted', (t) => {
	const even = Array.from({ length: 50 }, (_, at) => at * 2);
	t.true(isInOrder([...even, ...even.map((page) => page + 1)], checksumOf));
	t.true(isInOrder([9, 8, 7, 6, 5, 4, 3, 2, 1], checksumOf));
});
