import { isAnchor } from './history-hold.ts';
import type { LayerSet } from './layer-set.ts';
import type { LayerTree, Snapshot } from './layer-tree.ts';

/**
 * Takes the names of anchors away whose log is gone (all that lie below an LSN): their layers are merged in the background. True if any went.
 *
 * A merge carries a layer into the one above it, so the lowest anchor would have all that the volume holds copied each time another one goes. It keeps its name as the ground that the others are merged
 * onto, one into the next, until what stands on it is half as large: so a byte is copied for every byte or two that were written, however large the volume is. `all`: the ground goes, too.
 */
export async function sweepAnchors(layers: LayerSet, fromLSN: number, all: boolean): Promise<boolean> {
	const tree = layers.tree.current;
	const stale = tree.snapshots.filter((snapshot) => isAnchor(snapshot) && snapshot.lsn < fromLSN);
	const ground = all ? undefined : groundOf(tree, stale);
	const isGroundKept = ground !== undefined && (await isLarge(layers, tree, ground));
	const gone = new Set(stale.filter((anchor) => !(isGroundKept && anchor === ground)).map(({ id }) => id));
	if (gone.size === 0) return false;
	await layers.tree.commit((current) => [...gone].reduce((left, id) => left.withoutSnapshot(id), current));
	return true;
}

/** The lowest of them that what is live stands on. */
function groundOf(tree: LayerTree, stale: readonly Snapshot[]): Snapshot | undefined {
	for (const layer of tree.stack(tree.live).toReversed()) {
		const anchor = stale.find((candidate) => candidate.layer === layer);
		if (anchor !== undefined) return anchor;
	}
	return undefined;
}

/** Whether a merge would have much to copy for what has been written since. */
async function isLarge(layers: LayerSet, tree: LayerTree, { layer }: Snapshot): Promise<boolean> {
	let above = 0;
	for (const id of tree.children(layer)) if (id !== tree.live) above += await layers.frozen(id).allocatedBytes();
	return above * 2 < (await layers.frozen(layer).allocatedBytes());
}
