import type { Completion, Outcome, Sanitizer, SanitizeState, SanitizeWatcher } from '../blockvol/block-device.ts';
import { beginSanitize, exitSanitizeFailure, keptBy, sanitize, SanitizeStopped } from '../blockvol/sanitize.ts';
import type { Sanitize, SanitizeOrder } from '../blockvol/sanitize-record.ts';
import { VolumeFault, VolumeUsageError } from '../blockvol/volume-fault.ts';
import type { Disk } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import { kernelCode } from './kernel-code.ts';
import type { VolumeSlot } from './volume-slot.ts';

export interface VolumeSanitizerParts {
	readonly slot: VolumeSlot;
	readonly disk: Disk;
	readonly directory: string;
	readonly log: Logger;
	/** Whether the operator lets initiators ask for it. */
	readonly isAllowed: () => boolean;
	/** Opens the volume again, in its slot. */
	readonly reopen: () => Promise<void>;
}

const failedSentence = 'Sanitizing the volume has failed: what it held may still be on the disk. Sanitize it again.';

/**
 * Sanitizes the volume of a slot: takes it away from its initiators, closes it, has it sanitized on the disk, and opens it again.
 *
 *     idle ──begin()──▶ running ──▶ idle
 *                        │  ▲ └──cannot be overwritten──▶ failed ──exitFailure(), begin()──▶ …
 *                        │  └──resume(), at the next start
 *                        └──stop(): the appliance ends
 */
export class VolumeSanitizer implements Sanitizer {
	readonly #parts: VolumeSanitizerParts;
	readonly #abort = new AbortController();
	#state: SanitizeState | undefined;
	/** Of the order that runs. */
	#mayExitFailure = false;
	#working: Promise<void> = Promise.resolve();

	constructor(parts: VolumeSanitizerParts) {
		this.#parts = parts;
	}

	get isAllowed(): boolean {
		return this.#parts.isAllowed();
	}

	get state(): SanitizeState | undefined {
		return this.#state;
	}

	begin(order: SanitizeOrder, watcher: SanitizeWatcher): void {
		const refusal = this.#refusal();
		const before = this.#state;
		if (refusal === undefined) this.#state = { kind: 'running', done: 0 };
		this.#work(async () => {
			if (refusal !== undefined) watcher.begun(refusal);
			else if (await this.#begun(order, before, watcher)) watcher.ended(await this.#run(() => watcher.moved()));
		});
	}

	exitFailure(completion: Completion): void {
		const state = this.#state;
		this.#work(async () => {
			if (state === undefined) completion.complete('good');
			else if (state.kind === 'running') completion.complete('sanitizing');
			else completion.complete(await this.#exit());
		});
	}

	/** At a start: the superblock has an order. Goes on with it, unless it has failed. */
	resume({ hasFailed, mayExitFailure }: Sanitize): void {
		if (hasFailed) {
			this.#fail(mayExitFailure);
			return;
		}
		const { slot, log } = this.#parts;
		log.warn({ volume: slot.uuid }, 'sanitizing was cut short: it begins anew');
		this.#state = { kind: 'running', done: 0 };
		this.#mayExitFailure = mayExitFailure;
		slot.withhold('sanitizing');
		this.#work(async () => {
			await this.#run(() => undefined);
		});
	}

	/** Resolves when nothing of it runs; what ran goes on after the next start. */
	async stop(): Promise<void> {
		this.#abort.abort();
		await this.#working;
	}

	/** Never in the turn of the call; one after the other. */
	#work(work: () => Promise<void>): void {
		this.#working = this.#working.then(work);
	}

	/** Before anything is changed. */
	#refusal(): Exclude<Outcome, 'good'> | 'kept' | undefined {
		if (this.#abort.signal.aborted) return 'closed';
		if (this.#state?.kind === 'running') return 'sanitizing';
		if (this.#state?.kind === 'failed') return undefined;
		const { volume, fault } = this.#parts.slot;
		if (fault !== undefined) return 'faulted';
		if (volume === undefined) return 'closed';
		return undefined;
	}

	/** Closes the volume and writes the order down. False: it was refused, and everything is as before. */
	async #begun(order: SanitizeOrder, before: SanitizeState | undefined, watcher: SanitizeWatcher): Promise<boolean> {
		const { slot, disk, directory, log } = this.#parts;
		log.warn({ volume: slot.uuid, method: order.method, passes: order.passes }, 'an initiator has the volume sanitized');
		try {
			// Before anybody has to wait for it; what comes up meanwhile is found again below.
			const kept = before === undefined ? await keptBy(disk, directory) : undefined;
			if (kept !== undefined) throw new VolumeUsageError(kept);
			await slot.withhold('sanitizing')?.close();
			await beginSanitize(disk, directory, order);
		} catch (error) {
			const isKept = error instanceof VolumeUsageError;
			const isClosed = slot.volume === undefined;
			if (!isKept && !(error instanceof VolumeFault) && kernelCode(error) === '') throw error;
			log.warn({ volume: slot.uuid, err: error }, 'the volume is not sanitized');
			if (before?.kind === 'failed') this.#fail(before.mayExitFailure);
			else if (isClosed) await this.#reopen();
			else this.#state = undefined;
			// Its superblock may have changed while it was read: the initiator tries again.
			watcher.begun(isKept ? 'kept' : isClosed ? 'faulted' : 'closed');
			return false;
		}
		this.#mayExitFailure = order.mayExitFailure;
		watcher.begun('good');
		return true;
	}

	async #run(moved: () => void): Promise<Outcome> {
		const { slot, disk, directory, log } = this.#parts;
		try {
			await sanitize(disk, directory, {
				signal: this.#abort.signal,
				moved: (done) => {
					this.#state = { kind: 'running', done };
					moved();
				},
			});
		} catch (error) {
			if (error instanceof SanitizeStopped) return 'closed';
			if (!(error instanceof VolumeFault) && kernelCode(error) === '') throw error;
			log.error({ volume: slot.uuid, err: error }, 'sanitizing the volume has failed');
			this.#fail(this.#mayExitFailure);
			return 'sanitizeFailed';
		}
		log.warn({ volume: slot.uuid }, 'the volume is sanitized');
		await this.#reopen();
		return 'good';
	}

	async #exit(): Promise<Outcome> {
		const { slot, disk, directory, log } = this.#parts;
		try {
			await exitSanitizeFailure(disk, directory);
		} catch (error) {
			if (!(error instanceof VolumeUsageError) && !(error instanceof VolumeFault) && kernelCode(error) === '') throw error;
			log.error({ volume: slot.uuid, err: error }, 'the failure to sanitize the volume cannot be ended');
			return 'sanitizeFailed';
		}
		log.warn({ volume: slot.uuid }, 'the volume that could not be sanitized is in use again, empty; what it held may still be on the disk');
		await this.#reopen();
		return 'good';
	}

	#fail(mayExitFailure: boolean): void {
		this.#state = { kind: 'failed', mayExitFailure };
		this.#parts.slot.withhold('sanitizeFailed', failedSentence);
	}

	/** Unless the appliance ends. The unit is not ready until the volume is there, or cannot be: reads are refused until then. */
	async #reopen(): Promise<void> {
		const state = this.#state;
		if (!this.#abort.signal.aborted) await this.#parts.reopen();
		// resume() may have begun anew.
		if (this.#state === state) this.#state = undefined;
	}
}
