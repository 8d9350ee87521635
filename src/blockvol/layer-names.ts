import type { Disk } from '../os/disk.ts';

/**
 * The names of files in the folder of layers, which all layers of a volume share: one sync of the folder makes all of them durable, so a thousand new layers need no more than
 * a few.
 *
 * Callers are in line, so that nobody passes while the sync that covers his name is under way; after a failure every later call fails too.
 */
export class LayerNames {
	readonly #disk: Disk;
	readonly #directory: string;
	#made = 0;
	#synced = 0;
	#syncing: Promise<void> = Promise.resolve();

	constructor(disk: Disk, directory: string) {
		this.#disk = disk;
		this.#directory = directory;
	}

	/** A name was made, or may have been left in the kernel by a process that was killed: what sync() is to be asked for. */
	made(): number {
		return ++this.#made;
	}

	/** Resolves when the names up to `made` are durable. */
	sync(made: number): Promise<void> {
		this.#syncing = this.#syncing.then(() => this.#syncOnce(made));
		return this.#syncing;
	}

	async #syncOnce(made: number): Promise<void> {
		if (made <= this.#synced) return;
		const upTo = this.#made;
		await this.#disk.syncDirectory(this.#directory);
		this.#synced = upTo;
	}
}
