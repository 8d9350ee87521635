import type { Outcome } from '../../src/blockvol/block-device.ts';
import { writeNumbersOf } from './block-content.ts';
import { SimulationFailure } from './failure.ts';
import { unreadable } from './model.ts';
import type { Random } from './random.ts';
import { sectorBytes } from './sparse-content.ts';
import type { WindowedDevice } from './windows.ts';

/** The write number of every block of a device: -1 for one that is none. */
export async function observe(device: WindowedDevice, random: Random): Promise<Int32Array> {
	const observed = new Int32Array(device.sizeBytes / sectorBytes);
	const stepBytes = random.pick([64, 256, 1024]) * 1024;
	const target = takeTarget();
	for (let offset = 0; offset < device.sizeBytes;) {
		const part = target.subarray(0, device.stretch(offset, Math.min(stepBytes, device.sizeBytes - offset)));
		const outcome = device.tryRead(offset, part) ?? (await readAll(device, offset, part));
		if (outcome !== 'good') throw new SimulationFailure(`a read at LBA ${offset / device.blockSize} ended with ${outcome}`);
		observed.set(writeNumbersOf(part, offset / sectorBytes), offset / sectorBytes);
		offset += part.length;
	}
	targets.push(target);
	return observed;
}

/** Volumes are looked at thousands of times: the buffers for it are kept. */
const targets: Buffer[] = [];

function takeTarget(): Buffer {
	return targets.pop() ?? Buffer.alloc(1024 * 1024);
}

/** As observe, page by page; a page that ends with a medium error is `unreadable`. */
export async function observeDamaged(device: WindowedDevice): Promise<Int32Array> {
	const observed = new Int32Array(device.sizeBytes / sectorBytes).fill(unreadable);
	const page = Buffer.alloc(4096);
	for (let offset = 0; offset < device.sizeBytes; offset += page.length) {
		const outcome = device.tryRead(offset, page) ?? (await readAll(device, offset, page));
		if (outcome === 'good') observed.set(writeNumbersOf(page, offset / sectorBytes), offset / sectorBytes);
		else if (outcome !== 'mediumError') throw new SimulationFailure(`a read at LBA ${offset / device.blockSize} ended with ${outcome}`);
	}
	return observed;
}

function readAll(device: WindowedDevice, offset: number, target: Uint8Array): Promise<Outcome> {
	return new Promise((resolve) => {
		device.read(offset, target, { complete: resolve });
	});
}
