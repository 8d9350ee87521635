import { createHash } from 'node:crypto';
import { printDigest } from '../admin/byte-range.ts';
import type { VolumeView } from '../admin/schemas.ts';
import type { ImportView, NewImport } from '../admin/stream-schemas.ts';
import type { DiskPart } from '../archive/stream/image-source.ts';
import { type ApiClient, ApiError } from './api-client.ts';
import { insist, isPassing } from './stream-retry.ts';

/** What is sent at a time. What a lost connection breaks off is sent again. */
const partBytes = 8 * 2 ** 20;
/** Zeros from this length on are told and not sent. */
const zeroBytesMin = 2 ** 20;
const pageBytes = 4096;
/** The last flush of a large volume takes long. */
const finishMs = 15 * 60_000;

type Api = Pick<ApiClient, 'bytes' | 'get' | 'post' | 'delete'>;

/** One import, from the front to the back. */
export class Upload {
	readonly #client: Api;
	readonly #path: string;
	readonly #name: string;
	readonly #uuid: string;
	#buffer = Buffer.alloc(partBytes);
	/** Its neighbour: one is filled while the other one is sent. */
	#other = Buffer.alloc(partBytes);
	#sending: Promise<void> = Promise.resolve();
	#filled = 0;
	/** Zeros that were not told yet, behind what is in the buffer. */
	#zeroBytes = 0;
	#offsetBytes: number;

	constructor(client: Api, { id, name, uuid, offsetBytes }: ImportView) {
		this.#client = client;
		this.#path = `/v1/imports/${encodeURIComponent(id)}`;
		this.#name = name;
		this.#uuid = uuid;
		this.#offsetBytes = offsetBytes;
	}

	static begin(client: Api, wish: NewImport): Promise<ImportView> {
		return client.post<ImportView>('/v1/imports', wish);
	}

	/** The import of that name that is under way. */
	static async find(client: Api, name: string): Promise<ImportView | undefined> {
		const { imports } = await client.get<{ imports: ImportView[] }>('/v1/imports');
		return imports.find((one) => one.name === name);
	}

	/** What was sent up to now, and has come when nothing is under way. */
	get offsetBytes(): number {
		return this.#offsetBytes;
	}

	async add({ lengthBytes, data }: DiskPart): Promise<void> {
		if (data === undefined || isZero(data)) {
			this.#zeroBytes += lengthBytes;
			return;
		}
		await this.#settleZeros();
		await this.#fill(data);
	}

	/** Everything was added: the volume appears. */
	async finish(): Promise<VolumeView> {
		await this.#settleZeros();
		await this.#put();
		await this.#sending;
		const body = Buffer.from(JSON.stringify({ lengthBytes: this.#offsetBytes }));
		let wasAsked = false;
		return await insist(async () => {
			try {
				const headers = { 'content-type': 'application/json' };
				const answer = await this.#client.bytes('POST', `${this.#path}/finish`, { headers, body, timeoutMs: finishMs });
				return JSON.parse(answer.body.toString('utf8')) as VolumeView;
			} catch (error) {
				// It was made, and the answer that said so was lost.
				if (wasAsked && error instanceof ApiError && error.status === 404) {
					const volume = await this.#client.get<VolumeView>(`/v1/volumes/${encodeURIComponent(this.#name)}`);
					if (volume.uuid === this.#uuid) return volume;
				}
				wasAsked = true;
				throw error;
			}
		});
	}

	/** Gives it up, if that can be told. */
	async cancel(): Promise<void> {
		// Whatever becomes of it.
		await this.#sending.catch(() => undefined);
		try {
			await this.#client.delete(this.#path);
		} catch (error) {
			// It gives itself up when nothing comes.
			if (!(error instanceof ApiError)) throw error;
		}
	}

	/** Zeros that are worth it are told, from the next page on; others become bytes. */
	async #settleZeros(): Promise<void> {
		const [all, head] = [this.#zeroBytes, (pageBytes - (this.#filled % pageBytes)) % pageBytes];
		this.#zeroBytes = 0;
		const told = Math.floor((all - head) / pageBytes) * pageBytes;
		if (told < zeroBytesMin) return await this.#fillZeros(all);
		await this.#fillZeros(head);
		await this.#put();
		const offsetBytes = this.#offsetBytes;
		await this.#send(offsetBytes + told, async () => {
			const body = Buffer.from(JSON.stringify({ offsetBytes, lengthBytes: told }));
			await this.#client.bytes('POST', `${this.#path}/zeros`, { headers: { 'content-type': 'application/json' }, body });
		});
		await this.#fillZeros(all - head - told);
	}

	async #fillZeros(lengthBytes: number): Promise<void> {
		for (let left = lengthBytes; left > 0;) {
			const length = Math.min(left, partBytes - this.#filled);
			this.#buffer.fill(0, this.#filled, this.#filled + length);
			left -= length;
			await this.#advance(length);
		}
	}

	async #fill(data: Buffer): Promise<void> {
		for (let at = 0; at < data.length;) {
			const length = Math.min(data.length - at, partBytes - this.#filled);
			data.copy(this.#buffer, this.#filled, at, at + length);
			at += length;
			await this.#advance(length);
		}
	}

	async #advance(lengthBytes: number): Promise<void> {
		this.#filled += lengthBytes;
		if (this.#filled === partBytes) await this.#put();
	}

	/** Begins to send what the buffer has; what was sent before has come when this returns. */
	async #put(): Promise<void> {
		if (this.#filled === 0) return;
		const body = this.#buffer.subarray(0, this.#filled);
		const end = this.#offsetBytes + body.length;
		const headers = {
			'content-type': 'application/octet-stream',
			'content-range': `bytes ${this.#offsetBytes}-${end - 1}/*`,
			'content-digest': printDigest(createHash('sha256').update(body).digest()),
		};
		await this.#send(end, async () => void (await this.#client.bytes('PUT', `${this.#path}/data`, { headers, body })));
		[this.#buffer, this.#other] = [this.#other, this.#buffer];
		this.#filled = 0;
	}

	/** Sends something, when what was sent before has come, that takes the import to `end`; after a lost connection it asks first whether that came. */
	async #send(end: number, send: () => Promise<void>): Promise<void> {
		await this.#sending;
		let mayHaveCome = false;
		this.#sending = insist(async () => {
			if (mayHaveCome) {
				const { offsetBytes } = await this.#client.get<ImportView>(this.#path);
				if (offsetBytes === end) return;
			}
			try {
				await send();
			} catch (error) {
				mayHaveCome = isPassing(error);
				throw error;
			}
		});
		// Whoever sends the next part is told.
		this.#sending.catch(() => undefined);
		this.#offsetBytes = end;
	}
}

function isZero(data: Buffer): boolean {
	return data.length > 0 && data[0] === 0 && (data.length === 1 || data.subarray(1).equals(data.subarray(0, -1)));
}
