/** So many tasks at once, in the order in which they came. */
export class Semaphore {
	#free: number;
	readonly #waiting: (() => void)[] = [];

	constructor(count: number) {
		this.#free = count;
	}

	async use<T>(task: () => Promise<T>): Promise<T> {
		if (this.#free > 0) this.#free--;
		else
			await new Promise<void>((resolve) => {
				this.#waiting.push(resolve);
			});
		try {
			return await task();
		} finally {
			// The turn goes from hand to hand, so nobody overtakes.
			const next = this.#waiting.shift();
			if (next === undefined) this.#free++;
			else next();
		}
	}
}
