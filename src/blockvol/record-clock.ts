/** The field's largest value: that long after the anchor (49 days), or later. */
export const timeMax = 2 ** 32 - 1;

/**
 * Tells each record of the log its time, in the 32 bits that its header has for it: 1 + milliseconds since the time of the newest anchor before it in the log, which tells its own in full (timeline.ts).
 * 0: there is no anchor. The clock never goes back, whatever the machine's does.
 */
export class RecordClock {
	readonly #now: () => number;
	#lastMs = 0;
	#anchorMs = Infinity;

	constructor(now: () => number) {
		this.#now = now;
	}

	/** Milliseconds since 1970, UTC. */
	nowMs(): number {
		this.#lastMs = Math.max(this.#lastMs, this.#now());
		return this.#lastMs;
	}

	/** What is appended from now on counts from an anchor of this time. Undefined: from none. */
	setAnchor(timeMs: number | undefined): void {
		this.#anchorMs = timeMs ?? Infinity;
		if (timeMs !== undefined) this.#lastMs = Math.max(this.#lastMs, timeMs);
	}

	/** For the record that is appended now. */
	time(): number {
		const sinceMs = this.nowMs() - this.#anchorMs;
		return sinceMs < 0 ? 0 : Math.min(1 + sinceMs, timeMax);
	}
}
