import { writeBytesMax } from '../blockvol/block-device.ts';
import { FairShare } from '../os/fair-share.ts';
import { GrantLine } from '../os/grant-line.ts';
import type { MemoryBudget } from '../os/memory-budget.ts';
import { limits } from './limits.ts';
import type { IscsiTask } from './task.ts';

const budgetBytesMin = 4 * 1024 * 1024;

/**
 * How the iSCSI transport shares the process's memory budget.
 *
 * Data that R2Ts solicit may take limits.solicitedShare of it, unsolicited data that does not come with its command limits.unsolicitedShare, and reads that miss the page cache limits.readShare.
 * Each share is divided by initiators, and limits.reservedOfShare of it is for those that hold nothing of it. Short writes whose data
 * comes with the command may take all: they go on whatever the others keep back. So a connection
 * that is not read because its unsolicited data has no memory never waits for memory that only further reading could free:
 * whoever holds memory waits for the device alone, or for data on a connection that is being read (see CommandIntake.admit).
 */
export class MemoryPlan {
	readonly budget: MemoryBudget;
	readonly share: FairShare;
	/** Of the budget, what unsolicited data may hold that is not here with its command. */
	readonly unsolicited: FairShare;
	readonly reads: FairShare;
	/** One piece of a long write; a write up to this length reaches the device whole. */
	readonly chunkBytes: number;
	readonly sessionBytes: number;

	/** A budget below 4 MiB is a fault of the caller. */
	constructor(budget: MemoryBudget) {
		if (budget.limitBytes < budgetBytesMin)
			throw new RangeError(`a memory budget of ${budget.limitBytes} bytes is below ${budgetBytesMin}`);
		this.budget = budget;
		this.share = shareOf(budget, limits.solicitedShare);
		this.unsolicited = shareOf(budget, limits.unsolicitedShare);
		this.reads = shareOf(budget, limits.readShare);
		this.chunkBytes = writeBytesMax;
		this.sessionBytes = Math.max(this.chunkBytes, Math.min(limits.solicitedBytesPerSession, this.share.limitBytes / 2));
	}

	/** The line of a new session's tasks for memory to solicit data with. */
	grantLine(initiatorName: string): GrantLine<IscsiTask> {
		return new GrantLine(this.budget, this.share, this.sessionBytes, initiatorName);
	}

	/** The line of a new session's reads that have to wait for the medium. */
	readLine(initiatorName: string): GrantLine<IscsiTask> {
		return new GrantLine(this.budget, this.reads, limits.readBytesAside, initiatorName);
	}
}

function shareOf(budget: MemoryBudget, part: number): FairShare {
	const bytes = Math.floor(budget.limitBytes * part);
	return new FairShare(bytes, Math.floor(bytes * limits.reservedOfShare));
}
