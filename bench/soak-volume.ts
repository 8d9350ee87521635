import { fillBlocks, writeNumbersOf } from '../test/simulation/block-content.ts';

export const pageBytes = 4096;
const blockBytes = 512;
const attemptsMax = 32;

/**
 * What a volume has to hold: for each page the number of the write that it came from, 0 for zeros. Commands claim their pages, so that whatever protocol they go over, what a read
 * has to return is never in doubt.
 */
export class SoakVolume {
	readonly name: string;
	readonly pages: number;
	readonly #writeNumbers: Uint32Array;
	readonly #claimed: Uint8Array;
	#nextNumber = 1;

	constructor(name: string, sizeBytes: number) {
		this.name = name;
		this.pages = sizeBytes / pageBytes;
		this.#writeNumbers = new Uint32Array(this.pages);
		this.#claimed = new Uint8Array(this.pages);
	}

	/** The first of so many pages that nobody has, now the caller's; -1 if none was found. `random` gives 0 to 1. */
	claim(count: number, random: () => number): number {
		for (let attempt = 0; attempt < attemptsMax; attempt++) {
			const first = Math.floor(random() * (this.pages - count + 1));
			if (this.#claimed.subarray(first, first + count).includes(1)) continue;
			this.#claimed.fill(1, first, first + count);
			return first;
		}
		return -1;
	}

	release(first: number, count: number): void {
		this.#claimed.fill(0, first, first + count);
	}

	/** Puts the bytes of a new write into `target` and returns its number. */
	newWrite(target: Buffer, first: number): number {
		const number = this.#nextNumber++;
		fillBlocks(target, number, (first * pageBytes) / blockBytes);
		return number;
	}

	/** A write, or zeros by the number 0, was answered. */
	written(first: number, count: number, number: number): void {
		this.#writeNumbers.fill(number, first, first + count);
	}

	/** What is wrong with bytes that were read, in words; undefined if nothing. */
	fault(source: Buffer, first: number): string | undefined {
		const found = writeNumbersOf(source, (first * pageBytes) / blockBytes);
		for (let block = 0; block < found.length; block++) {
			const page = first + Math.floor((block * blockBytes) / pageBytes);
			const expected = this.#writeNumbers[page]!;
			if (found[block] === expected) continue;
			const what = found[block] === -1 ? 'bytes of no write' : `write ${found[block]}`;
			return `${this.name}, page ${page}, block ${block % (pageBytes / blockBytes)} of it: ${what} where write ${expected} was acknowledged`;
		}
		return undefined;
	}
}
