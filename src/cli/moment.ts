import { UsageError } from '../config/usage-error.ts';

/** A moment as the API takes it. */
export type MomentBody = { readonly at: string } | { readonly lsn: number };

const units = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time span such as 90s, 30m, 24h or 7d, in milliseconds. Throws UsageError. */
export function parseSpan(text: string): number {
	const parts = /^(?<count>\d{1,8})(?<unit>[smhd])$/.exec(text)?.groups;
	if (parts === undefined) throw new UsageError('It takes a span such as 90s, 30m, 24h or 7d.');
	return Number(parts['count']) * units[parts['unit'] as keyof typeof units];
}

/** `2026-11-21T12:00:00Z` (a time with its zone), `15m` (so long ago) or `123456` (an LSN). Throws UsageError. */
export function parseMoment(text: string, nowMs: number): MomentBody {
	if (/^\d{1,15}$/.test(text)) return { lsn: Number(text) };
	if (/^\d{1,8}[smhd]$/.test(text)) return { at: new Date(nowMs - parseSpan(text)).toISOString() };
	const isTime = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$/.test(text);
	const timeMs = isTime ? Date.parse(text.replace(' ', 'T')) : NaN;
	if (Number.isNaN(timeMs)) throw new UsageError('It takes a time with its zone (2026-11-21T12:00:00Z), how long ago (15m), or an LSN.');
	return { at: new Date(timeMs).toISOString() };
}
