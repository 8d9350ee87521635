import type { MapSource } from './changed-pages.ts';
import { isAnchor } from './history-hold.ts';
import type { LayerTree } from './layer-tree.ts';
import { limits, pageBytes } from './limits.ts';
import { blockBytes, entriesPerBlock, entryAbsent, entryOffset, entryZero } from './page-map-block.ts';
import type { RemoteChunks } from './remote-file.ts';

/** What a volume and its snapshots hold, in bytes of pages; maps and log come on top. */
export interface SpaceReport {
	/** Of the pages that the volume shows. */
	readonly referencedBytes: number;
	/** Of the pages that only the live layer holds: what would be given back if the volume were restored to its newest snapshot. */
	readonly exclusiveBytes: number;
	/** Of all pages of all layers: what the layers take up. */
	readonly totalBytes: number;
	readonly snapshots: readonly SnapshotSpace[];
}

export interface SnapshotSpace {
	readonly id: number;
	readonly name: string;
	/** Of the pages that the snapshot shows. */
	readonly referencedBytes: number;
	/** What its deletion gives back. */
	readonly exclusiveBytes: number;
}

const nothing = 0;
const isZero = 1;
const isData = 2;
/** It is shown, and takes no space: it has to be fetched. */
const isElsewhere = 3;

interface Sum {
	referenced: number;
	exclusive: number;
	total: number;
}

/**
 * Counts pages, block of the map by block over all layers, parents before children. A layer's pages are exclusive to its snapshot as far as the one layer that stands on it
 * hides them; all of them if nothing does, none if two do. `shared`: layers that another volume needs, too; their deletion gives nothing back.
 */
export async function countSpace(
	tree: LayerTree,
	sources: ReadonlyMap<number, MapSource>,
	shared: ReadonlySet<number>,
): Promise<SpaceReport> {
	const order = parentsFirst(tree);
	const children = new Map(order.map((id) => [id, tree.children(id)]));
	const sums = new Map<number, Sum>(order.map((id) => [id, { referenced: 0, exclusive: 0, total: 0 }]));
	const blocks = await blocksOf(sources);
	const block = Buffer.allocUnsafe(blockBytes);
	let previous = -1;
	// Of what a layer shows where no layer of a block holds anything: nothing.
	for (const [blockIndex, holders] of blocks) {
		if (blockIndex <= previous) throw new RangeError('blocks out of order');
		previous = blockIndex;
		const own = new Map<number, Uint8Array>();
		for (const id of holders) {
			const source = sources.get(id) as MapSource;
			await source.readBlock(blockIndex, block);
			own.set(id, statesOf(block, blockIndex, source.remote));
		}
		const shown = new Map<number, Uint8Array>();
		for (const id of order) {
			const below = shown.get(tree.layer(id).parent) ?? emptyStates;
			const mine = own.get(id);
			shown.set(id, mine === undefined ? below : mine.map((state, at) => (state === nothing ? (below[at] as number) : state)));
			const sum = sums.get(id) as Sum;
			sum.referenced += countData(shown.get(id) as Uint8Array) + countOf(shown.get(id) as Uint8Array, isElsewhere);
			if (mine === undefined) continue;
			sum.total += countData(mine);
			const [heir, ...others] = children.get(id) ?? [];
			if (others.length > 0 || shared.has(id)) continue;
			const hiding = heir === undefined ? undefined : (own.get(heir) ?? emptyStates);
			for (let at = 0; at < entriesPerBlock; at++)
				if (mine[at] === isData && (hiding === undefined || hiding[at] !== nothing)) sum.exclusive++;
		}
	}
	const live = sums.get(tree.live) as Sum;
	let total = 0;
	for (const sum of sums.values()) total += sum.total;
	return {
		referencedBytes: live.referenced * pageBytes,
		exclusiveBytes: live.exclusive * pageBytes,
		totalBytes: total * pageBytes,
		snapshots: tree.snapshots
			.filter((snapshot) => !isAnchor(snapshot))
			.map(({ id, name, layer }) => {
				const sum = sums.get(layer) as Sum;
				return { id, name, referencedBytes: sum.referenced * pageBytes, exclusiveBytes: sum.exclusive * pageBytes };
			}),
	};
}

/** Which layers may hold something of a block, by ascending block. */
async function blocksOf(sources: ReadonlyMap<number, MapSource>): Promise<Map<number, number[]>> {
	const holders = new Map<number, number[]>();
	for (const [id, source] of sources) {
		for await (const { blockIndex } of source.blocks()) {
			const known = holders.get(blockIndex);
			if (known === undefined) holders.set(blockIndex, [id]);
			else known.push(id);
		}
		for (const blockIndex of missingBlocks(source.remote)) {
			const known = holders.get(blockIndex);
			if (known === undefined) holders.set(blockIndex, [id]);
			else if (!known.includes(id)) known.push(id);
		}
	}
	return new Map([...holders].sort(([a], [b]) => a - b));
}

function parentsFirst(tree: LayerTree): number[] {
	const order: number[] = [];
	const seen = new Set<number>();
	for (const id of tree.layers.keys()) {
		for (const layer of tree.stack(id).toReversed()) {
			if (seen.has(layer)) continue;
			seen.add(layer);
			order.push(layer);
		}
	}
	if (order.length > limits.layersMax) throw new RangeError(`${order.length} layers`);
	return order;
}

/** Blocks of a page map of which the archive holds something. */
function* missingBlocks(remote: RemoteChunks | undefined): Generator<number> {
	if (remote === undefined) return;
	for (let block = remote.nextBlock(0); block !== Infinity; block = remote.nextBlock(block + 1)) yield block;
}

function statesOf(block: Buffer, blockIndex: number, remote: RemoteChunks | undefined): Uint8Array {
	const states = new Uint8Array(entriesPerBlock);
	for (let at = 0; at < entriesPerBlock; at++) {
		const entry = block.readUInt32LE(entryOffset(at));
		if (entry !== entryAbsent) states[at] = entry === entryZero ? isZero : isData;
		else if (remote?.holdsPage(blockIndex * entriesPerBlock + at) === true) states[at] = isElsewhere;
	}
	return states;
}

function countData(states: Uint8Array): number {
	return countOf(states, isData);
}

function countOf(states: Uint8Array, wanted: number): number {
	let count = 0;
	for (const state of states) if (state === wanted) count++;
	return count;
}

const emptyStates = new Uint8Array(entriesPerBlock);
