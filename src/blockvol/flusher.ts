import { errorCode } from '../os/disk.ts';
import type { Exclusive } from './exclusive.ts';
import { FlushBatch } from './flush-batch.ts';
import { Generation, placeWal } from './generation.ts';
import { hideBelow } from './hide.ts';
import type { FrozenLayer } from './frozen-layer.ts';
import type { FilePool } from './layer-file.ts';
import type { Layer } from './layer.ts';
import { limits, unitBytes, type Tuning } from './limits.ts';
import type { Marks } from './marks.ts';
import { MovedPages } from './moved-pages.ts';
import type { PageIndex, PendingGeneration } from './page-index.ts';
import type { SuperblockFile } from './superblock.ts';
import { VolumeFault } from './volume-fault.ts';
import type { Wal } from './wal.ts';

export interface FlusherOwner {
	/** A cycle has ended well: the checkpoint moved, there is room. */
	flushed(): void;
	/** The file system is full: what was to be flushed is dirty again. */
	outOfSpace(): void;
	flushFailed(reason: string, cause: unknown): void;
	/** Generations are in their layers, durably, with the last ones of layers among them: makes the places of the snapshots in the tree durable, with the checkpoint. The layers, oldest first. */
	layersComplete(batch: readonly PendingGeneration[]): Promise<FrozenLayer[]>;
}

/**
 * Moves what is dirty from the log into the layer:
 *
 *   freeze the live generation at a cut → the log durable up to the cut → holes punched → pages written → data durable → map written → map durable →
 *   superblock with the cut as checkpoint → the frozen generation goes, segments below the cut are recycled
 *
 * Each arrow is a wait; the order is what recovery relies on. A crash anywhere replays from the old checkpoint and does it again.
 *
 * Snapshots freeze generations, too, each for its layer. They are carried in their order, oldest first, and as many together as Tuning.flushStartBytes of the log hold: what is durable between two
 * arrows is so for all of them, and one change of the tree, in the place of the superblock alone, makes all their layers complete. So a thousand snapshots wait for a few cycles.
 */
export class Flusher {
	readonly #index: PageIndex;
	readonly #wal: Wal;
	readonly #superblock: SuperblockFile;
	readonly #exclusive: Exclusive;
	readonly #marks: Marks;
	readonly #tuning: Tuning;
	readonly #segmentUnits: number;
	readonly #pool: FilePool;
	readonly #owner: FlusherOwner;
	#isRunning = false;
	#cycles: Promise<void> = Promise.resolve();
	#again = false;
	/** Who waits for the round that begins next. */
	#waiting: (() => void)[] = [];
	/** An empty generation, for the next cut. */
	#spare = new Generation();
	#stopped = false;
	cycles = 0;
	pages = 0;
	/** Records whose pages were carried: each counts once, however many pages it had. */
	records = 0;
	logReads = 0;
	layerWrites = 0;

	constructor(
		index: PageIndex,
		wal: Wal,
		superblock: SuperblockFile,
		exclusive: Exclusive,
		marks: Marks,
		tuning: Tuning,
		segmentBytes: number,
		pool: FilePool,
		owner: FlusherOwner,
	) {
		this.#index = index;
		this.#wal = wal;
		this.#superblock = superblock;
		this.#exclusive = exclusive;
		this.#marks = marks;
		this.#tuning = tuning;
		this.#segmentUnits = segmentBytes / unitBytes;
		this.#pool = pool;
		this.#owner = owner;
	}

	get isRunning(): boolean {
		return this.#isRunning;
	}

	/** Starts a cycle, or has one follow the cycle that runs. */
	kick(): void {
		this.#again = true;
		if (this.#isRunning || this.#stopped) return;
		this.#isRunning = true;
		this.#cycles = this.#run();
	}

	/** Resolves when what is dirty now has been flushed, or a cycle failed (the owner was told). */
	async flush(): Promise<void> {
		if (this.#stopped) return this.idle();
		const ended = new Promise<void>((resolve) => this.#waiting.push(resolve));
		this.kick();
		await ended;
	}

	/** Resolves when no cycle runs. */
	async idle(): Promise<void> {
		while (this.#isRunning) await this.#cycles;
	}

	/** No further cycle; the one that runs ends at its next step. */
	stop(): void {
		this.#stopped = true;
	}

	async #run(): Promise<void> {
		while (this.#again && !this.#stopped) {
			this.#again = false;
			const waiting = this.#waiting.splice(0);
			const cut = this.#wal.installedLSN;
			const before = this.#index.pending.at(-1)?.cutLSN ?? this.#superblock.current.checkpointLSN;
			// Nothing dirty is no reason to stop while the log has grown: whoever waits needs its segments.
			if (!this.#index.active.isEmpty || cut !== before) {
				this.#index.freeze(cut, this.#spare);
				this.#spare = new Generation();
				this.#marks.froze();
			}
			const isGood = await this.#drain(this.#index.pending.length);
			for (const resolve of waiting) resolve();
			if (!isGood) break;
		}
		// In the turn of the last look at #again: a kick after it starts anew.
		this.#isRunning = false;
		if (this.#waiting.length > 0 && !this.#stopped) this.kick();
		else for (const resolve of this.#waiting.splice(0)) resolve();
	}

	/** Carries so many of the pending generations; false if a cycle failed. */
	async #drain(generations: number): Promise<boolean> {
		for (let left = generations; left > 0 && !this.#stopped;) {
			const batch = this.#nextBatch(left);
			const last = batch.at(-1) as PendingGeneration;
			try {
				const frozen = await this.#exclusive.run(() => this.#cycle(batch, last));
				this.#index.flushed(batch.length, frozen);
			} catch (error) {
				this.#failed(error, batch);
				return false;
			}
			left -= batch.length;
			last.generation.clear();
			this.#spare = last.generation;
			this.cycles++;
			this.#wal.segments.setCheckpoint(last.cutLSN);
			this.#owner.flushed();
		}
		return true;
	}

	/** The oldest ones, at least one; no more of the log than that other cycles free segments meanwhile. */
	#nextBatch(generationsMax: number): PendingGeneration[] {
		const endLSN = this.#superblock.current.checkpointLSN + this.#tuning.flushStartBytes / unitBytes;
		const { pending } = this.#index;
		const most = Math.min(generationsMax, limits.flushGenerationsMax);
		let count = 1;
		while (count < most && (pending[count] as PendingGeneration).cutLSN <= endLSN) count++;
		return pending.slice(0, count);
	}

	/** The layers that are complete with these generations. */
	async #cycle(batch: readonly PendingGeneration[], last: PendingGeneration): Promise<FrozenLayer[]> {
		this.#mustRun();
		await this.#wal.synced();
		const moved: MovedPages[] = [];
		for (const [at, { generation, layer }] of batch.entries()) {
			for (const { start, end } of generation.zeros) await layer.punch(start, end);
			moved.push(await this.#movePages(at, generation, layer));
		}
		for (const { layer } of batch) await layer.makeMap();
		if (last.snapshot !== undefined) await this.#index.above(last.layer).makeMap();
		await inTurns(new Set(batch.map(({ layer }) => layer)), (layer) => layer.syncData());
		this.#mustRun();
		await this.#updateMaps(batch, moved);
		await inTurns(changedLayers(batch), (layer) => layer.map.file.datasync());
		this.#mustRun();
		if (batch.some(({ snapshot }) => snapshot !== undefined)) return this.#owner.layersComplete(batch);
		const marks = this.#marks.remaining();
		const mapDigest = last.layer.digest.value;
		await this.#superblock.update({ checkpointLSN: last.cutLSN, mapDigest, holds: [...this.#wal.segments.holds], marks });
		return [];
	}

	/** Oldest first: what a generation zeroed hides what the layers below its own hold, those of this cycle among them. */
	async #updateMaps(batch: readonly PendingGeneration[], moved: readonly MovedPages[]): Promise<void> {
		const { below, isLosingLayer } = this.#index;
		const views: FrozenLayer[] = [];
		const lastZeroed = batch.findLastIndex(({ generation }) => generation.zeros.count > 0);
		try {
			for (const [at, { generation: frozen, layer, snapshot }] of batch.entries()) {
				for (const { start, end } of frozen.zeros) await layer.map.clear(start, end, layer.digest);
				for (const { start, end } of frozen.zeros) await hideBelow(layer, below, start, end, isLosingLayer);
				await this.#updateMap(frozen, layer, moved[at] as MovedPages);
				if (snapshot === undefined || at >= lastZeroed) continue;
				const view = layer.mapView(this.#pool);
				views.push(view);
				await view.summarize(below.blocksPerBit);
				// Readers find the same in the layer itself, and look there first.
				below.push(view);
			}
		} finally {
			for (const view of views) {
				below.remove(view);
				await this.#pool.drop(view.mapFile);
			}
		}
	}

	/** Carries the pages of a generation of the cycle; returns those whose map entries must follow. */
	async #movePages(at: number, frozen: Generation, layer: Layer): Promise<MovedPages> {
		const moved = new MovedPages(frozen.livePages);
		const batch = new FlushBatch(this.#tuning.flushBatchBytes);
		let isNewRecord = false;
		for (let entry = 0; entry < frozen.length; entry++) {
			// Of a large generation that lies in the layer already, nothing below is waited for: others have their turn.
			if (entry % this.#tuning.flushTurnEntries === this.#tuning.flushTurnEntries - 1) await nextTurn();
			isNewRecord ||= frozen.startsRecord(entry);
			// What was written or zeroed again since the cut comes with the next cycle: its record is above the new checkpoint, and durable.
			const page = frozen.pageOf(entry);
			if (!frozen.isNewest(entry) || this.#isSuperseded(at, page)) continue;
			moved.add(page, frozen.checksumOf(entry));
			if (frozen.placeOf(entry) !== placeWal) continue;
			if (isNewRecord) this.records++;
			isNewRecord = false;
			const location = frozen.locationOf(entry);
			if (batch.add(entry, location, this.#segmentUnits)) continue;
			await this.#moveBatch(batch, frozen, layer);
			if (!batch.add(entry, location, this.#segmentUnits)) throw new RangeError('a flush batch that holds no page');
		}
		await this.#moveBatch(batch, frozen, layer);
		batch.release();
		this.pages += moved.count;
		return moved;
	}

	async #moveBatch(batch: FlushBatch, frozen: Generation, layer: Layer): Promise<void> {
		this.#mustRun();
		if (batch.isEmpty) return;
		const { reads, writes } = await batch.move(frozen, this.#wal, layer);
		this.logReads += reads;
		this.layerWrites += writes;
		batch.clear();
	}

	/**
	 * A younger version that a power loss could still take must not keep this one from the layer; nor one that belongs to another layer, for this one is what the snapshot
	 * shows.
	 */
	#isSuperseded(at: number, page: number): boolean {
		const { pending } = this.#index;
		if (pending[at]?.snapshot !== undefined) return false;
		const active = pending[at + 1]?.generation ?? this.#index.active;
		const { durableLSN } = this.#wal;
		const entry = active.find(page);
		if (entry >= 0 && active.locationOf(entry) < durableLSN) return true;
		const zeroedAt = active.zeros.lsnOf(page);
		return zeroedAt >= 0 && zeroedAt < durableLSN;
	}

	async #updateMap(frozen: Generation, layer: Layer, moved: MovedPages): Promise<void> {
		const { pages, checksums } = moved.sorted((page) => frozen.checksumOf(frozen.find(page)));
		await layer.map.update(pages, checksums, pages.length, layer.digest);
	}

	/** Nothing may be made durable, and no superblock written, once the volume has failed or is gone. */
	#mustRun(): void {
		if (this.#stopped) throw new FlusherStopped();
	}

	#failed(error: unknown, batch: readonly PendingGeneration[]): void {
		if (error instanceof FlusherStopped) return;
		if (errorCode(error) === 'ENOSPC') {
			// One generation again, so that what is zeroed from now on is taken off before the next try.
			this.#index.rejoin();
			// Part of the map may be written already.
			for (const { layer } of batch) layer.digest.known = false;
			this.#owner.outOfSpace();
			return;
		}
		if (error instanceof VolumeFault) this.#owner.flushFailed(error.message, error.cause);
		else if (errorCode(error) === '') throw error;
		else this.#owner.flushFailed('the flusher could not write the layer', error);
	}
}

function nextTurn(): Promise<void> {
	return new Promise((resolve) => setImmediate(resolve));
}

class FlusherStopped extends Error {}

/** Those into whose maps generations were carried; the others were not written since they were made. */
function changedLayers(batch: readonly PendingGeneration[]): Set<Layer> {
	return new Set(batch.filter(({ generation }) => !generation.isEmpty).map(({ layer }) => layer));
}

/** So many files of a cycle are synced at once: what the file system commits for one it commits for the others, too. The pool has threads for the log besides. */
const syncsAtOnce = 2;

/** Rejects with the first failure, when nothing runs any more. */
async function inTurns<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
	const left = items[Symbol.iterator]();
	const worker = async (): Promise<void> => {
		for (let next = left.next(); next.done !== true; next = left.next()) await work(next.value);
	};
	const ended = await Promise.allSettled(Array.from({ length: syncsAtOnce }, worker));
	for (const end of ended) if (end.status === 'rejected') throw end.reason;
}
