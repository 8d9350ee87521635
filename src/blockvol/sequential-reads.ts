/** Readers that are told apart, the one not seen for longest goes. */
const readersMax = 8;

interface Reader {
	/** The chunk behind what was asked for ahead of it. */
	end: number;
	/** Chunks that the next look ahead takes. */
	window: number;
}

/** Finds out who reads one chunk after the other, and what such a reader will ask for next: one chunk ahead at first, then twice as many, up to a limit. */
export class SequentialReads {
	readonly #aheadMax: number;
	/** By their last use, the latest last. */
	#readers: Reader[] = [];

	constructor(aheadMax: number) {
		this.#aheadMax = aheadMax;
	}

	/** What to fetch ahead, now that somebody asks for a chunk. */
	after(chunk: number): number[] {
		if (this.#aheadMax === 0) return [];
		const at = this.#readers.findIndex(({ end, window }) => chunk <= end && chunk >= end - window - 1);
		if (at < 0) {
			if (this.#readers.length === readersMax) this.#readers.shift();
			this.#readers.push({ end: chunk + 1, window: 0 });
			return [];
		}
		const [reader] = this.#readers.splice(at, 1) as [Reader];
		this.#readers.push(reader);
		// Still within what was asked for, and not at its last chunk: enough is on its way.
		if (chunk < reader.end - 1 || (reader.window === 0 && chunk < reader.end)) return [];
		reader.window = Math.min(this.#aheadMax, Math.max(1, reader.window * 2));
		const first = Math.max(reader.end, chunk + 1);
		reader.end = first + reader.window;
		return Array.from({ length: reader.window }, (_, index) => first + index);
	}
}
