import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import type { Volume } from '../../src/blockvol/volume.ts';
import type { Outcome } from '../../src/blockvol/block-device.ts';
import { Generation, placeLayer } from '../../src/blockvol/generation.ts';
import { Flusher } from '../../src/blockvol/flusher.ts';
import { defaultTuning } from '../../src/blockvol/limits.ts';
import { BelowIndex } from '../../src/blockvol/below-index.ts';
import { Exclusive } from '../../src/blockvol/exclusive.ts';
import { PageIndex } from '../../src/blockvol/page-index.ts';
import { RunningDigest } from '../../src/blockvol/map-digest.ts';
import { Marks } from '../../src/blockvol/marks.ts';
import { PageMap } from '../../src/blockvol/page-map.ts';
import { entriesPerBlock } from '../../src/blockvol/page-map-block.ts';
import { checkVolume } from '../../src/blockvol/check.ts';
import { encodeSuperblock, formatVersion, slotBytes, SuperblockFile } from '../../src/blockvol/superblock.ts';
import { crc32c } from '../../src/wire/crc32c.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { temporaryDirectory } from '../temporary.ts';
import { WatchedDisk } from './watched-disk.ts';
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

/** What a review of the engine found. A test marked `.failing` is right and the engine is not yet; ava reports when it begins to pass, and then the mark goes. */
test('a flush whose fdatasync fails after the volume failed elsewhere ends as faulted', async (t) => {
	const { disk, volume } = await serveVolume(t);
	await write(volume, 0, filled(page, 1));
	const sync = disk.gate((call) => call.kind === 'datasync' && call.path.endsWith('.wal'));
	const flushed = flush(volume);
	await sync.reached;
	// A resize meets a broken superblock while the group commit is under way: the volume fails.
	disk.fail(() => true, 'EIO');
	await t.throwsAsync(volume.resize(32 * mib));
	t.truthy(volume.fault);
	sync.release();
	t.true(await settlesSoon(flushed), 'the flush never ends');
	t.is(await flushed, 'faulted');
	disk.heal();
	t.true(await settlesSoon(volume.close()), 'close never ends');
});

test('a load while the flusher has every block of a cache set pinned waits or reads past the cache, and never throws', async (t) => {
	const directory = await temporaryDirectory(t);
	const disk = new WatchedDisk(new FileDisk());
	const file = await disk.open(`${directory}/map`, 'create');
	const map = new PageMap(file, 0, 1, 8);
	const digest = new RunningDigest({ low: 0, high: 0 });
	// Nine blocks; the ninth is not in the cache.
	for (let block = 8; block >= 0; block--) await map.update(Float64Array.of(block * entriesPerBlock), Uint32Array.of(7), 1, digest);
	await map.load(0);
	const gate = disk.gate((call) => call.kind === 'write');
	const pages = Float64Array.from({ length: 8 }, (_, block) => block * entriesPerBlock);
	const update = map.update(pages, new Uint32Array(8).fill(9), 8, digest);
	await gate.reached;
	const load = map.load(8 * entriesPerBlock);
	void load.catch(() => undefined);
	await settlesSoon(load, 50);
	gate.release();
	await update;
	await t.notThrowsAsync(load);
	await file.close();
});

test('a kick in the microtask in which a cycle ends is not lost', async (t) => {
	const layer = {
		digest: RunningDigest.empty(),
		punch: () => Promise.resolve(),
		makeMap: () => Promise.resolve(),
		syncData: () => Promise.resolve(),
		map: { clear: () => Promise.resolve(), update: () => Promise.resolve(), file: { datasync: () => Promise.resolve() } },
	};
	const index = new PageIndex(layer as never, new Generation(), new BelowIndex(1, 1));
	const superblock = {
		current: { checkpointLSN: 0 },
		update: (c: { checkpointLSN: number }) => ((superblock.current = { ...c }), Promise.resolve()),
	};
	const wal = { installedLSN: 64, durableLSN: 0, synced: () => Promise.resolve(), segments: { holds: [], setCheckpoint() {} } };
	let again = true;
	const owner = {
		flushed() {
			if (!again) return;
			again = false;
			queueMicrotask(() => {
				wal.installedLSN += 64;
				index.active.put(5, wal.installedLSN - 64, 7, placeLayer);
				flusher.kick();
			});
		},
		outOfSpace() {},
		flushFailed: (reason: string, cause: unknown) => t.log(reason, cause),
		layersComplete: () => Promise.reject(new Error('no snapshot was made')),
	};
	const marks = new Marks([], mib, 2);
	const pool = undefined as never;
	const flusher = new Flusher(index, wal as never, superblock as never, new Exclusive(), marks, defaultTuning, mib, pool, owner);
	index.active.put(1, 0, 7, placeLayer);
	flusher.kick();
	for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
	t.is(flusher.cycles, 2);
});

test('holdLog on a closed volume is refused and touches no file', async (t) => {
	const { disk, volume } = await serveInMemory();
	await volume.close();
	disk.late.length = 0;
	await t.throwsAsync(volume.holdLog({ name: 'late', fromLSN: 0, budgetBytes: mib }), { name: 'VolumeUsageError' });
	t.deepEqual(disk.late, []);
});

test('a hold that cannot be written faults the volume', async (t) => {
	const { disk, volume } = await serveVolume(t);
	// The opening writes the superblock, too, and the log waits for that.
	await write(volume, 0, filled(page, 1), true);
	disk.fail((call) => call.kind === 'datasync' && call.path.endsWith('superblock'), 'EIO', 1);
	await t.throwsAsync(volume.holdLog({ name: 'backup', fromLSN: 0, budgetBytes: mib }));
	t.truthy(volume.fault);
	await volume.close();
});

test('trim of whole map blocks on a file system without holes: good, and zeros', async (t) => {
	const { disk, volume } = await serveVolume(t);
	await write(volume, 0, filled(page, 1));
	await volume.flushToLayers();
	disk.fail((call) => call.kind === 'punch', 'EOPNOTSUPP');
	await zero(volume, 0, 16 * mib);
	await volume.flushToLayers();
	t.is(volume.fault, undefined);
	t.is((await read(volume, 0, page)).readUInt8(0), 0);
	await volume.close();
});

test('segments that a released hold kept are given back: no more files than walSegmentsMax stay', async (t) => {
	const { volume } = await serveVolume(t, { segmentBytes: 64 * kib }, { walSegmentsMax: 3 });
	await volume.holdLog({ name: 'backup', fromLSN: 0, budgetBytes: mib });
	for (let round = 0; round < 12; round++) {
		for (let at = 0; at < 8; at++) await write(volume, at * page, filled(page, round + 1));
		await volume.flushToLayers();
	}
	t.true(volume.statistics().walFiles > 6);
	await volume.releaseLog('backup');
	await volume.flushToLayers();
	t.true(volume.statistics().walFiles <= 3, `${volume.statistics().walFiles} files`);
	await volume.close();
});

test('a full disk beside a held log: writes end with noSpace and go on when there is room again', async (t) => {
	const disk = new SimulatedDisk({ seed: 5, wouldBlockChance: 0, shortChance: 0 });
	await disk.makeDirectory('/data');
	await makeVolume(disk, '/data/volume', { segmentBytes: 64 * kib });
	const volume = await openVolume(disk, '/data/volume', { walSegmentsMax: 8, noSpaceRetryMs: 1 });
	await volume.holdLog({ name: 'backup', fromLSN: 0, budgetBytes: 100 * mib });
	for (let at = 0; at < 4; at++) await write(volume, at * page, filled(page, 1));
	await volume.flushToLayers();
	disk.quotaBytes = disk.usedBytes;
	const outcomes: Outcome[] = [];
	for (let at = 0; at < 60 && outcomes.at(-1) !== 'noSpace'; at++) {
		const written = write(volume, (at % 4) * page, filled(page, 2));
		if (!(await settlesSoon(written))) {
			t.fail(`write ${at} never ends`);
			return;
		}
		outcomes.push(await written);
	}
	t.is(outcomes.at(-1), 'noSpace');
	disk.quotaBytes = Infinity;
	for (let turn = 0; turn < 100 && volume.isFull; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
	t.is(await write(volume, 0, filled(page, 3)), 'good');
	await volume.close();
});

test('a superblock of a newer format beside an older one is refused, not passed over', async (t) => {
	const directory = await temporaryDirectory(t);
	const disk = new FileDisk();
	await makeVolume(disk, `${directory}/v`);
	const volume = await openVolume(disk, `${directory}/v`);
	await volume.close();
	const path = `${directory}/v/superblock`;
	const held = await SuperblockFile.open(disk, path);
	const newer = encodeSuperblock({ ...held.current, sequence: held.current.sequence + 1 });
	await held.close();
	newer.writeUInt32LE(formatVersion + 1, 8);
	newer.writeUInt32LE(crc32c(newer.subarray(4)), 0);
	const file = await disk.open(path, 'existing');
	await file.write(newer, ((held.current.sequence + 1) % 2) * slotBytes);
	await file.close();
	await t.throwsAsync(openVolume(disk, `${directory}/v`), { name: 'VolumeFault', message: new RegExp(`version ${formatVersion + 1}`) });
});

test('what a recovery cut off stays cut off: a retry of the direct write at the cut does not bring back what followed it', async (t) => {
	const { disk, directory, volume } = await serveVolume(t, {}, { directBytesMin: 64 * kib });
	const direct = filled(64 * kib, 1);
	t.is(await write(volume, 0, direct), 'good');
	t.is(await write(volume, mib, filled(page, 2)), 'good');
	volume.abandon();
	// The power went: the layer lost the data of the direct record, the log did not.
	const layer = await disk.open(`${directory}/layers/1.data`, 'existing');
	await layer.punch(0, 64 * kib);
	await layer.close();
	const second = await openVolume(disk, directory, { directBytesMin: 64 * kib });
	t.is((await read(second, mib, page)).readUInt8(0), 0, 'the record behind the cut');
	// The client sends its write again; the power goes before the record of it reaches the log.
	const gate = disk.gate((call) => call.path.endsWith('.wal') && call.kind.startsWith('write'));
	void write(second, 0, direct);
	await gate.reached;
	second.abandon();
	const third = await openVolume(disk, directory);
	t.is((await read(third, mib, page)).readUInt8(0), 0, 'the record behind the cut is back');
	third.abandon();
});

test('a second close() resolves when the first has closed the volume', async (t) => {
	const { disk, volume } = await serveVolume(t);
	await write(volume, 0, filled(page, 1));
	const gate = disk.gate((call) => call.kind === 'datasync' && call.path.endsWith('superblock'));
	const first = volume.close();
	await gate.reached;
	const second = volume.close();
	t.false(await settlesSoon(second, 20), 'the second close was done while the stamp was not written');
	gate.release();
	await first;
	await second;
});

test('data longer than copiedBytesMax is not given back while the log still writes it', async (t) => {
	const { disk, volume } = await serveVolume(t);
	const gate = disk.gate((call) => call.path.endsWith('.wal') && call.kind.startsWith('write'));
	const written = write(volume, 0, filled(128 * kib, 1));
	await gate.reached;
	disk.fail((call) => call.path.endsWith('superblock'), 'EIO');
	await t.throwsAsync(volume.resize(32 * mib));
	t.false(await settlesSoon(written, 20), 'the command ended before its bytes were written');
	const closed = volume.close();
	t.false(await settlesSoon(closed, 20), 'close() closed the file under the write');
	gate.release();
	t.is(await written, 'faulted');
	await closed;
	t.deepEqual(disk.late, []);
});

test('check finds a durable direct page that does not match its record', async (t) => {
	const { disk, directory, volume } = await serveVolume(t, {}, { directBytesMin: 64 * kib });
	await write(volume, 0, filled(64 * kib, 1));
	await flush(volume);
	await write(volume, mib, filled(page, 2));
	volume.abandon();
	const layer = await disk.open(`${directory}/layers/1.data`, 'existing');
	await layer.write(filled(10, 9), 5 * page);
	await layer.close();
	const findings = await checkVolume(disk, directory);
	t.true(
		findings.some(({ message }) => /page 5 /.test(message)),
		JSON.stringify(findings),
	);
});

test('an opening that fails leaves no file open', async (t) => {
	const directory = await temporaryDirectory(t);
	const disk = new WatchedDisk(new FileDisk());
	await makeVolume(disk, `${directory}/v`);
	await (await openVolume(disk, `${directory}/v`)).close();
	const names = await disk.list(`${directory}/v/wal`);
	t.true(names.length >= 2);
	let wal = 0;
	disk.fail((call) => call.kind === 'open' && call.path.endsWith('.wal') && ++wal === names.length, 'EIO');
	await t.throwsAsync(openVolume(disk, `${directory}/v`));
	t.deepEqual(
		[...disk.openFiles].filter(([, count]) => count > 0),
		[],
	);
});

test('checksums reach their pages however many are flushed at once near the end of 64 TiB', async (t) => {
	const count = 2 ** 19 + 3;
	const first = 2 ** 34 - count;
	const active = new Generation();
	for (let at = 0; at < count; at++) active.put(first + at, at, 10 + at, placeLayer);
	let wrong = 0;
	const update = (pages: Float64Array, entries: Uint32Array, total: number): Promise<void> => {
		for (let at = 0; at < total; at++) if (pages[at] !== first + at || entries[at] !== 10 + at) wrong++;
		return Promise.resolve();
	};
	const layer = {
		digest: RunningDigest.empty(),
		punch() {},
		makeMap: () => Promise.resolve(),
		syncData: () => Promise.resolve(),
		map: { clear() {}, update, file: { datasync: () => Promise.resolve() } },
	};
	const flusher = new Flusher(
		new PageIndex(layer as never, active, new BelowIndex(1, 1)),
		{ installedLSN: count, durableLSN: 0, synced: () => Promise.resolve(), segments: { holds: [], setCheckpoint() {} } } as never,
		{ current: { checkpointLSN: 0 }, update: () => Promise.resolve() } as never,
		new Exclusive(),
		new Marks([], mib, 2),
		defaultTuning,
		mib,
		undefined as never,
		{
			flushed() {},
			outOfSpace() {},
			flushFailed: (reason, cause) => t.fail(`${reason} ${String(cause)}`),
			layersComplete: () => Promise.reject(new Error('no snapshot was made')),
		},
	);
	await flusher.flush();
	t.is(wrong, 0);
});

test('a record of which some pages were overwritten counts once among the records that the flusher carried', async (t) => {
	const { volume } = await serveVolume(t);
	await write(volume, 0, filled(8 * page, 1));
	await write(volume, 3 * page, filled(page, 2));
	await volume.flushToLayers();
	t.is(volume.statistics().flushedRecords, 2);
	await volume.close();
});

test('a tuning that no record can meet is refused at opening', async (t) => {
	const { volume, directory, disk } = await serveVolume(t);
	await volume.close();
	for (const tuning of [{ dirtyPagesMax: 8 }, { flushBatchBytes: 100 }, { zeroRangesMax: 1 }, { walSegmentsMax: 1 }]) {
		await t.throwsAsync(openVolume(disk, directory, tuning), undefined, JSON.stringify(tuning));
	}
});

test('a command that a full volume refuses completes after the call has returned', async (t) => {
	const { volume } = await fullVolume();
	let hasReturned = false;
	const seen: boolean[] = [];
	const completion = { complete: () => seen.push(hasReturned) };
	volume.zero(0, page, false, completion);
	volume.zero(0, 512, false, completion);
	hasReturned = true;
	await settlesSoon(new Promise(() => undefined), 20);
	t.deepEqual(seen, [true, true]);
	await volume.close();
});

test('a zero that only waits for the turn of another is not refused for want of space', async (t) => {
	const { volume } = await fullVolume();
	t.deepEqual(await Promise.all([zero(volume, 0, page), zero(volume, 0, 512)]), ['good', 'good']);
	await volume.close();
});

test('close() after abandon() ends', async (t) => {
	// In a process of its own: it would take this one's event loop with it.
	const script = `
		const { serveInMemory, write, filled, page } = await import('./test/blockvol/volume-fixture.ts');
		const { volume } = await serveInMemory();
		await write(volume, 0, filled(page, 1));
		volume.abandon();
		await Promise.race([volume.close(), new Promise((resolve) => setTimeout(resolve, 500))]);
		console.log('over');
		process.exit();`;
	const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { timeout: 60_000, killSignal: 'SIGKILL' });
	const { stdout } = await run.catch((error: { stdout: string; stderr: string }) => error);
	t.regex(stdout, /over/);
});

/** A volume that has met ENOSPC, with zeros still served. */
async function fullVolume(): Promise<{ volume: Volume; disk: SimulatedDisk }> {
	const disk = new SimulatedDisk({ seed: 5, wouldBlockChance: 0, shortChance: 0 });
	await disk.makeDirectory('/data');
	await makeVolume(disk, '/data/volume', { segmentBytes: 64 * kib });
	const volume = await openVolume(disk, '/data/volume', { noSpaceRetryMs: 60_000 });
	await settlesSoon(new Promise(() => undefined), 50);
	await write(volume, 0, filled(2 * page, 1));
	disk.quotaBytes = disk.usedBytes;
	await volume.flushToLayers();
	if (!volume.isFull) throw new Error('the volume is not full');
	return { volume, disk };
}
