import test from 'ava';
import fc from 'fast-check';
import { RecordClock, timeMax } from '../../src/blockvol/record-clock.ts';

test('whatever the clock of the machine does: times of records never go back, none is zero behind an anchor, and anchor and record together tell the time', (t) => {
	const steps = fc.array(fc.record({ byMs: fc.integer({ min: -100_000, max: 100_000 }), isAnchor: fc.boolean() }), { maxLength: 200 });
	fc.assert(
		fc.property(steps, (walk) => {
			let machineMs = 1_700_000_000_000;
			const clock = new RecordClock(() => machineMs);
			t.is(clock.time(), 0);
			let anchorMs = clock.nowMs();
			clock.setAnchor(anchorMs);
			let latestMs = anchorMs;
			for (const { byMs, isAnchor } of walk) {
				machineMs += byMs;
				if (isAnchor) {
					anchorMs = clock.nowMs();
					clock.setAnchor(anchorMs);
				}
				const time = clock.time();
				const toldMs = anchorMs + time - 1;
				if (time < 1 || toldMs < latestMs || toldMs !== Math.max(latestMs, machineMs)) return false;
				latestMs = toldMs;
			}
			return true;
		}),
	);
});

test('after 49 days without an anchor a record says that it is so late, or later; without one it says nothing', (t) => {
	let nowMs = 1000;
	const clock = new RecordClock(() => nowMs);
	clock.setAnchor(1000);
	nowMs += timeMax - 2;
	t.is(clock.time(), timeMax - 1);
	nowMs += 1;
	t.is(clock.time(), timeMax);
	nowMs += 10 * timeMax;
	t.is(clock.time(), timeMax);
	clock.setAnchor(undefined);
	t.is(clock.time(), 0);
	// An anchor from a time that the machine's clock has gone back behind.
	clock.setAnchor(nowMs + 5000);
	t.is(clock.time(), 1);
});
