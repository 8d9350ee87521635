import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerCommand } from './servers/server-process.ts';

const linesKept = 200;
const program = readFileSync(join(import.meta.dirname, 'swift-nursery.py'), 'utf8');

/** Starts Swift's servers from one process that has loaded them (swift-nursery.py): loading takes seconds for each, and more on a busy machine. */
export class SwiftNursery {
	readonly #child: ChildProcess;
	readonly #ended: Promise<unknown>;
	readonly #pids = new Map<string, number>();
	readonly #lines: string[] = [];
	/** Who waits for a line of its standard output. */
	#waiting: ((line: string) => void) | undefined;
	#rest = '';

	private constructor({ command, args, env }: ServerCommand) {
		this.#child = spawn(command, [...args], { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
		this.#ended = new Promise((resolve) => {
			this.#child.once('error', resolve).once('close', resolve);
		});
		// It may be dead when it is written to: that is seen by who waits for its answer.
		this.#child.stdin?.on('error', (error) => this.#keep(String(error)));
		this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
			const lines = (this.#rest + text).split('\n');
			this.#rest = lines.pop() ?? '';
			for (const line of lines) this.#waiting?.(line);
		});
		this.#child.stderr?.setEncoding('utf8').on('data', (text: string) =>
			text
				.trimEnd()
				.split('\n')
				.forEach((line) => this.#keep(line)),
		);
	}

	/** `as` gives the command its user and its end. Rejects when it is not ready in time. */
	static async start(as: (command: string, args: readonly string[]) => ServerCommand, timeoutMs: number): Promise<SwiftNursery> {
		// Debian's own, for which its packages are installed.
		const nursery = new SwiftNursery(as('/usr/bin/python3', ['-c', program]));
		await nursery.#line('ready', timeoutMs);
		return nursery;
	}

	get output(): string {
		return this.#lines.join('\n');
	}

	/** Starts a server, unless it runs. */
	async serve(name: string, configuration: string): Promise<void> {
		if (this.isAlive(name)) return;
		const answer = this.#line(`started ${name} `, 10_000);
		this.#child.stdin?.write(`${name} ${configuration}\n`);
		this.#pids.set(name, Number((await answer).split(' ')[2]));
	}

	isAlive(name: string): boolean {
		const pid = this.#pids.get(name);
		return pid !== undefined && signalled(pid, 0);
	}

	/** SIGKILL; resolves when it is gone. */
	async kill(name: string): Promise<void> {
		const pid = this.#pids.get(name);
		if (pid === undefined || !signalled(pid, 'SIGKILL')) return;
		while (signalled(pid, 0)) await delay(2);
	}

	/** All of it. */
	async end(): Promise<void> {
		// While the process lives that waits for them: the first process of a namespace, as the VM lane is, would never be told of them, and they would never be gone.
		await Promise.all([...this.#pids.keys()].map((name) => this.kill(name)));
		this.#child.kill('SIGKILL');
		await this.#ended;
	}

	#line(beginning: string, timeoutMs: number): Promise<string> {
		const { promise, resolve, reject } = Promise.withResolvers<string>();
		const timer = setTimeout(() => reject(new Error(`no line "${beginning}" within ${timeoutMs} ms:\n${this.output}`)), timeoutMs);
		this.#waiting = (line) => {
			if (line.startsWith(beginning)) resolve(line);
		};
		void this.#ended.then(() => reject(new Error(`what starts Swift's servers has ended:\n${this.output}`)));
		return promise.finally(() => clearTimeout(timer));
	}

	#keep(line: string): void {
		this.#lines.push(line);
		if (this.#lines.length > linesKept) this.#lines.shift();
	}
}

/** Whether the process was there. */
function signalled(pid: number, signal: 'SIGKILL' | 0): boolean {
	try {
		return process.kill(pid, signal);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
		throw error;
	}
}
