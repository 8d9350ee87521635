import { errorCode } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import type { Outcome } from './block-device.ts';
import { VolumeUsageError } from './volume-fault.ts';

export interface HealthOwner {
	/** The medium failed: nothing is acknowledged from now on. Once. */
	failed(fault: string): void;
	/** The file system is full: those who wait for room are refused, zeros may go on. */
	becameFull(): void;
	/** Time to see whether it has room again. */
	retry(): void;
}

/**
 * Whether a volume takes commands, and why not.
 *
 *   serving ──noSpace()──▶ full ──foundRoom()──▶ serving; full tries again every now and then
 *      ├──fail()──▶ faulted, for good
 *      └──isClosing──▶ being closed
 */
export class Health {
	readonly #uuid: string;
	readonly #log: Logger;
	readonly #retryMs: number;
	readonly #owner: HealthOwner;
	isFull = false;
	isClosing = false;
	/** Why the volume is faulted, in words for a person. */
	fault: string | undefined;

	constructor(uuid: string, log: Logger, retryMs: number, owner: HealthOwner) {
		this.#uuid = uuid;
		this.#log = log;
		this.#retryMs = retryMs;
		this.#owner = owner;
	}

	fail(reason: string, cause: unknown): void {
		if (this.fault !== undefined) return;
		const code = errorCode(cause);
		this.fault = code === '' ? reason : `${reason} (${code})`;
		this.#log.error({ volume: this.#uuid, err: cause }, `volume faulted: ${this.fault}`);
		this.#owner.failed(this.fault);
	}

	noSpace(): void {
		if (!this.isFull)
			this.#log.error(
				{ volume: this.#uuid },
				'the file system is full: writes are refused until somebody frees space; then they go on by themselves',
			);
		this.isFull = true;
		this.#owner.becameFull();
		if (!this.isClosing) setTimeout(() => this.#retry(), this.#retryMs).unref();
	}

	/** Something that needs room has succeeded. */
	foundRoom(): void {
		if (!this.isFull) return;
		this.isFull = false;
		this.#log.info({ volume: this.#uuid }, 'the file system has room again: writes go on');
	}

	/** Throws VolumeUsageError when the volume can neither be changed nor asked. */
	mustServe(): void {
		if (this.isClosing) throw new VolumeUsageError('the volume is being closed');
		if (this.fault !== undefined) throw new VolumeUsageError(`the volume is faulted: ${this.fault}`);
	}

	/** Why a write is refused now, or a zero or flush; undefined if it is not. */
	refusalOf(isZero: boolean): Outcome | undefined {
		if (this.isClosing) return 'closed';
		if (this.fault !== undefined) return 'faulted';
		return this.isFull && !isZero ? 'noSpace' : undefined;
	}

	#retry(): void {
		if (this.isFull && !this.isClosing && this.fault === undefined) this.#owner.retry();
	}
}
