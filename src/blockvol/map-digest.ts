import type { MapDigest } from './superblock.ts';

/**
 * A set hash of a page map: the exclusive or of one 64-bit value for each entry that is not absent. It follows changes in any order at O(1) each.
 */
export class RunningDigest {
	#low: number;
	#high: number;
	/** False: what it stood on is unknown, so it says nothing. */
	known: boolean;

	constructor(start: MapDigest | undefined) {
		this.#low = start?.low ?? 0;
		this.#high = start?.high ?? 0;
		this.known = start !== undefined;
	}

	/** Of a map that holds nothing. */
	static empty(): RunningDigest {
		return new RunningDigest({ low: 0, high: 0 });
	}

	get value(): MapDigest | undefined {
		return this.known ? { low: this.#low >>> 0, high: this.#high >>> 0 } : undefined;
	}

	/** An entry joins the set, or leaves it: both are the same. Absent entries (0) do not count. */
	toggle(page: number, entry: number): void {
		if (entry === 0) return;
		const high = Math.floor(page / 2 ** 32);
		this.#low ^= mix(mix(page | 0, high), entry);
		this.#high ^= mix(mix(entry, page | 0), high ^ 0x5bd1e995);
	}
}

function mix(value: number, seed: number): number {
	let mixed = Math.imul(value ^ seed, 0x85ebca6b) ^ Math.imul(seed, 0x9e3779b1);
	mixed = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35);
	return mixed ^ (mixed >>> 16);
}
