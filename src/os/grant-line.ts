import type { FairShare, Party } from './fair-share.ts';
import type { BudgetWaiter, MemoryBudget } from './memory-budget.ts';

/** Somebody who stands in a GrantLine. */
export interface GrantTaker {
	/** What it asks for; unchanged while it stands in the line. */
	readonly wantedGrantBytes: number;
	/** The bytes are its own now. */
	memoryGranted(bytes: number): void;
}

/**
 * The line of one connection's commands for memory to move data with, out of a share of the budget. One request of it at a time stands in the line of the share, where peers take turns by name.
 * heldBytesMax bounds what the connection may hold, but for a single request that is larger.
 *
 *   idle ── request ─→ share ── granted ─→ budget ── granted ─→ the first taker has it ─→ idle
 */
export class GrantLine<Taker extends GrantTaker> implements BudgetWaiter {
	readonly #budget: MemoryBudget;
	readonly #share: FairShare;
	readonly #heldBytesMax: number;
	readonly #line: Taker[] = [];
	#party: Party;
	#waitingFor: 'nothing' | 'share' | 'budget' = 'nothing';
	#heldBytes = 0;

	/** `peer`: whom the connection belongs to; undefined while that is not known. */
	constructor(budget: MemoryBudget, share: FairShare, heldBytesMax: number, peer: string | undefined) {
		this.#budget = budget;
		this.#share = share;
		this.#heldBytesMax = heldBytesMax;
		this.#party = share.join(peer);
	}

	get heldBytes(): number {
		return this.#heldBytes;
	}

	/** Somebody of another peer waits for memory. */
	get isContended(): boolean {
		return this.#budget.waiting > 0 || this.#share.isWantedBeside(this.#party);
	}

	/** The same, and it holds nothing. */
	get isStarved(): boolean {
		return this.#budget.waiting > 0 || this.#share.isStarvedBeside(this.#party);
	}

	/** Its peer is known now. */
	join(peer: string): void {
		const old = this.#party;
		if (old.name === peer) return;
		this.#party = this.#share.join(peer);
		// What is still asked of the budget is taken from the share already.
		const bytes = this.#heldBytes + (this.#waitingFor === 'budget' ? this.#line[0]!.wantedGrantBytes : 0);
		if (bytes > 0) this.#share.move(bytes, old, this.#party);
		if (this.#waitingFor === 'share') {
			this.#waitingFor = 'nothing';
			this.#share.forget(old, this);
		}
		this.#share.leave(old);
		this.#serve();
	}

	/** The connection is gone. What it holds it may give back later; it asks for nothing any more. */
	leave(): void {
		this.#share.leave(this.#party);
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
		const waitedFor = this.#waitingFor;
		this.#waitingFor = 'nothing';
		if (waitedFor === 'share') this.#share.forget(this.#party, this);
		if (waitedFor === 'budget') {
			this.#budget.forget(this);
			this.#share.give(this.#party, taker.wantedGrantBytes);
		}
		this.#serve();
	}

	give(bytes: number): void {
		this.#heldBytes -= bytes;
		this.#budget.give(bytes);
		this.#share.give(this.#party, bytes);
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
			if (!this.#share.take(this.#party, bytes, this) || !this.#takeFromBudget(bytes)) return;
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
