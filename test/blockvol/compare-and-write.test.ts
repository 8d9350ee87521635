import test from 'ava';
import type { CompareCompletion, Outcome } from '../../src/blockvol/block-device.ts';
import type { Volume } from '../../src/blockvol/volume.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { filled, flush, kib, makeVolume, mib, openVolume, page, read, serveInMemory, settlesSoon, write, zero } from './volume-fixture.ts';

interface Compared {
	outcome: Outcome;
	offset: number;
}

function compareAndWrite(volume: Volume, offsetBytes: number, expected: Uint8Array, data: Uint8Array, fua = false): Promise<Compared> {
	return new Promise((resolve) => {
		const completion: CompareCompletion = {
			miscompareOffset: -1,
			complete(outcome) {
				resolve({ outcome, offset: completion.miscompareOffset });
			},
		};
		volume.compareAndWrite(offsetBytes, expected, data, fua, completion);
	});
}

test('what is as expected is replaced; what is not stays, and the first byte that differs is told', async (t) => {
	const { volume } = await serveInMemory();
	await write(volume, 0, filled(64 * kib, 1));
	t.deepEqual(await compareAndWrite(volume, 512, filled(1024, 1), filled(1024, 2)), { outcome: 'good', offset: -1 });
	t.deepEqual(await compareAndWrite(volume, 0, filled(4096, 1), filled(4096, 3)), { outcome: 'miscompare', offset: 512 });
	const expected = filled(4096, 1).fill(2, 512, 1536);
	t.true((await read(volume, 0, 4096)).equals(expected), 'nothing of a refused one is written');
	t.deepEqual(await compareAndWrite(volume, 0, expected, filled(4096, 4)), { outcome: 'good', offset: -1 });
	t.deepEqual(await compareAndWrite(volume, mib, filled(512, 0), filled(512, 5), true), { outcome: 'good', offset: -1 }, 'a hole is zeros');
	t.is((await read(volume, mib, 512)).readUInt8(511), 5);
	await volume.close();
});

test('64 KiB that begin inside a page: 17 pages are compared to the last byte, from memory and from the disk', async (t) => {
	for (const wouldBlockChance of [0, 1]) {
		const disk = new SimulatedDisk({ seed: 3, wouldBlockChance, shortChance: 0 });
		await disk.makeDirectory('/data');
		await makeVolume(disk, '/data/volume');
		const volume = await openVolume(disk, '/data/volume');
		await write(volume, 0, filled(128 * kib, 1));
		await volume.flushToLayers();
		const wrong = filled(64 * kib, 1);
		wrong[64 * kib - 1] = 9;
		t.deepEqual(await compareAndWrite(volume, 512, wrong, filled(64 * kib, 2)), { outcome: 'miscompare', offset: 64 * kib - 1 });
		t.deepEqual(await compareAndWrite(volume, 512, filled(64 * kib, 1), filled(64 * kib, 2)), { outcome: 'good', offset: -1 });
		const expected = filled(128 * kib, 1).fill(2, 512, 512 + 64 * kib);
		t.true((await read(volume, 0, 128 * kib)).equals(expected));
		await volume.close();
	}
});

test('a write that is on its way is what is compared with, and the caller may use its buffers again at once', async (t) => {
	const { disk, volume } = await serveInMemory();
	const gate = disk.gate((call) => call.kind.startsWith('write') && call.path.endsWith('.wal'));
	const earlier = write(volume, 0, filled(512, 1));
	await gate.reached;
	const [expected, data] = [filled(512, 1), filled(512, 2)];
	const compared = compareAndWrite(volume, 0, expected, data);
	expected.fill(8);
	data.fill(9);
	t.false(await settlesSoon(compared, 20));
	gate.release();
	t.is(await earlier, 'good');
	t.is((await compared).outcome, 'good');
	t.is((await read(volume, 0, 512)).readUInt8(0), 2);
	await volume.close();
});

test('more than 64 KiB, more than a record, or two lengths are a fault of the caller', async (t) => {
	const { volume } = await serveInMemory({ segmentBytes: 128 * kib });
	for (const [expected, data] of [
		[33 * kib, 33 * kib],
		[512, 1024],
	] as const) {
		t.throws(() => volume.compareAndWrite(0, filled(expected, 0), filled(data, 0), false, { miscompareOffset: 0, complete() {} }), {
			instanceOf: RangeError,
		});
	}
	t.deepEqual(await compareAndWrite(volume, 16 * mib, filled(512, 0), filled(512, 1)), { outcome: 'outOfRange', offset: -1 });
	await volume.close();
});

test('counters that many clients raise by compare and write lose no step, whatever else goes on', async (t) => {
	const disk = new SimulatedDisk({ seed: 7, wouldBlockChance: 0.3, shortChance: 0.1 });
	await disk.makeDirectory('/data');
	await makeVolume(disk, '/data/volume');
	const volume = await openVolume(disk, '/data/volume', { flushStartBytes: 64 * kib, mapCacheBlocks: 8 });
	const counters = 3;
	const raised = Array.from({ length: counters }, () => 0);
	let miscompared = 0;
	const client = async (name: number): Promise<void> => {
		for (let step = 0; step < 60; step++) {
			const counter = (name + step) % counters;
			// Two share a page, one lies across two.
			const at = [0, 512, page - 512][counter] as number;
			const length = counter === 2 ? 1024 : 512;
			const before = await read(volume, at, length);
			const after = Buffer.from(before);
			after.writeUInt32LE(before.readUInt32LE(length - 8) + 1, length - 8);
			after.writeUInt32LE(name, 0);
			const { outcome } = await compareAndWrite(volume, at, before, after, step % 16 === 0);
			if (outcome === 'good') raised[counter] = (raised[counter] as number) + 1;
			else miscompared++;
			if (step % 5 === 0) await write(volume, 64 * kib + name * 8 * kib, filled(8 * kib, step));
			if (step % 9 === 0) await zero(volume, 64 * kib + name * 8 * kib, 4 * kib);
			if (step % 11 === 0) await flush(volume);
		}
	};
	await Promise.all(Array.from({ length: 8 }, (_, name) => client(name)));
	t.true(miscompared > 50, 'they got into each other’s way');
	for (const [counter, at] of [504, 1016, page + 504].entries()) {
		t.is((await read(volume, at - (at % 512), 512)).readUInt32LE(at % 512), raised[counter] as number, `counter ${counter}`);
	}
	await volume.close();
});
