import { writeBytesMax } from './block-device.ts';
import { pageChecksums } from './page-checksums.ts';
import { zeroPage } from './zero-page.ts';
import { pageBytes, unitBytes } from './limits.ts';
import type { WalSegment } from './wal-segment.ts';

/** Longest record whose pages are in the staging buffer: 1 MiB of data that is not aligned to pages, twice over. */
const stagingBytes = 2 * 1024 * 1024 + 64 * 1024;

/** One page more than the longest data has that begins with a page. */
const tableScratch = new Uint32Array(writeBytesMax / pageBytes + 1);

/** One record of a batch, pooled: what happens when its bytes are in the kernel. */
export class AppendRecord {
	type = 0;
	firstPage = 0;
	pages = 0;
	lsn = 0;
	/** Where the first page's bytes are, in units of the log. */
	dataLocation = 0;
	/** Offset of the checksum table in the batch's staging buffer. */
	tableAt = 0;
	owner: RecordOwner | undefined = undefined;
}

/** Who appended a record. */
export interface RecordOwner {
	/** The record is in the kernel and visible to readers. */
	recordInstalled(): void;
	/** The record did not get there; the volume is faulted. */
	recordFailed(): void;
}

/** Contiguous bytes of one segment. */
interface Run {
	segment: WalSegment;
	positionBytes: number;
	lengthBytes: number;
	parts: Uint8Array[];
	/** Where the open part of the staging buffer begins. */
	stagedFrom: number;
}

/** The records of one turn (or of the time that the last write took), laid out as they go to the disk. Two exist and take turns. */
export class AppendBatch {
	readonly staging: Buffer = Buffer.allocUnsafeSlow(stagingBytes + pageBytes);
	readonly runs: Run[] = [];
	readonly #records: AppendRecord[] = [];
	/** Pages that its records write, and ranges that they zero. */
	pages = 0;
	zeros = 0;
	#count = 0;
	#used = 0;

	get isEmpty(): boolean {
		return this.#count === 0 && this.runs.length === 0;
	}

	get used(): number {
		return this.#used;
	}

	get records(): number {
		return this.#count;
	}

	record(index: number): AppendRecord {
		return this.#records[index] as AppendRecord;
	}

	hasRoom(bytes: number): boolean {
		return this.#used + bytes <= stagingBytes;
	}

	/** Takes staging space at the end of a segment's bytes; returns its offset. */
	stage(segment: WalSegment, positionBytes: number, bytes: number): number {
		const run = this.#runAt(segment, positionBytes);
		const at = this.#used;
		this.#used += bytes;
		run.lengthBytes += bytes;
		return at;
	}

	/** Adds bytes that stay where they are until the batch is written, behind what was staged. */
	refer(data: Uint8Array): void {
		const run = this.runs.at(-1) as Run;
		this.#endPart(run);
		run.parts.push(data);
		run.lengthBytes += data.length;
	}

	addRecord(): AppendRecord {
		if (this.#count === this.#records.length) this.#records.push(new AppendRecord());
		return this.#records[this.#count++] as AppendRecord;
	}

	/**
	 * Closes the last part of each run and fills its last page with zeros: the next append begins in a page that is whole in memory, so the kernel never has to
	 * read one to complete it.
	 */
	seal(): void {
		for (const run of this.runs) {
			this.#endPart(run);
			const over = (run.positionBytes + run.lengthBytes) % pageBytes;
			if (over === 0) continue;
			const last = run.parts.at(-1) as Uint8Array;
			const isLastStaged = run === this.runs.at(-1) && last.buffer === this.staging.buffer;
			if (isLastStaged) {
				const end = last.byteOffset - this.staging.byteOffset + last.length;
				this.staging.fill(0, end, end + pageBytes - over);
				run.parts[run.parts.length - 1] = this.staging.subarray(end - last.length, end + pageBytes - over);
			} else {
				run.parts.push(zeroPage.subarray(0, pageBytes - over));
			}
		}
	}

	clear(): void {
		for (let index = 0; index < this.#count; index++) this.record(index).owner = undefined;
		this.pages = 0;
		this.zeros = 0;
		this.#count = 0;
		this.#used = 0;
		this.runs.length = 0;
	}

	/** True if a record of this batch touches a page from first to end (exclusive). */
	touches(first: number, end: number): boolean {
		for (let index = 0; index < this.#count; index++) {
			const record = this.record(index);
			if (record.firstPage < end && record.firstPage + record.pages > first) return true;
		}
		return false;
	}

	#runAt(segment: WalSegment, positionBytes: number): Run {
		const last = this.runs.at(-1);
		if (last !== undefined && last.segment === segment) return last;
		if (last !== undefined) this.#endPart(last);
		const run: Run = { segment, positionBytes, lengthBytes: 0, parts: [], stagedFrom: this.#used };
		this.runs.push(run);
		return run;
	}

	#endPart(run: Run): void {
		if (run === this.runs.at(-1) && this.#used > run.stagedFrom) run.parts.push(this.staging.subarray(run.stagedFrom, this.#used));
		run.stagedFrom = this.#used;
	}
}

/** Fills in the table of a record with the checksums of its pages. */
export function fillTable(staging: Buffer, record: AppendRecord, data: Uint8Array): void {
	pageChecksums(data, record.pages, tableScratch);
	for (let page = 0; page < record.pages; page++) staging.writeUInt32LE(tableScratch[page] as number, record.tableAt + page * 4);
	clearTablePadding(staging, record);
}

/** The staging buffer is used again and again: what lies behind the table would be of an older record. */
export function clearTablePadding(staging: Buffer, record: AppendRecord): void {
	const used = record.tableAt + record.pages * 4;
	const end = Math.ceil((record.pages * 4) / unitBytes) * unitBytes + record.tableAt;
	if (used < end) staging.fill(0, used, end);
}
