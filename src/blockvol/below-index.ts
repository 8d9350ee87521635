import { bitOf, hasBit, summaryBits, type FrozenLayer } from './frozen-layer.ts';
import { pageBytes } from './limits.ts';
import { blockBytes, entriesPerBlock, entryAbsent, entryLost, entryOffset } from './page-map-block.ts';
import { notFetched, notLoaded } from './page-map.ts';

const nobody = 0xffff;
/** No layer has the page yet: it has to be fetched. */
const elsewhere = 0xfffe;
/** Owner numbers are 16 bits and not given twice before everything is forgotten. */
const ownersMax = 60_000;

/** For a block of pages: who holds what, over all layers of the stack up to a height. */
interface MergedBlock {
	owners: Uint16Array;
	entries: Uint32Array;
	/** Layers of the stack, from the bottom, that are in it. */
	height: number;
}

/** How many blocks of a page map one bit of a summary stands for. */
export function blocksPerBit(sizeBytes: number): number {
	return Math.max(1, Math.ceil(sizeBytes / pageBytes / entriesPerBlock / summaryBits));
}

/**
 * What the layers below the live one hold, merged: for each page the newest entry and whose it is. Remembered by blocks of the page map, a bounded number of them, so that a
 * page that was looked up before costs the same under one layer and under a thousand.
 *
 * Content below never changes: a merge only moves it from a layer to the one above, which absorbed() and remove() are told.
 *
 * Invariants: a remembered block tells for each page what the layers up to its height hold; an owner's files are there as long as its number is in a block.
 */
export class BelowIndex {
	/** Bottom first. */
	readonly #stack: FrozenLayer[] = [];
	/** By owner number; a number is its layer's for good. */
	#owners: FrozenLayer[] = [];
	/** Owner numbers of the stack's layers. */
	#numbers: number[] = [];
	/** Blocks in the order of their last use. */
	readonly #blocks = new Map<number, MergedBlock>();
	readonly #blocksMax: number;
	readonly blocksPerBit: number;
	#last: MergedBlock | undefined;
	#lastIndex = -1;
	/** Counts what makes an unfinished load stale. */
	#version = 0;
	#isReady = true;
	/** Of the summaries of all layers. */
	readonly #union = new Uint8Array(summaryBits / 8);
	/** Answer of find(). */
	home: FrozenLayer | undefined;
	loads = 0;

	constructor(blocksMax: number, perBit: number) {
		this.#blocksMax = blocksMax;
		this.blocksPerBit = perBit;
	}

	get isEmpty(): boolean {
		return this.#stack.length === 0;
	}

	/** Newest first. */
	get layers(): FrozenLayer[] {
		return this.#stack.toReversed();
	}

	get blocks(): number {
		return this.#blocks.size;
	}

	/** Another layer on top. */
	push(layer: FrozenLayer): void {
		if (this.#owners.length === ownersMax) this.#forget();
		this.#numbers.push(this.#owners.length);
		this.#owners.push(layer);
		this.#stack.push(layer);
		if (layer.summary === undefined) this.#isReady = false;
		else this.#unite(layer.summary);
		if (layer.remote === undefined) return;
		for (let block = layer.remote.nextBlock(0); block !== Infinity; block = layer.remote.nextBlock(block)) {
			const bit = bitOf(block, this.blocksPerBit);
			this.#union[bit >>> 3] = (this.#union[bit >>> 3] as number) | (1 << (bit & 7));
			if (bit === summaryBits - 1) return;
			block = (bit + 1) * this.blocksPerBit;
		}
	}

	/** Another stack altogether, bottom first. */
	reset(stack: readonly FrozenLayer[]): void {
		this.#stack.length = 0;
		this.#owners = [];
		this.#numbers = [];
		this.#isReady = true;
		this.#union.fill(0);
		this.#forget();
		for (const layer of stack) this.push(layer);
	}

	/** The entry of a page: absent, zero, lost or a checksum, whose layer is in `home`; or notLoaded, or notFetched. */
	find(page: number): number {
		if (this.#stack.length === 0) return entryAbsent;
		if (!this.#isReady) return notLoaded;
		const blockIndex = Math.floor(page / entriesPerBlock);
		const block = blockIndex === this.#lastIndex && this.#last !== undefined ? this.#last : this.#use(blockIndex);
		if (block === undefined) return this.#mayHold(blockIndex, 0) ? notLoaded : entryAbsent;
		if (block.height < this.#stack.length) {
			if (this.#mayHold(blockIndex, block.height)) return notLoaded;
			block.height = this.#stack.length;
		}
		const at = page - blockIndex * entriesPerBlock;
		const owner = block.owners[at] as number;
		this.home = this.#owners[owner];
		const entry = block.entries[at] as number;
		return entry === entryAbsent && owner === elsewhere ? notFetched : entry;
	}

	/** Brings the block of a page into memory; find() knows it as long as nothing else is awaited in between. */
	async load(page: number): Promise<void> {
		while (!this.#isReady) await this.#summarize();
		const blockIndex = Math.floor(page / entriesPerBlock);
		for (;;) {
			const version = this.#version;
			const height = this.#stack.length;
			const known = this.#blocks.get(blockIndex);
			if (known !== undefined && known.height === height) return;
			let above: MergedBlock;
			try {
				above = await this.#merge(blockIndex, known?.height ?? 0, height);
			} catch (error) {
				// A layer that was merged meanwhile has no files any more.
				if (version !== this.#version) continue;
				throw error;
			}
			if (version !== this.#version || this.#blocks.get(blockIndex) !== known || (known !== undefined && known.height > height)) continue;
			if (known !== undefined) overlay(known, above);
			this.#keep(blockIndex, known ?? above);
			(known ?? above).height = height;
			return;
		}
	}

	/** The first block at or after one of which some layer may hold anything; undefined if there is none. After ready(). */
	nextBlock(from: number): number | undefined {
		let bit = bitOf(from, this.blocksPerBit);
		if (hasBit(this.#union, bit)) return from;
		for (bit++; bit < summaryBits; bit++) if (hasBit(this.#union, bit)) return bit * this.blocksPerBit;
		return undefined;
	}

	/** The same, not by the summaries but by the files: for who finds nothing where a bit stands for many blocks. Infinity if there is none. */
	async nextWritten(from: number): Promise<number> {
		let next = Infinity;
		for (const layer of this.#stack.slice()) next = Math.min(next, await layer.nextBlock(from), layer.remote?.nextBlock(from) ?? Infinity);
		return next;
	}

	/** Has the summaries of all layers in memory. */
	async ready(): Promise<void> {
		while (!this.#isReady) await this.#summarize();
	}

	/** What one layer held in a range of blocks is in another now, as well. */
	absorbed(from: FrozenLayer, into: FrozenLayer | undefined, firstBlock: number, endBlock: number): void {
		this.#version++;
		const sources = this.#numbersOf(from);
		const target = into === undefined ? undefined : this.#numbers[this.#stack.indexOf(into)];
		if (sources.size === 0) return;
		for (const [blockIndex, block] of this.#blocks) {
			if (blockIndex < firstBlock || blockIndex >= endBlock) continue;
			if (target === undefined) {
				this.#drop(blockIndex);
				continue;
			}
			for (let at = 0; at < entriesPerBlock; at++) if (sources.has(block.owners[at] as number)) block.owners[at] = target;
		}
	}

	/** Consecutive pages were fetched, and are in the remote layer. */
	filled(layer: FrozenLayer, firstPage: number, entries: Uint32Array): void {
		this.#version++;
		const number = this.#numbers[this.#stack.indexOf(layer)];
		if (number === undefined) return;
		for (let at = 0; at < entries.length;) {
			const blockIndex = Math.floor((firstPage + at) / entriesPerBlock);
			const end = Math.min(entries.length, (blockIndex + 1) * entriesPerBlock - firstPage);
			const block = this.#blocks.get(blockIndex);
			for (; at < end; at++) {
				const inBlock = firstPage + at - blockIndex * entriesPerBlock;
				if (block?.owners[inBlock] !== elsewhere) continue;
				block.owners[inBlock] = number;
				block.entries[inBlock] = entries[at] as number;
			}
		}
	}

	/** True if a layer is part of the stack. */
	has(layer: FrozenLayer): boolean {
		return this.#stack.includes(layer);
	}

	/** A layer is not in the stack any more: everything that it held is in one above it. */
	remove(layer: FrozenLayer): void {
		const at = this.#stack.indexOf(layer);
		if (at < 0) return;
		this.#version++;
		this.#stack.splice(at, 1);
		this.#numbers.splice(at, 1);
		const numbers = [...this.#numbersOf(layer)];
		for (const [blockIndex, block] of this.#blocks) {
			if (block.height > at) block.height--;
			if (numbers.some((number) => block.owners.includes(number))) this.#drop(blockIndex);
		}
	}

	#numbersOf(layer: FrozenLayer): Set<number> {
		const numbers = new Set<number>();
		for (let number = 0; number < this.#owners.length; number++) if (this.#owners[number] === layer) numbers.add(number);
		return numbers;
	}

	#use(blockIndex: number): MergedBlock | undefined {
		const block = this.#blocks.get(blockIndex);
		if (block === undefined) return undefined;
		this.#blocks.delete(blockIndex);
		this.#blocks.set(blockIndex, block);
		this.#last = block;
		this.#lastIndex = blockIndex;
		return block;
	}

	#keep(blockIndex: number, block: MergedBlock): void {
		this.#blocks.delete(blockIndex);
		this.#blocks.set(blockIndex, block);
		for (const oldest of this.#blocks.keys()) {
			if (this.#blocks.size <= this.#blocksMax) return;
			this.#drop(oldest);
		}
	}

	#drop(blockIndex: number): void {
		this.#blocks.delete(blockIndex);
		if (this.#lastIndex === blockIndex) this.#lastIndex = -1;
	}

	#forget(): void {
		this.#version++;
		this.#blocks.clear();
		this.#lastIndex = -1;
		this.#owners = [...this.#stack];
		this.#numbers = this.#stack.map((_, number) => number);
	}

	#mayHold(blockIndex: number, fromHeight: number): boolean {
		const bit = bitOf(blockIndex, this.blocksPerBit);
		if (!hasBit(this.#union, bit)) return false;
		if (fromHeight === 0) return true;
		for (let at = this.#stack.length - 1; at >= fromHeight; at--) {
			const summary = this.#stack[at]?.summary;
			if (summary === undefined || hasBit(summary, bit)) return true;
		}
		return false;
	}

	#unite(summary: Uint8Array): void {
		for (let at = 0; at < summary.length; at++) this.#union[at] = (this.#union[at] as number) | (summary[at] as number);
	}

	async #summarize(): Promise<void> {
		const version = this.#version;
		for (const layer of this.#stack.slice()) {
			try {
				await layer.summarize(this.blocksPerBit);
			} catch (error) {
				// A layer that was merged meanwhile has no files any more.
				if (version !== this.#version) return;
				throw error;
			}
			if (layer.summary !== undefined) this.#unite(layer.summary);
		}
		this.#isReady = this.#stack.every(({ summary }) => summary !== undefined);
	}

	/** What the layers from one height to another hold of a block. */
	async #merge(blockIndex: number, fromHeight: number, toHeight: number): Promise<MergedBlock> {
		this.loads++;
		const merged = { owners: new Uint16Array(entriesPerBlock).fill(nobody), entries: new Uint32Array(entriesPerBlock), height: toHeight };
		const bit = bitOf(blockIndex, this.blocksPerBit);
		const layers = this.#stack.slice(fromHeight, toHeight);
		const numbers = this.#numbers.slice(fromHeight, toHeight);
		const block = Buffer.allocUnsafe(blockBytes);
		let missing = entriesPerBlock;
		for (let at = layers.length - 1; at >= 0 && missing > 0; at--) {
			const layer = layers[at] as FrozenLayer;
			if (layer.summary !== undefined && !hasBit(layer.summary, bit)) continue;
			await layer.readBlock(blockIndex, block);
			for (let page = 0; page < entriesPerBlock; page++) {
				if (merged.owners[page] !== nobody) continue;
				const entry = block.readUInt32LE(entryOffset(page));
				if (entry === entryAbsent || (entry === entryLost && layer.remote !== undefined)) continue;
				merged.owners[page] = numbers[at] as number;
				merged.entries[page] = entry;
				missing--;
			}
		}
		const remote = layers[0]?.remote;
		if (remote !== undefined && missing > 0) {
			const first = blockIndex * entriesPerBlock;
			for (let page = 0; page < entriesPerBlock; page++)
				if (merged.owners[page] === nobody && remote.holdsPage(first + page)) merged.owners[page] = elsewhere;
		}
		return merged;
	}
}

/** Newer entries over older ones. */
function overlay(older: MergedBlock, newer: MergedBlock): void {
	for (let page = 0; page < entriesPerBlock; page++) {
		if (newer.owners[page] === nobody) continue;
		older.owners[page] = newer.owners[page] as number;
		older.entries[page] = newer.entries[page] as number;
	}
}
