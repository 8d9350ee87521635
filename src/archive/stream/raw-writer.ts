import type { BlockDevice } from '../../blockvol/block-device.ts';
import { deviceExtents } from './device-extents.ts';
import { readExtents } from './device-reader.ts';

/** A device as a raw image, or the part of it from `fromBytes` up to `toBytes`. What reads as zeros is not read. A piece is good until the next one is asked for. Rejects with DeviceError. */
export function rawBytes(device: BlockDevice, fromBytes: number, toBytes: number, signal?: AbortSignal): AsyncGenerator<Buffer> {
	return readExtents(device, deviceExtents(device, fromBytes, toBytes, signal), signal);
}
