import type { BlockDevice, Outcome } from '../../blockvol/block-device.ts';
import type { Extent } from './device-extents.ts';
import { readBytes, readsAhead } from './limits.ts';
import { DeviceError } from './stream-error.ts';

const zeros = Buffer.alloc(readBytes);

/** What was read, or why not: another read may fail while this one is waited for. */
interface Reading {
	/** Of the pool; undefined for zeros. */
	readonly buffer: Buffer | undefined;
	readonly result: Promise<Buffer | DeviceError>;
}

/**
 * The bytes of extents of a device, in their order, in pieces of at most readBytes; those of an unmapped extent are not read. Reads are under way ahead of who takes the pieces, so many and
 * no more. A piece is good until the next one is asked for, and nobody writes into it: a few buffers serve for all (fresh ones had the garbage collector take more time than all the rest).
 * Rejects with DeviceError, and after the signal with its reason; when it ends, no read is under way.
 */
export async function* readExtents(
	device: BlockDevice,
	extents: AsyncIterable<Extent> | Iterable<Extent>,
	signal?: AbortSignal,
): AsyncGenerator<Buffer> {
	const pieces = cut(extents);
	const free: Buffer[] = [];
	const ahead: Reading[] = [];
	let isOver = false;
	try {
		while (!isOver || ahead.length > 0) {
			while (!isOver && ahead.length < readsAhead) {
				const next = await pieces.next();
				if (next.done === true) isOver = true;
				else ahead.push(begin(device, next.value, free));
			}
			const first = ahead.shift();
			if (first === undefined) break;
			const piece = await first.result;
			signal?.throwIfAborted();
			if (piece instanceof DeviceError) throw piece;
			yield piece;
			if (first.buffer !== undefined) free.push(first.buffer);
		}
	} finally {
		await Promise.all(ahead.map(({ result }) => result));
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

/** Of any range, though the device takes whole blocks. */
function begin(device: BlockDevice, { offsetBytes, lengthBytes, isMapped }: Extent, free: Buffer[]): Reading {
	if (!isMapped) return { buffer: undefined, result: Promise.resolve(zeros.subarray(0, lengthBytes)) };
	const { blockSize } = device;
	const head = offsetBytes % blockSize;
	const whole = Math.ceil((head + lengthBytes) / blockSize) * blockSize;
	const buffer = free.pop() ?? Buffer.allocUnsafeSlow(readBytes + 2 * blockSize);
	const result = new Promise<Buffer | DeviceError>((resolve) => {
		const complete = (outcome: Outcome): void => {
			if (outcome === 'good') resolve(buffer.subarray(head, head + lengthBytes));
			else resolve(new DeviceError(`${lengthBytes} bytes at ${offsetBytes}`, outcome));
		};
		device.read(offsetBytes - head, buffer.subarray(0, whole), { complete });
	});
	return { buffer, result };
}
