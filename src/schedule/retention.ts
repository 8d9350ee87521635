import { offsetMs } from './zone.ts';

/** How many snapshots each rule keeps; 0: the rule keeps none. */
export interface Keep {
	readonly last: number;
	readonly hourly: number;
	readonly daily: number;
	readonly weekly: number;
	readonly monthly: number;
	readonly yearly: number;
}

export type KeepRule = keyof Keep;

export const keepRules: readonly KeepRule[] = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'];

export interface Dated {
	readonly name: string;
	/** Milliseconds since 1970, UTC. */
	readonly timeMs: number;
	/** Grows with each snapshot of a volume, whatever the clock does. */
	readonly order: number;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/**
 * Which snapshots a rule needs, and which rules each one is kept for. `last` keeps the newest n. Every other rule looks at the periods of the zone's calendar in which a snapshot was made, takes the n latest
 * of them, and keeps the newest snapshot of each; weeks begin on Monday. Periods without a snapshot do not count: a schedule that was off for a year loses nothing by that.
 *
 * What is newer goes by `order`, so a clock that was set back makes no snapshot look old. And the newest of a period is what a rule wants as soon as the period is over, for good: pruning
 * after each snapshot leaves the same ones as pruning once at the end (test/schedule/retention.test.ts).
 */
export function kept(snapshots: readonly Dated[], keep: Keep, zone: string): Map<string, KeepRule[]> {
	const newestFirst = snapshots.toSorted((a, b) => b.order - a.order);
	const reasons = new Map<string, KeepRule[]>();
	const counts: Record<KeepRule, Set<number>> = {
		last: new Set(),
		hourly: new Set(),
		daily: new Set(),
		weekly: new Set(),
		monthly: new Set(),
		yearly: new Set(),
	};
	for (const { name, timeMs, order } of newestFirst) {
		const periods = { last: order, ...periodsOf(timeMs, zone) };
		for (const rule of keepRules) {
			const seen = counts[rule];
			if (seen.size >= keep[rule] || seen.has(periods[rule])) continue;
			seen.add(periods[rule]);
			reasons.set(name, [...(reasons.get(name) ?? []), rule]);
		}
	}
	return reasons;
}

/** A number for each period that a moment is in, different for different periods. */
export function periodsOf(ms: number, zone: string): Record<Exclude<KeepRule, 'last'>, number> {
	const offset = offsetMs(ms, zone);
	const local = ms + offset;
	const day = Math.floor(local / dayMs);
	const date = new Date(local);
	return {
		// An hour that comes twice is two hours, so it is counted in UTC, cut where the zone's hours begin.
		hourly: Math.floor(local / hourMs) * hourMs - offset,
		daily: day,
		// 1 January 1970 was a Thursday.
		weekly: Math.floor((day + 3) / 7),
		monthly: date.getUTCFullYear() * 12 + date.getUTCMonth(),
		yearly: date.getUTCFullYear(),
	};
}
