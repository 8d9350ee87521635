import test from 'ava';
import { archiveSnapshot } from '../../src/archive/archive-snapshot.ts';
import { listManifests, openManifest } from '../../src/archive/catalogue.ts';
import { collect } from '../../src/archive/collector.ts';
import { createRepository, openRepository, type Repository } from '../../src/archive/repository.ts';
import type { ArchiveResult } from '../../src/archive/repository-types.ts';
import { restoreManifest } from '../../src/archive/restore.ts';
import { verify } from '../../src/archive/verify.ts';
import { MemoryDisk } from './memory-disk.ts';
import { MemoryStore } from './memory-store.ts';
import { FakeSink, type FakeSnapshot, FakeVolume, noise } from './repository-fixture.ts';

const chunkBytes = 4096;

/** A process that is killed when it makes its nth call of a kind: that call, and whatever it would do after it, never happens. */
function killedAt(
	bucket: MemoryStore,
	isDeadly: (kind: string, key: string) => boolean,
	calls: number,
): { store: MemoryStore; dead: Promise<void> } {
	const store = new MemoryStore({ sharing: bucket });
	let count = 0;
	let die: () => void = () => undefined;
	const dead = new Promise<void>((resolve) => {
		die = resolve;
	});
	store.before = ({ kind, key }) => {
		if (isDeadly(kind, key)) count++;
		if (count < calls) return undefined;
		die();
		return new Promise(() => undefined);
	};
	return { store, dead };
}

async function restored(repository: Repository, { manifest }: ArchiveResult): Promise<Buffer> {
	const sink = new FakeSink(manifest.volume.sizeBytes);
	await restoreManifest(repository, await openManifest(repository, manifest.id), sink);
	return sink.bytes;
}

async function killed(
	bucket: MemoryStore,
	snapshot: FakeSnapshot,
	files: MemoryDisk,
	isDeadly: (kind: string, key: string) => boolean,
	calls: number,
): Promise<void> {
	const { store, dead } = killedAt(bucket, isDeadly, calls);
	const repository = await openRepository(store, { threads: 0 });
	void archiveSnapshot(repository, snapshot, { journal: { disk: files.disk, path: 'journal' }, parallel: 2 });
	await dead;
	// What is under way beside the call that never returns.
	for (let turn = 0; turn < 50; turn++)
		await new Promise((resolve) => {
			setImmediate(resolve);
		});
}

test('an export that was killed goes on where it was: what it has uploaded is neither read nor uploaded again', async (t) => {
	const bucket = new MemoryStore();
	await createRepository(bucket, { threads: 0, chunkBytes });
	const volume = new FakeVolume(chunkBytes * 4200);
	volume.write(0, noise(chunkBytes * 40, 1));
	volume.write(chunkBytes * 4100, noise(chunkBytes * 40, 2));
	const snapshot = volume.snapshot();
	const files = new MemoryDisk();
	for (const puts of [20, 40]) await killed(bucket, snapshot, files, (kind, key) => kind === 'put' && key.startsWith('chunks/'), puts);
	t.deepEqual(await listManifests(await openRepository(new MemoryStore({ sharing: bucket }))), []);
	const readBefore = snapshot.readBytes;
	const repository = await openRepository(new MemoryStore({ sharing: bucket }), { threads: 0 });
	const result = await archiveSnapshot(repository, snapshot, { journal: { disk: files.disk, path: 'journal' } });
	t.true(result.resumedChunks >= 55 && result.resumedChunks <= 60, `${result.resumedChunks} resumed`);
	t.is(result.readBytes, chunkBytes * (80 - result.resumedChunks));
	t.is(snapshot.readBytes - readBefore, result.readBytes);
	t.true((await restored(repository, result)).equals(snapshot.bytes));
	t.is(files.files.size, 0, 'the journal is gone');
	t.is([...bucket.objects.keys()].filter((key) => key.startsWith('chunks/')).length, 80);
});

test('a journal with a torn end, of another snapshot, or of nothing known is no obstacle', async (t) => {
	const bucket = new MemoryStore();
	await createRepository(bucket, { threads: 0, chunkBytes });
	const volume = new FakeVolume(chunkBytes * 40);
	volume.write(0, noise(chunkBytes * 40, 1));
	const snapshot = volume.snapshot();
	const kill = async (files: MemoryDisk): Promise<void> =>
		killed(bucket, snapshot, files, (kind, key) => kind === 'put' && key.startsWith('chunks/'), 20);
	const first = new MemoryDisk();
	await kill(first);
	const whole = first.files.get('journal') ?? Buffer.alloc(0);
	const damages: ((journal: Buffer) => Buffer)[] = [
		(journal) => journal.subarray(0, -50),
		(journal) => Buffer.concat([journal, Buffer.alloc(1000, 1)]),
		(journal) => {
			const changed = Buffer.from(journal);
			// In the entry of the last record but one.
			changed[journal.length - 150] = (changed[journal.length - 150] ?? 0) ^ 1;
			return changed;
		},
		(journal) => journal.subarray(0, 5),
		(journal) => journal.subarray(0, 40),
		() => Buffer.alloc(0),
		() => noise(5000, 3),
	];
	for (const damage of damages) {
		const copy = new MemoryStore();
		for (const [key, entry] of bucket.objects) copy.objects.set(key, entry);
		const files = new MemoryDisk();
		files.files.set('journal', damage(whole));
		const repository = await openRepository(copy, { threads: 0 });
		const result = await archiveSnapshot(repository, snapshot, { journal: { disk: files.disk, path: 'journal' } });
		t.true((await restored(repository, result)).equals(snapshot.bytes));
	}
	const files = new MemoryDisk();
	files.files.set('journal', Buffer.from(whole));
	volume.write(0, noise(chunkBytes, 9));
	const repository = await openRepository(new MemoryStore({ sharing: bucket }), { threads: 0 });
	const other = volume.snapshot();
	const result = await archiveSnapshot(repository, other, { journal: { disk: files.disk, path: 'journal' } });
	t.is(result.resumedChunks, 0);
	t.true((await restored(repository, result)).equals(other.bytes));
});

test('what a journal knows and a collector has taken meanwhile is uploaded again', async (t) => {
	let nowMs = 1_000_000;
	const bucket = new MemoryStore({ nowMs: () => nowMs });
	await createRepository(bucket, { threads: 0, chunkBytes });
	const volume = new FakeVolume(chunkBytes * 30);
	volume.write(0, noise(chunkBytes * 30, 1));
	const snapshot = volume.snapshot();
	const files = new MemoryDisk();
	await killed(bucket, snapshot, files, (kind, key) => kind === 'put' && key.includes('pending'), 1);
	t.is([...bucket.objects.keys()].filter((key) => key.startsWith('chunks/')).length, 30);
	nowMs += 86_400_000;
	const repository = await openRepository(new MemoryStore({ sharing: bucket }), { threads: 0 });
	const collected = await collect(repository);
	t.is(collected.deletedObjects, 31);
	const result = await archiveSnapshot(repository, snapshot, { journal: { disk: files.disk, path: 'journal' } });
	t.is(result.resumedChunks, 30);
	t.is(result.uploadedChunks, 30);
	t.true((await restored(repository, result)).equals(snapshot.bytes));
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
});

test('an export whose journal is older than collectors remember begins anew', async (t) => {
	let nowMs = 1_000_000;
	const bucket = new MemoryStore({ nowMs: () => nowMs });
	await createRepository(bucket, { threads: 0, chunkBytes });
	const volume = new FakeVolume(chunkBytes * 10);
	volume.write(0, noise(chunkBytes * 10, 1));
	const snapshot = volume.snapshot();
	const files = new MemoryDisk();
	await killed(bucket, snapshot, files, (kind, key) => kind === 'put' && key.includes('pending'), 1);
	nowMs += 8 * 86_400_000;
	const repository = await openRepository(new MemoryStore({ sharing: bucket }), { threads: 0 });
	const result = await archiveSnapshot(repository, snapshot, { journal: { disk: files.disk, path: 'journal' } });
	t.is(result.resumedChunks, 0);
	t.is(result.readBytes, chunkBytes * 10);
	t.true((await restored(repository, result)).equals(snapshot.bytes));
});
