import { errorCode, type DiskFile } from '../os/disk.ts';
import { readFully, writeEachFully, writeFully } from '../os/transfer.ts';
import { readSoundBlock } from './map-block-read.ts';
import { MapCache } from './map-cache.ts';
import type { RunningDigest } from './map-digest.ts';
import {
	blockBytes,
	damagedSectors,
	entriesPerBlock,
	entriesPerSector,
	entryAbsent,
	entryLost,
	entryOffset,
	markLost,
	sealSectors,
} from './page-map-block.ts';
import { RunningCount } from './running-count.ts';

/** entry(): the block that holds it must be loaded first. */
export const notLoaded = -1;
/** BelowIndex.find(): no layer has the page, and it has to be fetched. */
export const notFetched = -2;

/** #slotOf(): a block behind all that were ever written. */
const neverWritten = -2;

const emptyBlock = Buffer.alloc(blockBytes);

/** Blocks that one update keeps pinned at a time. */
const updateBlocksMax = 64;
/** Entries that are changed in one turn of the event loop, but for the last block: a few milliseconds. */
const updateEntriesMax = 8192;

/**
 * The page table of one layer, cached by block. Readers look entries up synchronously; only the flusher changes them, and it changes the cached
 * block in the same turn in which it hands it to the disk.
 *
 * Invariants: a cached block that is not pinned equals what was last written to the file; a pinned one is being written or loaded.
 */
export class PageMap {
	readonly #file: DiskFile;
	readonly #layer: number;
	readonly #cache: MapCache;
	/** The write of the blocks that are pinned; its failure is the flusher's to report. */
	#updating: Promise<void> = Promise.resolve();
	/** Blocks from here on were never written: all absent. */
	#endBlock: number;
	readonly #loads = new RunningCount();

	constructor(file: DiskFile, sizeBytes: number, layer: number, cacheBlocks: number) {
		this.#file = file;
		this.#endBlock = Math.ceil(sizeBytes / blockBytes);
		this.#layer = layer;
		this.#cache = new MapCache(cacheBlocks);
	}

	get file(): DiskFile {
		return this.#file;
	}

	/** The entry of a page, or notLoaded when its block is not in memory. Throws on EIO. */
	entry(page: number): number {
		const blockIndex = Math.floor(page / entriesPerBlock);
		const slot = this.#slotOf(blockIndex);
		if (slot < 0) return slot === neverWritten ? entryAbsent : notLoaded;
		return this.#cache.block(slot).readUInt32LE(entryOffset(page));
	}

	/** The first page from `first` on whose entry is no checksum, or whose block is not in memory; `end` when there is none before it. Throws on EIO. */
	endOfChecksums(first: number, end: number): number {
		for (let page = first; page < end;) {
			const blockIndex = Math.floor(page / entriesPerBlock);
			const slot = this.#slotOf(blockIndex);
			if (slot < 0) return page;
			const block = this.#cache.block(slot);
			const endHere = Math.min(end, (blockIndex + 1) * entriesPerBlock);
			while (page < endHere) {
				// Within a sector entries lie one behind the other.
				const endOfSector = Math.min(endHere, page + entriesPerSector - (page % entriesPerSector));
				for (let offset = entryOffset(page); page < endOfSector; page++, offset += 4)
					if (!isChecksum(block.readUInt32LE(offset))) return page;
			}
		}
		return end;
	}

	/** Brings the block of a page into the cache; entry() finds it as long as nothing else is awaited in between. */
	async load(page: number): Promise<void> {
		this.#loads.begin();
		try {
			await this.#loadBlock(Math.floor(page / entriesPerBlock));
		} finally {
			this.#loads.end();
		}
	}

	/** Calls `work` with the file, which is not closed before that has ended, even if the layer is frozen and let go meanwhile. */
	async use<T>(work: (file: DiskFile) => Promise<T>): Promise<T> {
		this.#loads.begin();
		try {
			return await work(this.#file);
		} finally {
			this.#loads.end();
		}
	}

	/** Resolves when no load or use is under way. */
	idle(): Promise<void> {
		return this.#loads.idle();
	}

	/**
	 * Sets entries and writes their blocks. `pages` ascend; entries[i] belongs to pages[i]. Not durable before file.datasync().
	 */
	async update(pages: Float64Array, entries: Uint32Array, count: number, digest: RunningDigest): Promise<void> {
		let index = 0;
		while (index < count) {
			const pinned: number[] = [];
			const from = index;
			let isWritten = false;
			try {
				while (index < count && pinned.length < updateBlocksMax && index - from < updateEntriesMax) {
					const blockIndex = Math.floor((pages[index] as number) / entriesPerBlock);
					const slot = await this.#pinBlock(blockIndex, pinned.length > 0);
					if (slot < 0) break;
					pinned.push(slot);
					index = this.#change(slot, blockIndex, pages, entries, index, count, digest);
				}
				this.#updating = this.#write(pinned);
				await this.#updating;
				isWritten = true;
			} finally {
				for (const slot of pinned) this.#cache.unpin(slot);
				if (!isWritten) this.#forget(pinned, digest);
			}
		}
	}

	/** What was changed in memory may not be in the file: whoever looks again must see what is there. */
	#forget(slots: readonly number[], digest: RunningDigest): void {
		for (const slot of slots) this.#cache.release(slot);
		digest.known = false;
	}

	/** Makes all entries of a page range absent, and gives the space of whole blocks back. On what the layer stands on, nothing is hidden by that: see hide(). */
	async clear(start: number, end: number, digest: RunningDigest): Promise<void> {
		const firstWhole = Math.ceil(start / entriesPerBlock);
		const endWhole = Math.floor(end / entriesPerBlock);
		if (firstWhole >= endWhole) {
			await this.#clearPart(start, end, digest);
			return;
		}
		await this.#clearPart(start, firstWhole * entriesPerBlock, digest);
		await this.#clearPart(endWhole * entriesPerBlock, end, digest);
		if (digest.known) {
			await this.forEachEntry(firstWhole * entriesPerBlock, endWhole * entriesPerBlock, (page, entry) => digest.toggle(page, entry));
		}
		this.#cache.zero(firstWhole, endWhole);
		await this.#empty(firstWhole * blockBytes, endWhole * blockBytes);
		// A block that was loaded while the hole was being made may show what was there.
		this.#cache.zero(firstWhole, endWhole);
	}

	/** Makes a range of the file zeros: a hole, or on a file system that has none, zeros over what is there. */
	async #empty(startBytes: number, endBytes: number): Promise<void> {
		try {
			await this.#file.punch(startBytes, endBytes - startBytes);
			return;
		} catch (error) {
			if (errorCode(error) !== 'EOPNOTSUPP') throw error;
		}
		const zeros = Buffer.alloc(64 * blockBytes);
		for (let position = startBytes; position < endBytes;) {
			const range = await this.#file.nextData(position);
			if (range === undefined || range.startBytes >= endBytes) return;
			position = Math.max(position, range.startBytes);
			const length = Math.min(zeros.length, Math.min(endBytes, range.endBytes) - position);
			await writeFully(this.#file, zeros.subarray(0, length), position);
			position += length;
		}
	}

	/** Walks the entries that are not absent in a page range that begins and ends with a block. Holes cost nothing. */
	async forEachEntry(start: number, end: number, visit: (page: number, entry: number) => void): Promise<void> {
		for await (const { pages, entries, count } of this.entries(start, end)) {
			for (let at = 0; at < count; at++) visit(pages[at] as number, entries[at] as number);
		}
	}

	/** The same in stretches of 64 blocks, for who has to wait in between. The arrays are the next stretch's, too. */
	async *entries(start: number, end: number): AsyncGenerator<{ pages: Float64Array; entries: Uint32Array; count: number }> {
		const endBytes = Math.ceil(end / entriesPerBlock) * blockBytes;
		const chunk = Buffer.allocUnsafeSlow(64 * blockBytes);
		const pages = new Float64Array(64 * entriesPerBlock);
		const entries = new Uint32Array(pages.length);
		let position = Math.floor(start / entriesPerBlock) * blockBytes;
		while (position < endBytes) {
			const range = await this.#file.nextData(position);
			if (range === undefined || range.startBytes >= endBytes) return;
			position = Math.max(position, range.startBytes - (range.startBytes % blockBytes));
			const length = Math.min(chunk.length, endBytes - position, Math.ceil((range.endBytes - position) / blockBytes) * blockBytes);
			await readFully(this.#file, chunk.subarray(0, length), position);
			let count = 0;
			for (let at = 0; at < length; at += blockBytes) {
				const block = chunk.subarray(at, at + blockBytes);
				const blockIndex = (position + at) / blockBytes;
				if (damagedSectors(block, this.#layer, blockIndex) !== 0)
					markLost(block, await readSoundBlock(this.#file, this.#layer, blockIndex, block, false));
				for (let page = blockIndex * entriesPerBlock; page < (blockIndex + 1) * entriesPerBlock; page++) {
					const entry = block.readUInt32LE(entryOffset(page));
					if (entry === entryAbsent) continue;
					pages[count] = page;
					entries[count++] = entry;
				}
			}
			yield { pages, entries, count };
			position += length;
		}
	}

	async #clearPart(start: number, end: number, digest: RunningDigest): Promise<void> {
		const count = end - start;
		if (count <= 0) return;
		const pages = Float64Array.from({ length: count }, (_, index) => start + index);
		await this.update(pages, new Uint32Array(count).fill(entryAbsent), count, digest);
	}

	/** Applies the entries that belong to one block; returns the index behind them. */
	#change(
		slot: number,
		blockIndex: number,
		pages: Float64Array,
		entries: Uint32Array,
		from: number,
		count: number,
		digest: RunningDigest,
	): number {
		const block = this.#cache.block(slot);
		const endPage = (blockIndex + 1) * entriesPerBlock;
		let touched = 0;
		let index = from;
		for (; index < count && (pages[index] as number) < endPage; index++) {
			const page = pages[index] as number;
			const offset = entryOffset(page);
			const entry = entries[index] as number;
			digest.toggle(page, block.readUInt32LE(offset));
			digest.toggle(page, entry);
			block.writeUInt32LE(entry, offset);
			touched |= 1 << Math.floor((page % entriesPerBlock) / entriesPerSector);
		}
		sealSectors(block, this.#layer, blockIndex, touched);
		return index;
	}

	/** Where a block is cached; neverWritten, or notLoaded. */
	#slotOf(blockIndex: number): number {
		const slot = this.#cache.find(blockIndex);
		if (slot >= 0) return slot;
		// Nothing to remember: the maps of new layers are asked one after the other.
		if (blockIndex >= this.#endBlock) return neverWritten;
		return this.#tryLoad(blockIndex);
	}

	async #write(slots: readonly number[]): Promise<void> {
		const indices = slots.map((slot) => this.#cache.blockIndex(slot));
		for (const blockIndex of indices) this.#endBlock = Math.max(this.#endBlock, blockIndex + 1);
		await writeEachFully(
			this.#file,
			slots.map((slot) => this.#cache.block(slot)),
			indices.map((blockIndex) => blockIndex * blockBytes),
		);
	}

	/** -1 when no place in the cache is free and the caller holds pins that would make one. */
	async #pinBlock(blockIndex: number, mayFail: boolean): Promise<number> {
		const cached = this.#cache.find(blockIndex);
		if (cached >= 0) {
			this.#cache.pin(cached);
			return cached;
		}
		if (mayFail && !this.#cache.hasRoom(blockIndex)) return -1;
		// What is in memory, or was never written, needs no wait.
		const loaded = this.#tryLoad(blockIndex);
		if (loaded >= 0) {
			this.#cache.pin(loaded);
			return loaded;
		}
		return this.#loadBlock(blockIndex, true);
	}

	#tryLoad(blockIndex: number): number {
		const slot = this.#cache.claim(blockIndex);
		if (slot < 0) return -1;
		const block = this.#cache.block(slot);
		if (blockIndex >= this.#endBlock) {
			block.fill(0);
			return slot;
		}
		try {
			const bytes = this.#file.tryRead(block, blockIndex * blockBytes);
			// One without entries is looked at twice: it is what a read of the wrong place may look like.
			if (bytes === blockBytes && damagedSectors(block, this.#layer, blockIndex) === 0 && !block.equals(emptyBlock)) return slot;
		} catch (error) {
			// The waiting read meets the same error, and its caller can say what became of the command.
			if (errorCode(error) === '') throw error;
		}
		this.#cache.release(slot);
		return -1;
	}

	/** Reads into a buffer of its own and then, in one turn, into the cache: a half-loaded block is never visible. */
	async #loadBlock(blockIndex: number, pin = false): Promise<number> {
		const fresh = Buffer.allocUnsafeSlow(blockBytes);
		for (;;) {
			const version = this.#cache.version;
			const damaged = await readSoundBlock(this.#file, this.#layer, blockIndex, fresh, blockIndex < this.#endBlock);
			let slot = this.#cache.find(blockIndex);
			// Blocks were changed or zeroed meanwhile: what was read may be from before.
			if (slot < 0 && version !== this.#cache.version) continue;
			if (slot < 0) {
				slot = this.#cache.claim(blockIndex);
				if (slot < 0) {
					// Every place of the set is part of an update that is being written: none of this reader's making, and soon over.
					await this.#updating.catch(() => undefined);
					continue;
				}
				fresh.copy(this.#cache.block(slot));
				if (damaged !== 0) markLost(this.#cache.block(slot), damaged);
			}
			if (pin) this.#cache.pin(slot);
			return slot;
		}
	}
}

/** True for an entry that is a checksum. */
export function isChecksum(entry: number): boolean {
	return entry > entryLost;
}
