import type { Disk, DiskFile } from '../os/disk.ts';
import { writeEachFully } from '../os/transfer.ts';

/** A file that is made with the first bytes that are put into it, and empty until then: most layers of snapshots never come to hold anything, and none does when it is made. */
export class NewFile implements DiskFile {
	readonly path: string;
	readonly #disk: Disk;
	readonly #made: () => void;
	#file: DiskFile | undefined;
	#making: Promise<DiskFile> | undefined;

	/** `made` is called in the turn in which the file has come to be. */
	constructor(disk: Disk, path: string, made: () => void) {
		this.#disk = disk;
		this.path = path;
		this.#made = made;
	}

	get isMade(): boolean {
		return this.#file !== undefined;
	}

	/** Rejects with the kernel's error, and may be tried again then. */
	make(): Promise<DiskFile> {
		if (this.#file !== undefined) return Promise.resolve(this.#file);
		this.#making ??= this.#disk
			.open(this.path, 'create')
			.then((file) => {
				this.#file = file;
				this.#made();
				return file;
			})
			.finally(() => (this.#making = undefined));
		return this.#making;
	}

	async sizeBytes(): Promise<number> {
		return this.#file?.sizeBytes() ?? 0;
	}

	async links(): Promise<number> {
		return (await this.make()).links();
	}

	async inode(): Promise<number> {
		return (await this.make()).inode();
	}

	async allocatedBytes(): Promise<number> {
		return this.#file?.allocatedBytes() ?? 0;
	}

	tryRead(target: Uint8Array, positionBytes: number, start = 0, end = target.length): number {
		return this.#file?.tryRead(target, positionBytes, start, end) ?? 0;
	}

	async read(target: Uint8Array, positionBytes: number): Promise<number> {
		return this.#file?.read(target, positionBytes) ?? 0;
	}

	writeSync(source: Uint8Array, positionBytes: number): number {
		if (this.#file === undefined) throw new Error(`${this.path} is not made yet: the calling thread cannot wait for that`);
		return this.#file.writeSync(source, positionBytes);
	}

	async write(source: Uint8Array, positionBytes: number): Promise<number> {
		return (await this.make()).write(source, positionBytes);
	}

	async writev(sources: readonly Uint8Array[], positionBytes: number): Promise<number> {
		return (await this.make()).writev(sources, positionBytes);
	}

	async writeEach(sources: readonly Uint8Array[], positionsBytes: readonly number[]): Promise<void> {
		return writeEachFully(await this.make(), sources, positionsBytes);
	}

	async datasync(): Promise<void> {
		await this.#file?.datasync();
	}

	async punch(positionBytes: number, lengthBytes: number): Promise<void> {
		await this.#file?.punch(positionBytes, lengthBytes);
	}

	async nextData(positionBytes: number): Promise<{ startBytes: number; endBytes: number } | undefined> {
		return this.#file?.nextData(positionBytes);
	}

	async truncate(sizeBytes: number): Promise<void> {
		await (await this.make()).truncate(sizeBytes);
	}

	async close(): Promise<void> {
		await this.#making?.catch(() => undefined);
		await this.#file?.close();
	}
}
