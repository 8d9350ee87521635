import type { ScheduleRow, Schedules } from '../config/schedules.ts';
import { UsageError } from '../config/usage-error.ts';
import { expand, freeName } from '../schedule/name-template.ts';
import { type SnapshotFact, type VolumeFact, plan } from '../schedule/plan.ts';
import { policyFault } from '../schedule/policy.ts';
import type { EventLog } from './event-log.ts';
import type { SnapshotInfo, SnapshotKeeper } from './snapshot-engine.ts';

/** The clocks of a machine are put right now and then: no sleep is longer. */
const sleepMsMax = 60_000;
/** After a failure the next try is so much later, twice as much after each further one. */
const retryMsMin = 60_000;
const retryMsMax = 3_600_000;
/** Deletions of one schedule in a row: each is work for the disk, and others want their turn. */
const deletionsMax = 16;

export interface RunnerClock {
	/** Milliseconds since 1970. */
	now(): number;
	/** Calls once, later; returns the function that prevents it. */
	later(ms: number, call: () => void): () => void;
}

export interface RunnerParts {
	readonly schedules: Schedules;
	readonly snapshots: SnapshotKeeper;
	readonly events: EventLog;
	/** Changes of the appliance run one at a time. */
	readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
	readonly clock?: RunnerClock;
	/** Has snapshots put into a repository, soon; UsageError if that cannot be. */
	readonly archive?: (repository: string, volumes: readonly string[], name: string) => void;
}

export interface Failure {
	readonly message: string;
	readonly retryMs: number;
}

export interface Made {
	readonly name: string;
	readonly volumes: readonly string[];
	readonly deleted: readonly { readonly volume: string; readonly name: string }[];
}

/**
 * Does what the planner says, schedule by schedule:
 *
 *     asleep ──timer, wake()──▶ each schedule in its turn: settle → plan → make → plan → delete ──▶ asleep until the next is due, a minute at most
 *
 * A schedule that fails is an event, is tried again later, and keeps no other one from its turn. What is no UsageError is a fault of ours and is not caught.
 */
export class ScheduleRunner {
	readonly #parts: RunnerParts;
	readonly #clock: RunnerClock;
	readonly #failures = new Map<string, Failure & { readonly delayMs: number; readonly toldMs: number }>();
	#isStarted = false;
	#isStopped = false;
	#isAgain = false;
	#running: Promise<void> | undefined;
	#cancel: () => void = () => undefined;

	constructor(parts: RunnerParts) {
		this.#parts = parts;
		this.#clock = parts.clock ?? systemClock;
	}

	/** From now on; what was missed is caught up at once. */
	start(): void {
		this.#isStarted = true;
		this.wake();
	}

	/** Looks at all schedules soon: one is new, or another than it was. */
	wake(): void {
		if (!this.#isStarted || this.#isStopped) return;
		if (this.#running !== undefined) {
			this.#isAgain = true;
			return;
		}
		this.#cancel();
		this.#running = this.#round().finally(() => {
			this.#running = undefined;
			if (this.#isAgain) this.wake();
		});
	}

	/** Resolves when nothing of it runs any more. */
	async stop(): Promise<void> {
		this.#isStopped = true;
		this.#cancel();
		await this.#running;
	}

	/** Why a schedule did not do its work the last time; undefined if it did. */
	failure(schedule: string): Failure | undefined {
		return this.#failures.get(schedule);
	}

	/** One snapshot now, whether or not one is due, and then what the rules say. Rejects with UsageError. */
	run(schedule: string): Promise<Made> {
		return this.#parts.inTurn(async () => {
			const row = this.#parts.schedules.get(schedule);
			const fault = policyFault(row);
			if (fault !== undefined) throw new UsageError(fault);
			const volumes = this.#settle(row);
			const taken = new Set(volumes.flatMap(({ snapshots }) => snapshots.map(({ name }) => name)));
			const name = freeName(expand(row.template, row.name, this.#clock.now()), (one) => taken.has(one));
			await this.#make(row, name);
			const { deleted, failure } = await this.#prune(row);
			if (failure !== undefined) throw new UsageError(`Snapshot ${name} was made. ${failure.message}`, failure.code, { cause: failure });
			this.#failures.delete(schedule);
			return { name, volumes: row.volumes, deleted };
		});
	}

	async #round(): Promise<void> {
		this.#isAgain = false;
		let rows: readonly ScheduleRow[] = [];
		try {
			rows = this.#parts.schedules.all();
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			this.#parts.events.add({ severity: 'error', kind: 'schedule-failed', message: `The schedules cannot be read: ${error.message}` });
		}
		const names = new Set(rows.map(({ name }) => name));
		for (const name of this.#failures.keys()) if (!names.has(name)) this.#failures.delete(name);
		let wakeMs = this.#clock.now() + sleepMsMax;
		for (const { name } of rows) {
			if (this.#isStopped) return;
			const failed = this.#failures.get(name);
			if (failed !== undefined && failed.retryMs > this.#clock.now()) {
				wakeMs = Math.min(wakeMs, failed.retryMs);
				continue;
			}
			wakeMs = Math.min(wakeMs, (await this.#tend(name)) ?? Infinity);
		}
		if (!this.#isStopped) this.#cancel = this.#clock.later(Math.max(0, wakeMs - this.#clock.now()), () => this.wake());
	}

	/** Resolves to when there is something to do for it next. */
	async #tend(name: string): Promise<number | undefined> {
		try {
			const nextMs = await this.#parts.inTurn(() => this.#tendInTurn(name));
			if (this.#failures.delete(name)) this.#event('info', 'schedule-recovered', name, `Schedule ${name} works again.`);
			return nextMs;
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			// The appliance ends: that is no failure of the schedule.
			if (this.#isStopped) return undefined;
			return this.#failed(name, error);
		}
	}

	/** When it is tried again. What is still wrong is told as often as it would be tried if nothing else were to do. */
	#failed(name: string, error: UsageError): number {
		const nowMs = this.#clock.now();
		const before = this.#failures.get(name);
		const isNews = before === undefined || before.message !== error.message || nowMs >= before.toldMs + before.delayMs;
		const delayMs = isNews ? Math.min((before?.delayMs ?? retryMsMin / 2) * 2, retryMsMax) : before.delayMs;
		const againMs = nowMs + delayMs;
		const retryMs = error instanceof PruneError ? Math.min(againMs, error.nextMs ?? againMs) : againMs;
		this.#failures.set(name, { message: error.message, retryMs, delayMs, toldMs: isNews ? nowMs : before.toldMs });
		if (isNews) this.#event('error', 'schedule-failed', name, `Schedule ${name} failed: ${error.message}`);
		return retryMs;
	}

	async #tendInTurn(name: string): Promise<number | undefined> {
		const { schedules } = this.#parts;
		const row = schedules.find(name);
		if (row === undefined) return undefined;
		const nowMs = this.#clock.now();
		const planned = plan({ policy: row, nowMs, seenMs: row.seenMs, volumes: this.#settle(row) });
		if ('fault' in planned) throw new UsageError(planned.fault);
		if (planned.seenMs !== row.seenMs) schedules.seen(name, planned.seenMs);
		let failed: UsageError | undefined;
		if (planned.create !== undefined) {
			try {
				await this.#make(row, planned.create.name);
				schedules.seen(name, planned.create.dueMs);
			} catch (error) {
				if (!(error instanceof UsageError)) throw error;
				// What is there already may still be too much.
				failed = error;
			}
		}
		const { failure, isRest } = await this.#prune(schedules.get(name));
		if (failed !== undefined) throw failed;
		if (failure !== undefined) throw new PruneError(failure, planned.nextMs);
		return isRest ? nowMs : planned.nextMs;
	}

	/** Makes a snapshot of all volumes. Whose it is stands in the configuration before it does. */
	async #make(row: ScheduleRow, name: string): Promise<void> {
		const { schedules, snapshots } = this.#parts;
		schedules.intend(row.name, row.volumes, name);
		try {
			const made = await snapshots.create(row.volumes, name);
			for (const [index, { id }] of made.entries()) schedules.made(row.name, { volume: row.volumes[index] as string, name, id });
			this.#archive(row, row.volumes, name);
		} catch (error) {
			if (error instanceof UsageError) this.#settle(row);
			throw error;
		}
	}

	/** The snapshot is there, whatever becomes of this: it is not made anew for it. */
	#archive({ name: schedule, repository }: ScheduleRow, volumes: readonly string[], name: string): void {
		if (repository === undefined) return;
		try {
			this.#parts.archive?.(repository, volumes, name);
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			this.#event('error', 'archive-failed', schedule, `Snapshot ${name} of schedule ${schedule} is not archived: ${error.message}`);
		}
	}

	/** Deletes what no rule needs; what cannot be deleted keeps the others from nothing. */
	async #prune(
		row: ScheduleRow,
	): Promise<{ deleted: { volume: string; name: string }[]; failure: UsageError | undefined; isRest: boolean }> {
		const { schedules, snapshots } = this.#parts;
		const planned = plan({ policy: row, nowMs: this.#clock.now(), seenMs: row.seenMs, volumes: this.#settle(row) });
		if ('fault' in planned) throw new UsageError(planned.fault);
		const deleted: { volume: string; name: string }[] = [];
		let failure: UsageError | undefined;
		for (const { volume, name } of planned.deletions.slice(0, deletionsMax)) {
			try {
				await snapshots.delete(volume, name);
				schedules.forget(row.name, volume, name);
				deleted.push({ volume, name });
			} catch (error) {
				if (!(error instanceof UsageError)) throw error;
				failure ??= error;
			}
		}
		return { deleted, failure, isRest: planned.deletions.length > deletionsMax };
	}

	/**
	 * The snapshots of its volumes, with which are its own: those whose id it wrote down. What a crash or a failure left between the two is written down or forgotten here;
	 * nobody else could take the name meanwhile.
	 */
	#settle(row: ScheduleRow): VolumeFact[] {
		const { schedules, snapshots } = this.#parts;
		const rows = schedules.snapshots(row.name);
		return row.volumes.map((volume) => {
			const there = snapshots.list(volume);
			const own = new Set<number>();
			for (const { name, id } of rows.filter((one) => one.volume === volume)) {
				const found = there.find((one) => one.name === name && (id === undefined || one.id === id));
				if (found === undefined) schedules.forget(row.name, volume, name);
				else own.add(found.id);
				if (found !== undefined && id === undefined) {
					schedules.made(row.name, { volume, name, id: found.id });
					this.#archive(row, [volume], name);
				}
			}
			return { volume, snapshots: there.map((info) => this.#fact(volume, info, own.has(info.id))) };
		});
	}

	#fact(volume: string, { name, timeMs, lsn }: SnapshotInfo, own: boolean): SnapshotFact {
		return { name, timeMs, order: lsn, own, inUse: this.#parts.snapshots.isInUse(volume, name) };
	}

	#event(severity: 'info' | 'error', kind: string, schedule: string, message: string): void {
		this.#parts.events.add({ severity, kind, schedule, message });
	}
}

/** Something could not be deleted: that makes no snapshot late. */
class PruneError extends UsageError {
	readonly nextMs: number | undefined;

	constructor(cause: UsageError, nextMs: number | undefined) {
		super(cause.message, cause.code, { cause });
		this.nextMs = nextMs;
	}
}

export const systemClock: RunnerClock = {
	now: Date.now,
	later: (ms, call) => {
		const timer = setTimeout(call, ms);
		return () => clearTimeout(timer);
	},
};
