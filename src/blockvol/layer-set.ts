import { randomInt } from 'node:crypto';
import { errorCode, type Disk } from '../os/disk.ts';
import type { BelowIndex } from './below-index.ts';
import { FrozenLayer } from './frozen-layer.ts';
import { Layer, layerOf, sliceOf, type LayerOptions } from './layer.ts';
import { type FilePool, LayerFile } from './layer-file.ts';
import type { LayerTree } from './layer-tree.ts';
import type { RemoteFill } from './remote-fill.ts';
import type { TreeFile } from './tree-file.ts';
import { VolumeFault } from './volume-fault.ts';

/**
 * The layers of an open volume: the frozen ones of its tree, by id, whatever stack they are part of; and who else must keep one (a view, a merge, a clone that is being made).
 */
export class LayerSet {
	readonly tree: TreeFile;
	readonly pool: FilePool;
	readonly disk: Disk;
	readonly directory: string;
	readonly options: LayerOptions;
	/** Who remembers what frozen layers hold: they are told when a merge moves it. */
	readonly indexes = new Set<BelowIndex>();
	/** Set while the lowest layer lacks pages that have to be fetched. */
	remote: RemoteFill | undefined;
	/** Clones that were begun: what was found not to be shared before may be shared now. */
	clones = 0;
	/** Told when a layer is not held any more. */
	released: (() => void) | undefined;
	readonly #frozen: Map<number, FrozenLayer>;
	readonly #holds = new Map<number, number>();
	/** Layers whose files were made and that the tree does not name yet. */
	readonly #young = new Set<number>();
	/** A name was removed, and the directory not synced since. */
	#hasRemoved = false;

	constructor(disk: Disk, directory: string, options: LayerOptions, tree: TreeFile, pool: FilePool, frozen: Map<number, FrozenLayer>) {
		this.disk = disk;
		this.directory = directory;
		this.options = options;
		this.tree = tree;
		this.pool = pool;
		this.#frozen = frozen;
	}

	frozen(id: number): FrozenLayer {
		const layer = this.#frozen.get(id);
		if (layer === undefined) throw new RangeError(`layer ${id} is not frozen`);
		return layer;
	}

	/** A frozen layer and what it stands on, bottom first. */
	stack(id: number): FrozenLayer[] {
		if (id === 0) return [];
		return this.tree.current
			.stack(id)
			.map((layer) => this.frozen(layer))
			.toReversed();
	}

	all(): FrozenLayer[] {
		return [...this.#frozen.values()];
	}

	add(layer: FrozenLayer): void {
		this.#frozen.set(layer.id, layer);
		this.#young.delete(layer.id);
	}

	/** Makes a layer with an id that no layer of any volume has. The tree comes to name it, or forget() is called. */
	make(): Layer {
		const id = newLayerId();
		this.#young.add(id);
		return Layer.make(this.disk, this.directory, id, this.options);
	}

	/** A layer that make() made is the tree's now, as its live one. */
	adopted(id: number): void {
		this.#young.delete(id);
	}

	/** Closes and removes a layer that came to nothing. */
	async discard(layer: Layer): Promise<void> {
		await layer.close();
		if (layer.hasFiles) {
			for (const name of await this.disk.list(this.directory))
				if (layerOf(name) === layer.id) await this.#unlink(`${this.directory}/${name}`);
		}
		this.#young.delete(layer.id);
	}

	/** Keeps a layer and all that it stands on from being merged or removed, until the function is called. */
	hold(id: number): () => void {
		const held = this.tree.current.stack(id);
		for (const layer of held) this.#holds.set(layer, (this.#holds.get(layer) ?? 0) + 1);
		let isHeld = true;
		return () => {
			if (!isHeld) return;
			isHeld = false;
			for (const layer of held) {
				const left = (this.#holds.get(layer) as number) - 1;
				if (left === 0) this.#holds.delete(layer);
				else this.#holds.set(layer, left);
			}
			this.released?.();
		};
	}

	isHeld(id: number): boolean {
		return this.#holds.has(id);
	}

	/** Removes the files of a frozen layer that the tree does not name any more. */
	async remove(id: number): Promise<void> {
		const layer = this.frozen(id);
		this.#frozen.delete(id);
		for (const file of layer.files) {
			await this.pool.drop(file);
			await this.#unlink(file.path);
		}
	}

	/** Removes what a crash left: trees and files of layers that neither the tree nor anybody here knows. */
	async sweep(living: () => readonly number[]): Promise<void> {
		await this.tree.sweep();
		this.#hasRemoved = true;
		for (const name of await this.disk.list(this.directory)) {
			const id = layerOf(name);
			// Not ours to judge.
			if (id < 0 || living().includes(id) || this.#young.has(id) || this.tree.current.layers.has(id)) continue;
			await this.#unlink(`${this.directory}/${name}`);
		}
	}

	/** No power loss brings back what was removed: for a clean stop, after which nobody looks. */
	async syncRemoved(): Promise<void> {
		await this.tree.syncRemoved();
		if (!this.#hasRemoved) return;
		this.#hasRemoved = false;
		await this.disk.syncDirectory(this.directory);
	}

	/** The sweep of an opening and a merge may meet at a file: one of them finds it gone. */
	async #unlink(path: string): Promise<void> {
		try {
			await this.disk.remove(path);
		} catch (error) {
			if (errorCode(error) !== 'ENOENT') throw error;
		}
		this.#hasRemoved = true;
	}
}

export function newLayerId(): number {
	// Above every number that was ever given by counting.
	return randomInt(2 ** 20, 2 ** 48 - 1);
}

/** The frozen layers of a tree over the names in the directory. Throws VolumeFault for one that has no map. */
export function frozenLayers(
	names: readonly string[],
	directory: string,
	tree: LayerTree,
	pool: FilePool,
	sliceBytes: number,
): Map<number, FrozenLayer> {
	const slices = new Map<number, Map<number, LayerFile>>();
	const maps = new Map<number, LayerFile>();
	for (const name of names) {
		const id = layerOf(name);
		if (id < 0 || id === tree.live || !tree.layers.has(id)) continue;
		const file = new LayerFile(`${directory}/${name}`);
		const slice = sliceOf(name, id);
		if (slice < 0) maps.set(id, file);
		else slices.set(id, (slices.get(id) ?? new Map<number, LayerFile>()).set(slice, file));
	}
	const frozen = new Map<number, FrozenLayer>();
	for (const id of tree.layers.keys()) {
		if (id === tree.live) continue;
		const map = maps.get(id);
		if (map === undefined) throw new VolumeFault(`layer ${id} has no page map: restore the volume from a backup`);
		frozen.set(id, new FrozenLayer(id, pool, map, slices.get(id) ?? new Map<number, LayerFile>(), sliceBytes));
	}
	return frozen;
}
