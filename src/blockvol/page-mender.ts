import { errorCode } from '../os/disk.ts';
import { readFully, writeFully } from '../os/transfer.ts';
import type { Exclusive } from './exclusive.ts';
import type { LayerSet } from './layer-set.ts';
import type { Snapshot } from './layer-tree.ts';
import { pageBytes } from './limits.ts';
import { blockBytes, entriesPerBlock, entryAbsent, entryLost, entryOffset } from './page-map-block.ts';
import { pageChecksum } from './page-checksums.ts';

/**
 * Brings back pages of frozen layers that are damaged on the disk, from a copy that somebody else has.
 *
 * Such a page never changes: a layer takes writes only while it is live, and a merge adds only what the layer lacks. So whoever has what a snapshot holds has what the layer should, if the layer is in the
 * snapshot's stack and none above it has the page. Of the live layer no snapshot can tell: its pages are newer than all of them. And what is written is what the map has the checksum of, or nothing.
 */
export class PageMender {
	readonly #layers: LayerSet;
	readonly #exclusive: Exclusive;

	/** `exclusive`: flusher cycles and merges take turns there. */
	constructor(layers: LayerSet, exclusive: Exclusive) {
		this.#layers = layers;
		this.#exclusive = exclusive;
	}

	/** The snapshots in which a page is read from a layer; none for the live one, and for one that is gone. Rejects with the kernel's error. */
	snapshotsShowing(layer: number, page: number): Promise<Snapshot[]> {
		return this.#exclusive.run(async () => {
			const tree = this.#layers.tree.current;
			const showing: Snapshot[] = [];
			if (layer === tree.live || !tree.layers.has(layer)) return showing;
			for (const snapshot of tree.snapshots) {
				const stack = tree.stack(snapshot.layer);
				const at = stack.indexOf(layer);
				if (at < 0 || (page + 1) * pageBytes > snapshot.sizeBytes) continue;
				let isHidden = false;
				// What a damaged sector of a map says nobody knows: it may hide the page.
				for (const above of stack.slice(0, at)) isHidden ||= (await this.#entry(above, page)) !== entryAbsent;
				if (!isHidden) showing.push(snapshot);
			}
			return showing;
		});
	}

	/** Writes a page to where it belongs, durably. False, and nothing has changed: it is not what the map has the checksum of, the layer is gone, or the disk does not take it. */
	mend(layer: number, page: number, bytes: Uint8Array): Promise<boolean> {
		return this.#exclusive.run(async () => {
			const tree = this.#layers.tree.current;
			if (bytes.length !== pageBytes || layer === tree.live || !tree.layers.has(layer)) return false;
			const frozen = this.#layers.frozen(layer);
			const handle = frozen.handleOf(page);
			const entry = await this.#entry(layer, page);
			if (handle === undefined || entry <= entryLost || entry !== pageChecksum(bytes)) return false;
			try {
				return await frozen.pool.use(handle, async (file) => {
					await writeFully(file, bytes, frozen.positionOf(page));
					await file.datasync();
					const seen = Buffer.alloc(pageBytes);
					await readFully(file, seen, frozen.positionOf(page));
					return pageChecksum(seen) === entry;
				});
			} catch (error) {
				// It was damaged before.
				if (errorCode(error) === '') throw error;
				return false;
			}
		});
	}

	async #entry(layer: number, page: number): Promise<number> {
		const block = Buffer.alloc(blockBytes);
		await this.#layers.frozen(layer).readBlock(Math.floor(page / entriesPerBlock), block);
		return block.readUInt32LE(entryOffset(page));
	}
}
