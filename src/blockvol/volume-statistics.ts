import type { Flusher } from './flusher.ts';
import type { PageIndex } from './page-index.ts';
import type { Reader } from './reader.ts';
import type { Wal } from './wal.ts';
import type { Writer } from './writer.ts';

/** Counters and gauges of an open volume; plain numbers. */
export interface VolumeStatistics {
	sizeBytes: number;
	readCommands: number;
	readBytes: number;
	/** Reads that had to wait for the disk. */
	readMisses: number;
	writeCommands: number;
	writeBytes: number;
	zeroCommands: number;
	flushCommands: number;
	checksumErrors: number;
	dirtyPages: number;
	/** Log between the checkpoint and its end. */
	walBytes: number;
	walFiles: number;
	walWrites: number;
	walSyncs: number;
	directWrites: number;
	/** Writes over pages of the layer in place. */
	overwrites: number;
	waitingCommands: number;
	flushCycles: number;
	flushedPages: number;
	/** WAL records that the flusher carried; each is read once, however many pages it holds. */
	flushedRecords: number;
	flushLogReads: number;
	flushLayerWrites: number;
	/** Records that opening the volume replayed. */
	replayedRecords: number;
}

type Gathered = Omit<
	VolumeStatistics,
	| 'readCommands'
	| 'readBytes'
	| 'writeCommands'
	| 'writeBytes'
	| 'zeroCommands'
	| 'flushCommands'
	| 'sizeBytes'
	| 'walBytes'
	| 'replayedRecords'
>;

/** What the parts of a volume count themselves. */
export function gather(index: PageIndex, wal: Wal, reader: Reader, writer: Writer, flusher: Flusher): Gathered {
	return {
		readMisses: reader.misses,
		checksumErrors: reader.checksumErrors,
		dirtyPages: index.pending.reduce((sum, { generation }) => sum + generation.livePages, index.active.livePages),
		walFiles: wal.segments.files,
		walWrites: wal.writes,
		walSyncs: wal.syncs,
		directWrites: writer.directWrites,
		overwrites: writer.overwrites,
		waitingCommands: writer.waiting,
		flushCycles: flusher.cycles,
		flushedPages: flusher.pages,
		flushedRecords: flusher.records,
		flushLogReads: flusher.logReads,
		flushLayerWrites: flusher.layerWrites,
	};
}
