import { parseCron } from '../schedule/cron-expression.ts';
import { CronTimes } from '../schedule/cron-times.ts';
import { isZone } from '../schedule/zone.ts';
import type { SqliteDatabase } from './database.ts';
import { limits } from './limits.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

/** A scrub that runs, waits, or was cut short by the end of the process. */
export interface ScrubRun {
	readonly startedAt: string;
	readonly bytesPerSecond: number;
	/** Where it goes on; undefined: at the beginning. */
	readonly position: { readonly layer: number; readonly block: number } | undefined;
	readonly pages: number;
	readonly findings: number;
	readonly repaired: number;
}

export interface FinishedScrub {
	readonly startedAt: string;
	readonly finishedAt: string;
	readonly pages: number;
	readonly findings: number;
	readonly repaired: number;
}

export interface ScrubRow {
	readonly volume: string;
	/** When it is done by itself; undefined: never. */
	readonly times: { readonly cron: string; readonly zone: string; readonly seenMs: number } | undefined;
	readonly run: ScrubRun | undefined;
	/** The last that came to its end. */
	readonly last: FinishedScrub | undefined;
}

interface ScrubRecord {
	volume: string;
	cron: string | null;
	zone: string | null;
	seenMs: number;
	run: string | null;
	last: string | null;
}

/** How far volumes are scrubbed, with the manners of Configuration. A volume that nobody has scrubbed has no row. */
export class Scrubs {
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;
	readonly #now: () => Date;
	readonly #checkVolume: (name: string) => void;

	/** `checkVolume` throws UsageError for a volume that does not exist. */
	constructor(transactions: Transactions, now: () => Date, checkVolume: (name: string) => void) {
		this.#transactions = transactions;
		this.#database = transactions.database;
		this.#now = now;
		this.#checkVolume = checkVolume;
	}

	/** Those that were ever asked for. */
	all(): ScrubRow[] {
		return this.#transactions.read(() => this.#database.prepare<[], ScrubRecord>(`${selectScrub} ORDER BY volume`).all().map(rowOf));
	}

	get(volume: string): ScrubRow {
		return this.#transactions.read(() => {
			this.#checkVolume(volume);
			const record = this.#database.prepare<[string], ScrubRecord>(`${selectScrub} WHERE volume = ?`).get(volume);
			return record === undefined ? { volume, times: undefined, run: undefined, last: undefined } : rowOf(record);
		});
	}

	/** From now on; undefined: never. */
	setTimes(volume: string, times: { readonly cron: string; readonly zone: string } | undefined): ScrubRow {
		return this.#transactions.change(() => {
			if (times !== undefined) checkTimes(times);
			this.#row(volume);
			this.#database
				.prepare('UPDATE scrubs SET cron = ?, zone = ?, seen_ms = ? WHERE volume = ?')
				.run(times?.cron ?? null, times?.zone ?? null, this.#now().getTime(), volume);
			return this.get(volume);
		});
	}

	seen(volume: string, seenMs: number): void {
		this.#transactions.change(() => this.#database.prepare('UPDATE scrubs SET seen_ms = ? WHERE volume = ?').run(seenMs, volume));
	}

	/** One begins, from the beginning. */
	begin(volume: string, bytesPerSecond: number): ScrubRow {
		return this.#transactions.change(() => {
			const { scrubBytesPerSecondMin, scrubBytesPerSecondMax } = limits;
			if (!Number.isSafeInteger(bytesPerSecond) || bytesPerSecond < scrubBytesPerSecondMin || bytesPerSecond > scrubBytesPerSecondMax) {
				throw new UsageError('The rate of a scrub is from 64 KiB to 64 GiB a second.');
			}
			this.#row(volume);
			const run: ScrubRun = {
				startedAt: this.#now().toISOString(),
				bytesPerSecond,
				position: undefined,
				pages: 0,
				findings: 0,
				repaired: 0,
			};
			this.#setRun(volume, run);
			return this.get(volume);
		});
	}

	/** It has come so far. A volume that was deleted meanwhile has no row, and that is no error. */
	moved(volume: string, run: ScrubRun): void {
		this.#transactions.change(() => this.#setRun(volume, run));
	}

	/** It has come to its end; without `last` it was given up. */
	ended(volume: string, last: FinishedScrub | undefined): void {
		this.#transactions.change(() => {
			this.#setRun(volume, undefined);
			if (last !== undefined) this.#database.prepare('UPDATE scrubs SET last = ? WHERE volume = ?').run(JSON.stringify(last), volume);
		});
	}

	/** Another volume has the name: when it is scrubbed stays, what was found does not. */
	forget(volume: string): void {
		this.#transactions.change(() => this.#database.prepare('UPDATE scrubs SET run = NULL, last = NULL WHERE volume = ?').run(volume));
	}

	#row(volume: string): void {
		this.#checkVolume(volume);
		this.#database.prepare('INSERT OR IGNORE INTO scrubs (volume, seen_ms) VALUES (?, ?)').run(volume, this.#now().getTime());
	}

	#setRun(volume: string, run: ScrubRun | undefined): void {
		this.#database.prepare('UPDATE scrubs SET run = ? WHERE volume = ?').run(run === undefined ? null : JSON.stringify(run), volume);
	}
}

const selectScrub = 'SELECT volume, cron, zone, seen_ms AS seenMs, run, last FROM scrubs';

function rowOf({ volume, cron, zone, seenMs, run, last }: ScrubRecord): ScrubRow {
	return {
		volume,
		times: cron === null || zone === null ? undefined : { cron, zone, seenMs },
		run: run === null ? undefined : (JSON.parse(run) as ScrubRun),
		last: last === null ? undefined : (JSON.parse(last) as FinishedScrub),
	};
}

function checkTimes({ cron, zone }: { cron: string; zone: string }): void {
	const parsed = parseCron(cron);
	if ('fault' in parsed) throw new UsageError(parsed.fault);
	if (!isZone(zone))
		throw new UsageError(
			`${JSON.stringify(zone.slice(0, 80))} is no time zone that this system knows: it looks like UTC or Europe/Berlin.`,
		);
	if (new CronTimes(cron, zone).after(0) === undefined) throw new UsageError(`The day of ${JSON.stringify(cron)} never comes.`);
}
