import test from 'ava';
import type { Logger } from '../../src/os/logger.ts';
import { linesPerMinute, ThrottledLog } from '../../src/os/throttled-log.ts';

class Recorded implements Logger {
	readonly lines: string[] = [];
	nowMs = 0;
	readonly throttled = new ThrottledLog(this, () => this.nowMs);

	debug(fields: object, message: string): void {
		this.#add('debug', fields, message);
	}

	info(fields: object, message: string): void {
		this.#add('info', fields, message);
	}

	warn(fields: object, message: string): void {
		this.#add('warn', fields, message);
	}

	error(fields: object, message: string): void {
		this.#add('error', fields, message);
	}

	#add(level: string, fields: object, message: string): void {
		this.lines.push(`${level} ${JSON.stringify(fields)} ${message}`);
	}
}

test('of each kind the first lines of a minute, then one with the number that was left out', (t) => {
	const log = new Recorded();
	for (let count = 0; count < linesPerMinute + 500; count++) log.throttled.info({ count }, 'connected');
	log.throttled.warn({ a: 1 }, 'refused');
	t.is(log.lines.length, linesPerMinute + 1);
	t.is(log.lines[linesPerMinute - 1], `info {"count":${linesPerMinute - 1}} connected`);
	t.is(log.lines.at(-1), 'warn {"a":1} refused');
	log.nowMs = 59_999;
	log.throttled.tick();
	log.throttled.info({}, 'connected');
	t.is(log.lines.length, linesPerMinute + 1);
	log.nowMs = 60_000;
	log.throttled.tick();
	t.is(log.lines.at(-1), 'info {"suppressed":501} connected: more of the same in the last minute');
	t.is(log.lines.length, linesPerMinute + 2);
	log.throttled.tick();
	t.is(log.lines.length, linesPerMinute + 2);
	log.throttled.info({ again: 1 }, 'connected');
	t.is(log.lines.at(-1), 'info {"again":1} connected');
});

test('without a tick the next line says what was left out before it; few lines say nothing of it', (t) => {
	const log = new Recorded();
	for (let count = 0; count <= linesPerMinute; count++) log.throttled.error({}, 'broken');
	log.nowMs = 100_000;
	log.throttled.error({}, 'broken');
	t.deepEqual(log.lines.slice(linesPerMinute), ['error {"suppressed":1} broken: more of the same in the last minute', 'error {} broken']);
	log.nowMs = 200_000;
	log.throttled.tick();
	t.is(log.lines.length, linesPerMinute + 2);
});

test('lines for debugging are not counted', (t) => {
	const log = new Recorded();
	for (let count = 0; count < 3 * linesPerMinute; count++) log.throttled.debug({}, 'closed');
	t.is(log.lines.length, 3 * linesPerMinute);
});
