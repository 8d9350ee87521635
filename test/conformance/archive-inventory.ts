import { contentKey } from '../../src/archive/object-keys.ts';
import type { Repository } from '../../src/archive/repository.ts';
import { walkRoots } from '../../src/archive/roots.ts';

/** What lies in a store beside what manifests reach. */
export interface Inventory {
	readonly manifests: number;
	/** Chunks and lists that manifests need. */
	readonly reached: number;
	/** Objects that no manifest needs and that are no part of the repository's memory. */
	readonly orphans: readonly string[];
	/** Chunks and lists that manifests need and that are not there. */
	readonly missing: readonly string[];
	readonly all: readonly string[];
	readonly text: string;
}

/** What stays on purpose: the repository's own object, and for a month the names of batches that were collected. */
export function isMemory(key: string): boolean {
	return key === 'repository' || key.startsWith('collected/');
}

export async function inventory(repository: Repository): Promise<Inventory> {
	const reached = new Set<string>();
	let manifests = 0;
	const mark = (kind: 'chunk' | 'list', entry: Buffer, isPending: boolean): void => {
		if (!isPending) reached.add(contentKey(repository, kind, entry));
	};
	await walkRoots(repository, { mark, onManifest: () => manifests++, onList: () => Promise.resolve() }, undefined);
	const kinds = new Map<string, { objects: number; bytes: number }>();
	const all: string[] = [];
	for await (const { key, sizeBytes } of repository.store.list('')) {
		all.push(key);
		const name = key.split('/')[0] ?? '';
		const kind = kinds.get(name) ?? { objects: 0, bytes: 0 };
		kind.objects++;
		kind.bytes += sizeBytes;
		kinds.set(name, kind);
	}
	const there = new Set(all);
	const orphans = all.filter((key) => !reached.has(key) && !isMemory(key) && !key.startsWith('manifests/'));
	const missing = [...reached].filter((key) => !there.has(key));
	const held = [...kinds].map(([name, { objects, bytes }]) => `${name} ${objects} (${bytes} bytes)`).join(', ');
	const text = `${held}; ${manifests} manifests reach ${reached.size} chunks and lists; orphans ${orphans.length}, missing ${missing.length}`;
	return { manifests, reached: reached.size, orphans, missing, all, text };
}
