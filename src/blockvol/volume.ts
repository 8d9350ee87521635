import type { Disk } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import type { AppendBatch } from './append-batch.ts';
import type { Allocation, CompareCompletion, BlockDevice, Completion, Outcome } from './block-device.ts';
import { Exclusive } from './exclusive.ts';
import type { LayerSet } from './layer-set.ts';
import { History } from './history.ts';
import type { MergeProgress } from './merger.ts';
import type { SnapshotView } from './snapshot-view.ts';
import type { PageRange } from './changed-pages.ts';
import type { SpaceReport } from './space.ts';
import type { SnapshotAttempt, Snapshots, SnapshotInfo } from './snapshots.ts';
import { Commands } from './commands.ts';
import { Flusher } from './flusher.ts';
import { defaultTuning, pageBytes, recordDataBytes, unitBytes, type Tuning } from './limits.ts';
import { Marks } from './marks.ts';
import type { PageIndex } from './page-index.ts';
import { QuietTimer } from './quiet-timer.ts';
import { Reader } from './reader.ts';
import type { Hold, SuperblockFile } from './superblock.ts';
import { createVolumeFiles, volumePaths, type WantedGeometry } from './volume-files.ts';
import { beginEpoch, closeVolume, openVolume, stamp, unreadable, type VolumeParts } from './volume-opening.ts';
import { Health } from './health.ts';
import { VolumeChanges } from './volume-changes.ts';
import { Spans } from './spans.ts';
import { gather, type VolumeStatistics } from './volume-statistics.ts';
import { VolumeUsageError } from './volume-fault.ts';
import { Wal } from './wal.ts';
import { recordType } from './wal-record.ts';
import { Writer } from './writer.ts';

/**
 * A volume: the log, the dirty map, the layer and the flusher put together. One instance a directory; the caller holds the lock on what lies above.
 *
 * Life: open → serving → closing → closed; faulted beside it: a volume whose medium failed answers reads and refuses the rest.
 */
export class Volume implements BlockDevice {
	readonly uuid: string;
	readonly blockSize: 512 | 4096;
	readonly atomicBytesMax: number;
	readonly #commands: Commands;
	readonly #tuning: Tuning;
	readonly #superblock: SuperblockFile;
	readonly #index: PageIndex;
	readonly #layers: LayerSet;
	readonly #snapshots: Snapshots;
	readonly #history: History;
	readonly #wal: Wal;
	readonly #reader: Reader;
	readonly #writer: Writer;
	readonly #flusher: Flusher;
	readonly #marks: Marks;
	readonly #changes: VolumeChanges;
	readonly #health: Health;
	readonly #resizeListeners = new Set<() => void>();
	readonly #restoreListeners = new Set<() => void>();
	readonly #replayedRecords: number;
	#sizeBytes: number;
	#closed: Promise<void> | undefined;
	#begun: Promise<void> = Promise.resolve();
	#checkpointLSN: number;
	readonly #quiet: QuietTimer;
	/** At the start, too: what replay found in the layer may be in the kernel only. */
	#directUnsynced = true;

	/** Makes the files of an empty volume, durable with their names. Rejects with VolumeUsageError for an impossible geometry, or with the kernel's error. */
	static create(disk: Disk, directory: string, wanted: WantedGeometry): Promise<void> {
		return createVolumeFiles(disk, directory, wanted);
	}

	/**
	 * Opens a volume: replays the log unless the last stop was clean. Rejects with VolumeFault when what is there cannot be believed or read. `forceCheck` scans the page
	 * map against its digest even after a clean stop.
	 */
	static async open(
		disk: Disk,
		directory: string,
		options: { log: Logger; forceCheck?: boolean; tuning?: Partial<Tuning> },
	): Promise<Volume> {
		const tuning = { ...defaultTuning, ...options.tuning };
		const parts = await openVolume(disk, directory, tuning, options.forceCheck === true);
		const volume = new Volume(disk, directory, parts, tuning, options.log);
		volume.#begun = beginEpoch(parts, () => volume.#wal.begun()).then(
			() => volume.#history.begin(),
			(error: unknown) => volume.#health.fail('the superblock could not be written', error),
		);
		try {
			await volume.#wal.segments.adopt(parts.replayed.tailLSN, parts.wasClean);
		} catch (error) {
			await volume.#begun;
			await volume.#wal.close();
			await closeVolume(parts);
			throw unreadable(error);
		}
		volume.#wal.segments.prepareSpare();
		if (parts.replayed.records > 0) volume.#quiet.stir();
		return volume;
	}

	private constructor(disk: Disk, directory: string, { superblock, layers, index, replayed }: VolumeParts, tuning: Tuning, log: Logger) {
		const { geometry, checkpointLSN, walGeneration, holds } = superblock.current;
		this.uuid = geometry.uuid;
		this.blockSize = geometry.blockSize;
		const recordBytes = recordDataBytes(geometry);
		this.atomicBytesMax = Math.min(recordBytes, tuning.overwriteBytesMin - pageBytes);
		this.#sizeBytes = geometry.sizeBytes;
		this.#checkpointLSN = checkpointLSN;
		this.#superblock = superblock;
		this.#tuning = tuning;
		this.#replayedRecords = replayed.records;
		this.#index = index;
		this.#layers = layers;
		this.#quiet = new QuietTimer(tuning.flushIdleMs, () => void this.#becomeQuiet());
		const start = { stamp: { walGeneration, epoch: replayed.epoch + 1 }, tailLSN: replayed.tailLSN, checkpointLSN, holds: [...holds] };
		this.#health = new Health(geometry.uuid, log, tuning.noSpaceRetryMs, {
			failed: (fault) => this.#failed(fault),
			becameFull: () => {
				this.#writer.refuse();
				// What stood behind the refused writes may have room: zeros, which make more. Those that have none are refused, too.
				this.#wake();
			},
			retry: () => this.#retryWhenFull(),
		});
		this.#wal = new Wal(disk, volumePaths(directory).wal, geometry.segmentBytes, tuning, start, {
			batchWritten: (batch) => this.#batchWritten(batch),
			walFailed: (reason, cause) => this.#health.fail(reason, cause),
			walOutOfSpace: () => this.#walOutOfSpace(),
			walHasRoom: () => this.#wake(),
			beforeSync: () => this.#beforeSync(),
			needsSync: () => this.#directUnsynced,
			holdBroken: (hold) =>
				log.warn(
					{ hold: hold.name, budgetBytes: hold.budgetBytes },
					'a hold on the write-ahead log cost more than its budget and was let go',
				),
		});
		const spans = new Spans();
		this.#marks = new Marks(superblock.current.marks, geometry.sizeBytes, tuning.markAfterWrites);
		this.#reader = new Reader(this.#index, this.#wal, spans, layers.pool);
		const sizes = { recordBytes, segmentBytes: geometry.segmentBytes };
		this.#writer = new Writer(this.#index, this.#wal, this.#reader, this.#marks, spans, tuning, sizes, {
			layerWritten: () => {
				this.#directUnsynced = true;
			},
			writeMarks: (marks) => superblock.update({ marks }),
			commandEnded: (command) => this.#commands.commandEnded(command),
			needsFlush: () => this.#flusher.kick(),
			writeFailed: (reason, cause) => this.#health.fail(reason, cause),
			outOfSpace: () => this.#health.noSpace(),
			isFull: () => this.#health.isFull,
			// A restore may have made the volume smaller while a command waited.
			refusalOf: ({ isZero, offsetBytes, lengthBytes }) =>
				this.#health.refusalOf(isZero) ?? (offsetBytes + lengthBytes > this.#sizeBytes ? 'outOfRange' : undefined),
		});
		const exclusive = new Exclusive();
		this.#flusher = new Flusher(this.#index, this.#wal, superblock, exclusive, this.#marks, tuning, geometry.segmentBytes, {
			flushed: () => this.#flushed(),
			outOfSpace: () => this.#health.noSpace(),
			flushFailed: (reason, cause) => this.#health.fail(reason, cause),
			layerComplete: (pending, snapshot) => this.#snapshots.layerComplete(pending, snapshot),
		});
		const sides = { index, wal: this.#wal, reader: this.#reader, writer: this.#writer };
		this.#commands = new Commands(
			sides,
			{ blockSize: geometry.blockSize, recordBytes },
			{
				sizeBytes: () => this.#sizeBytes,
				isClosing: () => this.#health.isClosing,
				refusalOf: (isZero) => this.#health.refusalOf(isZero),
			},
		);
		this.#changes = new VolumeChanges(superblock, this.#wal, this.#marks, {
			mustServe: () => this.#health.mustServe(),
			sizeBytes: () => this.#sizeBytes,
			resized: (sizeBytes) => this.#resized(sizeBytes),
			failed: (reason, cause) => this.#health.fail(reason, cause),
		});
		const parts = {
			index,
			wal: this.#wal,
			flusher: this.#flusher,
			layers,
			marks: this.#marks,
			spans,
			exclusive,
			log,
			writer: this.#writer,
			superblock,
		};
		this.#history = new History(parts, geometry, tuning, {
			sizeBytes: () => this.#sizeBytes,
			mustServe: () => this.#health.mustServe(),
			isFull: () => this.#health.isFull,
			restored: (sizeBytes) => this.#restored(sizeBytes),
			mergeFailed: (reason, cause) => this.#health.fail(reason, cause),
		});
		this.#snapshots = this.#history.snapshots;
	}

	get sizeBytes(): number {
		return this.#sizeBytes;
	}

	get fault(): string | undefined {
		return this.#health.fault;
	}

	/** True while the file system below is full: writes get noSpace until a flush finds room again. */
	get isFull(): boolean {
		return this.#health.isFull;
	}

	tryRead(offsetBytes: number, target: Uint8Array): Outcome | undefined {
		return this.#commands.tryRead(offsetBytes, target);
	}

	read(offsetBytes: number, target: Uint8Array, completion: Completion): void {
		this.#commands.read(offsetBytes, target, completion);
	}

	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void {
		this.#commands.write(offsetBytes, data, fua, completion);
	}

	compareAndWrite(offsetBytes: number, expected: Uint8Array, data: Uint8Array, fua: boolean, completion: CompareCompletion): void {
		this.#commands.compareAndWrite(offsetBytes, expected, data, fua, completion);
	}

	zero(offsetBytes: number, lengthBytes: number, fua: boolean, completion: Completion): void {
		this.#commands.zero(offsetBytes, lengthBytes, fua, completion);
	}

	flush(completion: Completion): void {
		this.#commands.flush(completion);
	}

	allocation(offsetBytes: number, extentsMax: number): Promise<Allocation> {
		return this.#commands.allocation(offsetBytes, extentsMax);
	}

	onResize(listener: () => void): () => void {
		this.#resizeListeners.add(listener);
		return () => this.#resizeListeners.delete(listener);
	}

	/** Calls the listener after each restore: everything that initiators know of the content may be wrong. Returns the function that ends it. */
	onRestore(listener: () => void): () => void {
		this.#restoreListeners.add(listener);
		return () => this.#restoreListeners.delete(listener);
	}

	/** Grows the volume, durably; rejects with VolumeUsageError for a size that is smaller or impossible. */
	resize(sizeBytes: number): Promise<void> {
		return this.#changes.resize(sizeBytes);
	}

	/**
	 * Makes a snapshot of what is acknowledged now, whatever of it is still in the log: no flush, no stall. Resolves when it is durable. Rejects with VolumeUsageError for a
	 * name that is taken or impossible and at the limit, with VolumeFault when the log fails.
	 */
	createSnapshot(name: string): Promise<SnapshotInfo> {
		return this.#during(() => this.#snapshots.create(name));
	}

	/** Oldest first. */
	snapshots(): SnapshotInfo[] {
		return this.#snapshots.list();
	}

	/**
	 * Puts the volume back to what a snapshot holds, its size included. All snapshots stay; what was live becomes another one, `keepLiveAs`, or is given up. Writes wait
	 * meanwhile, for about a flush. Rejects with VolumeUsageError for names that are not there, taken or impossible, and while the file system is full.
	 */
	restoreSnapshot(name: string, { keepLiveAs }: { keepLiveAs?: string } = {}): Promise<void> {
		return this.#during(() => this.#changes.alone(() => this.#history.restore(name, keepLiveAs)));
	}

	/**
	 * Takes a snapshot's name away, durably. What no other snapshot needs is merged or removed in the background (merge, statistics()); after a crash that goes on. Rejects
	 * with VolumeUsageError for a name that is not there.
	 */
	deleteSnapshot(name: string): Promise<void> {
		return this.#during(() => this.#history.delete(name));
	}

	/** How far the merge of a deleted snapshot is; undefined when there is none. */
	get merge(): MergeProgress | undefined {
		return this.#history.merger.progress;
	}

	/** Resolves when no merge is under way. */
	merged(): Promise<void> {
		return this.#history.merger.idle();
	}

	/**
	 * Makes a volume of its own, with another UUID, that begins with what a snapshot of `from` holds: nothing is copied, both share files until one of them is gone, in either
	 * order. The directory's parent must be on the same file system. Rejects with VolumeUsageError as createSnapshot does, or with the kernel's error; then the directory holds no
	 * volume and may be removed.
	 */
	static clone(disk: Disk, from: Volume, snapshotName: string, directory: string, uuid: string): Promise<void> {
		return from.#during(() => from.#history.clone(disk, snapshotName, directory, uuid));
	}

	/**
	 * Pages that differ between two snapshots, or between one and what is live now (`to` left out): ranges, ascending; perhaps with some that do not differ. While it is walked,
	 * the layers that it reads stay. Rejects with VolumeUsageError for a name that is not there.
	 */
	diff(from: string, to?: string): AsyncGenerator<PageRange> {
		return this.#history.diff(from, to, (work) => this.#during(work));
	}

	/** Counts the pages that the volume and each snapshot show and hold; reads all page maps. */
	space(): Promise<SpaceReport> {
		return this.#during(() => this.#history.space());
	}

	/** For createGroupSnapshot. */
	attemptSnapshot<T>(name: string, work: (attempt: SnapshotAttempt) => Promise<T>): Promise<T> {
		return this.#during(() => this.#snapshots.attempt(name, work));
	}

	/** Has a clone stand on its own: what it shares is copied in the background (merge). No change for a volume that shares nothing. */
	flatten(): Promise<void> {
		return this.#during(() => this.#history.flatten());
	}

	/** What a snapshot holds, to be read; close() it. Waits until its layer is complete. Rejects with VolumeUsageError for a name that is not there. */
	openSnapshot(name: string): Promise<SnapshotView> {
		return this.#during(() => this.#history.open(name));
	}

	/** Keeps the log from an LSN on; survives restarts. Rejects with VolumeUsageError at the limit or for an LSN that is gone, with VolumeFault when it cannot be written. */
	holdLog(hold: Hold): Promise<void> {
		return this.#changes.hold(hold);
	}

	/** The segments are free once it is durable that nobody holds them. */
	releaseLog(name: string): Promise<void> {
		return this.#changes.release(name);
	}

	/** Has the flusher carry what is dirty now into the layer. */
	async flushToLayers(): Promise<void> {
		await this.#flusher.flush();
	}

	/** Disk space of layer data and maps; the log comes on top. */
	async allocatedBytes(): Promise<number> {
		if (this.#health.isClosing) throw new VolumeUsageError('the volume is being closed');
		const all = [...this.#index.openLayers, ...this.#layers.all()];
		const sizes = await Promise.all(all.map((layer) => layer.allocatedBytes()));
		return sizes.reduce((sum, bytes) => sum + bytes, 0);
	}

	statistics(): VolumeStatistics {
		return {
			...this.#commands.counts,
			...gather(this.#index, this.#wal, this.#reader, this.#writer, this.#flusher),
			sizeBytes: this.#sizeBytes,
			walBytes: (this.#wal.tailLSN - this.#checkpointLSN) * unitBytes,
			replayedRecords: this.#replayedRecords,
		};
	}

	/**
	 * Ends in good order: takes no more commands, finishes those that run, flushes, and stamps the superblock so that the next opening scans nothing. A volume that is
	 * faulted or full closes without the stamp; the log has what it needs.
	 */
	close(): Promise<void> {
		this.#closed ??= this.#close();
		return this.#closed;
	}

	async #close(): Promise<void> {
		this.#health.isClosing = true;
		this.#quiet.stop();
		this.#writer.refuse();
		this.#history.refuse('the volume is being closed');
		await this.#commands.running.idle();
		await this.#history.close();
		await this.#begun;
		await this.#changes.idle();
		while (this.#health.fault === undefined && !this.#health.isFull && !this.#index.isClean) await this.#flusher.flush();
		await this.#flusher.flush();
		try {
			if (this.#health.fault === undefined && this.#index.isClean)
				await stamp({ superblock: this.#superblock, layers: this.#layers, index: this.#index }, this.#wal.tailLSN, this.#sizeBytes);
		} catch (error) {
			this.#health.fail('the clean-shutdown stamp could not be written', error);
		}
		this.#flusher.stop();
		await this.#wal.close();
		await closeVolume({ layers: this.#layers, index: this.#index, superblock: this.#superblock });
	}

	/** Forgets everything at once, as the death of the process would; for tests of recovery. Files stay open. */
	abandon(): void {
		this.#closed = Promise.resolve();
		this.#health.isClosing = true;
		this.#quiet.stop();
		this.#history.merger.halt();
		this.#flusher.stop();
		this.#writer.stop();
		this.#wal.stop();
	}

	/** Work that close() waits for. */
	async #during<T>(work: () => Promise<T>): Promise<T> {
		this.#health.mustServe();
		this.#commands.running.begin();
		try {
			return await work();
		} finally {
			this.#commands.running.end();
		}
	}

	#restored(sizeBytes: number): void {
		this.#checkpointLSN = this.#superblock.current.checkpointLSN;
		const isResized = sizeBytes !== this.#sizeBytes;
		this.#sizeBytes = sizeBytes;
		if (isResized) this.#resized(sizeBytes);
		for (const listener of this.#restoreListeners) listener();
	}

	#resized(sizeBytes: number): void {
		this.#sizeBytes = sizeBytes;
		for (const listener of this.#resizeListeners) listener();
	}

	#batchWritten(batch: AppendBatch): void {
		for (let index = 0; index < batch.records; index++) {
			const record = batch.record(index);
			if (record.type === recordType.direct) this.#directUnsynced = true;
			if (record.type === recordType.snapshot) this.#snapshots.cut();
			else this.#index.install(record, batch.staging);
		}
		this.#quiet.stir();
		for (let index = 0; index < batch.records; index++) batch.record(index).owner?.recordInstalled();
		const behindBytes = (this.#wal.installedLSN - this.#checkpointLSN) * unitBytes;
		const isDue = behindBytes >= this.#tuning.flushStartBytes || this.#index.active.directPages >= this.#tuning.flushStartDirectPages;
		if (isDue && !this.#flusher.isRunning && !this.#health.isFull) this.#flusher.kick();
	}

	/** The data of direct records goes to stable storage before the log that tells of it. */
	#beforeSync(): Promise<unknown> | undefined {
		if (!this.#directUnsynced) return undefined;
		this.#directUnsynced = false;
		return Promise.all(this.#index.openLayers.map((layer) => layer.syncData()));
	}

	#flushed(): void {
		this.#checkpointLSN = this.#superblock.current.checkpointLSN;
		this.#history.flushed();
		this.#health.foundRoom();
		this.#wake();
	}

	/** There may be room: for writes, and for a snapshot's record. */
	#wake(): void {
		this.#writer.serve();
		this.#snapshots.wake();
	}

	/** No further segment can be made. That is no harm while the flusher can free one, or while nobody needs one. */
	#walOutOfSpace(): void {
		if (this.#writer.waiting === 0) return;
		if (this.#index.isClean && !this.#flusher.isRunning) this.#health.noSpace();
		else this.#flusher.kick();
	}

	/** A burst has passed: flush it, and have as much log at hand as the next one is given. */
	async #becomeQuiet(): Promise<void> {
		await this.#flusher.flush();
		if (this.#index.isClean && !this.#health.isClosing && this.#health.fault === undefined)
			this.#wal.segments.keep(this.#tuning.walSegmentsQuiet);
	}

	#retryWhenFull(): void {
		if (!this.#index.isClean) {
			this.#flusher.kick();
			return;
		}
		this.#flushed();
		this.#wal.segments.prepareSpare();
	}

	#failed(fault: string): void {
		this.#quiet.stop();
		this.#flusher.stop();
		this.#wal.fail();
		this.#writer.refuse();
		this.#history.refuse(fault);
	}
}
