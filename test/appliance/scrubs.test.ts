import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { EventLog } from '../../src/appliance/event-log.ts';
import { ApplianceScrubs } from '../../src/appliance/scrubs.ts';
import { type ScrubFinding, type ScrubOptions, ScrubEnded } from '../../src/blockvol/scrub.ts';
import { Configuration } from '../../src/config/configuration.ts';
import { limits } from '../../src/config/limits.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';

const start = Date.parse('2026-11-21T12:30:00Z');
const finding: ScrubFinding = { layer: 7, isLive: false, page: 5, lba: 40, kind: 'data' };

type Result = { pages: number; findings: number; repaired: number; isComplete: boolean };

/** A scrub that a test carries on. */
interface Asked {
	readonly volume: string;
	readonly options: ScrubOptions;
	end(result: Result): void;
	fail(error: Error): void;
}

async function fixture(t: ExecutionContext, volumes = ['data', 'log']) {
	const path = join(await temporaryDirectory(t), 'config.db');
	const clock = { ms: start, look: () => undefined as void };
	const configuration = new Configuration(path, () => new Date(clock.ms));
	t.teardown(() => configuration.close());
	for (const [index, name] of volumes.entries()) {
		configuration.addVolume({ name, uuid: `00000000-0000-4000-8000-00000000000${index}`, sizeBytes: 4096, blockSize: 512 });
	}
	const events = new EventLog(silent, () => clock.ms);
	const asked: Asked[] = [];
	const repairs: string[] = [];
	const make = () =>
		new ApplianceScrubs({
			configuration,
			events,
			inTurn: (change) => change(),
			clock: {
				now: () => clock.ms,
				later: (_ms, call) => {
					clock.look = call;
					return () => (clock.look = () => undefined);
				},
			},
			repair: async (volume, { page }) => {
				repairs.push(`${volume} ${page}`);
				return { isRepaired: true, how: 'from elsewhere' };
			},
			scrub: (volume, options) => {
				const { promise, resolve, reject } = Promise.withResolvers<Result>();
				const entry: Asked = { volume, options, end: resolve, fail: reject };
				asked.push(entry);
				options.signal.addEventListener('abort', () => resolve({ pages: 0, findings: 0, repaired: 0, isComplete: false }));
				return promise;
			},
		});
	const settle = async () => {
		for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
	};
	const messages = () => events.after(0, 1000).map(({ kind, message }) => `${kind}: ${message}`);
	return { configuration, clock, events, asked, repairs, make, settle, messages };
}

async function refuses(t: ExecutionContext, code: UsageErrorCode, action: () => unknown): Promise<void> {
	const error = await t.throwsAsync(async () => action(), { instanceOf: UsageError });
	t.is(error?.code, code);
}

test('on demand: waiting, running with its progress, done; findings are named in events and in the view', async (t) => {
	const { make, asked, settle, messages, repairs } = await fixture(t);
	const scrubs = make();
	scrubs.start();
	t.deepEqual(scrubs.view('data'), { volume: 'data', state: 'idle', found: [] });
	t.is((await scrubs.begin('data', {})).state, 'waiting');
	await settle();
	const [one] = asked;
	t.is(one?.options.bytesPerSecond, 32 * 2 ** 20);
	t.is(one?.options.from, undefined);
	one?.options.found(finding, false);
	t.true(await one?.options.repair?.(finding));
	t.deepEqual(repairs, ['data 5']);
	one?.options.found(finding, true);
	one?.options.moved?.({ layer: 7, block: 3 }, { pages: 10, findings: 1, repaired: 0, done: 0.25 });
	t.like(scrubs.view('data'), {
		state: 'running',
		done: 0.25,
		pages: 10,
		findings: 1,
		found: [
			{ ...finding, isRepaired: false },
			{ ...finding, isRepaired: true, repair: 'from elsewhere' },
		],
	});
	t.is((await scrubs.begin('data', {})).state, 'running', 'one that runs goes on');
	one?.end({ pages: 20, findings: 1, repaired: 0, isComplete: true });
	await settle();
	t.is(asked.length, 1);
	t.like(scrubs.view('data'), { state: 'idle', last: { pages: 20, findings: 1, repaired: 0, finishedAt: '2026-11-21T12:30:00.000Z' } });
	t.deepEqual(messages(), [
		'scrub-finding: Volume data, layer 7 (of a snapshot), page 5, LBA 40 does not match its checksum.',
		'scrub-finding: Volume data, layer 7 (of a snapshot), page 5, LBA 40 does not match its checksum, and was repaired from elsewhere.',
		'scrub-finished: Volume data was scrubbed: 20 pages, 1 not sound, 0 repaired.',
	]);
	await scrubs.begin('data', { bytesPerSecond: 65_536 });
	await settle();
	t.is(asked[1]?.options.bytesPerSecond, 65_536);
	t.deepEqual(scrubs.view('data').found, [], 'a new one begins anew');
	await scrubs.stop();
});

test('one volume at a time, in the order in which they were asked for', async (t) => {
	const { make, asked, settle } = await fixture(t);
	const scrubs = make();
	await scrubs.begin('log', {});
	await scrubs.begin('data', {});
	await settle();
	t.deepEqual([asked.length, scrubs.view('log').state, scrubs.view('data').state], [1, 'running', 'waiting']);
	asked[0]?.end({ pages: 1, findings: 0, repaired: 0, isComplete: true });
	await settle();
	t.deepEqual([asked[1]?.volume, scrubs.view('log').state], ['data', 'idle']);
	await scrubs.stop();
});

test('a restart goes on where it was, with what was counted before', async (t) => {
	const { make, asked, settle, clock } = await fixture(t);
	const first = make();
	await first.begin('data', { bytesPerSecond: 2 ** 20 });
	await settle();
	asked[0]?.options.moved?.({ layer: 7, block: 3 }, { pages: 10, findings: 2, repaired: 1, done: 0.25 });
	clock.ms += 60_000;
	asked[0]?.options.moved?.({ layer: 7, block: 64 }, { pages: 30, findings: 2, repaired: 1, done: 0.5 });
	asked[0]?.options.moved?.({ layer: 9, block: 2 }, { pages: 40, findings: 2, repaired: 1, done: 0.6 });
	// Killed: what was written down is at most some seconds old.
	const killed = make();
	killed.start();
	await settle();
	t.deepEqual(asked[1]?.options.from, { layer: 7, block: 64 });
	t.is(asked[1]?.options.bytesPerSecond, 2 ** 20);
	await killed.stop();
	// Stopped in good order: nothing is lost.
	await first.stop();
	const again = make();
	again.start();
	await settle();
	t.deepEqual(asked[2]?.options.from, { layer: 9, block: 2 });
	asked[2]?.end({ pages: 5, findings: 0, repaired: 0, isComplete: true });
	await settle();
	t.like(again.view('data').last, { pages: 45, findings: 2, repaired: 1, startedAt: '2026-11-21T12:30:00.000Z' });
});

test('given up: it is gone, a new one begins at the beginning; what does not run cannot be given up', async (t) => {
	const { make, asked, settle } = await fixture(t);
	const scrubs = make();
	await refuses(t, 'notFound', () => scrubs.end('data'));
	await refuses(t, 'notFound', () => scrubs.end('none'));
	await scrubs.begin('data', {});
	await scrubs.begin('log', {});
	await settle();
	asked[0]?.options.moved?.({ layer: 7, block: 3 }, { pages: 10, findings: 0, repaired: 0, done: 0.25 });
	await scrubs.end('log');
	t.is((await scrubs.end('data')).startedAt, undefined);
	t.true(asked[0]?.options.signal.aborted);
	t.is((await scrubs.begin('data', {})).state, 'waiting', 'at once, while the old one ends');
	await settle();
	t.deepEqual([asked.length, asked[1]?.volume, asked[1]?.options.from], [2, 'data', undefined]);
	t.is(scrubs.view('log').state, 'idle');
	await scrubs.stop();
});

test('one that cannot go on is an event, keeps its place, and keeps no other from its turn', async (t) => {
	const { make, asked, settle, messages, configuration } = await fixture(t);
	const scrubs = make();
	await scrubs.begin('data', {});
	await scrubs.begin('log', {});
	await settle();
	asked[0]?.options.moved?.({ layer: 7, block: 3 }, { pages: 10, findings: 0, repaired: 0, done: 0.25 });
	asked[0]?.fail(Object.assign(new Error('EIO'), { code: 'EIO' }));
	await settle();
	t.deepEqual(messages(), ["scrub-failed: The scrub of volume data stopped: The volume's files cannot be read (EIO)."]);
	t.like(scrubs.view('data'), { state: 'idle', pages: 10, fault: "The volume's files cannot be read (EIO)." });
	t.is(asked[1]?.volume, 'log');
	asked[1]?.fail(new UsageError('Volume log is not open yet: try again soon.', 'unavailable'));
	await settle();
	await scrubs.begin('data', {});
	await settle();
	t.deepEqual(asked[2]?.options.from, { layer: 7, block: 3 });
	t.is(scrubs.view('data').fault, undefined);
	// A volume that was deleted meanwhile, and one that the appliance closes, are no failures.
	configuration.removeVolume('data');
	asked[2]?.fail(new ScrubEnded('the volume is being closed'));
	await settle();
	t.is(messages().length, 2);
	await refuses(t, 'notFound', () => scrubs.view('data'));
	await scrubs.stop();
});

test('by the clock: when it is due, once for all times that were missed; never any more when that was said', async (t) => {
	const { make, asked, settle, clock } = await fixture(t);
	const scrubs = make();
	scrubs.start();
	await refuses(t, 'invalid', () => scrubs.setTimes('data', { cron: '* * *', zone: 'UTC' }));
	await refuses(t, 'invalid', () => scrubs.setTimes('data', { cron: '@daily', zone: 'Mars' }));
	await refuses(t, 'invalid', () => scrubs.setTimes('data', { cron: '0 0 30 2 *', zone: 'UTC' }));
	await refuses(t, 'notFound', () => scrubs.setTimes('none', { cron: '@daily', zone: 'UTC' }));
	t.like(await scrubs.setTimes('data', { cron: '@weekly', zone: 'UTC' }), {
		cron: '@weekly',
		next: '2026-11-22T00:00:00.000Z',
		state: 'idle',
	});
	clock.look();
	await settle();
	t.is(asked.length, 0);
	clock.ms = Date.parse('2027-02-01T00:00:00Z');
	clock.look();
	clock.look();
	await settle();
	t.is(asked.length, 1);
	asked[0]?.end({ pages: 1, findings: 0, repaired: 0, isComplete: true });
	await settle();
	clock.look();
	await settle();
	t.is(asked.length, 1);
	await scrubs.setTimes('data', undefined);
	clock.ms = Date.parse('2027-03-01T00:00:00Z');
	clock.look();
	await settle();
	t.is(asked.length, 1);
	t.is(scrubs.view('data').cron, undefined);
	await scrubs.stop();
	clock.look();
});

test('a hundred findings are listed and told, the others are counted', async (t) => {
	const { make, asked, settle, messages } = await fixture(t);
	const scrubs = make();
	await scrubs.begin('data', {});
	await settle();
	for (let page = 0; page < 250; page++) asked[0]?.options.found({ ...finding, page }, page % 2 === 0);
	asked[0]?.end({ pages: 250, findings: 250, repaired: 125, isComplete: true });
	await settle();
	t.is(scrubs.view('data').found.length, 100);
	t.is(messages().filter((message) => message.startsWith('scrub-finding')).length, 101);
	t.regex(messages().at(-1) ?? '', /250 not sound, 125 repaired/);
});

test('the rate has bounds', async (t) => {
	const { make } = await fixture(t);
	const scrubs = make();
	await refuses(t, 'invalid', () => scrubs.begin('data', { bytesPerSecond: limits.scrubBytesPerSecondMin - 1 }));
	await refuses(t, 'invalid', () => scrubs.begin('data', { bytesPerSecond: limits.scrubBytesPerSecondMax + 1 }));
	await refuses(t, 'notFound', () => scrubs.begin('none', {}));
	t.is((await scrubs.begin('data', { bytesPerSecond: limits.scrubBytesPerSecondMax })).state, 'waiting');
	await scrubs.stop();
});
