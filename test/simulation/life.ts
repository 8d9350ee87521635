import { copiedBytesMax, type Outcome } from '../../src/blockvol/block-device.ts';
import { recordDataBytes } from '../../src/blockvol/limits.ts';
import { createLazyVolume } from '../../src/blockvol/lazy-volume.ts';
import type { RemotePages } from '../../src/blockvol/remote-pages.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { errorCode } from '../../src/os/disk.ts';
import { silent } from '../../src/os/logger.ts';
import { fillBlocks, writeNumbersOf } from './block-content.ts';
import { observe } from './observe.ts';
import { messageOf, SimulationFailure } from './failure.ts';
import { type Ending, type Finding, VolumeModel } from './model.ts';
import type { Random } from './random.ts';
import { VolumeFault, VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { SnapshotLedger } from './snapshot-ledger.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { sectorBytes } from './sparse-content.ts';
import { WindowedDevice } from './windows.ts';
import type { Setting, Step } from './workload.ts';

export const uuid = '6f1b0f4e-93c8-4d6c-8a2e-5b7f0c1d2e3f';

/** Numbers of writes are never given twice within a simulation, whatever lives it has. */
export interface Numbers {
	last: number;
}

export async function createVolume(disk: SimulatedDisk, directory: string, setting: Setting): Promise<VolumeModel> {
	const { blockSize, segmentBytes, sliceBytes } = setting;
	const geometry = { uuid, sizeBytes: WindowedDevice.deviceBytes(setting.windows, setting.sizeBytes), blockSize, segmentBytes, sliceBytes };
	const { lazy } = setting;
	if (lazy === undefined) await Volume.create(disk, directory, geometry);
	else await createLazyVolume(disk, directory, geometry, lazy.source);
	return new VolumeModel(setting.sizeBytes, recordDataBytes(geometry), lazy?.numbers, setting.tuning.overwriteBytesMin);
}

const writes: ReadonlySet<Step['kind']> = new Set(['write', 'zero']);

/** What outcomes are legal; by default only good ones. */
export type Legal = (outcome: Outcome, step: Step) => boolean;

/** A volume on a simulated disk from its opening to its end, with the model that knows what it must hold. */
export class Life {
	readonly #directory: string;
	readonly #setting: Setting;
	readonly #random: Random;
	readonly #numbers: Numbers;
	readonly #legal: Legal;
	readonly #pages: RemotePages | undefined;
	disk: SimulatedDisk;
	model: VolumeModel;
	snapshots = new SnapshotLedger();
	/** What the volume shows once a restore that is under way is over. */
	restoring: Int32Array | undefined;
	/** Number of the step that was begun last. */
	step = -1;
	/** Called for each disk that this life goes on with. */
	onDisk: ((disk: SimulatedDisk) => void) | undefined;
	#volume: Volume | undefined;
	#device: WindowedDevice | undefined;
	#outstanding = 0;
	#waiting: (() => void) | undefined;
	#failure: SimulationFailure | undefined;
	readonly outcomes = new Map<Outcome, number>();

	constructor(
		disk: SimulatedDisk,
		model: VolumeModel,
		options: { directory: string; setting: Setting; random: Random; numbers: Numbers; legal?: Legal },
	) {
		this.disk = disk;
		this.model = model;
		this.#directory = options.directory;
		this.#setting = options.setting;
		this.#random = options.random;
		this.#pages = options.setting.lazy?.pages(options.random.branch());
		this.#numbers = options.numbers;
		this.#legal =
			options.legal ?? ((outcome, step) => outcome === 'good' || (outcome === 'noSpace' && this.#setting.isTight && writes.has(step.kind)));
	}

	get volume(): Volume {
		if (this.#volume === undefined) throw new Error('the volume is not open');
		return this.#volume;
	}

	/** The parts of the volume that the model knows. */
	get device(): WindowedDevice {
		if (this.#device === undefined) throw new Error('the volume is not open');
		return this.#device;
	}

	async open(): Promise<void> {
		const volume = await Volume.open(this.disk, this.#directory, {
			log: silent,
			tuning: this.#setting.tuning,
			remote: () => this.#pages,
		});
		this.#volume = volume;
		this.#device = new WindowedDevice(volume, this.#setting.windows);
	}

	async close(): Promise<void> {
		await this.settle();
		await this.volume.close();
		this.#throwIfFailed();
	}

	/** Looks at every block, judges what is there after an ending, and goes on with the model of the next life. */
	async judge(at: number, ending: Ending): Promise<void> {
		const observed = await observe(this.device, this.#random);
		const finding = this.model.judge(observed, at, ending);
		const isRestored = this.restoring !== undefined && isEqual(observed, this.restoring);
		if (finding !== undefined && !isRestored) throw new SimulationFailure(describe(finding));
		await this.snapshots.judge(this.volume, this.#setting.windows, this.#random, at);
		if (finding !== undefined) this.#becomes(observed);
		else this.model = this.model.next(observed, at, ending);
		this.restoring = undefined;
	}

	/** Looks at every block of the running volume; nothing is under way. */
	async judgeRunning(): Promise<void> {
		const since = this.model.clock + 1;
		const finding = this.model.judgeRead(await observe(this.device, this.#random), 0, since);
		if (finding !== undefined) throw new SimulationFailure(describe(finding));
		await this.snapshots.judge(this.volume, this.#setting.windows, this.#random, undefined);
	}

	async run(steps: readonly Step[]): Promise<void> {
		for (const step of steps) {
			this.step++;
			while (this.#outstanding >= this.#setting.queueDepth) await this.#oneLess();
			this.#throwIfFailed();
			await this.#begin(step);
			// So that commands meet in one turn of the event loop, and in several.
			if (this.#random.chance(0.5)) await turns(this.#random.below(4));
		}
		await this.settle();
	}

	/** The disk has space again: waits until the volume has noticed. */
	async recoverSpace(): Promise<void> {
		this.disk.quotaBytes = Infinity;
		for (let attempt = 0; this.volume.isFull; attempt++) {
			if (attempt === 1000) throw new SimulationFailure('the disk has space again, and the volume still says it is full');
			await new Promise((resolve) => {
				setTimeout(resolve, 1);
			});
		}
	}

	async settle(): Promise<void> {
		while (this.#outstanding > 0) await this.#oneLess();
		this.#throwIfFailed();
	}

	async #begin(step: Step): Promise<void> {
		switch (step.kind) {
			case 'write':
				return this.#write(step);
			case 'zero': {
				const command = this.model.submit(this.step, 0, step.offsetBytes, step.lengthBytes, step.fua);
				this.device.zero(
					step.offsetBytes,
					step.lengthBytes,
					step.fua,
					this.#completion(step, (outcome) => this.model.complete(command, outcome)),
				);
				return;
			}
			case 'read':
				return this.#read(step);
			case 'flush': {
				const flush = this.model.submitFlush();
				this.volume.flush(this.#completion(step, (outcome) => this.model.completeFlush(flush, outcome)));
				return;
			}
			case 'flushToLayers':
				void this.#watch(this.volume.flushToLayers());
				return;
			case 'snapshot':
				void this.#watch(this.#snapshot());
				return;
			case 'deleteSnapshot':
				void this.#watch(this.#deleteSnapshot());
				return;
			case 'restore':
				return this.#restore(step);
			case 'resize': {
				await this.settle();
				const resize = this.model.submitResize(this.device.sizeBytes + step.addedBytes);
				try {
					await this.volume.resize(this.volume.sizeBytes + step.addedBytes);
				} catch (error) {
					if (!this.#legal('faulted', step)) throw error;
					return;
				}
				this.model.completeResize(resize);
				return;
			}
			case 'settle':
				return this.settle();
			case 'space':
				this.disk.quotaBytes = this.disk.usedBytes + step.freeBytes;
				return;
			case 'reopen':
				await this.close();
				return this.open();
			case 'kill':
				return this.#kill();
		}
	}

	async #snapshot(): Promise<void> {
		const name = `snapshot ${++this.#numbers.last}`;
		const { snapshots, disk } = this;
		snapshots.submit(name, this.model);
		try {
			await this.volume.createSnapshot(name);
		} catch (error) {
			if (disk !== this.disk) return;
			const isExpected = error instanceof VolumeFault ? this.#legal('faulted', { kind: 'snapshot' }) : error instanceof VolumeUsageError;
			if (!isExpected || (!this.#setting.isTight && !this.#legal('faulted', { kind: 'snapshot' }))) throw error;
			if (error instanceof VolumeUsageError) snapshots.refused(name);
			return;
		}
		if (disk === this.disk) snapshots.complete(name);
	}

	async #restore(step: Step & { kind: 'restore' }): Promise<void> {
		await this.settle();
		// Where reads may fail, nobody knows what is restored.
		const mayRead = (): boolean => !this.#legal('mediumError', { kind: 'read', offsetBytes: 0, lengthBytes: 0 });
		if (!mayRead()) return;
		// From here on it is known what each snapshot shows, and what there is. The disk may fall ill while it is being looked at.
		let live: Int32Array;
		try {
			await this.judgeRunning();
			live = await observe(this.device, this.#random);
		} catch (error) {
			if (mayRead()) throw error;
			return;
		}
		const { snapshots, disk } = this;
		if (snapshots.names.length === 0) return;
		const name = this.#random.pick(snapshots.names);
		const content = snapshots.contentOf(name);
		if (content === undefined) return;
		const keptName = step.keepsLive ? `snapshot ${++this.#numbers.last}` : undefined;
		if (keptName !== undefined) snapshots.submitKnown(keptName, this.model, live);
		this.restoring = content;
		try {
			await this.volume.restoreSnapshot(name, keptName === undefined ? {} : { keepLiveAs: keptName });
		} catch (error) {
			if (disk !== this.disk) return;
			const isFull = this.#setting.isTight && (error instanceof VolumeUsageError || errorCode(error) === 'ENOSPC');
			if (!isFull && !this.#legal('faulted', step)) throw error;
			if (isFull) {
				this.restoring = undefined;
				if (keptName !== undefined) snapshots.refused(keptName);
			}
			return;
		}
		if (disk !== this.disk) return;
		if (keptName !== undefined) snapshots.complete(keptName);
		this.#becomes(content);
		try {
			await this.judgeRunning();
		} catch (error) {
			if (mayRead()) throw error;
		}
	}

	/** The volume is what a snapshot was, durably. */
	#becomes(content: Int32Array): void {
		this.restoring = undefined;
		this.model = new VolumeModel(content.length * sectorBytes, this.model.atomicBytes, content, this.model.unorderedBytes);
	}

	async #deleteSnapshot(): Promise<void> {
		const { snapshots, disk } = this;
		if (snapshots.names.length === 0) return;
		const name = this.#random.pick(snapshots.names);
		snapshots.submitDelete(name);
		try {
			await this.volume.deleteSnapshot(name);
		} catch (error) {
			if (disk !== this.disk) return;
			const isFull = this.#setting.isTight && (error instanceof VolumeUsageError || errorCode(error) === 'ENOSPC');
			if (!isFull && !this.#legal('faulted', { kind: 'deleteSnapshot' })) throw error;
			return;
		}
		if (disk === this.disk) snapshots.completeDelete(name);
	}

	#write(whole: Step & { kind: 'write' }): void {
		const step = { ...whole, lengthBytes: this.device.stretch(whole.offsetBytes, whole.lengthBytes) };
		const number = ++this.#numbers.last;
		const command = this.model.submit(this.step, number, step.offsetBytes, step.lengthBytes, step.fua);
		const data = Buffer.alloc(step.lengthBytes);
		fillBlocks(data, number, command.firstBlock);
		const completion = this.#completion(step, (outcome) => {
			this.model.complete(command, outcome);
			data.fill(0x5a);
		});
		this.device.write(step.offsetBytes, data, step.fua, completion);
		if (data.length <= copiedBytesMax) data.fill(0x5a);
	}

	#read(whole: Step & { kind: 'read' }): void {
		const step = { ...whole, lengthBytes: this.device.stretch(whole.offsetBytes, whole.lengthBytes) };
		const { model } = this;
		const since = model.clock + 1;
		const target = Buffer.alloc(step.lengthBytes);
		const done = (outcome: Outcome): void => {
			if (outcome !== 'good') return;
			const first = step.offsetBytes / sectorBytes;
			const finding = model.judgeRead(writeNumbersOf(target, first), first, since);
			if (finding !== undefined) this.#failure ??= new SimulationFailure(`a read of a running volume: ${describe(finding)}`);
		};
		const completion = this.#completion(step, done);
		const outcome = this.#random.chance(0.5) ? this.device.tryRead(step.offsetBytes, target) : undefined;
		if (outcome !== undefined) completion.complete(outcome);
		else this.device.read(step.offsetBytes, target, completion);
	}

	async #kill(): Promise<void> {
		const { at } = this.model.moment('killed');
		const successor = this.disk.killed(this.#random.next());
		this.volume.abandon();
		this.disk.freeze();
		this.disk = successor;
		this.#outstanding = 0;
		this.onDisk?.(successor);
		await this.open();
		await this.judge(at, 'killed');
	}

	#completion(step: Step, done: (outcome: Outcome) => void): { complete(outcome: Outcome): void } {
		this.#outstanding++;
		const { disk } = this;
		let completed = false;
		return {
			complete: (outcome) => {
				if (disk !== this.disk) return;
				if (completed) this.#failure ??= new SimulationFailure(`${step.kind} completed twice`);
				completed = true;
				this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
				if (!this.#legal(outcome, step))
					this.#failure ??= new SimulationFailure(`${step.kind} ended with ${outcome}: ${this.volume.fault ?? 'no fault'}`);
				done(outcome);
				this.#less();
			},
		};
	}

	/** Runs beside the steps that follow. */
	async #watch(work: Promise<void>): Promise<void> {
		this.#outstanding++;
		const { disk } = this;
		try {
			await work;
		} catch (error) {
			if (!this.#legal('faulted', { kind: 'flushToLayers' }))
				this.#failure ??= new SimulationFailure(`work in the background failed: ${messageOf(error)}`, { cause: error });
		}
		if (disk === this.disk) this.#less();
	}

	#less(): void {
		this.#outstanding--;
		const wake = this.#waiting;
		this.#waiting = undefined;
		wake?.();
	}

	#oneLess(): Promise<void> {
		return new Promise((resolve) => {
			this.#waiting = resolve;
		});
	}

	#throwIfFailed(): void {
		if (this.#failure !== undefined) throw this.#failure;
	}
}

function isEqual(a: Int32Array, b: Int32Array): boolean {
	return a.length === b.length && a.every((number, at) => number === b[at]);
}

function describe(finding: Finding): string {
	return finding.block === undefined ? finding.text : `512-byte LBA ${finding.block}: ${finding.text}`;
}

async function turns(count: number): Promise<void> {
	for (let index = 0; index < count; index++) {
		await new Promise((resolve) => {
			setImmediate(resolve);
		});
	}
}
