import { join } from 'node:path';
import { UsageError } from '../config/usage-error.ts';
import { errorCode, type Disk } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import { writeFully } from '../os/transfer.ts';

/**
 * Space that nobody uses, so that an appliance whose file system has filled up can be started, and told to delete something: without a few pages the configuration cannot be written, and
 * without it no volume can go.
 */
export const reserveBytes = 8 * 1024 * 1024;
const name = 'reserve';

/** Makes the reserve, where there is room for it and more. */
export async function keepReserve(disk: Disk, directory: string): Promise<void> {
	const path = join(directory, name);
	try {
		if ((await sizeOf(disk, path)) === reserveBytes || (await disk.freeBytes(directory)) < 4 * reserveBytes) return;
		await removeIfThere(disk, path);
		const file = await disk.open(path, 'create');
		try {
			await writeFully(file, Buffer.alloc(reserveBytes), 0);
		} finally {
			await file.close();
		}
	} catch (error) {
		if (errorCode(error) !== 'ENOSPC') throw error;
		await removeIfThere(disk, path);
	}
}

/**
 * Does what writes the configuration, or opens it; if that fails because the file system is full, once more with the reserve given up. What fails must have changed nothing. Volumes get
 * nothing of the reserve.
 */
export async function withReserve<T>(disk: Disk, directory: string, log: Logger, work: () => T | Promise<T>): Promise<T> {
	try {
		return await work();
	} catch (error) {
		if (!(error instanceof UsageError) || !isConfigurationFull(error) || !(await giveUp(disk, directory))) throw error;
		log.warn({ reserveBytes }, 'the file system is full: the space that was kept for the configuration is given up');
		const done = await work();
		await keepReserve(disk, directory);
		return done;
	}
}

/** SQLite says so by a code of its own, and by IOERR where its shared memory finds no space. */
function isConfigurationFull({ cause }: UsageError): boolean {
	const code = errorCode(cause);
	return code === 'SQLITE_FULL' || code.startsWith('SQLITE_IOERR');
}

/** True if there was a reserve, and the file system full. */
async function giveUp(disk: Disk, directory: string): Promise<boolean> {
	const path = join(directory, name);
	if ((await sizeOf(disk, path)) === undefined || (await disk.freeBytes(directory)) >= reserveBytes / 8) return false;
	await removeIfThere(disk, path);
	return true;
}

async function sizeOf(disk: Disk, path: string): Promise<number | undefined> {
	try {
		const file = await disk.open(path, 'readOnly');
		try {
			return await file.sizeBytes();
		} finally {
			await file.close();
		}
	} catch (error) {
		if (errorCode(error) === '') throw error;
		return undefined;
	}
}

async function removeIfThere(disk: Disk, path: string): Promise<void> {
	try {
		await disk.remove(path);
	} catch (error) {
		if (errorCode(error) !== 'ENOENT') throw error;
	}
}
