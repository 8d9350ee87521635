import { RemoteFailure, type RemotePages } from '../../blockvol/remote-pages.ts';
import type { Repository } from '../repository.ts';
import { ArchiveError, type ArchiveErrorCode, type Manifest } from '../repository-types.ts';
import { StoreError } from '../store/object-store.ts';

/** Calls `work` with the open repository, which is not closed before that has ended. Rejects when it cannot be opened now; the next call tries again. */
export type UseRepository = <T>(work: (repository: Repository) => Promise<T>) => Promise<T>;

/** What no further attempt mends before somebody has done something. */
const final: ReadonlySet<ArchiveErrorCode> = new Set(['missing', 'corrupt', 'wrongKey', 'unsupported', 'noManifest', 'tooLarge']);

/**
 * The pages of an archived snapshot, for a volume that is restored lazily: every chunk is checked against the manifest before it is given. The repository is opened when the first chunk is asked for, and again
 * if it was closed meanwhile, so a volume opens whether its archive can be reached or not.
 */
export class ArchivePages implements RemotePages {
	readonly #use: UseRepository;
	readonly #id: string;
	/** The manifest as it was read last, and where. */
	#manifest: { readonly repository: Repository; readonly reading: Promise<Manifest> } | undefined;

	constructor(use: UseRepository, manifestId: string) {
		this.#use = use;
		this.#id = manifestId;
	}

	async fetch(index: number, signal: AbortSignal): Promise<Buffer> {
		try {
			return await this.#use(async (repository) => {
				// Not at the top: a process that restores nothing lazily has none of it in memory.
				const { readChunk } = await import('../chunk-reader.ts');
				return readChunk(repository, await this.#manifestOf(repository), index, { signal });
			});
		} catch (error) {
			throw failureOf(error);
		}
	}

	/** One read for however many chunks wait for it; what failed is tried again by the next. */
	#manifestOf(repository: Repository): Promise<Manifest> {
		if (this.#manifest?.repository === repository) return this.#manifest.reading;
		const reading = import('../catalogue.ts').then(({ openManifest }) => openManifest(repository, this.#id));
		const manifest = { repository, reading };
		this.#manifest = manifest;
		reading.catch(() => {
			if (this.#manifest === manifest) this.#manifest = undefined;
		});
		return reading;
	}
}

function failureOf(error: unknown): unknown {
	if (error instanceof ArchiveError) return new RemoteFailure(error.message, !final.has(error.code), { cause: error });
	if (error instanceof StoreError) return new RemoteFailure(error.message, error.retryable, { cause: error });
	return error;
}
