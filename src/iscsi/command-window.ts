import { limits } from './limits.ts';
import { serialDistance } from './pdu.ts';

/**
 * A session's CmdSN window (RFC 7143 §4.2.2.1): MaxCmdSN follows the free task slots and never goes back. What comes in one turn is held to the MaxCmdSN that the initiator can know: commands that are
 * over at once would move it on for as many more.
 *
 * Invariant: commands that occupy a slot ≤ limits.tasksPerSession, because no more are inside the window.
 */
export class CommandWindow {
	expCmdSN: number;
	maxCmdSN: number;
	#occupied = 0;
	#toldMaxCmdSN: number;

	constructor(firstCmdSN: number) {
		this.expCmdSN = firstCmdSN >>> 0;
		this.maxCmdSN = (firstCmdSN + limits.tasksPerSession - 1) >>> 0;
		this.#toldMaxCmdSN = this.maxCmdSN;
	}

	/** What comes from now on may have been sent by what we have said so far. */
	beginTurn(): void {
		this.#toldMaxCmdSN = this.maxCmdSN;
	}

	/** Where a PDU that is not immediate stands: next in turn, inside the window ahead of it, or to be ignored. */
	place(cmdSN: number): 'next' | 'ahead' | 'outside' {
		const distance = serialDistance(cmdSN, this.expCmdSN);
		if (distance === 0) return serialDistance(this.#toldMaxCmdSN, cmdSN) >= 0 ? 'next' : 'outside';
		return distance > 0 && serialDistance(this.#toldMaxCmdSN, cmdSN) >= 0 ? 'ahead' : 'outside';
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
