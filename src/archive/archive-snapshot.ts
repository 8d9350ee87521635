import { listManifests, openManifest } from './catalogue.ts';
import { allocatedRanges, type ByteRange, chunksByList, pageRanges } from './changed-chunks.ts';
import { collectedBatches } from './collector-runs.ts';
import { lostObjects, type Lost } from './export-check.ts';
import { ExportJournal, type JournalHeader, type JournalStart } from './export-journal.ts';
import { ExportLease } from './export-lease.ts';
import { ListExport } from './list-export.ts';
import { limits } from './limits.ts';
import { chunksOf, rowBytes, rowOf, summaryOf, totalsInTurns, zeroRow } from './manifest.ts';
import { entriesOfList, listsOf } from './merkle-tree.ts';
import type { Repository } from './repository.ts';
import {
	ArchiveError,
	type ArchiveOptions,
	type ArchiveProgress,
	type ArchiveResult,
	type Manifest,
	type ManifestSummary,
	type SnapshotSource,
} from './repository-types.ts';
import { BoundedTasks } from './bounded-tasks.ts';
import { StoreError } from './store/object-store.ts';

/**
 * Archives a snapshot: a manifest that names every chunk, of which only those are read that may have changed since the parent, and only those uploaded that the repository does not have.
 * A snapshot that is archived already is not archived again: its manifest is the result.
 *
 *   lease → what collectors were there → chunks and lists → pending manifest → is all of it there? ─ yes → manifest → lease gone
 *                                            ▲                                      │ no
 *                                            └──────── what is not, anew ───────────┘
 *
 * ArchiveError source, stale, tooLarge, corrupt (the parent); StoreError; the signal's reason. After an error nothing is visible, and the journal, if there is one, knows what was uploaded.
 */
export async function archiveSnapshot(
	repository: Repository,
	source: SnapshotSource,
	options: ArchiveOptions = {},
): Promise<ArchiveResult> {
	const chunks = checked(repository, source, options);
	const { signal } = options;
	const archived = await listManifests(repository, {
		volumeUuid: source.volume.uuid,
		...(signal === undefined ? {} : { signal }),
		onDamaged: () => undefined,
	});
	const same = archived.find(({ snapshot }) => isSameSnapshot(snapshot, source.snapshot));
	if (same !== undefined) return { manifest: same, readBytes: 0, uploadedBytes: 0, uploadedChunks: 0, knownChunks: 0, resumedChunks: 0 };
	// A task that fails ends the others.
	const failure = new AbortController();
	const combined = signal === undefined ? failure.signal : AbortSignal.any([signal, failure.signal]);
	const lease = await ExportLease.begin(repository, combined);
	let published = false;
	let journal: ExportJournal | undefined;
	try {
		// Before it is learned of any object that it is there: the parent's are.
		const collected = await collectedBatches(repository, combined);
		const parent = await parentOf(repository, source, archived, options);
		const start = { collected: [...collected], startedMs: lease.startedMs };
		journal = await openJournal(repository, source, parent, options, start);
		const run = new SnapshotExport({
			repository,
			source,
			options,
			chunks,
			lease,
			journal,
			start: journal?.start ?? start,
			failure,
			signal: combined,
		});
		const manifest = await run.run(parent);
		published = true;
		return { manifest: summaryOf(manifest), ...run.counts };
	} finally {
		failure.abort();
		await (published ? journal?.remove() : journal?.close());
		await ended(lease, published);
	}
}

/** The lease is taken away if the store lets that happen; the collectors do it otherwise, and what the export came to is what the caller has to hear of. */
async function ended(lease: ExportLease, published: boolean): Promise<void> {
	try {
		await lease.end(published);
	} catch (error) {
		if (!(error instanceof StoreError)) throw error;
	}
}

interface Parent {
	readonly manifest: Manifest;
	readonly ranges: AsyncIterable<ByteRange>;
}

interface ExportParts {
	readonly repository: Repository;
	readonly source: SnapshotSource;
	readonly options: ArchiveOptions;
	readonly chunks: number;
	readonly lease: ExportLease;
	readonly journal: ExportJournal | undefined;
	readonly start: JournalStart;
	readonly failure: AbortController;
	readonly signal: AbortSignal;
}

class SnapshotExport {
	readonly #parts: ExportParts;
	readonly #lists: ListExport;
	#done = 0;

	constructor(parts: ExportParts) {
		this.#parts = parts;
		this.#lists = new ListExport({ ...parts, onChunk: (chunk) => this.#report('upload', chunk + 1) });
	}

	get counts(): Omit<ArchiveResult, 'manifest'> {
		return this.#lists.counts;
	}

	async run(parent: Parent | undefined): Promise<Manifest> {
		const { repository, source, chunks, lease, start, signal } = this.#parts;
		let collected: ReadonlySet<string> = new Set(start.collected);
		await this.#lists.known.avoidCondemned(signal);
		const ranges = parent?.ranges ?? allocatedRanges(source.device, signal);
		let segments = await this.#walk(
			parent?.manifest,
			chunksByList(ranges, repository.chunkBytes, chunks, tail(parent?.manifest, source, repository)),
		);
		for (let round = 0; round < limits.roundsMax; round++) {
			const manifest = await this.#manifest(segments, parent?.manifest.id ?? '');
			this.#report('check');
			await lease.pend(manifest, signal);
			const lost = await lostObjects(repository, manifest, collected, () => lease.renewIfDue(signal), signal);
			if (lost === undefined) {
				this.#report('publish');
				// Runs are forgotten after a while; an export that is older could not know what it has missed.
				if (repository.store.nowMs() - start.startedMs > repository.timing.memoryMs / 2) throw tooOld();
				signal.throwIfAborted();
				await lease.publish(manifest);
				return manifest;
			}
			collected = await collectedBatches(repository, signal);
			await this.#lists.known.avoidCondemned(signal);
			segments = await this.#replace(manifest, lost);
		}
		throw new ArchiveError('stale', `Collectors have condemned what the export needs ${limits.roundsMax} times: it has to begin anew.`);
	}

	/** Rows of all lists: those of the base, with the lists of `work` made anew. */
	async #walk(base: Manifest | undefined, work: AsyncIterable<{ list: number; chunks: readonly number[] }>): Promise<Buffer> {
		const { chunks, source, failure, signal, journal } = this.#parts;
		const lists = listsOf(chunks);
		const segments = Buffer.alloc(lists * rowBytes);
		for (let list = 0; list < lists; list++) {
			const inherited =
				base !== undefined && list < listsOf(base.chunks) ? rowOf(base.segments, list) : zeroRow(entriesOfList(chunks, list));
			segments.set(inherited, list * rowBytes);
		}
		const tasks = new BoundedTasks(limits.listsOpen);
		try {
			for await (const { list, chunks: indices } of work) {
				const done = journal?.row(list);
				if (done === undefined) {
					await tasks.run(async () => {
						try {
							segments.set(await this.#lists.list(base, list, indices), list * rowBytes);
						} catch (error) {
							failure.abort(error);
							throw error;
						}
					});
				} else {
					segments.set(done, list * rowBytes);
					this.#lists.resumed(indices.length);
				}
				signal.throwIfAborted();
			}
		} catch (error) {
			failure.abort(error);
			// The first failure is the one to tell of: what it made the others do follows from it.
			await tasks.idle();
			throw error;
		}
		await tasks.idle();
		if (source.device.sizeBytes !== source.volume.sizeBytes) throw new ArchiveError('source', 'The snapshot has changed its size.');
		return segments;
	}

	/** What was lost, in the manifest that is pending. */
	#replace(manifest: Manifest, lost: Lost): Promise<Buffer> {
		const { chunks, journal } = this.#parts;
		const segments = Buffer.from(manifest.segments);
		const work: { list: number; chunks: readonly number[] }[] = [];
		for (let list = 0; list < listsOf(chunks); list++) {
			const count = entriesOfList(chunks, list);
			const isUnreadable = lost.unreadable.has(list);
			if (!isUnreadable && !lost.lists.has(list) && !lost.chunks.has(list)) continue;
			journal?.forget(list);
			// What a list that is gone said is found out by reading all of it; its row becomes one of zeros, on which that stands.
			if (isUnreadable) segments.set(zeroRow(count), list * rowBytes);
			const all = Array.from({ length: count }, (_, at) => list * limits.entriesPerList + at);
			work.push({ list, chunks: isUnreadable ? all : (lost.chunks.get(list) ?? []) });
		}
		this.#lists.avoid(lost);
		return this.#walk({ ...manifest, segments }, fromArray(work));
	}

	async #manifest(segments: Buffer, parent: string): Promise<Manifest> {
		const { repository, source, options, chunks, lease } = this.#parts;
		const { volume, snapshot } = source;
		return {
			id: lease.id,
			volume: { uuid: volume.uuid, name: volume.name, blockSize: volume.blockSize, sizeBytes: volume.sizeBytes },
			snapshot: { id: snapshot.id, name: snapshot.name, timeMs: snapshot.timeMs, lsn: snapshot.lsn },
			parent,
			chunkBytes: repository.chunkBytes,
			chunks,
			...(await totalsInTurns(segments, repository.chunkBytes, volume.sizeBytes)),
			createdMs: Math.floor(repository.store.nowMs()),
			uploadedBytes: this.counts.uploadedBytes,
			tool: options.tool ?? 'blockport',
			segments,
		};
	}

	#report(phase: ArchiveProgress['phase'], chunk = Infinity): void {
		const { options, source, repository } = this.#parts;
		const { readBytes, uploadedBytes, uploadedChunks } = this.counts;
		const totalBytes = source.volume.sizeBytes;
		// Chunks are done in nearly their order.
		this.#done = Math.max(this.#done, Math.min(totalBytes, chunk * repository.chunkBytes));
		options.onProgress?.({ phase, totalBytes, doneBytes: this.#done, readBytes, uploadedBytes, uploadedChunks });
	}
}

function tooOld(): ArchiveError {
	return new ArchiveError(
		'stale',
		'The export has taken so long that what it took over may have been collected: it has to begin anew, without its journal.',
	);
}

async function* fromArray<T>(items: readonly T[]): AsyncGenerator<T> {
	yield* items;
}

/** Chunks that have to be made anew though no page of them changed: where the size of a volume has, the last chunk is a part of another length. */
function tail(base: Manifest | undefined, { volume }: SnapshotSource, { chunkBytes }: Repository): number[] {
	if (base === undefined || base.volume.sizeBytes === volume.sizeBytes) return [];
	return [chunksOf(Math.min(base.volume.sizeBytes, volume.sizeBytes), chunkBytes) - 1];
}

function checked(repository: Repository, { volume, snapshot, device }: SnapshotSource, { parallel, tool }: ArchiveOptions): number {
	const tooLarge = (what: string): ArchiveError => new ArchiveError('tooLarge', what);
	const chunks = chunksOf(volume.sizeBytes, repository.chunkBytes);
	if (listsOf(chunks) > limits.listsMax) {
		throw tooLarge(
			`A volume of ${volume.sizeBytes} bytes has more than ${limits.listsMax * limits.entriesPerList} chunks of ${repository.chunkBytes} bytes.`,
		);
	}
	for (const name of [volume.uuid, volume.name, snapshot.name, tool ?? '']) {
		if (name.length > limits.nameLength) throw tooLarge(`A name of ${name.length} characters: at most ${limits.nameLength} are kept.`);
	}
	if (parallel !== undefined && !(parallel >= 1 && parallel <= limits.parallelMax))
		throw tooLarge(`${parallel} chunks at once: 1 to ${limits.parallelMax}.`);
	if (device.sizeBytes !== volume.sizeBytes)
		throw new ArchiveError('source', `The snapshot has ${device.sizeBytes} bytes, not ${volume.sizeBytes}.`);
	return chunks;
}

function isSameSnapshot(a: ManifestSummary['snapshot'], b: ManifestSummary['snapshot']): boolean {
	return a.id === b.id && a.lsn === b.lsn && a.timeMs === b.timeMs;
}

async function parentOf(
	repository: Repository,
	source: SnapshotSource,
	archived: readonly ManifestSummary[],
	{ parent = 'auto', signal }: ArchiveOptions,
): Promise<Parent | undefined> {
	if (parent === 'none') return undefined;
	const candidates = parent === 'auto' ? archived.toReversed() : archived.filter(({ id }) => id === parent);
	if (parent !== 'auto' && candidates.length === 0) throw new ArchiveError('noManifest', `There is no manifest ${parent} of this volume.`);
	for (const { id, snapshot, chunkBytes } of candidates) {
		const ranges = chunkBytes === repository.chunkBytes ? source.changedSince(snapshot.id, snapshot) : undefined;
		if (ranges !== undefined) return { manifest: await openManifest(repository, id, signal), ranges: pageRanges(ranges) };
		if (parent !== 'auto') throw new ArchiveError('source', `What has changed since the snapshot ${snapshot.name} is not known.`);
	}
	return undefined;
}

async function openJournal(
	repository: Repository,
	{ volume, snapshot }: SnapshotSource,
	parent: Parent | undefined,
	{ journal }: ArchiveOptions,
	start: JournalStart,
): Promise<ExportJournal | undefined> {
	if (journal === undefined) return undefined;
	const header: JournalHeader = {
		repository: repository.id,
		volume: volume.uuid,
		snapshot: snapshot.id,
		lsn: snapshot.lsn,
		timeMs: snapshot.timeMs,
		sizeBytes: volume.sizeBytes,
		chunkBytes: repository.chunkBytes,
		base: parent?.manifest.id ?? '',
	};
	const isOurs = (found: JournalHeader): boolean =>
		(Object.keys(header) as (keyof JournalHeader)[]).every((name) => found[name] === header[name]);
	const earlier = await ExportJournal.resume(journal.disk, journal.path, isOurs);
	if (earlier !== undefined) {
		if (start.startedMs - earlier.start.startedMs <= repository.timing.memoryMs / 4) return earlier;
		await earlier.remove();
	}
	return ExportJournal.create(journal.disk, journal.path, header, start);
}
