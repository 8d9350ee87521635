import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import type { ObjectStore } from './store/object-store.ts';
import { type Codec, InlineCodec } from './codec.ts';
import { CodecPool } from './codec-pool.ts';
import { type Timing, defaultTiming, limits } from './limits.ts';
import { ManifestCache } from './manifest-cache.ts';
import {
	nameOfHash,
	type RepositoryKeys,
	deriveKeys,
	isKeyEnvelope,
	type KeyEnvelope,
	unwrapMasterKey,
	wrapMasterKey,
} from './repository-keys.ts';
import { ArchiveError } from './repository-types.ts';
import { type ObjectKind, objectKinds, seal, unseal } from './sealed-object.ts';

export const repositoryKey = 'repository';
const formatVersion = 1;

/** Clock and randomness: a simulation has its own. */
export interface Runtime {
	/** Monotonic, of this machine. */
	nowMs(): number;
	random(bytes: number): Buffer;
	/** Rejects with the signal's reason. */
	sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface RepositoryOptions {
	/** Encrypts, or opens what is encrypted. */
	readonly passphrase?: string;
	/** Threads that hash, compress and encrypt, 0 to limits.threadsMax; 0: the calling thread does. Default: limits.threadsMax, but a core stays for the data path. */
	readonly threads?: number;
	readonly timing?: Partial<Timing>;
	readonly runtime?: Runtime;
	/** What an earlier opening of this repository knew of its manifests (Repository.manifests): they are not read again. */
	readonly manifests?: ManifestCache;
}

export interface CreateOptions extends RepositoryOptions {
	/** Length of a chunk: a power of two from limits.chunkBytesMin to chunkBytesMax. */
	readonly chunkBytes?: number;
	/** N of scrypt; only tests have a reason. */
	readonly scryptN?: number;
}

interface RepositoryRecord {
	readonly format: number;
	readonly id: string;
	readonly chunkBytes: number;
	readonly createdMs: number;
	readonly encryption: KeyEnvelope | null;
}

/** An open repository. It belongs to whoever opened it; the store is closed with it. */
export class Repository {
	readonly store: ObjectStore;
	/** 32 hexadecimal digits. */
	readonly id: string;
	readonly chunkBytes: number;
	readonly createdMs: number;
	readonly isEncrypted: boolean;
	/** For what takes its time. */
	readonly codec: Codec;
	/** For chunks that somebody may be waiting for: its thread does not stand behind everybody else's. */
	readonly readCodec: Codec;
	readonly timing: Timing;
	readonly runtime: Runtime;
	readonly manifests: ManifestCache;
	readonly #keys: RepositoryKeys | undefined;

	constructor(store: ObjectStore, record: RepositoryRecord, keys: RepositoryKeys | undefined, options: RepositoryOptions) {
		this.store = store;
		this.id = record.id;
		this.chunkBytes = record.chunkBytes;
		this.createdMs = record.createdMs;
		this.isEncrypted = keys !== undefined;
		this.#keys = keys;
		this.manifests = options.manifests ?? new ManifestCache();
		const threads = Math.min(options.threads ?? Math.max(1, availableParallelism() - 1), limits.threadsMax);
		this.codec = threads === 0 ? new InlineCodec(keys) : new CodecPool(keys, threads);
		this.readCodec = threads === 0 ? this.codec : new CodecPool(keys, 1, { urgency: 'low' });
		// A store that decides atomically who was first is one whose lists are exact; of the others nobody knows.
		this.timing = { ...defaultTiming, ...(store.canPutIfAbsent ? { settleMs: 0 } : {}), ...options.timing };
		this.runtime = options.runtime ?? realRuntime;
	}

	/** What the name of an object shows of its bytes' hash. */
	nameOf(kind: 'chunk' | 'list', hash: Uint8Array): string {
		return nameOfHash(objectKinds[kind], hash, this.#keys);
	}

	/** Puts a small object, in one step. `ifAbsent` where the store can. */
	async putSmall(
		kind: ObjectKind,
		key: string,
		plain: Uint8Array,
		options: { ifAbsent?: boolean; signal?: AbortSignal | undefined } = {},
	): Promise<{ state: 'stored' | 'exists'; bytes: number }> {
		const object = seal(kind, plain, this.#keys);
		const ifAbsent = options.ifAbsent === true && this.store.canPutIfAbsent;
		const state = await this.store.put(key, object, { ifAbsent, ...signalOf(options.signal) });
		return { state, bytes: object.length };
	}

	/** The plain bytes of a small object; undefined: there is none. ArchiveError `corrupt`. */
	async getSmall(kind: ObjectKind, key: string, plainMax: number, signal?: AbortSignal): Promise<Buffer | undefined> {
		const object = await this.store.get(key, signalOf(signal));
		return object === undefined ? undefined : this.unsealSmall(kind, object, key, plainMax);
	}

	unsealSmall(kind: ObjectKind, object: Buffer, key: string, plainMax: number): Buffer {
		return unseal(kind, object, this.#keys, key, plainMax);
	}

	/** An object that holds JSON. */
	putJson(kind: ObjectKind, key: string, value: unknown, signal?: AbortSignal): Promise<unknown> {
		return this.putSmall(kind, key, Buffer.from(JSON.stringify(value)), { signal });
	}

	async close(): Promise<void> {
		await Promise.all([this.codec.close(), this.readCodec.close()]);
		await this.store.close();
	}
}

/** Makes a repository where there is none, and opens it. */
export async function createRepository(store: ObjectStore, options: CreateOptions = {}): Promise<Repository> {
	const chunkBytes = options.chunkBytes ?? limits.chunkBytes;
	if (!isChunkBytes(chunkBytes)) {
		throw new ArchiveError(
			'unsupported',
			`Chunks of ${chunkBytes} bytes: not a power of two from ${limits.chunkBytesMin} to ${limits.chunkBytesMax}.`,
		);
	}
	const runtime = options.runtime ?? realRuntime;
	const id = runtime.random(16).toString('hex');
	const wrapped = options.passphrase === undefined ? undefined : await wrapMasterKey(options.passphrase, id, options.scryptN);
	const record: RepositoryRecord = {
		format: formatVersion,
		id,
		chunkBytes,
		createdMs: store.nowMs(),
		encryption: wrapped?.envelope ?? null,
	};
	const object = seal('repository', Buffer.from(JSON.stringify(record)), undefined);
	const exists = (): ArchiveError =>
		new ArchiveError('repositoryExists', `There is a repository at ${store.name} already.`, { object: repositoryKey });
	if ((await store.head(repositoryKey)) !== undefined) throw exists();
	if ((await store.put(repositoryKey, object, { ifAbsent: store.canPutIfAbsent })) === 'exists') {
		// A put that is repeated since its answer was lost finds itself.
		if ((await store.get(repositoryKey))?.equals(object) !== true) throw exists();
	}
	// Without conditional puts two that make one at the same moment both come here; who wrote last has won, and the other one sees that.
	if ((await store.get(repositoryKey))?.equals(object) !== true) throw exists();
	return new Repository(store, record, wrapped === undefined ? undefined : deriveKeys(wrapped.master, id), options);
}

/** ArchiveError noRepository, unsupported, wrongKey, corrupt. */
export async function openRepository(store: ObjectStore, options: RepositoryOptions = {}): Promise<Repository> {
	const object = await store.get(repositoryKey);
	if (object === undefined) throw new ArchiveError('noRepository', `There is no repository at ${store.name}.`, { object: repositoryKey });
	const record = parseRecord(unseal('repository', object, undefined, repositoryKey, limits.jsonBytesMax));
	const { passphrase } = options;
	const wrongKey = (message: string): ArchiveError => new ArchiveError('wrongKey', message, { object: repositoryKey });
	if (record.encryption === null) {
		// Who gives a passphrase believes that what he archives is encrypted.
		if (passphrase !== undefined) throw wrongKey(`The repository at ${store.name} is not encrypted: leave the passphrase out.`);
		return new Repository(store, record, undefined, options);
	}
	if (passphrase === undefined) throw wrongKey(`The repository at ${store.name} is encrypted: give its passphrase.`);
	const master = await unwrapMasterKey(passphrase, record.id, record.encryption);
	if (master === undefined) throw wrongKey(`That is not the passphrase of the repository at ${store.name}.`);
	return new Repository(store, record, deriveKeys(master, record.id), options);
}

/** Sees that the repository's object is still what it was. ArchiveError missing, corrupt. */
export async function reread(repository: Repository, signal?: AbortSignal): Promise<void> {
	const object = await repository.store.get(repositoryKey, signalOf(signal));
	if (object === undefined) throw new ArchiveError('missing', `${repositoryKey} is not there`, { object: repositoryKey });
	const { id } = parseRecord(unseal('repository', object, undefined, repositoryKey, limits.jsonBytesMax));
	if (id !== repository.id) throw new ArchiveError('corrupt', `${repositoryKey} is that of another repository`, { object: repositoryKey });
}

function parseRecord(plain: Buffer): RepositoryRecord {
	const value = parseJson(plain, repositoryKey) as Partial<RepositoryRecord>;
	if (typeof value.format === 'number' && value.format > formatVersion) {
		throw new ArchiveError(
			'unsupported',
			`The repository has format ${value.format}, which is newer than this program's ${formatVersion}.`,
			{
				object: repositoryKey,
			},
		);
	}
	const { format, id, chunkBytes, createdMs, encryption } = value;
	if (
		format !== formatVersion ||
		typeof id !== 'string' ||
		!/^[0-9a-f]{32}$/.test(id) ||
		typeof chunkBytes !== 'number' ||
		!isChunkBytes(chunkBytes) ||
		typeof createdMs !== 'number' ||
		(encryption !== null && !isKeyEnvelope(encryption))
	) {
		throw new ArchiveError('corrupt', 'The object that describes the repository does not say what it should.', { object: repositoryKey });
	}
	return { format, id, chunkBytes, createdMs, encryption };
}

/** An object's JSON, which has to be an object. */
export function parseJson(plain: Uint8Array, key: string): Record<string, unknown> {
	let value: unknown;
	try {
		value = JSON.parse(Buffer.from(plain).toString('utf8'));
	} catch (error) {
		throw new ArchiveError('corrupt', `${key} does not hold JSON`, { object: key, cause: error });
	}
	if (typeof value !== 'object' || value === null || Array.isArray(value)) {
		throw new ArchiveError('corrupt', `${key} does not hold a JSON object`, { object: key });
	}
	return value as Record<string, unknown>;
}

/** With exactOptionalPropertyTypes an absent signal is no property. */
export function signalOf(signal: AbortSignal | undefined): { signal?: AbortSignal } {
	return signal === undefined ? {} : { signal };
}

function isChunkBytes(value: number): boolean {
	return Number.isInteger(Math.log2(value)) && value >= limits.chunkBytesMin && value <= limits.chunkBytesMax;
}

const realRuntime: Runtime = {
	nowMs: () => performance.now(),
	random: (bytes) => randomBytes(bytes),
	sleep: (ms, signal) => wait(ms, undefined, signalOf(signal)),
};
