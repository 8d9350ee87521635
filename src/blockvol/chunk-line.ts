import type { Logger } from '../os/logger.ts';
import { limits, type Tuning } from './limits.ts';
import type { RemoteChunks } from './remote-file.ts';
import { RemoteFailure, type RemotePages } from './remote-pages.ts';

/** Who wants a chunk: somebody who reads it now, somebody who may read it next, or the filler. */
const priorities = ['read', 'ahead', 'fill'] as const;
type Priority = (typeof priorities)[number];

/** A chunk on its way, or in memory until it is stored. */
interface Work {
	readonly chunk: number;
	priority: Priority;
	/** No attempt begins after this. */
	untilMs: number;
	attempts: number;
	readonly fetched: PromiseWithResolvers<Buffer>;
	/** True if it is stored; false if it was given up, or could not be stored. */
	readonly ended: PromiseWithResolvers<boolean>;
	pause: NodeJS.Timeout | undefined;
}

export interface ChunkLineOwner {
	/** Keeps what was fetched; false if that was not possible. Never rejects. */
	store(chunk: number, bytes: Buffer): Promise<boolean>;
}

/** How often the pause between two attempts doubles. */
const doublingsMax = 5;

/**
 * Fetches chunks: each once, however many wait for it, a bounded number and amount at a time, first those that somebody reads.
 *
 *   queued ─→ fetching ─→ fetched: who waits is answered ─→ storing ─→ ended
 *     ▲          │ failed
 *     └─ pausing ┘─→ given up, when everybody's time is over or trying again is no use
 *
 * Nobody's cancel cuts a fetch. A reader waits for tuning.remoteWaitMs at most and is told then that there is nothing; the next one finds what came of it.
 */
export class ChunkLine {
	readonly #pages: RemotePages;
	readonly #chunks: RemoteChunks;
	readonly #tuning: Tuning;
	readonly #log: Logger;
	readonly #owner: ChunkLineOwner;
	readonly #works = new Map<number, Work>();
	readonly #queues: Record<Priority, Set<Work>> = { read: new Set(), ahead: new Set(), fill: new Set() };
	readonly #closing = new AbortController();
	readonly #slots: number;
	readonly #placeless: (() => void)[] = [];
	#running = 0;
	/** Of those the ones that nobody reads. */
	#runningBehind = 0;
	#failedInARow = 0;
	readonly #whenIdle: (() => void)[] = [];
	fetches = 0;
	failures = 0;
	failure: string | undefined;

	constructor(pages: RemotePages, chunks: RemoteChunks, tuning: Tuning, log: Logger, owner: ChunkLineOwner) {
		this.#pages = pages;
		this.#chunks = chunks;
		this.#tuning = tuning;
		this.#log = log;
		this.#owner = owner;
		this.#slots = Math.max(1, Math.min(tuning.remoteFetchesMax, Math.floor(tuning.remoteFetchBytesMax / chunks.chunkBytes)));
	}

	/** Chunks on their way, in pauses and being stored. */
	get underWay(): number {
		return this.#works.size;
	}

	/** True while somebody waits for a chunk. */
	get isRead(): boolean {
		return this.#queues.read.size > 0 || this.#running > this.#runningBehind;
	}

	/** The bytes of a chunk, to be read only; undefined if they could not be had in time. `untilMs`: of performance.now(). */
	async read(chunk: number, untilMs = performance.now() + this.#tuning.remoteWaitMs): Promise<Buffer | undefined> {
		while (!this.#works.has(chunk) && this.#works.size >= limits.remoteQueuedMax) if (!(await this.#place(untilMs))) return undefined;
		if (this.#closing.signal.aborted) return undefined;
		const { fetched } = this.#join(chunk, 'read', untilMs);
		return inTime(fetched.promise, untilMs);
	}

	/** Fetches a chunk that somebody may read soon, if there is room. */
	ahead(chunk: number): void {
		if (this.#closing.signal.aborted || this.#works.has(chunk) || this.#queues.ahead.size >= this.#tuning.remoteAheadMax) return;
		this.#join(chunk, 'ahead', performance.now() + this.#tuning.remoteWaitMs);
	}

	/** Fetches and stores a chunk; false if that was not possible now. */
	fill(chunk: number): Promise<boolean> {
		if (this.#closing.signal.aborted) return Promise.resolve(false);
		return this.#join(chunk, 'fill', performance.now() + this.#tuning.remoteWaitMs).ended.promise;
	}

	/** Resolves when no chunk is on its way. */
	idle(): Promise<void> {
		return this.#works.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#whenIdle.push(resolve));
	}

	/** Ends every fetch and every wait; what is being stored comes to its end. */
	close(): void {
		this.#closing.abort();
		const error = new RemoteFailure('the volume is being closed', false);
		for (const queue of Object.values(this.#queues)) for (const work of queue) this.#giveUp(work, error);
		for (const work of this.#works.values()) {
			if (work.pause !== undefined) this.#giveUp(work, error);
		}
		for (const resolve of this.#placeless.splice(0)) resolve();
	}

	#join(chunk: number, priority: Priority, untilMs: number): Work {
		let work = this.#works.get(chunk);
		if (work === undefined) {
			work = { chunk, priority, untilMs, attempts: 0, fetched: Promise.withResolvers(), ended: Promise.withResolvers(), pause: undefined };
			// Read-ahead that fails is nobody's failure.
			work.fetched.promise.catch(() => undefined);
			this.#works.set(chunk, work);
			this.#queues[priority].add(work);
			this.#serve();
			return work;
		}
		work.untilMs = Math.max(work.untilMs, untilMs);
		if (priorities.indexOf(priority) < priorities.indexOf(work.priority)) this.#raise(work, priority);
		return work;
	}

	#raise(work: Work, priority: Priority): void {
		const isQueued = this.#queues[work.priority].delete(work);
		// One that is fetched already keeps its place among those that nobody reads, as it was counted.
		if (!isQueued && work.pause === undefined) return;
		work.priority = priority;
		if (isQueued) this.#queues[priority].add(work);
		this.#serve();
	}

	#serve(): void {
		while (this.#running < this.#slots) {
			// One place is kept for whoever reads.
			const isBehindFull = this.#runningBehind > 0 && this.#runningBehind >= this.#slots - 1;
			const { read, ahead, fill } = this.#queues;
			const work = firstOf(read) ?? (isBehindFull ? undefined : (firstOf(ahead) ?? firstOf(fill)));
			if (work === undefined) return;
			this.#queues[work.priority].delete(work);
			void this.#fetch(work);
		}
	}

	async #fetch(work: Work): Promise<void> {
		const isBehind = work.priority !== 'read';
		this.#running++;
		if (isBehind) this.#runningBehind++;
		try {
			const bytes = await this.#attempt(work.chunk).catch((error: unknown) => this.#failed(work, error));
			if (bytes === undefined) return;
			this.#succeeded();
			work.fetched.resolve(bytes);
			const isStored = await this.#owner.store(work.chunk, bytes);
			this.#drop(work, isStored);
		} finally {
			this.#running--;
			if (isBehind) this.#runningBehind--;
			this.#serve();
		}
	}

	async #attempt(chunk: number): Promise<Buffer> {
		const ending = new AbortController();
		const { signal } = this.#closing;
		const close = (): void => ending.abort(signal.reason);
		signal.addEventListener('abort', close);
		const { remoteAttemptMs } = this.#tuning;
		const timer = setTimeout(
			() => ending.abort(new RemoteFailure(`nothing came within ${remoteAttemptMs} ms`, true)),
			remoteAttemptMs,
		).unref();
		try {
			// A source that does not end with the signal must not keep the place.
			const aborted = new Promise<never>((_, reject) => {
				ending.signal.addEventListener('abort', () => reject(ending.signal.reason as Error));
				if (signal.aborted) close();
			});
			const bytes = await Promise.race([this.#pages.fetch(chunk, ending.signal), aborted]);
			const expected = this.#chunks.bytesOf(chunk);
			if (bytes.length !== expected) throw new RemoteFailure(`chunk ${chunk} has ${bytes.length} bytes, not ${expected}`, false);
			return bytes;
		} finally {
			clearTimeout(timer);
			signal.removeEventListener('abort', close);
		}
	}

	#succeeded(): void {
		this.fetches++;
		if (this.#failedInARow > 0) this.#log.info({ failures: this.#failedInARow }, 'pages of an archived snapshot can be fetched again');
		this.#failedInARow = 0;
		this.failure = undefined;
	}

	/** Has the chunk tried again, or gives it up. */
	#failed(work: Work, error: unknown): undefined {
		if (this.#closing.signal.aborted) {
			this.#giveUp(work, error);
			return;
		}
		this.failures++;
		this.#failedInARow++;
		this.failure = error instanceof Error ? error.message : String(error);
		const { identity } = this.#chunks;
		this.#log.warn({ ...identity, chunk: work.chunk, err: error }, 'a chunk of an archived snapshot could not be fetched');
		const pauseMs = this.#tuning.remoteRetryMs * 2 ** Math.min(work.attempts++, doublingsMax);
		const isUseless = error instanceof RemoteFailure && !error.isRetryable;
		if (isUseless || performance.now() + pauseMs >= work.untilMs) {
			this.#giveUp(work, error);
			return;
		}
		work.pause = setTimeout(() => {
			work.pause = undefined;
			this.#queues[work.priority].add(work);
			this.#serve();
		}, pauseMs).unref();
	}

	#giveUp(work: Work, error: unknown): void {
		clearTimeout(work.pause);
		this.#queues[work.priority].delete(work);
		work.fetched.reject(error);
		this.#drop(work, false);
	}

	#drop(work: Work, isStored: boolean): void {
		this.#works.delete(work.chunk);
		work.ended.resolve(isStored);
		this.#placeless.shift()?.();
		if (this.#works.size === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
	}

	/** Waits for a place in the line; false if there was none in time. */
	#place(untilMs: number): Promise<boolean> {
		const { promise, resolve } = Promise.withResolvers<boolean>();
		const timer = setTimeout(() => {
			const at = this.#placeless.indexOf(wake);
			if (at >= 0) this.#placeless.splice(at, 1);
			resolve(false);
		}, untilMs - performance.now());
		const wake = (): void => {
			clearTimeout(timer);
			resolve(true);
		};
		this.#placeless.push(wake);
		return promise;
	}
}

/** What a promise resolves to, or undefined if it rejects or takes longer. */
async function inTime<T>(promise: Promise<T>, untilMs: number): Promise<T | undefined> {
	const late = Promise.withResolvers<undefined>();
	const timer = setTimeout(() => late.resolve(undefined), untilMs - performance.now());
	try {
		return await Promise.race([promise, late.promise]);
	} catch {
		// Why, the line has counted and told.
		return undefined;
	} finally {
		clearTimeout(timer);
	}
}

function firstOf<T>(set: ReadonlySet<T>): T | undefined {
	const [first] = set;
	return first;
}
