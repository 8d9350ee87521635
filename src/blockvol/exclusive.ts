/** Runs pieces of work one after the other, in the order in which they were asked for. */
export class Exclusive {
	#last: Promise<unknown> = Promise.resolve();

	/** Resolves or rejects as the work does; the next one starts either way. */
	run<T>(work: () => Promise<T>): Promise<T> {
		const step = this.#last.then(work);
		this.#last = step.catch(() => undefined);
		return step;
	}
}
