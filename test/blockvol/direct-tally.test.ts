import test from 'ava';
import { DirectShare, directTally, DirectTally } from '../../src/blockvol/direct-tally.ts';
import { defaultTuning } from '../../src/blockvol/limits.ts';
import { FairDisk } from '../../src/os/fair-disk.ts';
import { filled, flush, kib, makeVolume, mib, openVolume, serveInMemory, write } from './volume-fixture.ts';

const tuning = { flushStartDirectPages: 64, flushDirectMs: 2000, flushDirectPagesMax: 300 };
const counts = (directPages: number, directEntries = directPages): { directPages: number; directEntries: number } => ({
	directPages,
	directEntries,
});

/** A share whose clock stands still between the steps of a test. */
function share(tally = new DirectTally()): { share: DirectShare; pass: (ms: number) => void } {
	let nowMs = 5000;
	return {
		share: new DirectShare(tally, tuning, () => nowMs),
		pass(ms) {
			nowMs += ms;
		},
	};
}

test('due at once when enough was written, by a writer that goes on', (t) => {
	const one = share();
	t.false(one.share.isDue(counts(63), false));
	t.true(one.share.isDue(counts(64), false));
});

test('of a writer that comes back: due when enough was written and some time has passed, counted from the first page', (t) => {
	const one = share();
	t.false(one.share.isDue(counts(0), true));
	one.pass(10_000);
	t.false(one.share.isDue(counts(64), true), 'nothing was dirty until now');
	one.pass(1999);
	t.false(one.share.isDue(counts(100), true));
	one.pass(1);
	t.true(one.share.isDue(counts(100), true));
	const little = share();
	little.share.isDue(counts(1), true);
	little.pass(100_000);
	t.false(little.share.isDue(counts(63), true));
});

test('what is written again and again is enough, however few pages it is', (t) => {
	const one = share();
	one.share.isDue(counts(1), true);
	one.pass(2000);
	t.false(one.share.isDue(counts(63, 32), true));
	t.true(one.share.isDue(counts(64, 32), true));
});

test('due at once when the volumes of the process have as many pages as they may; what one has flushed counts no more', (t) => {
	const tally = new DirectTally();
	const [one, other] = [share(tally).share, share(tally).share];
	t.false(one.isDue(counts(299), true));
	t.true(one.isDue(counts(300), true), 'alone');
	one.flushed();
	t.false(one.isDue(counts(200), true));
	t.false(other.isDue(counts(63), true), 'one that has hardly anything makes no room');
	t.false(other.isDue(counts(99), true));
	t.true(other.isDue(counts(100), true));
	t.true(one.isDue(counts(200), true));
	one.flushed();
	t.false(other.isDue(counts(100), true));
	other.flushed();
	t.is(tally.pages, 0);
});

test('a volume that is closed leaves nothing behind, whatever of it still ends', (t) => {
	const tally = new DirectTally();
	const one = share(tally).share;
	one.isDue(counts(200), true);
	t.is(tally.pages, 200);
	one.close();
	t.is(tally.pages, 0);
	one.isDue(counts(201), true);
	t.is(tally.pages, 0);
});

test('the time begins anew with what is written after a flush', (t) => {
	const { share: one, pass } = share();
	one.isDue(counts(100), true);
	pass(2000);
	t.true(one.isDue(counts(100), true));
	one.flushed();
	t.false(one.isDue(counts(100), true));
	pass(2000);
	t.true(one.isDue(counts(100), true));
});

test('by default as many pages as the memory suffices for, and fewer than a generation holds', (t) => {
	const { flushStartDirectPages, flushDirectPagesMax, dirtyPagesMax } = defaultTuning;
	t.true(flushDirectPagesMax > 0 && flushDirectPagesMax < dirtyPagesMax);
	t.true(flushStartDirectPages < dirtyPagesMax);
});

test('pages that are written in place again and again are left until there are too many; a closed volume counts no more', async (t) => {
	const { disk, volume } = await serveInMemory(
		{},
		{ overwriteBytesMin: 64 * kib, flushStartDirectPages: 64, flushDirectMs: Infinity, flushDirectPagesMax: 600 },
	);
	await write(volume, 0, filled(mib, 1));
	await volume.flushToLayers();
	// The first region is marked.
	for (const at of [896, 960]) await write(volume, at * kib, filled(64 * kib, 1));
	await flush(volume);
	await volume.flushToLayers();
	const cycles = (): number => volume.statistics().flushCycles;
	const rest = async (): Promise<void> => {
		for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
	};
	const begun = cycles();
	// Nobody knows yet that it will be written again.
	await write(volume, 0, filled(256 * kib, 2));
	await rest();
	t.is(cycles(), begun + 1);
	for (let times = 0; times < 20; times++) await write(volume, 0, filled(512 * kib, times));
	await rest();
	t.is(volume.statistics().overwrites, 41, 'a record has 256 KiB');
	t.is(cycles(), begun + 1, '128 different pages');
	t.is(directTally.pages, 128);
	directTally.pages += 472;
	await write(volume, 0, filled(64 * kib, 2));
	await rest();
	t.is(cycles(), begun + 2, 'another volume on the disk has written more');
	directTally.pages -= 472;
	await write(volume, 0, filled(128 * kib, 3));
	t.is(directTally.pages, 32);
	await volume.close();
	t.is(directTally.pages, 0);

	// As the appliance opens them: each on a view of the disk of its own.
	await makeVolume(disk, '/data/other');
	const other = await openVolume(new FairDisk(disk), '/data/other', { directBytesMin: 64 * kib });
	await write(other, 0, filled(512 * kib, 3));
	t.is(directTally.pages, 128);
	other.abandon();
	t.is(directTally.pages, 0);
});
