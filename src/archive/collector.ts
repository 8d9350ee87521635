import { BoundedTasks } from './bounded-tasks.ts';
import { CollectorHousekeeping } from './collector-housekeeping.ts';
import {
	type CondemnedBatch,
	type CondemnedName,
	addBatch,
	condemnedBatches,
	condemnedKey,
	condemnedNames,
	encodeCondemned,
	keyOfName,
} from './collector-runs.ts';
import { GenerationSet } from './generation-set.ts';
import { limits } from './limits.ts';
import { hashBytes } from './merkle-tree.ts';
import { type ContentKind, kindPrefix, parseContentKey, shardPrefix } from './object-keys.ts';
import { isBetween } from './presence.ts';
import { type Repository, signalOf } from './repository.ts';
import { ArchiveError, type CollectOptions, type CollectResult } from './repository-types.ts';
import { listExports, walkRoots } from './roots.ts';

/**
 * Deletes what no manifest needs, while others archive into the same repository and collect in it. Invariants (docs/archive-format.md, "Collecting", has the argument):
 *
 * 1. A key of a chunk or list is put by one upload only, so a delete that comes late hits nothing but what was condemned.
 * 2. A run deletes a key only if it stood in a batch of the run before the run read all roots, and no root referred to it.
 * 3. An export publishes only what, after its pending manifest stood, was in no batch, and in none that was taken away since it learned of it.
 * 4. A batch goes only after its name has been left, and a batch of another run only when each key of it is gone, or when that run cannot be under way any more.
 *
 *   lease → mark → sweep → batches → mark again → delete → names of the batches → batches gone → lease gone
 */
export async function collect(repository: Repository, options: CollectOptions = {}): Promise<CollectResult> {
	const housekeeping = new CollectorHousekeeping(repository, options);
	if (options.dryRun === true) return new Collection(repository, options, housekeeping).run();
	if (!(await housekeeping.begin())) return { ...emptyResult, state: 'busy' };
	try {
		await housekeeping.endAbandoned();
		const result = await new Collection(repository, options, housekeeping).run();
		await housekeeping.forgetOld();
		return result;
	} finally {
		await housekeeping.end();
	}
}

const emptyResult = { state: 'done', manifests: 0, keptObjects: 0, deletedObjects: 0, deletedBytes: 0, youngObjects: 0 } as const;
/** Deletions, and questions whether an object is there, that are on their way at once. */
const parallelCalls = 8;

interface Candidate extends CondemnedName {
	readonly sizeBytes: number;
}

/** Of another run. */
type StandingBatch = Pick<CondemnedBatch, 'key' | 'modifiedMs'>;

interface Needed {
	readonly byManifests: GenerationSet;
	readonly byPendings: GenerationSet;
}

class Collection {
	readonly #repository: Repository;
	readonly #options: CollectOptions;
	readonly #housekeeping: CollectorHousekeeping;
	readonly #counts = { manifests: 0, keptObjects: 0, deletedObjects: 0, deletedBytes: 0, youngObjects: 0 };

	constructor(repository: Repository, options: CollectOptions, housekeeping: CollectorHousekeeping) {
		this.#repository = repository;
		this.#options = options;
		this.#housekeeping = housekeeping;
	}

	async run(): Promise<CollectResult> {
		try {
			const candidates = await this.#sweep();
			if (this.#options.dryRun === true) this.#count(candidates);
			else await this.#condemn(candidates);
			return { state: 'done', ...this.#counts };
		} catch (error) {
			// Nothing is deleted as long as it is not known what is needed.
			if (!(error instanceof ArchiveError) || (error.code !== 'missing' && error.code !== 'corrupt')) throw error;
			return { state: 'blocked', blockedBy: error.object, ...this.#counts };
		}
	}

	/** Objects that no root needs and that are old enough: a first look, in as many passes as memory asks for. */
	async #sweep(): Promise<Candidate[]> {
		const youngerThanMs = await this.#youngerThanMs();
		const candidates: Candidate[] = [];
		let passes = 1;
		for (let from = 0; from < 256;) {
			const to = Math.min(256, from + Math.ceil(256 / passes));
			const marks = await this.#marks(from, to);
			if (marks === undefined && passes < 256) {
				passes *= 2;
				continue;
			}
			if (marks === undefined)
				throw new ArchiveError('tooLarge', `A 256th of ${this.#repository.store.name} has more than ${limits.marksMax} objects.`);
			for (const kind of ['list', 'chunk'] as const) {
				const prefixes = passes === 1 ? [kindPrefix(kind)] : Array.from({ length: to - from }, (_, at) => shardPrefix(kind, from + at));
				for (const prefix of prefixes) await this.#sweepNames(kind, prefix, marks, youngerThanMs, candidates);
			}
			from = to;
		}
		return candidates;
	}

	/** Generations that roots need, of objects whose names begin with a byte in [from, to); undefined: more than may be held. */
	async #marks(from: number, to: number): Promise<GenerationSet | undefined> {
		const marks = new GenerationSet();
		const isAll = from === 0 && to === 256;
		let manifests = 0;
		await walkRoots(
			this.#repository,
			{
				mark: (kind, entry) => {
					if (marks.size <= limits.marksMax && (isAll || isBetween(this.#repository, kind, entry, from, to))) marks.add(entry, hashBytes);
				},
				onManifest: () => manifests++,
				onList: () => this.#housekeeping.renewIfDue(),
			},
			this.#options.signal,
		);
		this.#counts.manifests = manifests;
		return marks.size > limits.marksMax ? undefined : marks;
	}

	async #sweepNames(
		kind: ContentKind,
		prefix: string,
		marks: GenerationSet,
		youngerThanMs: number,
		candidates: Candidate[],
	): Promise<void> {
		await this.#housekeeping.renewIfDue();
		for await (const { key, sizeBytes, modifiedMs } of this.#repository.store.list(prefix, signalOf(this.#options.signal))) {
			const parsed = parseContentKey(key);
			if (parsed === undefined) continue;
			if (marks.hasHex(parsed.generation)) this.#counts.keptObjects++;
			else if (modifiedMs > youngerThanMs) this.#counts.youngObjects++;
			else if (candidates.length < limits.condemnedMax) candidates.push({ kind, ...parsed, sizeBytes });
			else this.#counts.keptObjects++;
		}
	}

	/** What an export that is alive has uploaded since it began is left alone: it would only have to upload it again. */
	async #youngerThanMs(): Promise<number> {
		const { timing, store } = this.#repository;
		const nowMs = store.nowMs();
		let oldestMs = nowMs - (this.#options.graceMs ?? timing.graceMs);
		for (const { keys, modifiedMs } of await listExports(this.#repository, this.#options.signal)) {
			if (nowMs - modifiedMs > timing.leaseMs) continue;
			for (const key of keys) {
				if (!key.endsWith('/lease')) continue;
				const startedMs = await this.#housekeeping.startOf(key);
				if (startedMs !== undefined) oldestMs = Math.min(oldestMs, startedMs - timing.leaseMs);
			}
		}
		return oldestMs;
	}

	#count(candidates: readonly Candidate[]): void {
		this.#counts.deletedObjects += candidates.length;
		for (const { sizeBytes } of candidates) this.#counts.deletedBytes += sizeBytes;
	}

	async #condemn(candidates: readonly Candidate[]): Promise<void> {
		const { signal } = this.#options;
		const { run } = this.#housekeeping;
		// Before the roots are read: only so it is known of a manifest that stands then that those runs have seen it, too.
		// Their names are read again when they are needed: somebody may have written any number of them.
		const others: StandingBatch[] = [];
		const condemned = new GenerationSet();
		for await (const batch of condemnedBatches(this.#repository, signal)) {
			if (batch.run === run) continue;
			others.push({ key: batch.key, modifiedMs: batch.modifiedMs });
			addBatch(condemned, batch);
			if (others.length >= limits.batchesMax || condemned.size >= limits.condemnedStandingMax) break;
		}
		if (candidates.length === 0 && others.length === 0) return;
		const { store, timing } = this.#repository;
		const startedMs = store.nowMs();
		const batches: string[] = [];
		const takeBack = async (): Promise<void> => {
			for (const key of batches) await store.delete(key, signalOf(signal));
		};
		for (let at = 0; at < candidates.length; at += limits.condemnedPerBatch) {
			const key = condemnedKey(run, batches.length);
			batches.push(key);
			await this.#repository.putSmall('condemned', key, encodeCondemned(candidates.slice(at, at + limits.condemnedPerBatch)), { signal });
		}
		await this.#repository.runtime.sleep(timing.settleMs, signal);
		for (const { generation } of candidates) condemned.addHex(generation);
		let needed: Needed;
		try {
			needed = await this.#needed(condemned);
		} catch (error) {
			// This run has deleted nothing and will not: nobody need heed its batches.
			if (error instanceof ArchiveError) await takeBack();
			throw error;
		}
		const deleted = new GenerationSet();
		const tasks = new BoundedTasks(parallelCalls);
		for (const candidate of candidates) {
			const isNeeded = needed.byManifests.hasHex(candidate.generation) || needed.byPendings.hasHex(candidate.generation);
			// Before others take it for dead (#clearOthers) it has stopped, even if it stands still here once more.
			const isLate = store.nowMs() - startedMs > timing.memoryMs / 2;
			if (isNeeded || isLate) {
				this.#counts.keptObjects++;
				continue;
			}
			await this.#housekeeping.renewIfDue();
			await tasks.run(async () => {
				await store.delete(keyOfName(candidate), signalOf(signal));
				deleted.addHex(candidate.generation);
				this.#counts.deletedObjects++;
				this.#counts.deletedBytes += candidate.sizeBytes;
			});
		}
		await tasks.idle();
		if (deleted.size === 0) await takeBack();
		else for (const key of batches) await this.#housekeeping.closeBatch(key);
		await this.#clearOthers(others, needed.byManifests, deleted);
	}

	/** Which of the condemned roots need, as they stand now. */
	async #needed(condemned: GenerationSet): Promise<Needed> {
		const needed = { byManifests: new GenerationSet(), byPendings: new GenerationSet() };
		await walkRoots(
			this.#repository,
			{
				mark: (_kind, entry, isPending) => {
					if (condemned.has(entry, hashBytes)) (isPending ? needed.byPendings : needed.byManifests).add(entry, hashBytes);
				},
				onList: () => this.#housekeeping.renewIfDue(),
			},
			this.#options.signal,
		);
		return needed;
	}

	/**
	 * Batches of runs that ended before they were through, or stand still. As long as such a run could go on its batch stays with every key that is there, even one that a manifest needs: an
	 * export may take the key over from that manifest, which is deleted before the other run looks, and has nothing but the batch to warn it.
	 */
	async #clearOthers(others: readonly StandingBatch[], byManifests: GenerationSet, deleted: GenerationSet): Promise<void> {
		const { store, timing } = this.#repository;
		for (const { key, modifiedMs } of others) {
			const isOver = store.nowMs() - modifiedMs > timing.memoryMs;
			const names = (await condemnedNames(this.#repository, key, this.#options.signal)) ?? [];
			const left = names.filter(({ generation }) => !deleted.hasHex(generation) && !(isOver && byManifests.hasHex(generation)));
			if (!(await this.#isAnyThere(left))) await this.#housekeeping.closeBatch(key);
		}
	}

	/** Asks for one by one, several at once, and for no more when one is there. */
	async #isAnyThere(names: readonly CondemnedName[]): Promise<boolean> {
		const { store } = this.#repository;
		const tasks = new BoundedTasks(parallelCalls);
		let isThere = false;
		for (const name of names) {
			if (isThere) break;
			await this.#housekeeping.renewIfDue();
			await tasks.run(async () => {
				if ((await store.head(keyOfName(name), signalOf(this.#options.signal))) !== undefined) isThere = true;
			});
		}
		await tasks.idle();
		return isThere;
	}
}
