import { mkdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { UsageError } from '../config/usage-error.ts';
import type { Disk, DiskLock } from '../os/disk.ts';
import { kernelCode } from './kernel-code.ts';

/** The one directory that holds everything of an appliance. */
export class DataDirectory {
	readonly path: string;
	readonly #lock: DiskLock;

	private constructor(path: string, lock: DiskLock) {
		this.path = path;
		this.#lock = lock;
	}

	get configuration(): string {
		return join(this.path, 'config.db');
	}

	get volumes(): string {
		return join(this.path, 'volumes');
	}

	get socket(): string {
		return defaultSocket(this.path);
	}

	/** What exports write down on their way. */
	get archive(): string {
		return join(this.path, 'archive');
	}

	volume(uuid: string): string {
		return join(this.volumes, uuid);
	}

	/**
	 * Makes the directory unless it is there, and takes its lock, so that no second process ever writes below it. The lock is the kernel's: it ends with the process, however that ends.
	 * Refuses (UsageError) a parent that is not there, a directory that cannot be written, and one that is in use. With `make` false a directory that is not there is refused too.
	 */
	static async open(disk: Disk, path: string, make = true): Promise<DataDirectory> {
		const absolute = resolve(path);
		if (make) await makeDirectory(disk, absolute);
		let lock: DiskLock | undefined;
		try {
			lock = await disk.lock(join(absolute, 'lock'));
		} catch (error) {
			throw unusable(absolute, error);
		}
		if (lock === undefined) {
			throw new UsageError(`Another blockport uses ${absolute}: end it first, or choose another directory with --data-dir.`, 'inUse');
		}
		const directory = new DataDirectory(absolute, lock);
		try {
			await lock.describe(`${process.pid}\n`);
			await disk.makeDirectory(directory.volumes);
			await disk.syncDirectory(absolute);
			return directory;
		} catch (error) {
			await lock.close();
			throw unusable(absolute, error);
		}
	}

	close(): Promise<void> {
		return this.#lock.close();
	}
}

export function defaultSocket(dataDirectory: string): string {
	return join(resolve(dataDirectory), 'blockport.sock');
}

async function makeDirectory(disk: Disk, path: string): Promise<void> {
	try {
		// Not with its parents: a mistyped path, or a file system that is not mounted, must not become a new and empty appliance.
		await mkdir(path, { mode: 0o700 });
		await disk.syncDirectory(dirname(path));
	} catch (error) {
		if (kernelCode(error) === 'ENOENT') {
			const parent = dirname(path);
			// Some file systems of the kernel's own, such as /proc, answer so for every new name.
			const fault = (await isDirectory(parent)) ? 'takes no new directory: choose' : 'does not exist: make it, or choose';
			throw new UsageError(`The directory ${parent} ${fault} another with --data-dir.`, 'unavailable', { cause: error });
		}
		if (kernelCode(error) !== 'EEXIST') throw unusable(path, error);
		if (!(await isDirectory(path)))
			throw new UsageError(`${path} is no directory: choose another with --data-dir.`, 'unavailable', { cause: error });
	}
}

async function isDirectory(path: string): Promise<boolean> {
	try {
		return (await stat(path)).isDirectory();
	} catch {
		return false;
	}
}

function unusable(path: string, error: unknown): UsageError {
	const code = kernelCode(error);
	if (code === '') throw error;
	const cause = { cause: error };
	switch (code) {
		case 'ENOENT':
			return new UsageError(`There is no data directory ${path}: choose another with --data-dir.`, 'notFound', cause);
		case 'EACCES':
		case 'EPERM':
		case 'EROFS':
			return new UsageError(`The data directory ${path} cannot be written (${code}): check its owner and its mount.`, 'unavailable', cause);
		case 'ENOSPC':
		case 'EDQUOT':
			return new UsageError(`The file system of ${path} is full: make room, then start again.`, 'noSpace', cause);
		default:
			return new UsageError(`The data directory ${path} cannot be used (${code}).`, 'unavailable', cause);
	}
}
