import type { LookupFunction } from 'node:net';
import type * as Aws from '@aws-sdk/client-s3';
import type { GetObjectCommandOutput, ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { type S3Times, s3Limits } from './limits.ts';
import type { S3Location } from './location.ts';
import {
	type ObjectInfo,
	type ObjectStore,
	type PutOptions,
	StoreError,
	type StoreOptions,
	checkKey,
	checkPrefix,
	checkSize,
} from './object-store.ts';
import {
	type Attempt,
	Attempts,
	type AttemptPolicy,
	type Clock,
	ExpectedAnswer,
	type OperationOptions,
	openPolicy,
	usualPolicy,
} from './s3-attempts.ts';
import { readBody } from './s3-body.ts';
import { type S3Connection, connectS3 } from './s3-client.ts';
import { putInParts, removeStaleUploads } from './s3-multipart.ts';
import { type S3Settings, s3Settings } from './s3-settings.ts';

/** For tests: another clock for the waits, other names for addresses. */
export interface S3Surroundings {
	readonly clock?: Clock;
	readonly lookup?: LookupFunction;
	readonly times?: Partial<S3Times>;
	readonly environment?: NodeJS.ProcessEnv;
}

type Commands = Pick<
	typeof Aws,
	'DeleteObjectCommand' | 'GetObjectCommand' | 'HeadObjectCommand' | 'ListObjectsV2Command' | 'PutObjectCommand'
>;

/** No key begins with a dot, so nobody else's object has this name; it stays, since a bucket may not let it go. */
const probeKey = '.conditional-put-probe';

/**
 * Opens a bucket: lists it once, which shows whether server, certificate, region, credentials and bucket are right, and finds out whether it can put an object if it is absent. For that
 * a small object stays in it; credentials that may not write do for reading.
 */
export async function openS3Store(
	location: S3Location,
	{ signal }: StoreOptions = {},
	surroundings: S3Surroundings = {},
): Promise<S3Store> {
	const settings = await s3Settings(location, surroundings.environment);
	const times = { ...s3Limits, ...surroundings.times };
	const connection = await connectS3(settings, times, surroundings.lookup);
	const attempts = new Attempts(
		{ endpoint: settings.endpointName, region: settings.region, bucket: settings.bucket },
		times,
		surroundings.clock,
	);
	const store = new S3Store(settings, connection, attempts, await import('@aws-sdk/client-s3'));
	try {
		await store.probe(signal);
		return store;
	} catch (error) {
		await store.close();
		throw error;
	}
}

/**
 * Objects in an S3 bucket.
 * - A put carries the SHA-256 of its bytes in its signature, so the server refuses what changed on the way; ETags are passed on where the protocol demands it and believed nowhere.
 * - A put that failed with no answer is made again with the same bytes: it is the same put.
 */
export class S3Store implements ObjectStore {
	readonly name: string;
	readonly #settings: S3Settings;
	readonly #connection: S3Connection;
	readonly #attempts: Attempts;
	readonly #commands: Commands;
	#canPutIfAbsent = false;

	constructor(settings: S3Settings, connection: S3Connection, attempts: Attempts, commands: Commands) {
		this.name = `s3 ${settings.bucket}/${settings.prefix}`;
		this.#settings = settings;
		this.#connection = connection;
		this.#attempts = attempts;
		this.#commands = commands;
	}

	get canPutIfAbsent(): boolean {
		return this.#canPutIfAbsent;
	}

	/** Requests that may be under way at once now: fewer while the server is too busy. */
	get window(): number {
		return this.#attempts.pace.window;
	}

	async probe(signal: AbortSignal | undefined): Promise<void> {
		await this.#page(this.#settings.prefix, undefined, 1, `opening ${this.name}`, signal, openPolicy);
		this.#canPutIfAbsent = await this.#probeConditionalPut(signal);
	}

	async put(key: string, bytes: Uint8Array, { ifAbsent = false, signal }: PutOptions = {}): Promise<'stored' | 'exists'> {
		checkKey(key);
		checkSize(key, bytes.length);
		signal?.throwIfAborted();
		const doing = `writing ${key} to ${this.name}`;
		if (ifAbsent) {
			if (!this.#canPutIfAbsent) throw new StoreError('invalid', `${doing}: this server cannot put an object only if it is absent`);
			return this.#putIfAbsent(key, bytes, doing, signal);
		}
		if (bytes.length > s3Limits.singlePutBytes) {
			const { client } = this.#connection;
			const isThere = (): Promise<boolean> => this.#holds(key, bytes, signal);
			await putInParts(
				{ client, attempts: this.#attempts, bucket: this.#settings.bucket, key: this.#full(key), doing, signal, isThere },
				bytes,
			);
		} else {
			await this.#attempts.run({ doing, signal, sizeBytes: bytes.length }, (attempt) => this.#putOnce(key, bytes, false, attempt.signal));
		}
		return 'stored';
	}

	async get(key: string, { signal }: StoreOptions = {}): Promise<Buffer | undefined> {
		checkKey(key);
		const doing = `reading ${key} from ${this.name}`;
		return this.#look({ doing, signal }, async (attempt) => {
			const command = new this.#commands.GetObjectCommand({ Bucket: this.#settings.bucket, Key: this.#full(key) });
			const answer = await this.#connection.client.send(command, { abortSignal: attempt.signal });
			attempt.allow(answer.ContentLength ?? s3Limits.singlePutBytes);
			return readBody(streamOf(answer), answer.ContentLength, key);
		});
	}

	async head(key: string, { signal }: StoreOptions = {}): Promise<ObjectInfo | undefined> {
		checkKey(key);
		const doing = `looking at ${key} in ${this.name}`;
		const answer = await this.#look({ doing, signal }, (attempt) => {
			const command = new this.#commands.HeadObjectCommand({ Bucket: this.#settings.bucket, Key: this.#full(key) });
			return this.#connection.client.send(command, { abortSignal: attempt.signal });
		});
		if (answer === undefined) return undefined;
		const { ContentLength: sizeBytes, LastModified: modified } = answer;
		if (sizeBytes === undefined || modified === undefined) throw new StoreError('failed', `${doing}: the server tells no size or no time`);
		return { key, sizeBytes, modifiedMs: modified.getTime() };
	}

	async *list(prefix: string, { signal }: StoreOptions = {}): AsyncIterable<ObjectInfo> {
		checkPrefix(prefix);
		const doing = `listing ${prefix} in ${this.name}`;
		const full = this.#full(prefix);
		let token: string | undefined;
		let last = '';
		let foreignPages = 0;
		do {
			foreignPages++;
			const page = await this.#page(full, token, s3Limits.listPageKeys, doing, signal, usualPolicy);
			for (const { Key: encoded, Size: sizeBytes, LastModified: modified } of page.Contents ?? []) {
				signal?.throwIfAborted();
				const found = decoded(encoded ?? '', doing);
				if (!found.startsWith(full) || sizeBytes === undefined || modified === undefined)
					throw new StoreError('failed', `${doing}: the server lists ${JSON.stringify(found)}`);
				const key = found.slice(this.#settings.prefix.length);
				// Other people's objects, and the probe's.
				if (!isKey(key)) continue;
				if (key <= last)
					throw new StoreError(
						'failed',
						`${doing}: the server lists in no order (${key} after ${last}), which directory buckets do; take another kind of bucket`,
					);
				last = key;
				foreignPages = 0;
				yield { key, sizeBytes, modifiedMs: modified.getTime() };
			}
			if (page.IsTruncated === true && (page.NextContinuationToken ?? '') === '')
				throw new StoreError('failed', `${doing}: the list is cut off and does not go on`);
			if (page.IsTruncated === true && page.NextContinuationToken === token)
				throw new StoreError('failed', `${doing}: the list does not go on`);
			if (foreignPages > s3Limits.foreignPages)
				throw new StoreError(
					'failed',
					`${doing}: ${foreignPages} pages of other people's objects; give the repository a prefix of its own`,
				);
			token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
		} while (token !== undefined);
	}

	async delete(key: string, { signal }: StoreOptions = {}): Promise<void> {
		checkKey(key);
		const doing = `deleting ${key} from ${this.name}`;
		await this.#attempts.run({ doing, signal, expected: isNoSuchKey }, (attempt) => {
			const command = new this.#commands.DeleteObjectCommand({ Bucket: this.#settings.bucket, Key: this.#full(key) });
			return this.#connection.client.send(command, { abortSignal: attempt.signal });
		});
	}

	cleanUploads(olderThanMs: number, { signal }: StoreOptions = {}): Promise<number> {
		const { bucket, prefix } = this.#settings;
		const beforeMs = this.nowMs() - olderThanMs;
		return removeStaleUploads({ client: this.#connection.client, attempts: this.#attempts, bucket, prefix, beforeMs, signal });
	}

	nowMs(): number {
		return Date.now() + this.#connection.clockOffsetMs();
	}

	close(): Promise<void> {
		this.#attempts.close();
		this.#connection.destroy();
		return Promise.resolve();
	}

	/** What there is of an object. That there is nothing is believed when it was said twice: Swift says it, too, of one that is being put over, once in a thousand reads (docs/decisions/013). */
	async #look<T>(options: OperationOptions, work: (attempt: Attempt) => Promise<T>): Promise<T | undefined> {
		for (let asked = 0; asked < 2; asked++) {
			const answer = await this.#attempts.run({ ...options, expected: isNoSuchKey }, work);
			if (!(answer instanceof ExpectedAnswer)) return answer;
		}
		return undefined;
	}

	/** One request whatever the size: a conditional end of an upload in parts is another thing, which servers have or have not for themselves. */
	async #putIfAbsent(key: string, bytes: Uint8Array, doing: string, signal: AbortSignal | undefined): Promise<'stored' | 'exists'> {
		let answerWasLost = false;
		const expected = (_name: string, status: number): boolean => status === 412;
		const result = await this.#attempts.run({ doing, signal, sizeBytes: bytes.length, expected }, async (attempt) => {
			answerWasLost = attempt.mayHaveHappened;
			return this.#putOnce(key, bytes, true, attempt.signal);
		});
		if (!(result instanceof ExpectedAnswer)) return 'stored';
		// It may be our own, of an attempt whose answer was lost.
		return answerWasLost && (await this.#holds(key, bytes, signal)) ? 'stored' : 'exists';
	}

	async #putOnce(key: string, bytes: Uint8Array, ifAbsent: boolean, abortSignal: AbortSignal): Promise<void> {
		const command = new this.#commands.PutObjectCommand({
			Bucket: this.#settings.bucket,
			Key: this.#full(key),
			Body: bytes,
			ContentLength: bytes.length,
			ContentType: 'application/octet-stream',
			...(ifAbsent && { IfNoneMatch: '*' }),
		});
		const { ETag: etag } = await this.#connection.client.send(command, { abortSignal });
		// Whatever it is: who stored something says it.
		if (etag === undefined)
			throw new StoreError(
				'failed',
				`writing ${key} to ${this.name}: the answer says nothing of an object; is ${this.#settings.endpointName} an S3 server?`,
			);
	}

	async #holds(key: string, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<boolean> {
		return (await this.get(key, signal === undefined ? {} : { signal }))?.equals(bytes) === true;
	}

	/** Puts the probe if it is absent until the server says that it is not: 412 is a server that looks, a second success one that does not, any refusal one that cannot, or may not. */
	async #probeConditionalPut(signal: AbortSignal | undefined): Promise<boolean> {
		const doing = `writing a probe to ${this.name}`;
		// Servers that do not know the header say 501, or 400; those that let nobody write, 401, 403 or 405.
		const expected = (_name: string, status: number): boolean => [400, 401, 403, 405, 412, 501].includes(status);
		for (let number = 0; number < 2; number++) {
			const result = await this.#attempts.run({ doing, signal, policy: openPolicy, expected }, (attempt) =>
				this.#putOnce(probeKey, Buffer.from('blockport: can this server put an object only if it is absent?\n'), true, attempt.signal),
			);
			if (result instanceof ExpectedAnswer) return result.status === 412;
		}
		return false;
	}

	async #page(
		prefix: string,
		token: string | undefined,
		most: number,
		doing: string,
		signal: AbortSignal | undefined,
		policy: AttemptPolicy,
	): Promise<ListObjectsV2CommandOutput> {
		const page = await this.#attempts.run({ doing, signal, policy }, (attempt) => {
			const command = new this.#commands.ListObjectsV2Command({
				Bucket: this.#settings.bucket,
				Prefix: prefix,
				MaxKeys: most,
				EncodingType: 'url',
				...(token !== undefined && { ContinuationToken: token }),
			});
			return this.#connection.client.send(command, { abortSignal: attempt.signal });
		});
		// What stands between us and the server, and answers for it, may not be taken for an empty bucket.
		if (page instanceof ExpectedAnswer || page.IsTruncated === undefined)
			throw new StoreError('failed', `${doing}: the answer is no list; is ${this.#settings.endpointName} an S3 server?`);
		return page;
	}

	#full(key: string): string {
		return this.#settings.prefix + key;
	}
}

/** A HEAD has no body, so no name but NotFound. */
function isNoSuchKey(name: string, status: number): boolean {
	return status === 404 && name !== 'NoSuchBucket';
}

function isKey(text: string): boolean {
	try {
		checkKey(text);
		return true;
	} catch (error) {
		if (!(error instanceof StoreError)) throw error;
		return false;
	}
}

function decoded(text: string, doing: string): string {
	try {
		return decodeURIComponent(text.replaceAll('+', ' '));
	} catch (error) {
		if (!(error instanceof URIError)) throw error;
		throw new StoreError('failed', `${doing}: the server lists ${JSON.stringify(text)}, which is no URL encoding`, { cause: error });
	}
}

function streamOf({ Body: body }: GetObjectCommandOutput): AsyncIterable<Uint8Array> {
	if (body === undefined || !(Symbol.asyncIterator in body)) throw new StoreError('failed', 'an answer without a body');
	return body as AsyncIterable<Uint8Array>;
}
