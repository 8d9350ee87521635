import { errorCode, type Disk } from '../os/disk.ts';
import { writeFully } from '../os/transfer.ts';
import type { FrozenLayer } from './frozen-layer.ts';
import { placeLayer, type Generation } from './generation.ts';
import { LayerFile } from './layer-file.ts';
import { Layer } from './layer.ts';
import { pageBytes } from './limits.ts';
import type { RunningDigest } from './map-digest.ts';
import { blockBytes, entriesPerBlock, entriesPerSector, entryAbsent, entryOffset, sealSectors } from './page-map-block.ts';
import { notLoaded } from './page-map.ts';
import type { PageIndex } from './page-index.ts';
import type { Spans } from './spans.ts';
import type { Wal } from './wal.ts';

/** Of a page of the target: what is below it is wanted, is hidden, or cannot be judged before the next flush. */
export const wanted = 0;
export const hidden = 1;
export const undecided = 2;

/** What a layer's files say cannot be had, or believed: nothing of it is made permanent. */
export class Unreadable extends Error {}

/** The layer that a merge brings pages into; under the lock that flusher cycles take, too. */
export interface MergeTarget {
	/** Makes durable what is there: a process that was killed in a merge may have left it in the kernel only, and the lower layer's pages are given up for it. */
	settle(): Promise<void>;
	/** One of the above for each page of a block. */
	look(blockIndex: number): Promise<Uint8Array>;
	/** Writes consecutive pages of one slice that are wanted. */
	write(firstPage: number, bytes: Uint8Array): Promise<void>;
	/** Makes what was written durable, and then the entries of a block's pages; `entries` is absent where nothing changes. */
	finish(blockIndex: number, entries: Uint32Array): Promise<void>;
}

/** The live layer of the superblock: others write to it at the same time, straight to pages that its map calls absent. */
export class LiveTarget implements MergeTarget {
	readonly #layer: Layer;
	readonly #index: PageIndex;
	readonly #spans: Spans;
	readonly #wal: Wal;

	constructor(layer: Layer, index: PageIndex, spans: Spans, wal: Wal) {
		this.#wal = wal;
		this.#layer = layer;
		this.#index = index;
		this.#spans = spans;
	}

	async settle(): Promise<void> {
		await this.#layer.syncAll();
	}

	async look(blockIndex: number): Promise<Uint8Array> {
		const first = blockIndex * entriesPerBlock;
		const { map } = this.#layer;
		while (map.entry(first) === notLoaded) await map.load(first);
		// In one turn, and with the block claimed for the merge: whoever comes later goes through the log.
		const states = new Uint8Array(entriesPerBlock);
		for (let at = 0; at < entriesPerBlock; at++) {
			const page = first + at;
			if (map.entry(page) !== entryAbsent) states[at] = hidden;
			else if (this.#isUnderWay(page) || this.#isDirect(page)) states[at] = undecided;
		}
		return states;
	}

	async write(firstPage: number, bytes: Uint8Array): Promise<void> {
		await this.#layer.write(firstPage, [bytes], bytes.length / pageBytes);
	}

	async finish(blockIndex: number, entries: Uint32Array): Promise<void> {
		await this.#layer.syncData();
		const pages: number[] = [];
		for (let at = 0; at < entriesPerBlock; at++) if (entries[at] !== entryAbsent) pages.push(blockIndex * entriesPerBlock + at);
		const values = entries.filter((entry) => entry !== entryAbsent);
		await this.#layer.map.update(Float64Array.from(pages), values, pages.length, this.#layer.digest);
		await this.#layer.map.file.datasync();
	}

	#isUnderWay(page: number): boolean {
		return this.#spans.overlaps(page, page + 1) || this.#wal.hasPending(page, page + 1);
	}

	/** The page's bytes in the layer are of a record that is not flushed. */
	#isDirect(page: number): boolean {
		const { active, layer: live, pending } = this.#index;
		const isIn = (generation: Generation): boolean => {
			const entry = generation.find(page);
			return entry >= 0 && generation.placeOf(entry) === placeLayer;
		};
		// Those of the oldest layer come first.
		for (const { generation, layer } of pending) {
			if (layer !== this.#layer) return false;
			if (isIn(generation)) return true;
		}
		return live === this.#layer && isIn(active);
	}
}

/** A frozen layer: nobody else writes to it. */
export class FrozenTarget implements MergeTarget {
	readonly #layer: FrozenLayer;
	readonly #disk: Disk;
	readonly #directory: string;
	readonly #slicePages: number;
	readonly #digest: RunningDigest;
	readonly #blocksPerBit: number;
	readonly #written = new Set<LayerFile>();
	#hasNewSlice = false;

	constructor(
		layer: FrozenLayer,
		place: { disk: Disk; directory: string; sliceBytes: number; blocksPerBit: number },
		digest: RunningDigest,
	) {
		this.#layer = layer;
		this.#disk = place.disk;
		this.#directory = place.directory;
		this.#slicePages = place.sliceBytes / pageBytes;
		this.#blocksPerBit = place.blocksPerBit;
		this.#digest = digest;
	}

	async settle(): Promise<void> {
		for (const handle of this.#layer.slices.values()) await this.#layer.pool.use(handle, (file) => file.datasync());
		await this.#disk.syncDirectory(this.#directory);
		await this.#layer.pool.use(this.#layer.mapFile, (file) => file.datasync());
	}

	async look(blockIndex: number): Promise<Uint8Array> {
		const block = Buffer.allocUnsafe(blockBytes);
		if (!(await this.#layer.readBlock(blockIndex, block))) throw new Unreadable('a block of the upper layer’s map is damaged');
		const states = new Uint8Array(entriesPerBlock);
		for (let page = 0; page < entriesPerBlock; page++) if (block.readUInt32LE(entryOffset(page)) !== entryAbsent) states[page] = hidden;
		return states;
	}

	async write(firstPage: number, bytes: Uint8Array): Promise<void> {
		const handle = this.#layer.handleOf(firstPage) ?? (await this.#makeSlice(firstPage));
		await this.#layer.pool.use(handle, (file) => writeFully(file, bytes, this.#layer.positionOf(firstPage)));
		this.#written.add(handle);
	}

	async finish(blockIndex: number, entries: Uint32Array): Promise<void> {
		for (const handle of this.#written) await this.#layer.pool.use(handle, (file) => file.datasync());
		this.#written.clear();
		if (this.#hasNewSlice) {
			await this.#disk.syncDirectory(this.#directory);
			this.#hasNewSlice = false;
		}
		const block = Buffer.allocUnsafe(blockBytes);
		if (!(await this.#layer.readBlock(blockIndex, block))) throw new Unreadable('a block of the upper layer’s map is damaged');
		let touched = 0;
		for (let at = 0; at < entriesPerBlock; at++) {
			const entry = entries[at] as number;
			if (entry === entryAbsent) continue;
			this.#digest.toggle(blockIndex * entriesPerBlock + at, entry);
			block.writeUInt32LE(entry, entryOffset(at));
			touched |= 1 << Math.floor(at / entriesPerSector);
		}
		sealSectors(block, this.#layer.id, blockIndex, touched);
		await this.#layer.pool.use(this.#layer.mapFile, async (file) => {
			await writeFully(file, block, blockIndex * blockBytes);
			await file.datasync();
		});
		this.#layer.noteBlock(blockIndex, this.#blocksPerBit);
	}

	async #makeSlice(page: number): Promise<LayerFile> {
		const slice = Math.floor(page / this.#slicePages);
		const path = `${this.#directory}/${Layer.dataName(this.#layer.id, slice)}`;
		const handle = new LayerFile(path, await this.#createOrOpen(path));
		this.#layer.pool.adopt(handle);
		this.#layer.slices.set(slice, handle);
		this.#hasNewSlice = true;
		return handle;
	}

	/** One that an attempt made before an error is there already. */
	async #createOrOpen(path: string): ReturnType<Disk['open']> {
		try {
			return await this.#disk.open(path, 'create');
		} catch (error) {
			if (errorCode(error) !== 'EEXIST') throw error;
			return this.#disk.open(path, 'existing');
		}
	}
}
