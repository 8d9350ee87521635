import { printSize } from '../os/size-text.ts';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
	ArchiveError,
	type ArchiveResult,
	type Manifest,
	type ManifestSummary,
	type SnapshotIdentity,
	type SnapshotSource,
	type VerifyFinding,
} from '../archive/repository-types.ts';
import type { Repository } from '../archive/repository.ts';
import type { PageRange } from '../blockvol/changed-pages.ts';
import type { ArchiveJobRow, ArchiveWish } from '../config/archive-jobs.ts';
import type { Configuration } from '../config/configuration.ts';
import { type RepositoryRow, hasRules } from '../config/repositories.ts';
import { UsageError } from '../config/usage-error.ts';
import type { Disk } from '../os/disk.ts';
import { type KeepRule, kept } from '../schedule/retention.ts';
import { archiveRefusal, isPassing } from './archive-errors.ts';
import type { ArchiveRepositories } from './archive-repositories.ts';
import { type JobContext, type JobEnd, LaterError } from './archive-runner.ts';
import { missingPages } from './missing-pages.ts';
import type { ShadowVolumes } from './shadow-volumes.ts';
import { type SnapshotInfo, snapshotCalls } from './snapshot-engine.ts';
import { asUsage } from './refusals.ts';
import type { VolumeEngine, Volumes } from './volumes.ts';

/** Findings that a job remembers; its result counts all. */
const findingsShown = 20;

export interface WorkParts {
	readonly configuration: Configuration;
	readonly repositories: ArchiveRepositories;
	readonly volumes: Volumes;
	readonly shadows: () => ShadowVolumes;
	readonly disk: Disk;
	/** Where exports write down what they have sent. */
	readonly directory: string;
	/** `blockport 0.1.0`. */
	readonly tool: string;
	/** Rules are to be applied to what a repository has of a volume. */
	readonly prune: (repository: string, volumeUuid: string) => void;
}

/** A snapshot that is here and in a repository. */
export interface Local {
	readonly volume: string;
	readonly volumeUuid: string;
	readonly info: SnapshotInfo;
}

/** What jobs do. Each may be begun again after it was cut short at any point. */
export class ArchiveWork {
	readonly #parts: WorkParts;

	constructor(parts: WorkParts) {
		this.#parts = parts;
	}

	/** Rejects with UsageError, LaterError, or the signal's reason. */
	async run(job: ArchiveJobRow, context: JobContext): Promise<JobEnd> {
		const what = `${titles[job.wish.kind]} ${job.repository} failed`;
		try {
			if (job.wish.kind === 'export') await mkdir(this.#parts.directory, { recursive: true, mode: 0o700 });
			return await this.#parts.repositories.use(job.repository, (repository) => this.#run(repository, job, context));
		} catch (error) {
			if (context.signal.aborted) throw error;
			// One that cannot be opened was refused with its cause.
			const cause = error instanceof UsageError ? error.cause : error;
			const refusal = archiveRefusal(error, what);
			if (isPassing(cause) && refusal instanceof Error) throw new LaterError(refusal.message, { cause: error });
			throw refusal;
		}
	}

	/** The journal of an export that nobody goes on with. */
	async forget(id: number): Promise<void> {
		await rm(this.#journal(id), { force: true });
	}

	/** The snapshot of this appliance that a manifest was made of; undefined if it is not here (any more). */
	local({ volume, snapshot }: Pick<ManifestSummary, 'volume' | 'snapshot'>): Local | undefined {
		const row = this.#parts.configuration.volumes().find(({ uuid }) => uuid === volume.uuid);
		const open = row === undefined ? undefined : this.#parts.volumes.slot(row.name).volume;
		const info = open?.snapshots?.().find((one) => isSame(one, snapshot));
		return row === undefined || info === undefined ? undefined : { volume: row.name, volumeUuid: row.uuid, info };
	}

	#run(repository: Repository, job: ArchiveJobRow, context: JobContext): Promise<JobEnd> {
		const { wish } = job;
		if (wish.kind === 'export') return this.#export(repository, job, wish, context);
		if (wish.kind === 'restore') return this.#restore(repository, job, wish, context);
		if (wish.kind === 'verify') return this.#verify(repository, job, wish, context);
		if (wish.kind === 'gc') return this.#gc(repository, job, wish, context);
		return this.#prune(repository, job, wish, context);
	}

	async #export(
		repository: Repository,
		{ id, repository: name }: ArchiveJobRow,
		wish: Extract<ArchiveWish, { kind: 'export' }>,
		{ signal, progress }: JobContext,
	): Promise<JobEnd> {
		const { archiveSnapshot } = await import('../archive/archive-snapshot.ts');
		const local = this.#snapshot(wish);
		const made = await this.withSource(local, (source) =>
			archiveSnapshot(repository, source, {
				signal,
				journal: { disk: this.#parts.disk, path: this.#journal(id) },
				tool: this.#parts.tool,
				...(wish.full ? { parent: 'none' } : {}),
				...(wish.bytesPerSecond === undefined ? {} : { bytesPerSecond: wish.bytesPerSecond }),
				onProgress: ({ phase: _phase, totalBytes, doneBytes, ...numbers }) =>
					progress(totalBytes === 0 ? 1 : doneBytes / totalBytes, { totalBytes, doneBytes, ...numbers }),
			}).catch((error: unknown) => {
				throw this.#lacking(error, local.volume);
			}),
		);
		if (hasRules(this.#parts.configuration.repositories.get(name).keep)) this.#parts.prune(name, local.volumeUuid);
		const { manifest } = made;
		return {
			result: exportResult(made),
			archived: { volumeUuid: wish.volumeUuid, snapshotId: wish.snapshotId, repository: name, manifest: manifest.id },
			message: `Snapshot ${wish.volume}@${wish.snapshot} was archived in repository ${name} as ${manifest.id}: ${made.uploadedChunks} chunks, ${printSize(made.uploadedBytes)} sent.`,
		};
	}

	/** What a volume does not have yet it cannot give. */
	#lacking(error: unknown, volume: string): unknown {
		if (!(error instanceof ArchiveError) || error.code !== 'source') return error;
		const missing = missingPages(volume, this.#parts.volumes.openVolume(volume).remote);
		return missing === undefined ? error : new ArchiveError('source', `${error.message} ${missing}`, { cause: error });
	}

	async #restore(
		repository: Repository,
		{ id, repository: name }: ArchiveJobRow,
		wish: Extract<ArchiveWish, { kind: 'restore' }>,
		{ signal, progress }: JobContext,
	): Promise<JobEnd> {
		const { configuration, shadows } = this.#parts;
		const { volume: newName, overwriteKeepingAs } = wish;
		const message = `Volume ${newName} is what ${wish.manifest} in repository ${name} holds.`;
		// A crash between the appearance of the volume and the end of the job: the volume is there.
		const noted = configuration.archiveJobs.noted(id);
		if (noted !== undefined && configuration.findVolume(newName)?.uuid === noted)
			return { result: { volume: newName, uuid: noted }, message };
		const [{ openManifest }, { restoreManifest }] = await Promise.all([import('../archive/catalogue.ts'), import('../archive/restore.ts')]);
		const manifest = await openManifest(repository, wish.manifest, signal);
		const { sizeBytes, blockSize } = manifest.volume;
		const overwrite = overwriteKeepingAs === undefined ? {} : { overwrite: { keepAs: overwriteKeepingAs } };
		const make = wish.lazy === true ? { make: await this.#lazily(repository, name, manifest, signal) } : {};
		const shadow = await shadows().begin(newName, sizeBytes, blockSize, { ...overwrite, ...make });
		try {
			const restored =
				wish.lazy === true
					? // It is there, and not all of what it holds.
						{ stillToFetchBytes: manifest.dataBytes, untilThenNeedsRepository: name }
					: await restoreManifest(repository, manifest, shadow.device, {
							signal,
							onProgress: ({ totalBytes, doneBytes, fetchedBytes }) =>
								progress(totalBytes === 0 ? 1 : doneBytes / totalBytes, { totalBytes, doneBytes, fetchedBytes }),
						});
			signal.throwIfAborted();
			configuration.archiveJobs.note(id, shadow.device.uuid);
			await shadow.publish(overwrite);
			return { result: { volume: newName, uuid: shadow.device.uuid, ...restored }, message };
		} finally {
			await shadow.discard();
		}
	}

	/** Makes a volume that has nothing yet and knows what it lacks. What is wrong with the repository is said before anything is made. */
	async #lazily(repository: Repository, repositoryName: string, manifest: Manifest, signal: AbortSignal): Promise<VolumeEngine['create']> {
		const { createLazyRestore } = await import('../archive/lazy/lazy-restore.ts');
		return (directory, geometry) =>
			createLazyRestore(this.#parts.disk, directory, geometry, { repository, repositoryName, manifest, signal });
	}

	/** Volumes that still lack what is in a repository, or in one manifest of it. */
	dependants(repository: string, manifest?: string): string[] {
		return this.#parts.configuration.volumes().flatMap(({ name }) => {
			const identity = this.#parts.volumes.slot(name).volume?.remote?.identity;
			return identity?.repository === repository && (manifest ?? identity.manifest) === identity.manifest ? [name] : [];
		});
	}

	async #verify(
		repository: Repository,
		{ repository: name }: ArchiveJobRow,
		{ full, repair }: Extract<ArchiveWish, { kind: 'verify' }>,
		{ signal, progress }: JobContext,
	): Promise<JobEnd> {
		const { verify } = await import('../archive/verify.ts');
		const look = () =>
			verify(repository, {
				mode: full ? 'full' : 'quick',
				signal,
				onProgress: ({ doneChunks, totalChunks }) =>
					progress(totalChunks === 0 ? 1 : doneChunks / totalChunks, { doneChunks, totalChunks }),
			});
		let seen = await look();
		const found = seen.findingsTotal;
		let repaired = { repairedChunks: 0, lostChunks: 0 };
		if (repair && found > 0) {
			repaired = await this.#repair(repository, seen.findings, signal);
			// What counts is what is there now.
			seen = await look();
		}
		const { manifests, chunks, findings, findingsTotal } = seen;
		const result = {
			manifests,
			chunks,
			findings: findingsTotal,
			...(repair ? { foundBefore: found, ...repaired } : {}),
			...(findingsTotal > 0 ? { found: findings.slice(0, findingsShown) } : {}),
		};
		const [first] = findings;
		const sound = `Repository ${name} is sound: ${manifests} archived snapshots, ${chunks} chunks.`;
		const fault =
			findingsTotal === 0
				? undefined
				: `Repository ${name} is not sound: ${findingsTotal} findings${first === undefined ? '' : `, the first: ${findingText(first)}`}.`;
		return { result, fault, message: fault ?? sound };
	}

	/** Puts back what snapshots of this appliance still hold. */
	async #repair(
		repository: Repository,
		findings: readonly VerifyFinding[],
		signal: AbortSignal,
	): Promise<{ repairedChunks: number; lostChunks: number }> {
		const [{ openManifest }, { repairChunks }] = await Promise.all([import('../archive/catalogue.ts'), import('../archive/repair.ts')]);
		const sum = { repairedChunks: 0, lostChunks: 0 };
		for (const id of new Set(findings.filter(({ object, manifest }) => object !== manifest).map(({ manifest }) => manifest))) {
			signal.throwIfAborted();
			const manifest = await openManifest(repository, id, signal);
			const local = this.local(manifest);
			if (local === undefined) continue;
			const { repairedChunks, lostChunks } = await this.withSource(local, (source) =>
				repairChunks(repository, manifest, source.device, { signal }),
			);
			sum.repairedChunks += repairedChunks;
			sum.lostChunks += lostChunks;
		}
		return sum;
	}

	async #gc(
		repository: Repository,
		{ repository: name }: ArchiveJobRow,
		{ graceMs }: Extract<ArchiveWish, { kind: 'gc' }>,
		{ signal }: JobContext,
	): Promise<JobEnd> {
		const { collect } = await import('../archive/collector.ts');
		const owner = this.#parts.configuration.archiveJobs.identity();
		const { state, blockedBy, ...numbers } = await collect(repository, { signal, owner, ...(graceMs === undefined ? {} : { graceMs }) });
		if (state === 'busy') throw new LaterError(`Somebody else collects in repository ${name}.`);
		const fault =
			state === 'blocked'
				? `Nothing was removed from repository ${name}: ${blockedBy ?? 'a manifest'} cannot be read, and so nobody knows what it needs. Verify the repository.`
				: undefined;
		const message =
			fault ?? `Repository ${name} was collected: ${numbers.deletedObjects} objects, ${printSize(numbers.deletedBytes)} removed.`;
		return { result: { ...numbers }, fault, message };
	}

	async #prune(
		repository: Repository,
		{ repository: name }: ArchiveJobRow,
		{ volumeUuid }: Extract<ArchiveWish, { kind: 'prune' }>,
		{ signal, progress }: JobContext,
	): Promise<JobEnd> {
		const { configuration } = this.#parts;
		const { deleteManifest, listManifests } = await import('../archive/catalogue.ts');
		const row = configuration.repositories.get(name);
		const all = await listManifests(repository, { signal, ...(volumeUuid === undefined ? {} : { volumeUuid }) });
		const reasons = reasonsOf(row, all);
		const unwanted = all.filter(({ id }) => reasons?.get(id)?.length === 0 && this.dependants(name, id).length === 0);
		for (const [index, { id }] of unwanted.entries()) {
			signal.throwIfAborted();
			await deleteManifest(repository, id, signal);
			configuration.archiveJobs.forgetManifest(name, id);
			progress((index + 1) / unwanted.length, { deleted: index + 1 });
		}
		const message = `${unwanted.length} archived snapshots of repository ${name} were deleted that no rule keeps.`;
		return { result: { deleted: unwanted.length, kept: all.length - unwanted.length }, message };
	}

	/** A local snapshot as the archive reads it, open during the call. */
	async withSource<T>({ volume, volumeUuid, info }: Local, work: (source: SnapshotSource) => Promise<T>): Promise<T> {
		const open = this.#parts.volumes.openVolume(volume);
		const calls = snapshotCalls(open, 'openSnapshot', 'diff', 'snapshots');
		let device: Awaited<ReturnType<typeof calls.openSnapshot>>;
		try {
			device = await calls.openSnapshot(info.name);
		} catch (error) {
			throw asUsage(error, `Snapshot ${volume}@${info.name} cannot be read`);
		}
		try {
			return await work({
				volume: { uuid: volumeUuid, name: volume, blockSize: device.blockSize, sizeBytes: info.sizeBytes },
				snapshot: { id: info.id, name: info.name, timeMs: info.timeMs, lsn: info.lsn },
				device,
				changedSince: (_id, archived): AsyncIterable<PageRange> | undefined => {
					const base = calls.snapshots().find((one) => isSame(one, archived));
					return base === undefined ? undefined : calls.diff(base.name, info.name);
				},
			});
		} finally {
			await device.close();
		}
	}

	#snapshot({ volume, volumeUuid, snapshot, snapshotId }: Extract<ArchiveWish, { kind: 'export' }>): Local {
		const { configuration, volumes } = this.#parts;
		const row = configuration.volumes().find(({ uuid }) => uuid === volumeUuid);
		if (row === undefined) throw new UsageError(`Volume ${volume} is not there any more.`, 'notFound');
		const info = snapshotCalls(volumes.openVolume(row.name), 'snapshots')
			.snapshots()
			.find(({ id }) => id === snapshotId);
		if (info === undefined) throw new UsageError(`Snapshot ${volume}@${snapshot} is not there any more.`, 'notFound');
		return { volume: row.name, volumeUuid, info };
	}

	#journal(id: number): string {
		return join(this.#parts.directory, `${id}.journal`);
	}
}

const titles: Record<ArchiveWish['kind'], string> = {
	export: 'The export to repository',
	restore: 'The restore from repository',
	verify: 'The verification of repository',
	gc: 'The collection in repository',
	prune: 'The pruning of repository',
};

/** Ids are random: that time and LSN are the same, too, leaves no doubt. */
export function isSame(info: Pick<SnapshotInfo, 'id' | 'lsn' | 'timeMs'>, archived: SnapshotIdentity): boolean {
	return info.id === archived.id && info.lsn === archived.lsn && info.timeMs === archived.timeMs;
}

/** The rules that want each archived snapshot, by the manifest's id; undefined if the repository has no rules. */
export function reasonsOf({ keep, zone }: RepositoryRow, all: readonly ManifestSummary[]): ReadonlyMap<string, KeepRule[]> | undefined {
	if (!hasRules(keep)) return undefined;
	const reasons = new Map<string, KeepRule[]>();
	for (const ofVolume of Map.groupBy(all, ({ volume }) => volume.uuid).values()) {
		const dated = ofVolume.map(({ id, snapshot }) => ({ name: id, timeMs: snapshot.timeMs, order: snapshot.lsn }));
		const wanted = kept(dated, keep, zone);
		for (const { id } of ofVolume) reasons.set(id, wanted.get(id) ?? []);
	}
	return reasons;
}

function exportResult({ manifest, ...numbers }: ArchiveResult): Record<string, unknown> {
	return { manifest: manifest.id, merkleRoot: manifest.merkleRoot, ...numbers };
}

function findingText({ object, fault, manifest, range }: VerifyFinding): string {
	return `${object} is ${fault}, which ${manifest} needs for ${range.lengthBytes} bytes from ${range.offsetBytes} on`;
}
