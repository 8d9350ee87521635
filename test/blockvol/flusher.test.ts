import test from 'ava';
import { checkVolume } from '../../src/blockvol/check.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import {
	filled,
	flush,
	kib,
	makeVolume,
	mib,
	openVolume,
	page,
	read,
	serveInMemory,
	serveVolume,
	settlesSoon,
	write,
	zero,
} from './volume-fixture.ts';
import type { Call } from './watched-disk.ts';

const isLayerData = (call: Call): boolean => /layers\/.*\.data$/.test(call.path);
const isMap = (call: Call): boolean => call.path.endsWith('.map');
const isLog = (call: Call): boolean => call.path.endsWith('.wal');
const isSuperblock = (call: Call): boolean => call.path.endsWith('superblock');

function role(call: Call): string {
	const what = isLayerData(call) ? 'data' : isMap(call) ? 'map' : isLog(call) ? 'log' : isSuperblock(call) ? 'superblock' : call.path;
	return `${call.kind.replace('writev', 'write')} ${what}`;
}

test('a cycle syncs the log, punches, writes data, syncs it, writes the map, syncs it, then the superblock: in this order and no other', async (t) => {
	const { disk, volume } = await serveInMemory({ sliceBytes: 4 * mib });
	await write(volume, 0, filled(8 * page, 1));
	await write(volume, 5 * mib, filled(page, 2));
	await volume.flushToLayers();
	await write(volume, 0, filled(2 * page, 3));
	await zero(volume, 5 * mib, 4 * page);
	disk.forget();
	await volume.flushToLayers();
	const steps = disk.calls.filter(({ kind }) => kind !== 'tryRead' && kind !== 'read').map(role);
	const collapsed = steps.filter((step, index) => step !== steps[index - 1]);
	t.deepEqual(
		collapsed.filter((step) => !step.startsWith('rename') && !step.startsWith('syncDirectory')),
		['datasync log', 'punch data', 'write data', 'datasync data', 'write map', 'datasync map', 'write superblock', 'datasync superblock'],
	);
	await volume.close();
});

test('one WAL record is read once by the flusher however many pages it holds', async (t) => {
	for (const pages of [1, 2, 17, 63]) {
		const { disk, volume } = await serveVolume(t);
		await write(volume, 64 * kib, filled(pages * page, 7));
		disk.forget();
		await volume.flushToLayers();
		const reads = disk.calls.filter((call) => isLog(call) && (call.kind === 'read' || call.kind === 'tryRead'));
		t.is(reads.length, 1, `${pages} pages`);
		t.is(reads[0]?.lengthBytes, pages * page);
		t.like(volume.statistics(), { flushedRecords: 1, flushLogReads: 1, flushedPages: pages, flushLayerWrites: 1 });
		t.true((await read(volume, 64 * kib, pages * page)).equals(filled(pages * page, 7)));
		await volume.close();
	}
});

test('a 1 MiB record is read in one go, and no byte of the log is read twice', async (t) => {
	const { disk, volume } = await serveVolume(t, { segmentBytes: 8 * mib, sizeBytes: 64 * mib }, { flushBatchBytes: 4 * mib });
	for (let at = 0; at < 5; at++) await write(volume, at * 2 * mib, filled(mib, at + 1));
	disk.forget();
	await volume.flushToLayers();
	const reads = disk.calls.filter((call) => isLog(call) && call.kind === 'read');
	t.true(reads.length <= 7, `${reads.length} reads for 5 records in batches of 4 MiB`);
	const bytes = reads.reduce((sum, call) => sum + call.lengthBytes, 0);
	t.true(bytes >= 5 * mib && bytes < 5 * mib + 32 * kib, `${bytes} bytes`);
	t.is(volume.statistics().flushedRecords, 5);
	await volume.close();
});

test('what lies far apart in the log is read apart: dead versions in between are not', async (t) => {
	const { volume } = await serveInMemory();
	await write(volume, 0, filled(page, 1));
	await write(volume, mib, filled(50 * page, 2));
	await write(volume, page, filled(page, 3));
	await write(volume, mib, filled(50 * page, 4));
	await volume.flushToLayers();
	t.is(volume.statistics().flushLogReads, 2);
	t.is((await read(volume, mib + 49 * page, page)).readUInt8(9), 4);
	await volume.close();
});

test('one misread of the log by the flusher does no harm', async (t) => {
	const disk = new SimulatedDisk({ seed: 2, wouldBlockChance: 0, shortChance: 0 });
	await disk.makeDirectory('/data');
	await makeVolume(disk, '/data/volume');
	const volume = await openVolume(disk, '/data/volume');
	await write(volume, 0, filled(8 * page, 1));
	let reads = 0;
	disk.faultRule = ({ kind, path }) =>
		kind === 'read' && path.endsWith('.wal') && reads++ === 0 ? { kind: 'flippedBit', byteIndex: 3 * page, bit: 1 } : undefined;
	await volume.flushToLayers();
	t.is(volume.fault, undefined);
	t.is(reads, 2);
	t.true((await read(volume, 0, 8 * page)).equals(filled(8 * page, 1)));
	await volume.close();
});

test('scattered small writes are carried in the order of their pages, neighbours of one record in one write', async (t) => {
	const { disk, volume } = await serveInMemory();
	for (const at of [9, 3, 7, 1, 8]) await write(volume, at * page, filled(page, at));
	await write(volume, 20 * page, filled(4 * page, 20));
	disk.forget();
	await volume.flushToLayers();
	const positions = disk.calls.filter((call) => isLayerData(call) && call.kind === 'write').map((call) => call.positionBytes / page);
	t.deepEqual(positions, [1, 3, 7, 8, 9, 20]);
	for (const at of [1, 3, 7, 8, 9]) t.is((await read(volume, at * page, page)).readUInt8(5), at);
	await volume.close();
});

test('only the newest version of a page is carried, and none that was zeroed since', async (t) => {
	const { volume } = await serveInMemory();
	for (let round = 1; round <= 5; round++) await write(volume, 0, filled(page, round));
	await write(volume, page, filled(page, 9));
	await zero(volume, page, page);
	await volume.flushToLayers();
	t.is(volume.statistics().flushedPages, 1);
	t.is((await read(volume, 0, page)).readUInt8(0), 5);
	t.is((await read(volume, page, page)).readUInt8(0), 0);
	await volume.close();
});

test('a page that is rewritten while its older version is carried keeps the younger one, and a crash before that is durable keeps the older', async (t) => {
	const { disk, directory, volume, reopen } = await serveInMemory();
	await write(volume, 0, filled(page, 1));
	t.is(await flush(volume), 'good');
	const gate = disk.gate((call) => call.kind === 'datasync' && isLog(call));
	await write(volume, 8 * page, filled(page, 1));
	const cycle = volume.flushToLayers();
	await gate.reached;
	await write(volume, 0, filled(page, 2));
	gate.release();
	await cycle;
	t.is((await read(volume, 0, page)).readUInt8(0), 2);
	const [older] = await layerPage(disk, directory, 0);
	t.is(older, 1, 'the flushed version is in the layer: the younger one may be lost');
	const again = await reopen('killed');
	t.is((await read(again, 0, page)).readUInt8(0), 2);
	await again.close();
});

async function layerPage(
	disk: { open(path: string, mode: 'readOnly'): Promise<{ read(t: Uint8Array, p: number): Promise<number>; close(): Promise<void> }> },
	directory: string,
	at: number,
): Promise<Buffer> {
	const file = await disk.open(`${directory}/layers/1.data`, 'readOnly');
	const target = Buffer.alloc(page);
	await file.read(target, at * page);
	await file.close();
	return target;
}

const failures: { title: string; match: (call: Call) => boolean }[] = [
	{ title: 'the datasync of the log', match: (call) => call.kind === 'datasync' && isLog(call) },
	{ title: 'a hole', match: (call) => call.kind === 'punch' && isLayerData(call) },
	{ title: 'a read of the log', match: (call) => call.kind === 'read' && isLog(call) },
	{ title: 'a write of data', match: (call) => call.kind.startsWith('write') && isLayerData(call) },
	{ title: 'the datasync of the data', match: (call) => call.kind === 'datasync' && isLayerData(call) },
	{ title: 'a write of the map', match: (call) => call.kind === 'write' && isMap(call) },
	{ title: 'the datasync of the map', match: (call) => call.kind === 'datasync' && isMap(call) },
	{ title: 'a write of the superblock', match: (call) => call.kind === 'write' && isSuperblock(call) },
	{ title: 'the datasync of the superblock', match: (call) => call.kind === 'datasync' && isSuperblock(call) },
];

for (const { title, match } of failures) {
	test(`EIO at ${title} faults the volume, moves no checkpoint behind it, and reopening has everything`, async (t) => {
		const { disk, directory, volume, reopen } = await serveInMemory();
		await write(volume, 0, filled(4 * page, 1));
		await write(volume, 100 * page, filled(page, 1));
		await volume.flushToLayers();
		await write(volume, 0, filled(2 * page, 2));
		await zero(volume, 100 * page, page);
		disk.fail(match, 'EIO');
		disk.forget();
		await volume.flushToLayers();
		t.regex(volume.fault ?? '', /EIO/);
		const afterFailure = disk.calls.slice(disk.calls.findIndex(match) + 1).filter((call) => isSuperblock(call) && call.kind === 'write');
		t.deepEqual(afterFailure, []);
		t.is(await write(volume, 0, filled(page, 3)), 'faulted');
		t.is(await flush(volume), 'faulted');
		if (!title.includes('log')) t.is((await read(volume, 0, page)).readUInt8(0), 2, 'reads go on');
		disk.heal();
		const again = await reopen('closed');
		t.is((await read(again, 0, 2 * page)).readUInt8(page), 2);
		t.is((await read(again, 2 * page, page)).readUInt8(0), 1);
		t.is((await read(again, 100 * page, page)).readUInt8(0), 0);
		await again.close();
		t.deepEqual(await checkVolume(disk, directory), []);
	});

	if (!title.startsWith('the datasync of the') && !title.includes('superblock') && !title.includes('log') && !title.includes('hole')) {
		test(`ENOSPC at ${title} refuses writes with noSpace, serves reads, and goes on when there is room`, async (t) => {
			const { disk, directory, volume } = await serveInMemory({}, { noSpaceRetryMs: 60_000 });
			await write(volume, 0, filled(2 * page, 2));
			disk.fail(match, 'ENOSPC');
			await volume.flushToLayers();
			t.is(volume.fault, undefined);
			t.true(volume.isFull);
			t.is(await write(volume, 0, filled(page, 3)), 'noSpace');
			t.is((await read(volume, 0, page)).readUInt8(0), 2);
			t.is(await zero(volume, page, page), 'good');
			t.is(await flush(volume), 'good');
			disk.heal();
			await volume.flushToLayers();
			t.false(volume.isFull);
			t.is(await write(volume, 0, filled(page, 4)), 'good');
			t.is((await read(volume, page, page)).readUInt8(0), 0);
			await volume.close();
			t.deepEqual(await checkVolume(disk, directory), []);
		});
	}
}

test('a page that is damaged in the log faults the volume instead of reaching the layer', async (t) => {
	const { disk, directory, volume } = await serveVolume(t);
	await write(volume, 0, filled(page, 1));
	const name = (await disk.list(`${directory}/wal`)).toSorted()[0] ?? '';
	const file = await disk.open(`${directory}/wal/${name}`, 'existing');
	await file.write(Buffer.from([0xff]), 1000);
	await file.close();
	disk.forget();
	await volume.flushToLayers();
	t.regex(volume.fault ?? '', /page 0 is damaged in the write-ahead log/);
	t.is(disk.calls.filter((call) => isLayerData(call) && call.kind.startsWith('write')).length, 0);
	await volume.close();
});

test('writes go on while a cycle runs, and segments are freed only when its superblock is durable', async (t) => {
	const { disk, volume } = await serveInMemory({ segmentBytes: 64 * kib }, { walSegmentsMax: 4 });
	for (let at = 0; at < 14; at++) await write(volume, at * page, filled(page, 1));
	const gate = disk.gate((call) => isSuperblock(call) && call.kind === 'datasync');
	const cycle = volume.flushToLayers();
	await gate.reached;
	disk.forget();
	t.is(await write(volume, 0, filled(page, 2)), 'good');
	await settlesSoon(new Promise(() => undefined), 20);
	t.is(disk.of('rename').length, 0, 'a segment was reused before the checkpoint was durable');
	gate.release();
	await cycle;
	t.is((await read(volume, 0, page)).readUInt8(0), 2);
	await volume.close();
});

test('trim gives the space of data and map back', async (t) => {
	const { volume } = await serveVolume(t, { sizeBytes: 64 * mib });
	for (let at = 0; at < 16; at++) await write(volume, at * mib, filled(256 * kib, 1));
	await volume.flushToLayers();
	const before = await volume.allocatedBytes();
	t.true(before >= 4 * mib);
	await zero(volume, 0, 64 * mib);
	await volume.flushToLayers();
	t.true((await volume.allocatedBytes()) <= 64 * kib, `${await volume.allocatedBytes()} bytes`);
	await volume.close();
});
