import { ArchiveError } from '../archive/repository-types.ts';
import { StoreError } from '../archive/store/object-store.ts';
import type { ScrubFinding } from '../blockvol/scrub.ts';
import type { ArchivedSnapshot } from '../config/archive-jobs.ts';
import type { Configuration } from '../config/configuration.ts';
import { UsageError } from '../config/usage-error.ts';
import type { ArchiveRepositories } from './archive-repositories.ts';
import { isSame } from './archive-work.ts';
import { kernelCode } from './kernel-code.ts';
import type { RunnerClock } from './schedule-runner.ts';
import type { Repair } from './scrubs.ts';
import type { SnapshotInfo } from './snapshot-engine.ts';
import type { OpenVolume } from './volume-slot.ts';
import type { Volumes } from './volumes.ts';

export interface PageRepairsParts {
	readonly configuration: Configuration;
	readonly repositories: Pick<ArchiveRepositories, 'use'>;
	readonly volumes: Pick<Volumes, 'openVolume'>;
	readonly clock: RunnerClock;
}

/** A repository that has not given a page by then is not waited for. */
const answerMs = 30_000;
/** Nor is it asked again before this has passed: a scrub may find thousands of pages. */
const awayMs = 60_000;

/**
 * Brings back pages that a scrub has found damaged, from archived snapshots. Only from one that is sure to have had the page, unchanged: it is still a snapshot here, and what it shows of the page is what the
 * damaged layer holds (src/blockvol/page-mender.ts). The archive's bytes are checked against its manifest, and then against the checksum that the volume has of the page.
 */
export class PageRepairs {
	readonly #parts: PageRepairsParts;
	/** Until when a repository that did not answer is left alone. */
	readonly #away = new Map<string, number>();

	constructor(parts: PageRepairsParts) {
		this.#parts = parts;
	}

	/** Rejects with the signal's reason only. */
	async repair(volume: string, { layer, page, isLive, kind }: ScrubFinding, signal: AbortSignal): Promise<Repair> {
		const not = (how: string): Repair => ({ isRepaired: false, how });
		if (kind === 'map') return not('the checksum is lost, so that nobody could tell what belongs there');
		if (isLive) return not('the page is newer than the last snapshot, or may be');
		const { configuration, volumes } = this.#parts;
		const open = volumes.openVolume(volume);
		const showing = (await open.snapshotsShowing?.(layer, page)) ?? [];
		if (showing.length === 0) return not('no snapshot shows it');
		const archived = configuration.archiveJobs.archived(open.uuid);
		const reasons = new Set<string>();
		for (const snapshot of showing) {
			for (const row of archived.filter(({ snapshotId }) => snapshotId === snapshot.id)) {
				const outcome = await this.#from(row, open, snapshot, { layer, page }, signal);
				if (outcome === undefined) return { isRepaired: true, how: `from ${row.manifest} in repository ${row.repository}` };
				reasons.add(outcome);
			}
		}
		return not(reasons.size === 0 ? 'no snapshot that shows it was archived' : [...reasons].join('; '));
	}

	/** Undefined when the page is as it should be; or why not. */
	async #from(
		{ repository, manifest: id }: ArchivedSnapshot,
		volume: OpenVolume,
		snapshot: Pick<SnapshotInfo, 'id' | 'timeMs' | 'lsn'>,
		{ layer, page }: Pick<ScrubFinding, 'layer' | 'page'>,
		signal: AbortSignal,
	): Promise<string | undefined> {
		const { repositories, clock } = this.#parts;
		if (clock.now() < (this.#away.get(repository) ?? 0)) return `repository ${repository} did not answer`;
		const ended = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
		let bytes: Buffer | undefined;
		try {
			bytes = await repositories.use(repository, async (opened) => {
				const [{ openManifest }, { readGoodPages }] = await Promise.all([
					import('../archive/catalogue.ts'),
					import('../archive/repair.ts'),
				]);
				const manifest = await openManifest(opened, id, ended);
				if (manifest.volume.uuid !== volume.uuid || !isSame(snapshot, manifest.snapshot)) return undefined;
				return readGoodPages(opened, manifest, { firstPage: page, pages: 1 }, ended);
			});
		} catch (error) {
			signal.throwIfAborted();
			const isArchives = error instanceof ArchiveError;
			if (!isArchives && !(error instanceof StoreError) && !(error instanceof UsageError) && !ended.aborted) throw error;
			if (isArchives) return `repository ${repository}: ${error.message}`;
			this.#away.set(repository, clock.now() + awayMs);
			return `repository ${repository} ${ended.aborted ? 'did not answer' : `cannot be used: ${(error as Error).message}`}`;
		}
		if (bytes === undefined) return `${id} in repository ${repository} is of another snapshot`;
		try {
			const isMended = (await volume.mendPage?.(layer, page, bytes)) ?? false;
			return isMended
				? undefined
				: `what ${id} in repository ${repository} has is not what the page map expects, or the disk does not take it`;
		} catch (error) {
			const code = kernelCode(error);
			if (code === '') throw error;
			return `the volume's files cannot be written (${code})`;
		}
	}
}
