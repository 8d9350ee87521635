/** A wait closes the gate for so many times what it took: then the main thread spends less than a twentieth of the time waiting for one log, or for one layer. */
const closedShareMin = 20;
const closedMsMax = 60_000;

/**
 * Whether the main thread may write into the page cache itself. That costs a third of a hop to the thread pool and back, and waits for nothing as long as the kernel has room; when it has
 * not (too many dirty pages, a journal that is being committed), a write waits for the disk, and with it every volume. One such wait sends the writes of the next while to the pool. Where the next
 * wait comes sooner after that than the while was long, the disk is slow: each such one doubles it. Otherwise it was a passing thing, as a machine that others share has them every few seconds.
 */
export class InlineGate {
	readonly #stallMs: number;
	readonly #now: () => number;
	#closedShare = closedShareMin;
	#closedMs = 0;
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
		return now < this.#opensAt ? -1 : now;
	}

	/** The write has ended. */
	leave(enteredAt: number): void {
		const now = this.#now();
		const waitedMs = now - enteredAt;
		if (waitedMs <= this.#stallMs) return;
		this.stalls++;
		const isSoon = enteredAt - this.#opensAt < this.#closedMs;
		this.#closedShare = isSoon ? this.#closedShare * 2 : closedShareMin;
		this.#closedMs = Math.min(closedMsMax, waitedMs * this.#closedShare);
		this.#opensAt = now + this.#closedMs;
	}
}
