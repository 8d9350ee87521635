import { limits } from './limits.ts';
import { serialDistance } from './pdu.ts';

/**
 * A session's CmdSN window (RFC 7143 §4.2.2.1): MaxCmdSN follows the free task slots and never goes back.
 *
 * Invariant: commands that occupy a slot ≤ limits.tasksPerSession, because no more are inside the window.
 */
export class CommandWindow {
	expCmdSN: number;
	maxCmdSN: number;
	#occupied = 0;

	constructor(firstCmdSN: number) {
		this.expCmdSN = firstCmdSN >>> 0;
		this.maxCmdSN = (firstCmdSN + limits.tasksPerSession - 1) >>> 0;
	}

	/** Where a PDU that is not immediate stands: next in turn, inside the window ahead of it, or to be ignored. */
	place(cmdSN: number): 'next' | 'ahead' | 'outside' {
		const distance = serialDistance(cmdSN, this.expCmdSN);
		if (distance === 0) return serialDistance(this.maxCmdSN, cmdSN) >= 0 ? 'next' : 'outside';
		return distance > 0 && serialDistance(this.maxCmdSN, cmdSN) >= 0 ? 'ahead' : 'outside';
	}

	/** The command that was next has been taken. */
	advance(): void {
		this.expCmdSN = (this.expCmdSN + 1) >>> 0;
		this.#open();
	}

	/** A command took a slot, or gave it back. */
	occupy(): void {
		this.#occupied++;
	}

	vacate(): void {
		this.#occupied--;
		this.#open();
	}

	#open(): void {
		const candidate = (this.expCmdSN + limits.tasksPerSession - this.#occupied - 1) >>> 0;
		if (serialDistance(candidate, this.maxCmdSN) > 0) this.maxCmdSN = candidate;
	}
}
