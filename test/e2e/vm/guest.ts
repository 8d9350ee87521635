import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Finished, GuestShell } from './guest-shell.ts';
import type { KernelName } from './image/recipe.ts';
import { network } from './network.ts';

/** Shells in the guest, that is scripts at once. */
const shells = 6;
const memoryMiB = 1536;
const bootSeconds = 90;
const consoleLinesKept = 200;
/**
 * Not `max`: with ERMS the guest copies by `rep movsb`, which emulation runs a byte a step. Without rdrand mkfs waits for entropy. hardened_usercopy is off
 * because an emulated nvmet of the guest's own runs into it.
 */
const cpuModel = 'qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand';
const kernelParameters =
	'console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off hardened_usercopy=off net.ifnames=0 tsc=unstable no_timer_check';

export interface RunOptions {
	/** After so long the command counts as hung, and so does the guest. */
	readonly timeoutSeconds?: number;
	/** Exit codes that are no failure; any for undefined-free judging by the caller. */
	readonly okCodes?: readonly number[] | 'any';
	/** Told each line as it comes, beside the log. */
	readonly onLine?: (line: string) => void;
	/** Not in the log: neither the command nor its output. */
	readonly isQuiet?: boolean;
}

/** A Linux machine under emulation, with its own initiators. Its disk forgets everything when it ends. */
export class Guest {
	/** Seconds from the start of qemu to the first command. */
	bootedSeconds = 0;
	/** Set when a command did not end: whoever needs a guest needs another one. */
	isBroken = false;
	readonly kernel: KernelName;
	readonly #folder: string;
	readonly #qemu: ChildProcess;
	readonly #exited: Promise<void>;
	readonly #console: string[] = [];
	readonly #shells: GuestShell[] = [];
	readonly #log: (line: string) => void;

	private constructor(folder: string, image: string, kernel: KernelName, log: (line: string) => void) {
		this.kernel = kernel;
		this.#folder = folder;
		this.#log = log;
		this.#qemu = spawn('qemu-system-x86_64', qemuArguments(folder, image, kernel), {
			stdio: ['ignore', 'pipe', 'pipe'],
			env: { ...process.env, TMPDIR: folder },
		});
		let rest = '';
		const onText = (text: string): void => {
			const lines = (rest + text).split('\n');
			rest = lines.pop() ?? '';
			for (const line of lines) this.#consoleLine(line.replace(/\r$/, ''));
		};
		this.#qemu.stdout?.setEncoding('utf8').on('data', onText);
		this.#qemu.stderr?.setEncoding('utf8').on('data', onText);
		this.#exited = new Promise((resolve) => {
			this.#qemu.on('error', (error) => {
				this.#consoleLine(`qemu did not start: ${error.message}`);
				resolve();
			});
			this.#qemu.on('close', () => resolve());
		});
	}

	/** image: the folder with root.img and the kernels; parent: where the guest's own folder is made. */
	static async boot(image: string, kernel: KernelName, parent: string, log: (line: string) => void): Promise<Guest> {
		const startMs = performance.now();
		const folder = await mkdtemp(join(parent, 'guest-'));
		const guest = new Guest(folder, image, kernel, log);
		try {
			await guest.#connect(startMs);
			const ready = await guest.run('uname -r; cat /proc/uptime', { timeoutSeconds: bootSeconds, isQuiet: true });
			guest.bootedSeconds = (performance.now() - startMs) / 1000;
			log(`guest booted in ${guest.bootedSeconds.toFixed(1)} s: Linux ${ready.output.split('\n')[0]}`);
			return guest;
		} catch (error) {
			const words = `${error instanceof Error ? error.message : String(error)}\nthe guest's console:\n${guest.console}`;
			await guest.kill();
			throw new Error(words, { cause: error });
		}
	}

	/** The latest lines of its serial console: kernel errors, and what went wrong before there were shells. */
	get console(): string {
		return this.#console.join('\n');
	}

	/** Runs a bash script; resolves to exit code and output. Rejects when the code is none of okCodes, or it does not end in time. */
	async run(script: string, options: RunOptions = {}): Promise<Finished> {
		const shell = this.#shells.find((one) => !one.isBusy);
		if (shell === undefined) throw new Error(`more than ${shells} commands at once in the guest`);
		const { timeoutSeconds = 60, okCodes = [0], isQuiet = false } = options;
		if (!isQuiet) this.#log(`guest# ${script.trim().replaceAll('\n', '\n       ')}`);
		let timer: NodeJS.Timeout | undefined;
		const timeout = new Promise<never>((_resolve, reject) => {
			timer = setTimeout(() => {
				this.isBroken = true;
				reject(new Error(`no end after ${timeoutSeconds} s: ${script.trim()}`));
			}, timeoutSeconds * 1000);
		});
		const onLine = (line: string): void => {
			if (!isQuiet) this.#log(`  ${line}`);
			options.onLine?.(line);
		};
		try {
			const finished = await Promise.race([shell.run(script, onLine), timeout]);
			if (okCodes !== 'any' && !okCodes.includes(finished.code)) {
				throw new Error(`exit code ${finished.code} of: ${script.trim()}\n${finished.output.slice(-2000)}`);
			}
			return finished;
		} catch (error) {
			if (error instanceof Error && error.message === 'the guest is gone') this.isBroken = true;
			throw error;
		} finally {
			clearTimeout(timer);
		}
	}

	/** Power off without a word to the guest, and everything of it removed. */
	async kill(): Promise<void> {
		this.isBroken = true;
		for (const shell of this.#shells) shell.close();
		this.#qemu.kill('SIGKILL');
		await this.#exited;
		await rm(this.#folder, { recursive: true, force: true });
	}

	async #connect(startMs: number): Promise<void> {
		for (let index = 0; index < shells; index++) {
			let shell: GuestShell | undefined = undefined;
			while (shell === undefined) {
				if (this.#qemu.exitCode !== null) throw new Error('qemu ended');
				if (performance.now() - startMs > bootSeconds * 1000) throw new Error('qemu does not listen');
				try {
					shell = await GuestShell.connected(shellSocket(this.#folder, index));
				} catch (error) {
					const { code } = error as NodeJS.ErrnoException;
					if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error;
					await pause(20);
				}
			}
			this.#shells.push(shell);
		}
	}

	#consoleLine(line: string): void {
		if (line.trim() === '') return;
		this.#console.push(line);
		if (this.#console.length > consoleLinesKept) this.#console.shift();
	}
}

function shellSocket(folder: string, index: number): string {
	return join(folder, `shell${index}`);
}

function qemuArguments(folder: string, image: string, kernel: KernelName): string[] {
	const ports = Array.from({ length: shells }, (_value, index) =>
		[
			['-chardev', `socket,id=shell${index},path=${shellSocket(folder, index)},server=on,wait=off`],
			['-device', `virtserialport,chardev=shell${index},name=shell.${index}`],
		].flat(),
	);
	return [
		['-nodefaults', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
		['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', cpuModel, '-smp', '2', '-m', String(memoryMiB)],
		['-kernel', join(image, `vmlinuz-${kernel}`), '-initrd', join(image, `initrd-${kernel}`)],
		['-append', `${kernelParameters} guest.address=${network.guestAddress}/${network.bits}`],
		['-drive', `file=${join(image, 'root.img')},format=raw,if=virtio,snapshot=on`],
		['-netdev', `tap,id=net0,ifname=${network.tap},script=no,downscript=no`, '-device', 'virtio-net-pci,netdev=net0,mac=52:54:00:77:00:02'],
		['-virtfs', `local,path=${join(import.meta.dirname, 'guest')},mount_tag=lane,security_model=none,readonly=on`],
		['-device', 'virtio-rng-pci', '-device', `virtio-serial-pci,max_ports=${shells + 1}`],
		...ports,
	].flat();
}
