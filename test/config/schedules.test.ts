import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Configuration } from '../../src/config/configuration.ts';
import { openDatabase } from '../../src/config/database.ts';
import { limits } from '../../src/config/limits.ts';
import { migrations } from '../../src/config/migrations.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { limits as policyLimits } from '../../src/schedule/limits.ts';
import { templateDefault } from '../../src/schedule/name-template.ts';
import { temporaryDirectory } from '../temporary.ts';

const start = Date.parse('2026-11-21T12:00:00Z');
const keep = { last: 0, hourly: 24, daily: 7, weekly: 0, monthly: 12, yearly: 0 };
const hourly = { name: 'hourly', cron: '@hourly', zone: 'Europe/Berlin', template: templateDefault, keep, volumes: ['data'] };

async function fresh(t: ExecutionContext, volumes = ['data', 'log']) {
	const path = join(await temporaryDirectory(t), 'config.db');
	const clock = { ms: start };
	const open = () => {
		const configuration = new Configuration(path, () => new Date(clock.ms));
		t.teardown(() => configuration.close());
		return configuration;
	};
	const configuration = open();
	for (const [index, name] of volumes.entries()) {
		const uuid = `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`;
		configuration.addVolume({ name, uuid, sizeBytes: 2 ** 20, blockSize: 512 });
	}
	return { path, clock, configuration, open };
}

function refuses(t: ExecutionContext, code: UsageErrorCode, action: () => unknown, message: RegExp = /^[^\n]+\.$/): void {
	const error = t.throws(action, { instanceOf: UsageError });
	t.is(error?.code, code);
	t.regex(error?.message ?? '', message);
}

test('a schedule and what it made survive closing and opening', async (t) => {
	const { configuration, open } = await fresh(t);
	configuration.schedules.add({ ...hourly, volumes: ['log', 'data'] });
	configuration.schedules.intend('hourly', ['data', 'log'], 'one');
	configuration.schedules.made('hourly', { volume: 'data', name: 'one', id: 2 ** 47 });
	configuration.schedules.seen('hourly', start + 5);
	configuration.close();
	const { schedules } = open();
	t.deepEqual(schedules.all(), [
		{ ...hourly, volumes: ['data', 'log'], seenMs: start + 5, repository: undefined, createdAt: '2026-11-21T12:00:00.000Z' },
	]);
	t.deepEqual(schedules.snapshots('hourly'), [
		{ volume: 'data', name: 'one', id: 2 ** 47 },
		{ volume: 'log', name: 'one', id: undefined },
	]);
	t.true(schedules.isIntended('log', 'one'));
	t.false(schedules.isIntended('data', 'one'));
	t.false(schedules.isIntended('log', 'two'));
	schedules.forget('hourly', 'log', 'one');
	t.false(schedules.isIntended('log', 'one'));
	t.is(schedules.snapshots('hourly').length, 1);
});

test('what is wrong with a schedule is refused with the kind of fault, and nothing is stored', async (t) => {
	const { configuration } = await fresh(t);
	const { schedules } = configuration;
	const many = Array.from({ length: policyLimits.volumesPerSchedule + 1 }, (_, index) => `v${index}`);
	refuses(t, 'invalid', () => schedules.add({ ...hourly, name: 'Bad Name' }), /no name of a schedule/);
	refuses(t, 'invalid', () => schedules.add({ ...hourly, name: 'a'.repeat(limits.scheduleNameLength + 1) }));
	refuses(t, 'invalid', () => schedules.add({ ...hourly, cron: '* * * *' }), /five fields/);
	refuses(t, 'invalid', () => schedules.add({ ...hourly, zone: 'Nowhere' }), /time zone/);
	refuses(t, 'invalid', () => schedules.add({ ...hourly, template: 'x' }), /one name/);
	refuses(t, 'invalid', () => schedules.add({ ...hourly, keep: { ...keep, hourly: 0, daily: 0, monthly: 0 } }), /at least one/);
	refuses(t, 'invalid', () => schedules.add({ ...hourly, volumes: [] }), /different volumes/);
	refuses(t, 'invalid', () => schedules.add({ ...hourly, volumes: ['data', 'data'] }), /different volumes/);
	refuses(t, 'invalid', () => schedules.add({ ...hourly, volumes: many }), /different volumes/);
	refuses(t, 'notFound', () => schedules.add({ ...hourly, volumes: ['data', 'none'] }));
	t.deepEqual(schedules.all(), []);
	schedules.add({ ...hourly, name: 'a'.repeat(limits.scheduleNameLength) });
	refuses(t, 'alreadyExists', () => schedules.add({ ...hourly, name: 'a'.repeat(limits.scheduleNameLength) }));
	refuses(t, 'notFound', () => schedules.get('none'));
	refuses(t, 'notFound', () => schedules.change('none', {}));
	refuses(t, 'notFound', () => schedules.remove('none'));
});

test('so many schedules and no more; so many volumes in one', async (t) => {
	const names = Array.from({ length: policyLimits.volumesPerSchedule }, (_, index) => `v${String(index).padStart(2, '0')}`);
	const { configuration } = await fresh(t, names);
	for (let index = 0; index < limits.schedules; index++) configuration.schedules.add({ ...hourly, name: `s${index}`, volumes: names });
	refuses(t, 'inUse', () => configuration.schedules.add({ ...hourly, volumes: names }), /256 schedules/);
	t.deepEqual(configuration.schedules.get('s255').volumes, names);
});

test('change: what it does not say stays; a new expression does not count what is past as missed', async (t) => {
	const { configuration, clock } = await fresh(t);
	const { schedules } = configuration;
	schedules.add(hourly);
	schedules.intend('hourly', ['data'], 'one');
	clock.ms += 3_600_000;
	t.like(schedules.change('hourly', { keep: { daily: 9 } }), { ...hourly, keep: { ...keep, daily: 9 }, seenMs: start });
	t.like(schedules.change('hourly', { cron: '@daily' }), { cron: '@daily', zone: 'Europe/Berlin', seenMs: clock.ms });
	refuses(t, 'invalid', () => schedules.change('hourly', { zone: 'UTC', keep: { hourly: -1 } }));
	t.is(schedules.get('hourly').zone, 'Europe/Berlin', 'a change is taken whole or not at all');
	t.is(schedules.snapshots('hourly').length, 1, 'what it made is still its own');
});

test('a volume that is in a schedule cannot be deleted; what a schedule made is forgotten with either of them', async (t) => {
	const { configuration } = await fresh(t);
	configuration.schedules.add(hourly);
	configuration.schedules.add({ ...hourly, name: 'other', volumes: ['log'] });
	configuration.schedules.intend('hourly', ['data'], 'one');
	refuses(t, 'inUse', () => configuration.removeVolume('data'), /schedule hourly/);
	t.deepEqual(configuration.schedules.of('data'), ['hourly']);
	configuration.schedules.remove('hourly');
	t.false(configuration.schedules.isIntended('data', 'one'));
	configuration.removeVolume('data');
	t.deepEqual(
		configuration.schedules.all().map(({ name }) => name),
		['other'],
	);
});

test('a configuration of the release before gets the tables, and keeps what it had', async (t) => {
	const path = join(await temporaryDirectory(t), 'config.db');
	const old = openDatabase(
		path,
		migrations.slice(
			0,
			migrations.findIndex((step) => step.includes('CREATE TABLE schedules')),
		),
	);
	old.prepare("INSERT INTO volumes VALUES ('data', '00000000-0000-4000-8000-000000000001', 4096, 512, '2026-01-01T00:00:00Z')").run();
	old.close();
	const configuration = new Configuration(path);
	t.teardown(() => configuration.close());
	t.deepEqual(configuration.schedules.all(), []);
	t.is(configuration.schedules.add(hourly).volumes[0], 'data');
});
