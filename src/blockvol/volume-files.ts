import { randomInt } from 'node:crypto';
import type { Disk } from '../os/disk.ts';
import { Generation } from './generation.ts';
import { Layer } from './layer.ts';
import { defaultSegmentBytes, defaultSliceBytes, geometryFault, pageBytes, unitBytes, type Geometry } from './limits.ts';
import { RunningDigest } from './map-digest.ts';
import type { Replayed } from './replay.ts';
import { SuperblockFile, type MapDigest, type Superblock, type TreeReference } from './superblock.ts';
import { VolumeFault, VolumeUsageError } from './volume-fault.ts';
import { segmentFilesMin } from './wal-segments.ts';
import { createZeroFilled, segmentName } from './wal-segment.ts';

/** Where the parts of a volume are under its directory (docs/format.md). */
export function volumePaths(directory: string): { superblock: string; wal: string; layers: string } {
	return { superblock: `${directory}/superblock`, wal: `${directory}/wal`, layers: `${directory}/layers` };
}

/** What a new volume needs to be told; the rest of its geometry has defaults. */
export type WantedGeometry = Pick<Geometry, 'uuid' | 'sizeBytes' | 'blockSize'> & Partial<Geometry>;

/** The first layer of a volume; the others have random ids. */
const layerId = 1;

/** Volume.create: the files of an empty volume, durable with their names. */
export async function createVolumeFiles(disk: Disk, directory: string, wanted: WantedGeometry): Promise<void> {
	const geometry: Geometry = { segmentBytes: defaultSegmentBytes, sliceBytes: defaultSliceBytes, ...wanted };
	const fault = geometryFault(geometry);
	if (fault !== undefined) throw new VolumeUsageError(fault);
	const paths = volumePaths(directory);
	await disk.makeDirectory(paths.wal);
	await disk.makeDirectory(paths.layers);
	await Layer.create(disk, paths.layers, layerId);
	await createEmptyLog(disk, paths.wal, geometry);
	await disk.syncDirectory(paths.layers);
	await createSuperblock(disk, directory, geometry, layerId, undefined);
}

/** The segments of a log in which nothing was written yet, durable with their names. */
export async function createEmptyLog(disk: Disk, directory: string, geometry: Geometry): Promise<void> {
	for (let sequence = 0; sequence < segmentFilesMin; sequence++) {
		const firstLSN = (sequence * geometry.segmentBytes) / unitBytes;
		const segment = await createZeroFilled(disk, `${directory}/${segmentName(firstLSN)}`, geometry.segmentBytes);
		await segment.close();
	}
	await disk.syncDirectory(directory);
}

/** The superblock of a volume that was never opened. Last of its files: a directory without one is no volume yet. */
export async function createSuperblock(
	disk: Disk,
	directory: string,
	geometry: Geometry,
	live: number,
	tree: TreeReference | undefined,
): Promise<void> {
	await SuperblockFile.create(disk, volumePaths(directory).superblock, {
		sequence: 0,
		geometry,
		epoch: 0,
		walGeneration: newWalGeneration(),
		checkpointLSN: 0,
		tailLSN: 0,
		clean: true,
		build: build(),
		mapDigest: { low: 0, high: 0 },
		layers: [live],
		tree,
		holds: [],
		marks: [],
	});
	await disk.syncDirectory(directory);
	await disk.syncDirectory(parentOf(directory));
}

export function nothingToReplay(superblock: Superblock): Replayed {
	return { cuts: [], generation: new Generation(), tailLSN: superblock.checkpointLSN, epoch: superblock.epoch, records: 0 };
}

/** The set hash of everything that a layer's map holds. */
export async function digestOf(layer: Layer, sizeBytes: number): Promise<MapDigest | undefined> {
	const digest = new RunningDigest({ low: 0, high: 0 });
	await layer.map.forEachEntry(0, sizeBytes / pageBytes, (page, entry) => digest.toggle(page, entry));
	return digest.value;
}

export async function compareDigest(layer: Layer, superblock: Superblock): Promise<void> {
	const found = await digestOf(layer, superblock.geometry.sizeBytes);
	const { mapDigest } = superblock;
	if (found?.low === mapDigest?.low && found?.high === mapDigest?.high) return;
	throw new VolumeFault('the page map is not the one that the clean stop stamped');
}

export function newWalGeneration(): number {
	return randomInt(1, 2 ** 48 - 1);
}

/** Which program wrote the stamp; for people who look at a volume later. */
export function build(): string {
	return `blockport node ${process.versions.node}`.slice(0, 32);
}

function parentOf(directory: string): string {
	const at = directory.lastIndexOf('/');
	return at < 0 ? '.' : at === 0 ? '/' : directory.slice(0, at);
}
