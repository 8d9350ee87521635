import type { RepositoryKeys } from './repository-keys.ts';
import { type ObjectKind, seal, unseal } from './sealed-object.ts';
import { sha256, treeOfEntries } from './merkle-tree.ts';

/**
 * What costs CPU: hashes, compression, encryption, off the main thread if there are threads (codec-pool.ts).
 *
 * A buffer that is given away may come back as another object over the same bytes: use what is returned and forget what was given.
 */
export interface Codec {
	/** SHA-256 of bytes; `isZero`: all of them are zeros, and there is no hash. */
	hash(plain: Uint8Array<ArrayBuffer>): Promise<{ plain: Uint8Array<ArrayBuffer>; hash: Uint8Array; isZero: boolean }>;
	seal(kind: ObjectKind, plain: Uint8Array<ArrayBuffer>): Promise<{ plain: Uint8Array<ArrayBuffer>; object: Uint8Array }>;
	/** Plain bytes and their SHA-256; ArchiveError `corrupt` with the key. */
	unseal(kind: ObjectKind, object: Buffer, key: string, plainMax: number): Promise<{ plain: Buffer; hash: Uint8Array }>;
	/** Root of the tree over a list's entries. The bytes are copied. */
	tree(entries: Uint8Array): Promise<Uint8Array>;
	close(): Promise<void>;
}

export type CodecTask =
	| { readonly task: 'hash'; readonly plain: Uint8Array<ArrayBuffer> }
	| { readonly task: 'seal'; readonly kind: ObjectKind; readonly plain: Uint8Array<ArrayBuffer> }
	| { readonly task: 'unseal'; readonly kind: ObjectKind; readonly object: Uint8Array; readonly key: string; readonly plainMax: number }
	| { readonly task: 'tree'; readonly entries: Uint8Array };

/** One shape for all tasks. */
export interface CodecResult {
	readonly plain?: Uint8Array<ArrayBuffer>;
	readonly hash?: Uint8Array;
	readonly isZero?: boolean;
	readonly object?: Uint8Array;
}

export function execute(task: CodecTask, keys: RepositoryKeys | undefined): CodecResult {
	switch (task.task) {
		case 'hash': {
			const isZero = isZeros(task.plain);
			return { plain: task.plain, isZero, hash: isZero ? new Uint8Array(32) : sha256(task.plain) };
		}
		case 'seal':
			return { plain: task.plain, object: seal(task.kind, task.plain, keys) };
		case 'unseal': {
			const { buffer, byteOffset, byteLength } = task.object;
			const plain = unseal(task.kind, Buffer.from(buffer, byteOffset, byteLength), keys, task.key, task.plainMax);
			return { plain: plain as Uint8Array<ArrayBuffer>, hash: sha256(plain) };
		}
		default:
			return { hash: treeOfEntries(task.entries) };
	}
}

/** On the calling thread: for tests that are to be deterministic, and for small repositories. */
export class InlineCodec implements Codec {
	readonly #keys: RepositoryKeys | undefined;

	constructor(keys: RepositoryKeys | undefined) {
		this.#keys = keys;
	}

	hash(plain: Uint8Array<ArrayBuffer>): ReturnType<Codec['hash']> {
		return this.#run({ task: 'hash', plain }) as ReturnType<Codec['hash']>;
	}

	seal(kind: ObjectKind, plain: Uint8Array<ArrayBuffer>): ReturnType<Codec['seal']> {
		return this.#run({ task: 'seal', kind, plain }) as ReturnType<Codec['seal']>;
	}

	unseal(kind: ObjectKind, object: Buffer, key: string, plainMax: number): ReturnType<Codec['unseal']> {
		return this.#run({ task: 'unseal', kind, object, key, plainMax }) as ReturnType<Codec['unseal']>;
	}

	async tree(entries: Uint8Array): Promise<Uint8Array> {
		return (await this.#run({ task: 'tree', entries })).hash as Uint8Array;
	}

	close(): Promise<void> {
		return Promise.resolve();
	}

	#run(task: CodecTask): Promise<CodecResult> {
		return Promise.resolve().then(() => execute(task, this.#keys));
	}
}

const zeros = Buffer.alloc(64 * 1024);

function isZeros(bytes: Uint8Array): boolean {
	for (let at = 0; at < bytes.length; at += zeros.length) {
		const part = bytes.subarray(at, at + zeros.length);
		if (zeros.compare(part, 0, part.length, 0, part.length) !== 0) return false;
	}
	return true;
}
