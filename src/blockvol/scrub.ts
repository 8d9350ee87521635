import { errorCode, type Disk } from '../os/disk.ts';
import { readFully } from '../os/transfer.ts';
import type { BlockDevice, Outcome } from './block-device.ts';
import { Layer } from './layer.ts';
import type { LayerTree } from './layer-tree.ts';
import { pageBytes } from './limits.ts';
import { blockBytes, entriesPerBlock, entryAbsent, entryLost, entryZero } from './page-map-block.ts';
import { SuperblockFile, type Superblock } from './superblock.ts';
import { readTree } from './tree-file.ts';
import { volumePaths } from './volume-files.ts';
import { pageChecksum } from './page-checksums.ts';

/** Pages that are read in one go. */
const runPages = 64;
/** While somebody uses the volume, a scrub takes this share of its rate. */
const busyShare = 0.25;
/** A sleep is worth it from here on. */
const sleepMsMin = 5;
/** How often what looks wrong is looked at anew before it is believed. */
const looks = 3;
/** How often superblock and tree are read anew because one was replaced in between. */
const treeAttempts = 10;
/** Maps are read as files, not through their cache. */
const mapCacheBlocks = 1;

/** Where a scrub goes on: a block of the page map of a layer. Layers go by their ids. */
export interface ScrubPosition {
	readonly layer: number;
	readonly block: number;
}

export interface ScrubFinding {
	readonly layer: number;
	/** It takes what is written now. */
	readonly isLive: boolean;
	readonly page: number;
	/** The first logical block of the page. */
	readonly lba: number;
	/**
	 * - data: the bytes of the page do not match its checksum
	 * - map: the part of the page map is damaged that holds the checksum
	 * - unreadable: the disk reports an error for the page
	 */
	readonly kind: 'data' | 'map' | 'unreadable';
}

export interface ScrubProgress {
	/** Pages that were compared with their checksums. */
	readonly pages: number;
	readonly findings: number;
	/** Of the findings. */
	readonly repaired: number;
	/** 0 to 1, of what is left from where it began. */
	readonly done: number;
}

export interface ScrubOptions {
	/** Of data; the maps come on top, a thousandth of it. */
	readonly bytesPerSecond: number;
	readonly from?: ScrubPosition | undefined;
	/** Ends the scrub at the next page run. */
	readonly signal: AbortSignal;
	/** Whether others have used the volume since the last call. */
	readonly isBusy?: () => boolean;
	/** Brings back what a page should hold; true if it could. It is counted, and not looked at again. */
	readonly repair?: (finding: ScrubFinding) => Promise<boolean>;
	readonly found: (finding: ScrubFinding, isRepaired: boolean) => void;
	/** After each stretch: from here on a later scrub may go on. */
	readonly moved?: (position: ScrubPosition, progress: ScrubProgress) => void;
	readonly clock?: ScrubClock;
}

export interface ScrubClock {
	/** Milliseconds. */
	now(): number;
	sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** Why a scrub of an open volume came to an end that is none: it is being closed. */
export class ScrubEnded extends Error {
	override readonly name = 'ScrubEnded';
}

/**
 * Reads every page of the live layer and of the layers that snapshots hold, also those that nobody can see from the live volume, and compares each with the checksum in its page map.
 * It reads the files by itself and changes nothing, beside the volume that serves them. Resolves when all was read or the signal ends it; rejects with the kernel's error for a
 * file that cannot be opened, with VolumeFault for a superblock or tree that cannot be believed, and with ScrubEnded when the volume is closed.
 *
 * Since nothing holds still meanwhile, what looks wrong is looked at anew until it is the same twice, and then
 * - of the live layer counts what a read of the volume calls a medium error: a page whose newest version is in the log is stale here, and rightly;
 * - of a frozen one, what its map still says in a layer that is still needed: one that is being merged into the next gives its space back page by page.
 *
 * Pages that the kernel has in memory are compared there: what the disk holds is read when they are not.
 */
export function scrubVolume(
	disk: Disk,
	directory: string,
	volume: Pick<BlockDevice, 'read' | 'blockSize' | 'sizeBytes'>,
	options: ScrubOptions,
): Promise<ScrubProgress & { readonly isComplete: boolean }> {
	return new Scrub(disk, directory, volume, options).run();
}

interface State {
	readonly superblock: Superblock;
	readonly tree: LayerTree;
}

class Scrub {
	readonly #disk: Disk;
	readonly #directory: string;
	readonly #volume: Pick<BlockDevice, 'read' | 'blockSize' | 'sizeBytes'>;
	readonly #options: ScrubOptions;
	readonly #clock: ScrubClock;
	readonly #bytes: Buffer = Buffer.allocUnsafeSlow(runPages * pageBytes);
	#pages = 0;
	#findings = 0;
	#repaired = 0;
	#mapBytes = 0;
	#mapBytesDone = 0;
	/** When the next bytes may be read, by the rate. */
	#dueMs: number;

	constructor(disk: Disk, directory: string, volume: Pick<BlockDevice, 'read' | 'blockSize' | 'sizeBytes'>, options: ScrubOptions) {
		this.#disk = disk;
		this.#directory = directory;
		this.#volume = volume;
		this.#options = options;
		this.#clock = options.clock ?? systemClock;
		this.#dueMs = this.#clock.now();
	}

	async run(): Promise<ScrubProgress & { isComplete: boolean }> {
		let { layer, block } = this.#options.from ?? { layer: 0, block: 0 };
		await this.#measure(layer);
		while (!this.#isEnded) {
			const state = await this.#state();
			const next = neededLayers(state.tree).find((id) => id >= layer);
			if (next === undefined) return { ...this.#progress(), done: 1, isComplete: true };
			if (next !== layer) block = 0;
			layer = next;
			if (!(await this.#scrubLayer(state, layer, block))) break;
			layer++;
			block = 0;
		}
		return { ...this.#progress(), isComplete: false };
	}

	get #isEnded(): boolean {
		return this.#options.signal.aborted;
	}

	/** False if it was ended in the middle. */
	async #scrubLayer({ superblock, tree }: State, id: number, fromBlock: number): Promise<boolean> {
		const layer = await this.#open(superblock, id);
		// It is gone, with nothing that anybody needs.
		if (layer === undefined) return true;
		try {
			// A frozen layer may be longer than the volume is now.
			const end = Math.ceil((await layer.map.file.sizeBytes()) / blockBytes) * entriesPerBlock;
			for await (const { pages, entries, count } of layer.map.entries(fromBlock * entriesPerBlock, end)) {
				let blocks = 0;
				let last = -1;
				for (let at = 0; at < count;) {
					if (this.#isEnded) return false;
					const length = runLength(layer, pages, entries, at, count);
					await this.#compare(layer, pages.subarray(at, at + length), entries.subarray(at, at + length), id === tree.live);
					for (let index = at; index < at + length; index++) {
						const block = Math.floor((pages[index] as number) / entriesPerBlock);
						if (block === last) continue;
						last = block;
						blocks++;
					}
					at += length;
				}
				this.#mapBytesDone += blocks * blockBytes;
				if (last >= 0) this.#options.moved?.({ layer: id, block: last + 1 }, this.#progress());
			}
			return true;
		} finally {
			await layer.close();
		}
	}

	/** Consecutive pages that lie in one file, or one page whose checksum is lost. */
	async #compare(layer: Layer, pages: Float64Array, entries: Uint32Array, isLive: boolean): Promise<void> {
		const first = pages[0] as number;
		if (entries[0] === entryZero) return;
		let bytes: Buffer | undefined;
		if (entries[0] !== entryLost) {
			await this.#pace(pages.length * pageBytes);
			bytes = await this.#read(layer, first, pages.length);
		}
		for (let at = 0; at < entries.length; at++) {
			this.#pages++;
			if (bytes !== undefined && pageChecksum(bytes.subarray(at * pageBytes, (at + 1) * pageBytes)) === entries[at]) continue;
			await this.#suspect(layer, first + at, isLive);
		}
	}

	/** Undefined when the disk reports an error: then the pages are looked at one by one. */
	async #read(layer: Layer, page: number, pages: number): Promise<Buffer | undefined> {
		const bytes = this.#bytes.subarray(0, pages * pageBytes);
		const file = layer.fileOf(page);
		if (file === undefined) return bytes.fill(0);
		try {
			await readFully(file, bytes, layer.positionOf(page));
			return bytes;
		} catch (error) {
			if (errorCode(error) === '') throw error;
			return undefined;
		}
	}

	/** Something did not match: believes it when it is so again and again, and still matters. */
	async #suspect(layer: Layer, page: number, isLive: boolean): Promise<void> {
		let kind: ScrubFinding['kind'] = 'data';
		for (let look = 0; look < looks; look++) {
			const entry = await freshEntry(layer, page);
			if (entry === entryAbsent || entry === entryZero) return;
			kind = 'map';
			if (entry === entryLost) continue;
			// A slice may have come since the layer was opened.
			if (layer.fileOf(page) === undefined && isLive) return;
			const bytes = await this.#read(layer, page, 1);
			if (bytes !== undefined && pageChecksum(bytes) === entry) return;
			kind = bytes === undefined ? 'unreadable' : 'data';
		}
		const { tree } = await this.#state();
		if (layer.id === tree.live) {
			if (!(await this.#isMediumError(page))) return;
		} else if (!neededLayers(tree).includes(layer.id)) return;
		const { blockSize } = this.#volume;
		const finding: ScrubFinding = { layer: layer.id, isLive: layer.id === tree.live, page, lba: (page * pageBytes) / blockSize, kind };
		const isRepaired = (await this.#options.repair?.(finding)) ?? false;
		this.#findings++;
		if (isRepaired) this.#repaired++;
		this.#options.found(finding, isRepaired);
	}

	async #isMediumError(page: number): Promise<boolean> {
		const outcome = await new Promise<Outcome>((resolve) =>
			this.#volume.read(page * pageBytes, Buffer.alloc(pageBytes), { complete: resolve }),
		);
		if (outcome === 'closed') throw new ScrubEnded('the volume is being closed');
		return outcome === 'mediumError';
	}

	/** Undefined if there is no such layer any more. */
	async #open({ geometry }: Superblock, id: number): Promise<Layer | undefined> {
		try {
			const { layers } = volumePaths(this.#directory);
			return await Layer.open(this.#disk, layers, id, { sliceBytes: geometry.sliceBytes, mapCacheBlocks, mode: 'readOnly' });
		} catch (error) {
			if (errorCode(error) === 'ENOENT') return undefined;
			throw error;
		}
	}

	/** Superblock and tree of one moment. */
	async #state(): Promise<State> {
		for (let attempt = 1; ; attempt++) {
			try {
				const file = await SuperblockFile.open(this.#disk, volumePaths(this.#directory).superblock, 'readOnly');
				const superblock = file.current;
				await file.close();
				return { superblock, tree: await readTree(this.#disk, this.#directory, superblock) };
			} catch (error) {
				// A slot that is being written, or a tree that has been replaced since.
				if (attempt === treeAttempts) throw error;
				await this.#clock.sleep(sleepMsMin * attempt, this.#options.signal);
			}
		}
	}

	async #measure(fromLayer: number): Promise<void> {
		const { superblock, tree } = await this.#state();
		for (const id of neededLayers(tree).filter((one) => one >= fromLayer)) {
			const layer = await this.#open(superblock, id);
			this.#mapBytes += (await layer?.map.file.allocatedBytes()) ?? 0;
			await layer?.close();
		}
	}

	#progress(): ScrubProgress {
		const done = this.#mapBytes === 0 ? 1 : Math.min(1, this.#mapBytesDone / this.#mapBytes);
		return { pages: this.#pages, findings: this.#findings, repaired: this.#repaired, done };
	}

	/** Waits until the rate allows so many bytes. Time that was not used is not saved up. */
	async #pace(lengthBytes: number): Promise<void> {
		const earlyMs = this.#dueMs - this.#clock.now();
		if (earlyMs >= sleepMsMin) await this.#clock.sleep(earlyMs, this.#options.signal);
		const share = this.#options.isBusy?.() === true ? busyShare : 1;
		this.#dueMs = Math.max(this.#dueMs, this.#clock.now()) + (lengthBytes * 1000) / (this.#options.bytesPerSecond * share);
	}
}

/**
 * Layers whose pages somebody may ask for, ascending. One without a name of its own that a single layer stands on is on its way into that one, and gives its space back.
 */
function neededLayers(tree: LayerTree): number[] {
	return [...tree.layers.keys()]
		.filter((id) => id === tree.live || id === tree.origin || tree.snapshotOf(id) !== undefined || tree.children(id).length > 1)
		.toSorted((a, b) => a - b);
}

/** How many entries from `at` on are of consecutive pages in one file; 1 for an entry that is no checksum. */
function runLength(layer: Layer, pages: Float64Array, entries: Uint32Array, at: number, count: number): number {
	const first = pages[at] as number;
	if ((entries[at] as number) <= entryLost) return 1;
	const limit = Math.min(layer.contiguous(first, runPages), count - at);
	let length = 1;
	while (length < limit && pages[at + length] === first + length && (entries[at + length] as number) > entryLost) length++;
	return length;
}

/** What the map's file says of a page now. */
async function freshEntry(layer: Layer, page: number): Promise<number> {
	for await (const { pages, entries, count } of layer.map.entries(page, page + 1)) {
		for (let at = 0; at < count; at++) if (pages[at] === page) return entries[at] as number;
	}
	return entryAbsent;
}

const systemClock: ScrubClock = {
	now: () => performance.now(),
	sleep: (ms, signal) =>
		new Promise((resolve) => {
			const end = (): void => {
				clearTimeout(timer);
				signal.removeEventListener('abort', end);
				resolve();
			};
			const timer = setTimeout(end, ms);
			signal.addEventListener('abort', end);
			if (signal.aborted) end();
		}),
};
