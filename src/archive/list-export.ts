import { BoundedTasks } from './bounded-tasks.ts';
import { unreadable } from './changed-chunks.ts';
import type { Lost } from './export-check.ts';
import type { ExportJournal } from './export-journal.ts';
import type { ExportLease } from './export-lease.ts';
import { KnownObjects } from './known-objects.ts';
import { letGo } from './let-go.ts';
import { limits } from './limits.ts';
import { countData, readList } from './list-reader.ts';
import { chunkLength, encodeRow, rowOf, zeroRow } from './manifest.ts';
import { entriesOfList, entryBytes, hashBytes, listsOf } from './merkle-tree.ts';
import type { Repository } from './repository.ts';
import { ArchiveError, type ArchiveOptions, type Manifest, type SnapshotSource, completed } from './repository-types.ts';
import { Semaphore } from './semaphore.ts';
import { TokenBucket } from './token-bucket.ts';

export interface ListExportParts {
	readonly repository: Repository;
	readonly source: SnapshotSource;
	readonly options: ArchiveOptions;
	readonly chunks: number;
	readonly lease: ExportLease;
	readonly journal: ExportJournal | undefined;
	readonly signal: AbortSignal;
	readonly onChunk: (chunk: number) => void;
}

/** The part of an export that moves bytes: reads chunks, uploads those that are new, and makes the lists that name them. */
export class ListExport {
	readonly known: KnownObjects;
	readonly counts = { readBytes: 0, uploadedBytes: 0, uploadedChunks: 0, knownChunks: 0, resumedChunks: 0 };
	readonly #parts: ListExportParts;
	readonly #parallel: number;
	readonly #semaphore: Semaphore;
	readonly #bucket: TokenBucket;
	/** Buffers of chunks that are through: to give them back to the kernel and to take new ones costs as much as a page fault for each page, and holds up whoever else wants memory. */
	readonly #spare: Uint8Array<ArrayBuffer>[] = [];

	constructor(parts: ListExportParts) {
		this.#parts = parts;
		this.#parallel = parts.options.parallel ?? limits.parallel;
		this.#semaphore = new Semaphore(this.#parallel);
		this.#bucket = new TokenBucket(parts.options.bytesPerSecond ?? Infinity, parts.repository.runtime.nowMs());
		this.known = new KnownObjects(parts.repository, (key, object) => this.#upload(key, object));
	}

	resumed(chunks: number): void {
		this.counts.resumedChunks += chunks;
	}

	avoid({ generations }: Lost): void {
		this.known.avoidAll(generations);
	}

	/** The row of a list: the base's entries with the given chunks read anew. */
	async list(base: Manifest | undefined, list: number, chunks: readonly number[]): Promise<Buffer> {
		const { journal } = this.#parts;
		const count = entriesOfList(this.#parts.chunks, list);
		const entries = new Uint8Array(count * entryBytes);
		const before = base !== undefined && list < listsOf(base.chunks) ? await this.#listOf(base, list) : undefined;
		if (before instanceof Buffer) entries.set(before.subarray(0, entries.length));
		const first = list * limits.entriesPerList;
		const tasks = new BoundedTasks(this.#parallel);
		for (const chunk of before === 'lost' ? Array.from({ length: count }, (_, at) => first + at) : chunks) {
			const at = (chunk - first) * entryBytes;
			const done = journal?.entry(chunk);
			if (done === undefined) {
				await tasks.run(() =>
					this.#semaphore.use(async () => {
						entries.set(await this.#chunk(chunk), at);
					}),
				);
			} else {
				entries.set(done, at);
				this.counts.resumedChunks++;
			}
		}
		await tasks.idle();
		const row = await this.#row(entries, base, list, before instanceof Buffer ? before : undefined);
		await journal?.addList(list, row);
		return row;
	}

	/** 'lost': damaged, or collected since its manifest was deleted; then all that it covers is read anew. */
	async #listOf(base: Manifest, list: number): Promise<Buffer | 'lost'> {
		try {
			return await readList(this.#parts.repository, base, list, this.#parts.signal);
		} catch (error) {
			if (!(error instanceof ArchiveError) || (error.code !== 'missing' && error.code !== 'corrupt')) throw error;
			this.known.avoided.add(rowOf(base.segments, list), hashBytes);
			return 'lost';
		}
	}

	async #row(entries: Uint8Array<ArrayBuffer>, base: Manifest | undefined, list: number, before: Buffer | undefined): Promise<Buffer> {
		const { repository, signal, lease } = this.#parts;
		if (base !== undefined && before?.equals(entries) === true && !this.known.avoided.has(rowOf(base.segments, list), hashBytes)) {
			return Buffer.from(rowOf(base.segments, list));
		}
		const dataChunks = countData(entries);
		if (dataChunks === 0) return zeroRow(entries.length / entryBytes);
		await lease.renewIfDue(signal);
		const root = await repository.codec.tree(entries);
		const { plain, hash } = await repository.codec.hash(entries);
		const { generation, uploadedBytes, plain: placed } = await this.known.place('list', plain, hash, signal);
		letGo(placed);
		this.counts.uploadedBytes += uploadedBytes;
		return encodeRow(Buffer.concat([hash, generation]), root, dataChunks);
	}

	/** Hash and generation. */
	async #chunk(chunk: number): Promise<Buffer> {
		const { repository, source, lease, signal, journal, onChunk } = this.#parts;
		signal.throwIfAborted();
		await lease.renewIfDue(signal);
		const offsetBytes = chunk * repository.chunkBytes;
		const length = chunkLength({ volume: source.volume, chunkBytes: repository.chunkBytes }, chunk);
		const bytes = this.#spare.at(-1)?.length === length ? (this.#spare.pop() as Uint8Array<ArrayBuffer>) : new Uint8Array(length);
		const outcome = await completed((completion) => source.device.read(offsetBytes, bytes, completion));
		if (outcome !== 'good') throw unreadable(outcome, offsetBytes);
		this.counts.readBytes += length;
		const { plain, hash, isZero } = await repository.codec.hash(bytes);
		const entry = Buffer.alloc(entryBytes);
		let used = plain;
		if (!isZero) {
			const { generation, uploadedBytes, plain: placed } = await this.known.place('chunk', plain, hash, signal);
			used = placed;
			entry.set(hash, 0);
			entry.set(generation, hashBytes);
			this.counts.uploadedBytes += uploadedBytes;
			if (uploadedBytes > 0) this.counts.uploadedChunks++;
			else this.counts.knownChunks++;
		}
		if (this.#spare.length < this.#parallel) this.#spare.push(used);
		else letGo(used);
		await journal?.addChunk(chunk, entry);
		onChunk(chunk);
		return entry;
	}

	async #upload(key: string, object: Uint8Array): Promise<void> {
		const { repository, signal } = this.#parts;
		const waitMs = this.#bucket.take(object.length, repository.runtime.nowMs());
		if (waitMs > 0) await repository.runtime.sleep(waitMs, signal);
		await repository.store.put(key, object, { isGiven: true, signal });
	}
}
