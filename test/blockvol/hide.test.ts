import test from 'ava';
import type { BlockDevice } from '../../src/blockvol/block-device.ts';
import { filled, flush, mib, page, serveInMemory, write, zero } from './volume-fixture.ts';

async function firstByte(device: BlockDevice, offsetBytes: number): Promise<number> {
	const bytes = Buffer.alloc(page);
	await new Promise<void>((resolve) => device.read(offsetBytes, bytes, { complete: () => resolve() }));
	return bytes.readUInt8(0);
}

test('zeros over a volume that has grown far beyond what its summaries were made for: holes below are passed over', async (t) => {
	const { disk, volume, reopen } = await serveInMemory({ sizeBytes: 4 * mib });
	const sizeBytes = 64 * 1024 * mib;
	await volume.resize(sizeBytes);
	const places = [0, 8 * 1024 * mib, sizeBytes / 2, sizeBytes - page];
	for (const at of places) await write(volume, at, filled(page, 3));
	await volume.createSnapshot('one');
	await volume.flushToLayers();
	disk.forget();
	t.is(await zero(volume, 0, sizeBytes), 'good');
	await volume.flushToLayers();
	// 17,000 blocks of the map are in the range; four hold something, and a few are looked at around each.
	t.true(disk.of('read', '.map').length < 100, `${disk.of('read', '.map').length} reads`);
	await flush(volume);
	const again = await reopen('closed');
	const view = await again.openSnapshot('one');
	for (const at of places) {
		t.is(await firstByte(again, at), 0);
		t.is(await firstByte(view, at), 3);
	}
	await view.close();
	await again.close();
});
