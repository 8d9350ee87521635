/** With shorter stretches than this, sorting all pages costs no more than putting the stretches in order. */
const pagesPerRunMin = 8;

/**
 * The pages that a cycle has brought into a layer, with their checksums: in the order of the log as they come, in that of the map as they are needed. Large writes make stretches of neighbours,
 * and then nothing is sorted but those.
 */
export class MovedPages {
	readonly #pages: Float64Array;
	readonly #checksums: Uint32Array;
	/** Where stretches of neighbours begin; as many as are worth it. */
	readonly #runs: number[] = [];
	#isAscending = true;
	count = 0;

	constructor(pagesMax: number) {
		this.#pages = new Float64Array(pagesMax);
		this.#checksums = new Uint32Array(pagesMax);
	}

	/** Each page comes once. */
	add(page: number, checksum: number): void {
		const before = this.count === 0 ? -Infinity : this.#page(this.count - 1);
		if (page < before) this.#isAscending = false;
		if (page !== before + 1 && this.#runs.length * pagesPerRunMin <= this.#pages.length) this.#runs.push(this.count);
		this.#pages[this.count] = page;
		this.#checksums[this.count++] = checksum;
	}

	/** Ascending, with the checksum of each at the same place. `checksumOf` tells one anew where all had to be sorted. Nothing can be added any more. */
	sorted(checksumOf: (page: number) => number): { pages: Float64Array; checksums: Uint32Array } {
		const pages = this.#pages.subarray(0, this.count);
		const checksums = this.#checksums.subarray(0, this.count);
		if (this.#isAscending) return { pages, checksums };
		if (this.#runs.length * pagesPerRunMin <= this.count) return this.#joined();
		pages.sort();
		for (let at = 0; at < pages.length; at++) checksums[at] = checksumOf(pages[at] as number);
		return { pages, checksums };
	}

	/** The stretches one behind the other: as each page comes once, they do not interlock. */
	#joined(): { pages: Float64Array; checksums: Uint32Array } {
		const runs = this.#runs.map((start, index) => ({ start, end: this.#runs[index + 1] ?? this.count }));
		runs.sort((one, other) => this.#page(one.start) - this.#page(other.start));
		const pages = new Float64Array(this.count);
		const checksums = new Uint32Array(this.count);
		let at = 0;
		for (const { start, end } of runs) {
			pages.set(this.#pages.subarray(start, end), at);
			checksums.set(this.#checksums.subarray(start, end), at);
			at += end - start;
		}
		return { pages, checksums };
	}

	#page(at: number): number {
		return this.#pages[at] as number;
	}
}
