import type { Codec } from './codec.ts';
import { limits } from './limits.ts';
import { readList } from './list-reader.ts';
import { chunkLength, isZeroRow } from './manifest.ts';
import { entryBytes, hashBytes } from './merkle-tree.ts';
import { contentKey } from './object-keys.ts';
import { type Repository, signalOf } from './repository.ts';
import { ArchiveError, type Manifest } from './repository-types.ts';

/** An object of a chunk, and its plain bytes. */
export interface FetchedChunk {
	readonly plain: Buffer;
	readonly fetchedBytes: number;
}

/**
 * Reads single chunks of a manifest, in any order: remembers the lists that it went through last. Every byte that it gives has been checked against the manifest.
 */
export class ChunkReader {
	readonly manifest: Manifest;
	readonly #repository: Repository;
	/** In the order of their last use. */
	readonly #lists = new Map<number, Promise<Buffer>>();

	constructor(repository: Repository, manifest: Manifest) {
		this.#repository = repository;
		this.manifest = manifest;
	}

	isOf(repository: Repository): boolean {
		return this.#repository === repository;
	}

	/** The bytes of a chunk, as long as it is (the last one may be shorter), in a buffer of its own. ArchiveError missing, corrupt; StoreError. */
	async read(index: number, signal?: AbortSignal): Promise<Buffer> {
		const entry = await this.#entry(index, signal);
		if (isZeroRow(entry)) return Buffer.alloc(chunkLength(this.manifest, index));
		return (await fetchChunk(this.#repository, this.manifest, index, entry, signal, this.#repository.readCodec)).plain;
	}

	async #entry(index: number, signal: AbortSignal | undefined): Promise<Buffer> {
		if (!(index >= 0 && index < this.manifest.chunks)) throw new RangeError(`chunk ${index} of ${this.manifest.chunks}`);
		const list = Math.floor(index / limits.entriesPerList);
		const entries = await this.#list(list, signal);
		signal?.throwIfAborted();
		const at = (index - list * limits.entriesPerList) * entryBytes;
		return entries.subarray(at, at + entryBytes);
	}

	/** One fetch for however many wait; it is not ended by the signal of one of them. */
	#list(list: number, signal: AbortSignal | undefined): Promise<Buffer> {
		signal?.throwIfAborted();
		const known = this.#lists.get(list);
		if (known !== undefined) {
			this.#lists.delete(list);
			this.#lists.set(list, known);
			return known;
		}
		const reading = readList(this.#repository, this.manifest, list, undefined, this.#repository.readCodec);
		this.#lists.set(list, reading);
		// What failed is tried again by whoever comes next.
		void reading.catch(() => {
			if (this.#lists.get(list) === reading) this.#lists.delete(list);
		});
		for (const oldest of this.#lists.keys()) {
			if (this.#lists.size <= limits.listsCached) break;
			this.#lists.delete(oldest);
		}
		return reading;
	}
}

const readers = new WeakMap<Manifest, ChunkReader>();

/** One chunk's verified plain bytes. Keeps a reader for each manifest object, so lists are not fetched each time. */
export function readChunk(
	repository: Repository,
	manifest: Manifest,
	index: number,
	{ signal }: { signal?: AbortSignal } = {},
): Promise<Buffer> {
	return readerOf(repository, manifest).read(index, signal);
}

function readerOf(repository: Repository, manifest: Manifest): ChunkReader {
	let reader = readers.get(manifest);
	if (reader === undefined || !reader.isOf(repository)) {
		reader = new ChunkReader(repository, manifest);
		readers.set(manifest, reader);
	}
	return reader;
}

/** Fetches and checks the chunk of an entry that is not zero. ArchiveError missing, corrupt. */
export async function fetchChunk(
	repository: Repository,
	manifest: Manifest,
	index: number,
	entry: Uint8Array,
	signal: AbortSignal | undefined,
	codec: Codec = repository.codec,
): Promise<FetchedChunk> {
	const key = contentKey(repository, 'chunk', entry);
	const object = await repository.store.get(key, signalOf(signal));
	if (object === undefined)
		throw new ArchiveError('missing', `${key}, chunk ${index} of the manifest ${manifest.id}, is not there`, { object: key });
	const fetchedBytes = object.length;
	const length = chunkLength(manifest, index);
	const { plain, hash } = await codec.unseal('chunk', object, key, manifest.chunkBytes);
	if (Buffer.compare(hash, entry.subarray(0, hashBytes)) !== 0 || plain.length !== length) {
		throw new ArchiveError('corrupt', `${key} holds another chunk than its name says`, { object: key });
	}
	return { plain, fetchedBytes };
}
