import type { Random } from './random.ts';

/** A call that was made and has not taken effect. */
export interface Queued {
	run(): void;
}

/**
 * Lets queued calls take effect one by one, in an order drawn from the seed. Between two of them pass some microtasks, sometimes a whole turn of the event
 * loop, so that the caller's continuations run before, between and after.
 */
export class Pump<T extends Queued> {
	readonly #random: Random;
	readonly #queue: T[] = [];
	#awake = false;
	#hopsLeft = 0;
	#stopped = false;

	constructor(random: Random) {
		this.#random = random;
	}

	get queued(): readonly T[] {
		return this.#queue;
	}

	add(call: T): void {
		this.#queue.push(call);
		if (!this.#awake) this.#wait();
	}

	stop(): void {
		this.#stopped = true;
	}

	#wait(): void {
		this.#awake = true;
		if (this.#random.chance(0.1)) {
			this.#hopsLeft = 0;
			setImmediate(this.#hop);
		} else {
			this.#hopsLeft = this.#random.below(16);
			queueMicrotask(this.#hop);
		}
	}

	readonly #hop = (): void => {
		if (this.#stopped) return;
		if (this.#hopsLeft-- > 0) {
			queueMicrotask(this.#hop);
			return;
		}
		const index = this.#random.below(this.#queue.length);
		const call = this.#queue[index];
		if (call === undefined) throw new RangeError('the pump ran without a call');
		// The call counts as queued until it has run: a crash at this operation finds it under way.
		call.run();
		if (this.#stopped) return;
		this.#queue.splice(index, 1);
		if (this.#queue.length > 0) this.#wait();
		else this.#awake = false;
	};
}
