import { secretPlace } from './secret-place.ts';

/**
 * A set of generations (8 random bytes each, if the repository is not an enemy's): open addressing in typed arrays, 16 bytes an entry at most when full.
 * Generation 0 is that of zeros, which have no object: it is never in a set.
 */
export class GenerationSet {
	#words: Uint32Array;
	#mask: number;
	#size = 0;

	constructor(capacity = 1024) {
		const slots = 2 ** Math.ceil(Math.log2(Math.max(16, capacity * 1.5)));
		this.#words = new Uint32Array(2 * slots);
		this.#mask = slots - 1;
	}

	get size(): number {
		return this.#size;
	}

	/** Of the 8 bytes at an offset. */
	add(bytes: Uint8Array, offset: number): boolean {
		return this.#insert(word(bytes, offset), word(bytes, offset + 4));
	}

	addAll(others: GenerationSet): void {
		const words = others.#words;
		for (let at = 0; at < words.length; at += 2) this.#insert(words[at] ?? 0, words[at + 1] ?? 0);
	}

	has(bytes: Uint8Array, offset: number): boolean {
		const [first, second] = [word(bytes, offset), word(bytes, offset + 4)];
		if (first === 0 && second === 0) return false;
		const slot = this.#slot(first, second);
		return this.#words[2 * slot] === first && this.#words[2 * slot + 1] === second;
	}

	addHex(generation: string): boolean {
		return this.add(Buffer.from(generation, 'hex'), 0);
	}

	hasHex(generation: string): boolean {
		return this.has(Buffer.from(generation, 'hex'), 0);
	}

	/** Where it is, or would be. */
	#slot(first: number, second: number): number {
		let slot = secretPlace(first, second) & this.#mask;
		for (;;) {
			const [a, b] = [this.#words[2 * slot], this.#words[2 * slot + 1]];
			if ((a === 0 && b === 0) || (a === first && b === second)) return slot;
			slot = (slot + 1) & this.#mask;
		}
	}

	/** Whether it is new. */
	#insert(first: number, second: number): boolean {
		if (first === 0 && second === 0) return false;
		const slot = this.#slot(first, second);
		if (this.#words[2 * slot] === first && this.#words[2 * slot + 1] === second) return false;
		this.#words[2 * slot] = first;
		this.#words[2 * slot + 1] = second;
		this.#size++;
		if (this.#size * 1.5 > this.#mask + 1) this.#grow();
		return true;
	}

	#grow(): void {
		const old = this.#words;
		this.#words = new Uint32Array(2 * old.length);
		this.#mask = this.#words.length / 2 - 1;
		this.#size = 0;
		for (let at = 0; at < old.length; at += 2) this.#insert(old[at] ?? 0, old[at + 1] ?? 0);
	}
}

function word(bytes: Uint8Array, offset: number): number {
	return (
		((bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8) | ((bytes[offset + 2] ?? 0) << 16) | ((bytes[offset + 3] ?? 0) << 24)) >>> 0
	);
}
