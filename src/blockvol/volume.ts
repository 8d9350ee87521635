import { errorCode, type Disk } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import type { AppendBatch } from './append-batch.ts';
import { allocationFrom } from './allocation.ts';
import {
	copiedBytesMax,
	later,
	writeBytesMax,
	type Allocation,
	type CompareCompletion,
	type BlockDevice,
	type Completion,
	type Outcome,
} from './block-device.ts';
import { Flusher } from './flusher.ts';
import { defaultTuning, pageBytes, recordDataBytes, sizeBytesFault, unitBytes, type Tuning } from './limits.ts';
import type { RunningDigest } from './map-digest.ts';
import { Marks } from './marks.ts';
import { PageIndex } from './page-index.ts';
import { QuietTimer } from './quiet-timer.ts';
import { Reader } from './reader.ts';
import type { Replayed } from './replay.ts';
import { RunningCount } from './running-count.ts';
import type { Hold, SuperblockFile } from './superblock.ts';
import { build, createVolumeFiles, digestOf, volumePaths, type WantedGeometry } from './volume-files.ts';
import { closeVolume, openVolume, unreadable, type VolumeParts } from './volume-opening.ts';
import { Spans } from './spans.ts';
import { gather, type VolumeStatistics } from './volume-statistics.ts';
import { VolumeFault, VolumeUsageError } from './volume-fault.ts';
import { Wal } from './wal.ts';
import { recordType } from './wal-record.ts';
import type { WriteCommand } from './write-command.ts';
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
	readonly #recordBytes: number;
	readonly #log: Logger;
	readonly #tuning: Tuning;
	readonly #superblock: SuperblockFile;
	readonly #digest: RunningDigest;
	readonly #index: PageIndex;
	readonly #wal: Wal;
	readonly #reader: Reader;
	readonly #writer: Writer;
	readonly #flusher: Flusher;
	readonly #marks: Marks;
	readonly #resizeListeners = new Set<() => void>();
	readonly #replayedRecords: number;
	#sizeBytes: number;
	#fault: string | undefined;
	#isFull = false;
	#isClosing = false;
	#closed: Promise<void> | undefined;
	readonly #running = new RunningCount();
	#checkpointLSN: number;
	readonly #quiet: QuietTimer;
	/** At the start, too: what replay found in the layer may be in the kernel only. */
	#directUnsynced = true;
	#resizing: Promise<void> = Promise.resolve();
	readonly #counts = { readCommands: 0, readBytes: 0, writeCommands: 0, writeBytes: 0, zeroCommands: 0, flushCommands: 0 };

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
		volume.#begin(parts.replayed);
		try {
			await volume.#wal.segments.adopt(parts.replayed.tailLSN, parts.wasClean);
		} catch (error) {
			await volume.#wal.close();
			await closeVolume(parts);
			throw unreadable(error);
		}
		volume.#wal.segments.prepareSpare();
		if (parts.replayed.records > 0) volume.#quiet.stir();
		return volume;
	}

	private constructor(disk: Disk, directory: string, { superblock, layer, digest, replayed }: VolumeParts, tuning: Tuning, log: Logger) {
		const { geometry, checkpointLSN, walGeneration, holds } = superblock.current;
		this.uuid = geometry.uuid;
		this.blockSize = geometry.blockSize;
		this.#recordBytes = recordDataBytes(geometry);
		this.atomicBytesMax = Math.min(this.#recordBytes, tuning.overwriteBytesMin - pageBytes);
		this.#sizeBytes = geometry.sizeBytes;
		this.#checkpointLSN = checkpointLSN;
		this.#superblock = superblock;
		this.#digest = digest;
		this.#tuning = tuning;
		this.#log = log;
		this.#replayedRecords = replayed.records;
		this.#index = new PageIndex(layer, replayed.generation);
		this.#quiet = new QuietTimer(tuning.flushIdleMs, () => void this.#becomeQuiet());
		const start = { stamp: { walGeneration, epoch: replayed.epoch + 1 }, tailLSN: replayed.tailLSN, checkpointLSN, holds: [...holds] };
		this.#wal = new Wal(disk, volumePaths(directory).wal, geometry.segmentBytes, tuning, start, {
			batchWritten: (batch) => this.#batchWritten(batch),
			walFailed: (reason, cause) => this.#fail(reason, cause),
			walOutOfSpace: () => this.#walOutOfSpace(),
			walHasRoom: () => this.#writer.serve(),
			beforeSync: () => this.#beforeSync(),
			needsSync: () => this.#directUnsynced,
			holdBroken: (hold) =>
				log.warn(
					{ hold: hold.name, budgetBytes: hold.budgetBytes },
					'a hold on the write-ahead log cost more than its budget and was let go',
				),
		});
		const spans = new Spans();
		this.#marks = new Marks(replayed.marks, geometry.sizeBytes, tuning.markAfterWrites);
		this.#reader = new Reader(this.#index, this.#wal, spans);
		const sizes = { recordBytes: this.#recordBytes, segmentBytes: geometry.segmentBytes };
		this.#writer = new Writer(this.#index, this.#wal, this.#reader, this.#marks, spans, tuning, sizes, {
			layerWritten: () => {
				this.#directUnsynced = true;
			},
			sizeBytes: () => this.#sizeBytes,
			commandEnded: (command) => this.#commandEnded(command),
			needsFlush: () => this.#flusher.kick(),
			writeFailed: (reason, cause) => this.#fail(reason, cause),
			outOfSpace: () => this.#outOfSpace(),
			isFull: () => this.#isFull,
			refusalOf: (command) => this.#refusalOf(command.isZero),
		});
		this.#flusher = new Flusher(this.#index, this.#wal, superblock, digest, this.#marks, tuning, geometry.segmentBytes, {
			flushed: () => this.#flushed(),
			outOfSpace: () => this.#outOfSpace(),
			flushFailed: (reason, cause) => this.#fail(reason, cause),
		});
	}

	get sizeBytes(): number {
		return this.#sizeBytes;
	}

	get fault(): string | undefined {
		return this.#fault;
	}

	/** True while the file system below is full: writes get noSpace until a flush finds room again. */
	get isFull(): boolean {
		return this.#isFull;
	}

	tryRead(offsetBytes: number, target: Uint8Array): Outcome | undefined {
		if (this.#isClosing) return 'closed';
		if (!this.#isInside(offsetBytes, target.length)) return 'outOfRange';
		const outcome = this.#reader.tryRead(offsetBytes, target);
		if (outcome !== undefined) {
			this.#counts.readCommands++;
			this.#counts.readBytes += target.length;
		}
		return outcome;
	}

	read(offsetBytes: number, target: Uint8Array, completion: Completion): void {
		if (this.#isClosing) return later(completion, 'closed');
		if (!this.#isInside(offsetBytes, target.length)) return later(completion, 'outOfRange');
		this.#counts.readCommands++;
		this.#counts.readBytes += target.length;
		this.#running.begin();
		void this.#reader.read(offsetBytes, target).then((outcome) => {
			this.#running.end();
			completion.complete(outcome);
		});
	}

	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void {
		if (data.length > writeBytesMax) throw new RangeError(`a write of ${data.length} bytes; at most ${writeBytesMax}`);
		this.#counts.writeCommands++;
		this.#counts.writeBytes += data.length;
		this.#submit(false, offsetBytes, data.length, data, fua, completion);
	}

	compareAndWrite(offsetBytes: number, expected: Uint8Array, data: Uint8Array, fua: boolean, completion: CompareCompletion): void {
		if (data.length > Math.min(copiedBytesMax, this.#recordBytes) || data.length !== expected.length)
			throw new RangeError(`a compareAndWrite of ${expected.length} and ${data.length} bytes`);
		this.#counts.writeCommands++;
		this.#counts.writeBytes += data.length;
		this.#submit(false, offsetBytes, data.length, data, fua, completion, expected);
	}

	zero(offsetBytes: number, lengthBytes: number, fua: boolean, completion: Completion): void {
		this.#counts.zeroCommands++;
		this.#submit(true, offsetBytes, lengthBytes, undefined, fua, completion);
	}

	flush(completion: Completion): void {
		this.#counts.flushCommands++;
		const refusal = this.#refusalOf(true);
		if (refusal !== undefined) return later(completion, refusal);
		this.#running.begin();
		const end = (outcome: Outcome): void => {
			this.#running.end();
			completion.complete(outcome);
		};
		queueMicrotask(() => this.#wal.sync({ synced: () => end('good'), syncFailed: () => end('faulted') }));
	}

	async allocation(offsetBytes: number, extentsMax: number): Promise<Allocation> {
		if (this.#isClosing) return { outcome: 'closed', extents: [] };
		if (!this.#isInside(offsetBytes, this.blockSize)) return { outcome: 'outOfRange', extents: [] };
		this.#running.begin();
		try {
			return await allocationFrom(this.#index, offsetBytes, this.#sizeBytes, extentsMax);
		} finally {
			this.#running.end();
		}
	}

	onResize(listener: () => void): () => void {
		this.#resizeListeners.add(listener);
		return () => this.#resizeListeners.delete(listener);
	}

	/** Grows the volume, durably; rejects with VolumeUsageError for a size that is smaller or impossible. */
	resize(sizeBytes: number): Promise<void> {
		this.#resizing = this.#resizing.catch(() => undefined).then(() => this.#resize(sizeBytes));
		return this.#resizing;
	}

	/** Keeps the log from an LSN on; survives restarts. Rejects with VolumeUsageError at the limit or for an LSN that is gone, with VolumeFault when it cannot be written. */
	async holdLog(hold: Hold): Promise<void> {
		this.#mustServe();
		this.#wal.segments.addHold(hold, this.#checkpointLSN);
		await this.#mustWrite({ holds: [...this.#wal.segments.holds] });
	}

	/** The segments are free once it is durable that nobody holds them. */
	async releaseLog(name: string): Promise<void> {
		this.#mustServe();
		this.#wal.segments.removeHold(name);
		await this.#mustWrite({ holds: [...this.#wal.segments.holds] });
		this.#wal.segments.recycle();
	}

	/** Has the flusher carry what is dirty now into the layer. */
	async flushToLayers(): Promise<void> {
		await this.#flusher.flush();
	}

	/** Disk space of layer data and maps; the log comes on top. */
	async allocatedBytes(): Promise<number> {
		if (this.#isClosing) throw new VolumeUsageError('the volume is being closed');
		return this.#index.layer.allocatedBytes();
	}

	statistics(): VolumeStatistics {
		return {
			...this.#counts,
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
		this.#isClosing = true;
		this.#quiet.stop();
		this.#writer.refuse();
		await this.#running.idle();
		await this.#resizing.catch(() => undefined);
		while (this.#fault === undefined && !this.#isFull && !this.#index.active.isEmpty) await this.#flusher.flush();
		await this.#flusher.flush();
		try {
			if (this.#fault === undefined && this.#index.active.isEmpty) await this.#stamp();
		} catch (error) {
			this.#fail('the clean-shutdown stamp could not be written', error);
		}
		this.#flusher.stop();
		await this.#wal.close();
		await closeVolume({ layer: this.#index.layer, superblock: this.#superblock });
	}

	/** Forgets everything at once, as the death of the process would; for tests of recovery. Files stay open. */
	abandon(): void {
		this.#closed = Promise.resolve();
		this.#isClosing = true;
		this.#quiet.stop();
		this.#flusher.stop();
		this.#writer.stop();
		this.#wal.stop();
	}

	/**
	 * Withdraws the stamp and raises the epoch: what stands behind the tail is of an older one, and stays so. The log writes nothing before that is durable; reads, and
	 * whoever waits for the volume to be there, need not wait for the disk.
	 */
	#begin({ epoch, tailLSN }: Replayed): void {
		this.#superblock.updateBoth({ epoch: epoch + 1, tailLSN, clean: false, build: build() }).then(
			() => this.#wal.begun(),
			(error: unknown) => this.#fail('the superblock could not be written', error),
		);
	}

	#mustServe(): void {
		if (this.#isClosing) throw new VolumeUsageError('the volume is being closed');
		if (this.#fault !== undefined) throw new VolumeUsageError(`the volume is faulted: ${this.#fault}`);
	}

	/** A superblock that cannot be written faults the volume: what is on the disk is unknown from then on. */
	async #mustWrite(changes: Parameters<SuperblockFile['update']>[0]): Promise<void> {
		try {
			await this.#superblock.updateBoth(changes);
		} catch (error) {
			this.#fail('the superblock could not be written', error);
			throw new VolumeFault(this.#fault ?? 'the superblock could not be written', { cause: error });
		}
	}

	async #stamp(): Promise<void> {
		let mapDigest = this.#digest.value;
		if (mapDigest === undefined) {
			// An unclean start made it unknown: count anew what the map holds.
			mapDigest = await digestOf(this.#index.layer, this.#sizeBytes);
		}
		await this.#superblock.update({ checkpointLSN: this.#wal.tailLSN, clean: true, mapDigest, marks: [] });
	}

	async #resize(sizeBytes: number): Promise<void> {
		const fault = sizeBytesFault(sizeBytes);
		if (fault !== undefined) throw new VolumeUsageError(fault);
		if (sizeBytes < this.#sizeBytes) {
			throw new VolumeUsageError(`a volume of ${this.#sizeBytes} bytes cannot shrink to ${sizeBytes}: what lies behind would be lost`);
		}
		this.#mustServe();
		if (sizeBytes === this.#sizeBytes) return;
		const { geometry } = this.#superblock.current;
		await this.#mustWrite({ geometry: { ...geometry, sizeBytes } });
		this.#sizeBytes = sizeBytes;
		this.#marks.grown(sizeBytes);
		for (const listener of this.#resizeListeners) listener();
	}

	#submit(
		isZero: boolean,
		offsetBytes: number,
		lengthBytes: number,
		data: Uint8Array | undefined,
		fua: boolean,
		completion: Completion | CompareCompletion,
		expected?: Uint8Array,
	): void {
		const refusal = this.#refusalOf(isZero);
		if (refusal !== undefined) return later(completion, refusal);
		if (!this.#isInside(offsetBytes, lengthBytes)) return later(completion, 'outOfRange');
		if (lengthBytes === 0) {
			if (fua) this.flush(completion);
			else later(completion, 'good');
			return;
		}
		const command = this.#writer.take();
		// The limit is above what all sessions together may have; a caller beyond it is told to come back like one that meets a full disk.
		if (command === undefined) return later(completion, 'noSpace');
		this.#running.begin();
		command.isZero = isZero;
		command.offsetBytes = offsetBytes;
		command.lengthBytes = lengthBytes;
		if (data !== undefined) command.data = data;
		command.fua = fua;
		command.completion = completion;
		if (expected !== undefined && 'miscompareOffset' in completion) {
			command.expected = expected;
			command.comparing = completion;
		}
		this.#writer.submit(command);
	}

	#commandEnded(command: WriteCommand): void {
		if (command.fua && command.outcome === 'good' && !command.isDurable) {
			this.#wal.sync(command);
			return;
		}
		const { completion, outcome } = command;
		this.#writer.give(command);
		this.#running.end();
		completion?.complete(outcome);
	}

	#batchWritten(batch: AppendBatch): void {
		const { active } = this.#index;
		for (let index = 0; index < batch.records; index++) {
			const record = batch.record(index);
			if (record.type === recordType.direct) this.#directUnsynced = true;
			this.#index.install(record, batch.staging);
		}
		this.#quiet.stir();
		for (let index = 0; index < batch.records; index++) batch.record(index).owner?.recordInstalled();
		const behindBytes = (this.#wal.installedLSN - this.#checkpointLSN) * unitBytes;
		const isDue = behindBytes >= this.#tuning.flushStartBytes || active.directPages >= this.#tuning.flushStartDirectPages;
		if (isDue && !this.#flusher.isRunning && !this.#isFull) this.#flusher.kick();
	}

	/** The data of direct records goes to stable storage before the log that tells of it. */
	#beforeSync(): Promise<void> | undefined {
		if (!this.#directUnsynced) return undefined;
		this.#directUnsynced = false;
		return this.#index.layer.syncData();
	}

	#flushed(): void {
		this.#checkpointLSN = this.#superblock.current.checkpointLSN;
		if (this.#isFull) {
			this.#isFull = false;
			this.#log.info({ volume: this.uuid }, 'the file system has room again: writes go on');
		}
		this.#writer.serve();
	}

	/** No further segment can be made. That is no harm while the flusher can free one, or while nobody needs one. */
	#walOutOfSpace(): void {
		if (this.#writer.waiting === 0) return;
		if (this.#index.active.isEmpty && !this.#flusher.isRunning) this.#outOfSpace();
		else this.#flusher.kick();
	}

	/** A burst has passed: flush it, and have as much log at hand as the next one is given. */
	async #becomeQuiet(): Promise<void> {
		await this.#flusher.flush();
		if (this.#index.active.isEmpty && !this.#isClosing && this.#fault === undefined) this.#wal.segments.keep(this.#tuning.walSegmentsQuiet);
	}

	#outOfSpace(): void {
		if (!this.#isFull) {
			this.#isFull = true;
			this.#log.error(
				{ volume: this.uuid },
				'the file system is full: writes are refused until somebody frees space; then they go on by themselves',
			);
		}
		this.#writer.refuse();
		// What stood behind the refused writes may have room: zeros, which make more. Those that have none are refused, too.
		this.#writer.serve();
		if (!this.#isClosing) setTimeout(() => this.#retryWhenFull(), this.#tuning.noSpaceRetryMs).unref();
	}

	#retryWhenFull(): void {
		if (!this.#isFull || this.#isClosing || this.#fault !== undefined) return;
		if (!this.#index.active.isEmpty) {
			this.#flusher.kick();
			return;
		}
		this.#flushed();
		this.#wal.segments.prepareSpare();
	}

	#fail(reason: string, cause: unknown): void {
		if (this.#fault !== undefined) return;
		const code = errorCode(cause);
		this.#fault = code === '' ? reason : `${reason} (${code})`;
		this.#log.error({ volume: this.uuid, err: cause }, `volume faulted: ${this.#fault}`);
		this.#quiet.stop();
		this.#flusher.stop();
		this.#wal.fail();
		this.#writer.refuse();
	}

	#refusalOf(isZero: boolean): Outcome | undefined {
		if (this.#isClosing) return 'closed';
		if (this.#fault !== undefined) return 'faulted';
		return this.#isFull && !isZero ? 'noSpace' : undefined;
	}

	#isInside(offsetBytes: number, lengthBytes: number): boolean {
		return offsetBytes >= 0 && offsetBytes + lengthBytes <= this.#sizeBytes;
	}
}
