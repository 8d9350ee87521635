import type { Disk, DiskFile, DiskLock } from './disk.ts';
import { writeEachFully } from './transfer.ts';
import { Turns } from './turns.ts';

/** Threads of libuv's pool, as libuv reads the variable, which the launcher sets: 4 without it, 1 for what is no number. */
const poolThreads =
	process.env.UV_THREADPOOL_SIZE === undefined ? 4 : Math.max(1, Number.parseInt(process.env.UV_THREADPOOL_SIZE, 10) || 1);
const transfersMax = Math.max(1, Math.floor(poolThreads / 2));
const syncsMax = Math.max(1, Math.floor(poolThreads / 4));

/**
 * One volume's view of the disk that all share. What waits for the disk waits on a thread of the pool, and the pool is everybody's: so a volume has half of the threads at most for its
 * reads and writes, and a quarter for its syncs. If its disk stalls, the others go on with the rest.
 */
export class FairDisk implements Disk {
	readonly #disk: Disk;
	readonly #transfers = new Turns(transfersMax);
	readonly #syncs = new Turns(syncsMax);

	constructor(disk: Disk) {
		this.#disk = disk;
	}

	async open(path: string, mode: 'existing' | 'create' | 'readOnly'): Promise<DiskFile> {
		return new FairFile(await this.#disk.open(path, mode), this.#transfers, this.#syncs);
	}

	list(path: string): Promise<string[]> {
		return this.#disk.list(path);
	}

	makeDirectory(path: string): Promise<void> {
		return this.#disk.makeDirectory(path);
	}

	rename(from: string, to: string): Promise<void> {
		return this.#disk.rename(from, to);
	}

	link(from: string, to: string): Promise<void> {
		return this.#disk.link(from, to);
	}

	remove(path: string): Promise<void> {
		return this.#disk.remove(path);
	}

	removeDirectory(path: string): Promise<void> {
		return this.#disk.removeDirectory(path);
	}

	syncDirectory(path: string): Promise<void> {
		return this.#syncs.run(() => this.#disk.syncDirectory(path));
	}

	lock(path: string): Promise<DiskLock | undefined> {
		return this.#disk.lock(path);
	}

	freeBytes(path: string): Promise<number> {
		return this.#disk.freeBytes(path);
	}
}

class FairFile implements DiskFile {
	readonly path: string;
	readonly #file: DiskFile;
	readonly #transfers: Turns;
	readonly #syncs: Turns;

	constructor(file: DiskFile, transfers: Turns, syncs: Turns) {
		this.path = file.path;
		this.#file = file;
		this.#transfers = transfers;
		this.#syncs = syncs;
	}

	tryRead(target: Uint8Array, positionBytes: number, start = 0, end = target.length): number {
		return this.#file.tryRead(target, positionBytes, start, end);
	}

	writeSync(source: Uint8Array, positionBytes: number): number {
		return this.#file.writeSync(source, positionBytes);
	}

	read(target: Uint8Array, positionBytes: number): Promise<number> {
		return this.#transfers.run(() => this.#file.read(target, positionBytes));
	}

	write(source: Uint8Array, positionBytes: number): Promise<number> {
		return this.#transfers.run(() => this.#file.write(source, positionBytes));
	}

	writev(sources: readonly Uint8Array[], positionBytes: number): Promise<number> {
		return this.#transfers.run(() => this.#file.writev(sources, positionBytes));
	}

	writeEach(sources: readonly Uint8Array[], positionsBytes: readonly number[]): Promise<void> {
		return this.#transfers.run(() => writeEachFully(this.#file, sources, positionsBytes));
	}

	punch(positionBytes: number, lengthBytes: number): Promise<void> {
		return this.#transfers.run(() => this.#file.punch(positionBytes, lengthBytes));
	}

	datasync(): Promise<void> {
		return this.#syncs.run(() => this.#file.datasync());
	}

	sizeBytes(): Promise<number> {
		return this.#file.sizeBytes();
	}

	nextData(positionBytes: number): Promise<{ startBytes: number; endBytes: number } | undefined> {
		return this.#transfers.run(() => this.#file.nextData(positionBytes));
	}

	links(): Promise<number> {
		return this.#file.links();
	}

	inode(): Promise<number> {
		return this.#file.inode();
	}

	allocatedBytes(): Promise<number> {
		return this.#file.allocatedBytes();
	}

	truncate(sizeBytes: number): Promise<void> {
		return this.#file.truncate(sizeBytes);
	}

	close(): Promise<void> {
		return this.#file.close();
	}
}
