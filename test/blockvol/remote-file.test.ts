import test from 'ava';
import { createLazyVolume } from '../../src/blockvol/lazy-volume.ts';
import { decodeTree, encodeTree, LayerTree } from '../../src/blockvol/layer-tree.ts';
import { limits } from '../../src/blockvol/limits.ts';
import { entriesPerBlock } from '../../src/blockvol/page-map-block.ts';
import { decodeRemote, encodeRemote, RemoteChunks, remoteFault, remoteName } from '../../src/blockvol/remote-file.ts';
import { VolumeFault, VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { crc32c } from '../../src/wire/crc32c.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { archived, chunkBytes, identity, lazy, MemoryPages, serveLazily } from './memory-pages.ts';
import { mib, page, uuid } from './volume-fixture.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { silent } from '../../src/os/logger.ts';

const sizeBytes = 20 * chunkBytes + page;
const source = { identity, sizeBytes, chunkBytes, chunkIsZero: (chunk: number) => chunk % 3 === 0 };

test('the file reads back as it was written, at its limits too', (t) => {
	const names = { repository: 'ü'.repeat(127) + 'x', manifest: 'm' };
	for (const given of [source, { ...source, identity: names }]) {
		const chunks = RemoteChunks.of(given, 7);
		const read = decodeRemote(encodeRemote(chunks, uuid), uuid, 7);
		if (typeof read === 'string') throw new Error(read);
		t.deepEqual(read.identity, given.identity);
		t.deepEqual([read.sizeBytes, read.chunkBytes, read.count, read.heldCount], [sizeBytes, chunkBytes, 21, 14]);
		for (let chunk = 0; chunk < 30; chunk++) t.is(read.holds(chunk), chunk < 21 && chunk % 3 !== 0);
		t.is(read.bytesOf(20), page);
		t.true(read.holdsPage(20 * 16));
		t.false(read.holdsPage(20 * 16 + 1), 'behind the end of the archived snapshot');
	}
});

test('the next block of a page map for which the archive has something', (t) => {
	const chunks = new RemoteChunks(identity, 1, 2 ** 40, chunkBytes, new Uint8Array(2 ** 21));
	t.is(chunks.nextBlock(0), Infinity);
	const chunk = 70_001;
	chunks.held[chunk >>> 3] = 1 << (chunk & 7);
	const block = Math.floor((chunk * 16) / entriesPerBlock);
	t.is(chunks.nextBlock(0), block);
	t.is(chunks.nextBlock(block), block);
	t.is(chunks.nextBlock(block + 1), Infinity);
});

test('every damaged byte, another volume, another layer and a newer version are refused', (t) => {
	const bytes = encodeRemote(RemoteChunks.of(source, 7), uuid);
	for (let at = 0; at < bytes.length; at++) {
		const damaged = Buffer.from(bytes);
		damaged[at] = (damaged[at] as number) ^ 0x10;
		t.is(typeof decodeRemote(damaged, uuid, 7), 'string', `byte ${at}`);
	}
	t.is(decodeRemote(bytes, uuid.replace('2', '3'), 7), 'it belongs to another volume');
	t.is(decodeRemote(bytes, uuid, 8), 'it belongs to layer 7');
	bytes.writeUInt32LE(2, 8);
	bytes.writeUInt32LE(crc32c(bytes.subarray(4)), 0);
	t.is(decodeRemote(bytes, uuid, 7), 'version 2');
});

test('a source that cannot be is refused: chunks and names beyond their limits, too many chunks, a volume that is too small', async (t) => {
	t.is(remoteFault(source), undefined);
	for (const wrong of [page / 2, chunkBytes * 3, 2 * limits.remoteChunkBytesMax])
		t.regex(remoteFault({ ...source, chunkBytes: wrong }) ?? '', /not a power of two/);
	t.regex(remoteFault({ ...source, sizeBytes: (limits.remoteChunksMax + 1) * chunkBytes }) ?? '', /larger ones are needed/);
	for (const repository of ['', 'x'.repeat(256), '\ud800'])
		t.regex(remoteFault({ ...source, identity: { repository, manifest: 'm' } }) ?? '', /name of a repository/);
	t.regex(remoteFault({ ...source, sizeBytes: page / 2 }) ?? '', /archived snapshot of 2048 bytes/);
	const disk = new SimulatedDisk({ seed: 1 });
	await disk.makeDirectory('/data');
	const geometry = { uuid, sizeBytes: sizeBytes - page, blockSize: 512 as const };
	await t.throwsAsync(createLazyVolume(disk, '/data/volume', geometry, source), { instanceOf: VolumeUsageError, message: /cannot hold/ });
	t.deepEqual(disk.paths(), ['/data']);
});

test('a tree with a remote layer is of version 2, which builds before it refuse; one without is of version 1 again', (t) => {
	const layers = [
		{ id: 5, parent: 9, mapDigest: undefined },
		{ id: 9, parent: 0, mapDigest: undefined, isRemote: true },
	];
	const tree = new LayerTree(5, layers, [], 9);
	const bytes = encodeTree(tree, uuid, 3);
	t.is(bytes.readUInt32LE(8), 2);
	const read = decodeTree(bytes, uuid, 3);
	t.deepEqual(read, tree);
	t.is(encodeTree(tree.changed(9, { isRemote: false }), uuid, 3).readUInt32LE(8), 1);
	bytes.writeUInt32LE(1, 8);
	bytes.writeUInt32LE(crc32c(bytes.subarray(4)), 0);
	t.regex(decodeTree(bytes, uuid, 3) as string, /remote layer/);
	bytes.writeUInt32LE(3, 8);
	bytes.writeUInt32LE(crc32c(bytes.subarray(4)), 0);
	t.throws(() => decodeTree(bytes, uuid, 3), { instanceOf: VolumeFault, message: /reads up to version 2/ });
	t.throws(() => new LayerTree(9, [{ id: 9, parent: 0, mapDigest: undefined, isRemote: true }], [], 0), { message: /not the lowest/ });
	t.throws(() => new LayerTree(5, [layers[0]!, { ...layers[1]!, parent: 4 }, { id: 4, parent: 0, mapDigest: undefined }], [], 0), {
		message: /not the lowest/,
	});
});

test('a volume whose file is gone or damaged is not opened, and says what to do', async (t) => {
	const { disk, directory, volume } = await serveLazily(undefined, archived(mib));
	await volume.close();
	const path = `${directory}/${remoteName}`;
	const file = await disk.open(path, 'existing');
	await file.write(Buffer.from([1]), 70);
	await file.close();
	const pages = new MemoryPages(archived(mib));
	const open = (): Promise<Volume> => Volume.open(disk, directory, { log: silent, tuning: lazy, remote: () => pages });
	await t.throwsAsync(open, { instanceOf: VolumeFault, message: /is corrupt .*restore it from its archive again/ });
	await disk.remove(path);
	await t.throwsAsync(open, { instanceOf: VolumeFault, message: /is gone .*restore it from its archive again/ });
});
