import type { ScheduleOperations } from '../admin/schedule-routes.ts';
import type { NewSchedule, ScheduleChangeWish, ScheduleDetailView, ScheduleRunView, ScheduleView } from '../admin/schedule-schemas.ts';
import type { ScheduleRow, Schedules } from '../config/schedules.ts';
import { UsageError } from '../config/usage-error.ts';
import { CronTimes } from '../schedule/cron-times.ts';
import { templateDefault } from '../schedule/name-template.ts';
import { policyFault } from '../schedule/policy.ts';
import { kept } from '../schedule/retention.ts';
import type { ScheduleRunner } from './schedule-runner.ts';
import type { SnapshotKeeper } from './snapshot-engine.ts';

/** Times that a view tells of. */
const nextCount = 3;

export interface ScheduleParts {
	readonly schedules: Schedules;
	readonly runner: ScheduleRunner;
	readonly snapshots: SnapshotKeeper;
	readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
	readonly now?: () => number;
}

/** The admin API's view of the schedules. */
export class ApplianceSchedules implements ScheduleOperations {
	readonly #parts: ScheduleParts;
	readonly #now: () => number;

	constructor(parts: ScheduleParts) {
		this.#parts = parts;
		this.#now = parts.now ?? Date.now;
	}

	list(): ScheduleView[] {
		return this.#parts.schedules.all().map((row) => this.#view(row));
	}

	show(name: string): ScheduleDetailView {
		const row = this.#parts.schedules.get(name);
		return { ...this.#view(row), snapshots: row.volumes.flatMap((volume) => this.#made(row, volume)) };
	}

	create({ keep, template, ...schedule }: NewSchedule): Promise<ScheduleView> {
		return this.#changed(() =>
			this.#parts.schedules.add({
				...schedule,
				template: template ?? templateDefault,
				keep: {
					last: keep.last ?? 0,
					hourly: keep.hourly ?? 0,
					daily: keep.daily ?? 0,
					weekly: keep.weekly ?? 0,
					monthly: keep.monthly ?? 0,
					yearly: keep.yearly ?? 0,
				},
			}),
		);
	}

	change(name: string, change: ScheduleChangeWish): Promise<ScheduleView> {
		return this.#changed(() => this.#parts.schedules.change(name, change));
	}

	async delete(name: string): Promise<void> {
		await this.#parts.inTurn(async () => this.#parts.schedules.remove(name));
		this.#parts.runner.wake();
	}

	async run(name: string): Promise<ScheduleRunView> {
		const { volumes, deleted, ...made } = await this.#parts.runner.run(name);
		return { ...made, volumes: [...volumes], deleted: [...deleted] };
	}

	async #changed(change: () => ScheduleRow): Promise<ScheduleView> {
		const row = await this.#parts.inTurn(async () => change());
		this.#parts.runner.wake();
		return this.#view(row);
	}

	#view({ name, volumes, cron, zone, template, keep, repository, createdAt, ...row }: ScheduleRow): ScheduleView {
		const policy = { name, cron, zone, template, keep };
		const fault = policyFault(policy);
		const failure = this.#parts.runner.failure(name);
		const next: string[] = [];
		if (fault === undefined) {
			const times = new CronTimes(cron, zone);
			let ms = times.after(Math.max(row.seenMs, this.#now()));
			while (ms !== undefined && next.length < nextCount) {
				next.push(new Date(ms).toISOString());
				ms = times.after(ms);
			}
		}
		const why = fault ?? failure?.message;
		return {
			...policy,
			volumes: [...volumes],
			...(repository === undefined ? {} : { repository }),
			createdAt,
			next,
			...(why === undefined ? {} : { fault: why }),
			...(failure === undefined ? {} : { retryAt: new Date(failure.retryMs).toISOString() }),
		};
	}

	#made(row: ScheduleRow, volume: string): ScheduleDetailView['snapshots'] {
		const { schedules, snapshots } = this.#parts;
		const ids = new Set(schedules.snapshots(row.name).flatMap((one) => (one.volume === volume && one.id !== undefined ? [one.id] : [])));
		let there: ReturnType<SnapshotKeeper['list']>;
		try {
			there = snapshots.list(volume);
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			return [];
		}
		const own = there.filter(({ id }) => ids.has(id)).map(({ name, timeMs, lsn }) => ({ name, timeMs, order: lsn }));
		const reasons = policyFault(row) === undefined ? kept(own, row.keep, row.zone) : new Map<string, never[]>();
		return own.map(({ name, timeMs }) => ({ volume, name, at: new Date(timeMs).toISOString(), keptFor: reasons.get(name) ?? [] }));
	}
}
