import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import type { DiskFile } from '../../src/os/disk.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { RunningDigest } from '../../src/blockvol/map-digest.ts';
import { isChecksum, notLoaded, PageMap } from '../../src/blockvol/page-map.ts';
import { blockBytes, entriesPerBlock, entriesPerSector, entryLost, sectorBytes } from '../../src/blockvol/page-map-block.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { temporaryDirectory } from '../temporary.ts';
import { WatchedDisk } from './watched-disk.ts';

const layer = 1;

interface Opened {
	disk: WatchedDisk;
	file: DiskFile;
	map: PageMap;
	digest: RunningDigest;
	/** Another map over the same file: nothing is cached. */
	again: (cacheBlocks?: number) => Promise<PageMap>;
}

async function openMap(t: ExecutionContext, cacheBlocks = 8): Promise<Opened> {
	const disk = new WatchedDisk(new FileDisk());
	const file = await disk.open(`${await temporaryDirectory(t)}/1.map`, 'create');
	t.teardown(() => file.close());
	const again = async (blocks = cacheBlocks): Promise<PageMap> => new PageMap(file, await file.sizeBytes(), layer, blocks);
	return { disk, file, map: await again(), digest: new RunningDigest({ low: 0, high: 0 }), again };
}

async function set(map: PageMap, digest: RunningDigest, entries: Record<number, number>): Promise<void> {
	const pages = Object.keys(entries)
		.map(Number)
		.toSorted((a, b) => a - b);
	await map.update(
		Float64Array.from(pages),
		Uint32Array.from(pages, (page) => entries[page] ?? 0),
		pages.length,
		digest,
	);
}

async function entryOf(map: PageMap, page: number): Promise<number> {
	for (;;) {
		const entry = map.entry(page);
		if (entry !== notLoaded) return entry;
		await map.load(page);
	}
}

async function digestOf(map: PageMap, endPage: number): Promise<unknown> {
	const digest = new RunningDigest({ low: 0, high: 0 });
	await map.forEachEntry(0, endPage, (page, entry) => digest.toggle(page, entry));
	return digest.value;
}

test('what was set is there, over block ends, after reopening, and the rest is absent', async (t) => {
	const { map, digest, again } = await openMap(t);
	const last = 2 ** 34 - 1;
	await set(map, digest, { 0: 10, 125: 11, 126: 12, 1007: 13, 1008: 14, [last]: 15 });
	for (const one of [map, await again()]) {
		for (const [page, entry] of [
			[0, 10],
			[125, 11],
			[126, 12],
			[1007, 13],
			[1008, 14],
			[last, 15],
			[1, 0],
			[1009, 0],
			[2 ** 30, 0],
			[last - 1, 0],
		] as const) {
			t.is(await entryOf(one, page), entry, `page ${page}`);
		}
	}
});

test('the end of a stretch of checksums is where entry() says something else, wherever it begins and ends', async (t) => {
	const { map, digest, again } = await openMap(t);
	const pages = 3 * entriesPerBlock;
	const stretches = [...Array(pages).keys()].filter((page) => page !== 126 && page !== 700 && page !== 2 * entriesPerBlock - 1);
	await set(map, digest, { ...Object.fromEntries(stretches.map((page) => [page, 1000 + page])), 300: entryLost, 301: 1 });
	const one = await again(2);
	const bound = fc.nat(4 * entriesPerBlock);
	await fc.assert(
		fc.asyncProperty(bound, fc.oneof(fc.constantFrom(1, 2, 125, 126, 127, 1008), bound), async (first, length) => {
			const end = first + length;
			let expected = first;
			while (expected < end && isChecksum(await entryOf(one, expected))) expected++;
			for (;;) {
				const found = one.endOfChecksums(first, end);
				if (found === end || one.entry(found) !== notLoaded) return found === expected;
				if (found > expected) return false;
				await one.load(found);
			}
		}),
		{ numRuns: 150 },
	);
	t.is(one.endOfChecksums(0, pages), 126);
	t.is(one.endOfChecksums(7, 7), 7, 'nothing was asked for');
});

test('any sequence of updates and clears agrees with an array, in the cache, on the disk and in the digest', async (t) => {
	const pages = 5 * entriesPerBlock;
	const step = fc.oneof(
		fc.record({ start: fc.nat(pages - 1), length: fc.integer({ min: 1, max: 300 }), value: fc.integer({ min: 3, max: 1000 }) }),
		fc.record({ start: fc.nat(pages - 1), length: fc.integer({ min: 1, max: pages }), value: fc.constant(0) }),
	);
	await fc.assert(
		fc.asyncProperty(fc.array(step, { maxLength: 12 }), fc.nat(), async (steps, seed) => {
			const disk = new SimulatedDisk({ seed });
			const file = await disk.open('/map', 'create');
			const map = new PageMap(file, 0, layer, 8);
			const digest = new RunningDigest({ low: 0, high: 0 });
			const naive = Array.from({ length: pages }, () => 0);
			for (const { start, length, value } of steps) {
				const end = Math.min(pages, start + length);
				naive.fill(value, start, end);
				if (value === 0) await map.clear(start, end, digest);
				else {
					const list = Float64Array.from({ length: end - start }, (_, index) => start + index);
					await map.update(list, new Uint32Array(list.length).fill(value), list.length, digest);
				}
			}
			const reopened = new PageMap(file, await file.sizeBytes(), layer, 8);
			for (let page = 0; page < pages; page++) {
				if ((await entryOf(map, page)) !== naive[page]) throw new Error(`page ${page} in the cache`);
				if ((await entryOf(reopened, page)) !== naive[page]) throw new Error(`page ${page} on the disk`);
			}
			const expected = new RunningDigest({ low: 0, high: 0 });
			for (const [page, entry] of naive.entries()) expected.toggle(page, entry);
			if (JSON.stringify(digest.value) !== JSON.stringify(expected.value)) throw new Error('the running digest');
			if (JSON.stringify(await digestOf(map, pages)) !== JSON.stringify(expected.value)) throw new Error('the digest of a walk');
		}),
		{ numRuns: 40 },
	);
	t.pass();
});

test('a torn write leaves each sector old or new: no entry is lost', async (t) => {
	const { file, map, digest, again } = await openMap(t);
	await set(map, digest, { 0: 10, 126: 11, 252: 12 });
	const old = Buffer.alloc(blockBytes);
	await file.read(old, 0);
	await set(map, digest, { 0: 20, 126: 21, 252: 22 });
	// The second sector did not reach the disk.
	await file.write(old.subarray(sectorBytes, 2 * sectorBytes), sectorBytes);
	const reopened = await again();
	t.is(await entryOf(reopened, 0), 20);
	t.is(await entryOf(reopened, 126), 11);
	t.is(await entryOf(reopened, 252), 22);
});

test('a damaged sector loses its own 126 entries, no others, and a page that is set again has its checksum', async (t) => {
	const { file, map, digest, again } = await openMap(t);
	await set(map, digest, { 0: 10, 126: 11, 127: 12, 252: 13 });
	await file.write(Buffer.from([0xff]), sectorBytes + 20);
	const reopened = await again();
	t.is(reopened.entry(0), notLoaded, 'a damaged block is not taken without a second look');
	t.is(await entryOf(reopened, 0), 10);
	t.is(await entryOf(reopened, 252), 13);
	for (let page = 126; page < 252; page++) t.is(await entryOf(reopened, page), entryLost);
	t.false(isChecksum(entryLost));
	await set(reopened, digest, { 127: 99 });
	const third = await again();
	t.is(await entryOf(third, 127), 99);
	t.is(await entryOf(third, 126), entryLost, 'its neighbours stay lost');
});

test('a sound sector in the wrong place, or of another layer, is damaged', async (t) => {
	const { file, map, digest } = await openMap(t);
	await set(map, digest, { 0: 10, [entriesPerBlock]: 20, [entriesPerSector]: 15 });
	const block = Buffer.alloc(blockBytes);
	await file.read(block, 0);
	await file.write(block, blockBytes);
	await file.write(block.subarray(0, sectorBytes), sectorBytes);
	const moved = new PageMap(file, 2 * blockBytes, layer, 8);
	t.is(await entryOf(moved, 0), 10);
	t.is(await entryOf(moved, entriesPerBlock), entryLost);
	t.is(await entryOf(moved, entriesPerSector), entryLost);
	const other = new PageMap(file, 2 * blockBytes, layer + 1, 8);
	t.is(await entryOf(other, 0), entryLost);
});

test('one misread of a sector does no harm', async (t) => {
	const disk = new SimulatedDisk({ seed: 3, wouldBlockChance: 1, shortChance: 0 });
	const file = await disk.open('/map', 'create');
	const map = new PageMap(file, 0, layer, 8);
	await set(map, new RunningDigest({ low: 0, high: 0 }), { 5: 50 });
	const reopened = new PageMap(file, await file.sizeBytes(), layer, 8);
	let reads = 0;
	disk.faultRule = (operation) => (operation.kind === 'read' && reads++ === 0 ? { kind: 'flippedBit', byteIndex: 30, bit: 1 } : undefined);
	t.is(await entryOf(reopened, 5), 50);
	t.is(reads, 2);
});

test('EIO on a load reaches the caller with its code, and nothing of it stays in the cache', async (t) => {
	const { disk, map, digest, again } = await openMap(t);
	await set(map, digest, { 5: 50 });
	const reopened = await again();
	disk.fail((call) => call.kind === 'read' || call.kind === 'tryRead', 'EIO');
	t.is(reopened.entry(5), notLoaded);
	await t.throwsAsync(reopened.load(5), { code: 'EIO' });
	disk.heal();
	t.is(await entryOf(reopened, 5), 50);
});

test('a load that meets an update of its block takes the new entries, never the ones that it had read', async (t) => {
	const disk = new WatchedDisk(new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 }));
	const file = await disk.open('/map', 'create');
	const map = new PageMap(file, 0, layer, 8);
	const digest = new RunningDigest({ low: 0, high: 0 });
	await set(map, digest, { 5: 50 });
	const reopened = new PageMap(file, await file.sizeBytes(), layer, 8);
	const gate = disk.gate((call) => call.kind === 'read');
	const load = reopened.load(5);
	await gate.reached;
	await set(reopened, digest, { 5: 51, [entriesPerBlock]: 52 });
	gate.release();
	await load;
	t.is(reopened.entry(5), 51);
});

test('a load whose block was changed and dropped from the cache meanwhile reads anew', async (t) => {
	const disk = new WatchedDisk(new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 }));
	const file = await disk.open('/map', 'create');
	const digest = new RunningDigest({ low: 0, high: 0 });
	await set(new PageMap(file, 0, layer, 8), digest, { 5: 50 });
	const map = new PageMap(file, await file.sizeBytes(), layer, 8);
	const gate = disk.gateAnswer((call) => call.kind === 'read');
	const load = map.load(5);
	await gate.reached;
	await set(map, digest, { 5: 51 });
	for (let block = 1; block <= 8; block++) await set(map, digest, { [block * entriesPerBlock]: 7 });
	gate.release();
	await load;
	t.is(map.entry(5), 51);
});

test('a load under way while its block is cleared does not bring the old entries back', async (t) => {
	const disk = new WatchedDisk(new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 }));
	const file = await disk.open('/map', 'create');
	const digest = new RunningDigest({ low: 0, high: 0 });
	await set(new PageMap(file, 0, layer, 8), digest, { 5: 50 });
	const map = new PageMap(file, await file.sizeBytes(), layer, 8);
	const punch = disk.gate((call) => call.kind === 'punch');
	const clear = map.clear(0, entriesPerBlock, digest);
	await punch.reached;
	const load = map.load(5);
	await load;
	punch.release();
	await clear;
	t.is(await entryOf(map, 5), 0);
});

test('more blocks than the cache holds: each is found again, and memory does not grow', async (t) => {
	const { map, digest, again } = await openMap(t, 8);
	const entries: Record<number, number> = {};
	for (let block = 0; block < 200; block++) entries[block * entriesPerBlock + block] = 1000 + block;
	await set(map, digest, entries);
	for (const one of [map, await again(8)]) {
		for (let block = 0; block < 200; block++) t.is(await entryOf(one, block * entriesPerBlock + block), 1000 + block);
	}
});

test('clearing whole blocks gives their space back and clears the parts at both ends', async (t) => {
	const { file, map, digest } = await openMap(t, 16);
	const entries: Record<number, number> = {};
	for (let page = 0; page < 12 * entriesPerBlock; page += 63) entries[page] = 7;
	await set(map, digest, entries);
	await file.datasync();
	const before = await file.allocatedBytes();
	await map.clear(100, 11 * entriesPerBlock + 100, digest);
	await file.datasync();
	t.true((await file.allocatedBytes()) <= before - 10 * blockBytes);
	t.is(await entryOf(map, 63), 7);
	t.is(await entryOf(map, 126), 0);
	t.is(await entryOf(map, 11 * entriesPerBlock + 63 - ((11 * entriesPerBlock) % 63)), 0);
	const left: number[] = [];
	await map.forEachEntry(0, 12 * entriesPerBlock, (page) => left.push(page));
	t.deepEqual(
		left,
		Object.keys(entries)
			.map(Number)
			.filter((page) => page < 100 || page >= 11 * entriesPerBlock + 100),
	);
});
