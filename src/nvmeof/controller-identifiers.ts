/** CNTLID FFF0h and above are reserved (NVMe Base 2.0, Controller ID). */
const identifierMax = 0xffef;

/** Hands out CNTLIDs in turn, so that one that became free is not used again soon: a queue of the old controller would find the new one. */
export class ControllerIdentifiers {
	#last = 0;

	/** There are far fewer controllers than identifiers. */
	next(taken: ReadonlyMap<number, unknown>): number {
		do this.#last = this.#last >= identifierMax ? 1 : this.#last + 1;
		while (taken.has(this.#last));
		return this.#last;
	}
}
