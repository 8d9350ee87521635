/**
 * Runs tasks side by side, so many at once. The first that fails is thrown by the next run() or by idle(), which wait for those that still run; none is started after it.
 */
export class BoundedTasks {
	readonly #max: number;
	readonly #running = new Set<Promise<void>>();
	#failure: { readonly error: unknown } | undefined;

	constructor(max: number) {
		this.#max = max;
	}

	/** Resolves when the task has been started: waits while so many run. */
	async run(task: () => Promise<void>): Promise<void> {
		while (this.#running.size >= this.#max && this.#failure === undefined) await Promise.race(this.#running);
		if (this.#failure !== undefined) return this.idle();
		const running = task()
			.catch((error: unknown) => {
				this.#failure ??= { error };
			})
			.finally(() => this.#running.delete(running));
		this.#running.add(running);
	}

	/** Resolves when nothing runs any more. */
	async idle(): Promise<void> {
		while (this.#running.size > 0) await Promise.race(this.#running);
		if (this.#failure !== undefined) throw this.#failure.error;
	}
}
