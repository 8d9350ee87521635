import test from 'ava';
import type { Completion } from '../../src/blockvol/block-device.ts';
import { archiveSnapshot } from '../../src/archive/archive-snapshot.ts';
import { openManifest } from '../../src/archive/catalogue.ts';
import { collect } from '../../src/archive/collector.ts';
import { ChunkReader } from '../../src/archive/chunk-reader.ts';
import { createRepository } from '../../src/archive/repository.ts';
import type { SnapshotSource } from '../../src/archive/repository-types.ts';
import { verify } from '../../src/archive/verify.ts';
import { MemoryStore } from './memory-store.ts';

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
	t.true(await reader.isZero(9_000_001));
	t.deepEqual((await verify(repository, { mode: 'full' })).findings, []);
	t.like(await collect(repository, { graceMs: 0 }), { state: 'done', deletedObjects: 0 });
	await repository.close();
});
