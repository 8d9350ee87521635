import test from 'ava';
import { checkVolume } from '../../src/blockvol/check.ts';
import { createGroupSnapshot } from '../../src/blockvol/group-snapshot.ts';
import { filled, makeVolume, mib, openVolume, page, read, serveInMemory, write, zero } from './volume-fixture.ts';

interface Ranges {
	[Symbol.asyncIterator](): AsyncIterator<{ firstPage: number; pages: number }>;
}

async function ranges(walk: Ranges): Promise<number[][]> {
	const list: number[][] = [];
	for await (const { firstPage, pages } of walk) list.push([firstPage, pages]);
	return list;
}

test('diff: pages that were written or zeroed between two snapshots, either way round, over branches, and up to what is live', async (t) => {
	const { volume } = await serveInMemory({ sizeBytes: 16 * mib });
	await write(volume, 0, filled(8 * page, 1));
	await volume.createSnapshot('a');
	await write(volume, 4 * page, filled(2 * page, 2));
	await zero(volume, 7 * page, page);
	await zero(volume, 2000 * page, 4 * page);
	await volume.createSnapshot('b');
	await write(volume, 1007 * page, filled(2 * page, 3));
	const between = [
		[4, 2],
		[7, 1],
	];
	t.deepEqual(await ranges(volume.diff('a', 'b')), between);
	t.deepEqual(await ranges(volume.diff('b', 'a')), between);
	t.deepEqual(await ranges(volume.diff('b')), [[1007, 2]]);
	t.deepEqual(await ranges(volume.diff('a')), [...between, [1007, 2]]);
	t.deepEqual(await ranges(volume.diff('a', 'a')), []);
	await volume.restoreSnapshot('a', { keepLiveAs: 'c' });
	await write(volume, 0, filled(page, 4));
	t.deepEqual(await ranges(volume.diff('c')), [[0, 1], ...between, [1007, 2]]);
	t.deepEqual(await ranges(volume.diff('a')), [[0, 1]]);
	await t.throwsAsync(ranges(volume.diff('nobody')), { name: 'VolumeUsageError' });
	await volume.close();
	await t.throwsAsync(ranges(volume.diff('a')), { name: 'VolumeUsageError' });
});

test('a walk over changed pages keeps its layers, whatever is deleted or written meanwhile, and lets them go at its end', async (t) => {
	const served = await serveInMemory({ sizeBytes: 16 * mib }, { mergeShare: 1 });
	const { volume } = served;
	for (let at = 0; at < 8; at++) await write(volume, at * 2 * page, filled(page, 1));
	await volume.createSnapshot('a');
	for (let at = 0; at < 8; at++) await write(volume, at * 2 * page, filled(page, 2));
	const walk = volume.diff('a');
	const seen = [(await walk.next()).value?.firstPage];
	await volume.createSnapshot('b');
	await volume.deleteSnapshot('a');
	await volume.deleteSnapshot('b');
	await volume.flushToLayers();
	await volume.merged();
	for await (const { firstPage } of walk) seen.push(firstPage);
	t.deepEqual(seen, [0, 2, 4, 6, 8, 10, 12, 14]);
	await volume.merged();
	t.is((await served.disk.list(`${served.directory}/layers`)).length, 2);
	await volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
});

test('space: what each snapshot shows, and what its deletion would give back', async (t) => {
	const { volume } = await serveInMemory({ sizeBytes: 16 * mib }, { mergeShare: 1 });
	await write(volume, 0, filled(10 * page, 1));
	await volume.createSnapshot('a');
	await write(volume, 0, filled(4 * page, 2));
	await zero(volume, 5 * page, page);
	await volume.createSnapshot('b');
	await write(volume, 2000 * page, filled(3 * page, 3));
	const report = await volume.space();
	t.like(report, { referencedBytes: 12 * page, exclusiveBytes: 3 * page, totalBytes: 17 * page });
	t.deepEqual(
		report.snapshots.map(({ name, referencedBytes, exclusiveBytes }) => [name, referencedBytes / page, exclusiveBytes / page]),
		[
			['a', 10, 5],
			['b', 9, 0],
		],
	);
	await volume.deleteSnapshot('a');
	await volume.merged();
	const after = await volume.space();
	t.is(after.totalBytes, report.totalBytes - 5 * page);
	await volume.close();
});

test('a group of snapshots is of one moment: what was acknowledged on one volume before a write to another is in it if that is', async (t) => {
	const { volume, disk, directory } = await serveInMemory({ sizeBytes: 2 * mib, segmentBytes: mib });
	await makeVolume(disk, '/data/other', { sizeBytes: 2 * mib, segmentBytes: mib, uuid: '7c1f6f0e-8c55-4c6e-9b55-3a0c6d1f2a03' });
	const other = await openVolume(disk, '/data/other');
	for (let round = 1; round <= 12; round++) {
		// One writer that goes from volume to volume, each write after the answer to the one before.
		let number = 0;
		const state = { isOver: false };
		const writer = (async (): Promise<void> => {
			while (!state.isOver) {
				number++;
				await write(number % 2 === 0 ? volume : other, 0, filled(page, number % 250));
			}
		})();
		for (let turn = 0; turn < round; turn++) await write(volume, mib, filled(page, 1));
		const infos = await createGroupSnapshot([volume, other], `g${round}`);
		t.deepEqual(
			infos.map(({ name }) => name),
			[`g${round}`, `g${round}`],
		);
		state.isOver = true;
		await writer;
		const last: number[] = [];
		for (const member of [volume, other]) {
			const view = await member.openSnapshot(`g${round}`);
			const target = Buffer.alloc(page);
			t.is(await new Promise((resolve) => view.read(0, target, { complete: resolve })), 'good');
			last.push(target.readUInt8(0));
			await view.close();
		}
		const apart = Math.abs((last[0] as number) - (last[1] as number));
		t.true(apart === 1 || apart >= 248 || last.includes(0), `round ${round}: ${last.join(' and ')}`);
	}
	await t.throwsAsync(createGroupSnapshot([volume, volume], 'twice'), { name: 'VolumeUsageError' });
	await t.throwsAsync(createGroupSnapshot([], 'none'), { name: 'VolumeUsageError' });
	await volume.createSnapshot('only here');
	await t.throwsAsync(createGroupSnapshot([other, volume], 'only here'), { name: 'VolumeUsageError' });
	t.false(
		other.snapshots().some(({ name }) => name === 'only here'),
		'all or none',
	);
	t.is(await write(other, 0, filled(128 * 1024, 9)), 'good', 'the volume that was prepared goes on');
	await volume.close();
	await other.close();
	for (const path of [directory, '/data/other']) t.deepEqual(await checkVolume(disk, path), []);
});

test('a thousand snapshots: the next one is refused, all can be read, and a restart finds them', async (t) => {
	t.timeout(240_000);
	const { volume, disk, directory, reopen } = await serveInMemory(
		{ sizeBytes: 4 * mib, segmentBytes: mib },
		{ mergeShare: 1, layerFilesMax: 8 },
	);
	for (let number = 0; number < 1000; number++) {
		await write(volume, (number % 500) * 2 * page, filled(page, 1 + (number % 250)));
		await volume.createSnapshot(`s${number}`);
	}
	await t.throwsAsync(volume.createSnapshot('one more'), { name: 'VolumeUsageError', message: /1000 snapshots/ });
	const again = await reopen('closed');
	t.is(again.snapshots().length, 1000);
	t.is((await read(again, 998 * page, page)).readUInt8(0), 1 + (999 % 250));
	const view = await again.openSnapshot('s499');
	const target = Buffer.alloc(page);
	t.is(await new Promise((resolve) => view.read(0, target, { complete: resolve })), 'good');
	t.is(target.readUInt8(0), 1);
	await view.close();
	await again.deleteSnapshot('s500');
	await again.merged();
	await again.createSnapshot('one more');
	await again.close();
	t.true((await disk.list(`${directory}/layers`)).length > 1000);
});
