import test from 'ava';
import { EventLog, eventsMax, listenersMax } from '../../src/appliance/event-log.ts';
import type { Logger } from '../../src/os/logger.ts';

test('the last events are remembered, each is in the log, and numbers go on', (t) => {
	const logged: string[] = [];
	const note = (level: string) => (fields: object, message: string) => void logged.push(`${level} ${message} ${JSON.stringify(fields)}`);
	const log: Logger = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
	const events = new EventLog(log, () => 0);
	events.add({ severity: 'warning', kind: 'one', message: 'One.', volume: 'data' });
	events.add({ severity: 'error', kind: 'two', message: 'Two.' });
	t.deepEqual(logged, ['warn One. {"kind":"one","volume":"data"}', 'error Two. {"kind":"two"}']);
	t.deepEqual(events.after(1, 10), [{ sequence: 2, at: '1970-01-01T00:00:00.000Z', severity: 'error', kind: 'two', message: 'Two.' }]);
	for (let count = 0; count < eventsMax; count++) events.add({ severity: 'info', kind: 'more', message: 'More.' });
	t.is(events.after(0, Infinity).length, eventsMax);
	t.is(events.after(0, 1)[0]?.sequence, 3, 'the oldest are gone');
	t.is(events.after(eventsMax + 2, 10).length, 0);
	t.deepEqual(
		events.after(10, 2).map(({ sequence }) => sequence),
		[11, 12],
	);
});

test('so many may listen, and no more until one ends', (t) => {
	const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
	const events = new EventLog(quiet);
	const heard: number[] = [];
	const ends = Array.from({ length: listenersMax }, () => events.listen(({ sequence }) => heard.push(sequence)));
	t.is(
		events.listen(() => undefined),
		undefined,
	);
	events.add({ severity: 'info', kind: 'one', message: 'One.' });
	t.is(heard.length, listenersMax);
	ends[0]?.();
	t.truthy(events.listen(() => undefined));
	events.add({ severity: 'info', kind: 'one', message: 'One.' });
	t.is(heard.length, listenersMax * 2 - 1);
});
