import test from 'ava';
import { checkVolume } from '../../src/blockvol/check.ts';
import { remoteName } from '../../src/blockvol/remote-file.ts';
import { archived, chunkBytes, filled, serveLazily, stored } from './memory-pages.ts';
import { kib, mib, page, read, write, zero } from './volume-fixture.ts';

test('a lazily restored volume reads as the archived snapshot from the first moment; one fetch a chunk, none of a chunk of zeros', async (t) => {
	const content = archived(mib, [3, 7]);
	const { volume, pages } = await serveLazily(t, content);
	t.true((await read(volume, 0, page)).equals(content.subarray(0, page)));
	t.deepEqual(pages.asked, [0]);
	t.true((await read(volume, 0, mib)).equals(content));
	t.deepEqual(
		pages.asked.toSorted((a, b) => a - b),
		[0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15],
	);
	t.true((await read(volume, 0, mib)).equals(content));
	t.is(pages.asked.length, 14, 'everything is here now');
	await volume.close();
});

test('what was fetched is here after a restart, killed or not, and the check finds nothing', async (t) => {
	const content = archived(mib, [3]);
	const served = await serveLazily(t, content);
	await read(served.volume, 5 * chunkBytes, 2 * chunkBytes);
	await stored(served.volume, 2);
	await served.reopen('killed');
	t.true((await read(served.volume, 5 * chunkBytes, 2 * chunkBytes)).equals(content.subarray(5 * chunkBytes, 7 * chunkBytes)));
	await served.reopen('closed');
	t.true((await read(served.volume, 5 * chunkBytes, 2 * chunkBytes)).equals(content.subarray(5 * chunkBytes, 7 * chunkBytes)));
	t.deepEqual(served.pages.asked, [5, 6]);
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory, [served.directory]), []);
});

test('the filler brings everything, and then the volume is one like any other: no file, no flag, no fetch', async (t) => {
	const content = archived(mib + 3 * page, [3]);
	const served = await serveLazily(t, content, { remoteFillersMax: 2 });
	await filled(served.volume);
	t.false((await served.disk.list(served.directory)).includes(remoteName));
	t.is(served.pages.closed, 1);
	const fetches = served.pages.asked.length;
	await served.reopen('closed', {}, false);
	t.true((await read(served.volume, 0, content.length)).equals(content));
	t.is(served.pages.asked.length, fetches);
	t.is(fetches, 16);
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory, [served.directory]), []);
});

test('writes and zeros go over what is missing without a fetch; a write of a part of a page fetches the rest of it', async (t) => {
	const content = archived(mib);
	const served = await serveLazily(t, content);
	t.is(await write(served.volume, 0, Buffer.alloc(2 * page, 1)), 'good');
	t.is(await zero(served.volume, 4 * chunkBytes, 2 * chunkBytes), 'good');
	t.is(await zero(served.volume, 8 * chunkBytes + 5 * page, page), 'good');
	await served.volume.flushToLayers();
	t.deepEqual(served.pages.asked, []);
	t.is(await write(served.volume, 2 * chunkBytes + 512, Buffer.alloc(kib, 2)), 'good');
	t.deepEqual(served.pages.asked, [2]);
	const expected = Buffer.from(content);
	expected.fill(1, 0, 2 * page);
	expected.fill(0, 4 * chunkBytes, 6 * chunkBytes);
	expected.fill(0, 8 * chunkBytes + 5 * page, 8 * chunkBytes + 6 * page);
	expected.fill(2, 2 * chunkBytes + 512, 2 * chunkBytes + 512 + kib);
	t.true((await read(served.volume, 0, mib)).equals(expected));
	t.false(served.pages.asked.includes(4), 'nothing of it is shown');
	await served.reopen('killed', { remoteFillersMax: 2 });
	t.true((await read(served.volume, 0, mib)).equals(expected));
	await filled(served.volume);
	await served.reopen('closed');
	t.true((await read(served.volume, 0, mib)).equals(expected));
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
});
