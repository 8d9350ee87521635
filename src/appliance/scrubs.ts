import type { ScrubOperations } from '../admin/scrub-routes.ts';
import type { NewScrub, ScrubTimes, ScrubView } from '../admin/scrub-schemas.ts';
import { type ScrubFinding, type ScrubOptions, ScrubEnded } from '../blockvol/scrub.ts';
import { VolumeFault } from '../blockvol/volume-fault.ts';
import type { Configuration } from '../config/configuration.ts';
import type { ScrubRun } from '../config/scrubs.ts';
import { UsageError } from '../config/usage-error.ts';
import { CronTimes } from '../schedule/cron-times.ts';
import type { EventLog } from './event-log.ts';
import { kernelCode } from './kernel-code.ts';
import type { RunnerClock } from './schedule-runner.ts';

const bytesPerSecondDefault = 32 * 2 ** 20;
/** Findings of a volume that are listed, and told as events, each by itself. */
const listedMax = 100;
/** The position is written down no more often. */
const saveMs = 5000;
const lookMs = 60_000;

export interface ScrubsParts {
	readonly configuration: Configuration;
	readonly events: EventLog;
	/** Scrubs an open volume; UsageError if it is not open. */
	readonly scrub: (
		volume: string,
		options: ScrubOptions,
	) => Promise<{ pages: number; findings: number; repaired: number; isComplete: boolean }>;
	/** Brings back what a page should hold, where there is another copy of it. */
	readonly repair?: (volume: string, finding: ScrubFinding, signal: AbortSignal) => Promise<Repair>;
	/** Changes of the appliance run one at a time. */
	readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
	readonly clock: RunnerClock;
}

/** What became of an attempt to bring a page back. */
export interface Repair {
	readonly isRepaired: boolean;
	/** Where the page came from, or why it did not: words without a full stop. */
	readonly how: string;
}

interface Seen {
	readonly found: ScrubView['found'];
	done: number;
	run: ScrubRun | undefined;
	fault: string | undefined;
}

/**
 * Scrubs of the appliance's volumes: on demand and by the clock, one at a time, the others wait. What runs is in the configuration, so that a restart goes on where it was.
 *
 *     idle ──begin()──▶ waiting ──its turn──▶ running ──all read──▶ idle
 *                          ▲                     │ └──cannot go on: an event──▶ idle, with its position
 *                          └─────restart─────────┘
 */
export class ApplianceScrubs implements ScrubOperations {
	readonly #parts: ScrubsParts;
	readonly #waiting: string[] = [];
	/** By the volume's uuid: another volume may come to have the name. */
	readonly #seen = new Map<string, Seen>();
	#current: { readonly volume: string; readonly abort: AbortController } | undefined;
	#working: Promise<void> | undefined;
	#cancel: () => void = () => undefined;
	#isStopped = false;

	constructor(parts: ScrubsParts) {
		this.#parts = parts;
	}

	/** Goes on with what a restart cut short, and looks at the clock from now on. */
	start(): void {
		for (const { volume, run } of this.#parts.configuration.scrubs.all()) if (run !== undefined) this.#enqueue(volume);
		this.#look();
	}

	/** Resolves when nothing of it runs; what ran goes on after the next start. */
	async stop(): Promise<void> {
		this.#isStopped = true;
		this.#cancel();
		this.#current?.abort.abort();
		await this.#working;
	}

	view(volume: string): ScrubView {
		const { times, run, last } = this.#parts.configuration.scrubs.get(volume);
		const seen = this.#seen.get(this.#uuid(volume));
		const isRunning = this.#isRunning(volume);
		const state = isRunning ? 'running' : this.#waiting.includes(volume) ? 'waiting' : 'idle';
		const shown = (isRunning ? seen?.run : undefined) ?? run;
		const nextMs =
			times === undefined ? undefined : new CronTimes(times.cron, times.zone).after(Math.max(times.seenMs, this.#parts.clock.now()));
		return {
			volume,
			state,
			...(isRunning && seen !== undefined ? { done: seen.done } : {}),
			...(shown === undefined
				? {}
				: {
						startedAt: shown.startedAt,
						bytesPerSecond: shown.bytesPerSecond,
						pages: shown.pages,
						findings: shown.findings,
						repaired: shown.repaired,
					}),
			...(seen?.fault === undefined ? {} : { fault: seen.fault }),
			...(last === undefined ? {} : { last }),
			found: [...(seen?.found ?? [])],
			...(times === undefined ? {} : { cron: times.cron, zone: times.zone }),
			...(nextMs === undefined ? {} : { next: new Date(nextMs).toISOString() }),
		};
	}

	begin(volume: string, { bytesPerSecond }: NewScrub): Promise<ScrubView> {
		return this.#parts.inTurn(async () => {
			this.#begin(volume, bytesPerSecond ?? bytesPerSecondDefault);
			return this.view(volume);
		});
	}

	async end(volume: string): Promise<ScrubView> {
		const { scrubs } = this.#parts.configuration;
		await this.#parts.inTurn(async () => {
			if (scrubs.get(volume).run === undefined) throw new UsageError(`Volume ${volume} is not being scrubbed.`, 'notFound');
			scrubs.ended(volume, undefined);
			const at = this.#waiting.indexOf(volume);
			if (at >= 0) this.#waiting.splice(at, 1);
			if (this.#current?.volume === volume) this.#current.abort.abort();
		});
		return this.view(volume);
	}

	setTimes(volume: string, times: ScrubTimes | undefined): Promise<ScrubView> {
		return this.#parts.inTurn(async () => {
			this.#parts.configuration.scrubs.setTimes(volume, times);
			this.#look();
			return this.view(volume);
		});
	}

	#begin(volume: string, bytesPerSecond: number): void {
		const { scrubs } = this.#parts.configuration;
		if (this.#isRunning(volume) || this.#waiting.includes(volume)) return;
		if (scrubs.get(volume).run === undefined) {
			scrubs.begin(volume, bytesPerSecond);
			this.#seen.delete(this.#uuid(volume));
		}
		this.#enqueue(volume);
	}

	#enqueue(volume: string): void {
		this.#waiting.push(volume);
		this.#working ??= this.#work();
	}

	async #work(): Promise<void> {
		// Who asked has its answer first.
		await Promise.resolve();
		try {
			for (let volume = this.#waiting.shift(); volume !== undefined && !this.#isStopped; volume = this.#waiting.shift()) {
				this.#current = { volume, abort: new AbortController() };
				await this.#scrub(volume, this.#current.abort.signal);
				this.#current = undefined;
			}
		} finally {
			// In the turn that found nothing waiting: who comes later begins anew.
			this.#working = undefined;
		}
	}

	async #scrub(volume: string, signal: AbortSignal): Promise<void> {
		const { configuration, clock, repair } = this.#parts;
		// Deleted, or given up, while it waited.
		if (configuration.findVolume(volume) === undefined) return;
		const before = configuration.scrubs.get(volume).run;
		if (before === undefined) return;
		const uuid = this.#uuid(volume);
		const seen: Seen = { found: this.#seen.get(uuid)?.found ?? [], done: 0, run: before, fault: undefined };
		this.#seen.set(uuid, seen);
		let run = before;
		let savedMs = clock.now();
		let repaired: Repair | undefined;
		const counted = ({ pages, findings, repaired }: { pages: number; findings: number; repaired: number }) => ({
			pages: before.pages + pages,
			findings: before.findings + findings,
			repaired: before.repaired + repaired,
		});
		try {
			const result = await this.#parts.scrub(volume, {
				bytesPerSecond: run.bytesPerSecond,
				from: run.position,
				signal,
				found: (finding, isRepaired) => this.#found(volume, seen, finding, { isRepaired, repair: repaired?.how }),
				moved: (position, progress) => {
					run = { ...run, position, ...counted(progress) };
					seen.done = progress.done;
					seen.run = run;
					if (clock.now() - savedMs < saveMs || signal.aborted) return;
					savedMs = clock.now();
					this.#save(volume, () => configuration.scrubs.moved(volume, run));
				},
				// One page at a time: what is found next is what was tried last.
				...(repair === undefined ? {} : { repair: async (finding) => (repaired = await repair(volume, finding, signal)).isRepaired }),
			});
			if (result.isComplete) this.#finished(volume, { ...run, ...counted(result) });
			else if (this.#isStopped) this.#save(volume, () => configuration.scrubs.moved(volume, run));
		} catch (error) {
			this.#failed(volume, seen, run, error);
		}
	}

	/** A position that cannot be written down costs a repetition after a restart, and nothing else. */
	#save(volume: string, save: () => void): void {
		try {
			save();
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			this.#parts.events.add({
				severity: 'error',
				kind: 'scrub-failed',
				volume,
				message: `How far volume ${volume} was scrubbed cannot be written down: ${error.message}`,
			});
		}
	}

	/** One that was given up runs no more, though it may take a moment to end. */
	#isRunning(volume: string): boolean {
		return this.#current?.volume === volume && !this.#current.abort.signal.aborted;
	}

	#uuid(volume: string): string {
		return this.#parts.configuration.volume(volume).uuid;
	}

	#finished(volume: string, { startedAt, pages, findings, repaired }: ScrubRun): void {
		const { configuration, events, clock } = this.#parts;
		const finishedAt = new Date(clock.now()).toISOString();
		this.#save(volume, () => configuration.scrubs.ended(volume, { startedAt, finishedAt, pages, findings, repaired }));
		const what = findings === 0 ? 'all are sound' : `${findings} not sound, ${repaired} repaired`;
		events.add({
			severity: findings === repaired ? 'info' : 'error',
			kind: 'scrub-finished',
			volume,
			message: `Volume ${volume} was scrubbed: ${pages} pages, ${what}.`,
		});
	}

	/** It stays where it was: asked for again, or after a restart, it goes on from there. */
	#failed(volume: string, seen: Seen, run: ScrubRun, error: unknown): void {
		const code = kernelCode(error);
		const isExpected = error instanceof UsageError || error instanceof VolumeFault || error instanceof ScrubEnded;
		if (!isExpected && code === '') throw error;
		const { configuration, events } = this.#parts;
		// It was deleted, or the appliance ends.
		if (configuration.findVolume(volume) === undefined || this.#isStopped) return;
		this.#save(volume, () => configuration.scrubs.moved(volume, run));
		seen.fault = isExpected ? error.message : `The volume's files cannot be read (${code}).`;
		events.add({ severity: 'error', kind: 'scrub-failed', volume, message: `The scrub of volume ${volume} stopped: ${seen.fault}` });
	}

	#found(
		volume: string,
		seen: Seen,
		finding: ScrubFinding,
		{ isRepaired, repair }: { isRepaired: boolean; repair: string | undefined },
	): void {
		if (seen.found.length >= listedMax) return;
		seen.found.push({ ...finding, isRepaired, ...(repair === undefined ? {} : { repair }) });
		const { layer, page, lba, kind, isLive } = finding;
		const words = { data: 'does not match its checksum', map: 'has lost its checksum', unreadable: 'cannot be read' };
		const outcome = isRepaired
			? `, and was repaired${repair === undefined ? '' : ` ${repair}`}`
			: repair === undefined
				? ''
				: `, and was not repaired: ${repair}`;
		const message = `Volume ${volume}, layer ${layer}${isLive ? '' : ' (of a snapshot)'}, page ${page}, LBA ${lba} ${words[kind]}${outcome}.`;
		this.#parts.events.add({ severity: 'error', kind: 'scrub-finding', volume, message });
		if (seen.found.length < listedMax) return;
		this.#parts.events.add({
			severity: 'warning',
			kind: 'scrub-finding',
			volume,
			message: `What else is found in volume ${volume} is counted, not listed.`,
		});
	}

	/** Begins what is due. Times that were missed are caught up once. */
	#look(): void {
		if (this.#isStopped) return;
		this.#cancel();
		try {
			this.#beginDue();
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			this.#parts.events.add({ severity: 'error', kind: 'scrub-failed', message: `No scrub can begin: ${error.message}` });
		}
		this.#cancel = this.#parts.clock.later(lookMs, () => this.#look());
	}

	#beginDue(): void {
		const { configuration, clock } = this.#parts;
		const nowMs = clock.now();
		for (const { volume, times } of configuration.scrubs.all()) {
			if (times === undefined) continue;
			const dueMs = new CronTimes(times.cron, times.zone).atOrBefore(nowMs);
			// A clock that was set back is followed.
			if (times.seenMs > nowMs) configuration.scrubs.seen(volume, nowMs);
			if (dueMs === undefined || dueMs <= times.seenMs || times.seenMs > nowMs) continue;
			configuration.scrubs.seen(volume, dueMs);
			this.#begin(volume, bytesPerSecondDefault);
		}
	}
}
