import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { entriesPerBlock } from '../../src/blockvol/page-map-block.ts';
import {
	type ScrubClock,
	type ScrubFinding,
	type ScrubOptions,
	type ScrubPosition,
	ScrubEnded,
	scrubVolume,
} from '../../src/blockvol/scrub.ts';
import { VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { SuperblockFile } from '../../src/blockvol/superblock.ts';
import { Random } from '../simulation/random.ts';
import { filled, flush, kib, mib, page, type Served, serveInMemory, serveVolume, write, zero } from './volume-fixture.ts';

/** Sleeps take no time, and are counted. */
class Clock implements ScrubClock {
	ms = 0;
	onSleep: () => void = () => undefined;

	now(): number {
		return this.ms;
	}

	async sleep(ms: number): Promise<void> {
		this.ms += ms;
		this.onSleep();
		await new Promise<void>((resolve) => setImmediate(resolve));
	}
}

async function scrub(served: Served, options: Partial<ScrubOptions> = {}) {
	const findings: ScrubFinding[] = [];
	const positions: ScrubPosition[] = [];
	const result = await scrubVolume(served.disk, served.directory, served.volume, {
		bytesPerSecond: 2 ** 40,
		signal: new AbortController().signal,
		clock: new Clock(),
		found: (finding) => findings.push(finding),
		moved: (position) => positions.push(position),
		...options,
	});
	return { ...result, list: findings, positions };
}

async function liveLayer({ disk, directory }: Served): Promise<number> {
	const file = await SuperblockFile.open(disk, join(directory, 'superblock'), 'readOnly');
	await file.close();
	return file.current.layers[0] as number;
}

/** Changes a byte behind everybody's back. */
async function damage({ directory }: Served, name: string, positionBytes: number): Promise<void> {
	const file = await open(join(directory, 'layers', name), 'r+');
	const byte = Buffer.alloc(1);
	await file.read(byte, 0, 1, positionBytes);
	byte[0] = (byte[0] as number) ^ 0x10;
	await file.write(byte, 0, 1, positionBytes);
	await file.close();
}

test('a sound volume: every page of every layer is compared, also those that newer ones hide, and nothing is found', async (t) => {
	const served = await serveVolume(t);
	await write(served.volume, 0, filled(100 * page, 1));
	await served.volume.createSnapshot('one');
	await write(served.volume, 0, filled(10 * page, 2));
	await zero(served.volume, 50 * page, 10 * page);
	await served.volume.createSnapshot('two');
	await write(served.volume, 200 * page, filled(5 * page, 3));
	await served.volume.flushToLayers();
	const result = await scrub(served);
	t.like(result, { isComplete: true, findings: 0, pages: 115, done: 1 });
	t.is(result.positions.length, 3);
	await served.volume.close();
	t.deepEqual(
		[...served.disk.openFiles].filter(([, count]) => count > 0),
		[],
		'nothing stays open',
	);
});

test('what is only in the log yet is nobody’s fault, nor are pages of the layer that it makes stale', async (t) => {
	const served = await serveVolume(t);
	await write(served.volume, 0, filled(10 * page, 1));
	await served.volume.flushToLayers();
	await write(served.volume, 2 * page, filled(page, 2));
	// Stale: the log has the newer version, and the flusher will write it.
	await damage(served, `${await liveLayer(served)}.data`, 2 * page);
	t.like(await scrub(served), { isComplete: true, findings: 0, pages: 10 });
});

test('a damaged page: volume’s layer, page and LBA are named, whether anybody can see it or not', async (t) => {
	const served = await serveVolume(t, { blockSize: 512 });
	await write(served.volume, 0, filled(10 * page, 1));
	await served.volume.createSnapshot('one');
	await served.volume.flushToLayers();
	const frozen = (await readdir(join(served.directory, 'layers'))).find((name) => name.endsWith('.data')) ?? '';
	await write(served.volume, 0, filled(10 * page, 2));
	await served.volume.flushToLayers();
	const live = await liveLayer(served);
	await damage(served, frozen, 3 * page + 77);
	await damage(served, `${live}.data`, 7 * page);
	const { list, isComplete, pages, findings } = await scrub(served);
	t.true(isComplete);
	t.deepEqual([pages, findings], [20, 2]);
	t.deepEqual(
		list.toSorted((a, b) => a.page - b.page),
		[
			{ layer: Number.parseInt(frozen, 10), isLive: false, page: 3, lba: 24, kind: 'data' },
			{ layer: live, isLive: true, page: 7, lba: 56, kind: 'data' },
		],
	);
	// The snapshot goes, and with it what was wrong in it.
	await served.volume.deleteSnapshot('one');
	t.deepEqual(
		(await scrub(served)).list.map(({ isLive }) => isLive),
		[true],
	);
});

test('a damaged sector of a page map: each page that it tells of', async (t) => {
	const served = await serveVolume(t, { blockSize: 4096 });
	await write(served.volume, 0, filled(4 * page, 1));
	await served.volume.createSnapshot('one');
	await served.volume.flushToLayers();
	const map = (await readdir(join(served.directory, 'layers'))).find((name) => name === '1.map') ?? '';
	await damage(served, map, 20);
	const { list } = await scrub(served);
	t.is(list.length, 126, 'all entries of the sector');
	t.deepEqual(list[3], { layer: 1, isLive: false, page: 3, lba: 3, kind: 'map' });
});

test('a page that the disk cannot read: found by itself, and the others around it are compared', async (t) => {
	const served = await serveVolume(t);
	await write(served.volume, 0, filled(20 * page, 1));
	await served.volume.createSnapshot('one');
	await served.volume.flushToLayers();
	served.disk.fail(
		({ kind, path, positionBytes, lengthBytes }) =>
			kind === 'read' && path.endsWith('1.data') && positionBytes <= 5 * page && positionBytes + lengthBytes > 5 * page,
		'EIO',
		100,
	);
	const result = await scrub(served);
	t.deepEqual(result.list, [{ layer: 1, isLive: false, page: 5, lba: 40, kind: 'unreadable' }]);
	t.is(result.pages, 20);
});

test('one misread is looked at again, and is no finding', async (t) => {
	const served = await serveInMemory();
	await write(served.volume, 0, filled(20 * page, 1));
	await served.volume.flushToLayers();
	served.disk.fail(({ kind, path }) => kind === 'read' && path.endsWith('.data'), 'EIO', 1);
	served.disk.forget();
	t.like(await scrub(served), { findings: 0, pages: 20 });
	t.true(served.disk.of('read', '.data').length > 1);
});

test('repair: what it brings back is counted as repaired', async (t) => {
	const served = await serveVolume(t);
	await write(served.volume, 0, filled(10 * page, 1));
	await served.volume.flushToLayers();
	const live = await liveLayer(served);
	for (const at of [1, 6]) await damage(served, `${live}.data`, at * page);
	const asked: number[] = [];
	const repair = async (finding: ScrubFinding): Promise<boolean> => {
		asked.push(finding.page);
		if (finding.page !== 6) return false;
		await write(served.volume, 6 * page, filled(page, 1));
		return true;
	};
	t.like(await scrub(served, { repair }), { findings: 2, repaired: 1 });
	t.deepEqual(asked, [1, 6]);
	await served.volume.flushToLayers();
	t.deepEqual(
		(await scrub(served)).list.map(({ page }) => page),
		[1],
	);
});

test('ended anywhere, it goes on where it was: together the parts are the whole, and no part of a layer is passed over', async (t) => {
	const sparse = 70 * entriesPerBlock * page;
	const served = await serveVolume(t, { sizeBytes: 4 * sparse });
	for (const at of [0, 1, 2]) {
		await write(served.volume, at * sparse, filled(3 * page, 1));
		await write(served.volume, at * sparse + page * entriesPerBlock, filled(page, 1));
	}
	await served.volume.createSnapshot('one');
	await write(served.volume, 0, filled(2 * page, 2));
	await served.volume.flushToLayers();
	const whole = await scrub(served);
	t.is(whole.pages, 14);
	t.true(whole.positions.length >= 4);
	let from: ScrubPosition | undefined;
	let pages = 0;
	for (let part = 0; part < whole.positions.length + 2; part++) {
		const abort = new AbortController();
		const result = await scrub(served, {
			from,
			signal: abort.signal,
			moved: (position) => {
				from = position;
				abort.abort();
			},
		});
		pages += result.pages;
		if (result.isComplete) break;
	}
	t.is(pages, 14);
	const ended = new AbortController();
	ended.abort();
	t.like(await scrub(served, { signal: ended.signal }), { isComplete: false, pages: 0 });
});

test('the rate is kept, and a quarter of it while others use the volume', async (t) => {
	const served = await serveVolume(t, { sizeBytes: 32 * mib });
	for (let at = 0; at < 16; at++) await write(served.volume, at * mib, filled(mib, 1));
	await served.volume.flushToLayers();
	for (const [isBusy, seconds] of [
		[false, 8],
		[true, 32],
	] as const) {
		const clock = new Clock();
		const result = await scrub(served, { bytesPerSecond: 2 * mib, clock, isBusy: () => isBusy });
		t.is(result.pages, 4096);
		t.true(clock.ms > seconds * 1000 * 0.95 && clock.ms <= seconds * 1000, `${clock.ms} ms for ${seconds} s`);
	}
});

test('time that was not used is not saved up: after a pause there is no burst', async (t) => {
	const served = await serveVolume(t);
	await write(served.volume, 0, filled(mib, 1));
	await served.volume.flushToLayers();
	const clock = new Clock();
	clock.onSleep = () => {
		// Each sleep lasts ten times as long as it was to.
		clock.ms += 10_000;
	};
	let sleeps = 0;
	const counted: ScrubClock = { now: () => clock.now(), sleep: (ms) => (sleeps++, clock.sleep(ms)) };
	await scrub(served, { bytesPerSecond: mib, clock: counted });
	t.is(sleeps, 3, 'each run of pages waits for the one before, however late that was');
});

test('a volume that is closed ends it', async (t) => {
	const served = await serveVolume(t);
	await write(served.volume, 0, filled(10 * page, 1));
	await served.volume.flushToLayers();
	await damage(served, `${await liveLayer(served)}.data`, page);
	const { directory, disk, volume } = served;
	await volume.close();
	await t.throwsAsync(
		scrubVolume(disk, directory, volume, { bytesPerSecond: 2 ** 40, signal: new AbortController().signal, found: () => undefined }),
		{ instanceOf: ScrubEnded },
	);
});

test('beside writes, trims, snapshots, restores, merges and flushes nothing is found that is not wrong', async (t) => {
	for (let seed = 1; seed <= 6; seed++) {
		const served = await serveInMemory(
			{ sizeBytes: 4 * mib, segmentBytes: 256 * kib },
			{ flushIdleMs: 0, directBytesMin: 64 * kib, overwriteBytesMin: 128 * kib },
		);
		const random = new Random(seed);
		const pages = 1024;
		const work = { isOver: false };
		const names: string[] = [];
		const change = async (): Promise<void> => {
			for (let step = 0; step < 250; step++) {
				const at = random.below(pages - 64);
				const kind = random.below(20);
				try {
					if (kind < 10) await write(served.volume, at * page, filled((1 + random.below(64)) * page, 1 + (step % 250)));
					else if (kind < 12) await zero(served.volume, at * page, (1 + random.below(64)) * page);
					else if (kind < 14) await served.volume.flushToLayers();
					else if (kind < 15) await flush(served.volume);
					else if (kind < 17) {
						await served.volume.createSnapshot(`s${step}`);
						names.push(`s${step}`);
					} else if (kind < 19 && names.length > 0)
						await served.volume.deleteSnapshot(names.splice(random.below(names.length), 1)[0] as string);
					else if (names.length > 0) await served.volume.restoreSnapshot(names[random.below(names.length)] as string);
				} catch (error) {
					if (!(error instanceof VolumeUsageError)) throw error;
				}
			}
			work.isOver = true;
		};
		const working = change();
		let rounds = 0;
		let compared = 0;
		while (!work.isOver) {
			const result = await scrub(served);
			t.deepEqual(result.list, [], `seed ${seed}, round ${rounds}`);
			compared += result.pages;
			rounds++;
		}
		await working;
		t.true(rounds > 1 && compared > 0, `${rounds} rounds, ${compared} pages`);
		await served.volume.close();
	}
});
