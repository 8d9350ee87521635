import type { Disk } from '../os/disk.ts';
import type { Allocation, CompareCompletion, BlockDevice, Completion, Outcome } from './block-device.ts';
import type { MergeProgress } from './merger.ts';
import type { SnapshotView } from './snapshot-view.ts';
import type { PageRange } from './changed-pages.ts';
import type { RemoteProgress } from './remote-pages.ts';
import type { SpaceReport } from './space.ts';
import type { SnapshotAttempt, SnapshotInfo } from './snapshots.ts';
import type { Commands } from './commands.ts';
import { Engine, type OpenOptions } from './engine.ts';
import type { HistoryWindow } from './history-hold.ts';
import { unitBytes } from './limits.ts';
import type { Moment } from './rewinder.ts';
import type { HistoryEvent, HistoryReport } from './timeline.ts';
import type { Hold } from './superblock.ts';
import { createVolumeFiles, type WantedGeometry } from './volume-files.ts';
import { gather, type VolumeStatistics } from './volume-statistics.ts';

/**
 * A volume: the log, the dirty map, the layer and the flusher put together. One instance a directory; the caller holds the lock on what lies above.
 *
 * Life: open → serving → closing → closed; faulted beside it: a volume whose medium failed answers reads and refuses the rest.
 */
export class Volume implements BlockDevice {
	readonly uuid: string;
	readonly blockSize: 512 | 4096;
	readonly atomicBytesMax: number;
	readonly #engine: Engine;
	readonly #commands: Commands;

	/** Makes the files of an empty volume, durable with their names. Rejects with VolumeUsageError for an impossible geometry, or with the kernel's error. */
	static create(disk: Disk, directory: string, wanted: WantedGeometry): Promise<void> {
		return createVolumeFiles(disk, directory, wanted);
	}

	/**
	 * Opens a volume: replays the log unless the last stop was clean. Rejects with VolumeFault when what is there cannot be believed or read. `forceCheck` scans the page
	 * map against its digest even after a clean stop.
	 */
	static async open(disk: Disk, directory: string, options: OpenOptions): Promise<Volume> {
		return new Volume(await Engine.open(disk, directory, options));
	}

	private constructor(engine: Engine) {
		this.#engine = engine;
		this.#commands = engine.commands;
		const { geometry, atomicBytesMax } = engine;
		this.uuid = geometry.uuid;
		this.blockSize = geometry.blockSize;
		this.atomicBytesMax = atomicBytesMax;
	}

	get sizeBytes(): number {
		return this.#engine.sizeBytes;
	}

	get fault(): string | undefined {
		return this.#engine.health.fault;
	}

	/** True while the file system below is full: writes get noSpace until a flush finds room again. */
	get isFull(): boolean {
		return this.#engine.health.isFull;
	}

	tryRead(offsetBytes: number, target: Uint8Array, start = 0, end = target.length): Outcome | undefined {
		return this.#commands.tryRead(offsetBytes, target, start, end);
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
		this.#engine.resizeListeners.add(listener);
		return () => this.#engine.resizeListeners.delete(listener);
	}

	/** Grows the volume, durably; rejects with VolumeUsageError for a size that is smaller or impossible. */
	async resize(sizeBytes: number): Promise<void> {
		await this.#engine.changes.resize(sizeBytes);
		await this.#engine.timeline.resized();
	}

	/**
	 * Has the volume keep a history (timeline.ts), or a longer or shorter one; undefined: none. While it keeps one, large writes go through the log. Rejects with VolumeUsageError for a window that
	 * cannot be, and when it cannot begin now.
	 */
	keepHistory(window: HistoryWindow | undefined): Promise<void> {
		const { timeline } = this.#engine;
		return this.#engine.during(() => (window === undefined ? timeline.switchOff() : timeline.switchOn(window)));
	}

	/** How far back the volume can be put; undefined if it keeps no history. */
	get history(): HistoryReport | undefined {
		return this.#engine.timeline.report();
	}

	/** Calls the listener when the history has lost something before its time. Returns the function that ends it. */
	onHistory(listener: (event: HistoryEvent) => void): () => void {
		this.#engine.historyListeners.add(listener);
		return () => this.#engine.historyListeners.delete(listener);
	}

	/** Makes a snapshot of what the volume held at a moment of its history (Timeline.rewind). */
	rewind(moment: Moment, name: string): Promise<SnapshotInfo> {
		return this.#engine.during(() => this.#engine.timeline.rewind(moment, name));
	}

	/**
	 * Makes a snapshot of what is acknowledged now, whatever of it is still in the log: no flush, no stall. Resolves when it is durable. Rejects with VolumeUsageError for a
	 * name that is taken or impossible and at the limit, with VolumeFault when the log fails.
	 */
	createSnapshot(name: string): Promise<SnapshotInfo> {
		return this.#engine.during(() => this.#engine.snapshots.create(name));
	}

	/** Oldest first. */
	snapshots(): SnapshotInfo[] {
		return this.#engine.snapshots.list();
	}

	/**
	 * Puts the volume back to what a snapshot holds, its size included. All snapshots stay; what was live becomes another one, `keepLiveAs`, or is given up. Writes wait
	 * meanwhile, for about a flush. Rejects with VolumeUsageError for names that are not there, taken or impossible, and while the file system is full.
	 */
	restoreSnapshot(name: string, { keepLiveAs }: { keepLiveAs?: string } = {}): Promise<void> {
		return this.#engine.during(() => this.#engine.changes.alone(() => this.#engine.history.restore(name, keepLiveAs)));
	}

	/**
	 * Takes a snapshot's name away, durably. What no other snapshot needs is merged or removed in the background (merge, statistics()); after a crash that goes on. Rejects
	 * with VolumeUsageError for a name that is not there.
	 */
	deleteSnapshot(name: string): Promise<void> {
		return this.#engine.during(() => this.#engine.history.delete(name));
	}

	/** It stands on what it was made of, as a clone or by a lazy restore: not since it was flattened. */
	get isClone(): boolean {
		return this.#engine.layers.tree.current.origin !== 0;
	}

	/** How far the merge of a deleted snapshot is; undefined when there is none. */
	get merge(): MergeProgress | undefined {
		return this.#engine.history.merger.progress;
	}

	/** How far a lazily restored volume is; undefined when everything is here. */
	get remote(): RemoteProgress | undefined {
		return this.#engine.layers.remote?.progress;
	}

	/** Resolves when no merge is under way. */
	merged(): Promise<void> {
		return this.#engine.history.merger.idle();
	}

	/**
	 * Makes a volume of its own, with another UUID, that begins with what a snapshot of `from` holds: nothing is copied, both share files until one of them is gone, in either
	 * order. The directory's parent must be on the same file system. Rejects with VolumeUsageError as createSnapshot does, or with the kernel's error; then the directory holds no
	 * volume and may be removed.
	 */
	static clone(disk: Disk, from: Volume, snapshotName: string, directory: string, uuid: string): Promise<void> {
		return from.#engine.during(() => from.#engine.history.clone(disk, snapshotName, directory, uuid));
	}

	/**
	 * Pages that differ between two snapshots, or between one and what is live now (`to` left out): ranges, ascending; perhaps with some that do not differ. While it is walked,
	 * the layers that it reads stay. Rejects with VolumeUsageError for a name that is not there.
	 */
	diff(from: string, to?: string): AsyncGenerator<PageRange> {
		return this.#engine.history.diff(from, to, (work) => this.#engine.during(work));
	}

	/** Counts the pages that the volume and each snapshot show and hold; reads all page maps. */
	space(): Promise<SpaceReport> {
		return this.#engine.during(() => this.#engine.history.space());
	}

	/** For createGroupSnapshot. */
	attemptSnapshot<T>(name: string, work: (attempt: SnapshotAttempt) => Promise<T>): Promise<T> {
		return this.#engine.during(() => this.#engine.snapshots.attempt(name, work));
	}

	/** Has a clone stand on its own: what it shares is copied in the background (merge). No change for a volume that shares nothing. */
	flatten(): Promise<void> {
		return this.#engine.during(() => this.#engine.history.flatten());
	}

	/** What a snapshot holds, to be read; close() it. Waits until its layer is complete. Rejects with VolumeUsageError for a name that is not there. */
	openSnapshot(name: string): Promise<SnapshotView> {
		return this.#engine.during(() => this.#engine.history.open(name));
	}

	/** The snapshots in which a page is read from a layer that a scrub has found it damaged in; none for the live layer. */
	async snapshotsShowing(layer: number, page: number): Promise<Pick<SnapshotInfo, 'id' | 'name' | 'timeMs' | 'lsn'>[]> {
		return this.#engine.during(() => this.#engine.history.mender.snapshotsShowing(layer, page));
	}

	/** Writes a page of a frozen layer to where it belongs, durably, if it is what the page map has the checksum of. False: it is not, or the disk does not take it. */
	mendPage(layer: number, page: number, bytes: Uint8Array): Promise<boolean> {
		return this.#engine.during(() => this.#engine.history.mender.mend(layer, page, bytes));
	}

	/** Keeps the log from an LSN on; survives restarts. Rejects with VolumeUsageError at the limit or for an LSN that is gone, with VolumeFault when it cannot be written. */
	holdLog(hold: Hold): Promise<void> {
		return this.#engine.changes.hold(hold);
	}

	/** The segments are free once it is durable that nobody holds them. */
	releaseLog(name: string): Promise<void> {
		return this.#engine.changes.release(name);
	}

	/** Has the flusher carry what is dirty now into the layer. */
	async flushToLayers(): Promise<void> {
		await this.#engine.flusher.flush();
	}

	/** Disk space of layer data and maps; the log comes on top. */
	allocatedBytes(): Promise<number> {
		return this.#engine.allocatedBytes();
	}

	/** How much of that there may be; undefined: as much as the file system has. A write that would take more ends with noSpace. Not kept over a restart. */
	set quotaBytes(limitBytes: number | undefined) {
		this.#engine.quota.set(limitBytes);
	}

	get quotaBytes(): number | undefined {
		return this.#engine.quota.limitBytes;
	}

	/** True while writes are refused because of the quota. */
	get isQuotaReached(): boolean {
		return this.#engine.quota.isReached;
	}

	statistics(): VolumeStatistics {
		return {
			...this.#engine.commands.counts,
			...gather(this.#engine.index, this.#engine.wal, this.#engine.reader, this.#engine.writer, this.#engine.flusher),
			sizeBytes: this.#engine.sizeBytes,
			walBytes: (this.#engine.wal.tailLSN - this.#engine.checkpointLSN) * unitBytes,
			replayedRecords: this.#engine.replayedRecords,
		};
	}

	/**
	 * Ends in good order: takes no more commands, finishes those that run, flushes, and stamps the superblock so that the next opening scans nothing. A volume that is
	 * faulted or full closes without the stamp; the log has what it needs.
	 */
	close(): Promise<void> {
		return this.#engine.close();
	}

	/** Forgets everything at once, as the death of the process would; for tests of recovery. Files stay open. */
	abandon(): void {
		this.#engine.abandon();
	}
}
