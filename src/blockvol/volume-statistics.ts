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
