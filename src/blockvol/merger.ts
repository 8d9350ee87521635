import { errorCode } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import type { Exclusive } from './exclusive.ts';
import type { Flusher } from './flusher.ts';
import type { FrozenLayer } from './frozen-layer.ts';
import type { LayerSet } from './layer-set.ts';
import type { LayerTree } from './layer-tree.ts';
import { pageBytes } from './limits.ts';
import { RunningDigest } from './map-digest.ts';
import { FrozenTarget, LiveTarget, undecided, Unreadable, wanted, type MergeTarget } from './merge-target.ts';
import { blockBytes, entriesPerBlock, entryAbsent, entryLost, entryOffset, entryZero } from './page-map-block.ts';
import type { PageIndex } from './page-index.ts';
import type { Spans } from './spans.ts';
import { VolumeFault } from './volume-fault.ts';
import type { Wal } from './wal.ts';
import { pageChecksum } from './page-checksums.ts';

export interface MergerParts {
	readonly index: PageIndex;
	readonly flusher: Flusher;
	readonly layers: LayerSet;
	readonly spans: Spans;
	readonly wal: Wal;
	/** Flusher cycles and steps of a merge take turns. */
	readonly exclusive: Exclusive;
	readonly blocksPerBit: number;
	/** The share of time that a merge may take. */
	readonly share: number;
	readonly retryMs: number;
	readonly log: Logger;
}

export interface MergerOwner {
	/** A write to a layer failed: what is on the disk is unknown. */
	mergeFailed(reason: string, cause: unknown): void;
}

/** What the merger does now. */
export interface MergeProgress {
	/** The layer that goes, and the one into which it is merged (0: nobody needs it). */
	readonly layer: number;
	readonly into: number;
	/** 0 to 1, of the page map. */
	readonly done: number;
}

interface Job {
	readonly layer: number;
	/** 0: nothing stands on the layer. */
	readonly into: number;
	/** The layer is being copied away, whoever else has it. */
	readonly isLeaving: boolean;
	/** Its files are nobody else's, and nothing else stands on it: what is merged may give its space back at once. */
	readonly mayPunch: boolean;
	/** LayerSet.clones when that was found. */
	readonly clones: number;
}

/** Pages that are copied at once: 256 KiB. */
const runPagesMax = 64;
/** Passes over a layer before writers have to go through the log for the last one. */
const openPassesMax = 3;
/** How often it is looked whether another volume has let a layer go. */
const sharedRetryMs = 60_000;
/** How often the pause before another try doubles. */
const doublingsMax = 8;

/**
 * Removes layers that have no name any more. One that nothing stands on goes at once; one that a single layer stands on is merged into that: each of its pages that the upper
 * one lacks is copied,
 *
 *   page written ─→ data durable ─→ map written ─→ map durable ─→ whoever remembers the old place is told ─→ the old place's space is given back
 *
 * block of the map by block, and when all is over the tree loses the layer, and then its files go. Between two arrows every stack reads the same bytes, whether it finds
 * them in the lower or in the upper layer; so a crash anywhere leaves a merge that begins anew and finds most done. Readers never wait. Writers do not either: what goes
 * straight to the live layer stays clear of the block that is being merged, by the log.
 *
 * A page whose bytes in the live layer belong to a record that is not flushed is not judged: a power loss may take the record, and then the lower layer's page counts. The
 * merge flushes and looks again.
 */
export class Merger {
	readonly #parts: MergerParts;
	readonly #owner: MergerOwner;
	#running: Promise<void> | undefined;
	#again = false;
	#stopped = false;
	#hasFailed = false;
	#progress: MergeProgress | undefined;
	#wake: (() => void) | undefined;
	#timer: NodeJS.Timeout | undefined;
	/** Layers that could not be read: left alone until the next opening. */
	readonly #given = new Set<number>();
	/** Running digests of the frozen layers that are merged into; what the tree says of them is unknown meanwhile. */
	readonly #digests = new Map<number, RunningDigest>();
	/** Layers that wait for another volume. */
	readonly #shared = new Set<number>();
	#lookTimer: NodeJS.Timeout | undefined;
	/** Tries in a row that found the file system full. */
	#failures = 0;
	layers = 0;
	pages = 0;

	constructor(parts: MergerParts, owner: MergerOwner) {
		this.#parts = parts;
		this.#owner = owner;
	}

	get progress(): MergeProgress | undefined {
		return this.#progress;
	}

	/** The tree has changed, or a layer is not held any more: there may be something to do. */
	kick(): void {
		this.#again = true;
		this.#shared.clear();
		if (this.#stopped) return;
		this.#running ??= this.#run().finally(() => {
			this.#running = undefined;
			// Between its last look and this turn somebody may have kicked.
			if (this.#again && !this.#hasFailed) this.kick();
		});
	}

	/** Resolves when there is nothing left that could be merged now. */
	async idle(): Promise<void> {
		while (this.#running !== undefined) await this.#running;
	}

	/** Ends with the step that runs, and waits for it. */
	async stop(): Promise<void> {
		this.halt();
		await this.idle();
	}

	/** Takes no further step. */
	halt(): void {
		this.#stopped = true;
		clearTimeout(this.#lookTimer);
		this.#wake?.();
	}

	async #run(): Promise<void> {
		while (this.#again && !this.#stopped) {
			this.#again = false;
			for (let job = this.#next(); job !== undefined && !this.#stopped; job = this.#next()) {
				try {
					await this.#do(job);
				} catch (error) {
					if (!(await this.#goesOn(job, error))) {
						this.#hasFailed = true;
						return;
					}
				}
				this.#progress = undefined;
			}
		}
	}

	/** What became of a failure: true if there is something else to do. */
	async #goesOn(job: Job, error: unknown): Promise<boolean> {
		const digest = this.#digests.get(job.into);
		if (error instanceof Aborted) return true;
		// Part of a block may be written.
		if (digest !== undefined) digest.known = false;
		if (error instanceof Unreadable) {
			this.#given.add(job.layer);
			this.#parts.log.error(
				{ err: error.cause, layer: job.layer },
				'a layer cannot be merged because it cannot be read; the next opening tries again',
			);
			return true;
		}
		if (errorCode(error) === 'ENOSPC') {
			await this.#pause(this.#parts.retryMs * 2 ** Math.min(this.#failures++, doublingsMax));
			return true;
		}
		// The volume was told already.
		if (error instanceof VolumeFault) return false;
		if (errorCode(error) === '') throw error;
		this.#owner.mergeFailed('a layer could not be merged', error);
		return false;
	}

	/** The next layer that may go. */
	#next(): Job | undefined {
		const { layers } = this.#parts;
		const tree = layers.tree.current;
		const children = childrenOf(tree);
		for (const { id } of tree.layers.values()) {
			const [into, ...others] = children.get(id) ?? [];
			const isLeaving = tree.layer(id).isLeaving === true;
			if (this.#given.has(id) || this.#shared.has(id) || !this.#mayGo(tree, id)) continue;
			// What goes only for this volume is copied into each layer that stands on it; else the last one but one has to go first.
			if (others.length > 0 && !isLeaving) continue;
			return { layer: id, into: into ?? 0, isLeaving, mayPunch: others.length === 0, clones: layers.clones };
		}
		return undefined;
	}

	#mayGo(tree: LayerTree, id: number): boolean {
		return (
			id !== tree.live &&
			id !== tree.origin &&
			id !== tree.remote?.id &&
			tree.snapshotOf(id) === undefined &&
			!this.#parts.layers.isHeld(id)
		);
	}

	async #do(job: Job): Promise<void> {
		const due = job.into === 0 ? job : await this.#judgeSharing(job);
		if (job.into !== 0) {
			await this.#parts.exclusive.run(() => {
				this.#mustBeDue(due);
				return this.#target(due, this.#upper(due)).settle();
			});
		}
		this.#parts.index.isLosingLayer = true;
		try {
			if (job.into !== 0) await this.#merge(due);
			await this.#parts.exclusive.run(() => this.#remove(job));
		} finally {
			this.#parts.index.isLosingLayer = false;
		}
		this.layers++;
		this.#failures = 0;
	}

	async #merge(job: Job): Promise<void> {
		for (let pass = 0; !(await this.#pass(job, pass)); pass++) {
			await this.#parts.flusher.flush();
			// The file system is full, then.
			if (pass >= openPassesMax) await this.#pause(this.#parts.retryMs * 2 ** Math.min(pass, doublingsMax));
			this.#mustBeDue(job);
		}
	}

	/**
	 * What another volume has, too, is never changed, and merging it away would gain no space: such a merge waits until the other volume has let it go. A layer that is
	 * leaving is copied all the same, into one that is this volume's alone.
	 */
	async #judgeSharing(job: Job): Promise<Job> {
		const { layers } = this.#parts;
		const isShared = await readable(layers.frozen(job.layer).isShared());
		const upper = this.#upper(job);
		const isUpperShared = upper !== undefined && (await readable(upper.isShared()));
		if (isUpperShared || (isShared && !job.isLeaving)) {
			this.#shared.add(job.layer);
			this.#lookAgain();
			throw new Aborted();
		}
		return { ...job, mayPunch: job.mayPunch && !isShared };
	}

	/** Nobody tells when another volume lets a layer go. */
	#lookAgain(): void {
		if (this.#lookTimer !== undefined || this.#stopped) return;
		this.#lookTimer = setTimeout(() => {
			this.#lookTimer = undefined;
			this.kick();
		}, sharedRetryMs).unref();
	}

	/** Goes over the whole layer; false if something could not be judged. */
	async #pass(job: Job, pass: number): Promise<boolean> {
		const { layers, spans, flusher } = this.#parts;
		const isLast = pass >= openPassesMax;
		if (isLast) {
			spans.suspensions++;
			await spans.whenEmpty();
			await flusher.flush();
		}
		try {
			const layer = layers.frozen(job.layer);
			let isDecided = true;
			for await (const { blockIndex, blocks } of layer.blocks()) {
				this.#progress = { ...job, done: blockIndex / blocks };
				const startedAt = performance.now();
				if (!(await this.#parts.exclusive.run(() => this.#step(job, layer, blockIndex)))) isDecided = false;
				await this.#pace(performance.now() - startedAt);
			}
			return isDecided;
		} finally {
			if (isLast) spans.suspensions--;
		}
	}

	/** Merges one block of the map; false if a page of it could not be judged. */
	async #step(job: Job, layer: FrozenLayer, blockIndex: number): Promise<boolean> {
		this.#mustBeDue(job);
		const { index, layers } = this.#parts;
		const first = blockIndex * entriesPerBlock;
		index.merging = { first, end: first + entriesPerBlock };
		try {
			const upper = this.#upper(job);
			if (upper !== undefined) await this.#forgetDigest(job.into);
			const target = this.#target(job, upper);
			const block = Buffer.allocUnsafe(blockBytes);
			if (!(await readable(layer.readBlock(blockIndex, block)))) throw new Unreadable('a block of the page map is damaged');
			const states = await target.look(blockIndex);
			const isBottom = layers.tree.current.layer(job.layer).parent === 0;
			const entries = await this.#copy(layer, target, blockIndex, block, states, isBottom);
			if (entries.some((entry) => entry !== entryAbsent)) await target.finish(blockIndex, entries);
			for (const below of layers.indexes) below.absorbed(layer, upper, blockIndex, blockIndex + 1);
			if (states.includes(undecided)) return false;
			if (job.mayPunch) await layer.punch(first, first + entriesPerBlock);
			return true;
		} finally {
			index.merging = undefined;
		}
	}

	/** Copies what is wanted; the entries that the target gets. */
	async #copy(
		layer: FrozenLayer,
		target: MergeTarget,
		blockIndex: number,
		block: Buffer,
		states: Uint8Array,
		isBottom: boolean,
	): Promise<Uint32Array> {
		const entries = new Uint32Array(entriesPerBlock);
		let run = 0;
		for (let at = 0; at < entriesPerBlock; at++) {
			const entry = block.readUInt32LE(entryOffset(at));
			// Where nothing is below, absent reads as zeros, too.
			const isWanted = entry !== entryAbsent && states[at] === wanted && !(entry === entryZero && isBottom);
			if (isWanted) entries[at] = entry;
			const hasBytes = isWanted && entry !== entryZero && entry !== entryLost;
			const page = blockIndex * entriesPerBlock + at;
			if (run > 0 && (!hasBytes || run === runPagesMax || layer.contiguous(page - run, run + 1) === run)) {
				await this.#copyRun(layer, target, page - run, entries.subarray(at - run, at));
				run = 0;
			}
			if (hasBytes) run++;
		}
		if (run > 0) await this.#copyRun(layer, target, (blockIndex + 1) * entriesPerBlock - run, entries.subarray(entriesPerBlock - run));
		return entries;
	}

	/** Copies consecutive pages of one slice. */
	async #copyRun(layer: FrozenLayer, target: MergeTarget, firstPage: number, checksums: Uint32Array): Promise<void> {
		const bytes = Buffer.allocUnsafe(checksums.length * pageBytes);
		// What is damaged stays where it is: a misread here would become permanent.
		for (let attempt = 0, damaged = 0; damaged >= 0; attempt++) {
			await readable(layer.readPages(firstPage, bytes));
			damaged = checksums.findIndex((checksum, at) => pageChecksum(bytes.subarray(at * pageBytes, (at + 1) * pageBytes)) !== checksum);
			if (damaged >= 0 && attempt > 0) throw new Unreadable(`page ${firstPage + damaged} does not match its checksum`);
		}
		await target.write(firstPage, bytes);
		this.pages += checksums.length;
	}

	/** The tree without the layer, and then its files. */
	async #remove(job: Job): Promise<void> {
		this.#mustBeDue(job);
		const { layers, index } = this.#parts;
		const upper = job.into === 0 ? undefined : this.#upper(job);
		const digest = this.#digests.get(job.into)?.value;
		const { parent } = layers.tree.current.layer(job.layer);
		const change = (tree: LayerTree): LayerTree => {
			const moved = job.into === 0 ? tree : tree.changed(job.into, { parent, ...(digest === undefined ? {} : { mapDigest: digest }) });
			return isNeeded(moved) ? moved : moved.withoutLayers(new Set([job.layer]));
		};
		const isNeeded = (tree: LayerTree): boolean => tree.children(job.layer).length > 0;
		const layer = layers.frozen(job.layer);
		await layers.tree.commit(change, {}, () => {
			// Stacks that reach the layer by the one into which it was merged; others still read it.
			for (const below of layers.indexes) if (upper === undefined ? below === index.below : below.has(upper)) below.remove(layer);
		});
		this.#digests.delete(job.into);
		if (!layers.tree.current.layers.has(job.layer)) await layers.remove(job.layer);
	}

	/** What the tree says of a layer's map is withdrawn before the map changes. */
	async #forgetDigest(id: number): Promise<void> {
		const { tree } = this.#parts.layers;
		const { mapDigest } = tree.current.layer(id);
		if (mapDigest === undefined) return;
		await tree.commit((current) => current.changed(id, { mapDigest: undefined }));
		this.#digests.set(id, new RunningDigest(mapDigest));
	}

	/** The upper layer if it is frozen; undefined for the live one. */
	#upper(job: Job): FrozenLayer | undefined {
		const { layers } = this.#parts;
		return job.into === layers.tree.current.live ? undefined : layers.frozen(job.into);
	}

	#target(job: Job, upper: FrozenLayer | undefined): MergeTarget {
		const { index, layers, spans, wal, blocksPerBit } = this.#parts;
		if (upper === undefined) return new LiveTarget(index.oldestLayer, index, spans, wal);
		let digest = this.#digests.get(job.into);
		if (digest === undefined) {
			digest = new RunningDigest(undefined);
			this.#digests.set(job.into, digest);
		}
		const { disk, directory, options } = layers;
		return new FrozenTarget(upper, { disk, directory, sliceBytes: options.sliceBytes, blocksPerBit }, digest);
	}

	/** Between two steps anything may have happened to the tree. */
	#mustBeDue({ layer, into, isLeaving, clones }: Job): void {
		if (this.#stopped || clones !== this.#parts.layers.clones) throw new Aborted();
		const tree = this.#parts.layers.tree.current;
		const children = tree.layers.has(layer) ? tree.children(layer) : undefined;
		const isAlone = children !== undefined && (children.length <= 1 || isLeaving);
		const isSame = isAlone && (into === 0 ? children.length === 0 : children.includes(into));
		if (!isSame || !this.#mayGo(tree, layer)) throw new Aborted();
	}

	async #pace(tookMs: number): Promise<void> {
		const { share } = this.#parts;
		if (share < 1) await this.#pause(tookMs * (1 / share - 1));
	}

	/** Ends early when the merger is stopped. */
	#pause(ms: number): Promise<void> {
		if (this.#stopped) return Promise.resolve();
		return new Promise((resolve) => {
			this.#wake = () => {
				clearTimeout(this.#timer);
				this.#wake = undefined;
				resolve();
			};
			this.#timer = setTimeout(this.#wake, ms).unref();
		});
	}
}

/** The job is not what it was. */
class Aborted extends Error {}

async function readable<T>(reading: Promise<T>): Promise<T> {
	try {
		return await reading;
	} catch (error) {
		if (errorCode(error) === '') throw error;
		throw new Unreadable('a layer cannot be read', { cause: error });
	}
}

function childrenOf(tree: LayerTree): Map<number, number[]> {
	const children = new Map<number, number[]>();
	for (const { id, parent } of tree.layers.values()) {
		const siblings = children.get(parent);
		if (siblings === undefined) children.set(parent, [id]);
		else siblings.push(id);
	}
	return children;
}
