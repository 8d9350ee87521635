import test from 'ava';
import type { Hold } from '../../src/blockvol/superblock.ts';
import { createZeroFilled, firstLSNOf, segmentName } from '../../src/blockvol/wal-segment.ts';
import { WalSegments } from '../../src/blockvol/wal-segments.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { settlesSoon } from './volume-fixture.ts';
import { WatchedDisk } from './watched-disk.ts';

const segmentBytes = 64 * 1024;
const units = segmentBytes / 64;

interface Made {
	disk: WatchedDisk;
	inner: SimulatedDisk;
	segments: WalSegments;
	events: string[];
	/** Waits until nothing more happens. */
	quiet: () => Promise<void>;
	names: () => Promise<string[]>;
}

async function make(
	sequences: readonly number[],
	options: { filesMax?: number; checkpointLSN?: number; tailLSN?: number; holds?: Hold[]; adopt?: boolean } = {},
): Promise<Made> {
	const inner = new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 });
	const disk = new WatchedDisk(inner);
	await disk.makeDirectory('/wal');
	for (const sequence of sequences) {
		const file = await createZeroFilled(inner, `/wal/${segmentName(sequence * units)}`, segmentBytes);
		await file.close();
	}
	const events: string[] = [];
	const start = { checkpointLSN: options.checkpointLSN ?? 0, holds: options.holds ?? [] };
	const segments = new WalSegments(disk, '/wal', segmentBytes, options.filesMax ?? 3, start, {
		roomMade: () => events.push('roomMade'),
		segmentsOutOfSpace: () => events.push('outOfSpace'),
		segmentsFailed: (reason) => events.push(`failed: ${reason}`),
		holdBroken: (hold) => events.push(`broken: ${hold.name}`),
	});
	if (options.adopt !== false) await segments.adopt(options.tailLSN ?? start.checkpointLSN, false);
	const names = async (): Promise<string[]> => (await inner.list('/wal')).toSorted();
	return {
		disk,
		inner,
		segments,
		events,
		quiet: async () => {
			await settlesSoon(new Promise(() => undefined), 60);
		},
		names,
	};
}

const name = (sequence: number): string => segmentName(sequence * units);

/** Goes on to a sequence once its spare is ready. */
async function activate({ segments, quiet }: Made, sequence: number): Promise<void> {
	for (let attempt = 0; attempt < 3 && segments.activate(sequence) === undefined; attempt++) await quiet();
	if (segments.at(sequence) === undefined) throw new Error(`segment ${sequence} was never ready`);
}

test('names: 16 digits, sorted as text, and nothing else is a segment', (t) => {
	t.is(segmentName(0), '0000000000000000.wal');
	t.is(firstLSNOf(segmentName(2 ** 53 - 1)), 2 ** 53 - 1);
	for (const other of ['1.wal', '0000000000000000', '0000000000000000.wal.tmp', 'x000000000000000.wal', '']) t.is(firstLSNOf(other), -1);
});

test('a segment is made ready ahead: it is zeros, whole and durable with its name before it can be activated', async (t) => {
	const made = await make([0]);
	t.is(made.segments.activate(1), undefined);
	const sync = made.disk.gate((call) => call.kind === 'syncDirectory');
	await sync.reached;
	t.is(made.segments.activate(1), undefined, 'before its name is durable');
	sync.release();
	await made.quiet();
	t.deepEqual(made.events, ['roomMade']);
	const segment = made.segments.activate(1);
	t.is(segment?.sequence, 1);
	t.is(await segment?.file.sizeBytes(), segmentBytes);
	await made.segments.close();
});

test('no more than filesMax are made; the checkpoint frees the oldest, which becomes the next spare under its new name', async (t) => {
	const made = await make([0], { filesMax: 3 });
	await activate(made, 1);
	await activate(made, 2);
	await made.quiet();
	t.is(made.segments.activate(3), undefined);
	await made.quiet();
	t.is(made.segments.activate(3), undefined, 'a fourth file');
	t.is(made.segments.files, 3);
	made.segments.setCheckpoint(units - 1);
	await made.quiet();
	t.is(made.segments.activate(3), undefined, 'the checkpoint is still in the first');
	made.disk.forget();
	made.segments.setCheckpoint(units);
	await made.quiet();
	t.is(made.segments.activate(3)?.sequence, 3);
	t.is(made.disk.of('rename', name(3)).length, 1);
	t.is(made.disk.of('open').length, 0, 'no file was made for it');
	t.is(made.segments.recycled, 1);
	t.deepEqual(await made.names(), [name(1), name(2), name(3)]);
	await made.segments.close();
});

test('a pinned segment is not recycled until its last read has ended', async (t) => {
	const made = await make([0], { filesMax: 3 });
	await activate(made, 1);
	const first = made.segments.at(0);
	t.truthy(first);
	if (first === undefined) return;
	first.pins = 2;
	made.segments.setCheckpoint(units + 5);
	t.is(made.segments.at(0), first);
	first.pins = 1;
	made.segments.unpinned(first);
	t.is(made.segments.at(0), first);
	first.pins = 0;
	made.segments.unpinned(first);
	t.is(made.segments.at(0), undefined);
	t.throws(() => made.segments.segmentOf(5), { message: /no live segment/ });
	await made.segments.close();
});

test('a hold keeps its segments, does not count them as files of the log, and its release frees them', async (t) => {
	const made = await make([0], { filesMax: 3 });
	await holdEight(made);
	t.truthy(made.segments.at(0));
	t.is(made.segments.liveCount, 8);
	const durable = made.segments.replaceHold('backup', undefined);
	// A power loss would bring the hold back, and what it needs has to be there.
	made.segments.recycle();
	await made.quiet();
	t.is(made.segments.liveCount, 8);
	durable();
	await made.quiet();
	t.is(made.segments.liveCount, 1);
	t.true((await made.names()).length <= 4);
	t.throws(() => made.segments.replaceHold('backup', undefined), { name: 'VolumeUsageError' });
	await made.segments.close();
});

test('of what a hold kept, exactly filesMax files stay', async (t) => {
	const made = await make([0], { filesMax: 3 });
	await holdEight(made);
	made.segments.replaceHold('backup', undefined)();
	await made.quiet();
	t.is(made.segments.files, 3);
	await made.segments.close();
});

async function holdEight(made: Made): Promise<void> {
	made.segments.addHold({ name: 'backup', fromLSN: 10, budgetBytes: 100 * segmentBytes }, 10);
	for (let sequence = 1; sequence < 8; sequence++) {
		await activate(made, sequence);
		made.segments.setCheckpoint(sequence * units);
	}
}

test('a hold that costs more than its budget is let go, and the others stay', async (t) => {
	const made = await make([0]);
	made.segments.addHold({ name: 'small', fromLSN: 0, budgetBytes: segmentBytes }, 0);
	made.segments.addHold({ name: 'large', fromLSN: 0, budgetBytes: 5 * segmentBytes }, 0);
	await activate(made, 1);
	made.segments.setCheckpoint(units);
	t.deepEqual(
		made.events.filter((event) => event.startsWith('broken')),
		[],
	);
	made.segments.setCheckpoint(units + 1);
	t.deepEqual(
		made.events.filter((event) => event.startsWith('broken')),
		['broken: small'],
	);
	t.truthy(made.segments.at(0));
	t.deepEqual(
		made.segments.holds.map((hold) => hold.name),
		['large'],
	);
	await made.segments.close();
});

test('holds: 16 at most, names of 1 to 32 bytes, once each, from an LSN that is there', async (t) => {
	const made = await make([3, 4], { checkpointLSN: 4 * units, tailLSN: 4 * units });
	const { segments } = made;
	const at = 4 * units;
	for (const bad of [
		{ name: '', fromLSN: at, budgetBytes: 0 },
		{ name: 'é'.repeat(17), fromLSN: at, budgetBytes: 0 },
		{ name: 'gone', fromLSN: 4 * units - 1, budgetBytes: 0 },
		{ name: 'future', fromLSN: at + 1, budgetBytes: 0 },
	]) {
		t.throws(() => segments.addHold(bad, at), { name: 'VolumeUsageError' }, bad.name);
	}
	for (let index = 0; index < 16; index++) segments.addHold({ name: `hold ${index}`, fromLSN: at, budgetBytes: 1 }, at);
	t.throws(() => segments.addHold({ name: 'hold 3', fromLSN: at, budgetBytes: 1 }, at), { message: /already/ });
	t.throws(() => segments.addHold({ name: 'one more', fromLSN: at, budgetBytes: 1 }, at), { message: /16 holds/ });
	await segments.close();
});

test('adopt: from the oldest needed to the tail live and to be synced, whole ones beside it free, what is torn or foreign removed', async (t) => {
	const made = await make([1, 2, 3, 4, 5], { checkpointLSN: 3 * units + 1, tailLSN: 4 * units + 7, adopt: false, filesMax: 4 });
	const torn = await made.inner.open(`/wal/${name(6)}`, 'create');
	await torn.write(Buffer.alloc(100), 0);
	await torn.close();
	const foreign = await made.inner.open('/wal/0000000000000005.wal', 'create');
	await foreign.close();
	await made.segments.adopt(4 * units + 7, false);
	t.is(made.segments.liveCount, 2);
	t.true(made.segments.at(3)?.unsynced);
	t.true(made.segments.at(4)?.unsynced);
	t.is(made.segments.files, 5);
	t.deepEqual(await made.names(), [1, 2, 3, 4, 5].map(name));
	t.is(made.segments.activate(5), undefined);
	await made.quiet();
	made.disk.forget();
	t.is(made.segments.activate(5)?.sequence, 5);
	t.is(made.disk.of('rename', name(5)).length, 0, 'the one that has the name stays it');
	await made.segments.close();
});

test('adopt: a short segment with records is made whole, durably; one at the tail has none and is removed', async (t) => {
	const made = await make([3, 5], { checkpointLSN: 3 * units + 1, tailLSN: 5 * units, adopt: false, filesMax: 4 });
	const short = await made.inner.open(`/wal/${name(4)}`, 'create');
	const records = Buffer.alloc(100, 7);
	await short.write(records, 0);
	const halfMade = await made.inner.open(`/wal/${name(5)}`, 'existing');
	await halfMade.truncate(4096);
	await made.segments.adopt(5 * units, false);
	t.is(await short.sizeBytes(), segmentBytes);
	const bytes = Buffer.alloc(segmentBytes, 1);
	await short.read(bytes, 0);
	t.deepEqual(bytes, Buffer.concat([records, Buffer.alloc(segmentBytes - 100)]));
	t.is(made.disk.of('datasync', name(4)).length, 1);
	t.is(made.segments.at(4)?.sequence, 4);
	t.is(made.segments.at(5), undefined);
	t.deepEqual(await made.names(), [3, 4].map(name));
	await made.segments.close();
});

test('adopt with a hold keeps the segments below the checkpoint live', async (t) => {
	const holds = [{ name: 'h', fromLSN: units + 3, budgetBytes: 100 * segmentBytes }];
	const made = await make([0, 1, 2, 3], { checkpointLSN: 3 * units, tailLSN: 3 * units + 1, holds });
	t.is(made.segments.at(0), undefined);
	for (const sequence of [1, 2, 3]) t.truthy(made.segments.at(sequence));
	await made.segments.close();
});

test('a tail at the end of a segment: the next one begins there', async (t) => {
	const made = await make([0], { checkpointLSN: 5, tailLSN: units });
	t.is(made.segments.at(1), undefined);
	await activate(made, 1);
	t.is(made.segments.at(1)?.sequence, 1);
	await made.segments.close();
});

test('a full disk: no failure, no half-made file, and a spare once there is space', async (t) => {
	const made = await make([0]);
	made.inner.quotaBytes = made.inner.usedBytes + 4096;
	t.is(made.segments.activate(1), undefined);
	await made.quiet();
	t.deepEqual(made.events, ['outOfSpace']);
	t.deepEqual(await made.names(), [name(0)]);
	made.inner.quotaBytes = Infinity;
	made.segments.prepareSpare();
	await made.quiet();
	t.is(made.segments.activate(1)?.sequence, 1);
	await made.segments.close();
});

test('a full disk: an attempt that fails when a file has become free meanwhile tells nobody and takes that file', async (t) => {
	const made = await make([0, 1], { tailLSN: units, filesMax: 8 });
	made.inner.quotaBytes = made.inner.usedBytes + 4096;
	const gate = made.disk.gate((call) => call.kind === 'open' && call.path.endsWith(name(2)));
	made.segments.prepareSpare();
	await gate.reached;
	made.segments.setCheckpoint(units);
	gate.release();
	await made.quiet();
	t.deepEqual(made.events, ['roomMade']);
	t.deepEqual(await made.names(), [name(1), name(2)]);
	await made.segments.close();
});

test('any other error while a spare is made is told, whatever the step', async (t) => {
	for (const kind of ['open', 'write', 'datasync', 'syncDirectory']) {
		const made = await make([0]);
		made.disk.fail((call) => call.kind === kind, 'EIO');
		made.segments.prepareSpare();
		await made.quiet();
		t.deepEqual(made.events, ['failed: a segment of the write-ahead log could not be made ready'], kind);
		t.is(made.segments.activate(1), undefined);
		made.disk.heal();
		await made.segments.close();
	}
});

test('a datasync covers each live segment that has unsynced bytes, once', async (t) => {
	const made = await make([0, 1, 2], { tailLSN: 2 * units });
	made.disk.forget();
	await made.segments.datasync();
	t.is(made.disk.of('datasync').length, 3);
	t.false(made.segments.anyUnsynced);
	const second = made.segments.at(1);
	if (second !== undefined) second.unsynced = true;
	made.disk.forget();
	await made.segments.datasync();
	t.deepEqual(
		made.disk.of('datasync').map(({ path }) => path),
		[`/wal/${name(1)}`],
	);
	await made.segments.close();
});

test('the removal of a free file never takes the name of a segment that is in use', async (t) => {
	// As after a restart with a lower walSegmentsMax and a log that was cut back: files ahead of the tail, in the order of the directory.
	const made = await make([0, 3, 1, 2], { filesMax: 3, tailLSN: 5 });
	const removal = made.disk.gate((call) => call.kind === 'remove');
	made.segments.prepareSpare();
	await made.quiet();
	// A slow file system: the removal is under way while the log goes on.
	made.segments.recycle();
	await made.quiet();
	await activate(made, 1);
	await made.quiet();
	// The next spare may get the name that is being removed, so it waits.
	t.is(made.segments.activate(2), undefined);
	removal.release();
	await made.quiet();
	await activate(made, 2);
	const names = await made.names();
	for (const sequence of [0, 1, 2]) t.true(names.includes(name(sequence)), `segment ${sequence} is live and its file is gone`);
	await made.segments.close();
});

test('after close nothing is made any more', async (t) => {
	const made = await make([0]);
	made.segments.prepareSpare();
	await made.segments.close();
	made.disk.forget();
	made.segments.prepareSpare();
	made.segments.recycle();
	await made.quiet();
	t.deepEqual(made.disk.calls, []);
	t.deepEqual(made.disk.late, []);
});
