import test from 'ava';
import type { Completion } from '../../src/blockvol/block-device.ts';
import { archiveSnapshot } from '../../src/archive/archive-snapshot.ts';
import { openManifest, readManifest } from '../../src/archive/catalogue.ts';
import { collect } from '../../src/archive/collector.ts';
import { ChunkReader } from '../../src/archive/chunk-reader.ts';
import { createRepository } from '../../src/archive/repository.ts';
import { decodeManifest, encodeManifest, encodeRow, rowBytes, totalsOf, zeroRow } from '../../src/archive/manifest.ts';
import { entryBytes, hashBytes } from '../../src/archive/merkle-tree.ts';
import { manifestKey } from '../../src/archive/object-keys.ts';
import { ArchiveError, type Manifest, type SnapshotSource } from '../../src/archive/repository-types.ts';
import { verify } from '../../src/archive/verify.ts';
import { MemoryStore } from './memory-store.ts';
import { noise } from './repository-fixture.ts';

const sizeBytes = 16 * 2 ** 40;
const mebibyte = 2 ** 20;

/** 16 TiB of which some mebibytes hold a number. */
function snapshot(id: number, written: ReadonlyMap<number, number>, changed: readonly number[]): SnapshotSource {
	return {
		volume: { uuid: '00000000-0000-4000-8000-000000000001', name: 'huge', blockSize: 4096, sizeBytes },
		snapshot: { id, name: `s${id}`, timeMs: id, lsn: id },
		device: {
			sizeBytes,
			read: (offsetBytes: number, target: Uint8Array, completion: Completion) => {
				target.fill(written.get(offsetBytes / mebibyte) ?? 0);
				queueMicrotask(() => completion.complete('good'));
			},
			allocation: (offsetBytes: number) => {
				const next = [...written.keys()]
					.map((chunk) => chunk * mebibyte)
					.filter((at) => at >= offsetBytes)
					.sort((a, b) => a - b)[0];
				if (next === undefined)
					return Promise.resolve({ outcome: 'good' as const, extents: [{ lengthBytes: sizeBytes - offsetBytes, isMapped: false }] });
				const extents = [
					{ lengthBytes: next - offsetBytes, isMapped: false },
					{ lengthBytes: mebibyte, isMapped: true },
				];
				return Promise.resolve({ outcome: 'good' as const, extents: extents.filter(({ lengthBytes }) => lengthBytes > 0) });
			},
		},
		changedSince: (since) =>
			since >= id
				? undefined
				: (async function* () {
						for (const chunk of changed) yield { firstPage: chunk * 256, pages: 3 };
					})(),
	};
}

test('16 TiB: an increment of one chunk uploads that chunk, its list and a manifest of a third of a mebibyte', async (t) => {
	const store = new MemoryStore();
	const repository = await createRepository(store, { threads: 1 });
	const written = new Map<number, number>();
	for (let chunk = 0; chunk < 16 * mebibyte; chunk += 1_500_007) written.set(chunk, (chunk % 250) + 1);
	const full = await archiveSnapshot(repository, snapshot(1, written, []));
	t.is(full.manifest.chunks, 16 * mebibyte);
	t.is(full.readBytes, written.size * mebibyte);
	written.set(9_000_000, 255);
	const calls = store.calls.length;
	const increment = await archiveSnapshot(repository, snapshot(2, written, [9_000_000]));
	const puts = store.calls.slice(calls).filter(({ kind }) => kind === 'put');
	t.deepEqual(
		puts.map(({ key }) => key.split('/')[0] ?? '').sort((a, b) => (a < b ? -1 : 1)),
		['chunks', 'exports', 'exports', 'exports', 'lists', 'manifests'],
		'chunk, list, pending, manifest, and two for the lease',
	);
	t.is(increment.readBytes, mebibyte);
	const manifest = await openManifest(repository, increment.manifest.id);
	t.is(manifest.segments.length, 4096 * 76);
	const stored = store.objects.get(`manifests/${manifest.id}`)?.bytes.length ?? 0;
	t.true(stored < 400_000, `${stored} bytes`);
	t.is(manifest.dataBytes, written.size * mebibyte);
	const reader = new ChunkReader(repository, manifest);
	t.is((await reader.read(9_000_000))[0], 255);
	t.is((await reader.read(1_500_007))[5], written.get(1_500_007));
	t.true((await reader.read(9_000_001)).every((byte) => byte === 0));
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
	t.like(await collect(repository, { graceMs: 0 }), { state: 'done', deletedObjects: 0 });
	await repository.close();
});

/** Of a volume of 64 TiB: every other list holds something. */
function hugeManifest(id: string): Manifest {
	const [chunkBytes, lists] = [mebibyte, 16_384];
	const volumeBytes = 64 * 2 ** 40;
	const segments = Buffer.alloc(lists * rowBytes);
	const random = noise((entryBytes + hashBytes) * lists, 7);
	for (let list = 0; list < lists; list++) {
		const at = list * (entryBytes + hashBytes);
		const [entry, root] = [random.subarray(at, at + entryBytes), random.subarray(at + entryBytes, at + entryBytes + hashBytes)];
		segments.set(list % 2 === 0 ? zeroRow(4096) : encodeRow(entry, root, 17), list * rowBytes);
	}
	return {
		id,
		volume: { uuid: 'u', name: 'huge', blockSize: 4096, sizeBytes: volumeBytes },
		snapshot: { id: 1, name: 's', timeMs: 1, lsn: 1 },
		parent: '',
		chunkBytes,
		chunks: lists * 4096,
		...totalsOf(segments, chunkBytes, volumeBytes),
		createdMs: 1,
		uploadedBytes: 1,
		tool: 'test',
		segments,
	};
}

test('a manifest of 64 TiB is read bit by bit: the loop turns dozens of times meanwhile, and what is wrong in it is found as ever', async (t) => {
	const repository = await createRepository(new MemoryStore(), { threads: 1 });
	const manifest = hugeManifest('ab'.repeat(16));
	const plain = encodeManifest(manifest);
	await repository.putSmall('manifest', manifestKey(manifest.id), plain);
	let turns = 0;
	let isOver = false;
	const turn = (): void => {
		turns++;
		if (!isOver) setImmediate(turn);
	};
	// What stands still is counted from the answer of the thread on: only its own steps make turns in this one.
	const { readCodec } = repository;
	const unseal = readCodec.unseal.bind(readCodec);
	readCodec.unseal = async (...task) => {
		const result = await unseal(...task);
		setImmediate(turn);
		return result;
	};
	const read = await readManifest(repository, manifest.id);
	isOver = true;
	t.deepEqual(read, decodeManifest(plain, manifest.id, 'key'));
	t.true(turns >= 40, `${turns} turns`);
	const wrong = { ...manifest, segments: Buffer.from(manifest.segments) };
	wrong.segments.writeUInt8(wrong.segments.readUInt8(rowBytes + entryBytes) ^ 1, rowBytes + entryBytes);
	await repository.putSmall('manifest', manifestKey(manifest.id), encodeManifest(wrong));
	const error = await t.throwsAsync(readManifest(repository, manifest.id), { instanceOf: ArchiveError });
	t.regex(error?.message ?? '', /lists that do not add up to its root/);
	await repository.close();
});
