/**
 * How long who uses something up has to wait so that on average no more than a rate is used. Pure: the clock is an argument.
 * What is unused is kept for a second at most. A single use may be larger than that: it is let go at once and paid for by those behind it.
 */
export class TokenBucket {
	readonly #perMs: number;
	#tokens: number;
	#atMs: number;

	/** `perSecond`: above 0; Infinity never waits. */
	constructor(perSecond: number, nowMs: number) {
		this.#perMs = perSecond / 1000;
		this.#tokens = perSecond;
		this.#atMs = nowMs;
	}

	/** Takes an amount and tells how many ms to wait before it is used. */
	take(amount: number, nowMs: number): number {
		if (this.#perMs === Infinity) return 0;
		const elapsedMs = Math.max(0, nowMs - this.#atMs);
		this.#atMs = nowMs;
		this.#tokens = Math.min(this.#perMs * 1000, this.#tokens + elapsedMs * this.#perMs);
		const waitMs = this.#tokens >= 0 ? 0 : -this.#tokens / this.#perMs;
		this.#tokens -= amount;
		return waitMs;
	}
}
