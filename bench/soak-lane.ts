import type { LatencyHistogram } from './histogram.ts';
import type { Lane, LaneCommand, LaneOwner } from './lane.ts';
import { pageBytes, type SoakVolume } from './soak-volume.ts';

export type SoakOp = 'read' | 'write' | 'zero' | 'flush';

interface Choice {
	op: SoakOp;
	bytes: number;
	/** Share of the commands. */
	weight: number;
}

const kib = 1024;

/** Mostly small commands, as databases and file systems have them, and enough of everything else to reach every path of the engine. */
const mix: readonly Choice[] = [
	{ op: 'read', bytes: 4 * kib, weight: 44 },
	{ op: 'write', bytes: 4 * kib, weight: 36 },
	{ op: 'read', bytes: 16 * kib, weight: 6 },
	{ op: 'write', bytes: 16 * kib, weight: 6 },
	{ op: 'read', bytes: 128 * kib, weight: 2 },
	{ op: 'write', bytes: 128 * kib, weight: 1.5 },
	{ op: 'write', bytes: 512 * kib, weight: 0.5 },
	{ op: 'zero', bytes: 64 * kib, weight: 1 },
	{ op: 'flush', bytes: 0, weight: 3 },
];
const weights = mix.reduce((sum, { weight }) => sum + weight, 0);
export const bytesMax = Math.max(...mix.map(({ bytes }) => bytes));

/** A command's place with its buffer; command.a is its index. */
interface Slot {
	choice: Choice;
	first: number;
	writeNumber: number;
	readonly buffer: Buffer;
}

/** What all lanes of a soak report to. */
export interface SoakOwner {
	readonly histograms: Readonly<Record<SoakOp, LatencyHistogram>>;
	/** Says whether a further command may go out now; if not, the lane asks again when it is resumed. */
	mayGo(): boolean;
	done(op: SoakOp, bytes: number): void;
	failed(reason: string): void;
}

/** Mixed, verified load on one lane. */
export class SoakLane<C extends LaneCommand> implements LaneOwner<C> {
	readonly #lane: Lane<C>;
	readonly #volume: SoakVolume;
	readonly #owner: SoakOwner;
	readonly #random: () => number;
	readonly #slots: Slot[];
	readonly #parked: C[] = [];
	#stopping = false;
	#onIdle: (() => void) | undefined = undefined;

	constructor(lane: Lane<C>, volume: SoakVolume, depth: number, owner: SoakOwner, random: () => number) {
		this.#lane = lane;
		this.#volume = volume;
		this.#owner = owner;
		this.#random = random;
		this.#slots = Array.from({ length: depth }, () => ({
			choice: mix[0]!,
			first: -1,
			writeNumber: 0,
			buffer: Buffer.allocUnsafeSlow(bytesMax),
		}));
	}

	start(): void {
		for (const index of this.#slots.keys()) {
			const command = this.#lane.take(this);
			if (command === undefined) throw new Error('the lane has too few commands');
			command.a = index;
			this.#parked.push(command);
		}
		this.resume();
	}

	/** Goes on with what was held back. */
	resume(): void {
		while (this.#parked.length > 0 && !this.#stopping && this.#owner.mayGo()) {
			const command = this.#parked.pop()!;
			this.#submit(command);
			// The lane's cheap clock has not been set since the last receive turn.
			command.submittedMs = performance.now();
		}
	}

	/** Resolves when everything was answered and the lane is closed. */
	async close(): Promise<void> {
		this.#stopping = true;
		if (this.#lane.outstanding > 0) {
			await new Promise<void>((resolve) => {
				this.#onIdle = resolve;
			});
		}
		await this.#lane.close();
	}

	finished(command: C): void {
		const slot = this.#slots[command.a]!;
		const { op, bytes } = slot.choice;
		const fault = this.#lane.fault(command) ?? this.#take(slot);
		if (fault === undefined) {
			this.#owner.histograms[op].record((this.#lane.nowMs - command.submittedMs) * 1000);
			this.#owner.done(op, bytes);
		} else this.#owner.failed(`${op} of ${bytes} bytes: ${fault}`);
		if (bytes > 0) this.#volume.release(slot.first, bytes / pageBytes);
		if (this.#stopping) {
			if (this.#lane.outstanding === 0) this.#onIdle?.();
		} else if (this.#owner.mayGo()) this.#submit(command);
		else this.#parked.push(command);
	}

	/** A command is over without a fault of the transport: what it did counts, what it read is looked at. */
	#take({ choice: { op, bytes }, first, writeNumber, buffer }: Slot): string | undefined {
		if (op === 'read') return this.#volume.fault(buffer.subarray(0, bytes), first);
		if (op !== 'flush') this.#volume.written(first, bytes / pageBytes, writeNumber);
		return undefined;
	}

	#submit(command: C): void {
		const slot = this.#slots[command.a]!;
		slot.choice = this.#choose();
		const count = slot.choice.bytes / pageBytes;
		slot.first = count === 0 ? 0 : this.#volume.claim(count, this.#random);
		// Everything is claimed near here: a flush needs no pages.
		if (slot.first < 0) slot.choice = mix.at(-1)!;
		const { op, bytes } = slot.choice;
		const data = slot.buffer.subarray(0, bytes);
		slot.writeNumber = op === 'write' ? this.#volume.newWrite(data, slot.first) : 0;
		command.dataOut = op === 'write' ? data : undefined;
		command.dataOutStart = 0;
		command.dataIn = op === 'read' ? data : undefined;
		const lba = (slot.first * pageBytes) / this.#lane.blockSize;
		const blocks = bytes / this.#lane.blockSize;
		if (op === 'read') this.#lane.read(command, lba, blocks);
		else if (op === 'write') this.#lane.write(command, lba, blocks);
		else if (op === 'zero') this.#lane.zero(command, lba, blocks);
		else this.#lane.flush(command);
	}

	#choose(): Choice {
		let at = this.#random() * weights;
		for (const choice of mix) {
			at -= choice.weight;
			if (at < 0) return choice;
		}
		return mix[0]!;
	}
}
