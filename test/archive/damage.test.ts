import test from 'ava';
import { archiveSnapshot } from '../../src/archive/archive-snapshot.ts';
import { listManifests, openManifest } from '../../src/archive/catalogue.ts';
import { readChunk } from '../../src/archive/chunk-reader.ts';
import { collect } from '../../src/archive/collector.ts';
import { repairChunks, readGoodPages } from '../../src/archive/repair.ts';
import { createRepository, openRepository, type Repository } from '../../src/archive/repository.ts';
import { ArchiveError, type Manifest } from '../../src/archive/repository-types.ts';
import { restoreManifest } from '../../src/archive/restore.ts';
import { seal, unseal } from '../../src/archive/sealed-object.ts';
import { verify } from '../../src/archive/verify.ts';
import { FakeSink, type FakeSnapshot, FakeVolume, noise } from './repository-fixture.ts';
import { MemoryStore } from './memory-store.ts';

const chunkBytes = 4096;

interface Scene {
	readonly store: MemoryStore;
	readonly repository: Repository;
	readonly options: { threads: number; passphrase?: string };
	readonly snapshots: readonly FakeSnapshot[];
	readonly manifests: readonly Manifest[];
}

async function scene(passphrase?: string): Promise<Scene> {
	const store = new MemoryStore();
	const options = { threads: 0, ...(passphrase === undefined ? {} : { passphrase }) };
	const repository = await createRepository(store, { chunkBytes, scryptN: 2, ...options });
	const volume = new FakeVolume(chunkBytes * 12);
	volume.write(0, noise(chunkBytes * 2, 1));
	volume.write(chunkBytes * 5, Buffer.alloc(chunkBytes, 'abc'));
	const snapshots = [volume.snapshot()];
	volume.write(chunkBytes, noise(chunkBytes, 4));
	snapshots.push(volume.snapshot());
	const manifests: Manifest[] = [];
	for (const snapshot of snapshots)
		manifests.push(await openManifest(repository, (await archiveSnapshot(repository, snapshot)).manifest.id));
	return { store, repository, options, snapshots, manifests };
}

async function codeOf(work: Promise<unknown>): Promise<ArchiveError | undefined> {
	try {
		await work;
	} catch (error) {
		if (error instanceof ArchiveError) return error;
		throw error;
	}
	return undefined;
}

for (const passphrase of [undefined, 'secret']) {
	test(`a byte of any object flipped (${passphrase === undefined ? 'plain' : 'encrypted'}): verify names the object, a restore that needs it is refused, no read gives wrong data`, async (t) => {
		const { store, repository, options, snapshots, manifests } = await scene(passphrase);
		let flips = 0;
		for (const [key, { bytes }] of store.objects) {
			// Every byte of header and trailer, and a sample of what is between.
			const places = Array.from({ length: bytes.length }, (_, at) => at).filter(
				(at) => at < 34 || at >= bytes.length - 21 || at % 797 === 0,
			);
			for (const at of places) {
				flips++;
				const wrong = 1 << (flips % 8);
				store.damage(key, (damaged) => {
					damaged[at] = (damaged[at] ?? 0) ^ wrong;
					return damaged;
				});
				const where = `${key} byte ${at}`;
				const { findings } = await verify(repository, { mode: 'full' });
				t.true(findings.length > 0 && findings.every(({ object, fault }) => object === key && fault === 'corrupt'), where);
				if (key === 'repository') {
					const error = await codeOf(openRepository(new MemoryStore({ sharing: store }), options));
					t.is(error?.object, key, where);
				}
				for (const [index, manifest] of manifests.entries()) {
					const needs = findings.some((finding) => finding.manifest === manifest.id);
					if (key.startsWith('manifests/')) {
						if (needs) t.is((await codeOf(openManifest(repository, manifest.id)))?.object, key, where);
						continue;
					}
					const sink = new FakeSink(chunkBytes * 12);
					const error = await codeOf(restoreManifest(repository, manifest, sink));
					if (needs) t.deepEqual([error?.code, error?.object], ['corrupt', key], where);
					else t.true(error === undefined && sink.bytes.equals(snapshots[index]?.bytes ?? Buffer.alloc(0)), where);
					if (key.startsWith('lists/') && needs) t.is(sink.writes, 0, 'a damaged list is refused before the first write');
					const fresh: Manifest = { ...manifest };
					for (const chunk of new Set([0, 5, ...findings.map(({ range }) => range.offsetBytes / chunkBytes)])) {
						let plain: Buffer | undefined;
						const error = await codeOf(
							readChunk(repository, fresh, chunk).then((read) => {
								plain = read;
							}),
						);
						if (error === undefined)
							t.true(
								plain?.equals(snapshots[index]?.bytes.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes) ?? Buffer.alloc(0)),
								where,
							);
						else t.is(error.object, key, where);
					}
				}
				store.damage(key, () => bytes);
			}
		}
		t.true(flips > 350, `${flips} flips`);
		t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
	});

	test(`an object that was cut off or stands in another's place is refused by name (${passphrase === undefined ? 'plain' : 'encrypted'})`, async (t) => {
		const { store, repository } = await scene(passphrase);
		const keys = [...store.objects.keys()];
		for (const key of keys) {
			const bytes = store.objects.get(key)?.bytes ?? Buffer.alloc(0);
			const others = keys.filter((other) => other !== key).map((other) => store.objects.get(other)?.bytes ?? Buffer.alloc(0));
			for (const wrong of [
				Buffer.alloc(0),
				bytes.subarray(0, 20),
				bytes.subarray(0, -1),
				Buffer.concat([bytes, Buffer.alloc(1)]),
				...others,
			]) {
				store.damage(key, () => wrong);
				const { findings } = await verify(repository, { mode: 'full' });
				t.true(findings.length > 0 && findings.every(({ object }) => object === key), key);
			}
			store.damage(key, () => bytes);
		}
	});
}

test('an object that is gone: verify names it with manifests and ranges, in quick mode too; a restore refuses', async (t) => {
	const { store, repository, manifests } = await scene();
	for (const key of [...store.objects.keys()].filter((key) => /^(?:chunks|lists)/.test(key))) {
		const entry = store.objects.get(key);
		store.objects.delete(key);
		for (const mode of ['quick', 'full'] as const) {
			const { findings } = await verify(repository, { mode });
			t.true(findings.length > 0 && findings.every(({ object, fault }) => object === key && fault === 'missing'), key);
			for (const { range } of findings) t.deepEqual(range.lengthBytes, key.startsWith('lists') ? chunkBytes * 12 : chunkBytes);
			for (const manifest of manifests) {
				const needs = findings.some((finding) => finding.manifest === manifest.id);
				const sink = new FakeSink(chunkBytes * 12);
				const refused = await codeOf(restoreManifest(repository, manifest, sink));
				t.is(refused?.code, needs ? 'missing' : undefined);
				t.is(refused?.object, needs ? key : undefined);
				const one = await verify(repository, { mode, manifest: manifest.id });
				t.is(one.findings.length, needs ? 1 : 0);
			}
		}
		if (entry !== undefined) store.objects.set(key, entry);
	}
});

test('a list that leads to other objects of the same chunks is not the list', async (t) => {
	const { store, repository, manifests } = await scene();
	const key = [...store.objects.keys()].find((key) => key.startsWith('lists/')) ?? '';
	const plain = unseal('list', store.objects.get(key)?.bytes ?? Buffer.alloc(0), undefined, key, 1 << 20);
	// The generation of the first chunk: the tree over the hashes does not see it.
	plain[39] = (plain[39] ?? 0) ^ 1;
	store.damage(key, () => seal('list', plain, undefined));
	const { findings } = await verify(repository, { mode: 'quick' });
	t.true(findings.length > 0 && findings.every(({ object, fault }) => object === key && fault === 'corrupt'));
	const errors = await Promise.all(
		manifests.map((manifest) => codeOf(restoreManifest(repository, manifest, new FakeSink(chunkBytes * 12)))),
	);
	t.true(errors.some((error) => error?.code === 'corrupt' && error.object === key));
});

test('nothing is collected while a manifest or list cannot be read', async (t) => {
	const { store, repository } = await scene();
	const unneeded = `chunks/00/${'0'.repeat(64)}-${'1'.repeat(16)}`;
	store.objects.set(unneeded, { bytes: Buffer.alloc(10), modifiedMs: 0 });
	for (const key of [...store.objects.keys()].filter((key) => /^(?:manifests|lists)/.test(key))) {
		const bytes = store.objects.get(key)?.bytes ?? Buffer.alloc(0);
		store.damage(key, () => bytes.subarray(1));
		const before = [...store.objects.keys()];
		t.like(await collect(repository, { graceMs: 0 }), { state: 'blocked', blockedBy: key, deletedObjects: 0 });
		t.deepEqual([...store.objects.keys()], before);
		store.damage(key, () => bytes);
	}
	t.like(await collect(repository, { graceMs: 0 }), { state: 'done', deletedObjects: 1 });
	t.false(store.objects.has(unneeded));
});

test('repair uploads what is missing or corrupt from a volume that still holds it, and nothing else', async (t) => {
	const { store, repository, snapshots, manifests } = await scene();
	const [first, second] = manifests as [Manifest, Manifest];
	const [before, after] = snapshots as [FakeSnapshot, FakeSnapshot];
	const chunks = [...store.objects.keys()].filter((key) => key.startsWith('chunks/'));
	t.is(chunks.length, 4);
	store.objects.delete(chunks[0] ?? '');
	store.damage(chunks[1] ?? '', (bytes) => bytes.subarray(2));
	store.damage(chunks[2] ?? '', (bytes) => bytes.fill(3, 40, 50));
	const lost = (await verify(repository, { mode: 'full' })).findingsTotal;
	t.true(lost >= 3);
	const { device } = after;
	const result = await repairChunks(repository, second, device);
	t.is(result.checkedChunks, 3);
	t.is(result.lostChunks, 0);
	t.deepEqual((await verify(repository, { mode: 'full', manifest: second.id })).findings, []);
	// What only the older snapshot has, the newer one cannot give.
	const left = await repairChunks(repository, first, device);
	t.is(left.repairedChunks, 0);
	t.is(left.lostChunks + result.repairedChunks, 3);
	const rest = await repairChunks(repository, first, before.device);
	t.is(rest.lostChunks, 0);
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
	t.is((await listManifests(repository)).length, 2);
});

test('good pages for a scrub come from any chunk, across their ends', async (t) => {
	const store = new MemoryStore();
	const repository = await createRepository(store, { chunkBytes: 16_384, threads: 0 });
	const volume = new FakeVolume(16_384 * 5 + 4096);
	volume.write(0, noise(volume.bytes.length, 1));
	const snapshot = volume.snapshot();
	const manifest = await openManifest(repository, (await archiveSnapshot(repository, snapshot)).manifest.id);
	for (const [firstPage, pages] of [
		[0, 1],
		[3, 2],
		[1, 20],
		[20, 1],
	] as const) {
		const bytes = await readGoodPages(repository, manifest, { firstPage, pages });
		t.true(bytes.equals(snapshot.bytes.subarray(firstPage * 4096, (firstPage + pages) * 4096)), `${firstPage}`);
	}
	await t.throwsAsync(readGoodPages(repository, manifest, { firstPage: 20, pages: 2 }), { instanceOf: RangeError });
});

test('another passphrase, none, or one too many: refused at once, by name', async (t) => {
	const { store } = await scene('secret');
	const open = (options: { passphrase?: string }): Promise<ArchiveError | undefined> =>
		codeOf(openRepository(new MemoryStore({ sharing: store }), { threads: 0, ...options }));
	t.is(await open({ passphrase: 'secret' }), undefined);
	t.is((await open({ passphrase: 'Secret' }))?.code, 'wrongKey');
	t.is((await open({}))?.code, 'wrongKey');
	const plain = await scene();
	t.is((await codeOf(openRepository(plain.store, { threads: 0, passphrase: 'secret' })))?.code, 'wrongKey');
	t.is((await codeOf(openRepository(new MemoryStore())))?.code, 'noRepository');
	t.is((await codeOf(createRepository(plain.store)))?.code, 'repositoryExists');
});

test('a sink of another geometry is refused before anything is fetched; one that refuses a write ends the restore', async (t) => {
	const { store, repository, manifests } = await scene();
	const manifest = manifests[0] as Manifest;
	const calls = store.calls.length;
	t.is((await codeOf(restoreManifest(repository, manifest, new FakeSink(chunkBytes * 13))))?.code, 'geometry');
	t.is((await codeOf(restoreManifest(repository, manifest, new FakeSink(chunkBytes * 12, 4096))))?.code, 'geometry');
	t.is(store.calls.length, calls);
	await restoreManifest(repository, manifest, new FakeSink(chunkBytes * 12, 4096), { anyBlockSize: true });
	const sink = new FakeSink(chunkBytes * 12);
	sink.refuseAt = 2;
	const error = await codeOf(restoreManifest(repository, manifest, sink, { parallel: 1 }));
	t.is(error?.code, 'sink');
	t.regex(error?.message ?? '', /noSpace/);
	t.is(sink.flushes, 0);
});

test('a restore that is aborted, or whose store fails, ends with that', async (t) => {
	const { store, repository, manifests } = await scene();
	const manifest = manifests[0] as Manifest;
	const controller = new AbortController();
	const reason = new Error('enough');
	await t.throwsAsync(
		restoreManifest(repository, manifest, new FakeSink(chunkBytes * 12), {
			signal: controller.signal,
			onProgress: () => controller.abort(reason),
			parallel: 1,
		}),
		{ is: reason },
	);
	store.failAt(3);
	await t.throwsAsync(restoreManifest(repository, manifest, new FakeSink(chunkBytes * 12)), { message: /memory does not answer/ });
});
