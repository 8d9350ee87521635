import { randomInt } from 'node:crypto';
import type { Disk } from '../os/disk.ts';
import { Generation } from './generation.ts';
import { Layer } from './layer.ts';
import { defaultSegmentBytes, defaultSliceBytes, geometryFault, pageBytes, unitBytes, type Geometry } from './limits.ts';
import { RunningDigest } from './map-digest.ts';
import type { Replayed } from './replay.ts';
import { SuperblockFile, type MapDigest, type Superblock } from './superblock.ts';
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
	for (let sequence = 0; sequence < segmentFilesMin; sequence++) {
		const firstLSN = (sequence * geometry.segmentBytes) / unitBytes;
		const segment = await createZeroFilled(disk, `${paths.wal}/${segmentName(firstLSN)}`, geometry.segmentBytes);
		await segment.close();
	}
	await disk.syncDirectory(paths.wal);
	await disk.syncDirectory(paths.layers);
	// Last: a directory without a superblock is no volume yet.
	await SuperblockFile.create(disk, paths.superblock, {
		sequence: 0,
		geometry,
		epoch: 0,
		walGeneration: newWalGeneration(),
		checkpointLSN: 0,
		tailLSN: 0,
		clean: true,
		build: build(),
		mapDigest: { low: 0, high: 0 },
		layers: [layerId],
		tree: undefined,
		holds: [],
		marks: [],
	});
	await disk.syncDirectory(directory);
	await disk.syncDirectory(parentOf(directory));
}

export function nothingToReplay(superblock: Superblock): Replayed {
	return { cuts: [], generation: new Generation(), tailLSN: superblock.checkpointLSN, epoch: superblock.epoch, records: 0, marks: [] };
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

function newWalGeneration(): number {
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
