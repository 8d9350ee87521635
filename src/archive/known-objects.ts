import { addCondemned } from './collector-runs.ts';
import { GenerationSet } from './generation-set.ts';
import { letGo } from './let-go.ts';
import { limits } from './limits.ts';
import { NameIndex } from './name-index.ts';
import { type ContentKind, contentPrefix, generationBytes, kindPrefix, parseContentKey } from './object-keys.ts';
import { type Repository, signalOf } from './repository.ts';
import type { ObjectKind } from './sealed-object.ts';

export interface Placed {
	readonly generation: Buffer;
	/** 0: it was there. */
	readonly uploadedBytes: number;
	/** The bytes that were given away, back. */
	readonly plain: Uint8Array<ArrayBuffer>;
}

/**
 * Where content stands in the repository: finds the object that has it, or uploads one. What it finds may be condemned a moment later: the export looks again when its
 * pending manifest stands (export-check.ts).
 *
 * It asks for single names first and then lists all names once. In a repository that has more than fit it goes on asking.
 */
export class KnownObjects {
	/** Generations that are not to be referred to: condemned, or found missing. */
	readonly avoided = new GenerationSet();
	readonly #repository: Repository;
	readonly #upload: (key: string, object: Uint8Array) => Promise<void>;
	readonly #underWay = new Map<string, Promise<Placed>>();
	readonly #index = new NameIndex();
	#asked = 0;
	#listing: Promise<boolean> | undefined;

	constructor(repository: Repository, upload: (key: string, object: Uint8Array) => Promise<void>) {
		this.#repository = repository;
		this.#upload = upload;
	}

	avoidCondemned(signal: AbortSignal | undefined): Promise<void> {
		return addCondemned(this.#repository, this.avoided, signal);
	}

	avoidAll(generations: GenerationSet): void {
		this.avoided.addAll(generations);
	}

	/** `plain` is given away until it comes back. */
	async place(kind: ContentKind, plain: Uint8Array<ArrayBuffer>, hash: Uint8Array, signal: AbortSignal | undefined): Promise<Placed> {
		const name = this.#repository.nameOf(kind, hash);
		// The same content twice at once is uploaded once.
		const other = this.#underWay.get(kind + name);
		if (other !== undefined) return { ...(await other), uploadedBytes: 0, plain };
		const placing = this.#place(kind, plain, name, signal);
		this.#underWay.set(kind + name, placing);
		try {
			return await placing;
		} finally {
			this.#underWay.delete(kind + name);
		}
	}

	async #place(kind: ContentKind, plain: Uint8Array<ArrayBuffer>, name: string, signal: AbortSignal | undefined): Promise<Placed> {
		const known = await this.#find(kind, name, signal);
		if (known !== undefined) return { generation: known, uploadedBytes: 0, plain };
		const sealed = await this.#repository.codec.seal(kind satisfies ObjectKind, plain);
		const generation = this.#repository.runtime.random(generationBytes);
		const uploadedBytes = sealed.object.length;
		await this.#upload(contentPrefix(kind, name) + generation.toString('hex'), sealed.object);
		letGo(sealed.object);
		this.#index.set(kind, name, generation);
		return { generation, uploadedBytes, plain: sealed.plain };
	}

	async #find(kind: ContentKind, name: string, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
		const remembered = this.#index.get(kind, name);
		if (remembered !== undefined && (await this.#isThere(kind, name, remembered, signal))) return remembered;
		if (remembered === undefined && this.#asked >= limits.namesAskedFirst) {
			this.#listing ??= this.#list(signal);
			if (await this.#listing) {
				const listed = this.#index.get(kind, name);
				return listed !== undefined && (await this.#isThere(kind, name, listed, signal)) ? listed : undefined;
			}
		}
		this.#asked++;
		for await (const { key } of this.#repository.store.list(contentPrefix(kind, name), signalOf(signal))) {
			const parsed = parseContentKey(key);
			if (parsed === undefined) continue;
			const generation = Buffer.from(parsed.generation, 'hex');
			if (!(await this.#isThere(kind, name, generation, signal))) continue;
			this.#index.set(kind, name, generation);
			return generation;
		}
		return undefined;
	}

	/** Lists may show what is gone, and the index remembers what was. */
	async #isThere(kind: ContentKind, name: string, generation: Buffer, signal: AbortSignal | undefined): Promise<boolean> {
		if (this.avoided.has(generation, 0)) return false;
		return (await this.#repository.store.head(contentPrefix(kind, name) + generation.toString('hex'), signalOf(signal))) !== undefined;
	}

	/** Whether all names are in the index now: a name that is not there was not in the repository then. */
	async #list(signal: AbortSignal | undefined): Promise<boolean> {
		for (const kind of ['list', 'chunk'] as const) {
			for await (const { key } of this.#repository.store.list(kindPrefix(kind), signalOf(signal))) {
				const parsed = parseContentKey(key);
				if (parsed === undefined) continue;
				const generation = Buffer.from(parsed.generation, 'hex');
				if (this.avoided.has(generation, 0)) continue;
				if (this.#index.size >= limits.namesMax) {
					this.#index.clear();
					return false;
				}
				this.#index.set(kind, parsed.name, generation);
			}
		}
		return true;
	}
}
