import { randomBytes } from 'node:crypto';
import { errorCode } from '../../os/disk.ts';
import { readFully, writeFully } from '../../os/transfer.ts';
import { type Entry, type FolderDisk, KernelFolderDisk } from './folder-disk.ts';
import { folderError } from './folder-error.ts';
import {
	type ObjectInfo,
	type ObjectStore,
	type PutOptions,
	StoreError,
	type StoreOptions,
	checkKey,
	checkPrefix,
	checkSize,
} from './object-store.ts';

/** How many names a list looks at together. */
const looksAtOnce = 16;
/** A clock that differs by less is this machine's own: the kernel's file times are coarse. */
const sameClockMs = 2000;
/** Temporary files; no segment of a key begins with a dot. */
const temporaryPrefix = '.upload-';
/** Folders that are known to be there, and no symbolic links; beyond that they are looked at again. */
const knownFoldersMax = 4096;

/**
 * Objects as files: the key is the path. One process or several may use a folder.
 *
 * Invariants:
 * - A name of a key appears by link(2) or rename(2) only, of a temporary file in the same folder whose data is synced: so it is whole.
 * - What `put` reports stored, and what `head` and `list` report at all, is durable: the folder is synced before they answer. Another process's object that is seen before
 *   its own sync is, too; a writer may leave a chunk out because it is there already.
 * - Nothing outside the folder is touched: keys have no `..`, and neither folders nor files are followed where they are symbolic links.
 * - The folder is the one that was opened. A disk that was unmounted leaves its mount point, which is not written to.
 */
export class FolderStore implements ObjectStore {
	readonly name: string;
	readonly canPutIfAbsent = true;
	readonly #root: string;
	readonly #disk: FolderDisk;
	#identity: string;
	readonly #knownFolders = new Set<string>();
	#clockOffsetMs = 0;
	#closed = false;

	private constructor(root: string, disk: FolderDisk, identity: string) {
		this.name = `folder ${root}`;
		this.#root = root;
		this.#disk = disk;
		this.#identity = identity;
	}

	static async open(path: string, disk: FolderDisk = new KernelFolderDisk()): Promise<FolderStore> {
		const root = path.replace(/\/+$/, '');
		if (!root.startsWith('/'))
			throw new StoreError('invalid', `${JSON.stringify(path)}: a repository's folder is an absolute path, and not / itself`);
		try {
			const entry = await disk.lookThrough(root);
			if (entry === undefined) throw new StoreError('notFound', `${root} does not exist; make the folder, or mount its disk`);
			if (entry.kind !== 'folder') throw new StoreError('invalid', `${root} is no folder`);
			await disk.list(root);
			return new FolderStore(root, disk, entry.identity);
		} catch (error) {
			throw folderError(error, 'opening the folder', root);
		}
	}

	put(key: string, bytes: Uint8Array, { ifAbsent = false, signal }: PutOptions = {}): Promise<'stored' | 'exists'> {
		return this.#run(`writing ${key}`, signal, async () => {
			const path = this.#path(key);
			checkSize(key, bytes.length);
			const folder = folderOf(path);
			await this.#checkRoot();
			await this.#makeFolder(folder);
			const temporary = `${folder}/${temporaryPrefix}${randomBytes(8).toString('hex')}`;
			try {
				await this.#write(temporary, bytes);
				signal?.throwIfAborted();
				// Once more, since the write may have taken long: a name in a mount point would be an object that is missing later.
				await this.#checkRoot();
				return await this.#name(temporary, path, ifAbsent);
			} catch (error) {
				this.#knownFolders.clear();
				await this.#discard(temporary);
				throw error;
			}
		});
	}

	get(key: string, { signal }: StoreOptions = {}): Promise<Buffer | undefined> {
		return this.#run(`reading ${key}`, signal, async () => {
			const path = this.#path(key);
			const entry = await this.#look(path);
			if (entry === undefined) return undefined;
			const file = await this.#disk.open(path, 'readOnly');
			try {
				// The file that was opened may be another than the one that was looked at.
				const bytes = Buffer.allocUnsafeSlow(checkSize(key, await file.sizeBytes()));
				const read = await readFully(file, bytes, 0);
				signal?.throwIfAborted();
				return bytes.subarray(0, read);
			} finally {
				await file.close();
			}
		});
	}

	head(key: string, { signal }: StoreOptions = {}): Promise<ObjectInfo | undefined> {
		return this.#run(`looking at ${key}`, signal, async () => {
			const path = this.#path(key);
			const entry = await this.#look(path);
			if (entry === undefined) return undefined;
			await this.#sync(folderOf(path));
			return { key, sizeBytes: entry.sizeBytes, modifiedMs: entry.modifiedMs };
		});
	}

	async *list(prefix: string, { signal }: StoreOptions = {}): AsyncIterable<ObjectInfo> {
		checkPrefix(prefix);
		await this.#run(`listing ${prefix}`, signal, () => this.#checkRoot());
		const top = prefix.slice(0, prefix.lastIndexOf('/') + 1);
		for await (const { key, entry } of this.#walk(top, prefix, (name) => !name.startsWith('.'), signal)) {
			yield { key, sizeBytes: entry.sizeBytes, modifiedMs: entry.modifiedMs };
		}
	}

	delete(key: string, { signal }: StoreOptions = {}): Promise<void> {
		return this.#run(`deleting ${key}`, signal, async () => {
			const path = this.#path(key);
			if ((await this.#look(path)) === undefined) return;
			await this.#removeIfThere(path);
			await this.#sync(folderOf(path));
		});
	}

	async cleanUploads(olderThanMs: number, { signal }: StoreOptions = {}): Promise<number> {
		await this.#run('cleaning up', signal, () => this.#checkRoot());
		let removed = 0;
		for await (const { key, entry } of this.#walk('', '', (name) => name.startsWith(temporaryPrefix), signal)) {
			if (this.nowMs() - entry.modifiedMs < olderThanMs) continue;
			await this.#run(`deleting ${key}`, signal, () => this.#removeIfThere(`${this.#root}/${key}`));
			removed++;
		}
		return removed;
	}

	nowMs(): number {
		return Date.now() + this.#clockOffsetMs;
	}

	close(): Promise<void> {
		this.#closed = true;
		return Promise.resolve();
	}

	async #write(temporary: string, bytes: Uint8Array): Promise<void> {
		const file = await this.#disk.open(temporary, 'create');
		try {
			await writeFully(file, bytes, 0);
			await file.datasync();
		} finally {
			await file.close();
		}
		const differenceMs = ((await this.#disk.look(temporary))?.modifiedMs ?? Date.now()) - Date.now();
		this.#clockOffsetMs = Math.abs(differenceMs) < sameClockMs ? 0 : differenceMs;
	}

	async #name(temporary: string, path: string, ifAbsent: boolean): Promise<'stored' | 'exists'> {
		const there = await this.#disk.look(path);
		if (there !== undefined && there.kind !== 'file') throw notOurs(path);
		let result: 'stored' | 'exists' = 'stored';
		if (ifAbsent) {
			try {
				await this.#disk.link(temporary, path);
			} catch (error) {
				if (errorCode(error) !== 'EEXIST') throw error;
				result = 'exists';
			}
			await this.#removeIfThere(temporary);
		} else {
			await this.#disk.rename(temporary, path);
		}
		await this.#sync(folderOf(path));
		return result;
	}

	/** Entries of files below a folder ('' or with a slash behind), ascending by the bytes of their keys; folders only where keys with the prefix may be. */
	async *#walk(
		folder: string,
		prefix: string,
		wanted: (name: string) => boolean,
		signal: AbortSignal | undefined,
	): AsyncIterable<{ key: string; entry: Entry }> {
		const found = await this.#run(`listing ${folder}`, signal, () => this.#entries(folder, prefix));
		// A folder sorts by its name with the slash behind: a-b, a/b, a0.
		const sorted = found.sort((a, b) => (a.sortKey < b.sortKey ? -1 : 1));
		for (const { sortKey, entry, name } of sorted) {
			signal?.throwIfAborted();
			if (entry.kind === 'folder') yield* this.#walk(sortKey, prefix, wanted, signal);
			else if (wanted(name) && sortKey.startsWith(prefix)) yield { key: sortKey, entry };
		}
	}

	async #entries(folder: string, prefix: string): Promise<{ sortKey: string; name: string; entry: Entry }[]> {
		const path = folder === '' ? this.#root : `${this.#root}/${folder.slice(0, -1)}`;
		if (folder !== '' && !(await this.#isFolder(path))) return [];
		let names: string[];
		try {
			names = await this.#disk.list(path);
		} catch (error) {
			if (errorCode(error) !== 'ENOENT') throw error;
			return [];
		}
		const candidates = names.filter(
			(name) => prefix.startsWith(`${folder}${name}/`) || `${folder}${name}`.startsWith(prefix) || name.startsWith(temporaryPrefix),
		);
		const found: { sortKey: string; name: string; entry: Entry }[] = [];
		for (let at = 0; at < candidates.length; at += looksAtOnce) {
			const part = candidates.slice(at, at + looksAtOnce);
			const entries = await Promise.all(part.map((name) => this.#disk.look(`${path}/${name}`)));
			for (const [index, entry] of entries.entries()) {
				const name = part[index] as string;
				if (entry === undefined || entry.kind === 'other') continue;
				// The folders of a file system's own, as lost+found or .snapshot, hold no keys.
				if (entry.kind === 'folder' && !/^[\w-][\w.-]*$/.test(name)) continue;
				if (entry.kind === 'file' && !/^[\w-][\w.-]*$/.test(name) && !name.startsWith(temporaryPrefix)) continue;
				found.push({ sortKey: entry.kind === 'folder' ? `${folder}${name}/` : `${folder}${name}`, name, entry });
			}
		}
		await this.#sync(path);
		return found;
	}

	/** A file of ours; undefined if there is nothing. Whatever else has the name is refused. */
	async #look(path: string): Promise<Entry | undefined> {
		const entry = (await this.#isFolder(folderOf(path))) ? await this.#disk.look(path) : undefined;
		if (entry === undefined || entry.kind === 'folder') {
			// In a mount point everything is missing, and nothing is known of it.
			await this.#checkRoot();
			return undefined;
		}
		if (entry.kind !== 'file') throw notOurs(path);
		// A disk that is mounted again may have another number: it has what was looked for, so it is the one.
		this.#identity = (await this.#disk.lookThrough(this.#root))?.identity ?? this.#identity;
		this.#checkOpen();
		return entry;
	}

	async #checkRoot(): Promise<void> {
		this.#checkOpen();
		if ((await this.#disk.lookThrough(this.#root))?.identity !== this.#identity) {
			throw new StoreError('unreachable', `${this.#root} is not the folder any more that was opened; is its disk mounted?`);
		}
	}

	#checkOpen(): void {
		if (this.#closed) throw new StoreError('failed', `${this.name} was closed`);
	}

	/** Whether a folder below the root, and all between them, are there. */
	async #isFolder(path: string): Promise<boolean> {
		if (path === this.#root || this.#knownFolders.has(path)) return true;
		if (!(await this.#isFolder(folderOf(path)))) return false;
		const entry = await this.#disk.look(path);
		if (entry === undefined || entry.kind === 'file') return false;
		if (entry.kind !== 'folder') throw notOurs(path);
		this.#remember(path);
		return true;
	}

	async #makeFolder(path: string): Promise<void> {
		if (path === this.#root || this.#knownFolders.has(path)) return;
		const parent = folderOf(path);
		await this.#makeFolder(parent);
		const entry = await this.#disk.look(path);
		if (entry !== undefined && entry.kind !== 'folder') throw notOurs(path);
		if (entry === undefined) await this.#disk.makeDirectory(path);
		// Also one that was there: its maker may not have come to it.
		await this.#sync(parent);
		this.#remember(path);
	}

	#remember(folder: string): void {
		if (this.#knownFolders.size >= knownFoldersMax) this.#knownFolders.clear();
		this.#knownFolders.add(folder);
	}

	async #sync(folder: string): Promise<void> {
		try {
			await this.#disk.syncDirectory(folder);
		} catch (error) {
			// A file system that is read-only has nothing to sync, and one that knows no sync of folders (FUSE) does what it does.
			if (!['EROFS', 'EINVAL', 'ENOTSUP', 'ENOENT'].includes(errorCode(error))) throw error;
		}
	}

	async #removeIfThere(path: string): Promise<void> {
		try {
			await this.#disk.remove(path);
		} catch (error) {
			if (errorCode(error) !== 'ENOENT') throw error;
		}
	}

	/** After an error, which is the one to report: what is left here is found by cleanUploads. */
	async #discard(temporary: string): Promise<void> {
		try {
			await this.#disk.remove(temporary);
		} catch (error) {
			if (errorCode(error) === '') throw error;
		}
	}

	#path(key: string): string {
		checkKey(key);
		return `${this.#root}/${key}`;
	}

	async #run<T>(doing: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
		signal?.throwIfAborted();
		try {
			return await work();
		} catch (error) {
			if (signal?.aborted === true && error === signal.reason) throw error;
			throw folderError(error, doing, this.#root);
		}
	}
}

function folderOf(path: string): string {
	return path.slice(0, path.lastIndexOf('/'));
}

function notOurs(path: string): StoreError {
	return new StoreError(
		'invalid',
		`${path} is in the way: a symbolic link, or a file where a folder belongs or the other way round; nobody but blockport writes into a repository`,
	);
}
