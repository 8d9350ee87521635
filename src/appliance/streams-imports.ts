import { exactSize, printSize } from '../os/size-text.ts';
import { createHash, randomUUID, type Hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { VolumeView } from '../admin/schemas.ts';
import type { ImportView, NewImport, ZeroRange } from '../admin/stream-schemas.ts';
import type { ImportPart } from '../admin/stream-routes.ts';
import { DeviceWriter } from '../archive/stream/device-writer.ts';
import { DeviceError } from '../archive/stream/stream-error.ts';
import { limits } from '../config/limits.ts';
import { UsageError } from '../config/usage-error.ts';
import { errorCode } from '../os/disk.ts';
import type { EventLog } from './event-log.ts';
import { type Shadow, type ShadowVolumes, refusal } from './shadow-volumes.ts';

/** Each has 4 MiB of buffers. */
export const importsMax = 4;
export const idleMsDefault = 10 * 60_000;
const pageBytes = limits.volumeBytesStep;
const zeros = Buffer.alloc(64 * 1024);

/** One import. Parts come in their order; those that broke off or were not right come again. */
interface Session {
	readonly id: string;
	readonly wish: NewImport;
	readonly shadow: Shadow;
	readonly writer: DeviceWriter;
	readonly startedAt: string;
	/** Of what came, if the whole has a checksum to be compared with. */
	hash: Hash | undefined;
	offsetBytes: number;
	/** What is being done now. */
	current: { readonly abandon: (() => void) | undefined; readonly ended: Promise<void> } | undefined;
	idle: NodeJS.Timeout | undefined;
	isOver: boolean;
}

export interface ImportParts {
	readonly shadows: ShadowVolumes;
	readonly events: EventLog;
	readonly idleMs?: number;
}

/**
 * Raw images on their way into shadow volumes:
 *
 *     begin ──▶ filling ──put, zero──▶ filling ──finish──▶ published
 *                  └── cancel, idle, an error of the device, a wrong checksum ──▶ discarded, nothing is left
 *
 * Steps of one import run one at a time. One that comes while a part is still being received, or zeros are being added to the checksum, ends that: who sent it has lost its connection and
 * is here again.
 */
export class StreamImports {
	readonly #parts: ImportParts;
	readonly #sessions = new Map<string, Session>();
	#beginning = 0;
	#isClosed = false;

	constructor(parts: ImportParts) {
		this.#parts = parts;
	}

	list(): ImportView[] {
		return [...this.#sessions.values()].map((session) => this.#view(session));
	}

	view(id: string): ImportView {
		return this.#view(this.#session(id));
	}

	async begin(wish: NewImport): Promise<ImportView> {
		if (this.#sessions.size + this.#beginning >= importsMax)
			throw new UsageError(`${importsMax} imports are under way, which is the most at a time.`, 'inUse');
		this.#beginning++;
		try {
			const { name, sizeBytes, blockSize, overwrite, sha256 } = wish;
			const shadow = await this.#parts.shadows.begin(name, sizeBytes, blockSize, { overwrite });
			const session: Session = {
				id: randomUUID(),
				wish,
				shadow,
				writer: new DeviceWriter(shadow.device),
				startedAt: new Date().toISOString(),
				hash: sha256 === undefined ? undefined : createHash('sha256'),
				offsetBytes: 0,
				current: undefined,
				idle: undefined,
				isOver: false,
			};
			if (this.#isClosed) {
				await shadow.discard();
				throw new UsageError('The appliance is being stopped.', 'unavailable');
			}
			this.#sessions.set(session.id, session);
			this.#wait(session);
			return this.#view(session);
		} finally {
			this.#beginning--;
		}
	}

	/** Nothing of a part counts that broke off, or is not right. */
	put(id: string, part: ImportPart): Promise<ImportView> {
		const abandon = (): void => part.abandon();
		return this.#step(id, abandon, async (session) => {
			const { from, to } = part.range;
			this.#checkNext(session, from, to - from);
			const { hash } = session;
			const whole = hash?.copy();
			const sha256 = createHash('sha256');
			const counted = async function* (): AsyncGenerator<Buffer> {
				let came = 0;
				for await (const chunk of part.bytes) {
					came += chunk.length;
					if (came > to - from) throw new UsageError('More came than Content-Range says.');
					// 64 KiB at a time, as they come: a few dozen microseconds.
					sha256.update(chunk);
					whole?.update(chunk);
					yield chunk;
				}
				if (came < to - from) throw new UsageError(`${came} bytes came, and Content-Range says ${to - from}.`);
			};
			try {
				await session.writer.write(from, counted());
			} catch (error) {
				if (isBrokenOff(error)) throw new UsageError('The part broke off: send it again.', 'inUse', { cause: error });
				throw error;
			}
			if (part.sha256 !== undefined && !part.sha256.equals(sha256.digest()))
				throw new UsageError('The part has another checksum than Content-Digest says: send it again.');
			session.hash = whole;
			session.offsetBytes = to;
			return this.#view(session);
		});
	}

	zero(id: string, { offsetBytes, lengthBytes }: ZeroRange): Promise<ImportView> {
		const abort = new AbortController();
		const abandon = (): void => abort.abort(new UsageError('The zeros were given up for another request: send them again.', 'inUse'));
		return this.#step(id, abandon, async (session) => {
			this.#checkNext(session, offsetBytes, lengthBytes);
			// Up to the end of the page: what is behind the end of the image is zeros too.
			await session.writer.zero(offsetBytes, Math.ceil(lengthBytes / pageBytes) * pageBytes);
			const whole = session.hash?.copy();
			if (whole !== undefined) await addZeros(whole, lengthBytes, abort.signal);
			session.hash = whole;
			session.offsetBytes += lengthBytes;
			return this.#view(session);
		});
	}

	finish(id: string, lengthBytes: number): Promise<VolumeView> {
		const { overwrite } = this.#session(id).wish;
		return this.#step(id, undefined, async (session) => {
			const { offsetBytes, hash, wish, shadow } = session;
			if (offsetBytes !== lengthBytes) throw new UsageError(`${exactSize(offsetBytes)} came, and not ${exactSize(lengthBytes)}.`);
			if (hash !== undefined && hash.copy().digest('hex') !== wish.sha256) {
				await this.#end(session);
				throw new UsageError(`What came has another SHA-256 than ${wish.sha256}: volume ${wish.name} was not made.`, 'inUse');
			}
			// Parts that broke off, or were not right, may have come further.
			await session.writer.zeroFrom(Math.ceil(offsetBytes / pageBytes) * pageBytes);
			const made = await shadow.publish({ overwrite });
			await this.#end(session);
			const kept = overwrite === undefined ? '' : ` What it was is volume ${overwrite.keepAs}.`;
			const message = `Volume ${wish.name} was imported: ${printSize(offsetBytes)}.${kept}`;
			this.#parts.events.add({ severity: 'info', kind: 'volume-imported', volume: wish.name, message });
			return made;
		});
	}

	async cancel(id: string): Promise<void> {
		await this.#step(id, undefined, (session) => this.#end(session));
	}

	/** Gives all up, before the volumes are closed. */
	async closeAll(): Promise<void> {
		this.#isClosed = true;
		await Promise.all(
			[...this.#sessions.values()].map(async (session) => {
				session.current?.abandon?.();
				await session.current?.ended;
				await this.#end(session);
			}),
		);
	}

	async #step<T>(id: string, abandon: (() => void) | undefined, work: (session: Session) => Promise<T>): Promise<T> {
		const session = this.#session(id);
		while (session.current !== undefined) {
			session.current.abandon?.();
			await session.current.ended;
		}
		if (session.isOver) throw noImport(id);
		clearTimeout(session.idle);
		const { promise, resolve } = Promise.withResolvers<undefined>();
		session.current = { abandon, ended: promise };
		try {
			return await work(session);
		} catch (error) {
			if (!(error instanceof DeviceError)) throw error;
			await this.#end(session);
			throw refusal(`Volume ${session.wish.name} was not made`, error.outcome, session.shadow.device.fault);
		} finally {
			session.current = undefined;
			resolve(undefined);
			if (!session.isOver) this.#wait(session);
		}
	}

	#checkNext({ offsetBytes, wish }: Session, from: number, lengthBytes: number): void {
		if (offsetBytes % pageBytes !== 0)
			throw new UsageError(`The image has ended at byte ${offsetBytes}: all parts but the last are multiples of ${pageBytes} bytes.`);
		if (from !== offsetBytes) throw new UsageError(`The next part begins at byte ${offsetBytes}, and not ${from}.`, 'inUse');
		if (from + lengthBytes > wish.sizeBytes)
			throw new UsageError(`The image is longer than ${exactSize(wish.sizeBytes)}, the size of volume ${wish.name}.`);
	}

	#wait(session: Session): void {
		clearTimeout(session.idle);
		session.idle = setTimeout(() => {
			const message = `The import of volume ${session.wish.name} was given up: nothing came for ${this.#idleMs / 60_000} minutes.`;
			this.#parts.events.add({ severity: 'warning', kind: 'import-given-up', volume: session.wish.name, message });
			void this.#end(session);
		}, this.#idleMs).unref();
	}

	/** Discards what was not published. */
	async #end(session: Session): Promise<void> {
		session.isOver = true;
		clearTimeout(session.idle);
		this.#sessions.delete(session.id);
		await session.shadow.discard();
	}

	get #idleMs(): number {
		return this.#parts.idleMs ?? idleMsDefault;
	}

	#session(id: string): Session {
		const session = this.#sessions.get(id);
		if (session === undefined) throw noImport(id);
		return session;
	}

	#view({ id, wish, shadow, startedAt, offsetBytes }: Session): ImportView {
		const { name, sizeBytes, blockSize, source, overwrite } = wish;
		return {
			id,
			name,
			uuid: shadow.device.uuid,
			sizeBytes,
			blockSize,
			...(overwrite === undefined ? {} : { keepAs: overwrite.keepAs }),
			source,
			offsetBytes,
			startedAt,
			idleSeconds: Math.ceil(this.#idleMs / 1000),
		};
	}
}

function noImport(id: string): UsageError {
	return new UsageError(`There is no import ${id.slice(0, 64)}: it has ended, or was given up.`, 'notFound');
}

/** In slices: the checksum of a terabyte of zeros must not stop the rest. It takes long: rejects with the reason of the signal. */
async function addZeros(hash: Hash, lengthBytes: number, signal: AbortSignal): Promise<void> {
	for (let left = lengthBytes; left > 0; left -= zeros.length) {
		signal.throwIfAborted();
		hash.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
		await nextTurn();
	}
}

/** Whether a part ended because who sent it is gone. */
function isBrokenOff(error: unknown): boolean {
	return ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED', 'EPIPE'].includes(errorCode(error));
}
