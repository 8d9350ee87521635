import test from 'ava';
import * as fc from 'fast-check';
import { MapCache } from '../../src/blockvol/map-cache.ts';
import { RunningDigest } from '../../src/blockvol/map-digest.ts';
import {
	blockBytes,
	damagedSectors,
	entriesPerBlock,
	entriesPerSector,
	entryLost,
	entryOffset,
	markLost,
	sealSectors,
	sectorBytes,
} from '../../src/blockvol/page-map-block.ts';

test('map-cache: a block that was claimed is found until eight others of its set were used after it', (t) => {
	const cache = new MapCache(8);
	for (let block = 0; block < 8; block++) cache.claim(block);
	t.true(cache.find(0) >= 0);
	cache.claim(8);
	t.true(cache.find(0) >= 0, 'it was used last');
	t.is(cache.find(1), -1, 'the one not used for longest went');
	t.is(cache.blockIndex(cache.find(8)), 8);
});

test('map-cache: a pinned block is never dropped, and with all pinned there is no room', (t) => {
	const cache = new MapCache(1);
	const slots: readonly number[] = Array.from({ length: 8 }, (_, block) => cache.claim(block));
	const third = slots[3] ?? -1;
	for (const slot of slots) cache.pin(slot);
	cache.pin(third);
	t.false(cache.hasRoom(100));
	t.is(cache.claim(100), -1);
	cache.unpin(third);
	t.is(cache.claim(100), -1, 'pinned twice, unpinned once');
	cache.unpin(third);
	t.is(cache.claim(100), third);
	t.is(cache.find(3), -1);
	for (const block of [0, 1, 2, 4, 5, 6, 7]) t.is(cache.find(block), slots[block] ?? -1);
});

test('map-cache: a vacant place is taken before any block is dropped, pins and zeroing change the version', (t) => {
	const cache = new MapCache(8);
	for (let block = 0; block < 8; block++) cache.block(cache.claim(block)).fill(block + 1);
	cache.release(cache.find(5));
	cache.claim(9);
	for (const block of [0, 1, 2, 3, 4, 6, 7]) t.true(cache.find(block) >= 0);
	const { version } = cache;
	cache.zero(2, 4);
	t.not(cache.version, version);
	t.is(cache.block(cache.find(1)).readUInt8(0), 2);
	t.is(cache.block(cache.find(2)).readUInt8(0), 0);
	t.is(cache.block(cache.find(3)).readUInt8(4095), 0);
	t.is(cache.block(cache.find(4)).readUInt8(0), 5);
});

test('map-cache: blocks with numbers above 2^31 have places of their own', (t) => {
	const cache = new MapCache(64);
	const blocks = [0, 2 ** 24, 2 ** 24 + 1, 17043521];
	for (const block of blocks) cache.claim(block);
	for (const block of blocks) t.is(cache.blockIndex(cache.find(block)), block);
});

test('map-digest: the order of changes does not matter, a change back leaves nothing, absent counts nothing', (t) => {
	const entry = fc.tuple(fc.integer({ min: 0, max: 2 ** 34 - 1 }), fc.integer({ min: 0, max: 0xffffffff }));
	fc.assert(
		fc.property(fc.array(entry, { maxLength: 20 }), (list) => {
			const forward = new RunningDigest({ low: 5, high: 6 });
			const backward = new RunningDigest({ low: 5, high: 6 });
			for (const [page, value] of list) forward.toggle(page, value);
			for (const [page, value] of list.toReversed()) backward.toggle(page, value);
			if (JSON.stringify(forward.value) !== JSON.stringify(backward.value)) return false;
			for (const [page, value] of list) forward.toggle(page, value);
			return forward.value?.low === 5 && forward.value.high === 6;
		}),
	);
	const digest = new RunningDigest({ low: 1, high: 2 });
	digest.toggle(77, 0);
	t.deepEqual(digest.value, { low: 1, high: 2 });
});

test('map-digest: neighbouring pages, neighbouring entries and exchanged entries differ; unknown stays unknown', (t) => {
	const seen = new Set<string>();
	const add = (...entries: [number, number][]): void => {
		const digest = new RunningDigest({ low: 0, high: 0 });
		for (const [page, entry] of entries) digest.toggle(page, entry);
		seen.add(`${digest.value?.low}:${digest.value?.high}`);
	};
	for (let page = 0; page < 100; page++) for (let entry = 1; entry < 100; entry++) add([page, entry]);
	for (let page = 0; page < 100; page++) add([2 ** 32 + page, 1], [page, 2]);
	add([1, 500], [2, 600]);
	add([1, 600], [2, 500]);
	t.is(seen.size, 99 * 100 + 100 + 2);
	const unknown = new RunningDigest(undefined);
	unknown.toggle(1, 5);
	t.is(unknown.value, undefined);
});

test('page-map-block: entries do not overlap each other or a sector header', (t) => {
	const offsets = Array.from({ length: entriesPerBlock }, (_, page) => entryOffset(page));
	t.is(new Set(offsets).size, 8 * 126);
	for (const offset of offsets) t.true(offset % 4 === 0 && offset % sectorBytes >= 8 && offset % sectorBytes <= sectorBytes - 4);
	t.is(entryOffset(entriesPerBlock + 5), entryOffset(5));
});

test('page-map-block: a sealed block is sound, each flipped bit damages its own sector and no other', (t) => {
	const block = Buffer.alloc(blockBytes);
	for (let page = 0; page < entriesPerBlock; page += 2) block.writeUInt32LE(page + 3, entryOffset(page));
	sealSectors(block, 3, 9, 0xff);
	t.is(damagedSectors(block, 3, 9), 0);
	for (let at = 0; at < blockBytes; at += 3) {
		const spoilt = Buffer.from(block);
		spoilt[at] = spoilt.readUInt8(at) ^ (1 << (at % 8));
		t.is(damagedSectors(spoilt, 3, 9), 1 << Math.floor(at / sectorBytes), `byte ${at}`);
	}
	t.is(damagedSectors(block, 4, 9), 0xff);
	t.is(damagedSectors(block, 3, 10), 0xff);
});

test('page-map-block: a sector whose last entry goes is all zeros, like a hole, and only the sectors named are sealed', (t) => {
	const block = Buffer.alloc(blockBytes);
	t.is(damagedSectors(block, 1, 0), 0);
	block.writeUInt32LE(77, entryOffset(entriesPerSector));
	sealSectors(block, 1, 0, 0b01);
	t.is(damagedSectors(block, 1, 0), 0b10, 'changed and not sealed');
	sealSectors(block, 1, 0, 0b10);
	t.is(damagedSectors(block, 1, 0), 0);
	block.writeUInt32LE(0, entryOffset(entriesPerSector));
	sealSectors(block, 1, 0, 0b10);
	t.true(block.equals(Buffer.alloc(blockBytes)));
});

test('page-map-block: markLost takes every entry of its sectors and leaves the others', (t) => {
	const block = Buffer.alloc(blockBytes);
	block.writeUInt32LE(5, entryOffset(0));
	markLost(block, 0b10);
	t.is(block.readUInt32LE(entryOffset(0)), 5);
	for (let page = entriesPerSector; page < 2 * entriesPerSector; page++) t.is(block.readUInt32LE(entryOffset(page)), entryLost);
	t.is(block.readUInt32LE(entryOffset(2 * entriesPerSector)), 0);
});
