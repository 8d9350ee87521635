import { errorCode, type DiskFile } from '../os/disk.ts';
import { readFully } from '../os/transfer.ts';
import type { FilePool, LayerFile } from './layer-file.ts';
import { pageBytes } from './limits.ts';
import { readSoundBlock } from './map-block-read.ts';
import type { PageHome } from './page-home.ts';
import { blockBytes, markLost } from './page-map-block.ts';
import type { RemoteChunks } from './remote-file.ts';

/** Stretches of a page map that a summary tells apart: a bit each. */
export const summaryBits = 8192;

/**
 * A layer that nobody writes any more, but a merge that adds what the layer below it holds. Its files are open only when they are read, so that a thousand of them cost no
 * more than one.
 */
export class FrozenLayer implements PageHome {
	readonly id: number;
	readonly mapFile: LayerFile;
	readonly slices: Map<number, LayerFile>;
	readonly pool: FilePool;
	readonly slicePages: number;
	/** Set while pages that the map calls absent may have to be fetched: which ones. */
	remote: RemoteChunks | undefined;
	/** Which stretches of the map hold anything; undefined while nobody has looked. */
	#summary: Uint8Array | undefined;
	#summarizing: Promise<void> | undefined;
	/** One that is being made: what a merge adds meanwhile may be behind the place that is being looked at. */
	#unfinished: Uint8Array | undefined;
	#allocatedBytes: number | undefined;

	constructor(id: number, pool: FilePool, mapFile: LayerFile, slices: Map<number, LayerFile>, sliceBytes: number) {
		this.id = id;
		this.pool = pool;
		this.mapFile = mapFile;
		this.slices = slices;
		this.slicePages = sliceBytes / pageBytes;
	}

	handleOf(page: number): LayerFile | undefined {
		return this.slices.get(Math.floor(page / this.slicePages));
	}

	positionOf(page: number): number {
		return (page % this.slicePages) * pageBytes;
	}

	contiguous(page: number, pages: number): number {
		return Math.min(pages, this.slicePages - (page % this.slicePages));
	}

	get files(): LayerFile[] {
		return [this.mapFile, ...this.slices.values()];
	}

	get summary(): Uint8Array | undefined {
		return this.#summary;
	}

	/** Finds out which stretches of `blocksPerBit` blocks hold anything, by the holes of the map's file. */
	summarize(blocksPerBit: number): Promise<void> {
		if (this.#summary !== undefined) return Promise.resolve();
		this.#summarizing ??= this.#summarize(blocksPerBit).finally(() => (this.#summarizing = undefined));
		return this.#summarizing;
	}

	/** A merge has put something into a block. */
	noteBlock(blockIndex: number, blocksPerBit: number): void {
		const summary = this.#summary ?? this.#unfinished;
		if (summary !== undefined) setBit(summary, bitOf(blockIndex, blocksPerBit));
		this.#allocatedBytes = undefined;
	}

	/** A block of the page map into `target`; entries of damaged sectors read as lost. False if there are such. */
	async readBlock(blockIndex: number, target: Buffer): Promise<boolean> {
		return this.pool.use(this.mapFile, (file) => readMapBlock(file, this.id, blockIndex, target));
	}

	/** The blocks of the page map that may hold anything, ascending; `blocks` is the length of the map. */
	async *blocks(): AsyncGenerator<{ blockIndex: number; blocks: number }> {
		for (let position = 0; ;) {
			const from = position;
			const [range, sizeBytes] = await this.pool.use(this.mapFile, async (file) => [await file.nextData(from), await file.sizeBytes()]);
			if (range === undefined) return;
			const first = Math.floor(Math.max(range.startBytes, position) / blockBytes);
			const end = Math.ceil(range.endBytes / blockBytes);
			for (let blockIndex = first; blockIndex < end; blockIndex++) yield { blockIndex, blocks: Math.ceil(sizeBytes / blockBytes) };
			position = end * blockBytes;
		}
	}

	/** The first block of the map at or after one that has space in the file; Infinity if there is none. */
	async nextBlock(from: number): Promise<number> {
		const range = await this.pool.use(this.mapFile, (file) => file.nextData(from * blockBytes));
		return range === undefined ? Infinity : Math.max(from, Math.floor(range.startBytes / blockBytes));
	}

	/** Gives the space of a page range back. */
	async punch(start: number, end: number): Promise<void> {
		for (const [slice, handle] of this.slices) {
			const from = Math.max(start, slice * this.slicePages);
			const to = Math.min(end, (slice + 1) * this.slicePages);
			if (from >= to) continue;
			try {
				await this.pool.use(handle, (file) => file.punch(this.positionOf(from), (to - from) * pageBytes));
			} catch (error) {
				// A file system without holes only keeps the space until the file goes.
				if (errorCode(error) !== 'EOPNOTSUPP') throw error;
			}
		}
		this.#allocatedBytes = undefined;
	}

	/** Reads pages that lie in one file. Bytes that are not there read as zeros. */
	async readPages(page: number, target: Uint8Array): Promise<void> {
		const handle = this.handleOf(page);
		if (handle === undefined) target.fill(0);
		else await this.pool.use(handle, (file) => readFully(file, target, this.positionOf(page)));
	}

	/** True if another volume has one of its files, too. */
	async isShared(): Promise<boolean> {
		for (const handle of this.files) if ((await this.pool.use(handle, (file) => file.links())) > 1) return true;
		return false;
	}

	/** Disk space of data and map. */
	async allocatedBytes(): Promise<number> {
		if (this.#allocatedBytes !== undefined) return this.#allocatedBytes;
		let sum = 0;
		try {
			for (const handle of this.files) sum += await this.pool.use(handle, (file) => file.allocatedBytes());
		} catch (error) {
			// It was removed meanwhile.
			if (errorCode(error) !== 'ENOENT') throw error;
			return 0;
		}
		this.#allocatedBytes = sum;
		return sum;
	}

	async #summarize(blocksPerBit: number): Promise<void> {
		const summary = new Uint8Array(summaryBits / 8);
		this.#unfinished = summary;
		await this.pool.use(this.mapFile, async (file) => {
			for (let position = 0; ;) {
				const range = await file.nextData(position);
				if (range === undefined) return;
				const from = bitOf(Math.floor(Math.max(range.startBytes, position) / blockBytes), blocksPerBit);
				const to = bitOf(Math.ceil(range.endBytes / blockBytes) - 1, blocksPerBit);
				for (let bit = from; bit <= to; bit++) setBit(summary, bit);
				position = range.endBytes;
			}
		});
		this.#summary = summary;
		this.#unfinished = undefined;
	}
}

export function hasBit(bits: Uint8Array, bit: number): boolean {
	return ((bits[bit >>> 3] as number) & (1 << (bit & 7))) !== 0;
}

/** A map that is larger than what the bits were made for: what is behind the last one counts as in it. */
export function bitOf(blockIndex: number, blocksPerBit: number): number {
	return Math.min(Math.floor(blockIndex / blocksPerBit), summaryBits - 1);
}

function setBit(bits: Uint8Array, bit: number): void {
	bits[bit >>> 3] = (bits[bit >>> 3] as number) | (1 << (bit & 7));
}

/**
 * Reads a block of a page map of which somebody has reason to think that there is something. Entries of damaged sectors are lost.
 */
export async function readMapBlock(file: DiskFile, layer: number, blockIndex: number, target: Buffer): Promise<boolean> {
	const damaged = await readSoundBlock(file, layer, blockIndex, target, true);
	markLost(target, damaged);
	return damaged === 0;
}
