import type { Disk } from '../os/disk.ts';
import { writeFully, writeFullySync, writevFully } from '../os/transfer.ts';
import { AppendBatch, type AppendRecord, type RecordOwner } from './append-batch.ts';
import { InlineGate } from './inline-gate.ts';
import { unitBytes, type Tuning } from './limits.ts';
import type { Hold } from './superblock.ts';
import { VolumeFault } from './volume-fault.ts';
import { hasTable, headBytesOf, headerBytes, recordBytes, recordType, sealHeader, type RecordStamp } from './wal-record.ts';
import { WalSegments } from './wal-segments.ts';
import type { WalSegment } from './wal-segment.ts';

/** What the log tells its volume. */
export interface WalOwner {
	/** Records of a batch are in the kernel, in the order of their LSNs: make them visible, then tell their owners. */
	batchWritten(batch: AppendBatch): void;
	/** A write or a sync of the log failed: nothing more may be acknowledged. */
	walFailed(reason: string, cause: unknown): void;
	/** The file system has no space for another segment. */
	walOutOfSpace(): void;
	/** There may be room again for those who wait. */
	walHasRoom(): void;
	/** What must be on stable storage before the log is (data of direct records); undefined if nothing. */
	beforeSync(): Promise<unknown> | undefined;
	/** Whether beforeSync() would have anything to do. */
	needsSync(): boolean;
	/** A hold cost more than its budget and was let go. */
	holdBroken(hold: Hold): void;
}

/** Told when a group commit that began after the call has ended. */
export interface SyncWaiter {
	synced(): void;
	syncFailed(): void;
}

export interface WalStart {
	stamp: RecordStamp;
	/** Where the next record goes. */
	tailLSN: number;
	checkpointLSN: number;
	holds: Hold[];
}

/**
 * The write-ahead log of a volume: records laid one behind the other over segments.
 *
 *   append → batch of the turn → one write → installed (visible, answered) → group commit → durable → flushed → below the checkpoint → recycled
 *
 * Invariants: checkpointLSN ≤ durableLSN ≤ installedLSN ≤ tailLSN; one write and one sync at a time; records become visible in the order of their LSNs.
 */
export class Wal {
	readonly segments: WalSegments;
	readonly #owner: WalOwner;
	readonly #tuning: Tuning;
	readonly #stamp: RecordStamp;
	readonly #segmentUnits: number;
	#filling = new AppendBatch();
	#writing = new AppendBatch();
	#hasBegun = false;
	#isWriting = false;
	#isScheduled = false;
	#isSyncing = false;
	#failed = false;
	readonly #gate: InlineGate;
	#tailLSN: number;
	#installedLSN: number;
	#durableLSN: number;
	#waiters: SyncWaiter[] = [];
	/** The last write by the pool and the last group commit; they never reject. */
	#poolWrite: Promise<void> = Promise.resolve();
	#commit: Promise<void> = Promise.resolve();
	readonly #submit = (): void => {
		this.#isScheduled = false;
		this.#writeBatch();
	};
	/** What records are told of the time (record-clock.ts), while somebody keeps a history. */
	clock: (() => number) | undefined;
	/** Why begin() had no room: the batch that is filling is full, which passes with the write that is under way. */
	isBatchFull = false;
	syncs = 0;
	writes = 0;

	constructor(disk: Disk, directory: string, segmentBytes: number, tuning: Tuning, start: WalStart, owner: WalOwner) {
		this.#owner = owner;
		this.#tuning = tuning;
		this.#gate = new InlineGate(tuning.inlineStallMs);
		this.#stamp = start.stamp;
		this.#segmentUnits = segmentBytes / unitBytes;
		this.#tailLSN = start.tailLSN;
		this.#installedLSN = start.tailLSN;
		// What replay found is in the kernel; whether the disk has it, nobody knows before the next sync.
		this.#durableLSN = start.checkpointLSN;
		this.segments = new WalSegments(disk, directory, segmentBytes, tuning.walSegmentsMax, start, {
			roomMade: () => owner.walHasRoom(),
			segmentsOutOfSpace: () => owner.walOutOfSpace(),
			segmentsFailed: (reason, cause) => this.#fail(reason, cause),
			holdBroken: (hold) => owner.holdBroken(hold),
		});
	}

	/** From now on records may be written: the superblock says which are of this opening. */
	begun(): void {
		this.#hasBegun = true;
		this.#writeBatch();
	}

	get tailLSN(): number {
		return this.#tailLSN;
	}

	get installedLSN(): number {
		return this.#installedLSN;
	}

	get durableLSN(): number {
		return this.#durableLSN;
	}

	/** Nothing is on its way to the kernel. */
	get isIdle(): boolean {
		return !this.#isWriting && this.#filling.isEmpty;
	}

	/** Pages and zeroed ranges of records that are not visible yet: they will be in the dirty map. */
	get pendingPages(): number {
		return this.#filling.pages + (this.#isWriting ? this.#writing.pages : 0);
	}

	get pendingZeros(): number {
		return this.#filling.zeros + (this.#isWriting ? this.#writing.zeros : 0);
	}

	/** True if a record that is not visible yet touches the pages from first to end (exclusive). */
	hasPending(first: number, end: number): boolean {
		return this.#filling.touches(first, end) || (this.#isWriting && this.#writing.touches(first, end));
	}

	/**
	 * Begins a record at the tail. Undefined when there is no room now (walHasRoom follows). The caller fills the checksum table at `tableAt` and, when the data is
	 * staged, the pages behind it in `staging`; then calls commit(). `keepUnits` of the last segment stay free for others.
	 */
	begin(
		type: number,
		firstPage: number,
		pages: number,
		dataStaged: boolean,
		keepUnits: number,
		owner: RecordOwner,
	): AppendRecord | undefined {
		const bytes = recordBytes(type, pages);
		const headBytes = headBytesOf(type, pages);
		const staged = dataStaged ? bytes : headBytes;
		this.isBatchFull = !this.#filling.hasRoom(staged + headerBytes);
		if (this.#failed || this.isBatchFull) return undefined;
		const segment = this.#segmentFor(bytes / unitBytes, keepUnits);
		if (segment === undefined) return undefined;
		const at = this.#filling.stage(segment, this.#positionIn(this.#tailLSN), staged);
		const record = this.#filling.addRecord();
		if (hasTable(type)) this.#filling.pages += pages;
		else if (type === recordType.zero) this.#filling.zeros++;
		record.type = type;
		record.firstPage = firstPage;
		record.pages = pages;
		record.lsn = this.#tailLSN;
		record.tableAt = at + headerBytes;
		record.dataLocation = this.#tailLSN + headBytes / unitBytes;
		record.owner = owner;
		this.#tailLSN += bytes / unitBytes;
		return record;
	}

	/** True if a record of so many bytes, staged whole, could begin in this turn. */
	hasRoomFor(bytes: number): boolean {
		if (this.#failed || !this.#filling.hasRoom(bytes + headerBytes)) return false;
		const sequence = Math.floor(this.#tailLSN / this.#segmentUnits);
		const left = (sequence + 1) * this.#segmentUnits - this.#tailLSN;
		return (this.segments.at(sequence) !== undefined && bytes / unitBytes <= left) || this.segments.hasSpare;
	}

	get staging(): Buffer {
		return this.#filling.staging;
	}

	/** Ends the record that begin() returned. `data` if it was not staged: it stays untouched until recordInstalled or recordFailed. */
	commit(record: AppendRecord, data: Uint8Array | undefined): void {
		this.#seal(record.tableAt - headerBytes, record.type, record.lsn, record.firstPage, record.pages, this.#tailLSN - record.lsn);
		if (data !== undefined) this.#filling.refer(data);
		if (this.#isWriting || this.#isScheduled) return;
		this.#isScheduled = true;
		queueMicrotask(this.#submit);
	}

	/** Group commit: everything that is installed now becomes durable, together with whatever else waits. */
	sync(waiter: SyncWaiter): void {
		if (this.#failed) {
			waiter.syncFailed();
			return;
		}
		if (this.#durableLSN >= this.#installedLSN && !this.segments.anyUnsynced && !this.#owner.needsSync()) {
			waiter.synced();
			return;
		}
		this.#waiters.push(waiter);
		if (!this.#isSyncing) this.#commit = this.#groupCommit();
	}

	/** Resolves when everything that is installed now is durable; rejects when the log has failed. */
	synced(): Promise<void> {
		return new Promise((resolve, reject) => {
			this.sync({ synced: resolve, syncFailed: () => reject(new VolumeFault('the write-ahead log has failed')) });
		});
	}

	/** The volume has failed elsewhere: nothing of the log may be acknowledged any more. */
	fail(): void {
		if (this.#failed) return;
		this.stop();
		this.#refuseWaiting();
	}

	/** Closes the files once nothing is on its way to them. */
	async close(): Promise<void> {
		this.stop();
		await this.#poolWrite;
		await this.#commit;
		await this.segments.close();
	}

	/** Stops taking records, for good. */
	stop(): void {
		this.#failed = true;
		this.segments.stop();
	}

	#positionIn(lsn: number): number {
		return (lsn % this.#segmentUnits) * unitBytes;
	}

	/** The segment for a record of that length at the tail, which moves over the end of a segment where it must. */
	#segmentFor(units: number, keepUnits: number): WalSegment | undefined {
		const sequence = Math.floor(this.#tailLSN / this.#segmentUnits);
		const left = (sequence + 1) * this.#segmentUnits - this.#tailLSN;
		const current = this.segments.at(sequence);
		if (current !== undefined && units <= left) {
			if (units + keepUnits <= left || this.segments.hasSpare) {
				if (left < this.#segmentUnits / 2) this.segments.prepareSpare();
				return current;
			}
			this.segments.prepareSpare();
			return undefined;
		}
		const next = this.segments.activate(current === undefined ? sequence : sequence + 1);
		if (next === undefined) return undefined;
		if (current !== undefined && left > 0) {
			const at = this.#filling.stage(current, this.#positionIn(this.#tailLSN), headerBytes);
			this.#seal(at, recordType.pad, this.#tailLSN, 0, 0, left);
			this.#tailLSN += left;
		}
		return next;
	}

	#seal(at: number, type: number, lsn: number, firstPage: number, pages: number, lengthUnits: number): void {
		const time = this.clock === undefined ? 0 : this.clock();
		sealHeader(this.#filling.staging, at, this.#stamp, type, lsn, firstPage, pages, lengthUnits, time, this.#durableLSN);
	}

	#writeBatch(): void {
		if (!this.#hasBegun || this.#isWriting || this.#failed || this.#filling.isEmpty) return;
		const batch = this.#filling;
		this.#filling = this.#writing;
		this.#writing = batch;
		this.#isWriting = true;
		batch.seal();
		const run = batch.runs[0];
		const part = run?.parts[0];
		const inline =
			!this.#isSyncing &&
			run !== undefined &&
			part !== undefined &&
			batch.runs.length === 1 &&
			run.parts.length === 1 &&
			part.length <= this.#tuning.inlineAppendBytesMax;
		const enteredAt = inline ? this.#gate.enter() : -1;
		if (!inline || enteredAt < 0) {
			this.#poolWrite = this.#writeOnPool(batch);
			return;
		}
		this.writes++;
		try {
			writeFullySync(run.segment.file, part, run.positionBytes);
			this.#gate.leave(enteredAt);
		} catch (error) {
			this.#isWriting = false;
			this.#fail('a write to the write-ahead log failed', error);
			refuse(batch);
			return;
		}
		this.#installed(batch);
	}

	async #writeOnPool(batch: AppendBatch): Promise<void> {
		try {
			for (const run of batch.runs) {
				this.writes++;
				const [only] = run.parts;
				if (run.parts.length === 1 && only !== undefined) await writeFully(run.segment.file, only, run.positionBytes);
				else await writevFully(run.segment.file, run.parts, run.positionBytes);
			}
		} catch (error) {
			this.#isWriting = false;
			this.#fail('a write to the write-ahead log failed', error);
			refuse(batch);
			return;
		}
		this.#installed(batch);
	}

	#installed(batch: AppendBatch): void {
		this.#isWriting = false;
		if (this.#failed) {
			// It failed elsewhere while this was on its way; only now does nobody use the data any more.
			refuse(batch);
			return;
		}
		const last = batch.runs.at(-1);
		if (last !== undefined)
			this.#installedLSN = last.segment.sequence * this.#segmentUnits + (last.positionBytes + last.lengthBytes) / unitBytes;
		for (const run of batch.runs) run.segment.unsynced = true;
		this.#owner.batchWritten(batch);
		batch.clear();
		// What came in meanwhile goes as the next batch, after the answers of this one.
		if (!this.#filling.isEmpty && !this.#isScheduled) {
			this.#isScheduled = true;
			queueMicrotask(this.#submit);
		}
		this.#owner.walHasRoom();
	}

	async #groupCommit(): Promise<void> {
		this.#isSyncing = true;
		while (this.#waiters.length > 0 && !this.#failed) {
			const waiters = this.#waiters;
			this.#waiters = [];
			const target = this.#installedLSN;
			try {
				const before = this.#owner.beforeSync();
				if (before !== undefined) await before;
				this.syncs++;
				await this.segments.datasync();
			} catch (error) {
				this.#fail('fdatasync of the write-ahead log failed', error);
				for (const waiter of waiters) waiter.syncFailed();
				break;
			}
			if (target > this.#durableLSN) this.#durableLSN = target;
			for (const waiter of waiters) waiter.synced();
		}
		this.#isSyncing = false;
	}

	#fail(reason: string, cause: unknown): void {
		if (this.#failed) return;
		this.stop();
		this.#owner.walFailed(reason, cause);
		this.#refuseWaiting();
	}

	/** Those whose records are not on their way, and those whose group commit has not begun; the others are told at the end of theirs. */
	#refuseWaiting(): void {
		refuse(this.#filling);
		const waiters = this.#waiters;
		this.#waiters = [];
		for (const waiter of waiters) waiter.syncFailed();
	}
}

function refuse(batch: AppendBatch): void {
	for (let index = 0; index < batch.records; index++) batch.record(index).owner?.recordFailed();
	batch.clear();
}
