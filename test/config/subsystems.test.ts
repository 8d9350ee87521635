import { chmod, stat } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Configuration } from '../../src/config/configuration.ts';
import { openDatabase } from '../../src/config/database.ts';
import { limits } from '../../src/config/limits.ts';
import { migrations } from '../../src/config/migrations.ts';
import { checkNqn } from '../../src/config/names.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { temporaryDirectory } from '../temporary.ts';

const subsystem = 'nqn.2026-11.dev.blockport:one';
const host = 'nqn.2014-08.org.nvmexpress:uuid:5d6a1b6e-9bd1-4e2f-8f6f-0b0c0d0e0f10';
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

test('subsystems, namespaces, hosts and their secrets survive closing and opening', async (t) => {
	const { path, configuration } = await fresh(t);
	configuration.addVolume(volume('data'));
	const { uuid } = configuration.subsystems.add({ name: subsystem });
	t.false(configuration.isEmpty);
	configuration.subsystems.map(subsystem, 'data', 7);
	configuration.subsystems.allow(subsystem, host, { dhchapSecret: 'one', dhchapCtrlSecret: 'two', dhchapDhgroup: 'ffdhe3072' });
	configuration.close();

	const again = new Configuration(path, now);
	t.teardown(() => again.close());
	t.deepEqual(again.subsystems.all(), [
		{
			name: subsystem,
			uuid,
			openToAll: false,
			createdAt: '2026-11-21T12:00:00.000Z',
			namespaces: [{ subsystem, nsid: 7, volume: 'data' }],
			hosts: [{ host, dhchapSecret: 'one', dhchapCtrlSecret: 'two', dhchapHash: 'sha256', dhchapDhgroup: 'ffdhe3072' }],
		},
	]);
	t.deepEqual(again.subsystems.mappingsOf('data'), [{ subsystem, nsid: 7, volume: 'data' }]);
});

test('names of hosts and subsystems: what is none is refused, and no spelling is changed', (t) => {
	for (const name of [
		subsystem,
		host,
		'nqn.2014-08.com.vmware:nvme:esx-01',
		'nqn.2026-01.com.Example:Ünï',
		`nqn.2026-01.a:${'x'.repeat(limits.nqnBytes - 14)}`,
	]) {
		t.is(checkNqn(name, 'host'), name);
	}
	for (const name of [
		'',
		'nqn',
		'nqn.2026-11.dev.blockport',
		'nqn.2026-11.dev.blockport:',
		'nqn.2026-13.dev.blockport:x',
		'nqn.26-11.dev.blockport:x',
		'NQN.2026-11.dev.blockport:x',
		'iqn.2026-11.dev.blockport:x',
		'nqn.2026-11.:x',
		'nqn.2026-11.-a:x',
		`${subsystem}\n`,
		`${subsystem} x`,
		'nqn.2014-08.org.nvmexpress:uuid:5d6a1b6e',
		'nqn.2014-08.org.nvmexpress:uuid:',
		'nqn.2014-08.org.nvmexpress.discovery',
		`nqn.2026-01.a:${'x'.repeat(limits.nqnBytes - 13)}`,
		`nqn.2026-01.a:${'ü'.repeat(limits.nqnBytes - 14)}`,
	]) {
		refuses(t, 'invalid', () => checkNqn(name, 'subsystem'));
	}
});

test('names that differ in a letter’s case are different ones: NQNs are compared byte by byte', async (t) => {
	const { configuration } = await fresh(t);
	configuration.subsystems.add({ name: subsystem });
	configuration.subsystems.add({ name: subsystem.replace('one', 'One') });
	t.is(configuration.subsystems.count, 2);
	refuses(t, 'alreadyExists', () => configuration.subsystems.add({ name: subsystem }));
	refuses(t, 'notFound', () => configuration.subsystems.get(subsystem.toUpperCase()));
});

test('namespaces: the lowest free identifier, no volume or identifier twice, the same again is no error', async (t) => {
	const { configuration } = await fresh(t);
	const { subsystems } = configuration;
	for (const [index, name] of ['a', 'b', 'c'].entries()) configuration.addVolume(volume(name, index + 1));
	subsystems.add({ name: subsystem });
	t.is(subsystems.map(subsystem, 'a', 2).nsid, 2);
	t.is(subsystems.map(subsystem, 'b').nsid, 1);
	t.is(subsystems.map(subsystem, 'c').nsid, 3);
	t.is(subsystems.map(subsystem, 'c').nsid, 3);
	t.is(subsystems.map(subsystem, 'c', 3).nsid, 3);
	refuses(t, 'alreadyExists', () => subsystems.map(subsystem, 'c', 4));
	t.is(subsystems.unmap(subsystem, 1).volume, 'b');
	refuses(t, 'notFound', () => subsystems.unmap(subsystem, 1));
	refuses(t, 'alreadyExists', () => subsystems.map(subsystem, 'b', 2));
	for (const nsid of [0, -1, 1.5, limits.namespacesPerSubsystem + 1, 0xffffffff])
		refuses(t, 'invalid', () => subsystems.map(subsystem, 'b', nsid));
	t.is(subsystems.map(subsystem, 'b', limits.namespacesPerSubsystem).nsid, limits.namespacesPerSubsystem);
	refuses(t, 'notFound', () => subsystems.map(subsystem, 'absent'));
	refuses(t, 'notFound', () => subsystems.map(`${subsystem}x`, 'a'));
});

test('a volume that a subsystem maps cannot be removed; a subsystem that goes takes its mappings and hosts, not its volumes', async (t) => {
	const { configuration } = await fresh(t);
	configuration.addVolume(volume('a'));
	configuration.subsystems.add({ name: subsystem });
	configuration.subsystems.map(subsystem, 'a');
	configuration.subsystems.allow(subsystem, host);
	refuses(t, 'inUse', () => configuration.removeVolume('a'));
	configuration.subsystems.remove(subsystem);
	t.deepEqual(configuration.subsystems.mappingsOf('a'), []);
	t.is(configuration.volumes().length, 1);
	configuration.subsystems.add({ name: subsystem });
	t.deepEqual(configuration.subsystems.get(subsystem).hosts, []);
	configuration.removeVolume('a');
});

test('allow: what it does not say stays, so nobody loses authentication by saying less', async (t) => {
	const { configuration } = await fresh(t);
	const { subsystems } = configuration;
	subsystems.add({ name: subsystem });
	const only = () => subsystems.get(subsystem).hosts[0];
	subsystems.allow(subsystem, host);
	t.deepEqual(only(), {
		host,
		dhchapSecret: undefined,
		dhchapCtrlSecret: undefined,
		dhchapHash: 'sha256',
		dhchapDhgroup: 'null',
	});
	refuses(t, 'invalid', () => subsystems.allow(subsystem, host, { dhchapCtrlSecret: 'two' }));
	subsystems.allow(subsystem, host, { dhchapSecret: 'one', dhchapHash: 'sha512' });
	subsystems.allow(subsystem, host, { dhchapCtrlSecret: 'two', dhchapDhgroup: 'ffdhe2048' });
	subsystems.allow(subsystem, host);
	t.deepEqual(only(), { host, dhchapSecret: 'one', dhchapCtrlSecret: 'two', dhchapHash: 'sha512', dhchapDhgroup: 'ffdhe2048' });
	subsystems.disallow(subsystem, host);
	refuses(t, 'notFound', () => subsystems.disallow(subsystem, host));
	subsystems.allow(subsystem, host);
	t.is(only()?.dhchapSecret, undefined, 'who was disallowed begins anew');
	refuses(t, 'invalid', () => subsystems.allow(subsystem, '*'));
});

test('counts have a limit', async (t) => {
	const { configuration } = await fresh(t);
	const { subsystems } = configuration;
	subsystems.add({ name: subsystem });
	for (let index = 0; index < limits.hostsPerSubsystem; index++) subsystems.allow(subsystem, `nqn.2026-11.test:${index}`);
	refuses(t, 'inUse', () => subsystems.allow(subsystem, host));
	t.notThrows(() => subsystems.allow(subsystem, 'nqn.2026-11.test:0', { dhchapSecret: 'x' }));
	for (let index = 1; index < limits.subsystems; index++) subsystems.add({ name: `${subsystem}${index}` });
	refuses(t, 'inUse', () => subsystems.add({ name: `${subsystem}x` }));
});

test('config.db is for its owner only, also when it was not: it holds secrets', async (t) => {
	const { path, configuration } = await fresh(t);
	t.is((await stat(path)).mode & 0o777, 0o600);
	configuration.close();
	await chmod(path, 0o644);
	const again = new Configuration(path, now);
	t.teardown(() => again.close());
	again.subsystems.add({ name: subsystem });
	t.is((await stat(path)).mode & 0o777, 0o600);
	t.is((await stat(`${path}-wal`)).mode & 0o777, 0o600);
});

test('a database of the release before gets the new tables and keeps its rows', async (t) => {
	const path = join(await temporaryDirectory(t), 'config.db');
	const old = openDatabase(path, migrations.slice(0, 1));
	old.prepare('INSERT INTO volumes VALUES (?, ?, ?, ?, ?)').run('a', volume('a').uuid, 4096, 512, 'now');
	old.close();
	const configuration = new Configuration(path, now);
	t.teardown(() => configuration.close());
	t.is(configuration.volumes().length, 1);
	configuration.subsystems.add({ name: subsystem });
	t.is(configuration.subsystems.map(subsystem, 'a').nsid, 1);
});
