import { readFully } from '../os/transfer.ts';
import type { Generation } from './generation.ts';
import type { Layer } from './layer.ts';
import { pageBytes, unitBytes } from './limits.ts';
import { VolumeFault } from './volume-fault.ts';
import type { Wal } from './wal.ts';
import { pageChecksum } from './page-checksums.ts';

const unitsPerPage = pageBytes / unitBytes;
/** Two pages this close in the log (32 KiB) are read in one go: what lies between (headers, dead versions) costs less than another read. */
const gapUnitsMax = 512;

const spareBuffers: Buffer[] = [];
const spareBuffersMax = 2;

/** Bytes of the log that are read at once. */
interface LogRun {
	location: number;
	bytes: number;
	bufferAt: number;
}

/**
 * Carries pages of a frozen generation from the log to the layer, a bounded amount at a time: reads in the order of the log, each stretch once however many pages
 * it holds, and writes in the order of the pages, neighbours in one write.
 */
export class FlushBatch {
	readonly #buffer: Buffer;
	readonly #runs: LogRun[] = [];
	readonly #entries: number[] = [];
	readonly #bufferAt: number[] = [];
	#bytes = 0;

	constructor(batchBytes: number) {
		const at = spareBuffers.findIndex((buffer) => buffer.length === batchBytes);
		this.#buffer = (at < 0 ? undefined : spareBuffers.splice(at, 1)[0]) ?? Buffer.allocUnsafeSlow(batchBytes);
	}

	/** Gives the memory back for the next cycle of any volume. Not after a failure: a write may still use it. */
	release(): void {
		if (spareBuffers.length < spareBuffersMax) spareBuffers.push(this.#buffer);
	}

	get isEmpty(): boolean {
		return this.#entries.length === 0;
	}

	/** Takes an entry whose bytes are in the log; false when the batch is full. Locations ascend. */
	add(entry: number, location: number, segmentUnits: number): boolean {
		const run = this.#runs.at(-1);
		const end = run === undefined ? 0 : run.location + run.bytes / unitBytes;
		if (run !== undefined && location >= end && location - end <= gapUnitsMax && sameSegment(run.location, location, segmentUnits)) {
			const bytes = (location + unitsPerPage - end) * unitBytes;
			if (this.#bytes + bytes > this.#buffer.length) return false;
			this.#take(entry, run.bufferAt + (location - run.location) * unitBytes);
			run.bytes += bytes;
			this.#bytes += bytes;
			return true;
		}
		if (this.#bytes + pageBytes > this.#buffer.length) return false;
		this.#runs.push({ location, bytes: pageBytes, bufferAt: this.#bytes });
		this.#take(entry, this.#bytes);
		this.#bytes += pageBytes;
		return true;
	}

	/** Reads the log and writes the layer. Rejects with VolumeFault when the log's bytes do not match their checksums. */
	async move(frozen: Generation, wal: Wal, layer: Layer): Promise<{ reads: number; writes: number }> {
		for (const run of this.#runs) {
			const segment = wal.segments.segmentOf(run.location);
			await readFully(segment.file, this.#buffer.subarray(run.bufferAt, run.bufferAt + run.bytes), wal.segments.positionOf(run.location));
		}
		for (let at = 0; at < this.#entries.length; at++) {
			if (!this.#matches(at, frozen)) await this.#readAgain(at, frozen, wal);
		}
		const writes = await this.#write(frozen, layer);
		return { reads: this.#runs.length, writes };
	}

	clear(): void {
		this.#runs.length = 0;
		this.#entries.length = 0;
		this.#bufferAt.length = 0;
		this.#bytes = 0;
	}

	#take(entry: number, bufferAt: number): void {
		this.#entries.push(entry);
		this.#bufferAt.push(bufferAt);
	}

	#page(at: number): Buffer {
		const from = this.#bufferAt[at] as number;
		return this.#buffer.subarray(from, from + pageBytes);
	}

	#matches(at: number, frozen: Generation): boolean {
		return pageChecksum(this.#page(at)) === frozen.checksumOf(this.#entries[at] as number);
	}

	/** A page that does not match is read once more: a misread here would become permanent. */
	async #readAgain(at: number, frozen: Generation, wal: Wal): Promise<void> {
		const entry = this.#entries[at] as number;
		const location = frozen.locationOf(entry);
		await readFully(wal.segments.segmentOf(location).file, this.#page(at), wal.segments.positionOf(location));
		if (this.#matches(at, frozen)) return;
		throw new VolumeFault(`page ${frozen.pageOf(entry)} is damaged in the write-ahead log (LSN ${location})`);
	}

	async #write(frozen: Generation, layer: Layer): Promise<number> {
		// Page in the high bits, place in the batch in the low ones: a plain numeric sort needs no comparator.
		const count = this.#entries.length;
		const scale = 2 ** Math.ceil(Math.log2(count + 1));
		const keys = Float64Array.from(this.#entries, (entry, at) => frozen.pageOf(entry) * scale + at).sort();
		const firstPages: number[] = [];
		const sources: Buffer[] = [];
		for (let from = 0; from < count;) {
			const firstPage = Math.floor((keys[from] as number) / scale);
			const bufferAt = this.#bufferAt[(keys[from] as number) % scale] as number;
			let to = from + 1;
			// Neighbours on the disk that are neighbours in memory, too: pages of one record.
			for (; to < count; to++) {
				const key = keys[to] as number;
				if (Math.floor(key / scale) !== firstPage + (to - from) || this.#bufferAt[key % scale] !== bufferAt + (to - from) * pageBytes)
					break;
			}
			const pages = layer.contiguous(firstPage, to - from);
			firstPages.push(firstPage);
			sources.push(this.#buffer.subarray(bufferAt, bufferAt + pages * pageBytes));
			from += pages;
		}
		await layer.writeRuns(firstPages, sources);
		return firstPages.length;
	}
}

function sameSegment(a: number, b: number, segmentUnits: number): boolean {
	return Math.floor(a / segmentUnits) === Math.floor(b / segmentUnits);
}
