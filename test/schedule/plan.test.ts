import test from 'ava';
import fc from 'fast-check';
import { limits } from '../../src/schedule/limits.ts';
import { expand, freeName, isSnapshotName, templateDefault, templateFault } from '../../src/schedule/name-template.ts';
import { type Plan, type PlanInput, plan, type SnapshotFact } from '../../src/schedule/plan.ts';
import { type Policy, policyFault } from '../../src/schedule/policy.ts';
import { type Keep, kept } from '../../src/schedule/retention.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const none: Keep = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
const hourly: Policy = { name: 'hourly', cron: '@hourly', zone: 'UTC', template: templateDefault, keep: { ...none, last: 3 } };

function at(text: string): number {
	return Date.parse(text);
}

function must(planned: ReturnType<typeof plan>): Plan {
	if ('fault' in planned) throw new Error(planned.fault);
	return planned;
}

function fact(name: string, timeMs: number, order: number, change: Partial<SnapshotFact> = {}): SnapshotFact {
	return { name, timeMs, order, own: true, inUse: false, ...change };
}

test('due: one snapshot, named by the moment; not due: none, and the time when it is', (t) => {
	const input = { policy: hourly, seenMs: at('2026-01-01T09:30:00Z'), volumes: [{ volume: 'data', snapshots: [] }] };
	t.deepEqual(must(plan({ ...input, nowMs: at('2026-01-01T09:59:59Z') })), {
		create: undefined,
		deletions: [],
		seenMs: input.seenMs,
		nextMs: at('2026-01-01T10:00:00Z'),
	});
	t.deepEqual(must(plan({ ...input, nowMs: at('2026-01-01T10:00:00Z') })).create, {
		name: 'hourly-20260101-100000',
		dueMs: at('2026-01-01T10:00:00Z'),
	});
	const late = must(plan({ ...input, nowMs: at('2026-01-01T10:07:08Z') }));
	t.deepEqual(late.create, { name: 'hourly-20260101-100708', dueMs: at('2026-01-01T10:00:00Z') });
	t.is(must(plan({ ...input, seenMs: at('2026-01-01T10:00:00Z'), nowMs: at('2026-01-01T10:07:08Z') })).create, undefined);
});

test('times that were missed are caught up once, however many there were', (t) => {
	const input = { policy: hourly, seenMs: at('2025-06-01T00:00:00Z'), volumes: [{ volume: 'data', snapshots: [] }] };
	const first = must(plan({ ...input, nowMs: at('2026-01-01T10:07:08Z') }));
	t.is(first.create?.dueMs, at('2026-01-01T10:00:00Z'));
	t.is(must(plan({ ...input, seenMs: first.create?.dueMs ?? 0, nowMs: at('2026-01-01T10:07:08Z') })).create, undefined);
});

test('a clock that was set back is followed, and nothing is made until it is due by the new time', (t) => {
	const input = {
		policy: hourly,
		seenMs: at('2036-01-01T00:00:00Z'),
		nowMs: at('2026-01-01T10:07:08Z'),
		volumes: [{ volume: 'data', snapshots: [] }],
	};
	const back = must(plan(input));
	t.is(back.create, undefined);
	t.is(back.seenMs, input.nowMs);
	t.is(must(plan({ ...input, seenMs: back.seenMs, nowMs: at('2026-01-01T11:00:00Z') })).create?.dueMs, at('2026-01-01T11:00:00Z'));
});

test('after the clock was set back the newest snapshot is kept, though the clock calls it old', (t) => {
	const snapshots = [0, 1, 2, 3].map((index) => fact(`future${index}`, at('2036-01-01T00:00:00Z') + index * hourMs, index));
	snapshots.push(fact('now', at('2026-01-01T11:00:00Z'), 4));
	const { deletions } = must(
		plan({
			policy: hourly,
			nowMs: at('2026-01-01T11:01:00Z'),
			seenMs: at('2026-01-01T11:00:00Z'),
			volumes: [{ volume: 'data', snapshots }],
		}),
	);
	t.deepEqual(
		deletions.map(({ name }) => name),
		['future0', 'future1'],
	);
});

test('a name that is taken in any of the volumes gets a number', (t) => {
	const nowMs = at('2026-01-01T10:00:00Z');
	const taken = expand(templateDefault, 'hourly', nowMs);
	const volumes = [
		{ volume: 'a', snapshots: [fact(taken, nowMs, 1, { own: false })] },
		{ volume: 'b', snapshots: [fact(`${taken}-2`, nowMs, 1, { own: false })] },
	];
	t.is(must(plan({ policy: hourly, nowMs, seenMs: nowMs - 1, volumes })).create?.name, `${taken}-3`);
	const all = new Set([taken, ...Array.from({ length: 999 }, (_, index) => `${taken}-${index + 2}`)]);
	t.is(
		freeName(taken, (name) => all.has(name)),
		`${taken}-1001`,
	);
	t.true('-1001'.length <= limits.suffixLength);
});

test('templates: what is expanded, and what is refused', (t) => {
	const ms = at('2026-02-03T04:05:06.789Z');
	t.is(expand('{schedule}_{utc:YYYY.MM.DD-HHmmss}', 'nightly', ms), 'nightly_2026.02.03-040506');
	t.is(expand('{utc}', 'nightly', ms), '20260203-040506');
	t.is(expand('x{utc:mm}', 'nightly', ms), 'x05');
	t.is(templateFault(templateDefault, 'a'.repeat(32)), undefined);
	const longest = limits.snapshotNameLength - limits.suffixLength - '20260203-040506'.length;
	t.is(templateFault(`${'a'.repeat(longest)}{utc}`, 's'), undefined);
	for (const [template, sentence] of [
		['{schedule}', /one name/],
		['', /one name/],
		['{schedule:YYYY}-{utc}', /without more/],
		['{utc:YYYY-MM-DD HH:mm}', /makes no names/],
		['-{utc}', /makes no names/],
		['{local}-{utc}', /makes no names/],
		['{utc}/{schedule}', /makes no names/],
		[`${'a'.repeat(longest + 1)}{utc}`, /makes no names/],
		[`${'a'.repeat(limits.templateLength)}{utc}`, /at most/],
	] as const) {
		t.regex(templateFault(template, 's') ?? '', sentence, template);
	}
	t.true(isSnapshotName('A.b_c-1'));
	for (const name of ['', '.a', '-a', 'a b', 'a@b', 'a/b', 'a,b', 'é', 'a'.repeat(limits.snapshotNameLength + 1)])
		t.false(isSnapshotName(name), name);
	t.true(isSnapshotName('a'.repeat(limits.snapshotNameLength)));
});

const faulty: [string, Partial<Policy>][] = [
	['cron', { cron: '61 * * * *' }],
	['never', { cron: '0 0 31 4 *' }],
	['zone', { zone: 'Mars/Phobos' }],
	['template', { template: 'same' }],
	['keep nothing', { keep: none }],
	['keep less than nothing', { keep: { ...none, last: 5, daily: -1 } }],
	['keep a part', { keep: { ...none, last: 1.5 } }],
	['keep what is no number', { keep: { ...none, last: Number.NaN } }],
	['keep too much', { keep: { ...none, last: limits.keepTotal, yearly: 1 } }],
];

for (const [what, change] of faulty) {
	test(`a policy with a fault does nothing: ${what}`, (t) => {
		const policy = { ...hourly, ...change };
		t.regex(policyFault(policy) ?? '', /^[^\n]+\.$/);
		const snapshots = Array.from({ length: 20 }, (_, order) => fact(`s${order}`, order * hourMs, order));
		t.deepEqual(plan({ policy, nowMs: at('2026-01-01T10:00:00Z'), seenMs: 0, volumes: [{ volume: 'data', snapshots }] }), {
			fault: policyFault(policy) ?? '',
		});
	});
}

test('a policy at its limits is taken', (t) => {
	t.is(policyFault({ ...hourly, keep: { ...none, last: limits.keepTotal } }), undefined);
});

const inputs = fc
	.record({
		keep: fc.record<Keep>({
			last: fc.integer({ min: 0, max: 4 }),
			hourly: fc.integer({ min: 0, max: 4 }),
			daily: fc.integer({ min: 0, max: 4 }),
			weekly: fc.integer({ min: 0, max: 3 }),
			monthly: fc.integer({ min: 0, max: 3 }),
			yearly: fc.integer({ min: 0, max: 2 }),
		}),
		cron: fc.constantFrom('@hourly', '*/15 * * * *', '30 2 * * *', '0 0 1 * *'),
		zone: fc.constantFrom('UTC', 'Europe/Berlin'),
		nowMs: fc.integer({ min: at('2025-01-01T00:00:00Z'), max: at('2027-01-01T00:00:00Z') }),
		agoMs: fc.integer({ min: -hourMs, max: 48 * hourMs }),
		volumes: fc.array(
			fc.array(
				fc.record({
					agoMs: fc.integer({ min: -hourMs, max: 90 * 24 * hourMs }),
					own: fc.boolean(),
					inUse: fc.nat(9).map((one) => one === 0),
				}),
				{
					maxLength: 30,
				},
			),
			{ minLength: 1, maxLength: 3 },
		),
	})
	.map(({ keep, cron, zone, nowMs, agoMs, volumes }): PlanInput => ({
		policy: { name: 'p', cron, zone, template: templateDefault, keep },
		nowMs,
		seenMs: nowMs - agoMs,
		volumes: volumes.map((snapshots, index) => ({
			volume: `v${index}`,
			snapshots: snapshots.map(({ agoMs, own, inUse }, order) => fact(`s${order}`, nowMs - agoMs, order, { own, inUse })),
		})),
	}));

test('any clock and history: what is deleted is its own, not in use, not the newest, and needed by no rule; the same input has the same answer', (t) => {
	fc.assert(
		fc.property(inputs, (input) => {
			const planned = plan(input);
			t.deepEqual(plan(structuredClone(input)), planned);
			if ('fault' in planned) {
				t.is(
					Object.values(input.policy.keep).reduce((sum, count) => sum + count, 0),
					0,
				);
				return;
			}
			for (const { volume, snapshots } of input.volumes) {
				const own = snapshots.filter((one) => one.own);
				const gone = new Set(planned.deletions.filter((one) => one.volume === volume).map(({ name }) => name));
				const needed = kept(own, input.policy.keep, input.policy.zone);
				for (const one of snapshots) {
					if (!gone.has(one.name)) continue;
					t.true(one.own && !one.inUse && one !== own.at(-1) && !needed.has(one.name));
				}
				// What stays and is needed by no rule has a reason to stay.
				for (const one of own) if (!gone.has(one.name) && !needed.has(one.name)) t.true(one.inUse || one === own.at(-1));
			}
			if (planned.create !== undefined) {
				t.true(planned.create.dueMs <= input.nowMs && planned.create.dueMs > input.seenMs);
				t.true(isSnapshotName(planned.create.name));
			}
			t.true(planned.nextMs !== undefined && planned.nextMs > input.nowMs);
		}),
		{ numRuns: 400 },
	);
});

test('any clock and history: once a plan was carried out, the next one has nothing to do', (t) => {
	fc.assert(
		fc.property(inputs, (input) => {
			const planned = plan(input);
			if ('fault' in planned) return;
			const seenMs = planned.create?.dueMs ?? planned.seenMs;
			const made = (snapshots: readonly SnapshotFact[]) =>
				planned.create === undefined ? snapshots : [...snapshots, fact(planned.create.name, input.nowMs, snapshots.length)];
			const created = { ...input, seenMs, volumes: input.volumes.map(({ volume, snapshots }) => ({ volume, snapshots: made(snapshots) })) };
			const second = must(plan(created));
			t.is(second.create, undefined);
			const gone = new Set([...planned.deletions, ...second.deletions].map(({ volume, name }) => `${volume}@${name}`));
			const volumes = created.volumes.map(({ volume, snapshots }) => ({
				volume,
				snapshots: snapshots.filter(({ name }) => !gone.has(`${volume}@${name}`)),
			}));
			const third = must(plan({ ...created, volumes }));
			t.deepEqual([third.create, third.deletions], [undefined, []]);
			const bound = Object.values(input.policy.keep).reduce((sum, count) => sum + count, 0);
			for (const { snapshots } of volumes) t.true(snapshots.filter(({ own, inUse }) => own && !inUse).length <= bound);
		}),
		{ numRuns: 300 },
	);
});
