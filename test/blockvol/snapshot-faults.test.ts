import test, { type ExecutionContext } from 'ava';
import type { PageRange } from '../../src/blockvol/changed-pages.ts';
import { checkVolume } from '../../src/blockvol/check.ts';
import { VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import {
	filled,
	makeVolume,
	mib,
	openVolume,
	outcome,
	page,
	read,
	serveInMemory,
	settlesSoon,
	write,
	zero,
	type Served,
} from './volume-fixture.ts';

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

async function serveSnapshot(): Promise<Served> {
	const served = await serveInMemory({ sizeBytes: 2 * mib }, { mergeShare: 1, noSpaceRetryMs: 1 });
	await write(served.volume, 0, filled(8 * page, 7));
	await served.volume.createSnapshot('s');
	await write(served.volume, 0, filled(8 * page, 8));
	await served.volume.flushToLayers();
	return served;
}

for (const which of [1, 2]) {
	for (const what of ['restore', 'delete'] as const) {
		test(`datasync ${which} of the superblock of a ${what} fails: the volume is faulted, nothing is acknowledged on top of it`, async (t) => {
			stayAwake(t);
			const { volume, disk, reopen } = await serveSnapshot();
			let seen = 0;
			disk.fail((call) => call.kind === 'datasync' && call.path.endsWith('superblock') && ++seen === which, 'EIO', 1);
			await t.throwsAsync(what === 'restore' ? volume.restoreSnapshot('s') : volume.deleteSnapshot('s'));
			t.is(volume.fault, 'the tree of layers could not be written (EIO)');
			t.is(await write(volume, 8 * page, filled(page, 9), true), 'faulted');
			const again = await reopen('killed');
			t.true([7, 8].includes((await read(again, 0, page))[0] as number));
			await again.close();
		});
	}
}

test('no space for the second slot of the superblock in a restore: the volume is faulted, and its live layer is there at the next opening', async (t) => {
	stayAwake(t);
	const { volume, disk, reopen } = await serveSnapshot();
	let seen = 0;
	disk.fail((call) => call.kind.startsWith('write') && call.path.endsWith('superblock') && ++seen === 2, 'ENOSPC', 1);
	await t.throwsAsync(volume.restoreSnapshot('s'));
	t.is(volume.fault, 'the tree of layers could not be written (ENOSPC)');
	const again = await reopen('killed');
	t.is((await read(again, 0, page))[0], 7);
	await again.close();
});

test('a restore that has no space for the tree leaves no file and no descriptor', async (t) => {
	stayAwake(t);
	const { volume, disk, directory } = await serveSnapshot();
	disk.fail((call) => call.kind.startsWith('write') && call.path.includes('/tree-'), 'ENOSPC', 3);
	for (let attempt = 0; attempt < 3; attempt++) t.like(await t.throwsAsync(volume.restoreSnapshot('s')), { code: 'ENOSPC' });
	await volume.close();
	t.deepEqual(
		[...disk.openFiles].filter(([, count]) => count > 0),
		[],
	);
	t.deepEqual(await checkVolume(disk, directory), []);
});

test('a name with half a surrogate pair is refused: on the disk two of them would be one', async (t) => {
	const { volume } = await serveInMemory({ sizeBytes: 2 * mib });
	for (const name of ['a\ud800', 'a\udc01']) await t.throwsAsync(volume.createSnapshot(name), { instanceOf: VolumeUsageError });
	t.is((await volume.createSnapshot('a\u{1f4be}')).name, 'a\u{1f4be}');
	await volume.close();
});

test('what a merge puts into a layer while its summary is being made is found', async (t) => {
	const disk = new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 });
	await disk.makeDirectory('/data');
	await makeVolume(disk, '/data/volume', { sizeBytes: 64 * mib });
	const first = await openVolume(disk, '/data/volume');
	const far = 5 * 1008 * page;
	await write(first, far, filled(page, 2));
	await first.createSnapshot('lower');
	await write(first, page, filled(page, 3));
	await first.createSnapshot('upper');
	await first.flushToLayers();
	await first.close();
	// The answer to the second look for data in the upper layer's map comes late.
	const [reached, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
	const open = disk.open.bind(disk);
	disk.open = async (path, mode) => {
		const file = await open(path, mode);
		if (!path.endsWith('.map') || path.endsWith('/1.map')) return file;
		const nextData = file.nextData.bind(file);
		file.nextData = async (position) => {
			const answer = await nextData(position);
			if (answer !== undefined || position === 0) return answer;
			reached.resolve();
			await held.promise;
			return answer;
		};
		return file;
	};
	const volume = await openVolume(disk, '/data/volume', { mergeShare: 1 });
	const reading = read(volume, 2 * page, page);
	await reached.promise;
	await volume.deleteSnapshot('lower');
	await volume.merged();
	held.resolve();
	await reading;
	t.is((await read(volume, far, page))[0], 2);
	await volume.close();
});

test('a merge removes a file while the opening sweeps what a crash has left', async (t) => {
	stayAwake(t);
	const served = await serveInMemory({ sizeBytes: 2 * mib }, { mergeShare: 1 });
	const left = await served.disk.open(`${served.directory}/layers/1000000.map`, 'create');
	await left.close();
	await write(served.volume, 0, filled(8 * page, 7));
	await served.volume.createSnapshot('s');
	await served.volume.restoreSnapshot('s', { keepLiveAs: 'kept' });
	await served.volume.merged();
	served.volume.abandon();
	// The opening stands at the first name that nobody knows, and has the list of the others.
	const sweep = served.disk.gate((call) => call.kind === 'remove' && call.path.endsWith('/1000000.map'));
	const removal = served.disk.gate(
		(call) => call.kind === 'remove' && call.path.includes('/layers/') && !call.path.endsWith('/1000000.map'),
	);
	const volume = await openVolume(served.disk, served.directory, { mergeShare: 1 });
	await sweep.reached;
	await volume.deleteSnapshot('kept');
	await removal.reached;
	sweep.release();
	await settlesSoon(new Promise(() => undefined));
	removal.release();
	await volume.merged();
	await settlesSoon(new Promise(() => undefined));
	t.is(volume.fault, undefined);
	await volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
});

test('a diff of what is live while it is frozen by a restore', async (t) => {
	stayAwake(t);
	const served = await serveInMemory({ sizeBytes: 2 * mib }, { mergeShare: 1, layerFilesMax: 1 });
	const { volume, disk } = served;
	await write(volume, 0, filled(8 * page, 7));
	await volume.createSnapshot('s');
	await volume.flushToLayers();
	await write(volume, 0, filled(8 * page, 8));
	await volume.flushToLayers();
	await served.reopen('closed');
	const again = served.volume;
	const gate = disk.gate((call) => call.kind === 'read' && call.path.endsWith('.map') && !call.path.endsWith('/1.map'));
	const diff = again.diff('s');
	const first = diff.next();
	await gate.reached;
	await again.restoreSnapshot('s', { keepLiveAs: 'k' });
	// Other files take the place of what is not used.
	for (const name of ['s', 'k']) {
		const view = await again.openSnapshot(name);
		await outcome((completion) => view.read(0, Buffer.alloc(page), completion));
		await view.close();
	}
	await settlesSoon(new Promise(() => undefined));
	gate.release();
	t.deepEqual((await first).value, { firstPage: 0, pages: 8 });
	t.deepEqual(disk.late, []);
});

test('a clean stop waits until the tree before the last one is removed: after it nobody looks for what is left', async (t) => {
	stayAwake(t);
	const served = await serveInMemory({ sizeBytes: 2 * mib });
	const { volume, disk } = served;
	await write(volume, 0, filled(page, 1));
	await volume.createSnapshot('a');
	await volume.flushToLayers();
	await volume.createSnapshot('b');
	const removal = disk.gate((call) => call.kind === 'remove' && call.path.endsWith('/tree-1'));
	const flushed = volume.flushToLayers();
	await removal.reached;
	await flushed;
	disk.forget();
	const closed = volume.close();
	t.false(await settlesSoon(closed));
	t.deepEqual(disk.of('datasync', 'superblock'), [], 'the stamp is not written before');
	removal.release();
	await closed;
	t.deepEqual(await checkVolume(disk, served.directory), []);
});

test('a write whose ends lie in two blocks of the page map, over a snapshot, with the least that may be remembered of it; less is refused', async (t) => {
	const served = await serveInMemory({}, { belowBlocks: 2 });
	await write(served.volume, 1007 * page, filled(2 * page, 1));
	await served.volume.createSnapshot('one');
	await served.volume.flushToLayers();
	const volume = await served.reopen('closed');
	t.is(await write(volume, 1007 * page + 512, filled(page, 2)), 'good');
	const seen = await read(volume, 1007 * page, 2 * page);
	t.deepEqual([seen[511], seen[512], seen[page + 511], seen[page + 512]], [1, 2, 2, 1]);
	await volume.close();
	await t.throwsAsync(openVolume(served.disk, served.directory, { belowBlocks: 1 }), {
		instanceOf: VolumeUsageError,
		message: /belowBlocks/,
	});
});

test('a snapshot that needs another segment of the log, where all are held and the file system is full: refused in words, and made once there is room', async (t) => {
	stayAwake(t);
	const segmentBytes = 64 * 1024;
	const disk = new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 });
	await disk.makeDirectory('/data');
	await makeVolume(disk, '/data/volume', { sizeBytes: 2 * mib, segmentBytes });
	const volume = await openVolume(disk, '/data/volume', { noSpaceRetryMs: 1 });
	await volume.holdLog({ name: 'export', fromLSN: 0, budgetBytes: 2 ** 40 });
	const isSegment = (path: string): boolean => path.endsWith('.wal');
	disk.faultRule = ({ kind, path }) => (kind === 'open' && isSegment(path) ? { kind: 'error', code: 'ENOSPC' } : undefined);
	const segments = disk.paths().filter(isSegment).length;
	// A zero is 64 bytes of the log: the segments that there are, to their last byte.
	for (let at = 0; at < (segments * segmentBytes) / 64; at++)
		t.is(await outcome((completion) => volume.zero(0, page, false, completion)), 'good');
	await volume.flushToLayers();
	t.false(volume.isFull);
	await t.throwsAsync(volume.createSnapshot('one'), { instanceOf: VolumeUsageError, message: /full/ });
	disk.faultRule = undefined;
	for (let attempt = 0; volume.isFull && attempt < 1000; attempt++) await settlesSoon(new Promise(() => undefined), 1);
	await volume.createSnapshot('one');
	await volume.close();
	t.deepEqual(await checkVolume(disk, '/data/volume'), []);
});

test('a diff and a count of the space that begin while a merge takes a layer out of the tree read the layers that are left', async (t) => {
	stayAwake(t);
	let gated = 0;
	for (let number = 0; number < 4; number++) {
		const { volume, disk } = await serveInMemory({}, { mergeShare: 1 });
		// In two blocks of the page map: the walk stands between them.
		for (const name of ['a', 'b', 'c']) {
			for (const at of [1, 3, 2000]) await write(volume, at * page, filled(page, name.charCodeAt(0)));
			await volume.createSnapshot(name);
		}
		await volume.flushToLayers();
		let seen = -1;
		// Each change of the tree after that of the deletion itself is one of the merge's.
		const gate = disk.gate(({ kind, path }) => kind === 'open' && path.includes('/tree-') && ++seen === number + 1);
		await volume.deleteSnapshot('b');
		if (!(await settlesSoon(gate.reached))) {
			await volume.close();
			continue;
		}
		gated++;
		const walk = volume.diff('a');
		const first = walk.next();
		await settlesSoon(first);
		gate.release();
		const counted = volume.space();
		await first;
		await volume.merged();
		const ranges: PageRange[] = [];
		for await (const range of walk) ranges.push(range);
		t.deepEqual(ranges, [
			{ firstPage: 3, pages: 1 },
			{ firstPage: 2000, pages: 1 },
		]);
		t.true((await counted).totalBytes >= 6 * page);
		await volume.close();
	}
	t.true(gated > 0);
});

test('zeros that are flushed into the live layer between two steps of a merge do not rely on those of the layer that goes', async (t) => {
	stayAwake(t);
	const served = await serveInMemory({}, { mergeShare: 0.02 });
	const { volume, disk } = served;
	// In two blocks of the page map: the merge stands between them.
	for (const at of [5, 2000]) await write(volume, at * page, filled(page, 1));
	await volume.createSnapshot('ones');
	for (const at of [5, 2000]) await zero(volume, at * page, page);
	await volume.createSnapshot('zeros');
	await volume.flushToLayers();
	await volume.deleteSnapshot('zeros');
	while ((volume.merge?.done ?? 0) === 0) await settlesSoon(new Promise(() => undefined), 1);
	await zero(volume, 4 * page, 4 * page);
	await volume.flushToLayers();
	t.not(volume.merge, undefined, 'the merge is not over');
	await volume.merged();
	t.deepEqual(await read(volume, 5 * page, page), filled(page, 0));
	t.deepEqual(await read(volume, 2000 * page, page), filled(page, 0));
	await volume.close();
	t.deepEqual(await checkVolume(disk, served.directory), []);
});

test('a merge into the layer of another snapshot, then power loss: what it moved is there, though the lower layer is gone', async (t) => {
	stayAwake(t);
	for (let seed = 1; seed <= 8; seed++) {
		const disk = new SimulatedDisk({ seed });
		await disk.makeDirectory('/data');
		await disk.syncDirectory('/');
		await makeVolume(disk, '/data/volume', { sizeBytes: 2 * mib });
		await disk.syncDirectory('/data');
		const volume = await openVolume(disk, '/data/volume', { mergeShare: 1 });
		await write(volume, 0, filled(4 * page, 1));
		await volume.createSnapshot('lower');
		await write(volume, 8 * page, filled(page, 2));
		await volume.createSnapshot('upper');
		await volume.flushToLayers();
		await volume.deleteSnapshot('lower');
		await volume.merged();
		const left = disk.surviving(seed);
		volume.abandon();
		disk.freeze();
		const again = await openVolume(left, '/data/volume', { mergeShare: 1 });
		t.deepEqual(await read(again, 0, 4 * page), filled(4 * page, 1), `seed ${seed}`);
		await again.close();
		t.deepEqual(await checkVolume(left, '/data/volume'), []);
	}
});

test('a large write to pages that a merge is bringing into the live layer goes by the log', async (t) => {
	stayAwake(t);
	const { volume, disk, directory } = await serveInMemory({}, { mergeShare: 1, directBytesMin: 2 * page });
	await write(volume, 0, filled(2 * page, 1));
	await volume.createSnapshot('one');
	await volume.flushToLayers();
	// The merge has read the old pages, and has not written them yet.
	const gate = disk.gateAnswer(({ kind, path }) => kind === 'read' && path.endsWith('.data'));
	await volume.deleteSnapshot('one');
	await gate.reached;
	const written = write(volume, 0, filled(2 * page, 9));
	await settlesSoon(written);
	gate.release();
	t.is(await written, 'good');
	await volume.merged();
	t.deepEqual(await read(volume, 0, 2 * page), filled(2 * page, 9));
	await volume.close();
	t.deepEqual(await checkVolume(disk, directory), []);
});
