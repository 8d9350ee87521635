/** Counts what is under way, and tells when nothing is any more. */
export class RunningCount {
	#count = 0;
	#whenIdle: (() => void) | undefined;

	begin(): void {
		this.#count++;
	}

	end(): void {
		this.#count--;
		if (this.#count === 0) this.#whenIdle?.();
	}

	/** Resolves when nothing is under way. One waits at a time. */
	idle(): Promise<void> {
		return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => (this.#whenIdle = resolve));
	}
}
