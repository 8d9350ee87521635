import { lstat, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { type Disk, errorCode } from '../../os/disk.ts';
import { FileDisk } from '../../os/file-disk.ts';

/** What a folder store needs of the kernel beside the Disk: to look at names. */
export interface FolderDisk extends Disk {
	/** undefined: nothing has this name. A symbolic link is 'other'. */
	look(path: string): Promise<Entry | undefined>;
	/** The same, following symbolic links: for the store's own folder, which the operator may have linked. */
	lookThrough(path: string): Promise<Entry | undefined>;
}

export interface Entry {
	readonly kind: 'file' | 'folder' | 'other';
	readonly sizeBytes: number;
	/** By the clock of the file system, which is the server's where it is remote. */
	readonly modifiedMs: number;
	/** Of two entries the same only if they are one. */
	readonly identity: string;
}

export class KernelFolderDisk extends FileDisk implements FolderDisk {
	look(path: string): Promise<Entry | undefined> {
		return entryOf(lstat(path));
	}

	lookThrough(path: string): Promise<Entry | undefined> {
		return entryOf(stat(path));
	}
}

/** undefined: what was looked for is not there. */
export async function entryOf(looking: Promise<Stats>): Promise<Entry | undefined> {
	try {
		const stats = await looking;
		const kind = stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'other';
		return { kind, sizeBytes: stats.size, modifiedMs: Math.floor(stats.mtimeMs), identity: `${stats.dev}:${stats.ino}` };
	} catch (error) {
		if (errorCode(error) !== 'ENOENT') throw error;
		return undefined;
	}
}
