import { createLazyVolume } from '../../blockvol/lazy-volume.ts';
import type { RemoteSource } from '../../blockvol/remote-pages.ts';
import type { WantedGeometry } from '../../blockvol/volume-files.ts';
import type { Disk } from '../../os/disk.ts';
import { BoundedTasks } from '../bounded-tasks.ts';
import { limits } from '../limits.ts';
import { readList } from '../list-reader.ts';
import { isZeroRow, rowOf } from '../manifest.ts';
import { entryBytes, listsOf } from '../merkle-tree.ts';
import type { Repository } from '../repository.ts';
import type { Manifest } from '../repository-types.ts';

/** Which archived snapshot a volume is restored from. */
export interface LazyOrigin {
	readonly repository: Repository;
	/** By which the repository is found again at the next start. */
	readonly repositoryName: string;
	readonly manifest: Manifest;
	readonly signal?: AbortSignal;
}

/**
 * Makes a volume that holds what an archived snapshot does and fetches it when it is asked for, or in the background; ArchivePages gives it the pages at each opening. Every list of the manifest is read and checked
 * before anything is made; whether each chunk is there is found out when it is fetched. ArchiveError missing, corrupt; StoreError; VolumeUsageError for a geometry that does not fit; the signal's reason.
 */
export async function createLazyRestore(disk: Disk, directory: string, geometry: WantedGeometry, origin: LazyOrigin): Promise<void> {
	await createLazyVolume(disk, directory, geometry, await remoteSourceOf(origin));
}

/** What a volume is to know of a manifest without its repository: which chunks hold something. */
export async function remoteSourceOf({ repository, repositoryName, manifest, signal }: LazyOrigin): Promise<RemoteSource> {
	const held = new Uint8Array(Math.ceil(manifest.chunks / 8));
	const tasks = new BoundedTasks(limits.listsOpen);
	for (let list = 0; list < listsOf(manifest.chunks); list++) {
		if (isZeroRow(rowOf(manifest.segments, list))) continue;
		await tasks.run(async () => {
			const entries = await readList(repository, manifest, list, signal);
			for (let at = 0; at < entries.length; at += entryBytes) {
				if (isZeroRow(entries.subarray(at, at + entryBytes))) continue;
				const chunk = list * limits.entriesPerList + at / entryBytes;
				held[chunk >>> 3] = (held[chunk >>> 3] as number) | (1 << (chunk & 7));
			}
		});
	}
	await tasks.idle();
	return {
		identity: { repository: repositoryName, manifest: manifest.id },
		sizeBytes: manifest.volume.sizeBytes,
		chunkBytes: manifest.chunkBytes,
		chunkIsZero: (chunk) => ((held[chunk >>> 3] as number) & (1 << (chunk & 7))) === 0,
	};
}
