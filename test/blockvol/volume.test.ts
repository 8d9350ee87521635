import test from 'ava';
import { checkVolume } from '../../src/blockvol/check.ts';
import type { Outcome } from '../../src/blockvol/block-device.ts';
import { writeBytesMax } from '../../src/blockvol/block-device.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { silent } from '../../src/os/logger.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import type { Call } from './watched-disk.ts';
import {
	filled,
	flush,
	kib,
	makeVolume,
	mib,
	openVolume,
	outcome,
	page,
	read,
	serveInMemory,
	serveVolume,
	settlesSoon,
	still,
	uuid,
	write,
	zero,
} from './volume-fixture.ts';

const tib = 2 ** 40;

test('a fresh volume is zeros from end to end, and takes no data space', async (t) => {
	const { volume } = await serveVolume(t);
	t.true((await read(volume, 0, mib)).equals(Buffer.alloc(mib)));
	t.true((await read(volume, 15 * mib, mib)).equals(Buffer.alloc(mib)));
	t.is(await volume.allocatedBytes(), 0);
	t.like(volume, { uuid, blockSize: 512, sizeBytes: 16 * mib, fault: undefined, isFull: false });
	await volume.close();
});

test('what is out of range is refused, nothing is written, and the last block is in range', async (t) => {
	const { volume } = await serveInMemory();
	const end = volume.sizeBytes;
	t.is(await write(volume, end, filled(512, 1)), 'outOfRange');
	t.is(await write(volume, end - 512, filled(1024, 1)), 'outOfRange');
	t.is(await zero(volume, end - 512, 1024), 'outOfRange');
	t.is(await zero(volume, 0, 2 ** 52), 'outOfRange');
	t.is(await outcome((completion) => volume.read(end - 512, Buffer.alloc(1024), completion)), 'outOfRange');
	t.is(volume.tryRead(end, Buffer.alloc(512)), 'outOfRange');
	t.is(await write(volume, end - 512, filled(512, 7)), 'good');
	t.is((await read(volume, end - 1024, 1024)).readUInt8(511), 0);
	t.is((await read(volume, end - 512, 512)).readUInt8(0), 7);
	await volume.close();
});

test('length zero is good, also at the end and with FUA, and writes no record', async (t) => {
	const { volume } = await serveInMemory();
	for (const fua of [false, true]) {
		t.is(await write(volume, volume.sizeBytes, Buffer.alloc(0), fua), 'good');
		t.is(await zero(volume, 0, 0, fua), 'good');
	}
	t.is(volume.tryRead(0, Buffer.alloc(0)), 'good');
	t.is(volume.statistics().walBytes, 0);
	await volume.close();
});

test('a write above writeBytesMax is a fault of the caller', async (t) => {
	const { volume } = await serveInMemory();
	t.throws(() => volume.write(0, Buffer.alloc(writeBytesMax + 512), false, { complete() {} }), { instanceOf: RangeError });
	await volume.close();
});

test('no completion comes before the call has returned', async (t) => {
	const { volume } = await serveInMemory();
	const early: string[] = [];
	const call = (name: string, start: (completion: { complete(outcome: Outcome): void }) => void): void => {
		let hasReturned = false;
		start({ complete: () => void (hasReturned || early.push(name)) });
		hasReturned = true;
	};
	call('write', (completion) => volume.write(0, filled(512, 1), false, completion));
	call('FUA', (completion) => volume.write(0, filled(512, 1), true, completion));
	call('out of range', (completion) => volume.write(volume.sizeBytes, filled(512, 1), false, completion));
	call('empty', (completion) => volume.write(0, Buffer.alloc(0), true, completion));
	call('zero', (completion) => volume.zero(0, mib, false, completion));
	call('flush', (completion) => volume.flush(completion));
	call('read', (completion) => volume.read(0, Buffer.alloc(512), completion));
	const closed = volume.close();
	call('read of a closed volume', (completion) => volume.read(0, Buffer.alloc(512), completion));
	call('write to a closed volume', (completion) => volume.write(0, filled(512, 1), false, completion));
	call('flush of a closed volume', (completion) => volume.flush(completion));
	await closed;
	t.deepEqual(early, []);
});

test('data of up to 64 KiB may change as soon as write() has returned, whatever the command waits for', async (t) => {
	const { disk, volume } = await serveInMemory({}, { dirtyPagesMax: 70 });
	// The dirty map is full: whoever comes now waits for the flusher.
	await write(volume, 8 * mib, filled(256 * kib, 1));
	const gate = disk.gate((call) => call.kind === 'datasync' && call.path.endsWith('.wal'));
	const pending: Promise<Outcome>[] = [];
	for (let at = 0; at < 12; at++) {
		const data = filled(64 * kib, at + 1);
		// Beside aligned ones, those that must read an old page.
		pending.push(write(volume, at * 128 * kib + (at % 2) * 512, data));
		data.fill(0xee);
	}
	await gate.reached;
	t.true(volume.statistics().waitingCommands > 0, 'nobody waits');
	gate.release();
	t.deepEqual(new Set(await Promise.all(pending)), new Set(['good']));
	for (let at = 0; at < 12; at++) {
		t.true((await read(volume, at * 128 * kib + (at % 2) * 512, 64 * kib)).equals(filled(64 * kib, at + 1)), `write ${at}`);
	}
	await volume.close();
});

test('partial pages keep what stands beside them, from the log, the layer and after a zero', async (t) => {
	const { volume, reopen } = await serveVolume(t);
	await write(volume, 0, filled(3 * page, 1));
	await volume.flushToLayers();
	await write(volume, 512, filled(512, 2));
	await write(volume, 1024, filled(512, 3));
	await write(volume, page - 512, filled(page + 1024, 4));
	await zero(volume, 2 * page + 1024, 512);
	const expected = filled(3 * page, 1);
	expected.fill(2, 512, 1024).fill(3, 1024, 1536);
	expected.fill(4, page - 512, 2 * page + 512);
	expected.fill(0, 2 * page + 1024, 2 * page + 1536);
	t.true((await read(volume, 0, 3 * page)).equals(expected));
	await volume.flushToLayers();
	t.true((await read(volume, 0, 3 * page)).equals(expected));
	const again = await reopen('killed');
	t.true((await read(again, 0, 3 * page)).equals(expected));
	t.true((await read(again, 700, 5000 - (5000 % 4))).equals(expected.subarray(700, 700 + 5000)));
	await again.close();
});

test('a partial write over an old page that cannot be read is a medium error, and the page stays as it is', async (t) => {
	const { disk, directory, volume } = await serveVolume(t);
	await write(volume, 0, filled(2 * page, 1));
	await volume.flushToLayers();
	const file = await disk.open(`${directory}/layers/1.data`, 'existing');
	await file.write(Buffer.from([0xff]), 100);
	await file.close();
	t.is(await write(volume, 512, filled(512, 2)), 'mediumError');
	disk.forget();
	t.is(await outcome((completion) => volume.read(0, Buffer.alloc(page), completion)), 'mediumError');
	t.is(disk.of('read', '.data').length, 2, 'it is read twice, not for ever');
	t.is(volume.tryRead(0, Buffer.alloc(page)), undefined);
	t.is((await read(volume, page, page)).readUInt8(0), 1, 'its neighbour is readable');
	t.is(await write(volume, 0, filled(page, 3)), 'good', 'a whole page may be written over it');
	t.is((await read(volume, 0, page)).readUInt8(512), 3);
	t.true(volume.statistics().checksumErrors > 0);
	t.is(volume.fault, undefined);
	await volume.close();
});

test('EIO on a read of the layer is a medium error, and only while it lasts', async (t) => {
	const { disk, volume } = await serveInMemory();
	await write(volume, 0, filled(page, 1));
	await volume.flushToLayers();
	disk.fail((call) => /read/i.test(call.kind) && call.path.endsWith('.data'), 'EIO');
	t.is(volume.tryRead(0, Buffer.alloc(page)), undefined);
	t.is(await outcome((completion) => volume.read(0, Buffer.alloc(page), completion)), 'mediumError');
	t.is(await write(volume, 0, filled(512, 1)), 'mediumError');
	disk.heal();
	t.is((await read(volume, 0, page)).readUInt8(0), 1);
	await volume.close();
});

test('a read that is under way while its page is rewritten and flushed returns the old or the new page, whole', async (t) => {
	const { disk, volume } = await serveInMemory();
	await write(volume, 0, filled(page, 1));
	await volume.flushToLayers();
	const gate = disk.gate((call) => call.kind === 'read' && call.path.endsWith('.data'));
	const reading = read(volume, 0, page);
	await gate.reached;
	await write(volume, 0, filled(page, 2));
	await volume.flushToLayers();
	gate.release();
	t.is((await reading).readUInt8(0), 2);
	t.is(volume.statistics().checksumErrors, 0);
	await volume.close();
});

test('a read of the log pins its segment: the log goes on and the read ends well', async (t) => {
	const { disk, volume } = await serveInMemory({ segmentBytes: 64 * kib }, { walSegmentsMax: 3 });
	await write(volume, 0, filled(page, 1));
	const gate = disk.gate((call) => call.kind === 'read' && call.path.endsWith('.wal'));
	const reading = read(volume, 0, page);
	await gate.reached;
	for (let at = 0; at < 60; at++) {
		t.is(await write(volume, (1 + (at % 8)) * page, filled(page, 9)), 'good');
		if (at % 10 === 9) await volume.flushToLayers();
	}
	t.true((await disk.list('/data/volume/wal')).includes('0000000000000000.wal'), 'the segment was used again under the read');
	gate.release();
	t.is((await reading).readUInt8(0), 1);
	await volume.close();
});

test('a read of many stretches from the log, the layer and nowhere is good', async (t) => {
	const { volume } = await serveInMemory();
	const expected = Buffer.alloc(60 * page);
	for (let at = 0; at < 60; at += 3) {
		await write(volume, at * page, filled(page, at + 1));
		expected.fill(at + 1, at * page, (at + 1) * page);
	}
	await volume.flushToLayers();
	for (let at = 1; at < 60; at += 6) {
		await write(volume, at * page, filled(page, at + 100));
		expected.fill(at + 100, at * page, (at + 1) * page);
	}
	t.true((await read(volume, 0, 60 * page)).equals(expected));
	const target = Buffer.alloc(60 * page);
	t.is(volume.tryRead(0, target), 'good');
	t.true(target.equals(expected));
	for (const [offset, length] of [
		[0, page],
		[7 * page, 3 * page],
		[3 * page + 512, 9 * page],
		[59 * page, page],
	] as const) {
		const slab = Buffer.alloc(20 * page, 0xee);
		t.is(volume.tryRead(offset, slab, 100, 100 + length), 'good');
		t.true(slab.subarray(100, 100 + length).equals(expected.subarray(offset, offset + length)), `${length} bytes from ${offset}`);
		t.true(slab.subarray(0, 100).every((byte) => byte === 0xee) && slab.subarray(100 + length).every((byte) => byte === 0xee));
	}
	const snug = Buffer.alloc(10 * page);
	t.is(volume.tryRead(volume.sizeBytes - page, snug, page, 3 * page), 'outOfRange');
	t.is(volume.tryRead(volume.sizeBytes - page, snug, page, 2 * page), 'good', 'the length of the part counts');
	await volume.close();
});

test('a partial write that waits for its old page keeps its data, and takes what was written meanwhile', async (t) => {
	const { disk, volume } = await serveInMemory();
	await write(volume, 0, filled(page, 1));
	await volume.flushToLayers();
	// Nothing is in memory: each old page has to be awaited.
	disk.fail((call) => call.kind === 'tryRead', 'EIO');
	const gate = disk.gateAnswer((call) => call.kind === 'read' && call.path.endsWith('.data'));
	const data = filled(512, 7);
	const partial = write(volume, 512, data);
	data.fill(0xee);
	await gate.reached;
	t.is(await write(volume, 0, filled(page, 2)), 'good');
	gate.release();
	t.is(await partial, 'good');
	const expected = filled(page, 2).fill(7, 512, 1024);
	t.true((await read(volume, 0, page)).equals(expected));
	await volume.close();
});

test('a trim waits for a direct write under it', async (t) => {
	const { disk, volume } = await serveInMemory({}, { directBytesMin: 64 * kib });
	const gate = disk.gate((call) => call.kind.startsWith('write') && call.path.endsWith('.data'));
	const direct = write(volume, 0, filled(64 * kib, 1));
	await gate.reached;
	const trim = zero(volume, 4 * page, page);
	t.false(await settlesSoon(trim, 20));
	gate.release();
	t.deepEqual(await Promise.all([direct, trim]), ['good', 'good']);
	t.is((await read(volume, 4 * page, page)).readUInt8(0), 0);
	t.is((await read(volume, 5 * page, page)).readUInt8(0), 1);
	await volume.close();
});

test('direct writes: overlapping commands wait for them, others do not; readers see the old until the record is installed', async (t) => {
	const { disk, volume } = await serveInMemory({}, { directBytesMin: 64 * kib });
	const gate = disk.gate((call) => call.kind.startsWith('write') && call.path.endsWith('.data'));
	const direct = write(volume, 0, filled(128 * kib, 1));
	await gate.reached;
	t.is(await write(volume, mib, filled(page, 5)), 'good', 'beside it');
	const small = write(volume, 64 * kib, filled(512, 2));
	const trim = zero(volume, 96 * kib, page);
	t.false(await settlesSoon(Promise.race([direct, small, trim]), 20));
	t.is((await read(volume, 0, page)).readUInt8(0), 0);
	gate.release();
	t.deepEqual(await Promise.all([direct, small, trim]), ['good', 'good', 'good']);
	t.is(volume.statistics().directWrites, 1);
	const seen = await read(volume, 0, 128 * kib);
	const expected = filled(128 * kib, 1);
	expected.fill(2, 64 * kib, 64 * kib + 512).fill(0, 96 * kib, 96 * kib + page);
	t.true(seen.equals(expected));
	await volume.close();
});

test('direct writes that overlap each other, when there is no room for their records, never wait for each other in a circle', async (t) => {
	const { disk, volume } = await serveInMemory({}, { directBytesMin: 64 * kib, dirtyPagesMax: 66 });
	const isData = ({ kind, path }: Call): boolean => kind.startsWith('write') && path.endsWith('.data');
	// Of two parts; the other one writes where the second will.
	const firstData = disk.gate(isData);
	const long = write(volume, 0, filled(512 * kib, 1));
	await firstData.reached;
	const secondData = disk.gate(isData);
	const overlapping = write(volume, 256 * kib, filled(256 * kib, 2));
	await secondData.reached;
	const log = disk.gate((call) => call.kind.startsWith('write') && call.path.endsWith('.wal'));
	const others: Promise<Outcome>[] = [];
	while (volume.statistics().waitingCommands === 0) {
		others.push(write(volume, 4 * mib + others.length * 32 * kib, filled(32 * kib, 3)));
		await new Promise(setImmediate);
	}
	for (const gate of [secondData, firstData]) {
		gate.release();
		await settlesSoon(long, 20);
	}
	t.is(volume.statistics().waitingCommands, 3, 'both have written their data, and no record fits');
	log.release();
	t.true(await settlesSoon(Promise.all([long, overlapping, ...others])));
	t.deepEqual([await long, await overlapping], ['good', 'good']);
	t.true((await read(volume, 0, 256 * kib)).equals(filled(256 * kib, 1)));
	const seen = await read(volume, 256 * kib, 256 * kib);
	t.true(seen.equals(filled(256 * kib, seen.readUInt8(0))));
	await volume.close();
});

for (const end of ['a clean stop', 'a kill'] as const) {
	test(`opening after ${end} does not wait for the superblock: reads are served, and no record goes to the log before both slots are durable`, async (t) => {
		const served = await serveInMemory();
		const { disk, directory } = served;
		await write(served.volume, 0, filled(page, 1), true);
		if (end === 'a kill') served.volume.abandon();
		else await served.volume.close();
		const isSync = ({ kind, path }: Call): boolean => kind === 'datasync' && path.endsWith('superblock');
		const gates = [disk.gate(isSync), disk.gate(isSync)];
		const volume = await openVolume(disk, directory);
		t.is((await read(volume, 0, page)).readUInt8(0), 1);
		disk.forget();
		const written = write(volume, page, filled(page, 2));
		for (const gate of gates) {
			await gate.reached;
			t.false(await settlesSoon(written, 20));
			t.is(disk.calls.filter(({ kind, path }) => kind.startsWith('write') && path.endsWith('.wal')).length, 0);
			gate.release();
		}
		t.is(await written, 'good');
		await volume.close();
	});
}

test('a superblock that cannot be written at opening faults the volume: reads go on, no write is taken', async (t) => {
	const served = await serveInMemory();
	const { disk, directory } = served;
	await write(served.volume, 0, filled(page, 1));
	await served.volume.close();
	disk.fail(({ kind, path }) => kind === 'datasync' && path.endsWith('superblock'), 'EIO');
	const volume = await openVolume(disk, directory);
	t.is(await write(volume, 0, filled(page, 2)), 'faulted');
	t.is(volume.fault, 'the superblock could not be written (EIO)');
	t.is((await read(volume, 0, page)).readUInt8(0), 1);
	await volume.close();
	disk.heal();
	const again = await openVolume(disk, directory);
	t.is((await read(again, 0, page)).readUInt8(0), 1);
	t.is(await write(again, 0, filled(page, 2)), 'good');
	await again.close();
});

test('pages that the layer holds, or that are dirty or zeroed, are never written directly', async (t) => {
	const { volume } = await serveInMemory({}, { directBytesMin: 64 * kib });
	await write(volume, 0, filled(page, 1));
	await write(volume, 0, filled(64 * kib, 2));
	t.is(volume.statistics().directWrites, 0, 'dirty');
	await volume.flushToLayers();
	await write(volume, 0, filled(64 * kib, 3));
	t.is(volume.statistics().directWrites, 0, 'held');
	await zero(volume, mib, page);
	await write(volume, mib, filled(64 * kib, 4));
	t.is(volume.statistics().directWrites, 0, 'zeroed');
	await write(volume, 2 * mib + 512, filled(64 * kib, 5));
	t.is(volume.statistics().directWrites, 0, 'not aligned');
	await write(volume, 3 * mib, filled(64 * kib, 6));
	t.is(volume.statistics().directWrites, 1);
	for (const [at, value] of [
		[0, 3],
		[mib, 4],
		[2 * mib + 512, 5],
		[3 * mib, 6],
	] as const) {
		t.true((await read(volume, at, 64 * kib)).equals(filled(64 * kib, value)));
	}
	await volume.close();
});

test('a direct write whose disk fails faults the volume; a full disk refuses it with noSpace and leaves zeros', async (t) => {
	for (const [code, expected] of [
		['EIO', 'faulted'],
		['ENOSPC', 'noSpace'],
	] as const) {
		const { disk, volume } = await serveInMemory({}, { directBytesMin: 64 * kib });
		disk.fail((call) => call.kind.startsWith('write') && call.path.endsWith('.data'), code);
		t.is(await write(volume, 0, filled(64 * kib, 1)), expected);
		t.is(volume.fault === undefined, code === 'ENOSPC');
		t.is((await read(volume, 0, page)).readUInt8(0), 0);
		disk.heal();
		await volume.close();
	}
});

test('an acknowledged flush or FUA write has been synced, direct data before the log', async (t) => {
	const { disk, volume } = await serveInMemory({}, { directBytesMin: 64 * kib });
	t.is(await flush(volume), 'good');
	await write(volume, 0, filled(64 * kib, 1));
	disk.forget();
	t.is(await flush(volume), 'good');
	t.deepEqual(
		disk.of('datasync').map(({ path }) => path.split('.').at(-1)),
		['data', 'wal'],
	);
	disk.forget();
	t.is(await write(volume, mib, filled(page, 1), true), 'good');
	t.is(disk.of('datasync', '.wal').length, 1);
	await volume.close();
});

test('close stamps, and the next opening replays nothing; a kill replays what the log has', async (t) => {
	const { disk, volume, reopen, directory } = await serveVolume(t);
	await write(volume, 0, filled(page, 1));
	const clean = await reopen('closed');
	t.is(clean.statistics().replayedRecords, 0);
	t.is((await read(clean, 0, page)).readUInt8(0), 1);
	await write(clean, 0, filled(page, 2));
	await write(clean, page, filled(page, 3));
	const killed = await reopen('killed');
	t.is(killed.statistics().replayedRecords, 2);
	t.is((await read(killed, 0, 2 * page)).readUInt8(page), 3);
	await killed.close();
	t.deepEqual(await checkVolume(disk, directory), []);
});

test('close lets commands that run end, refuses those that wait and those that come', async (t) => {
	const { disk, volume } = await serveInMemory({}, { dirtyPagesMax: 70 });
	await write(volume, 8 * mib, filled(224 * kib, 1));
	const gate = disk.gate((call) => call.kind.startsWith('write') && call.path.endsWith('.wal'));
	const running = write(volume, 0, filled(8 * kib, 1));
	const waiting = [write(volume, mib, filled(64 * kib, 2)), write(volume, 2 * mib, filled(64 * kib, 3))];
	await gate.reached;
	const closed = volume.close();
	const late = write(volume, 0, filled(512, 4));
	gate.release();
	t.is(await running, 'good');
	t.deepEqual(await Promise.all(waiting), ['closed', 'closed']);
	t.is(await late, 'closed');
	t.is(volume.tryRead(0, Buffer.alloc(512)), 'closed');
	await closed;
	t.deepEqual(disk.late, []);
});

test('forceCheck finds a page map that is not the one of the stamp; without it a clean volume opens at once', async (t) => {
	const { disk, directory, volume } = await serveVolume(t);
	await write(volume, 0, filled(page, 1));
	await volume.close();
	const file = await disk.open(`${directory}/layers/1.map`, 'existing');
	await file.write(Buffer.alloc(512), 0);
	await file.close();
	const trusting = { log: silent, tuning: still };
	await t.throwsAsync(Volume.open(disk, directory, { ...trusting, forceCheck: true }), { name: 'VolumeFault', message: /stamp/ });
	await (await Volume.open(disk, directory, trusting)).close();
});

test('resize grows durably and tells the listeners; smaller, impossible and late sizes are refused', async (t) => {
	const { volume, reopen } = await serveInMemory();
	const told: number[] = [];
	const end = volume.onResize(() => told.push(volume.sizeBytes));
	await t.throwsAsync(volume.resize(8 * mib), { name: 'VolumeUsageError', message: /cannot shrink/ });
	for (const size of [16 * mib + 512, 65 * tib, Number.NaN, -page, 0])
		await t.throwsAsync(volume.resize(size), { name: 'VolumeUsageError' });
	await volume.resize(16 * mib);
	t.deepEqual(told, []);
	const grown = Promise.all([volume.resize(32 * mib), volume.resize(64 * mib)]);
	await grown;
	t.deepEqual(told, [32 * mib, 64 * mib]);
	end();
	await volume.resize(65 * mib);
	t.is(told.length, 2);
	t.is(await write(volume, 65 * mib - page, filled(page, 1)), 'good');
	const again = await reopen('killed');
	t.is(again.sizeBytes, 65 * mib);
	t.is((await read(again, 65 * mib - page, page)).readUInt8(9), 1);
	await again.close();
	await t.throwsAsync(again.resize(66 * mib), { name: 'VolumeUsageError', message: /closed/ });
});

test('a resize that cannot be made durable faults the volume and leaves the size', async (t) => {
	const { disk, volume } = await serveInMemory();
	disk.fail((call) => call.kind === 'datasync' && call.path.endsWith('superblock'), 'EIO');
	await t.throwsAsync(volume.resize(32 * mib), { name: 'VolumeFault' });
	t.is(volume.sizeBytes, 16 * mib);
	t.is(await write(volume, 0, filled(512, 1)), 'faulted');
	t.is(await write(volume, 20 * mib, filled(512, 1)), 'faulted');
	disk.heal();
	await volume.close();
});

test('impossible geometries are refused before a file is made', async (t) => {
	const disk = new SimulatedDisk({ seed: 1 });
	for (const [bad, message] of [
		[{ sizeBytes: 65 * tib }, /64 TiB/],
		[{ sizeBytes: 4095 }, /multiple of 4096/],
		[{ blockSize: 1024 as 512 }, /block size/],
		[{ segmentBytes: 3 * 64 * kib }, /power of two/],
		[{ segmentBytes: 32 * kib }, /power of two/],
		[{ segmentBytes: 2 ** 31 }, /power of two/],
		[{ sliceBytes: 5000 }, /layer files/],
		[{ uuid: '2F0E9F5C-5B1D-4A6E-9A57-0D6C1F6F3B01' }, /UUID/],
	] as const) {
		const geometry = { uuid, sizeBytes: mib, blockSize: 512 as const, ...bad };
		await t.throwsAsync(Volume.create(disk, '/v', geometry), { name: 'VolumeUsageError', message });
	}
	t.deepEqual(disk.paths(), []);
});

test('a volume of 64 TiB: first and last page, trim of all of it, reopening, and memory that does not follow its size', async (t) => {
	const { disk, directory, volume, reopen } = await serveVolume(t, { sizeBytes: 64 * tib, sliceBytes: 8 * tib });
	const before = process.memoryUsage().rss;
	const places = [0, 8 * tib - page, 8 * tib, 17 * tib + 3 * page, 32 * tib, 64 * tib - page];
	for (const [index, at] of places.entries()) t.is(await write(volume, at, filled(page, index + 1)), 'good');
	t.is(await write(volume, 8 * tib - 512, filled(1024, 77)), 'good', 'over the end of a slice');
	await volume.flushToLayers();
	let again = await reopen('killed');
	for (const [index, at] of places.entries()) t.is((await read(again, at, page)).readUInt8(1000), index + 1, `at ${at}`);
	t.is((await read(again, 8 * tib - 512, 1024)).readUInt8(1023), 77);
	t.is(await zero(again, page, 64 * tib - 2 * page), 'good');
	t.is((await read(again, 32 * tib, page)).readUInt8(0), 0);
	await again.flushToLayers();
	again = await reopen('closed');
	t.is((await read(again, 32 * tib, page)).readUInt8(0), 0);
	t.is((await read(again, 0, page)).readUInt8(0), 1);
	t.is((await read(again, 64 * tib - page, page)).readUInt8(0), 6);
	t.is(await write(again, 64 * tib - page, filled(2 * page, 1)), 'outOfRange');
	await again.close();
	t.deepEqual(await checkVolume(disk, directory), []);
	t.true(process.memoryUsage().rss - before < 200 * mib);
});

test('the limits of dirty pages and zeroed ranges make writers wait, not fail, and memory stays', async (t) => {
	const { volume } = await serveInMemory({}, { dirtyPagesMax: 70, zeroRangesMax: 4 });
	const outcomes = new Set<Outcome>();
	for (let at = 0; at < 300; at += 10) {
		const some = Array.from({ length: 10 }, (_, index) => write(volume, (at + index) * page, filled(page, ((at + index) % 200) + 1)));
		for (const one of await Promise.all(some)) outcomes.add(one);
		t.true(volume.statistics().dirtyPages <= 2 * (70 + 10));
	}
	for (const one of await Promise.all(Array.from({ length: 40 }, (_, at) => zero(volume, at * 3 * page, page)))) outcomes.add(one);
	t.deepEqual(outcomes, new Set(['good']));
	t.true(volume.statistics().flushCycles >= 2);
	for (let at = 0; at < 300; at++) t.is((await read(volume, at * page, page)).readUInt8(9), at % 3 === 0 && at < 120 ? 0 : (at % 200) + 1);
	await volume.close();
});

test('one volume without a directory, or with a file missing, says so in one sentence', async (t) => {
	const disk = new SimulatedDisk({ seed: 1 });
	await disk.makeDirectory('/d');
	await t.throwsAsync(openVolume(disk, '/d/none'), { name: 'VolumeFault', message: 'the volume cannot be read (ENOENT)' });
	await makeVolume(disk, '/d/v');
	await disk.remove('/d/v/layers/1.map');
	await t.throwsAsync(openVolume(disk, '/d/v'), { name: 'VolumeFault' });
	await t.throwsAsync(makeVolume(disk, '/d/v'), { code: 'EEXIST' });
});

test('holds survive a restart, and keep what they hold', async (t) => {
	const { volume, reopen } = await serveInMemory({ segmentBytes: 64 * kib });
	await volume.holdLog({ name: 'export', fromLSN: 0, budgetBytes: 100 * mib });
	for (let at = 0; at < 40; at++) await write(volume, at * page, filled(page, 1));
	await volume.flushToLayers();
	const again = await reopen('closed');
	t.true(again.statistics().walFiles >= 3);
	await t.throwsAsync(again.holdLog({ name: 'export', fromLSN: 0, budgetBytes: 1 }), { message: /already/ });
	await again.releaseLog('export');
	await t.throwsAsync(again.releaseLog('export'), { name: 'VolumeUsageError' });
	await again.close();
});
