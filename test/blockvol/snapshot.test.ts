import test from 'ava';
import type { BlockDevice } from '../../src/blockvol/block-device.ts';
import { checkVolume } from '../../src/blockvol/check.ts';
import { limits } from '../../src/blockvol/limits.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { WatchedDisk } from './watched-disk.ts';
import {
	filled,
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
	write,
	zero,
	type Served,
} from './volume-fixture.ts';

async function readView(view: BlockDevice, offsetBytes: number, lengthBytes: number): Promise<Buffer> {
	const target = Buffer.alloc(lengthBytes, 0xee);
	const result = view.tryRead(offsetBytes, target) ?? (await outcome((completion) => view.read(offsetBytes, target, completion)));
	if (result !== 'good') throw new Error(`the read ended with ${result}`);
	return target;
}

test('a snapshot reads what was there before it, the volume what came after, before and after a flush and a restart', async (t) => {
	for (const how of ['closed', 'killed'] as const) {
		const served = await serveVolume(t);
		await write(served.volume, 0, filled(16 * page, 1));
		const info = await served.volume.createSnapshot('one');
		t.like(info, { name: 'one', sizeBytes: 16 * mib, parent: undefined });
		await write(served.volume, 4 * page, filled(page, 2));
		await zero(served.volume, 8 * page, 2 * page);
		const look = async (): Promise<void> => {
			const live = await read(served.volume, 0, 16 * page);
			t.deepEqual([live[0], live[4 * page], live[5 * page], live[8 * page], live[10 * page]], [1, 2, 1, 0, 1]);
			const view = await served.volume.openSnapshot('one');
			t.true((await readView(view, 0, 16 * page)).equals(filled(16 * page, 1)));
			t.true((await readView(view, 16 * page, 16 * page)).equals(filled(16 * page, 0)));
			await view.close();
		};
		await look();
		await served.volume.flushToLayers();
		await look();
		const again = await served.reopen(how);
		await look();
		t.deepEqual(again.snapshots(), [info]);
		await again.close();
		t.deepEqual(await checkVolume(served.disk, served.directory), []);
	}
});

test('snapshot upon snapshot: each shows its moment, through the merged index and without it', async (t) => {
	const served = await serveInMemory({ sizeBytes: 2 * mib, segmentBytes: 64 * kib }, { belowBlocks: 2, layerFilesMax: 2 });
	for (let number = 1; number <= 20; number++) {
		await write(served.volume, (number % 7) * page, filled(3 * page, number));
		await zero(served.volume, ((number + 4) % 9) * page, page);
		await served.volume.createSnapshot(`s${number}`);
	}
	const contents: Buffer[] = [];
	for (let number = 1; number <= 20; number++) {
		const previous = contents.at(-1) ?? Buffer.alloc(32 * page);
		const content = Buffer.from(previous);
		content.fill(number, (number % 7) * page, ((number % 7) + 3) * page);
		content.fill(0, ((number + 4) % 9) * page, (((number + 4) % 9) + 1) * page);
		contents.push(content);
	}
	for (const round of [0, 1]) {
		for (const [at, content] of contents.entries()) {
			const view = await served.volume.openSnapshot(`s${at + 1}`);
			t.true((await readView(view, 0, 32 * page)).equals(content), `round ${round}, snapshot ${at + 1}`);
			await view.close();
		}
		t.true((await read(served.volume, 0, 32 * page)).equals(contents.at(-1) as Buffer));
		await served.reopen('closed');
	}
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
	t.deepEqual(
		[...served.disk.openFiles].filter(([, count]) => count > 0),
		[],
	);
});

test('a deleted snapshot gives its space back: merged into the next one, or into the volume, and no file is left', async (t) => {
	const served = await serveInMemory({ sizeBytes: 16 * mib, segmentBytes: mib }, { mergeShare: 1 });
	const { volume, disk, directory } = served;
	for (const [at, name] of ['a', 'b', 'c'].entries()) {
		for (let part = 0; part < 8; part++) await write(volume, (at + part * 2) * mib, filled(mib, at * 16 + part + 1));
		await zero(volume, at * 8 * page, 4 * page);
		await volume.createSnapshot(name);
	}
	await volume.flushToLayers();
	const before = await volume.allocatedBytes();
	const content = await read(volume, 0, 16 * mib);
	const view = await volume.openSnapshot('c');
	const old = await readView(view, 0, 16 * mib);
	for (const name of ['b', 'a']) {
		await volume.deleteSnapshot(name);
		t.false(volume.snapshots().some((snapshot) => snapshot.name === name));
		await t.throwsAsync(volume.openSnapshot(name), { name: 'VolumeUsageError' });
	}
	await volume.merged();
	t.true((await readView(view, 0, 16 * mib)).equals(old), 'b is merged into c while somebody reads c');
	await view.close();
	await volume.merged();
	await volume.deleteSnapshot('c');
	await volume.merged();
	t.true((await read(volume, 0, 16 * mib)).equals(content));
	t.true((await volume.allocatedBytes()) < before * 0.75);
	t.is((await disk.list(`${directory}/layers`)).length, 2);
	const again = await served.reopen('closed');
	t.true((await read(again, 0, 16 * mib)).equals(content));
	await again.close();
	t.deepEqual(await checkVolume(disk, directory), []);
});

test('while a snapshot is read, its layers stay, deleted or not', async (t) => {
	const served = await serveInMemory({}, { mergeShare: 1 });
	const { volume } = served;
	await write(volume, 0, filled(4 * page, 1));
	await volume.createSnapshot('a');
	await write(volume, 0, filled(2 * page, 2));
	const view = await volume.openSnapshot('a');
	await volume.deleteSnapshot('a');
	await volume.merged();
	t.true((await readView(view, 0, 4 * page)).equals(filled(4 * page, 1)));
	await view.close();
	t.is(await outcome((completion) => view.read(0, Buffer.alloc(page), completion)), 'closed');
	await volume.merged();
	t.deepEqual((await served.disk.list(`${served.directory}/layers`)).toSorted().length, 2);
	t.true((await read(volume, 2 * page, 2 * page)).equals(filled(2 * page, 1)));
	await volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
});

test('a restore shows the snapshot, its size too; every other snapshot stays, what was live becomes one on demand, and who wants to know of its size is told', async (t) => {
	const served = await serveInMemory({ sizeBytes: 2 * mib, segmentBytes: mib }, { mergeShare: 1 });
	const { volume } = served;
	let told = '';
	volume.onResize(() => (told += 'size '));
	await write(volume, 0, filled(4 * page, 1));
	await volume.createSnapshot('small');
	await volume.resize(4 * mib);
	await write(volume, 3 * mib, filled(4 * page, 2));
	await volume.createSnapshot('large');
	await write(volume, 0, filled(page, 3));
	told = '';
	await volume.restoreSnapshot('small', { keepLiveAs: 'before' });
	t.is(told, 'size ');
	t.is(volume.sizeBytes, 2 * mib);
	t.true((await read(volume, 0, 4 * page)).equals(filled(4 * page, 1)));
	t.is(await write(volume, 3 * mib, filled(page, 9)), 'outOfRange');
	t.deepEqual(
		volume.snapshots().map(({ name, sizeBytes }) => [name, sizeBytes]),
		[
			['small', 2 * mib],
			['large', 4 * mib],
			['before', 4 * mib],
		],
	);
	await volume.resize(4 * mib);
	t.true((await read(volume, 3 * mib, 4 * page)).equals(filled(4 * page, 0)), 'what was behind the end does not come back');
	await volume.restoreSnapshot('before');
	t.true((await read(volume, 3 * mib, 4 * page)).equals(filled(4 * page, 2)));
	t.is((await read(volume, 0, page))[0], 3);
	const again = await served.reopen('killed');
	t.is(again.sizeBytes, 4 * mib);
	t.is((await read(again, 0, page))[0], 3);
	await again.merged();
	await t.throwsAsync(again.restoreSnapshot('nobody'), { name: 'VolumeUsageError' });
	await t.throwsAsync(again.restoreSnapshot('small', { keepLiveAs: 'large' }), { name: 'VolumeUsageError' });
	await again.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
});

test('a write that waits while the volume is restored to a smaller snapshot is out of range, one that fits goes on', async (t) => {
	const served = await serveInMemory({ sizeBytes: 2 * mib, segmentBytes: mib });
	const { volume, disk } = served;
	await volume.createSnapshot('small');
	await volume.resize(4 * mib);
	await volume.flushToLayers();
	const gate = disk.gate((call) => call.kind === 'write' && call.path.includes('tree-'));
	const restored = volume.restoreSnapshot('small');
	await gate.reached;
	const beyond = write(volume, 3 * mib, filled(page, 1));
	const within = write(volume, mib, filled(page, 2));
	gate.release();
	await restored;
	t.is(await beyond, 'outOfRange');
	t.is(await within, 'good');
	t.is((await read(volume, mib, page))[0], 2);
	await volume.close();
	t.deepEqual(await checkVolume(disk, served.directory), []);
});

test('a snapshot waits for a write that goes straight to the layer, in or out of place; large writes go through the log meanwhile and wait for nothing', async (t) => {
	for (const isHeld of [false, true]) {
		const served = await serveInMemory(
			{ sizeBytes: 4 * mib, segmentBytes: mib },
			{ directBytesMin: 64 * kib, overwriteBytesMin: 68 * kib, markAfterWrites: 1 },
		);
		const { volume, disk } = served;
		if (isHeld) {
			await write(volume, 0, filled(256 * kib, 1));
			await volume.flushToLayers();
			// The region is marked by the first one.
			await write(volume, 0, filled(128 * kib, 1));
			await volume.flushToLayers();
		}
		const gate = disk.gate((call) => call.kind.startsWith('write') && call.path.endsWith('.data'));
		const straight = write(volume, 0, filled(128 * kib, 2));
		await gate.reached;
		const { directWrites, overwrites } = volume.statistics();
		t.true(directWrites + overwrites > 0);
		let isMade = false;
		const made = volume.createSnapshot('a').then(() => (isMade = true));
		t.false(await settlesSoon(made, 100), String(isMade));
		t.is(await write(volume, mib, filled(128 * kib, 3)), 'good');
		t.like(volume.statistics(), { directWrites, overwrites });
		gate.release();
		t.is(await straight, 'good');
		await made;
		t.is(await write(volume, 0, filled(128 * kib, 4)), 'good');
		const view = await volume.openSnapshot('a');
		t.true((await readView(view, 0, 128 * kib)).equals(filled(128 * kib, 2)));
		t.true((await readView(view, mib, 128 * kib)).equals(filled(128 * kib, 3)));
		t.true((await read(volume, 0, 128 * kib)).equals(filled(128 * kib, 4)));
		await volume.close();
		t.deepEqual(await checkVolume(disk, served.directory), []);
	}
});

test('at most so many views at once; one that is closed makes room', async (t) => {
	const { volume } = await serveInMemory({}, { belowBlocks: 2 });
	await volume.createSnapshot('a');
	const views = await Promise.all(Array.from({ length: limits.viewsMax }, () => volume.openSnapshot('a')));
	await t.throwsAsync(volume.openSnapshot('a'), { name: 'VolumeUsageError' });
	await views[0]?.close();
	await volume.openSnapshot('a');
	await volume.close();
	t.is(await outcome((completion) => (views[1] as BlockDevice).read(0, Buffer.alloc(page), completion)), 'closed');
});

test('a view takes no writes and says so; outside its size is out of range; its identity is its own and stays', async (t) => {
	const served = await serveInMemory({ sizeBytes: mib });
	await write(served.volume, 0, filled(page, 1));
	await served.volume.createSnapshot('a');
	const view: BlockDevice = await served.volume.openSnapshot('a');
	const data = Buffer.alloc(page);
	t.is(await outcome((completion) => view.write(0, data, false, completion)), 'faulted');
	t.is(await outcome((completion) => view.zero(0, page, false, completion)), 'faulted');
	t.is(await outcome((completion) => view.compareAndWrite(0, data, data, false, { ...completion, miscompareOffset: 0 })), 'faulted');
	t.is(await outcome((completion) => view.flush(completion)), 'good');
	t.is(await outcome((completion) => view.read(mib - 512, data, completion)), 'outOfRange');
	t.deepEqual((await view.allocation(0, 4)).extents[0], { lengthBytes: page, isMapped: true });
	t.is((await readView(view, 0, page)).readUInt8(0), 1);
	t.not(view.uuid, served.volume.uuid);
	const { uuid } = view;
	await served.reopen('closed');
	t.is((await served.volume.openSnapshot('a')).uuid, uuid);
	await served.volume.close();
});

test('names: empty, too long and taken ones are refused; 64 bytes are a name', async (t) => {
	const served = await serveInMemory();
	const { volume } = served;
	const longest = 'ä'.repeat(32);
	await volume.createSnapshot(longest);
	for (const name of ['', `${longest}x`, 'a\0b', longest])
		await t.throwsAsync(volume.createSnapshot(name), { name: 'VolumeUsageError' }, name);
	await t.throwsAsync(volume.deleteSnapshot('nobody'), { name: 'VolumeUsageError' });
	t.is((await served.reopen('killed')).snapshots()[0]?.name, longest);
	await served.volume.close();
});

test('a snapshot does not wait for the flusher, and writers do not wait for a snapshot that does', async (t) => {
	const most = 8;
	const served = await serveInMemory({ sizeBytes: 2 * mib, segmentBytes: mib }, { snapshotsPendingMax: most });
	const { volume, disk } = served;
	const gate = disk.gate((call) => call.kind === 'write' && call.path.endsWith('.data'));
	for (let number = 1; number <= most; number++) {
		await write(volume, 0, filled(page, number));
		await volume.createSnapshot(`s${number}`);
	}
	const next = volume.createSnapshot('next');
	await gate.reached;
	await write(volume, 0, filled(page, most + 1));
	t.is(volume.snapshots().length, most);
	gate.release();
	await next;
	for (let number = 1; number <= most; number++) {
		const view = await volume.openSnapshot(`s${number}`);
		t.is((await readView(view, 0, page))[0], number);
		await view.close();
	}
	await volume.close();
	t.deepEqual(await checkVolume(disk, served.directory), []);
});

test('a snapshot that has the flusher begin: what was written behind it, in the same batch of the log, counts as flushed when it is', async (t) => {
	const served = await serveInMemory({ sizeBytes: 2 * mib, segmentBytes: 64 * kib }, { snapshotsPendingMax: 1, inlineAppendBytesMax: 0 });
	const { volume, disk } = served;
	await write(volume, 0, filled(page, 1));
	// While one batch is being written, the next one takes a snapshot and then writes.
	const gate = disk.gate((call) => call.kind.startsWith('write') && call.path.includes('/wal/'));
	const first = write(volume, page, filled(page, 2));
	await gate.reached;
	const snapshot = volume.createSnapshot('s');
	for (let turn = 0; turn < 100; turn++) await Promise.resolve();
	const later = [2, 3, 4].map((at) => write(volume, at * page, filled(page, at + 1)));
	gate.release();
	await Promise.all([first, snapshot, ...later]);
	t.deepEqual(
		volume.snapshots().map(({ name }) => name),
		['s'],
	);
	while (volume.statistics().flushCycles === 0) await new Promise(setImmediate);
	const expected = Buffer.concat([1, 2, 3, 4, 5].map((value) => filled(page, value)));
	t.true((await read(volume, 0, 5 * page)).equals(expected));
	// The checkpoint is durable: what lies below it in the log is not replayed.
	const again = await served.reopen('killed');
	t.true((await read(again, 0, 5 * page)).equals(expected));
	const view = await again.openSnapshot('s');
	t.true((await readView(view, 0, 5 * page)).equals(Buffer.concat([1, 2, 0, 0, 0].map((value) => filled(page, value)))));
	await view.close();
	await again.close();
	t.deepEqual(await checkVolume(disk, served.directory), []);
});

test('as many snapshots as there may be: none waits for the flusher, none makes a file, each page is looked up as if there were none', async (t) => {
	const served = await serveInMemory({ sizeBytes: 8 * mib, segmentBytes: mib }, { flushStartBytes: Infinity, snapshotsPendingMax: 2000 });
	const { volume, disk } = served;
	disk.forget();
	for (let number = 1; number <= limits.snapshotsMax; number++) {
		await write(volume, (number % 1500) * page, filled(page, number % 251));
		if (number % 100 === 0) await zero(volume, (number - 50) * page, page);
		await volume.createSnapshot(`s${number}`);
	}
	t.deepEqual(
		disk.calls.filter(({ kind, path }) => kind === 'open' && !path.includes('/wal/')),
		[],
	);
	await t.throwsAsync(volume.createSnapshot('more'), { message: /1000 snapshots/ });
	const sound = async (): Promise<void> => {
		for (let at = 1; at <= limits.snapshotsMax; at += 7)
			t.is((await read(served.volume, at * page, page))[0], at % 100 === 50 && at < 951 ? 0 : at % 251, `page ${at}`);
		t.is((await read(served.volume, 50 * page, page))[0], 0);
		t.is((await read(served.volume, 1400 * page, page))[0], 0);
	};
	await sound();
	await served.reopen('killed');
	await sound();
	t.is(served.volume.snapshots().length, limits.snapshotsMax);
	await served.reopen('closed');
	await sound();
	const view = await served.volume.openSnapshot('s500');
	t.is((await readView(view, 500 * page, page))[0], 500 % 251);
	t.is((await readView(view, 501 * page, page))[0], 0);
	await view.close();
	await served.volume.close();
	t.deepEqual(await checkVolume(disk, served.directory), []);
});

test('snapshots between large writes, each of which opens files: another one waits before there are too many', async (t) => {
	const served = await serveInMemory({ sizeBytes: 16 * mib, segmentBytes: mib }, { directBytesMin: 8 * page, flushStartBytes: Infinity });
	const { volume, disk } = served;
	const most = (): number =>
		[...disk.openFiles].filter(([path, count]) => path.includes('/layers/') && path.endsWith('.map') && count > 0).length;
	let seen = 0;
	for (let number = 1; number <= 3 * limits.pendingFilesMax; number++) {
		t.is(await write(volume, (number % 64) * 8 * page, filled(8 * page, number % 251)), 'good');
		await volume.createSnapshot(`s${number}`);
		seen = Math.max(seen, most());
	}
	t.true(volume.statistics().directWrites >= 3 * limits.pendingFilesMax);
	t.true(served.volume.snapshots().length === 3 * limits.pendingFilesMax);
	t.true(seen > 0);
	const again = await served.reopen('killed');
	for (let at = 0; at < 64; at++) t.is((await read(again, at * 8 * page, page))[0], at === 0 ? 192 : at + 128);
	await again.close();
	t.deepEqual(await checkVolume(disk, served.directory), []);
});

test('snapshots that are pending are carried together: one change of the tree and one sync of names for all, each with what it held', async (t) => {
	const served = await serveInMemory({ sizeBytes: 2 * mib, segmentBytes: mib });
	const { volume, disk } = served;
	const count = 20;
	for (let number = 1; number <= count; number++) {
		// A page of its own, one of which each has another version, and one that every other one zeroes.
		await write(volume, number * page, filled(page, number));
		await write(volume, 0, filled(page, number));
		if (number % 2 === 0) await zero(volume, 100 * page, page);
		else await write(volume, 100 * page, filled(page, number));
		await volume.createSnapshot(`s${number}`);
	}
	disk.forget();
	await volume.flushToLayers();
	const calls = disk.calls.filter(({ path }) => !path.includes('/wal'));
	t.is(calls.filter(({ kind, path }) => kind === 'open' && path.includes('/tree-')).length, 1);
	t.is(calls.filter(({ kind, path }) => kind === 'syncDirectory' && path.endsWith('/layers')).length, 1);
	t.is(calls.filter(({ kind, path }) => kind === 'datasync' && path.endsWith('superblock')).length, 2);
	for (const how of ['closed', 'killed'] as const) {
		const again = await served.reopen(how);
		for (let number = 1; number <= count; number++) {
			const view = await again.openSnapshot(`s${number}`);
			for (let at = 1; at <= count; at++) t.is((await readView(view, at * page, page))[0], at <= number ? at : 0);
			t.is((await readView(view, 0, page))[0], number);
			t.is((await readView(view, 100 * page, page))[0], number % 2 === 0 ? 0 : number);
			await view.close();
		}
		t.is((await read(again, 100 * page, page))[0], 0);
	}
	await served.volume.close();
	t.deepEqual(await checkVolume(disk, served.directory), []);
});

for (const [part, which] of [
	['.data', 3],
	['.map', 3],
	['/tree-', 1],
] as const) {
	test(`the file system is full while several snapshots are carried, at write ${which} of ${part}: nothing is lost, trims go on, and all are complete when there is space`, async (t) => {
		const served = await serveInMemory({ sizeBytes: 2 * mib, segmentBytes: mib }, { noSpaceRetryMs: 20 });
		const { volume, disk } = served;
		const awake = setInterval(() => undefined, 50);
		t.teardown(() => {
			clearInterval(awake);
		});
		for (let number = 1; number <= 4; number++) {
			await write(volume, 0, filled(page, number));
			await zero(volume, number * page, page);
			await write(volume, (number + 1) * page, filled(page, number));
			await volume.createSnapshot(`s${number}`);
		}
		await write(volume, 9 * page, filled(page, 9));
		let seen = 0;
		disk.fail((call) => call.kind.startsWith('write') && call.path.includes(part) && ++seen === which, 'ENOSPC', 1);
		await volume.flushToLayers();
		t.true(volume.isFull);
		t.is(await write(volume, 0, filled(page, 7)), 'noSpace');
		t.is(await zero(volume, 9 * page, page), 'good');
		while (volume.isFull) await new Promise((resolve) => setTimeout(resolve, 1));
		t.is(await write(volume, 10 * page, filled(page, 10)), 'good');
		for (const how of ['killed', 'closed'] as const) {
			const again = await served.reopen(how);
			for (let number = 1; number <= 4; number++) {
				const view = await again.openSnapshot(`s${number}`);
				const pages = Array.from({ length: 11 }, async (_, at) => (await readView(view, at * page, page))[0]);
				t.deepEqual(await Promise.all(pages), [number, 0, ...[1, 2, 3, 4].map((at) => (at === number ? at : 0)), 0, 0, 0, 0, 0]);
				await view.close();
			}
			const live = Array.from({ length: 11 }, async (_, at) => (await read(again, at * page, page))[0]);
			t.deepEqual(await Promise.all(live), [4, 0, 0, 0, 0, 4, 0, 0, 0, 0, 10]);
		}
		await served.volume.close();
		t.deepEqual(await checkVolume(disk, served.directory), []);
	});
}

const cloneUuid = '5b1f6f0e-8c55-4c6e-9b55-3a0c6d1f2a02';

async function cloned(sizeBytes: number): Promise<Served & { clone: string }> {
	const served = await serveInMemory({ sizeBytes, segmentBytes: mib }, { mergeShare: 1 });
	for (let part = 0; part < sizeBytes / mib; part++) await write(served.volume, part * mib, filled(mib / 2, part + 1));
	await served.volume.createSnapshot('base');
	const clone = '/data/clone';
	await Volume.clone(served.disk, served.volume, 'base', clone, cloneUuid);
	return Object.assign(served, { clone });
}

test('a clone takes no space, shows the snapshot, goes its own way, and outlives what it was made of', async (t) => {
	const served = await cloned(4 * mib);
	const { volume, disk, directory, clone } = served;
	const other = await openVolume(disk, clone, { mergeShare: 1 });
	t.is(other.uuid, cloneUuid);
	t.is(other.sizeBytes, 4 * mib);
	t.deepEqual(other.snapshots(), []);
	const expected = await read(volume, 0, 4 * mib);
	t.true((await read(other, 0, 4 * mib)).equals(expected));
	await write(other, 0, filled(page, 200));
	await write(volume, page, filled(page, 201));
	t.deepEqual(firstBytes(await read(volume, 0, 2 * page)), [1, 201]);
	t.deepEqual(firstBytes(await read(other, 0, 2 * page)), [200, 1]);
	await volume.deleteSnapshot('base');
	await volume.merged();
	await volume.close();
	await other.close();
	t.deepEqual(await checkVolume(disk, directory, [directory, clone]), []);
	t.deepEqual(await checkVolume(disk, clone, [directory, clone]), []);
	t.regex(messagesOf(await checkVolume(disk, clone, [clone])), /has 2 names, 1 volumes need it/);
	for (const name of await disk.list(`${directory}/layers`)) await disk.remove(`${directory}/layers/${name}`);
	const alone = await openVolume(disk, clone, { mergeShare: 1 });
	t.true((await read(alone, page, 4 * mib - page)).equals(expected.subarray(page)));
	await alone.close();
	t.deepEqual(await checkVolume(disk, clone, [clone]), []);
});

test('flatten copies what a clone shares; from then on it shares nothing', async (t) => {
	const { volume, disk, directory, clone } = await cloned(2 * mib);
	const other = await openVolume(disk, clone, { mergeShare: 1 });
	await write(other, 0, filled(page, 9));
	await other.createSnapshot('own');
	const expected = await read(other, 0, 2 * mib);
	await other.flatten();
	await other.merged();
	t.true((await read(other, 0, 2 * mib)).equals(expected));
	t.false((await disk.list(`${clone}/layers`)).includes('1.map'));
	await volume.close();
	for (const name of await disk.list(`${directory}/layers`)) {
		const file = await disk.open(`${directory}/layers/${name}`, 'readOnly');
		t.is(await file.links(), 1, name);
		await file.close();
	}
	const view = await other.openSnapshot('own');
	t.true((await readView(view, 0, 2 * mib)).equals(expected));
	await view.close();
	await other.close();
	t.deepEqual(await checkVolume(disk, clone, [directory, clone]), []);
});

test('a clone is refused for a snapshot that is not there and for an impossible UUID, and nothing is made of it', async (t) => {
	const { volume, disk } = await cloned(2 * mib);
	await t.throwsAsync(Volume.clone(disk, volume, 'nobody', '/data/x', cloneUuid), { name: 'VolumeUsageError' });
	await t.throwsAsync(Volume.clone(disk, volume, 'base', '/data/x', 'X'), { name: 'VolumeUsageError' });
	await t.throwsAsync(disk.list('/data/x'));
	await volume.close();
});

function messagesOf(findings: readonly { message: string }[]): string {
	return findings.map(({ message }) => message).join('\n');
}

function firstBytes(pages: Buffer): number[] {
	return Array.from(pages.filter((_, at) => at % page === 0));
}

test('a merge carries zeros upwards: what they hide below stays hidden', async (t) => {
	const served = await serveInMemory({ sizeBytes: mib }, { mergeShare: 1 });
	const { volume } = served;
	await write(volume, 0, filled(8 * page, 1));
	await volume.createSnapshot('a');
	await zero(volume, 2 * page, 2 * page);
	await volume.createSnapshot('b');
	await write(volume, 6 * page, filled(page, 3));
	await volume.createSnapshot('c');
	await volume.deleteSnapshot('b');
	await volume.merged();
	const expected = Buffer.concat([filled(2 * page, 1), filled(2 * page, 0), filled(2 * page, 1), filled(page, 3), filled(page, 1)]);
	const view = await volume.openSnapshot('c');
	t.true((await readView(view, 0, 8 * page)).equals(expected));
	t.true((await read(await served.reopen('closed'), 0, 8 * page)).equals(expected));
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
});

test('a merge into the live layer flushes first where a record that a power loss could take stands for a page', async (t) => {
	const { volume } = await serveInMemory({ sizeBytes: mib }, { mergeShare: 1, directBytesMin: 64 * kib });
	await write(volume, 0, filled(128 * kib, 1));
	await volume.createSnapshot('a');
	await volume.flushToLayers();
	await write(volume, 0, filled(64 * kib, 2));
	t.true(volume.statistics().directWrites > 0);
	t.true(volume.statistics().dirtyPages > 0);
	await volume.deleteSnapshot('a');
	await volume.merged();
	t.is(volume.statistics().dirtyPages, 0);
	t.true((await read(volume, 0, 128 * kib)).equals(Buffer.concat([filled(64 * kib, 2), filled(64 * kib, 1)])));
	await volume.close();
});

test('a clone that is made between two steps of a merge: the merge leaves alone what is shared now', async (t) => {
	const { volume, disk } = await serveInMemory({ sizeBytes: 16 * mib }, { mergeShare: 0.1 });
	for (let block = 0; block < 4; block++) await write(volume, block * 4 * mib, filled(2 * page, 1));
	await volume.createSnapshot('a');
	await write(volume, page, filled(page, 2));
	await volume.createSnapshot('b');
	await volume.flushToLayers();
	disk.forget();
	const gate = disk.gate((call) => call.kind === 'punch' && call.path.endsWith('.data'));
	await volume.deleteSnapshot('a');
	await gate.reached;
	// The step counts as long, and so does the pause behind it.
	await settlesSoon(new Promise(() => undefined), 100);
	gate.release();
	await settlesSoon(new Promise(() => undefined), 2);
	// The merge's own timer keeps no process alive.
	const alive = setInterval(() => undefined, 1000);
	await Volume.clone(disk, volume, 'b', '/data/clone', cloneUuid);
	await volume.merged();
	clearInterval(alive);
	t.is(disk.of('punch', '.data').length, 1);
	await volume.close();
});

test('kill -9 in a merge, another merge, power loss: what the first one left in the kernel only is not taken for merged', async (t) => {
	const inner = new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 });
	await inner.makeDirectory('/data');
	await inner.syncDirectory('/');
	const disk = new WatchedDisk(inner);
	await makeVolume(disk, '/data/v', { sizeBytes: mib, segmentBytes: 64 * kib });
	const volume = await openVolume(disk, '/data/v', { mergeShare: 1 });
	await write(volume, 0, filled(8 * page, 1));
	await volume.createSnapshot('a');
	await write(volume, 0, filled(page, 2));
	await volume.createSnapshot('b');
	await volume.flushToLayers();
	let isWritten = false;
	const gate = disk.gate((call) => {
		isWritten ||= call.kind === 'write' && call.path.endsWith('.map');
		return isWritten && call.kind === 'datasync' && call.path.endsWith('.map');
	});
	await volume.deleteSnapshot('a');
	await gate.reached;
	const killed = inner.killed(1);
	volume.abandon();
	inner.freeze();
	const left: SimulatedDisk[] = [];
	let isPunched = false;
	killed.onOperation = ({ kind }) => {
		if (isPunched && left.length < 60) for (let seed = 0; seed < 6; seed++) left.push(killed.surviving(seed * 7 + left.length));
		isPunched ||= kind === 'punch';
	};
	const again = await openVolume(killed, '/data/v', { mergeShare: 1 });
	await outcome((completion) => again.flush(completion));
	await again.merged();
	again.abandon();
	killed.freeze();
	t.true(left.length > 0);
	for (const survivor of left) {
		const last = await openVolume(survivor, '/data/v', { mergeShare: 1 });
		const view = await last.openSnapshot('b');
		t.true((await readView(view, 0, 8 * page)).equals(Buffer.concat([filled(page, 2), filled(7 * page, 1)])));
		last.abandon();
	}
});
