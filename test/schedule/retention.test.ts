import test from 'ava';
import fc from 'fast-check';
import { type Dated, type Keep, type KeepRule, kept, keepRules, periodsOf } from '../../src/schedule/retention.ts';

const hourMs = 3_600_000;
const none: Keep = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
const zones = ['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/New_York'] as const;

function at(text: string): number {
	return Date.parse(text);
}

function series(...texts: string[]): Dated[] {
	return texts.map((text, order) => ({ name: text, timeMs: at(text), order }));
}

const counts = fc.record<Keep>({
	last: fc.integer({ min: 0, max: 5 }),
	hourly: fc.integer({ min: 0, max: 12 }),
	daily: fc.integer({ min: 0, max: 8 }),
	weekly: fc.integer({ min: 0, max: 5 }),
	monthly: fc.integer({ min: 0, max: 14 }),
	yearly: fc.integer({ min: 0, max: 3 }),
});

/** Snapshots in the order in which they were made; the clock mostly goes on, by minutes to months, and is now and then set back. */
const histories = fc
	.tuple(
		fc.integer({ min: at('2024-01-01T00:00:00Z'), max: at('2028-01-01T00:00:00Z') }),
		fc.array(
			fc.oneof(
				{ weight: 6, arbitrary: fc.integer({ min: 1, max: 3 * hourMs }) },
				{ weight: 3, arbitrary: fc.integer({ min: hourMs, max: 40 * hourMs }) },
				{ weight: 1, arbitrary: fc.integer({ min: 24 * hourMs, max: 100 * 24 * hourMs }) },
				{ weight: 1, arbitrary: fc.integer({ min: -1000 * hourMs, max: 0 }) },
			),
			{ maxLength: 80 },
		),
	)
	.map(([start, steps]): Dated[] => {
		let timeMs = start;
		return steps.map((step, order) => ({ name: `s${order}`, timeMs: (timeMs += step), order }));
	});

test('each rule keeps the newest of its last periods, and says so', (t) => {
	const snapshots = series(
		'2025-12-31T23:00:00Z',
		'2026-01-01T10:10:00Z',
		'2026-01-01T10:50:00Z',
		'2026-01-02T09:00:00Z',
		'2026-02-01T00:00:00Z',
	);
	const names = (keep: Partial<Keep>) => [...kept(snapshots, { ...none, ...keep }, 'UTC').keys()].toReversed();
	t.deepEqual(names({ last: 2 }), ['2026-01-02T09:00:00Z', '2026-02-01T00:00:00Z']);
	t.deepEqual(names({ hourly: 3 }), ['2026-01-01T10:50:00Z', '2026-01-02T09:00:00Z', '2026-02-01T00:00:00Z']);
	t.deepEqual(names({ daily: 4 }), ['2025-12-31T23:00:00Z', '2026-01-01T10:50:00Z', '2026-01-02T09:00:00Z', '2026-02-01T00:00:00Z']);
	// 31 December to 2 January are in one week; so is 1 February, a Sunday, with nothing else.
	t.deepEqual(names({ weekly: 9 }), ['2026-01-02T09:00:00Z', '2026-02-01T00:00:00Z']);
	t.deepEqual(names({ monthly: 9 }), ['2025-12-31T23:00:00Z', '2026-01-02T09:00:00Z', '2026-02-01T00:00:00Z']);
	t.deepEqual(names({ yearly: 9 }), ['2025-12-31T23:00:00Z', '2026-02-01T00:00:00Z']);
	t.deepEqual(names({}), []);
	t.deepEqual(
		kept(snapshots, { ...none, last: 1, yearly: 2 }, 'UTC'),
		new Map<string, KeepRule[]>([
			['2026-02-01T00:00:00Z', ['last', 'yearly']],
			['2025-12-31T23:00:00Z', ['yearly']],
		]),
	);
});

test('periods are those of the zone, weeks begin on Monday, and an hour that comes twice is two', (t) => {
	const period = (rule: Exclude<KeepRule, 'last'>, text: string, zone: string) => periodsOf(at(text), zone)[rule];
	t.is(period('daily', '2026-01-01T23:30:00Z', 'Europe/Berlin'), period('daily', '2026-01-02T12:00:00Z', 'Europe/Berlin'));
	t.not(period('daily', '2026-01-01T23:30:00Z', 'UTC'), period('daily', '2026-01-02T12:00:00Z', 'UTC'));
	t.is(period('yearly', '2025-12-31T23:30:00Z', 'Europe/Berlin'), 2026);
	t.is(period('monthly', '2026-01-31T23:30:00Z', 'Europe/Berlin'), period('monthly', '2026-02-01T12:00:00Z', 'Europe/Berlin'));
	t.is(period('weekly', '2026-01-05T00:00:00Z', 'UTC'), period('weekly', '2026-01-11T23:59:00Z', 'UTC'));
	t.not(period('weekly', '2026-01-04T23:59:00Z', 'UTC'), period('weekly', '2026-01-05T00:00:00Z', 'UTC'));
	t.not(period('hourly', '2026-10-25T00:30:00Z', 'Europe/Berlin'), period('hourly', '2026-10-25T01:30:00Z', 'Europe/Berlin'));
	// 05:45 ahead: an hour there begins at a quarter past here.
	t.not(period('hourly', '2026-01-01T00:14:00Z', 'Asia/Kathmandu'), period('hourly', '2026-01-01T00:16:00Z', 'Asia/Kathmandu'));
	t.is(period('hourly', '2026-01-01T00:16:00Z', 'Asia/Kathmandu'), period('hourly', '2026-01-01T01:14:00Z', 'Asia/Kathmandu'));
});

test('any history: each rule stays within its count and lacks nothing that it could have', (t) => {
	fc.assert(
		fc.property(histories, counts, fc.constantFrom(...zones), (snapshots, keep, zone) => {
			const reasons = kept(snapshots, keep, zone);
			for (const rule of keepRules) {
				const periodOf = (one: Dated) => (rule === 'last' ? one.order : periodsOf(one.timeMs, zone)[rule]);
				const chosen = snapshots.filter(({ name }) => reasons.get(name)?.includes(rule));
				t.is(new Set(chosen.map(periodOf)).size, chosen.length, 'one a period');
				t.is(chosen.length, Math.min(keep[rule], new Set(snapshots.map(periodOf)).size));
				for (const one of chosen)
					t.false(
						snapshots.some((other) => other.order > one.order && periodOf(other) === periodOf(one)),
						'the newest of its period',
					);
				// No period that was left out has a newer snapshot than one that was chosen.
				const periods = new Set(chosen.map(periodOf));
				const newestLeftOut = Math.max(-1, ...snapshots.filter((one) => !periods.has(periodOf(one))).map(({ order }) => order));
				for (const one of chosen) t.true(one.order > newestLeftOut);
			}
			t.true(reasons.size <= keepRules.reduce((sum, rule) => sum + keep[rule], 0));
		}),
		{ numRuns: 300 },
	);
});

test('any history: pruning twice is pruning once, and the order of the list means nothing', (t) => {
	fc.assert(
		fc.property(histories, counts, fc.constantFrom(...zones), (snapshots, keep, zone) => {
			const once = kept(snapshots, keep, zone);
			t.deepEqual(
				kept(
					snapshots.filter(({ name }) => once.has(name)),
					keep,
					zone,
				),
				once,
			);
			t.deepEqual(kept(snapshots.toReversed(), keep, zone), once);
		}),
	);
});

test('any history: pruning after every snapshot leaves what pruning once at the end leaves, so no longer period ever lacks one', (t) => {
	fc.assert(
		fc.property(histories, counts, fc.constantFrom(...zones), (snapshots, keep, zone) => {
			let there: Dated[] = [];
			for (const snapshot of snapshots) {
				const candidates = [...there, snapshot];
				const needed = kept(candidates, keep, zone);
				there = candidates.filter(({ name }) => needed.has(name));
			}
			const atOnce = kept(snapshots, keep, zone);
			t.deepEqual(
				there,
				snapshots.filter(({ name }) => atOnce.has(name)),
			);
		}),
		{ numRuns: 200 },
	);
});
