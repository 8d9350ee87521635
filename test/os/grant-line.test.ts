import test from 'ava';
import { FairShare } from '../../src/os/fair-share.ts';
import { GrantLine } from '../../src/os/grant-line.ts';
import { MemoryBudget } from '../../src/os/memory-budget.ts';

class Taker {
	readonly wantedGrantBytes: number;
	readonly #name: string;
	readonly #log: string[];

	constructor(name: string, bytes: number, log: string[]) {
		this.#name = name;
		this.wantedGrantBytes = bytes;
		this.#log = log;
	}

	memoryGranted(bytes: number): void {
		this.#log.push(`${this.#name} ${bytes}`);
	}
}

function world(): {
	budget: MemoryBudget;
	share: FairShare;
	line: (peer?: string) => GrantLine<Taker>;
	log: string[];
	taker: (name: string, bytes: number) => Taker;
} {
	const budget = new MemoryBudget(100);
	const share = new FairShare(40, 0);
	const log: string[] = [];
	return {
		budget,
		share,
		line: (peer) => new GrantLine<Taker>(budget, share, 30, peer),
		log,
		taker: (name, bytes) => new Taker(name, bytes, log),
	};
}

test('a peer gets no more than its bound at a time, but a single larger request', (t) => {
	const { line, log, taker, budget } = world();
	const peer = line();
	peer.request(taker('a', 20));
	peer.request(taker('b', 10));
	peer.request(taker('c', 1));
	t.deepEqual(log, ['a 20', 'b 10']);
	peer.give(20);
	t.deepEqual(log, ['a 20', 'b 10', 'c 1']);
	peer.give(10);
	peer.give(1);
	peer.request(taker('large', 40));
	peer.request(taker('d', 1));
	t.is(log.at(-1), 'large 40');
	t.is(budget.usedBytes, 40);
	peer.give(40);
	t.is(log.at(-1), 'd 1');
	t.is(peer.heldBytes, 1);
});

test('peers take turns at the share, and the share leaves the rest of the budget to others', (t) => {
	const { line, log, taker, budget, share } = world();
	const [one, two] = [line(), line()];
	one.request(taker('a1', 30));
	two.request(taker('b1', 20));
	one.request(taker('a2', 10));
	t.deepEqual(log, ['a1 30']);
	t.is(budget.usedBytes, 30);
	t.true(budget.tryTake(70));
	one.give(30);
	// The share has room, the budget had it when it was given back.
	t.deepEqual(log, ['a1 30', 'b1 20', 'a2 10']);
	t.is(share.usedBytes, 30);
});

for (const scarce of ['share', 'budget'] as const) {
	test(`who is forgotten while it waits for the ${scarce} leaves nothing behind, and the next goes on`, (t) => {
		const { line, log, taker, budget, share } = world();
		if (scarce === 'share') share.tryTake(share.join('others'), 35);
		else budget.tryTake(95);
		const peer = line();
		const first = taker('first', 10);
		peer.request(first);
		peer.request(taker('second', 5));
		t.deepEqual(log, []);
		peer.forget(first);
		peer.forget(first);
		t.deepEqual(log, ['second 5']);
		peer.give(5);
		t.is(share.usedBytes, scarce === 'share' ? 35 : 0);
		t.is(budget.usedBytes, scarce === 'share' ? 0 : 95);
		t.is(budget.waiting + share.waiting, 0);
	});
}
