/**
 * Zeroed page ranges of one generation, each with the LSN of its record. A later range hides what it covers of earlier ones.
 *
 * Invariants: ranges are sorted by first page, not empty, and do not overlap.
 */
export class ZeroRanges {
	readonly #starts: number[] = [];
	readonly #ends: number[] = [];
	readonly #lsns: number[] = [];

	get count(): number {
		return this.#starts.length;
	}

	/** LSN of the range that covers a page, or -1. */
	lsnOf(page: number): number {
		if (this.#starts.length === 0) return -1;
		const index = this.#lastStartingAtOrBelow(page);
		return index >= 0 && page < (this.#ends[index] as number) ? (this.#lsns[index] as number) : -1;
	}

	/** First page at or after `page` at which a range begins; Infinity if none does. */
	nextStart(page: number): number {
		return this.#starts[this.#lastStartingAtOrBelow(page - 1) + 1] ?? Infinity;
	}

	/** End (exclusive) of the range that covers a page. */
	endOf(page: number): number {
		return this.#ends[this.#lastStartingAtOrBelow(page)] as number;
	}

	add(start: number, end: number, lsn: number): void {
		let from = this.#lastStartingAtOrBelow(start);
		if (from < 0 || (this.#ends[from] as number) <= start) from++;
		let to = from;
		while (to < this.#starts.length && (this.#starts[to] as number) < end) to++;
		const starts = [start];
		const ends = [end];
		const lsns = [lsn];
		if (from < to) {
			// What the first and the last of the covered ranges have outside the new one stays.
			const firstStart = this.#starts[from] as number;
			const lastEnd = this.#ends[to - 1] as number;
			if (firstStart < start) {
				starts.unshift(firstStart);
				ends.unshift(start);
				lsns.unshift(this.#lsns[from] as number);
			}
			if (lastEnd > end) {
				starts.push(end);
				ends.push(lastEnd);
				lsns.push(this.#lsns[to - 1] as number);
			}
		}
		this.#starts.splice(from, to - from, ...starts);
		this.#ends.splice(from, to - from, ...ends);
		this.#lsns.splice(from, to - from, ...lsns);
	}

	/** True if a range touches pages first to end (exclusive). */
	overlaps(first: number, end: number): boolean {
		if (this.#starts.length === 0) return false;
		const index = this.#lastStartingAtOrBelow(end - 1);
		return index >= 0 && (this.#ends[index] as number) > first;
	}

	*[Symbol.iterator](): Generator<{ start: number; end: number; lsn: number }> {
		for (let index = 0; index < this.#starts.length; index++) {
			yield { start: this.#starts[index] as number, end: this.#ends[index] as number, lsn: this.#lsns[index] as number };
		}
	}

	#lastStartingAtOrBelow(page: number): number {
		let low = 0;
		let high = this.#starts.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if ((this.#starts[middle] as number) <= page) low = middle + 1;
			else high = middle;
		}
		return low - 1;
	}
}
