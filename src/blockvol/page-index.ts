import type { AppendRecord } from './append-batch.ts';
import type { BelowIndex } from './below-index.ts';
import type { FrozenLayer } from './frozen-layer.ts';
import { placeLayer, placeWal, recordStart, type Generation } from './generation.ts';
import { pageBytes, unitBytes } from './limits.ts';
import { recordType } from './wal-record.ts';
import type { Layer } from './layer.ts';
import { entryAbsent, entryLost, entryZero } from './page-map-block.ts';
import type { PageHome } from './page-home.ts';
import { PendingLookup } from './pending-lookup.ts';
import type { RemoteReader } from './remote-pages.ts';
import { notFetched, notLoaded } from './page-map.ts';
import type { SnapshotCut } from './snapshot-record.ts';

const unitsPerPage = pageBytes / unitBytes;

/** Where a page's newest bytes are. */
export const found = { zero: 0, wal: 1, layer: 2, lost: 3, notLoaded: 4, remote: 5 } as const;

/** A generation that is not written any more, on its way to its layer. */
export interface PendingGeneration {
	readonly generation: Generation;
	readonly layer: Layer;
	/** Everything of it is below. */
	readonly cutLSN: number;
	/** What froze its layer as well; undefined if only the flusher made the cut. */
	readonly snapshot: SnapshotCut | undefined;
}

/**
 * Answers where the newest version of a page is: the live generation, then the pending ones, newest first; the live layer, then what it stands on. One instance a volume;
 * the answer stands in its fields until the next look-up, so that a look-up allocates nothing.
 *
 * The flusher carries generations oldest first, several at a time, and they stay pending until all of them are durable. So as long as a generation of an older layer is pending,
 * the maps of the younger layers tell of nothing that is not in a pending generation of theirs: all generations are asked first, and of the maps only the oldest.
 */
export class PageIndex {
	/** The live one. */
	layer: Layer;
	active: Generation;
	/** Oldest first. Under the flusher's hands: read, never changed. */
	readonly pending: PendingGeneration[] = [];
	/** Layers of pending snapshots that are open still, newest first; the live one is not among them. */
	readonly #older: Layer[] = [];
	readonly #lookup = new PendingLookup();
	/** What the oldest open layer stands on. */
	readonly below: BelowIndex;
	/** Pages that a merge brings into the live layer of the superblock just now: they take no data but by the log. */
	merging: { readonly first: number; readonly end: number } | undefined = undefined;
	/** Set while pages may have to be fetched. */
	remote: RemoteReader | undefined;
	/** A merge is about to take a layer from below: from its first step until the tree has lost it. */
	isLosingLayer = false;
	/** wal: units of the log. */
	location = 0;
	/** wal and layer. */
	checksum = 0;
	/** layer: whose. */
	home: PageHome;

	constructor(layer: Layer, active: Generation, below: BelowIndex) {
		this.layer = layer;
		this.home = layer;
		this.active = active;
		this.below = below;
	}

	/** The layers that still take something, newest first. */
	get openLayers(): Layer[] {
		return [this.layer, ...this.#older];
	}

	/** The layer that the flusher writes next: the live one of the superblock. */
	get oldestLayer(): Layer {
		return this.#older.at(-1) ?? this.layer;
	}

	/** Nothing is dirty, and no snapshot is pending. */
	get isClean(): boolean {
		return this.active.isEmpty && this.pending.length === 0;
	}

	get pendingSnapshots(): number {
		return this.#older.length;
	}

	/** Entries of all pending generations. */
	get pendingPages(): number {
		let sum = 0;
		for (const { generation } of this.pending) sum += generation.length;
		return sum;
	}

	/** Layers below the live one that the flusher writes still, and that have files open. */
	get pendingFiles(): number {
		let count = 0;
		for (const layer of this.#older) if (layer.hasFiles) count++;
		return count;
	}

	/** The open layer that stands on another. */
	above(layer: Layer): Layer {
		const at = this.#older.indexOf(layer);
		if (at < 0) throw new Error(`nothing stands on layer ${layer.id}`);
		return at === 0 ? this.layer : (this.#older[at - 1] as Layer);
	}

	isMerging(first: number, end: number): boolean {
		return this.merging !== undefined && this.merging.first < end && this.merging.end > first;
	}

	/** Freezes the live generation; `next` takes what comes. */
	freeze(cutLSN: number, next: Generation): void {
		this.pending.push({ generation: this.active, layer: this.layer, cutLSN, snapshot: undefined });
		this.active = next;
	}

	/** A snapshot's record is visible: generation and layer are frozen, others take what comes. */
	cut(cutLSN: number, snapshot: SnapshotCut, layer: Layer, next: Generation): void {
		this.pending.push({ generation: this.active, layer: this.layer, cutLSN, snapshot });
		this.active = next;
		this.#older.unshift(this.layer);
		this.layer = layer;
	}

	/** The oldest generations have been flushed, so many of them; `frozen`: the layers that are complete with them, oldest first. */
	flushed(generations: number, frozen: readonly FrozenLayer[]): void {
		this.pending.splice(0, generations);
		this.#lookup.flushed(generations, this.pending.length === 0);
		for (const layer of frozen) {
			this.#older.pop();
			this.below.push(layer);
		}
	}

	/** The file system was full: what the flusher's own cuts parted is one generation again. */
	rejoin(): void {
		this.#lookup.reset();
		for (let at = this.pending.length - 1; at >= 0; at--) {
			const { generation, snapshot } = this.pending[at] as PendingGeneration;
			// What follows a snapshot's generation is another layer's.
			if (snapshot !== undefined) continue;
			const next = this.pending[at + 1];
			if (next === undefined) this.active = generation.mergedWith(this.active);
			else this.pending[at + 1] = { ...next, generation: generation.mergedWith(next.generation) };
			this.pending.splice(at, 1);
		}
	}

	/** Another live layer, on another stack. Nothing is dirty. */
	restore(layer: Layer, stack: readonly FrozenLayer[]): void {
		if (!this.isClean) throw new Error('a restore with something dirty');
		this.layer = layer;
		this.below.reset(stack);
	}

	/** One of `found`. Throws on EIO of the page map. */
	find(page: number): number {
		const inActive = this.#findIn(this.active, this.layer, page);
		if (inActive >= 0) return inActive;
		const at = this.pending.length === 0 ? -1 : this.#lookup.newest(this.pending, page);
		if (at >= 0) {
			const { generation, layer } = this.pending[at] as PendingGeneration;
			return this.#findIn(generation, layer, page);
		}
		const oldest = this.oldestLayer;
		this.home = oldest;
		let entry = oldest.map.entry(page);
		if (entry === entryAbsent && !this.below.isEmpty) {
			entry = this.below.find(page);
			if (entry === notFetched) return found.remote;
			if (this.below.home !== undefined) this.home = this.below.home;
		}
		if (entry === notLoaded) return found.notLoaded;
		if (entry === entryAbsent || entry === entryZero) return found.zero;
		if (entry === entryLost) return found.lost;
		this.checksum = entry;
		return found.layer;
	}

	/** Has find() know a page, as long as nothing else is awaited in between. */
	async load(page: number): Promise<void> {
		while (this.find(page) === found.notLoaded) {
			const { map } = this.oldestLayer;
			if (map.entry(page) === notLoaded) await map.load(page);
			else await this.below.load(page);
		}
	}

	/** Makes a record of the log visible; its checksum table is in `staging`. */
	install({ type, firstPage, pages, lsn, tableAt, dataLocation }: AppendRecord, staging: Buffer): void {
		const { active } = this;
		// What is installed below a cut would never be flushed, and its segment be used again.
		if (lsn < (this.pending.at(-1)?.cutLSN ?? 0)) throw new Error(`a record at LSN ${lsn} is installed below the cut`);
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
		if (kind === found.zero || kind === found.lost || kind === found.remote) return String(kind);
		return kind === found.wal ? `${kind}:${this.location}` : `${kind}:${this.checksum}`;
	}

	/** True if a generation of the live layer knows a page of the range, written or zeroed: linear in the pages. */
	isDirty(first: number, end: number): boolean {
		return this.#someOfLive(isDirtyIn, first, end);
	}

	/** True if a generation of the live layer has a page of the range in the log, or zeroed: linear in the pages. */
	isInLog(first: number, end: number): boolean {
		return this.#someOfLive(isInLogOf, first, end);
	}

	#someOfLive(test: (generation: Generation, first: number, end: number) => boolean, first: number, end: number): boolean {
		if (test(this.active, first, end)) return true;
		for (const { generation, layer } of this.pending) if (layer === this.layer && test(generation, first, end)) return true;
		return false;
	}

	#findIn(generation: Generation, layer: Layer, page: number): number {
		const index = generation.find(page);
		const zeroedAt = generation.zeros.lsnOf(page);
		if (index < 0) return zeroedAt < 0 ? -1 : found.zero;
		this.location = generation.locationOf(index);
		if (zeroedAt > this.location) return found.zero;
		this.checksum = generation.checksumOf(index);
		this.home = layer;
		return generation.placeOf(index) === placeLayer ? found.layer : found.wal;
	}
}

function isDirtyIn(generation: Generation, first: number, end: number): boolean {
	if (generation.zeros.overlaps(first, end)) return true;
	if (!generation.mayHoldAny(first, end)) return false;
	for (let page = first; page < end; page++) if (generation.find(page) >= 0) return true;
	return false;
}

function isInLogOf(generation: Generation, first: number, end: number): boolean {
	if (generation.zeros.overlaps(first, end)) return true;
	if (!generation.hasLogPages || !generation.mayHoldAny(first, end)) return false;
	for (let page = first; page < end; page++) {
		const entry = generation.find(page);
		if (entry >= 0 && generation.placeOf(entry) !== placeLayer) return true;
	}
	return false;
}
