import { GenerationSet } from './generation-set.ts';
import { limits } from './limits.ts';
import { hashBytes } from './merkle-tree.ts';
import { type ContentKind, parseContentKey, shardPrefix } from './object-keys.ts';
import { type Repository, signalOf } from './repository.ts';

export interface Window {
	/** Generations of the objects of the window. */
	readonly existing: GenerationSet;
	/** Whether an entry's object would be in this window. */
	readonly covers: (entry: Uint8Array) => boolean;
}

/**
 * Which objects of a kind there are, as many at a time as may be held in memory: one window in nearly every repository, more in a huge one. Together they cover every name once.
 */
export async function* existingWindows(repository: Repository, kind: ContentKind, signal: AbortSignal | undefined): AsyncGenerator<Window> {
	for (let first = 0; first < 256;) {
		const existing = new GenerationSet();
		let next = first;
		do {
			for await (const { key } of repository.store.list(shardPrefix(kind, next), signalOf(signal))) {
				const parsed = parseContentKey(key);
				if (parsed !== undefined) existing.addHex(parsed.generation);
			}
			next++;
			// A shard is a 256th: as many as that again fit surely enough.
		} while (next < 256 && existing.size < limits.marksMax);
		const [from, to] = [first, next];
		const isAll = from === 0 && to === 256;
		yield { existing, covers: (entry) => isAll || isBetween(repository, kind, entry, from, to) };
		first = next;
	}
}

/** Whether the first byte of an entry's name is in [from, to). */
export function isBetween(repository: Repository, kind: ContentKind, entry: Uint8Array, from: number, to: number): boolean {
	const byte = Number.parseInt(repository.nameOf(kind, entry.subarray(0, hashBytes)).slice(0, 2), 16);
	return byte >= from && byte < to;
}
