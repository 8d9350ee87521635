import test, { type ExecutionContext } from 'ava';
import { checkVolume } from '../../src/blockvol/check.ts';
import { RunningDigest } from '../../src/blockvol/map-digest.ts';
import { PageMap } from '../../src/blockvol/page-map.ts';
import { segmentName } from '../../src/blockvol/wal-segment.ts';
import type { DiskFile } from '../../src/os/disk.ts';
import { filled, mib, page, serveVolume, write, zero, type Served } from './volume-fixture.ts';

async function stopped(t: ExecutionContext, how: 'closed' | 'killed' = 'closed'): Promise<Served> {
	const served = await serveVolume(t, { sizeBytes: 16 * mib + page });
	await write(served.volume, 0, filled(20 * page, 1));
	await served.volume.flushToLayers();
	await write(served.volume, 4 * page, filled(page, 2));
	await zero(served.volume, 10 * page, page);
	if (how === 'closed') await served.volume.close();
	else served.volume.abandon();
	return served;
}

async function spoil({ disk, directory }: Served, path: string, work: (file: DiskFile) => Promise<unknown>): Promise<void> {
	const file = await disk.open(`${directory}/${path}`, 'existing');
	await work(file);
	await file.close();
}

async function messages({ disk, directory }: Served): Promise<string[]> {
	disk.forget();
	const found = (await checkVolume(disk, directory)).map(({ message }) => message);
	const changed = disk.calls.filter(({ kind }) => !['open', 'read', 'tryRead'].includes(kind));
	if (changed.length > 0) throw new Error(`the check changed something: ${JSON.stringify(changed)}`);
	return found;
}

test('a sound volume has no findings, stopped in order or killed', async (t) => {
	t.deepEqual(await messages(await stopped(t, 'closed')), []);
	t.deepEqual(await messages(await stopped(t, 'killed')), []);
});

test('a damaged page is found by its number, and no other', async (t) => {
	const served = await stopped(t);
	await spoil(served, 'layers/1.data', (file) => file.write(Buffer.from([9]), 7 * page + 100));
	t.deepEqual(await messages(served), ['page 7 (layer 1) does not match its checksum']);
});

test('a page whose newer version is in the log is not held against the layer', async (t) => {
	const served = await stopped(t, 'killed');
	await spoil(served, 'layers/1.data', (file) => file.write(Buffer.from([9]), 4 * page + 100));
	t.deepEqual(await messages(served), []);
});

test('a damaged map sector, and a map that is not the one of the stamp, are found', async (t) => {
	const served = await stopped(t);
	await spoil(served, 'layers/1.map', (file) => file.write(Buffer.from([9]), 100));
	const found = await messages(served);
	t.true(found.includes('page 0: its map sector is damaged'));
	const other = await stopped(t);
	await spoil(other, 'layers/1.map', (file) => file.write(Buffer.alloc(512), 0));
	t.deepEqual(await messages(other), ['the page map is not the one that the clean stop stamped']);
});

test('many findings of one kind do not hide another', async (t) => {
	const served = await stopped(t);
	await spoil(served, 'layers/1.map', (file) => file.write(Buffer.from([9]), 100));
	t.true((await messages(served)).some((message) => message.includes('stamp')));
});

test('more than a hundred findings are counted, not listed', async (t) => {
	const served = await stopped(t);
	await spoil(served, 'layers/1.map', (file) => file.write(Buffer.from([9]), 100));
	const found = await messages(served);
	t.is(found.filter((message) => message.startsWith('page') && message.endsWith('map sector is damaged')).length, 100);
	t.regex(found.at(-1) ?? '', /^and 26 more like this: page N: its map sector is damaged$/);
});

test('a map entry behind the end of the volume is found', async (t) => {
	const served = await stopped(t, 'killed');
	await spoil(served, 'layers/1.map', async (file) => {
		const map = new PageMap(file, await file.sizeBytes(), 1, 8);
		await map.update(Float64Array.of(4097), Uint32Array.of(77), 1, new RunningDigest(undefined));
	});
	t.true((await messages(served)).includes('page 4097 has a map entry, the volume ends at page 4097'));
});

test('files that belong to nobody are found', async (t) => {
	const served = await stopped(t);
	const { disk, directory } = served;
	for (const path of ['layers/2.data', 'layers/2.map', 'layers/notes', 'wal/notes', `wal/${segmentName(5)}`]) {
		await (await disk.open(`${directory}/${path}`, 'create')).close();
	}
	t.deepEqual((await messages(served)).toSorted(), [
		'layers/2.data belongs to no layer of this volume',
		'layers/2.map belongs to no layer of this volume',
		'layers/notes belongs to no layer of this volume',
		`wal/${segmentName(5)} is no segment of this log`,
		'wal/notes is no segment of this log',
	]);
});

test('a segment of a wrong length is found, unless it lies ahead of a log that a crash cut short', async (t) => {
	const clean = await stopped(t);
	await spoil(clean, `wal/${segmentName(0)}`, (file) => file.truncate(1000));
	t.deepEqual(await messages(clean), [`wal/${segmentName(0)} has 1000 bytes, not ${mib}`]);
	const cut = await stopped(t, 'killed');
	const ahead = await cut.disk.open(`${cut.directory}/wal/${segmentName((5 * mib) / 64)}`, 'create');
	await ahead.write(filled(100, 0), 0);
	await ahead.close();
	t.deepEqual(await messages(cut), []);
});

test('a superblock or a directory that cannot be read is a finding and no exception', async (t) => {
	const served = await stopped(t);
	await spoil(served, 'superblock', (file) => file.write(Buffer.alloc(128 * 1024, 7), 0));
	t.regex((await messages(served))[0] ?? '', /the superblock is corrupt/);
	const gone = await stopped(t);
	await gone.disk.remove(`${gone.directory}/layers/1.map`);
	t.deepEqual(await messages(gone), ['the volume cannot be read (ENOENT)']);
	const failing = await stopped(t);
	failing.disk.fail((call) => call.kind === 'read' && call.path.endsWith('.data'), 'EIO');
	t.deepEqual(await messages(failing), ['the volume cannot be read (EIO)']);
});
