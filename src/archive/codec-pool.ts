import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Codec, CodecResult, CodecTask } from './codec.ts';
import type { ThreadUrgency } from '../os/thread-urgency.ts';
import type { RepositoryKeys } from './repository-keys.ts';
import { ArchiveError, type ArchiveErrorCode } from './repository-types.ts';
import type { ObjectKind } from './sealed-object.ts';

interface Reply {
	readonly id: number;
	/** From its begin to its end. */
	readonly tookMs: number;
	readonly result?: CodecResult;
	readonly fault?: { readonly code: ArchiveErrorCode; readonly message: string; readonly object: string };
}

interface Waiting {
	readonly resolve: (result: CodecResult) => void;
	readonly reject: (error: Error) => void;
}

interface Thread {
	readonly worker: Worker;
	readonly urgency: ThreadUrgency;
	readonly waiting: Map<number, Waiting>;
}

export interface CodecPoolOptions {
	/** Of its threads. In the background by default, as long as they get on there. */
	readonly urgency?: 'low' | 'background';
	/** A task that took longer says that background threads do not get on, here and not elsewhere. By default 250: a chunk of the default length takes 10 where there is a core for it, the longest 160. */
	readonly starvedMs?: number;
}

const starvedMsDefault = 250;
/** For how long it is believed that background threads do not get on. */
const starvedForMs = 60_000;
/** Until when that is so: cores are everybody's, so each pool need not find out by itself. */
const ofAll = { starvedUntilMs: 0 };

/** Beside the sources it runs from them, beside dist/ from there. */
const workerUrl = new URL(`./codec-worker${extname(import.meta.url)}`, import.meta.url);
/** What a thread may keep of young objects: the bytes lie outside, and trees make many small ones (4 MiB: half of the time went into collecting them). */
const youngGenerationMiB = 16;

/**
 * The codec in worker threads. They start with the first task, hold no process open that has nothing else to do, and end with close(). Buffers move between the threads and are not
 * copied. How many tasks wait is bounded by those who ask: each chunk on its way is one.
 *
 * In the background they get what others leave, which is nothing where others take all. So when a task has taken too long, the threads are replaced by ones that get a share, and those of other pools that start in
 * the next minute are such, too: a thread cannot be raised, but a new one begins where its parent is.
 */
export class CodecPool implements Codec {
	readonly #keys: RepositoryKeys | undefined;
	readonly #size: number;
	readonly #starvedMs: number;
	readonly #threads: Thread[] = [];
	/** Threads that get no more tasks, and end with those that they have. */
	readonly #leaving = new Set<Thread>();
	readonly #ending = new Set<Promise<unknown>>();
	readonly #urgency: ThreadUrgency;
	readonly #shared: { starvedUntilMs: number };
	#next = 0;
	#isClosed = false;

	constructor(keys: RepositoryKeys | undefined, size: number, { urgency = 'background', starvedMs }: CodecPoolOptions = {}) {
		this.#keys = keys;
		this.#size = size;
		this.#urgency = urgency;
		this.#starvedMs = starvedMs ?? starvedMsDefault;
		this.#shared = starvedMs === undefined ? ofAll : { starvedUntilMs: 0 };
	}

	hash(plain: Uint8Array<ArrayBuffer>): ReturnType<Codec['hash']> {
		const whole = owned(plain);
		return this.#run({ task: 'hash', plain: whole }, whole) as ReturnType<Codec['hash']>;
	}

	seal(kind: ObjectKind, plain: Uint8Array<ArrayBuffer>): ReturnType<Codec['seal']> {
		const whole = owned(plain);
		return this.#run({ task: 'seal', kind, plain: whole }, whole) as ReturnType<Codec['seal']>;
	}

	async unseal(kind: ObjectKind, object: Buffer, key: string, plainMax: number): ReturnType<Codec['unseal']> {
		const whole = owned(object);
		const { plain, hash } = (await this.#run({ task: 'unseal', kind, object: whole, key, plainMax }, whole)) as Required<CodecResult>;
		return { plain: Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength), hash };
	}

	async tree(entries: Uint8Array): Promise<Uint8Array> {
		return (await this.#run({ task: 'tree', entries })).hash as Uint8Array;
	}

	async close(): Promise<void> {
		this.#isClosed = true;
		const threads = [...this.#threads.splice(0), ...this.#leaving];
		this.#leaving.clear();
		for (const thread of threads) fail(thread, new ArchiveError('closed', 'The repository was closed.'));
		await Promise.all([...this.#ending, ...threads.map(({ worker }) => worker.terminate())]);
	}

	#run(task: CodecTask, moved?: Uint8Array<ArrayBuffer>): Promise<CodecResult> {
		if (this.#isClosed) return Promise.reject(new ArchiveError('closed', 'The repository was closed.'));
		const thread = this.#thread();
		const id = this.#next++;
		return new Promise((resolve, reject) => {
			thread.waiting.set(id, { resolve, reject });
			thread.worker.ref();
			thread.worker.postMessage({ ...task, id }, moved === undefined ? [] : [moved.buffer]);
		});
	}

	/** The one that has least to do; another one as long as all are busy and there may be more. */
	#thread(): Thread {
		const least = this.#threads.toSorted((a, b) => a.waiting.size - b.waiting.size)[0];
		if (least !== undefined && (least.waiting.size === 0 || this.#threads.length === this.#size)) return least;
		const urgency = performance.now() < this.#shared.starvedUntilMs ? 'low' : this.#urgency;
		const worker = new Worker(workerUrl, {
			workerData: { keys: this.#keys, urgency },
			resourceLimits: { maxYoungGenerationSizeMb: youngGenerationMiB },
		});
		const thread: Thread = { worker, urgency, waiting: new Map() };
		worker.on('message', (reply: Reply) => this.#settle(thread, reply));
		worker.on('error', (error: Error) => {
			// What it was asked fails; the next task starts another one.
			const at = this.#threads.indexOf(thread);
			if (at >= 0) this.#threads.splice(at, 1);
			this.#leaving.delete(thread);
			fail(thread, error);
		});
		worker.unref();
		this.#threads.push(thread);
		return thread;
	}

	#settle(thread: Thread, { id, tookMs, result, fault }: Reply): void {
		const waiting = thread.waiting.get(id);
		thread.waiting.delete(id);
		if (thread.waiting.size === 0) thread.worker.unref();
		if (thread.urgency === 'background' && tookMs > this.#starvedMs) this.#raise();
		if (thread.waiting.size === 0 && this.#leaving.delete(thread)) this.#end(thread);
		if (fault === undefined) waiting?.resolve(result ?? {});
		else waiting?.reject(new ArchiveError(fault.code, fault.message, { object: fault.object }));
	}

	/** The next task is given to a new thread. */
	#raise(): void {
		this.#shared.starvedUntilMs = performance.now() + starvedForMs;
		for (const thread of this.#threads.splice(0)) {
			if (thread.waiting.size === 0) this.#end(thread);
			else this.#leaving.add(thread);
		}
	}

	#end({ worker }: Thread): void {
		const ending = worker.terminate().finally(() => this.#ending.delete(ending));
		this.#ending.add(ending);
	}
}

function fail(thread: Thread, error: Error): void {
	for (const { reject } of thread.waiting.values()) reject(error);
	thread.waiting.clear();
}

/** Bytes that have their buffer to themselves: what is moved to a thread is gone here, and Node shares one buffer among many small objects. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
	return bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer
		? new Uint8Array(bytes.buffer)
		: new Uint8Array(bytes);
}
