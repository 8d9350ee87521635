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
	settlesSoon,
	write,
	zero,
	type Served,
} from './volume-fixture.ts';
import type { Call } from './watched-disk.ts';

const tuning = { overwriteBytesMin: 64 * kib };

const isData = ({ kind, path }: Call): boolean => kind.startsWith('write') && path.endsWith('.data');

/** A volume whose first MiB is held by the layer and whose first region is marked. */
async function marked(other: object = {}): Promise<Served> {
	const served = await serveInMemory({}, { ...tuning, ...other });
	await write(served.volume, 0, filled(mib, 1));
	await served.volume.flushToLayers();
	// Two that go through the log, because the region is not marked yet.
	for (const at of [896, 960]) await write(served.volume, at * kib, filled(64 * kib, 1));
	await flush(served.volume);
	await served.volume.flushToLayers();
	return served;
}

test('large writes over held pages of a marked region go in place: no data in the log, and nothing is copied later', async (t) => {
	const { disk, volume } = await marked();
	const before = volume.statistics();
	disk.forget();
	t.is(await write(volume, 0, filled(256 * kib, 2)), 'good');
	t.is(await write(volume, 0, filled(256 * kib, 3)), 'good', 'again, over one that is not flushed');
	const after = volume.statistics();
	t.is(after.overwrites - before.overwrites, 2);
	t.true(after.walBytes - before.walBytes < 4 * kib);
	t.is(disk.calls.filter(isData).length, 2);
	t.true((await read(volume, 0, mib)).equals(filled(mib, 1).fill(3, 0, 256 * kib)));
	await volume.flushToLayers();
	t.is(volume.statistics().flushLayerWrites, before.flushLayerWrites);
	await volume.close();
});

test('what is not held, dirty, zeroed, short, unaligned or not marked goes through the log', async (t) => {
	const { volume } = await marked();
	await write(volume, 0, filled(page, 2));
	await zero(volume, 128 * kib, page);
	const begun = volume.statistics().overwrites;
	for (const [at, length] of [
		[0, 64 * kib],
		[128 * kib, 64 * kib],
		[256 * kib, 32 * kib],
		[320 * kib + 512, 64 * kib],
		[2 * mib, 64 * kib],
		[mib - 32 * kib, 64 * kib],
	] as const) {
		t.is(await write(volume, at, filled(length, 4)), 'good');
		t.true((await read(volume, at, length)).equals(filled(length, 4)));
	}
	t.is(volume.statistics().overwrites, begun);
	await write(volume, 512 * kib, filled(64 * kib, 5));
	t.is(volume.statistics().overwrites, begun + 1);
	await volume.close();
});

test('while pages are being overwritten, whoever touches them waits, readers too, and the answer waits for data and record', async (t) => {
	const { disk, volume } = await marked();
	for (const first of ['data', 'record'] as const) {
		const data = disk.gate(isData);
		const record = disk.gate(({ kind, path }) => kind.startsWith('write') && path.endsWith('.wal'));
		const value = first === 'data' ? 6 : 7;
		const overwrite = write(volume, 0, filled(64 * kib, value));
		await Promise.all([data.reached, record.reached]);
		const reading = read(volume, 32 * kib, page);
		const beside = read(volume, 64 * kib, page);
		const small = write(volume, 0, filled(512, 8));
		t.is((await beside).readUInt8(0), 1, 'others need not wait');
		(first === 'data' ? data : record).release();
		t.false(await settlesSoon(Promise.race([overwrite, reading, small]), 20));
		(first === 'data' ? record : data).release();
		t.deepEqual(await Promise.all([overwrite, small]), ['good', 'good']);
		t.is((await reading).readUInt8(0), value);
		t.is((await read(volume, 0, 1024)).readUInt8(0), 8);
		await volume.flushToLayers();
	}
	await volume.close();
});

test('the main thread writes in place itself while the layer is not being synced; a flush covers it, and a failure faults the volume', async (t) => {
	const { disk, volume } = await marked({ inlineOverwriteBytesMax: mib, inlineStallMs: Infinity });
	disk.forget();
	t.is(await write(volume, 0, filled(256 * kib, 2)), 'good');
	t.deepEqual(
		disk.calls.filter(isData).map(({ kind }) => kind),
		['writeSync'],
	);
	const sync = disk.gate(({ kind, path }) => kind === 'datasync' && path.endsWith('.data'));
	const flushed = flush(volume);
	await sync.reached;
	t.is(await write(volume, 0, filled(256 * kib, 3)), 'good');
	t.deepEqual(
		disk.calls.filter(isData).map(({ kind }) => kind),
		['writeSync', 'write'],
		'a sync was running',
	);
	sync.release();
	t.is(await flushed, 'good');
	t.true((await read(volume, 0, 256 * kib)).equals(filled(256 * kib, 3)));
	disk.fail(isData, 'EIO');
	t.is(await write(volume, 0, filled(256 * kib, 4)), 'faulted');
	t.is(volume.fault, 'a write to the layer failed (EIO)');
	await volume.close();
});

test('a flush that follows the answer of an overwrite syncs the layer, also when the record was durable before its data was written', async (t) => {
	const { disk, volume } = await marked();
	await flush(volume);
	const data = disk.gate(isData);
	const overwrite = write(volume, 0, filled(64 * kib, 2));
	await data.reached;
	await settlesSoon(overwrite, 20);
	t.is(await flush(volume), 'good');
	data.release();
	t.is(await overwrite, 'good');
	disk.forget();
	t.is(await flush(volume), 'good');
	t.is(disk.of('datasync', '.data').length, 1);
	await volume.close();
});

test('no byte is written in place before the mark is durable', async (t) => {
	const { disk, volume } = await serveInMemory({}, tuning);
	await write(volume, 0, filled(mib, 1));
	await volume.flushToLayers();
	const sync = disk.gate(({ kind, path }) => kind === 'datasync' && path.endsWith('superblock'));
	for (const at of [0, 64, 128, 192]) await write(volume, at * kib, filled(64 * kib, 2));
	await sync.reached;
	await write(volume, 256 * kib, filled(64 * kib, 2));
	t.is(volume.statistics().overwrites, 0);
	sync.release();
	await flush(volume);
	await write(volume, 320 * kib, filled(64 * kib, 2));
	t.is(volume.statistics().overwrites, 1);
	await volume.close();
});

test('a mark outlives checkpoints as long as its region is written, and goes when it is not', async (t) => {
	const { disk, directory, volume, reopen } = await marked();
	for (let cycle = 0; cycle < 4; cycle++) {
		await write(volume, 0, filled(64 * kib, 10 + cycle));
		await volume.flushToLayers();
	}
	// In place, its record lost: only the mark in the superblock tells.
	const data = disk.gate(isData);
	const record = disk.gate(({ kind, path }) => kind.startsWith('write') && path.endsWith('.wal'));
	void write(volume, 0, filled(64 * kib, 99));
	await Promise.all([data.reached, record.reached]);
	data.release();
	await settlesSoon(new Promise(() => undefined), 20);
	let again = await reopen('killed');
	t.true((await read(again, 0, 64 * kib)).equals(filled(64 * kib, 99)), 'it is taken as it is');
	t.deepEqual(await checkVolume(disk, directory), []);
	await again.flushToLayers();
	for (let cycle = 0; cycle < 4; cycle++) {
		await write(again, 2 * mib, filled(512, cycle));
		await again.flushToLayers();
	}
	again = await reopen('killed');
	t.true((await read(again, 0, 64 * kib)).equals(filled(64 * kib, 99)));
	await again.close();
});

test('a write in place that fails faults the volume; the next opening takes the pages as they are', async (t) => {
	const { disk, volume, reopen } = await marked();
	disk.fail(isData, 'EIO');
	t.is(await write(volume, 0, filled(64 * kib, 2)), 'faulted');
	t.is(volume.fault, 'a write to the layer failed (EIO)');
	disk.heal();
	const again = await reopen('killed');
	t.true((await read(again, 0, 64 * kib)).equals(filled(64 * kib, 1)));
	await again.close();
});

test('many writers and readers over the same pages: each read is of whole writes, page by page', async (t) => {
	const disk = new SimulatedDisk({ seed: 5, wouldBlockChance: 0.3, shortChance: 0.1 });
	await disk.makeDirectory('/data');
	await makeVolume(disk, '/data/volume');
	const volume = await openVolume(disk, '/data/volume', {
		...tuning,
		flushStartDirectPages: 64,
		flushDirectMs: 0,
		flushStartBytes: 256 * kib,
	});
	await write(volume, 0, filled(mib, 1));
	await volume.flushToLayers();
	for (const at of [896, 960]) await write(volume, at * kib, filled(64 * kib, 1));
	await flush(volume);
	await volume.flushToLayers();
	const over = new AbortController();
	const writer = async (name: number): Promise<void> => {
		for (let step = 0; step < 60; step++) {
			await write(volume, ((name * 7 + step * 3) % 12) * 64 * kib, filled(128 * kib, 1 + ((name * 60 + step) % 250)));
			if (step % 20 === name) await flush(volume);
		}
	};
	const reader = async (): Promise<void> => {
		for (let at = 0; !over.signal.aborted; at = (at + 7) % 200) {
			const seen = await read(volume, at * page, 16 * page);
			for (let from = 0; from < seen.length; from += page) {
				const part = seen.subarray(from, from + page);
				if (!part.equals(filled(page, part.readUInt8(0)))) t.fail('a mixed page');
			}
		}
	};
	const readers = [reader(), reader()];
	await Promise.all([0, 1, 2, 3].map(writer));
	over.abort();
	await Promise.all(readers);
	t.true(volume.statistics().overwrites > 50);
	await volume.close();
	t.deepEqual(await checkVolume(disk, '/data/volume'), []);
});
