import { hash, type Generation } from './generation.ts';

/** So many generations are asked one by one. */
const askedMax = 8;
/** Entries that one look-up takes into the table. */
const entriesAtOnce = 512;
const slotsMin = 1024;

interface Pending {
	readonly generation: Generation;
}

/**
 * Which of many pending generations knows a page: after a thousand snapshots none of them is asked but one. Pending generations never change, so a table of the newest one for each page can be
 * made bit by bit, oldest first, by those who look; what is not in it yet is asked.
 *
 * Generations have numbers, counted from the first one that was ever pending; those below #first have been flushed, and say nothing any more.
 */
export class PendingLookup {
	#pages = new Float64Array(0);
	/** Numbers of generations, and 1; 0: vacant. */
	#newest = new Float64Array(0);
	#used = 0;
	#first = 0;
	/** The generations below are in the table … */
	#end = 0;
	/** … and so many entries of this one. */
	#entries = 0;
	/** Those in the table that have zeroed ranges, ascending. */
	#zeroed: number[] = [];

	/** The place of the newest generation that has written or zeroed a page; -1 if none has. */
	newest(pending: readonly Pending[], page: number): number {
		if (pending.length - (this.#end - this.#first) > askedMax) this.#take(pending);
		const known = this.#end - this.#first;
		for (let at = pending.length - 1; at >= known; at--) {
			const { generation } = pending[at] as Pending;
			if (generation.find(page) >= 0 || generation.zeros.lsnOf(page) >= 0) return at;
		}
		const written = known === 0 ? -1 : this.#find(page);
		for (let at = this.#zeroed.length - 1; at >= 0; at--) {
			const place = (this.#zeroed[at] as number) - this.#first;
			if (place <= written) break;
			if ((pending[place] as Pending).generation.zeros.lsnOf(page) >= 0) return place;
		}
		return written;
	}

	/** The oldest ones are not pending any more, so many of them. */
	flushed(generations: number, isLast: boolean): void {
		this.#first += generations;
		if (this.#end < this.#first) {
			this.#end = this.#first;
			this.#entries = 0;
		}
		this.#zeroed = this.#zeroed.filter((number) => number >= this.#first);
		if (isLast) this.reset();
	}

	/** What is pending is not what it was. */
	reset(): void {
		this.#pages = new Float64Array(0);
		this.#newest = new Float64Array(0);
		this.#used = 0;
		this.#end = this.#first;
		this.#entries = 0;
		this.#zeroed = [];
	}

	#find(page: number): number {
		const mask = this.#pages.length - 1;
		for (let slot = hash(page) & mask; ; slot = (slot + 1) & mask) {
			const number = this.#newest[slot] as number;
			if (number === 0) return -1;
			// One that was flushed is below #first.
			if (this.#pages[slot] === page) return Math.max(-1, number - 1 - this.#first);
		}
	}

	/** Takes some more into the table. */
	#take(pending: readonly Pending[]): void {
		if (this.#used + entriesAtOnce > this.#pages.length / 2) this.#begin(pending);
		for (let left = entriesAtOnce; left > 0 && this.#end - this.#first < pending.length;) {
			const { generation } = pending[this.#end - this.#first] as Pending;
			for (; left > 0 && this.#entries < generation.length; left--) this.#put(generation.pageOf(this.#entries++), this.#end + 1);
			if (this.#entries < generation.length) return;
			if (generation.zeros.count > 0) this.#zeroed.push(this.#end);
			this.#end++;
			this.#entries = 0;
			left--;
		}
	}

	/** An empty table with room for all that is pending. */
	#begin(pending: readonly Pending[]): void {
		this.reset();
		const entries = pending.reduce((sum, { generation }) => sum + generation.length, 0);
		const slots = Math.max(slotsMin, 2 ** Math.ceil(Math.log2(3 * (entries + entriesAtOnce))));
		this.#pages = new Float64Array(slots);
		this.#newest = new Float64Array(slots);
	}

	#put(page: number, number: number): void {
		const mask = this.#pages.length - 1;
		for (let slot = hash(page) & mask; ; slot = (slot + 1) & mask) {
			if (this.#newest[slot] === 0) {
				this.#pages[slot] = page;
				this.#used++;
			} else if (this.#pages[slot] !== page) {
				continue;
			}
			this.#newest[slot] = number;
			return;
		}
	}
}
