/** Where the pages come from that a volume's lowest layer lacks: a manifest in a repository of archived snapshots. Kept in the volume's directory. */
export interface RemoteIdentity {
	/** Name of the repository, 1 to 255 bytes of UTF-8. */
	readonly repository: string;
	/** Id of the manifest in it, 1 to 255 bytes of UTF-8. */
	readonly manifest: string;
}

/** What a lazily restored volume is made over; fixed for its life. */
export interface RemoteSource {
	readonly identity: RemoteIdentity;
	/** Bytes of the archived snapshot, a multiple of 4096. The volume may be larger: what is behind reads as zeros. */
	readonly sizeBytes: number;
	/** A power of two from 4 KiB to 16 MiB. */
	readonly chunkBytes: number;
	/** True for a chunk that holds nothing but zeros: it is never fetched. */
	chunkIsZero(index: number): boolean;
}

/** Fetches chunks of an archived snapshot. */
export interface RemotePages {
	/**
	 * Resolves to the verified bytes of a chunk: all of it, the last one as long as the archived snapshot reaches. Ends soon after the signal. Rejects with RemoteFailure; what else it rejects with counts as
	 * something that a later try may mend.
	 */
	fetch(index: number, signal: AbortSignal): Promise<Buffer>;
	/** Nothing will be fetched any more. */
	close?(): Promise<void>;
}

/** Reads pages that have to be fetched. */
export interface RemoteReader {
	/** Until when a command that begins to wait now may wait, in milliseconds of performance.now(). */
	deadline(): number;
	/** Fills a buffer with consecutive pages, all of which are missing; false if not all can be had in time. */
	read(page: number, target: Uint8Array, untilMs: number): Promise<boolean>;
}

/** Gives the pages of an identity; called at each opening of a volume that still lacks some. undefined: nobody knows that repository any more. */
export type RemoteOpener = (identity: RemoteIdentity) => RemotePages | undefined;

/** Why a chunk could not be fetched. */
export class RemoteFailure extends Error {
	override readonly name = 'RemoteFailure';
	/** False: the chunk is missing, damaged or not to be decrypted; trying again soon is no use. */
	readonly isRetryable: boolean;

	constructor(message: string, isRetryable: boolean, options?: ErrorOptions) {
		super(message, options);
		this.isRetryable = isRetryable;
	}
}

/** How far the background filler of a volume is, and how the fetching goes. */
export interface RemoteProgress {
	readonly identity: RemoteIdentity;
	/** Chunks that hold something, and those of them that are here. What is here is counted at the opening: until isCounted the second number is too low. */
	readonly chunks: number;
	readonly localChunks: number;
	readonly chunkBytes: number;
	readonly isCounted: boolean;
	/** Chunks that were fetched since the opening, and attempts that failed. */
	readonly fetches: number;
	readonly failures: number;
	/** Reads of missing pages that ended with a medium error. */
	readonly failedReads: number;
	/** What the last attempt failed with; undefined once one has succeeded since. */
	readonly failure: string | undefined;
}
