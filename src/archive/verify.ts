import { BoundedTasks } from './bounded-tasks.ts';
import { manifestIds, openManifest, readManifest } from './catalogue.ts';
import { condemnedBatches } from './collector-runs.ts';
import { fetchChunk } from './chunk-reader.ts';
import { GenerationSet } from './generation-set.ts';
import { limits } from './limits.ts';
import { readList } from './list-reader.ts';
import { chunkLength, isZeroRow, rowOf } from './manifest.ts';
import { entriesOfList, entryBytes, hashBytes, listsOf } from './merkle-tree.ts';
import { contentKey, manifestKey } from './object-keys.ts';
import { existingWindows, type Window } from './presence.ts';
import { type Repository, reread, signalOf } from './repository.ts';
import { ArchiveError, type Manifest, type VerifyFinding, type VerifyOptions, type VerifyResult } from './repository-types.ts';

/**
 * Verifies a repository, or one manifest. quick: every manifest and list whole, every chunk there. full: every byte of every chunk, each object once however many manifests need it.
 * What is wrong is a finding for each manifest that needs it; only what the store could not do is thrown. A manifest that is deleted meanwhile is no finding.
 */
export async function verify(repository: Repository, options: VerifyOptions): Promise<VerifyResult> {
	const run = new Verification(repository, options);
	const ids: string[] = [];
	if (options.manifest === undefined) for await (const id of manifestIds(repository, options.signal)) ids.push(id);
	else ids.push((await openManifestOrDamaged(repository, options.manifest, options.signal)) ?? options.manifest);
	if (options.manifest === undefined) await run.notes();
	const readable = await run.readable(ids);
	if (options.mode === 'full') await run.pass(readable, undefined);
	else for await (const window of existingWindows(repository, 'chunk', options.signal)) await run.pass(readable, window);
	await run.forgetDeleted();
	return run.result(readable.length);
}

/** noManifest is the caller's fault; that it is damaged is a finding. */
async function openManifestOrDamaged(repository: Repository, id: string, signal: AbortSignal | undefined): Promise<string | undefined> {
	try {
		return (await openManifest(repository, id, signal)).id;
	} catch (error) {
		if (error instanceof ArchiveError && error.code === 'corrupt') return undefined;
		throw error;
	}
}

class Verification {
	readonly #repository: Repository;
	readonly #options: VerifyOptions;
	readonly #parallel: number;
	readonly #findings: VerifyFinding[] = [];
	/** Lists of which nothing was wrong in this pass: they are gone through once. */
	#good = new GenerationSet();
	/** Chunks that are whole, of lists with others that are not, or of lists that share them. */
	#wholeChunks = new GenerationSet();
	readonly #badChunks = new Map<string, 'missing' | 'corrupt'>();
	#findingsTotal = 0;
	#chunks = 0;
	#totalChunks = 0;

	constructor(repository: Repository, options: VerifyOptions) {
		this.#repository = repository;
		this.#options = options;
		this.#parallel = options.parallel ?? limits.parallel;
	}

	result(manifests: number): VerifyResult {
		return { manifests, chunks: this.#chunks, findings: this.#findings, findingsTotal: this.#findingsTotal };
	}

	/** What a manifest needed that was deleted meanwhile is gone by right. */
	async forgetDeleted(): Promise<void> {
		for (const id of new Set(this.#findings.map(({ manifest }) => manifest))) {
			if (id === '' || (await this.#repository.store.head(manifestKey(id), signalOf(this.#options.signal))) !== undefined) continue;
			const left = this.#findings.filter(({ manifest }) => manifest !== id);
			this.#findingsTotal -= this.#findings.length - left.length;
			this.#findings.splice(0, Infinity, ...left);
		}
	}

	/** The repository's own object, and batches of collectors: an export cannot publish while one of them cannot be read. */
	async notes(): Promise<void> {
		try {
			await reread(this.#repository, this.#options.signal);
		} catch (error) {
			this.#add({ ...faultOf(error), manifest: '', range: { offsetBytes: 0, lengthBytes: 0 } });
		}
		try {
			for await (const batch of condemnedBatches(this.#repository, this.#options.signal)) void batch;
		} catch (error) {
			this.#add({ ...faultOf(error), manifest: '', range: { offsetBytes: 0, lengthBytes: 0 } });
		}
	}

	/** Those of the manifests that can be read, which are not kept in memory. */
	async readable(ids: readonly string[]): Promise<string[]> {
		const found: string[] = [];
		for (const id of ids) {
			const manifest = await this.#manifest(id, true);
			if (manifest === undefined) continue;
			found.push(id);
			this.#totalChunks += manifest.chunks;
		}
		return found;
	}

	async #manifest(id: string, isFirst: boolean): Promise<Manifest | undefined> {
		try {
			return await readManifest(this.#repository, id, this.#options.signal);
		} catch (error) {
			const found = faultOf(error);
			// How long the volume is, only the manifest knows.
			if (isFirst) this.#add({ ...found, object: manifestKey(id), manifest: id, range: { offsetBytes: 0, lengthBytes: 0 } });
			return undefined;
		}
	}

	/** All lists of all manifests, and of their chunks those that the window covers; without a window, the bytes of all. */
	async pass(ids: readonly string[], window: Window | undefined): Promise<void> {
		this.#good = new GenerationSet();
		for (const id of ids) {
			const manifest = await this.#manifest(id, false);
			if (manifest === undefined) continue;
			for (let list = 0; list < listsOf(manifest.chunks); list++) {
				this.#options.signal?.throwIfAborted();
				const row = rowOf(manifest.segments, list);
				if (!isZeroRow(row) && !this.#good.has(row, hashBytes)) {
					const before = this.#findingsTotal;
					await this.#list(manifest, list, window);
					if (this.#findingsTotal === before && this.#good.size < limits.marksMax) this.#good.add(row, hashBytes);
				}
			}
		}
	}

	async #list(manifest: Manifest, list: number, window: Window | undefined): Promise<void> {
		let entries: Buffer;
		try {
			entries = await readList(this.#repository, manifest, list, this.#options.signal);
		} catch (error) {
			const offsetBytes = list * limits.entriesPerList * manifest.chunkBytes;
			const count = entriesOfList(manifest.chunks, list);
			const lengthBytes = Math.min(count * manifest.chunkBytes, manifest.volume.sizeBytes - offsetBytes);
			this.#add({ ...faultOf(error), manifest: manifest.id, range: { offsetBytes, lengthBytes } });
			return;
		}
		const tasks = new BoundedTasks(this.#parallel);
		for (let at = 0; at < entries.length; at += entryBytes) {
			const entry = entries.subarray(at, at + entryBytes);
			if (isZeroRow(entry) || (window !== undefined && !window.covers(entry))) continue;
			const chunk = list * limits.entriesPerList + at / entryBytes;
			await tasks.run(() => (window === undefined ? this.#bytes(manifest, chunk, entry) : this.#presence(manifest, chunk, entry, window)));
		}
		await tasks.idle();
	}

	async #presence(manifest: Manifest, chunk: number, entry: Buffer, { existing }: Window): Promise<void> {
		this.#count();
		if (existing.has(entry, hashBytes)) return;
		const key = contentKey(this.#repository, 'chunk', entry);
		// A list may be late.
		if ((await this.#repository.store.head(key, signalOf(this.#options.signal))) !== undefined) return;
		this.#chunkFinding(manifest, chunk, { object: key, fault: 'missing', detail: 'is not there' });
	}

	async #bytes(manifest: Manifest, chunk: number, entry: Buffer): Promise<void> {
		this.#count();
		const generation = entry.toString('hex', hashBytes);
		const bad = this.#badChunks.get(generation);
		if (bad !== undefined) {
			this.#chunkFinding(manifest, chunk, {
				object: contentKey(this.#repository, 'chunk', entry),
				fault: bad,
				detail: 'as it was found before',
			});
			return;
		}
		if (this.#wholeChunks.has(entry, hashBytes)) return;
		try {
			await fetchChunk(this.#repository, manifest, chunk, entry, this.#options.signal);
			if (this.#wholeChunks.size < limits.marksMax) this.#wholeChunks.add(entry, hashBytes);
		} catch (error) {
			const found = faultOf(error);
			if (this.#badChunks.size < limits.findingsMax) this.#badChunks.set(generation, found.fault);
			this.#chunkFinding(manifest, chunk, found);
		}
	}

	#chunkFinding(manifest: Manifest, chunk: number, found: Pick<VerifyFinding, 'object' | 'fault' | 'detail'>): void {
		this.#add({
			...found,
			manifest: manifest.id,
			range: { offsetBytes: chunk * manifest.chunkBytes, lengthBytes: chunkLength(manifest, chunk) },
		});
	}

	#count(): void {
		this.#chunks++;
		this.#options.onProgress?.({ doneChunks: this.#chunks, totalChunks: this.#totalChunks });
	}

	#add(finding: VerifyFinding): void {
		this.#findingsTotal++;
		if (this.#findings.length < limits.findingsMax) this.#findings.push(finding);
	}
}

/** What an object's bytes did; anything else is thrown on. */
function faultOf(error: unknown): Pick<VerifyFinding, 'object' | 'fault' | 'detail'> {
	if (!(error instanceof ArchiveError) || (error.code !== 'missing' && error.code !== 'corrupt')) throw error;
	return { object: error.object, fault: error.code, detail: error.message };
}
