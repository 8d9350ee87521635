import type { Chunk } from './chunk.ts';
import { transportLimits } from './transport-limits.ts';

const slotBits = Math.log2(transportLimits.r2tsPerConnection);
const slotMask = transportLimits.r2tsPerConnection - 1;
const turns = 0x10000 >>> slotBits;

/**
 * The R2Ts of a connection that are not fulfilled, by Transfer Tag. A tag is a slot and a turn that counts up, so that a tag which is over is not soon another's.
 *
 * Invariant: the chunk in a slot has a tag with that slot in it.
 */
export class OpenR2Ts {
	readonly #slots: (Chunk | undefined)[] = [];
	readonly #free: number[] = [];
	#turn = 0;

	get size(): number {
		return this.#slots.length - this.#free.length;
	}

	get isFull(): boolean {
		return this.size === transportLimits.r2tsPerConnection;
	}

	/** Gives the chunk its Transfer Tag. Not when it is full. */
	add(chunk: Chunk): void {
		const slot = this.#free.pop() ?? this.#slots.length;
		if (slot > slotMask) throw new RangeError(`${slot} R2Ts of one connection`);
		this.#turn = (this.#turn + 1) % turns;
		chunk.ttag = (this.#turn << slotBits) | slot;
		this.#slots[slot] = chunk;
	}

	get(ttag: number): Chunk | undefined {
		const chunk = this.#slots[ttag & slotMask];
		return chunk?.ttag === ttag ? chunk : undefined;
	}

	delete(chunk: Chunk): void {
		const slot = chunk.ttag & slotMask;
		if (this.#slots[slot] !== chunk) throw new RangeError(`R2T ${chunk.ttag} is not open`);
		this.#slots[slot] = undefined;
		this.#free.push(slot);
	}

	/** For what is rare: abort, failure, the clock. */
	forEach(act: (chunk: Chunk) => void): void {
		if (this.size === 0) return;
		for (const chunk of this.#slots) if (chunk !== undefined) act(chunk);
	}
}
