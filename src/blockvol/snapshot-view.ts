import { createHash } from 'node:crypto';
import { allocationFrom } from './allocation.ts';
import type { BelowIndex } from './below-index.ts';
import {
	copiedBytesMax,
	later,
	type Allocation,
	type BlockDevice,
	type CompareCompletion,
	type Completion,
	type Outcome,
} from './block-device.ts';
import { entryAbsent, entryLost, entryZero } from './page-map-block.ts';
import { notFetched, notLoaded } from './page-map.ts';
import { found } from './page-index.ts';
import type { PageHome } from './page-home.ts';
import { Reader, type PageFinder } from './reader.ts';
import type { RemoteReader } from './remote-pages.ts';
import { RunningCount } from './running-count.ts';
import { Spans } from './spans.ts';
import type { FilePool } from './layer-file.ts';
import type { Wal } from './wal.ts';

/** Where the pages of a stack of frozen layers are. */
class FrozenFinder implements PageFinder {
	readonly location = 0;
	checksum = 0;
	home: PageHome;
	readonly remote: RemoteReader | undefined;
	readonly #below: BelowIndex;

	constructor(below: BelowIndex, remote: RemoteReader | undefined) {
		const [top] = below.layers;
		if (top === undefined) throw new RangeError('a stack without layers');
		this.home = top;
		this.#below = below;
		this.remote = remote;
	}

	find(page: number): number {
		const entry = this.#below.find(page);
		if (entry === notLoaded) return found.notLoaded;
		if (entry === notFetched) return found.remote;
		if (entry === entryAbsent || entry === entryZero) return found.zero;
		if (entry === entryLost) return found.lost;
		if (this.#below.home !== undefined) this.home = this.#below.home;
		this.checksum = entry;
		return found.layer;
	}

	async load(page: number): Promise<void> {
		while (this.find(page) === found.notLoaded) await this.#below.load(page);
	}
}

export interface SnapshotViewParts {
	readonly volumeUuid: string;
	readonly blockSize: 512 | 4096;
	readonly snapshot: { readonly id: number; readonly sizeBytes: number };
	readonly below: BelowIndex;
	readonly wal: Wal;
	readonly files: FilePool;
	readonly remote: RemoteReader | undefined;
	/** Called once, when nothing of the view is under way any more. */
	closed(): void;
}

/**
 * What a snapshot holds, as a block device that takes no writes: they end with `faulted` and change nothing. While it is open, the layers that it reads stay, even if the
 * snapshot is deleted.
 */
export class SnapshotView implements BlockDevice {
	/** Of this snapshot alone, and the same at each opening. */
	readonly uuid: string;
	readonly blockSize: 512 | 4096;
	readonly sizeBytes: number;
	readonly atomicBytesMax = copiedBytesMax;
	readonly fault = undefined;
	readonly #parts: SnapshotViewParts;
	readonly #finder: FrozenFinder;
	readonly #reader: Reader;
	readonly #running = new RunningCount();
	#closing: Promise<void> | undefined;

	constructor(parts: SnapshotViewParts) {
		this.#parts = parts;
		this.uuid = uuidOf(parts.volumeUuid, parts.snapshot.id);
		this.blockSize = parts.blockSize;
		this.sizeBytes = parts.snapshot.sizeBytes;
		this.#finder = new FrozenFinder(parts.below, parts.remote);
		this.#reader = new Reader(this.#finder, parts.wal, new Spans(), parts.files);
	}

	tryRead(offsetBytes: number, target: Uint8Array, start = 0, end = target.length): Outcome | undefined {
		return this.#refusalOf(offsetBytes, end - start) ?? this.#reader.tryRead(offsetBytes, target, start, end);
	}

	read(offsetBytes: number, target: Uint8Array, completion: Completion): void {
		const refusal = this.#refusalOf(offsetBytes, target.length);
		if (refusal !== undefined) return later(completion, refusal);
		this.#running.begin();
		void this.#reader.read(offsetBytes, target).then((outcome) => {
			this.#running.end();
			// A page that is not fetched any more is no damage.
			completion.complete(outcome === 'mediumError' && this.#closing !== undefined ? 'closed' : outcome);
		});
	}

	write(_offsetBytes: number, _data: Uint8Array, _fua: boolean, completion: Completion): void {
		later(completion, 'faulted');
	}

	compareAndWrite(_offsetBytes: number, _expected: Uint8Array, _data: Uint8Array, _fua: boolean, completion: CompareCompletion): void {
		later(completion, 'faulted');
	}

	zero(_offsetBytes: number, _lengthBytes: number, _fua: boolean, completion: Completion): void {
		later(completion, 'faulted');
	}

	flush(completion: Completion): void {
		later(completion, this.#closing === undefined ? 'good' : 'closed');
	}

	async allocation(offsetBytes: number, extentsMax: number): Promise<Allocation> {
		const refusal = this.#refusalOf(offsetBytes, this.blockSize);
		if (refusal !== undefined) return { outcome: refusal, extents: [] };
		this.#running.begin();
		try {
			return await allocationFrom(this.#finder, offsetBytes, this.sizeBytes, extentsMax);
		} finally {
			this.#running.end();
		}
	}

	/** A snapshot never changes its size. */
	onResize(): () => void {
		return () => undefined;
	}

	/** Takes no more reads, and lets the layers go when those that run have ended. */
	close(): Promise<void> {
		this.#closing ??= this.#running.idle().then(() => this.#parts.closed());
		return this.#closing;
	}

	#refusalOf(offsetBytes: number, lengthBytes: number): Outcome | undefined {
		if (this.#closing !== undefined) return 'closed';
		return offsetBytes >= 0 && offsetBytes + lengthBytes <= this.sizeBytes ? undefined : 'outOfRange';
	}
}

/** RFC 9562 §5.8: version 8, made of the volume's UUID and the snapshot's id. */
function uuidOf(volumeUuid: string, snapshotId: number): string {
	const hash = createHash('sha256').update(`${volumeUuid}/${snapshotId}`).digest();
	hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x80, 6);
	hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
	return hash.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
