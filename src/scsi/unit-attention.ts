import { additionalSense } from './sense.ts';
import { limits } from './limits.ts';
import type { Nexus } from './nexus.ts';

/** SPC-4, ASC of every POWER ON, RESET and I_T NEXUS LOSS condition. */
const resetCode = 0x29;

/**
 * Unit attention conditions of one logical unit, per nexus, in the order in which they arose (SAM-5, unit attention conditions). A condition that is
 * waiting already is not queued twice. At the limit all give way to 29h/00h, after which an initiator looks at everything again.
 *
 * Invariant: #pending is the sum of the queues' lengths, so that a unit with nothing to say costs a command one comparison.
 */
export class UnitAttentions {
	readonly #queues = new Map<Nexus, number[]>();
	#pending = 0;

	/** Those that are attached. */
	get nexuses(): Iterable<Nexus> {
		return this.#queues.keys();
	}

	/** Whether any nexus has a condition waiting. */
	get any(): boolean {
		return this.#pending > 0;
	}

	/** Whether a nexus is attached. */
	has(nexus: Nexus): boolean {
		return this.#queues.has(nexus);
	}

	/** False when no more nexuses are taken. */
	attach(nexus: Nexus): boolean {
		if (this.#queues.has(nexus)) return true;
		if (this.#queues.size === limits.nexuses) return false;
		this.#queues.set(nexus, []);
		return true;
	}

	detach(nexus: Nexus): void {
		this.#pending -= this.#queues.get(nexus)?.length ?? 0;
		this.#queues.delete(nexus);
	}

	/** Queues a condition for a nexus; one that is not attached has none. */
	raise(code: number, nexus: Nexus): void {
		const queue = this.#queues.get(nexus);
		if (queue === undefined || queue.includes(code)) return;
		if (queue.length === limits.unitAttentionsPerNexus) {
			this.#pending -= queue.length - 1;
			queue.length = 0;
			queue.push(additionalSense.powerOnResetOrBusDeviceResetOccurred);
			return;
		}
		queue.push(code);
		this.#pending++;
	}

	raiseForAll(code: number, except?: Nexus): void {
		for (const nexus of this.#queues.keys()) if (nexus !== except) this.raise(code, nexus);
	}

	/** The oldest condition of a nexus, which it has had herewith. */
	take(nexus: Nexus): number | undefined {
		const code = this.#queues.get(nexus)?.shift();
		if (code !== undefined) this.#pending--;
		return code;
	}

	/** The oldest condition of a nexus that tells of a reset: those go before RESERVATION CONFLICT, the others after it (SAM-5, status precedence). */
	takeReset(nexus: Nexus): number | undefined {
		const code = this.#queues.get(nexus)?.find((one) => one >> 8 === resetCode);
		if (code !== undefined) this.withdraw(code, nexus);
		return code;
	}

	/** Withdraws a condition that a nexus need no longer be told. */
	withdraw(code: number, nexus: Nexus): void {
		const queue = this.#queues.get(nexus);
		const index = queue?.indexOf(code) ?? -1;
		if (queue === undefined || index < 0) return;
		queue.splice(index, 1);
		this.#pending--;
	}
}
