import type { Disk, DiskFile } from '../os/disk.ts';
import { readFully } from '../os/transfer.ts';
import { unitBytes } from './limits.ts';
import { segmentName } from './wal-segment.ts';
import { pageChecksum } from './page-checksums.ts';
import { hasMagic, headerBytes, openHeader, recordBytes, recordType, tableBytes, type RecordHeader } from './wal-record.ts';
import { pageBytes } from './limits.ts';

const windowBytes = 4 * 1024 * 1024;

/** A record as it stands in the window: valid until the next call. */
export interface LogRecord extends RecordHeader {
	bytes: Buffer;
	/** Offset of the checksum table in `bytes`. */
	tableAt: number;
	/** Location of the first page's bytes. */
	dataLocation: number;
}

/** Reads the log's segments for recovery and check. A window of 4 MiB, no more, whatever the log's length. */
export class LogReader {
	readonly #disk: Disk;
	readonly #directory: string;
	readonly #segmentBytes: number;
	readonly #segmentUnits: number;
	readonly #walGeneration: number;
	readonly #mode: 'existing' | 'readOnly';
	readonly #files = new Map<number, DiskFile>();
	readonly #window: Buffer = Buffer.allocUnsafeSlow(windowBytes);
	#windowSequence = -1;
	#windowAt = 0;
	#windowEnd = 0;
	/** Called with the share of the log, 0 to 1, whose end was reached: now and then, ascending within a pass. */
	passed: ((share: number) => void) | undefined;

	constructor(disk: Disk, directory: string, segmentBytes: number, walGeneration: number, mode: 'existing' | 'readOnly') {
		this.#disk = disk;
		this.#directory = directory;
		this.#segmentBytes = segmentBytes;
		this.#segmentUnits = segmentBytes / unitBytes;
		this.#walGeneration = walGeneration;
		this.#mode = mode;
	}

	/** Opens the segments whose names are in the directory, from one sequence to another. */
	async open(fromSequence: number, names: readonly string[], toSequence = Infinity): Promise<void> {
		for (const name of names) {
			const sequence = Number.parseInt(name, 10) / this.#segmentUnits;
			if (
				!Number.isInteger(sequence) ||
				sequence < fromSequence ||
				sequence > toSequence ||
				name !== segmentName(sequence * this.#segmentUnits)
			)
				continue;
			this.#files.set(sequence, await this.#disk.open(`${this.#directory}/${name}`, this.#mode));
		}
	}

	fileOf(lsn: number): DiskFile | undefined {
		return this.#files.get(Math.floor(lsn / this.#segmentUnits));
	}

	positionOf(lsn: number): number {
		return (lsn % this.#segmentUnits) * unitBytes;
	}

	/** The record at an LSN; undefined when there is none that is whole and belongs there. What fails is read twice. */
	async record(lsn: number): Promise<LogRecord | undefined> {
		const first = await this.#recordOnce(lsn);
		if (first !== undefined) return first;
		this.#windowSequence = -1;
		return this.#recordOnce(lsn);
	}

	/** The highest durableLSN that any sound header at or above an LSN tells of; -1 if there is no such header. */
	async durableAfter(lsn: number): Promise<number> {
		let durable = -1;
		for (const sequence of this.#files.keys()) {
			const firstLSN = sequence * this.#segmentUnits;
			if (firstLSN + this.#segmentUnits <= lsn) continue;
			for (let at = Math.max(lsn, firstLSN); at < firstLSN + this.#segmentUnits; at++) {
				if (!(await this.#ensure(at, headerBytes))) break;
				const offset = this.#offsetOf(at);
				if (!hasMagic(this.#window, offset, this.#walGeneration)) continue;
				await this.#ensure(at, Math.min(headerBytes + tableBytes(this.#segmentBytes / pageBytes), this.#leftInSegment(at)));
				const header = openHeader(this.#window, this.#offsetOf(at), this.#walGeneration, at);
				if (header !== undefined && header.durableLSN > durable) durable = header.durableLSN;
			}
		}
		return durable;
	}

	async close(): Promise<void> {
		await Promise.all([...this.#files.values()].map((file) => file.close()));
	}

	async #recordOnce(lsn: number): Promise<LogRecord | undefined> {
		const left = this.#leftInSegment(lsn);
		if (!(await this.#ensure(lsn, headerBytes)) || !hasMagic(this.#window, this.#offsetOf(lsn), this.#walGeneration)) return undefined;
		// The header's own figures are believed only so far as they ask for bytes that the segment has.
		const type = this.#window.readUInt32LE(this.#offsetOf(lsn) + 28);
		const pages = this.#window.readUInt32LE(this.#offsetOf(lsn) + 40);
		const wanted = Math.min(recordBytes(type, pages), left, windowBytes);
		if (!(await this.#ensure(lsn, wanted))) return undefined;
		const at = this.#offsetOf(lsn);
		const header = openHeader(this.#window.subarray(0, this.#windowEnd - this.#windowAt), at, this.#walGeneration, lsn);
		if (header === undefined || header.lengthUnits * unitBytes > left || header.lengthUnits === 0) return undefined;
		const tableAt = at + headerBytes;
		const dataAt = tableAt + (recordBytes(header.type, header.pages) > headerBytes ? tableBytes(header.pages) : 0);
		if (header.type === recordType.write && !this.#pagesMatch(tableAt, dataAt, header.pages)) return undefined;
		return { ...header, bytes: this.#window, tableAt, dataLocation: lsn + (dataAt - at) / unitBytes };
	}

	#pagesMatch(tableAt: number, dataAt: number, pages: number): boolean {
		for (let page = 0; page < pages; page++) {
			const from = dataAt + page * pageBytes;
			if (pageChecksum(this.#window.subarray(from, from + pageBytes)) !== this.#window.readUInt32LE(tableAt + page * 4)) return false;
		}
		return true;
	}

	#leftInSegment(lsn: number): number {
		return this.#segmentBytes - this.positionOf(lsn);
	}

	#offsetOf(lsn: number): number {
		return this.positionOf(lsn) - this.#windowAt;
	}

	/** Has the window hold so many bytes from an LSN on; false where the segment has no file or its file ends. */
	async #ensure(lsn: number, bytes: number): Promise<boolean> {
		const sequence = Math.floor(lsn / this.#segmentUnits);
		const position = this.positionOf(lsn);
		if (sequence === this.#windowSequence && position >= this.#windowAt && position + bytes <= this.#windowEnd) return true;
		const file = this.#files.get(sequence);
		if (file === undefined) return false;
		const length = Math.min(windowBytes, this.#segmentBytes - position);
		const read = await readFully(file, this.#window.subarray(0, length), position);
		this.#windowSequence = sequence;
		this.#windowAt = position;
		this.#windowEnd = position + read;
		const first = Math.min(...this.#files.keys());
		this.passed?.(Math.min(1, ((sequence - first) * this.#segmentBytes + this.#windowEnd) / (this.#files.size * this.#segmentBytes)));
		return position + bytes <= this.#windowEnd;
	}
}
