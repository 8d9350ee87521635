import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArchiveOperations } from '../admin/archive-routes.ts';
import type {
	ArchiveJobView,
	ArchivedPlaceView,
	DeletionView,
	ExportWish,
	GcWish,
	ManifestView,
	ManifestsView,
	NewRepositoryWish,
	PruneView,
	RepositoryChangeWish,
	RepositoryDetailView,
	RepositoryView,
	RestoreWish,
	SnapshotDeletionView,
	VerifyWish,
} from '../admin/archive-schemas.ts';
import type { Metric } from '../admin/metrics.ts';
import { ArchivePages } from '../archive/lazy/archive-pages.ts';
import type { ArchiveError, ManifestSummary } from '../archive/repository-types.ts';
import type { Repository } from '../archive/repository.ts';
import type { ScrubFinding } from '../blockvol/scrub.ts';
import type { RemoteIdentity, RemotePages } from '../blockvol/remote-pages.ts';
import type { ArchiveJobRow } from '../config/archive-jobs.ts';
import type { Configuration } from '../config/configuration.ts';
import { type RepositoryRow, hasRules, placeOf } from '../config/repositories.ts';
import { UsageError } from '../config/usage-error.ts';
import type { Disk } from '../os/disk.ts';
import type { KeepRule } from '../schedule/retention.ts';
import { archiveRefusal } from './archive-errors.ts';
import { ArchiveRepositories } from './archive-repositories.ts';
import { ArchiveRunner } from './archive-runner.ts';
import { found, isIn, nameBefore, said, viewOf } from './archive-views.ts';
import { ArchiveWork, reasonsOf } from './archive-work.ts';
import { ArchivedPlaces, type PlacesParts } from './archived-places.ts';
import type { EventLog } from './event-log.ts';
import { kernelCode } from './kernel-code.ts';
import { PageRepairs } from './page-repairs.ts';
import type { Repair } from './scrubs.ts';
import type { RunnerClock } from './schedule-runner.ts';
import type { ShadowVolumes } from './shadow-volumes.ts';
import type { ApplianceSnapshots } from './snapshots.ts';
import type { Volumes } from './volumes.ts';

export interface ArchiveParts {
	readonly configuration: Configuration;
	readonly volumes: Volumes;
	readonly snapshots: Pick<ApplianceSnapshots, 'list' | 'delete' | 'mustBeUnused' | 'view'>;
	readonly shadows: () => ShadowVolumes;
	readonly events: EventLog;
	readonly disk: Disk;
	/** In the data directory, for what exports write down on their way. */
	readonly directory: string;
	readonly tool: string;
	/** Changes of the appliance run one at a time. */
	readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
	readonly clock: RunnerClock;
}

/**
 * Archives: repositories as the operator names them, and what is done with them. A repository knows by itself what is in it; config.db knows where it is, its secrets, what is to be
 * done, and which of the snapshots here have been put where. Nothing that another appliance does to a repository leads to anything here: a catalogue is only shown.
 */
export class ApplianceArchive implements ArchiveOperations {
	readonly #parts: ArchiveParts;
	readonly #repositories: ArchiveRepositories;
	readonly #work: ArchiveWork;
	readonly #places: ArchivedPlaces;
	readonly #runner: ArchiveRunner;
	readonly #repairs: PageRepairs;
	/** Since the start. */
	readonly #ended = { done: 0, failed: 0, cancelled: 0 };

	constructor(parts: ArchiveParts) {
		this.#parts = parts;
		const { configuration, volumes, shadows, events, disk, directory, tool, clock } = parts;
		const repositories = new ArchiveRepositories(configuration.repositories, clock);
		this.#repositories = repositories;
		const prune = (repository: string, volumeUuid: string): void => void this.#pruneSoon(repository, volumeUuid);
		this.#work = new ArchiveWork({ configuration, repositories, volumes, shadows, disk, directory, tool, prune });
		const local: PlacesParts['local'] = (manifest) => this.#work.local(manifest);
		this.#places = new ArchivedPlaces({ configuration, snapshots: parts.snapshots, repositories, local });
		this.#repairs = new PageRepairs({ configuration, repositories, volumes, clock });
		this.#runner = new ArchiveRunner({
			jobs: configuration.archiveJobs,
			events,
			work: (job, context) => this.#work.run(job, context),
			ended: (id) => this.#jobEnded(id),
			clock,
		});
	}

	/** Goes on with what the end of the process before cut short. */
	async start(): Promise<void> {
		await this.#removeStrays();
		this.#runner.start();
	}

	/** No job runs any more when this resolves. */
	async stop(): Promise<void> {
		await this.#runner.stop();
	}

	/** After the volumes were closed: those that are restored lazily read from repositories until then. */
	async close(): Promise<void> {
		await this.#repositories.closeAll();
	}

	/** What a volume that is restored lazily lacks. The repository is opened when something is fetched, so one that is away, or forgotten, or comes back, is so then. */
	pagesOf({ repository, manifest }: RemoteIdentity): RemotePages {
		return new ArchivePages((work) => this.#repositories.use(repository, work), manifest);
	}

	/** A page that a scrub has found damaged, from an archive that is sure to have it. */
	repairPage(volume: string, finding: ScrubFinding, signal: AbortSignal): Promise<Repair> {
		return this.#repairs.repair(volume, finding, signal);
	}

	/** The job that reads this snapshot, or is about to. */
	jobOf(volume: string, snapshot: string): number | undefined {
		return this.#exportOf(volume, snapshot)?.id;
	}

	/** After a schedule has made snapshots. UsageError when there are too many jobs. */
	archive(repository: string, volumes: readonly string[], snapshot: string): void {
		for (const volume of volumes) this.#export(repository, { volume, snapshot, full: false });
	}

	repositories(): RepositoryView[] {
		return this.#parts.configuration.repositories.all().map(viewOf);
	}

	async repository(name: string): Promise<RepositoryDetailView> {
		const view = viewOf(this.#parts.configuration.repositories.get(name));
		try {
			return await this.#use(name, `Repository ${name} cannot be shown`, async (repository) => {
				const { listManifests } = await import('../archive/catalogue.ts');
				const damaged: string[] = [];
				const all = await listManifests(repository, { onDamaged: ({ message }) => void damaged.push(message) });
				const volumes = new Set(all.map(({ volume }) => volume.uuid)).size;
				const { id, chunkBytes, isEncrypted } = repository;
				return { ...view, state: 'reachable', isEncrypted, id, chunkBytes, manifests: all.length, volumes, damaged };
			});
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			return { ...view, state: 'unusable', fault: error.message };
		}
	}

	async addRepository({ create, keep, ...wish }: NewRepositoryWish): Promise<RepositoryView> {
		const { configuration, inTurn, events } = this.#parts;
		const asked = { ...wish, keep: said(keep) };
		const checked = configuration.repositories.check(asked);
		// Not in its turn: a server may take its time.
		await this.#repositories.probe(checked, create);
		const row = await inTurn(async () => configuration.repositories.add(asked));
		const message = `Repository ${row.name} at ${placeOf(row.location)} was ${create ? 'made' : 'added'}.`;
		events.add({ severity: 'info', kind: 'repository-added', message });
		return viewOf(row);
	}

	async changeRepository(name: string, change: RepositoryChangeWish): Promise<RepositoryView> {
		const { configuration, inTurn } = this.#parts;
		const { accessKeyId, secretAccessKey, passphrase } = change;
		const isOther = [accessKeyId, secretAccessKey, passphrase].some((one) => one !== undefined);
		if (isOther) await this.#repositories.probe(configuration.repositories.changed(name, change), false);
		const row = await inTurn(async () => configuration.repositories.change(name, change));
		if (isOther) this.#repositories.forget(name);
		return viewOf(row);
	}

	async removeRepository(name: string): Promise<void> {
		const { configuration, inTurn, events } = this.#parts;
		await inTurn(async () => {
			configuration.repositories.get(name);
			this.#mustNotBeNeeded(name);
			configuration.repositories.remove(name);
		});
		this.#repositories.forget(name);
		events.add({ severity: 'info', kind: 'repository-removed', message: `Repository ${name} was removed; what is in it stays.` });
	}

	async manifests(name: string, volume?: string): Promise<ManifestsView> {
		const row = this.#parts.configuration.repositories.get(name);
		const damaged: string[] = [];
		const all = await this.#list(name, ({ message }) => void damaged.push(message));
		const reasons = reasonsOf(row, all);
		const shown = all.filter((one) => volume === undefined || one.volume.name === volume || one.volume.uuid === volume);
		return { repository: name, manifests: shown.map((one) => this.#manifest(one, reasons)), damaged };
	}

	async manifest(name: string, id: string): Promise<ManifestView> {
		const row = this.#parts.configuration.repositories.get(name);
		const all = await this.#list(name);
		return this.#manifest(found(name, id, all), reasonsOf(row, all));
	}

	export(repository: string, wish: ExportWish): Promise<ArchiveJobView> {
		return this.#parts.inTurn(async () => this.#export(repository, wish));
	}

	async restore(repository: string, manifest: string, wish: RestoreWish): Promise<ArchiveJobView> {
		const { configuration, inTurn } = this.#parts;
		configuration.repositories.get(repository);
		const { volume, overwrite, keepAs, lazy } = wish;
		if (keepAs !== undefined && !overwrite) throw new UsageError('Another name for the volume that is replaced goes with overwrite.');
		const overwriteKeepingAs = overwrite ? (keepAs ?? nameBefore(volume, this.#parts.clock.now())) : undefined;
		const { volume: geometry } = found(repository, manifest, await this.#list(repository));
		return await inTurn(async () => {
			if (overwriteKeepingAs === undefined) configuration.checkNewVolume({ ...geometry, name: volume });
			else configuration.checkReplacement(volume, overwriteKeepingAs, geometry);
			return this.#runner.add(repository, { kind: 'restore', manifest, volume, overwriteKeepingAs, lazy });
		});
	}

	verify(repository: string, { full, repair }: VerifyWish): Promise<ArchiveJobView> {
		return this.#add(repository, { kind: 'verify', full, repair });
	}

	gc(repository: string, { graceSeconds }: GcWish): Promise<ArchiveJobView> {
		return this.#add(repository, { kind: 'gc', graceMs: graceSeconds === undefined ? undefined : Math.round(graceSeconds * 1000) });
	}

	async prunable(name: string): Promise<PruneView> {
		const row = this.#withRules(name);
		const all = await this.#list(name);
		const reasons = reasonsOf(row, all);
		const manifests = all.filter(({ id }) => reasons?.get(id)?.length === 0).map((one) => this.#manifest(one, reasons));
		return { repository: name, manifests, kept: all.length - manifests.length };
	}

	prune(repository: string): Promise<ArchiveJobView> {
		this.#withRules(repository);
		return this.#add(repository, { kind: 'prune' });
	}

	/** The repository first, then here: when something goes wrong in between, both or the one here are left, never an archive that nobody has any more of. */
	async deleteManifest(repository: string, manifest: string, where: 'remote' | 'both'): Promise<DeletionView> {
		const { configuration, snapshots, inTurn } = this.#parts;
		const local = where === 'both' ? await this.#places.here(repository, manifest) : undefined;
		if (local !== undefined) this.#parts.snapshots.mustBeUnused(local.volume, local.name);
		const both = local === undefined ? '' : `; snapshot ${local.volume}@${local.name} stays, too`;
		const remote = await this.#deleteRemote(repository, manifest, both);
		const rest = local === undefined ? [] : this.#places.known(local.volume, local.name).filter((one) => one.repository !== repository);
		if (local === undefined) configuration.archiveJobs.forgetManifest(repository, manifest);
		else {
			// The row is forgotten with the snapshot: whoever asks again after a failure is still understood.
			try {
				await inTurn(() => snapshots.delete(local.volume, local.name));
			} catch (error) {
				if (!(error instanceof UsageError)) throw error;
				const message = `${manifest} was deleted from repository ${repository}, and the snapshot here was not: ${error.message}`;
				throw new UsageError(message, error.code, { cause: error });
			}
		}
		return {
			repository,
			manifest,
			remote,
			local: where === 'remote' ? 'kept' : local === undefined ? 'notFound' : 'deleted',
			stillArchived: rest.map(({ repository: other, manifest: id }) => ({ repository: other, manifest: id })),
		};
	}

	async deleteSnapshot(volume: string, snapshot: string): Promise<SnapshotDeletionView> {
		const { snapshots, inTurn } = this.#parts;
		this.#parts.snapshots.mustBeUnused(volume, snapshot);
		const archived = await this.#places.everywhere(volume, snapshot);
		const deletedFrom: { repository: string; manifest: string }[] = [];
		for (const { repository, manifest } of archived) {
			const gone = [...new Set(deletedFrom.map((one) => one.repository))].join(', ');
			const rest = `; snapshot ${volume}@${snapshot} stays${gone === '' ? ', too' : `, it is gone from ${gone}`}`;
			await this.#deleteRemote(repository, manifest, rest);
			this.#parts.configuration.archiveJobs.forgetManifest(repository, manifest);
			deletedFrom.push({ repository, manifest });
		}
		await inTurn(() => snapshots.delete(volume, snapshot));
		return { deleted: `${volume}@${snapshot}`, archived: [], deletedFrom };
	}

	archived(volume: string, snapshot: string): Promise<ArchivedPlaceView[]> {
		return this.#places.views(volume, snapshot);
	}

	jobs(): ArchiveJobView[] {
		return this.#parts.configuration.archiveJobs.all().map((row) => this.#runner.view(row));
	}

	job(id: number): ArchiveJobView {
		return this.#runner.view(this.#parts.configuration.archiveJobs.get(id));
	}

	async cancel(id: number): Promise<ArchiveJobView> {
		return await this.#runner.cancel(id);
	}

	*metrics(): Generator<Metric> {
		const pending = this.#parts.configuration.archiveJobs.pending();
		for (const state of ['waiting', 'running'] as const) {
			const value = pending.filter((job) => job.state === state).length;
			yield { name: 'blockport_archive_jobs', help: 'Archive jobs that have not ended, by state.', value, labels: { state } };
		}
		for (const [state, value] of Object.entries(this.#ended)) {
			yield { name: 'blockport_archive_jobs_ended_total', help: 'Archive jobs that ended since the start.', value, labels: { state } };
		}
		for (const job of pending) {
			const { done, repository, kind } = this.#runner.view(job);
			const labels = { job: String(job.id), kind, repository };
			if (done !== undefined) yield { name: 'blockport_archive_job_done_ratio', help: 'How far a job is, 0 to 1.', value: done, labels };
		}
	}

	#export(repository: string, { volume, snapshot, bytesPerSecond, full }: ExportWish): ArchiveJobView {
		const { configuration, snapshots } = this.#parts;
		configuration.repositories.get(repository);
		const { uuid: volumeUuid } = configuration.volume(volume);
		const { id: snapshotId } = snapshots.view(volume, snapshot);
		const same = this.#exportOf(volume, snapshot, repository);
		if (same !== undefined) throw new UsageError(`Job ${same.id} archives ${volume}@${snapshot} already.`, 'inUse');
		return this.#runner.add(repository, { kind: 'export', volume, volumeUuid, snapshot, snapshotId, bytesPerSecond, full });
	}

	#exportOf(volume: string, snapshot: string, repository?: string): ArchiveJobRow | undefined {
		const { configuration, snapshots } = this.#parts;
		const pending = configuration.archiveJobs.pending();
		if (pending.length === 0) return undefined;
		const uuid = configuration.findVolume(volume)?.uuid;
		const id = snapshots.list(volume).find(({ name }) => name === snapshot)?.id;
		return pending.find(
			({ wish, repository: other }) =>
				wish.kind === 'export' && wish.volumeUuid === uuid && wish.snapshotId === id && (repository === undefined || repository === other),
		);
	}

	#add(repository: string, wish: ArchiveJobRow['wish']): Promise<ArchiveJobView> {
		return this.#parts.inTurn(async () => {
			this.#parts.configuration.repositories.get(repository);
			return this.#runner.add(repository, wish);
		});
	}

	/** Throws UsageError while a volume is fetched from there. */
	#mustNotBeNeeded(repository: string, manifest?: string): void {
		const [volume] = this.#work.dependants(repository, manifest);
		if (volume === undefined) return;
		const what = manifest === undefined ? `repository ${repository}` : `${manifest} in repository ${repository}`;
		throw new UsageError(
			`Volume ${volume} is still being restored from ${what}: wait until all of it is here, or delete it first.`,
			'inUse',
		);
	}

	#withRules(name: string): RepositoryRow {
		const row = this.#parts.configuration.repositories.get(name);
		if (!hasRules(row.keep))
			throw new UsageError(
				`Repository ${name} has no rules, and so keeps everything: give it some with "archive repository change".`,
				'inUse',
			);
		return row;
	}

	async #pruneSoon(repository: string, volumeUuid: string): Promise<void> {
		try {
			await this.#add(repository, { kind: 'prune', volumeUuid });
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			const message = `The rules of repository ${repository} were not applied: ${error.message}`;
			this.#parts.events.add({ severity: 'warning', kind: 'archive-failed', message });
		}
	}

	async #deleteRemote(repository: string, manifest: string, rest: string): Promise<'deleted' | 'notFound'> {
		this.#mustNotBeNeeded(repository, manifest);
		const what = `${manifest} was not deleted from repository ${repository}${rest}`;
		return await this.#use(repository, what, async (opened) => {
			const { deleteManifest } = await import('../archive/catalogue.ts');
			const isThere = await isIn(opened, manifest);
			if (isThere) await deleteManifest(opened, manifest);
			if (isThere)
				this.#parts.events.add({
					severity: 'info',
					kind: 'archive-deleted',
					message: `${manifest} was deleted from repository ${repository}.`,
				});
			return isThere ? 'deleted' : 'notFound';
		});
	}

	/** Oldest snapshot first. Without `onDamaged` one that cannot be read is an error. */
	#list(name: string, onDamaged?: (error: ArchiveError) => void): Promise<readonly ManifestSummary[]> {
		return this.#use(name, `Repository ${name} cannot be listed`, async (repository) => {
			const { listManifests } = await import('../archive/catalogue.ts');
			return await listManifests(repository, onDamaged === undefined ? {} : { onDamaged });
		});
	}

	async #use<T>(name: string, what: string, work: (repository: Repository) => Promise<T>): Promise<T> {
		try {
			return await this.#repositories.use(name, work);
		} catch (error) {
			throw archiveRefusal(error, what);
		}
	}

	#manifest(one: ManifestSummary, reasons: ReadonlyMap<string, KeepRule[]> | undefined): ManifestView {
		const { id, volume, snapshot, parent, createdMs, tool, merkleRoot, chunkBytes, chunks, dataBytes, uploadedBytes } = one;
		const local = this.#work.local(one);
		const keptFor = reasons?.get(id);
		return {
			id,
			volume: { ...volume },
			snapshot: { id: snapshot.id, name: snapshot.name, at: new Date(snapshot.timeMs).toISOString() },
			archivedAt: new Date(createdMs).toISOString(),
			...(parent === '' ? {} : { parent }),
			tool,
			merkleRoot,
			chunkBytes,
			chunks,
			dataBytes,
			uploadedBytes,
			...(local === undefined ? {} : { local: `${local.volume}@${local.info.name}` }),
			...(keptFor === undefined ? {} : { keptFor }),
		};
	}

	#jobEnded(id: number): void {
		const { state } = this.#parts.configuration.archiveJobs.get(id);
		if (state === 'done' || state === 'failed' || state === 'cancelled') this.#ended[state]++;
		void this.#work.forget(id).catch((error: unknown) => this.#notRemoved(error));
	}

	/** What exports wrote down that nobody goes on with. */
	async #removeStrays(): Promise<void> {
		const { configuration, directory } = this.#parts;
		const kept = new Set(configuration.archiveJobs.pending().map(({ id }) => `${id}.journal`));
		try {
			for (const name of await readdir(directory)) if (!kept.has(name)) await rm(join(directory, name), { force: true, recursive: true });
		} catch (error) {
			if (kernelCode(error) !== 'ENOENT') this.#notRemoved(error);
		}
	}

	#notRemoved(error: unknown): void {
		const code = kernelCode(error);
		if (code === '') throw error;
		const message = `What an export has left in ${this.#parts.directory} cannot be removed (${code}).`;
		this.#parts.events.add({ severity: 'warning', kind: 'archive-failed', message });
	}
}
