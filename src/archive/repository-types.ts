import type { BlockDevice, Completion, Outcome } from '../blockvol/block-device.ts';
import type { PageRange } from '../blockvol/changed-pages.ts';
import type { Disk } from '../os/disk.ts';

/**
 * What the archive's repository takes and gives. The functions over these types:
 * - repository.ts: `createRepository(store, options)`, `openRepository(store, options)` → Repository, with `close()`
 * - archive-snapshot.ts: `archiveSnapshot(repository, source, options)` → ArchiveResult
 * - catalogue.ts: `listManifests(repository, filter)` → ManifestSummary[], `openManifest(repository, id)` → Manifest, `deleteManifest(repository, id)`
 * - restore.ts: `restoreManifest(repository, manifest, sink, options)` → RestoreResult
 * - chunk-reader.ts: `new ChunkReader(repository, manifest)`, `readChunk(repository, manifest, index, options)`
 * - verify.ts: `verify(repository, options)` → VerifyResult
 * - collector.ts: `collect(repository, options)` → CollectResult
 * - repair.ts: `repairChunks(repository, manifest, source, options)`, `readGoodPages(repository, manifest, range)`
 */

/**
 * - noRepository, repositoryExists: nothing, or already something, at this place
 * - unsupported: a newer format
 * - wrongKey: the passphrase is missing or another one
 * - noManifest: there is none of that id
 * - missing, corrupt: an object that a manifest needs; `object` is its key
 * - geometry: the sink's size or block size is not the manifest's
 * - source: the snapshot could not be read, or does not hold what it should (repair)
 * - sink: the volume that is restored to refused a write
 * - stale: the export stood still for so long that what it had uploaded may be collected; begun anew it succeeds
 * - tooLarge: beyond a limit of limits.ts
 * - closed: the repository has been closed
 */
export type ArchiveErrorCode =
	| 'noRepository'
	| 'repositoryExists'
	| 'unsupported'
	| 'wrongKey'
	| 'noManifest'
	| 'missing'
	| 'corrupt'
	| 'geometry'
	| 'source'
	| 'sink'
	| 'stale'
	| 'tooLarge'
	| 'closed';

/** What is wrong with a repository, one sentence. What the store could not do is a StoreError; what the caller ended rejects with the signal's reason. */
export class ArchiveError extends Error {
	override readonly name = 'ArchiveError';
	readonly code: ArchiveErrorCode;
	/** The key of the object that it is about, '' if it is about none. */
	readonly object: string;

	constructor(code: ArchiveErrorCode, message: string, options: ErrorOptions & { object?: string } = {}) {
		super(message, options);
		this.code = code;
		this.object = options.object ?? '';
	}
}

export interface VolumeIdentity {
	readonly uuid: string;
	readonly name: string;
	readonly blockSize: 512 | 4096;
	/** Of the snapshot. */
	readonly sizeBytes: number;
}

export interface SnapshotIdentity {
	/** The engine's id, which no other snapshot of the volume ever has. */
	readonly id: number;
	readonly name: string;
	/** Milliseconds since 1970. */
	readonly timeMs: number;
	readonly lsn: number;
}

/** A snapshot that is archived: it must not change meanwhile. */
export interface SnapshotSource {
	readonly volume: VolumeIdentity;
	readonly snapshot: SnapshotIdentity;
	readonly device: Pick<BlockDevice, 'read' | 'allocation' | 'sizeBytes'>;
	/**
	 * Pages that may differ from an archived snapshot of the same volume, ascending; undefined: nobody knows (the snapshot is gone). `archived` is what the archive has of it, so that
	 * an id of another life of the volume can be told apart.
	 */
	changedSince(snapshotId: number, archived: SnapshotIdentity): AsyncIterable<PageRange> | undefined;
}

/** What a catalogue shows. Times in ms since 1970. */
export interface ManifestSummary {
	/** 32 hexadecimal digits, of this manifest alone. */
	readonly id: string;
	readonly volume: VolumeIdentity;
	readonly snapshot: SnapshotIdentity;
	/** The manifest whose unchanged chunks were taken over; '' for none. */
	readonly parent: string;
	readonly chunkBytes: number;
	readonly chunks: number;
	/** SHA-256 tree over the chunks' hashes, hexadecimal: equal roots are equal volumes, byte for byte. */
	readonly merkleRoot: string;
	/** When the archive was made, by the clock of the store. */
	readonly createdMs: number;
	/** Chunks that hold anything but zeros, times their length: what a restore writes. */
	readonly dataBytes: number;
	/** What this archive added to the repository. */
	readonly uploadedBytes: number;
	readonly tool: string;
}

export interface Manifest extends ManifestSummary {
	/** The table of list segments as docs/archive-format.md has it; not for callers. */
	readonly segments: Buffer;
}

export interface ArchiveProgress {
	/** upload: reads, and uploads what is new; check: sees that everything is there; publish: the manifest becomes visible. */
	readonly phase: 'upload' | 'check' | 'publish';
	/** The size of the volume, and how far into it the export has come: what need not be looked at counts as done. */
	readonly totalBytes: number;
	readonly doneBytes: number;
	/** Read from the snapshot. */
	readonly readBytes: number;
	/** Sent to the store, after compression. */
	readonly uploadedBytes: number;
	readonly uploadedChunks: number;
}

export interface ArchiveOptions {
	readonly signal?: AbortSignal;
	readonly onProgress?: (progress: ArchiveProgress) => void;
	/** Chunks on their way at once, 1 to limits.parallelMax; default limits.parallel. */
	readonly parallel?: number;
	/** Of what is uploaded. Default: none. */
	readonly bytesPerSecond?: number;
	/**
	 * Where what has been uploaded is written down, so that the same export of the same snapshot, begun again after kill -9, does not read it again. The file is removed when
	 * the manifest is there; without this, nothing is remembered. It is local, since only this machine has the snapshot, and since one small object a chunk in the repository would cost more than the chunk.
	 */
	readonly journal?: { readonly disk: Disk; readonly path: string };
	/** 'auto' (default): the newest archived snapshot of the volume of which changedSince knows; 'none': everything that is allocated; or the id of a manifest. */
	readonly parent?: string;
	/** For the manifest: `blockport 0.1.0`. */
	readonly tool?: string;
}

export interface ArchiveResult {
	readonly manifest: ManifestSummary;
	readonly readBytes: number;
	readonly uploadedBytes: number;
	readonly uploadedChunks: number;
	/** Chunks that were read and were in the repository already. */
	readonly knownChunks: number;
	/** Chunks that a journal of an earlier attempt answered for. */
	readonly resumedChunks: number;
}

/** What is restored to: a volume that nobody sees yet, and that reads as zeros. */
export interface RestoreSink {
	readonly sizeBytes: number;
	readonly blockSize: 512 | 4096;
	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void;
	flush(completion: Completion): void;
}

export interface RestoreOptions {
	readonly signal?: AbortSignal;
	readonly onProgress?: (progress: { readonly totalBytes: number; readonly doneBytes: number; readonly fetchedBytes: number }) => void;
	readonly parallel?: number;
	/** Of what is fetched. */
	readonly bytesPerSecond?: number;
	/** The block size may differ: the volume is asked for with another one. */
	readonly anyBlockSize?: boolean;
}

export interface RestoreResult {
	readonly fetchedBytes: number;
	readonly writtenBytes: number;
	readonly merkleRoot: string;
}

export interface VerifyOptions {
	readonly signal?: AbortSignal;
	/** quick: manifests, lists, and that every chunk is there; full: every byte of them. */
	readonly mode: 'quick' | 'full';
	/** One manifest only. */
	readonly manifest?: string;
	readonly parallel?: number;
	readonly onProgress?: (progress: { readonly doneChunks: number; readonly totalChunks: number }) => void;
}

export interface VerifyFinding {
	/** Key of the object. */
	readonly object: string;
	readonly fault: 'missing' | 'corrupt';
	/** In words. */
	readonly detail: string;
	/** The manifest that needs it; the object itself if it is one. */
	readonly manifest: string;
	/** Bytes of the volume that are lost with it. */
	readonly range: { readonly offsetBytes: number; readonly lengthBytes: number };
}

export interface VerifyResult {
	readonly manifests: number;
	readonly chunks: number;
	/** At most limits.findingsMax; `findingsTotal` counts all. */
	readonly findings: readonly VerifyFinding[];
	readonly findingsTotal: number;
}

export interface CollectOptions {
	readonly signal?: AbortSignal;
	/** Unreferenced objects younger than this stay. Default limits.graceMs. */
	readonly graceMs?: number;
	/**
	 * Who collects, 32 hexadecimal digits that no other appliance has: the lease of a run of the same owner is no other's, so one that was killed goes on at once. Who gives none
	 * waits until every lease has run out.
	 */
	readonly owner?: string;
	/** Says what would be deleted and changes nothing. */
	readonly dryRun?: boolean;
}

export interface CollectResult {
	/** 'busy': another collector is at work; 'blocked': a manifest cannot be read whole, so nothing may be deleted (`blockedBy` is its object). */
	readonly state: 'done' | 'busy' | 'blocked';
	readonly blockedBy?: string;
	readonly manifests: number;
	/** Objects that are left, and that were deleted (in a dry run: would be). */
	readonly keptObjects: number;
	readonly deletedObjects: number;
	readonly deletedBytes: number;
	/** Unreferenced and too young. */
	readonly youngObjects: number;
}

export interface RepairResult {
	readonly checkedChunks: number;
	readonly repairedChunks: number;
	/** Chunks that are missing or corrupt and of which the source holds something else. */
	readonly lostChunks: number;
}

/** A callback of a device as a promise. */
export function completed(start: (completion: Completion) => void): Promise<Outcome> {
	return new Promise((resolve) => {
		start({ complete: resolve });
	});
}
