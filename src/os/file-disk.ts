import * as fs from 'node:fs';
import * as fsp from 'node:fs/promises';
import type { Disk, DiskFile, DiskLock } from './disk.ts';
import { writeEach } from './kernel-aio.ts';
import { allocateScattered, isExt4 } from './scattered.ts';
import { nextDataRange, punchHole, readFromCache, tryLock } from './syscalls.ts';

/**
 * Longest single write. The page cache takes a write in folios as large as it is, and ext4 walks all blocks of a folio for each later write into it. CPU µs on Linux 6.18, a file of
 * 1 GiB, by the folios' size: 4 KiB written at random 1.8 (4 KiB), 2.9 (32), 4.3 (64), 5.9 (128), 19 (1024); 128 KiB written 44, 14, 9.9, 9.2, 9.1, and read 20, 9.2, 6.8, 5.8, 5.3.
 */
const pieceBytes = 64 * 1024;

/** By the mode of Disk.open. */
export const openFlags = { existing: 'r+', create: 'wx+', readOnly: 'r' } as const;
export const newFileMode = 0o600;

/** Disk over the kernel's file systems. */
export class FileDisk implements Disk {
	async open(path: string, mode: 'existing' | 'create' | 'readOnly'): Promise<DiskFile> {
		return new KernelFile(path, await openDescriptor(path, openFlags[mode]));
	}

	list(path: string): Promise<string[]> {
		return fsp.readdir(path);
	}

	async makeDirectory(path: string): Promise<void> {
		await fsp.mkdir(path, { recursive: true });
	}

	rename(from: string, to: string): Promise<void> {
		return fsp.rename(from, to);
	}

	link(from: string, to: string): Promise<void> {
		return fsp.link(from, to);
	}

	remove(path: string): Promise<void> {
		return fsp.unlink(path);
	}

	removeDirectory(path: string): Promise<void> {
		return fsp.rmdir(path);
	}

	async syncDirectory(path: string): Promise<void> {
		const directory = await fsp.open(path, 'r');
		try {
			await directory.sync();
		} finally {
			await directory.close();
		}
	}

	async lock(path: string): Promise<DiskLock | undefined> {
		const fd = await openDescriptor(path, 'a+');
		const held = new KernelLock(fd);
		try {
			if (tryLock(fd)) return held;
		} catch (error) {
			await held.close();
			throw error;
		}
		await held.close();
		return undefined;
	}

	async freeBytes(path: string): Promise<number> {
		const { bavail, bsize } = await fsp.statfs(path);
		return bavail * bsize;
	}
}

class KernelLock implements DiskLock {
	readonly #fd: number;

	constructor(fd: number) {
		this.#fd = fd;
	}

	async describe(text: string): Promise<void> {
		await run((done) => fs.ftruncate(this.#fd, 0, done));
		await transfer((done) => fs.write(this.#fd, text, 0, 'utf8', done));
	}

	close(): Promise<void> {
		return run((done) => fs.close(this.#fd, done));
	}
}

/** A file of a FileDisk: closes the descriptor that it is given. */
export class KernelFile implements DiskFile {
	readonly path: string;
	#isExt4: Promise<boolean> | undefined;
	#openFd: number;

	constructor(path: string, fd: number) {
		this.path = path;
		this.#openFd = fd;
	}

	/** A number that was closed may be another file's by now. */
	get #fd(): number {
		if (this.#openFd < 0) throw Object.assign(new Error(`EBADF: ${this.path} is closed`), { code: 'EBADF' });
		return this.#openFd;
	}

	async sizeBytes(): Promise<number> {
		return (await this.#stat()).size;
	}

	async links(): Promise<number> {
		return (await this.#stat()).nlink;
	}

	async inode(): Promise<number> {
		return (await this.#stat()).ino;
	}

	async allocatedBytes(): Promise<number> {
		return (await this.#stat()).blocks * 512;
	}

	tryRead(target: Uint8Array, positionBytes: number, start = 0, end = target.length): number {
		return readFromCache(this.#fd, target, positionBytes, start, end);
	}

	read(target: Uint8Array, positionBytes: number): Promise<number> {
		return transfer((done) => fs.read(this.#fd, target, 0, target.length, positionBytes, done));
	}

	writeSync(source: Uint8Array, positionBytes: number): number {
		return fs.writeSync(this.#fd, source, 0, Math.min(source.length, pieceBytes), positionBytes);
	}

	async write(source: Uint8Array, positionBytes: number): Promise<number> {
		if (source.length > pieceBytes) return this.#writePieces(source, positionBytes);
		return transfer((done) => fs.write(this.#fd, source, 0, source.length, positionBytes, done));
	}

	writev(sources: readonly Uint8Array[], positionBytes: number): Promise<number> {
		return transfer((done) => fs.writev(this.#fd, sources, positionBytes, done));
	}

	async writeEach(sources: readonly Uint8Array[], positionsBytes: readonly number[]): Promise<void> {
		this.#isExt4 ??= isExt4(this.#fd);
		if (await this.#isExt4) await allocateScattered(this.#fd, sources, positionsBytes);
		await writeEach(this.#fd, this, sources, positionsBytes);
	}

	datasync(): Promise<void> {
		return run((done) => fs.fdatasync(this.#fd, done));
	}

	punch(positionBytes: number, lengthBytes: number): Promise<void> {
		return punchHole(this.#fd, positionBytes, lengthBytes);
	}

	nextData(positionBytes: number): Promise<{ startBytes: number; endBytes: number } | undefined> {
		return nextDataRange(this.#fd, positionBytes);
	}

	truncate(sizeBytes: number): Promise<void> {
		return run((done) => fs.ftruncate(this.#fd, sizeBytes, done));
	}

	close(): Promise<void> {
		const fd = this.#fd;
		this.#openFd = -1;
		return run((done) => fs.close(fd, done));
	}

	async #writePieces(source: Uint8Array, positionBytes: number): Promise<number> {
		const pieces: Uint8Array[] = [];
		const positions: number[] = [];
		for (let at = 0; at < source.length; at += pieceBytes) {
			pieces.push(source.subarray(at, at + pieceBytes));
			positions.push(positionBytes + at);
		}
		await writeEach(this.#fd, this, pieces, positions);
		return source.length;
	}

	#stat(): Promise<fs.Stats> {
		return new Promise((resolve, reject) => {
			fs.fstat(this.#fd, (error, stats) => (error === null ? resolve(stats) : reject(error)));
		});
	}
}

function openDescriptor(path: string, flags: string): Promise<number> {
	return new Promise((resolve, reject) => {
		fs.open(path, flags, newFileMode, (error, fd) => (error === null ? resolve(fd) : reject(error)));
	});
}

function run(start: (done: (error: NodeJS.ErrnoException | null) => void) => void): Promise<void> {
	return new Promise((resolve, reject) => {
		start((error) => (error === null ? resolve() : reject(error)));
	});
}

function transfer(start: (done: (error: NodeJS.ErrnoException | null, bytes: number) => void) => void): Promise<number> {
	return new Promise((resolve, reject) => {
		start((error, bytes) => (error === null ? resolve(bytes) : reject(error)));
	});
}
