import test from 'ava';
import type { Outcome } from '../../src/blockvol/block-device.ts';
import { checkVolume } from '../../src/blockvol/check.ts';
import { entriesPerBlock } from '../../src/blockvol/page-map-block.ts';
import { scrubVolume, type ScrubFinding } from '../../src/blockvol/scrub.ts';
import type { SnapshotView } from '../../src/blockvol/snapshot-view.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { silent } from '../../src/os/logger.ts';
import { archived, chunkBytes, filled, identity, lazy, serveLazily, stored } from './memory-pages.ts';
import { flush, kib, mib, outcome, page, read, settlesSoon, write, zero } from './volume-fixture.ts';

function readOutcome(volume: Volume, offsetBytes: number, lengthBytes: number): Promise<Outcome> {
	return outcome((completion) => volume.read(offsetBytes, Buffer.alloc(lengthBytes), completion));
}

async function readView(view: SnapshotView, lengthBytes: number): Promise<Buffer> {
	const target = Buffer.alloc(lengthBytes);
	const result = await outcome((completion) => view.read(0, target, completion));
	if (result !== 'good') throw new Error(`the read ended with ${result}`);
	return target;
}

test('the repository is gone: missing pages are medium errors after the bound, and nothing else is; it recovers by itself', async (t) => {
	const content = archived(mib, [3]);
	const { volume, pages } = await serveLazily(undefined, content, { remoteWaitMs: 1000 });
	t.is((await read(volume, 0, page)).length, page);
	await stored(volume, 1);
	const before = volume.statistics().checksumErrors;
	pages.before = () => {
		throw new Error('connection refused');
	};
	t.is(await readOutcome(volume, 5 * chunkBytes, page), 'mediumError');
	t.is(await write(volume, 5 * chunkBytes + 512, Buffer.alloc(kib)), 'mediumError', 'a part of a page that is missing');
	t.is(await readOutcome(volume, 0, chunkBytes), 'good', 'what is here');
	t.is(await readOutcome(volume, 3 * chunkBytes, chunkBytes), 'good', 'zeros');
	t.is(await write(volume, 5 * chunkBytes, Buffer.alloc(page, 7)), 'good', 'a whole page');
	t.is(await readOutcome(volume, 5 * chunkBytes, page), 'good');
	t.is(volume.remote?.failure, 'connection refused');
	t.true((volume.remote?.failedReads ?? 0) >= 2);
	t.is(volume.statistics().checksumErrors, before, 'no damage');
	pages.before = () => undefined;
	t.true((await read(volume, 6 * chunkBytes, chunkBytes)).equals(content.subarray(6 * chunkBytes, 7 * chunkBytes)));
	t.is(volume.remote?.failure, undefined);
	await volume.close();
});

test('nobody knows the repository: the volume opens, shows what it has, and says what is missing', async (t) => {
	const content = archived(mib, [3]);
	const served = await serveLazily(undefined, content);
	await read(served.volume, 0, chunkBytes);
	await stored(served.volume, 1);
	const volume = await served.reopen('closed', { remoteWaitMs: 30 }, false);
	t.true((await read(volume, 0, chunkBytes)).equals(content.subarray(0, chunkBytes)));
	t.is(await readOutcome(volume, chunkBytes, page), 'mediumError');
	t.regex(volume.remote?.failure ?? '', /nobody knows the repository/);
	t.deepEqual(volume.remote?.identity, identity);
	await volume.close();
});

test('snapshots while pages are missing: what they show, a restore, a deletion with its merge; what came from the archive is no difference', async (t) => {
	const content = archived(mib, [3]);
	const served = await serveLazily(undefined, content);
	const { volume } = served;
	t.is(await write(volume, 0, Buffer.alloc(page, 1)), 'good');
	await volume.createSnapshot('first');
	t.is(await write(volume, chunkBytes, Buffer.alloc(page, 2)), 'good');
	t.is(await zero(volume, 2 * chunkBytes, chunkBytes), 'good');
	await volume.createSnapshot('second');
	const first = Buffer.from(content);
	first.fill(1, 0, page);
	const second = Buffer.from(first);
	second.fill(2, chunkBytes, chunkBytes + page);
	second.fill(0, 2 * chunkBytes, 3 * chunkBytes);
	const view = await volume.openSnapshot('first');
	t.true((await readView(view, mib)).equals(first));
	await view.close();
	const ranges = [];
	for await (const range of volume.diff('first', 'second')) ranges.push(range);
	t.deepEqual(ranges, [
		{ firstPage: 16, pages: 1 },
		{ firstPage: 32, pages: 16 },
	]);
	await volume.restoreSnapshot('first', { keepLiveAs: 'third' });
	t.true((await read(volume, 0, mib)).equals(first));
	await volume.deleteSnapshot('first');
	await volume.merged();
	t.true((await read(volume, 0, mib)).equals(first));
	await volume.restoreSnapshot('second');
	t.true((await read(volume, 0, mib)).equals(second));
	await served.reopen('killed', { remoteFillersMax: 1 });
	await filled(served.volume);
	await served.volume.merged();
	t.true((await read(served.volume, 0, mib)).equals(second));
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory, [served.directory]), []);
});

test('a clone and a flattening are refused as long as pages are missing, say how far it is, and work afterwards', async (t) => {
	const content = archived(mib, [3]);
	const served = await serveLazily(undefined, content);
	await read(served.volume, 0, chunkBytes);
	await stored(served.volume, 1);
	await served.volume.createSnapshot('s');
	const clone = (): Promise<void> => Volume.clone(served.disk, served.volume, 's', '/data/clone', 'aaaaaaaa-5b1d-4a6e-9a57-0d6c1f6f3b01');
	const refusal = { instanceOf: VolumeUsageError, message: /being filled from its archive \(1 of 15 chunks are here\)/ };
	await t.throwsAsync(clone, refusal);
	await t.throwsAsync(() => served.volume.flatten(), refusal);
	t.false((await served.disk.list('/data')).includes('clone'), 'nothing was made');
	await served.reopen('closed', { remoteFillersMax: 2 });
	await filled(served.volume);
	await clone();
	await served.volume.flatten();
	const cloned = await Volume.open(served.disk, '/data/clone', { log: silent, tuning: lazy });
	t.true((await read(cloned, 0, mib)).equals(content));
	await cloned.close();
	await served.volume.merged();
	t.true((await read(served.volume, 0, mib)).equals(content));
	await served.volume.close();
	const directories = [served.directory, '/data/clone'];
	for (const directory of directories) t.deepEqual(await checkVolume(served.disk, directory, directories), []);
});

test('flattened when it is filled, it is one layer: the archived pages have moved up', async (t) => {
	const content = archived(mib, [3]);
	const { volume, disk, directory } = await serveLazily(undefined, content, { remoteFillersMax: 2 });
	await write(volume, 5 * chunkBytes, Buffer.alloc(chunkBytes, 9));
	await filled(volume);
	await volume.flatten();
	await volume.merged();
	const expected = Buffer.from(content);
	expected.fill(9, 5 * chunkBytes, 6 * chunkBytes);
	t.true((await read(volume, 0, mib)).equals(expected));
	await volume.close();
	t.is((await disk.list(`${directory}/layers`)).filter((name) => name.endsWith('.map')).length, 1);
	t.deepEqual(await checkVolume(disk, directory), []);
});

test('space: what is missing is shown and takes none', async (t) => {
	const { volume } = await serveLazily(undefined, archived(mib, [3]));
	await read(volume, 0, chunkBytes);
	await stored(volume, 1);
	await write(volume, chunkBytes, Buffer.alloc(chunkBytes, 1));
	const space = await volume.space();
	t.is(space.referencedBytes, 15 * chunkBytes);
	t.is(space.totalBytes, 2 * chunkBytes);
	t.is(space.exclusiveBytes, chunkBytes);
	await volume.close();
});

test('zeros over all of a large volume hide what is far away in the archive', async (t) => {
	const sizeBytes = 300 * entriesPerBlock * page;
	const content = archived(2 * chunkBytes);
	const served = await serveLazily(undefined, content, {}, { sizeBytes });
	const { volume, pages } = served;
	t.is(await zero(volume, 0, sizeBytes), 'good');
	await volume.flushToLayers();
	t.is(pages.asked.length, 0);
	t.true((await read(volume, 0, 2 * chunkBytes)).every((byte) => byte === 0));
	await volume.close();
});

test('zeros that begin far before the one chunk that the archive has hide it', async (t) => {
	// A bit of a summary stands for sixteen blocks here, so that the first ones of its stretch have nothing.
	const sizeBytes = 16 * 8192 * entriesPerBlock * page;
	const far = 8 * entriesPerBlock * page;
	const content = archived(far + chunkBytes, [...Array(far / chunkBytes).keys()]);
	const { volume, pages } = await serveLazily(undefined, content, {}, { sizeBytes });
	t.is(await zero(volume, 0, sizeBytes), 'good');
	await volume.flushToLayers();
	t.true((await read(volume, far, chunkBytes)).every((byte) => byte === 0));
	t.deepEqual(pages.asked, []);
	await volume.close();
});

test('the volume grows while pages are missing: what is behind the archived snapshot reads as zeros', async (t) => {
	const content = archived(5 * chunkBytes + page);
	const served = await serveLazily(undefined, content);
	await served.volume.resize(mib);
	t.true((await read(served.volume, 0, mib)).equals(Buffer.concat([content, Buffer.alloc(mib - content.length)])));
	t.is(await write(served.volume, 7 * chunkBytes + 512, Buffer.alloc(512, 3)), 'good');
	t.is(served.pages.asked.length, 6);
	await served.reopen('closed', { remoteFillersMax: 1 });
	await filled(served.volume);
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
});

test('a scrub and a check while pages are missing find nothing, and a damaged page that is here', async (t) => {
	const served = await serveLazily(t, archived(mib));
	await read(served.volume, 2 * chunkBytes, 2 * chunkBytes);
	await stored(served.volume, 2);
	const scrub = async (): Promise<ScrubFinding[]> => {
		const findings: ScrubFinding[] = [];
		const found = (finding: ScrubFinding): unknown => findings.push(finding);
		const { signal } = new AbortController();
		const result = await scrubVolume(served.disk, served.directory, served.volume, { bytesPerSecond: 1e9, signal, found });
		t.true(result.isComplete);
		return findings;
	};
	t.deepEqual(await scrub(), []);
	const names = await served.disk.list(`${served.directory}/layers`);
	const data = names.find((name) => name.endsWith('.data')) as string;
	const file = await served.disk.open(`${served.directory}/layers/${data}`, 'existing');
	await file.write(Buffer.from([0xff]), 2 * chunkBytes + 5);
	await file.close();
	const findings = await scrub();
	t.deepEqual(
		findings.map(({ page: number, kind }) => ({ number, kind })),
		[{ number: 32, kind: 'data' }],
	);
	await served.volume.close();
	t.is((await checkVolume(served.disk, served.directory)).length, 1);
});

test('a damaged part of the map of what was fetched is no loss: its pages are fetched again', async (t) => {
	const content = archived(mib);
	const served = await serveLazily(undefined, content);
	await read(served.volume, 0, mib);
	await stored(served.volume, 16);
	await served.volume.close();
	const names = await served.disk.list(`${served.directory}/layers`);
	const layer = (names.find((name) => name.endsWith('.data')) as string).replace('.data', '.map');
	const file = await served.disk.open(`${served.directory}/layers/${layer}`, 'existing');
	await file.write(Buffer.from([0xff]), 100);
	await file.close();
	const asked = served.pages.asked.length;
	await served.reopen('closed', { remoteFillersMax: 1 });
	t.true((await read(served.volume, 0, mib)).equals(content));
	await filled(served.volume);
	// 126 pages of one sector, in chunks of 16.
	t.is(served.pages.asked.length - asked, 8);
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
});

test('the file system is full: what was fetched is answered and not kept, and kept when there is room again', async (t) => {
	const content = archived(mib);
	const served = await serveLazily(undefined, content);
	const isData = ({ kind, path }: { kind: string; path: string }): boolean => /write/.test(kind) && path.endsWith('.data');
	served.disk.fail(isData, 'ENOSPC');
	t.true((await read(served.volume, 0, mib)).equals(content));
	t.is(served.volume.remote?.localChunks, 0);
	t.false(served.volume.isFull, 'what is written has its own measure');
	served.disk.heal();
	const asked = served.pages.asked.length;
	t.is(asked, 16);
	t.true((await read(served.volume, 0, mib)).equals(content));
	await stored(served.volume, 16);
	t.is(served.pages.asked.length, asked + 16);
	t.true((await read(served.volume, 0, mib)).equals(content));
	t.is(served.pages.asked.length, asked + 16);
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
});

test('the filler leaves room for what is written: it waits while the file system is nearly full', async (t) => {
	const { volume, pages } = await serveLazily(undefined, archived(mib), {
		remoteFillersMax: 1,
		remoteFreeBytesMin: Number.MAX_SAFE_INTEGER,
	});
	while (volume.remote?.isCounted !== true) await new Promise((resolve) => setImmediate(resolve));
	t.false(await settlesSoon(new Promise(() => undefined), 50));
	t.deepEqual(pages.asked, []);
	t.true((await read(volume, 0, page)).equals(archived(page)));
	await volume.close();
});

test('fetched pages cannot be made durable: the volume is faulted, and what is read is right still', async (t) => {
	const content = archived(mib);
	const { volume, disk, pages } = await serveLazily(undefined, content);
	disk.fail(({ kind, path }) => kind === 'datasync' && path.endsWith('.data'), 'EIO');
	t.true((await read(volume, 0, chunkBytes)).equals(content.subarray(0, chunkBytes)));
	while (volume.fault === undefined) await new Promise((resolve) => setImmediate(resolve));
	t.regex(volume.fault, /fetched pages could not be written/);
	t.true((await read(volume, 0, mib)).equals(content));
	t.true((await read(volume, 0, chunkBytes)).equals(content.subarray(0, chunkBytes)));
	t.is(await write(volume, 0, Buffer.alloc(page)), 'faulted');
	t.true(pages.asked.filter((chunk) => chunk === 0).length > 1, 'nothing is kept any more');
	await volume.close();
});

test('a close does not wait for a fetch: who reads a missing page, or writes a part of one, is told that the volume closes', async (t) => {
	const { volume, pages } = await serveLazily(undefined, archived(mib), { remoteWaitMs: 60_000, remoteAttemptMs: 60_000 });
	await volume.createSnapshot('s');
	const view = await volume.openSnapshot('s');
	pages.before = () => new Promise(() => undefined);
	const reading = readOutcome(volume, 0, page);
	const viewing = outcome((completion) => view.read(0, Buffer.alloc(page), completion));
	const writing = write(volume, chunkBytes + 512, Buffer.alloc(512));
	t.false(await settlesSoon(reading, 20));
	await volume.close();
	t.deepEqual(await Promise.all([reading, writing]), ['closed', 'closed']);
	t.true(['closed', 'mediumError'].includes(await viewing));
	t.is(pages.closed, 1);
});

test('compare and write, and a flush, over missing pages', async (t) => {
	const content = archived(mib);
	const { volume } = await serveLazily(undefined, content);
	const compare = (expected: Buffer): Promise<Outcome> =>
		outcome((completion) => {
			volume.compareAndWrite(chunkBytes + 512, expected, Buffer.alloc(512, 9), true, {
				miscompareOffset: 0,
				complete: (what) => completion.complete(what),
			});
		});
	t.is(await compare(Buffer.alloc(512)), 'miscompare');
	t.is(await compare(content.subarray(chunkBytes + 512, chunkBytes + 1024)), 'good');
	t.is(await compare(Buffer.alloc(512, 9)), 'good');
	t.is(await flush(volume), 'good');
	await volume.close();
});

test('what a filler fetches, it fetches once: a sequential reader and the filler beside each other', async (t) => {
	const content = archived(4 * mib);
	const { volume, pages } = await serveLazily(undefined, content, { remoteFillersMax: 2, remoteAheadMax: 4 });
	for (let at = 0; at < content.length; at += 32 * kib)
		t.true((await read(volume, at, 32 * kib)).equals(content.subarray(at, at + 32 * kib)));
	await filled(volume);
	t.is(pages.asked.length, 64);
	t.is(new Set(pages.asked).size, 64);
	await volume.close();
});

test('a sequential reader has the next chunks fetched ahead, more and more; a random one has not', async (t) => {
	const { volume, pages } = await serveLazily(undefined, archived(4 * mib), { remoteAheadMax: 4 });
	for (const chunk of [40, 3, 17]) await read(volume, chunk * chunkBytes, page);
	t.is(pages.asked.length, 3);
	await read(volume, 4 * chunkBytes, page);
	await stored(volume, 5);
	t.deepEqual(pages.asked.slice(3), [4, 5]);
	await read(volume, 5 * chunkBytes, page);
	await read(volume, 6 * chunkBytes, page);
	await stored(volume, 8);
	t.deepEqual(pages.asked.slice(5), [6, 7, 8]);
	await volume.close();
});

test('a long read fetches all that it needs side by side, and waits no longer than one bound, whatever is missing in between', async (t) => {
	const content = archived(2 * mib);
	const { volume, pages } = await serveLazily(undefined, content, { remoteWaitMs: 800 });
	// Every other chunk is written over, so that what is missing is in sixteen pieces.
	for (let chunk = 1; chunk < 32; chunk += 2) t.is(await write(volume, chunk * chunkBytes, Buffer.alloc(chunkBytes, 1)), 'good');
	// Each piece comes within the bound, and all of them do not.
	pages.before = () => new Promise((resolve) => setTimeout(resolve, 100));
	t.is(await readOutcome(volume, 0, 2 * mib), 'mediumError');
	const letGo = Promise.withResolvers<void>();
	const view = await serveLazily(undefined, content, { remoteFetchesMax: 8 });
	view.pages.before = () => (view.pages.running === 8 ? letGo.resolve() : letGo.promise);
	t.true((await read(view.volume, page, mib)).equals(content.subarray(page, page + mib)), 'eight at once, or nobody is let go');
	await view.volume.close();
	await volume.close();
});
