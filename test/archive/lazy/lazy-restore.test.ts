import test from 'ava';
import { archiveSnapshot } from '../../../src/archive/archive-snapshot.ts';
import { listManifests, openManifest } from '../../../src/archive/catalogue.ts';
import { ArchivePages, type UseRepository } from '../../../src/archive/lazy/archive-pages.ts';
import { createLazyRestore } from '../../../src/archive/lazy/lazy-restore.ts';
import { createRepository, openRepository, type Repository } from '../../../src/archive/repository.ts';
import { ArchiveError } from '../../../src/archive/repository-types.ts';
import { StoreError } from '../../../src/archive/store/object-store.ts';
import type { Outcome } from '../../../src/blockvol/block-device.ts';
import { checkVolume } from '../../../src/blockvol/check.ts';
import type { Tuning } from '../../../src/blockvol/limits.ts';
import { Volume } from '../../../src/blockvol/volume.ts';
import { silent } from '../../../src/os/logger.ts';
import { SimulatedDisk } from '../../simulation/simulated-disk.ts';
import { filled, lazy } from '../../blockvol/memory-pages.ts';
import { kib, mib, outcome, page, read, uuid, write } from '../../blockvol/volume-fixture.ts';
import { MemoryStore } from '../memory-store.ts';
import { FakeVolume, noise } from '../repository-fixture.ts';

const chunkBytes = 64 * kib;
const directory = '/data/volume';

interface Restored {
	readonly store: MemoryStore;
	readonly repository: Repository;
	readonly content: Buffer;
	readonly disk: SimulatedDisk;
	/** The store does not answer. */
	readonly state: { isGone: boolean };
	readonly open: (tuning?: Partial<Tuning>) => Promise<Volume>;
}

/** Two archived snapshots of a volume, the second one restored lazily. */
async function restored(options: { passphrase?: string } = {}): Promise<Restored> {
	const store = new MemoryStore();
	const encryption = options.passphrase === undefined ? {} : { passphrase: options.passphrase, scryptN: 16 };
	const repository = await createRepository(store, { chunkBytes, threads: 0, ...encryption });
	const source = new FakeVolume(mib + page);
	source.write(0, noise(5 * chunkBytes, 1));
	source.write(8 * chunkBytes, noise(4 * chunkBytes, 2));
	source.write(mib, noise(page, 3));
	await archiveSnapshot(repository, source.snapshot());
	source.write(9 * chunkBytes, noise(page, 4));
	const { manifest } = await archiveSnapshot(repository, source.snapshot());
	const disk = new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 });
	await disk.makeDirectory('/data');
	const geometry = { uuid, sizeBytes: source.bytes.length, blockSize: 512 as const, segmentBytes: mib };
	const whole = await openManifest(repository, manifest.id);
	await createLazyRestore(disk, directory, geometry, { repository, repositoryName: 'vault', manifest: whole });
	const state = { isGone: false };
	const use: UseRepository = async (work) => {
		const shared = new MemoryStore({ sharing: store });
		shared.before = () => {
			if (state.isGone) throw new StoreError('unreachable', 'the bucket does not answer');
		};
		const again = await openRepository(shared, {
			threads: 0,
			...(options.passphrase === undefined ? {} : { passphrase: options.passphrase }),
		});
		return work(again);
	};
	return {
		store,
		repository,
		content: Buffer.from(source.bytes),
		disk,
		state,
		open: (tuning = {}) =>
			Volume.open(disk, directory, {
				log: silent,
				tuning: { ...lazy, ...tuning },
				remote: ({ repository: name, manifest: id }) => (name === 'vault' ? new ArchivePages(use, id) : undefined),
			}),
	};
}

function flipped(bytes: Buffer, at: number): Buffer {
	bytes[at] = (bytes[at] as number) ^ 0x40;
	return bytes;
}

function readOutcome(volume: Volume, offsetBytes: number, lengthBytes: number): Promise<Outcome> {
	return outcome((completion) => volume.read(offsetBytes, Buffer.alloc(lengthBytes), completion));
}

for (const options of [{}, { passphrase: 'correct horse' }])
	test(`an archived snapshot${options.passphrase === undefined ? '' : ' of an encrypted repository'} is restored lazily: it reads bit for bit, is written meanwhile, and ends without its archive`, async (t) => {
		const { content, open, disk, store } = await restored(options);
		let volume = await open({ remoteWaitMs: 10_000, remoteAttemptMs: 5000 });
		t.is(volume.remote?.chunks, 10);
		t.true((await read(volume, 9 * chunkBytes, page)).equals(content.subarray(9 * chunkBytes, 9 * chunkBytes + page)));
		t.is(await write(volume, chunkBytes + 512, Buffer.alloc(512, 5)), 'good');
		const expected = Buffer.from(content);
		expected.fill(5, chunkBytes + 512, chunkBytes + 1024);
		t.true((await read(volume, 0, content.length)).equals(expected));
		await volume.close();
		volume = await open({ remoteFillersMax: 2 });
		await filled(volume);
		store.objects.clear();
		t.true((await read(volume, 0, content.length)).equals(expected));
		await volume.close();
		volume = await open();
		t.is(volume.remote, undefined);
		t.true((await read(volume, 0, content.length)).equals(expected));
		await volume.close();
		t.deepEqual(await checkVolume(disk, directory), []);
	});

test('a damaged chunk, and one that is not there, are medium errors of their pages, and never other bytes', async (t) => {
	const { content, open, store } = await restored();
	const volume = await open({ remoteWaitMs: 60_000 });
	const keys = [...store.objects.keys()].filter((key) => key.startsWith('chunks/')).toSorted();
	const whole = new Map(keys.map((key) => [key, Buffer.from(store.objects.get(key)!.bytes)]));
	t.true(keys.length >= 10);
	for (const [index, key] of keys.entries()) {
		if (index % 3 === 0) store.objects.delete(key);
		else store.damage(key, (bytes) => flipped(bytes, Math.floor((bytes.length * index) / keys.length)));
	}
	let failed = 0;
	for (let chunk = 0; chunk < 17; chunk++) {
		const target = Buffer.alloc(page);
		const result = await outcome((completion) => volume.read(chunk * chunkBytes, target, completion));
		if (result === 'mediumError') failed++;
		else t.true(target.equals(content.subarray(chunk * chunkBytes, chunk * chunkBytes + page)), `chunk ${chunk}`);
	}
	t.is(failed, 10);
	for (const [key, bytes] of whole) store.objects.set(key, { ...store.objects.get(key), bytes, modifiedMs: 0 });
	t.true((await read(volume, 0, content.length)).equals(content), 'mended, it recovers by itself');
	await volume.close();
});

test('the store does not answer: a medium error after the bound, tried again; its name stands in the progress', async (t) => {
	const { content, open, state } = await restored();
	const volume = await open({ remoteWaitMs: 1500 });
	state.isGone = true;
	t.is(await readOutcome(volume, 0, page), 'mediumError');
	t.is(volume.remote?.failure, 'the bucket does not answer');
	t.true((volume.remote?.failures ?? 0) >= 2);
	state.isGone = false;
	t.true((await read(volume, 0, page)).equals(content.subarray(0, page)));
	await volume.close();
});

test('a manifest whose list is damaged or gone is refused by name, and nothing is made', async (t) => {
	const { store, repository, disk } = await restored();
	const manifest = await openManifest(repository, (await listManifests(repository)).at(-1)!.id);
	const before = disk.paths();
	const make = (): Promise<void> =>
		createLazyRestore(
			disk,
			'/data/other',
			{ uuid, sizeBytes: mib + page, blockSize: 512 },
			{ repository, repositoryName: 'vault', manifest },
		);
	const lists = [...store.objects.keys()].filter((key) => key.startsWith('lists/'));
	t.true(lists.length > 0);
	for (const key of lists) store.damage(key, (bytes) => bytes.fill(0x11, bytes.length - 3));
	await t.throwsAsync(make, { instanceOf: ArchiveError, message: /lists\// });
	for (const key of lists) store.objects.delete(key);
	await t.throwsAsync(make, { instanceOf: ArchiveError, message: /is not there/ });
	t.deepEqual(disk.paths(), before);
});
