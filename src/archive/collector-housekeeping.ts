import { readManifest } from './catalogue.ts';
import { collectedKey } from './collector-runs.ts';
import { limits } from './limits.ts';
import { collectedPrefix, collectorPrefix, isId, manifestKey, manifestPrefix } from './object-keys.ts';
import { type Repository, parseJson, signalOf } from './repository.ts';
import { ArchiveError, type CollectOptions } from './repository-types.ts';
import { StoreError } from './store/object-store.ts';
import { listExports } from './roots.ts';

/** What a collector does beside collecting: its own lease, exports that died, and names that need not be remembered any more. */
export class CollectorHousekeeping {
	/** Of this run alone. */
	readonly run: string;
	readonly #repository: Repository;
	readonly #signal: AbortSignal | undefined;
	readonly #owner: string | undefined;
	#renewedMs = 0;

	constructor(repository: Repository, { signal, owner }: CollectOptions) {
		this.#repository = repository;
		this.#signal = signal;
		this.#owner = owner;
		this.run = repository.runtime.random(16).toString('hex');
	}

	/**
	 * Takes a lease; false: another collector is at work. That spares double work and nothing else: two at once are safe, so a lease of the own name that an earlier run left is not waited for, even
	 * if somebody else should have the same name.
	 */
	async begin(): Promise<boolean> {
		const { store, timing } = this.#repository;
		for await (const { key, modifiedMs } of store.list(collectorPrefix, signalOf(this.#signal))) {
			if (store.nowMs() - modifiedMs < timing.leaseMs && !(await this.#isOwn(key))) return false;
			await store.delete(key, signalOf(this.#signal));
		}
		await this.#renew();
		return true;
	}

	async renewIfDue(): Promise<void> {
		if (this.#renewedMs > 0 && this.#repository.runtime.nowMs() - this.#renewedMs > this.#repository.timing.leaseMs / 3)
			await this.#renew();
	}

	/** The lease goes if the store lets that happen; it runs out otherwise. */
	async end(): Promise<void> {
		try {
			await this.#repository.store.delete(collectorPrefix + this.run);
		} catch (error) {
			if (!(error instanceof StoreError)) throw error;
		}
	}

	/** Says for timing.memoryMs that what a batch condemned may be gone, and takes the batch away. */
	async closeBatch(batchKey: string): Promise<void> {
		await this.#repository.putJson('collected', collectedKey(batchKey), {}, this.#signal);
		await this.#repository.store.delete(batchKey, signalOf(this.#signal));
	}

	/** When an export began, by its lease; undefined if it has none any more, or one that says nothing. */
	async startOf(leaseKey: string): Promise<number | undefined> {
		try {
			const plain = await this.#repository.getSmall('lease', leaseKey, limits.jsonBytesMax, this.#signal);
			const startedMs = plain === undefined ? undefined : parseJson(plain, leaseKey)['startedMs'];
			return typeof startedMs === 'number' ? startedMs : undefined;
		} catch (error) {
			// It is about double work only: the grace period stands for what a damaged lease does not say.
			if (error instanceof ArchiveError) return undefined;
			throw error;
		}
	}

	/**
	 * Takes away what exports left that have published or died. One that has a pending manifest could publish still: where the store decides who is first, a revocation in the manifest's place
	 * keeps it from that; elsewhere it is not touched before timing.abandonMs have passed.
	 */
	async endAbandoned(): Promise<void> {
		const { store, timing } = this.#repository;
		for (const { id, keys, pendingKeys, modifiedMs } of await listExports(this.#repository, this.#signal)) {
			const silentMs = store.nowMs() - modifiedMs;
			const isPublished = (await store.head(manifestKey(id), signalOf(this.#signal))) !== undefined;
			if (isPublished ? silentMs < timing.settleMs : silentMs < (pendingKeys.length === 0 ? timing.leaseMs : timing.abandonMs)) continue;
			if (!isPublished && pendingKeys.length > 0 && store.canPutIfAbsent) {
				await this.#repository.putSmall('revoked', manifestKey(id), Buffer.from('{}'), { ifAbsent: true, signal: this.#signal });
			}
			// The lease last: without it the age of the rest would be that of the upload.
			for (const key of keys.toSorted().toReversed()) await store.delete(key, signalOf(this.#signal));
		}
	}

	/** Names of runs, and revocations, that nobody can stumble over any more; and parts of puts that nobody will finish, which no list shows. */
	async forgetOld(): Promise<void> {
		const { store, timing } = this.#repository;
		for await (const { key, modifiedMs } of store.list(collectedPrefix, signalOf(this.#signal))) {
			if (store.nowMs() - modifiedMs > timing.memoryMs) await store.delete(key, signalOf(this.#signal));
		}
		for await (const { key, modifiedMs } of store.list(manifestPrefix, signalOf(this.#signal))) {
			const id = key.slice(manifestPrefix.length);
			if (!isId(id) || store.nowMs() - modifiedMs <= timing.memoryMs || !(await this.#isRevoked(id))) continue;
			await store.delete(key, signalOf(this.#signal));
		}
		await store.cleanUploads(timing.abandonMs, signalOf(this.#signal));
	}

	async #isRevoked(id: string): Promise<boolean> {
		const known = this.#repository.manifests.get(id);
		if (known !== undefined) return known === 'revoked';
		try {
			await readManifest(this.#repository, id, this.#signal);
		} catch (error) {
			// A damaged manifest is one.
			if (error instanceof ArchiveError) return false;
			throw error;
		}
		return this.#repository.manifests.get(id) === 'revoked';
	}

	/** One that cannot be read may be another's; and the owner of one that is gone meanwhile may have put its next. */
	async #isOwn(leaseKey: string): Promise<boolean> {
		if (this.#owner === undefined) return false;
		try {
			const plain = await this.#repository.getSmall('collector', leaseKey, limits.jsonBytesMax, this.#signal);
			return plain !== undefined && parseJson(plain, leaseKey)['owner'] === this.#owner;
		} catch (error) {
			if (error instanceof ArchiveError) return false;
			throw error;
		}
	}

	async #renew(): Promise<void> {
		this.#renewedMs = Math.max(1, this.#repository.runtime.nowMs());
		const said = this.#owner === undefined ? {} : { owner: this.#owner };
		await this.#repository.putJson('collector', collectorPrefix + this.run, said, this.#signal);
	}
}
