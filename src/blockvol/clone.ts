import type { Disk } from '../os/disk.ts';
import { LayerTree } from './layer-tree.ts';
import { newLayerId, type LayerSet } from './layer-set.ts';
import { Layer } from './layer.ts';
import type { Geometry } from './limits.ts';
import { createEmptyLog, createSuperblock, volumePaths } from './volume-files.ts';
import { writeTree } from './tree-file.ts';

/** What a clone is made of. */
export interface CloneSource {
	readonly layers: LayerSet;
	readonly layer: number;
	readonly geometry: Geometry;
}

/**
 * Makes a volume that stands on a frozen layer of another one: a name of its own for each file of the stack, and an empty live layer. No page is copied. The number of names
 * that a file has says how many volumes need it; the last one that removes its name gives the space back. Who calls keeps the stack from being merged meanwhile.
 */
export async function createClone(disk: Disk, directory: string, { layers, layer, geometry }: CloneSource): Promise<void> {
	const paths = volumePaths(directory);
	await disk.makeDirectory(paths.wal);
	await disk.makeDirectory(paths.layers);
	for (const frozen of layers.stack(layer)) {
		for (const { path } of frozen.files) await disk.link(path, `${paths.layers}${path.slice(path.lastIndexOf('/'))}`);
	}
	const live = newLayerId();
	await Layer.create(disk, paths.layers, live);
	await createEmptyLog(disk, paths.wal, geometry);
	await disk.syncDirectory(paths.layers);
	const below = layers.tree.current.stack(layer).map((id) => layers.tree.current.layer(id));
	const tree = new LayerTree(live, [{ id: live, parent: layer, mapDigest: undefined }, ...below], [], layer);
	const reference = await writeTree(disk, directory, tree, geometry.uuid, 1);
	await createSuperblock(disk, directory, geometry, live, reference);
}
