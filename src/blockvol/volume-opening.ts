import { errorCode, type Disk } from '../os/disk.ts';
import type { Layer } from './layer.ts';
import { tuningFault, type Tuning } from './limits.ts';
import { RunningDigest } from './map-digest.ts';
import { replay, type Replayed } from './replay.ts';
import { SuperblockFile } from './superblock.ts';
import { VolumeFault, VolumeUsageError } from './volume-fault.ts';
import { compareDigest, nothingToReplay, openLayer, volumePaths } from './volume-files.ts';

/** What is read from the disk before a volume can serve. */
export interface VolumeParts {
	superblock: SuperblockFile;
	layer: Layer;
	digest: RunningDigest;
	replayed: Replayed;
	/** The last stop was clean: nothing had to be replayed. */
	wasClean: boolean;
}

/** Reads a volume, without the mark that it is in use. Rejects as Volume.open does. */
export async function openVolume(disk: Disk, directory: string, tuning: Tuning, forceCheck: boolean): Promise<VolumeParts> {
	const paths = volumePaths(directory);
	try {
		const superblock = await SuperblockFile.open(disk, paths.superblock);
		let layer: Layer | undefined;
		try {
			const { current } = superblock;
			const impossible = tuningFault(tuning, current.geometry);
			if (impossible !== undefined) throw new VolumeUsageError(impossible);
			layer = await openLayer(disk, paths.layers, current, tuning);
			const replayed = current.clean ? nothingToReplay(current) : await replay(disk, paths.wal, current, layer, 'existing');
			const digest = new RunningDigest(current.clean ? current.mapDigest : undefined);
			if (forceCheck && digest.known) await compareDigest(layer, current);
			return { superblock, layer, digest, replayed, wasClean: current.clean };
		} catch (error) {
			await layer?.close();
			await superblock.close();
			throw error;
		}
	} catch (error) {
		throw unreadable(error);
	}
}

export async function closeVolume({ layer, superblock }: Pick<VolumeParts, 'layer' | 'superblock'>): Promise<void> {
	await layer.close();
	await superblock.close();
}

/** A kernel's error as what it means for the volume; any other as it is. */
export function unreadable(error: unknown): unknown {
	const code = errorCode(error);
	return code === '' ? error : new VolumeFault(`the volume cannot be read (${code})`, { cause: error });
}
