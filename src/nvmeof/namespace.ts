import type { BlockDevice } from '../blockvol/block-device.ts';
import type { Registrant } from '../reservation/registrant.ts';
import { type ReservationNotice, ReservationTable } from '../reservation/reservation-table.ts';
import { NamespaceIdentity } from './identity.ts';
import { limits } from './limits.ts';
import { NamespaceStatistics } from './namespace-statistics.ts';
import { VerifyBuffers } from './verify-buffers.ts';

export interface NamespaceOptions {
	/** Refuses every command that changes the medium with Namespace is Write Protected. */
	readonly readOnly?: boolean | undefined;
	/** That of the volume, shared with its other exports. Without it the namespace has one of its own, which nothing persists. */
	readonly reservations?: ReservationTable | undefined;
	/** NUSE in bytes; without it the whole namespace counts as used. */
	readonly usedBytes?: (() => number) | undefined;
}

/** What a subsystem wants to know of its namespace. */
export interface NamespaceWatcher {
	resized(namespace: Namespace): void;
	reservationNotice(namespace: Namespace, registrant: Registrant, notice: ReservationNotice): void;
	abortReserved(namespace: Namespace, registrants: readonly Registrant[], finished: () => void): void;
}

/** A volume as a namespace of one subsystem. */
export class Namespace {
	readonly nsid: number;
	readonly device: BlockDevice;
	readonly readOnly: boolean;
	readonly identity: NamespaceIdentity;
	readonly reservations: ReservationTable;
	readonly statistics = new NamespaceStatistics();
	readonly verifyBuffers = new VerifyBuffers();
	/** Logical blocks of a write that is whole or absent after a crash. */
	readonly atomicBlocks: number;
	readonly #usedBytes: (() => number) | undefined;
	readonly #endResize: () => void;
	readonly #endReservations: () => void;

	constructor(nsid: number, device: BlockDevice, watcher: NamespaceWatcher, options: NamespaceOptions) {
		this.nsid = nsid;
		this.device = device;
		this.readOnly = options.readOnly ?? false;
		this.identity = new NamespaceIdentity(device.uuid);
		this.reservations = options.reservations ?? new ReservationTable();
		this.atomicBlocks = Math.min(limits.atomicBytes, device.atomicBytesMax) / device.blockSize;
		this.#usedBytes = options.usedBytes;
		this.#endResize = device.onResize(() => watcher.resized(this));
		this.#endReservations = this.reservations.listen({
			notify: (registrant, notice) => watcher.reservationNotice(this, registrant, notice),
			abort: (registrants, finished) => watcher.abortReserved(this, registrants, finished),
		});
	}

	/** Capacity in logical blocks. */
	get blocks(): number {
		return this.device.sizeBytes / this.device.blockSize;
	}

	/** NUSE: logical blocks that take space. */
	get usedBlocks(): number {
		const used = Math.ceil((this.#usedBytes?.() ?? this.device.sizeBytes) / this.device.blockSize);
		return Math.min(used, this.blocks);
	}

	close(): void {
		this.#endResize();
		this.#endReservations();
	}
}
