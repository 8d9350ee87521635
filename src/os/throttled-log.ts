import { performance } from 'node:perf_hooks';
import type { Logger } from './logger.ts';

type Level = 'info' | 'warn' | 'error';

interface Kind {
	level: Level;
	/** When its first line of this minute came. */
	sinceMs: number;
	lines: number;
}

/** Lines of one kind that a minute may have. */
export const linesPerMinute = 20;
const minuteMs = 60_000;

/**
 * A log for what peers can cause as often as they like. A kind is a message, so there are as many as the source has. Of each the first lines of a minute are written, and at its end one that says how many
 * were not. What is for debugging goes through.
 */
export class ThrottledLog implements Logger {
	readonly #log: Logger;
	readonly #now: () => number;
	readonly #kinds = new Map<string, Kind>();

	/** `now`: milliseconds of a clock that never goes back. */
	constructor(log: Logger, now: () => number = () => performance.now()) {
		this.#log = log;
		this.#now = now;
	}

	debug(fields: object, message: string): void {
		this.#log.debug(fields, message);
	}

	info(fields: object, message: string): void {
		this.#say('info', fields, message);
	}

	warn(fields: object, message: string): void {
		this.#say('warn', fields, message);
	}

	error(fields: object, message: string): void {
		this.#say('error', fields, message);
	}

	/** Every second, or now and then: says what was left out of minutes that are over. */
	tick(): void {
		for (const [message, kind] of this.#kinds) if (this.#now() - kind.sinceMs >= minuteMs) this.#close(message, kind);
	}

	#say(level: Level, fields: object, message: string): void {
		let kind = this.#kinds.get(message);
		if (kind !== undefined && this.#now() - kind.sinceMs >= minuteMs) {
			this.#close(message, kind);
			kind = undefined;
		}
		if (kind === undefined) this.#kinds.set(message, (kind = { level, sinceMs: this.#now(), lines: 0 }));
		if (++kind.lines <= linesPerMinute) this.#log[level](fields, message);
	}

	#close(message: string, { level, lines }: Kind): void {
		this.#kinds.delete(message);
		if (lines > linesPerMinute) this.#log[level]({ suppressed: lines - linesPerMinute }, `${message}: more of the same in the last minute`);
	}
}
