import { AssertionError, ok as assert } from 'node:assert';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { DataDirectory } from '../../src/appliance/data-directory.ts';
import { type VolumeEngine, Volumes } from '../../src/appliance/volumes.ts';
import { replayedText } from '../../src/cli/status-commands.ts';
import { VolumeFault } from '../../src/blockvol/volume-fault.ts';
import { Configuration } from '../../src/config/configuration.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';
import { StandInEngine, StandInVolume } from './stand-in.ts';

const asked = { name: 'data', sizeBytes: 8192, blockSize: 512 as const };

/** One life of an appliance's volumes. */
async function life(t: ExecutionContext, path: string, engine = new StandInEngine()) {
	const directory = await DataDirectory.open(engine.disk, path);
	const configuration = new Configuration(directory.configuration);
	const volumes = new Volumes(engine, configuration, directory, silent);
	await volumes.settle();
	await volumes.openAll(false);
	let over = false;
	const die = async () => {
		if (over) return;
		over = true;
		configuration.close();
		await directory.close();
	};
	t.teardown(die);
	return { directory, configuration, volumes, engine, die };
}

test('a volume is made, opened, shown, and there again after a restart', async (t) => {
	const path = await temporaryDirectory(t);
	const first = await life(t, path);
	const made = await first.volumes.create(asked);
	t.like(made, { ...asked, state: 'online', statistics: { dirtyPages: 3, walBytes: 4096 } });
	t.deepEqual(Object.keys(made.statistics ?? {}), ['dirtyPages', 'walBytes']);
	t.deepEqual(first.configuration.doomedDirectories(), []);
	t.deepEqual(await first.volumes.closeAll(), []);
	t.true(first.engine.opened[0]?.closed);
	await first.die();

	const second = await life(t, path);
	t.like(await second.volumes.view('data'), { ...asked, uuid: made.uuid, state: 'online' });
});

test('what the configuration refuses makes no directory', async (t) => {
	const { volumes, directory } = await life(t, await temporaryDirectory(t));
	await volumes.create(asked);
	await t.throwsAsync(volumes.create(asked), { instanceOf: UsageError, message: /already/ });
	await t.throwsAsync(volumes.create({ ...asked, name: 'Bad' }), { instanceOf: UsageError });
	await t.throwsAsync(volumes.create({ ...asked, name: 'b', sizeBytes: 1 }), { instanceOf: UsageError });
	t.is((await readdir(directory.volumes)).length, 1);
});

test('a full file system while a volume is made: noSpace, and nothing is left', async (t) => {
	const { volumes, directory, configuration, engine } = await life(t, await temporaryDirectory(t));
	engine.before = (step) => {
		if (step === 'created') throw Object.assign(new Error('ENOSPC: write'), { code: 'ENOSPC' });
	};
	const error = await t.throwsAsync(volumes.create(asked), { instanceOf: UsageError, message: /file system is full/ });
	t.is(error?.code, 'noSpace');
	t.deepEqual(await readdir(directory.volumes), []);
	t.deepEqual(configuration.doomedDirectories(), []);
	t.deepEqual(await volumes.list(), []);
});

for (const step of ['create', 'created', 'open'] as const) {
	test(`death at "${step}" of a creation: the restart has the volume whole or nothing of it`, async (t) => {
		const path = await temporaryDirectory(t);
		const first = await life(t, path);
		// The process dies: nothing that would follow in it happens.
		const dead = new Promise<void>((resolve) => {
			first.engine.before = (reached) => {
				if (reached !== step) return undefined;
				resolve();
				return new Promise(() => {});
			};
		});
		void first.volumes.create(asked);
		await dead;
		await first.die();

		const second = await life(t, path);
		const promised = step === 'open';
		t.is((await second.volumes.list()).length, promised ? 1 : 0);
		t.is((await readdir(second.directory.volumes)).length, promised ? 1 : 0);
		t.deepEqual(second.configuration.doomedDirectories(), []);
		t.deepEqual(second.volumes.unknownDirectories, []);
	});
}

test('death between the row and the directory of a deletion: the restart finishes it', async (t) => {
	const path = await temporaryDirectory(t);
	const first = await life(t, path);
	await first.volumes.create(asked);
	first.configuration.removeVolume('data');
	await first.die();

	const second = await life(t, path);
	t.deepEqual(await readdir(second.directory.volumes), []);
	t.deepEqual(second.configuration.doomedDirectories(), []);
});

test('a directory that nobody knows is named and never touched', async (t) => {
	const path = await temporaryDirectory(t);
	await mkdir(join(path, 'volumes', 'somebody'), { recursive: true });
	await writeFile(join(path, 'volumes', 'somebody', 'superblock'), 'precious');
	const { volumes, directory } = await life(t, path);
	t.deepEqual(volumes.unknownDirectories, ['somebody']);
	t.is(await readFile(join(directory.volumes, 'somebody', 'superblock'), 'utf8'), 'precious');
});

test('a volume is deleted with its directory and its name is free', async (t) => {
	const { volumes, directory, engine } = await life(t, await temporaryDirectory(t));
	await volumes.create(asked);
	await volumes.delete('data');
	t.true(engine.opened[0]?.closed);
	t.deepEqual(await readdir(directory.volumes), []);
	await t.throwsAsync(volumes.delete('data'), { instanceOf: UsageError, message: /no volume data/ });
	await t.notThrowsAsync(volumes.create(asked));
});

test('a directory that cannot be removed stays doomed, and the next start tries again', async (t) => {
	const path = await temporaryDirectory(t);
	const first = await life(t, path);
	const { uuid } = await first.volumes.create(asked);
	first.engine.disk.removeDirectory = () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
	await first.volumes.delete('data');
	t.deepEqual(first.configuration.doomedDirectories(), [uuid]);
	await first.die();
	const second = await life(t, path);
	t.deepEqual(await readdir(second.directory.volumes), []);
});

test('a mapped volume is not deleted', async (t) => {
	const { volumes, configuration } = await life(t, await temporaryDirectory(t));
	await volumes.create(asked);
	configuration.addTarget({ name: 'iqn.2026-11.dev.blockport:one' });
	configuration.map('iqn.2026-11.dev.blockport:one', 'data');
	const error = await t.throwsAsync(volumes.delete('data'), { instanceOf: UsageError, message: /LUN 0 of iqn/ });
	t.is(error?.code, 'inUse');
	t.is((await volumes.view('data')).state, 'online');
});

test('one volume with a corrupt superblock is faulted and says so; the others go on', async (t) => {
	const path = await temporaryDirectory(t);
	const first = await life(t, path);
	await first.volumes.create(asked);
	const { uuid } = await first.volumes.create({ ...asked, name: 'bad' });
	await first.volumes.create({ ...asked, name: 'gone' });
	await writeFile(join(first.directory.volume(uuid), 'superblock'), 'garbage');
	const gone = (await first.volumes.view('gone')).uuid;
	await writeFile(join(first.directory.volume(gone), 'superblock'), JSON.stringify({ ...asked, uuid: 'other' }));
	await first.die();

	const second = await life(t, path);
	t.deepEqual(second.volumes.counts(), { opening: 0, online: 1, faulted: 2 });
	t.is((await second.volumes.view('bad')).fault, 'Both superblock slots are damaged.');
	t.regex((await second.volumes.view('gone')).fault ?? '', /another volume/);
	t.deepEqual(
		second.volumes.faults().map(({ volume }) => volume),
		['bad', 'gone'],
	);
	await t.throwsAsync(second.volumes.resize('bad', 2 ** 20), { instanceOf: UsageError, message: /not open/ });
});

test('a volume whose directory the kernel cannot read is faulted; a fault of ours is not hidden', async (t) => {
	const path = await temporaryDirectory(t);
	const first = await life(t, path);
	await first.volumes.create(asked);
	await first.die();

	const engine = new StandInEngine();
	engine.before = () => {
		throw Object.assign(new Error('EIO: read'), { code: 'EIO' });
	};
	const second = await life(t, path, engine);
	t.is((await second.volumes.view('data')).fault, 'The volume cannot be opened (EIO).');
	await second.die();

	engine.before = () => {
		throw new TypeError('a bug');
	};
	const third = await DataDirectory.open(engine.disk, path);
	t.teardown(() => third.close());
	const configuration = new Configuration(third.configuration);
	t.teardown(() => configuration.close());
	await t.throwsAsync(new Volumes(engine, configuration, third, silent).openAll(false), { instanceOf: TypeError });
});

test('resizing grows the volume and the row; what the engine refuses leaves both', async (t) => {
	const { volumes, configuration, engine } = await life(t, await temporaryDirectory(t));
	await volumes.create(asked);
	t.is((await volumes.resize('data', 16384)).sizeBytes, 16384);
	t.is(configuration.volume('data').sizeBytes, 16384);
	await t.throwsAsync(volumes.resize('data', 8192), { instanceOf: UsageError, message: /cannot shrink/ });
	await t.throwsAsync(volumes.resize('data', 8192 * 3), {
		instanceOf: UsageError,
		message: 'Volume data was not resized: That is an odd size.',
		code: 'inUse',
	});
	const full = await t.throwsAsync(volumes.resize('data', 8192 * 5), { instanceOf: UsageError, message: /full/ });
	t.is(full?.code, 'noSpace');
	t.is(configuration.volume('data').sizeBytes, 16384);
	t.is(engine.opened[0]?.sizeBytes, 16384);
});

test('death between the engine and the row of a resize: the restart takes the volume’s size', async (t) => {
	const path = await temporaryDirectory(t);
	const first = await life(t, path);
	const { uuid } = await first.volumes.create(asked);
	await writeFile(join(first.directory.volume(uuid), 'superblock'), JSON.stringify({ uuid, sizeBytes: 32768, blockSize: 512 }));
	await first.die();
	const second = await life(t, path);
	t.is((await second.volumes.view('data')).sizeBytes, 32768);
	t.is(second.configuration.volume('data').sizeBytes, 32768);
});

test('closing closes all, whatever becomes of one, and names that one', async (t) => {
	const { volumes, engine } = await life(t, await temporaryDirectory(t));
	await volumes.create(asked);
	await volumes.create({ ...asked, name: 'bad' });
	const bad = engine.opened[1];
	t.true(bad instanceof StandInVolume);
	if (bad !== undefined) bad.closeError = new VolumeFault('An fsync failed.');
	t.deepEqual(await volumes.closeAll(), ['bad']);
	t.true(engine.opened.every((volume) => volume.closed));
});

test('what the kernel answers is told; a failed assertion of ours is not hidden', async (t) => {
	const { volumes, engine } = await life(t, await temporaryDirectory(t));
	engine.before = () => {
		throw Object.assign(new Error('EIO: write'), { code: 'EIO' });
	};
	await t.throwsAsync(volumes.create(asked), { instanceOf: UsageError, message: /EIO/ });
	engine.before = () => assert(false);
	await t.throwsAsync(volumes.create(asked), { instanceOf: AssertionError });
});

test('a volume that is being opened tells how far its log is replayed, until it is open', async (t) => {
	const first = await life(t, await temporaryDirectory(t));
	await first.volumes.create(asked);
	await first.volumes.closeAll();
	const reached = Promise.withResolvers<void>();
	const passed = Promise.withResolvers<void>();
	const stand = new StandInEngine();
	const engine: VolumeEngine = {
		disk: stand.disk,
		create: (directory, identity) => stand.create(directory, identity),
		open: async (directory, options) => {
			options.replaying?.(0.439);
			reached.resolve();
			await passed.promise;
			return stand.open(directory, options);
		},
	};
	const volumes = new Volumes(engine, first.configuration, first.directory, silent);
	t.deepEqual(volumes.opening(), [{ volume: 'data' }]);
	const opened = volumes.openAll(false);
	await reached.promise;
	t.deepEqual(volumes.opening(), [{ volume: 'data', replayed: 0.439 }]);
	t.like(await volumes.view('data'), { state: 'opening', replayed: 0.439 });
	t.is(replayedText(0.439), ', replaying, 43 %');
	passed.resolve();
	await opened;
	t.deepEqual(volumes.opening(), []);
	t.is((await volumes.view('data')).replayed, undefined);
	await volumes.closeAll();
});
