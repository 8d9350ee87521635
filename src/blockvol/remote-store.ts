import { errorCode, type Disk, type DiskFile } from '../os/disk.ts';
import { writeFully } from '../os/transfer.ts';
import type { BelowIndex } from './below-index.ts';
import { readMapBlock, type FrozenLayer } from './frozen-layer.ts';
import { LayerFile } from './layer-file.ts';
import { Layer } from './layer.ts';
import { pageBytes } from './limits.ts';
import {
	blockBytes,
	entriesPerBlock,
	entriesPerSector,
	entryAbsent,
	entryLost,
	entryOffset,
	entryZero,
	sealSectors,
} from './page-map-block.ts';
import { pageChecksum } from './page-checksums.ts';
import { zeroPage } from './zero-page.ts';

export interface RemoteStorePlace {
	readonly disk: Disk;
	/** Of the layers' files. */
	readonly directory: string;
	readonly layer: FrozenLayer;
	/** Whoever remembers what the layer holds. */
	readonly indexes: ReadonlySet<BelowIndex>;
	readonly blocksPerBit: number;
}

/** A stretch of fetched pages that is to be kept. */
interface Piece {
	readonly firstPage: number;
	readonly bytes: Buffer;
	readonly entries: Uint32Array;
	readonly settled: PromiseWithResolvers<void>;
}

/**
 * Writes fetched pages into the remote layer, those that come while others are written together:
 *
 *   data written ─→ data durable, and the name of a new slice ─→ map written ─→ whoever remembers the layer is told
 *
 * So a map never tells of bytes that a crash could take. The map itself need not be durable: what it does not tell is fetched again. Nobody else writes to the layer.
 */
export class RemoteStore {
	readonly #place: RemoteStorePlace;
	readonly #waiting: Piece[] = [];
	readonly #written = new Set<LayerFile>();
	/** At the start, too: a process that was killed may have made a slice whose name is in the kernel only. */
	#directoryUnsynced = true;
	#mapUnsynced = true;
	#running: Promise<void> = Promise.resolve();
	#isRunning = false;
	#halted = false;
	/** Groups that were stored, for the curious. */
	groups = 0;

	constructor(place: RemoteStorePlace) {
		this.#place = place;
	}

	/** Resolves when the pages are in the layer. Rejects with the kernel's error. */
	store(firstPage: number, bytes: Buffer): Promise<void> {
		const entries = new Uint32Array(bytes.length / pageBytes);
		for (let at = 0; at < entries.length; at++) {
			const page = bytes.subarray(at * pageBytes, (at + 1) * pageBytes);
			entries[at] = page.equals(zeroPage) ? entryZero : pageChecksum(page);
		}
		const settled = Promise.withResolvers<void>();
		this.#waiting.push({ firstPage, bytes, entries, settled });
		if (!this.#isRunning) {
			this.#isRunning = true;
			this.#running = this.#run();
		}
		return settled.promise;
	}

	/** After what is being stored: the map is durable. */
	async sync(): Promise<void> {
		await this.#running;
		if (!this.#mapUnsynced || this.#halted) return;
		this.#mapUnsynced = false;
		const { layer } = this.#place;
		await layer.pool.use(layer.mapFile, (file) => file.datasync());
	}

	/** Takes no further step. */
	halt(): void {
		this.#halted = true;
	}

	async #run(): Promise<void> {
		for (let pieces = this.#waiting.splice(0); pieces.length > 0; pieces = this.#waiting.splice(0)) {
			try {
				await this.#group(pieces.toSorted((a, b) => a.firstPage - b.firstPage));
				for (const { settled } of pieces) settled.resolve();
			} catch (error) {
				for (const { settled } of pieces) settled.reject(error);
			}
		}
		this.#isRunning = false;
	}

	async #group(pieces: readonly Piece[]): Promise<void> {
		for (const piece of pieces) await this.#writeData(piece);
		this.#mustRun();
		const { layer, disk, directory, indexes } = this.#place;
		const written = [...this.#written];
		this.#written.clear();
		for (const handle of written) await layer.pool.use(handle, (file) => file.datasync());
		if (this.#directoryUnsynced) {
			await disk.syncDirectory(directory);
			this.#directoryUnsynced = false;
		}
		this.#mustRun();
		this.#mapUnsynced = true;
		await this.#writeMap(pieces);
		for (const { firstPage, entries } of pieces) for (const below of indexes) below.filled(layer, firstPage, entries);
		this.groups++;
	}

	/** Zeros take no space. */
	async #writeData({ firstPage, bytes, entries }: Piece): Promise<void> {
		const { layer } = this.#place;
		for (let at = 0; at < entries.length;) {
			if (entries[at] === entryZero) {
				at++;
				continue;
			}
			this.#mustRun();
			const limit = layer.contiguous(firstPage + at, entries.length - at);
			let pages = 1;
			while (pages < limit && entries[at + pages] !== entryZero) pages++;
			const handle = layer.handleOf(firstPage + at) ?? (await this.#makeSlice(firstPage + at));
			const part = bytes.subarray(at * pageBytes, (at + pages) * pageBytes);
			const position = layer.positionOf(firstPage + at);
			await layer.pool.use(handle, (file) => writeFully(file, part, position));
			this.#written.add(handle);
			at += pages;
		}
	}

	async #writeMap(pieces: readonly Piece[]): Promise<void> {
		const { layer, blocksPerBit } = this.#place;
		const block = Buffer.allocUnsafe(blockBytes);
		const lastPage = pieces.reduce((last, { firstPage, entries }) => Math.max(last, firstPage + entries.length - 1), 0);
		const firstBlock = Math.floor((pieces[0]?.firstPage ?? 0) / entriesPerBlock);
		for (let blockIndex = firstBlock; blockIndex <= Math.floor(lastPage / entriesPerBlock); blockIndex++) {
			const [first, end] = [blockIndex * entriesPerBlock, (blockIndex + 1) * entriesPerBlock];
			const inBlock = pieces.filter(({ firstPage, entries }) => firstPage < end && firstPage + entries.length > first);
			if (inBlock.length === 0) continue;
			await layer.pool.use(layer.mapFile, async (file) => {
				// Entries of damaged sectors are as good as absent here: their pages are fetched again.
				let touched = await readHealed(file, layer.id, blockIndex, block);
				for (const { firstPage, entries } of inBlock) {
					for (let page = Math.max(first, firstPage); page < Math.min(end, firstPage + entries.length); page++) {
						block.writeUInt32LE(entries[page - firstPage] as number, entryOffset(page));
						touched |= 1 << Math.floor((page - first) / entriesPerSector);
					}
				}
				sealSectors(block, layer.id, blockIndex, touched);
				this.#mustRun();
				await writeFully(file, block, blockIndex * blockBytes);
			});
			layer.noteBlock(blockIndex, blocksPerBit);
		}
	}

	async #makeSlice(page: number): Promise<LayerFile> {
		const { layer, disk, directory } = this.#place;
		const slice = Math.floor(page / layer.slicePages);
		const path = `${directory}/${Layer.dataName(layer.id, slice)}`;
		const handle = new LayerFile(path, await openSlice(disk, path));
		layer.pool.adopt(handle);
		layer.slices.set(slice, handle);
		this.#directoryUnsynced = true;
		return handle;
	}

	#mustRun(): void {
		if (this.#halted) throw new StoreHalted();
	}
}

/** The volume has failed, or is gone. */
export class StoreHalted extends Error {}

/** One that an attempt made before an error is there already. */
async function openSlice(disk: Disk, path: string): Promise<DiskFile> {
	try {
		return await disk.open(path, 'create');
	} catch (error) {
		if (errorCode(error) !== 'EEXIST') throw error;
		return disk.open(path, 'existing');
	}
}

/** A block of the map, without what damaged sectors said; bits of those sectors. */
async function readHealed(file: DiskFile, layer: number, blockIndex: number, block: Buffer): Promise<number> {
	if (await readMapBlock(file, layer, blockIndex, block)) return 0;
	let damaged = 0;
	for (let at = 0; at < entriesPerBlock; at++) {
		if (block.readUInt32LE(entryOffset(at)) !== entryLost) continue;
		block.writeUInt32LE(entryAbsent, entryOffset(at));
		damaged |= 1 << Math.floor(at / entriesPerSector);
	}
	return damaged;
}
