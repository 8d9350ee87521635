import test from 'ava';
import { parseMoment, parseSpan } from '../../src/cli/moment.ts';

const nowMs = Date.UTC(2026, 10, 21, 12);

test('a moment is a time with its zone, how long ago, or an LSN; whatever else is refused', (t) => {
	t.deepEqual(parseMoment('2026-11-21T11:00:00Z', nowMs), { at: '2026-11-21T11:00:00.000Z' });
	t.deepEqual(parseMoment('2026-11-21 11:00:00.25+01:00', nowMs), { at: '2026-11-21T10:00:00.250Z' });
	t.deepEqual(parseMoment('2026-11-21T11:00-02:30', nowMs), { at: '2026-11-21T13:30:00.000Z' });
	t.deepEqual(parseMoment('15m', nowMs), { at: '2026-11-21T11:45:00.000Z' });
	t.deepEqual(parseMoment('0s', nowMs), { at: '2026-11-21T12:00:00.000Z' });
	t.deepEqual(parseMoment('7d', nowMs), { at: '2026-11-14T12:00:00.000Z' });
	t.deepEqual(parseMoment('123456', nowMs), { lsn: 123456 });
	for (const text of [
		'',
		'yesterday',
		'2026-11-21',
		'2026-11-21T11:00:00',
		'2026-13-21T11:00:00Z',
		'15',
		'15 m',
		'-15m',
		'15w',
		'1'.repeat(16),
	]) {
		if (text === '15') t.deepEqual(parseMoment(text, nowMs), { lsn: 15 });
		else t.throws(() => parseMoment(text, nowMs), { name: 'UsageError' }, text);
	}
});

test('a span has a unit', (t) => {
	t.is(parseSpan('90s'), 90_000);
	t.is(parseSpan('24h'), 86_400_000);
	for (const text of ['', '24', '1.5h', 'h', '-1h', '123456789s']) t.throws(() => parseSpan(text), { name: 'UsageError' }, text);
});
