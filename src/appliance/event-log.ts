import type { EventView } from '../admin/event-schemas.ts';
import type { Logger } from '../os/logger.ts';

/** Events that are remembered, in memory and over a restart; older ones are in the log of the process only. */
export const eventsMax = 1000;
/** UTF-16 units of a message; the rest is in the log of the process only. */
export const messageLengthMax = 1000;
/** Those who may listen at once. */
export const listenersMax = 16;

export const severities: readonly EventView['severity'][] = ['info', 'warning', 'error'];

export type NewEvent = Omit<EventView, 'sequence' | 'at'>;

/** Where events outlive the process. */
export interface EventKeeper {
	/** Of before this process, the oldest first. */
	readonly remembered: readonly EventView[];
	add(event: EventView): void;
}

/** What happened that an operator should be able to look up: the last events, also those of before a restart, and each in the log too. */
export class EventLog {
	readonly #log: Logger;
	readonly #now: () => number;
	readonly #keeper: EventKeeper | undefined;
	readonly #events: EventView[];
	readonly #listeners = new Set<(event: EventView) => void>();
	#sequence: number;
	/** Since the start, by severity. */
	readonly counts = { info: 0, warning: 0, error: 0 };

	constructor(log: Logger, now: () => number = Date.now, keeper?: EventKeeper) {
		this.#log = log;
		this.#now = now;
		this.#keeper = keeper;
		this.#events = [...(keeper?.remembered ?? [])];
		this.#sequence = this.#events.at(-1)?.sequence ?? 0;
	}

	add(event: NewEvent): void {
		const { message: whole } = event;
		const kept = whole.length > messageLengthMax ? `${whole.slice(0, messageLengthMax - 1)}…` : whole;
		const added: EventView = { sequence: ++this.#sequence, at: new Date(this.#now()).toISOString(), ...event, message: kept };
		this.counts[event.severity]++;
		if (this.#events.push(added) > eventsMax) this.#events.shift();
		const { severity, message, ...fields } = event;
		this.#log[severity === 'warning' ? 'warn' : severity](fields, message);
		this.#keeper?.add(added);
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
