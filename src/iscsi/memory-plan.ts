import { writeBytesMax } from '../blockvol/block-device.ts';
import { MemoryBudget, type BudgetWaiter } from '../os/memory-budget.ts';
import { limits } from './limits.ts';
import type { IscsiTask } from './task.ts';

const budgetBytesMin = 4 * 1024 * 1024;

/**
 * How the iSCSI transport shares the process's memory budget.
 *
 * Data that R2Ts solicit may take limits.solicitedShare of it, unsolicited data that does not come with its command limits.unsolicitedShare; short writes whose data
 * comes with the command, and reads that miss the page cache, may take all: they go on whatever the others keep back. So a connection
 * that is not read because its unsolicited data has no memory never waits for memory that only further reading could free:
 * whoever holds memory waits for the device alone, or for data on a connection that is being read (see CommandIntake.admit).
 */
export class MemoryPlan {
	readonly budget: MemoryBudget;
	readonly share: MemoryBudget;
	/** Of the budget, what unsolicited data may hold that is not here with its command. */
	readonly unsolicited: MemoryBudget;
	/** One piece of a long write; a write up to this length reaches the device whole. */
	readonly chunkBytes: number;
	readonly sessionBytes: number;

	/** Somebody waits for memory. */
	get isContended(): boolean {
		return this.budget.waiting > 0 || this.share.waiting > 0 || this.unsolicited.waiting > 0;
	}

	/** A budget below 4 MiB is a fault of the caller. */
	constructor(budget: MemoryBudget) {
		if (budget.limitBytes < budgetBytesMin)
			throw new RangeError(`a memory budget of ${budget.limitBytes} bytes is below ${budgetBytesMin}`);
		this.budget = budget;
		this.share = new MemoryBudget(Math.floor(budget.limitBytes * limits.solicitedShare));
		this.unsolicited = new MemoryBudget(Math.floor(budget.limitBytes * limits.unsolicitedShare));
		this.chunkBytes = writeBytesMax;
		this.sessionBytes = Math.max(this.chunkBytes, Math.min(limits.solicitedBytesPerSession, this.share.limitBytes / 2));
	}
}

/**
 * The line of one session's tasks for memory to solicit data with. One request of the session at a time stands in the line of all sessions, so sessions
 * take turns and none overtakes.
 *
 *   idle ── request ─→ share ── granted ─→ budget ── granted ─→ the first task has it ─→ idle
 */
export class SessionGrants implements BudgetWaiter {
	readonly #plan: MemoryPlan;
	readonly #line: IscsiTask[] = [];
	#waitingFor: 'nothing' | 'share' | 'budget' = 'nothing';
	#heldBytes = 0;

	constructor(plan: MemoryPlan) {
		this.#plan = plan;
	}

	/** task.granted() follows, perhaps before this returns. */
	request(task: IscsiTask): void {
		this.#line.push(task);
		this.#serve();
	}

	forget(task: IscsiTask): void {
		const index = this.#line.indexOf(task);
		if (index < 0) return;
		this.#line.splice(index, 1);
		if (index > 0) return;
		if (this.#waitingFor === 'share') this.#plan.share.forget(this);
		if (this.#waitingFor === 'budget') {
			this.#plan.budget.forget(this);
			this.#plan.share.give(task.wantedGrantBytes);
		}
		this.#waitingFor = 'nothing';
		this.#serve();
	}

	give(bytes: number): void {
		this.#heldBytes -= bytes;
		this.#plan.budget.give(bytes);
		this.#plan.share.give(bytes);
		this.#serve();
	}

	granted(): void {
		const bytes = this.#line[0]!.wantedGrantBytes;
		if (this.#waitingFor === 'share' && !this.#takeFromBudget(bytes)) return;
		this.#pass(bytes);
		this.#serve();
	}

	#serve(): void {
		while (this.#waitingFor === 'nothing' && this.#line.length > 0) {
			const bytes = this.#line[0]!.wantedGrantBytes;
			if (this.#heldBytes > 0 && this.#heldBytes + bytes > this.#plan.sessionBytes) return;
			this.#waitingFor = 'share';
			if (!this.#plan.share.take(bytes, this) || !this.#takeFromBudget(bytes)) return;
			this.#pass(bytes);
		}
	}

	#takeFromBudget(bytes: number): boolean {
		this.#waitingFor = 'budget';
		return this.#plan.budget.take(bytes, this);
	}

	#pass(bytes: number): void {
		this.#waitingFor = 'nothing';
		this.#heldBytes += bytes;
		this.#line.shift()!.memoryGranted(bytes);
	}
}
