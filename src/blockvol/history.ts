import { BelowIndex, blocksPerBit } from './below-index.ts';
import type { Snapshot } from './layer-tree.ts';
import type { Geometry } from './limits.ts';
import { SnapshotView } from './snapshot-view.ts';
import { VolumeUsageError } from './volume-fault.ts';
import { Snapshots, type SnapshotParts, type SnapshotsOwner } from './snapshots.ts';

/** A volume's snapshots: making them (snapshots.ts), and what may be done with those that are there. */
export class History {
	readonly snapshots: Snapshots;
	readonly #parts: SnapshotParts;
	readonly #geometry: Geometry;
	readonly #belowBlocks: number;
	readonly #blocksPerBit: number;
	readonly #views = new Set<SnapshotView>();

	constructor(parts: SnapshotParts, geometry: Geometry, belowBlocks: number, owner: Omit<SnapshotsOwner, 'blocksPerBit'>) {
		this.#parts = parts;
		this.#geometry = geometry;
		this.#belowBlocks = belowBlocks;
		this.#blocksPerBit = blocksPerBit(geometry.sizeBytes);
		this.snapshots = new Snapshots(parts, { ...owner, blocksPerBit: this.#blocksPerBit });
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

	/** Ends all views. */
	async close(): Promise<void> {
		for (const view of this.#views) await view.close();
	}
}
