import { basename, dirname } from 'node:path';
import { kernelError } from './operation.ts';
import { type EntryChange, type Node, type PowerLoss, SimulatedDirectory } from './simulated-directory.ts';
import { SimulatedInode } from './simulated-inode.ts';

/** The tree of names of a simulated disk: what the kernel's calls on paths do, at once, with the kernel's refusals. */
export class SimulatedNames {
	readonly root: SimulatedDirectory;
	#lastNode: number;

	constructor(root = new SimulatedDirectory(0), lastNode = 0) {
		this.root = root;
		this.#lastNode = lastNode;
	}

	copy(copies: Map<Node, Node>): SimulatedNames {
		return new SimulatedNames(this.root.copy(copies, new Map()), this.#lastNode);
	}

	survivor(loss: PowerLoss): SimulatedNames {
		return new SimulatedNames(this.root.survivor(loss, new Map()), this.#lastNode);
	}

	inodes(): Generator<SimulatedInode> {
		return inodesUnder(this.root);
	}

	paths(): string[] {
		const paths: string[] = [];
		const walk = (directory: SimulatedDirectory, prefix: string): void => {
			for (const name of directory.names.toSorted()) {
				paths.push(`${prefix}/${name}`);
				const node = directory.get(name);
				if (node instanceof SimulatedDirectory) walk(node, `${prefix}/${name}`);
			}
		};
		walk(this.root, '');
		return paths;
	}

	directoryAt(path: string): SimulatedDirectory {
		let directory = this.root;
		for (const name of partsOf(path)) {
			const next = directory.get(name);
			if (next === undefined) throw kernelError('ENOENT', path);
			if (next instanceof SimulatedInode) throw kernelError('ENOTDIR', path);
			directory = next;
		}
		return directory;
	}

	inodeAt(path: string): SimulatedInode {
		const node = this.directoryAt(dirname(path)).get(basename(path));
		if (node === undefined) throw kernelError('ENOENT', path);
		if (node instanceof SimulatedDirectory) throw kernelError('EISDIR', path);
		return node;
	}

	makeFile(path: string, mayExist: boolean, sequence: number): SimulatedInode {
		const directory = this.directoryAt(dirname(path));
		const found = directory.get(basename(path));
		if (found instanceof SimulatedInode && mayExist) return found;
		if (found !== undefined) throw kernelError('EEXIST', path);
		const inode = new SimulatedInode(++this.#lastNode);
		change(sequence, [{ directory, name: basename(path), node: inode }]);
		return inode;
	}

	makeDirectory(path: string, nextSequence: () => number): void {
		let directory = this.root;
		for (const name of partsOf(path)) {
			const found = directory.get(name);
			if (found instanceof SimulatedInode) throw kernelError('ENOTDIR', path);
			const next = found ?? new SimulatedDirectory(++this.#lastNode);
			if (found === undefined) change(nextSequence(), [{ directory, name, node: next }]);
			directory = next;
		}
	}

	rename(from: string, to: string, sequence: number): void {
		const source = this.directoryAt(dirname(from));
		const target = this.directoryAt(dirname(to));
		const node = source.get(basename(from));
		if (node === undefined) throw kernelError('ENOENT', from);
		const replaced = target.get(basename(to));
		if (replaced === node) return;
		if (replaced instanceof SimulatedDirectory && (!(node instanceof SimulatedDirectory) || replaced.names.length > 0)) {
			throw kernelError('ENOTEMPTY', to);
		}
		change(sequence, [
			{ directory: source, name: basename(from), node: undefined },
			{ directory: target, name: basename(to), node },
		]);
	}

	link(from: string, to: string, sequence: number): void {
		const directory = this.directoryAt(dirname(to));
		if (directory.get(basename(to)) !== undefined) throw kernelError('EEXIST', to);
		change(sequence, [{ directory, name: basename(to), node: this.inodeAt(from) }]);
	}

	linksOf(inode: SimulatedInode): number {
		let links = 0;
		for (const other of this.inodes()) if (other === inode) links++;
		return links;
	}

	remove(path: string, sequence: number): void {
		this.inodeAt(path);
		change(sequence, [{ directory: this.directoryAt(dirname(path)), name: basename(path), node: undefined }]);
	}

	removeDirectory(path: string, sequence: number): void {
		if (this.directoryAt(path).names.length > 0) throw kernelError('ENOTEMPTY', path);
		change(sequence, [{ directory: this.directoryAt(dirname(path)), name: basename(path), node: undefined }]);
	}

	sync(path: string, upToSequence: number): void {
		for (const pending of this.directoryAt(path).syncable(upToSequence)) pending.durable = true;
		for (const directory of directoriesUnder(this.root)) directory.settle();
	}
}

function change(sequence: number, edits: readonly { directory: SimulatedDirectory; name: string; node: Node | undefined }[]): void {
	const made: EntryChange = {
		sequence,
		edits: edits.map(({ directory, name, node }) => ({ directory: directory.number, name, node })),
		durable: false,
	};
	for (const directory of new Set(edits.map((edit) => edit.directory))) directory.apply(made);
}

function partsOf(path: string): string[] {
	return path.split('/').filter((part) => part !== '' && part !== '.');
}

function* directoriesUnder(directory: SimulatedDirectory): Generator<SimulatedDirectory> {
	yield directory;
	for (const node of directory.nodes) if (node instanceof SimulatedDirectory) yield* directoriesUnder(node);
}

function* inodesUnder(directory: SimulatedDirectory): Generator<SimulatedInode> {
	for (const node of directory.nodes) {
		if (node instanceof SimulatedDirectory) yield* inodesUnder(node);
		else yield node;
	}
}
