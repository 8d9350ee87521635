import { blockBytes } from './page-map-block.ts';

const ways = 8;
const vacant = -1;

/**
 * Blocks of one page map in one slab: set-associative, eight places a set, the one not used for longest goes. No allocation but for the slab, with the first block: of the
 * layers of snapshots that were just made most hold nothing. Memory that was never used is never touched.
 */
export class MapCache {
	#slab: Buffer | undefined;
	readonly #blocks: Buffer[] = [];
	#indices = new Float64Array(0);
	#lastUse = new Uint32Array(0);
	#pins = new Uint16Array(0);
	readonly #sets: number;
	#clock = 0;
	/** Counts what may make an unfinished load stale: pins taken for a change, and zeroed ranges. */
	version = 0;

	constructor(blocks: number) {
		this.#sets = 2 ** Math.max(0, Math.ceil(Math.log2(blocks / ways)));
	}

	/** Nothing was ever claimed. */
	get isUnused(): boolean {
		return this.#slab === undefined;
	}

	/** The slot that holds a block, or -1. */
	find(blockIndex: number): number {
		if (this.isUnused) return -1;
		const first = this.#firstSlot(blockIndex);
		for (let slot = first; slot < first + ways; slot++) {
			if (this.#indices[slot] !== blockIndex) continue;
			this.#lastUse[slot] = ++this.#clock;
			return slot;
		}
		return -1;
	}

	/** Of a slot that find() or claim() gave. */
	block(slot: number): Buffer {
		return (this.#blocks[slot] ??= (this.#slab as Buffer).subarray(slot * blockBytes, (slot + 1) * blockBytes));
	}

	blockIndex(slot: number): number {
		return this.#indices[slot] as number;
	}

	/** True if a block could be claimed now. */
	hasRoom(blockIndex: number): boolean {
		return this.isUnused || this.#victim(blockIndex) >= 0;
	}

	/** Gives a place to a block that is not cached, dropping another; -1 when all of its set are pinned. The content is the caller's to fill. */
	claim(blockIndex: number): number {
		if (this.isUnused) this.#allocate();
		const slot = this.#victim(blockIndex);
		if (slot < 0) return -1;
		this.#indices[slot] = blockIndex;
		this.#lastUse[slot] = ++this.#clock;
		return slot;
	}

	release(slot: number): void {
		this.#indices[slot] = vacant;
	}

	pin(slot: number): void {
		this.#pins[slot]!++;
		this.version++;
	}

	unpin(slot: number): void {
		this.#pins[slot]!--;
		this.version++;
	}

	/** Cached blocks of a range become all absent. */
	zero(fromBlock: number, toBlock: number): void {
		this.version++;
		for (let slot = 0; slot < this.#indices.length; slot++) {
			const index = this.#indices[slot] as number;
			if (index >= fromBlock && index < toBlock) this.block(slot).fill(0);
		}
	}

	#allocate(): void {
		const slots = this.#sets * ways;
		this.#slab = Buffer.allocUnsafeSlow(slots * blockBytes);
		this.#indices = new Float64Array(slots).fill(vacant);
		this.#lastUse = new Uint32Array(slots);
		this.#pins = new Uint16Array(slots);
	}

	#victim(blockIndex: number): number {
		const first = this.#firstSlot(blockIndex);
		let best = -1;
		for (let slot = first; slot < first + ways; slot++) {
			if (this.#pins[slot] !== 0) continue;
			if (this.#indices[slot] === vacant) return slot;
			if (best < 0 || (this.#lastUse[slot] as number) < (this.#lastUse[best] as number)) best = slot;
		}
		return best;
	}

	#firstSlot(blockIndex: number): number {
		return ((Math.imul(blockIndex, 0x9e3779b1) >>> 8) & (this.#sets - 1)) * ways;
	}
}
