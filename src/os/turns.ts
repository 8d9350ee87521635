/** So many at a time; who comes later waits, first come first served. Callers bound how many wait. */
export class Turns {
	readonly #atOnceMax: number;
	readonly #line: (() => void)[] = [];
	#running = 0;

	constructor(atOnceMax: number) {
		this.#atOnceMax = atOnceMax;
	}

	get waiting(): number {
		return this.#line.length;
	}

	/** Runs `work` when it is its turn; settles as it does. */
	run<T>(work: () => Promise<T>): Promise<T> {
		if (this.#running < this.#atOnceMax) return this.#start(work);
		return new Promise((resolve, reject) => {
			this.#line.push(() => {
				this.#start(work).then(resolve, reject);
			});
		});
	}

	async #start<T>(work: () => Promise<T>): Promise<T> {
		this.#running++;
		try {
			return await work();
		} finally {
			this.#running--;
			this.#line.shift()?.();
		}
	}
}
