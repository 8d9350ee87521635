import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, run, ServerProcess } from './server-process.ts';
import type { OfferedUnit, ServerSettings, TargetServer } from './target-server.ts';

/** tgtd's own defaults are small (8 KiB PDUs, InitialR2T=Yes); these are what Blockport offers too, so that both speak with large bursts. */
const targetParameters: Readonly<Record<string, string>> = {
	MaxRecvDataSegmentLength: '262144',
	MaxXmitDataSegmentLength: '262144',
	FirstBurstLength: '262144',
	MaxBurstLength: '16776192',
	InitialR2T: 'No',
	ImmediateData: 'Yes',
	MaxOutstandingR2T: '8',
};

let nextControlPort = process.pid % 30_000;

/** Debian's tgtd: each unit a file in the folder, buffered, write cache on. LUN 0 is tgtd's own controller, so units have LUN 1 and up. */
export class Tgtd implements TargetServer {
	readonly name = 'tgtd';
	readonly units: readonly OfferedUnit[];
	readonly folder: string;
	port = 0;
	readonly #settings: ServerSettings;
	readonly #tuned: boolean;
	#process: ServerProcess | undefined = undefined;
	#controlPort = '';

	constructor(settings: ServerSettings, tuned = true) {
		this.#settings = settings;
		this.#tuned = tuned;
		this.folder = settings.folder;
		this.units = settings.units.map((unit) => ({ ...unit, lun: unit.lun + 1 }));
	}

	get process(): ServerProcess {
		if (this.#process === undefined) throw new Error('tgtd is not running');
		return this.#process;
	}

	async start(): Promise<void> {
		if (this.port === 0) this.port = await freePort();
		this.#controlPort = String(nextControlPort++);
		this.#process = new ServerProcess({
			command: 'tgtd',
			args: ['-f', '-C', this.#controlPort, '--iscsi', `portal=${this.#settings.address ?? '127.0.0.1'}:${this.port}`],
			env: this.#env,
			cpu: this.#settings.cpu,
		});
		while (!existsSync(join(this.folder, `tgtd.socket.${this.#controlPort}`))) {
			if (this.#process.isGone) throw new Error(`tgtd did not start:\n${this.#process.output}`);
			await new Promise((resolve) => setTimeout(resolve, 20));
		}
		const targets = [...new Set(this.units.map((unit) => unit.target))];
		for (const target of targets) {
			const tid = String(targets.indexOf(target) + 1);
			await this.#admin('--mode', 'target', '--op', 'new', '--tid', tid, '-T', target);
			for (const [name, value] of Object.entries(this.#tuned ? targetParameters : {})) {
				await this.#admin('--mode', 'target', '--op', 'update', '--tid', tid, '--name', name, '--value', value);
			}
			for (const unit of this.units.filter((one) => one.target === target)) {
				const file = join(this.folder, `${tid}-${unit.lun}.img`);
				if (!existsSync(file)) {
					const handle = await open(file, 'w');
					await handle.truncate(unit.sizeBytes);
					await handle.close();
				}
				const which = ['--mode', 'logicalunit', '--tid', tid, '--lun', String(unit.lun)];
				await this.#admin(...which, '--op', 'new', '--backing-store', file);
				await this.#admin(...which, '--op', 'update', '--params', 'thin_provisioning=1');
			}
			await this.#admin('--mode', 'target', '--op', 'bind', '--tid', tid, '-I', 'ALL');
		}
	}

	async kill(): Promise<void> {
		await this.process.end('SIGKILL');
	}

	/** tgtd ignores SIGTERM while it has targets; its files need no more than the kernel. */
	async stop(): Promise<string> {
		return await this.process.end('SIGKILL');
	}

	get #env(): Record<string, string> {
		return { TGT_IPC_SOCKET: join(this.folder, 'tgtd.socket') };
	}

	async #admin(...args: string[]): Promise<void> {
		await run('tgtadm', ['-C', this.#controlPort, '--lld', 'iscsi', ...args], { env: this.#env });
	}
}
