import { manifestIds, readManifest } from './catalogue.ts';
import { decodeManifest, isZeroRow, manifestBytesMax, rowOf } from './manifest.ts';
import { GenerationSet } from './generation-set.ts';
import { readList } from './list-reader.ts';
import { entryBytes, hashBytes, listsOf } from './merkle-tree.ts';
import { exportPrefix, isId } from './object-keys.ts';
import { type Repository, signalOf } from './repository.ts';
import type { Manifest } from './repository-types.ts';

/** An export, as its objects show it. */
export interface ExportObjects {
	readonly id: string;
	readonly keys: readonly string[];
	readonly pendingKeys: readonly string[];
	/** When it last said something, by the store's clock. */
	readonly modifiedMs: number;
}

/** What may be referred to: manifests, and what exports are about to publish. */
export interface Roots {
	readonly manifests: readonly Manifest[];
	readonly pendings: readonly Manifest[];
}

export async function listExports(repository: Repository, signal?: AbortSignal): Promise<ExportObjects[]> {
	const exports = new Map<string, { keys: string[]; modifiedMs: number }>();
	for await (const { key, modifiedMs } of repository.store.list(exportPrefix, signalOf(signal))) {
		const id = key.slice(exportPrefix.length).split('/')[0] ?? '';
		if (!isId(id)) continue;
		const known = exports.get(id) ?? { keys: [], modifiedMs: 0 };
		known.keys.push(key);
		known.modifiedMs = Math.max(known.modifiedMs, modifiedMs);
		exports.set(id, known);
	}
	return [...exports].map(([id, { keys, modifiedMs }]) => ({
		id,
		keys,
		modifiedMs,
		pendingKeys: keys.filter((key) => key.includes('/pending-')),
	}));
}

/**
 * All roots at a moment: nothing that an export refers to is missed between its pending manifest and the published one, since pending ones are read first and taken away last.
 * ArchiveError corrupt: what a root refers to is not known.
 */
export async function readRoots(repository: Repository, signal?: AbortSignal): Promise<Roots> {
	const pendings: Manifest[] = [];
	const manifests = new Map<string, Manifest>();
	for (const { id, pendingKeys } of await listExports(repository, signal)) {
		for (const key of pendingKeys) {
			const plain = await repository.getSmall('pending', key, manifestBytesMax, signal);
			if (plain !== undefined) {
				pendings.push(decodeManifest(plain, id, key));
				continue;
			}
			// It went since it was listed: a list of manifests may be late, so the one that it became is asked for by name.
			const manifest = await readManifest(repository, id, signal);
			if (manifest !== undefined) manifests.set(id, manifest);
		}
	}
	for await (const id of manifestIds(repository, signal)) {
		const manifest = manifests.has(id) ? undefined : await readManifest(repository, id, signal);
		if (manifest !== undefined) manifests.set(id, manifest);
	}
	return { manifests: [...manifests.values()], pendings };
}

/** Distinct lists of roots: how many chunks they may name bounds what marking them takes. */
export function countLists(roots: readonly Manifest[]): number {
	const lists = new GenerationSet();
	for (const { segments, chunks } of roots) for (let list = 0; list < listsOf(chunks); list++) lists.add(rowOf(segments, list), hashBytes);
	return lists.size;
}

/**
 * Calls `mark` with each entry of each list of roots, and each list's own row, every distinct list once. ArchiveError missing, corrupt: a list cannot be read, so it is not known what is referred to.
 */
export async function walkRoots(
	repository: Repository,
	roots: readonly Manifest[],
	mark: (kind: 'chunk' | 'list', entry: Buffer) => void,
	onList: () => Promise<void>,
	signal: AbortSignal | undefined,
): Promise<void> {
	const seen = new GenerationSet();
	for (const root of roots) {
		for (let list = 0; list < listsOf(root.chunks); list++) {
			const row = rowOf(root.segments, list);
			if (isZeroRow(row) || !seen.add(row, hashBytes)) continue;
			await onList();
			mark('list', row);
			const entries = await readList(repository, root, list, signal);
			for (let at = 0; at < entries.length; at += entryBytes) {
				const entry = entries.subarray(at, at + entryBytes);
				if (!isZeroRow(entry)) mark('chunk', entry);
			}
		}
	}
}
