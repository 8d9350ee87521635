import test from 'ava';
import { MemoryBudget } from '../../src/os/memory-budget.ts';

function waiter(log: string[], name: string): { granted(): void } {
	return { granted: () => log.push(name) };
}

test('who waits is served in the order of asking, each when its bytes are free', (t) => {
	const budget = new MemoryBudget(100);
	const log: string[] = [];
	t.true(budget.take(100, waiter(log, 'first')));
	t.false(budget.take(60, waiter(log, 'second')));
	t.false(budget.take(40, waiter(log, 'third')));
	t.false(budget.take(1, waiter(log, 'fourth')));
	budget.give(59);
	t.deepEqual(log, []);
	budget.give(1);
	t.deepEqual(log, ['second']);
	budget.give(40);
	t.deepEqual(log, ['second', 'third']);
	t.is(budget.usedBytes, 100);
	t.is(budget.waiting, 1);
});

test('nobody overtakes: a small request waits behind a large one though it would fit', (t) => {
	const budget = new MemoryBudget(100);
	const log: string[] = [];
	budget.take(50, waiter(log, 'holder'));
	t.false(budget.take(80, waiter(log, 'large')));
	t.false(budget.tryTake(1));
	t.false(budget.take(1, waiter(log, 'small')));
	budget.give(50);
	t.deepEqual(log, ['large', 'small']);
	t.is(budget.usedBytes, 81);
});

test('forgetting the first in line serves those behind it that fit', (t) => {
	const budget = new MemoryBudget(100);
	const log: string[] = [];
	const large = waiter(log, 'large');
	budget.take(50, waiter(log, 'holder'));
	budget.take(80, large);
	budget.take(30, waiter(log, 'small'));
	t.true(budget.forget(large));
	t.deepEqual(log, ['small']);
	t.false(budget.forget(large));
	t.is(budget.usedBytes, 80);
});

test('a request above the limit is refused at once, and leaves nothing in line', (t) => {
	const budget = new MemoryBudget(100);
	t.throws(() => budget.take(101, waiter([], '')), { instanceOf: RangeError });
	t.is(budget.waiting, 0);
	t.true(budget.tryTake(100));
	t.false(budget.tryTake(1));
});

test('giving back more than was taken is refused and changes nothing', (t) => {
	const budget = new MemoryBudget(100);
	budget.tryTake(10);
	t.throws(() => budget.give(11), { instanceOf: RangeError });
	t.is(budget.usedBytes, 10);
});

test('a waiter that takes or gives while it is told keeps the count right', (t) => {
	const budget = new MemoryBudget(100);
	const log: string[] = [];
	budget.tryTake(100);
	budget.take(100, {
		granted() {
			log.push('first');
			budget.give(70);
			t.false(budget.take(90, waiter(log, 'third')));
		},
	});
	budget.take(50, waiter(log, 'second'));
	budget.give(100);
	t.deepEqual(log, ['first', 'second']);
	t.is(budget.usedBytes, 80);
	budget.give(80);
	t.deepEqual(log, ['first', 'second', 'third']);
	t.is(budget.peakBytes, 100);
});
