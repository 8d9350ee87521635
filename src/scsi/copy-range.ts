import type { BlockDevice, Completion, Outcome } from '../blockvol/block-device.ts';
import { limits } from './limits.ts';

/** Bytes from one device to another, or to another place of the same. */
export interface CopyRange {
	readonly source: BlockDevice;
	readonly sourceOffsetBytes: number;
	readonly destination: BlockDevice;
	readonly destinationOffsetBytes: number;
	readonly lengthBytes: number;
	/** Durable when it is done. */
	readonly fua: boolean;
}

/**
 * Copies a range in pieces. What the source does not hold is zeroed at the destination and not moved. If the destination overlaps the source from behind, the pieces go from the
 * last to the first, so that nothing is read after it was overwritten. `moved` is told the bytes of each piece that is done; false from it ends the copy.
 */
export async function copyRange(range: CopyRange, buffer: Buffer, moved: (bytes: number) => boolean): Promise<Outcome | 'ended'> {
	const { source, sourceOffsetBytes, destination, destinationOffsetBytes, lengthBytes } = range;
	const distance = destinationOffsetBytes - sourceOffsetBytes;
	if (source === destination && distance === 0) return moved(lengthBytes) ? 'good' : 'ended';
	if (source === destination && distance > 0 && distance < lengthBytes) return await copyBackwards(range, buffer, moved);
	for (let done = 0; done < lengthBytes;) {
		const { outcome, extents } = await source.allocation(sourceOffsetBytes + done, limits.lbaStatusDescriptorsMax);
		if (outcome !== 'good') return outcome;
		for (const extent of extents) {
			const end = Math.min(done + extent.lengthBytes, lengthBytes);
			while (done < end) {
				const bytes = extent.isMapped ? Math.min(end - done, buffer.length) : end - done;
				const step = extent.isMapped ? await move(range, done, buffer.subarray(0, bytes)) : await clear(range, done, bytes);
				if (step !== 'good') return step;
				done += bytes;
				if (!moved(bytes)) return 'ended';
			}
			if (done === lengthBytes) break;
		}
	}
	return 'good';
}

async function copyBackwards(range: CopyRange, buffer: Buffer, moved: (bytes: number) => boolean): Promise<Outcome | 'ended'> {
	for (let left = range.lengthBytes; left > 0;) {
		const bytes = Math.min(left, buffer.length);
		left -= bytes;
		const outcome = await move(range, left, buffer.subarray(0, bytes));
		if (outcome !== 'good') return outcome;
		if (!moved(bytes)) return 'ended';
	}
	return 'good';
}

/** The buffer of a copy. */
export function copyBuffer(): Buffer {
	return Buffer.allocUnsafeSlow(limits.copyPieceBytes);
}

async function move(range: CopyRange, at: number, piece: Buffer): Promise<Outcome> {
	const { source, sourceOffsetBytes, destination, destinationOffsetBytes, fua } = range;
	const outcome = await completed((completion) => source.read(sourceOffsetBytes + at, piece, completion));
	return outcome === 'good'
		? await completed((completion) => destination.write(destinationOffsetBytes + at, piece, fua, completion))
		: outcome;
}

async function clear({ destination, destinationOffsetBytes, fua }: CopyRange, at: number, lengthBytes: number): Promise<Outcome> {
	return await completed((completion) => destination.zero(destinationOffsetBytes + at, lengthBytes, fua, completion));
}

function completed(start: (completion: Completion) => void): Promise<Outcome> {
	return new Promise((resolve) => start({ complete: resolve }));
}
