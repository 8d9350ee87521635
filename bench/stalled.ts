import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadProcess } from './load-process.ts';
import type { LoadOptions, LoadResult, LoadShape } from './load-shape.ts';
import { goOver } from './prefill.ts';
import type { Progress } from './progress.ts';
import { openRig, type Access, type Rig, temporaryFolder } from './rig.ts';

const kib = 1024;
/** p99 of the neighbour beside the stalled volume may be so many times what it is alone, or so much more. */
const p99FactorMax = 1.5;
const p99MoreUsMax = 500;
/** And it must not do much less: flushes that wait are in no latency of a write. */
const iopsShareMin = 0.7;

const stalledShape: LoadShape = { op: 'read', sizeBytes: 4 * kib, depth: 32, lanes: 1, pattern: 'random', flushEvery: 0 };

export const neighbourShapes: readonly { name: string; shape: LoadShape }[] = [
	{ name: '4 KiB random reads, cached', shape: stalledShape },
	{ name: '4 KiB random writes', shape: { ...stalledShape, op: 'write' } },
	{ name: '4 KiB random writes, a flush after 8', shape: { ...stalledShape, op: 'write', flushEvery: 8 } },
];

export interface NeighbourFigures {
	name: string;
	protocol: string;
	alone: LoadResult;
	beside: LoadResult;
	/** Reads of the stalled volume a second: it must have been busy all the while. */
	stalledIOPS: number;
	isMet: boolean;
}

interface StalledOptions {
	seconds: number;
	volumeBytes: number;
	cpus: { server: number | undefined; client: number | undefined };
}

/** One volume's disk takes 100 ms for each read: what becomes of another volume? A process of bench/stalled-server.ts, each load alone and then beside 32 stalled reads. */
export async function besideStalled({ seconds, volumeBytes, cpus }: StalledOptions, progress: Progress): Promise<NeighbourFigures[]> {
	progress.step('two volumes for the stalled disk');
	const folder = await temporaryFolder();
	const settings = { folder, volumes: 2, volumeBytes, cpu: cpus.server };
	let rig = await openRig(settings);
	const figures: NeighbourFigures[] = [];
	try {
		for (const unit of rig.nvme.units) await goOver('write', { ...rig.nvme, unit }, volumeBytes);
		const launcher = await stallingLauncher(folder, (await rig.volumes()).find(({ name }) => name === 'volume0')!.uuid);
		// A clean stop leaves nothing in the log: reads have to go to the layer.
		await rig.server.stop();
		rig = await openRig({ ...settings, isConfigured: true, launcher });
		for (const access of [rig.iscsi, rig.nvme]) await goOver('read', { ...access, unit: access.units[1]! }, volumeBytes);
		progress.done('ready');
		for (const access of [rig.iscsi, rig.nvme]) {
			for (const { name, shape } of neighbourShapes) {
				progress.step(`${access.protocol}, beside a stalled volume: ${name}`);
				const one = await compared(access, shape, seconds, cpus.client, rig);
				figures.push({ name, protocol: access.protocol, ...one });
				progress.done(`p99 ${one.alone.p99Us} µs alone, ${one.beside.p99Us} µs beside`);
			}
		}
		return figures;
	} finally {
		await rig.server.kill();
	}
}

async function stallingLauncher(folder: string, uuid: string): Promise<string> {
	const path = join(folder, 'stalled');
	const server = join(import.meta.dirname, 'stalled-server.ts');
	await writeFile(path, `#!/bin/sh\nUV_THREADPOOL_SIZE=8 BLOCKPORT_STALLED_VOLUME=${uuid} exec '${process.execPath}' '${server}' "$@"\n`);
	await chmod(path, 0o755);
	return path;
}

async function compared(
	access: Access,
	shape: LoadShape,
	seconds: number,
	clientCPU: number | undefined,
	rig: Rig,
): Promise<Omit<NeighbourFigures, 'name' | 'protocol'>> {
	const load = {
		protocol: access.protocol,
		port: access.port,
		target: access.target,
		rangeBytes: 0,
		warmUpSeconds: Math.min(1, seconds / 2),
	};
	const neighbour: LoadOptions = { ...load, unit: access.units[1]!, shape, seconds };
	const alone = await loadProcess(neighbour, clientCPU);
	// Longer than the neighbour's, which begins once the first stalled reads wait. Over NVMe: the protocol does not matter to the disk.
	const stalledLoad = loadProcess(
		{
			...load,
			protocol: 'nvme',
			port: rig.nvme.port,
			target: rig.nvme.target,
			unit: rig.nvme.units[0]!,
			shape: stalledShape,
			seconds: seconds + 3,
		},
		clientCPU,
	);
	const [beside, stalled] = await Promise.all([delayed(neighbour, clientCPU), stalledLoad]);
	const isPrompt = beside.p99Us <= Math.max(alone.p99Us * p99FactorMax, alone.p99Us + p99MoreUsMax);
	const isMet = isPrompt && beside.ops / beside.seconds >= (alone.ops / alone.seconds) * iopsShareMin;
	return { alone, beside, stalledIOPS: stalled.ops / stalled.seconds, isMet };
}

async function delayed(options: LoadOptions, cpu: number | undefined): Promise<LoadResult> {
	await new Promise((resolve) => setTimeout(resolve, 1000));
	return await loadProcess(options, cpu);
}
