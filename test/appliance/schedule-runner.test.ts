import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { EventLog } from '../../src/appliance/event-log.ts';
import { ScheduleRunner } from '../../src/appliance/schedule-runner.ts';
import { ApplianceSchedules } from '../../src/appliance/schedules.ts';
import type { SnapshotInfo, SnapshotKeeper } from '../../src/appliance/snapshot-engine.ts';
import { Configuration } from '../../src/config/configuration.ts';
import { openDatabase } from '../../src/config/database.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const start = Date.parse('2026-11-21T12:30:00Z');
const none = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };

/** Snapshots in memory, which fail when they are told to. */
class Keeper implements SnapshotKeeper {
	readonly volumes = new Map<string, SnapshotInfo[]>();
	readonly inUse = new Set<string>();
	readonly calls: string[] = [];
	/** Called before each step; may throw. */
	before: (step: string) => void = () => undefined;
	/** Called between the engine's work and its answer; may throw. */
	after: (step: string) => void = () => undefined;
	#lsn = 0;
	readonly #now: () => number;

	constructor(now: () => number) {
		this.#now = now;
	}

	list(volume: string): readonly SnapshotInfo[] {
		this.before(`list ${volume}`);
		return this.volumes.get(volume) ?? [];
	}

	async create(volumes: readonly string[], name: string): Promise<SnapshotInfo[]> {
		this.calls.push(`create ${volumes.join(',')} ${name}`);
		this.before(`create ${volumes.join(',')} ${name}`);
		const made = volumes.map((volume) => this.put(volume, name));
		this.after(`create ${name}`);
		return made;
	}

	async delete(volume: string, name: string): Promise<void> {
		this.calls.push(`delete ${volume} ${name}`);
		this.before(`delete ${volume} ${name}`);
		this.drop(volume, name);
	}

	isInUse(volume: string, name: string): boolean {
		return this.inUse.has(`${volume}@${name}`);
	}

	put(volume: string, name: string): SnapshotInfo {
		const lsn = ++this.#lsn;
		const info = { id: lsn * 7, name, timeMs: this.#now(), lsn, sizeBytes: 4096, parent: undefined };
		this.volumes.set(volume, [...(this.volumes.get(volume) ?? []), info]);
		return info;
	}

	drop(volume: string, name: string): void {
		this.volumes.set(
			volume,
			(this.volumes.get(volume) ?? []).filter((one) => one.name !== name),
		);
	}

	names(volume: string): string[] {
		return (this.volumes.get(volume) ?? []).map(({ name }) => name);
	}
}

class Clock {
	ms = start;
	waiting: { atMs: number; call: () => void } | undefined;

	now(): number {
		return this.ms;
	}

	later(ms: number, call: () => void): () => void {
		const timer = { atMs: this.ms + ms, call };
		this.waiting = timer;
		return () => {
			if (this.waiting === timer) this.waiting = undefined;
		};
	}
}

async function fixture(t: ExecutionContext) {
	const clock = new Clock();
	const path = join(await temporaryDirectory(t), 'config.db');
	const configuration = new Configuration(path, () => new Date(clock.ms));
	t.teardown(() => configuration.close());
	for (const [index, name] of ['data', 'log'].entries()) {
		configuration.addVolume({ name, uuid: `00000000-0000-4000-8000-00000000000${index}`, sizeBytes: 4096, blockSize: 512 });
	}
	const events = new EventLog(silent, () => clock.ms);
	const snapshots = new Keeper(() => clock.ms);
	const { schedules } = configuration;
	let turn: Promise<unknown> = Promise.resolve();
	const inTurn = <T>(change: () => Promise<T>): Promise<T> => {
		const next = turn.then(change);
		turn = next.catch(() => undefined);
		return next;
	};
	const parts = { schedules, snapshots, events, inTurn, clock };
	/** A runner of a new process, which the clock calls. */
	const makeRunner = () => {
		const runner = new ScheduleRunner(parts);
		t.teardown(() => runner.stop());
		return runner;
	};
	/** Lets what is due run: until nothing waits for less than `untilMs`. */
	const goTo = async (untilMs: number) => {
		for (let rounds = 0; ; rounds++) {
			if (rounds > 10_000) throw new Error('the runner never sleeps');
			await settled(inTurn, clock);
			const { waiting } = clock;
			if (waiting === undefined || waiting.atMs > untilMs) break;
			clock.waiting = undefined;
			clock.ms = waiting.atMs;
			waiting.call();
		}
		clock.ms = untilMs;
	};
	const add = (name: string, change: object = {}) =>
		schedules.add({
			name,
			cron: '@hourly',
			zone: 'UTC',
			template: '{schedule}-{utc:HHmm}',
			keep: { ...none, last: 3 },
			volumes: ['data'],
			...change,
		});
	const messages = () => events.after(0, 1000).map(({ kind, schedule }) => `${kind} ${schedule}`);
	return { ...parts, configuration, makeRunner, goTo, add, messages };
}

/** Until the round has come to its end: it sleeps, or nothing moves any more. */
async function settled(inTurn: <T>(change: () => Promise<T>) => Promise<T>, clock: Clock): Promise<void> {
	for (let turns = 0; turns < 200 && clock.waiting === undefined; turns++) await inTurn(async () => undefined);
	await new Promise<void>((resolve) => setImmediate(resolve));
}

test('a snapshot each hour, and no more of them than the rule keeps', async (t) => {
	const { makeRunner, goTo, add, snapshots, schedules, messages } = await fixture(t);
	add('hourly');
	makeRunner().start();
	await goTo(start + 29 * minuteMs);
	t.deepEqual(snapshots.calls, [], 'a new schedule does not begin before its first time');
	await goTo(start + 30 * minuteMs);
	t.deepEqual(snapshots.names('data'), ['hourly-1300']);
	await goTo(start + 5 * hourMs);
	t.deepEqual(snapshots.names('data'), ['hourly-1500', 'hourly-1600', 'hourly-1700']);
	t.deepEqual(
		schedules.snapshots('hourly').map(({ name }) => name),
		['hourly-1500', 'hourly-1600', 'hourly-1700'],
	);
	t.deepEqual(messages(), [], 'what goes well is told by who makes snapshots');
});

test('what was missed while nothing ran is caught up once', async (t) => {
	const { makeRunner, goTo, add, snapshots, clock } = await fixture(t);
	add('hourly');
	clock.ms = start + 50 * hourMs + 7 * minuteMs;
	makeRunner().start();
	await goTo(clock.ms);
	t.deepEqual(snapshots.names('data'), ['hourly-1437']);
	await goTo(clock.ms + 22 * minuteMs);
	t.is(snapshots.calls.length, 1);
	await goTo(clock.ms + minuteMs);
	t.deepEqual(snapshots.names('data'), ['hourly-1437', 'hourly-1500']);
});

test('several volumes are one moment under one name, and each is pruned by itself', async (t) => {
	const { makeRunner, goTo, add, snapshots } = await fixture(t);
	add('both', { volumes: ['log', 'data'], keep: { ...none, last: 1 } });
	snapshots.put('log', 'both-1300');
	makeRunner().start();
	await goTo(start + 30 * minuteMs);
	t.deepEqual(snapshots.calls, ['create data,log both-1300-2'], 'the name is free in both');
	await goTo(start + 90 * minuteMs);
	t.deepEqual(snapshots.calls.slice(1), ['create data,log both-1400', 'delete data both-1300-2', 'delete log both-1300-2']);
	t.deepEqual(snapshots.names('log'), ['both-1300', 'both-1400']);
});

test('what it did not make is never deleted: others of any name, and one of its name that somebody made anew', async (t) => {
	const { makeRunner, goTo, add, snapshots } = await fixture(t);
	add('hourly', { keep: { ...none, last: 1 } });
	snapshots.put('data', 'hourly-0900');
	makeRunner().start();
	await goTo(start + 30 * minuteMs);
	t.deepEqual(snapshots.names('data'), ['hourly-0900', 'hourly-1300']);
	snapshots.drop('data', 'hourly-1300');
	snapshots.put('data', 'hourly-1300');
	await goTo(start + 3 * hourMs);
	t.deepEqual(snapshots.names('data'), ['hourly-0900', 'hourly-1300', 'hourly-1500']);
});

test('one that is in use stays, and goes when it is not', async (t) => {
	const { makeRunner, goTo, add, snapshots } = await fixture(t);
	add('hourly', { keep: { ...none, last: 1 } });
	makeRunner().start();
	await goTo(start + 30 * minuteMs);
	snapshots.inUse.add('data@hourly-1300');
	await goTo(start + 3 * hourMs);
	t.deepEqual(snapshots.names('data'), ['hourly-1300', 'hourly-1500']);
	snapshots.inUse.clear();
	await goTo(start + 4 * hourMs);
	t.deepEqual(snapshots.names('data'), ['hourly-1600']);
});

test('a schedule that fails is an event, waits longer each time, keeps no other from its turn, and says when it works again', async (t) => {
	const { makeRunner, goTo, add, snapshots, messages, clock } = await fixture(t);
	add('bad', { volumes: ['log'] });
	add('good');
	snapshots.before = (step) => {
		if (step.startsWith('create log')) throw new UsageError('The volume is full.', 'noSpace');
	};
	const runner = makeRunner();
	runner.start();
	await goTo(start + 30 * minuteMs);
	t.deepEqual(snapshots.names('data'), ['good-1300']);
	t.deepEqual(messages(), ['schedule-failed bad']);
	t.like(runner.failure('bad'), { message: 'The volume is full.', retryMs: clock.ms + minuteMs });
	t.is(runner.failure('good'), undefined);
	const tries = () => snapshots.calls.filter((call) => call.startsWith('create log')).length;
	await goTo(start + 31 * minuteMs);
	t.is(tries(), 2);
	await goTo(start + 33 * minuteMs);
	t.is(tries(), 3);
	await goTo(start + 24 * hourMs);
	t.true(tries() < 40, `at most every hour: ${tries()}`);
	snapshots.before = () => undefined;
	await goTo(start + 25 * hourMs);
	t.is(runner.failure('bad'), undefined);
	t.is(messages().at(-1), 'schedule-recovered bad');
	t.is(snapshots.names('log').length, 1, 'caught up once');
	t.is(snapshots.names('data').length, 3);
});

test('a failed snapshot costs none of those that are there', async (t) => {
	const { makeRunner, goTo, add, snapshots, schedules } = await fixture(t);
	add('hourly', { keep: { ...none, last: 1 } });
	makeRunner().start();
	await goTo(start + 30 * minuteMs);
	snapshots.before = (step) => {
		if (step.startsWith('create')) throw new UsageError('No.', 'unavailable');
	};
	await goTo(start + 30 * hourMs);
	t.deepEqual(snapshots.names('data'), ['hourly-1300']);
	t.is(schedules.snapshots('hourly').length, 1, 'nothing is left of the attempts');
});

test('a deletion that fails keeps the others from nothing, makes no snapshot late, and is told ever more rarely', async (t) => {
	const { makeRunner, goTo, add, snapshots, schedules, messages } = await fixture(t);
	add('hourly', { keep: { ...none, last: 4 } });
	makeRunner().start();
	await goTo(start + 4 * hourMs);
	schedules.change('hourly', { keep: { last: 1 } });
	snapshots.before = (step) => {
		if (step === 'delete data hourly-1400') throw new UsageError('It is being read.', 'inUse');
	};
	await goTo(start + 5 * hourMs);
	t.deepEqual(snapshots.names('data'), ['hourly-1400', 'hourly-1700']);
	t.deepEqual([...new Set(messages())], ['schedule-failed hourly']);
	schedules.change('hourly', { cron: '*/2 * * * *' });
	const before = messages().length;
	await goTo(start + 11 * hourMs);
	t.is(snapshots.names('data').at(-1), 'hourly-2330');
	t.true(messages().length - before <= 7, `${messages().length - before} events in six hours`);
});

test('many that are superfluous go in pieces, and all go', async (t) => {
	const { makeRunner, goTo, add, snapshots, schedules } = await fixture(t);
	add('minutely', { cron: '* * * * *', keep: { ...none, last: 100 } });
	const runner = makeRunner();
	runner.start();
	await goTo(start + 50 * minuteMs);
	t.is(snapshots.names('data').length, 50);
	schedules.change('minutely', { cron: '@yearly', keep: { last: 1 } });
	runner.wake();
	await goTo(start + 51 * minuteMs);
	t.is(snapshots.names('data').length, 1);
});

test('death between the snapshot and its row: it is its own at the next start, and the name is kept free until then', async (t) => {
	const { makeRunner, goTo, add, snapshots, schedules, clock } = await fixture(t);
	add('hourly', { keep: { ...none, last: 1 } });
	const died = makeRunner();
	snapshots.after = () => {
		// The process is gone: nothing is written down any more.
		snapshots.before = () => {
			throw new UsageError('gone', 'unavailable');
		};
		throw new UsageError('gone', 'unavailable');
	};
	died.start();
	await goTo(start + 30 * minuteMs);
	await died.stop();
	t.true(schedules.isIntended('data', 'hourly-1300'));
	t.deepEqual(schedules.snapshots('hourly'), [{ volume: 'data', name: 'hourly-1300', id: undefined }]);

	snapshots.before = () => undefined;
	snapshots.after = () => undefined;
	clock.waiting = undefined;
	makeRunner().start();
	await goTo(start + 31 * minuteMs);
	await goTo(start + 2 * hourMs);
	t.deepEqual(snapshots.names('data'), ['hourly-1400'], 'the one from before was its own, so it is gone');
	t.false(schedules.isIntended('data', 'hourly-1300'));
});

test('a policy that has become faulty does nothing and says so', async (t) => {
	const { makeRunner, goTo, add, snapshots, configuration, messages } = await fixture(t);
	add('hourly', { keep: { ...none, last: 1 } });
	const edited = openDatabase(configuration.path);
	edited.prepare("UPDATE schedules SET zone = 'Mars/Phobos'").run();
	edited.close();
	for (let count = 0; count < 5; count++) snapshots.put('data', `s${count}`);
	const runner = makeRunner();
	runner.start();
	await goTo(start + hourMs);
	t.deepEqual(snapshots.calls, []);
	t.is(messages()[0], 'schedule-failed hourly');
	t.regex(runner.failure('hourly')?.message ?? '', /time zone/);
	await t.throwsAsync(() => runner.run('hourly'), { instanceOf: UsageError, message: /time zone/ });
});

test('run: one more now, its own, after which the rules hold; the next time stays', async (t) => {
	const { makeRunner, goTo, add, snapshots, schedules, inTurn } = await fixture(t);
	add('hourly', { keep: { ...none, last: 2 } });
	const runner = makeRunner();
	runner.start();
	await goTo(start + 30 * minuteMs);
	const operations = new ApplianceSchedules({ schedules, runner, snapshots, inTurn, now: () => start + 40 * minuteMs });
	await goTo(start + 40 * minuteMs);
	t.deepEqual(await operations.run('hourly'), { name: 'hourly-1310', volumes: ['data'], deleted: [] });
	t.deepEqual(await operations.run('hourly'), {
		name: 'hourly-1310-2',
		volumes: ['data'],
		deleted: [{ volume: 'data', name: 'hourly-1300' }],
	});
	t.deepEqual(operations.show('hourly').next, ['2026-11-21T14:00:00.000Z', '2026-11-21T15:00:00.000Z', '2026-11-21T16:00:00.000Z']);
	t.deepEqual(
		operations.show('hourly').snapshots.map(({ name, keptFor }) => [name, keptFor]),
		[
			['hourly-1310', ['last']],
			['hourly-1310-2', ['last']],
		],
	);
	await t.throwsAsync(() => operations.run('none'), { instanceOf: UsageError, code: 'notFound' } as never);
	snapshots.before = (step) => {
		if (step.startsWith('create')) throw new UsageError('No.', 'unavailable');
	};
	await t.throwsAsync(() => operations.run('hourly'), { instanceOf: UsageError, message: 'No.' });
	t.is(schedules.snapshots('hourly').length, 2);
});

test('create, change and delete wake the runner; views say what is wrong', async (t) => {
	const { makeRunner, goTo, snapshots, schedules, inTurn, clock } = await fixture(t);
	const runner = makeRunner();
	runner.start();
	await goTo(start);
	const operations = new ApplianceSchedules({ schedules, runner, snapshots, inTurn, now: () => clock.ms });
	const made = await operations.create({ name: 'm', volumes: ['data'], cron: '* * * * *', zone: 'UTC', keep: { last: 2 } });
	t.like(made, {
		template: '{schedule}-{utc:YYYYMMDD-HHmmss}',
		keep: { ...none, last: 2 },
		next: ['2026-11-21T12:31:00.000Z', '2026-11-21T12:32:00.000Z', '2026-11-21T12:33:00.000Z'],
	});
	await goTo(start + minuteMs);
	t.deepEqual(snapshots.names('data'), ['m-20261121-123100']);
	t.is((await operations.change('m', { keep: { daily: 5 } })).keep.daily, 5);
	snapshots.before = () => {
		throw new UsageError('Volume data is not open.', 'unavailable');
	};
	await goTo(start + 2 * minuteMs);
	const [view] = operations.list();
	t.like(view, { fault: 'Volume data is not open.', retryAt: '2026-11-21T12:33:00.000Z' });
	t.deepEqual(operations.show('m').snapshots, []);
	await operations.delete('m');
	snapshots.before = () => undefined;
	await goTo(start + hourMs);
	t.deepEqual(snapshots.names('data'), ['m-20261121-123100'], 'what it made stays');
	t.is(runner.failure('m'), undefined);
	await t.throwsAsync(() => operations.delete('m'), { instanceOf: UsageError });
});

test('stop waits for what runs, and nothing runs after it', async (t) => {
	const { makeRunner, goTo, add, snapshots, clock } = await fixture(t);
	add('hourly');
	const runner = makeRunner();
	runner.start();
	await goTo(start);
	clock.ms += hourMs;
	runner.wake();
	await runner.stop();
	t.is(snapshots.calls.length, 1);
	t.is(clock.waiting, undefined);
	runner.wake();
	await goTo(clock.ms + 5 * hourMs);
	t.is(snapshots.calls.length, 1);
});
