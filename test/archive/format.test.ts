import test from 'ava';
import { archiveSnapshot } from '../../src/archive/archive-snapshot.ts';
import { createRepository } from '../../src/archive/repository.ts';
import { FakeVolume, noise } from './repository-fixture.ts';
import { MemoryStore } from './memory-store.ts';
import { restoreAll } from './second-reader.ts';

const chunkBytes = 4096;

for (const passphrase of [undefined, 'Пароль é']) {
	test(`docs/archive-format.md is enough to read ${passphrase === undefined ? 'a repository' : 'an encrypted repository'}`, async (t) => {
		const store = new MemoryStore();
		const repository = await createRepository(store, {
			threads: 0,
			chunkBytes,
			scryptN: 16,
			...(passphrase === undefined ? {} : { passphrase }),
		});
		// Two lists, the second not full; chunks that compress and that do not; zeros; a short one at the end.
		const volume = new FakeVolume(chunkBytes * 5000 + 512 * 8);
		volume.write(0, noise(chunkBytes * 3, 1));
		volume.write(chunkBytes * 4, Buffer.alloc(chunkBytes, 'text '));
		volume.write(volume.bytes.length - 4096, noise(4096, 2));
		const snapshots = [volume.snapshot()];
		volume.write(chunkBytes * 4500, noise(chunkBytes, 3));
		volume.write(0, Buffer.alloc(chunkBytes));
		snapshots.push(volume.snapshot());
		const ids: string[] = [];
		for (const snapshot of snapshots) ids.push((await archiveSnapshot(repository, snapshot)).manifest.id);
		const bucket = new Map([...store.objects].map(([key, { bytes }]) => [key, bytes]));
		const volumes = restoreAll(bucket, passphrase);
		t.is(volumes.size, 2);
		for (const [index, id] of ids.entries()) t.true(volumes.get(id)?.equals(snapshots[index]?.bytes ?? Buffer.alloc(0)));
		if (passphrase !== undefined) {
			t.throws(() => restoreAll(bucket, 'another'));
			const all = Buffer.concat([...bucket.values()]).toString('latin1');
			t.false(all.includes('demo') || all.includes('text text'), 'nothing of the volume can be read');
			const names = [...bucket.keys()].join(' ');
			t.false(names.includes(volume.uuid));
		}
	});
}
