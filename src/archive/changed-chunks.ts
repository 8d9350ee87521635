import type { Outcome } from '../blockvol/block-device.ts';
import { pageBytes } from '../blockvol/limits.ts';
import { limits } from './limits.ts';
import { ArchiveError, type SnapshotSource } from './repository-types.ts';

/** Bytes of a volume that have to be looked at. */
export interface ByteRange {
	readonly offsetBytes: number;
	readonly lengthBytes: number;
}

/** Chunks of one list, ascending. */
export interface ListOfChunks {
	readonly list: number;
	readonly chunks: readonly number[];
}

const extentsPerCall = 1024;

/** What a device says is mapped, ascending. */
export async function* allocatedRanges(device: SnapshotSource['device'], signal: AbortSignal | undefined): AsyncGenerator<ByteRange> {
	for (let offsetBytes = 0; offsetBytes < device.sizeBytes;) {
		signal?.throwIfAborted();
		const { outcome, extents } = await device.allocation(offsetBytes, extentsPerCall);
		if (outcome !== 'good' || extents.length === 0) throw unreadable(outcome, offsetBytes);
		for (const { lengthBytes, isMapped } of extents) {
			if (isMapped) yield { offsetBytes, lengthBytes };
			offsetBytes += lengthBytes;
		}
	}
}

export async function* pageRanges(ranges: AsyncIterable<{ firstPage: number; pages: number }>): AsyncGenerator<ByteRange> {
	for await (const { firstPage, pages } of ranges) yield { offsetBytes: firstPage * pageBytes, lengthBytes: pages * pageBytes };
}

/** The chunks that ascending ranges touch, and `extra` ones (ascending), by lists: each list once, each chunk once. */
export async function* chunksByList(
	ranges: AsyncIterable<ByteRange>,
	chunkBytes: number,
	chunks: number,
	extra: readonly number[] = [],
): AsyncGenerator<ListOfChunks> {
	let list = 0;
	let open: number[] = [];
	for await (const chunk of merged(chunksOfRanges(ranges, chunkBytes, chunks), extra)) {
		const of = Math.floor(chunk / limits.entriesPerList);
		if (of !== list && open.length > 0) {
			yield { list, chunks: open };
			open = [];
		}
		list = of;
		open.push(chunk);
	}
	if (open.length > 0) yield { list, chunks: open };
}

async function* chunksOfRanges(ranges: AsyncIterable<ByteRange>, chunkBytes: number, chunks: number): AsyncGenerator<number> {
	let next = 0;
	for await (const { offsetBytes, lengthBytes } of ranges) {
		const end = Math.min(chunks, Math.ceil((offsetBytes + lengthBytes) / chunkBytes));
		for (let chunk = Math.max(next, Math.floor(offsetBytes / chunkBytes)); chunk < end; chunk++) yield chunk;
		next = Math.max(next, end);
	}
}

async function* merged(chunks: AsyncIterable<number>, extra: readonly number[]): AsyncGenerator<number> {
	let at = 0;
	for await (const chunk of chunks) {
		for (let first = extra[at]; first !== undefined && first < chunk; first = extra[at]) {
			yield first;
			at++;
		}
		if (extra[at] === chunk) at++;
		yield chunk;
	}
	yield* extra.slice(at);
}

export function unreadable(outcome: Outcome, offsetBytes: number): ArchiveError {
	return new ArchiveError('source', `The snapshot cannot be read at byte ${offsetBytes}: ${outcome}.`);
}
