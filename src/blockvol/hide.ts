import type { BelowIndex } from './below-index.ts';
import type { Layer } from './layer.ts';
import { entriesPerBlock, entryAbsent, entryZero } from './page-map-block.ts';

/** After so many blocks in a row in which nothing is, the files are asked where something is: a bit of a summary may stand for thousands of blocks, holes for the most part. */
const emptyMax = 4;
/** Pages that one update takes at most: 16 blocks of the map. */
const batchPages = 16 * entriesPerBlock;

/**
 * Has a page range of a layer, whose own entries are absent, read as zeros though layers below hold something: those pages become `zero`. Where nothing is below, absent
 * will do and takes no space. Where zeros are below, too, unless a layer that says so may be gone soon (`isMerging`): it may have been merged into this one already, before its
 * entries here were cleared.
 */
export async function hideBelow(layer: Layer, below: BelowIndex, start: number, end: number, isMerging = false): Promise<void> {
	if (below.isEmpty) return;
	await below.ready();
	const pages = new Float64Array(batchPages);
	const entries = new Uint32Array(batchPages).fill(entryZero);
	let count = 0;
	let empty = 0;
	let block: number | undefined = Math.floor(start / entriesPerBlock);
	for (;;) {
		if (empty === emptyMax) {
			empty = 0;
			block = await below.nextWritten(block);
		}
		block = block === Infinity ? undefined : below.nextBlock(block);
		if (block === undefined || block * entriesPerBlock >= end) break;
		const first = Math.max(start, block * entriesPerBlock);
		const last = Math.min(end, (block + 1) * entriesPerBlock);
		await below.load(first);
		const before = count;
		for (let page = first; page < last; page++) {
			const entry = below.find(page);
			if (entry !== entryAbsent && (entry !== entryZero || isMerging)) pages[count++] = page;
		}
		empty = count > before ? 0 : empty + 1;
		if (count > batchPages - entriesPerBlock) {
			await layer.map.update(pages, entries, count, layer.digest);
			count = 0;
		}
		block++;
	}
	if (count > 0) await layer.map.update(pages, entries, count, layer.digest);
}
