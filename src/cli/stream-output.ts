import { once } from 'node:events';
import { type FileHandle, link, open, rename, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { UsageError } from '../config/usage-error.ts';
import { errorCode } from '../os/disk.ts';
import { ApiError } from './api-client.ts';
import type { Piece } from './stream-download.ts';

/** Zeros from this length on become a hole. */
const holeBytes = 64 * 1024;
const zeros = Buffer.alloc(holeBytes);

/** Refuses (UsageError) a file that is there, unless it may be replaced. */
export async function checkOutput(path: string, mayReplace: boolean): Promise<void> {
	try {
		const found = await stat(path);
		if (!found.isFile())
			throw new UsageError(`${path} is there and is no file: an image is written to a file, or with - to standard output.`);
		if (!mayReplace) throw new UsageError(`${path} is there already: replace it with --force, or choose another name.`, 'alreadyExists');
	} catch (error) {
		if (errorCode(error) !== 'ENOENT') throw error;
	}
}

/** A file that has its name when it is whole. Before that it is called FILE.IDENTITY.part, so that the right one goes on. */
export class OutputFile {
	readonly partPath: string;
	/** Everything before came already. */
	readonly fromBytes: number;
	readonly #path: string;
	readonly #file: FileHandle;

	private constructor(path: string, partPath: string, file: FileHandle, fromBytes: number) {
		this.#path = path;
		this.partPath = partPath;
		this.#file = file;
		this.fromBytes = fromBytes;
	}

	/** With `resume` it goes on behind what an earlier attempt has left. */
	static async open(path: string, identity: string, resume: boolean): Promise<OutputFile> {
		const partPath = `${path}.${identity}.part`;
		try {
			const file = resume ? await openOrMake(partPath) : await open(partPath, 'w');
			return new OutputFile(path, partPath, file, (await file.stat()).size);
		} catch (error) {
			throw unwritable(partPath, error);
		}
	}

	/** In ascending order; between pieces, and for zeros in them, the file has holes. */
	async write({ offsetBytes, data }: Piece): Promise<void> {
		try {
			for (let at = 0; at < data.length;) {
				const isHole = zerosAt(data, at);
				let end = at;
				while (end < data.length && zerosAt(data, end) === isHole) end = Math.min(data.length, end + holeBytes);
				if (!isHole) await writeAll(this.#file, data.subarray(at, end), offsetBytes + at);
				at = end;
			}
		} catch (error) {
			throw unwritable(this.partPath, error);
		}
	}

	/** Gives it its length and its name; UsageError if another one has that meanwhile and may not be replaced. */
	async finish(lengthBytes: number, mayReplace: boolean): Promise<void> {
		try {
			await this.#file.truncate(lengthBytes);
			await this.#file.sync();
			if (mayReplace) await rename(this.partPath, this.#path);
			else {
				// Unlike rename, it replaces nothing.
				await link(this.partPath, this.#path);
				await unlink(this.partPath);
			}
		} catch (error) {
			if (errorCode(error) === 'EEXIST')
				throw new UsageError(`${this.#path} is there meanwhile: what came is ${this.partPath}.`, 'alreadyExists', { cause: error });
			throw unwritable(this.partPath, error);
		}
	}

	close(): Promise<void> {
		return this.#file.close();
	}
}

/** Writes to a pipe or to whatever standard output is, and waits when it is full. */
export async function writeOut(stream: Writable, data: Buffer): Promise<void> {
	if (stream.destroyed || stream.errored !== null) throw new ApiError('Standard output was closed.', 0);
	if (stream.write(data)) return;
	// Whichever does not come would listen for ever.
	const over = new AbortController();
	const { signal } = over;
	try {
		await Promise.race([once(stream, 'drain', { signal }), once(stream, 'close', { signal })]);
	} catch (error) {
		throw new ApiError(`Standard output cannot be written (${errorCode(error)}).`, 0, { cause: error });
	} finally {
		over.abort();
	}
}

async function openOrMake(path: string): Promise<FileHandle> {
	try {
		return await open(path, 'r+');
	} catch (error) {
		if (errorCode(error) !== 'ENOENT') throw error;
		return await open(path, 'wx');
	}
}

async function writeAll(file: FileHandle, data: Buffer, offsetBytes: number): Promise<void> {
	for (let written = 0; written < data.length;) {
		written += (await file.write(data, written, data.length - written, offsetBytes + written)).bytesWritten;
	}
}

function zerosAt(data: Buffer, at: number): boolean {
	const length = Math.min(holeBytes, data.length - at);
	return data.subarray(at, at + length).equals(zeros.subarray(0, length));
}

function unwritable(path: string, error: unknown): unknown {
	const code = errorCode(error);
	if (code === '' || error instanceof UsageError) return error;
	const cause = { cause: error };
	if (code === 'ENOSPC' || code === 'EDQUOT')
		return new UsageError(
			`The file system is full: what came stays in ${path}. Make room and go on with --resume, or delete it.`,
			'noSpace',
			cause,
		);
	if (code === 'ENOENT')
		return new UsageError(`${dirname(path)} is not there: make that folder, or name a file elsewhere.`, 'unavailable', cause);
	return new UsageError(`${path} cannot be written (${code}).`, 'unavailable', cause);
}
