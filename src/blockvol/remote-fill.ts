import { errorCode } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import { ThrottledLog } from '../os/throttled-log.ts';
import { ChunkLine } from './chunk-line.ts';
import type { FrozenLayer } from './frozen-layer.ts';
import type { LayerSet } from './layer-set.ts';
import type { MapDigest } from './superblock.ts';
import { RunningDigest } from './map-digest.ts';
import { pageBytes, type Tuning } from './limits.ts';
import { blockBytes, entriesPerBlock, entryAbsent, entryLost, entryOffset } from './page-map-block.ts';
import type { RemoteChunks } from './remote-file.ts';
import { RemoteFailure, type RemotePages, type RemoteProgress, type RemoteReader } from './remote-pages.ts';
import { RemoteStore, StoreHalted } from './remote-store.ts';
import { SequentialReads } from './sequential-reads.ts';
import { VolumeFault } from './volume-fault.ts';

export interface RemoteFillParts {
	readonly layers: LayerSet;
	readonly layer: FrozenLayer;
	readonly chunks: RemoteChunks;
	/** undefined: nobody knows the repository any more. */
	readonly pages: RemotePages | undefined;
	readonly blocksPerBit: number;
	readonly tuning: Tuning;
	readonly log: Logger;
}

/** How long the filler waits after something went wrong: doubling, up to this. */
const troubleMsMax = 60_000;
const troubleMsMin = 250;
/** A read of missing pages so long ago still counts as somebody who reads. */
const readingMs = 100;
/** The map is made durable after so many groups, so that a power loss does not take much of what was fetched. */
const groupsPerSync = 64;

/**
 * A volume whose lowest layer lacks pages that an archived snapshot has. A read of such a page fetches its chunk, and the filler fetches what nobody reads, until all is here and the volume is one
 * like any other.
 *
 * Which pages are missing the layer's map says: absent, and in a chunk that holds something. So there is nothing else that a crash could leave wrong, and what it takes is fetched again.
 */
export class RemoteFill implements RemoteReader {
	readonly chunks: RemoteChunks;
	readonly #parts: RemoteFillParts;
	readonly #tuning: Tuning;
	readonly #log: ThrottledLog;
	readonly #line: ChunkLine;
	readonly #store: RemoteStore;
	readonly #ahead: SequentialReads;
	/** Told when a write to the layer failed: what is on the disk is unknown. */
	failed: ((reason: string, cause: unknown) => void) | undefined;
	/** A bit for each chunk that is here, as far as somebody has looked. */
	readonly #local: Uint8Array;
	#localChunks = 0;
	readonly #heldChunks: number;
	#isCounted = false;
	#failedReads = 0;
	#readAtMs = -Infinity;
	#stopped = false;
	/** Nothing is kept any more: the volume is being closed, or has everything. */
	#isOver = false;
	#running: Promise<void> | undefined;
	#closed: Promise<void> | undefined;
	#pagesClosed: Promise<void> | undefined;
	#cursor = 0;
	#troubles = 0;
	readonly #wakes = new Set<() => void>();

	constructor(parts: RemoteFillParts) {
		const { chunks, layers, layer, blocksPerBit, tuning } = parts;
		this.#parts = parts;
		this.chunks = chunks;
		this.#tuning = tuning;
		this.#log = new ThrottledLog(parts.log);
		this.#local = new Uint8Array(Math.ceil(chunks.count / 8));
		this.#heldChunks = chunks.heldCount;
		const { disk, directory, indexes } = layers;
		this.#store = new RemoteStore({ disk, directory, layer, indexes, blocksPerBit });
		this.#line = new ChunkLine(parts.pages ?? unknownPages, chunks, tuning, this.#log, {
			store: (chunk, bytes) => this.#keep(chunk, bytes),
		});
		this.#ahead = new SequentialReads(tuning.remoteAheadMax);
	}

	get progress(): RemoteProgress {
		const { fetches, failures, failure } = this.#line;
		return {
			identity: this.chunks.identity,
			chunks: this.#heldChunks,
			localChunks: this.#localChunks,
			chunkBytes: this.chunks.chunkBytes,
			isCounted: this.#isCounted,
			fetches,
			failures,
			failedReads: this.#failedReads,
			failure,
		};
	}

	/** How much of it is here, for a message. */
	get share(): string {
		return `${this.#localChunks} of ${this.#heldChunks} chunks are here`;
	}

	/** RemoteReader.deadline. */
	deadline(): number {
		return performance.now() + this.#tuning.remoteWaitMs;
	}

	/** RemoteReader.read. */
	async read(page: number, target: Uint8Array, untilMs: number): Promise<boolean> {
		const { chunkPages } = this.chunks;
		const last = Math.floor((page + target.length / pageBytes - 1) / chunkPages);
		const readings: Promise<boolean>[] = [];
		this.#readAtMs = performance.now();
		// All at once: the bound is the command's, however many chunks it needs.
		for (let chunk = Math.floor(page / chunkPages); chunk <= last; chunk++) {
			readings.push(this.#readChunk(chunk, page, target, untilMs));
			for (const next of this.#ahead.after(chunk))
				if (next > last && this.chunks.holds(next) && !this.#isLocal(next)) this.#line.ahead(next);
		}
		const isGood = (await Promise.all(readings)).every(Boolean);
		this.#readAtMs = performance.now();
		if (!isGood) this.#failedReads++;
		return isGood;
	}

	/** Copies what a chunk has of the pages from `page` on. */
	async #readChunk(chunk: number, page: number, target: Uint8Array, untilMs: number): Promise<boolean> {
		const bytes = await this.#line.read(chunk, untilMs);
		if (bytes === undefined) return false;
		const at = (chunk * this.chunks.chunkPages - page) * pageBytes;
		target.set(bytes.subarray(Math.max(0, -at), Math.min(bytes.length, target.length - at)), Math.max(0, at));
		return true;
	}

	/** Begins to fill. */
	begin(): void {
		if (this.#stopped || this.#tuning.remoteFillersMax === 0) return;
		this.#running ??= this.#run();
	}

	/** Ends all fetches: who waits for a page is told that there is none. What is being stored comes to its end by close(). */
	refuse(): void {
		this.#stopped = true;
		this.#isOver = true;
		this.#line.close();
		for (const wake of this.#wakes) wake();
	}

	/** Takes no further step: the volume has failed, or is gone. What can be fetched is read still. */
	halt(): void {
		this.#stopped = true;
		this.#store.halt();
		for (const wake of this.#wakes) wake();
	}

	close(): Promise<void> {
		this.#closed ??= this.#close();
		return this.#closed;
	}

	async #close(): Promise<void> {
		this.refuse();
		await this.#running;
		try {
			await this.#store.sync();
		} catch (error) {
			this.#storeFailed(error);
		}
		await this.#closePages();
	}

	/** ChunkLineOwner.store. */
	async #keep(chunk: number, bytes: Buffer): Promise<boolean> {
		if (this.#isOver) return false;
		try {
			await this.#store.store(chunk * this.chunks.chunkPages, bytes);
			this.#noteLocal(chunk);
			if (this.#store.groups % groupsPerSync === groupsPerSync - 1) await this.#store.sync();
			return true;
		} catch (error) {
			this.#storeFailed(error);
			return false;
		}
	}

	#storeFailed(error: unknown): void {
		if (error instanceof StoreHalted) return;
		if (errorCode(error) === '') throw error;
		if (errorCode(error) === 'ENOSPC') {
			this.#log.warn(
				{ err: error },
				'fetched pages cannot be kept: the file system is full; they are fetched again when somebody reads them',
			);
			return;
		}
		this.halt();
		this.failed?.('fetched pages could not be written', error);
	}

	async #run(): Promise<void> {
		try {
			await this.#count();
			while (!this.#stopped) {
				this.#cursor = 0;
				await Promise.all(Array.from({ length: this.#tuning.remoteFillersMax }, (_, number) => this.#fillOn(number)));
				if (this.#stopped) return;
				if (this.#localChunks === this.#heldChunks && (await this.#finish())) return;
				await this.#trouble();
			}
		} catch (error) {
			if (error instanceof VolumeFault) return;
			if (errorCode(error) === '') throw error;
			this.#log.error({ err: error }, 'a volume cannot be filled from its archive: its layer cannot be read; the next opening tries again');
		}
	}

	/** Finds out what is here, block of the map by block. */
	async #count(): Promise<void> {
		const { layer } = this.#parts;
		const { chunkPages } = this.chunks;
		const block = Buffer.allocUnsafe(blockBytes);
		let [chunk, present] = [-1, 0];
		for await (const { blockIndex } of layer.blocks()) {
			if (this.#stopped) return;
			await layer.readBlock(blockIndex, block);
			for (let at = 0; at < entriesPerBlock; at++) {
				const entry = block.readUInt32LE(entryOffset(at));
				if (entry === entryAbsent || entry === entryLost) continue;
				const owner = Math.floor((blockIndex * entriesPerBlock + at) / chunkPages);
				if (owner !== chunk) [chunk, present] = [owner, 0];
				if (++present === this.chunks.pagesOf(chunk)) this.#noteLocal(chunk);
			}
		}
		this.#isCounted = true;
	}

	/** One filler: takes the next chunk that is missing until there is none. The others pause while somebody reads. */
	async #fillOn(number: number): Promise<void> {
		for (let chunk = this.#nextMissing(); chunk !== undefined && !this.#stopped; chunk = this.#nextMissing()) {
			if (!(await this.#hasRoom())) {
				this.#log.warn({}, 'filling a volume from its archive waits: the file system is nearly full');
				return;
			}
			const startedAt = performance.now();
			if (!(await this.#line.fill(chunk))) {
				// Others may be there: this one comes again with the next round.
				if (!this.#stopped) await this.#trouble();
				continue;
			}
			this.#troubles = 0;
			const { remoteFillShare } = this.#tuning;
			if (number > 0) await this.#whileRead();
			if (this.#isRead && remoteFillShare < 1) await this.#pause((performance.now() - startedAt) * (1 / remoteFillShare - 1));
		}
	}

	async #whileRead(): Promise<void> {
		while (this.#isRead && !this.#stopped) await this.#pause(readingMs);
	}

	get #isRead(): boolean {
		return this.#line.isRead || performance.now() - this.#readAtMs < readingMs;
	}

	async #hasRoom(): Promise<boolean> {
		const { remoteFreeBytesMin } = this.#tuning;
		if (remoteFreeBytesMin === 0) return true;
		const { disk, directory } = this.#parts.layers;
		return (await disk.freeBytes(directory)) >= remoteFreeBytesMin + this.chunks.chunkBytes;
	}

	#nextMissing(): number | undefined {
		let chunk = this.chunks.next(this.#cursor);
		while (chunk < this.chunks.count && this.#isLocal(chunk)) chunk = this.chunks.next(chunk + 1);
		this.#cursor = chunk + 1;
		return chunk < this.chunks.count ? chunk : undefined;
	}

	/** All is here: the volume is one like any other, durably. False if that could not be written down just now. */
	async #finish(): Promise<boolean> {
		const { layers, layer } = this.#parts;
		// Who asked before the last chunk was here is answered still; nobody asks again.
		await this.#line.idle();
		this.#isOver = true;
		try {
			await this.#store.sync();
		} catch (error) {
			this.#storeFailed(error);
			return false;
		}
		if (this.#stopped) return false;
		const mapDigest = await digestOf(layer);
		try {
			await layers.tree.commit((tree) => tree.changed(layer.id, { isRemote: false, mapDigest }));
		} catch (error) {
			if (errorCode(error) === 'ENOSPC') return false;
			throw error;
		}
		layer.remote = undefined;
		await layers.tree.removeRemote();
		this.#log.info({ ...this.chunks.identity }, 'the volume is filled: it does not need its archive any more');
		await this.#closePages();
		layers.remote = undefined;
		return true;
	}

	#closePages(): Promise<void> {
		this.#pagesClosed ??= (this.#parts.pages?.close?.() ?? Promise.resolve()).catch((error: unknown) => {
			this.#log.warn({ err: error }, 'a repository that pages were fetched from could not be closed');
		});
		return this.#pagesClosed;
	}

	#trouble(): Promise<void> {
		return this.#pause(Math.min(troubleMsMax, troubleMsMin * 2 ** Math.min(this.#troubles++, 10)));
	}

	/** Ends early when the filler is stopped. */
	#pause(ms: number): Promise<void> {
		if (this.#stopped) return Promise.resolve();
		return new Promise((resolve) => {
			const wake = (): void => {
				clearTimeout(timer);
				this.#wakes.delete(wake);
				resolve();
			};
			const timer = setTimeout(wake, ms).unref();
			this.#wakes.add(wake);
		});
	}

	#isLocal(chunk: number): boolean {
		return ((this.#local[chunk >>> 3] as number) & (1 << (chunk & 7))) !== 0;
	}

	#noteLocal(chunk: number): void {
		if (this.#isLocal(chunk) || !this.chunks.holds(chunk)) return;
		this.#local[chunk >>> 3] = (this.#local[chunk >>> 3] as number) | (1 << (chunk & 7));
		this.#localChunks++;
	}
}

const unknownPages: RemotePages = {
	fetch: () => Promise.reject(new RemoteFailure('nobody knows the repository that has the missing pages', true)),
};

/** The set hash of a frozen layer's map. */
async function digestOf(layer: FrozenLayer): Promise<MapDigest | undefined> {
	const digest = RunningDigest.empty();
	const block = Buffer.allocUnsafe(blockBytes);
	for await (const { blockIndex } of layer.blocks()) {
		await layer.readBlock(blockIndex, block);
		for (let at = 0; at < entriesPerBlock; at++) digest.toggle(blockIndex * entriesPerBlock + at, block.readUInt32LE(entryOffset(at)));
	}
	return digest.value;
}
