import type { DiskImage, DiskPart, RandomSource } from './image-source.ts';
import { writeBytes } from './limits.ts';

/** A file that knows its holes. */
export interface SparseSource extends RandomSource {
	/** The next range that may hold something else than zeros, at or after a position; undefined: only zeros follow. */
	nextData(positionBytes: number): Promise<{ startBytes: number; endBytes: number } | undefined>;
}

/** A raw image that can be read at any place. Holes of the file are zeros that are not read. */
export class RawDisk implements DiskImage {
	readonly sizeBytes: number;
	readonly #source: SparseSource;

	constructor(source: SparseSource) {
		this.#source = source;
		this.sizeBytes = source.sizeBytes;
	}

	async *parts(fromBytes: number): AsyncGenerator<DiskPart> {
		for (let at = fromBytes; at < this.sizeBytes;) {
			const next = await this.#source.nextData(at);
			const start = Math.min(this.sizeBytes, next?.startBytes ?? this.sizeBytes);
			if (start > at) yield { lengthBytes: start - at, data: undefined };
			at = Math.max(at, start);
			const end = Math.min(this.sizeBytes, next?.endBytes ?? this.sizeBytes);
			while (at < end) {
				const lengthBytes = Math.min(writeBytes, end - at);
				yield { lengthBytes, data: await this.#source.read(at, lengthBytes) };
				at += lengthBytes;
			}
		}
	}
}

/** A raw image from a pipe: it is read once, from its beginning. */
export class PipedDisk implements DiskImage {
	readonly sizeBytes = undefined;
	readonly #chunks: AsyncIterable<Buffer>;

	constructor(chunks: AsyncIterable<Buffer>) {
		this.#chunks = chunks;
	}

	async *parts(fromBytes: number): AsyncGenerator<DiskPart> {
		if (fromBytes !== 0) throw new RangeError('a pipe begins once');
		for await (const data of this.#chunks) yield { lengthBytes: data.length, data };
	}
}
