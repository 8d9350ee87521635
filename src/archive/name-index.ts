import type { ContentKind } from './object-keys.ts';
import { secretPlace } from './secret-place.ts';

const wordsPerSlot = 4;

/**
 * From the first 64 bits of an object's name to its generation, in a typed array: 24 bytes an entry. Two names that share them share an entry, so what it says is a hint: the
 * key has to be asked for.
 */
export class NameIndex {
	#words = new Uint32Array(wordsPerSlot * 1024);
	#size = 0;

	get size(): number {
		return this.#size;
	}

	get(kind: ContentKind, name: string): Buffer | undefined {
		const [first, second] = placeOf(kind, name);
		const at = this.#at(first, second);
		if (this.#words[at + 2] === 0 && this.#words[at + 3] === 0) return undefined;
		const generation = Buffer.alloc(8);
		generation.writeUInt32LE(this.#words[at + 2] ?? 0, 0);
		generation.writeUInt32LE(this.#words[at + 3] ?? 0, 4);
		return generation;
	}

	/** A later one takes the place of an earlier one. */
	set(kind: ContentKind, name: string, generation: Buffer): void {
		const [first, second] = placeOf(kind, name);
		this.#put(first, second, generation.readUInt32LE(0), generation.readUInt32LE(4));
	}

	clear(): void {
		this.#words = new Uint32Array(wordsPerSlot * 1024);
		this.#size = 0;
	}

	#put(first: number, second: number, third: number, fourth: number): void {
		const at = this.#at(first, second);
		if (this.#words[at + 2] === 0 && this.#words[at + 3] === 0) this.#size++;
		this.#words[at] = first;
		this.#words[at + 1] = second;
		this.#words[at + 2] = third;
		this.#words[at + 3] = fourth;
		if (this.#size * 1.5 * wordsPerSlot > this.#words.length) this.#grow();
	}

	/** A slot is free if it has no generation. */
	#at(first: number, second: number): number {
		const slots = this.#words.length / wordsPerSlot;
		let slot = secretPlace(first, second) & (slots - 1);
		for (;;) {
			const at = slot * wordsPerSlot;
			const isFree = this.#words[at + 2] === 0 && this.#words[at + 3] === 0;
			if (isFree || (this.#words[at] === first && this.#words[at + 1] === second)) return at;
			slot = (slot + 1) & (slots - 1);
		}
	}

	#grow(): void {
		const old = this.#words;
		this.#words = new Uint32Array(2 * old.length);
		this.#size = 0;
		for (let at = 0; at < old.length; at += wordsPerSlot) {
			const [first = 0, second = 0, third = 0, fourth = 0] = old.subarray(at, at + wordsPerSlot);
			if (third !== 0 || fourth !== 0) this.#put(first, second, third, fourth);
		}
	}
}

/** Chunks and lists are told apart by a bit. */
function placeOf(kind: ContentKind, name: string): [number, number] {
	const second = Number.parseInt(name.slice(8, 16), 16);
	return [Number.parseInt(name.slice(0, 8), 16), kind === 'chunk' ? (second | 1) >>> 0 : (second & ~1) >>> 0];
}
