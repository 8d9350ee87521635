import type { SqliteDatabase } from './database.ts';
import { limits } from './limits.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

/** What a job is to do. Names may come to mean something else while it waits, so ids stand beside them. */
export type ArchiveWish =
	| {
			readonly kind: 'export';
			readonly volume: string;
			readonly volumeUuid: string;
			readonly snapshot: string;
			readonly snapshotId: number;
			/** Undefined: as fast as it goes. */
			readonly bytesPerSecond?: number | undefined;
			/** Reads everything, whatever was archived before. */
			readonly full: boolean;
	  }
	| {
			readonly kind: 'restore';
			readonly manifest: string;
			readonly volume: string;
			/** There at once, and fetched when it is asked for and in the background. */
			readonly lazy?: boolean | undefined;
			/** What the volume held is kept as a snapshot of this name; undefined: the volume must not exist. */
			readonly overwriteKeepingAs?: string | undefined;
	  }
	| { readonly kind: 'verify'; readonly full: boolean; readonly repair: boolean }
	| { readonly kind: 'gc'; readonly graceMs?: number | undefined }
	| { readonly kind: 'prune'; readonly volumeUuid?: string | undefined };

export type ArchiveJobState = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';

export interface ArchiveJobRow {
	/** Never used twice. */
	readonly id: number;
	readonly repository: string;
	readonly wish: ArchiveWish;
	readonly state: ArchiveJobState;
	/** How often it was begun: more than once after a crash or while the store could not be reached. */
	readonly attempts: number;
	/** Numbers and names that its end brought. */
	readonly result: Readonly<Record<string, unknown>> | undefined;
	/** Why it failed, or what it waits for. */
	readonly fault: string | undefined;
	readonly createdAt: string;
	readonly finishedAt: string | undefined;
}

/** Where a snapshot of a volume lives beside here. */
export interface ArchivedSnapshot {
	readonly volumeUuid: string;
	readonly snapshotId: number;
	readonly repository: string;
	readonly manifest: string;
}

interface JobRecord {
	id: number;
	repository: string;
	wish: string;
	state: ArchiveJobState;
	attempts: number;
	result: string | null;
	fault: string | null;
	createdAt: string;
	finishedAt: string | null;
}

/**
 * What is to be done with repositories, so that it outlives the process; and which snapshots of this appliance it has put there. With the manners of Configuration.
 *
 *     waiting ──begin()──▶ running ──end()──▶ done | failed | cancelled
 *        ▲                    │
 *        └──again(), restart──┘
 */
export class ArchiveJobs {
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;
	readonly #now: () => Date;

	constructor(transactions: Transactions, now: () => Date) {
		this.#transactions = transactions;
		this.#database = transactions.database;
		this.#now = now;
	}

	/** 32 hexadecimal digits, of this data directory alone: by them the appliance knows what it has itself left in a repository before it was killed. */
	identity(): string {
		return this.#transactions.read(() => this.#database.prepare<[], string>('SELECT identity FROM archive_identity').pluck().get() ?? '');
	}

	/** The newest first; those that ended are forgotten after a number of later ones. */
	all(): ArchiveJobRow[] {
		return this.#transactions.read(() => this.#database.prepare<[], JobRecord>(`${selectJob} ORDER BY id DESC`).all().map(rowOf));
	}

	/** Those that did not end, the oldest first. */
	pending(): ArchiveJobRow[] {
		return this.#transactions.read(() =>
			this.#database.prepare<[], JobRecord>(`${selectJob} WHERE state IN ('waiting', 'running') ORDER BY id`).all().map(rowOf),
		);
	}

	find(id: number): ArchiveJobRow | undefined {
		return this.#transactions.read(() => {
			const record = this.#database.prepare<[number], JobRecord>(`${selectJob} WHERE id = ?`).get(id);
			return record === undefined ? undefined : rowOf(record);
		});
	}

	/** The row, or UsageError notFound. */
	get(id: number): ArchiveJobRow {
		const row = this.find(id);
		if (row === undefined) throw new UsageError(`There is no archive job ${id}.`, 'notFound');
		return row;
	}

	add(repository: string, wish: ArchiveWish): ArchiveJobRow {
		return this.#transactions.change(() => {
			if (this.pending().length >= limits.archiveJobs)
				throw new UsageError(`${limits.archiveJobs} archive jobs wait or run, which is the most: try again when some have ended.`, 'inUse');
			if (wish.kind === 'export') checkRate(wish.bytesPerSecond);
			const { lastInsertRowid } = this.#database
				.prepare('INSERT INTO archive_jobs (repository, kind, wish, state, created_at) VALUES (?, ?, ?, ?, ?)')
				.run(repository, wish.kind, JSON.stringify(wish), 'waiting', this.#now().toISOString());
			return this.get(Number(lastInsertRowid));
		});
	}

	begin(id: number): ArchiveJobRow {
		return this.#transactions.change(() => {
			this.#database.prepare("UPDATE archive_jobs SET state = 'running', attempts = attempts + 1, fault = NULL WHERE id = ?").run(id);
			return this.get(id);
		});
	}

	/** What a job that runs has to know if it is cut short now. */
	note(id: number, text: string): void {
		this.#transactions.change(() => this.#database.prepare('UPDATE archive_jobs SET note = ? WHERE id = ?').run(text, id));
	}

	noted(id: number): string | undefined {
		return this.#transactions.read(
			() => this.#database.prepare<[number], string | null>('SELECT note FROM archive_jobs WHERE id = ?').pluck().get(id) ?? undefined,
		);
	}

	/** It has not ended and is begun anew later, `fault` says why. */
	again(id: number, fault: string | undefined): void {
		this.#transactions.change(() =>
			this.#database.prepare("UPDATE archive_jobs SET state = 'waiting', cut_short = 0, fault = ? WHERE id = ?").run(fault ?? null, id),
		);
	}

	/** The process ended in the middle of it; how often in a row now. */
	cutShort(id: number): number {
		return this.#transactions.change(
			() =>
				this.#database
					.prepare<[number], number>(
						"UPDATE archive_jobs SET state = 'waiting', cut_short = cut_short + 1 WHERE id = ? RETURNING cut_short",
					)
					.pluck()
					.get(id) ?? 0,
		);
	}

	/** It is over. What an export has put into a repository is written down in the same step. */
	end(
		id: number,
		end: { state: 'done' | 'failed' | 'cancelled'; fault?: string | undefined; result?: Readonly<Record<string, unknown>> | undefined },
		archived?: ArchivedSnapshot,
	): ArchiveJobRow {
		return this.#transactions.change(() => {
			const result = end.result === undefined ? null : JSON.stringify(end.result);
			this.#database
				.prepare('UPDATE archive_jobs SET state = ?, fault = ?, result = ?, finished_at = ? WHERE id = ?')
				.run(end.state, end.fault ?? null, result, this.#now().toISOString(), id);
			if (archived !== undefined) this.#archive(archived);
			this.#database
				.prepare(
					'DELETE FROM archive_jobs WHERE finished_at IS NOT NULL AND id NOT IN (SELECT id FROM archive_jobs WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT ?)',
				)
				.run(limits.archiveJobsRemembered);
			return this.get(id);
		});
	}

	/** Where the snapshots of a volume live beside here, by what this appliance has done. */
	archived(volumeUuid: string): ArchivedSnapshot[] {
		return this.#transactions.read(() =>
			this.#database
				.prepare<[string], ArchivedSnapshot>(`${selectArchived} WHERE volume_uuid = ? ORDER BY snapshot_id, repository`)
				.all(volumeUuid),
		);
	}

	/** A snapshot was seen in a repository of which nothing was written down. */
	foundArchived(archived: ArchivedSnapshot): void {
		this.#transactions.change(() => this.#archive(archived));
	}

	/** The manifest is there no more. */
	forgetManifest(repository: string, manifest: string): void {
		this.#transactions.change(() =>
			this.#database.prepare('DELETE FROM archived_snapshots WHERE repository = ? AND manifest = ?').run(repository, manifest),
		);
	}

	/** The snapshot is here no more. */
	forgetSnapshot(volumeUuid: string, snapshotId: number): void {
		this.#transactions.change(() =>
			this.#database.prepare('DELETE FROM archived_snapshots WHERE volume_uuid = ? AND snapshot_id = ?').run(volumeUuid, snapshotId),
		);
	}

	/** Of a volume that was deleted meanwhile nothing is written down. */
	#archive({ volumeUuid, snapshotId, repository, manifest }: ArchivedSnapshot): void {
		this.#database
			.prepare(
				`INSERT OR REPLACE INTO archived_snapshots (volume_uuid, snapshot_id, repository, manifest)
				SELECT uuid, ?, ?, ? FROM volumes WHERE uuid = ?`,
			)
			.run(snapshotId, repository, manifest, volumeUuid);
	}
}

const selectJob =
	'SELECT id, repository, wish, state, attempts, result, fault, created_at AS createdAt, finished_at AS finishedAt FROM archive_jobs';
const selectArchived = 'SELECT volume_uuid AS volumeUuid, snapshot_id AS snapshotId, repository, manifest FROM archived_snapshots';

function rowOf({ wish, result, fault, finishedAt, ...record }: JobRecord): ArchiveJobRow {
	return {
		...record,
		wish: JSON.parse(wish) as ArchiveWish,
		result: result === null ? undefined : (JSON.parse(result) as Record<string, unknown>),
		fault: fault ?? undefined,
		finishedAt: finishedAt ?? undefined,
	};
}

function checkRate(bytesPerSecond: number | undefined): void {
	const { archiveBytesPerSecondMin, archiveBytesPerSecondMax } = limits;
	if (bytesPerSecond === undefined) return;
	if (!Number.isSafeInteger(bytesPerSecond) || bytesPerSecond < archiveBytesPerSecondMin || bytesPerSecond > archiveBytesPerSecondMax)
		throw new UsageError('The rate of an export is from 64 KiB to 64 GiB a second.');
}
