import type { BudgetWaiter } from './memory-budget.ts';

interface Waiting {
	waiter: BudgetWaiter;
	bytes: number;
}

/** All that one peer has of a share, over however many connections. Of FairShare.join(). */
export class Party {
	readonly name: string | undefined;
	/** Of FairShare alone. */
	heldBytes = 0;
	members = 0;
	readonly waiting: Waiting[] = [];

	constructor(name: string | undefined) {
		this.name = name;
	}
}

/**
 * A part of the memory budget that peers take turns at. They count by name, so that a peer has no more of it by more connections.
 *
 * - Who holds nothing may have all that is free. The last `reserveBytes` are for those alone: whatever the others hold, a newcomer begins at once.
 * - Who holds something may go on while nobody else does, and beside others up to as much as is left for them: of n that want more each comes to 1 / (n + 1).
 * - Of those that wait, parties have turns, and the requests of one are in order. Nobody overtakes one that holds nothing; one that holds something is overtaken until it may have more, at the
 *   latest when it holds nothing.
 *
 * Invariants: 0 ≤ usedBytes ≤ limitBytes, the sum of all heldBytes; a party is in #turns while it waits, and none there may have what it asks for.
 */
export class FairShare {
	readonly limitBytes: number;
	readonly reserveBytes: number;
	#usedBytes = 0;
	readonly #parties = new Map<string, Party>();
	readonly #turns: Party[] = [];

	constructor(limitBytes: number, reserveBytes: number) {
		this.limitBytes = limitBytes;
		this.reserveBytes = reserveBytes;
	}

	get usedBytes(): number {
		return this.#usedBytes;
	}

	/** Requests. */
	get waiting(): number {
		return this.#turns.reduce((sum, party) => sum + party.waiting.length, 0);
	}

	/** Whether somebody waits who is not of this party. */
	isWantedBeside(party: Party): boolean {
		return this.#turns.length > (party.waiting.length > 0 ? 1 : 0);
	}

	/** Whether somebody waits who is not of this party and holds nothing: even the reserve is taken. */
	isStarvedBeside(party: Party): boolean {
		return this.#turns.some((other) => other !== party && other.heldBytes === 0);
	}

	/** The party of a name, until as many leave() have been called; without a name one of its own. */
	join(name: string | undefined): Party {
		let party = name === undefined ? undefined : this.#parties.get(name);
		if (party === undefined) {
			party = new Party(name);
			if (name !== undefined) this.#parties.set(name, party);
		}
		party.members++;
		return party;
	}

	leave(party: Party): void {
		party.members--;
		this.#perhapsForget(party);
	}

	/** Takes the bytes now or not at all. */
	tryTake(party: Party, bytes: number): boolean {
		if (party.waiting.length > 0 || !this.#admits(party, bytes)) return false;
		for (const other of this.#turns) if (other.heldBytes === 0) return false;
		this.#take(party, bytes);
		return true;
	}

	/** Takes the bytes now (true), or queues the waiter (false). A request above the limit is a fault of the caller. */
	take(party: Party, bytes: number, waiter: BudgetWaiter): boolean {
		if (bytes > this.limitBytes) throw new RangeError(`${bytes} bytes can never be granted from a share of ${this.limitBytes}`);
		if (this.tryTake(party, bytes)) return true;
		if (party.waiting.length === 0) this.#turns.push(party);
		party.waiting.push({ waiter, bytes });
		return false;
	}

	/** Takes a waiter of the party out of the line. True if it was there (it holds nothing then). */
	forget(party: Party, waiter: BudgetWaiter): boolean {
		const index = party.waiting.findIndex((waiting) => waiting.waiter === waiter);
		if (index < 0) return false;
		party.waiting.splice(index, 1);
		if (party.waiting.length === 0) this.#turns.splice(this.#turns.indexOf(party), 1);
		this.#serve();
		return true;
	}

	give(party: Party, bytes: number): void {
		if (bytes > party.heldBytes) throw new RangeError(`${bytes} bytes given back, ${party.heldBytes} held`);
		party.heldBytes -= bytes;
		this.#usedBytes -= bytes;
		if (party.members === 0) this.#perhapsForget(party);
		if (this.#turns.length > 0) this.#serve();
	}

	/** The bytes are another party's from now on. */
	move(bytes: number, from: Party, to: Party): void {
		from.heldBytes -= bytes;
		to.heldBytes += bytes;
		this.#perhapsForget(from);
	}

	#admits(party: Party, bytes: number): boolean {
		const used = this.#usedBytes;
		const held = party.heldBytes;
		if (held === 0) return used + bytes <= this.limitBytes;
		const common = this.limitBytes - this.reserveBytes;
		if (used === held && !this.isWantedBeside(party)) return held + bytes <= common;
		return held + bytes <= common - used;
	}

	#take(party: Party, bytes: number): void {
		party.heldBytes += bytes;
		this.#usedBytes += bytes;
	}

	#serve(): void {
		for (let index = 0; index < this.#turns.length;) {
			const party = this.#turns[index]!;
			const { waiter, bytes } = party.waiting[0]!;
			if (!this.#admits(party, bytes)) {
				if (party.heldBytes === 0) return;
				index++;
				continue;
			}
			party.waiting.shift();
			this.#turns.splice(index, 1);
			if (party.waiting.length > 0) this.#turns.push(party);
			this.#take(party, bytes);
			waiter.granted();
			// What is free is another amount now, and whoever was granted may have given or asked.
			index = 0;
		}
	}

	#perhapsForget(party: Party): void {
		if (party.members === 0 && party.heldBytes === 0 && party.name !== undefined) this.#parties.delete(party.name);
	}
}
