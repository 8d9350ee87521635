import { addCondemned, collectedBatches } from './collector-runs.ts';
import { GenerationSet } from './generation-set.ts';
import { limits } from './limits.ts';
import { readList } from './list-reader.ts';
import { isZeroRow, rowOf } from './manifest.ts';
import { entryBytes, hashBytes, listsOf } from './merkle-tree.ts';
import { contentKey } from './object-keys.ts';
import { existingWindows } from './presence.ts';
import { type Repository, signalOf } from './repository.ts';
import { ArchiveError, type Manifest } from './repository-types.ts';

/** What of a pending manifest a collector has condemned or taken. */
export interface Lost {
	/** Chunks whose objects are not to be relied on, by list. */
	readonly chunks: Map<number, number[]>;
	/** Lists whose own object is condemned; it can still be read. */
	readonly lists: Set<number>;
	/** Lists that are gone: what they said has to be found anew. */
	readonly unreadable: Set<number>;
	readonly generations: GenerationSet;
}

/**
 * What of a manifest, whose pending object stands, cannot be relied on; undefined if all can.
 *
 * An object that nobody has condemned by now stays: a collector that condemns it later looks for manifests after that, and finds the pending one. One that was condemned and taken away meanwhile was in a batch that
 * has left its name, which is not among `collectedBefore`, so everything is looked for.
 */
export async function lostObjects(
	repository: Repository,
	manifest: Manifest,
	collectedBefore: ReadonlySet<string>,
	onList: () => Promise<void>,
	signal: AbortSignal | undefined,
): Promise<Lost | undefined> {
	const condemned = new GenerationSet();
	await addCondemned(repository, condemned, signal);
	// After the batches: the name of one stands before it is taken away.
	const names = await collectedBatches(repository, signal);
	const isNew = [...names].some((name) => !collectedBefore.has(name));
	if (condemned.size === 0 && !isNew) return undefined;
	const lost: Lost = { chunks: new Map(), lists: new Set(), unreadable: new Set(), generations: condemned };
	for (let list = 0; list < listsOf(manifest.chunks); list++) {
		const row = rowOf(manifest.segments, list);
		if (!isZeroRow(row) && condemned.has(row, hashBytes)) lost.lists.add(list);
	}
	await walk(repository, manifest, lost, onList, signal, (entry) => Promise.resolve(condemned.has(entry, hashBytes)));
	if (isNew) {
		await repository.runtime.sleep(repository.timing.settleMs, signal);
		for await (const { existing, covers } of existingWindows(repository, 'chunk', signal)) {
			await walk(repository, manifest, lost, onList, signal, async (entry) => {
				if (!covers(entry) || existing.has(entry, hashBytes)) return false;
				if ((await repository.store.head(contentKey(repository, 'chunk', entry), signalOf(signal))) !== undefined) return false;
				lost.generations.add(entry, hashBytes);
				return true;
			});
		}
	}
	return lost.chunks.size + lost.lists.size + lost.unreadable.size === 0 ? undefined : lost;
}

async function walk(
	repository: Repository,
	manifest: Manifest,
	lost: Lost,
	onList: () => Promise<void>,
	signal: AbortSignal | undefined,
	isLost: (entry: Buffer) => Promise<boolean>,
): Promise<void> {
	for (let list = 0; list < listsOf(manifest.chunks); list++) {
		if (isZeroRow(rowOf(manifest.segments, list)) || lost.unreadable.has(list)) continue;
		await onList();
		let entries: Buffer;
		try {
			entries = await readList(repository, manifest, list, signal);
		} catch (error) {
			if (!(error instanceof ArchiveError) || (error.code !== 'missing' && error.code !== 'corrupt')) throw error;
			lost.unreadable.add(list);
			lost.generations.add(rowOf(manifest.segments, list), hashBytes);
			continue;
		}
		for (let at = 0; at < entries.length; at += entryBytes) {
			const entry = entries.subarray(at, at + entryBytes);
			if (isZeroRow(entry) || !(await isLost(entry))) continue;
			const chunk = list * limits.entriesPerList + at / entryBytes;
			const chunks = lost.chunks.get(list) ?? [];
			if (chunks.at(-1) !== chunk && !chunks.includes(chunk)) chunks.push(chunk);
			lost.chunks.set(list, chunks);
		}
	}
}
