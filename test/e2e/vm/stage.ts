import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Guest, type RunOptions } from './guest.ts';
import type { Finished } from './guest-shell.ts';
import { HostDisk } from './host-disk.ts';
import type { KernelName } from './image/recipe.ts';
import { setLink, setSecondAddress } from './network.ts';
import type { Faults, Scenario } from './scenario.ts';
import { complaints } from './kernel-log.ts';
import { ScenarioTarget } from './target.ts';

/** A target's whole disk where it has one. */
const ownDiskMiB = 6144;

export interface Settings {
	/** The folder with the guest's image. */
	readonly image: string;
	/** Where everything is made that is removed in the end. */
	readonly folder: string;
	readonly log: (line: string) => void;
	/** Scenarios that measure append to bench/results.md. */
	readonly isAppending: boolean;
}

/** What a scenario plays on: a guest, which several scenarios share one after the other, and a target of its own. */
export class Stage {
	readonly #settings: Settings;
	#guest: Guest | undefined = undefined;
	#target: ScenarioTarget | undefined = undefined;
	#folder = '';
	#disk: HostDisk | undefined = undefined;
	#faults: Faults = 'none';
	/** The scenario whose folder is still there. */
	#left: Scenario | undefined = undefined;

	constructor(settings: Settings) {
		this.#settings = settings;
	}

	get guest(): Guest {
		if (this.#guest === undefined) throw new Error('there is no guest');
		return this.#guest;
	}

	get target(): ScenarioTarget {
		if (this.#target === undefined) throw new Error('there is no target');
		return this.#target;
	}

	/** The scenario's own folder on the host; the target's data are in `data` below it. */
	get folder(): string {
		return this.#folder;
	}

	get isAppending(): boolean {
		return this.#settings.isAppending;
	}

	get log(): (line: string) => void {
		return this.#settings.log;
	}

	/** Runs a script in the guest (Guest.run). */
	async run(script: string, options?: RunOptions): Promise<Finished> {
		return await this.guest.run(script, options);
	}

	/** Power off and on for the guest: another one, which knows nothing of the first. */
	async reboot(kernel: KernelName = this.guest.kernel): Promise<void> {
		await this.#guest?.kill();
		this.#guest = await Guest.boot(this.#settings.image, kernel, this.#settings.folder, this.log);
		// What the kernel said of its own machine is no scenario's.
		await this.run('dmesg -C', { isQuiet: true });
	}

	/** Host and guest lose power and have it again: another guest, and the target with what had reached its disk. */
	async losePower(): Promise<void> {
		if (this.#disk === undefined) throw new Error('the scenario has no disk of its own');
		await this.#judgeKernel();
		this.log('host# power off: guest, target and the host below it');
		await this.guest.kill();
		await this.target.kill();
		await this.#disk.losePower();
		await Promise.all([this.reboot(), this.target.start()]);
		this.log(`host# ${this.target.readyLine}`);
	}

	/** Plays one scenario from a clean guest to a clean guest; launcher: a program to try instead of this tree's. Rejects when its claim does not hold, or the guest's kernel complains. */
	async play(scenario: Scenario, launcher?: string): Promise<{ figures: string | void; memory: { idleBytes: number; peakBytes: number } }> {
		let isClean = false;
		try {
			await this.#prepare(scenario, launcher);
			const { kernel = 'bookworm' } = scenario;
			if (this.#guest?.kernel !== kernel || this.#guest.isBroken) await this.reboot(kernel);
			await this.run('dmesg -C', { isQuiet: true });
			this.#faults = scenario.faults ?? 'none';
			const figures = await this.#played(scenario);
			await this.#cleaned();
			const { memory } = this.target;
			const how = await this.target.stop();
			if (how !== 'exit code 0') throw new Error(`the target did not stop cleanly: ${how}\n${this.target.process.output}`);
			isClean = true;
			return { figures, memory };
		} finally {
			await setLink('up');
			await setSecondAddress('up');
			// What a failure leaves behind nobody can know.
			if (!isClean) {
				await this.#guest?.kill();
				await this.#removeFolder();
			}
			this.#left = isClean ? scenario : undefined;
		}
	}

	/** A folder with a target that is not started yet: the one that the scenario before has left, or an empty one. */
	async #prepare(scenario: Scenario, launcher: string | undefined): Promise<void> {
		const { after, units, hasOwnDisk = false, hasSecondPortal = false } = scenario;
		if (after !== undefined && after !== this.#left) throw new Error(`it begins with what ${after.name} leaves, and that has failed`);
		const data = (): string => join(this.#folder, 'data');
		if (after === undefined) {
			await this.#removeFolder();
			this.#folder = await mkdtemp(join(this.#settings.folder, `${scenario.name}-`));
			await mkdir(data());
			if (hasOwnDisk) this.#disk = await HostDisk.make(join(this.#folder, 'disk'), data(), ownDiskMiB);
		}
		this.#target = new ScenarioTarget(data(), units, { launcher, isConfigured: after !== undefined, hasSecondPortal });
	}

	/** Ends everything. */
	async close(): Promise<void> {
		await this.#guest?.kill();
		await this.#removeFolder();
	}

	async #played(scenario: Scenario): Promise<string | void> {
		try {
			await this.target.start();
			const figures = await scenario.run(this);
			await this.#judgeKernel();
			return figures;
		} catch (error) {
			await this.#tellState();
			throw error;
		}
	}

	/** Shows what the guest's kernel has said since the last time. */
	async #judgeKernel(): Promise<void> {
		const { output } = await this.run('dmesg -c', { isQuiet: true });
		this.log('guest dmesg:');
		for (const line of output.trimEnd().split('\n')) this.log(`  ${line}`);
		const found = complaints(output, this.#faults);
		if (found.length > 0) throw new Error(`the guest's kernel complains:\n${found.join('\n')}`);
	}

	/** What helps with a failure: the guest's kernel log and sessions, the target's output. */
	async #tellState(): Promise<void> {
		if (!this.guest.isBroken) {
			await this.run('dmesg | tail -n 60; iscsiadm -m session -P 1', { okCodes: 'any', timeoutSeconds: 20 }).catch((error: unknown) =>
				this.log(`the guest says nothing any more: ${String(error)}`),
			);
		}
		this.log(`the guest's console:\n${this.guest.console.split('\n').slice(-20).join('\n')}`);
		this.log(`the target's latest output:\n${this.target.process.output.split('\n').slice(-30).join('\n')}`);
	}

	async #cleaned(): Promise<void> {
		const { code, output } = await this.run('bash /lane/clean.sh', { okCodes: 'any', isQuiet: true });
		if (code !== 0) throw new Error(`the guest cannot be cleaned up:\n${output}`);
	}

	async #removeFolder(): Promise<void> {
		if (this.#folder === '') return;
		if (this.#target?.isRunning === true) await this.#target.kill();
		await this.#disk?.unmount();
		this.#disk = undefined;
		await rm(this.#folder, { recursive: true, force: true });
		this.#folder = '';
	}
}
