/**
 * Whether the main thread may write into the page cache itself. That costs a third of a hop to the thread pool and back, and waits for nothing as long as the kernel has room; when it has
 * not (too many dirty pages, a journal that is being committed), a write waits for the disk, and with it every volume. One such wait sends the writes of the next while to the pool; the
 * while doubles with each wait that follows, and starts anew after a long time without.
 */
const closedMsMin = 1000;
const closedMsMax = 60_000;

export class InlineGate {
	readonly #stallMs: number;
	readonly #now: () => number;
	#closedMs = closedMsMin;
	#opensAt = -Infinity;
	/** Waits that were seen. */
	stalls = 0;

	/** `stallMs`: a write that takes longer has waited. Infinity: nothing counts as a wait. */
	constructor(stallMs: number, now: () => number = () => performance.now()) {
		this.#stallMs = stallMs;
		this.#now = now;
	}

	/** The time at which a write by the main thread begins, for leave(); -1: it is to go to the pool. */
	enter(): number {
		const now = this.#now();
		if (now < this.#opensAt) return -1;
		if (now - this.#opensAt > closedMsMax) this.#closedMs = closedMsMin;
		return now;
	}

	/** The write has ended. */
	leave(enteredAt: number): void {
		const now = this.#now();
		if (now - enteredAt <= this.#stallMs) return;
		this.stalls++;
		this.#opensAt = now + this.#closedMs;
		this.#closedMs = Math.min(closedMsMax, this.#closedMs * 2);
	}
}
