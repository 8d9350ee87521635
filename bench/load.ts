/**
 * The load generator of the bench: one process, one or more lanes (iSCSI sessions or NVMe queues), one kind of command. Prints `counting`, `counted` and a line of JSON.
 *
 *     node bench/load.ts --protocol iscsi --port 3260 --target IQN --unit 0 --op read --size 4096 --depth 32 --pattern random --seconds 5
 */
import { randomFillSync } from 'node:crypto';
import { parseArgs } from 'node:util';
import { LatencyHistogram } from './histogram.ts';
import { IscsiLane } from './iscsi-lane.ts';
import type { Lane, LaneCommand, LaneOwner } from './lane.ts';
import { NvmeLane } from './nvme-lane.ts';

export interface LoadShape {
	op: 'read' | 'write';
	sizeBytes: number;
	/** Outstanding on each lane. */
	depth: number;
	/** iSCSI sessions, or I/O queues of one NVMe controller. */
	lanes: number;
	pattern: 'random' | 'sequential';
	/** With writes: this many are sent at once, and when all are acknowledged a flush; depth / flushEvery such groups run beside each other. 0: never. */
	flushEvery: number;
}

export interface LoadResult {
	seconds: number;
	/** Reads or writes; flushes are not counted in. */
	ops: number;
	flushes: number;
	p50Us: number;
	p99Us: number;
	maxUs: number;
	clientCPUSeconds: number;
}

/** Commands that count for one group with a flush. */
class Group {
	outstanding = 0;
}

class Load<C extends LaneCommand> implements LaneOwner<C> {
	readonly histogram = new LatencyHistogram();
	ops = 0;
	flushes = 0;
	stopping = false;
	failure: string | undefined = undefined;
	onIdle: (() => void) | undefined = undefined;
	readonly #lane: Lane<C>;
	readonly #shape: LoadShape;
	readonly #slots: number;
	readonly #blocksPerOp: number;
	readonly #payload: Buffer;
	readonly #groups: Group[] = [];
	#next: number;
	#random: number;

	/** `share`: this load's place among those of a sequential pattern, from 0 to 1. */
	constructor(lane: Lane<C>, shape: LoadShape, rangeBytes: number, seed: number, share: number) {
		this.#lane = lane;
		this.#shape = shape;
		this.#slots = Math.floor(rangeBytes / shape.sizeBytes);
		this.#next = Math.floor(share * this.#slots);
		this.#blocksPerOp = shape.sizeBytes / lane.blockSize;
		this.#payload = Buffer.alloc(shape.sizeBytes);
		randomFillSync(this.#payload);
		this.#random = seed | 1;
		for (let group = 0; shape.flushEvery > 0 && group < shape.depth / shape.flushEvery; group++) this.#groups.push(new Group());
	}

	start(): void {
		for (let index = 0; index < this.#shape.depth; index++) {
			const group = this.#shape.flushEvery > 0 ? Math.floor(index / this.#shape.flushEvery) : -1;
			this.#transfer(this.#take(group));
		}
	}

	finished(command: C): void {
		const fault = this.#lane.fault(command);
		if (fault !== undefined) {
			this.failure ??= fault;
			this.stopping = true;
		}
		const isFlush = command.b === 1;
		if (isFlush) {
			this.flushes++;
		} else {
			this.ops++;
			this.histogram.record((this.#lane.nowMs - command.submittedMs) * 1000);
		}
		if (this.stopping) {
			// This command is no longer counted by the lane.
			if (this.#lane.outstanding === 0) this.onIdle?.();
			return;
		}
		if (command.a < 0) this.#transfer(command);
		else this.#nextOfGroup(command, isFlush);
	}

	#take(group: number): C {
		const command = this.#lane.take(this);
		if (command === undefined) throw new Error('the lane has too few commands');
		command.dataOut = this.#payload;
		command.a = group;
		return command;
	}

	#nextOfGroup(command: C, wasFlush: boolean): void {
		const group = this.#groups[command.a]!;
		if (wasFlush) {
			this.#transfer(command);
			for (let index = 1; index < this.#shape.flushEvery; index++) this.#transfer(this.#take(command.a));
			return;
		}
		if (--group.outstanding > 0) return;
		command.b = 1;
		this.#lane.flush(command);
	}

	#transfer(command: C): void {
		if (command.a >= 0) this.#groups[command.a]!.outstanding++;
		command.b = 0;
		const lba = this.#slot() * this.#blocksPerOp;
		if (this.#shape.op === 'read') this.#lane.read(command, lba, this.#blocksPerOp);
		else this.#lane.write(command, lba, this.#blocksPerOp);
	}

	#slot(): number {
		if (this.#shape.pattern === 'sequential') {
			if (this.#next >= this.#slots) this.#next = 0;
			return this.#next++;
		}
		// xorshift32
		let x = this.#random;
		x ^= x << 13;
		x ^= x >>> 17;
		x ^= x << 5;
		this.#random = x;
		return Math.floor(((x >>> 0) / 0x1_0000_0000) * this.#slots);
	}
}

const pause = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms));

export interface LoadOptions {
	protocol: 'iscsi' | 'nvme';
	port: number;
	target: string;
	/** LUN or namespace identifier. */
	unit: number;
	shape: LoadShape;
	seconds: number;
	warmUpSeconds: number;
	/** Only the first so many bytes of the unit; 0 = all. */
	rangeBytes: number;
	/** Called at the beginning and at the end of the time that counts. */
	onCounting?: (phase: 'counting' | 'counted') => void;
}

/** Runs a load and gives its figures; the first `warmUpSeconds` are not counted. Throws when a command fails. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
	const { port, target, unit, shape } = options;
	const wanted = { port, target, unit, depth: shape.depth, lanes: shape.lanes };
	if (options.protocol === 'iscsi') return await runLanes(await IscsiLane.open(wanted), options);
	return await runLanes(await NvmeLane.open(wanted), options);
}

async function runLanes<C extends LaneCommand>(lanes: readonly Lane<C>[], options: LoadOptions): Promise<LoadResult> {
	const loads = lanes.map((lane, index) => {
		const rangeBytes = options.rangeBytes > 0 ? Math.min(options.rangeBytes, lane.sizeBytes) : lane.sizeBytes;
		return new Load(lane, options.shape, rangeBytes, 0x9e3779b9 * (index + 1), index / lanes.length);
	});
	const idle = loads.map(
		async (load) =>
			await new Promise<void>((resolve) => {
				load.onIdle = resolve;
			}),
	);
	for (const load of loads) load.start();
	await pause(options.warmUpSeconds * 1000);
	for (const load of loads) {
		load.histogram.clear();
		load.ops = 0;
		load.flushes = 0;
	}
	options.onCounting?.('counting');
	const cpuBefore = process.cpuUsage();
	const startMs = performance.now();
	await pause(options.seconds * 1000);
	const seconds = (performance.now() - startMs) / 1000;
	const cpu = process.cpuUsage(cpuBefore);
	options.onCounting?.('counted');
	const ops = loads.reduce((sum, load) => sum + load.ops, 0);
	const flushes = loads.reduce((sum, load) => sum + load.flushes, 0);
	const slowest = (share: number): number => Math.max(...loads.map((load) => load.histogram.quantileUs(share)));
	const result: LoadResult = {
		seconds,
		ops,
		flushes,
		p50Us: slowest(0.5),
		p99Us: slowest(0.99),
		maxUs: Math.max(...loads.map((load) => load.histogram.maxUs)),
		clientCPUSeconds: (cpu.user + cpu.system) / 1e6,
	};
	for (const load of loads) load.stopping = true;
	await Promise.all(idle);
	for (const load of loads) if (load.failure !== undefined) throw new Error(load.failure);
	await Promise.all(lanes.map(async (lane) => await lane.close()));
	return result;
}

if (import.meta.main) {
	const { values } = parseArgs({
		options: {
			protocol: { type: 'string', default: 'iscsi' },
			port: { type: 'string', default: '3260' },
			target: { type: 'string', default: '' },
			unit: { type: 'string', default: '0' },
			lanes: { type: 'string', default: '1' },
			op: { type: 'string', default: 'read' },
			size: { type: 'string', default: '4096' },
			depth: { type: 'string', default: '32' },
			pattern: { type: 'string', default: 'random' },
			'flush-every': { type: 'string', default: '0' },
			seconds: { type: 'string', default: '3' },
			'warm-up': { type: 'string', default: '0.5' },
			range: { type: 'string', default: '0' },
		},
	});
	if (values.protocol !== 'iscsi' && values.protocol !== 'nvme') throw new Error('--protocol iscsi or nvme');
	if (values.op !== 'read' && values.op !== 'write') throw new Error('--op read or write');
	if (values.pattern !== 'random' && values.pattern !== 'sequential') throw new Error('--pattern random or sequential');
	const result = await runLoad({
		protocol: values.protocol,
		port: Number(values.port),
		target: values.target,
		unit: Number(values.unit),
		shape: {
			op: values.op,
			sizeBytes: Number(values.size),
			depth: Number(values.depth),
			lanes: Number(values.lanes),
			pattern: values.pattern,
			flushEvery: Number(values['flush-every']),
		},
		seconds: Number(values.seconds),
		warmUpSeconds: Number(values['warm-up']),
		rangeBytes: Number(values.range),
		onCounting: (phase) => console.log(phase),
	});
	console.log(JSON.stringify(result));
}
