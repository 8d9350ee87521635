import { createHash } from 'node:crypto';
import { parseDigest } from '../admin/byte-range.ts';
import type { ExportFormat, ExtentsView } from '../admin/stream-schemas.ts';
import { type ApiClient, ApiError } from './api-client.ts';
import type { SnapshotReference } from './snapshot-reference.ts';
import { insist, isStarting, oneAhead } from './stream-retry.ts';

/** What is fetched at a time, and written when its checksum is right. */
const partBytes = 16 * 2 ** 20;
/** The tables of a qcow2 image of many terabytes take minutes. */
const timeoutMs = 15 * 60_000;

export interface Piece {
	readonly offsetBytes: number;
	readonly data: Buffer;
}

/** An export that is fetched in parts, each with its checksum; a lost connection costs a part at most. */
export class Download {
	readonly #client: ApiClient;
	readonly #path: string;
	readonly #format: ExportFormat;
	#etag: string | undefined;
	#lengthBytes: number | undefined;

	constructor(client: ApiClient, { volume, name }: SnapshotReference, format: ExportFormat) {
		this.#client = client;
		this.#path = `/v1/volumes/${encodeURIComponent(volume)}/snapshots/${encodeURIComponent(name)}/export`;
		this.#format = format;
	}

	/** Names the snapshot and the format: the same each time, and another one for another snapshot of this name. */
	get identity(): string {
		return (this.#etag ?? '').replaceAll(/[^0-9a-z-]/g, '');
	}

	/** Of the image. */
	get lengthBytes(): number {
		return this.#lengthBytes ?? 0;
	}

	/** Asks what there is. */
	async open(): Promise<void> {
		// Where nobody answers, perhaps nobody is there.
		await insist(() => this.#attempt(0, 1), isStarting);
	}

	/** The image from a byte on, without gaps. */
	whole(fromBytes: number): AsyncGenerator<Piece> {
		return this.#pieces([{ offsetBytes: fromBytes, lengthBytes: this.lengthBytes - fromBytes }]);
	}

	/** Of a raw image what may be something else than zeros, ascending. */
	sparse(fromBytes: number): AsyncGenerator<Piece> {
		return this.#pieces(this.#extents(fromBytes));
	}

	#pieces(ranges: AsyncIterable<Range> | Iterable<Range>): AsyncGenerator<Piece> {
		return oneAhead(cut(ranges), async ({ offsetBytes, lengthBytes }) => ({
			offsetBytes,
			data: await this.#part(offsetBytes, offsetBytes + lengthBytes),
		}));
	}

	async *#extents(fromBytes: number): AsyncGenerator<Range> {
		for (let from: number | undefined = fromBytes; from !== undefined && from < this.lengthBytes;) {
			const at: number = from;
			const found = await insist(() => this.#client.get<ExtentsView>(`${this.#path}/extents?from=${at}`));
			if (found.etag !== this.#etag) throw new ApiError('The snapshot was replaced by another one meanwhile: export that anew.', 0);
			yield* found.ranges;
			from = found.nextBytes;
		}
	}

	#part(from: number, to: number): Promise<Buffer> {
		return insist(() => this.#attempt(from, to));
	}

	async #attempt(from: number, to: number): Promise<Buffer> {
		const headers = {
			range: `bytes=${from}-${to - 1}`,
			te: 'trailers',
			...(this.#etag === undefined ? {} : { 'if-match': this.#etag }),
		};
		const answer = await this.#client.bytes('GET', `${this.#path}?format=${this.#format}`, { headers, timeoutMs });
		const { body } = answer;
		const digest = parseDigest(answer.trailers['content-digest']);
		if (answer.status !== 206 || body.length !== to - from || digest === undefined)
			throw new ApiError(`The answer to a request for ${to - from} bytes is not that: is it another program, or a proxy?`, answer.status);
		// Status 0: like a connection that was lost.
		if (!digest.equals(createHash('sha256').update(body).digest())) throw new ApiError('What came has another checksum than was sent.', 0);
		this.#etag = answer.headers.etag;
		this.#lengthBytes = Number(/\/(?<length>\d+)$/.exec(answer.headers['content-range'] ?? '')?.groups?.['length']);
		return body;
	}
}

interface Range {
	readonly offsetBytes: number;
	readonly lengthBytes: number;
}

async function* cut(ranges: AsyncIterable<Range> | Iterable<Range>): AsyncGenerator<Range> {
	for await (const { offsetBytes, lengthBytes } of ranges) {
		const end = offsetBytes + lengthBytes;
		for (let at = offsetBytes; at < end; at += partBytes) yield { offsetBytes: at, lengthBytes: Math.min(partBytes, end - at) };
	}
}
