import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Configuration } from '../../src/config/configuration.ts';
import { openDatabase } from '../../src/config/database.ts';
import { limits } from '../../src/config/limits.ts';
import { migrations } from '../../src/config/migrations.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { temporaryDirectory } from '../temporary.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const initiator = 'iqn.1993-08.org.debian:01:abc';
const now = () => new Date('2026-11-21T12:00:00Z');

async function fresh(t: ExecutionContext): Promise<{ path: string; configuration: Configuration }> {
	const path = join(await temporaryDirectory(t), 'config.db');
	const configuration = new Configuration(path, now);
	t.teardown(() => configuration.close());
	return { path, configuration };
}

function volume(name: string, number = 1) {
	return { name, uuid: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`, sizeBytes: 2 ** 30, blockSize: 512 as const };
}

function refuses(t: ExecutionContext, code: UsageErrorCode, action: () => unknown): void {
	const error = t.throws(action, { instanceOf: UsageError });
	t.is(error?.code, code);
	t.regex(error?.message ?? '', /^[^\n]+\.$/, 'one sentence');
}

test('volumes, targets, mappings and access survive closing and opening', async (t) => {
	const { path, configuration } = await fresh(t);
	t.true(configuration.isEmpty);
	configuration.addVolume(volume('data'));
	configuration.addTarget({ name: target, alias: 'One', tpgt: 7 });
	configuration.map(target, 'data', 3);
	configuration.allow(target, initiator);
	configuration.resizeVolume('data', 2 ** 31);
	configuration.close();

	const again = new Configuration(path, now);
	t.teardown(() => again.close());
	t.false(again.isEmpty);
	t.deepEqual(again.volumes(), [{ ...volume('data'), sizeBytes: 2 ** 31, createdAt: '2026-11-21T12:00:00.000Z' }]);
	t.deepEqual(again.targets(), [
		{
			name: target,
			alias: 'One',
			tpgt: 7,
			openToAll: false,
			createdAt: '2026-11-21T12:00:00.000Z',
			luns: [{ target, lun: 3, volume: 'data' }],
			initiators: [{ initiator, chap: undefined, mutualChap: undefined, sources: [] }],
			redirection: undefined,
		},
	]);
});

test('the database is in WAL mode and syncs each commit', async (t) => {
	const path = join(await temporaryDirectory(t), 'config.db');
	const database = openDatabase(path);
	t.teardown(() => database.close());
	t.is(database.pragma('journal_mode', { simple: true }), 'wal');
	t.is(database.pragma('synchronous', { simple: true }), 2);
	t.is(database.pragma('foreign_keys', { simple: true }), 1);
});

test('a name, size or block size out of bounds is refused and changes nothing', async (t) => {
	const { configuration } = await fresh(t);
	refuses(t, 'invalid', () => configuration.addVolume(volume('Bad Name')));
	refuses(t, 'invalid', () => configuration.addVolume({ ...volume('a'), sizeBytes: 1000 }));
	refuses(t, 'invalid', () => configuration.addTarget({ name: 'demo' }));
	refuses(t, 'invalid', () => configuration.addTarget({ name: target, tpgt: 0 }));
	refuses(t, 'invalid', () => configuration.addTarget({ name: target, alias: '\n' }));
	t.true(configuration.isEmpty);
});

test('a second volume or target of the same name is refused, in any spelling', async (t) => {
	const { configuration } = await fresh(t);
	configuration.addVolume(volume('a', 1));
	refuses(t, 'alreadyExists', () => configuration.addVolume(volume('a', 2)));
	configuration.addTarget({ name: target });
	refuses(t, 'alreadyExists', () => configuration.addTarget({ name: target.toUpperCase() }));
	t.is(configuration.target(target.toUpperCase()).name, target);
});

test('what is not there is notFound', async (t) => {
	const { configuration } = await fresh(t);
	refuses(t, 'notFound', () => configuration.volume('a'));
	refuses(t, 'notFound', () => configuration.removeVolume('a'));
	refuses(t, 'notFound', () => configuration.resizeVolume('a', 2 ** 30));
	refuses(t, 'notFound', () => configuration.target(target));
	refuses(t, 'notFound', () => configuration.removeTarget(target));
	refuses(t, 'notFound', () => configuration.allow(target, initiator));
	configuration.addTarget({ name: target });
	refuses(t, 'notFound', () => configuration.map(target, 'a'));
	refuses(t, 'notFound', () => configuration.unmap(target, 0));
	refuses(t, 'notFound', () => configuration.disallow(target, initiator));
});

test('a volume grows and never shrinks', async (t) => {
	const { configuration } = await fresh(t);
	configuration.addVolume(volume('a'));
	refuses(t, 'invalid', () => configuration.resizeVolume('a', 2 ** 29));
	refuses(t, 'invalid', () => configuration.resizeVolume('a', 2 ** 30 + 1));
	t.is(configuration.resizeVolume('a', 2 ** 30 + 4096).sizeBytes, 2 ** 30 + 4096);
});

test('a mapping takes the lowest free LUN, refuses a taken one, and is the same twice', async (t) => {
	const { configuration } = await fresh(t);
	configuration.addTarget({ name: target });
	for (const [index, name] of ['a', 'b', 'c'].entries()) configuration.addVolume(volume(name, index));
	t.is(configuration.map(target, 'a').lun, 0);
	t.is(configuration.map(target, 'b', 2).lun, 2);
	t.is(configuration.map(target, 'c').lun, 1);
	t.is(configuration.map(target, 'c').lun, 1);
	t.is(configuration.map(target, 'c', 1).lun, 1);
	refuses(t, 'alreadyExists', () => configuration.map(target, 'c', 5));
	configuration.unmap(target, 1);
	refuses(t, 'alreadyExists', () => configuration.map(target, 'c', 0));
	refuses(t, 'invalid', () => configuration.map(target, 'c', 256));
	t.deepEqual(
		configuration.target(target).luns.map(({ lun }) => lun),
		[0, 2],
	);
});

test('a refusal to remove a volume names all that uses it, and counts what would be too long', async (t) => {
	const { configuration } = await fresh(t);
	const { subsystems, mounts, schedules } = configuration;
	const subsystem = 'nqn.2026-11.com.example:data';
	configuration.addTarget({ name: target });
	subsystems.add({ name: subsystem });
	configuration.addVolume(volume('a'));
	const fault = (): string | undefined =>
		t.throws(() => configuration.removeVolume('a'), { instanceOf: UsageError, code: 'inUse' })?.message;
	configuration.map(target, 'a');
	t.is(fault(), `Volume a is in use: unmap LUN 0 of ${target} first.`);
	subsystems.map(subsystem, 'a');
	t.is(fault(), `Volume a is in use: unmap LUN 0 of ${target} and unmap namespace 1 of ${subsystem} first.`);
	mounts.add({ volume: 'a', snapshot: 's', snapshotId: 1, uuid: volume('s').uuid, sizeBytes: 4096 }, [{ target }, { subsystem }]);
	const keep = { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
	schedules.add({ name: 'nightly', volumes: ['a'], cron: '@daily', zone: 'UTC', template: '{utc:YYYYMMDD}', keep });
	t.is(
		fault(),
		`Volume a is in use: unmap LUN 0 of ${target}, unmap namespace 1 of ${subsystem}, unmount snapshot a@s and delete schedule nightly first.`,
	);
	for (let count = 1; count <= 20; count++) {
		configuration.addTarget({ name: `${target}${count}` });
		configuration.map(`${target}${count}`, 'a');
	}
	t.regex(fault() ?? '', /^Volume a is in use: (?:unmap LUN 0 of \S+, ){15}unmap LUN 0 of \S+ and 8 more first\.$/);
	t.is(configuration.volumes().length, 1);
});

test('a mapped volume cannot be removed; an unmapped one goes and dooms its directory in the same step', async (t) => {
	const { configuration } = await fresh(t);
	configuration.addTarget({ name: target });
	configuration.addVolume(volume('a'));
	configuration.map(target, 'a');
	refuses(t, 'inUse', () => configuration.removeVolume('a'));
	t.deepEqual(configuration.doomedDirectories(), []);
	configuration.unmap(target, 0);
	configuration.removeVolume('a');
	t.deepEqual(configuration.volumes(), []);
	t.deepEqual(configuration.doomedDirectories(), [volume('a').uuid]);
	configuration.directoryRemoved(volume('a').uuid);
	t.deepEqual(configuration.doomedDirectories(), []);
});

test('adding a volume takes the doom of its directory back; a refused one leaves it', async (t) => {
	const { configuration } = await fresh(t);
	configuration.doomDirectory(volume('a', 1).uuid);
	configuration.doomDirectory(volume('a', 1).uuid);
	configuration.addVolume(volume('a', 1));
	t.deepEqual(configuration.doomedDirectories(), []);
	configuration.doomDirectory(volume('a', 2).uuid);
	refuses(t, 'alreadyExists', () => configuration.addVolume(volume('a', 2)));
	t.deepEqual(configuration.doomedDirectories(), [volume('a', 2).uuid]);
});

test('removing a target takes its mappings and access along and leaves the volumes', async (t) => {
	const { configuration } = await fresh(t);
	configuration.addTarget({ name: target });
	configuration.addVolume(volume('a'));
	configuration.map(target, 'a');
	configuration.allow(target, initiator);
	configuration.removeTarget(target);
	t.deepEqual(configuration.mappingsOf('a'), []);
	configuration.addTarget({ name: target });
	t.deepEqual(configuration.target(target).initiators, []);
	t.is(configuration.volumes().length, 1);
});

test('access: allowing twice is one entry, in normal form; disallowing ends it', async (t) => {
	const { configuration } = await fresh(t);
	configuration.addTarget({ name: target });
	configuration.allow(target, initiator);
	configuration.allow(target, initiator.toUpperCase());
	t.deepEqual(
		configuration.target(target).initiators.map((one) => one.initiator),
		[initiator],
	);
	refuses(t, 'invalid', () => configuration.allow(target, '*'));
	t.deepEqual(configuration.disallow(target, initiator.toUpperCase()).initiators, []);
});

test('counts have a limit', async (t) => {
	const { configuration } = await fresh(t);
	configuration.addTarget({ name: target });
	for (let index = 0; index < limits.initiatorsPerTarget; index++) configuration.allow(target, `${initiator}${index}`);
	refuses(t, 'inUse', () => configuration.allow(target, `${initiator}x`));
	for (let index = 0; index < limits.lunsPerTarget; index++) {
		configuration.addVolume(volume(`v${index}`, index));
		configuration.map(target, `v${index}`);
	}
	configuration.addVolume(volume('more', 999));
	refuses(t, 'inUse', () => configuration.map(target, 'more'));
	for (let index = 1; index < limits.targets; index++) configuration.addTarget({ name: `${target}${index}` });
	refuses(t, 'inUse', () => configuration.addTarget({ name: `${target}x` }));
});

test('a newer schema is refused and left as it is', async (t) => {
	const { path, configuration } = await fresh(t);
	configuration.close();
	const newer = openDatabase(path, [...migrations, 'CREATE TABLE later (x INTEGER) STRICT']);
	newer.close();
	refuses(t, 'invalid', () => new Configuration(path));
	const again = openDatabase(path, [...migrations, 'CREATE TABLE later (x INTEGER) STRICT']);
	t.teardown(() => again.close());
	t.is(again.prepare('SELECT version FROM schema_version').pluck().get(), migrations.length + 1);
});

test('a step that fails leaves the old version and its rows', async (t) => {
	const { path, configuration } = await fresh(t);
	configuration.addVolume(volume('a'));
	configuration.close();
	refuses(t, 'unavailable', () => openDatabase(path, [...migrations, 'DROP TABLE luns', 'this is no SQL']));
	const again = new Configuration(path);
	t.teardown(() => again.close());
	t.is(again.volumes().length, 1);
	t.deepEqual(again.mappingsOf('a'), []);
});

test('a later step runs once, over the rows that are there', async (t) => {
	const { path, configuration } = await fresh(t);
	configuration.addVolume(volume('a'));
	configuration.close();
	const steps = [...migrations, "ALTER TABLE volumes ADD COLUMN note TEXT NOT NULL DEFAULT 'x'"];
	openDatabase(path, steps).close();
	const database = openDatabase(path, steps);
	t.teardown(() => database.close());
	t.is(database.prepare('SELECT note FROM volumes').pluck().get(), 'x');
});

test('what is no database, or damaged, or in no directory, is one sentence', async (t) => {
	const directory = await temporaryDirectory(t);
	const garbage = join(directory, 'garbage.db');
	await writeFile(garbage, 'this is not a database '.repeat(100));
	refuses(t, 'unavailable', () => new Configuration(garbage));
	t.regex(await readFile(garbage, 'utf8'), /^this is not/, 'it is left as it is');
	refuses(t, 'unavailable', () => new Configuration(join(directory, 'absent', 'config.db')));
	await mkdir(join(directory, 'folder.db'));
	refuses(t, 'unavailable', () => new Configuration(join(directory, 'folder.db')));
});

test('a file that nobody may write is one sentence', async (t) => {
	const { path, configuration } = await fresh(t);
	configuration.close();
	await chmod(path, 0o400);
	// Root may write it all the same.
	if (process.getuid?.() === 0) {
		t.notThrows(() => new Configuration(path).close());
		return;
	}
	refuses(t, 'unavailable', () => new Configuration(path));
});

test('a size that no engine could serve does not come out of a file that was edited by hand', async (t) => {
	const { path, configuration } = await fresh(t);
	configuration.close();
	const database = openDatabase(path);
	t.teardown(() => database.close());
	const insert = database.prepare('INSERT INTO volumes VALUES (?, ?, ?, ?, ?)');
	t.throws(() => insert.run('a', 'u', 1000, 512, 'now'), { code: 'SQLITE_CONSTRAINT_CHECK' });
	t.throws(() => insert.run('a', 'u', 4096, 520, 'now'), { code: 'SQLITE_CONSTRAINT_CHECK' });
});
