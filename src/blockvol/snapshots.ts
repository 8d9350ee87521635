import { randomInt } from 'node:crypto';
import { errorCode } from '../os/disk.ts';
import type { RecordOwner } from './append-batch.ts';
import { Exclusive } from './exclusive.ts';
import type { Flusher } from './flusher.ts';
import type { FrozenLayer } from './frozen-layer.ts';
import { isAnchor } from './history-hold.ts';
import { Generation } from './generation.ts';
import type { Layer } from './layer.ts';
import type { LayerSet } from './layer-set.ts';
import type { TreeCut } from './layer-tree.ts';
import { limits } from './limits.ts';
import type { Marks } from './marks.ts';
import type { PageIndex, PendingGeneration } from './page-index.ts';
import { encodeCut, type SnapshotCut } from './snapshot-record.ts';
import type { Spans } from './spans.ts';
import { VolumeFault, VolumeFullError, VolumeUsageError } from './volume-fault.ts';
import type { Wal } from './wal.ts';
import { headBytesOf, recordType } from './wal-record.ts';

/** A snapshot as others see it. */
export interface SnapshotInfo {
	readonly id: number;
	readonly name: string;
	/** Milliseconds since 1970, UTC. */
	readonly timeMs: number;
	/** Where the log was: everything below is in the snapshot, nothing else is. */
	readonly lsn: number;
	readonly sizeBytes: number;
	/** Id of the snapshot that this one stands on. */
	readonly parent: number | undefined;
}

export interface SnapshotsOwner {
	sizeBytes(): number;
	/** Rejects a change that the volume cannot take now. */
	mustServe(): void;
	isFull(): boolean;
	/** The granularity of summaries (below-index.ts). */
	readonly blocksPerBit: number;
	/** Snapshots whose layers the flusher has not written yet, and entries of pending generations: at either another snapshot waits. */
	readonly snapshotsPendingMax: number;
	readonly dirtyPagesMax: number;
}

export interface SnapshotParts {
	readonly index: PageIndex;
	readonly wal: Wal;
	readonly flusher: Flusher;
	readonly layers: LayerSet;
	readonly marks: Marks;
	readonly spans: Spans;
}

/** A snapshot on its way: no write goes straight to the layer until it ends. */
export interface SnapshotAttempt {
	/** True if append() would succeed in this turn. */
	isReady(): boolean;
	/** Appends the record, in this turn. What is submitted from now on is not in the snapshot. */
	append(): void;
	/** Resolves when something may have changed that isReady() told of. */
	changed(): Promise<void>;
	/** Resolves when the snapshot is durable; after append(). */
	readonly durable: Promise<SnapshotInfo>;
	/** Gives it up; before append(). */
	cancel(): Promise<void>;
}

/**
 * Makes snapshots. One is a record in the log, and from there on another generation and another layer:
 *
 *   name taken ─→ the new layer's map made ─→ no write goes straight to the layer ─→ record appended ─→ visible: cut() ─→ durable: answered
 *                                                                                     … flusher … ─→ layer complete ─→ in the tree
 *
 * Writers never wait for it: while direct writes and overwrites that run come to their end, large writes go through the log. No file is touched but the log. At most Tuning.snapshotsPendingMax are
 * between visible and in the tree, with as many pages as one generation may have and limits.pendingFilesMax layers that have files: another snapshot waits. The flusher begins before that.
 */
export class Snapshots {
	readonly #parts: SnapshotParts;
	readonly #owner: SnapshotsOwner;
	readonly #line = new Exclusive();
	/** Appended and not visible, in the order of the log. */
	readonly #appended: { cut: SnapshotCut; layer: Layer; endLSN: number }[] = [];
	#waiting: (() => void)[] = [];
	/** Layers that are complete and whose readers have not turned to the frozen one yet. */
	#complete: Layer[] = [];
	#refusal: string | undefined;

	constructor(parts: SnapshotParts, owner: SnapshotsOwner) {
		this.#parts = parts;
		this.#owner = owner;
		// Those that replay found: their regions belong to the layer below.
		for (let pending = 0; pending < parts.index.pendingSnapshots; pending++) parts.marks.suspend();
	}

	/** The one that was just made: a thousand others are not looked at for it. */
	#newest(id: number): SnapshotInfo {
		const { index, layers } = this.#parts;
		const { pending } = index;
		const at = pending.findLastIndex(({ snapshot }) => snapshot?.id === id);
		const made = pending[at];
		if (made?.snapshot === undefined) throw new Error(`snapshot ${id} is not pending`);
		const below = pending.slice(0, at).findLast(({ snapshot }) => snapshot !== undefined && !isAnchor(snapshot));
		const tree = layers.tree.current;
		return infoOf(made.snapshot, made.cutLSN, below?.snapshot?.id ?? tree.snapshotBelow(tree.live)?.id);
	}

	/** Oldest first: those of the tree, then the pending ones. */
	list(): SnapshotInfo[] {
		return this.all().filter((snapshot) => !isAnchor(snapshot));
	}

	/** The same with the history's own. */
	all(): SnapshotInfo[] {
		const { index, layers } = this.#parts;
		const tree = layers.tree.current;
		const list = tree.snapshots.map((snapshot): SnapshotInfo => {
			const { layer: _, ...info } = snapshot;
			return { ...info, parent: tree.snapshotBelow(snapshot.layer)?.id };
		});
		let parent = tree.snapshotBelow(tree.live)?.id;
		for (const { snapshot, cutLSN } of index.pending) {
			if (snapshot === undefined || tree.layers.has(snapshot.newLayer)) continue;
			list.push(infoOf(snapshot, cutLSN, parent));
			if (!isAnchor(snapshot)) parent = snapshot.id;
		}
		return list;
	}

	/** Rejects with VolumeUsageError for a name that is taken or impossible, at the limit, or while the file system is full; with VolumeFault when the log fails. */
	create(name: string): Promise<SnapshotInfo> {
		return this.#create(name, () => this.mustFit(name), Date.now);
	}

	/** One of the history's own. `timeMs` is called in the turn in which its record is appended. */
	createAnchor(name: string, timeMs: () => number): Promise<SnapshotInfo> {
		return this.#create(name, () => this.mustHaveLayers(), timeMs);
	}

	#create(name: string, mustFit: () => void, timeMs: () => number): Promise<SnapshotInfo> {
		return this.#line.run(async () => {
			const attempt = await this.#begin(name, mustFit, timeMs);
			try {
				while (!attempt.isReady()) await attempt.changed();
			} catch (error) {
				await attempt.cancel();
				throw error;
			}
			attempt.append();
			return attempt.durable;
		});
	}

	/** For who takes snapshots of several volumes at one moment. `work` appends, or cancels. */
	attempt<T>(name: string, work: (attempt: SnapshotAttempt) => Promise<T>): Promise<T> {
		return this.#line.run(async () => work(await this.#begin(name, () => this.mustFit(name), Date.now)));
	}

	/** The oldest snapshot record that was appended becomes visible. What follows it in its batch is not yet: nobody may cut again, and so the flusher may not begin, before batchInstalled(). */
	cut(): void {
		const next = this.#appended.shift();
		if (next === undefined) throw new Error('a snapshot record that nobody appended');
		const { index, spans } = this.#parts;
		index.cut(next.endLSN, next.cut, next.layer, new Generation());
		spans.suspensions--;
	}

	/** All records of a batch with a snapshot are visible. */
	batchInstalled(): void {
		if (this.#pendingShare() >= kickShare) this.#parts.flusher.kick();
	}

	/** FlusherOwner.layersComplete. */
	async layersComplete(batch: readonly PendingGeneration[]): Promise<FrozenLayer[]> {
		const { index, layers, marks, wal } = this.#parts;
		const complete: Layer[] = [];
		const cuts: TreeCut[] = [];
		for (const { layer, cutLSN, snapshot } of batch) {
			if (snapshot === undefined) continue;
			const { id, name, timeMs, sizeBytes, newLayer } = snapshot;
			complete.push(layer);
			cuts.push({ snapshot: { id, name, timeMs, sizeBytes, lsn: cutLSN }, newLive: newLayer, mapDigest: layer.digest.value });
		}
		const liveId = cuts.at(-1)?.newLive;
		const live = index.openLayers.find(({ id }) => id === liveId);
		if (live === undefined) throw new Error(`the layer ${liveId} after a snapshot is not open`);
		// Its name, at least.
		await live.makeMap();
		await live.syncData();
		const checkpointLSN = batch.at(-1)?.cutLSN as number;
		const changes = { checkpointLSN, mapDigest: live.digest.value, holds: [...wal.segments.holds], marks: [] };
		const frozen = await new Promise<FrozenLayer[]>((resolve, reject) => {
			const applied = (): void => {
				marks.clear();
				for (const { newLive } of cuts) {
					layers.adopted(newLive);
					marks.resume();
				}
				this.#complete.push(...complete);
				const becoming = complete.map((layer) => layer.freeze(layers.pool));
				for (const layer of becoming) layers.add(layer);
				resolve(becoming);
			};
			layers.tree.commit((tree) => tree.cut(cuts), changes, applied).catch(reject);
		});
		try {
			for (const layer of frozen) await layer.summarize(this.#owner.blocksPerBit);
		} catch (error) {
			// Who reads below meets the same error, and can say what became of the command.
			if (errorCode(error) === '') throw error;
		}
		return frozen;
	}

	/** A flusher cycle has ended: readers have turned to what is frozen with it. */
	flushed(): void {
		for (const layer of this.#complete.splice(0)) layer.letGo();
	}

	/** A flusher cycle has ended, or the log has room: who waits looks again. */
	wake(): void {
		for (const resolve of this.#waiting.splice(0)) resolve();
	}

	/** Somebody waits for wake(). */
	get isWaiting(): boolean {
		return this.#waiting.length > 0;
	}

	/** Resolves when wake() is called. */
	woken(): Promise<void> {
		return new Promise((resolve) => this.#waiting.push(resolve));
	}

	/** Work during which no snapshot is on its way. */
	alone<T>(work: () => Promise<T>): Promise<T> {
		return this.#line.run(work);
	}

	/** No snapshot is made any more; those that wait are told why. */
	refuse(reason: string): void {
		this.#refusal = reason;
		this.wake();
	}

	async #begin(name: string, mustFit: () => void, timeMs: () => number): Promise<SnapshotAttempt> {
		const { layers, spans, marks, flusher } = this.#parts;
		this.mustGoOn();
		mustFit();
		while (this.#pendingShare() >= 1) {
			const woken = this.woken();
			flusher.kick();
			await woken;
			this.mustGoOn();
		}
		const layer = layers.make();
		spans.suspensions++;
		marks.suspend();
		return new Attempt(this.#parts, layer, name, {
			appended: (cut, endLSN) => this.#appended.push({ cut, layer, endLSN }),
			mustGoOn: () => this.mustGoOn(),
			changed: () => this.#changed(),
			sizeBytes: () => this.#owner.sizeBytes(),
			timeMs,
			info: (id) => this.#newest(id),
		});
	}

	/** Of what may be pending, 0 to 1. */
	#pendingShare(): number {
		const { index } = this.#parts;
		const { snapshotsPendingMax, dirtyPagesMax } = this.#owner;
		return Math.max(
			index.pendingSnapshots / snapshotsPendingMax,
			index.pendingPages / dirtyPagesMax,
			index.pendingFiles / limits.pendingFilesMax,
		);
	}

	#changed(): Promise<void> {
		const { spans, flusher, wal } = this.#parts;
		const woken = this.woken();
		if (!spans.isEmpty) {
			void spans.whenEmpty().then(() => this.wake());
			return woken;
		}
		flusher.kick();
		// The flusher frees no segment that somebody holds. When none can be made either, the volume says that it is full.
		wal.segments.prepareSpare();
		return woken;
	}

	/** Throws when no snapshot can be made, and nothing restored. */
	mustGoOn(): void {
		if (this.#refusal !== undefined) throw new VolumeFault(this.#refusal);
		this.#owner.mustServe();
		if (this.#owner.isFull())
			throw new VolumeFullError('The file system is full: no snapshot can be made or restored until somebody frees space.');
	}

	/** Throws VolumeUsageError unless there may be one more snapshot, of that name. */
	mustFit(name: string): void {
		mustBeName(name);
		const { index, layers } = this.#parts;
		const tree = layers.tree.current;
		const pending = index.pending.filter(({ snapshot }) => snapshot !== undefined && !tree.layers.has(snapshot.newLayer));
		if (tree.named(name) !== undefined || pending.some(({ snapshot }) => snapshot?.name === name))
			throw new VolumeUsageError(`the volume has a snapshot ${name} already`);
		const isNamed = (snapshot: { name: string } | undefined): boolean => snapshot !== undefined && !isAnchor(snapshot);
		const count = tree.snapshots.filter(isNamed).length + pending.filter(({ snapshot }) => isNamed(snapshot)).length;
		if (count >= limits.snapshotsMax)
			throw new VolumeUsageError(`the volume has ${limits.snapshotsMax} snapshots, no more are possible: delete one first`);
		this.mustHaveLayers();
	}

	/** Throws VolumeUsageError unless there may be one more layer. */
	mustHaveLayers(): void {
		const { index, layers } = this.#parts;
		if (layers.tree.current.layers.size + index.pendingSnapshots >= limits.layersMax - limits.layersReserved)
			throw new VolumeUsageError('the volume has too many layers that wait to be merged: try again later');
	}
}

/** The share of what may be pending at which the flusher begins. */
const kickShare = 0.75;

/** Throws VolumeUsageError for what cannot be the name of a snapshot. */
export function mustBeName(name: string): void {
	const bytes = Buffer.byteLength(name);
	// In UTF-8 half a surrogate pair becomes a replacement character: two names would be one, and a tree with them is refused.
	if (!name.isWellFormed()) throw new VolumeUsageError("a snapshot's name must be Unicode text, without halves of surrogate pairs");
	if (bytes === 0 || bytes > limits.snapshotNameBytes || name.includes('\0'))
		throw new VolumeUsageError(`a snapshot's name has 1 to ${limits.snapshotNameBytes} bytes, not ${bytes}`);
}

export function newSnapshotId(): number {
	return randomInt(1, 2 ** 48 - 1);
}

function infoOf({ id, name, timeMs, sizeBytes }: SnapshotCut, lsn: number, parent: number | undefined): SnapshotInfo {
	return { id, name, timeMs, lsn, sizeBytes, parent };
}

interface AttemptOwner {
	appended(cut: SnapshotCut, endLSN: number): void;
	mustGoOn(): void;
	changed(): Promise<void>;
	sizeBytes(): number;
	timeMs(): number;
	info(id: number): SnapshotInfo;
}

class Attempt implements SnapshotAttempt, RecordOwner {
	readonly #parts: SnapshotParts;
	readonly #layer: Layer;
	readonly #name: string;
	readonly #owner: AttemptOwner;
	readonly #settled = Promise.withResolvers<SnapshotInfo>();
	#id = 0;

	constructor(parts: SnapshotParts, layer: Layer, name: string, owner: AttemptOwner) {
		this.#parts = parts;
		this.#layer = layer;
		this.#name = name;
		this.#owner = owner;
		// A failure is told to who waits; there may be nobody yet.
		this.#settled.promise.catch(() => undefined);
	}

	get durable(): Promise<SnapshotInfo> {
		return this.#settled.promise;
	}

	isReady(): boolean {
		this.#owner.mustGoOn();
		return this.#parts.spans.isEmpty && this.#parts.wal.hasRoomFor(headBytesOf(recordType.snapshot, 0));
	}

	changed(): Promise<void> {
		return this.#owner.changed();
	}

	append(): void {
		const { wal } = this.#parts;
		const record = wal.begin(recordType.snapshot, 0, 0, true, 0, this);
		if (record === undefined) throw new Error('a snapshot was appended before it was ready');
		this.#id = newSnapshotId();
		const cut: SnapshotCut = {
			id: this.#id,
			name: this.#name,
			timeMs: this.#owner.timeMs(),
			sizeBytes: this.#owner.sizeBytes(),
			newLayer: this.#layer.id,
		};
		encodeCut(wal.staging, record.tableAt, cut);
		wal.commit(record, undefined);
		this.#owner.appended(cut, wal.tailLSN);
	}

	recordInstalled(): void {
		const info = this.#owner.info(this.#id);
		this.#parts.wal.sync({ synced: () => this.#settled.resolve(info), syncFailed: () => this.recordFailed() });
	}

	recordFailed(): void {
		this.#settled.reject(new VolumeFault('the write-ahead log failed: whether the snapshot was made shows at the next opening'));
	}

	async cancel(): Promise<void> {
		this.#parts.spans.suspensions--;
		this.#parts.marks.resume();
		try {
			await this.#parts.layers.discard(this.#layer);
		} catch (error) {
			// A name without content; the next opening removes it.
			if (errorCode(error) === '') throw error;
		}
	}
}
