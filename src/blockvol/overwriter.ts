import { errorCode } from '../os/disk.ts';
import { fillTable, type RecordOwner } from './append-batch.ts';
import { InlineGate } from './inline-gate.ts';
import { pageBytes, type Tuning } from './limits.ts';
import type { Marks } from './marks.ts';
import { notLoaded } from './page-map.ts';
import type { PageIndex } from './page-index.ts';
import type { Span, Spans } from './spans.ts';
import type { Wal } from './wal.ts';
import { recordType } from './wal-record.ts';
import type { WriteCommand } from './write-command.ts';

export interface OverwriterOwner {
	/** Bytes of the layer were changed that are not synced. */
	layerWritten(): void;
	/** A write to the layer failed. */
	writeFailed(reason: string, cause: unknown): void;
	/** A span is over: whoever waits for it goes on. */
	serve(): void;
	/** Makes durable which regions are marked. Rejects with the kernel's error. */
	writeMarks(marks: number[]): Promise<void>;
}

/** What stands in the way of a write in place. `log`: it has to go through the log. */
export type Obstacle = 'log' | 'notLoaded';

/**
 * Writes large data over pages that the layer holds, where they are: once and not twice. The record goes first, with the new checksums; the answer waits for both. A crash
 * may leave old or new bytes, or some of each, in pages whose region is marked (marks.ts): replay takes them as they are.
 *
 * Allowed only where the page map holds every page and the log holds no newer version: then what a crash leaves is always a version that was written there, and no
 * flusher writes an older one over it.
 */
export class Overwriter {
	readonly #index: PageIndex;
	readonly #wal: Wal;
	readonly #marks: Marks;
	readonly #spans: Spans;
	readonly #bytesMin: number;
	readonly #inlineBytesMax: number;
	readonly #gate: InlineGate;
	readonly #keepUnits: number;
	readonly #owner: OverwriterOwner;
	#isMarking = false;
	writes = 0;

	constructor(index: PageIndex, wal: Wal, marks: Marks, spans: Spans, tuning: Tuning, keepUnits: number, owner: OverwriterOwner) {
		this.#index = index;
		this.#wal = wal;
		this.#marks = marks;
		this.#spans = spans;
		this.#bytesMin = tuning.overwriteBytesMin;
		this.#inlineBytesMax = tuning.inlineOverwriteBytesMax;
		this.#gate = new InlineGate(tuning.inlineStallMs);
		this.#keepUnits = keepUnits;
		this.#owner = owner;
	}

	takes(command: WriteCommand, position: number, length: number): boolean {
		const isAligned = position % pageBytes === 0 && length % pageBytes === 0;
		return isAligned && length >= this.#bytesMin && !command.isZero && command.expected === undefined;
	}

	/** Undefined when the pages may be written in place as far as they are concerned. */
	obstacle(first: number, end: number): Obstacle | undefined {
		const { layer } = this.#index;
		if (this.#wal.hasPending(first, end) || this.#index.isInLog(first, end) || layer.contiguous(first, end - first) < end - first)
			return 'log';
		const other = layer.map.endOfChecksums(first, end);
		if (other === end) return undefined;
		return layer.map.entry(other) === notLoaded ? 'notLoaded' : 'log';
	}

	/** Appends the record and begins the write. False when the region is not marked, or the log has no room: then the log's own way finds out. */
	start(command: WriteCommand, first: number, end: number, data: Uint8Array): boolean {
		if (!this.#marks.begin(first, end)) {
			if (this.#marks.hasDue) this.#mark();
			return false;
		}
		const overwrite = new Overwrite(this, command, first, end);
		const record = this.#wal.begin(recordType.overwrite, first, end - first, false, this.#keepUnits, overwrite);
		if (record === undefined) {
			this.#marks.end(first, end);
			return false;
		}
		fillTable(this.#wal.staging, record, data);
		this.#wal.commit(record, undefined);
		this.#spans.add(overwrite);
		this.writes++;
		if (this.#marks.hasDue) this.#mark();
		if (!this.#writeNow(overwrite, data)) void this.#write(overwrite, data);
		return true;
	}

	/** Record and data are where they belong, or the volume has failed. */
	over(overwrite: Overwrite): void {
		this.#marks.end(overwrite.first, overwrite.end);
		this.#spans.remove(overwrite);
		if (overwrite.failed) overwrite.command.recordFailed();
		else overwrite.command.recordInstalled();
		this.#owner.serve();
	}

	/** False: not now by this thread. */
	#writeNow(overwrite: Overwrite, data: Uint8Array): boolean {
		const { layer } = this.#index;
		if (data.length > this.#inlineBytesMax || !layer.mayWriteNow(overwrite.first)) return false;
		const enteredAt = this.#gate.enter();
		if (enteredAt < 0) return false;
		try {
			layer.writeNow(overwrite.first, data);
		} catch (error) {
			// The pool writes all of it anew, and reports what it meets.
			if (errorCode(error) === '') throw error;
			return false;
		}
		this.#gate.leave(enteredAt);
		this.#owner.layerWritten();
		overwrite.partDone();
		return true;
	}

	async #write(overwrite: Overwrite, data: Uint8Array): Promise<void> {
		try {
			await this.#index.layer.write(overwrite.first, [data], overwrite.end - overwrite.first);
			this.#owner.layerWritten();
		} catch (error) {
			// Whatever the kernel says, a full disk too: what the pages hold now is unknown, and only an opening settles that.
			overwrite.failed = true;
			this.#owner.writeFailed('a write to the layer failed', error);
		}
		overwrite.partDone();
	}

	/**
	 * Marks what is due, one stretch at a time. It is never waited for: meanwhile the log takes the data. The superblock says it and not the log, whose sync would have to wait for
	 * all that was written straight to the layer.
	 */
	#mark(): void {
		if (this.#isMarking) return;
		const regions = this.#marks.takeDue();
		if (regions === undefined) return;
		this.#isMarking = true;
		this.#owner.writeMarks(this.#marks.regions()).then(
			() => {
				this.#marks.durable(regions);
				this.#isMarking = false;
				if (this.#marks.hasDue) this.#mark();
			},
			(error: unknown) => this.#owner.writeFailed('the superblock could not be written', error),
		);
	}
}

/** One part of a command that is written in place: over when both its record and its data are down. */
class Overwrite implements RecordOwner, Span {
	readonly isOverwrite = true;
	readonly command: WriteCommand;
	readonly first: number;
	readonly end: number;
	failed = false;
	readonly #overwriter: Overwriter;
	#left = 2;

	constructor(overwriter: Overwriter, command: WriteCommand, first: number, end: number) {
		this.#overwriter = overwriter;
		this.command = command;
		this.first = first;
		this.end = end;
	}

	recordInstalled(): void {
		this.partDone();
	}

	recordFailed(): void {
		this.failed = true;
		this.partDone();
	}

	partDone(): void {
		if (--this.#left === 0) this.#overwriter.over(this);
	}
}
