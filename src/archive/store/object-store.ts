/**
 * Where a repository keeps its objects: a folder or a bucket. An object is whole or absent, and has a key, bytes and a time.
 *
 * What every store promises, and test/archive/store/contract.ts shows of each:
 * - `put` is atomic and durable: once it has resolved the object is there after a crash of either side, before that it is whole or not there at all. One that failed
 *   may have taken effect (the answer was lost), so a caller repeats it, with the same bytes, or looks.
 * - `get`, `head` and `list` show what was put before they were called. (A server may list late: nothing may depend on an object that is missing in a list.)
 * - An operation ends: by its result, by a StoreError, or by the signal's reason. Retries are inside and bounded; a StoreError is final for now.
 */
export interface ObjectStore {
	/** For messages: 'folder /x' or 's3 bucket/prefix'. Holds no secret. */
	readonly name: string;
	/** Whether `put` with `ifAbsent` is one atomic step here. Without it `ifAbsent` is refused as invalid: keys that nobody else uses, and a look afterwards, have to do. */
	readonly canPutIfAbsent: boolean;
	/** With ifAbsent: 'exists', and nothing changed, if there is one. The bytes must not change until it has resolved. */
	put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<'stored' | 'exists'>;
	/** undefined: there is none. */
	get(key: string, options?: StoreOptions): Promise<Buffer | undefined>;
	head(key: string, options?: StoreOptions): Promise<ObjectInfo | undefined>;
	/** Every object whose key begins with the prefix ('' for all; it need not end with a slash), ascending by the bytes of the key. What is put or deleted meanwhile may or may not be seen. */
	list(prefix: string, options?: StoreOptions): AsyncIterable<ObjectInfo>;
	/** Not found is done. */
	delete(key: string, options?: StoreOptions): Promise<void>;
	/** Removes what uploads that nobody finished left behind (temporary files, parts), if older; resolves to how many. No list shows them, but they take space. */
	cleanUploads(olderThanMs: number, options?: StoreOptions): Promise<number>;
	/** The clock that `modifiedMs` is of, as well as it is known: an object's age is nowMs() - modifiedMs, whatever this machine's clock says. */
	nowMs(): number;
	/** Ends connections. What is under way fails. */
	close(): Promise<void>;
}

export interface StoreOptions {
	/** Ends the operation, its waits and its retries; it rejects with the signal's reason. A put that is ended may have taken effect. */
	readonly signal?: AbortSignal;
}

export interface PutOptions extends StoreOptions {
	readonly ifAbsent?: boolean;
	/** Nobody needs the bytes any more: their buffer may be gone as soon as put was called. */
	readonly isGiven?: boolean;
}

export interface ObjectInfo {
	readonly key: string;
	readonly sizeBytes: number;
	/** By the store's clock, in ms since 1970. S3 lists whole seconds. */
	readonly modifiedMs: number;
}

/**
 * - unreachable: no answer, or none in time; later may help
 * - notFound: the bucket or the folder that it is to be in
 * - denied: wrong secret, no permission, an object lock
 * - noSpace: disk, quota
 * - invalid: what was asked for can never work here (a key, something that is no folder, wrong region)
 * - failed: the store answered, and it was an error
 */
export type StoreErrorCode = 'unreachable' | 'notFound' | 'denied' | 'noSpace' | 'invalid' | 'failed';

/** What the store could not do: one sentence that says the mend, where there is one. */
export class StoreError extends Error {
	override readonly name = 'StoreError';
	readonly code: StoreErrorCode;
	/** Whether the same may succeed later with nobody doing anything. What can be retried at once has been. */
	readonly retryable: boolean;

	constructor(code: StoreErrorCode, message: string, options: ErrorOptions & { retryable?: boolean } = {}) {
		super(message, options);
		this.code = code;
		this.retryable = options.retryable ?? code === 'unreachable';
	}
}

/** Objects are in memory whole, and one read or write takes no more. */
export const objectBytesMax = 1024 * 1024 * 1024;

/** Refuses what is longer than objectBytesMax; returns it otherwise. */
export function checkSize(key: string, sizeBytes: number): number {
	if (sizeBytes > objectBytesMax) throw new StoreError('invalid', `${key} has ${sizeBytes} bytes; an object has ${objectBytesMax} at most`);
	return sizeBytes;
}

/** S3's own bound is 1,024 bytes, prefix included; file systems take 255 bytes a segment. */
export const keyLimits = { bytes: 512, segmentBytes: 200 } as const;

/**
 * Refuses what is no key: segments of A-Z a-z 0-9 . _ - separated by single slashes, none of which begins with a dot (temporary files do) or is longer than 200 bytes. So a key means the
 * same in a folder and in a URL, and names nothing outside. No key may be the folder of another (a and a/b): a folder has no room for both.
 */
export function checkKey(key: string): void {
	if (
		key.length > keyLimits.bytes ||
		!key.split('/').every((segment) => segment.length <= keyLimits.segmentBytes && /^[\w-][\w.-]*$/.test(segment))
	) {
		throw new StoreError('invalid', `${JSON.stringify(key.slice(0, 80))} is no key of an object`);
	}
}

/** A prefix is the beginning of a key, or nothing. */
export function checkPrefix(prefix: string): void {
	if (prefix !== '') checkKey(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);
}
