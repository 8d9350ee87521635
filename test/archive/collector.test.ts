import test from 'ava';
import { archiveSnapshot } from '../../src/archive/archive-snapshot.ts';
import { deleteManifest, listManifests, openManifest } from '../../src/archive/catalogue.ts';
import { type CondemnedName, condemnedKey, encodeCondemned, keyOfName } from '../../src/archive/collector-runs.ts';
import { collect } from '../../src/archive/collector.ts';
import { limits } from '../../src/archive/limits.ts';
import { parseContentKey } from '../../src/archive/object-keys.ts';
import { createRepository, openRepository, type Repository, type RepositoryOptions } from '../../src/archive/repository.ts';
import { restoreManifest } from '../../src/archive/restore.ts';
import { verify } from '../../src/archive/verify.ts';
import { FakeSink, FakeVolume, noise } from './repository-fixture.ts';
import { MemoryStore } from './memory-store.ts';

const chunkBytes = 4096;
const hourMs = 3_600_000;

class Clock {
	nowMs = 1_000_000_000;
}

async function repositoryAt(
	clock: Clock,
	options: RepositoryOptions & { canPutIfAbsent?: boolean } = {},
): Promise<{ bucket: MemoryStore; repository: Repository; again: () => Promise<Repository> }> {
	const bucket = new MemoryStore({ nowMs: () => clock.nowMs, canPutIfAbsent: options.canPutIfAbsent ?? true });
	const runtime = {
		nowMs: () => clock.nowMs,
		random: (bytes: number) => noise(bytes, ++clock.nowMs),
		sleep: (ms: number) => {
			clock.nowMs += ms;
			return Promise.resolve();
		},
	};
	await createRepository(bucket, { threads: 0, chunkBytes });
	const again = (): Promise<Repository> => openRepository(new MemoryStore({ sharing: bucket }), { threads: 0, runtime, ...options });
	return { bucket, repository: await again(), again };
}

function contents(bucket: MemoryStore): string[] {
	return [...bucket.objects.keys()].filter((key) => /^(?:chunks|lists)\//.test(key));
}

test('what no manifest needs goes after the grace period, what one needs stays', async (t) => {
	const clock = new Clock();
	const { bucket, repository } = await repositoryAt(clock);
	const volume = new FakeVolume(chunkBytes * 20);
	volume.write(0, noise(chunkBytes * 10, 1));
	const first = await archiveSnapshot(repository, volume.snapshot());
	volume.write(0, noise(chunkBytes * 3, 2));
	const second = volume.snapshot();
	await archiveSnapshot(repository, second);
	t.is(contents(bucket).length, 15);
	await deleteManifest(repository, first.manifest.id);
	t.like(await collect(repository), { state: 'done', manifests: 1, deletedObjects: 0, youngObjects: 4, keptObjects: 11 });
	clock.nowMs += 7 * hourMs;
	const dry = await collect(repository, { dryRun: true });
	t.like(dry, { deletedObjects: 4 });
	t.is(contents(bucket).length, 15);
	const result = await collect(repository);
	t.like(result, { state: 'done', deletedObjects: 4, deletedBytes: dry.deletedBytes, youngObjects: 0, keptObjects: 11 });
	t.is(contents(bucket).length, 11);
	const [manifest] = await listManifests(repository);
	const sink = new FakeSink(chunkBytes * 20);
	await restoreManifest(repository, await openManifest(repository, manifest?.id ?? ''), sink);
	t.true(sink.bytes.equals(second.bytes));
	// It leaves the name of its batch, for as long as an export could ask for it.
	t.deepEqual(
		[...bucket.objects.keys()].filter((key) => /^c(?:ondemned|ollect)/.test(key)).map((key) => key.split('/')[0]),
		['collected'],
	);
	clock.nowMs += 31 * 24 * hourMs;
	await collect(repository);
	t.deepEqual(
		[...bucket.objects.keys()].filter((key) => /^c(?:ondemned|ollect)/.test(key)),
		[],
	);
});

test('what an export that is alive has uploaded stays, however short the grace', async (t) => {
	const clock = new Clock();
	const { bucket, repository, again } = await repositoryAt(clock);
	const volume = new FakeVolume(chunkBytes * 10);
	volume.write(0, noise(chunkBytes * 10, 1));
	const exporter = await again();
	let collected = 0;
	(exporter.store as MemoryStore).before = async ({ kind, key }) => {
		if (kind !== 'put' || !key.includes('pending')) return;
		clock.nowMs += 60_000;
		collected += (await collect(repository, { graceMs: 0 })).deletedObjects;
	};
	await archiveSnapshot(exporter, volume.snapshot());
	t.is(collected, 0);
	t.is(contents(bucket).length, 11);
});

test('an export whose lease ran out and whose chunks were collected uploads them again', async (t) => {
	const clock = new Clock();
	const { repository, again } = await repositoryAt(clock);
	const volume = new FakeVolume(chunkBytes * 10);
	volume.write(0, noise(chunkBytes * 10, 1));
	const exporter = await again();
	let deleted = 0;
	(exporter.store as MemoryStore).before = async ({ kind, key }) => {
		if (kind !== 'put' || !key.endsWith('pending-1')) return;
		clock.nowMs += 8 * hourMs;
		deleted = (await collect(repository)).deletedObjects;
	};
	const snapshot = volume.snapshot();
	const { manifest, uploadedChunks } = await archiveSnapshot(exporter, snapshot);
	t.is(deleted, 11);
	t.is(uploadedChunks, 20);
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
	const sink = new FakeSink(chunkBytes * 10);
	await restoreManifest(repository, await openManifest(repository, manifest.id), sink);
	t.true(sink.bytes.equals(snapshot.bytes));
});

for (const canPutIfAbsent of [true, false]) {
	test(`an export that stood still for two days before it publishes is refused (${canPutIfAbsent ? 'conditional puts' : 'none'})`, async (t) => {
		const clock = new Clock();
		const { bucket, repository, again } = await repositoryAt(clock, { canPutIfAbsent });
		const volume = new FakeVolume(chunkBytes * 4);
		volume.write(0, noise(chunkBytes * 4, 1));
		const exporter = await again();
		let stalled = false;
		(exporter.store as MemoryStore).before = async ({ kind, key }) => {
			if (kind !== 'put' || !key.startsWith('manifests/') || stalled) return;
			stalled = true;
			clock.nowMs += 48 * hourMs;
			await collect(repository);
		};
		await t.throwsAsync(archiveSnapshot(exporter, volume.snapshot()), { message: /stood still/ });
		t.deepEqual(await listManifests(repository), []);
		clock.nowMs += 40 * 24 * hourMs;
		await collect(repository);
		await collect(repository);
		t.deepEqual(
			[...bucket.objects.keys()].filter((key) => !key.startsWith('collected/')),
			['repository'],
		);
		clock.nowMs += 40 * 24 * hourMs;
		await collect(repository);
		t.deepEqual([...bucket.objects.keys()], ['repository']);
	});
}

test('one collector at a time; a lease that ran out is in nobody’s way', async (t) => {
	const clock = new Clock();
	const { repository, again } = await repositoryAt(clock);
	const other = await again();
	let state = '';
	(other.store as MemoryStore).before = async ({ kind, key }) => {
		if (kind !== 'list' || key !== 'manifests/' || state !== '') return;
		state = (await collect(repository)).state;
		clock.nowMs += hourMs;
		state += ` ${(await collect(repository)).state}`;
	};
	await collect(other);
	t.is(state, 'busy done');
});

test('a collector that was killed goes on at once when it comes back; another one, and one without a name, waits for its lease', async (t) => {
	const clock = new Clock();
	const { bucket, repository, again } = await repositoryAt(clock);
	const [owner, other] = ['a'.repeat(32), 'b'.repeat(32)];
	const volume = new FakeVolume(chunkBytes * 6);
	volume.write(0, noise(chunkBytes * 6, 1));
	const { manifest } = await archiveSnapshot(repository, volume.snapshot());
	await deleteManifest(repository, manifest.id);
	clock.nowMs += 7 * hourMs;
	const killed = await again();
	let deletes = 0;
	const isDead = new Promise<void>((resolve) => {
		(killed.store as MemoryStore).before = ({ kind, key }) => {
			if (kind !== 'delete' || !/^(?:chunks|lists)\//.test(key) || ++deletes < 3) return undefined;
			resolve();
			// In the middle of its deletions, and never to go on.
			return new Promise<void>(() => undefined);
		};
	});
	void collect(killed, { owner });
	await isDead;
	const leases = (): string[] => [...bucket.objects.keys()].filter((key) => key.startsWith('collectors/'));
	const [lease = ''] = leases();
	t.is((await collect(repository, { owner: other })).state, 'busy');
	t.is((await collect(repository)).state, 'busy');
	t.deepEqual(leases(), [lease]);

	// A lease that cannot be read is not known to be its own.
	const { bytes } = bucket.objects.get(lease)!;
	bucket.damage(lease, (before) => before.fill(0xff, 40, 44));
	t.is((await collect(repository, { owner })).state, 'busy');
	bucket.damage(lease, () => bytes);

	t.like(await collect(repository, { owner }), { state: 'done' });
	t.deepEqual(contents(bucket), []);
	t.deepEqual(
		[...bucket.objects.keys()].filter((key) => /^(?:collectors|condemned)\//.test(key)),
		[],
	);
});

test('what a dead run condemned and had deleted is asked for several at a time, and no further than the first that is there', async (t) => {
	const { bucket, repository } = await repositoryAt(new Clock());
	const names = Array.from({ length: 100 }, (_, index) => ({
		kind: 'chunk' as const,
		name: '0'.repeat(64),
		generation: (index + 1).toString(16).padStart(16, '0'),
	}));
	await repository.putSmall('condemned', condemnedKey('a'.repeat(32), 0), encodeCondemned(names));
	const store = repository.store as MemoryStore;
	let [asking, most, asked] = [0, 0, 0];
	store.before = async ({ kind }) => {
		if (kind !== 'head') return;
		asked++;
		most = Math.max(most, ++asking);
		await new Promise((resolve) => {
			setImmediate(resolve);
		});
		asking--;
	};
	// Nobody needs it, and it is too young to be collected.
	const there = keyOfName(names[9]!);
	bucket.objects.set(there, { bytes: Buffer.alloc(10), modifiedMs: store.nowMs() });
	const batches = (): number => [...bucket.objects.keys()].filter((key) => key.startsWith('condemned/')).length;
	await collect(repository);
	t.is(most, 8);
	t.true(asked >= 10 && asked < 30, `${asked}`);
	t.is(batches(), 1);
	bucket.objects.delete(there);
	asked = 0;
	await collect(repository);
	t.deepEqual([asked, batches()], [100, 0]);
});

test('whichever store call of a collector fails, the next one finishes its work', async (t) => {
	for (let call = 1; ; call++) {
		const clock = new Clock();
		const { bucket, repository, again } = await repositoryAt(clock);
		const volume = new FakeVolume(chunkBytes * 6);
		volume.write(0, noise(chunkBytes * 6, 1));
		const { manifest } = await archiveSnapshot(repository, volume.snapshot());
		volume.write(0, noise(chunkBytes * 2, 2));
		await archiveSnapshot(repository, volume.snapshot());
		await deleteManifest(repository, manifest.id);
		clock.nowMs += 7 * hourMs;
		const failing = await again();
		const store = failing.store as MemoryStore;
		const before = store.calls.length;
		store.failAt(call);
		try {
			await collect(failing);
		} catch (error) {
			t.regex(String(error), /memory does not answer/);
		}
		const isOver = store.calls.length - before < call;
		t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
		clock.nowMs += 31 * 24 * hourMs;
		await collect(repository);
		clock.nowMs += 31 * 24 * hourMs;
		await collect(repository);
		t.is(contents(bucket).length, 7);
		t.deepEqual(
			[...bucket.objects.keys()].filter((key) => !/^(?:chunks|lists|manifests)\//.test(key)),
			['repository'],
		);
		if (isOver) break;
		t.true(call < 200);
	}
});

test('a store with late lists: it waits before it looks again, and leaves the pending manifest until all see the other', async (t) => {
	const clock = new Clock();
	const { bucket, repository } = await repositoryAt(clock, { canPutIfAbsent: false });
	t.is(repository.timing.settleMs, 30_000);
	const volume = new FakeVolume(chunkBytes * 4);
	volume.write(0, noise(chunkBytes * 4, 1));
	await archiveSnapshot(repository, volume.snapshot());
	const pending = (): string[] => [...bucket.objects.keys()].filter((key) => key.startsWith('exports/'));
	t.is(pending().length, 1);
	bucket.objects.set(`chunks/00/${'0'.repeat(64)}-${'1'.repeat(16)}`, { bytes: Buffer.alloc(10), modifiedMs: 0 });
	const before = clock.nowMs;
	t.like(await collect(repository), { deletedObjects: 1 });
	t.true(clock.nowMs - before >= 30_000);
	await collect(repository);
	t.deepEqual(pending(), []);
});

test('uploads that nobody finished go when they are a day old, and not in a dry run', async (t) => {
	const clock = new Clock();
	const { bucket, repository } = await repositoryAt(clock);
	const young = clock.nowMs - hourMs;
	bucket.uploads.add(clock.nowMs - 25 * hourMs).add(young);
	await collect(repository, { dryRun: true });
	t.is(bucket.uploads.size, 2);
	await collect(repository);
	t.deepEqual([...bucket.uploads], [young]);
});

test('a collector that stands still before it deletes, an export that counts on what it condemned, another collector in between: the batch stays', async (t) => {
	const clock = new Clock();
	const { bucket, repository, again } = await repositoryAt(clock);
	const [one, other] = [new FakeVolume(chunkBytes * 2), new FakeVolume(chunkBytes * 2, { uuid: '00000000-0000-4000-8000-000000000002' })];
	for (const volume of [one, other]) volume.write(0, noise(chunkBytes, 1));
	const { manifest } = await archiveSnapshot(repository, one.snapshot());
	await deleteManifest(repository, manifest.id);
	clock.nowMs += 7 * hourMs;

	const slow = await again();
	const exporter = await again();
	let stands: () => void = () => undefined;
	let go: () => void = () => undefined;
	const standing = new Promise<void>((resolve) => {
		stands = resolve;
	});
	const released = new Promise<void>((resolve) => {
		go = resolve;
	});
	(slow.store as MemoryStore).before = ({ kind, key }) => {
		if (kind !== 'delete' || !/^(?:chunks|lists)\//.test(key)) return undefined;
		stands();
		return released;
	};
	let collecting: Promise<unknown> = Promise.resolve();
	let looks = 0;
	(exporter.store as MemoryStore).before = async ({ kind, key }) => {
		if (kind === 'put' && key.endsWith('pending-1')) {
			// It has found the chunk; the first collector condemns it, sees no pending manifest, and stands still.
			collecting = collect(slow, { graceMs: 0 });
			await standing;
		}
		if (kind !== 'list' || key !== 'condemned/' || ++looks !== 2) return;
		clock.nowMs += hourMs;
		t.is((await collect(repository, { graceMs: 0 })).state, 'done');
		t.is([...bucket.objects.keys()].filter((key) => key.startsWith('condemned/')).length, 1);
	};
	const result = await archiveSnapshot(exporter, other.snapshot());
	go();
	await collecting;
	t.true(looks > 2, 'it looked again for what it put in place');
	t.is(result.uploadedChunks, 1);
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
});

test('a collector that stands still while it looks, a manifest that is deleted before it is read, an export that took over from it: the batch stays, though a manifest needed what it names', async (t) => {
	const clock = new Clock();
	const { bucket, repository, again } = await repositoryAt(clock);
	const volumes = [1, 2, 3].map((number) => new FakeVolume(chunkBytes * 2, { uuid: `00000000-0000-4000-8000-00000000000${number}` }));
	for (const volume of volumes) volume.write(0, noise(chunkBytes, 1));
	const [first, second, third] = volumes as [FakeVolume, FakeVolume, FakeVolume];
	await deleteManifest(repository, (await archiveSnapshot(repository, first.snapshot())).manifest.id);
	clock.nowMs += 7 * hourMs;

	const slow = await again();
	const exporter = await again();
	let taken = '';
	let uploadedChunks = 0;
	(slow.store as MemoryStore).before = async ({ kind, key }) => {
		if (kind === 'put' && key.startsWith('condemned/') && taken === '') {
			// It is about to condemn what this export finds and uses.
			const { manifest, ...counts } = await archiveSnapshot(exporter, second.snapshot());
			taken = manifest.id;
			t.is(counts.uploadedChunks, 0);
		}
		if (kind !== 'get' || key !== `manifests/${taken}` || uploadedChunks > 0) return;
		// It has listed the manifests, and stands still.
		clock.nowMs += hourMs;
		t.is((await collect(repository, { graceMs: 0 })).state, 'done');
		t.is([...bucket.objects.keys()].filter((name) => name.startsWith('condemned/')).length, 1);
		({ uploadedChunks } = await archiveSnapshot(await again(), third.snapshot()));
		t.is(uploadedChunks, 1);
		await deleteManifest(repository, taken);
	};
	t.is((await collect(slow, { graceMs: 0 })).state, 'done');
	t.is(uploadedChunks, 1);
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
	// The batch has gone with what it condemned.
	t.deepEqual(
		[...bucket.objects.keys()].filter((name) => name.startsWith('condemned/')),
		[],
	);
});

test('a batch of a run that cannot be under way any more goes, though a manifest needs what it names', async (t) => {
	const clock = new Clock();
	const { bucket, repository, again } = await repositoryAt(clock);
	const volume = new FakeVolume(chunkBytes * 2);
	volume.write(0, noise(chunkBytes, 1));
	await archiveSnapshot(repository, volume.snapshot());
	const key = condemnedKey('0'.repeat(32), 0);
	const names = contents(bucket).map((content): CondemnedName => {
		return { kind: content.startsWith('chunks/') ? 'chunk' : 'list', ...parseContentKey(content)! };
	});
	await repository.putSmall('condemned', key, encodeCondemned(names), {});
	for (const [afterMs, isThere] of [
		[0, true],
		[repository.timing.memoryMs - hourMs, true],
		[2 * hourMs, false],
	] as const) {
		clock.nowMs += afterMs;
		t.is((await collect(await again())).state, 'done');
		t.is(bucket.objects.has(key), isThere);
	}
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
});

test('a collector that stood still for longer than half the memory deletes nothing more', async (t) => {
	const clock = new Clock();
	const { bucket, repository, again } = await repositoryAt(clock);
	const volume = new FakeVolume(chunkBytes * 2);
	volume.write(0, noise(chunkBytes, 1));
	await deleteManifest(repository, (await archiveSnapshot(repository, volume.snapshot())).manifest.id);
	clock.nowMs += 7 * hourMs;
	const slow = await again();
	(slow.store as MemoryStore).after = ({ kind, key }) => {
		if (kind === 'put' && key.startsWith('condemned/')) clock.nowMs += slow.timing.memoryMs / 2 + hourMs;
		return undefined;
	};
	const { deletedObjects } = await collect(slow, { graceMs: 0 });
	t.is(deletedObjects, 0);
	t.is(contents(bucket).length, 2);
});

test('batches that somebody has written in any number: a run looks at so many, and leaves the others to the next', async (t) => {
	const { bucket, repository } = await repositoryAt(new Clock());
	const batches = 1100;
	const nobodys = encodeCondemned([{ kind: 'chunk', name: '0'.repeat(64), generation: '0'.repeat(15) + '1' }]);
	for (let number = 0; number < batches; number++) await repository.putSmall('condemned', condemnedKey('a'.repeat(32), number), nobodys);
	const left = (): number => [...bucket.objects.keys()].filter((key) => key.startsWith('condemned/')).length;
	t.like(await collect(repository), { state: 'done' });
	t.is(left(), batches - limits.batchesMax);
	t.like(await collect(repository), { state: 'done' });
	t.is(left(), 0);
});

test('an export and a collector refuse a repository with more condemned objects, or more records, than they hold in memory', async (t) => {
	const clock = new Clock();
	const { bucket, repository } = await repositoryAt(clock);
	const volume = new FakeVolume(chunkBytes);
	volume.write(0, noise(chunkBytes, 1));
	const batches = limits.condemnedStandingMax / limits.condemnedPerBatch;
	for (let number = 0; number <= batches; number++) {
		const names = Array.from({ length: limits.condemnedPerBatch }, (_, index) => ({
			kind: 'chunk' as const,
			name: '0'.repeat(64),
			generation: (number * limits.condemnedPerBatch + index + 1).toString(16).padStart(16, '0'),
		}));
		await repository.putSmall('condemned', condemnedKey('a'.repeat(32), number), encodeCondemned(names));
	}
	await t.throwsAsync(archiveSnapshot(repository, volume.snapshot()), { code: 'tooLarge', message: /condemned objects/ });
	const [first] = [...bucket.objects.keys()].filter((key) => key.startsWith('condemned/'));
	bucket.objects.delete(first ?? '');
	await archiveSnapshot(repository, volume.snapshot());

	const record = bucket.objects.get('repository')!;
	for (let number = 0; number <= limits.recordsMax; number++) bucket.objects.set(`exports/${'b'.repeat(32)}/${number}`, record);
	await t.throwsAsync(collect(repository), { code: 'tooLarge', message: /objects of exports/ });
	for (const key of bucket.objects.keys()) if (key.startsWith('exports/')) bucket.objects.delete(key);
	for (let number = 0; number <= limits.recordsMax; number++) bucket.objects.set(`collected/${number}`, record);
	await t.throwsAsync(archiveSnapshot(repository, volume.snapshot()), { code: 'tooLarge', message: /names of collections/ });
});
