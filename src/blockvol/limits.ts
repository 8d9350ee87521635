import { totalmem } from 'node:os';
import { constrainedMemory } from 'node:process';
import { writeBytesMax } from './block-device.ts';

/** The unit of checksums, dirty tracking and layer addressing. */
export const pageBytes = 4096;
/** WAL records start at multiples of this; an LSN counts these units from the start of the log. */
export const unitBytes = 64;

export const limits = {
	/** Volume sizes: one page to 64 TiB. */
	sizeBytesMax: 64 * 2 ** 40,
	/** Layers of a volume: those of its snapshots, and some that a merge or a restore leaves for a while. */
	layersMax: 1200,
	snapshotsMax: 1000,
	snapshotNameBytes: 64,
	/** Open views of a volume's snapshots: each remembers as much of the layers below as the volume does. */
	viewsMax: 64,
	/** Layers that the flusher has not completed yet and that have files open, by large writes: another snapshot waits, writers do not. */
	pendingFilesMax: 64,
	/** Generations that one flusher cycle carries: the files of so many layers are open at once. */
	flushGenerationsMax: 64,
	/** Layers that no snapshot takes: for restores and merges. */
	layersReserved: 32,
	/** Frozen layers that a history stands on, which are no snapshots of anybody: several a window, one a restore, one a resize. */
	anchorsMax: 32,
	/** How long a history may be. Above the largest it could not tell a record's time from another's (record-clock.ts). */
	historyMsMin: 1000,
	historyMsMax: 30 * 24 * 60 * 60 * 1000,
	/** Segments of the log that a history may keep, at least: less would be gone with the next flush. */
	historySegmentsMin: 8,
	/** At most: each is an open file. */
	historySegmentsMax: 1024,
	/** Named holds on WAL segments. */
	holdsMax: 16,
	holdNameBytes: 32,
	/** One range of a zero record: any volume. */
	zeroPagesMax: (64 * 2 ** 40) / pageBytes,
	segmentBytesMin: 64 * 1024,
	segmentBytesMax: 1024 * 1024 * 1024,
	/** Commands that wait for WAL space or for a page; their callers bound their data. */
	waitingCommandsMax: 65536,
	/** Bytes of the live layer that one mark covers, and marks at once: what an opening after a crash compares at most. */
	regionBytes: 1024 * 1024,
	marksMax: 2048,
	/** Names of a repository and of a manifest in it. */
	remoteNameBytes: 255,
	/** Chunks of an archived snapshot that a volume is filled from: one is fetched at a time, and held in memory while it is stored. */
	remoteChunkBytesMin: 4096,
	remoteChunkBytesMax: 16 * 1024 * 1024,
	/** A bit each, in a file that is read at the opening: 64 TiB of chunks of 1 MiB. */
	remoteChunksMax: 2 ** 26,
	/** Chunks that readers wait for: another one waits for a place among them, as long as for a chunk. */
	remoteQueuedMax: 1024,
	/** How often a read looks a page up anew when its bytes do not match and its place changed meanwhile. */
	readAttemptsMax: 16,
} as const;

/** What may be tuned without touching the disk format. */
export interface Tuning {
	/** WAL segments, spares included, that a volume may keep (held ones not counted). At least 3. */
	walSegmentsMax: number;
	/** So many files of the log a volume that is written has when it is quiet: more are removed, missing ones are made, so that the next burst need not wait for zeros. */
	walSegmentsQuiet: number;
	/** The flusher starts when this much of the log lies behind the checkpoint. */
	flushStartBytes: number;
	/** … or so many pages were written directly: they fill the dirty map and hardly the log. */
	flushStartDirectPages: number;
	/** Those of a writer that goes over the same pages again and again are left for so long, so that they reach the disk once … */
	flushDirectMs: number;
	/** … unless so many different ones wait for the disk, of all volumes of the process. */
	flushDirectPagesMax: number;
	/** … or when nothing was written for this long and something is dirty. 0: never. */
	flushIdleMs: number;
	/** Dirty pages in one generation; at the limit writers wait for the flusher. */
	dirtyPagesMax: number;
	/** Snapshots whose layers the flusher has not written yet: another one waits, writers do not. */
	snapshotsPendingMax: number;
	/** Zeroed ranges in one generation. */
	zeroRangesMax: number;
	/** Entries of the dirty map that the flusher looks at in one turn of the event loop: about a millisecond. */
	flushTurnEntries: number;
	/** Payload that the flusher holds in memory at once. */
	flushBatchBytes: number;
	/** 4 KiB blocks of page maps that are cached. */
	mapCacheBlocks: number;
	/** Of the layers below the live one: for how many blocks of 1,008 pages (6 KiB each) it is remembered which layer holds what. */
	belowBlocks: number;
	/** Files of frozen layers that stay open though nobody reads them just now: one for each of as many layers as there may be. With fewer, reads under 1,000 snapshots cost five times as much. */
	layerFilesMax: number;
	/** A turn's records up to this size are written by the main thread when no fdatasync runs. 0: always by the thread pool. */
	inlineAppendBytesMax: number;
	/** The same for writes in place, when no fdatasync of the layer runs. 0: always by the thread pool. */
	inlineOverwriteBytesMax: number;
	/** A write by the main thread that takes longer has waited for the disk: the next ones go to the pool (inline-gate.ts). */
	inlineStallMs: number;
	/** Writes of at least this many bytes to pages that the layer does not hold go straight to it. Infinity: never. */
	directBytesMin: number;
	/** Writes of at least this many bytes to pages that the layer holds go there in place, once their region is marked; shorter ones are whole or absent after a crash. Infinity: never. */
	overwriteBytesMin: number;
	/** A region is marked when so many writes would have liked it to be: one alone is not worth an fdatasync. */
	markAfterWrites: number;
	/** The share of time that the merge of a deleted snapshot may take; 1: as fast as it goes. */
	mergeShare: number;
	/** How often a history looks whether it is due for an anchor, or too long. 0: only when something is written. */
	historyTickMs: number;
	/** How long the flusher waits before it tries again when the file system below was full. */
	noSpaceRetryMs: number;
	/** How long a read waits for a page that has to be fetched; then it is a medium error. Below the 30 s after which initiators give a command up. */
	remoteWaitMs: number;
	/** How long one attempt to fetch a chunk may take. */
	remoteAttemptMs: number;
	/** The pause before the second attempt; it doubles, up to 32 times as long. */
	remoteRetryMs: number;
	/** Chunks that are fetched or stored at once … */
	remoteFetchesMax: number;
	/** … and their bytes, though one is always fetched. */
	remoteFetchBytesMax: number;
	/** Chunks that are fetched ahead of a sequential reader. 0: none. */
	remoteAheadMax: number;
	/** Chunks that the background filler has under way at once. 0: it does nothing. */
	remoteFillersMax: number;
	/** The share of time that the filler takes while others read what has to be fetched; 1: as fast as it goes. */
	remoteFillShare: number;
	/** The filler leaves so much of the file system free for what is written. */
	remoteFreeBytesMin: number;
}

/** Of the machine, or what a container may have of it: what is dirty lies in the kernel's share of that. */
function memoryBytes(): number {
	const allowed = constrainedMemory();
	return allowed > 0 ? Math.min(totalmem(), allowed) : totalmem();
}

export const defaultTuning: Tuning = {
	walSegmentsMax: 32,
	walSegmentsQuiet: 12,
	flushStartBytes: 512 * 1024 * 1024,
	flushStartDirectPages: 64 * 1024,
	flushDirectMs: 2000,
	flushDirectPagesMax: Math.min(384 * 1024, Math.floor(memoryBytes() / 16 / pageBytes)),
	flushIdleMs: 2000,
	dirtyPagesMax: 512 * 1024,
	snapshotsPendingMax: 1000,
	zeroRangesMax: 4096,
	flushTurnEntries: 4096,
	flushBatchBytes: 2 * 1024 * 1024,
	mapCacheBlocks: 2048,
	belowBlocks: 2048,
	layerFilesMax: 1280,
	inlineAppendBytesMax: 256 * 1024,
	inlineOverwriteBytesMax: 1024 * 1024,
	inlineStallMs: 5,
	directBytesMin: 64 * 1024,
	overwriteBytesMin: 64 * 1024 + pageBytes,
	markAfterWrites: 2,
	mergeShare: 0.3,
	historyTickMs: 5000,
	noSpaceRetryMs: 1000,
	remoteWaitMs: 20_000,
	remoteAttemptMs: 8000,
	remoteRetryMs: 100,
	remoteFetchesMax: 8,
	remoteFetchBytesMax: 32 * 1024 * 1024,
	remoteAheadMax: 4,
	remoteFillersMax: 2,
	remoteFillShare: 0.25,
	remoteFreeBytesMin: 256 * 1024 * 1024,
};

/** Why a tuning cannot serve, or undefined: a record, a range, a batch must fit where it has to go. */
export function tuningFault(tuning: Tuning, geometry: Geometry): string | undefined {
	const pagesOfRecord = recordDataBytes(geometry) / pageBytes + 1;
	const lowest: Partial<Tuning> = {
		walSegmentsMax: 3,
		walSegmentsQuiet: 2,
		dirtyPagesMax: pagesOfRecord,
		snapshotsPendingMax: 1,
		zeroRangesMax: 2,
		flushTurnEntries: 1,
		flushBatchBytes: pageBytes,
		mapCacheBlocks: 1,
		// A command whose first and last page are written in part needs the blocks of both at once.
		belowBlocks: 2,
		layerFilesMax: 1,
		directBytesMin: pageBytes,
		overwriteBytesMin: pageBytes,
		markAfterWrites: 1,
		historyTickMs: 0,
		noSpaceRetryMs: 1,
		flushIdleMs: 0,
		flushStartBytes: 0,
		flushStartDirectPages: 1,
		flushDirectMs: 0,
		flushDirectPagesMax: 0,
		inlineAppendBytesMax: 0,
		inlineOverwriteBytesMax: 0,
		inlineStallMs: 0,
		remoteWaitMs: 1,
		remoteAttemptMs: 1,
		remoteRetryMs: 0,
		remoteFetchesMax: 1,
		remoteFetchBytesMax: 1,
		remoteAheadMax: 0,
		remoteFillersMax: 0,
		remoteFreeBytesMin: 0,
	};
	for (const [name, least] of Object.entries(lowest)) {
		const value = tuning[name as keyof Tuning];
		if (!(value >= least)) return `tuning: ${name} is ${value}, at least ${least} is needed`;
	}
	return undefined;
}

/** Fixed at creation and written into the superblock. */
export interface Geometry {
	/** Lower-case, with dashes. */
	uuid: string;
	sizeBytes: number;
	blockSize: 512 | 4096;
	/** Length of a WAL segment. */
	segmentBytes: number;
	/** Longest data file of a layer: ext4 ends a file at 16 TiB. */
	sliceBytes: number;
}

export const defaultSegmentBytes = 64 * 1024 * 1024;
export const defaultSliceBytes = 8 * 2 ** 40;

/** The longest data of one record: a quarter of a segment at most, so that a record always fits. */
export function recordDataBytes(geometry: Geometry): number {
	return Math.min(writeBytesMax, geometry.segmentBytes / 4);
}

/** Why a geometry cannot be, or undefined. */
export function geometryFault(geometry: Geometry): string | undefined {
	const { sizeBytes, blockSize, segmentBytes, sliceBytes } = geometry;
	if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(geometry.uuid)) return `${geometry.uuid} is not a lower-case UUID`;
	if (blockSize !== 512 && blockSize !== 4096) return `block size ${String(blockSize)} is neither 512 nor 4096`;
	const sizeFault = sizeBytesFault(sizeBytes);
	if (sizeFault !== undefined) return sizeFault;
	if (!isPowerOfTwo(segmentBytes) || segmentBytes < limits.segmentBytesMin || segmentBytes > limits.segmentBytesMax) {
		return `WAL segments of ${segmentBytes} bytes: not a power of two from ${limits.segmentBytesMin} to ${limits.segmentBytesMax}`;
	}
	if (sliceBytes < pageBytes || sliceBytes % pageBytes !== 0) return `layer files of ${sliceBytes} bytes: not a multiple of ${pageBytes}`;
	return undefined;
}

export function sizeBytesFault(sizeBytes: number): string | undefined {
	if (!Number.isSafeInteger(sizeBytes) || sizeBytes < pageBytes || sizeBytes > limits.sizeBytesMax || sizeBytes % pageBytes !== 0) {
		return `a size of ${sizeBytes} bytes is not a multiple of ${pageBytes} from ${pageBytes} to ${limits.sizeBytesMax} (64 TiB)`;
	}
	return undefined;
}

function isPowerOfTwo(value: number): boolean {
	return Number.isInteger(Math.log2(value));
}
