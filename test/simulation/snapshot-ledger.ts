import type { Volume } from '../../src/blockvol/volume.ts';
import { VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { SimulationFailure } from './failure.ts';
import type { VolumeModel } from './model.ts';
import { observe } from './observe.ts';
import type { Random } from './random.ts';
import { WindowedDevice, type Windows } from './windows.ts';

/** A snapshot as the simulation remembers it. Times are ticks of the clock of `model`. */
interface Entry {
	readonly name: string;
	readonly model: VolumeModel;
	readonly submittedAt: number;
	/** Infinity until it was acknowledged. */
	completedAt: number;
	/** It was not acknowledged before its life ended at this time, and turned out to be there. */
	settledAt: number;
	/** Of its deletion. */
	deleteSubmittedAt: number;
	deletedAt: number;
	/** What it shows, once somebody has looked: for ever the same. */
	content: Int32Array | undefined;
}

/** Which snapshots a volume must have and may have, and what each must show. */
export class SnapshotLedger {
	#entries: Entry[] = [];

	get names(): string[] {
		return this.#entries.filter((entry) => isThere(entry) && entry.deleteSubmittedAt === Infinity).map(({ name }) => name);
	}

	/** As it is now, whatever happens to this one. */
	copy(): SnapshotLedger {
		const copy = new SnapshotLedger();
		copy.#entries = this.#entries.map((entry) => ({ ...entry }));
		return copy;
	}

	submit(name: string, model: VolumeModel): void {
		const never = { completedAt: Infinity, settledAt: Infinity, deleteSubmittedAt: Infinity, deletedAt: Infinity, content: undefined };
		this.#entries.push({ name, model, submittedAt: model.tick(), ...never });
	}

	complete(name: string): void {
		const entry = this.#entry(name);
		entry.completedAt = entry.model.tick();
	}

	/** It was refused: it must not be there. */
	refused(name: string): void {
		this.#entries = this.#entries.filter((entry) => entry.name !== name);
	}

	submitDelete(name: string): void {
		this.#entry(name).deleteSubmittedAt = 0;
	}

	completeDelete(name: string): void {
		this.#entry(name).deletedAt = 0;
	}

	/** A copy of what a snapshot shows, under another name. */
	contentOf(name: string): Int32Array | undefined {
		return this.#entry(name).content;
	}

	/** It is known what a snapshot that is about to be made will show. */
	submitKnown(name: string, model: VolumeModel, content: Int32Array): void {
		this.submit(name, model);
		this.#entry(name).content = content;
	}

	/** Looks at all snapshots of a volume. `at`: when its life before this one ended; undefined while it runs, and nothing is under way. */
	async judge(volume: Volume, windows: Windows, random: Random, at: number | undefined): Promise<void> {
		const there = new Set(volume.snapshots().map(({ name }) => name));
		for (const name of there) {
			const entry = this.#entries.find((candidate) => candidate.name === name);
			if (entry === undefined) throw new SimulationFailure(`snapshot ${name} is there, and nobody made it`);
			if (entry.deletedAt < Infinity) throw new SimulationFailure(`snapshot ${name} is there again after its deletion`);
			await this.#look(entry, volume, windows, random, at);
		}
		for (const entry of this.#entries) {
			if (isThere(entry) && entry.deleteSubmittedAt === Infinity && !there.has(entry.name))
				throw new SimulationFailure(`snapshot ${entry.name} was acknowledged and is gone`);
		}
		// What was under way is settled now.
		this.#entries = this.#entries.filter(({ name }) => there.has(name));
		for (const entry of this.#entries) {
			entry.deleteSubmittedAt = Infinity;
			if (entry.completedAt === Infinity) entry.settledAt = Math.min(entry.settledAt, at ?? entry.model.clock);
		}
	}

	async #look(entry: Entry, volume: Volume, windows: Windows, random: Random, at: number | undefined): Promise<void> {
		let view: Awaited<ReturnType<Volume['openSnapshot']>>;
		try {
			view = await volume.openSnapshot(entry.name);
		} catch (error) {
			// One that is in the log only cannot be read before there is room for its layer.
			if (error instanceof VolumeUsageError && volume.isFull) return;
			throw error;
		}
		try {
			const observed = await observe(new WindowedDevice(view, windows), random);
			if (entry.content === undefined) {
				const isAcknowledged = entry.completedAt < Infinity;
				const until = isAcknowledged ? entry.completedAt : Math.min(entry.settledAt, at ?? entry.model.clock);
				const finding = entry.model.judgeSnapshot(observed, entry.submittedAt, until, isAcknowledged);
				if (finding !== undefined)
					throw new SimulationFailure(`snapshot ${entry.name}, 512-byte LBA ${finding.block ?? '?'}: ${finding.text}`);
				entry.content = observed;
			}
			const { content } = entry;
			const differs = content.findIndex((number, block) => number !== observed[block]);
			if (differs >= 0 || observed.length !== content.length)
				throw new SimulationFailure(
					`snapshot ${entry.name} has changed at 512-byte LBA ${differs}: it showed write ${content[differs]}, now ${observed[differs]} (${content.length}, ${observed.length} blocks)`,
				);
		} finally {
			await view.close();
		}
	}

	#entry(name: string): Entry {
		const entry = this.#entries.find((candidate) => candidate.name === name);
		if (entry === undefined) throw new Error(`no snapshot ${name} in the ledger`);
		return entry;
	}
}

function isThere({ completedAt, settledAt }: Entry): boolean {
	return completedAt < Infinity || settledAt < Infinity;
}
