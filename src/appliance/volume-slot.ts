import {
	type Allocation,
	type BlockDevice,
	type CompareCompletion,
	type Completion,
	type Outcome,
	type Sanitizer,
	atomicBytesMax,
	copiedBytesMax,
} from '../blockvol/block-device.ts';
import { noLimits, type SpaceLimits } from '../config/space-limits.ts';
import type { RemoteProgress } from '../blockvol/remote-pages.ts';
import type { SnapshotInfo, SnapshotVolume } from './snapshot-engine.ts';
import { UsedBytes } from './used-bytes.ts';

/** What can be in a slot. */
export interface OpenDevice extends BlockDevice {
	/** Disk space; not every device knows it. */
	allocatedBytes?(): Promise<number>;
	/** How much of it there may be; undefined: what the file system has. */
	quotaBytes?: number | undefined;
	readonly isQuotaReached?: boolean;
	/** It shares what it began with. */
	readonly isClone?: boolean;
	/** The file system is full. */
	readonly isFull?: boolean;
	close(): Promise<void>;
}

/** What the appliance needs of an open volume. Not every stand-in can be snapped. */
export interface OpenVolume extends OpenDevice, Partial<SnapshotVolume> {
	resize(sizeBytes: number): Promise<void>;
	/** Counters and gauges by name. */
	statistics(): object | Promise<object>;
	/** How far it is fetched from an archive; undefined when all of it is here. */
	readonly remote?: RemoteProgress | undefined;
	/** The snapshots in which a page is read from a layer. */
	snapshotsShowing?(layer: number, page: number): Promise<readonly Pick<SnapshotInfo, 'id' | 'name' | 'timeMs' | 'lsn'>[]>;
	/** Puts a page of a frozen layer back; false if it is not what belongs there. */
	mendPage?(layer: number, page: number, bytes: Uint8Array): Promise<boolean>;
}

export interface VolumeIdentity {
	readonly uuid: string;
	readonly sizeBytes: number;
	readonly blockSize: 512 | 4096;
}

/**
 * The place of a volume from the moment the configuration names it, so that listeners answer while the engine still replays.
 *
 *     opening ──opened()──▶ online ◀──opened()──┐
 *        │                    ├────────── withhold()
 *        ├──failed()──▶ faulted
 *        └──────── end() ─────┴──▶ ended
 *
 * opening: commands wait, and run in their order once the volume is there; what waits is bounded by what the sessions may have outstanding.
 * online: every call goes through. faulted: every command ends with `faulted`. ended: with `closed`. While it is sanitized, or that has failed: with an outcome that says so.
 */
export class VolumeSlot<Device extends OpenDevice = OpenVolume> implements BlockDevice {
	readonly uuid: string;
	readonly blockSize: 512 | 4096;
	readonly #configuredBytes: number;
	readonly #listeners = new Set<() => void>();
	#volume: Device | undefined;
	#refusal: Exclude<Outcome, 'good'> | undefined;
	#failure: string | undefined;
	#waiting: ((volume: BlockDevice) => void)[] = [];
	#refused: Completion[] = [];
	#endResize: (() => void) | undefined;
	#used: UsedBytes | undefined;
	#limits: SpaceLimits = noLimits;
	/** Of the log, 0 to 1, while the volume is opened; undefined while nothing of it was read. */
	replayed: number | undefined;
	/** What sanitizes it; undefined: nobody. */
	sanitizer: Sanitizer | undefined;

	constructor(identity: VolumeIdentity) {
		this.uuid = identity.uuid;
		this.blockSize = identity.blockSize;
		this.#configuredBytes = identity.sizeBytes;
	}

	get sizeBytes(): number {
		return this.#volume?.sizeBytes ?? this.#configuredBytes;
	}

	/** Before the volume is there: what every volume of the usual geometry has. */
	get atomicBytesMax(): number {
		return this.#volume?.atomicBytesMax ?? atomicBytesMax;
	}

	/** Disk space, at most as much as the volume has: what the kernel said a moment ago, and the whole size while that is not known. */
	get usedBytes(): number {
		return Math.min(this.#used?.latest ?? this.sizeBytes, this.sizeBytes);
	}

	/** Disk space of the volume with its snapshots, which may be more than it has; undefined while it is not known. */
	get diskBytes(): number | undefined {
		return this.#used?.latest;
	}

	get limits(): SpaceLimits {
		return this.#limits;
	}

	/** Also before it is open. */
	setLimits(limits: SpaceLimits): void {
		this.#limits = limits;
		this.#applyQuota();
	}

	/** Of the quota, or of the size where there is none. */
	get usedPercent(): number {
		return Math.floor((100 * (this.diskBytes ?? 0)) / (this.#limits.quotaBytes ?? this.sizeBytes));
	}

	/** The threshold is reached. */
	get isLow(): boolean {
		const { thresholdPercent } = this.#limits;
		return thresholdPercent !== undefined && this.usedPercent >= thresholdPercent;
	}

	get fault(): string | undefined {
		return this.#failure ?? this.#volume?.fault;
	}

	get state(): 'opening' | 'online' | 'faulted' | 'sanitizing' {
		if (this.fault !== undefined) return 'faulted';
		if (this.#refusal === 'sanitizing') return 'sanitizing';
		return this.#volume === undefined ? 'opening' : 'online';
	}

	/** The open volume, whatever its health; undefined before and after. */
	get volume(): Device | undefined {
		return this.#volume;
	}

	#applyQuota(): void {
		const { quotaBytes } = this.#limits;
		if (this.#volume !== undefined && this.#volume.quotaBytes !== quotaBytes) this.#volume.quotaBytes = quotaBytes;
	}

	/** The replay is over. A size that differs from the configuration's (a crash in the middle of a resize) is the volume's. */
	opened(volume: Device): void {
		this.#volume = volume;
		this.#applyQuota();
		this.#refusal = undefined;
		this.#failure = undefined;
		this.#endResize = volume.onResize(() => this.#resized());
		if (volume.allocatedBytes !== undefined) this.#used = new UsedBytes(volume.allocatedBytes.bind(volume));
		if (volume.sizeBytes !== this.#configuredBytes) this.#resized();
		this.#refused = [];
		for (const start of this.#waiting.splice(0)) start(volume);
	}

	/** It could not be opened, `reason` says why in one sentence. */
	failed(reason: string): void {
		this.#failure = reason;
		this.#refuseAll('faulted');
	}

	/** No command reaches the volume from now on. Returns it, for whom has to close it. */
	end(): Device | undefined {
		return this.#take('closed');
	}

	/** The same until opened() or end(); commands end with that outcome. `failure` is why it stays so, in one sentence. */
	withhold(outcome: 'sanitizing' | 'sanitizeFailed', failure?: string): Device | undefined {
		this.#failure = failure;
		return this.#take(outcome);
	}

	/** What is in the device has become something else under its initiators: they are told as if its size had changed, so that they look at it again. */
	contentChanged(): void {
		this.#resized();
	}

	tryRead(offsetBytes: number, target: Uint8Array, start = 0, end = target.length): Outcome | undefined {
		return this.#volume === undefined ? this.#refusal : this.#volume.tryRead(offsetBytes, target, start, end);
	}

	read(offsetBytes: number, target: Uint8Array, completion: Completion): void {
		if (this.#volume !== undefined) this.#volume.read(offsetBytes, target, completion);
		else this.#wait(completion, (volume) => volume.read(offsetBytes, target, completion));
	}

	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void {
		if (this.#volume !== undefined) {
			this.#volume.write(offsetBytes, data, fua, completion);
			return;
		}
		// The caller may reuse a short buffer when write() returns: the contract of BlockDevice.
		const kept = data.length <= copiedBytesMax ? Uint8Array.from(data) : data;
		this.#wait(completion, (volume) => volume.write(offsetBytes, kept, fua, completion));
	}

	compareAndWrite(offsetBytes: number, expected: Uint8Array, data: Uint8Array, fua: boolean, completion: CompareCompletion): void {
		if (this.#volume !== undefined) {
			this.#volume.compareAndWrite(offsetBytes, expected, data, fua, completion);
			return;
		}
		const [keptExpected, keptData] = [Uint8Array.from(expected), Uint8Array.from(data)];
		this.#wait(completion, (volume) => volume.compareAndWrite(offsetBytes, keptExpected, keptData, fua, completion));
	}

	zero(offsetBytes: number, lengthBytes: number, fua: boolean, completion: Completion): void {
		if (this.#volume !== undefined) this.#volume.zero(offsetBytes, lengthBytes, fua, completion);
		else this.#wait(completion, (volume) => volume.zero(offsetBytes, lengthBytes, fua, completion));
	}

	flush(completion: Completion): void {
		if (this.#volume !== undefined) this.#volume.flush(completion);
		else this.#wait(completion, (volume) => volume.flush(completion));
	}

	allocation(offsetBytes: number, extentsMax: number): Promise<Allocation> {
		if (this.#volume !== undefined) return this.#volume.allocation(offsetBytes, extentsMax);
		return new Promise((resolve) => {
			const refused = { complete: (outcome: Outcome): void => resolve({ outcome, extents: [] }) };
			this.#wait(refused, (volume) => void volume.allocation(offsetBytes, extentsMax).then(resolve));
		});
	}

	onResize(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	#take(refusal: Exclude<Outcome, 'good'>): Device | undefined {
		const volume = this.#volume;
		this.#volume = undefined;
		this.#used = undefined;
		this.#endResize?.();
		this.#refuseAll(refusal);
		return volume;
	}

	#wait(completion: Completion, start: (volume: BlockDevice) => void): void {
		const refusal = this.#refusal;
		if (refusal !== undefined) {
			// Never before the call returned.
			queueMicrotask(() => completion.complete(refusal));
			return;
		}
		this.#waiting.push(start);
		this.#refused.push(completion);
	}

	#refuseAll(outcome: Exclude<Outcome, 'good'>): void {
		this.#refusal = outcome;
		this.#waiting = [];
		for (const completion of this.#refused.splice(0)) completion.complete(outcome);
	}

	#resized(): void {
		for (const listener of this.#listeners) listener();
	}
}
