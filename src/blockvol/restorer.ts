import type { Exclusive } from './exclusive.ts';
import type { LayerTree, Snapshot } from './layer-tree.ts';
import { newSnapshotId, type SnapshotParts } from './snapshots.ts';
import type { SuperblockFile } from './superblock.ts';
import { VolumeFault } from './volume-fault.ts';
import type { Writer } from './writer.ts';

export interface RestorerParts extends SnapshotParts {
	readonly writer: Writer;
	readonly superblock: SuperblockFile;
	readonly exclusive: Exclusive;
}

export interface RestorerOwner {
	/** Throws when the volume cannot go on with it. */
	mustGoOn(): void;
	/** Resolves when something may have changed. */
	changed(): Promise<void>;
	sizeBytes(): number;
	/** The anchor that the history needs for what is written from now on; undefined if there is no history. */
	anchor(): Pick<Snapshot, 'id' | 'name' | 'timeMs'> | undefined;
	/** In the turn in which the volume shows the snapshot. */
	restored(sizeBytes: number): void;
}

/**
 * Puts a volume back to a snapshot: a new live layer on the snapshot's stack.
 *
 *   flush ─→ writers wait ─→ nothing on its way, nothing dirty ─→ the new layer's name durable ─→ tree and superblock, durable ─→ looked up from now on ─→ writers go on
 *
 * A crash leaves the state before or the one after. Reads never wait; one that runs meanwhile may see some of each.
 */
export class Restorer {
	readonly #parts: RestorerParts;
	readonly #owner: RestorerOwner;

	constructor(parts: RestorerParts, owner: RestorerOwner) {
		this.#parts = parts;
		this.#owner = owner;
	}

	/** `keptName`: what was live becomes a snapshot of that name; undefined: nobody needs it. */
	async restore(snapshot: Snapshot, keptName: string | undefined): Promise<void> {
		const { flusher, writer, spans, marks, exclusive, index } = this.#parts;
		// Most of it before anybody has to wait.
		await flusher.flush();
		writer.pause();
		spans.suspensions++;
		marks.suspend();
		try {
			for (let isDone = false; !isDone;) {
				await this.#quieten();
				isDone = await exclusive.run(async () => {
					this.#owner.mustGoOn();
					if (!index.isClean || !this.#isQuiet()) return false;
					await this.#switch(snapshot, keptName);
					return true;
				});
			}
		} finally {
			marks.resume();
			spans.suspensions--;
			writer.resume();
		}
	}

	#isQuiet(): boolean {
		return this.#parts.spans.isEmpty && this.#parts.wal.isIdle;
	}

	/** Until nothing is on its way to the log or the layer, and nothing is dirty. */
	async #quieten(): Promise<void> {
		const { spans, wal, index, flusher } = this.#parts;
		for (;;) {
			this.#owner.mustGoOn();
			if (!spans.isEmpty) await spans.whenEmpty();
			else if (!wal.isIdle) await this.#owner.changed();
			else if (!index.isClean) await flusher.flush();
			else return;
		}
	}

	async #switch(snapshot: Snapshot, keptName: string | undefined): Promise<void> {
		const { index, layers, marks, superblock, wal } = this.#parts;
		const old = index.layer;
		const layer = layers.make();
		const lsn = wal.installedLSN;
		const kept =
			keptName === undefined
				? undefined
				: { id: newSnapshotId(), name: keptName, timeMs: Date.now(), lsn, sizeBytes: this.#owner.sizeBytes() };
		const { sizeBytes } = snapshot;
		const wanted = this.#owner.anchor();
		const between = wanted === undefined ? undefined : layers.make();
		const anchor = wanted === undefined || between === undefined ? undefined : { ...wanted, layer: between.id, lsn, sizeBytes };
		const change = (tree: LayerTree): LayerTree => tree.restored(snapshot.layer, layer.id, kept, old.digest.value, anchor);
		const changes = {
			checkpointLSN: lsn,
			mapDigest: layer.digest.value,
			holds: [...wal.segments.holds],
			marks: [],
			geometry: { ...superblock.current.geometry, sizeBytes },
		};
		const applied = (): void => {
			layers.adopted(layer.id);
			layers.add(old.freeze(layers.pool));
			if (between !== undefined) layers.add(between.freeze(layers.pool));
			index.restore(layer, layers.stack(between?.id ?? snapshot.layer));
			old.letGo();
			between?.letGo();
			marks.clear();
			marks.grown(sizeBytes);
			this.#owner.restored(sizeBytes);
		};
		try {
			for (const young of [layer, between]) {
				if (young === undefined) continue;
				await layers.tree.durably(() => young.makeMap());
				await layers.tree.durably(() => young.syncData());
			}
			await layers.tree.commit(change, changes, applied);
		} catch (error) {
			// After a fault the superblock may name it.
			if (!(error instanceof VolumeFault)) for (const young of [layer, between]) if (young !== undefined) await layers.discard(young);
			throw error;
		}
		wal.segments.setCheckpoint(lsn);
	}
}
