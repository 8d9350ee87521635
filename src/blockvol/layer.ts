import { errorCode, type Disk, type DiskFile } from '../os/disk.ts';
import { writeEachFully, writeFullySync, writevFully } from '../os/transfer.ts';
import { pageBytes } from './limits.ts';
import { FrozenLayer } from './frozen-layer.ts';
import { LayerFile, type FilePool } from './layer-file.ts';
import { LayerNames } from './layer-names.ts';
import { RunningDigest } from './map-digest.ts';
import type { PageHome } from './page-home.ts';
import { NewFile } from './new-file.ts';
import { PageMap } from './page-map.ts';

/** What layers are opened with. */
export interface LayerOptions {
	readonly sliceBytes: number;
	readonly mapCacheBlocks: number;
	/** Those of the folder, if several layers of it are written. */
	readonly names?: LayerNames;
}

/**
 * One layer: page n at n × 4096 of its data, and its page map. The data is cut into slices, one file each, because file systems end a file long before
 * a volume ends; a slice's file appears with its first page.
 */
export class Layer implements PageHome {
	readonly id: number;
	/** Set hash of the map. */
	digest: RunningDigest;
	readonly map: PageMap;
	readonly #disk: Disk;
	readonly #directory: string;
	readonly #slicePages: number;
	readonly #slices = new Map<number, LayerFile>();
	/** Slices written since they were last synced. */
	readonly #unsynced = new Set<DiskFile>();
	readonly #names: LayerNames;
	/** The newest of its names. At the start, too: a process that was killed may have made a slice whose name is in the kernel only. */
	#named: number;
	/** Set in one that was made and not opened. */
	#newMap: NewFile | undefined;
	#syncing: Promise<void> = Promise.resolve();
	#frozen: FrozenLayer | undefined;
	#syncs = 0;
	readonly #making = new Map<number, Promise<DiskFile>>();

	private constructor(disk: Disk, directory: string, id: number, options: LayerOptions, map: PageMap, digest: RunningDigest) {
		this.#disk = disk;
		this.#directory = directory;
		this.id = id;
		this.#slicePages = options.sliceBytes / pageBytes;
		this.#names = options.names ?? new LayerNames(disk, directory);
		this.#named = this.#names.made();
		this.map = map;
		this.digest = digest;
	}

	static mapName(id: number): string {
		return `${id}.map`;
	}

	static dataName(id: number, slice: number): string {
		return slice === 0 ? `${id}.data` : `${id}.${slice}.data`;
	}

	/** An empty layer. It has no file before something is put into it, or makeMap() is called; names are durable with the next syncData(). */
	static make(disk: Disk, directory: string, id: number, options: LayerOptions): Layer {
		const map = new NewFile(disk, `${directory}/${Layer.mapName(id)}`, () => layer.#hasName());
		const layer = new Layer(disk, directory, id, options, new PageMap(map, 0, id, options.mapCacheBlocks), RunningDigest.empty());
		layer.#newMap = map;
		return layer;
	}

	/** Makes an empty layer; durable once the directory is synced. */
	static async create(disk: Disk, directory: string, id: number): Promise<void> {
		const map = await disk.open(`${directory}/${Layer.mapName(id)}`, 'create');
		try {
			await map.datasync();
		} finally {
			await map.close();
		}
	}

	static async open(disk: Disk, directory: string, id: number, options: LayerOptions & { mode: 'existing' | 'readOnly' }): Promise<Layer> {
		const map = await disk.open(`${directory}/${Layer.mapName(id)}`, options.mode);
		const pages = new PageMap(map, await map.sizeBytes(), id, options.mapCacheBlocks);
		const layer = new Layer(disk, directory, id, options, pages, new RunningDigest(undefined));
		try {
			for (const name of await disk.list(directory)) {
				const slice = sliceOf(name, id);
				const path = `${directory}/${name}`;
				if (slice >= 0) layer.#slices.set(slice, new LayerFile(path, await disk.open(path, options.mode)));
			}
		} catch (error) {
			await layer.close();
			throw error;
		}
		return layer;
	}

	/** There is a file of it, open. */
	get hasFiles(): boolean {
		return this.#newMap === undefined || this.#newMap.isMade;
	}

	/** A layer that the tree names has a map. */
	async makeMap(): Promise<void> {
		await this.#newMap?.make();
	}

	/** How many pages from `page` on lie in the same file, `pages` at most. */
	contiguous(page: number, pages: number): number {
		return Math.min(pages, this.#slicePages - (page % this.#slicePages));
	}

	/** The file that holds a page, undefined while its slice has none; contiguous() pages from there on are at positionOf. */
	fileOf(page: number): DiskFile | undefined {
		return this.handleOf(page)?.file;
	}

	handleOf(page: number): LayerFile | undefined {
		return this.#slices.get(Math.floor(page / this.#slicePages));
	}

	positionOf(page: number): number {
		return (page % this.#slicePages) * pageBytes;
	}

	/** Writes consecutive pages, gathered. Not durable before syncData. */
	async write(firstPage: number, sources: readonly Uint8Array[], pages: number): Promise<void> {
		const file = this.fileOf(firstPage) ?? (await this.#makeSlice(firstPage));
		if (this.contiguous(firstPage, pages) < pages) throw new RangeError('a write over the end of a slice');
		await writevFully(file, sources, this.positionOf(firstPage));
		// Only now: a sync that began before the write ended does not cover it.
		this.#unsynced.add(file);
	}

	/** Whether a write by the calling thread would wait for nothing, as far as this layer knows: its slice is there and not being synced. */
	mayWriteNow(firstPage: number): boolean {
		return this.#syncs === 0 && this.fileOf(firstPage) !== undefined;
	}

	/** The same as write(), from the calling thread, where mayWriteNow() said so. */
	writeNow(firstPage: number, source: Uint8Array): void {
		const file = this.fileOf(firstPage) as DiskFile;
		writeFullySync(file, source, this.positionOf(firstPage));
		this.#unsynced.add(file);
	}

	/** Writes runs of consecutive pages, each whole in one slice and in one span of memory. Not durable before syncData. */
	async writeRuns(firstPages: readonly number[], sources: readonly Uint8Array[]): Promise<void> {
		for (let from = 0; from < firstPages.length;) {
			const file = this.fileOf(firstPages[from] as number) ?? (await this.#makeSlice(firstPages[from] as number));
			let to = from + 1;
			while (to < firstPages.length && this.fileOf(firstPages[to] as number) === file) to++;
			const positions = firstPages.slice(from, to).map((page) => this.positionOf(page));
			await writeEachFully(file, sources.slice(from, to), positions);
			this.#unsynced.add(file);
			from = to;
		}
	}

	/** Gives the space of a page range back. */
	async punch(start: number, end: number): Promise<void> {
		for (const [slice, { file }] of this.#slices) {
			if (file === undefined) throw new Error(`a slice of layer ${this.id} is closed`);
			const from = Math.max(start, slice * this.#slicePages);
			const to = Math.min(end, (slice + 1) * this.#slicePages);
			if (from >= to) continue;
			try {
				await file.punch(this.positionOf(from), (to - from) * pageBytes);
			} catch (error) {
				// The map says absent, so nobody reads what stays there; a file system without holes only keeps the space.
				if (errorCode(error) !== 'EOPNOTSUPP') throw error;
			}
			this.#unsynced.add(file);
		}
	}

	/**
	 * Makes the data that was written so far durable, with the names of new slices. Callers are in line, so that nobody passes while another's sync of the same
	 * data is under way; after a failure every later call fails too.
	 */
	syncData(): Promise<void> {
		this.#syncing = this.#syncing.then(() => this.#syncOnce());
		return this.#syncing;
	}

	/** Makes durable what an earlier process may have left in the kernel only: data, names and then the map. */
	async syncAll(): Promise<void> {
		for (const { file } of this.#slices.values()) if (file !== undefined) this.#unsynced.add(file);
		this.#named = this.#names.made();
		await this.syncData();
		await this.map.file.datasync();
	}

	async #syncOnce(): Promise<void> {
		const files = [...this.#unsynced];
		this.#unsynced.clear();
		this.#syncs++;
		try {
			await Promise.all(files.map((file) => file.datasync()));
		} finally {
			this.#syncs--;
		}
		await this.#names.sync(this.#named);
	}

	/** Disk space of data and map. */
	async allocatedBytes(): Promise<number> {
		const sizes = await Promise.all(this.#files.map((file) => file.allocatedBytes()));
		return sizes.reduce((sum, bytes) => sum + bytes, 0);
	}

	async close(): Promise<void> {
		await Promise.all(this.#files.map((file) => file.close()));
		this.#slices.clear();
	}

	/**
	 * The layer is not written any more: its files are the pool's from now on, and stay open until letGo(). Readers may ask either until then.
	 */
	freeze(pool: FilePool): FrozenLayer {
		const map = new LayerFile(`${this.#directory}/${Layer.mapName(this.id)}`, this.map.file);
		const frozen = new FrozenLayer(this.id, pool, map, new Map(this.#slices), this.#slicePages * pageBytes);
		for (const file of frozen.files) {
			file.pins++;
			pool.adopt(file);
		}
		this.#frozen = frozen;
		return frozen;
	}

	/** Its map as a layer above sees it, while it is written still: for who hides what is in it. Whoever asks drops its file. */
	mapView(pool: FilePool): FrozenLayer {
		const map = new LayerFile(`${this.#directory}/${Layer.mapName(this.id)}`);
		return new FrozenLayer(this.id, pool, map, new Map<number, LayerFile>(), this.#slicePages * pageBytes);
	}

	/** Nobody looks for a page here any more. What was begun (a load of the map, a sync) still ends before a file may be closed. */
	letGo(): void {
		const frozen = this.#frozen;
		if (frozen === undefined) throw new Error('a layer that is written was let go');
		const { files } = frozen;
		void Promise.allSettled([this.map.idle(), this.#syncing]).then(() => {
			for (const file of files) frozen.pool.release(file);
		});
	}

	get #files(): DiskFile[] {
		const slices = [...this.#slices.values()].map(({ file }) => file);
		return [this.map.file, ...slices.filter((file) => file !== undefined)];
	}

	/** Two writers that need the same new slice share its making. */
	#makeSlice(page: number): Promise<DiskFile> {
		const slice = Math.floor(page / this.#slicePages);
		const underWay = this.#making.get(slice);
		if (underWay !== undefined) return underWay;
		const making = this.#openSlice(slice).finally(() => this.#making.delete(slice));
		this.#making.set(slice, making);
		return making;
	}

	async #openSlice(slice: number): Promise<DiskFile> {
		// An opening takes a slice without a map for what a crash has left.
		await this.makeMap();
		const path = `${this.#directory}/${Layer.dataName(this.id, slice)}`;
		const file = await this.#disk.open(path, 'create');
		this.#hasName();
		this.#slices.set(slice, new LayerFile(path, file));
		return file;
	}

	#hasName(): void {
		this.#named = this.#names.made();
	}
}

/** The layer that a file name of a map or of data says, or -1. */
export function layerOf(name: string): number {
	const match = /^(\d+)(?:\.map|(?:\.\d+)?\.data)$/.exec(name);
	return match === null ? -1 : Number(match[1]);
}

/** The slice that a file name of a layer's data says, or -1. */
export function sliceOf(name: string, id: number): number {
	const match = /^(\d+)(?:\.(\d+))?\.data$/.exec(name);
	return match !== null && Number(match[1]) === id ? Number(match[2] ?? 0) : -1;
}
