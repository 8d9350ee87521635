import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { LoadOptions, LoadResult } from './load-shape.ts';

/** How much longer than its load a client may take, for logging in and for the last answers. */
const graceMs = 90_000;

/** A command line that runs only on one CPU, or on any. */
export function pinned(cpu: number | undefined, command: readonly string[]): [string, string[]] {
	const words = cpu === undefined ? command : ['taskset', '-c', String(cpu), ...command];
	return [words[0]!, words.slice(1)];
}

/** runLoad in a process of its own, so that the client can have its own CPU. Rejects when a command failed: the client has said why on stderr. */
export async function loadProcess(options: LoadOptions, cpu: number | undefined): Promise<LoadResult> {
	const { shape } = options;
	const flags: Record<string, string | number> = {
		protocol: options.protocol,
		port: options.port,
		target: options.target,
		units: [options.unit, ...(options.otherUnits ?? [])].join(','),
		lanes: shape.lanes,
		op: shape.op,
		size: shape.sizeBytes,
		depth: shape.depth,
		pattern: shape.pattern,
		'flush-every': shape.flushEvery,
		rate: shape.ratePerSecond ?? 0,
		seconds: options.seconds,
		'warm-up': options.warmUpSeconds,
		range: options.rangeBytes,
		offset: options.offsetBytes ?? 0,
		bytes: options.bytesMax ?? Infinity,
	};
	const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
	if (options.separateHosts === true) words.push('--separate-hosts');
	const [file, args] = pinned(cpu, [process.execPath, join(import.meta.dirname, 'load.ts'), ...words]);
	const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
	const killed = (): void => void child.kill('SIGKILL');
	process.once('exit', killed);
	let output = '';
	child.stdout.setEncoding('utf8').on('data', (text: string) => {
		if (text.includes('counting')) options.onCounting?.('counting');
		if (text.includes('counted')) options.onCounting?.('counted');
		output += text;
	});
	let isLate = false;
	const late = setTimeout(
		() => {
			isLate = true;
			killed();
		},
		(options.seconds + options.warmUpSeconds) * 1000 + graceMs,
	);
	const code = await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
	clearTimeout(late);
	process.off('exit', killed);
	if (isLate)
		throw new Error(
			`the client waits for an answer since ${graceMs / 1000} s: ${shape.op}s of ${shape.sizeBytes} bytes over ${options.protocol}`,
		);
	if (code !== 0) throw new Error(`the client failed on ${shape.op}s of ${shape.sizeBytes} bytes over ${options.protocol}`);
	return JSON.parse(output.slice(output.indexOf('{')));
}
