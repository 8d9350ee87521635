/** Longer than this without a completion is a stall. */
export const stallMs = 50;

/** Completions over time: how many in each second, and how long there was none. */
export class Meter {
	readonly series: number[] = [];
	longestStallMs = 0;
	stalls = 0;
	#startMs = 0;
	#latestMs = 0;
	#count = 0;
	#second = 0;

	/** Forgets what was, and counts from here. */
	start(nowMs: number): void {
		this.series.length = 0;
		this.longestStallMs = 0;
		this.stalls = 0;
		this.#startMs = this.#latestMs = nowMs;
		this.#count = this.#second = 0;
	}

	completed(nowMs: number): void {
		const gapMs = nowMs - this.#latestMs;
		if (gapMs > this.longestStallMs) this.longestStallMs = gapMs;
		if (gapMs > stallMs) this.stalls++;
		this.#latestMs = nowMs;
		if (nowMs - this.#startMs >= (this.#second + 1) * 1000) this.#endSeconds(nowMs);
		this.#count++;
	}

	/** The time that counts is over: what is lacking since the last completion is a gap too. A second that is not whole is left out. */
	end(nowMs: number): void {
		const gapMs = nowMs - this.#latestMs;
		if (gapMs > this.longestStallMs) this.longestStallMs = gapMs;
		if (gapMs > stallMs) this.stalls++;
		if (nowMs - this.#startMs >= (this.#second + 1) * 1000) this.#endSeconds(nowMs);
	}

	#endSeconds(nowMs: number): void {
		while (nowMs - this.#startMs >= (this.#second + 1) * 1000) {
			this.series.push(this.#count);
			this.#count = 0;
			this.#second++;
		}
	}
}
