import type { Disk } from '../os/disk.ts';
import { BelowIndex, blocksPerBit } from './below-index.ts';
import type { Snapshot } from './layer-tree.ts';
import type { Logger } from '../os/logger.ts';
import { createClone } from './clone.ts';
import { geometryFault, type Geometry, type Tuning } from './limits.ts';
import { Merger, type MergerOwner } from './merger.ts';
import { SnapshotView } from './snapshot-view.ts';
import { VolumeUsageError } from './volume-fault.ts';
import { Restorer, type RestorerOwner, type RestorerParts } from './restorer.ts';
import { Snapshots, type SnapshotsOwner } from './snapshots.ts';

export interface HistoryParts extends RestorerParts {
	readonly log: Logger;
}

export interface HistoryOwner extends Omit<SnapshotsOwner, 'blocksPerBit'>, MergerOwner, Pick<RestorerOwner, 'restored'> {}

/** A volume's snapshots: making them (snapshots.ts), and what may be done with those that are there. */
export class History {
	readonly snapshots: Snapshots;
	readonly merger: Merger;
	readonly #parts: HistoryParts;
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
		this.snapshots = new Snapshots(parts, { ...owner, blocksPerBit: this.#blocksPerBit });
		const pace = { share: tuning.mergeShare, retryMs: tuning.noSpaceRetryMs };
		this.#restorer = new Restorer(parts, {
			mustGoOn: () => this.snapshots.mustGoOn(),
			changed: () => this.snapshots.woken(),
			sizeBytes: () => owner.sizeBytes(),
			restored: (sizeBytes) => owner.restored(sizeBytes),
		});
		this.merger = new Merger({ ...parts, ...pace, blocksPerBit: this.#blocksPerBit }, owner);
		parts.layers.indexes.add(parts.index.below);
		parts.layers.released = () => this.merger.kick();
	}

	/** What a crash left is gone: merges that it cut short go on. */
	begin(): void {
		this.merger.kick();
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

	/** Volume.openSnapshot. */
	async open(name: string): Promise<SnapshotView> {
		const { layers, wal } = this.#parts;
		const { uuid, blockSize } = this.#geometry;
		const snapshot = await this.named(name);
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
			if (keepLiveAs !== undefined) this.snapshots.mustFit(keepLiveAs);
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

	/** Volume.flatten. */
	async flatten(): Promise<void> {
		const { tree } = this.#parts.layers;
		if (tree.current.origin !== 0) await tree.commit((current) => current.detached());
		this.merger.kick();
	}

	/** Ends all views, and the merge with its step. */
	async close(): Promise<void> {
		await this.merger.stop();
		for (const view of this.#views) await view.close();
	}
}
