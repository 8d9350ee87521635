import type { GenerationSet } from './generation-set.ts';
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
	/** When it was put, by the store's clock. */
	readonly modifiedMs: number;
	/** As encodeCondemned() has it, and right. */
	readonly encoded: Buffer;
}

/** Kind, name, generation. */
const nameBytes = 1 + 32 + 8;
const generationAt = 1 + 32;

export function encodeCondemned(names: readonly CondemnedName[]): Buffer {
	const plain = Buffer.alloc(names.length * nameBytes);
	for (const [index, { kind, name, generation }] of names.entries()) {
		plain.writeUInt8(objectKinds[kind], index * nameBytes);
		plain.write(name + generation, index * nameBytes + 1, 'hex');
	}
	return plain;
}

function decodeCondemned(encoded: Buffer): CondemnedName[] {
	const names: CondemnedName[] = [];
	for (let at = 0; at < encoded.length; at += nameBytes) {
		const kind = encoded[at] === objectKinds.chunk ? 'chunk' : 'list';
		const hex = encoded.toString('hex', at + 1, at + nameBytes);
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
		const encoded = await encodedBatch(repository, key, signal);
		if (encoded !== undefined) yield { run, key, modifiedMs, encoded };
	}
}

/** What a batch condemns; undefined: it has been taken away. ArchiveError `corrupt`. */
export async function condemnedNames(repository: Repository, key: string, signal?: AbortSignal): Promise<CondemnedName[] | undefined> {
	const encoded = await encodedBatch(repository, key, signal);
	return encoded === undefined ? undefined : decodeCondemned(encoded);
}

async function encodedBatch(repository: Repository, key: string, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
	const encoded = await repository.getSmall('condemned', key, limits.condemnedPerBatch * nameBytes, signal);
	if (encoded === undefined) return undefined;
	let isRight = encoded.length % nameBytes === 0;
	for (let at = 0; at < encoded.length && isRight; at += nameBytes)
		isRight = encoded[at] === objectKinds.chunk || encoded[at] === objectKinds.list;
	if (!isRight) throw new ArchiveError('corrupt', `${key} does not hold names of objects`, { object: key });
	return encoded;
}

/** Adds the generations of a batch. */
export function addBatch(generations: GenerationSet, { encoded }: CondemnedBatch): void {
	for (let at = generationAt; at < encoded.length; at += nameBytes) generations.add(encoded, at);
}

/** Adds what all batches that stand condemn. ArchiveError corrupt; tooLarge: a set that is not whole is of no use. */
export async function addCondemned(repository: Repository, generations: GenerationSet, signal?: AbortSignal): Promise<void> {
	const before = generations.size;
	for await (const batch of condemnedBatches(repository, signal)) {
		addBatch(generations, batch);
		if (generations.size - before > limits.condemnedStandingMax)
			throw new ArchiveError('tooLarge', `${repository.store.name} has more than ${limits.condemnedStandingMax} condemned objects.`);
	}
}

/** The batches that were through, `<run>-<number>`, of which it is still remembered. ArchiveError tooLarge. */
export async function collectedBatches(repository: Repository, signal?: AbortSignal): Promise<Set<string>> {
	const names = new Set<string>();
	for await (const { key } of repository.store.list(collectedPrefix, signalOf(signal))) {
		names.add(key.slice(collectedPrefix.length));
		if (names.size > limits.recordsMax)
			throw new ArchiveError('tooLarge', `${repository.store.name} has more than ${limits.recordsMax} names of collections.`);
	}
	return names;
}
