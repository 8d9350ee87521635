/** Pages that were written straight to layers and not made durable since, of all volumes of the process: they share the kernel's memory for what is dirty. */
export class DirectTally {
	pages = 0;
}

/** One for the process. */
export const directTally = new DirectTally();

/**
 * Says when what one volume has written straight to its layer is due for the flusher. Soon, so that a flush has little to wait for and no fdatasync is long; but a writer that goes over the
 * same pages again and again would have them carried each time: those are left until they are old, or too many for the kernel's memory.
 */
export class DirectShare {
	readonly #tally: DirectTally;
	readonly #tuning: DirectTuning;
	readonly #nowMs: () => number;
	#pages = 0;
	#sinceMs = 0;
	#isClosed = false;

	constructor(tally: DirectTally, tuning: DirectTuning, nowMs: () => number = () => performance.now()) {
		this.#tally = tally;
		this.#tuning = tuning;
		this.#nowMs = nowMs;
	}

	/** What the live generation holds now: written directly, and different pages of that. */
	isDue({ directPages, directEntries }: DirectCounts, isRewriting: boolean): boolean {
		if (this.#pages === 0 && directEntries > 0) this.#sinceMs = this.#nowMs();
		this.#count(directEntries);
		const { flushStartDirectPages, flushDirectPagesMax, flushDirectMs } = this.#tuning;
		if (directPages < flushStartDirectPages) return false;
		return !isRewriting || this.#tally.pages >= flushDirectPagesMax || this.#nowMs() - this.#sinceMs >= flushDirectMs;
	}

	/** What the volume had is in its layer for good. */
	flushed(): void {
		this.#count(0);
	}

	/** The volume takes no more writes: whatever still ends counts for nothing. */
	close(): void {
		this.#count(0);
		this.#isClosed = true;
	}

	#count(pages: number): void {
		if (this.#isClosed) return;
		this.#tally.pages += pages - this.#pages;
		this.#pages = pages;
	}
}

interface DirectCounts {
	readonly directPages: number;
	readonly directEntries: number;
}

interface DirectTuning {
	readonly flushStartDirectPages: number;
	readonly flushDirectPagesMax: number;
	readonly flushDirectMs: number;
}
