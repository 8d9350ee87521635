/**
 * The load generator of the bench: one process, one or more lanes (iSCSI sessions or NVMe queues), one kind of command. Prints `counting`, `counted` and a line of JSON.
 *
 *     node bench/load.ts --protocol iscsi --port 3260 --target IQN --units 0 --op read --size 4096 --depth 32 --pattern random --seconds 5
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { LatencyHistogram } from './histogram.ts';
import { LaneLoad } from './lane-load.ts';
import type { Lane, LaneCommand } from './lane.ts';
import type { LoadOptions, LoadResult } from './load-shape.ts';
import { Meter } from './meter.ts';

const pause = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms));
const byteLimitPollMs = 20;

/** Runs a load and gives its figures; the first `warmUpSeconds` are not counted. Throws when a command fails. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
	return await openLanes(options, async (lanes) => await runLanes(lanes, options));
}

/** Opens the lanes of a load and hands them to `use`. */
export async function openLanes<Result>(
	{
		protocol,
		port,
		target,
		unit,
		otherUnits = [],
		separateHosts = false,
		shape,
	}: Omit<LoadOptions, 'seconds' | 'warmUpSeconds' | 'rangeBytes'>,
	use: <C extends LaneCommand>(lanes: readonly Lane<C>[]) => Result | Promise<Result>,
): Promise<Result> {
	const wanted = { port, target, units: [unit, ...otherUnits], separateHosts, depth: shape.depth, lanes: shape.lanes };
	// Only what is used is loaded, so that a client's memory and start do not depend on the other protocols.
	if (protocol === 'iscsi') return await use(await (await import('./iscsi-lane.ts')).IscsiLane.open(wanted));
	if (protocol === 'nvme') return await use(await (await import('./nvme-lane.ts')).NvmeLane.open(wanted));
	return await use(await (await import('./bare-lane.ts')).BareLane.open(wanted));
}

async function runLanes<C extends LaneCommand>(lanes: readonly Lane<C>[], options: LoadOptions): Promise<LoadResult> {
	const { shape, offsetBytes = 0, rangeBytes } = options;
	const meter = new Meter();
	const loads = lanes.map((lane, index) => {
		const restBytes = lane.sizeBytes - offsetBytes;
		const lengthBytes = rangeBytes > 0 ? Math.min(rangeBytes, restBytes) : restBytes;
		return new LaneLoad(lane, shape, { offsetBytes, lengthBytes, share: index / lanes.length }, 0x9e3779b9 * (index + 1), meter);
	});
	const sum = (of: (load: LaneLoad<C>) => number): number => loads.reduce((total, load) => total + of(load), 0);
	for (const load of loads) load.start();
	await pause(options.warmUpSeconds * 1000);
	for (const load of loads) load.count();
	options.onCounting?.('counting');
	const loopDelay = monitorEventLoopDelay({ resolution: 10 });
	loopDelay.enable();
	const cpuBefore = process.cpuUsage();
	const startMs = performance.now();
	meter.start(startMs);
	await counted(options, () => sum((load) => load.opsInAll) * shape.sizeBytes);
	const endMs = performance.now();
	const seconds = (endMs - startMs) / 1000;
	const cpu = process.cpuUsage(cpuBefore);
	meter.end(endMs);
	loopDelay.disable();
	options.onCounting?.('counted');
	const histogram = new LatencyHistogram();
	for (const load of loads) histogram.add(load.histogram);
	const slowest = (share: number): number => Math.max(...loads.map((load) => load.histogram.quantileUs(share)));
	const result: LoadResult = {
		seconds,
		ops: sum((load) => load.ops),
		flushes: sum((load) => load.flushes),
		opsInAll: 0,
		p50Us: slowest(0.5),
		p99Us: slowest(0.99),
		maxUs: histogram.maxUs,
		laneOps: loads.map((load) => load.ops),
		laneP99Us: loads.map((load) => load.histogram.quantileUs(0.99)),
		series: [...meter.series],
		longestStallMs: meter.longestStallMs,
		stalls: meter.stalls,
		histogram: histogram.entries(),
		clientCPUSeconds: (cpu.user + cpu.system) / 1e6,
		clientPauseMs: loopDelay.max / 1e6,
	};
	await Promise.all(loads.map(async (load) => await load.stop()));
	result.opsInAll = sum((load) => load.opsInAll);
	for (const load of loads) if (load.failure !== undefined) throw new Error(load.failure);
	await Promise.all(lanes.map(async (lane) => await lane.close()));
	return result;
}

/** The time that counts: so many seconds, or so many bytes. */
async function counted({ seconds, bytesMax = Infinity }: LoadOptions, bytes: () => number): Promise<void> {
	if (bytesMax === Infinity) return await pause(seconds * 1000);
	const endMs = performance.now() + seconds * 1000;
	while (bytes() < bytesMax && performance.now() < endMs) await pause(byteLimitPollMs);
}

/** The words of a command line as options; throws on what is none of the choices. */
function choice<Word extends string>(flag: string, word: string, ...words: readonly Word[]): Word {
	const found = words.find((one) => one === word);
	if (found === undefined) throw new Error(`--${flag} ${words.join(' or ')}`);
	return found;
}

if (import.meta.main) {
	const { values } = parseArgs({
		options: {
			protocol: { type: 'string', default: 'iscsi' },
			port: { type: 'string', default: '3260' },
			target: { type: 'string', default: '' },
			units: { type: 'string', default: '0' },
			'separate-hosts': { type: 'boolean', default: false },
			lanes: { type: 'string', default: '1' },
			op: { type: 'string', default: 'read' },
			size: { type: 'string', default: '4096' },
			depth: { type: 'string', default: '32' },
			pattern: { type: 'string', default: 'random' },
			'flush-every': { type: 'string', default: '0' },
			rate: { type: 'string', default: '0' },
			seconds: { type: 'string', default: '3' },
			'warm-up': { type: 'string', default: '0.5' },
			range: { type: 'string', default: '0' },
			offset: { type: 'string', default: '0' },
			bytes: { type: 'string', default: 'Infinity' },
		},
	});
	const rate = Number(values.rate);
	const [unit = 0, ...otherUnits] = values.units.split(',').map(Number);
	const result = await runLoad({
		protocol: choice('protocol', values.protocol, 'iscsi', 'nvme', 'bare'),
		port: Number(values.port),
		target: values.target,
		unit,
		otherUnits,
		separateHosts: values['separate-hosts'],
		shape: {
			op: choice('op', values.op, 'read', 'write'),
			sizeBytes: Number(values.size),
			depth: Number(values.depth),
			lanes: Number(values.lanes),
			pattern: choice('pattern', values.pattern, 'random', 'sequential'),
			flushEvery: Number(values['flush-every']),
			...(rate > 0 ? { ratePerSecond: rate } : {}),
		},
		seconds: Number(values.seconds),
		warmUpSeconds: Number(values['warm-up']),
		rangeBytes: Number(values.range),
		offsetBytes: Number(values.offset),
		bytesMax: Number(values.bytes),
		onCounting: (phase) => console.log(phase),
	});
	console.log(JSON.stringify(result));
}
