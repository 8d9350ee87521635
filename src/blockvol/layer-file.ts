import type { Disk, DiskFile } from '../os/disk.ts';

/**
 * A file of a layer. Those of the layers that are written stay open; those of frozen layers are opened when they are read, and the one that was not used for longest is
 * closed for it.
 */
export class LayerFile {
	readonly path: string;
	/** Open now. */
	file: DiskFile | undefined;
	/** Calls that are under way on it: it is not closed meanwhile. */
	pins = 0;
	/** Told when nobody uses it any more. */
	whenUnused: (() => void) | undefined;

	constructor(path: string, file?: DiskFile) {
		this.path = path;
		this.file = file;
	}
}

/** Those of the process that have files open: they share what it may have open. */
const busy = new Set<FilePool>();

export interface FilePoolLimits {
	/** Of this pool. */
	readonly files: number;
	/** Of all pools of the process that have any, each of which may have an equal part. */
	readonly filesOfAll: number;
}

/** The open files of a volume's frozen layers: at most so many that nobody uses just now. */
export class FilePool {
	readonly #disk: Disk;
	readonly #limits: FilePoolLimits;
	readonly #mode: 'existing' | 'readOnly';
	/** In the order of their last opening or use. */
	readonly #open = new Set<LayerFile>();
	readonly #opening = new Map<LayerFile, Promise<DiskFile>>();
	readonly #closing = new Set<Promise<void>>();

	constructor(disk: Disk, limits: FilePoolLimits, mode: 'existing' | 'readOnly') {
		this.#disk = disk;
		this.#limits = limits;
		this.#mode = mode;
	}

	get openFiles(): number {
		return this.#open.size;
	}

	/** Calls `work` with the open file, which stays open until it has ended. */
	async use<T>(file: LayerFile, work: (open: DiskFile) => Promise<T>): Promise<T> {
		file.pins++;
		try {
			return await work(file.file ?? (await this.#openNow(file)));
		} finally {
			this.release(file);
		}
	}

	/** Ends a use that began with `file.pins++`. */
	release(file: LayerFile): void {
		file.pins--;
		this.#touch(file);
		if (file.pins === 0) file.whenUnused?.();
		this.#shrink();
	}

	/** Takes over a file that was open all the time. */
	adopt(file: LayerFile): void {
		if (file.file === undefined) return;
		this.#open.add(file);
		busy.add(this);
		this.#shrink();
	}

	/** Closes a file that nobody will ask for again, once nobody uses it. */
	async drop(file: LayerFile): Promise<void> {
		while (file.pins > 0) await new Promise<void>((resolve) => (file.whenUnused = resolve));
		this.#open.delete(file);
		if (this.#open.size === 0) busy.delete(this);
		const { file: open } = file;
		file.file = undefined;
		await open?.close();
	}

	async close(): Promise<void> {
		for (const file of this.#open) await this.drop(file);
		await Promise.all(this.#closing);
	}

	#openNow(file: LayerFile): Promise<DiskFile> {
		let opening = this.#opening.get(file);
		if (opening !== undefined) return opening;
		opening = this.#disk
			.open(file.path, this.#mode)
			.then((open) => {
				file.file = open;
				this.#open.add(file);
				busy.add(this);
				return open;
			})
			.finally(() => this.#opening.delete(file));
		this.#opening.set(file, opening);
		return opening;
	}

	#touch(file: LayerFile): void {
		if (this.#open.delete(file)) this.#open.add(file);
	}

	#shrink(): void {
		const filesMax = Math.min(this.#limits.files, Math.max(1, Math.floor(this.#limits.filesOfAll / busy.size)));
		if (this.#open.size <= filesMax) return;
		for (const file of this.#open) {
			if (this.#open.size <= filesMax) return;
			if (file.pins > 0 || file.file === undefined) continue;
			this.#open.delete(file);
			const { file: open } = file;
			file.file = undefined;
			// What was read stays right; a file that cannot be closed is the kernel's to tell at its next use.
			const closing = open.close().catch(() => undefined);
			this.#closing.add(closing);
			void closing.then(() => this.#closing.delete(closing));
		}
	}
}
