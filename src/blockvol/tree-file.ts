import { errorCode, type Disk } from '../os/disk.ts';
import { readFully, writeFully } from '../os/transfer.ts';
import { crc32c } from '../wire/crc32c.ts';
import { Exclusive } from './exclusive.ts';
import { decodeTree, encodeTree, LayerTree, treeBytesMax } from './layer-tree.ts';
import { remoteName } from './remote-file.ts';
import type { Superblock, SuperblockFile, TreeReference } from './superblock.ts';
import { VolumeFault } from './volume-fault.ts';

const prefix = 'tree-';

export function treeName(sequence: number): string {
	return `${prefix}${sequence}`;
}

/** True for a name that only a tree has. */
export function isTreeName(name: string): boolean {
	return /^tree-\d+$/.test(name);
}

/** The tree that a superblock tells of. Rejects with VolumeFault when its file is not what the superblock says. */
export async function readTree(disk: Disk, directory: string, superblock: Readonly<Superblock>): Promise<LayerTree> {
	const { tree, layers, geometry } = superblock;
	const live = layers[0] as number;
	if (layers.length > 1) throw new VolumeFault('the superblock names several layers, which no build has written');
	if (tree === undefined) return LayerTree.single(live);
	const path = `${directory}/${treeName(tree.sequence)}`;
	let why = '';
	const file = await disk.open(path, 'readOnly').catch((error: unknown) => {
		if (errorCode(error) === 'ENOENT') return undefined;
		throw error;
	});
	if (file === undefined)
		throw new VolumeFault(`the tree of layers is gone (${treeName(tree.sequence)}): restore the volume from a backup`);
	try {
		// What fails is read twice: one misread must not make a volume unreadable.
		for (let attempt = 0; attempt < 2; attempt++) {
			const bytes = Buffer.alloc(Math.min(tree.lengthBytes, treeBytesMax));
			const length = await readFully(file, bytes, 0);
			const found = length === tree.lengthBytes ? decodeTree(bytes, geometry.uuid, tree.sequence) : 'it is too short';
			if (typeof found === 'string') why = found;
			else if (crc32c(bytes) !== tree.checksum) why = 'it is not the one that the superblock names';
			else if (found.live !== live) why = 'it has another live layer than the superblock';
			else return found;
		}
	} finally {
		await file.close();
	}
	throw new VolumeFault(`the tree of layers is corrupt (${treeName(tree.sequence)}: ${why}): restore the volume from a backup`);
}

/** Writes a tree's file, durable with its name; what a superblock needs to name it. */
export async function writeTree(disk: Disk, directory: string, tree: LayerTree, uuid: string, sequence: number): Promise<TreeReference> {
	const bytes = encodeTree(tree, uuid, sequence);
	const path = `${directory}/${treeName(sequence)}`;
	// One that nobody came to name: a superblock could not be written after it.
	await removeIfThere(disk, path);
	const file = await disk.open(path, 'create');
	try {
		await writeFully(file, bytes, 0);
		await file.datasync();
	} finally {
		await file.close();
	}
	await disk.syncDirectory(directory);
	return { sequence, lengthBytes: bytes.length, checksum: crc32c(bytes) };
}

async function removeIfThere(disk: Disk, path: string): Promise<void> {
	try {
		await disk.remove(path);
	} catch (error) {
		if (errorCode(error) !== 'ENOENT') throw error;
	}
}

/**
 * The tree of an open volume. A change is a new file, then both slots of the superblock name it, then the old file goes: whatever a crash leaves, the superblock that counts
 * names a file that is whole.
 */
export class TreeFile {
	readonly #disk: Disk;
	readonly #directory: string;
	readonly #superblock: SuperblockFile;
	readonly #line = new Exclusive();
	/** Told when a change failed in a way that leaves open what is on the disk. */
	failed: ((reason: string, cause: unknown) => void) | undefined;
	#current: LayerTree;
	/** A name was removed, and the directory not synced since. */
	#hasRemoved = false;

	constructor(disk: Disk, directory: string, superblock: SuperblockFile, current: LayerTree) {
		this.#disk = disk;
		this.#directory = directory;
		this.#superblock = superblock;
		this.#current = current;
	}

	/** What is on stable storage. */
	get current(): LayerTree {
		return this.#current;
	}

	/**
	 * Makes a change durable, with changes of the superblock that belong to it. `applied` is called in the turn in which it becomes the current one. What `change` throws
	 * rejects the call, and nothing is changed; so does ENOSPC at the tree's file. Any other failure is a VolumeFault.
	 */
	commit(
		change: (tree: LayerTree) => LayerTree,
		changes: Partial<Omit<Superblock, 'sequence' | 'tree' | 'layers'>> = {},
		applied?: () => void,
	): Promise<void> {
		return this.#line.run(async () => {
			const next = change(this.#current);
			const { geometry, tree: old } = this.#superblock.current;
			const sequence = (old?.sequence ?? 0) + 1;
			const tree = await this.durably(() => this.#write(next, geometry.uuid, sequence));
			try {
				// A full file system is no better than another failure here: one slot may name the new tree.
				await this.#superblock.updateBoth({ ...changes, layers: [next.live], tree });
				this.#current = next;
				applied?.();
				if (old !== undefined) await this.#remove(treeName(old.sequence));
			} catch (error) {
				throw this.#fault(error);
			}
		});
	}

	/** Does what a change needs on stable storage before the superblock tells of it: no space changes nothing and may be tried again; any other failure is a VolumeFault. */
	async durably<T>(work: () => Promise<T>): Promise<T> {
		try {
			return await work();
		} catch (error) {
			throw errorCode(error) === 'ENOSPC' ? error : this.#fault(error);
		}
	}

	/** Removes the trees that no superblock names any more. Both slots name the current one. */
	async sweep(): Promise<void> {
		await this.#line.run(async () => {
			// The process before may have removed some as well.
			this.#hasRemoved = true;
			const sequence = this.#superblock.current.tree?.sequence ?? 0;
			for (const name of await this.#disk.list(this.#directory)) {
				if (isTreeName(name) && name !== treeName(sequence)) await this.#remove(name);
				if (name === remoteName && this.#current.remote === undefined) await this.#remove(name);
			}
		});
	}

	/** Removes what told where missing pages come from: there are none any more. */
	async removeRemote(): Promise<void> {
		await this.#line.run(() => this.#remove(remoteName));
	}

	/** No power loss brings a removed tree back from here on; one whose successor counts already is removed first. */
	async syncRemoved(): Promise<void> {
		await this.#line.run(async () => {
			if (!this.#hasRemoved) return;
			this.#hasRemoved = false;
			await this.#disk.syncDirectory(this.#directory);
		});
	}

	/** A file that could not be written whole (the file system is full) goes again. */
	async #write(next: LayerTree, uuid: string, sequence: number): Promise<TreeReference> {
		try {
			return await writeTree(this.#disk, this.#directory, next, uuid, sequence);
		} catch (error) {
			if (errorCode(error) === 'ENOSPC') {
				await removeIfThere(this.#disk, `${this.#directory}/${treeName(sequence)}`);
				this.#hasRemoved = true;
			}
			throw error;
		}
	}

	/** What is on the disk is unknown from now on. */
	#fault(error: unknown): unknown {
		if (errorCode(error) === '') return error;
		const reason = 'the tree of layers could not be written';
		this.failed?.(reason, error);
		return new VolumeFault(reason, { cause: error });
	}

	async #remove(name: string): Promise<void> {
		await this.#disk.remove(`${this.#directory}/${name}`);
		this.#hasRemoved = true;
	}
}
