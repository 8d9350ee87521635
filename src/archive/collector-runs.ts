import { limits } from './limits.ts';
import { type ContentKind, collectedPrefix, condemnedPrefix, contentPrefix, isId } from './object-keys.ts';
import { type Repository, signalOf } from './repository.ts';
import { ArchiveError } from './repository-types.ts';
import { objectKinds } from './sealed-object.ts';

/**
 * What collectors tell exporters. A run says in batches what it is about to delete (`condemned/<run>/<number>`), before it looks whether anybody refers to it; when a batch is done with, that
 * is written down (`collected/<run>-<number>`), and the batch is taken away after that.
 */
export interface CondemnedName {
	readonly kind: ContentKind;
	/** 64 hexadecimal digits. */
	readonly name: string;
	/** 16 hexadecimal digits. */
	readonly generation: string;
}

export interface CondemnedBatch {
	readonly run: string;
	readonly key: string;
	readonly modifiedMs: number;
	readonly names: readonly CondemnedName[];
}

/** Kind, name, generation. */
const nameBytes = 1 + 32 + 8;

export function encodeCondemned(names: readonly CondemnedName[]): Buffer {
	const plain = Buffer.alloc(names.length * nameBytes);
	for (const [index, { kind, name, generation }] of names.entries()) {
		plain.writeUInt8(objectKinds[kind], index * nameBytes);
		plain.write(name + generation, index * nameBytes + 1, 'hex');
	}
	return plain;
}

export function decodeCondemned(plain: Buffer, key: string): CondemnedName[] {
	const corrupt = (): ArchiveError => new ArchiveError('corrupt', `${key} does not hold names of objects`, { object: key });
	if (plain.length % nameBytes !== 0) throw corrupt();
	const names: CondemnedName[] = [];
	for (let at = 0; at < plain.length; at += nameBytes) {
		const kind = plain[at] === objectKinds.chunk ? 'chunk' : plain[at] === objectKinds.list ? 'list' : undefined;
		if (kind === undefined) throw corrupt();
		const hex = plain.toString('hex', at + 1, at + nameBytes);
		names.push({ kind, name: hex.slice(0, 64), generation: hex.slice(64) });
	}
	return names;
}

export function condemnedKey(run: string, number: number): string {
	return `${condemnedPrefix}${run}/${number.toString().padStart(6, '0')}`;
}

/** Of the batch at a key. */
export function collectedKey(batchKey: string): string {
	return collectedPrefix + batchKey.slice(condemnedPrefix.length).replace('/', '-');
}

export function keyOfName({ kind, name, generation }: CondemnedName): string {
	return contentPrefix(kind, name) + generation;
}

/** All batches that stand; one that is taken away meanwhile is left out. ArchiveError `corrupt`. */
export async function* condemnedBatches(repository: Repository, signal?: AbortSignal): AsyncGenerator<CondemnedBatch> {
	for await (const { key, modifiedMs } of repository.store.list(condemnedPrefix, signalOf(signal))) {
		const run = key.slice(condemnedPrefix.length).split('/')[0] ?? '';
		if (!isId(run)) continue;
		const plain = await repository.getSmall('condemned', key, limits.condemnedPerBatch * nameBytes, signal);
		if (plain !== undefined) yield { run, key, modifiedMs, names: decodeCondemned(plain, key) };
	}
}

/** The batches that were through, `<run>-<number>`, of which it is still remembered. */
export async function collectedBatches(repository: Repository, signal?: AbortSignal): Promise<Set<string>> {
	const names = new Set<string>();
	for await (const { key } of repository.store.list(collectedPrefix, signalOf(signal))) names.add(key.slice(collectedPrefix.length));
	return names;
}
