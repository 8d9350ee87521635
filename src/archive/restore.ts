import { writeBytesMax } from '../blockvol/block-device.ts';
import { BoundedTasks } from './bounded-tasks.ts';
import { fetchChunk } from './chunk-reader.ts';
import { letGo } from './let-go.ts';
import { limits } from './limits.ts';
import { readList } from './list-reader.ts';
import { isZeroRow, rowOf } from './manifest.ts';
import { entriesOfList, entryBytes, listsOf, treeOfRoots, treeOfZeros } from './merkle-tree.ts';
import type { Repository } from './repository.ts';
import { ArchiveError, type Manifest, type RestoreOptions, type RestoreResult, type RestoreSink, completed } from './repository-types.ts';
import { Semaphore } from './semaphore.ts';
import { TokenBucket } from './token-bucket.ts';

/**
 * Restores a manifest into a volume that reads as zeros and that nobody sees yet. Before the first write it has been seen that the geometry fits and that every list is whole
 * and adds up to the manifest's root; each chunk is checked before it is written; when it resolves, the sink has been flushed and holds what the root stands for. After an error the sink holds a part and is to be
 * thrown away.
 *
 * ArchiveError geometry, missing, corrupt, sink; StoreError; the signal's reason.
 */
export async function restoreManifest(
	repository: Repository,
	manifest: Manifest,
	sink: RestoreSink,
	options: RestoreOptions = {},
): Promise<RestoreResult> {
	checkGeometry(repository, manifest, sink, options);
	await checkLists(repository, manifest, options.signal);
	const failure = new AbortController();
	const signal = options.signal === undefined ? failure.signal : AbortSignal.any([options.signal, failure.signal]);
	const restore = new Restore(repository, manifest, sink, options, signal);
	const roots: Uint8Array[] = [];
	const lists = new BoundedTasks(limits.listsOpen);
	for (let list = 0; list < listsOf(manifest.chunks); list++) {
		await lists.run(async () => {
			try {
				roots[list] = await restore.list(list);
			} catch (error) {
				failure.abort(error);
				throw error;
			}
		});
	}
	await lists.idle();
	const merkleRoot = treeOfRoots(roots).toString('hex');
	if (merkleRoot !== manifest.merkleRoot)
		throw new ArchiveError('corrupt', `What was restored has the root ${merkleRoot}, not ${manifest.merkleRoot}.`);
	const outcome = await completed((completion) => sink.flush(completion));
	if (outcome !== 'good') throw new ArchiveError('sink', `The volume that is restored to cannot be flushed: ${outcome}.`);
	return { ...restore.counts, merkleRoot };
}

function checkGeometry(repository: Repository, manifest: Manifest, sink: RestoreSink, { anyBlockSize, parallel }: RestoreOptions): void {
	const { sizeBytes, blockSize } = manifest.volume;
	const wrong = (what: string): ArchiveError => new ArchiveError('geometry', what, { object: `manifests/${manifest.id}` });
	if (sink.sizeBytes !== sizeBytes) throw wrong(`The archived volume has ${sizeBytes} bytes and the one to restore to ${sink.sizeBytes}.`);
	if (anyBlockSize !== true && sink.blockSize !== blockSize) {
		throw wrong(`The archived volume has blocks of ${blockSize} bytes and the one to restore to of ${sink.blockSize}.`);
	}
	if (manifest.chunkBytes > limits.chunkBytesMax || sizeBytes % sink.blockSize !== 0)
		throw wrong(`A size of ${sizeBytes} bytes cannot be restored.`);
	if (parallel !== undefined && !(parallel >= 1 && parallel <= limits.parallelMax)) {
		throw new ArchiveError('tooLarge', `${parallel} chunks at once: 1 to ${limits.parallelMax}, in ${repository.store.name}.`);
	}
}

/** Each list against its hash and its root; that the roots add up was seen when the manifest was read. */
async function checkLists(repository: Repository, manifest: Manifest, signal: AbortSignal | undefined): Promise<void> {
	const tasks = new BoundedTasks(limits.listsOpen);
	for (let list = 0; list < listsOf(manifest.chunks); list++) {
		if (isZeroRow(rowOf(manifest.segments, list))) continue;
		await tasks.run(async () => {
			await readList(repository, manifest, list, signal);
		});
	}
	await tasks.idle();
}

class Restore {
	readonly counts = { fetchedBytes: 0, writtenBytes: 0 };
	readonly #repository: Repository;
	readonly #manifest: Manifest;
	readonly #sink: RestoreSink;
	readonly #options: RestoreOptions;
	readonly #signal: AbortSignal;
	readonly #parallel: number;
	readonly #semaphore: Semaphore;
	readonly #bucket: TokenBucket;

	constructor(repository: Repository, manifest: Manifest, sink: RestoreSink, options: RestoreOptions, signal: AbortSignal) {
		this.#repository = repository;
		this.#manifest = manifest;
		this.#sink = sink;
		this.#options = options;
		this.#signal = signal;
		this.#parallel = options.parallel ?? limits.parallel;
		this.#semaphore = new Semaphore(this.#parallel);
		this.#bucket = new TokenBucket(options.bytesPerSecond ?? Infinity, repository.runtime.nowMs());
	}

	/** The root over the chunks that were written. */
	async list(list: number): Promise<Uint8Array> {
		if (isZeroRow(rowOf(this.#manifest.segments, list))) return treeOfZeros(entriesOfList(this.#manifest.chunks, list));
		const entries = await readList(this.#repository, this.#manifest, list, this.#signal);
		const tasks = new BoundedTasks(this.#parallel);
		for (let at = 0; at < entries.length; at += entryBytes) {
			const entry = entries.subarray(at, at + entryBytes);
			if (isZeroRow(entry)) continue;
			const index = list * limits.entriesPerList + at / entryBytes;
			await tasks.run(() => this.#semaphore.use(() => this.#chunk(index, entry)));
		}
		await tasks.idle();
		return this.#repository.codec.tree(entries);
	}

	async #chunk(index: number, entry: Buffer): Promise<void> {
		this.#signal.throwIfAborted();
		const { plain, fetchedBytes } = await fetchChunk(this.#repository, this.#manifest, index, entry, this.#signal);
		const { runtime } = this.#repository;
		const waitMs = this.#bucket.take(fetchedBytes, runtime.nowMs());
		if (waitMs > 0) await runtime.sleep(waitMs, this.#signal);
		const offsetBytes = index * this.#manifest.chunkBytes;
		for (let at = 0; at < plain.length; at += writeBytesMax) {
			this.#signal.throwIfAborted();
			const part = plain.subarray(at, Math.min(plain.length, at + writeBytesMax));
			const outcome = await completed((completion) => this.#sink.write(offsetBytes + at, part, false, completion));
			if (outcome !== 'good')
				throw new ArchiveError('sink', `The volume that is restored to refuses a write at byte ${offsetBytes + at}: ${outcome}.`);
		}
		this.counts.fetchedBytes += fetchedBytes;
		this.counts.writtenBytes += plain.length;
		letGo(plain);
		this.#options.onProgress?.({
			totalBytes: this.#manifest.dataBytes,
			doneBytes: Math.min(this.#manifest.dataBytes, this.counts.writtenBytes),
			fetchedBytes: this.counts.fetchedBytes,
		});
	}
}
