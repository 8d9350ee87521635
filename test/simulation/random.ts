/** A seeded generator: the same seed gives the same numbers on every machine. A counter with a mixing function, so that neighbouring seeds share nothing. */
export class Random {
	#state: number;

	constructor(seed: number) {
		this.#state = mix(seed ^ 0x5bd1e995);
	}

	/** 32 bits. */
	next(): number {
		this.#state = (this.#state + 0x9e3779b9) >>> 0;
		return mix(this.#state);
	}

	/** 0 ≤ n < limit. */
	below(limit: number): number {
		return Math.floor((this.next() / 0x1_0000_0000) * limit);
	}

	/** low ≤ n ≤ high. */
	between(low: number, high: number): number {
		return low + this.below(high - low + 1);
	}

	chance(probability: number): boolean {
		return probability > 0 && this.next() / 0x1_0000_0000 < probability;
	}

	pick<T>(list: readonly T[]): T {
		const picked = list[this.below(list.length)];
		if (picked === undefined) throw new RangeError('nothing to pick from');
		return picked;
	}

	/** A generator of its own, so that what one part draws does not shift the numbers of another. */
	branch(): Random {
		return new Random(this.next());
	}
}

/** Mixes several numbers into one seed. */
export function seedOf(...parts: readonly number[]): number {
	let seed = 0x811c9dc5;
	for (const part of parts) seed = mix(Math.imul(seed, 31) + part);
	return seed;
}

function mix(value: number): number {
	let mixed = value | 0;
	mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
	mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
	return (mixed ^ (mixed >>> 15)) >>> 0;
}
