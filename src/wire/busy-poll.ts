/** How long the loop stays awake on its own account, µs: a client that waits for its answer sends the next request within that time. */
const adaptiveWindowUs = 50;
/** What the memory of hits holds at most, and what an arrival in time and one that did not come count. */
const creditMax = 16;
const hitCredit = 1;
const missCost = 4;
/** Without credit, one arrival in so many is waited for again. */
const probeEvery = 64;

/**
 * Keeps the event loop turning for a while after each arrival instead of sleeping: a request that comes within that time finds the process awake. Sleeping and waking cost 50 to
 * 100 µs a request at depth 1 on a virtual machine, more than the turns (docs/decisions/012).
 *
 * `adaptive`: only while it pays. An arrival in time earns credit, one that does not come costs more; without credit the loop sleeps as ever, but for a try now and then.
 */
export class BusyPoll {
	readonly #now: () => number;
	#windowMs = 0;
	#isAdaptive = false;
	#credit = creditMax;
	#untried = 0;
	#until = 0;
	#isTurning = false;
	readonly #turn = (): void => {
		if (this.#now() < this.#until) {
			setImmediate(this.#turn);
			return;
		}
		this.#isTurning = false;
		this.#credit = Math.max(0, this.#credit - missCost);
	};

	constructor(now: () => number = () => performance.now()) {
		this.#now = now;
	}

	/** How long to stay awake after an arrival, in microseconds; 0 never. */
	configure(window: number | 'adaptive'): void {
		this.#isAdaptive = window === 'adaptive';
		this.#windowMs = (window === 'adaptive' ? adaptiveWindowUs : window) / 1000;
		this.#credit = creditMax;
	}

	/** Something arrived. */
	arrived(): void {
		if (this.#windowMs === 0) return;
		if (this.#isTurning) {
			this.#credit = Math.min(creditMax, this.#credit + hitCredit);
			this.#until = this.#now() + this.#windowMs;
			return;
		}
		if (this.#isAdaptive && this.#credit === 0) {
			if (++this.#untried < probeEvery) return;
			this.#untried = 0;
		}
		this.#until = this.#now() + this.#windowMs;
		this.#isTurning = true;
		setImmediate(this.#turn);
	}
}

/** One for the process: it has one event loop. */
export const busyPoll = new BusyPoll();
