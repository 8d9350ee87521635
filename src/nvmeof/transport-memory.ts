import { bufferPool, headRoomBytes, pooledPayloadBytesMax } from '../wire/buffer-pool.ts';
import { GrantLine, type GrantTaker } from '../os/grant-line.ts';
import { FairShare } from '../os/fair-share.ts';
import type { MemoryBudget } from '../os/memory-budget.ts';
import type { Command } from './command.ts';
import type { CommandIntake } from './command-intake.ts';
import { transportLimits } from './transport-limits.ts';

const budgetBytesMin = 4 * 1024 * 1024;

/**
 * How NVMe/TCP shares the process's memory budget.
 *
 * Data that R2Ts solicit may take transportLimits.solicitedShare of it, reads that wait for the medium transportLimits.readShare, large capsules transportLimits.capsuleShare; data in small
 * capsules may take all. So a connection that is not read because its capsule's data has no memory never waits for memory that only further reading could free: what capsules hold is
 * what the device has, or at most one capsule of a connection that is being read. The shares are divided by hosts, and transportLimits.reservedOfShare of each is for hosts that hold
 * nothing of it.
 */
export class TransportMemory {
	readonly budget: MemoryBudget;
	readonly solicited: FairShare;
	readonly reads: FairShare;
	readonly capsules: FairShare;

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
		this.solicited = shareOf(budget, transportLimits.solicitedShare);
		this.reads = shareOf(budget, transportLimits.readShare);
		this.capsules = shareOf(budget, transportLimits.capsuleShare);
	}

	/** The line of a connection's commands for memory to solicit data with. */
	solicitedLine(): GrantLine<Command> {
		return this.#line(this.solicited, transportLimits.solicitedBytesPerConnection);
	}

	/** The line of a connection's reads that have to wait for the medium. */
	readLine(): GrantLine<Command> {
		return this.#line(this.reads, transportLimits.readBytesPerConnection);
	}

	/** The line of a connection's large capsules, in which at most one stands. */
	capsuleLine(): GrantLine<CommandIntake> {
		return this.#line(this.capsules, transportLimits.capsuleBytesPerConnection);
	}

	#line<Taker extends GrantTaker>(share: FairShare, bytesPerConnection: number): GrantLine<Taker> {
		return new GrantLine(this.budget, share, Math.min(bytesPerConnection, share.limitBytes / 4), undefined);
	}
}

function shareOf(budget: MemoryBudget, part: number): FairShare {
	const bytes = Math.floor(budget.limitBytes * part);
	return new FairShare(bytes, Math.floor(bytes * transportLimits.reservedOfShare));
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
