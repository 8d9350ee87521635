import { errorCode, type Disk } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import { openFilesMax } from '../os/open-files.ts';
import { BelowIndex, blocksPerBit } from './below-index.ts';
import { FilePool } from './layer-file.ts';
import { LayerNames } from './layer-names.ts';
import { frozenLayers, LayerSet } from './layer-set.ts';
import { Layer, layerOf } from './layer.ts';
import { tuningFault, type Geometry, type Tuning } from './limits.ts';
import type { Generation } from './generation.ts';
import { RunningDigest } from './map-digest.ts';
import { PageIndex } from './page-index.ts';
import { readRemote } from './remote-file.ts';
import { RemoteFill } from './remote-fill.ts';
import type { RemoteOpener } from './remote-pages.ts';
import { replay, type Replayed } from './replay.ts';
import { SanitizeUnfinished } from './sanitize.ts';
import { SuperblockFile } from './superblock.ts';
import { readTree, TreeFile } from './tree-file.ts';
import { VolumeFault, VolumeUsageError } from './volume-fault.ts';
import { build, compareDigest, digestOf, nothingToReplay, volumePaths } from './volume-files.ts';

/** What is read from the disk before a volume can serve. */
export interface VolumeParts {
	superblock: SuperblockFile;
	layers: LayerSet;
	index: PageIndex;
	replayed: Replayed;
	/** The last stop was clean: nothing had to be replayed. */
	wasClean: boolean;
}

/** Reads a volume, without the mark that it is in use. Rejects as Volume.open does. */
export async function openVolume(
	disk: Disk,
	directory: string,
	tuning: Tuning,
	forceCheck: boolean,
	remote: { remote?: RemoteOpener | undefined; log: Logger; replaying?: ((share: number) => void) | undefined },
): Promise<VolumeParts> {
	try {
		const superblock = await SuperblockFile.open(disk, volumePaths(directory).superblock);
		const opened: Layer[] = [];
		try {
			const parts = await readParts(disk, directory, tuning, forceCheck, superblock, opened, remote.replaying);
			const { layers, index } = parts;
			layers.remote = index.remote = openRemote(layers, superblock.current.geometry, tuning, remote);
			return parts;
		} catch (error) {
			for (const layer of opened) await layer.close();
			await superblock.close();
			throw error;
		}
	} catch (error) {
		throw unreadable(error);
	}
}

async function readParts(
	disk: Disk,
	directory: string,
	tuning: Tuning,
	forceCheck: boolean,
	superblock: SuperblockFile,
	opened: Layer[],
	replaying?: (share: number) => void,
): Promise<VolumeParts> {
	const paths = volumePaths(directory);
	const { current } = superblock;
	if (current.sanitize !== undefined) throw new SanitizeUnfinished(current.sanitize);
	const impossible = tuningFault(tuning, current.geometry);
	if (impossible !== undefined) throw new VolumeUsageError(impossible);
	const layerNames = new LayerNames(disk, paths.layers);
	const options = { sliceBytes: current.geometry.sliceBytes, mapCacheBlocks: tuning.mapCacheBlocks, names: layerNames };
	const tree = await readTree(disk, directory, current);
	// Half of what the process may have open: segments of logs are files, and every connection is one.
	const pool = new FilePool(disk, { files: tuning.layerFilesMax, filesOfAll: Math.floor(openFilesMax() / 2) }, 'existing');
	const names = tree.isSingle ? [] : await disk.list(paths.layers);
	const frozen = frozenLayers(names, paths.layers, tree, pool, options.sliceBytes);
	const layers = new LayerSet(disk, paths.layers, options, new TreeFile(disk, directory, superblock, tree), pool, frozen);
	const base = await Layer.open(disk, paths.layers, tree.live, { ...options, mode: 'existing' });
	opened.push(base);
	base.digest = new RunningDigest(current.clean ? current.mapDigest : undefined);
	const files = await disk.list(paths.layers);
	const pendingLayers = new Map<number, Layer>();
	const next = async (id: number): Promise<Layer> => {
		const known = pendingLayers.get(id);
		if (known !== undefined) return known;
		const layer = await openOrMake(layers, id, files);
		pendingLayers.set(id, layer);
		opened.push(layer);
		return layer;
	};
	const replayed = current.clean ? nothingToReplay(current) : await replay(disk, paths.wal, current, { base, next }, 'existing', replaying);
	if (forceCheck && base.digest.known) await compareDigest(base, current);
	const below = new BelowIndex(tuning.belowBlocks, blocksPerBit(current.geometry.sizeBytes));
	const remote = tree.remote?.id;
	if (remote !== undefined) layers.frozen(remote).remote = await readRemote(disk, directory, current.geometry.uuid, remote);
	below.reset(layers.stack(tree.layer(tree.live).parent));
	const generations = [...replayed.cuts.map(({ generation }) => generation), replayed.generation];
	const [first, ...others] = generations as [Generation, ...Generation[]];
	const index = new PageIndex(base, first, below);
	for (const [at, { cutLSN, snapshot }] of replayed.cuts.entries())
		index.cut(cutLSN, snapshot, await next(snapshot.newLayer), others[at] as Generation);
	// Of snapshots whose records were cut off.
	const open = new Set(index.openLayers);
	for (const layer of opened.filter((candidate) => !open.has(candidate))) await layer.close();
	return { superblock, layers, index, replayed, wasClean: current.clean };
}

/** What fetches the pages that the lowest layer lacks; undefined if it lacks none. */
function openRemote(
	layers: LayerSet,
	geometry: Geometry,
	tuning: Tuning,
	{ remote, log }: { remote?: RemoteOpener | undefined; log: Logger },
): RemoteFill | undefined {
	const layer = layers.all().find((frozen) => frozen.remote !== undefined);
	const chunks = layer?.remote;
	if (layer === undefined || chunks === undefined) return undefined;
	return new RemoteFill({
		layers,
		layer,
		chunks,
		pages: remote?.(chunks.identity),
		blocksPerBit: blocksPerBit(geometry.sizeBytes),
		tuning,
		log,
	});
}

/** A layer that a snapshot's record began: its files are there as far as they were made. */
async function openOrMake({ disk, directory, options }: LayerSet, id: number, files: readonly string[]): Promise<Layer> {
	try {
		return await Layer.open(disk, directory, id, { ...options, mode: 'existing' });
	} catch (error) {
		if (errorCode(error) !== 'ENOENT') throw error;
		// A slice without a map can be: names of a crash appear one by one. Layer.make opens no slices, so such bytes would be in the way of the first write.
		for (const name of files) if (layerOf(name) === id) await disk.remove(`${directory}/${name}`);
		return Layer.make(disk, directory, id, options);
	}
}

/**
 * Withdraws the stamp and raises the epoch: what stands behind the tail is of an older one, and stays so. The log writes nothing before that is durable (`begun`); reads,
 * and whoever waits for the volume to be there, need not wait for the disk. Then what a crash left and nobody knows goes.
 */
export async function beginEpoch({ superblock, layers, index, replayed, wasClean }: VolumeParts, begun: () => void): Promise<void> {
	const { epoch, tailLSN } = replayed;
	await superblock.updateBoth({ epoch: epoch + 1, tailLSN, clean: false, build: build() });
	begun();
	if (!wasClean) await layers.sweep(() => index.openLayers.map(({ id }) => id));
}

/** The mark of a clean stop: everything is in the layers, and the log ends here. */
export async function stamp(
	{ superblock, layers, index }: Pick<VolumeParts, 'superblock' | 'layers' | 'index'>,
	tailLSN: number,
	sizeBytes: number,
): Promise<void> {
	const live = index.layer;
	await layers.syncRemoved();
	// An unclean start made the digest unknown: then it is counted anew what the map holds.
	const mapDigest = live.digest.value ?? (await digestOf(live, sizeBytes));
	await superblock.update({ checkpointLSN: tailLSN, clean: true, mapDigest, marks: [] });
}

export async function closeVolume({ layers, superblock, index }: Pick<VolumeParts, 'layers' | 'superblock' | 'index'>): Promise<void> {
	await layers.remote?.close();
	for (const layer of index.openLayers) await layer.close();
	await layers.pool.close();
	await superblock.close();
}

/** A kernel's error as what it means for the volume; any other as it is. */
export function unreadable(error: unknown): unknown {
	const code = errorCode(error);
	return code === '' ? error : new VolumeFault(`the volume cannot be read (${code})`, { cause: error });
}
