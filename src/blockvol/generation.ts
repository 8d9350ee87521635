import { RegionFilter } from './region-filter.ts';
import { ZeroRanges } from './zero-ranges.ts';

/** Where the bytes of a dirty page are. */
export const placeWal = 0;
export const placeLayer = 1;
/** Added to the place of the first page of a record. */
export const recordStart = 2;

const slotsMin = 1024;
const empty = 0xffffffff;

/**
 * The dirty map of one generation: pages written and ranges zeroed since the last cut, in the order of the log. A cut freezes it and starts
 * another; the frozen one never changes.
 *
 * Entries are appended to plain arrays, an open-addressed table of indices finds the newest of a page. An overwritten entry stays in the arrays
 * and is dead: newest(index) tells. So the flusher walks the log's order without sorting, and nothing is ever moved.
 *
 * A location counts 64-byte units of the log like an LSN, and lies between its record's LSN and the next one: locations and the LSNs of zero
 * ranges compare by age.
 */
export class Generation {
	#slots = new Uint32Array(slotsMin).fill(empty);
	#pages = new Float64Array(slotsMin / 2);
	#locations = new Float64Array(slotsMin / 2);
	#checksums = new Uint32Array(slotsMin / 2);
	#places = new Uint8Array(slotsMin / 2);
	readonly #regions = new RegionFilter();
	#length = 0;
	#live = 0;
	/** Pages that were put whose bytes are in the layer, again and again ones counted each time. */
	directPages = 0;
	/** The same, but one that was in the layer already is not counted again. */
	directEntries = 0;
	zeros = new ZeroRanges();

	/** Entries, dead ones included: what the limit counts. */
	get length(): number {
		return this.#length;
	}

	get livePages(): number {
		return this.#live;
	}

	/** Pages were put whose bytes are in the log: of large writes alone none are. */
	get hasLogPages(): boolean {
		return this.#length > this.directEntries;
	}

	get isEmpty(): boolean {
		return this.#length === 0 && this.zeros.count === 0;
	}

	/** Index of a page's newest entry, or -1. It may be older than a zeroed range that covers the page: see ZeroRanges.lsnOf. */
	find(page: number): number {
		if (!this.#regions.mayHold(page)) return -1;
		const mask = this.#slots.length - 1;
		for (let slot = firstSlot(page) & mask; ; slot = (slot + probeStep) & mask) {
			const index = this.#slots[slot] as number;
			if (index === empty) return -1;
			if (this.#pages[index] === page) return index;
		}
	}

	/** False only if no page from first to end (exclusive) has an entry. */
	mayHoldAny(first: number, end: number): boolean {
		return this.#regions.mayHoldAny(first, end);
	}

	put(page: number, location: number, checksum: number, place: number): void {
		if ((place & placeLayer) !== 0) {
			this.directPages++;
			const older = this.find(page);
			if (older >= 0 && this.placeOf(older) === placeLayer) {
				// Only the newest counts, and it has no place in the log that the flusher would walk: loops over the same pages need no room.
				this.#locations[older] = location;
				this.#checksums[older] = checksum;
				return;
			}
			this.directEntries++;
		}
		if (this.#length === this.#pages.length) this.#grow();
		const index = this.#length++;
		this.#pages[index] = page;
		this.#locations[index] = location;
		this.#checksums[index] = checksum;
		this.#places[index] = place;
		if (this.#link(page, index)) this.#live++;
		this.#regions.add(page);
	}

	pageOf(index: number): number {
		return this.#pages[index] as number;
	}

	locationOf(index: number): number {
		return this.#locations[index] as number;
	}

	checksumOf(index: number): number {
		return this.#checksums[index] as number;
	}

	/** placeWal or placeLayer. */
	placeOf(index: number): number {
		return (this.#places[index] as number) & placeLayer;
	}

	startsRecord(index: number): boolean {
		return ((this.#places[index] as number) & recordStart) !== 0;
	}

	/** True if an entry is its page's newest and no younger zeroed range covers it. */
	isNewest(index: number): boolean {
		const page = this.#pages[index] as number;
		// As many pages as entries: none was put twice.
		const isLast = this.#live === this.#length || this.find(page) === index;
		return isLast && this.zeros.lsnOf(page) < (this.#locations[index] as number);
	}

	/** Empties it for another use: what a busy volume has grown to is not allocated with every cycle. */
	clear(): void {
		this.#slots.fill(empty);
		this.#regions.clear();
		this.#length = 0;
		this.#live = 0;
		this.directPages = 0;
		this.directEntries = 0;
		this.zeros = new ZeroRanges();
	}

	/** Everything of this generation and then of a younger one, as one. */
	mergedWith(younger: Generation): Generation {
		const merged = new Generation();
		for (const generation of [this, younger]) {
			for (const { start, end, lsn } of generation.zeros) merged.zeros.add(start, end, lsn);
			let start = 0;
			for (let index = 0; index < generation.length; index++) {
				const page = generation.pageOf(index);
				if (generation.startsRecord(index)) start = recordStart;
				if (generation.find(page) !== index) continue;
				merged.put(page, generation.locationOf(index), generation.checksumOf(index), generation.placeOf(index) + start);
				start = 0;
			}
		}
		return merged;
	}

	/** True if the page was not in the table before. */
	#link(page: number, index: number): boolean {
		const mask = this.#slots.length - 1;
		for (let slot = firstSlot(page) & mask; ; slot = (slot + probeStep) & mask) {
			const found = this.#slots[slot] as number;
			if (found !== empty && this.#pages[found] !== page) continue;
			this.#slots[slot] = index;
			return found === empty;
		}
	}

	#grow(): void {
		const capacity = this.#pages.length * 2;
		this.#pages = grown(this.#pages, new Float64Array(capacity));
		this.#locations = grown(this.#locations, new Float64Array(capacity));
		this.#checksums = grown(this.#checksums, new Uint32Array(capacity));
		this.#places = grown(this.#places, new Uint8Array(capacity));
		this.#slots = new Uint32Array(capacity * 2).fill(empty);
		for (let index = 0; index < this.#length; index++) this.#link(this.#pages[index] as number, index);
	}
}

function grown<T extends Float64Array | Uint32Array | Uint8Array>(from: T, to: T): T {
	to.set(from);
	return to;
}

/** Neighbours of a slot's 128 bytes have the same neighbours on the next try; odd, so that it comes to every slot. */
const groupShift = 5;
const groupMask = 2 ** groupShift - 1;
const probeStep = groupMask + 2;

/**
 * Where to look for a page first. The 32 pages of a group lie beside each other, in an order of the group's own: large commands ask for many in a row, and each look elsewhere is a cache miss; pages
 * that are alike in their low bits (every 32nd) would otherwise all look in the same places.
 */
function firstSlot(page: number): number {
	const group = hash(Math.floor(page / (groupMask + 1)));
	return (group << groupShift) | ((page ^ (group >>> (32 - groupShift))) & groupMask);
}

/** Pages of one file lie close together: mix all bits of the number, the high half (volumes above 16 TiB) too. */
export function hash(page: number): number {
	let mixed = (page | 0) ^ Math.imul(Math.floor(page / 2 ** 32), 0x9e3779b1);
	mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b);
	return (mixed ^ (mixed >>> 15)) >>> 0;
}
