/**
 * Keeps the event loop turning for a while after each arrival instead of sleeping: a request that comes within that time finds the process awake. Sleeping and waking cost 50 to
 * 100 µs a request at depth 1 on a virtual machine; the price is a busy core while requests keep coming. Off (0) unless the operator asks for it.
 */
class BusyPoll {
	#windowMs = 0;
	#until = 0;
	#isTurning = false;
	readonly #turn = (): void => {
		if (performance.now() < this.#until) setImmediate(this.#turn);
		else this.#isTurning = false;
	};

	/** How long to stay awake after an arrival, in microseconds. */
	configure(windowUs: number): void {
		this.#windowMs = windowUs / 1000;
	}

	/** Something arrived. */
	arrived(): void {
		if (this.#windowMs === 0) return;
		this.#until = performance.now() + this.#windowMs;
		if (this.#isTurning) return;
		this.#isTurning = true;
		setImmediate(this.#turn);
	}
}

/** One for the process: it has one event loop. */
export const busyPoll = new BusyPoll();
