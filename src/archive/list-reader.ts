import type { Codec } from './codec.ts';
import { limits } from './limits.ts';
import { dataChunksOf, isZeroRow, rootOf, rowOf } from './manifest.ts';
import { entriesOfList, entryBytes, hashBytes } from './merkle-tree.ts';
import { contentKey } from './object-keys.ts';
import { type Repository, signalOf } from './repository.ts';
import { ArchiveError } from './repository-types.ts';

export const listBytesMax = limits.entriesPerList * entryBytes;

/** What of a manifest tells its lists. */
export interface ListTable {
	readonly chunks: number;
	readonly segments: Buffer;
}

/** The entries of a list, checked against hash and tree: ArchiveError missing or corrupt with the list's key. */
export async function readList(
	repository: Repository,
	table: ListTable,
	list: number,
	signal?: AbortSignal,
	codec: Codec = repository.codec,
): Promise<Buffer> {
	const row = rowOf(table.segments, list);
	const count = entriesOfList(table.chunks, list);
	if (isZeroRow(row)) return Buffer.alloc(count * entryBytes);
	const key = contentKey(repository, 'list', row);
	const object = await repository.store.get(key, signalOf(signal));
	if (object === undefined) throw new ArchiveError('missing', `${key}, a list of chunks, is not there`, { object: key });
	const { plain, hash } = await codec.unseal('list', object, key, listBytesMax);
	const corrupt = (what: string): ArchiveError => new ArchiveError('corrupt', `${key} ${what}`, { object: key });
	if (!row.subarray(0, hashBytes).equals(hash)) throw corrupt('holds another list than its name says');
	if (plain.length !== count * entryBytes) throw corrupt(`has ${plain.length / entryBytes} entries, not ${count}`);
	if (!rootOf(row).equals(await codec.tree(plain)) || dataChunksOf(row) !== countData(plain)) throw corrupt('does not match its root');
	return plain;
}

/** Entries that have an object. */
export function countData(entries: Uint8Array): number {
	let count = 0;
	for (let at = 0; at < entries.length; at += entryBytes) if (!isZeroRow(entries.subarray(at, at + entryBytes))) count++;
	return count;
}
