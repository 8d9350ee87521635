import { bufferPool, headRoomBytes, pooledPayloadBytesMax } from '../wire/buffer-pool.ts';
import { GrantLine } from '../os/grant-line.ts';
import { MemoryBudget } from '../os/memory-budget.ts';
import type { Command } from './command.ts';
import { transportLimits } from './transport-limits.ts';

const budgetBytesMin = 4 * 1024 * 1024;

/**
 * How NVMe/TCP shares the process's memory budget.
 *
 * Data that R2Ts solicit may take transportLimits.solicitedShare of it, reads that wait for the medium transportLimits.readShare; data in capsules may take all. So a connection that is
 * not read because its capsule's data has no memory never waits for memory that only further reading could free: the rest of the budget is held by what the device has, or by at most
 * one capsule of a connection that is being read.
 */
export class TransportMemory {
	readonly budget: MemoryBudget;
	readonly solicited: MemoryBudget;
	readonly reads: MemoryBudget;

	/** The plan of a budget: one for all listeners. A budget below 4 MiB is a fault of the caller. */
	static of(budget: MemoryBudget): TransportMemory {
		let memory = plans.get(budget);
		if (memory === undefined) plans.set(budget, (memory = new TransportMemory(budget)));
		return memory;
	}

	private constructor(budget: MemoryBudget) {
		if (budget.limitBytes < budgetBytesMin)
			throw new RangeError(`a memory budget of ${budget.limitBytes} bytes is below ${budgetBytesMin}`);
		this.budget = budget;
		this.solicited = new MemoryBudget(Math.floor(budget.limitBytes * transportLimits.solicitedShare));
		this.reads = new MemoryBudget(Math.floor(budget.limitBytes * transportLimits.readShare));
	}

	/** Somebody waits for memory. */
	get isContended(): boolean {
		return this.budget.waiting > 0 || this.solicited.waiting > 0 || this.reads.waiting > 0;
	}

	/** The line of a connection's commands for memory to solicit data with. */
	solicitedLine(): GrantLine<Command> {
		return new GrantLine(this.budget, this.solicited, Math.min(transportLimits.solicitedBytesPerConnection, this.solicited.limitBytes / 4));
	}

	/** The line of a connection's reads that have to wait for the medium. */
	readLine(): GrantLine<Command> {
		return new GrantLine(this.budget, this.reads, Math.min(transportLimits.readBytesPerConnection, this.reads.limitBytes / 4));
	}
}

const plans = new WeakMap<MemoryBudget, TransportMemory>();

/** A buffer with room for `bytes` from headRoomBytes on; of the pool, unless it is longer than any there. */
export function acquireBuffer(bytes: number): Buffer {
	return bytes <= pooledPayloadBytesMax ? bufferPool.acquire(bytes) : Buffer.allocUnsafeSlow(headRoomBytes + bytes);
}

/** Gives back what acquireBuffer(bytes) gave. */
export function releaseBuffer(buffer: Buffer, bytes: number): void {
	if (bytes <= pooledPayloadBytesMax) bufferPool.release(buffer);
}
