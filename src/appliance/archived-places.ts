import { setTimeout as delay } from 'node:timers/promises';
import type { ArchivedPlaceView } from '../admin/archive-schemas.ts';
import { BoundedTasks } from '../archive/bounded-tasks.ts';
import type { ManifestSummary } from '../archive/repository-types.ts';
import type { Repository } from '../archive/repository.ts';
import type { ArchivedSnapshot } from '../config/archive-jobs.ts';
import type { Configuration } from '../config/configuration.ts';
import { UsageError } from '../config/usage-error.ts';
import { archiveRefusal } from './archive-errors.ts';
import type { ArchiveRepositories } from './archive-repositories.ts';
import { isIn } from './archive-views.ts';
import type { Local } from './archive-work.ts';
import type { ApplianceSnapshots } from './snapshots.ts';

/** Whoever deletes something waits no longer to hear where else it lives, */
const answerMs = 10_000;
/** and no longer for a repository of which nothing is written down. */
const strangerMs = 2000;
/** Catalogues that are read at once. */
const parallel = 4;

export interface PlacesParts {
	readonly configuration: Configuration;
	readonly snapshots: Pick<ApplianceSnapshots, 'list' | 'view'>;
	readonly repositories: Pick<ArchiveRepositories, 'use'>;
	/** The snapshot here that a manifest was made of. */
	readonly local: (manifest: ManifestSummary) => Local | undefined;
}

/**
 * Where the snapshots of this appliance live beside here. It writes down what it puts where; what is in a repository that was removed from the configuration and added again stands in its catalogue
 * only, which knows by the identity of volume and snapshot whose it is.
 */
export class ArchivedPlaces {
	readonly #parts: PlacesParts;

	constructor(parts: PlacesParts) {
		this.#parts = parts;
	}

	/** What is written down. */
	known(volume: string, snapshot: string): ArchivedSnapshot[] {
		const { configuration, snapshots } = this.#parts;
		const { uuid } = configuration.volume(volume);
		const { id } = snapshots.view(volume, snapshot);
		return configuration.archiveJobs.archived(uuid).filter((one) => one.snapshotId === id);
	}

	/** All of them. UsageError if a repository cannot be asked of which nothing is written down; of another one what is written down is enough to be refused at its deletion. */
	async everywhere(volume: string, snapshot: string): Promise<ArchivedSnapshot[]> {
		const known = this.known(volume, snapshot);
		const places = new Map(known.map((one) => [keyOf(one), one]));
		const tasks = new BoundedTasks(parallel);
		for (const { name } of this.#parts.configuration.repositories.all()) {
			await tasks.run(async () => {
				try {
					for (const one of await this.#seen(name, volume, snapshot)) places.set(keyOf(one), one);
				} catch (error) {
					if (!(error instanceof UsageError)) throw error;
					if (known.some(({ repository }) => repository === name)) return;
					const message = `Whether snapshot ${volume}@${snapshot} lives in repository ${name} is not known, so it stays: ${error.message}`;
					throw new UsageError(message, 'unavailable', { cause: error });
				}
			});
		}
		await tasks.idle();
		return [...places.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
	}

	/** What is said to live elsewhere may be deleted here: so the repositories are asked, and what somebody else has deleted there is forgotten. */
	async views(volume: string, snapshot: string): Promise<ArchivedPlaceView[]> {
		const { configuration } = this.#parts;
		const known = this.known(volume, snapshot);
		const strangers = configuration.repositories.all().filter(({ name }) => !known.some(({ repository }) => repository === name));
		const places = await Promise.all([
			...known.map(async ({ repository, manifest }): Promise<ArchivedPlaceView[]> => {
				const isThere = await inTime(this.#isThere(repository, manifest), answerMs);
				if (isThere === false) configuration.archiveJobs.forgetManifest(repository, manifest);
				return isThere === false ? [] : [{ repository, manifest, state: isThere === undefined ? 'unknown' : 'there' }];
			}),
			...strangers.map(async ({ name }): Promise<ArchivedPlaceView[]> => {
				const seen = (await inTime(this.#seen(name, volume, snapshot), strangerMs)) ?? [];
				return seen.map(({ repository, manifest }) => ({ repository, manifest, state: 'there' }));
			}),
		]);
		return places.flat().sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
	}

	/** The snapshot here that a manifest was made of; it is written down, so that whoever asks again after the manifest was deleted is understood. UsageError: the repository cannot be asked. */
	async here(repository: string, manifest: string): Promise<{ volume: string; name: string } | undefined> {
		const { configuration, snapshots, local } = this.#parts;
		for (const { name: volume, uuid } of configuration.volumes()) {
			const isIt = (one: ArchivedSnapshot): boolean => one.repository === repository && one.manifest === manifest;
			const row = configuration.archiveJobs.archived(uuid).find(isIt);
			if (row === undefined) continue;
			const info = snapshots.list(volume).find(({ id }) => id === row.snapshotId);
			return info === undefined ? undefined : { volume, name: info.name };
		}
		const one = (await this.#catalogue(repository)).find(({ id }) => id === manifest);
		const found = one === undefined ? undefined : local(one);
		if (found === undefined) return undefined;
		const { volume, volumeUuid, info } = found;
		configuration.archiveJobs.foundArchived({ volumeUuid, snapshotId: info.id, repository, manifest });
		return { volume, name: info.name };
	}

	/** What the catalogue of a repository shows of a snapshot. */
	async #seen(repository: string, volume: string, snapshot: string): Promise<ArchivedSnapshot[]> {
		const { configuration, local } = this.#parts;
		const { uuid: volumeUuid } = configuration.volume(volume);
		const seen: ArchivedSnapshot[] = [];
		for (const one of await this.#catalogue(repository, volumeUuid)) {
			const found = local(one);
			if (found?.info.name === snapshot) seen.push({ volumeUuid, snapshotId: found.info.id, repository, manifest: one.id });
		}
		return seen;
	}

	/** Of a manifest that is damaged nobody knows whose it is: a verification names it. */
	async #catalogue(repository: string, volumeUuid?: string): Promise<ManifestSummary[]> {
		const { listManifests } = await import('../archive/catalogue.ts');
		const options = { onDamaged: () => undefined, ...(volumeUuid === undefined ? {} : { volumeUuid }) };
		return await this.#use(repository, `Repository ${repository} cannot be listed`, (opened) => listManifests(opened, options));
	}

	#isThere(repository: string, manifest: string): Promise<boolean> {
		return this.#use(repository, 'It cannot be looked at', (opened) => isIn(opened, manifest));
	}

	async #use<T>(name: string, what: string, work: (opened: Repository) => Promise<T>): Promise<T> {
		try {
			return await this.#parts.repositories.use(name, work);
		} catch (error) {
			throw archiveRefusal(error, what);
		}
	}
}

function keyOf({ repository, manifest }: { repository: string; manifest: string }): string {
	return `${repository} ${manifest}`;
}

/** Undefined: the repository does not say so in time, or cannot be asked. */
async function inTime<T>(asked: Promise<T>, timeoutMs: number): Promise<T | undefined> {
	const late = new AbortController();
	const answer = asked.catch((error: unknown) => {
		if (!(error instanceof UsageError)) throw error;
		return undefined;
	});
	const timeout = delay(timeoutMs, undefined, { signal: late.signal }).catch(() => undefined);
	try {
		return await Promise.race([answer, timeout]);
	} finally {
		late.abort();
	}
}
