import type { Disk } from '../os/disk.ts';
import { LayerTree } from './layer-tree.ts';
import { newLayerId } from './layer-set.ts';
import { Layer } from './layer.ts';
import { defaultSegmentBytes, defaultSliceBytes, geometryFault, type Geometry } from './limits.ts';
import { RemoteChunks, remoteFault, writeRemote } from './remote-file.ts';
import type { RemoteSource } from './remote-pages.ts';
import { writeTree } from './tree-file.ts';
import { VolumeUsageError } from './volume-fault.ts';
import { createEmptyLog, createSuperblock, volumePaths, type WantedGeometry } from './volume-files.ts';

/**
 * Makes a volume that holds what an archived snapshot does, and has none of it yet: an empty live layer on an empty one whose pages are fetched when somebody asks for them, and in the background
 * (remote-fill.ts). Durable with its names when it resolves; Volume.open with `remote` serves it. Rejects with VolumeUsageError for an impossible geometry or source, or with the kernel's error; then the
 * directory holds no volume and may be removed.
 */
export async function createLazyVolume(disk: Disk, directory: string, wanted: WantedGeometry, source: RemoteSource): Promise<void> {
	const geometry: Geometry = { segmentBytes: defaultSegmentBytes, sliceBytes: defaultSliceBytes, ...wanted };
	const fault = geometryFault(geometry) ?? remoteFault(source);
	if (fault !== undefined) throw new VolumeUsageError(fault);
	if (geometry.sizeBytes < source.sizeBytes)
		throw new VolumeUsageError(`a volume of ${geometry.sizeBytes} bytes cannot hold an archived snapshot of ${source.sizeBytes}`);
	const paths = volumePaths(directory);
	await disk.makeDirectory(paths.wal);
	await disk.makeDirectory(paths.layers);
	const [live, remote] = [newLayerId(), newLayerId()];
	await Layer.create(disk, paths.layers, remote);
	await Layer.create(disk, paths.layers, live);
	await createEmptyLog(disk, paths.wal, geometry);
	await disk.syncDirectory(paths.layers);
	await writeRemote(disk, directory, RemoteChunks.of(source, remote), geometry.uuid);
	const layers = [
		{ id: live, parent: remote, mapDigest: undefined },
		{ id: remote, parent: 0, mapDigest: undefined, isRemote: true },
	];
	const reference = await writeTree(disk, directory, new LayerTree(live, layers, [], remote), geometry.uuid, 1);
	await createSuperblock(disk, directory, geometry, live, reference);
}
