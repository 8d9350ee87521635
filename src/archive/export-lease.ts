import { encodeManifest } from './manifest.ts';
import { exportPrefix, manifestKey } from './object-keys.ts';
import { readManifest } from './catalogue.ts';
import type { Repository } from './repository.ts';
import { ArchiveError, type Manifest } from './repository-types.ts';

/**
 * An export as collectors see it: `exports/<id>/lease`, renewed while it uploads, and `exports/<id>/pending-<number>`, the manifest that it is about to publish, which counts as a manifest for every collector.
 *
 *   begin ──▶ uploading ──pend()──▶ pending ──publish()──▶ published
 *                                   │    ▲
 *                                   └────┘ pend(): something of it was condemned and has been replaced
 */
export class ExportLease {
	/** Of the manifest to be; drawn for this attempt. */
	readonly id: string;
	/** By the store's clock. */
	readonly startedMs: number;
	readonly #repository: Repository;
	#renewedMs = 0;
	#renewing: Promise<unknown> | undefined;
	#pendings = 0;
	#isPublishing = false;

	private constructor(repository: Repository) {
		this.#repository = repository;
		this.id = repository.runtime.random(16).toString('hex');
		this.startedMs = Math.floor(repository.store.nowMs());
	}

	static async begin(repository: Repository, signal: AbortSignal | undefined): Promise<ExportLease> {
		const lease = new ExportLease(repository);
		await lease.#renew(signal);
		return lease;
	}

	/** To be called on the way of everything that the export does: it needs no timer then. */
	async renewIfDue(signal?: AbortSignal): Promise<void> {
		if (this.#repository.runtime.nowMs() - this.#renewedMs < this.#repository.timing.leaseMs / 3) return;
		this.#renewing ??= this.#renew(signal).finally(() => {
			this.#renewing = undefined;
		});
		await this.#renewing;
	}

	/** Tells the collectors what the export refers to. A version takes the place of the one before. */
	async pend(manifest: Manifest, signal?: AbortSignal): Promise<void> {
		const before = this.#pendings;
		this.#pendings++;
		await this.#repository.putSmall('pending', this.#pendingKey(), encodeManifest(manifest), { signal });
		if (before > 0) await this.#repository.store.delete(`${this.#prefix()}pending-${before}`);
	}

	/**
	 * Makes the manifest visible. ArchiveError `stale` if a collector has taken the export for dead: then it is not.
	 *
	 * Where the store decides who is first, a collector that gives an export up puts a revocation in the manifest's place, and one of the two is refused. Elsewhere it rests on timing.abandonMs.
	 */
	async publish(manifest: Manifest): Promise<void> {
		const { store, timing, runtime } = this.#repository;
		const stale = (): ArchiveError =>
			new ArchiveError('stale', 'The export stood still for so long that a collector has given it up: it has to begin anew.', {
				object: manifestKey(this.id),
			});
		await this.#renew(undefined);
		if (runtime.nowMs() - this.#renewedMs > timing.abandonMs / 2) throw stale();
		this.#isPublishing = true;
		const { state } = await this.#repository.putSmall('manifest', manifestKey(this.id), encodeManifest(manifest), { ifAbsent: true });
		// The id is this export's alone: what is there is this manifest, by a put that was repeated, or the revocation.
		if (state === 'exists' && (await readManifest(this.#repository, this.id)) === undefined) throw stale();
		if (!store.canPutIfAbsent && (await store.head(this.#pendingKey())) === undefined) {
			await store.delete(manifestKey(this.id));
			throw stale();
		}
	}

	/**
	 * Takes away what it had to say. A failed export that may have published leaves all to the collectors, and so does one in a store whose lists are late: the pending
	 * manifest stands for the published one until that is seen everywhere.
	 */
	async end(published: boolean): Promise<void> {
		if (this.#isPublishing && !published) return;
		const { store, timing } = this.#repository;
		if (this.#pendings > 0 && (!published || timing.settleMs === 0)) await store.delete(this.#pendingKey());
		await store.delete(`${this.#prefix()}lease`);
	}

	#prefix(): string {
		return `${exportPrefix}${this.id}/`;
	}

	#pendingKey(): string {
		return `${this.#prefix()}pending-${this.#pendings}`;
	}

	async #renew(signal: AbortSignal | undefined): Promise<void> {
		const nowMs = this.#repository.runtime.nowMs();
		await this.#repository.putJson('lease', `${this.#prefix()}lease`, { startedMs: this.startedMs }, signal);
		this.#renewedMs = nowMs;
	}
}
