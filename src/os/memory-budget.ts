/** Somebody who waits for memory. `granted` is called once, when the bytes that were asked for have been taken on its behalf. */
export interface BudgetWaiter {
	granted(): void;
}

interface Waiting {
	waiter: BudgetWaiter;
	bytes: number;
}

/**
 * Counts payload bytes in flight over all sessions of the process. Who cannot have its bytes at once waits in line; nobody overtakes.
 *
 * Invariants: 0 ≤ usedBytes ≤ limitBytes; when somebody waits, the first in line asks for more than is free.
 */
export class MemoryBudget {
	readonly limitBytes: number;
	#usedBytes = 0;
	#peakBytes = 0;
	readonly #line: Waiting[] = [];

	constructor(limitBytes: number) {
		this.limitBytes = limitBytes;
	}

	get usedBytes(): number {
		return this.#usedBytes;
	}

	get peakBytes(): number {
		return this.#peakBytes;
	}

	get waiting(): number {
		return this.#line.length;
	}

	/** Takes the bytes now or not at all. */
	tryTake(bytes: number): boolean {
		if (this.#line.length > 0 || this.#usedBytes + bytes > this.limitBytes) return false;
		this.#take(bytes);
		return true;
	}

	/** Takes the bytes now (true), or queues the waiter (false). A request above the limit is a fault of the caller. */
	take(bytes: number, waiter: BudgetWaiter): boolean {
		if (bytes > this.limitBytes) throw new RangeError(`${bytes} bytes can never be granted from a budget of ${this.limitBytes}`);
		if (this.tryTake(bytes)) return true;
		this.#line.push({ waiter, bytes });
		return false;
	}

	/** Takes a waiter out of the line. True if it was there (it holds nothing then). */
	forget(waiter: BudgetWaiter): boolean {
		const index = this.#line.findIndex((waiting) => waiting.waiter === waiter);
		if (index < 0) return false;
		this.#line.splice(index, 1);
		this.#serve();
		return true;
	}

	give(bytes: number): void {
		if (bytes > this.#usedBytes) throw new RangeError(`${bytes} bytes given back, ${this.#usedBytes} taken`);
		this.#usedBytes -= bytes;
		this.#serve();
	}

	#take(bytes: number): void {
		this.#usedBytes += bytes;
		if (this.#usedBytes > this.#peakBytes) this.#peakBytes = this.#usedBytes;
	}

	#serve(): void {
		for (;;) {
			const first = this.#line[0];
			if (first === undefined || this.#usedBytes + first.bytes > this.limitBytes) return;
			this.#line.shift();
			this.#take(first.bytes);
			first.waiter.granted();
		}
	}
}
