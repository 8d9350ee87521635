import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Guest, type RunOptions } from './guest.ts';
import type { Finished } from './guest-shell.ts';
import { setLink } from './network.ts';
import type { Scenario } from './scenario.ts';
import { complaints } from './kernel-log.ts';
import { ScenarioTarget } from './target.ts';

export interface Settings {
	/** The folder with the guest's image. */
	readonly image: string;
	/** Where everything is made that is removed in the end. */
	readonly folder: string;
	/** Another tree's program, for a deliberate breakage. */
	readonly launcher: string | undefined;
	readonly log: (line: string) => void;
}

/** What a scenario plays on: a guest, which several scenarios share one after the other, and a target of its own. */
export class Stage {
	readonly #settings: Settings;
	#guest: Guest | undefined = undefined;
	#target: ScenarioTarget | undefined = undefined;
	#folder = '';

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

	get log(): (line: string) => void {
		return this.#settings.log;
	}

	/** Runs a script in the guest (Guest.run). */
	async run(script: string, options?: RunOptions): Promise<Finished> {
		return await this.guest.run(script, options);
	}

	/** Power off and on for the guest: another one, which knows nothing of the first. */
	async reboot(): Promise<void> {
		await this.#guest?.kill();
		this.#guest = await Guest.boot(this.#settings.image, this.#settings.folder, this.log);
	}

	/** Plays one scenario from a clean guest to a clean guest. Rejects when its claim does not hold, or the guest's kernel complains. */
	async play(scenario: Scenario): Promise<{ figures: string | void; memory: { idleBytes: number; peakBytes: number } }> {
		this.#folder = await mkdtemp(join(this.#settings.folder, `${scenario.name}-`));
		let isClean = false;
		try {
			if (this.#guest === undefined || this.#guest.isBroken) await this.reboot();
			await this.run('dmesg -C', { isQuiet: true });
			await mkdir(join(this.#folder, 'data'));
			this.#target = new ScenarioTarget(join(this.#folder, 'data'), scenario.units, this.#settings.launcher);
			await this.#target.start();
			const figures = await this.#played(scenario);
			await this.#cleaned();
			const { memory } = this.target;
			const how = await this.target.stop();
			if (how !== 'exit code 0') throw new Error(`the target did not stop cleanly: ${how}\n${this.target.process.output}`);
			isClean = true;
			return { figures, memory };
		} finally {
			await setLink('up');
			// What a failure leaves behind nobody can know.
			if (!isClean) await this.#guest?.kill();
			await this.#target?.kill().catch(() => undefined);
			await this.removeFolder();
		}
	}

	/** Ends everything. */
	async close(): Promise<void> {
		await this.#guest?.kill();
		await this.#target?.kill().catch(() => undefined);
	}

	async #played(scenario: Scenario): Promise<string | void> {
		try {
			const figures = await scenario.run(this);
			const { output } = await this.run('dmesg', { isQuiet: true });
			this.log('guest dmesg:');
			for (const line of output.trimEnd().split('\n')) this.log(`  ${line}`);
			const found = complaints(output, scenario.faults ?? 'none');
			if (found.length > 0) throw new Error(`the guest's kernel complains:\n${found.join('\n')}`);
			return figures;
		} catch (error) {
			await this.#tellState();
			throw error;
		}
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

	async removeFolder(): Promise<void> {
		await rm(this.#folder, { recursive: true, force: true });
	}
}
