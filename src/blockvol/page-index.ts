import type { AppendRecord } from './append-batch.ts';
import { placeLayer, placeWal, recordStart, type Generation } from './generation.ts';
import { pageBytes, unitBytes } from './limits.ts';
import { recordType } from './wal-record.ts';
import type { Layer } from './layer.ts';
import { entryAbsent, entryLost, entryZero } from './page-map-block.ts';
import { notLoaded } from './page-map.ts';

const unitsPerPage = pageBytes / unitBytes;

/** Where a page's newest bytes are. */
export const found = { zero: 0, wal: 1, layer: 2, lost: 3, notLoaded: 4 } as const;

/**
 * Answers where the newest version of a page is: the live generation, the frozen one while its flusher cycle runs, then the layer. One instance a volume;
 * the answer stands in its fields until the next look-up, so that a look-up allocates nothing.
 */
export class PageIndex {
	readonly layer: Layer;
	active: Generation;
	/** Under the flusher's hands: read, never changed. */
	frozen: Generation | undefined = undefined;
	/** wal: units of the log. */
	location = 0;
	/** wal and layer. */
	checksum = 0;

	constructor(layer: Layer, active: Generation) {
		this.layer = layer;
		this.active = active;
	}

	/** One of `found`. Throws on EIO of the page map. */
	find(page: number): number {
		const inActive = this.#findIn(this.active, page);
		if (inActive >= 0) return inActive;
		if (this.frozen !== undefined) {
			const inFrozen = this.#findIn(this.frozen, page);
			if (inFrozen >= 0) return inFrozen;
		}
		const entry = this.layer.map.entry(page);
		if (entry === notLoaded) return found.notLoaded;
		if (entry === entryAbsent || entry === entryZero) return found.zero;
		if (entry === entryLost) return found.lost;
		this.checksum = entry;
		return found.layer;
	}

	/** Makes a record of the log visible; its checksum table is in `staging`. */
	install({ type, firstPage, pages, lsn, tableAt, dataLocation }: AppendRecord, staging: Buffer): void {
		const { active } = this;
		if (type === recordType.zero) {
			active.zeros.add(firstPage, firstPage + pages, lsn);
		} else if (type === recordType.write) {
			for (let page = 0; page < pages; page++) {
				const place = page === 0 ? placeWal + recordStart : placeWal;
				active.put(firstPage + page, dataLocation + page * unitsPerPage, staging.readUInt32LE(tableAt + page * 4), place);
			}
		} else if (type === recordType.direct || type === recordType.overwrite) {
			for (let page = 0; page < pages; page++) active.put(firstPage + page, lsn, staging.readUInt32LE(tableAt + page * 4), placeLayer);
		}
	}

	/** Names the newest version of a page: two equal answers mean equal bytes. '' while the page's map block is not loaded. */
	version(page: number): string {
		const kind = this.find(page);
		if (kind === found.notLoaded) return '';
		if (kind === found.zero || kind === found.lost) return String(kind);
		return kind === found.wal ? `${kind}:${this.location}` : `${kind}:${this.checksum}`;
	}

	/** True if a generation knows a page of the range, written or zeroed: linear in the pages. */
	isDirty(first: number, end: number): boolean {
		for (const generation of [this.active, this.frozen]) {
			if (generation === undefined) continue;
			if (generation.zeros.overlaps(first, end)) return true;
			for (let page = first; page < end; page++) if (generation.find(page) >= 0) return true;
		}
		return false;
	}

	/** True if the newest of any page of the range is in the log, or is a zeroed range: linear in the pages. */
	isInLog(first: number, end: number): boolean {
		for (const generation of [this.active, this.frozen]) {
			if (generation === undefined) continue;
			if (generation.zeros.overlaps(first, end)) return true;
			for (let page = first; page < end; page++) {
				const entry = generation.find(page);
				if (entry >= 0 && generation.placeOf(entry) !== placeLayer) return true;
			}
		}
		return false;
	}

	#findIn(generation: Generation, page: number): number {
		const index = generation.find(page);
		const zeroedAt = generation.zeros.lsnOf(page);
		if (index < 0) return zeroedAt < 0 ? -1 : found.zero;
		this.location = generation.locationOf(index);
		if (zeroedAt > this.location) return found.zero;
		this.checksum = generation.checksumOf(index);
		return generation.placeOf(index) === placeLayer ? found.layer : found.wal;
	}
}
