import test from 'ava';
import fc from 'fast-check';
import { parseCron } from '../../src/schedule/cron-expression.ts';
import { CronTimes } from '../../src/schedule/cron-times.ts';
import { limits } from '../../src/schedule/limits.ts';
import { isZone, offsetMs } from '../../src/schedule/zone.ts';

const minuteMs = 60_000;

function at(text: string): number {
	return Date.parse(text);
}

function next(expression: string, zone: string, from: string, count: number): string[] {
	const times = new CronTimes(expression, zone);
	const found: string[] = [];
	for (let ms = at(from); found.length < count;) {
		const after = times.after(ms);
		if (after === undefined) break;
		found.push(new Date(after).toISOString().replace(':00.000Z', 'Z'));
		ms = after;
	}
	return found;
}

test('nicknames, names, lists, ranges and steps mean what crontab(5) says', (t) => {
	const cases: [string, string[]][] = [
		['@hourly', ['2026-01-01T01:00Z', '2026-01-01T02:00Z']],
		['@daily', ['2026-01-02T00:00Z', '2026-01-03T00:00Z']],
		['@midnight', ['2026-01-02T00:00Z', '2026-01-03T00:00Z']],
		['@weekly', ['2026-01-04T00:00Z', '2026-01-11T00:00Z']],
		['@monthly', ['2026-02-01T00:00Z', '2026-03-01T00:00Z']],
		['@Yearly', ['2027-01-01T00:00Z', '2028-01-01T00:00Z']],
		['@annually', ['2027-01-01T00:00Z', '2028-01-01T00:00Z']],
		['5,10-12,*/25 * * * *', ['2026-01-01T00:05Z', '2026-01-01T00:10Z', '2026-01-01T00:11Z', '2026-01-01T00:12Z', '2026-01-01T00:25Z']],
		['0 9-17/4 * * MON-fri', ['2026-01-01T09:00Z', '2026-01-01T13:00Z', '2026-01-01T17:00Z', '2026-01-02T09:00Z']],
		['0 0 1 jan,Jul *', ['2026-07-01T00:00Z', '2027-01-01T00:00Z']],
		['0 0 * * 7', ['2026-01-04T00:00Z']],
		['0 0 * * 5-7', ['2026-01-02T00:00Z', '2026-01-03T00:00Z', '2026-01-04T00:00Z', '2026-01-09T00:00Z']],
		['0 0 29 2 *', ['2028-02-29T00:00Z', '2032-02-29T00:00Z']],
		// Day of month or day of week, when both are said.
		['0 0 13 * 5', ['2026-01-02T00:00Z', '2026-01-09T00:00Z', '2026-01-13T00:00Z', '2026-01-16T00:00Z']],
	];
	for (const [expression, expected] of cases)
		t.deepEqual(next(expression, 'UTC', '2026-01-01T00:00:00Z', expected.length), expected, expression);
});

test('what is no cron expression is refused with the field that is wrong', (t) => {
	const cases: [string, RegExp][] = [
		['', /five fields/],
		['* * * *', /five fields/],
		['* * * * * *', /five fields/],
		['60 * * * *', /minute/],
		['* 24 * * *', /hour/],
		['* * 0 * *', /day of month/],
		['* * 32 * *', /day of month/],
		['* * * 13 *', /month/],
		['* * * 0 *', /month/],
		['* * * * 8', /day of week/],
		['* * * mon *', /month/],
		['* * * january *', /month/],
		['10-5 * * * *', /minute/],
		['*/0 * * * *', /minute/],
		['*/60 * * * *', /minute/],
		['5/15 * * * *', /minute/],
		['1,,2 * * * *', /minute/],
		['1, * * * *', /minute/],
		['-1 * * * *', /minute/],
		['1e1 * * * *', /minute/],
		['1-2-3 * * * *', /minute/],
		['* * L * *', /day of month/],
		['* * ? * *', /day of month/],
		['* * 15W * *', /day of month/],
		['* * * * 5#2', /day of week/],
		['* * * * +1', /day of week/],
		['@reboot', /nickname/],
		['2026-01-01T00:00:00', /five fields/],
		[`${'0,'.repeat(limits.cronLength / 2)}0 * * * *`, /at most/],
	];
	for (const [expression, sentence] of cases) {
		const parsed = parseCron(expression);
		t.true('fault' in parsed, expression);
		t.regex('fault' in parsed ? parsed.fault : '', sentence, expression);
		t.throws(() => new CronTimes(expression, 'UTC'), { instanceOf: RangeError }, expression);
	}
});

test('the longest expression is taken, and one character more is not', (t) => {
	const text = `${'0,'.repeat((limits.cronLength - 10) / 2)}0 * * * *`;
	t.is(text.length, limits.cronLength - 1);
	t.true('fields' in parseCron(`${text} `));
	t.true('fault' in parseCron(`${text}  `));
});

test('a day that never comes has no time before or after', (t) => {
	const times = new CronTimes('0 0 30 2 *', 'UTC');
	t.is(times.after(at('2026-01-01T00:00:00Z')), undefined);
	t.is(times.atOrBefore(at('2026-01-01T00:00:00Z')), undefined);
});

test('a time of day in the gap of a clock that is put forward comes at the first minute after it, lists and ranges too', (t) => {
	// Berlin, 29 March 2026: 02:00 is 03:00, 01:00 UTC.
	t.deepEqual(next('30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', 2), ['2026-03-29T01:00Z', '2026-03-30T00:30Z']);
	t.deepEqual(next('30 2,14 * * *', 'Europe/Berlin', '2026-03-28T13:30:00Z', 3), [
		'2026-03-29T01:00Z',
		'2026-03-29T12:30Z',
		'2026-03-30T00:30Z',
	]);
	// Lord Howe puts its clocks forward by half an hour: 4 October 2026, 02:00 is 02:30, 15:30 UTC the day before.
	t.deepEqual(next('15 2 * * *', 'Australia/Lord_Howe', '2026-10-03T00:00:00Z', 2), ['2026-10-03T15:30Z', '2026-10-04T15:15Z']);
});

test('a time of day that comes twice when the clock is put back happens once, the first time', (t) => {
	// Berlin, 25 October 2026: 03:00 is 02:00, 01:00 UTC.
	t.deepEqual(next('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', 2), ['2026-10-25T00:30Z', '2026-10-26T01:30Z']);
	const times = new CronTimes('30 2 * * *', 'Europe/Berlin');
	t.is(times.atOrBefore(at('2026-10-25T01:45:00Z')), at('2026-10-25T00:30:00Z'), 'also looked at from the second pass');
});

test('an interval goes on through the hour that comes twice, and over the one that is left out', (t) => {
	t.deepEqual(next('*/30 * * * *', 'Europe/Berlin', '2026-10-24T23:45:00Z', 6), [
		'2026-10-25T00:00Z',
		'2026-10-25T00:30Z',
		'2026-10-25T01:00Z',
		'2026-10-25T01:30Z',
		'2026-10-25T02:00Z',
		'2026-10-25T02:30Z',
	]);
	t.deepEqual(next('0 * * * *', 'Europe/Berlin', '2026-03-28T23:30:00Z', 4), [
		'2026-03-29T00:00Z',
		'2026-03-29T01:00Z',
		'2026-03-29T02:00Z',
		'2026-03-29T03:00Z',
	]);
});

test('zones: IANA names are taken, offsets and inventions are not', (t) => {
	for (const zone of ['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Asia/Kathmandu']) t.true(isZone(zone), zone);
	for (const zone of ['', '+01:00', 'Mars/Phobos', 'Europe/Berlin\n', ' UTC', 'U'.repeat(65)]) t.false(isZone(zone), zone);
	t.is(offsetMs(at('2026-07-01T00:00:00Z'), 'Europe/Berlin'), 2 * 60 * minuteMs);
	t.is(offsetMs(at('2026-01-01T00:00:00.999Z'), 'Asia/Kathmandu'), 345 * minuteMs);
	t.is(offsetMs(at('2026-01-01T00:00:00Z'), 'America/St_Johns'), -210 * minuteMs);
	t.throws(() => new CronTimes('@daily', 'Mars/Phobos'), { instanceOf: RangeError });
});

/** The fields of a moment on the clocks of a zone: minute, hour, day, month, day of week. */
function fieldsOf(ms: number, zone: string): number[] {
	const local = new Date(ms + offsetMs(ms, zone));
	return [local.getUTCMinutes(), local.getUTCHours(), local.getUTCDate(), local.getUTCMonth() + 1, local.getUTCDay()];
}

interface Field {
	readonly text: string;
	readonly values: ReadonlySet<number> | undefined;
}

/** A field with what it means, made together, so that nothing is parsed twice the same way. */
function field(min: number, max: number): fc.Arbitrary<Field> {
	const value = fc.integer({ min, max });
	const range = fc
		.tuple(value, value, fc.integer({ min: 1, max }))
		.map(([a, b, step]) => ({ from: Math.min(a, b), to: Math.max(a, b), step }))
		.map(({ from, to, step }) => ({
			text: `${from}-${to}/${step}`,
			values: Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step),
		}));
	const single = value.map((one) => ({ text: String(one), values: [one] }));
	return fc.oneof(
		{ weight: 1, arbitrary: fc.constant<Field>({ text: '*', values: undefined }) },
		{
			weight: 2,
			arbitrary: fc.array(fc.oneof(single, range), { minLength: 1, maxLength: 3 }).map((items) => ({
				text: items.map((item) => item.text).join(','),
				values: new Set(items.flatMap((item) => item.values)),
			})),
		},
	);
}

function matches(fields: readonly Field[], ms: number, zone: string): boolean {
	const found = fieldsOf(ms, zone);
	const hits = fields.map(({ values }, index) => values === undefined || values.has(found[index] as number));
	const [minute, hour, day, month, weekday] = hits as [boolean, boolean, boolean, boolean, boolean];
	const either = fields[2]?.values !== undefined && fields[4]?.values !== undefined;
	return minute && hour && month && (either ? day || weekday : day && weekday);
}

test('intervals in any zone, against a walk over every minute', (t) => {
	const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu'];
	// Around the changes of the clocks, and anywhere.
	const around = fc.oneof(
		fc
			.constantFrom('2026-03-29T00:00:00Z', '2026-10-24T22:00:00Z', '2026-03-08T05:00:00Z', '2026-11-01T04:00:00Z', '2026-10-03T13:00:00Z')
			.map(at),
		fc.integer({ min: at('2025-01-01T00:00:00Z'), max: at('2028-01-01T00:00:00Z') }),
	);
	fc.assert(
		fc.property(
			fc.tuple(field(0, 59), field(1, 31), field(1, 12), field(0, 6)),
			fc.constantFrom(...zones),
			around,
			fc.integer({ min: 0, max: 120 * minuteMs }),
			([minute, day, month, weekday], zone, base, shift) => {
				// The hour is `*`, so it is an interval.
				const fields = [minute, { text: '*', values: undefined }, day, month, weekday];
				const from = base + shift;
				const times = new CronTimes(fields.map(({ text }) => text).join(' '), zone);
				const start = Math.floor(from / minuteMs) * minuteMs;
				const walkMinutes = 600;
				let expected: number | undefined;
				for (let step = 1; step <= walkMinutes && expected === undefined; step++) {
					if (matches(fields, start + step * minuteMs, zone)) expected = start + step * minuteMs;
				}
				const after = times.after(from);
				if (expected === undefined) t.true(after === undefined || after > start + walkMinutes * minuteMs);
				else t.is(after, expected);
				let before: number | undefined;
				for (let step = 0; step < walkMinutes && before === undefined; step++) {
					if (matches(fields, start - step * minuteMs, zone)) before = start - step * minuteMs;
				}
				const last = times.atOrBefore(from);
				if (before === undefined) t.true(last === undefined || last <= start - walkMinutes * minuteMs);
				else t.is(last, before);
			},
		),
		{ numRuns: 150 },
	);
});

test('any expression in any zone: before and after agree with each other', (t) => {
	fc.assert(
		fc.property(
			fc.tuple(field(0, 59), field(0, 23)),
			fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'),
			fc.integer({ min: at('2026-03-01T00:00:00Z'), max: at('2026-11-30T00:00:00Z') }),
			([minute, hour], zone, from) => {
				const times = new CronTimes(`${minute.text} ${hour.text} * * *`, zone);
				const last = times.atOrBefore(from);
				t.true(last !== undefined && last <= from);
				const after = times.after(last ?? 0);
				t.true(after !== undefined && after > from, 'nothing lies between the last time and now');
				t.is(times.atOrBefore(after ?? 0), after);
			},
		),
		{ numRuns: 300 },
	);
});
