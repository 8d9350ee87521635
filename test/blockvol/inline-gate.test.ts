import test from 'ava';
import { InlineGate } from '../../src/blockvol/inline-gate.ts';

/** A gate whose writes take as long as they are told. */
function gateWithClock(): { write: (ms: number) => boolean; pass: (ms: number) => void; gate: InlineGate } {
	let now = 0;
	const gate = new InlineGate(5, () => now);
	return {
		gate,
		write(ms) {
			const enteredAt = gate.enter();
			if (enteredAt < 0) return false;
			now += ms;
			gate.leave(enteredAt);
			return true;
		},
		pass(ms) {
			now += ms;
		},
	};
}

test('writes that wait for nothing go by the main thread', (t) => {
	const { gate, write } = gateWithClock();
	for (let count = 0; count < 1000; count++) t.true(write(5));
	t.is(gate.stalls, 0);
});

test('a write that has waited sends those of twenty times as long to the pool', (t) => {
	const { gate, write, pass } = gateWithClock();
	t.true(write(6));
	t.is(gate.stalls, 1);
	t.false(write(0));
	pass(119);
	t.false(write(0));
	pass(1);
	t.true(write(0));
	pass(10_000);
	t.true(write(300));
	pass(5999);
	t.false(write(0));
	pass(1);
	t.true(write(0));
});

test('each further wait that comes soon doubles the time, up to a minute; one that does not forgets them', (t) => {
	const { gate, write, pass } = gateWithClock();
	for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
		t.true(write(50));
		pass(seconds * 1000 - 1);
		t.false(write(0), `${seconds} s`);
		pass(1);
	}
	t.is(gate.stalls, 8);
	pass(60_000);
	t.true(write(50));
	pass(999);
	t.false(write(0));
	pass(1);
	t.true(write(0));
});

test('waits now and then, further from each other than they are long, never add up', (t) => {
	const { write, pass } = gateWithClock();
	for (let count = 0; count < 100; count++) {
		t.true(write(10));
		t.false(write(0));
		pass(200);
		t.true(write(0));
		pass(200);
	}
});
