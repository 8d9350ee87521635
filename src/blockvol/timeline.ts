import { exactSize } from '../os/size-text.ts';
import { errorCode } from '../os/disk.ts';
import { sweepAnchors } from './anchor-sweep.ts';
import type { Logger } from '../os/logger.ts';
import { Exclusive } from './exclusive.ts';
import { anchorName, historyHold, isAnchor, isHistoryHold, windowFault, windowOf, type HistoryWindow } from './history-hold.ts';
import type { History } from './history.ts';
import { limits, unitBytes } from './limits.ts';
import type { RecordClock } from './record-clock.ts';
import { rewind, type Moment, type RewinderParts } from './rewinder.ts';
import { newSnapshotId, type SnapshotInfo } from './snapshots.ts';
import type { Spans } from './spans.ts';
import type { Hold, SuperblockFile } from './superblock.ts';
import type { VolumeChanges } from './volume-changes.ts';
import { VolumeFault, VolumeUsageError } from './volume-fault.ts';
import { segmentFilesMin } from './wal-segments.ts';

export interface TimelineParts extends RewinderParts {
	readonly uuid: string;
	readonly history: History;
	readonly changes: VolumeChanges;
	readonly spans: Spans;
	readonly superblock: SuperblockFile;
	readonly clock: RecordClock;
	readonly log: Logger;
}

export interface TimelineOwner {
	sizeBytes(): number;
	isFull(): boolean;
	/** What a full disk made it give up is free. */
	gaveWay(): void;
	/** Something happened that an operator wants to know. */
	event(event: HistoryEvent): void;
}

export interface HistoryEvent {
	readonly kind: 'shortened' | 'lost';
	readonly message: string;
}

/** What can be shown of a volume's past. */
export interface HistoryReport extends HistoryWindow {
	/** Moments after this one can be shown; undefined while the first anchor is being made. Milliseconds since 1970, UTC. */
	readonly fromMs: number | undefined;
	readonly fromLSN: number | undefined;
	readonly toLSN: number;
	/** Log that is there for the history's sake alone. */
	readonly heldBytes: number;
	readonly anchors: number;
}

/** So many anchors a window: log is kept for that much longer than it would have to be, and so much of it is read at most for a rewind. */
const anchorsPerWindow = 4;
/** How long it waits after something that could not be done. */
const retryMs = 1000;

/**
 * A volume's history: the log is kept for a window of time and bytes, so that what the volume held at any moment in it can be put together again (rewinder.ts). All data goes through the log meanwhile, and
 * each record has its time.
 *
 * The log says what changed, not what was there before. So now and then an anchor is made: a snapshot that nobody sees. A moment is the newest anchor before it and the log from there on. The oldest anchor goes, with its
 * log, when the next one is as old as the window, or the log longer than it may be.
 *
 *   off ──switchOn()──▶ on ──────────────────────────────────────────▶ off
 *                       │ anchor … anchor … anchor, the oldest one goes   switchOff()
 *                       └ the file system is full: all but the newest one go, then all; later anew
 *
 * Invariants: the log is held from the oldest anchor on, durably before anything is freed; anchors are in the order of their LSNs and of their times; a restore, after which the log no longer says how the live
 * layer came to be, makes an anchor in the same step.
 */
export class Timeline {
	readonly #parts: TimelineParts;
	readonly #owner: TimelineOwner;
	readonly #line = new Exclusive();
	#isOn = false;
	#isBusy = true;
	#isStopped = false;
	#isGiving = false;
	/** It gave way, and no anchor was made since. */
	#needsRoom = false;
	/** A rewind that reads the log; never rejects. */
	#reading: Promise<unknown> = Promise.resolve();
	#timer: NodeJS.Timeout | undefined;
	/** When something is due: the sooner of the two. */
	#dueMs = 0;
	#dueLSN = 0;

	constructor(parts: TimelineParts, owner: TimelineOwner) {
		this.#parts = parts;
		this.#owner = owner;
		if (this.#hold !== undefined) this.#start();
	}

	get isOn(): boolean {
		return this.#isOn;
	}

	/** The log may be written, and its segments are known. */
	begin(): void {
		if (this.#isStopped) return;
		this.#isBusy = false;
		const { historyTickMs } = this.#parts.tuning;
		const look = (): void => {
			if (this.#isOn) this.#kick();
		};
		if (historyTickMs > 0) this.#timer = setInterval(look, historyTickMs).unref();
		this.#kick();
	}

	/** Takes no further step; a rewind that runs ends at its next one. */
	halt(): void {
		this.#isStopped = true;
		clearInterval(this.#timer);
	}

	/** The same, and waits for what runs. */
	async stop(): Promise<void> {
		this.halt();
		await this.#line.run(() => Promise.resolve());
	}

	/** The log has grown up to an LSN. */
	wrote(lsn: number): void {
		if (!this.#isOn || this.#isBusy) return;
		if (lsn >= this.#dueLSN || this.#parts.clock.nowMs() >= this.#dueMs) this.#kick();
	}

	/** Begins a history, or changes its window. Durable when it resolves. Rejects with VolumeUsageError for a window that cannot be and while no anchor can be made. */
	switchOn(window: HistoryWindow): Promise<void> {
		const { changes, segmentBytes, superblock, spans } = this.#parts;
		return this.#line.run(async () => {
			const fault = windowFault(window, segmentBytes);
			if (fault !== undefined) throw new VolumeUsageError(fault);
			const hold = this.#hold;
			if (hold !== undefined) {
				await changes.replaceHold(hold.name, historyHold(window, hold.fromLSN));
				this.#isOn = true;
				return this.#tick();
			}
			spans.suspensions++;
			try {
				await spans.whenEmpty();
				await changes.addHold(historyHold(window, superblock.current.checkpointLSN));
				this.#start();
			} finally {
				spans.suspensions--;
			}
			try {
				await this.#makeAnchor();
			} catch (error) {
				await this.#end();
				throw error;
			}
			this.#plan();
		});
	}

	/** Ends the history: what it kept is given back. */
	switchOff(): Promise<void> {
		return this.#line.run(() => this.#end());
	}

	report(): HistoryReport | undefined {
		const hold = this.#hold;
		if (!this.#isOn || hold === undefined) return undefined;
		const { wal, superblock } = this.#parts;
		const anchors = this.#anchors();
		return {
			...windowOf(hold),
			fromMs: anchors[0]?.timeMs,
			fromLSN: anchors[0]?.lsn,
			toLSN: wal.installedLSN,
			heldBytes: Math.max(0, superblock.current.checkpointLSN - hold.fromLSN) * unitBytes,
			anchors: anchors.length,
		};
	}

	/**
	 * Makes a snapshot of what the volume held at a moment. A time: everything that was acknowledged before that millisecond began is in it, nothing that was submitted in it or later. An LSN: all
	 * records that begin below it. Rejects with VolumeUsageError for a moment that is not in the history and for a name as createSnapshot does.
	 */
	rewind(moment: Moment, name: string): Promise<SnapshotInfo> {
		return this.#line.run(async () => {
			const { history, layers, wal } = this.#parts;
			const { snapshots } = history;
			snapshots.mustGoOn();
			snapshots.mustFit(name);
			this.#mustBePast(moment);
			await wal.synced();
			const anchors = this.#anchors();
			const at = anchors.findLastIndex(({ timeMs, lsn }) => ('timeMs' in moment ? timeMs < moment.timeMs : lsn <= moment.lsn));
			const [anchor, next] = [anchors[at], anchors[at + 1]];
			if (anchor === undefined) throw new VolumeUsageError(`the history does not reach back so far: ${this.#beginning(anchors[0])}`);
			const base = await history.complete(anchor.name);
			const release = layers.hold(base.layer);
			try {
				return await this.#build(
					{
						base,
						moment,
						endLSN: next?.lsn ?? wal.installedLSN,
						endMs: next?.timeMs ?? Infinity,
						grownBytes: next?.sizeBytes ?? this.#owner.sizeBytes(),
						mustGoOn: () => this.#mustGoOn(base.lsn),
					},
					name,
				);
			} catch (error) {
				throw explained(error);
			} finally {
				release();
			}
		});
	}

	/** Has what is written from now on counted from an anchor of its own: the volume has another size. */
	resized(): Promise<void> {
		return this.#line.run(async () => {
			if (this.#isOn && !this.#isStopped) await this.#step(() => this.#makeAnchor());
		});
	}

	/** The anchor that a restore makes; undefined without a history. */
	restoring(): { id: number; name: string; timeMs: number } | undefined {
		if (!this.#isOn) return undefined;
		const id = newSnapshotId();
		return { id, name: anchorName(id), timeMs: this.#parts.clock.nowMs() };
	}

	/** In the turn in which a restore counts. */
	restored(): void {
		if (this.#isOn) this.#countFromNewest();
	}

	/**
	 * The file system is full: gives up the log that it holds, but for what the newest anchor needs, and if that is not enough that, too. False if there is nothing that would make room.
	 */
	giveWay(): boolean {
		const hold = this.#hold;
		if (!this.#isOn || hold === undefined || this.#isStopped) return false;
		if (this.#isGiving) return true;
		const { superblock, clock } = this.#parts;
		const { checkpointLSN } = superblock.current;
		const anchors = this.#anchors();
		const newest = Math.min(anchors.at(-1)?.lsn ?? checkpointLSN, checkpointLSN);
		const isPart = anchors.length > 1 && this.#segmentOf(newest) > this.#segmentOf(hold.fromLSN);
		const fromLSN = isPart ? newest : checkpointLSN;
		if (this.#segmentOf(fromLSN) <= this.#segmentOf(hold.fromLSN)) return false;
		this.#isGiving = true;
		this.#needsRoom = true;
		// What is written before there is another anchor cannot be shown.
		if ((anchors.at(-1)?.lsn ?? 0) < fromLSN) clock.setAnchor(undefined);
		void this.#giveUp(hold, fromLSN);
		return true;
	}

	/** Not in line: what runs there may wait for the room that this makes. */
	async #giveUp(hold: Hold, fromLSN: number): Promise<void> {
		const { wal } = this.#parts;
		await this.#reading;
		await this.#step(() => this.#holdFrom(fromLSN));
		wal.segments.trim(segmentFilesMin + 1);
		await wal.segments.trimmed();
		const [first] = this.#anchors();
		const bytes = (fromLSN - hold.fromLSN) * unitBytes;
		this.#tell(
			first === undefined ? 'lost' : 'shortened',
			`the file system is full: ${exactSize(bytes)} of the volume's history were given up, ${this.#beginning(first)}`,
		);
		this.#isGiving = false;
		this.#owner.gaveWay();
		// The layers of the anchors that are gone take space, too.
		this.#kick();
	}

	#tell(kind: HistoryEvent['kind'], message: string): void {
		this.#parts.log.warn({ volume: this.#parts.uuid }, message);
		this.#owner.event({ kind, message });
	}

	#segmentOf(lsn: number): number {
		return Math.floor((lsn * unitBytes) / this.#parts.segmentBytes);
	}

	get #hold(): Hold | undefined {
		return this.#parts.wal.segments.holds.find(isHistoryHold);
	}

	/** Oldest first. */
	#anchors(): SnapshotInfo[] {
		const fromLSN = this.#hold?.fromLSN ?? Infinity;
		return this.#parts.history.snapshots.all().filter((snapshot) => isAnchor(snapshot) && snapshot.lsn >= fromLSN);
	}

	#start(): void {
		const { spans, wal, clock } = this.#parts;
		this.#isOn = true;
		// Large writes would change the layer and leave the log nothing to bring back.
		spans.suspensions++;
		wal.clock = () => clock.time();
		this.#countFromNewest();
	}

	async #end(): Promise<void> {
		const { spans, wal, changes, clock } = this.#parts;
		const hold = this.#hold;
		if (hold === undefined) return;
		await changes.replaceHold(hold.name, undefined);
		if (this.#isOn) spans.suspensions--;
		this.#isOn = false;
		wal.clock = undefined;
		clock.setAnchor(undefined);
		await this.#step(() => this.#sweep());
	}

	#countFromNewest(): void {
		this.#parts.clock.setAnchor(this.#anchors().at(-1)?.timeMs);
	}

	#kick(): void {
		if (this.#isBusy || this.#isStopped) return;
		this.#isBusy = true;
		void this.#line
			.run(() => this.#step(() => this.#tick()))
			.finally(() => {
				this.#isBusy = false;
			});
	}

	/** What may fail without harm, and is tried again. */
	async #step(work: () => Promise<void>): Promise<void> {
		try {
			await work();
		} catch (error) {
			const isExpected = error instanceof VolumeUsageError || error instanceof VolumeFault || errorCode(error) !== '';
			if (!isExpected) throw error;
			if (!this.#isStopped && !this.#owner.isFull())
				this.#parts.log.warn({ volume: this.#parts.uuid, err: error }, 'the history of a volume could not be kept up; it is tried again');
			this.#dueMs = this.#parts.clock.nowMs() + retryMs;
			this.#dueLSN = Infinity;
		}
	}

	async #tick(): Promise<void> {
		if (this.#isStopped) return;
		await this.#sweep();
		const hold = this.#hold;
		if (!this.#isOn || hold === undefined) return;
		const { wal, clock } = this.#parts;
		const { windowMs, maxBytes } = windowOf(hold);
		const newest = this.#anchors().at(-1);
		const grownBytes = (wal.installedLSN - (newest?.lsn ?? 0)) * unitBytes;
		const isDue =
			newest === undefined ||
			newest.sizeBytes !== this.#owner.sizeBytes() ||
			grownBytes >= maxBytes / anchorsPerWindow ||
			(grownBytes > 0 && clock.nowMs() - newest.timeMs >= windowMs / anchorsPerWindow);
		if (isDue && !this.#owner.isFull() && (await this.#hasRoom(maxBytes / anchorsPerWindow))) await this.#makeAnchor();
		await this.#trim();
		this.#plan();
	}

	/** After it had to give way: what it would take until the next anchor has to be free first. */
	async #hasRoom(bytes: number): Promise<boolean> {
		const { disk, directory } = this.#parts;
		if (this.#needsRoom && (await disk.freeBytes(directory)) >= bytes) this.#needsRoom = false;
		return !this.#needsRoom;
	}

	/** When the next tick has something to do. */
	#plan(): void {
		const hold = this.#hold;
		const newest = this.#anchors().at(-1);
		const { wal, clock } = this.#parts;
		if (hold === undefined || newest === undefined) {
			this.#dueMs = clock.nowMs() + retryMs;
			this.#dueLSN = Infinity;
			return;
		}
		const { windowMs, maxBytes } = windowOf(hold);
		// What cannot be done yet must not be tried with each batch.
		const soonest = wal.installedLSN + maxBytes / 64 / unitBytes;
		this.#dueMs = newest.timeMs + windowMs / anchorsPerWindow;
		this.#dueLSN = Math.max(soonest, newest.lsn + maxBytes / anchorsPerWindow / unitBytes);
	}

	async #makeAnchor(): Promise<void> {
		const { history, clock } = this.#parts;
		await history.snapshots.createAnchor(anchorName(newSnapshotId()), () => {
			const timeMs = clock.nowMs();
			clock.setAnchor(timeMs);
			return timeMs;
		});
	}

	/** Lets go what is too old or too much. */
	async #trim(): Promise<void> {
		const hold = this.#hold;
		if (hold === undefined) return;
		const { wal, clock } = this.#parts;
		const { windowMs, maxBytes } = windowOf(hold);
		const anchors = this.#anchors();
		const oldestMs = clock.nowMs() - windowMs;
		let kept = 0;
		for (; kept < anchors.length - 1; kept++) {
			const [first, next] = [anchors[kept], anchors[kept + 1]] as [SnapshotInfo, SnapshotInfo];
			const isTooMuch = (wal.installedLSN - first.lsn) * unitBytes > maxBytes || anchors.length - kept >= limits.anchorsMax;
			if (!isTooMuch && next.timeMs > oldestMs) break;
		}
		if (kept === 0) return;
		await this.#holdFrom((anchors[kept] as SnapshotInfo).lsn);
		await this.#sweep();
	}

	async #holdFrom(fromLSN: number): Promise<void> {
		const hold = this.#hold;
		// Never back: what was given up is gone.
		if (hold !== undefined && hold.fromLSN < fromLSN) await this.#parts.changes.replaceHold(hold.name, { ...hold, fromLSN });
	}

	/** Lets go of the anchors whose log is gone. */
	async #sweep(): Promise<void> {
		const { layers, history, wal } = this.#parts;
		const hold = this.#hold;
		if (hold !== undefined) await this.#holdFrom(wal.segments.unbrokenFrom(wal.tailLSN));
		const fromLSN = this.#hold?.fromLSN ?? Infinity;
		if (await sweepAnchors(layers, fromLSN, !this.#isOn || this.#needsRoom)) history.merger.kick();
	}

	async #build(plan: Parameters<typeof rewind>[1], name: string): Promise<SnapshotInfo> {
		const { history, layers, blocksPerBit } = this.#parts;
		plan.mustGoOn();
		const reading = rewind(this.#parts, plan);
		this.#reading = reading.catch(() => undefined);
		const { layer, lsn, timeMs, sizeBytes } = await reading;
		const id = newSnapshotId();
		const shownMs = 'timeMs' in plan.moment ? plan.moment.timeMs : timeMs;
		await history.snapshots.alone(async () => {
			try {
				history.snapshots.mustFit(name);
				await layers.tree.commit(
					(tree) =>
						tree.rewound(
							{ id: layer.id, parent: plan.base.layer, mapDigest: layer.digest.value },
							{ id, name, timeMs: shownMs, lsn, sizeBytes },
						),
					{},
					() => {
						layers.adopted(layer.id);
						layers.add(layer.freeze(layers.pool));
						layer.letGo();
					},
				);
			} catch (error) {
				// After a fault the superblock may name it.
				if (!(error instanceof VolumeFault)) await layers.discard(layer);
				throw error;
			}
		});
		await layers.frozen(layer.id).summarize(blocksPerBit);
		const made = history.snapshots.list().find((snapshot) => snapshot.id === id);
		if (made === undefined) throw new VolumeUsageError(`snapshot ${name} was deleted while it was made`);
		return made;
	}

	#mustBePast(moment: Moment): void {
		const { wal, clock } = this.#parts;
		if (!this.#isOn) throw new VolumeUsageError('the volume keeps no history: switch it on, and later moments can be shown');
		const isAhead = 'timeMs' in moment ? moment.timeMs > clock.nowMs() : moment.lsn > wal.installedLSN;
		if (isAhead)
			throw new VolumeUsageError(`a volume can be put back, not forward: it is ${iso(clock.nowMs())} now, LSN ${wal.installedLSN}`);
	}

	#mustGoOn(baseLSN: number): void {
		if (this.#isStopped) throw new VolumeUsageError('the volume is being closed');
		if (this.#isGiving || baseLSN < (this.#hold?.fromLSN ?? Infinity))
			throw new VolumeUsageError('the file system is full: the history was given up while it was being read');
	}

	#beginning(first: SnapshotInfo | undefined): string {
		return first === undefined ? 'it begins anew' : `it begins after ${iso(first.timeMs)}, with LSN ${first.lsn}`;
	}
}

/** What a rewind met on the disk, in words. */
function explained(error: unknown): unknown {
	const code = errorCode(error);
	if (code === '') return error;
	if (code === 'ENOSPC') return new VolumeUsageError('the file system has no room for what the volume held then: free some space');
	return new VolumeFault(`what the volume held then could not be put together (${code})`, { cause: error });
}

function iso(timeMs: number): string {
	return new Date(timeMs).toISOString();
}
