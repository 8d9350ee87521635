/** A seeded generator (mulberry32): the same seed gives the same run, on every machine. */
export class Random {
	#state: number;

	constructor(seed: number) {
		this.#state = seed >>> 0;
	}

	/** 0 ≤ result < 1. */
	unit(): number {
		this.#state = (this.#state + 0x6d2b79f5) | 0;
		let t = this.#state;
		t = Math.imul(t ^ (t >>> 15), t | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
	}

	/** An integer, low ≤ result ≤ high. */
	between(low: number, high: number): number {
		return low + Math.floor(this.unit() * (high - low + 1));
	}

	/** Like between, each order of magnitude as likely as the next. */
	logarithmic(low: number, high: number): number {
		return Math.min(high, Math.floor(low * Math.exp(this.unit() * Math.log((high + 1) / low))));
	}

	chance(share: number): boolean {
		return this.unit() < share;
	}
}
