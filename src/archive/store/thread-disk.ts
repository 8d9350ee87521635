import * as fs from 'node:fs';
import { KernelFile, newFileMode, openFlags } from '../../os/file-disk.ts';
import { writeFullySync } from '../../os/transfer.ts';
import { type Entry, KernelFolderDisk, entryOf } from './folder-disk.ts';

/**
 * The folder of a store that has a thread to itself: what the kernel answers at once is asked for there and then, and costs the pool of threads, which the data path shares, nothing. A put is a dozen operations, three of
 * which wait for a disk. Those go to the pool, side by side, as reads do.
 */
export class ThreadFolderDisk extends KernelFolderDisk {
	override open(path: string, mode: 'existing' | 'create' | 'readOnly'): Promise<KernelFile> {
		return now(() => new ThreadFile(path, fs.openSync(path, openFlags[mode], newFileMode)));
	}

	override makeDirectory(path: string): Promise<void> {
		return now(() => void fs.mkdirSync(path, { recursive: true }));
	}

	override rename(from: string, to: string): Promise<void> {
		return now(() => fs.renameSync(from, to));
	}

	override link(from: string, to: string): Promise<void> {
		return now(() => fs.linkSync(from, to));
	}

	override remove(path: string): Promise<void> {
		return now(() => fs.unlinkSync(path));
	}

	override look(path: string): Promise<Entry | undefined> {
		return entryOf(now(() => fs.lstatSync(path)));
	}

	override lookThrough(path: string): Promise<Entry | undefined> {
		return entryOf(now(() => fs.statSync(path)));
	}
}

class ThreadFile extends KernelFile {
	override write(source: Uint8Array, positionBytes: number): Promise<number> {
		return now(() => {
			writeFullySync(this, source, positionBytes);
			return source.length;
		});
	}
}

/** What it throws comes by the promise, too. */
function now<T>(operation: () => T): Promise<T> {
	return new Promise((resolve) => {
		resolve(operation());
	});
}
