import fc from 'fast-check';
import test from 'ava';
import { FairShare, type Party } from '../../src/os/fair-share.ts';
import type { BudgetWaiter } from '../../src/os/memory-budget.ts';

/** A share of 16 with 4 in reserve, in which takers ask for 1. */
class Shared {
	readonly share = new FairShare(16, 4);
	/** Who got what they waited for, in order. */
	readonly log: string[] = [];

	party(name: string): Party {
		return this.share.join(name);
	}

	/** Asks for as much again and again, until it has to wait. */
	fill(party: Party, bytes = 1): void {
		while (this.share.tryTake(party, bytes));
	}

	wait(party: Party, bytes = 1): BudgetWaiter {
		const waiter = { granted: () => this.log.push(party.name ?? '') };
		if (this.share.take(party, bytes, waiter)) this.log.push(party.name ?? '');
		return waiter;
	}
}

test('alone a party may have all but the reserve; the reserve is for those that hold nothing, each its first', (t) => {
	const world = new Shared();
	const greedy = world.party('greedy');
	world.fill(greedy);
	t.is(greedy.heldBytes, 12);
	for (const name of ['a', 'b', 'c', 'd']) {
		const newcomer = world.party(name);
		t.true(world.share.tryTake(newcomer, 1), name);
		t.false(world.share.tryTake(newcomer, 1), name);
	}
	t.false(world.share.tryTake(world.party('e'), 1));
	t.is(world.share.usedBytes, 16);
});

test('a newcomer that wants the whole reserve at once has it', (t) => {
	const world = new Shared();
	world.fill(world.party('greedy'));
	t.true(world.share.tryTake(world.party('newcomer'), 4));
});

test('a party is its name: more connections give it no more, until the last has left and everything is given back', (t) => {
	const world = new Shared();
	const first = world.party('host');
	const second = world.party('host');
	t.is(first, second);
	world.fill(first);
	t.false(world.share.tryTake(second, 1));
	world.share.leave(first);
	world.share.leave(second);
	t.is(world.party('host'), first, 'it holds something still');
	world.share.leave(first);
	world.share.give(first, 12);
	t.not(world.party('host'), first);
	t.not(world.share.join(undefined), world.share.join(undefined));
});

test('beside others nobody holds more than is left for them, and who had more gets nothing until it holds less', (t) => {
	const world = new Shared();
	const greedy = world.party('greedy');
	const other = world.party('other');
	world.fill(greedy);
	world.wait(other);
	world.wait(other);
	world.wait(greedy);
	t.deepEqual(world.log, ['other']);
	for (let count = 0; count < 10; count++) world.share.give(greedy, 1);
	t.deepEqual(world.log, ['other', 'other', 'greedy']);
	world.fill(other);
	world.fill(greedy);
	world.fill(other);
	t.is(world.share.usedBytes, 9);
	t.true(Math.abs(greedy.heldBytes - other.heldBytes) <= 1, `${greedy.heldBytes} and ${other.heldBytes}`);
});

test('those that wait have turns by party, whatever number of requests each has; one party’s are in order', (t) => {
	const world = new Shared();
	const holder = world.party('holder');
	t.true(world.share.tryTake(holder, 16));
	const many = world.party('many');
	for (let count = 0; count < 3; count++) world.wait(many, 16);
	for (const name of ['a', 'b']) world.wait(world.party(name), 16);
	t.is(world.share.waiting, 5);
	let last = holder;
	for (const name of ['many', 'a', 'b', 'many', 'many']) {
		world.share.give(last, 16);
		t.is(world.log.at(-1), name);
		last = world.party(name);
	}
	t.is(world.log.length, 5);
});

test('nobody overtakes one that holds nothing, and it waits for no more than what was held when it came', (t) => {
	const world = new Shared();
	const parties = ['a', 'b', 'c', 'd'].map((name) => world.party(name));
	for (const party of parties) t.true(world.share.tryTake(party, 4));
	world.wait(world.party('large'), 8);
	t.false(world.share.tryTake(world.party('small'), 1));
	world.share.give(parties[0]!, 4);
	t.false(world.share.tryTake(world.party('small'), 1));
	world.wait(parties[1]!, 1);
	t.deepEqual(world.log, []);
	world.share.give(parties[2]!, 4);
	t.is(world.log[0], 'large');
});

test('who is wanted beside whom, and whether even the reserve is taken', (t) => {
	const world = new Shared();
	const [greedy, other] = [world.party('greedy'), world.party('other')];
	world.fill(greedy);
	const own = world.wait(greedy);
	t.false(world.share.isWantedBeside(greedy));
	t.true(world.share.isWantedBeside(other));
	t.false(world.share.isStarvedBeside(other));
	t.true(world.share.tryTake(world.party('third'), 4));
	const waiter = world.wait(other);
	t.true(world.share.isWantedBeside(greedy));
	t.true(world.share.isStarvedBeside(greedy));
	t.false(world.share.isStarvedBeside(other));
	t.true(world.share.forget(other, waiter));
	t.false(world.share.forget(other, waiter));
	t.true(world.share.forget(greedy, own));
	t.is(world.share.waiting, 0);
});

test('more than the share is a fault of the caller, and so is giving what is not held', (t) => {
	const world = new Shared();
	const party = world.party('party');
	t.throws(() => world.share.take(party, 17, { granted: () => undefined }), { instanceOf: RangeError });
	t.throws(() => world.share.give(party, 1), { instanceOf: RangeError });
});

test('whatever parties do: the sum is right and bounded, and none that holds nothing waits for what is free', (t) => {
	const step = fc.record({
		who: fc.integer({ min: 0, max: 4 }),
		what: fc.constantFrom('take', 'give', 'forget'),
		bytes: fc.integer({ min: 1, max: 5 }),
	});
	fc.assert(
		fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
			const share = new FairShare(16, 4);
			const parties = Array.from({ length: 5 }, (_, index) => share.join(`party ${index}`));
			const held: number[][] = parties.map(() => []);
			const waiting: { who: number; bytes: number; waiter: BudgetWaiter }[] = [];
			for (const { who, what, bytes } of steps) {
				const party = parties[who]!;
				if (what === 'take') {
					const entry = {
						who,
						bytes,
						waiter: {
							granted: () => {
								waiting.splice(waiting.indexOf(entry), 1);
								held[who]!.push(bytes);
							},
						},
					};
					if (share.take(party, bytes, entry.waiter)) held[who]!.push(bytes);
					else waiting.push(entry);
				} else if (what === 'give') {
					const given = held[who]!.shift();
					if (given !== undefined) share.give(party, given);
				} else {
					const entry = waiting.find((each) => each.who === who);
					if (entry !== undefined) {
						waiting.splice(waiting.indexOf(entry), 1);
						share.forget(party, entry.waiter);
					}
				}
				const sums = held.map((each) => each.reduce((sum, one) => sum + one, 0));
				const used = sums.reduce((sum, one) => sum + one, 0);
				if (used !== share.usedBytes || used > 16 || share.waiting !== waiting.length) throw new Error(`used ${used}, ${share.usedBytes}`);
				parties.forEach((each, index) => {
					if (each.heldBytes !== sums[index]) throw new Error(`party ${index}`);
				});
				const starving = parties.filter((each) => each.heldBytes === 0 && each.waiting.length > 0);
				if (starving.length > 0 && starving.every((each) => used + each.waiting[0]!.bytes <= 16))
					throw new Error('starved beside free memory');
			}
			// Everything comes to an end: what is given back is granted.
			for (let rounds = 0; held.some((each) => each.length > 0); rounds++) {
				if (rounds > 1000) throw new Error('no end');
				parties.forEach((party, index) => {
					const given = held[index]!.shift();
					if (given !== undefined) share.give(party, given);
				});
			}
			if (waiting.length > 0) throw new Error('somebody waits for ever');
		}),
		{ numRuns: 300, seed: 1 },
	);
	t.pass();
});
