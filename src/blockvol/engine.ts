import type { Disk } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import type { AppendBatch } from './append-batch.ts';
import { DirectShare, directTally } from './direct-tally.ts';
import { Exclusive } from './exclusive.ts';
import type { LayerSet } from './layer-set.ts';
import { History } from './history.ts';
import type { Snapshots } from './snapshots.ts';
import { Commands } from './commands.ts';
import { Flusher } from './flusher.ts';
import { defaultTuning, pageBytes, recordDataBytes, unitBytes, type Geometry, type Tuning } from './limits.ts';
import { Marks } from './marks.ts';
import type { PageIndex } from './page-index.ts';
import { isChecksum } from './page-map.ts';
import { QuietTimer } from './quiet-timer.ts';
import { Quota } from './quota.ts';
import { Reader } from './reader.ts';
import { RecordClock } from './record-clock.ts';
import type { RemoteOpener } from './remote-pages.ts';
import type { SuperblockFile } from './superblock.ts';
import { volumePaths } from './volume-files.ts';
import { beginEpoch, closeVolume, openVolume, stamp, unreadable, type VolumeParts } from './volume-opening.ts';
import { Health } from './health.ts';
import { VolumeChanges } from './volume-changes.ts';
import { Spans } from './spans.ts';
import { Timeline, type HistoryEvent } from './timeline.ts';
import { blocksPerBit } from './below-index.ts';
import { VolumeUsageError } from './volume-fault.ts';
import { Wal } from './wal.ts';
import { recordType } from './wal-record.ts';
import { Writer } from './writer.ts';

/** What an opening may be told. */
export interface OpenOptions {
	log: Logger;
	forceCheck?: boolean;
	tuning?: Partial<Tuning>;
	/** The time of day in milliseconds since 1970, UTC: what a history goes by. */
	now?: () => number;
	/** Told now and then which share of the log is replayed, 0 to 1. */
	replaying?: (share: number) => void;
	/** Where a volume that is being restored finds the pages that it lacks (lazy-volume.ts). */
	remote?: RemoteOpener | undefined;
}

/**
 * The parts of a volume, put together: the log, the dirty map, the layers and the flusher, what each tells the others, and how they start and end together. What may be asked of
 * a volume is in volume.ts.
 */
export class Engine {
	readonly geometry: Geometry;
	readonly atomicBytesMax: number;
	readonly commands: Commands;
	readonly superblock: SuperblockFile;
	readonly index: PageIndex;
	readonly layers: LayerSet;
	readonly snapshots: Snapshots;
	readonly history: History;
	readonly timeline: Timeline;
	readonly wal: Wal;
	readonly reader: Reader;
	readonly writer: Writer;
	readonly flusher: Flusher;
	readonly changes: VolumeChanges;
	readonly health: Health;
	readonly quota: Quota;
	readonly resizeListeners = new Set<() => void>();
	readonly historyListeners = new Set<(event: HistoryEvent) => void>();
	readonly replayedRecords: number;
	readonly #tuning: Tuning;
	readonly #marks: Marks;
	readonly #quiet: QuietTimer;
	readonly #direct: DirectShare;
	sizeBytes: number;
	checkpointLSN: number;
	#closed: Promise<void> | undefined;
	/** The history gave up space while the flusher was at work. */
	#roomInCycle = false;
	#begun: Promise<void> = Promise.resolve();
	/** At the start, too: what replay found in the layer may be in the kernel only. */
	#directUnsynced = true;

	/** Volume.open. */
	static async open(disk: Disk, directory: string, options: OpenOptions): Promise<Engine> {
		const tuning = { ...defaultTuning, ...options.tuning };
		const parts = await openVolume(disk, directory, tuning, options.forceCheck === true, options);
		const engine = new Engine(disk, directory, parts, tuning, options);
		engine.#begun = beginEpoch(parts, () => engine.wal.begun()).then(
			() => engine.history.begin(),
			(error: unknown) => engine.health.fail('the superblock could not be written', error),
		);
		try {
			await engine.wal.segments.adopt(parts.replayed.tailLSN, parts.wasClean);
		} catch (error) {
			await engine.#begun;
			await engine.wal.close();
			await closeVolume(parts);
			throw unreadable(error);
		}
		engine.wal.segments.prepareSpare();
		void engine.#begun.then(() => engine.timeline.begin());
		if (parts.replayed.records > 0) engine.#quiet.stir();
		return engine;
	}

	private constructor(
		disk: Disk,
		directory: string,
		{ superblock, layers, index, replayed }: VolumeParts,
		tuning: Tuning,
		{ log, now = Date.now }: OpenOptions,
	) {
		const { geometry, checkpointLSN, walGeneration, holds } = superblock.current;
		this.geometry = geometry;
		const recordBytes = recordDataBytes(geometry);
		this.atomicBytesMax = Math.min(recordBytes, tuning.overwriteBytesMin - pageBytes);
		this.sizeBytes = geometry.sizeBytes;
		this.checkpointLSN = checkpointLSN;
		this.superblock = superblock;
		this.#tuning = tuning;
		this.replayedRecords = replayed.records;
		this.index = index;
		this.layers = layers;
		this.#direct = new DirectShare(directTally, tuning);
		this.#quiet = new QuietTimer(tuning.flushIdleMs, () => void this.#becomeQuiet());
		const start = { stamp: { walGeneration, epoch: replayed.epoch + 1 }, tailLSN: replayed.tailLSN, checkpointLSN, holds: [...holds] };
		this.health = new Health(geometry.uuid, log, tuning.noSpaceRetryMs, {
			failed: (fault) => this.#failed(fault),
			becameFull: () => {
				this.writer.refuse();
				// What stood behind the refused writes may have room: zeros, which make more. Those that have none are refused, too.
				this.#wake();
			},
			retry: () => this.#retryWhenFull(),
		});
		this.wal = new Wal(disk, volumePaths(directory).wal, geometry.segmentBytes, tuning, start, {
			batchWritten: (batch) => this.#batchWritten(batch),
			walFailed: (reason, cause) => this.health.fail(reason, cause),
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
		this.reader = new Reader(this.index, this.wal, spans, layers.pool);
		this.quota = new Quota(tuning.noSpaceRetryMs, {
			flush: () => this.#flushAll(spans),
			allocatedBytes: () => this.allocatedBytes(),
			// What was written since the last snapshot, and is in the live layer or will be. While one is on its way, what is written now may be after it.
			hasPlace: (page) => spans.suspensions === 0 && (isChecksum(index.layer.map.entry(page)) || index.active.find(page) >= 0),
			counted: () => this.#wake(),
			failed: (reason, cause) => this.health.fail(reason, cause),
		});
		const sizes = { recordBytes, segmentBytes: geometry.segmentBytes };
		this.writer = new Writer(this.index, this.wal, this.reader, this.#marks, spans, tuning, sizes, {
			layerWritten: () => {
				this.#directUnsynced = true;
			},
			writeMarks: (marks) => superblock.update({ marks }),
			commandEnded: (command) => this.commands.commandEnded(command),
			needsFlush: () => this.flusher.kick(),
			writeFailed: (reason, cause) => this.health.fail(reason, cause),
			outOfSpace: () => this.health.noSpace(),
			isFull: () => this.health.isFull,
			quota: this.quota,
			// A restore may have made the volume smaller while a command waited.
			refusalOf: ({ isZero, offsetBytes, lengthBytes }) =>
				this.health.refusalOf(isZero) ?? (offsetBytes + lengthBytes > this.sizeBytes ? 'outOfRange' : undefined),
		});
		const exclusive = new Exclusive();
		this.flusher = new Flusher(this.index, this.wal, superblock, exclusive, this.#marks, tuning, geometry.segmentBytes, layers.pool, {
			flushed: () => this.#flushed(),
			outOfSpace: () => this.#noSpace(),
			flushFailed: (reason, cause) => this.health.fail(reason, cause),
			layersComplete: (batch) => this.snapshots.layersComplete(batch),
		});
		const sides = { index, wal: this.wal, reader: this.reader, writer: this.writer };
		this.commands = new Commands(
			sides,
			{ blockSize: geometry.blockSize, recordBytes },
			{
				sizeBytes: () => this.sizeBytes,
				isClosing: () => this.health.isClosing,
				refusalOf: (isZero) => this.health.refusalOf(isZero),
			},
		);
		this.changes = new VolumeChanges(superblock, this.wal, this.#marks, {
			mustServe: () => this.health.mustServe(),
			sizeBytes: () => this.sizeBytes,
			resized: (sizeBytes) => this.#resized(sizeBytes),
			failed: (reason, cause) => this.health.fail(reason, cause),
		});
		const parts = {
			index,
			wal: this.wal,
			flusher: this.flusher,
			layers,
			marks: this.#marks,
			spans,
			exclusive,
			log,
			writer: this.writer,
			superblock,
		};
		this.history = new History(parts, geometry, tuning, {
			sizeBytes: () => this.sizeBytes,
			mustServe: () => this.health.mustServe(),
			isFull: () => this.health.isFull,
			anchor: () => this.timeline.restoring(),
			restored: (sizeBytes) => this.#restored(sizeBytes),
			mergeFailed: (reason, cause) => this.health.fail(reason, cause),
		});
		this.snapshots = this.history.snapshots;
		this.timeline = new Timeline(
			{
				uuid: geometry.uuid,
				disk,
				directory: volumePaths(directory).wal,
				segmentBytes: geometry.segmentBytes,
				walGeneration,
				wal: this.wal,
				layers,
				tuning,
				blocksPerBit: blocksPerBit(geometry.sizeBytes),
				history: this.history,
				changes: this.changes,
				spans,
				superblock,
				clock: new RecordClock(now),
				log,
			},
			{
				sizeBytes: () => this.sizeBytes,
				isFull: () => this.health.isFull,
				gaveWay: () => this.#gaveWay(),
				event: (event) => {
					for (const listener of this.historyListeners) listener(event);
				},
			},
		);
	}

	/** Has everything that was begun until now carried into the layers, whatever of it is on its way to the log or straight to the layer. */
	async #flushAll(spans: Spans): Promise<void> {
		spans.suspensions++;
		try {
			await spans.whenEmpty();
		} finally {
			spans.suspensions--;
		}
		const { tailLSN } = this.wal;
		while (this.wal.installedLSN < tailLSN) {
			this.health.mustServe();
			await this.snapshots.woken();
		}
		await this.flusher.flush();
		if (this.superblock.current.checkpointLSN < tailLSN) throw new VolumeUsageError('the volume could not be flushed');
	}

	/** Volume.allocatedBytes. */
	async allocatedBytes(): Promise<number> {
		if (this.health.isClosing) throw new VolumeUsageError('the volume is being closed');
		const all = [...this.index.openLayers, ...this.layers.all()];
		const sizes = await Promise.all(all.map((layer) => layer.allocatedBytes()));
		return sizes.reduce((sum, bytes) => sum + bytes, 0);
	}

	/** Volume.close. */
	close(): Promise<void> {
		this.#closed ??= this.#close();
		return this.#closed;
	}

	async #close(): Promise<void> {
		this.health.isClosing = true;
		this.#quiet.stop();
		this.writer.refuse();
		this.timeline.halt();
		this.history.refuse('the volume is being closed');
		this.history.endFetches();
		await this.commands.running.idle();
		await this.timeline.stop();
		await this.history.close();
		await this.#begun;
		await this.changes.idle();
		while (this.health.fault === undefined && !this.health.isFull && !this.index.isClean) await this.flusher.flush();
		await this.flusher.flush();
		await this.flusher.idle();
		try {
			if (this.health.fault === undefined && this.index.isClean)
				await stamp({ superblock: this.superblock, layers: this.layers, index: this.index }, this.wal.tailLSN, this.sizeBytes);
		} catch (error) {
			this.health.fail('the clean-shutdown stamp could not be written', error);
		}
		this.flusher.stop();
		this.#direct.close();
		await this.wal.close();
		await closeVolume({ layers: this.layers, index: this.index, superblock: this.superblock });
	}

	/** Volume.abandon. */
	abandon(): void {
		this.#closed = Promise.resolve();
		this.health.isClosing = true;
		this.#quiet.stop();
		this.timeline.halt();
		this.history.halt();
		this.flusher.stop();
		this.#direct.close();
		this.writer.stop();
		this.wal.stop();
	}

	/** Work that close() waits for. */
	async during<T>(work: () => Promise<T>): Promise<T> {
		this.health.mustServe();
		this.commands.running.begin();
		try {
			return await work();
		} finally {
			this.commands.running.end();
		}
	}

	#restored(sizeBytes: number): void {
		this.checkpointLSN = this.superblock.current.checkpointLSN;
		const isResized = sizeBytes !== this.sizeBytes;
		this.sizeBytes = sizeBytes;
		this.timeline.restored();
		if (isResized) this.#resized(sizeBytes);
	}

	#resized(sizeBytes: number): void {
		this.sizeBytes = sizeBytes;
		for (const listener of this.resizeListeners) listener();
	}

	#batchWritten(batch: AppendBatch): void {
		let hasCut = false;
		for (let index = 0; index < batch.records; index++) {
			const record = batch.record(index);
			if (record.type === recordType.direct) this.#directUnsynced = true;
			if (record.type === recordType.snapshot) {
				this.snapshots.cut();
				hasCut = true;
			} else this.index.install(record, batch.staging);
		}
		if (hasCut) this.snapshots.batchInstalled();
		this.#quiet.stir();
		for (let index = 0; index < batch.records; index++) batch.record(index).owner?.recordInstalled();
		this.timeline.wrote(this.wal.installedLSN);
		const behindBytes = (this.wal.installedLSN - this.checkpointLSN) * unitBytes;
		const isDirectDue = this.#direct.isDue(this.index.active, this.#marks.isRewriting);
		const isDue = isDirectDue || behindBytes >= this.#tuning.flushStartBytes;
		if (isDue && !this.flusher.isRunning && !this.health.isFull) this.flusher.kick();
	}

	/** The data of direct records goes to stable storage before the log that tells of it. */
	#beforeSync(): Promise<unknown> | undefined {
		if (!this.#directUnsynced) return undefined;
		this.#directUnsynced = false;
		return Promise.all(this.index.openLayers.filter(({ hasFiles }) => hasFiles).map((layer) => layer.syncData()));
	}

	#flushed(): void {
		this.#roomInCycle = false;
		this.#direct.flushed();
		this.checkpointLSN = this.superblock.current.checkpointLSN;
		this.history.flushed();
		this.health.foundRoom();
		this.#wake();
	}

	/** There may be room: for writes, and for a snapshot's record. */
	#wake(): void {
		this.writer.serve();
		this.snapshots.wake();
	}

	/** No further segment can be made. That is no harm while the flusher can free one, or while nobody needs one. */
	#walOutOfSpace(): void {
		if (this.writer.waiting === 0 && !this.snapshots.isWaiting) return;
		if (this.timeline.giveWay()) return;
		if (this.index.isClean && !this.flusher.isRunning) this.health.noSpace();
		else this.flusher.kick();
	}

	/** The flusher has found no space. */
	#noSpace(): void {
		// It may have found that before the history gave some: then it looks again.
		const isRoomNew = this.#roomInCycle;
		this.#roomInCycle = false;
		if (isRoomNew) void this.flusher.idle().then(() => this.flusher.kick());
		else if (!this.timeline.giveWay()) this.health.noSpace();
	}

	#gaveWay(): void {
		this.#roomInCycle = this.flusher.isRunning;
		this.flusher.kick();
		this.wal.segments.prepareSpare();
		this.#wake();
	}

	/** A burst has passed: flush it, and have as much log at hand as the next one is given. */
	async #becomeQuiet(): Promise<void> {
		await this.flusher.flush();
		if (this.index.isClean && !this.health.isClosing && this.health.fault === undefined)
			this.wal.segments.keep(this.#tuning.walSegmentsQuiet);
	}

	#retryWhenFull(): void {
		if (!this.index.isClean) {
			this.flusher.kick();
			return;
		}
		this.#flushed();
		this.wal.segments.prepareSpare();
	}

	#failed(fault: string): void {
		this.#quiet.stop();
		this.timeline.halt();
		this.flusher.stop();
		this.#direct.close();
		this.wal.fail();
		this.writer.refuse();
		this.history.refuse(fault);
		this.history.halt();
	}
}
