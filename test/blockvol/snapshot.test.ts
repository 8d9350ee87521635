import test from 'ava';
import type { BlockDevice } from '../../src/blockvol/block-device.ts';
import { checkVolume } from '../../src/blockvol/check.ts';
import { filled, kib, mib, outcome, page, read, serveInMemory, serveVolume, write, zero } from './volume-fixture.ts';

async function readView(view: BlockDevice, offsetBytes: number, lengthBytes: number): Promise<Buffer> {
	const target = Buffer.alloc(lengthBytes, 0xee);
	const result = view.tryRead(offsetBytes, target) ?? (await outcome((completion) => view.read(offsetBytes, target, completion)));
	if (result !== 'good') throw new Error(`the read ended with ${result}`);
	return target;
}

test('a snapshot reads what was there before it, the volume what came after, before and after a flush and a restart', async (t) => {
	for (const how of ['closed', 'killed'] as const) {
		const served = await serveVolume(t);
		await write(served.volume, 0, filled(16 * page, 1));
		const info = await served.volume.createSnapshot('one');
		t.like(info, { name: 'one', sizeBytes: 16 * mib, parent: undefined });
		await write(served.volume, 4 * page, filled(page, 2));
		await zero(served.volume, 8 * page, 2 * page);
		const look = async (): Promise<void> => {
			const live = await read(served.volume, 0, 16 * page);
			t.deepEqual([live[0], live[4 * page], live[5 * page], live[8 * page], live[10 * page]], [1, 2, 1, 0, 1]);
			const view = await served.volume.openSnapshot('one');
			t.true((await readView(view, 0, 16 * page)).equals(filled(16 * page, 1)));
			t.true((await readView(view, 16 * page, 16 * page)).equals(filled(16 * page, 0)));
			await view.close();
		};
		await look();
		await served.volume.flushToLayers();
		await look();
		const again = await served.reopen(how);
		await look();
		t.deepEqual(again.snapshots(), [info]);
		await again.close();
		t.deepEqual(await checkVolume(served.disk, served.directory), []);
	}
});

test('snapshot upon snapshot: each shows its moment, through the merged index and without it', async (t) => {
	const served = await serveInMemory({ sizeBytes: 2 * mib, segmentBytes: 64 * kib }, { belowBlocks: 1, layerFilesMax: 2 });
	for (let number = 1; number <= 20; number++) {
		await write(served.volume, (number % 7) * page, filled(3 * page, number));
		await zero(served.volume, ((number + 4) % 9) * page, page);
		await served.volume.createSnapshot(`s${number}`);
	}
	const contents: Buffer[] = [];
	for (let number = 1; number <= 20; number++) {
		const previous = contents.at(-1) ?? Buffer.alloc(32 * page);
		const content = Buffer.from(previous);
		content.fill(number, (number % 7) * page, ((number % 7) + 3) * page);
		content.fill(0, ((number + 4) % 9) * page, (((number + 4) % 9) + 1) * page);
		contents.push(content);
	}
	for (const round of [0, 1]) {
		for (const [at, content] of contents.entries()) {
			const view = await served.volume.openSnapshot(`s${at + 1}`);
			t.true((await readView(view, 0, 32 * page)).equals(content), `round ${round}, snapshot ${at + 1}`);
			await view.close();
		}
		t.true((await read(served.volume, 0, 32 * page)).equals(contents.at(-1) as Buffer));
		await served.reopen('closed');
	}
	await served.volume.close();
	t.deepEqual(await checkVolume(served.disk, served.directory), []);
	t.deepEqual(
		[...served.disk.openFiles].filter(([, count]) => count > 0),
		[],
	);
});
