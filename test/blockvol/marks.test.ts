import test from 'ava';
import { limits } from '../../src/blockvol/limits.ts';
import { Marks, regionPages } from '../../src/blockvol/marks.ts';

const gib = 2 ** 30;

function markAll(marks: Marks): number[][] {
	const taken: number[][] = [];
	for (let due = marks.takeDue(); due !== undefined; due = marks.takeDue()) {
		taken.push(due);
		marks.durable(due);
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
	const due = marks.takeDue();
	t.deepEqual([due?.[0], due?.length], [5, 16]);
	t.false(marks.begin(5 * regionPages, 5 * regionPages + 1), 'not durable yet');
	marks.durable(due ?? []);
	t.true(marks.begin(5 * regionPages, 5 * regionPages + 1));
	t.true(marks.begin(6 * regionPages - 1, 6 * regionPages + 1), 'over the border of two');
});

test('marks end with the volume, whose end may lie inside a region; it grows', (t) => {
	const sizeBytes = 2.5 * limits.regionBytes;
	const marks = new Marks([], sizeBytes, 1);
	marks.begin(0, 1);
	t.deepEqual(marks.takeDue(), [0, 1, 2]);
	marks.grown(5 * limits.regionBytes);
	marks.begin(4 * regionPages, 4 * regionPages + 1);
	t.deepEqual(marks.takeDue(), [4]);
});

test('a region that is not written goes with the second cycle; one that is, or that a write is under way in, stays', (t) => {
	const marks = new Marks([], gib, 2);
	for (const region of [0, 100, 200]) wish(marks, region);
	markAll(marks);
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

test('when half of the marks are taken, a region goes with the first cycle that has flushed it; one that waits for its writer does not', (t) => {
	const marks = new Marks([], 64 * gib, 1);
	for (let region = 0; region <= limits.marksMax / 2; region += 16) {
		wish(marks, region);
		markAll(marks);
	}
	const all = marks.regions().length;
	t.true(all > limits.marksMax / 2);
	marks.begin(0, 1);
	marks.end(0, 1);
	marks.begin(16 * regionPages, 16 * regionPages + 1);
	t.is(marks.remaining().length, all, 'their generation is not flushed');
	marks.froze();
	t.is(marks.remaining().length, all - 1);
	t.false(marks.regions().includes(0));
	t.true(marks.regions().includes(16), 'under way');
});

test('what replay settled is named until the first cycle has flushed it, and cannot be used', (t) => {
	const marks = new Marks([3], gib, 2);
	t.false(marks.begin(3 * regionPages, 3 * regionPages + 1));
	marks.froze();
	t.deepEqual(marks.remaining(), []);
	wish(marks, 3);
	markAll(marks);
	t.true(marks.begin(3 * regionPages, 3 * regionPages + 1));
});

test(`at most ${limits.marksMax} regions are marked; one more waits until others are gone`, (t) => {
	const sizeBytes = 64 * 2 ** 40;
	const marks = new Marks([], sizeBytes, 2);
	for (let region = 0; marks.remaining().length < limits.marksMax; region += 16) {
		wish(marks, region);
		markAll(marks);
	}
	wish(marks, 10_000);
	t.false(marks.hasDue);
	t.is(marks.remaining().length, limits.marksMax);
	marks.froze();
	marks.froze();
	marks.remaining();
	wish(marks, 10_000);
	t.is(marks.takeDue()?.length, 16);
});

test('a writer that goes on where it was has the next regions due before it comes there', (t) => {
	const marks = new Marks([], gib, 2);
	wish(marks, 0);
	markAll(marks);
	let missed = 0;
	for (let region = 0; region < 500; region++) {
		if (!marks.begin(region * regionPages, (region + 1) * regionPages)) missed++;
		else marks.end(region * regionPages, (region + 1) * regionPages);
		markAll(marks);
	}
	t.is(missed, 0);
});

test('who writes one region after the other, each once and several ahead, is overtaken by the marks', (t) => {
	const marks = new Marks([], gib, 2);
	let inPlace = 0;
	// Four commands of four regions each at once, their regions in turn; marks are durable when the next four come.
	for (let round = 0; round < 32; round++) {
		for (let step = 0; step < 16; step++) {
			const region = round * 16 + (step % 4) * 4 + Math.floor(step / 4);
			if (!marks.begin(region * regionPages, (region + 1) * regionPages)) continue;
			inPlace++;
			marks.end(region * regionPages, (region + 1) * regionPages);
		}
		markAll(marks);
	}
	t.is(inPlace, 31 * 16);
});

test('who writes here and there has nothing marked beyond what it comes back to', (t) => {
	const marks = new Marks([], 64 * gib, 2);
	for (let region = 0; region < 200; region += 2) marks.begin(region * regionPages, (region + 1) * regionPages);
	t.false(marks.hasDue);
	wish(marks, 300);
	t.deepEqual(
		markAll(marks).map(({ length }) => length),
		[16],
	);
	for (const region of [307, 303, 311]) t.true(marks.begin(region * regionPages, (region + 1) * regionPages));
	t.false(marks.hasDue);
});

test('wishes are remembered for so many regions only', (t) => {
	const marks = new Marks([], 64 * 2 ** 40, 2);
	for (let region = 0; region < 300; region++) marks.begin(region * 100 * regionPages, region * 100 * regionPages + 1);
	marks.begin(0, 1);
	t.false(marks.hasDue, 'the first was forgotten');
	marks.begin(299 * 100 * regionPages, 299 * 100 * regionPages + 1);
	t.true(marks.hasDue);
});

/** Writes in place over some regions, in a generation of its own. */
function generation(marks: Marks, first: number, regions: number): boolean {
	for (let region = first; region < first + regions; region++) {
		// Twice a region: what comes again within a generation tells nothing.
		for (let half = 0; half < 2; half++) {
			const page = region * regionPages + half * 128;
			marks.begin(page, page + 128);
			marks.end(page, page + 128);
		}
	}
	const { isRewriting } = marks;
	marks.froze();
	return isRewriting;
}

/** Of which so many regions may be written in place, all but those of a writer that is far ahead. */
function withAll(regions: number): Marks {
	const marks = new Marks([], regions * limits.regionBytes, 1);
	for (let region = 0; region < regions; region += 16) {
		marks.begin(region * regionPages, region * regionPages + 1);
		for (let due = marks.takeDue(); due !== undefined; due = marks.takeDue()) marks.durable(due);
	}
	return marks;
}

test('a writer that comes back to its regions is told from one that goes on', (t) => {
	const marks = withAll(1600);
	for (let first = 0; first < 1600; first += 200) t.false(generation(marks, first, 200), 'once over the volume');
	t.false(generation(marks, 0, 200), 'it comes back after 1600, which is late');
	for (let round = 0; round < 3; round++) {
		for (let first = 0; first < 400; first += 100)
			t.is(generation(marks, first, 100), round > 0 || first < 200, `round ${round} at ${first}`);
	}
	t.true(generation(marks, 350, 100), 'half of them');
	t.false(generation(marks, 449, 100), 'one of them');
	t.false(generation(marks, 900, 0), 'none');
	t.true(generation(marks, 449, 100), 'a generation without such writes does not count');
	for (let first = 600; first < 608; first++) generation(marks, first, 1);
	t.false(generation(marks, 449, 100), 'eight generations ago');
});
