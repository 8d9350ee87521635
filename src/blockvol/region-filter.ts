/** Pages of a region: those of one mark (1 MiB), so that a large write asks once or twice. */
const regionShift = 8;
/** 64 Ki regions of 256 pages: 64 GiB of a volume before two share a bit, in 8 KiB of memory. */
const regionBits = 16;
const wordMask = 2 ** (regionBits - 5) - 1;

/**
 * Says of most pages that a set does not hold them, without a look at the set: a bit for each region in which a page was added. Large writes and reads of what was not written lately ask
 * about a hundred pages in a row, and each look into a large hash table is a cache miss.
 *
 * Never wrong when it says no; what it does not rule out has to be looked for.
 */
export class RegionFilter {
	readonly #words = new Uint32Array(wordMask + 1);

	add(page: number): void {
		const region = page >>> regionShift;
		this.#words[(region >>> 5) & wordMask]! |= 1 << (region & 31);
	}

	mayHold(page: number): boolean {
		const region = page >>> regionShift;
		return ((this.#words[(region >>> 5) & wordMask] as number) & (1 << (region & 31))) !== 0;
	}

	/** False only if no page from first to end (exclusive) was added. */
	mayHoldAny(first: number, end: number): boolean {
		for (let page = first - (first % regionPages); page < end; page += regionPages) if (this.mayHold(page)) return true;
		return false;
	}

	clear(): void {
		this.#words.fill(0);
	}
}

const regionPages = 2 ** regionShift;
