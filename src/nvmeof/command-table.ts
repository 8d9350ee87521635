import type { Command } from './command.ts';
import { limits } from './limits.ts';

/** Twice what limits.ts admits, a power of two: probing stays short. */
const capacity = 2 ** Math.ceil(Math.log2(2 * limits.queueDepth));
const mask = capacity - 1;
const shift = 32 - Math.log2(capacity);

/**
 * The commands of a queue by command identifier: open addressing with linear probing, no tombstones.
 *
 * Invariant: from a command's home slot to its slot there is no empty slot.
 */
export class CommandTable {
	readonly #slots: (Command | undefined)[] = Array.from({ length: capacity }, () => undefined);
	#size = 0;

	get size(): number {
		return this.#size;
	}

	get(commandIdentifier: number): Command | undefined {
		for (let slot = home(commandIdentifier); ; slot = (slot + 1) & mask) {
			const command = this.#slots[slot];
			if (command === undefined || command.commandIdentifier === commandIdentifier) return command;
		}
	}

	/** False, and nothing is done, when the identifier is there. The number of commands is bounded by limits.ts. */
	add(command: Command): boolean {
		if (this.#size > limits.queueDepth) throw new RangeError(`${this.#size} commands in one queue`);
		let slot = home(command.commandIdentifier);
		for (let other = this.#slots[slot]; other !== undefined; other = this.#slots[slot]) {
			if (other.commandIdentifier === command.commandIdentifier) return false;
			slot = (slot + 1) & mask;
		}
		this.#slots[slot] = command;
		this.#size++;
		return true;
	}

	delete(command: Command): void {
		let slot = home(command.commandIdentifier);
		while (this.#slots[slot] !== command) {
			if (this.#slots[slot] === undefined) throw new RangeError(`command ${command.commandIdentifier} is not in the table`);
			slot = (slot + 1) & mask;
		}
		this.#size--;
		// What had to go past this slot moves up, so that no search ends too early.
		let hole = slot;
		for (let next = (hole + 1) & mask; ; next = (next + 1) & mask) {
			const moved = this.#slots[next];
			if (moved === undefined) break;
			if (((next - home(moved.commandIdentifier)) & mask) >= ((next - hole) & mask)) {
				this.#slots[hole] = moved;
				hole = next;
			}
		}
		this.#slots[hole] = undefined;
	}

	/** A copy: the caller may end commands while walking through it. */
	all(): Command[] {
		return this.#size === 0 ? [] : this.#slots.filter((command) => command !== undefined);
	}
}

/** Fibonacci hashing: hosts count identifiers up, or keep a generation in high bits. */
function home(commandIdentifier: number): number {
	return Math.imul(commandIdentifier, 0x9e3779b1) >>> shift;
}
