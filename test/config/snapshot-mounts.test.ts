import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Configuration } from '../../src/config/configuration.ts';
import { limits } from '../../src/config/limits.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { temporaryDirectory } from '../temporary.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const subsystem = 'nqn.2026-11.dev.blockport:one';
const snapshot = { volume: 'data', snapshot: 'one', snapshotId: 2 ** 47, uuid: '00000000-0000-4000-8000-0000000000ff', sizeBytes: 2 ** 20 };

async function fresh(t: ExecutionContext) {
	const path = join(await temporaryDirectory(t), 'config.db');
	const configuration = new Configuration(path);
	t.teardown(() => configuration.close());
	for (const [index, name] of ['data', 'log'].entries()) {
		configuration.addVolume({ name, uuid: `00000000-0000-4000-8000-00000000000${index}`, sizeBytes: 2 ** 20, blockSize: 512 });
	}
	configuration.addTarget({ name: target });
	configuration.subsystems.add({ name: subsystem });
	return { path, configuration, mounts: configuration.mounts };
}

function refuses(t: ExecutionContext, code: UsageErrorCode, action: () => unknown): void {
	const error = t.throws(action, { instanceOf: UsageError });
	t.is(error?.code, code);
	t.regex(error?.message ?? '', /^[^\n]+\.$/);
}

test('mounts survive closing and opening, and go together', async (t) => {
	const { path, configuration, mounts } = await fresh(t);
	mounts.add(snapshot, [{ subsystem, nsid: 7 }, { target }]);
	configuration.close();
	const again = new Configuration(path);
	t.teardown(() => again.close());
	const rows = [
		{ ...snapshot, place: { target, lun: 0 } },
		{ ...snapshot, place: { subsystem, nsid: 7 } },
	];
	t.deepEqual(again.mounts.all(), rows);
	t.deepEqual(again.mounts.of('data'), rows);
	t.deepEqual(again.mounts.of('log'), []);
	t.deepEqual(again.mounts.at(target), rows.slice(0, 1));
	t.deepEqual(again.mounts.in(subsystem), rows.slice(1));
	refuses(t, 'inUse', () => again.removeVolume('data'));
	refuses(t, 'inUse', () => again.removeTarget(target));
	refuses(t, 'inUse', () => again.subsystems.remove(subsystem));
	t.deepEqual(again.mounts.remove('data', 'one'), rows);
	refuses(t, 'notFound', () => again.mounts.remove('data', 'one'));
	again.removeTarget(target);
});

test('LUNs and namespace identifiers are shared with volumes, both ways; all places or none', async (t) => {
	const { configuration, mounts } = await fresh(t);
	configuration.map(target, 'data');
	configuration.subsystems.map(subsystem, 'data');
	refuses(t, 'alreadyExists', () => mounts.add(snapshot, [{ target, lun: 0 }]));
	refuses(t, 'alreadyExists', () => mounts.add(snapshot, [{ target }, { subsystem, nsid: 1 }]));
	t.deepEqual(mounts.all(), []);
	t.deepEqual(
		mounts.add(snapshot, [{ target }, { subsystem }]).map(({ place }) => place),
		[
			{ target, lun: 1 },
			{ subsystem, nsid: 2 },
		],
	);
	refuses(t, 'alreadyExists', () => configuration.map(target, 'log', 1));
	refuses(t, 'alreadyExists', () => configuration.subsystems.map(subsystem, 'log', 2));
	t.is(configuration.map(target, 'log').lun, 2);
	t.is(configuration.subsystems.map(subsystem, 'log').nsid, 3);
	for (const lun of [-1, 256, 1.5]) refuses(t, 'invalid', () => mounts.add({ ...snapshot, snapshot: 'two' }, [{ target, lun }]));
	for (const nsid of [0, limits.namespacesPerSubsystem + 1])
		refuses(t, 'invalid', () => mounts.add({ ...snapshot, snapshot: 'two' }, [{ subsystem, nsid }]));
});

test('the same place again is no error, another number of it is', async (t) => {
	const { mounts } = await fresh(t);
	const [row] = mounts.add(snapshot, [{ target, lun: 9 }]);
	t.deepEqual(mounts.add(snapshot, [{ target, lun: 9 }]), [row!]);
	t.deepEqual(mounts.add(snapshot, [{ target }]), [row!]);
	refuses(t, 'alreadyExists', () => mounts.add(snapshot, [{ target, lun: 8 }]));
	t.is(mounts.all().length, 1);
});

test('a target takes so many LUNs of both kinds; so many snapshots may be mounted, and no more', async (t) => {
	const { configuration, mounts } = await fresh(t);
	configuration.map(target, 'data', 100);
	for (let count = 0; count < limits.lunsPerTarget - 1; count++) mounts.add({ ...snapshot, snapshot: `s${count}` }, [{ target }]);
	t.is(mounts.at(target).at(-1)?.volume, 'data');
	refuses(t, 'inUse', () => mounts.add(snapshot, [{ target }]));
	refuses(t, 'inUse', () => configuration.map(target, 'log'));
	mounts.add(snapshot, [{ subsystem }]);
	t.is(mounts.all().length, limits.snapshotMounts);
	refuses(t, 'inUse', () => mounts.add({ ...snapshot, snapshot: 'more' }, [{ subsystem }]));
});
