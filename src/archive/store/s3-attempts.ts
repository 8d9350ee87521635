import { setTimeout as wait } from 'node:timers/promises';
import { type S3Times, s3Limits } from './limits.ts';
import { StoreError } from './object-store.ts';
import { Pace } from './pace.ts';
import { type S3Place, failureOf, judge } from './s3-error.ts';

export interface AttemptPolicy {
	readonly attempts: number;
	/** No attempt begins later than so long after the operation did. */
	readonly retryMs: number;
	/** The bucket was there: that it is not is what a server may say whose parts are being restarted, and is asked again like any other failure of a server. */
	readonly bucketWasThere: boolean;
}

export const usualPolicy: AttemptPolicy = { attempts: s3Limits.attempts, retryMs: s3Limits.retryMs, bucketWasThere: true };
export const openPolicy: AttemptPolicy = { attempts: s3Limits.openAttempts, retryMs: s3Limits.openRetryMs, bucketWasThere: false };

/** One attempt of an operation. */
export interface Attempt {
	/** Ends with the operation's signal, with the store, and when the attempt's time is up. */
	readonly signal: AbortSignal;
	/** Whether an earlier attempt may have taken effect, its answer lost. */
	readonly mayHaveHappened: boolean;
	/** Sets the attempt's time for so many bytes, from now on. */
	allow(sizeBytes: number): void;
}

export interface OperationOptions {
	/** For messages: 'writing KEY'. */
	readonly doing: string;
	readonly signal?: AbortSignal | undefined;
	readonly policy?: AttemptPolicy;
	/** Of the body that is sent. */
	readonly sizeBytes?: number;
	/** Answers that are results and no errors, as 404 is. Seen before anything else. */
	readonly expected?: (name: string, status: number) => boolean;
}

export interface Clock {
	/** Monotonic. */
	nowMs(): number;
	wait(ms: number, signal: AbortSignal): Promise<void>;
	/** Calls back once; returns what prevents that. */
	timer(ms: number, done: () => void): () => void;
	/** From 0 to 1. */
	random(): number;
}

const realClock: Clock = {
	nowMs: () => performance.now(),
	wait: async (ms, signal) => {
		try {
			await wait(ms, undefined, { signal });
		} catch {
			signal.throwIfAborted();
		}
	},
	timer: (ms, done) => {
		const timer = setTimeout(done, ms);
		return () => clearTimeout(timer);
	},
	random: Math.random,
};

/** The server's answer, where it was expected and no error. */
export class ExpectedAnswer {
	readonly name: string;
	readonly status: number;

	constructor(name: string, status: number) {
		this.name = name;
		this.status = status;
	}
}

/** Runs operations as attempts: paced, each with its time, with waits between them that grow and are spread, and an end. */
export class Attempts {
	readonly pace = new Pace(s3Limits.sockets, s3Limits.waiting);
	readonly #place: S3Place;
	readonly #times: Pick<S3Times, 'attemptMs' | 'attemptMsPerMiB'>;
	readonly #clock: Clock;
	readonly #closing = new AbortController();

	constructor(place: S3Place, times: Pick<S3Times, 'attemptMs' | 'attemptMsPerMiB'>, clock: Clock = realClock) {
		this.#place = place;
		this.#times = times;
		this.#clock = clock;
	}

	close(): void {
		this.#closing.abort(new StoreError('failed', `${this.#place.bucket} was closed`));
	}

	async run<T>(options: OperationOptions, work: (attempt: Attempt) => Promise<T>): Promise<T | ExpectedAnswer> {
		const { doing, policy = usualPolicy } = options;
		const ended = options.signal === undefined ? this.#closing.signal : AbortSignal.any([options.signal, this.#closing.signal]);
		const begunMs = this.#clock.nowMs();
		let mayHaveHappened = false;
		for (let number = 1; ; number++) {
			ended.throwIfAborted();
			try {
				return await this.pace.run(
					ended,
					() => this.#attempt(options, ended, mayHaveHappened, work),
					(error) => judge(error, doing, this.#place)?.slowDown === true,
				);
			} catch (error) {
				ended.throwIfAborted();
				const verdict = judge(error, doing, this.#place);
				if (verdict === undefined) throw error;
				mayHaveHappened ||= !verdict.refused;
				const waitMs = this.#waitMs(number, error);
				const over = number >= policy.attempts || this.#clock.nowMs() - begunMs + waitMs > policy.retryMs;
				const again = verdict.again || (policy.bucketWasThere && verdict.error.code === 'notFound');
				if (!again || over) throw final(verdict.error, again, number);
				await this.#clock.wait(waitMs, ended);
			}
		}
	}

	async #attempt<T>(
		options: OperationOptions,
		ended: AbortSignal,
		mayHaveHappened: boolean,
		work: (attempt: Attempt) => Promise<T>,
	): Promise<T | ExpectedAnswer> {
		const time = new AbortController();
		let forget = (): void => undefined;
		const allow = (sizeBytes: number): void => {
			forget();
			const ms = this.#times.attemptMs + (sizeBytes / 1024 / 1024) * this.#times.attemptMsPerMiB;
			forget = this.#clock.timer(ms, () => {
				const sentence = `${options.doing}: no whole answer from ${this.#place.endpoint} in ${Math.ceil(ms / 1000)} s`;
				time.abort(new StoreError('unreachable', sentence));
			});
		};
		allow(options.sizeBytes ?? 0);
		try {
			return await work({ signal: AbortSignal.any([ended, time.signal]), mayHaveHappened, allow });
		} catch (error) {
			time.signal.throwIfAborted();
			const failure = failureOf(error);
			if (failure?.status !== undefined && options.expected?.(failure.name, failure.status) === true)
				return new ExpectedAnswer(failure.name, failure.status);
			throw error;
		} finally {
			forget();
		}
	}

	/** Twice as long each time, anywhere in the upper half of it (so that many do not come back together), and as long as the server asks for. */
	#waitMs(number: number, error: unknown): number {
		const ceilingMs = Math.min(s3Limits.longestWaitMs, s3Limits.firstWaitMs * 2 ** (number - 1));
		const asked = Number((error as { $response?: { headers?: Record<string, string> } }).$response?.headers?.['retry-after'] ?? 0);
		const askedMs = Number.isFinite(asked) && asked > 0 ? Math.min(asked * 1000, s3Limits.longestWaitMs) : 0;
		return Math.max(askedMs, ((1 + this.#clock.random()) / 2) * ceilingMs);
	}
}

function final(error: StoreError, again: boolean, attempts: number): StoreError {
	if (!again || attempts === 1) return error;
	return new StoreError(error.code, `${error.message} (tried ${attempts} times)`, { cause: error.cause, retryable: error.retryable });
}
