import test, { type ExecutionContext } from 'ava';
import { checkVolume } from '../../src/blockvol/check.ts';
import { filled, mib, page, read, serveInMemory, serveVolume, write, type Served } from './volume-fixture.ts';

/** The timers of the engine do not keep a process alive, and nothing else does over a disk in memory. */
function stayAwake(t: ExecutionContext): void {
	const alive = setInterval(() => undefined, 50);
	t.teardown(() => {
		clearInterval(alive);
	});
}

test('no space for the map of the live layer in a merge: the merge does not believe what it has only in memory', async (t) => {
	stayAwake(t);
	const served = await serveInMemory({ sizeBytes: 2 * mib }, { mergeShare: 1, noSpaceRetryMs: 1 });
	const { volume, disk } = served;
	await write(volume, 0, filled(8 * page, 7));
	await volume.createSnapshot('s');
	await volume.flushToLayers();
	disk.fail((call) => call.kind.startsWith('write') && call.path.endsWith('.map'), 'ENOSPC', 1);
	await volume.deleteSnapshot('s');
	await volume.merged();
	t.true((await read(volume, 0, 8 * page)).equals(filled(8 * page, 7)));
	const again = await served.reopen('closed');
	t.true((await read(again, 0, 8 * page)).equals(filled(8 * page, 7)));
	await again.close();
	t.deepEqual(await checkVolume(disk, served.directory), []);
});
