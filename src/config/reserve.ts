import { closeSync, ftruncateSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Space that nobody uses, so that an appliance whose file system has filled up can be started, and told to delete something: a change of config.db takes a few pages, and without it no
 * volume can go.
 */
export const reserveBytes = 8 * 1024 * 1024;

export class Reserve {
	readonly #path: string;
	readonly #given: () => void;

	/** `given` is called when the reserve is given up. */
	constructor(directory: string, given: () => void) {
		this.#path = join(directory, 'reserve');
		this.#given = given;
	}

	/** Makes it, unless it is there, where there is room for it and more. It is never worth an error. */
	keep(): void {
		try {
			if (statSync(this.#path, { throwIfNoEntry: false })?.size === reserveBytes || freeBytes(this.#path) < 4 * reserveBytes) return;
			const fd = openSync(this.#path, 'w', 0o600);
			try {
				if (writeSync(fd, Buffer.alloc(reserveBytes)) < reserveBytes) ftruncateSync(fd, 0);
			} finally {
				closeSync(fd);
			}
		} catch (error) {
			mustBeKernels(error);
		}
	}

	/** Frees its space; false if there was none. */
	giveUp(): boolean {
		try {
			if ((statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0) === 0) return false;
			rmSync(this.#path);
		} catch (error) {
			mustBeKernels(error);
			return false;
		}
		this.#given();
		return true;
	}
}

/** Does what SQLite needs a little space for; on a file system that is full once more, with the reserve given up. What fails has changed nothing. */
export function withReserve<T>(reserve: Reserve | undefined, work: () => T): T {
	try {
		return work();
	} catch (error) {
		if (!isFull(error) || reserve?.giveUp() !== true) throw error;
		return work();
	}
}

/** https://sqlite.org/rescode.html: FULL, and the shared memory that finds no space. As it is, or as the cause of the sentence for people. */
function isFull(error: unknown): boolean {
	if (!(error instanceof Error)) return false;
	const code = 'code' in error ? error.code : '';
	return code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE' || isFull(error.cause);
}

function freeBytes(path: string): number {
	const { bavail, bsize } = statfsSync(join(path, '..'));
	return bavail * bsize;
}

function mustBeKernels(error: unknown): void {
	if (!(error instanceof Error && 'code' in error)) throw error;
}
