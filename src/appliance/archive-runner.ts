import type { ArchiveJobView } from '../admin/archive-schemas.ts';
import type { ArchiveJobRow, ArchiveJobs, ArchivedSnapshot, ArchiveWish } from '../config/archive-jobs.ts';
import { UsageError } from '../config/usage-error.ts';
import type { EventLog, NewEvent } from './event-log.ts';
import type { RunnerClock } from './schedule-runner.ts';

/** Jobs that run at a time: each has chunks in memory. */
export const runningMax = 3;
/** After a failure that may pass the next try is so much later, twice as much after each further one. */
const retryMsMin = 2000;
const retryMsMax = 600_000;
/** Tries in a row: more than half a day. */
export const triesMax = 80;
/** A job that ends the process each time must not keep it from serving volumes. */
export const cutShortMax = 16;

/** How a job ended. */
export interface JobEnd {
	readonly result: Readonly<Record<string, unknown>>;
	/** It came to its end and found something that is not as it should be. */
	readonly fault?: string | undefined;
	readonly archived?: ArchivedSnapshot | undefined;
	readonly message: string;
}

/** What a job has while it runs. */
export interface JobContext {
	readonly signal: AbortSignal;
	/** `done` is from 0 to 1. */
	readonly progress: (done: number, numbers: Readonly<Record<string, number>>) => void;
}

/** It cannot be done now, and may be later with nobody doing anything. */
export class LaterError extends Error {
	override readonly name = 'LaterError';
}

export interface RunnerParts {
	readonly jobs: ArchiveJobs;
	readonly events: EventLog;
	/** Does the work; rejects with UsageError for what cannot be done, with LaterError for what may be later, and with the signal's reason. */
	readonly work: (job: ArchiveJobRow, context: JobContext) => Promise<JobEnd>;
	/** A job has come to an end of any kind: nobody goes on with it. */
	readonly ended: (id: number) => void;
	readonly clock: RunnerClock;
}

interface Running {
	readonly abort: AbortController;
	readonly startedMs: number;
	ended: Promise<void>;
	done: number;
	numbers: Readonly<Record<string, number>>;
}

interface Failing {
	tries: number;
	retryMs: number;
}

/** Why a job that runs is ended. */
class Ended extends Error {
	readonly state: 'cancelled' | 'stopped';

	constructor(state: 'cancelled' | 'stopped') {
		super(state);
		this.state = state;
	}
}

/**
 * Runs what stands in the configuration, in the order of the ids: a few at a time, and none beside another that would be in its way. What cannot be done now is tried again; what
 * ran when the process ended begins again with the next one.
 */
export class ArchiveRunner {
	readonly #parts: RunnerParts;
	readonly #running = new Map<number, Running>();
	readonly #failing = new Map<number, Failing>();
	#cancel: () => void = () => undefined;
	#state: 'idle' | 'started' | 'stopped' = 'idle';

	constructor(parts: RunnerParts) {
		this.#parts = parts;
	}

	start(): void {
		if (this.#state === 'stopped') return;
		const { jobs } = this.#parts;
		for (const { id, state } of jobs.pending()) {
			if (state !== 'running' || jobs.cutShort(id) < cutShortMax) continue;
			const fault = `The process ended ${cutShortMax} times in a row while this job ran: it is not begun again.`;
			this.#tell(jobs.end(id, { state: 'failed', fault }), 'error', 'archive-failed', fault);
			this.#forget(id);
		}
		this.#state = 'started';
		this.#look();
	}

	/** Resolves when nothing of it runs; what ran goes on after the next start. */
	async stop(): Promise<void> {
		this.#state = 'stopped';
		this.#cancel();
		const running = [...this.#running.values()];
		for (const { abort } of running) abort.abort(new Ended('stopped'));
		await Promise.all(running.map(({ ended }) => ended));
	}

	/** UsageError when too many wait. */
	add(repository: string, wish: ArchiveWish): ArchiveJobView {
		const row = this.#parts.jobs.add(repository, wish);
		this.#look();
		return this.view(this.#parts.jobs.get(row.id));
	}

	/** Ends one that waits, or runs: then when it has let go. */
	async cancel(id: number): Promise<ArchiveJobView> {
		const { jobs } = this.#parts;
		const { state } = jobs.get(id);
		if (state !== 'waiting' && state !== 'running') throw new UsageError(`Job ${id} has ended already: it is ${state}.`, 'inUse');
		const running = this.#running.get(id);
		if (running === undefined) {
			jobs.end(id, { state: 'cancelled' });
			this.#forget(id);
		} else {
			running.abort.abort(new Ended('cancelled'));
			await running.ended;
		}
		return this.view(jobs.get(id));
	}

	view({ id, repository, wish, state, attempts, result, fault, createdAt, finishedAt }: ArchiveJobRow): ArchiveJobView {
		const running = this.#running.get(id);
		const retryMs = state === 'waiting' ? this.#failing.get(id)?.retryMs : undefined;
		return {
			id,
			repository,
			kind: wish.kind,
			state,
			attempts,
			createdAt,
			...('volume' in wish ? { volume: wish.volume } : {}),
			...('snapshot' in wish ? { snapshot: wish.snapshot } : {}),
			...('manifest' in wish ? { manifest: wish.manifest } : {}),
			...(running === undefined ? {} : { done: running.done, numbers: { ...running.numbers } }),
			...(result === undefined ? {} : { result: { ...result } }),
			...(fault === undefined ? {} : { fault }),
			...(retryMs === undefined ? {} : { retryAt: new Date(retryMs).toISOString() }),
			...(finishedAt === undefined ? {} : { finishedAt }),
		};
	}

	/** Begins what can be begun. */
	#look(): void {
		if (this.#state !== 'started') return;
		this.#cancel();
		const { jobs, clock, events } = this.#parts;
		let pending: readonly ArchiveJobRow[];
		try {
			pending = jobs.pending();
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			events.add({ severity: 'error', kind: 'archive-failed', message: `The archive jobs cannot be read: ${error.message}` });
			this.#cancel = clock.later(retryMsMax, () => this.#lookAgain());
			return;
		}
		const taken = new Set(pending.filter(({ id }) => this.#running.has(id)).map(placeOf));
		const nowMs = clock.now();
		let wakeMs = Infinity;
		for (const job of pending) {
			if (this.#running.size >= runningMax) break;
			if (this.#running.has(job.id) || taken.has(placeOf(job))) continue;
			const retryMs = this.#failing.get(job.id)?.retryMs ?? 0;
			// Who comes later for the same goes first meanwhile: nothing of it depends on the order.
			if (retryMs > nowMs) wakeMs = Math.min(wakeMs, retryMs);
			else {
				taken.add(placeOf(job));
				this.#begin(job.id);
			}
		}
		if (wakeMs < Infinity) this.#cancel = clock.later(wakeMs - nowMs, () => this.#lookAgain());
	}

	#begin(id: number): void {
		const running: Running = {
			abort: new AbortController(),
			startedMs: this.#parts.clock.now(),
			ended: Promise.resolve(),
			done: 0,
			numbers: {},
		};
		this.#running.set(id, running);
		running.ended = this.#run(id, running);
	}

	async #run(id: number, running: Running): Promise<void> {
		const { jobs, work, clock } = this.#parts;
		try {
			// Who asked has its answer first.
			await Promise.resolve();
			const job = jobs.begin(id);
			const { signal } = running.abort;
			const end = await work(job, {
				signal,
				progress: (done, numbers) => {
					const elapsedMs = Math.max(1, clock.now() - running.startedMs);
					const bytes = numbers['doneBytes'];
					running.done = done;
					running.numbers = bytes === undefined ? numbers : { ...numbers, bytesPerSecond: Math.round((bytes / elapsedMs) * 1000) };
				},
			});
			const { result, fault, archived, message } = end;
			jobs.end(id, { state: fault === undefined ? 'done' : 'failed', result, fault }, archived);
			this.#forget(id);
			this.#tell(job, fault === undefined ? 'info' : 'error', fault === undefined ? `archive-${job.wish.kind}` : 'archive-failed', message);
		} catch (error) {
			this.#failed(id, error, running.abort.signal);
		} finally {
			this.#running.delete(id);
			this.#lookAgain();
		}
	}

	/** Nobody waits for the answer. */
	#lookAgain(): void {
		try {
			this.#look();
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			this.#parts.events.add({ severity: 'error', kind: 'archive-failed', message: `No archive job can begin: ${error.message}` });
		}
	}

	#failed(id: number, error: unknown, signal: AbortSignal): void {
		const { jobs, clock, events } = this.#parts;
		const reason: unknown = signal.aborted ? signal.reason : undefined;
		const isEnded = reason instanceof Ended;
		if (!isEnded && !(error instanceof UsageError) && !(error instanceof LaterError)) throw error;
		try {
			if (isEnded && reason.state === 'stopped') return jobs.again(id, undefined);
			if (isEnded) {
				jobs.end(id, { state: 'cancelled' });
				return this.#forget(id);
			}
			const { message } = error as Error;
			const job = jobs.get(id);
			const tries = (this.#failing.get(id)?.tries ?? 0) + 1;
			if (error instanceof UsageError || tries >= triesMax) {
				jobs.end(id, { state: 'failed', fault: message });
				this.#forget(id);
				return this.#tell(job, 'error', 'archive-failed', message);
			}
			this.#failing.set(id, { tries, retryMs: clock.now() + Math.min(retryMsMin * 2 ** (tries - 1), retryMsMax) });
			jobs.again(id, message);
			if (tries === 1) this.#tell(job, 'warning', 'archive-waits', `${message} It is tried again.`);
		} catch (failure) {
			if (!(failure instanceof UsageError)) throw failure;
			// The next start finds it as it was.
			events.add({ severity: 'error', kind: 'archive-failed', message: `How job ${id} ended cannot be written down: ${failure.message}` });
			this.#failing.set(id, { tries: 1, retryMs: clock.now() + retryMsMax });
		}
	}

	#forget(id: number): void {
		this.#failing.delete(id);
		this.#parts.ended(id);
	}

	#tell({ wish }: ArchiveJobRow, severity: NewEvent['severity'], kind: string, message: string): void {
		this.#parts.events.add({
			severity,
			kind,
			message,
			...('volume' in wish ? { volume: wish.volume } : {}),
			...('snapshot' in wish ? { snapshot: wish.snapshot } : {}),
		});
	}
}

/** Two jobs of the same place would be in each other's way: exports of one volume, restores to one name, two of what looks at a whole repository. */
function placeOf({ wish, repository }: ArchiveJobRow): string {
	if (wish.kind === 'export') return `export ${wish.volumeUuid}`;
	if (wish.kind === 'restore') return `restore ${wish.volume}`;
	return `${wish.kind} ${repository}`;
}
