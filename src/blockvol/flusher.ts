import { errorCode } from '../os/disk.ts';
import { FlushBatch } from './flush-batch.ts';
import { Generation, placeWal } from './generation.ts';
import { unitBytes, type Tuning } from './limits.ts';
import type { RunningDigest } from './map-digest.ts';
import type { Marks } from './marks.ts';
import type { PageIndex } from './page-index.ts';
import type { SuperblockFile } from './superblock.ts';
import { VolumeFault } from './volume-fault.ts';
import type { Wal } from './wal.ts';

export interface FlusherOwner {
	/** A cycle has ended well: the checkpoint moved, there is room. */
	flushed(): void;
	/** The file system is full: what was to be flushed is dirty again. */
	outOfSpace(): void;
	flushFailed(reason: string, cause: unknown): void;
}

/**
 * Moves what is dirty from the log into the layer, a generation at a time:
 *
 *   freeze the live generation at a cut → the log durable up to the cut → holes punched → pages written → data durable → map written → map durable →
 *   superblock with the cut as checkpoint → the frozen generation goes, segments below the cut are recycled
 *
 * Each arrow is a wait; the order is what recovery relies on. A crash anywhere replays from the old checkpoint and does it again.
 */
export class Flusher {
	readonly #index: PageIndex;
	readonly #wal: Wal;
	readonly #superblock: SuperblockFile;
	readonly #digest: RunningDigest;
	readonly #marks: Marks;
	readonly #tuning: Tuning;
	readonly #segmentUnits: number;
	readonly #owner: FlusherOwner;
	#isRunning = false;
	#cycles: Promise<void> = Promise.resolve();
	#again = false;
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
		digest: RunningDigest,
		marks: Marks,
		tuning: Tuning,
		segmentBytes: number,
		owner: FlusherOwner,
	) {
		this.#index = index;
		this.#wal = wal;
		this.#superblock = superblock;
		this.#digest = digest;
		this.#marks = marks;
		this.#tuning = tuning;
		this.#segmentUnits = segmentBytes / unitBytes;
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
		while (this.#isRunning) await this.#cycles;
		this.kick();
		await this.#cycles;
	}

	/** No further cycle; the one that runs ends at its next step. */
	stop(): void {
		this.#stopped = true;
	}

	async #run(): Promise<void> {
		while (this.#again && !this.#stopped) {
			this.#again = false;
			const cut = this.#wal.installedLSN;
			// Nothing dirty is no reason to stop while the log has grown: whoever waits needs its segments.
			if (this.#index.active.isEmpty && cut === this.#superblock.current.checkpointLSN) break;
			const frozen = this.#index.active;
			this.#index.frozen = frozen;
			this.#index.active = this.#spare;
			this.#marks.froze();
			try {
				await this.#cycle(frozen, cut);
			} catch (error) {
				this.#failed(frozen, error);
				break;
			}
			this.#index.frozen = undefined;
			frozen.clear();
			this.#spare = frozen;
			this.cycles++;
			this.#wal.segments.setCheckpoint(cut);
			this.#owner.flushed();
		}
		// In the turn of the last look at #again: a kick after it starts anew.
		this.#isRunning = false;
	}

	async #cycle(frozen: Generation, cut: number): Promise<void> {
		const { layer } = this.#index;
		await this.#wal.synced();
		for (const { start, end } of frozen.zeros) await layer.punch(start, end);
		const moved = await this.#movePages(frozen);
		await layer.syncData();
		this.#mustRun();
		for (const { start, end } of frozen.zeros) await layer.map.clear(start, end, this.#digest);
		await this.#updateMap(frozen, moved);
		await layer.map.file.datasync();
		this.#mustRun();
		const marks = this.#marks.remaining();
		await this.#superblock.update({ checkpointLSN: cut, mapDigest: this.#digest.value, holds: [...this.#wal.segments.holds], marks });
	}

	/** Carries the pages; returns those whose map entries must follow. */
	async #movePages(frozen: Generation): Promise<Float64Array> {
		const moved = new Float64Array(frozen.livePages);
		let count = 0;
		const batch = new FlushBatch(this.#tuning.flushBatchBytes);
		let isNewRecord = false;
		for (let entry = 0; entry < frozen.length; entry++) {
			isNewRecord ||= frozen.startsRecord(entry);
			// What was written or zeroed again since the cut comes with the next cycle: its record is above the new checkpoint, and durable.
			if (!frozen.isNewest(entry) || this.#isSuperseded(frozen.pageOf(entry))) continue;
			moved[count++] = frozen.pageOf(entry);
			if (frozen.placeOf(entry) !== placeWal) continue;
			if (isNewRecord) this.records++;
			isNewRecord = false;
			const location = frozen.locationOf(entry);
			if (batch.add(entry, location, this.#segmentUnits)) continue;
			await this.#moveBatch(batch, frozen);
			if (!batch.add(entry, location, this.#segmentUnits)) throw new RangeError('a flush batch that holds no page');
		}
		await this.#moveBatch(batch, frozen);
		batch.release();
		this.pages += count;
		return moved.subarray(0, count);
	}

	async #moveBatch(batch: FlushBatch, frozen: Generation): Promise<void> {
		this.#mustRun();
		if (batch.isEmpty) return;
		const { reads, writes } = await batch.move(frozen, this.#wal, this.#index.layer);
		this.logReads += reads;
		this.layerWrites += writes;
		batch.clear();
	}

	/** A younger version that a power loss could still take must not keep this one from the layer. */
	#isSuperseded(page: number): boolean {
		const { active } = this.#index;
		const { durableLSN } = this.#wal;
		const entry = active.find(page);
		if (entry >= 0 && active.locationOf(entry) < durableLSN) return true;
		const zeroedAt = active.zeros.lsnOf(page);
		return zeroedAt >= 0 && zeroedAt < durableLSN;
	}

	async #updateMap(frozen: Generation, pages: Float64Array): Promise<void> {
		pages.sort();
		const entries = new Uint32Array(pages.length);
		for (let at = 0; at < pages.length; at++) entries[at] = frozen.checksumOf(frozen.find(pages[at] as number));
		await this.#index.layer.map.update(pages, entries, pages.length, this.#digest);
	}

	/** Nothing may be made durable, and no superblock written, once the volume has failed or is gone. */
	#mustRun(): void {
		if (this.#stopped) throw new FlusherStopped();
	}

	#failed(frozen: Generation, error: unknown): void {
		if (error instanceof FlusherStopped) return;
		if (errorCode(error) === 'ENOSPC') {
			// One generation again, so that what is zeroed from now on is taken off before the next try.
			this.#index.active = frozen.mergedWith(this.#index.active);
			this.#spare = new Generation();
			this.#index.frozen = undefined;
			// Part of the map may be written already.
			this.#digest.known = false;
			this.#owner.outOfSpace();
			return;
		}
		if (error instanceof VolumeFault) this.#owner.flushFailed(error.message, error.cause);
		else if (errorCode(error) === '') throw error;
		else this.#owner.flushFailed('the flusher could not write the layer', error);
	}
}

class FlusherStopped extends Error {}
