import { Cron } from 'croner';
import { parseCron } from './cron-expression.ts';
import { isZone } from './zone.ts';

const minuteMs = 60_000;

/**
 * When a cron expression says: whole minutes, milliseconds since 1970.
 *
 * Where a zone puts its clocks forward or back (Vixie cron's rules, docs/decisions/010): an expression without `*` or step in minute and hour is meant for a time of day. One that
 * does not exist that day happens at the first minute after the gap, and one that comes twice happens the first time only. Any other expression is meant for an interval: it happens in
 * each pass through the hour that comes twice, and not in the hour that is left out.
 */
export class CronTimes {
	readonly #cron: Cron;

	/** Throws RangeError for what parseCron and isZone refuse. */
	constructor(expression: string, zone: string) {
		const parsed = parseCron(expression);
		if ('fault' in parsed) throw new RangeError(parsed.fault);
		if (!isZone(zone)) throw new RangeError(`${zone} is no time zone`);
		this.#cron = new Cron(parsed.fields, { timezone: zone, paused: true, mode: '5-part', fixedTimeRule: 'no-wildcard' });
	}

	/** The first time after a moment; undefined if it never comes (30 February). */
	after(ms: number): number | undefined {
		return this.#cron.nextRun(new Date(ms))?.getTime();
	}

	/** The last time at or before a moment; undefined if there was none. */
	atOrBefore(ms: number): number | undefined {
		// The library looks strictly before its reference.
		const minuteAfter = (Math.floor(ms / minuteMs) + 1) * minuteMs;
		return this.#cron.previousRuns(1, new Date(minuteAfter))[0]?.getTime();
	}
}
