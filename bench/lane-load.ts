import { randomFillSync } from 'node:crypto';
import { LatencyHistogram } from './histogram.ts';
import type { Lane, LaneCommand, LaneOwner } from './lane.ts';
import type { LoadShape } from './load-shape.ts';
import type { Meter } from './meter.ts';

/** Commands that count for one group with a flush. */
class Group {
	outstanding = 0;
}

/** The part of a unit that a load goes over, and where a sequential one begins (`share` of it, 0 to 1). */
export interface LoadRange {
	offsetBytes: number;
	lengthBytes: number;
	share: number;
}

/** How often a load with a rate looks whether it may go on. */
const paceMs = 1;

/** Keeps one lane full, or at a rate. */
export class LaneLoad<C extends LaneCommand> implements LaneOwner<C> {
	readonly histogram = new LatencyHistogram();
	ops = 0;
	opsInAll = 0;
	flushes = 0;
	failure: string | undefined = undefined;
	readonly #lane: Lane<C>;
	readonly #shape: LoadShape;
	readonly #meter: Meter;
	readonly #firstSlot: number;
	readonly #slots: number;
	readonly #blocksPerOp: number;
	readonly #payload: Buffer;
	readonly #groups: Group[] = [];
	/** Commands that the rate holds back. */
	readonly #parked: C[] = [];
	#paceTimer: NodeJS.Timeout | undefined = undefined;
	#paceStartMs = 0;
	#stopping = false;
	#onIdle: (() => void) | undefined = undefined;
	#next: number;
	#random: number;

	constructor(lane: Lane<C>, shape: LoadShape, range: LoadRange, seed: number, meter: Meter) {
		this.#lane = lane;
		this.#shape = shape;
		this.#meter = meter;
		this.#firstSlot = Math.floor(range.offsetBytes / shape.sizeBytes);
		this.#slots = Math.floor(range.lengthBytes / shape.sizeBytes);
		this.#next = Math.floor(range.share * this.#slots);
		this.#blocksPerOp = shape.sizeBytes / lane.blockSize;
		this.#payload = Buffer.alloc(shape.sizeBytes);
		randomFillSync(this.#payload);
		this.#random = seed | 1;
		for (let group = 0; shape.flushEvery > 0 && group < shape.depth / shape.flushEvery; group++) this.#groups.push(new Group());
	}

	start(): void {
		this.#paceStartMs = performance.now();
		if (this.#shape.ratePerSecond !== undefined) this.#paceTimer = setInterval(() => this.#release(), paceMs);
		for (let index = 0; index < this.#shape.depth; index++) {
			const group = this.#shape.flushEvery > 0 ? Math.floor(index / this.#shape.flushEvery) : -1;
			this.#transfer(this.#take(group));
		}
	}

	/** The time that counts begins. */
	count(): void {
		this.histogram.clear();
		this.ops = 0;
		this.flushes = 0;
	}

	/** Submits nothing more; resolves when everything was answered. */
	async stop(): Promise<void> {
		this.#stopping = true;
		clearInterval(this.#paceTimer);
		if (this.#lane.outstanding === 0) return;
		await new Promise<void>((resolve) => {
			this.#onIdle = resolve;
		});
	}

	finished(command: C): void {
		const fault = this.#lane.fault(command);
		if (fault !== undefined) {
			this.failure ??= fault;
			this.#stopping = true;
		}
		const isFlush = command.b === 1;
		if (isFlush) {
			this.flushes++;
		} else {
			this.ops++;
			this.opsInAll++;
			this.#meter.completed(this.#lane.nowMs);
			this.histogram.record((this.#lane.nowMs - command.submittedMs) * 1000);
		}
		if (this.#stopping) {
			// This command is no longer counted by the lane.
			if (this.#lane.outstanding === 0) this.#onIdle?.();
			return;
		}
		if (this.#paceTimer !== undefined && this.#isAhead()) this.#parked.push(command);
		else this.#go(command, isFlush);
	}

	#go(command: C, wasFlush: boolean): void {
		if (command.a < 0) this.#transfer(command);
		else this.#nextOfGroup(command, wasFlush);
	}

	#isAhead(): boolean {
		const elapsedMs = performance.now() - this.#paceStartMs;
		const busy = this.#shape.depth - this.#parked.length;
		return this.opsInAll + busy > (elapsedMs * this.#shape.ratePerSecond!) / 1000;
	}

	#release(): void {
		while (this.#parked.length > 0 && !this.#isAhead()) {
			const command = this.#parked.pop()!;
			this.#go(command, command.b === 1);
			// The lane's cheap clock has not been set since the last receive turn.
			command.submittedMs = performance.now();
		}
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
		const lba = (this.#firstSlot + this.#slot()) * this.#blocksPerOp;
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
