/**
 * The one seam between Blockport and the kernel's files. The real implementation is file-disk.ts; test/simulation holds one that loses
 * power, tears sectors and returns errors. Raw calls may transfer less than asked (as pread and pwrite may): transfer.ts loops.
 *
 * Errors are Error objects with the kernel's `code` (EIO, ENOSPC, ENOENT, EEXIST, EFBIG, …). A path is absolute or relative to the process.
 */
export interface Disk {
	/** Opens an existing file for reading and writing, or makes it. `create` refuses (EEXIST) a name that is there. */
	open(path: string, mode: 'existing' | 'create' | 'readOnly'): Promise<DiskFile>;
	/** Names in a directory, in no order, without `.` and `..`. */
	list(path: string): Promise<string[]>;
	/** Makes a directory and its parents; one that is there already is no error. Durable after syncDirectory of each parent. */
	makeDirectory(path: string): Promise<void>;
	rename(from: string, to: string): Promise<void>;
	/** Gives a file another name, on the same file system; EEXIST if something has it. Durable after syncDirectory of the new name's parent. */
	link(from: string, to: string): Promise<void>;
	/** Removes a file. */
	remove(path: string): Promise<void>;
	/** Removes an empty directory. */
	removeDirectory(path: string): Promise<void>;
	/** Makes the entries of a directory durable (fsync of the directory). */
	syncDirectory(path: string): Promise<void>;
	/** Takes an exclusive lock on a file, making it if needed; undefined when somebody else holds it. Released by close() and by the process's death. */
	lock(path: string): Promise<DiskLock | undefined>;
	/** Bytes that are still free for ordinary users on the file system of `path`. */
	freeBytes(path: string): Promise<number>;
}

export interface DiskLock {
	/** Writes a word about the owner (the pid) into the lock file. */
	describe(text: string): Promise<void>;
	close(): Promise<void>;
}

export interface DiskFile {
	readonly path: string;
	sizeBytes(): Promise<number>;
	/**
	 * Reads what the kernel has in memory into `target`, or its bytes from `start` to `end`, without waiting. Returns the bytes read (fewer than asked at the end of the file or where
	 * the cache ends), or wouldBlock. Throws on an I/O error.
	 */
	tryRead(target: Uint8Array, positionBytes: number, start?: number, end?: number): number;
	/** Reads; resolves to the bytes read, 0 at the end of the file. */
	read(target: Uint8Array, positionBytes: number): Promise<number>;
	/** Writes from the calling thread: only for small amounts into preallocated files. Returns the bytes written, perhaps fewer. */
	writeSync(source: Uint8Array, positionBytes: number): number;
	/** Writes off the calling thread; resolves to the bytes written, perhaps fewer. */
	write(source: Uint8Array, positionBytes: number): Promise<number>;
	/** Gathers; resolves to the bytes written, perhaps fewer than the sum. */
	writev(sources: readonly Uint8Array[], positionBytes: number): Promise<number>;
	/** Writes each source, whole, to its own position; for a disk that can take many small writes in one call. */
	writeEach?(sources: readonly Uint8Array[], positionsBytes: readonly number[]): Promise<void>;
	/** Makes the file's data and size durable (fdatasync). After a failure nothing may be assumed of what was not synced before. */
	datasync(): Promise<void>;
	/** Gives the space of a range back; it reads as zeros. The file's size stays. */
	punch(positionBytes: number, lengthBytes: number): Promise<void>;
	/** The next range that may hold data at or after a position (SEEK_DATA, SEEK_HOLE); undefined when only holes follow. */
	nextData(positionBytes: number): Promise<{ startBytes: number; endBytes: number } | undefined>;
	/** How many names the file has. */
	links(): Promise<number>;
	/** The same for all names of a file, another for each file of a file system. */
	inode(): Promise<number>;
	/** Bytes of disk space that the file takes up. */
	allocatedBytes(): Promise<number>;
	truncate(sizeBytes: number): Promise<void>;
	close(): Promise<void>;
}

/** tryRead: the bytes are not in memory. */
export const wouldBlock = -1;

/** The kernel's name of an error, '' if it has none. */
export function errorCode(error: unknown): string {
	return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
