/**
 * A load in slices, in a process of its own: the connections stay open, and between slices nothing runs. So loads of two servers or two protocols can take short turns, with every client warm.
 *
 * The child is this file as a program, spoken to by Node's IPC: first LoadOptions, then the milliseconds of each slice, each answered by a Slice.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { LatencyHistogram } from './histogram.ts';
import { LaneLoad } from './lane-load.ts';
import type { Lane, LaneCommand } from './lane.ts';
import { openLanes } from './load.ts';
import { pinned } from './load-process.ts';
import type { LoadOptions } from './load-shape.ts';
import { Meter } from './meter.ts';

/** One slice: everything that was begun in it has been answered in it. */
export interface Slice {
	ops: number;
	seconds: number;
	p50Us: number;
	p99Us: number;
	clientCPUSeconds: number;
}

type LoadTarget = Pick<LoadOptions, 'protocol' | 'port' | 'target' | 'unit' | 'shape' | 'rangeBytes'>;
type Answer = { slice: Slice } | { failure: string } | 'open';

/** How much longer than asked for a slice may take. */
const graceMs = 60_000;
/** Each slice goes on somewhere else, and on both sides at the same places. */
const seedStep = 0x9e37_79b9;
const shareStep = 0.618;

/** The parent's end. */
export class SlicedLoad {
	readonly #child: ChildProcess;
	readonly #gone: Promise<never>;
	readonly #killed: () => void;

	/** Resolves when the connections are open. */
	static async open(target: LoadTarget, cpu: number | undefined): Promise<SlicedLoad> {
		const load = new SlicedLoad(target, cpu);
		await load.#ask(target);
		return load;
	}

	private constructor({ protocol, shape }: LoadTarget, cpu: number | undefined) {
		const [file, words] = pinned(cpu, [process.execPath]);
		this.#child = fork(import.meta.filename, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execPath: file, execArgv: words });
		this.#killed = (): void => void this.#child.kill('SIGKILL');
		process.once('exit', this.#killed);
		this.#gone = new Promise((_resolve, reject) => {
			this.#child.once('error', reject);
			this.#child.once('exit', () => reject(new Error(`the client of ${shape.op}s of ${shape.sizeBytes} bytes over ${protocol} is gone`)));
		});
		// It is awaited only while something is asked for.
		this.#gone.catch(() => undefined);
	}

	async slice(ms: number): Promise<Slice> {
		const answer = await this.#ask(ms);
		if (typeof answer !== 'object' || !('slice' in answer)) throw new Error('no slice came');
		return answer.slice;
	}

	/** Ends the process, with its connections. */
	async close(): Promise<void> {
		process.off('exit', this.#killed);
		this.#child.disconnect();
		await this.#gone.catch(() => undefined);
	}

	async #ask(question: LoadTarget | number): Promise<Answer> {
		const late = setTimeout(this.#killed, graceMs + (typeof question === 'number' ? question : 0));
		const answered = new Promise<Answer>((resolve) => this.#child.once('message', resolve as (answer: unknown) => void));
		this.#child.send(question);
		try {
			const answer = await Promise.race([answered, this.#gone]);
			if (typeof answer === 'object' && 'failure' in answer) throw new Error(answer.failure);
			return answer;
		} finally {
			clearTimeout(late);
		}
	}
}

/** The child's end. */
class Slicer<C extends LaneCommand> {
	readonly #lanes: readonly Lane<C>[];
	readonly #target: LoadTarget;
	#count = 0;

	constructor(lanes: readonly Lane<C>[], target: LoadTarget) {
		this.#lanes = lanes;
		this.#target = target;
	}

	async run(ms: number): Promise<Slice> {
		this.#count++;
		const { shape, rangeBytes } = this.#target;
		const meter = new Meter();
		const loads = this.#lanes.map((lane, index) => {
			const share = (index / this.#lanes.length + this.#count * shareStep) % 1;
			const seed = Math.imul(seedStep, this.#count * this.#lanes.length + index + 1);
			return new LaneLoad(lane, shape, { offsetBytes: 0, lengthBytes: rangeBytes, share }, seed, meter);
		});
		const cpuBefore = process.cpuUsage();
		const startMs = performance.now();
		meter.start(startMs);
		for (const load of loads) load.start();
		await new Promise((resolve) => setTimeout(resolve, ms));
		await Promise.all(loads.map(async (load) => await load.stop()));
		const seconds = (performance.now() - startMs) / 1000;
		const cpu = process.cpuUsage(cpuBefore);
		const histogram = new LatencyHistogram();
		for (const load of loads) {
			if (load.failure !== undefined) throw new Error(load.failure);
			histogram.add(load.histogram);
		}
		return {
			ops: loads.reduce((sum, load) => sum + load.ops, 0),
			seconds,
			p50Us: histogram.quantileUs(0.5),
			p99Us: histogram.quantileUs(0.99),
			clientCPUSeconds: (cpu.user + cpu.system) / 1e6,
		};
	}
}

async function serveSlices(): Promise<void> {
	let slicer: { run(ms: number): Promise<Slice> } | undefined;
	const answer = async (question: LoadTarget | number): Promise<Answer> => {
		if (typeof question === 'number') return { slice: await slicer!.run(question) };
		slicer = await openLanes(question, (lanes) => new Slicer(lanes, question));
		return 'open';
	};
	process.on('message', (question: LoadTarget | number) => {
		answer(question).then(
			(given) => process.send!(given),
			(error: unknown) => process.send!({ failure: String(error) }),
		);
	});
	await new Promise((resolve) => process.once('disconnect', resolve));
	process.exit();
}

if (import.meta.main) await serveSlices();
