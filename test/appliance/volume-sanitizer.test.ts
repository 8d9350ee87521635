import test from 'ava';
import { VolumeSanitizer } from '../../src/appliance/volume-sanitizer.ts';
import { VolumeSlot } from '../../src/appliance/volume-slot.ts';
import type { Outcome } from '../../src/blockvol/block-device.ts';
import { silent } from '../../src/os/logger.ts';
import { filled, openVolume, serveInMemory, write } from '../blockvol/volume-fixture.ts';

const order = { method: 'blockErase', passes: 1, invert: false, pattern: new Uint8Array(1), mayExitFailure: false } as const;

async function sanitizer(reopenFails = false) {
	const { disk, directory, volume } = await serveInMemory();
	await write(volume, 0, filled(4096, 7));
	const slot = new VolumeSlot(volume);
	slot.opened(volume);
	/** What the unit says of itself, and what a read says, at each moment. */
	const seen: string[] = [];
	const look = (): void => void seen.push(`${one.state?.kind ?? 'ready'}, ${slot.tryRead(0, Buffer.alloc(4096))}`);
	const one: VolumeSanitizer = new VolumeSanitizer({
		slot,
		disk,
		directory,
		log: silent,
		isAllowed: () => true,
		reopen: async () => {
			look();
			await new Promise(setImmediate);
			look();
			if (reopenFails) slot.failed('a disk that is gone');
			else slot.opened(await openVolume(disk, directory));
		},
	});
	return { one, slot, seen, look };
}

test('the unit says that it is ready when reads go on, and not while the volume is opened again', async (t) => {
	const { one, slot, seen, look } = await sanitizer();
	const ended = await new Promise<Outcome>((resolve) => one.begin(order, { begun: look, moved: () => undefined, ended: resolve }));
	t.is(ended, 'good');
	look();
	t.deepEqual(seen, ['running, sanitizing', 'running, sanitizing', 'running, sanitizing', 'ready, good']);
	await slot.volume?.close();
});

test('a volume that cannot be opened again is not being sanitized any more: it is faulted', async (t) => {
	const { one, seen, look } = await sanitizer(true);
	await new Promise<Outcome>((resolve) => one.begin(order, { begun: () => undefined, moved: () => undefined, ended: resolve }));
	look();
	t.deepEqual(seen, ['running, sanitizing', 'running, sanitizing', 'ready, faulted']);
});
