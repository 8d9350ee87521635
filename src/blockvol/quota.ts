import { errorCode } from '../os/disk.ts';
import { pageBytes } from './limits.ts';
import { VolumeUsageError } from './volume-fault.ts';

export interface QuotaOwner {
	/** Has everything that was begun until now carried into the layers. Rejects with VolumeUsageError when the volume does not serve any more. */
	flush(): Promise<void>;
	/** Disk space of the layers. Rejects with the kernel's error, or with VolumeUsageError when the volume is being closed. */
	allocatedBytes(): Promise<number>;
	/** True for a page that takes no more space when it is written again. */
	hasPlace(page: number): boolean;
	/** A count has ended: whoever waits for it tries again. */
	counted(): void;
	/** The space could not be counted. */
	failed(reason: string, cause: unknown): void;
}

/** What a write may take beside its pages: the blocks of the page map that have its first and its last one. */
const mapBytes = 2 * pageBytes;

/**
 * How much disk space the layers of a volume may take, those of its snapshots included.
 *
 * What they take is counted by the kernel; what was written since the count began may have taken as much again. A write that fits goes on without a question. One that does not waits
 * for a flush and another count, and is refused if it does not fit after that either. So no write makes the layers larger than the quota, and none is refused for what only might be
 * there. Pages that have their place already, and zeros, are never refused; zeros over a snapshot may add blocks of the page map, a thousandth of what they hide.
 */
export class Quota {
	readonly #owner: QuotaOwner;
	readonly #recountMs: number;
	#limitBytes: number | undefined;
	/** At the last count. */
	#countedBytes: number | undefined;
	#countedMs = -Infinity;
	/** Written in all, and when the last count began. */
	#taken = 0;
	#takenBefore = 0;
	#isCounting = false;
	/** The last write that asked was refused. */
	isReached = false;

	/** `recountMs`: a refusal stands so long before it is counted again. */
	constructor(recountMs: number, owner: QuotaOwner) {
		this.#recountMs = recountMs;
		this.#owner = owner;
	}

	get limitBytes(): number | undefined {
		return this.#limitBytes;
	}

	/** Undefined: as much as the file system has. Less than what is taken already refuses what would take more. */
	set(limitBytes: number | undefined): void {
		this.#limitBytes = limitBytes;
		this.#countedMs = -Infinity;
		this.isReached = false;
		this.#owner.counted();
	}

	/** Undefined if pages may be written. `noRoom`: once counted() is called it is known; `full`: not now. */
	stepFor(first: number, end: number): 'noRoom' | 'full' | undefined {
		if (this.#limitBytes === undefined) return undefined;
		let neededBytes = (end - first) * pageBytes + mapBytes;
		if (!this.#fits(this.#estimatedBytes, neededBytes)) {
			let pages = 0;
			for (let page = first; page < end; page++) if (!this.#owner.hasPlace(page)) pages++;
			if (pages === 0) return undefined;
			neededBytes = pages * pageBytes + mapBytes;
		}
		if (this.#fits(this.#estimatedBytes, neededBytes)) {
			this.isReached = false;
			return undefined;
		}
		const isFresh = performance.now() - this.#countedMs < this.#recountMs;
		if (isFresh && this.#countedBytes !== undefined && !this.#fits(this.#countedBytes, neededBytes)) {
			this.isReached = true;
			return 'full';
		}
		void this.#count();
		return 'noRoom';
	}

	/** Pages are written. */
	took(pages: number): void {
		this.#taken += pages * pageBytes + mapBytes;
	}

	get #estimatedBytes(): number {
		return (this.#countedBytes ?? Infinity) + this.#taken - this.#takenBefore;
	}

	#fits(takenBytes: number, neededBytes: number): boolean {
		return takenBytes + neededBytes <= (this.#limitBytes ?? Infinity);
	}

	async #count(): Promise<void> {
		if (this.#isCounting) return;
		this.#isCounting = true;
		try {
			const before = this.#taken;
			await this.#owner.flush();
			this.#countedBytes = await this.#owner.allocatedBytes();
			this.#takenBefore = before;
			this.#countedMs = performance.now();
		} catch (error) {
			if (!(error instanceof VolumeUsageError)) {
				if (errorCode(error) === '') throw error;
				this.#owner.failed('the disk space of the volume could not be counted', error);
			}
		} finally {
			this.#isCounting = false;
			this.#owner.counted();
		}
	}
}
