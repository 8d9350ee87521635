import test from 'ava';
import { archiveSnapshot } from '../../src/archive/archive-snapshot.ts';
import { applyRetention, deleteManifest, listManifests, openManifest } from '../../src/archive/catalogue.ts';
import { ChunkReader, readChunk } from '../../src/archive/chunk-reader.ts';
import { type CreateOptions, createRepository, openRepository, type RepositoryOptions } from '../../src/archive/repository.ts';
import { ArchiveError } from '../../src/archive/repository-types.ts';
import { restoreManifest } from '../../src/archive/restore.ts';
import { verify } from '../../src/archive/verify.ts';
import { FakeSink, FakeVolume, noise } from './repository-fixture.ts';
import { MemoryStore } from './memory-store.ts';

const chunkBytes = 4096 * 4;
const optionsOf = (options: CreateOptions): RepositoryOptions => options;
const inline: RepositoryOptions = { threads: 0 };

async function archiveError(
	t: { is(a: unknown, b: unknown, message?: string): void; fail(message: string): void },
	work: Promise<unknown>,
	code: string,
): Promise<ArchiveError> {
	try {
		await work;
	} catch (error) {
		if (!(error instanceof ArchiveError)) throw error;
		t.is(error.code, code, error.message);
		return error;
	}
	throw new Error(`expected an ArchiveError ${code}`);
}

for (const [name, options] of [
	['plain, on this thread', { threads: 0 }],
	['encrypted, on this thread', { threads: 0, passphrase: 'correct horse', scryptN: 16 }],
	['plain, in threads', { threads: 2 }],
	['encrypted, in threads', { threads: 2, passphrase: 'correct horse', scryptN: 16 }],
] as const) {
	test(`a full archive and increments come back byte for byte: ${name}`, async (t) => {
		const store = new MemoryStore();
		const repository = await createRepository(store, { chunkBytes, ...options });
		const volume = new FakeVolume(chunkBytes * 20 + 4096);
		volume.write(0, noise(chunkBytes * 3, 1));
		volume.write(chunkBytes * 10, Buffer.alloc(5000, 7));
		volume.write(volume.bytes.length - 4096, noise(4096, 2));
		const snapshots = [volume.snapshot()];
		for (let step = 1; step <= 5; step++) {
			volume.write(chunkBytes * (step + 5), noise(4096, 100 + step));
			if (step === 3) volume.write(0, Buffer.alloc(chunkBytes));
			snapshots.push(volume.snapshot());
		}
		for (const [index, snapshot] of snapshots.entries()) {
			const { manifest } = await archiveSnapshot(repository, snapshot);
			t.is(manifest.parent === '', index === 0);
		}
		await repository.close();

		const again = await openRepository(new MemoryStore({ sharing: store }), optionsOf(options));
		const manifests = await listManifests(again);
		t.is(manifests.length, 6);
		for (const [index, { id }] of manifests.entries()) {
			const manifest = await openManifest(again, id);
			const sink = new FakeSink(volume.bytes.length);
			const result = await restoreManifest(again, manifest, sink);
			t.true(sink.bytes.equals(snapshots[index]?.bytes ?? Buffer.alloc(0)), `snapshot ${index}`);
			t.is(result.merkleRoot, manifest.merkleRoot);
			t.is(sink.flushes, 1);
			const chunks = await Promise.all(Array.from({ length: manifest.chunks }, (_, chunk) => readChunk(again, manifest, chunk)));
			t.true(Buffer.concat(chunks).equals(sink.bytes));
		}
		t.deepEqual((await verify(again, { mode: 'full' })).findings, []);
		t.deepEqual((await verify(again, { mode: 'quick' })).findings, []);
		await again.close();
	});
}

test('an increment reads the changed chunks and uploads only those that are new', async (t) => {
	const store = new MemoryStore();
	const repository = await createRepository(store, { chunkBytes, ...inline });
	const volume = new FakeVolume(chunkBytes * 64);
	volume.write(0, noise(chunkBytes * 64, 1));
	const full = await archiveSnapshot(repository, volume.snapshot());
	t.is(full.uploadedChunks, 64);
	t.is(full.readBytes, chunkBytes * 64);
	volume.write(chunkBytes * 5 + 100, Buffer.from('changed'));
	volume.write(chunkBytes * 40, volume.bytes.subarray(chunkBytes * 41, chunkBytes * 42));
	const second = volume.snapshot();
	const increment = await archiveSnapshot(repository, second);
	t.deepEqual(
		second.reads.map(({ offsetBytes }) => offsetBytes / chunkBytes).sort((a, b) => a - b),
		[5, 40],
	);
	t.is(increment.uploadedChunks, 1);
	t.is(increment.knownChunks, 1);
	t.is(increment.manifest.parent, full.manifest.id);
	// An unchanged snapshot adds a manifest, and nothing else.
	const before = [...store.objects.keys()];
	const same = await archiveSnapshot(repository, volume.snapshot());
	t.is(same.uploadedBytes, 0);
	t.is(same.manifest.merkleRoot, increment.manifest.merkleRoot);
	t.deepEqual(
		[...store.objects.keys()].filter((key) => !before.includes(key)),
		[`manifests/${same.manifest.id}`],
	);
});

test('the same chunks of another volume are not uploaded again, and equal bytes have equal roots', async (t) => {
	const store = new MemoryStore();
	const repository = await createRepository(store, { chunkBytes, ...inline });
	const [one, other] = [new FakeVolume(chunkBytes * 8), new FakeVolume(chunkBytes * 8, { uuid: '00000000-0000-4000-8000-000000000002' })];
	for (const volume of [one, other]) volume.write(chunkBytes, noise(chunkBytes * 6, 3));
	const first = await archiveSnapshot(repository, one.snapshot());
	const second = await archiveSnapshot(repository, other.snapshot());
	t.is(second.uploadedChunks, 0);
	t.is(second.knownChunks, 6);
	t.is(second.manifest.merkleRoot, first.manifest.merkleRoot);
	t.is((await listManifests(repository, { volumeUuid: other.uuid })).length, 1);
});

test('in a repository of many objects the names are listed once and not asked for one by one', async (t) => {
	const store = new MemoryStore();
	const repository = await createRepository(store, { chunkBytes: 4096, ...inline });
	const [one, other] = [new FakeVolume(4096 * 300), new FakeVolume(4096 * 300, { uuid: '00000000-0000-4000-8000-000000000002' })];
	one.write(0, noise(4096 * 300, 3));
	other.write(0, noise(4096 * 300, 3));
	other.write(0, noise(4096, 9));
	await archiveSnapshot(repository, one.snapshot());
	const from = store.calls.length;
	const second = await archiveSnapshot(repository, other.snapshot());
	t.is(second.knownChunks, 299);
	t.is(second.uploadedChunks, 1);
	const asked = store.calls.slice(from).filter(({ kind, key }) => kind === 'list' && key.endsWith('-'));
	t.true(asked.length <= 70, `${asked.length} names asked for`);
});

test('a volume that has grown or shrunk: its last chunk is another one', async (t) => {
	const store = new MemoryStore();
	const repository = await createRepository(store, { chunkBytes, ...inline });
	const volume = new FakeVolume(chunkBytes * 3 + 4096);
	volume.write(0, noise(chunkBytes * 3 + 4096, 5));
	await archiveSnapshot(repository, volume.snapshot());
	const sizes = [chunkBytes * 6 + 8192, chunkBytes * 6, chunkBytes * 2 + 4096];
	for (const sizeBytes of sizes) {
		volume.resize(sizeBytes);
		const snapshot = volume.snapshot();
		const { manifest } = await archiveSnapshot(repository, snapshot);
		t.not(manifest.parent, '');
		const sink = new FakeSink(sizeBytes);
		await restoreManifest(repository, await openManifest(repository, manifest.id), sink);
		t.true(sink.bytes.equals(snapshot.bytes), `${sizeBytes}`);
	}
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
});

test('a snapshot that is archived already is not archived again', async (t) => {
	const repository = await createRepository(new MemoryStore(), { chunkBytes, ...inline });
	const volume = new FakeVolume(chunkBytes * 2);
	volume.write(0, noise(100, 1));
	const snapshot = volume.snapshot();
	const first = await archiveSnapshot(repository, snapshot);
	const second = await archiveSnapshot(repository, snapshot);
	t.is(second.manifest.id, first.manifest.id);
	t.is((await listManifests(repository)).length, 1);
});

test('without what changed since, what is allocated is read; an empty volume has no objects but its manifest', async (t) => {
	const store = new MemoryStore();
	const repository = await createRepository(store, { chunkBytes, ...inline });
	const volume = new FakeVolume(chunkBytes * 5000);
	const { manifest } = await archiveSnapshot(repository, volume.snapshot());
	t.deepEqual([...store.objects.keys()].sort(), [`manifests/${manifest.id}`, 'repository']);
	t.is(manifest.dataBytes, 0);
	t.true((await readChunk(repository, await openManifest(repository, manifest.id), 4999)).equals(Buffer.alloc(chunkBytes)));
	// Chunks in the first and second list.
	volume.write(chunkBytes * 7, noise(10, 1));
	volume.write(chunkBytes * 4500, noise(10, 2));
	const second = volume.snapshot();
	second.forgotten.add(1);
	const result = await archiveSnapshot(repository, second);
	t.is(result.manifest.parent, '');
	t.is(result.readBytes, chunkBytes * 2);
	t.is(result.manifest.dataBytes, chunkBytes * 2);
	const reader = new ChunkReader(repository, await openManifest(repository, result.manifest.id));
	t.true((await reader.read(4500)).equals(second.bytes.subarray(chunkBytes * 4500, chunkBytes * 4501)));
	t.true((await reader.read(7)).equals(second.bytes.subarray(chunkBytes * 7, chunkBytes * 8)));
	await t.throwsAsync(reader.read(5000), { instanceOf: RangeError });
});

test('a parent that is named but not there, or of which nothing is known, is refused', async (t) => {
	const repository = await createRepository(new MemoryStore(), { chunkBytes, ...inline });
	const volume = new FakeVolume(chunkBytes);
	volume.write(0, noise(10, 1));
	await archiveError(t, archiveSnapshot(repository, volume.snapshot(), { parent: '0'.repeat(32) }), 'noManifest');
	const first = await archiveSnapshot(repository, volume.snapshot());
	const next = volume.snapshot();
	next.forgotten.add(2);
	await archiveError(t, archiveSnapshot(repository, next, { parent: first.manifest.id }), 'source');
	t.is((await archiveSnapshot(repository, next, { parent: 'none' })).manifest.parent, '');
});

test('a page of the snapshot that cannot be read ends the export, and nothing is visible', async (t) => {
	const store = new MemoryStore();
	const repository = await createRepository(store, { chunkBytes, ...inline });
	const volume = new FakeVolume(chunkBytes * 8);
	volume.write(0, noise(chunkBytes * 8, 1));
	const snapshot = volume.snapshot();
	snapshot.badByte = chunkBytes * 5;
	const error = await archiveError(t, archiveSnapshot(repository, snapshot), 'source');
	t.regex(error.message, /mediumError/);
	t.deepEqual(await listManifests(repository), []);
	t.false(
		[...store.objects.keys()].some((key) => key.startsWith('exports/')),
		'the lease is gone',
	);
});

test('whichever store call fails, the error is the store’s, nothing is visible, and the next attempt succeeds', async (t) => {
	const volume = new FakeVolume(chunkBytes * 4);
	volume.write(0, noise(chunkBytes * 3, 1));
	const snapshot = volume.snapshot();
	let failures = 0;
	for (let call = 1; ; call++) {
		const store = new MemoryStore();
		const repository = await createRepository(store, { chunkBytes, ...inline });
		const before = store.calls.length;
		store.failAt(call);
		try {
			await archiveSnapshot(repository, snapshot, { parallel: 1 });
		} catch (error) {
			failures++;
			t.regex(String(error), /memory does not answer/);
			t.deepEqual(await listManifests(repository), []);
			await archiveSnapshot(repository, snapshot);
		}
		// The fault lay behind the last call.
		if (store.calls.length - before < call) break;
		t.is((await listManifests(repository)).length, 1);
		t.true(call < 200);
	}
	t.true(failures > 10, `${failures} calls failed`);
});

test('an export that is aborted ends with the signal’s reason and leaves no lease', async (t) => {
	const store = new MemoryStore();
	const repository = await createRepository(store, { chunkBytes, ...inline });
	const volume = new FakeVolume(chunkBytes * 30);
	volume.write(0, noise(chunkBytes * 30, 1));
	const controller = new AbortController();
	const reason = new Error('enough');
	const progress: number[] = [];
	await t.throwsAsync(
		archiveSnapshot(repository, volume.snapshot(), {
			signal: controller.signal,
			onProgress: ({ doneBytes }) => {
				progress.push(doneBytes);
				if (progress.length === 5) controller.abort(reason);
			},
		}),
		{ is: reason },
	);
	t.deepEqual(
		progress,
		progress.toSorted((a, b) => a - b),
		'progress never goes back',
	);
	t.false([...store.objects.keys()].some((key) => key.startsWith('exports/') || key.startsWith('manifests/')));
});

test('uploads keep to the bandwidth', async (t) => {
	let nowMs = 0;
	let sleptMs = 0;
	const runtime = {
		nowMs: () => nowMs,
		random: (bytes: number) => Buffer.from(noise(bytes, ++sleptMs + nowMs + 1)),
		sleep: (ms: number) => {
			nowMs += ms;
			return Promise.resolve();
		},
	};
	const repository = await createRepository(new MemoryStore(), { chunkBytes, ...inline, runtime });
	const volume = new FakeVolume(chunkBytes * 100);
	volume.write(0, noise(chunkBytes * 100, 1));
	const { uploadedBytes } = await archiveSnapshot(repository, volume.snapshot(), { bytesPerSecond: chunkBytes * 10, parallel: 1 });
	t.true(uploadedBytes > chunkBytes * 100);
	// A second's worth is free, and what is over is paid for by the next one.
	t.true(nowMs > 8500 && nowMs < 10_000, `${nowMs} ms`);
});

test('limits: parallel, names, chunks', async (t) => {
	const repository = await createRepository(new MemoryStore(), { chunkBytes, ...inline });
	const snapshot = new FakeVolume(chunkBytes).snapshot();
	await archiveError(t, archiveSnapshot(repository, snapshot, { parallel: 65 }), 'tooLarge');
	await archiveError(t, archiveSnapshot(repository, snapshot, { parallel: 0 }), 'tooLarge');
	await archiveError(t, archiveSnapshot(repository, snapshot, { tool: 'x'.repeat(257) }), 'tooLarge');
	const huge = {
		snapshot: snapshot.snapshot,
		device: snapshot.device,
		volume: { ...snapshot.volume, sizeBytes: chunkBytes * 4096 * 65_536 + 4096 },
		changedSince: () => undefined,
	};
	await archiveError(t, archiveSnapshot(repository, huge), 'tooLarge');
	await t.throwsAsync(createRepository(new MemoryStore(), { chunkBytes: 5000 }), { instanceOf: ArchiveError });
	await t.throwsAsync(createRepository(new MemoryStore(), { chunkBytes: 32 * 1024 * 1024 }), { instanceOf: ArchiveError });
});

test('retention keeps what the rule says and the newest; a manifest that is gone is deleted once more', async (t) => {
	const repository = await createRepository(new MemoryStore(), { chunkBytes, ...inline });
	const volume = new FakeVolume(chunkBytes * 2);
	const ids: string[] = [];
	for (let step = 0; step < 6; step++) {
		volume.write(0, noise(4096, step));
		ids.push((await archiveSnapshot(repository, volume.snapshot())).manifest.id);
	}
	const deleted = await applyRetention(
		repository,
		volume.uuid,
		(manifests) => new Set(manifests.filter(({ snapshot }) => snapshot.id % 2 === 1).map(({ id }) => id)),
	);
	t.deepEqual(
		deleted.map(({ snapshot }) => snapshot.id),
		[2, 4],
	);
	t.deepEqual(
		(await listManifests(repository)).map(({ snapshot }) => snapshot.id),
		[1, 3, 5, 6],
	);
	await deleteManifest(repository, ids[1] ?? '');
	await archiveError(t, openManifest(repository, ids[1] ?? ''), 'noManifest');
	await archiveError(t, deleteManifest(repository, '../repository'), 'noManifest');
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
});

test('the catalogue reads each manifest once, sees what another appliance adds and takes away', async (t) => {
	const store = new MemoryStore();
	const mine = await createRepository(store, { chunkBytes, ...inline });
	const theirStore = new MemoryStore({ sharing: store });
	const theirs = await openRepository(theirStore, inline);
	const volume = new FakeVolume(chunkBytes * 2);
	const first = await archiveSnapshot(mine, volume.snapshot());
	t.is((await listManifests(theirs)).length, 1);
	volume.write(0, noise(10, 1));
	await archiveSnapshot(mine, volume.snapshot());
	const from = theirStore.calls.length;
	t.is((await listManifests(theirs)).length, 2);
	t.deepEqual(
		theirStore.calls.slice(from).map(({ kind }) => kind),
		['list', 'get'],
	);
	await deleteManifest(mine, first.manifest.id);
	t.is((await listManifests(theirs)).length, 1);
	// Opened anew with what it knew before, it reads none of them.
	const reopened = new MemoryStore({ sharing: store });
	t.is((await listManifests(await openRepository(reopened, { ...inline, manifests: theirs.manifests }))).length, 1);
	t.deepEqual(
		reopened.calls.map(({ kind }) => kind),
		['get', 'list'],
	);
});
