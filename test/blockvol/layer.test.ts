import test from 'ava';
import { Layer, sliceOf } from '../../src/blockvol/layer.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { filled, page } from './volume-fixture.ts';
import { WatchedDisk } from './watched-disk.ts';

const sliceBytes = 4 * page;
const options = { sliceBytes, mapCacheBlocks: 8, mode: 'existing' } as const;

async function openLayer(): Promise<{ disk: WatchedDisk; layer: Layer; again: () => Promise<Layer> }> {
	const disk = new WatchedDisk(new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 }));
	await disk.makeDirectory('/layers');
	await Layer.create(disk, '/layers', 1);
	const again = (): Promise<Layer> => Layer.open(disk, '/layers', 1, options);
	return { disk, layer: await again(), again };
}

test('names of slices: the first has no number, others have, and a foreign name is none', (t) => {
	t.is(Layer.dataName(1, 0), '1.data');
	t.is(Layer.dataName(1, 7), '1.7.data');
	for (const slice of [0, 1, 8191]) t.is(sliceOf(Layer.dataName(3, slice), 3), slice);
	for (const name of ['1.map', '11.data', 'x1.data', '1.data.tmp', '1..data', '1.x.data']) t.is(sliceOf(name, 1), -1, name);
});

test('a page lies in its slice; contiguous ends with the slice, and a write over its end is refused', async (t) => {
	const { layer } = await openLayer();
	t.is(layer.contiguous(0, 100), 4);
	t.is(layer.contiguous(3, 100), 1);
	t.is(layer.contiguous(5, 2), 2);
	t.is(layer.positionOf(6), 2 * page);
	await t.throwsAsync(layer.write(3, [filled(2 * page, 1)], 2), { instanceOf: RangeError });
	await layer.close();
});

test('slices appear with their first page, their names are durable with the next sync, and they are found again', async (t) => {
	const { disk, layer, again } = await openLayer();
	disk.forget();
	await layer.syncData();
	t.is(disk.of('syncDirectory').length, 1, 'names that a killed process left may be in the kernel only');
	t.is(layer.fileOf(9), undefined);
	await Promise.all([layer.write(9, [filled(page, 1)], 1), layer.write(10, [filled(page, 2)], 1)]);
	t.is(disk.of('open', '1.2.data').length, 1, 'two writers share the making of a slice');
	disk.forget();
	await layer.syncData();
	t.deepEqual(
		disk.calls.map(({ kind }) => kind),
		['datasync', 'syncDirectory'],
	);
	disk.forget();
	await layer.syncData();
	t.deepEqual(disk.calls, [], 'nothing was written since');
	await layer.close();
	const reopened = await again();
	const target = Buffer.alloc(2 * page);
	await reopened.fileOf(9)?.read(target, reopened.positionOf(9));
	t.true(target.equals(Buffer.concat([filled(page, 1), filled(page, 2)])));
	await reopened.close();
});

test('runs go to the slices that they lie in', async (t) => {
	const { layer } = await openLayer();
	await layer.writeRuns([0, 2, 4, 13], [filled(page, 1), filled(2 * page, 2), filled(page, 3), filled(2 * page, 4)]);
	for (const [at, value] of [
		[0, 1],
		[3, 2],
		[4, 3],
		[14, 4],
	] as const) {
		const target = Buffer.alloc(page);
		await layer.fileOf(at)?.read(target, layer.positionOf(at));
		t.is(target.readUInt8(page - 1), value);
	}
	await layer.close();
});

test('a hole over several slices touches only those that are there, and only the range', async (t) => {
	const { disk, layer } = await openLayer();
	await layer.writeRuns([0, 8], [filled(4 * page, 1), filled(4 * page, 2)]);
	disk.forget();
	await layer.punch(2, 10);
	t.deepEqual(
		disk.of('punch').map(({ path, positionBytes, lengthBytes }) => [path, positionBytes, lengthBytes]),
		[
			['/layers/1.data', 2 * page, 2 * page],
			['/layers/1.2.data', 0, 2 * page],
		],
	);
	disk.fail((call) => call.kind === 'punch', 'EOPNOTSUPP');
	await t.notThrowsAsync(layer.punch(0, 4));
	disk.heal();
	disk.fail((call) => call.kind === 'punch', 'EIO');
	await t.throwsAsync(layer.punch(0, 4), { code: 'EIO' });
	await layer.close();
});

test('a write that ends while a sync runs is covered by the next one; after a failed sync every later one fails', async (t) => {
	const { disk, layer } = await openLayer();
	await layer.write(0, [filled(page, 1)], 1);
	const gate = disk.gate((call) => call.kind === 'datasync');
	const first = layer.syncData();
	await gate.reached;
	await layer.write(1, [filled(page, 2)], 1);
	gate.release();
	await first;
	disk.forget();
	await layer.syncData();
	t.is(disk.of('datasync').length, 1);
	await layer.write(2, [filled(page, 3)], 1);
	disk.fail((call) => call.kind === 'datasync', 'EIO', 1);
	await t.throwsAsync(layer.syncData(), { code: 'EIO' });
	await t.throwsAsync(layer.syncData(), { code: 'EIO' });
	await layer.close();
});
