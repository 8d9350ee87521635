import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';

const ticksPerSecond = 100;
const linesKept = 200;

export interface ServerCommand {
	command: string;
	args: readonly string[];
	env?: Readonly<Record<string, string>>;
	/** Runs only on this CPU (taskset). */
	cpu?: number | undefined;
}

/** A server under test as a process of its own: its output, its end, its memory and CPU time. Ended by its own pid only. */
export class ServerProcess {
	/** Resolves when the process is gone, to words about how. */
	readonly exited: Promise<string>;
	/** performance.now() of the spawn. */
	readonly spawnedMs = performance.now();
	readonly #child: ChildProcess;
	readonly #lines: string[] = [];
	readonly #waiting: { pattern: RegExp; resolve(line: string): void }[] = [];
	#rest = '';
	#isGone = false;

	constructor({ command, args, env, cpu }: ServerCommand) {
		const [file, fileArgs] = cpu === undefined ? [command, args] : ['taskset', ['-c', String(cpu), command, ...args]];
		this.#child = spawn(file, [...fileArgs], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
		this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#text(text));
		this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#text(text));
		this.exited = new Promise((resolve) => {
			this.#child.on('error', (error) => {
				this.#isGone = true;
				resolve(`did not start: ${error.message}`);
			});
			this.#child.on('close', (code, signal) => {
				this.#isGone = true;
				resolve(signal === null ? `exit code ${code}` : `signal ${signal}`);
			});
		});
		const killed = (): void => void this.#child.kill('SIGKILL');
		process.once('exit', killed);
		void this.exited.then(() => process.off('exit', killed));
	}

	get pid(): number {
		return this.#child.pid ?? 0;
	}

	get isGone(): boolean {
		return this.#isGone;
	}

	/** The latest output, for a failure's report. */
	get output(): string {
		return this.#lines.join('\n');
	}

	/** The first line, past or future, that matches. Rejects when the process ends or the time runs out. */
	async line(pattern: RegExp, timeoutMs = 30_000): Promise<string> {
		const past = this.#lines.find((line) => pattern.test(line));
		if (past !== undefined) return past;
		let timer: NodeJS.Timeout | undefined;
		try {
			return await new Promise<string>((resolve, reject) => {
				this.#waiting.push({ pattern, resolve });
				timer = setTimeout(() => reject(new Error(`no line ${pattern} within ${timeoutMs} ms:\n${this.output}`)), timeoutMs);
				void this.exited.then((how) => reject(new Error(`the server ended (${how}) without a line ${pattern}:\n${this.output}`)));
			});
		} finally {
			clearTimeout(timer);
		}
	}

	/** Sends a signal and waits for the end. */
	async end(signal: 'SIGKILL' | 'SIGTERM', timeoutMs = 60_000): Promise<string> {
		if (!this.#isGone) this.#child.kill(signal);
		const timer = setTimeout(() => this.#child.kill('SIGKILL'), timeoutMs);
		const how = await this.exited;
		clearTimeout(timer);
		return how;
	}

	/** CPU seconds of all threads so far, user and system. */
	cpuSeconds(): number {
		const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8');
		const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
		return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
	}

	/** The same by the scheduler's count, to the nanosecond (Documentation/scheduler/sched-stats). Threads that have ended are missing, so it is for differences over a time in which none does. */
	cpuSecondsByScheduler(): number {
		const tasks = `/proc/${this.pid}/task`;
		let nanoseconds = 0;
		for (const task of readdirSync(tasks)) nanoseconds += Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ', 1)[0]);
		return nanoseconds / 1e9;
	}

	rssBytes(): number {
		return this.#status('VmRSS');
	}

	peakRSSBytes(): number {
		return this.#status('VmHWM');
	}

	/** Lets VmHWM start anew (proc(5), clear_refs). */
	resetPeakRSS(): void {
		writeFileSync(`/proc/${this.pid}/clear_refs`, '5');
	}

	#status(field: string): number {
		const found = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'));
		return Number(found?.[1] ?? 0) * 1024;
	}

	#text(text: string): void {
		const lines = (this.#rest + text).split('\n');
		this.#rest = lines.pop() ?? '';
		for (const line of lines) {
			this.#lines.push(line);
			if (this.#lines.length > linesKept) this.#lines.shift();
			// Resolving twice does no harm, so who has its line may stay in the list.
			for (const waiter of this.#waiting) if (waiter.pattern.test(line)) waiter.resolve(line);
		}
	}
}

/** Runs a command to its end; resolves to its output. Rejects, with the output, unless it exits with one of `okCodes`. */
export async function run(
	command: string,
	args: readonly string[],
	options: { env?: Readonly<Record<string, string>>; okCodes?: readonly number[] } = {},
): Promise<string> {
	const child = spawn(command, [...args], { env: { ...process.env, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'] });
	let output = '';
	child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
	child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
	const code = await new Promise<number>((resolve, reject) => {
		child.on('error', reject);
		child.on('close', (exitCode) => resolve(exitCode ?? -1));
	});
	if (!(options.okCodes ?? [0]).includes(code)) throw new Error(`${command} ${args.join(' ')}: exit code ${code}\n${output}`);
	return output;
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
	return await new Promise((resolve, reject) => {
		const server = createServer().on('error', reject);
		server.listen(0, '127.0.0.1', () => {
			const address = server.address();
			server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
		});
	});
}
