import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { defaultInitiatorName } from '../../initiator/login.ts';
import { freePort, run, ServerProcess } from './server-process.ts';
import type { OfferedUnit, ServerSettings, TargetServer } from './target-server.ts';

const ownLauncher = join(import.meta.dirname, '../../../bin/blockport');

/** This project's server, started through its launcher and configured through its CLI, as a person would. */
export class Blockport implements TargetServer {
	readonly name = 'Blockport';
	readonly units: readonly OfferedUnit[];
	readonly folder: string;
	port = 0;
	/** The latest ready line, and how long after the spawn it came. */
	readyLine = '';
	readyMs = 0;
	readonly #settings: ServerSettings;
	#process: ServerProcess | undefined = undefined;
	#isConfigured: boolean;

	/** isConfigured: the folder has its volumes and targets already. */
	constructor(settings: ServerSettings & { isConfigured?: boolean }) {
		this.#settings = settings;
		this.#isConfigured = settings.isConfigured ?? false;
		this.folder = settings.folder;
		this.units = settings.units;
	}

	static get exists(): boolean {
		return existsSync(ownLauncher);
	}

	get #launcher(): string {
		return this.#settings.launcher ?? ownLauncher;
	}

	get process(): ServerProcess {
		if (this.#process === undefined) throw new Error('Blockport is not running');
		return this.#process;
	}

	async start(): Promise<void> {
		await this.spawn();
		this.readyLine = await this.process.line(/^blockport ready/);
		this.readyMs = performance.now() - this.process.spawnedMs;
		if (!this.#isConfigured) await this.#configure();
		this.#isConfigured = true;
	}

	/** Only starts the process. */
	async spawn(): Promise<void> {
		if (this.port === 0) this.port = await freePort();
		const { cpu, nodeOptions, serveArguments = [], address = '127.0.0.1' } = this.#settings;
		this.#process = new ServerProcess({
			command: this.#launcher,
			args: ['serve', '--data-dir', this.folder, '--iscsi', `${address}:${this.port}`, '--admin', '127.0.0.1:0', ...serveArguments],
			cpu,
			...(nodeOptions === undefined ? {} : { env: { NODE_OPTIONS: nodeOptions } }),
		});
	}

	async kill(): Promise<void> {
		await this.process.end('SIGKILL');
	}

	async stop(timeoutMs?: number): Promise<string> {
		return await this.process.end('SIGTERM', timeoutMs);
	}

	/** Runs a CLI command against this data directory; resolves to its output. */
	async cli(...args: string[]): Promise<string> {
		return await run(this.#launcher, [...args, '--data-dir', this.folder]);
	}

	async #configure(): Promise<void> {
		for (const target of new Set(this.units.map((unit) => unit.target))) {
			await this.cli('target', 'create', target);
			for (const initiator of [defaultInitiatorName, ...this.#settings.initiators]) await this.cli('target', 'allow', target, initiator);
		}
		for (const [index, unit] of this.units.entries()) {
			const volume = `volume${index}`;
			await this.cli('volume', 'create', volume, '--size', String(unit.sizeBytes), '--block-size', String(unit.blockSize ?? 512));
			if (unit.isSanitizable === true) await this.cli('volume', 'set', volume, '--sanitize', 'on');
			await this.cli('target', 'map', unit.target, volume, '--lun', String(unit.lun));
		}
	}
}
