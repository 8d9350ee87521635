import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BlockDevice } from '../../blockvol/block-device.ts';
import { DeviceError } from './stream-error.ts';

export interface Extent {
	readonly offsetBytes: number;
	readonly lengthBytes: number;
	/** False: reads as zeros. */
	readonly isMapped: boolean;
}

/** BlockDevice.allocation starts at whole pages. */
const pageBytes = 4096;
const extentsPerLook = 1024;

/**
 * The range `fromBytes` up to `toBytes` of a device, ascending and without gaps; neighbours differ. Each look at the device is followed by a turn of the event loop: where the map is in
 * memory, nothing would let go of the thread between them. Rejects with DeviceError.
 */
export async function* deviceExtents(
	device: BlockDevice,
	fromBytes: number,
	toBytes: number,
	signal?: AbortSignal,
): AsyncGenerator<Extent> {
	let pending: { offsetBytes: number; lengthBytes: number; isMapped: boolean } | undefined;
	for (let at = fromBytes; at < toBytes;) {
		signal?.throwIfAborted();
		const start = at - (at % pageBytes);
		const { outcome, extents } = await device.allocation(start, extentsPerLook);
		if (outcome !== 'good') throw new DeviceError(`what is allocated from byte ${start} on`, outcome);
		let position = start;
		for (const { lengthBytes, isMapped } of extents) {
			position += lengthBytes;
			const end = Math.min(position, toBytes);
			if (end <= at) continue;
			if (pending?.isMapped === isMapped) pending.lengthBytes += end - at;
			else {
				if (pending !== undefined) yield pending;
				pending = { offsetBytes: at, lengthBytes: end - at, isMapped };
			}
			at = end;
		}
		await nextTurn();
	}
	if (pending !== undefined) yield pending;
}
