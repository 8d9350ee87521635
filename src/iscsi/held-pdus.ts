import { limits } from './limits.ts';
import { BHS, bhsBytes } from './pdu.ts';

export interface HeldPDU {
	readonly header: Buffer;
	readonly data: Buffer;
}

/**
 * PDUs that came before one with a smaller CmdSN (RFC 7143 §4.2.2.1 has commands delivered in order). On one connection that happens only after a PDU was
 * lost to a digest error, or with an initiator that numbers out of order, so they are few. Bounded by limits.heldPDUs, and what is noted of
 * those that were aborted before they came by the CmdSN window.
 */
export class HeldPDUs {
	readonly #held = new Map<number, HeldPDU | 'skipped'>();

	get size(): number {
		return this.#held.size;
	}

	/** Copies a PDU. False at the limit. One whose CmdSN is held already is ignored as a duplicate. */
	keep(bhs: Buffer, at: number, data: Buffer): boolean {
		const cmdSN = BHS.cmdSN.get(bhs, at);
		if (this.#held.has(cmdSN)) return true;
		if (this.#held.size >= limits.heldPDUs) return false;
		const header = Buffer.from(bhs.subarray(at, at + bhsBytes + 4 * BHS.totalAHSLength.get(bhs, at)));
		this.#held.set(cmdSN, { header, data: Buffer.from(data) });
		return true;
	}

	/** The PDU with this CmdSN was aborted, whether it has come or not. */
	skip(cmdSN: number): void {
		this.#held.set(cmdSN, 'skipped');
	}

	/** Whether a command with this tag is held. */
	has(initiatorTaskTag: number): boolean {
		if (this.#held.size === 0) return false;
		for (const held of this.#held.values())
			if (held !== 'skipped' && BHS.initiatorTaskTag.get(held.header, 0) === initiatorTaskTag) return true;
		return false;
	}

	take(cmdSN: number): HeldPDU | 'skipped' | undefined {
		const held = this.#held.get(cmdSN);
		if (held !== undefined) this.#held.delete(cmdSN);
		return held;
	}

	clear(): void {
		this.#held.clear();
	}
}
