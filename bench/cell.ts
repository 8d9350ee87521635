import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { run } from '../test/conformance/servers/server-process.ts';
import { foreignInitiatorName, type TargetServer } from '../test/conformance/servers/target-server.ts';
import type { Contender } from './contender.ts';
import type { LoadResult } from './load.ts';
import type { Row } from './rows.ts';

/** One measured cell. Latencies are undefined for iscsi-perf, which tells none. */
export interface Cell {
	iops: number;
	megabytesPerSecond: number;
	p50Us: number | undefined;
	p99Us: number | undefined;
	/** Server CPU seconds, all threads, in the time that counts. */
	serverCPUSeconds: number;
	/** What the server used after the load had ended, until it was idle: work that the load left behind. */
	afterwardsCPUSeconds: number;
	opsPerServerCPUSecond: number;
	clientCPUSeconds: number | undefined;
	serverRSSMiB: number;
}

export interface CellOptions {
	seconds: number;
	warmUpSeconds: number;
	/** CPU of the client, or undefined for any. */
	clientCPU: number | undefined;
}

const mebibyte = 1024 * 1024;

/** Runs one row against one server. */
export async function measure(contender: Contender, row: Row, options: CellOptions): Promise<Cell> {
	const { server } = contender;
	const counted = row.shape === undefined ? await foreignReads(contender, options) : await ownLoad(contender, row, options);
	const rssMiB = server.process.rssBytes() / mebibyte;
	const afterwardsCPUSeconds = await untilIdle(server);
	const sizeBytes = row.shape?.sizeBytes ?? 4096;
	return {
		iops: counted.ops / counted.seconds,
		megabytesPerSecond: (counted.ops * sizeBytes) / counted.seconds / 1e6,
		p50Us: counted.p50Us,
		p99Us: counted.p99Us,
		serverCPUSeconds: counted.serverCPUSeconds,
		afterwardsCPUSeconds,
		opsPerServerCPUSecond: counted.ops / Math.max(counted.serverCPUSeconds, 0.01),
		clientCPUSeconds: counted.clientCPUSeconds,
		serverRSSMiB: rssMiB,
	};
}

interface Counted extends Pick<LoadResult, 'ops' | 'seconds'> {
	p50Us?: number;
	p99Us?: number;
	clientCPUSeconds?: number;
	serverCPUSeconds: number;
}

function pinned(cpu: number | undefined, command: readonly string[]): [string, string[]] {
	const words = cpu === undefined ? command : ['taskset', '-c', String(cpu), ...command];
	return [words[0]!, words.slice(1)];
}

/** The own client in a process of its own, so that it can have its own CPU. */
async function ownLoad(contender: Contender, row: Row, options: CellOptions): Promise<Counted> {
	const { server } = contender;
	const shape = row.shape!;
	const flags = {
		protocol: contender.protocol,
		port: contender.port(),
		target: contender.target,
		unit: contender.unit,
		lanes: shape.lanes,
		op: shape.op,
		size: shape.sizeBytes,
		depth: shape.depth,
		pattern: shape.pattern,
		'flush-every': shape.flushEvery,
		seconds: options.seconds,
		'warm-up': options.warmUpSeconds,
		range: server.units[0]!.sizeBytes,
	};
	const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
	const [file, args] = pinned(options.clientCPU, [process.execPath, join(import.meta.dirname, 'load.ts'), ...words]);
	const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
	let output = '';
	let cpuStart = 0;
	let cpuEnd = 0;
	child.stdout.setEncoding('utf8').on('data', (text: string) => {
		if (text.includes('counting')) cpuStart = server.process.cpuSeconds();
		if (text.includes('counted')) cpuEnd = server.process.cpuSeconds();
		output += text;
	});
	const code = await new Promise((resolve) => child.on('close', resolve));
	if (code !== 0)
		throw new Error(`the client failed on ${row.name} against ${contender.name}; the server's latest output:\n${server.process.output}`);
	const result: LoadResult = JSON.parse(output.slice(output.indexOf('{')));
	return { ...result, serverCPUSeconds: cpuEnd - cpuStart };
}

async function foreignReads({ server, port, target, unit }: Contender, options: CellOptions): Promise<Counted> {
	const url = `iscsi://127.0.0.1:${port()}/${target}/${unit}`;
	const seconds = Math.max(2, Math.round(options.seconds));
	const [file, args] = pinned(options.clientCPU, [
		'iscsi-perf',
		'-i',
		foreignInitiatorName,
		'-r',
		'-m',
		'32',
		'-b',
		'8',
		'-t',
		String(seconds),
		url,
	]);
	const cpuStart = server.process.cpuSeconds();
	const output = await run(file, args);
	const serverCPUSeconds = server.process.cpuSeconds() - cpuStart;
	const iops = Number([...output.matchAll(/iops average (\d+)/g)].at(-1)?.[1] ?? 0);
	return { ops: iops * seconds, seconds, serverCPUSeconds };
}

/** Waits until the server has nothing left to do and the kernel has written everything out. */
async function untilIdle(server: TargetServer): Promise<number> {
	const start = server.process.cpuSeconds();
	await run('sync', []);
	let before = server.process.cpuSeconds();
	for (let quarters = 0; quarters < 80; quarters++) {
		// oxlint-disable-next-line no-await-in-loop
		await pause(250);
		const now = server.process.cpuSeconds();
		if (now - before < 0.02) break;
		before = now;
	}
	return server.process.cpuSeconds() - start;
}
