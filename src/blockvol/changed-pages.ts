import type { DiskFile } from '../os/disk.ts';
import { readMapBlock } from './frozen-layer.ts';
import type { LayerTree } from './layer-tree.ts';
import { pageBytes } from './limits.ts';
import { blockBytes, entriesPerBlock, entryAbsent, entryOffset } from './page-map-block.ts';
import type { RemoteChunks } from './remote-file.ts';

/** Pages that may differ: `pages` from `firstPage` on. */
export interface PageRange {
	readonly firstPage: number;
	readonly pages: number;
}

/** A layer whose map can be read by blocks. */
export interface MapSource {
	/** Blocks that may hold anything, ascending. */
	blocks(): AsyncIterable<{ blockIndex: number }>;
	readBlock(blockIndex: number, target: Buffer): Promise<unknown>;
	/** Of a layer that lacks pages: what they are. */
	readonly remote?: RemoteChunks | undefined;
}

/** The layers in which two states of a tree differ: those of either stack that the other one does not have. */
export function layersBetween(tree: LayerTree, from: number, to: number): number[] {
	const [older, newer] = [tree.stack(from), tree.stack(to)];
	return [...newer.filter((id) => !older.includes(id)), ...older.filter((id) => !newer.includes(id))];
}

/** The map of a layer over its file, which `withFile` has open during the call. */
export function mapSource(layer: number, withFile: <T>(work: (file: DiskFile) => Promise<T>) => Promise<T>): MapSource {
	return {
		blocks: () => blocksOf(withFile),
		readBlock: (blockIndex, target) => withFile((file) => readMapBlock(file, layer, blockIndex, target)),
	};
}

/**
 * The union of what layers hold, as ranges of pages, ascending and apart from each other: every page that differs between the states, and perhaps some that were written
 * with the bytes that they had. Ends at `sizeBytes`.
 */
export async function* changedPages(sources: readonly MapSource[], sizeBytes: number): AsyncGenerator<PageRange> {
	const walks = sources.map((source) => ({ source, walk: source.blocks()[Symbol.asyncIterator](), next: -1 }));
	const advance = async (walk: (typeof walks)[number]): Promise<void> => {
		const { done, value } = await walk.walk.next();
		walk.next = done === true ? Infinity : value.blockIndex;
	};
	for (const walk of walks) await advance(walk);
	const block = Buffer.allocUnsafe(blockBytes);
	const endPage = sizeBytes / pageBytes;
	let open: { firstPage: number; pages: number } | undefined;
	for (;;) {
		const blockIndex = walks.reduce((least, { next }) => Math.min(least, next), Infinity);
		if (blockIndex * entriesPerBlock >= endPage) break;
		const changed = new Uint8Array(entriesPerBlock);
		for (const walk of walks) {
			if (walk.next !== blockIndex) continue;
			await walk.source.readBlock(blockIndex, block);
			for (let at = 0; at < entriesPerBlock; at++) if (block.readUInt32LE(entryOffset(at)) !== entryAbsent) changed[at] = 1;
			await advance(walk);
		}
		for (let at = 0; at < entriesPerBlock; at++) {
			const page = blockIndex * entriesPerBlock + at;
			if (changed[at] === 0 || page >= endPage) continue;
			if (open !== undefined && open.firstPage + open.pages === page) {
				open.pages++;
				continue;
			}
			if (open !== undefined) yield open;
			open = { firstPage: page, pages: 1 };
		}
	}
	if (open !== undefined) yield open;
}

async function* blocksOf(withFile: <T>(work: (file: DiskFile) => Promise<T>) => Promise<T>): AsyncGenerator<{ blockIndex: number }> {
	for (let position = 0; ;) {
		const from = position;
		const range = await withFile((file) => file.nextData(from));
		if (range === undefined) return;
		const end = Math.ceil(range.endBytes / blockBytes);
		for (let blockIndex = Math.floor(Math.max(range.startBytes, from) / blockBytes); blockIndex < end; blockIndex++) yield { blockIndex };
		position = end * blockBytes;
	}
}
