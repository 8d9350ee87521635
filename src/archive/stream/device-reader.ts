import type { BlockDevice, Outcome } from '../../blockvol/block-device.ts';
import type { Extent } from './device-extents.ts';
import { readBytes, readsAhead } from './limits.ts';
import { DeviceError } from './stream-error.ts';

const zeros = Buffer.alloc(readBytes);

/**
 * The bytes of extents of a device, in their order, in pieces of at most readBytes; those of an unmapped extent are not read. Reads are under way ahead of who takes the pieces, so many and
 * no more. Nobody writes into a piece: those of zeros are one buffer. Rejects with DeviceError, and after the signal with its reason; when it ends, no read is under way.
 */
export async function* readExtents(
	device: BlockDevice,
	extents: AsyncIterable<Extent> | Iterable<Extent>,
	signal?: AbortSignal,
): AsyncGenerator<Buffer> {
	const pieces = cut(extents);
	const ahead: Promise<Buffer | DeviceError>[] = [];
	let isOver = false;
	try {
		while (!isOver || ahead.length > 0) {
			while (!isOver && ahead.length < readsAhead) {
				const next = await pieces.next();
				if (next.done === true) isOver = true;
				else ahead.push(next.value.isMapped ? read(device, next.value) : Promise.resolve(zeros.subarray(0, next.value.lengthBytes)));
			}
			const piece = await ahead.shift();
			signal?.throwIfAborted();
			if (piece instanceof DeviceError) throw piece;
			if (piece !== undefined) yield piece;
		}
	} finally {
		await Promise.all(ahead);
	}
}

/** Pieces whose borders are multiples of readBytes, but for the first and the last of each extent. */
async function* cut(extents: AsyncIterable<Extent> | Iterable<Extent>): AsyncGenerator<Extent> {
	for await (const { offsetBytes, lengthBytes, isMapped } of extents) {
		const end = offsetBytes + lengthBytes;
		for (let at = offsetBytes; at < end;) {
			const next = Math.min(end, at - (at % readBytes) + readBytes);
			yield { offsetBytes: at, lengthBytes: next - at, isMapped };
			at = next;
		}
	}
}

/** Of any range, though the device takes whole blocks. Resolves to the error: another read may fail while this one is waited for. */
function read(device: BlockDevice, { offsetBytes, lengthBytes }: Extent): Promise<Buffer | DeviceError> {
	const { blockSize } = device;
	const head = offsetBytes % blockSize;
	const whole = Math.ceil((head + lengthBytes) / blockSize) * blockSize;
	const target = Buffer.allocUnsafeSlow(whole);
	return new Promise((resolve) => {
		const complete = (outcome: Outcome): void => {
			if (outcome === 'good') resolve(target.subarray(head, head + lengthBytes));
			else resolve(new DeviceError(`${lengthBytes} bytes at ${offsetBytes}`, outcome));
		};
		device.read(offsetBytes - head, target, { complete });
	});
}
