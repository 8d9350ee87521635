import { setTimeout as pause } from 'node:timers/promises';
import { run } from '../test/conformance/servers/server-process.ts';
import { foreignInitiatorName, type TargetServer } from '../test/conformance/servers/target-server.ts';
import type { Contender } from './contender.ts';
import { loadProcess, pinned } from './load-process.ts';
import type { LoadResult } from './load-shape.ts';
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
	/** Share of one CPU that the client used; near 1 it was the client that set the pace. */
	clientCPUShare: number | undefined;
	serverRSSMiB: number;
}

export interface CellOptions {
	seconds: number;
	warmUpSeconds: number;
	/** CPU of the client, or undefined for any. */
	clientCPU: number | undefined;
}

const mebibyte = 1024 * 1024;
/** A server that is to flush what was written begins once nothing has come for 2 s: until then it only looks idle. */
const quietMs = { read: 250, write: 2750 };
const pollMs = 250;
const quietMaxMs = 30_000;

/** Runs one row against one server. */
export async function measure(contender: Contender, row: Row, options: CellOptions): Promise<Cell> {
	const { server } = contender;
	const counted = row.shape === undefined ? await foreignReads(contender, options) : await ownLoad(contender, row, options);
	const rssMiB = server.process.rssBytes() / mebibyte;
	const afterwardsCPUSeconds = await untilIdle(server, quietMs[row.shape?.op ?? 'read']);
	const sizeBytes = row.shape?.sizeBytes ?? 4096;
	return {
		iops: counted.ops / counted.seconds,
		megabytesPerSecond: (counted.ops * sizeBytes) / counted.seconds / 1e6,
		p50Us: counted.p50Us,
		p99Us: counted.p99Us,
		serverCPUSeconds: counted.serverCPUSeconds,
		afterwardsCPUSeconds,
		opsPerServerCPUSecond: counted.ops / Math.max(counted.serverCPUSeconds, 0.01),
		clientCPUShare: counted.clientCPUSeconds === undefined ? undefined : counted.clientCPUSeconds / counted.seconds,
		serverRSSMiB: rssMiB,
	};
}

interface Counted extends Pick<LoadResult, 'ops' | 'seconds'> {
	p50Us?: number;
	p99Us?: number;
	clientCPUSeconds?: number;
	serverCPUSeconds: number;
}

async function ownLoad(contender: Contender, row: Row, options: CellOptions): Promise<Counted> {
	const { server } = contender;
	let cpuStart = 0;
	let cpuEnd = 0;
	const load = loadProcess(
		{
			protocol: contender.protocol,
			port: contender.port(),
			target: contender.target,
			unit: contender.unit,
			shape: row.shape!,
			seconds: options.seconds,
			warmUpSeconds: options.warmUpSeconds,
			rangeBytes: server.units[0]!.sizeBytes,
			onCounting: (phase) => {
				if (phase === 'counting') cpuStart = server.process.cpuSeconds();
				else cpuEnd = server.process.cpuSeconds();
			},
		},
		options.clientCPU,
	);
	const result = await load.catch((error: unknown) => {
		throw new Error(`${row.name} against ${contender.name} failed; the server's latest output:\n${server.process.output}`, {
			cause: error,
		});
	});
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

/** Waits until the server has had nothing to do for `forMs` and the kernel has written everything out. Resolves to the CPU seconds that it used meanwhile. */
export async function untilIdle(server: TargetServer, forMs: number): Promise<number> {
	const start = server.process.cpuSeconds();
	await run('sync', []);
	let before = server.process.cpuSeconds();
	let quiet = 0;
	for (let waited = 0; waited < quietMaxMs && quiet < forMs; waited += pollMs) {
		await pause(pollMs);
		const now = server.process.cpuSeconds();
		quiet = now - before < 0.02 ? quiet + pollMs : 0;
		before = now;
	}
	return server.process.cpuSeconds() - start;
}
