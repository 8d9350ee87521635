/**
 * The load generator of the bench: one process, one or more sessions, one kind of command. Prints `counting`, `counted` and a line of JSON.
 *
 *     node bench/load.ts --port 3260 --target IQN --lun 0 --op read --size 4096 --depth 32 --pattern random --seconds 5
 */
import { randomFillSync } from 'node:crypto';
import { parseArgs } from 'node:util';
import { read16, synchronizeCache10, write16 } from '../test/initiator/cdb.ts';
import { connectionLost, scsiStatus, type Command, type CommandOwner } from '../test/initiator/command.ts';
import { InitiatorDisk } from '../test/initiator/disk.ts';
import { Session } from '../test/initiator/session.ts';
import { LatencyHistogram } from './histogram.ts';

export interface LoadShape {
	op: 'read' | 'write';
	sizeBytes: number;
	depth: number;
	pattern: 'random' | 'sequential';
	/** With writes: this many are sent at once, and when all are acknowledged a SYNCHRONIZE CACHE; depth / flushEvery such groups run beside each other. 0: never. */
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

class Load implements CommandOwner {
	readonly histogram = new LatencyHistogram();
	ops = 0;
	flushes = 0;
	stopping = false;
	failure: string | undefined = undefined;
	onIdle: (() => void) | undefined = undefined;
	readonly #session: Session;
	readonly #lun: number;
	readonly #shape: LoadShape;
	readonly #slots: number;
	readonly #blocksPerOp: number;
	readonly #payload: Buffer;
	readonly #groups: Group[] = [];
	#next = 0;
	#random: number;

	constructor(session: Session, lun: number, shape: LoadShape, blockSize: number, rangeBytes: number, seed: number) {
		this.#session = session;
		this.#lun = lun;
		this.#shape = shape;
		this.#slots = Math.floor(rangeBytes / shape.sizeBytes);
		this.#blocksPerOp = shape.sizeBytes / blockSize;
		this.#payload = Buffer.alloc(shape.sizeBytes);
		randomFillSync(this.#payload);
		this.#random = seed | 1;
		for (let group = 0; shape.flushEvery > 0 && group < shape.depth / shape.flushEvery; group++) this.#groups.push(new Group());
	}

	start(): void {
		for (let index = 0; index < this.#shape.depth; index++) {
			const command = this.#session.take();
			if (command === undefined) throw new Error('the session has too few commands');
			command.lun = this.#lun;
			command.owner = this;
			if (this.#shape.op === 'write') command.dataOut = this.#payload;
			const group = this.#shape.flushEvery > 0 ? Math.floor(index / this.#shape.flushEvery) : -1;
			command.a = group;
			this.#transfer(command);
		}
	}

	finished(command: Command): void {
		if (command.status !== scsiStatus.good || command.residual !== 0) {
			this.failure ??=
				command.status === connectionLost ? String(this.#session.ended) : `SCSI status ${command.status}, residual ${command.residual}`;
			this.stopping = true;
		}
		const isFlush = command.b === 1;
		if (isFlush) {
			this.flushes++;
		} else {
			this.ops++;
			this.histogram.record((this.#session.nowMs - command.submittedMs) * 1000);
		}
		if (this.stopping) {
			// This command is no longer counted by the session.
			if (this.#session.outstanding === 0) this.onIdle?.();
			return;
		}
		if (command.a < 0) this.#transfer(command);
		else this.#nextOfGroup(command, isFlush);
	}

	#nextOfGroup(command: Command, wasFlush: boolean): void {
		const group = this.#groups[command.a]!;
		if (wasFlush) {
			this.#transfer(command);
			for (let index = 1; index < this.#shape.flushEvery; index++) {
				const other = this.#session.take()!;
				other.lun = this.#lun;
				other.owner = this;
				other.dataOut = this.#payload;
				other.a = command.a;
				this.#transfer(other);
			}
			return;
		}
		if (--group.outstanding > 0) return;
		command.b = 1;
		command.dataOutBytes = 0;
		synchronizeCache10(command.cdb);
		this.#session.submit(command);
	}

	#transfer(command: Command): void {
		if (command.a >= 0) this.#groups[command.a]!.outstanding++;
		command.b = 0;
		const lba = this.#slot() * this.#blocksPerOp;
		if (this.#shape.op === 'read') {
			command.dataInBytes = this.#shape.sizeBytes;
			read16(command.cdb, lba, this.#blocksPerOp);
		} else {
			command.dataOut = this.#payload;
			command.dataOutBytes = this.#shape.sizeBytes;
			write16(command.cdb, lba, this.#blocksPerOp);
		}
		this.#session.submit(command);
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

/** Runs a load and gives its figures; the first `warmUpSeconds` are not counted. Throws when a command fails. */
export async function runLoad(options: {
	port: number;
	target: string;
	lun: number;
	sessions: number;
	shape: LoadShape;
	seconds: number;
	warmUpSeconds: number;
	/** Only the first so many bytes of the LUN; 0 = all. */
	rangeBytes: number;
	/** Called at the beginning and at the end of the time that counts. */
	onCounting?: (phase: 'counting' | 'counted') => void;
}): Promise<LoadResult> {
	const loads: Load[] = [];
	const sessions: Session[] = [];
	for (let index = 0; index < options.sessions; index++) {
		// oxlint-disable no-await-in-loop -- one after the other
		const session = await Session.open({ port: options.port, targetName: options.target, commandsMax: options.shape.depth + 8 });
		const disk = new InitiatorDisk(session, options.lun);
		await disk.becomeReady();
		const { blocks, blockSize } = await disk.capacity();
		// oxlint-enable no-await-in-loop
		const rangeBytes = options.rangeBytes > 0 ? Math.min(options.rangeBytes, blocks * blockSize) : blocks * blockSize;
		sessions.push(session);
		loads.push(new Load(session, options.lun, options.shape, blockSize, rangeBytes, 0x9e3779b9 * (index + 1)));
	}
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
	await Promise.all(sessions.map(async (session) => await session.logout()));
	return result;
}

if (import.meta.main) {
	const { values } = parseArgs({
		options: {
			port: { type: 'string', default: '3260' },
			target: { type: 'string', default: '' },
			lun: { type: 'string', default: '0' },
			sessions: { type: 'string', default: '1' },
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
	if (values.op !== 'read' && values.op !== 'write') throw new Error('--op read or write');
	if (values.pattern !== 'random' && values.pattern !== 'sequential') throw new Error('--pattern random or sequential');
	const result = await runLoad({
		port: Number(values.port),
		target: values.target,
		lun: Number(values.lun),
		sessions: Number(values.sessions),
		shape: {
			op: values.op,
			sizeBytes: Number(values.size),
			depth: Number(values.depth),
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
