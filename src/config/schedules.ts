import type { Policy } from '../schedule/policy.ts';
import { policyFault } from '../schedule/policy.ts';
import { limits as policyLimits } from '../schedule/limits.ts';
import type { Keep } from '../schedule/retention.ts';
import type { SqliteDatabase } from './database.ts';
import { limits } from './limits.ts';
import { checkScheduleName } from './names.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

export interface ScheduleRow extends Policy {
	/** Snapped in one moment; sorted. */
	readonly volumes: readonly string[];
	/** Up to which moment it has been seen to, milliseconds since 1970. */
	readonly seenMs: number;
	/** Where its snapshots are archived once they are made. */
	readonly repository: string | undefined;
	readonly createdAt: string;
}

/** What `change` says; what it leaves out stays as it is. */
export interface ScheduleChange {
	readonly cron?: string | undefined;
	readonly zone?: string | undefined;
	readonly template?: string | undefined;
	readonly keep?: { readonly [Rule in keyof Keep]?: number | undefined } | undefined;
	/** Null: no longer archived. */
	readonly repository?: string | null | undefined;
}

/** A snapshot that a schedule has made, or is about to make. */
export interface ScheduledSnapshot {
	readonly volume: string;
	readonly name: string;
	/** The engine's; undefined until the snapshot is there. */
	readonly id: number | undefined;
}

interface ScheduleRecord extends Keep {
	name: string;
	cron: string;
	zone: string;
	template: string;
	seenMs: number;
	repository: string | null;
	createdAt: string;
}

/**
 * The schedules of the configuration, with the manners of Configuration: durable when a method returns, and nothing changed when it throws UsageError.
 *
 * What a schedule may delete is written down here, and nowhere else: a row with the engine's id for each snapshot that it made. The row stands before the snapshot does, without
 * an id, so that a crash in between leaves no snapshot that nobody would ever delete; the next run settles it.
 */
export class Schedules {
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;
	readonly #now: () => Date;
	readonly #checkVolume: (name: string) => void;
	readonly #checkRepository: (name: string) => void;

	/** The checks throw UsageError for a volume, or a repository, that does not exist. */
	constructor(transactions: Transactions, now: () => Date, checkVolume: (name: string) => void, checkRepository: (name: string) => void) {
		this.#transactions = transactions;
		this.#database = transactions.database;
		this.#now = now;
		this.#checkVolume = checkVolume;
		this.#checkRepository = checkRepository;
	}

	all(): ScheduleRow[] {
		return this.#transactions.read(() =>
			this.#database
				.prepare<[], ScheduleRecord>(`${selectSchedule} ORDER BY name`)
				.all()
				.map((record) => this.#row(record)),
		);
	}

	find(name: string): ScheduleRow | undefined {
		return this.#transactions.read(() => {
			const record = this.#database.prepare<[string], ScheduleRecord>(`${selectSchedule} WHERE name = ?`).get(name);
			return record === undefined ? undefined : this.#row(record);
		});
	}

	/** The row, or UsageError notFound. */
	get(name: string): ScheduleRow {
		const row = this.find(name);
		if (row === undefined) throw new UsageError(`There is no schedule ${name}.`, 'notFound');
		return row;
	}

	/** Its first time is the first one from now on. */
	add(schedule: Policy & { readonly volumes: readonly string[]; readonly repository?: string | undefined }): ScheduleRow {
		return this.#transactions.change(() => {
			checkScheduleName(schedule.name);
			const { volumes } = schedule;
			if (volumes.length === 0 || volumes.length > policyLimits.volumesPerSchedule || new Set(volumes).size !== volumes.length) {
				throw new UsageError(`A schedule is for 1 to ${policyLimits.volumesPerSchedule} different volumes.`);
			}
			for (const volume of volumes) this.#checkVolume(volume);
			if (this.find(schedule.name) !== undefined) throw new UsageError(`There is a schedule ${schedule.name} already.`, 'alreadyExists');
			if (this.all().length >= limits.schedules)
				throw new UsageError(`There are ${limits.schedules} schedules, which is the most.`, 'inUse');
			checkPolicy(schedule);
			const { repository } = schedule;
			if (repository !== undefined) this.#checkRepository(repository);
			const now = this.#now();
			this.#database
				.prepare('INSERT INTO schedules (name, cron, zone, template, seen_ms, repository, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)')
				.run(schedule.name, schedule.cron, schedule.zone, schedule.template, now.getTime(), repository ?? null, now.toISOString());
			this.#setKeep(schedule.name, schedule.keep);
			const insert = this.#database.prepare('INSERT INTO schedule_volumes (schedule, volume) VALUES (?, ?)');
			for (const volume of volumes) insert.run(schedule.name, volume);
			return this.get(schedule.name);
		});
	}

	/** Times before now do not count as missed by the new expression. */
	change(name: string, change: ScheduleChange): ScheduleRow {
		return this.#transactions.change(() => {
			const row = this.get(name);
			const keep: Keep = {
				last: change.keep?.last ?? row.keep.last,
				hourly: change.keep?.hourly ?? row.keep.hourly,
				daily: change.keep?.daily ?? row.keep.daily,
				weekly: change.keep?.weekly ?? row.keep.weekly,
				monthly: change.keep?.monthly ?? row.keep.monthly,
				yearly: change.keep?.yearly ?? row.keep.yearly,
			};
			const next: Policy = {
				name,
				cron: change.cron ?? row.cron,
				zone: change.zone ?? row.zone,
				template: change.template ?? row.template,
				keep,
			};
			checkPolicy(next);
			const repository = change.repository === undefined ? (row.repository ?? null) : change.repository;
			if (repository !== null) this.#checkRepository(repository);
			const seenMs = next.cron === row.cron && next.zone === row.zone ? row.seenMs : this.#now().getTime();
			this.#database
				.prepare('UPDATE schedules SET cron = ?, zone = ?, template = ?, seen_ms = ?, repository = ? WHERE name = ?')
				.run(next.cron, next.zone, next.template, seenMs, repository, name);
			this.#setKeep(name, keep);
			return this.get(name);
		});
	}

	/** The snapshots that it made stay, and belong to nobody from then on. */
	remove(name: string): ScheduleRow {
		return this.#transactions.change(() => {
			const row = this.get(name);
			this.#database.prepare('DELETE FROM schedules WHERE name = ?').run(name);
			return row;
		});
	}

	/** The schedules that a volume is in. */
	of(volume: string): string[] {
		return this.#transactions.read(() =>
			this.#database
				.prepare<[string], string>('SELECT schedule FROM schedule_volumes WHERE volume = ? ORDER BY schedule')
				.pluck()
				.all(volume),
		);
	}

	seen(name: string, seenMs: number): void {
		this.#transactions.change(() => this.#database.prepare('UPDATE schedules SET seen_ms = ? WHERE name = ?').run(seenMs, name));
	}

	/** What a schedule has made or is about to make, in the order of names. */
	snapshots(schedule: string): ScheduledSnapshot[] {
		return this.#transactions.read(() =>
			this.#database
				.prepare<[string], { volume: string; name: string; id: number | null }>(
					'SELECT volume, name, snapshot_id AS id FROM schedule_snapshots WHERE schedule = ? ORDER BY volume, name',
				)
				.all(schedule)
				.map((record) => ({ ...record, id: record.id ?? undefined })),
		);
	}

	/** Whether a schedule is about to make a snapshot of this name, or was when the process died: nobody else may take the name then. */
	isIntended(volume: string, name: string): boolean {
		return this.#transactions.read(
			() =>
				this.#database
					.prepare('SELECT 1 FROM schedule_snapshots WHERE volume = ? AND name = ? AND snapshot_id IS NULL')
					.get(volume, name) !== undefined,
		);
	}

	/** Says, before a snapshot is made, whose it will be. */
	intend(schedule: string, volumes: readonly string[], name: string): void {
		this.#transactions.change(() => {
			const insert = this.#database.prepare(
				'INSERT OR REPLACE INTO schedule_snapshots (schedule, volume, name, snapshot_id) VALUES (?, ?, ?, NULL)',
			);
			for (const volume of volumes) insert.run(schedule, volume, name);
		});
	}

	/** The snapshot is there. */
	made(schedule: string, { volume, name, id }: ScheduledSnapshot & { id: number }): void {
		this.#transactions.change(() =>
			this.#database
				.prepare('UPDATE schedule_snapshots SET snapshot_id = ? WHERE schedule = ? AND volume = ? AND name = ?')
				.run(id, schedule, volume, name),
		);
	}

	/** The snapshot is gone, or never came to be. */
	forget(schedule: string, volume: string, name: string): void {
		this.#transactions.change(() =>
			this.#database.prepare('DELETE FROM schedule_snapshots WHERE schedule = ? AND volume = ? AND name = ?').run(schedule, volume, name),
		);
	}

	#setKeep(name: string, keep: Keep): void {
		this.#database
			.prepare(
				'UPDATE schedules SET keep_last = ?, keep_hourly = ?, keep_daily = ?, keep_weekly = ?, keep_monthly = ?, keep_yearly = ? WHERE name = ?',
			)
			.run(keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly, name);
	}

	#row({ name, cron, zone, template, seenMs, repository, createdAt, ...keep }: ScheduleRecord): ScheduleRow {
		const volumes = this.#database
			.prepare<[string], string>('SELECT volume FROM schedule_volumes WHERE schedule = ? ORDER BY volume')
			.pluck()
			.all(name);
		return { name, cron, zone, template, seenMs, repository: repository ?? undefined, createdAt, keep, volumes };
	}
}

const selectSchedule = `SELECT name, cron, zone, template, seen_ms AS seenMs, repository, created_at AS createdAt, keep_last AS last, keep_hourly AS hourly,
	keep_daily AS daily, keep_weekly AS weekly, keep_monthly AS monthly, keep_yearly AS yearly FROM schedules`;

function checkPolicy(policy: Policy): void {
	const fault = policyFault(policy);
	if (fault !== undefined) throw new UsageError(fault);
}
