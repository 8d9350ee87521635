import test from 'ava';
import { limits } from '../../src/blockvol/limits.ts';
import { Marks, regionPages } from '../../src/blockvol/marks.ts';

const gib = 2 ** 30;

function markAll(marks: Marks, sizeBytes: number): number[][] {
	const taken: number[][] = [];
	for (let due = marks.takeDue(sizeBytes); due !== undefined; due = marks.takeDue(sizeBytes)) {
		taken.push(due.regions);
		marks.durable(due.regions);
	}
	return taken;
}

function wish(marks: Marks, region: number): void {
	for (let times = 0; times < 2; times++) marks.begin(region * regionPages, region * regionPages + 1);
}

test('a region is due after the second wish, with those behind it, and usable once they are durable', (t) => {
	const marks = new Marks([], 8 * gib, 2);
	t.false(marks.begin(5 * regionPages, 5 * regionPages + 32));
	t.false(marks.hasDue);
	t.false(marks.begin(5 * regionPages + 32, 5 * regionPages + 64));
	t.true(marks.hasDue);
	const due = marks.takeDue(8 * gib);
	t.deepEqual([due?.firstPage, due?.pages, due?.regions.length], [5 * regionPages, 16 * regionPages, 16]);
	t.false(marks.begin(5 * regionPages, 5 * regionPages + 1), 'not durable yet');
	marks.durable(due?.regions ?? []);
	t.true(marks.begin(5 * regionPages, 5 * regionPages + 1));
	t.true(marks.begin(6 * regionPages - 1, 6 * regionPages + 1), 'over the border of two');
});

test('marks end with the volume, whose end may lie inside a region; it grows', (t) => {
	const sizeBytes = 2.5 * limits.regionBytes;
	const marks = new Marks([], sizeBytes, 1);
	marks.begin(0, 1);
	t.deepEqual(marks.takeDue(sizeBytes), { firstPage: 0, pages: 2.5 * regionPages, regions: [0, 1, 2] });
	marks.grown(5 * limits.regionBytes);
	marks.begin(4 * regionPages, 4 * regionPages + 1);
	t.deepEqual(marks.takeDue(5 * limits.regionBytes)?.regions, [4]);
});

test('a region that is not written goes with the second cycle; one that is, or that a write is under way in, stays', (t) => {
	const marks = new Marks([], gib, 2);
	for (const region of [0, 100, 200]) wish(marks, region);
	markAll(marks, gib);
	t.true(marks.begin(0, 1));
	t.true(marks.begin(100 * regionPages, 100 * regionPages + 1));
	marks.end(100 * regionPages, 100 * regionPages + 1);
	marks.froze();
	t.is(marks.remaining().length, 48);
	marks.froze();
	t.deepEqual(marks.remaining(), [0], 'under way');
	marks.end(0, 1);
	t.deepEqual(marks.remaining(), []);
	t.false(marks.begin(0, 1));
});

test('what replay settled is named until the first cycle has flushed it, and cannot be used', (t) => {
	const marks = new Marks([3], gib, 2);
	t.false(marks.begin(3 * regionPages, 3 * regionPages + 1));
	marks.froze();
	t.deepEqual(marks.remaining(), []);
	wish(marks, 3);
	markAll(marks, gib);
	t.true(marks.begin(3 * regionPages, 3 * regionPages + 1));
});

test(`at most ${limits.marksMax} regions are marked; one more waits until others are gone`, (t) => {
	const sizeBytes = 64 * 2 ** 40;
	const marks = new Marks([], sizeBytes, 2);
	for (let region = 0; marks.remaining().length < limits.marksMax; region += 16) {
		wish(marks, region);
		markAll(marks, sizeBytes);
	}
	wish(marks, 10_000);
	t.false(marks.hasDue);
	t.is(marks.remaining().length, limits.marksMax);
	marks.froze();
	marks.froze();
	marks.remaining();
	wish(marks, 10_000);
	t.is(marks.takeDue(sizeBytes)?.regions.length, 16);
});

test('a writer that goes on where it was has the next regions due before it comes there', (t) => {
	const marks = new Marks([], gib, 2);
	wish(marks, 0);
	markAll(marks, gib);
	let missed = 0;
	for (let region = 0; region < 500; region++) {
		if (!marks.begin(region * regionPages, (region + 1) * regionPages)) missed++;
		else marks.end(region * regionPages, (region + 1) * regionPages);
		markAll(marks, gib);
	}
	t.is(missed, 0);
});

test('wishes are remembered for so many regions only', (t) => {
	const marks = new Marks([], 64 * 2 ** 40, 2);
	for (let region = 0; region < 300; region++) marks.begin(region * 100 * regionPages, region * 100 * regionPages + 1);
	marks.begin(0, 1);
	t.false(marks.hasDue, 'the first was forgotten');
	marks.begin(299 * 100 * regionPages, 299 * 100 * regionPages + 1);
	t.true(marks.hasDue);
});
