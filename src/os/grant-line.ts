import type { BudgetWaiter, MemoryBudget } from './memory-budget.ts';

/** Somebody who stands in a GrantLine. */
export interface GrantTaker {
	/** What it asks for; unchanged while it stands in the line. */
	readonly wantedGrantBytes: number;
	/** The bytes are its own now. */
	memoryGranted(bytes: number): void;
}

/**
 * The line of one peer's commands for memory to solicit data with, out of a share of the budget. One request of the peer at a time stands in the line of all peers,
 * so peers take turns and none overtakes. heldBytesMax bounds what a peer may hold, but for a single request that is larger.
 *
 *   idle ── request ─→ share ── granted ─→ budget ── granted ─→ the first taker has it ─→ idle
 */
export class GrantLine<Taker extends GrantTaker> implements BudgetWaiter {
	readonly #budget: MemoryBudget;
	readonly #share: MemoryBudget;
	readonly #heldBytesMax: number;
	readonly #line: Taker[] = [];
	#waitingFor: 'nothing' | 'share' | 'budget' = 'nothing';
	#heldBytes = 0;

	constructor(budget: MemoryBudget, share: MemoryBudget, heldBytesMax: number) {
		this.#budget = budget;
		this.#share = share;
		this.#heldBytesMax = heldBytesMax;
	}

	get heldBytes(): number {
		return this.#heldBytes;
	}

	/** taker.memoryGranted() follows, perhaps before this returns. */
	request(taker: Taker): void {
		this.#line.push(taker);
		this.#serve();
	}

	forget(taker: Taker): void {
		const index = this.#line.indexOf(taker);
		if (index < 0) return;
		this.#line.splice(index, 1);
		if (index > 0) return;
		if (this.#waitingFor === 'share') this.#share.forget(this);
		if (this.#waitingFor === 'budget') {
			this.#budget.forget(this);
			this.#share.give(taker.wantedGrantBytes);
		}
		this.#waitingFor = 'nothing';
		this.#serve();
	}

	give(bytes: number): void {
		this.#heldBytes -= bytes;
		this.#budget.give(bytes);
		this.#share.give(bytes);
		this.#serve();
	}

	granted(): void {
		const bytes = this.#line[0]!.wantedGrantBytes;
		if (this.#waitingFor === 'share' && !this.#takeFromBudget(bytes)) return;
		this.#pass(bytes);
		this.#serve();
	}

	#serve(): void {
		while (this.#waitingFor === 'nothing' && this.#line.length > 0) {
			const bytes = this.#line[0]!.wantedGrantBytes;
			if (this.#heldBytes > 0 && this.#heldBytes + bytes > this.#heldBytesMax) return;
			this.#waitingFor = 'share';
			if (!this.#share.take(bytes, this) || !this.#takeFromBudget(bytes)) return;
			this.#pass(bytes);
		}
	}

	#takeFromBudget(bytes: number): boolean {
		this.#waitingFor = 'budget';
		return this.#budget.take(bytes, this);
	}

	#pass(bytes: number): void {
		this.#waitingFor = 'nothing';
		this.#heldBytes += bytes;
		this.#line.shift()!.memoryGranted(bytes);
	}
}
