import { entryBytes, hashBytes } from './merkle-tree.ts';
import type { Repository } from './repository.ts';

/**
 * Where objects stand (docs/archive-format.md, "Keys"). A chunk's and a list's key ends in a generation, 8 random bytes that are drawn for each upload: no key is ever put
 * again after it was deleted, so a collector that stood still and goes on deletes nothing but what it condemned.
 */
export type ContentKind = 'chunk' | 'list';

const folders = { chunk: 'chunks', list: 'lists' } as const;
export const generationBytes = entryBytes - hashBytes;

export const manifestPrefix = 'manifests/';
export const exportPrefix = 'exports/';
export const condemnedPrefix = 'condemned/';
export const collectedPrefix = 'collected/';
export const collectorPrefix = 'collectors/';

/** All objects of a kind. */
export function kindPrefix(kind: ContentKind): string {
	return `${folders[kind]}/`;
}

/** All objects of a kind whose names begin with a byte. */
export function shardPrefix(kind: ContentKind, firstByte: number): string {
	return `${folders[kind]}/${firstByte.toString(16).padStart(2, '0')}/`;
}

/** All objects with this content. */
export function contentPrefix(kind: ContentKind, name: string): string {
	return `${folders[kind]}/${name.slice(0, 2)}/${name}-`;
}

/** Of an entry of a list, or the beginning of a row of a manifest: hash and generation. */
export function contentKey(repository: Repository, kind: ContentKind, entry: Uint8Array): string {
	const generation = Buffer.from(entry.buffer, entry.byteOffset + hashBytes, generationBytes).toString('hex');
	return contentPrefix(kind, repository.nameOf(kind, entry.subarray(0, hashBytes))) + generation;
}

export interface ContentName {
	/** 64 hexadecimal digits. */
	readonly name: string;
	/** 16 hexadecimal digits. */
	readonly generation: string;
}

/** undefined: not a key of ours. */
export function parseContentKey(key: string): ContentName | undefined {
	const parts = /^(?:chunks|lists)\/(?<shard>[0-9a-f]{2})\/(?<name>[0-9a-f]{64})-(?<generation>[0-9a-f]{16})$/.exec(key)?.groups;
	if (parts === undefined) return undefined;
	const { shard, name = '', generation = '' } = parts;
	return name.startsWith(shard ?? '-') ? { name, generation } : undefined;
}

export function manifestKey(id: string): string {
	return manifestPrefix + id;
}

export function isId(text: string): boolean {
	return /^[0-9a-f]{32}$/.test(text);
}
