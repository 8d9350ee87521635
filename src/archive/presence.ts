import { GenerationSet } from './generation-set.ts';
import { limits } from './limits.ts';
import { hashBytes } from './merkle-tree.ts';
import { type ContentKind, kindPrefix, parseContentKey, shardPrefix } from './object-keys.ts';
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
	const all = await everything(repository, kind, signal);
	if (all !== undefined) {
		yield { existing: all, covers: () => true };
		return;
	}
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
		yield { existing, covers: (entry) => isBetween(repository, kind, entry, from, to) };
		first = next;
	}
}

/** undefined: more than may be held. */
async function everything(repository: Repository, kind: ContentKind, signal: AbortSignal | undefined): Promise<GenerationSet | undefined> {
	const existing = new GenerationSet();
	for await (const { key } of repository.store.list(kindPrefix(kind), signalOf(signal))) {
		const parsed = parseContentKey(key);
		if (parsed !== undefined) existing.addHex(parsed.generation);
		if (existing.size >= limits.marksMax) return undefined;
	}
	return existing;
}

/** Whether the first byte of an entry's name is in [from, to). */
export function isBetween(repository: Repository, kind: ContentKind, entry: Uint8Array, from: number, to: number): boolean {
	const byte = Number.parseInt(repository.nameOf(kind, entry.subarray(0, hashBytes)).slice(0, 2), 16);
	return byte >= from && byte < to;
}
