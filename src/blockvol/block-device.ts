import type { SanitizeOrder } from './sanitize-record.ts';

/**
 * What a protocol sees of a volume. Volume implements it; a test may put something simpler in its place.
 *
 * Offsets and lengths are bytes and multiples of blockSize. Nothing here throws for what a command asked: the outcome says it.
 * Completion order: calls complete in any order, never before the call returned (a completion may run in a microtask of the same turn).
 */
export interface BlockDevice {
	/** Lower-case UUID of the volume; identities (NAA, NGUID, serial number) derive from it. */
	readonly uuid: string;
	readonly blockSize: 512 | 4096;
	/** A write of up to this length is whole or absent after a crash. */
	readonly atomicBytesMax: number;
	/** May grow while the volume is open; then every listener of onResize is told. */
	readonly sizeBytes: number;
	/** Why the volume refuses writes, in words for a person; undefined when it is healthy. */
	readonly fault: string | undefined;

	/**
	 * Reads into `target`, or its bytes from `start` to `end` (that many are read), if that needs no waiting: the outcome, or undefined when it would have to wait. After undefined
	 * nothing goes on in the background, and those bytes may hold a part.
	 */
	tryRead(offsetBytes: number, target: Uint8Array, start?: number, end?: number): Outcome | undefined;
	/** Reads, waiting for the disk. `target` belongs to the device until the completion. */
	read(offsetBytes: number, target: Uint8Array, completion: Completion): void;
	/**
	 * Writes. Complete: the bytes are in the kernel, or with `fua` on stable storage. Data of at most copiedBytesMax is copied before the call returns;
	 * longer data belongs to the device until the completion. Up to atomicBytesMax a crash leaves all of it or none.
	 * At most writeBytesMax a call.
	 */
	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void;
	/**
	 * Writes only if the range holds `expected`, as one step among all commands of all protocols: outcome `miscompare` if it does not, and nothing changes. Both buffers are
	 * copied before the call returns; at most copiedBytesMax and a quarter of a segment of the log.
	 */
	compareAndWrite(offsetBytes: number, expected: Uint8Array, data: Uint8Array, fua: boolean, completion: CompareCompletion): void;
	/** Makes a range read as zeros and gives its space back. Any length. */
	zero(offsetBytes: number, lengthBytes: number, fua: boolean, completion: Completion): void;
	/** Complete: everything that had completed when flush was called is on stable storage. */
	flush(completion: Completion): void;
	/**
	 * Which parts of the volume hold data, from an offset on: neighbouring extents, `extentsMax` at most, perhaps ending before the volume does because that is how far one
	 * look goes. A hint: what is called mapped may hold zeros. At least one extent when the outcome is good.
	 */
	allocation(offsetBytes: number, extentsMax: number): Promise<Allocation>;
	/** Calls the listener after each change of sizeBytes; returns the function that ends it. */
	onResize(listener: () => void): () => void;
	/** Undefined: it cannot be sanitized. */
	readonly sanitizer?: Sanitizer | undefined;
}

/** Makes everything that a volume keeps unreadable (sanitize.ts), while other commands end with `sanitizing`. */
export interface Sanitizer {
	/** Whether initiators may ask for it. */
	readonly isAllowed: boolean;
	/** Undefined: it neither runs nor has it failed. */
	readonly state: SanitizeState | undefined;
	begin(order: SanitizeOrder, watcher: SanitizeWatcher): void;
	/** Makes an empty volume of one where it has failed, if the order allowed that; else `sanitizeFailed`. `good` where nothing has failed. */
	exitFailure(completion: Completion): void;
}

export type SanitizeState =
	{ readonly kind: 'running'; /** 0 to 1. */ readonly done: number } | { readonly kind: 'failed'; readonly mayExitFailure: boolean };

export interface SanitizeWatcher {
	/**
	 * Good: the order is durable, and ended() follows. Else nothing has changed: `kept` if somebody shares or keeps what the volume holds (snapshots, clones, holds on its log).
	 * Never before begin() returned.
	 */
	begun(answer: Outcome | 'kept'): void;
	/** Now and then, while it runs. */
	moved(): void;
	/** Good, or `sanitizeFailed`; `closed` when it goes on after the next start. */
	ended(outcome: Outcome): void;
}

export interface Allocation {
	outcome: Outcome;
	extents: { lengthBytes: number; isMapped: boolean }[];
}

/** An object and not a closure: hot paths keep one for the life of a pooled command. */
export interface Completion {
	complete(outcome: Outcome): void;
}

export interface CompareCompletion extends Completion {
	/** Set before complete('miscompare'): the first byte that differs, counted from the start of the range. */
	miscompareOffset: number;
}

/**
 * What became of a command. One table maps it to SCSI sense, one to NVMe status.
 * - good
 * - outOfRange: beyond the last block
 * - noSpace: the file system below is full; of a command up to atomicBytesMax nothing was written; reads go on, and zero as long as the log has room
 * - miscompare: compareAndWrite found something else than was expected
 * - mediumError: a page whose checksum does not match, or EIO on a read; of a volume that is being restored, a page that could not be fetched in time
 * - faulted: the volume refuses writes and flushes since an earlier failure; BlockDevice.fault says which
 * - closed: the volume is being shut down
 * - sanitizing, sanitizeFailed: what it held is being made unreadable, or that has failed (Sanitizer)
 */
export type Outcome =
	'good' | 'outOfRange' | 'noSpace' | 'miscompare' | 'mediumError' | 'faulted' | 'closed' | 'sanitizing' | 'sanitizeFailed';

/** write() copies data up to this length before it returns. */
export const copiedBytesMax = 64 * 1024;
/** The longest single write(). */
export const writeBytesMax = 1024 * 1024;
/** A write of up to this length is whole or absent after a crash. Longer ones may go over old data in place (docs/decisions/007). */
export const atomicBytesMax = copiedBytesMax;

/** Completes in a microtask: never before the call has returned that the completion belongs to. */
export function later(completion: Completion, outcome: Outcome): void {
	queueMicrotask(() => completion.complete(outcome));
}
