import { sizeBytesFault } from './limits.ts';
import type { Marks } from './marks.ts';
import { Exclusive } from './exclusive.ts';
import { isHistoryHold } from './history-hold.ts';
import type { Hold, SuperblockFile } from './superblock.ts';
import { VolumeFault, VolumeUsageError } from './volume-fault.ts';
import type { Wal } from './wal.ts';

export interface VolumeChangesOwner {
	/** Throws VolumeUsageError when nothing may be changed now. */
	mustServe(): void;
	sizeBytes(): number;
	resized(sizeBytes: number): void;
	/** The superblock could not be written. */
	failed(reason: string, cause: unknown): void;
}

/** Changes of a volume that are in the superblock alone: its size, and who holds the log. */
export class VolumeChanges {
	readonly #superblock: SuperblockFile;
	readonly #wal: Wal;
	readonly #marks: Marks;
	readonly #owner: VolumeChangesOwner;
	readonly #resizing = new Exclusive();

	constructor(superblock: SuperblockFile, wal: Wal, marks: Marks, owner: VolumeChangesOwner) {
		this.#superblock = superblock;
		this.#wal = wal;
		this.#marks = marks;
		this.#owner = owner;
	}

	/** Volume.resize. */
	resize(sizeBytes: number): Promise<void> {
		return this.#resizing.run(() => this.#resize(sizeBytes));
	}

	/** Work during which the size does not change but by it. */
	alone<T>(work: () => Promise<T>): Promise<T> {
		return this.#resizing.run(work);
	}

	/** Resolves when no change of the size is under way. */
	idle(): Promise<void> {
		return this.#resizing.run(() => Promise.resolve());
	}

	/** Volume.holdLog. */
	async hold(hold: Hold): Promise<void> {
		if (isHistoryHold(hold)) throw new VolumeUsageError(`${hold.name} is a name that only the history of a volume has`);
		await this.addHold(hold);
	}

	/** The same for any name. */
	async addHold(hold: Hold): Promise<void> {
		this.#owner.mustServe();
		this.#wal.segments.addHold(hold, this.#superblock.current.checkpointLSN);
		await this.write({ holds: [...this.#wal.segments.holds] });
	}

	/** Puts another hold in the place of one, or none; what is not kept any more is free once that is durable. */
	async replaceHold(name: string, next: Hold | undefined): Promise<void> {
		const durable = this.#wal.segments.replaceHold(name, next);
		await this.write({ holds: [...this.#wal.segments.holds] });
		durable();
	}

	/** Volume.releaseLog. */
	async release(name: string): Promise<void> {
		this.#owner.mustServe();
		if (this.#wal.segments.holds.some((hold) => hold.name === name && isHistoryHold(hold)))
			throw new VolumeUsageError('the history holds the log: end the history instead');
		await this.replaceHold(name, undefined);
	}

	/** A superblock that cannot be written faults the volume: what is on the disk is unknown from then on. */
	async write(changes: Parameters<SuperblockFile['update']>[0]): Promise<void> {
		try {
			await this.#superblock.updateBoth(changes);
		} catch (error) {
			this.#owner.failed('the superblock could not be written', error);
			throw new VolumeFault('the superblock could not be written', { cause: error });
		}
	}

	async #resize(sizeBytes: number): Promise<void> {
		const fault = sizeBytesFault(sizeBytes);
		if (fault !== undefined) throw new VolumeUsageError(fault);
		const oldBytes = this.#owner.sizeBytes();
		if (sizeBytes < oldBytes)
			throw new VolumeUsageError(`a volume of ${oldBytes} bytes cannot shrink to ${sizeBytes}: what lies behind would be lost`);
		this.#owner.mustServe();
		if (sizeBytes === oldBytes) return;
		await this.write({ geometry: { ...this.#superblock.current.geometry, sizeBytes } });
		this.#marks.grown(sizeBytes);
		this.#owner.resized(sizeBytes);
	}
}
