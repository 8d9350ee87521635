import {
	type ObjectInfo,
	type ObjectStore,
	type PutOptions,
	StoreError,
	type StoreOptions,
	checkKey,
	checkPrefix,
} from '../../src/archive/store/object-store.ts';

export interface Call {
	/** Of this store's calls, the first being 1. */
	readonly number: number;
	readonly kind: 'put' | 'get' | 'head' | 'list' | 'delete' | 'cleanUploads';
	/** The key, or a list's prefix. */
	readonly key: string;
}

interface Entry {
	readonly bytes: Buffer;
	readonly modifiedMs: number;
}

export interface MemoryStoreOptions {
	/** Another client of the same bucket: same objects, calls and faults of its own. */
	readonly sharing?: MemoryStore;
	readonly canPutIfAbsent?: boolean;
	/** The bucket's clock. */
	readonly nowMs?: () => number;
}

/**
 * A store in memory that fails as it is told. Faults are set for calls that are still to come, counted from the next one (1); a list counts once.
 *
 *   store.failAt(3)              the third call from now has no effect and is a StoreError
 *   store.loseAnswerAt(3)        the third call takes effect and is a StoreError all the same
 *   store.before, store.after    hooks around each call's effect: wait, look, throw, or step a simulation
 *   store.staleLists()           lists show the bucket as it is now until it is called with false
 */
export class MemoryStore implements ObjectStore {
	readonly name = 'memory';
	readonly canPutIfAbsent: boolean;
	/** The bucket, for tests to look into and to damage. */
	readonly objects: Map<string, Entry>;
	/** When uploads began that nobody finished. */
	readonly uploads: Set<number>;
	readonly calls: Call[] = [];
	before: ((call: Call) => Promise<void> | void) | undefined;
	after: ((call: Call) => Promise<void> | void) | undefined;
	readonly nowMs: () => number;
	readonly #faults = new Map<number, { readonly effect: boolean; readonly error: Error }>();
	#listed: ReadonlyMap<string, Entry> | undefined;
	#closed = false;

	constructor({ sharing, canPutIfAbsent, nowMs }: MemoryStoreOptions = {}) {
		this.objects = sharing?.objects ?? new Map<string, Entry>();
		this.uploads = sharing?.uploads ?? new Set<number>();
		this.canPutIfAbsent = canPutIfAbsent ?? sharing?.canPutIfAbsent ?? true;
		this.nowMs = nowMs ?? sharing?.nowMs ?? Date.now;
	}

	failAt(call: number, error: Error = new StoreError('unreachable', 'memory does not answer')): void {
		this.#faults.set(this.calls.length + call, { effect: false, error });
	}

	loseAnswerAt(call: number, error: Error = new StoreError('unreachable', 'the answer of memory was lost')): void {
		this.#faults.set(this.calls.length + call, { effect: true, error });
	}

	staleLists(stale = true): void {
		this.#listed = stale ? new Map(this.objects) : undefined;
	}

	/** Puts other bytes into an object, behind everybody's back; its time stays. */
	damage(key: string, change: (bytes: Buffer) => Uint8Array): void {
		const entry = this.objects.get(key);
		if (entry === undefined) throw new Error(`there is no ${key} to damage`);
		this.objects.set(key, { ...entry, bytes: Buffer.from(change(Buffer.from(entry.bytes))) });
	}

	put(key: string, bytes: Uint8Array, { ifAbsent = false, signal }: PutOptions = {}): Promise<'stored' | 'exists'> {
		return this.#call('put', key, signal, () => {
			checkKey(key);
			if (ifAbsent && !this.canPutIfAbsent) throw new StoreError('invalid', 'memory cannot put an object only if it is absent');
			if (ifAbsent && this.objects.has(key)) return 'exists';
			this.objects.set(key, { bytes: Buffer.from(bytes), modifiedMs: this.nowMs() });
			return 'stored';
		});
	}

	get(key: string, { signal }: StoreOptions = {}): Promise<Buffer | undefined> {
		return this.#call('get', key, signal, () => {
			checkKey(key);
			const entry = this.objects.get(key);
			return entry === undefined ? undefined : Buffer.from(entry.bytes);
		});
	}

	head(key: string, { signal }: StoreOptions = {}): Promise<ObjectInfo | undefined> {
		return this.#call('head', key, signal, () => {
			checkKey(key);
			const entry = this.objects.get(key);
			return entry === undefined ? undefined : info(key, entry);
		});
	}

	async *list(prefix: string, { signal }: StoreOptions = {}): AsyncIterable<ObjectInfo> {
		const found = await this.#call('list', prefix, signal, () => {
			checkPrefix(prefix);
			const all = [...(this.#listed ?? this.objects)].filter(([key]) => key.startsWith(prefix));
			return all.map(([key, entry]) => info(key, entry)).sort((a, b) => (a.key < b.key ? -1 : 1));
		});
		for (const one of found) {
			signal?.throwIfAborted();
			yield one;
		}
	}

	delete(key: string, { signal }: StoreOptions = {}): Promise<void> {
		return this.#call('delete', key, signal, () => {
			checkKey(key);
			this.objects.delete(key);
		});
	}

	cleanUploads(olderThanMs: number, { signal }: StoreOptions = {}): Promise<number> {
		return this.#call('cleanUploads', '', signal, () => {
			const old = [...this.uploads].filter((begunMs) => this.nowMs() - begunMs >= olderThanMs);
			for (const begunMs of old) this.uploads.delete(begunMs);
			return old.length;
		});
	}

	close(): Promise<void> {
		this.#closed = true;
		return Promise.resolve();
	}

	async #call<T>(kind: Call['kind'], key: string, signal: AbortSignal | undefined, effect: () => T): Promise<T> {
		const call: Call = { number: this.calls.length + 1, kind, key };
		this.calls.push(call);
		const fault = this.#faults.get(call.number);
		this.#faults.delete(call.number);
		await this.before?.(call);
		signal?.throwIfAborted();
		if (this.#closed) throw new StoreError('failed', 'memory was closed');
		if (fault?.effect === false) throw fault.error;
		const result = effect();
		await this.after?.(call);
		signal?.throwIfAborted();
		if (fault !== undefined) throw fault.error;
		return result;
	}
}

function info(key: string, { bytes, modifiedMs }: Entry): ObjectInfo {
	return { key, sizeBytes: bytes.length, modifiedMs };
}
