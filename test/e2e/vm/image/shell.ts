import { spawn } from 'node:child_process';

/** Runs a host program to its end; resolves to what it printed. Rejects, with its messages, unless it exits with 0. */
export async function shell(
	command: string,
	args: readonly string[],
	options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
	const child = spawn(command, [...args], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
	let output = '';
	let errors = '';
	child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
	child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
	const code = await new Promise<number | string>((resolve, reject) => {
		child.on('error', reject);
		child.on('close', (exitCode, signal) => resolve(exitCode ?? signal ?? -1));
	});
	if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ended with ${code}\n${errors}${output}`.slice(0, 4000));
	return output;
}
