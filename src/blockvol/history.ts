import type { Disk } from '../os/disk.ts';
import { BelowIndex, blocksPerBit } from './below-index.ts';
import type { LayerTree, Snapshot } from './layer-tree.ts';
import type { Logger } from '../os/logger.ts';
import { changedPages, layersBetween, mapSource, type MapSource, type PageRange } from './changed-pages.ts';
import { countSpace, type SpaceReport } from './space.ts';
import { createClone } from './clone.ts';
import { isAnchor } from './history-hold.ts';
import { geometryFault, limits, type Geometry, type Tuning } from './limits.ts';
import { Merger, type MergerOwner } from './merger.ts';
import { PageMender } from './page-mender.ts';
import { SnapshotView } from './snapshot-view.ts';
import { VolumeUsageError } from './volume-fault.ts';
import { Restorer, type RestorerOwner, type RestorerParts } from './restorer.ts';
import { Snapshots, type SnapshotsOwner } from './snapshots.ts';

export interface HistoryParts extends RestorerParts {
	readonly log: Logger;
}

export interface HistoryOwner
	extends
		Omit<SnapshotsOwner, 'blocksPerBit' | 'snapshotsPendingMax' | 'dirtyPagesMax'>,
		MergerOwner,
		Pick<RestorerOwner, 'restored' | 'anchor'> {}

/** Layers that no merge changes or removes until `release` is called. */
interface Held {
	readonly tree: LayerTree;
	readonly release: () => void;
}

/** A volume's snapshots: making them (snapshots.ts), and what may be done with those that are there. */
export class History {
	readonly snapshots: Snapshots;
	readonly merger: Merger;
	readonly mender: PageMender;
	readonly #parts: HistoryParts;
	readonly #owner: HistoryOwner;
	readonly #restorer: Restorer;
	readonly #geometry: Geometry;
	readonly #belowBlocks: number;
	readonly #blocksPerBit: number;
	readonly #views = new Set<SnapshotView>();

	constructor(parts: HistoryParts, geometry: Geometry, tuning: Tuning, owner: HistoryOwner) {
		this.#parts = parts;
		this.#geometry = geometry;
		this.#belowBlocks = tuning.belowBlocks;
		this.#blocksPerBit = blocksPerBit(geometry.sizeBytes);
		const { snapshotsPendingMax, dirtyPagesMax } = tuning;
		this.snapshots = new Snapshots(parts, { ...owner, blocksPerBit: this.#blocksPerBit, snapshotsPendingMax, dirtyPagesMax });
		const pace = { share: tuning.mergeShare, retryMs: tuning.noSpaceRetryMs };
		this.#owner = owner;
		this.#restorer = new Restorer(parts, {
			mustGoOn: () => this.snapshots.mustGoOn(),
			changed: () => this.snapshots.woken(),
			sizeBytes: () => owner.sizeBytes(),
			anchor: () => owner.anchor(),
			restored: (sizeBytes) => owner.restored(sizeBytes),
		});
		this.merger = new Merger({ ...parts, ...pace, blocksPerBit: this.#blocksPerBit }, owner);
		this.mender = new PageMender(parts.layers, parts.exclusive);
		parts.layers.tree.failed = (reason, cause) => owner.mergeFailed(reason, cause);
		parts.layers.indexes.add(parts.index.below);
		parts.layers.released = () => this.merger.kick();
		const { remote } = parts.layers;
		if (remote !== undefined) remote.failed = (reason, cause) => owner.mergeFailed(reason, cause);
	}

	/** What a crash left is gone: merges that it cut short go on, and so does the filling of a volume that is being restored. */
	begin(): void {
		this.merger.kick();
		this.#parts.layers.remote?.begin();
	}

	/** Nothing is written any more: the volume has failed, or is gone. */
	halt(): void {
		this.merger.halt();
		this.#parts.layers.remote?.halt();
	}

	/** A flusher cycle has ended. */
	flushed(): void {
		this.snapshots.flushed();
	}

	/** Nothing is made, merged or told any more. */
	refuse(reason: string): void {
		this.snapshots.refuse(reason);
		this.merger.halt();
	}

	/** Who waits for a page that has to be fetched is told that it does not come. */
	endFetches(): void {
		this.#parts.layers.remote?.refuse();
	}

	/** Volume.openSnapshot. */
	async open(name: string): Promise<SnapshotView> {
		const { layers, wal } = this.#parts;
		const { uuid, blockSize } = this.#geometry;
		const snapshot = await this.named(name);
		if (this.#views.size >= limits.viewsMax)
			throw new VolumeUsageError(`${limits.viewsMax} snapshots of the volume are open, no more are possible: close one first`);
		const release = layers.hold(snapshot.layer);
		const below = new BelowIndex(this.#belowBlocks, this.#blocksPerBit);
		below.reset(layers.stack(snapshot.layer));
		layers.indexes.add(below);
		const view = new SnapshotView({
			volumeUuid: uuid,
			blockSize,
			snapshot,
			below,
			wal,
			files: layers.pool,
			remote: layers.remote,
			closed: () => {
				layers.indexes.delete(below);
				this.#views.delete(view);
				release();
			},
		});
		this.#views.add(view);
		return view;
	}

	/** A snapshot whose layer is complete: flushes, if it is not yet. Rejects with VolumeUsageError if there is none of that name. */
	async named(name: string): Promise<Snapshot> {
		if (isAnchor({ name })) throw new VolumeUsageError(`the volume has no snapshot ${name}`);
		return this.complete(name);
	}

	/** The same for any name. */
	async complete(name: string): Promise<Snapshot> {
		const { layers, index, flusher } = this.#parts;
		for (;;) {
			const snapshot = layers.tree.current.named(name);
			if (snapshot !== undefined) return snapshot;
			const isPending = index.pending.some((pending) => pending.snapshot?.name === name);
			if (!isPending) throw new VolumeUsageError(`the volume has no snapshot ${name}`);
			const before = index.pending.length;
			await flusher.flush();
			if (index.pending.length >= before && layers.tree.current.named(name) === undefined)
				throw new VolumeUsageError(`snapshot ${name} cannot be read yet: the volume could not be flushed`);
		}
	}

	/** Volume.restoreSnapshot. */
	async restore(name: string, keepLiveAs: string | undefined): Promise<void> {
		await this.snapshots.alone(async () => {
			this.snapshots.mustGoOn();
			if (keepLiveAs === undefined) this.snapshots.mustHaveLayers();
			else this.snapshots.mustFit(keepLiveAs);
			const snapshot = await this.named(name);
			const release = this.#parts.layers.hold(snapshot.layer);
			try {
				await this.#restorer.restore(snapshot, keepLiveAs);
			} finally {
				release();
			}
		});
		this.merger.kick();
	}

	/** Volume.deleteSnapshot. */
	async delete(name: string): Promise<void> {
		const { id } = await this.named(name);
		await this.#parts.layers.tree.commit((tree) => {
			if (tree.named(name)?.id !== id) throw new VolumeUsageError(`the volume has no snapshot ${name}`);
			return tree.withoutSnapshot(id);
		});
		this.merger.kick();
	}

	/** Volume.clone. */
	async clone(disk: Disk, name: string, directory: string, uuid: string): Promise<void> {
		const { layers, exclusive } = this.#parts;
		this.#mustBeFilled('cloned');
		const snapshot = await this.named(name);
		const geometry = { ...this.#geometry, uuid, sizeBytes: snapshot.sizeBytes };
		const fault = geometryFault(geometry);
		if (fault !== undefined) throw new VolumeUsageError(fault);
		const release = layers.hold(snapshot.layer);
		layers.clones++;
		try {
			// A step of a merge that runs may add a file to a layer; the next one finds the layers held.
			await exclusive.run(() => Promise.resolve());
			await createClone(disk, directory, { layers, layer: snapshot.layer, geometry });
		} finally {
			release();
		}
	}

	/** Volume.diff. `during` runs each step; between two steps the volume may be closed, and then the next one throws. */
	async *diff(from: string, to: string | undefined, during: <T>(work: () => Promise<T>) => Promise<T>): AsyncGenerator<PageRange> {
		const { older, newer, tree, release } = await during(() => this.#compared(from, to));
		try {
			const sources = layersBetween(tree, older.layer, newer?.layer ?? tree.live).map((id) => this.#source(id));
			const walk = changedPages(sources, Math.max(older.sizeBytes, newer?.sizeBytes ?? this.#owner.sizeBytes()));
			for (;;) {
				const { done, value } = await during(() => walk.next());
				if (done === true) return;
				yield value;
			}
		} finally {
			release();
		}
	}

	/** Two states, with everything in the layers that is acknowledged now. Their layers stay until `release` is called. */
	async #compared(from: string, to: string | undefined): Promise<Held & { older: Snapshot; newer: Snapshot | undefined }> {
		const { flusher, superblock, wal } = this.#parts;
		const older = await this.named(from);
		const newer = to === undefined ? undefined : await this.named(to);
		const { installedLSN } = wal;
		if (newer === undefined) {
			await flusher.flush();
			if (superblock.current.checkpointLSN < installedLSN)
				throw new VolumeUsageError('what is live cannot be compared: the volume could not be flushed');
		}
		const held = await this.#hold((tree) => {
			const gone = [older, newer].find((state) => state !== undefined && tree.named(state.name)?.id !== state.id);
			if (gone !== undefined) throw new VolumeUsageError(`the volume has no snapshot ${gone.name}`);
			return [older.layer, newer?.layer ?? tree.live];
		});
		return { older, newer, ...held };
	}

	/** Holds layers of the tree as it is when no merge is in the middle of a step: one that takes a layer out of the tree has asked already who holds it. */
	#hold(which: (tree: LayerTree) => number[]): Promise<Held> {
		const { layers, exclusive } = this.#parts;
		return exclusive.run(() => {
			const tree = layers.tree.current;
			const releases = which(tree).map((id) => layers.hold(id));
			const release = (): void => {
				for (const one of releases) one();
			};
			return Promise.resolve({ tree, release });
		});
	}

	/** The map of a layer that is held, live or frozen, whatever becomes of it meanwhile. */
	#source(id: number): MapSource {
		const { layers, index } = this.#parts;
		const source = mapSource(id, (work) => {
			const live = index.openLayers.find((layer) => layer.id === id);
			if (live !== undefined) return live.map.use(work);
			const { mapFile } = layers.frozen(id);
			return layers.pool.use(mapFile, work);
		});
		return layers.remote?.chunks.layer === id ? { ...source, remote: layers.remote.chunks } : source;
	}

	/** Volume.space. */
	async space(): Promise<SpaceReport> {
		const { layers, flusher } = this.#parts;
		await flusher.flush();
		const { tree, release } = await this.#hold(({ layers }) => [...layers.keys()]);
		const ids = [...tree.layers.keys()];
		try {
			const shared = new Set<number>();
			for (const id of ids) if (id !== tree.live && (await layers.frozen(id).isShared())) shared.add(id);
			return await countSpace(tree, new Map(ids.map((id) => [id, this.#source(id)])), shared);
		} finally {
			release();
		}
	}

	/** Volume.flatten. */
	async flatten(): Promise<void> {
		const { tree } = this.#parts.layers;
		this.#mustBeFilled('flattened');
		if (tree.current.origin !== 0) await tree.commit((current) => current.detached());
		this.merger.kick();
	}

	/** Ends all views, the merge with its step, and the filling. */
	async close(): Promise<void> {
		await this.merger.stop();
		for (const view of this.#views) await view.close();
		await this.#parts.layers.remote?.close();
	}

	/** Throws VolumeUsageError while pages are missing: they are this volume's to fetch, and nobody else's. */
	#mustBeFilled(what: string): void {
		const { remote } = this.#parts.layers;
		if (remote !== undefined)
			throw new VolumeUsageError(`the volume is being filled from its archive (${remote.share}): it can be ${what} when that is done`);
	}
}
