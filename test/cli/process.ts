import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import type { ExecutionContext } from 'ava';

export const launcher = resolve(import.meta.dirname, '../../bin/blockport');

export interface Result {
	readonly code: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

interface Running {
	readonly child: ChildProcess;
	readonly output: { stdout: string; stderr: string };
	readonly ended: Promise<Result>;
}

function start(words: readonly string[], cwd?: string, input?: string): Running {
	const child = spawn(launcher, words, { stdio: ['pipe', 'pipe', 'pipe'], ...(cwd === undefined ? {} : { cwd }) });
	child.stdin.on('error', () => undefined).end(input);
	const output = { stdout: '', stderr: '' };
	child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
	child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
	const ended = once(child, 'close').then(([code]): Result => ({ code: typeof code === 'number' ? code : null, ...output }));
	return { child, output, ended };
}

/** Runs `blockport …` to its end. */
export function blockport(words: readonly string[], cwd?: string, input?: string): Promise<Result> {
	return start(words, cwd, input).ended;
}

export interface Daemon extends Running {
	readonly dataDirectory: string;
	/** A client command against this daemon. */
	readonly run: (...words: string[]) => Promise<Result>;
	/** The same with --json, its output parsed; fails the test unless it ends with 0. */
	readonly json: <T>(...words: string[]) => Promise<T>;
}

/** Starts `blockport serve` on ports of the kernel's choice and waits for its ready line. */
export async function serve(t: ExecutionContext, folder: string, ...words: string[]): Promise<Daemon> {
	const dataDirectory = join(folder, 'data');
	const running = start([
		'serve',
		'--data-dir',
		dataDirectory,
		'--iscsi',
		'127.0.0.1:0',
		'--nvme',
		'127.0.0.1:0',
		'--nvme-discovery',
		'127.0.0.1:0',
		'--admin',
		'127.0.0.1:0',
		...words,
	]);
	t.teardown(async () => {
		running.child.kill('SIGKILL');
		await running.ended;
	});
	await new Promise<void>((resolve, reject) => {
		running.child.stdout?.on('data', () => {
			if (/^blockport ready/m.test(running.output.stdout)) resolve();
		});
		void running.ended.then(({ code, stderr }) => reject(new Error(`serve ended with ${code}: ${stderr}`)));
	});
	const run = (...command: string[]) => blockport([...command, '--data-dir', dataDirectory]);
	return {
		...running,
		dataDirectory,
		run,
		json: async <T>(...command: string[]): Promise<T> => {
			const { code, stdout, stderr } = await run(...command, '--json');
			if (code !== 0) throw new Error(`blockport ${command.join(' ')} ended with ${code}: ${stderr}`);
			return JSON.parse(stdout) as T;
		},
	};
}
