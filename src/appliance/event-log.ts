import type { EventView } from '../admin/event-schemas.ts';
import type { Logger } from '../os/logger.ts';

/** Events that are remembered; older ones are in the log of the process only. */
export const eventsMax = 1000;
/** Those who may listen at once. */
export const listenersMax = 16;

export type NewEvent = Omit<EventView, 'sequence' | 'at'>;

/** What happened that an operator should be able to look up: the last events, in memory, and each in the log too. */
export class EventLog {
	readonly #log: Logger;
	readonly #now: () => number;
	readonly #events: EventView[] = [];
	readonly #listeners = new Set<(event: EventView) => void>();
	#sequence = 0;
	/** Since the start, by severity. */
	readonly counts = { info: 0, warning: 0, error: 0 };

	constructor(log: Logger, now: () => number = Date.now) {
		this.#log = log;
		this.#now = now;
	}

	add(event: NewEvent): void {
		const added: EventView = { sequence: ++this.#sequence, at: new Date(this.#now()).toISOString(), ...event };
		this.counts[event.severity]++;
		if (this.#events.push(added) > eventsMax) this.#events.shift();
		const { severity, message, ...fields } = event;
		this.#log[severity === 'warning' ? 'warn' : severity](fields, message);
		for (const listener of this.#listeners) listener(added);
	}

	/** Events with a higher sequence number than `after`, the oldest first, `limit` at most. */
	after(sequence: number, limit: number): EventView[] {
		const first = this.#events.findIndex((event) => event.sequence > sequence);
		return first < 0 ? [] : this.#events.slice(first, first + limit);
	}

	/** Tells of each event from now on; undefined when so many listen already. Returns the function that ends it. */
	listen(listener: (event: EventView) => void): (() => void) | undefined {
		if (this.#listeners.size >= listenersMax) return undefined;
		this.#listeners.add(listener);
		return () => void this.#listeners.delete(listener);
	}
}
