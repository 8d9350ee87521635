import test, { type ExecutionContext } from 'ava';
import { checkVolume } from '../../src/blockvol/check.ts';
import type { Tuning } from '../../src/blockvol/limits.ts';
import type { HistoryEvent } from '../../src/blockvol/timeline.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { silent } from '../../src/os/logger.ts';
import { crc32c } from '../../src/wire/crc32c.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { filled, kib, makeVolume, mib, page, read, still, uuid, write, zero } from './volume-fixture.ts';

const directory = '/data/volume';
const startMs = Date.UTC(2026, 10, 21, 12);
const segmentBytes = 64 * kib;
const window = { windowMs: 8000, maxBytes: 16 * segmentBytes };

interface Kept {
	readonly disk: SimulatedDisk;
	volume: Volume;
	nowMs: number;
	open(): Promise<void>;
	/** What a moment shows. */
	at(timeMs: number, offsetBytes: number, lengthBytes?: number): Promise<Buffer>;
}

async function keep(tuning: Partial<Tuning> = {}): Promise<Kept> {
	const disk = new SimulatedDisk({ seed: 7, wouldBlockChance: 0, shortChance: 0 });
	await disk.makeDirectory('/data');
	await makeVolume(disk, directory, { sizeBytes: mib, segmentBytes });
	let views = 0;
	const open = (): Promise<Volume> =>
		Volume.open(disk, directory, {
			log: silent,
			tuning: { ...still, historyTickMs: 0, mergeShare: 1, walSegmentsMax: 8, flushStartBytes: 4 * segmentBytes, ...tuning },
			now: () => kept.nowMs,
		});
	const kept: Kept = {
		disk,
		volume: await open(),
		nowMs: startMs,
		async open() {
			kept.volume = await open();
		},
		async at(timeMs, offsetBytes, lengthBytes = page) {
			const name = `v${views++}`;
			await kept.volume.rewind({ timeMs }, name);
			const view = await kept.volume.openSnapshot(name);
			const target = Buffer.alloc(lengthBytes);
			await new Promise((resolve) => {
				view.read(offsetBytes, target, { complete: resolve });
			});
			await view.close();
			await kept.volume.deleteSnapshot(name);
			return target;
		},
	};
	return kept;
}

async function closeSound(t: ExecutionContext, { volume, disk }: Kept): Promise<void> {
	await volume.merged();
	await volume.close();
	t.deepEqual(await checkVolume(disk, directory, [directory]), []);
	t.deepEqual(disk.violations, []);
}

/** Resolves when no anchor is being made and nothing let go. */
async function settled(kept: Kept): Promise<void> {
	// The window as it is: its turn comes after what is under way.
	await kept.volume.keepHistory(window);
}

test('large writes go through the log while a history is kept, over pages that the layer holds and over others, and straight to the layer before and after', async (t) => {
	const kept = await keep({ directBytesMin: 8 * kib, overwriteBytesMin: 8 * kib, markAfterWrites: 1 });
	const { volume } = kept;
	await write(volume, 0, filled(16 * kib, 1));
	// The first has the region marked, and goes through the log.
	for (let at = 0; at < 10 && volume.statistics().overwrites === 0; at++) {
		await volume.flushToLayers();
		await write(volume, 0, filled(16 * kib, 2));
	}
	const before = volume.statistics();
	t.true(before.directWrites > 0);
	t.true(before.overwrites > 0);
	await volume.keepHistory(window);
	for (let at = 0; at < 4; at++) {
		kept.nowMs += 10;
		await write(volume, at * 64 * kib, filled(16 * kib, 3 + at));
		await write(volume, 0, filled(16 * kib, 10 + at));
	}
	const during = volume.statistics();
	t.is(during.directWrites, before.directWrites);
	t.is(during.overwrites, before.overwrites);
	kept.nowMs++;
	t.deepEqual(await kept.at(startMs + 1, 0), filled(page, 2));
	t.deepEqual(await kept.at(startMs + 31, 0), filled(page, 12));
	await volume.keepHistory(undefined);
	await write(volume, 512 * kib, filled(16 * kib, 9));
	t.true(volume.statistics().directWrites > during.directWrites);
	await closeSound(t, kept);
});

test('a moment is exact to the millisecond: what was acknowledged before it is in it, what was submitted in it is not; by LSN, what lies below', async (t) => {
	const kept = await keep();
	const { volume } = kept;
	await volume.keepHistory(window);
	const lsns: number[] = [];
	for (let at = 1; at <= 5; at++) {
		kept.nowMs++;
		await write(volume, 0, filled(page, at));
		lsns.push(volume.history?.toLSN ?? 0);
	}
	kept.nowMs++;
	for (let at = 1; at <= 5; at++) {
		t.deepEqual(await kept.at(startMs + at, 0), filled(page, at - 1), `at ${at} ms`);
		const { lsn } = await volume.rewind({ lsn: lsns[at - 1] as number }, `lsn${at}`);
		t.is(lsn, lsns[at - 1] as number);
	}
	t.deepEqual(await kept.at(startMs + 6, 0), filled(page, 5));
	for (const timeMs of [startMs - 1, startMs])
		await t.throwsAsync(volume.rewind({ timeMs }, 'x'), { message: /does not reach back so far/ });
	await t.throwsAsync(volume.rewind({ timeMs: kept.nowMs + 1 }, 'x'), { message: /not forward/ });
	await t.throwsAsync(volume.rewind({ lsn: 1 }, 'x'), { message: /does not reach back so far/ });
	await t.throwsAsync(volume.rewind({ lsn: (lsns[4] as number) + 1000 }, 'x'), { message: /not forward/ });
	await t.throwsAsync(volume.rewind({ timeMs: kept.nowMs }, 'lsn1'), { message: /has a snapshot lsn1 already/ });
	await t.throwsAsync(volume.rewind({ timeMs: kept.nowMs }, ''), { name: 'VolumeUsageError' });
	t.deepEqual(
		volume.snapshots().map(({ name }) => name),
		['lsn1', 'lsn2', 'lsn3', 'lsn4', 'lsn5'],
	);
	await closeSound(t, kept);
});

test('the window by time: moments in it stay, what is older goes with its log and its layers, and an idle volume keeps next to nothing', async (t) => {
	const kept = await keep();
	const { volume } = kept;
	await volume.keepHistory(window);
	for (let at = 1; at <= 60; at++) {
		kept.nowMs += 500;
		await write(volume, (at % 16) * page, filled(page, at));
		await settled(kept);
		const { fromMs, anchors } = volume.history ?? { fromMs: undefined, anchors: 0 };
		const wantedMs = Math.max(startMs, kept.nowMs - window.windowMs);
		t.true(fromMs !== undefined && fromMs <= wantedMs, `${at}: back to ${fromMs}, not ${wantedMs}`);
		t.true(fromMs !== undefined && fromMs >= wantedMs - window.windowMs / 4 - 500, `${at}: back to ${fromMs}, which is too far`);
		t.true(anchors <= 6);
	}
	t.deepEqual(await kept.at(kept.nowMs - 3999, ((60 - 8) % 16) * page), filled(page, 60 - 8));
	await volume.flushToLayers();
	await settled(kept);
	await volume.flushToLayers();
	await settled(kept);
	await volume.merged();
	// Two files each: an anchor stands for every one of the layers but the live one and the ground.
	const files = await kept.disk.list(`${directory}/layers`);
	t.true(files.length <= 2 * ((volume.history?.anchors ?? 0) + 2), files.join());
	kept.nowMs += 2 * window.windowMs;
	await settled(kept);
	await volume.flushToLayers();
	kept.nowMs += 2 * window.windowMs;
	await settled(kept);
	t.is(volume.history?.anchors, 1);
	t.true((volume.history?.heldBytes ?? Infinity) < segmentBytes);
	await closeSound(t, kept);
});

test('the window by bytes: the log that is kept stays below the limit, and the limit and no more is given up', async (t) => {
	const kept = await keep();
	const { volume } = kept;
	await volume.keepHistory(window);
	for (let at = 1; at <= 400; at++) {
		kept.nowMs++;
		await write(volume, (at % 32) * 4 * page, filled(4 * page, at % 256));
		if (at % 8 === 0) await settled(kept);
		const held = volume.history?.heldBytes ?? Infinity;
		t.true(held <= window.maxBytes + 2 * segmentBytes, `${held} bytes at ${at}`);
	}
	await settled(kept);
	const { fromLSN = 0, toLSN = 0, fromMs = 0 } = volume.history ?? {};
	t.true((toLSN - fromLSN) * 64 > window.maxBytes / 2);
	t.deepEqual(await kept.at(fromMs + 1, ((fromMs - startMs) % 32) * 4 * page), filled(page, (fromMs - startMs) % 256));
	const files = await kept.disk.list(`${directory}/wal`);
	t.true(files.length <= 16 + 8 + 2, `${files.length} segments`);
	await volume.keepHistory(undefined);
	t.is(volume.history, undefined);
	await volume.flushToLayers();
	await volume.merged();
	t.is((await kept.disk.list(`${directory}/layers`)).length, 2);
	await closeSound(t, kept);
});

test('a full file system: the history gives way, with an event, before a write fails; it begins anew, and later moments can be shown', async (t) => {
	const kept = await keep({ noSpaceRetryMs: 10 });
	const { volume, disk } = kept;
	// What waits for space waits on timers that keep no process alive.
	const awake = setInterval(() => undefined, 1000);
	t.teardown(() => clearInterval(awake));
	for (let at = 0; at < 16; at++) await write(volume, at * 64 * kib, filled(64 * kib, 0xaa));
	await volume.flushToLayers();
	await volume.keepHistory({ windowMs: 60_000, maxBytes: 256 * segmentBytes });
	const events: HistoryEvent[] = [];
	volume.onHistory((event) => events.push(event));
	const half = 24;
	for (let at = 0; at < half; at++) {
		kept.nowMs += 10;
		t.is(await write(volume, (at % 4) * 64 * kib, filled(32 * kib, at)), 'good');
	}
	// No further segment of the log can be made.
	disk.quotaBytes = disk.usedBytes + 16 * kib;
	for (let at = half; at < 20 * half; at++) {
		kept.nowMs += 10;
		t.is(await write(volume, (at % 4) * 64 * kib, filled(32 * kib, at % 256)), 'good', `write ${at}`);
	}
	t.false(volume.isFull);
	t.true(events.length > 0);
	t.regex(events[0]?.message ?? '', /the file system is full: [\d.]+ [KMG]iB of the volume's history were given up/);
	disk.quotaBytes = Infinity;
	kept.nowMs += 10_000;
	for (let at = 0; volume.history?.fromMs === undefined && at < 100; at++) await write(volume, 0, filled(page, 1));
	kept.nowMs += 10;
	await write(volume, 0, filled(page, 0x51));
	kept.nowMs += 10;
	await write(volume, 0, filled(page, 0x52));
	t.deepEqual(await kept.at(kept.nowMs, 0), filled(page, 0x51));
	await closeSound(t, kept);
});

test("the history's own layers are nobody's snapshots: no list, no space, no name tells of them, and no hold of the log may look like its hold", async (t) => {
	const kept = await keep();
	const { volume } = kept;
	await volume.keepHistory(window);
	await write(volume, 0, filled(page, 1));
	await volume.createSnapshot('mine');
	kept.nowMs += window.windowMs / 2;
	await write(volume, 0, filled(page, 2));
	await settled(kept);
	await volume.flushToLayers();
	t.true((volume.history?.anchors ?? 0) >= 2);
	t.deepEqual(
		volume.snapshots().map(({ name, parent }) => [name, parent]),
		[['mine', undefined]],
	);
	t.deepEqual(
		(await volume.space()).snapshots.map(({ name }) => name),
		['mine'],
	);
	await t.throwsAsync(volume.createSnapshot('\u{0}1'), { name: 'VolumeUsageError' });
	await t.throwsAsync(volume.openSnapshot('\u{0}1'), { message: /has no snapshot/ });
	await t.throwsAsync(volume.deleteSnapshot('\u{0}1'), { message: /has no snapshot/ });
	const hold = { name: 'history 5', fromLSN: volume.history?.fromLSN ?? 0, budgetBytes: 1 };
	await t.throwsAsync(volume.holdLog(hold), { message: /only the history/ });
	await t.throwsAsync(volume.releaseLog(`history ${window.windowMs}`), { message: /end the history instead/ });
	for (const wrong of [
		{ windowMs: 999, maxBytes: window.maxBytes },
		{ windowMs: 31 * 24 * 3600 * 1000, maxBytes: window.maxBytes },
		{ windowMs: 5000, maxBytes: 8 * segmentBytes - 1 },
		{ windowMs: 5000, maxBytes: 1024 * segmentBytes + 1 },
		{ windowMs: Number.NaN, maxBytes: window.maxBytes },
	])
		await t.throwsAsync(volume.keepHistory(wrong), { message: /^a history of/ });
	t.is(volume.history?.windowMs, window.windowMs);
	await closeSound(t, kept);
});

test('restarts, restores and resizes in the window: the history goes on behind them, and what was before them is shown as it was', async (t) => {
	const kept = await keep();
	await kept.volume.keepHistory(window);
	await write(kept.volume, 0, filled(page, 1));
	kept.nowMs += 10;
	await kept.volume.createSnapshot('one');
	await write(kept.volume, 0, filled(page, 2));
	kept.nowMs += 10;
	const beforeRestoreMs = kept.nowMs;
	kept.nowMs += 10;
	await kept.volume.restoreSnapshot('one');
	kept.nowMs += 10;
	await kept.volume.close();
	await kept.open();
	kept.nowMs += 10;
	await kept.volume.resize(2 * mib);
	kept.nowMs += 10;
	await write(kept.volume, mib, filled(page, 3));
	await zero(kept.volume, 0, page);
	kept.nowMs += 10;
	t.deepEqual(await kept.at(beforeRestoreMs, 0), filled(page, 2));
	t.deepEqual(await kept.at(beforeRestoreMs + 15, 0), filled(page, 1));
	t.deepEqual(await kept.at(kept.nowMs, 0), filled(page, 0));
	t.deepEqual(await kept.at(kept.nowMs, mib), filled(page, 3));
	await kept.volume.rewind({ timeMs: beforeRestoreMs + 15 }, 'small');
	t.is(kept.volume.snapshots().find(({ name }) => name === 'small')?.sizeBytes, mib);
	// And back, by the usual means.
	await kept.volume.rewind({ timeMs: beforeRestoreMs }, 'then');
	await kept.volume.restoreSnapshot('then', { keepLiveAs: 'now' });
	t.deepEqual(await read(kept.volume, 0, page), filled(page, 2));
	t.is(kept.volume.sizeBytes, mib);
	kept.nowMs += 10;
	await write(kept.volume, 0, filled(page, 4));
	kept.nowMs += 10;
	t.deepEqual(await kept.at(kept.nowMs - 10, 0), filled(page, 2));
	t.deepEqual(await kept.at(kept.nowMs, 0), filled(page, 4));
	await closeSound(t, kept);
});

test('records without a time, as builds that know no history write them: moments before them are shown, later ones are refused', async (t) => {
	const kept = await keep();
	await kept.volume.keepHistory(window);
	kept.nowMs += 10;
	await write(kept.volume, 0, filled(page, 1));
	const lsn = kept.volume.history?.toLSN ?? 0;
	kept.nowMs += 10;
	await write(kept.volume, 0, filled(page, 2));
	kept.nowMs += 10;
	await kept.volume.close();
	const segment = await kept.disk.open(`${directory}/wal/${'0'.repeat(16)}.wal`, 'existing');
	const head = Buffer.alloc(128);
	await segment.read(head, lsn * 64);
	t.not(head.readUInt32LE(52), 0);
	head.writeUInt32LE(0, 52);
	head.writeUInt32LE(crc32c(head.subarray(4)), 0);
	await segment.write(head, lsn * 64);
	await segment.close();
	await kept.open();
	// Nobody knows when the second one was written, but that it was after the first.
	t.deepEqual(await kept.at(startMs + 10, 0), filled(page, 0));
	await t.throwsAsync(kept.volume.rewind({ timeMs: kept.nowMs }, 'x'), { message: new RegExp(`gap at LSN ${lsn}`) });
	t.deepEqual(kept.volume.snapshots(), []);
	// The next anchor stands behind the gap.
	kept.nowMs += window.windowMs / 2;
	await write(kept.volume, page, filled(page, 3));
	await settled(kept);
	kept.nowMs += 10;
	t.deepEqual(await kept.at(kept.nowMs, 0), filled(page, 2));
	t.is(kept.volume.uuid, uuid);
	await closeSound(t, kept);
});

test('what the volume held before the window is copied once for as much as was written, and not with each anchor that goes', async (t) => {
	const kept = await keep();
	const { volume, disk } = kept;
	for (let at = 0; at < 16; at++) await write(volume, at * 64 * kib, filled(64 * kib, 0xaa));
	await volume.flushToLayers();
	await volume.keepHistory(window);
	const roll = async (from: number, pages: number): Promise<void> => {
		for (let at = 0; at < 20; at++) {
			kept.nowMs += window.windowMs / 3;
			await write(volume, (from + (at % 4) * pages) * page, filled(pages * page, at));
			await settled(kept);
			await volume.flushToLayers();
			await volume.merged();
		}
		await settled(kept);
		await volume.merged();
	};
	const names = (): Promise<string[]> => disk.list(`${directory}/layers`);
	await roll(0, 1);
	t.true((await names()).includes('1.data'), 'the first layer stays as it is');
	t.true((await names()).length <= 2 * ((volume.history?.anchors ?? 0) + 2), 'the others are merged');
	await roll(64, 48);
	t.false((await names()).includes('1.data'), 'until what stands on it is half as large');
	await closeSound(t, kept);
});

test('a segment of the log that is missing: check says so, the volume opens, and the history begins behind it', async (t) => {
	const kept = await keep();
	await kept.volume.keepHistory({ windowMs: 60_000, maxBytes: 64 * segmentBytes });
	for (let at = 1; at <= 30; at++) {
		kept.nowMs += 1000;
		await write(kept.volume, 0, filled(32 * kib, at));
	}
	await kept.volume.close();
	t.deepEqual(await checkVolume(kept.disk, directory, [directory]), []);
	const third = `${String((2 * segmentBytes) / 64).padStart(16, '0')}.wal`;
	await kept.disk.remove(`${directory}/wal/${third}`);
	t.deepEqual(
		(await checkVolume(kept.disk, directory, [directory])).map(({ message }) => message),
		[`wal/${third} is not there, and the history needs it`],
	);
	await kept.open();
	await kept.volume.keepHistory({ windowMs: 60_000, maxBytes: 64 * segmentBytes });
	t.true((kept.volume.history?.fromLSN ?? 0) >= (3 * segmentBytes) / 64);
	await t.throwsAsync(kept.volume.rewind({ timeMs: startMs + 2000 }, 'x'), { message: /does not reach back so far/ });
	kept.nowMs += 1000;
	t.deepEqual(await kept.at(kept.nowMs, 0), filled(page, 30));
	await closeSound(t, kept);
});
