import test, { type ExecutionContext } from 'ava';
import { checkVolume } from '../../src/blockvol/check.ts';
import type { Volume } from '../../src/blockvol/volume.ts';
import { Random } from '../simulation/random.ts';
import { filled, mib, page, read, serveInMemory, settlesSoon, write, zero, type Served } from './volume-fixture.ts';

const quotaBytes = mib;

/** With what a volume of the engine has, and a recount at each refusal. */
async function limited(t: ExecutionContext, tuning = {}): Promise<Served> {
	const alive = setInterval(() => undefined, 50);
	t.teardown(() => clearInterval(alive));
	const served = await serveInMemory({}, { noSpaceRetryMs: 1, mergeShare: 1, flushStartBytes: 256 * 1024, ...tuning });
	served.volume.quotaBytes = quotaBytes;
	return served;
}

/** Writes pages that were not written before, until one is refused; how many were not. */
async function fill(volume: Volume, from: number): Promise<number> {
	let pages = 4;
	let at = from;
	for (;;) {
		const outcome = await write(volume, at * page, filled(pages * page, 1 + (at % 250)));
		if (outcome !== 'good' && outcome !== 'noSpace') throw new Error(outcome);
		if (outcome === 'good') at += pages;
		else if (pages === 1) return at - from;
		else pages = 1;
	}
}

/** A refusal is old enough to be counted again. */
async function rested(): Promise<void> {
	for (const began = performance.now(); performance.now() - began < 2;) await settlesSoon(new Promise(() => undefined), 1);
}

test('a quota: writes that would take more are refused and nothing else is; what is there can be read, overwritten and trimmed', async (t) => {
	for (const tuning of [{}, { directBytesMin: 8 * 1024, overwriteBytesMin: 12 * 1024 }]) {
		const { volume, disk, directory } = await limited(t, tuning);
		const pages = await fill(volume, 0);
		t.true(volume.isQuotaReached);
		t.false(volume.isFull);
		await volume.flushToLayers();
		const taken = await volume.allocatedBytes();
		t.true(taken <= quotaBytes && taken >= quotaBytes - 3 * page, `${taken} of ${quotaBytes}`);
		t.deepEqual(await read(volume, (pages - 1) * page, page), filled(page, 1 + ((pages - 1) % 250)));
		t.is(await write(volume, 0, filled(4 * page, 251)), 'good', 'has its place');
		t.is(await write(volume, 512, filled(512, 252)), 'good', 'in part, too');
		await rested();
		t.is(await write(volume, 2000 * page, filled(page, 1)), 'noSpace');
		t.is(await zero(volume, 2000 * page, 512), 'good', 'zeros are never refused');
		t.is(await zero(volume, 0, 16 * page), 'good');
		await rested();
		t.is(await write(volume, 2001 * page, filled(page, 1)), 'good', 'space that comes back lifts it');
		t.false(volume.isQuotaReached);
		await volume.flushToLayers();
		t.true((await volume.allocatedBytes()) <= quotaBytes);
		await volume.close();
		t.deepEqual(await checkVolume(disk, directory), []);
	}
});

test('a quota and snapshots: what they keep counts, and their deletion gives it back; a higher quota counts at once', async (t) => {
	const { volume } = await limited(t);
	const pages = await fill(volume, 0);
	await volume.createSnapshot('one');
	await rested();
	t.is(await write(volume, 0, filled(page, 9)), 'noSpace', 'the snapshot has the page');
	await volume.deleteSnapshot('one');
	await volume.flushToLayers();
	await volume.merged();
	await rested();
	t.is(await write(volume, 0, filled(page, 9)), 'good');
	await rested();
	t.is(await write(volume, pages * page, filled(64 * page, 9)), 'noSpace');
	volume.quotaBytes = 2 * quotaBytes;
	t.is(await write(volume, pages * page, filled(64 * page, 9)), 'good');
	volume.quotaBytes = page;
	t.is(await write(volume, 2000 * page, filled(page, 9)), 'noSpace', 'less than it takes already');
	volume.quotaBytes = undefined;
	t.is(await write(volume, 2000 * page, filled(page, 9)), 'good');
	await volume.close();
});

test('random writes, trims and snapshots, many at once: never more than the quota, and every write ends', async (t) => {
	for (let seed = 1; seed <= 6; seed++) {
		const random = new Random(seed);
		const { volume, disk, directory } = await limited(t, { directBytesMin: random.pick([8 * 1024, Infinity]) });
		let refused = 0;
		for (let round = 0; round < 40; round++) {
			const works = Array.from({ length: 8 }, async () => {
				const first = random.below(3000);
				const length = random.between(1, 8) * page;
				const outcome = random.chance(0.2)
					? await zero(volume, first * page, 4 * length)
					: await write(volume, first * page + 512 * random.below(4), filled(length, seed));
				if (outcome === 'noSpace') refused++;
				else t.is(outcome, 'good');
			});
			if (random.chance(0.1)) works.push(volume.createSnapshot(`s${round}`).then(() => undefined));
			await Promise.all(works);
			if (random.chance(0.1)) for (const { name } of volume.snapshots().slice(0, 1)) await volume.deleteSnapshot(name);
			await volume.flushToLayers();
			await volume.merged();
			// Zeros are never refused, and over a snapshot they take blocks of the page map: three would hold all that is written here.
			const mapBytes = 3 * (volume.snapshots().length + 1) * page;
			const taken = await volume.allocatedBytes();
			t.true(taken <= quotaBytes + mapBytes, `seed ${seed}, round ${round}: ${taken}`);
		}
		t.true(refused > 0, `seed ${seed}`);
		await volume.close();
		t.deepEqual(await checkVolume(disk, directory), []);
	}
});
