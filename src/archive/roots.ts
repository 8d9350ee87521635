import { manifestIds, readManifest } from './catalogue.ts';
import { decodeManifest, isZeroRow, manifestBytesMax, rowOf } from './manifest.ts';
import { GenerationSet } from './generation-set.ts';
import { limits } from './limits.ts';
import { readList } from './list-reader.ts';
import { entryBytes, hashBytes, listsOf } from './merkle-tree.ts';
import { exportPrefix, isId } from './object-keys.ts';
import { type Repository, signalOf } from './repository.ts';
import { ArchiveError, type Manifest } from './repository-types.ts';

/** An export, as its objects show it. */
export interface ExportObjects {
	readonly id: string;
	readonly keys: readonly string[];
	readonly pendingKeys: readonly string[];
	/** When it last said something, by the store's clock. */
	readonly modifiedMs: number;
}

/** Told of what roots refer to. */
export interface RootVisitor {
	/** A list, by its row, or a chunk, by its entry. */
	readonly mark: (kind: 'chunk' | 'list', entry: Buffer, isPending: boolean) => void;
	readonly onManifest?: (manifest: Manifest) => void;
	/** Before each list: a walk is long. */
	readonly onList: () => Promise<void>;
}

/** ArchiveError tooLarge. */
export async function listExports(repository: Repository, signal?: AbortSignal): Promise<ExportObjects[]> {
	const exports = new Map<string, { keys: string[]; modifiedMs: number }>();
	let count = 0;
	for await (const { key, modifiedMs } of repository.store.list(exportPrefix, signalOf(signal))) {
		const id = key.slice(exportPrefix.length).split('/')[0] ?? '';
		if (!isId(id)) continue;
		if (++count > limits.recordsMax)
			throw new ArchiveError('tooLarge', `${repository.store.name} has more than ${limits.recordsMax} objects of exports.`);
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
 * Goes through all roots: manifests, and what exports are about to publish. One is in memory at a time; each list is read once for the manifests and once for the pending ones. Nothing that an export refers to is missed
 * between its pending manifest and the published one, since pending ones are read first and taken away last.
 * ArchiveError missing, corrupt: a manifest or list cannot be read, so it is not known what is referred to.
 */
export async function walkRoots(repository: Repository, visitor: RootVisitor, signal: AbortSignal | undefined): Promise<void> {
	const seen = { pendings: new GenerationSet(), manifests: new GenerationSet() };
	const walked = new Set<string>();
	const manifest = async (id: string): Promise<void> => {
		const found = walked.has(id) ? undefined : await readManifest(repository, id, signal);
		walked.add(id);
		if (found === undefined) return;
		visitor.onManifest?.(found);
		await walkRoot(repository, found, false, seen.manifests, visitor, signal);
	};
	for (const { id, pendingKeys } of await listExports(repository, signal)) {
		for (const key of pendingKeys) {
			const plain = await repository.getSmall('pending', key, manifestBytesMax, signal);
			if (plain !== undefined) await walkRoot(repository, decodeManifest(plain, id, key), true, seen.pendings, visitor, signal);
			// It went since it was listed: a list of manifests may be late, so the one that it became is asked for by name.
			else await manifest(id);
		}
	}
	for await (const id of manifestIds(repository, signal)) await manifest(id);
}

async function walkRoot(
	repository: Repository,
	root: Manifest,
	isPending: boolean,
	seen: GenerationSet,
	{ mark, onList }: RootVisitor,
	signal: AbortSignal | undefined,
): Promise<void> {
	for (let list = 0; list < listsOf(root.chunks); list++) {
		const row = rowOf(root.segments, list);
		if (isZeroRow(row) || !seen.add(row, hashBytes)) continue;
		await onList();
		mark('list', row, isPending);
		const entries = await readList(repository, root, list, signal);
		for (let at = 0; at < entries.length; at += entryBytes) {
			const entry = entries.subarray(at, at + entryBytes);
			if (!isZeroRow(entry)) mark('chunk', entry, isPending);
		}
	}
}
