import { errorCode, type Disk, type DiskFile } from '../os/disk.ts';
import { writeFully } from '../os/transfer.ts';
import { Layer, layerOf, sliceOf } from './layer.ts';
import { pageBytes } from './limits.ts';
import { RunningDigest } from './map-digest.ts';
import { entriesPerBlock } from './page-map-block.ts';
import { PageMap } from './page-map.ts';
import { firstPattern, inverted, repeated } from './sanitize-pattern.ts';
import { orderFault, type Sanitize, type SanitizeOrder } from './sanitize-record.ts';
import { remoteName } from './remote-file.ts';
import { type MapDigest, type Superblock, SuperblockFile } from './superblock.ts';
import { readTree } from './tree-file.ts';
import { build, newWalGeneration, volumePaths } from './volume-files.ts';
import { VolumeFault, VolumeUsageError } from './volume-fault.ts';
import { pageChecksum } from './page-checksums.ts';
import { firstLSNOf } from './wal-segment.ts';

/**
 * Makes everything that a closed volume keeps unreadable, in place: the bytes of its layer and page map that take up space, and all of its log.
 *
 *   beginSanitize: nobody shares or keeps it ─→ the order in both slots of the superblock: from here on no build opens the volume
 *   sanitize:      each file overwritten, pass by pass, and synced ─→ overwrite: a new page map, under which all that took up space is the pattern
 *                                                                  └→ blockErase, or a pattern of zeros: the layer's space given back
 *                  ─→ the log filled with zeros, synced ─→ the order gone from both slots, with another log generation
 *
 * A crash at any point leaves the order, and sanitize() begins anew: what it finds allocated is what it found the first time. What cannot be overwritten leaves the order with
 * hasFailed, and exitFailure() makes an empty volume of it, if the order allows that. What the file system had back before (trimmed, merged, removed) is beyond reach, and so is what
 * a disk, a copy-on-write file system or an archive keeps of its own.
 */

/** The volume cannot be opened: it is to be sanitized first, or that has failed. */
export class SanitizeUnfinished extends VolumeFault {
	override readonly name = 'VolumeFault';
	readonly order: Sanitize;

	constructor(order: Sanitize) {
		super(order.hasFailed ? 'sanitizing the volume has failed: sanitize it again' : 'the volume is being sanitized');
		this.order = order;
	}
}

export interface SanitizeOptions {
	/** How much of it is done, 0 to 1; throws nothing. */
	moved?: (done: number) => void;
	/** Ends it between two pieces, with the order left as it is. */
	signal?: AbortSignal;
}

/** What is written between two looks at the signal. */
const pieceBytes = 1024 * 1024;
/** Pages whose map entries are written at a time. */
const mapBatchPages = 16 * entriesPerBlock;

/**
 * Writes the order down, durably, whatever an order before said that has failed. Rejects with VolumeUsageError, and has changed nothing, when somebody else shares or keeps what the volume holds,
 * or it was not closed in good order.
 */
export async function beginSanitize(disk: Disk, directory: string, order: SanitizeOrder): Promise<void> {
	const fault = orderFault(order);
	if (fault !== undefined) throw new RangeError(fault);
	await withSuperblock(disk, directory, async (file) => {
		const superblock = file.current;
		if (superblock.sanitize === undefined && !superblock.clean) throw new VolumeUsageError('the volume could not be closed in good order');
		const kept = await keptOf(disk, directory, superblock);
		if (kept !== undefined) throw new VolumeUsageError(kept);
		const { method, passes, invert, pattern, mayExitFailure } = order;
		const sanitize = { method, passes, invert, pattern, mayExitFailure, hasFailed: false };
		await file.updateBoth({ sanitize, clean: false, mapDigest: undefined, marks: [] });
	});
}

/**
 * Who shares or keeps what a volume holds, in words; undefined: nobody. Also of one that is open: a hint then. Rejects with VolumeFault if it cannot be read just now.
 */
export async function keptBy(disk: Disk, directory: string): Promise<string | undefined> {
	const file = await SuperblockFile.open(disk, volumePaths(directory).superblock, 'readOnly');
	try {
		return await keptOf(disk, directory, file.current);
	} finally {
		await file.close();
	}
}

/** The order that stands in the superblock of a volume that is not open; undefined: none. Rejects as an opening of the superblock does. */
export async function unfinishedSanitize(disk: Disk, directory: string): Promise<Sanitize | undefined> {
	const file = await SuperblockFile.open(disk, volumePaths(directory).superblock, 'readOnly');
	try {
		return file.current.sanitize;
	} finally {
		await file.close();
	}
}

/** Carries out the order that stands in the superblock. Rejects with VolumeFault when it has failed, which the superblock then says; with SanitizeStopped after the signal. */
export async function sanitize(disk: Disk, directory: string, options: SanitizeOptions = {}): Promise<void> {
	await withSuperblock(disk, directory, async (file) => {
		const order = orderOf(file.current);
		try {
			const mapDigest = await new Work(disk, directory, file.current, order, options).run();
			await file.updateBoth({ ...sanitized(file.current), mapDigest });
		} catch (error) {
			if (errorCode(error) === '') throw error;
			// Should this fail as well, the next opening tries again.
			await file.updateBoth({ sanitize: { ...order, hasFailed: true } }).catch((second: unknown) => {
				if (errorCode(second) === '') throw second;
			});
			throw new VolumeFault(`sanitizing has failed (${errorCode(error)})`, { cause: error });
		}
	});
}

/** Makes an empty volume of one that could not be sanitized. Rejects with VolumeUsageError unless the order allowed that, with the kernel's error when it cannot be done. */
export async function exitSanitizeFailure(disk: Disk, directory: string): Promise<void> {
	await withSuperblock(disk, directory, async (file) => {
		const order = orderOf(file.current);
		if (!order.hasFailed || !order.mayExitFailure) throw new VolumeUsageError('this failure to sanitize can be ended by sanitizing only');
		await emptyLayer(disk, directory, file.current);
		await file.updateBoth({ ...sanitized(file.current), mapDigest: RunningDigest.empty().value });
	});
}

/** Told by the signal to stop: the order stays. */
export class SanitizeStopped extends Error {}

function orderOf({ sanitize: order }: Readonly<Superblock>): Sanitize {
	if (order === undefined) throw new VolumeUsageError('nobody has asked to sanitize the volume');
	return order;
}

/** A volume as after a clean stop. No record of the old log is one of the new generation. */
function sanitized({ tailLSN, checkpointLSN }: Readonly<Superblock>): Partial<Superblock> {
	const end = Math.max(tailLSN, checkpointLSN);
	return {
		sanitize: undefined,
		clean: true,
		build: build(),
		marks: [],
		walGeneration: newWalGeneration(),
		checkpointLSN: end,
		tailLSN: end,
	};
}

async function withSuperblock(disk: Disk, directory: string, work: (file: SuperblockFile) => Promise<void>): Promise<void> {
	const file = await SuperblockFile.open(disk, volumePaths(directory).superblock);
	try {
		await work(file);
	} finally {
		await file.close();
	}
}

async function keptOf(disk: Disk, directory: string, superblock: Readonly<Superblock>): Promise<string | undefined> {
	const { holds } = superblock;
	if (holds.length > 0) return `the log is held for ${holds.map(({ name }) => name).join(', ')}`;
	if ((await disk.list(directory)).includes(remoteName)) return 'the volume is still being fetched from an archive';
	const tree = await readTree(disk, directory, superblock);
	if (tree.snapshots.length > 0)
		return `the volume has snapshots, which keep what it held: ${tree.snapshots.map(({ name }) => name).join(', ')}`;
	if (tree.layers.size > 1) return 'the volume shares what it holds with a clone, or layers of deleted snapshots are being merged';
	const { layers } = volumePaths(directory);
	for (const name of await disk.list(layers)) {
		if (layerOf(name) !== tree.live) continue;
		const shared = await withFile(disk, `${layers}/${name}`, 'readOnly', async (file) => (await file.links()) > 1);
		if (shared) return 'the volume shares what it holds with a clone';
	}
	return undefined;
}

async function withFile<T>(disk: Disk, path: string, mode: 'existing' | 'readOnly', work: (file: DiskFile) => Promise<T>): Promise<T> {
	const file = await disk.open(path, mode);
	try {
		return await work(file);
	} finally {
		await file.close();
	}
}

/** A file that keeps something: of a layer's only what takes up space. */
interface Kept {
	readonly path: string;
	readonly isLog: boolean;
	/** As the kernel counts them: for the progress. */
	readonly lengthBytes: number;
}

interface Range {
	readonly startBytes: number;
	readonly endBytes: number;
}

class Work {
	readonly #disk: Disk;
	readonly #paths: ReturnType<typeof volumePaths>;
	readonly #directory: string;
	readonly #superblock: Readonly<Superblock>;
	readonly #order: Sanitize;
	readonly #options: SanitizeOptions;
	#doneBytes = 0;
	#totalBytes = 0;

	constructor(disk: Disk, directory: string, superblock: Readonly<Superblock>, order: Sanitize, options: SanitizeOptions) {
		this.#disk = disk;
		this.#paths = volumePaths(directory);
		this.#directory = directory;
		this.#superblock = superblock;
		this.#order = order;
		this.#options = options;
	}

	/** Resolves to the digest of the page map that there is then. */
	async run(): Promise<MapDigest | undefined> {
		const { passes, invert, pattern, method } = this.#order;
		const { blockSize } = this.#superblock.geometry;
		const last = repeated(pattern, blockSize, pieceBytes);
		const isTrimmed = method === 'blockErase' || pattern.every((byte) => byte === 0);
		const log = await this.#kept(this.#paths.wal, true);
		const kept = [...(await this.#kept(this.#paths.layers, false)), ...log];
		const sum = (files: readonly Kept[]): number => files.reduce((bytes, { lengthBytes }) => bytes + lengthBytes, 0);
		this.#totalBytes = sum(kept) * passes + sum(log);
		let piece = firstPattern(last, passes, invert);
		for (let pass = 0; pass < passes; pass++) {
			for (const file of kept) await this.#overwrite(file, piece);
			if (invert) piece = inverted(piece);
		}
		// What an initiator has made up shall not look like a record.
		for (const file of log) await this.#overwrite(file, Buffer.alloc(pieceBytes));
		await this.#disk.syncDirectory(this.#paths.wal);
		if (isTrimmed) return emptyLayer(this.#disk, this.#directory, this.#superblock);
		return this.#mapAll(last.subarray(0, pageBytes));
	}

	/** Everything in a folder that is a volume's, also what a crash has left of layers that nobody knows. */
	async #kept(folder: string, isLog: boolean): Promise<Kept[]> {
		const kept: Kept[] = [];
		for (const name of (await this.#disk.list(folder)).toSorted()) {
			// Not ours to judge.
			if ((isLog ? firstLSNOf(name) : layerOf(name)) < 0) continue;
			const path = `${folder}/${name}`;
			const lengthBytes = await withFile(this.#disk, path, 'readOnly', (file) => (isLog ? file.sizeBytes() : file.allocatedBytes()));
			kept.push({ path, isLog, lengthBytes });
		}
		return kept;
	}

	async #overwrite({ path, isLog }: Kept, piece: Buffer): Promise<void> {
		await withFile(this.#disk, path, 'existing', async (file) => {
			for await (const { startBytes, endBytes } of rangesOf(file, isLog)) {
				for (let at = startBytes; at < endBytes; at += pieceBytes) {
					if (this.#options.signal?.aborted === true) throw new SanitizeStopped('told to stop');
					const lengthBytes = Math.min(pieceBytes, endBytes - at);
					await writeFully(file, piece.subarray(0, lengthBytes), at);
					this.#doneBytes += lengthBytes;
					this.#options.moved?.(Math.min(1, this.#doneBytes / this.#totalBytes));
				}
			}
			await file.datasync();
		});
	}

	/** The live layer's map anew: each page that takes up space holds the pattern. Other layers' files go. */
	async #mapAll(page: Buffer): Promise<MapDigest | undefined> {
		const live = this.#superblock.layers[0] as number;
		const { layers } = this.#paths;
		await removeLayers(this.#disk, layers, (name) => layerOf(name) !== live);
		const checksum = pageChecksum(page);
		const digest = RunningDigest.empty();
		await withFile(this.#disk, `${layers}/${Layer.mapName(live)}`, 'existing', async (file) => {
			await file.truncate(0);
			const map = new PageMap(file, 0, live, mapBatchPages / entriesPerBlock);
			for await (const pages of batches(this.#pages(live))) {
				await map.update(Float64Array.from(pages), new Uint32Array(pages.length).fill(checksum), pages.length, digest);
			}
			await file.datasync();
		});
		await this.#disk.syncDirectory(layers);
		return digest.value;
	}

	/** Pages of the volume whose bytes take up space, ascending. */
	async *#pages(live: number): AsyncGenerator<number> {
		const { sizeBytes, sliceBytes } = this.#superblock.geometry;
		const slices = (await this.#disk.list(this.#paths.layers)).map((name) => sliceOf(name, live)).filter((slice) => slice >= 0);
		for (const slice of slices.toSorted((a, b) => a - b)) {
			const file = await this.#disk.open(`${this.#paths.layers}/${Layer.dataName(live, slice)}`, 'readOnly');
			try {
				for await (const { startBytes, endBytes } of rangesOf(file, false)) {
					const end = Math.min((slice * sliceBytes + endBytes) / pageBytes, sizeBytes / pageBytes);
					for (let page = (slice * sliceBytes + startBytes) / pageBytes; page < end; page++) yield page;
				}
			} finally {
				await file.close();
			}
		}
	}
}

/** What a file keeps, ascending: the log's all of it; else what takes up space, in whole pages. */
async function* rangesOf(file: DiskFile, isWhole: boolean): AsyncGenerator<Range> {
	const sizeBytes = await file.sizeBytes();
	if (isWhole) {
		yield { startBytes: 0, endBytes: sizeBytes };
		return;
	}
	for (let at = 0; at < sizeBytes;) {
		const data = await file.nextData(at);
		if (data === undefined) return;
		const startBytes = Math.max(at, Math.floor(data.startBytes / pageBytes) * pageBytes);
		const endBytes = Math.ceil(data.endBytes / pageBytes) * pageBytes;
		yield { startBytes, endBytes };
		at = endBytes;
	}
}

/** The live layer holds nothing, and no other has files. */
async function emptyLayer(disk: Disk, directory: string, { layers }: Readonly<Superblock>): Promise<MapDigest | undefined> {
	const paths = volumePaths(directory);
	const map = Layer.mapName(layers[0] as number);
	await withFile(disk, `${paths.layers}/${map}`, 'existing', async (file) => {
		await file.truncate(0);
		await file.datasync();
	});
	await removeLayers(disk, paths.layers, (name) => name !== map);
	await disk.syncDirectory(paths.layers);
	return RunningDigest.empty().value;
}

async function removeLayers(disk: Disk, folder: string, isGone: (name: string) => boolean): Promise<void> {
	for (const name of await disk.list(folder)) if (layerOf(name) >= 0 && isGone(name)) await disk.remove(`${folder}/${name}`);
}

async function* batches(pages: AsyncIterable<number>): AsyncGenerator<number[]> {
	let batch: number[] = [];
	for await (const page of pages) {
		batch.push(page);
		if (batch.length < mapBatchPages) continue;
		yield batch;
		batch = [];
	}
	if (batch.length > 0) yield batch;
}
