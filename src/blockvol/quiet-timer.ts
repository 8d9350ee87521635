/**
 * Fires once nothing has happened for a while. A write only sets a flag: the timer, armed at most once, looks at it when its time is up.
 */
export class QuietTimer {
	readonly #periodMs: number;
	readonly #fire: () => void;
	#timer: NodeJS.Timeout | undefined;
	#isStirred = false;
	#isStopped = false;

	/** A period of 0 never fires. */
	constructor(periodMs: number, fire: () => void) {
		this.#periodMs = periodMs;
		this.#fire = fire;
	}

	/** Something happened. */
	stir(): void {
		this.#isStirred = true;
		if (this.#timer === undefined) this.#arm();
	}

	stop(): void {
		this.#isStopped = true;
		clearTimeout(this.#timer);
	}

	#arm(): void {
		if (this.#periodMs === 0 || this.#isStopped) return;
		this.#isStirred = false;
		this.#timer = setTimeout(() => {
			this.#timer = undefined;
			if (this.#isStirred) this.#arm();
			else this.#fire();
		}, this.#periodMs).unref();
	}
}
