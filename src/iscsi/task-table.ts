import type { IscsiTask } from './task.ts';

/** Twice what limits.ts admits, rounded up to a power of two: probing stays short. */
const capacity = 512;
const mask = capacity - 1;

/**
 * The tasks of a session by Initiator Task Tag: open addressing with linear probing, no tombstones.
 *
 * Invariant: from a task's home slot to its slot there is no empty slot.
 */
export class TaskTable {
	readonly #slots: (IscsiTask | undefined)[] = Array.from({ length: capacity }, () => undefined);
	#size = 0;

	get size(): number {
		return this.#size;
	}

	get(initiatorTaskTag: number): IscsiTask | undefined {
		for (let slot = home(initiatorTaskTag); ; slot = (slot + 1) & mask) {
			const task = this.#slots[slot];
			if (task === undefined || task.initiatorTaskTag === initiatorTaskTag) return task;
		}
	}

	/** The tag must not be there, and the number of tasks is bounded by limits.ts. */
	add(task: IscsiTask): void {
		if (this.#size >= capacity / 2) throw new RangeError(`${this.#size} tasks in one session`);
		let slot = home(task.initiatorTaskTag);
		while (this.#slots[slot] !== undefined) slot = (slot + 1) & mask;
		this.#slots[slot] = task;
		this.#size++;
	}

	delete(task: IscsiTask): void {
		let slot = home(task.initiatorTaskTag);
		while (this.#slots[slot] !== task) {
			if (this.#slots[slot] === undefined) throw new RangeError(`task ${task.initiatorTaskTag} is not in the table`);
			slot = (slot + 1) & mask;
		}
		this.#size--;
		// Move up what had to go past this slot (Knuth, algorithm R).
		let hole = slot;
		for (let next = (hole + 1) & mask; ; next = (next + 1) & mask) {
			const moved = this.#slots[next];
			if (moved === undefined) break;
			if (((next - home(moved.initiatorTaskTag)) & mask) >= ((next - hole) & mask)) {
				this.#slots[hole] = moved;
				hole = next;
			}
		}
		this.#slots[hole] = undefined;
	}

	/** A copy: the caller may end tasks while walking through it. */
	all(): IscsiTask[] {
		return this.#size === 0 ? [] : this.#slots.filter((task) => task !== undefined);
	}
}

/** Fibonacci hashing: initiators count tags up, or use few high bits. */
function home(tag: number): number {
	return Math.imul(tag, 0x9e3779b1) >>> 23;
}
