import test from 'ava';
import { ChunkLine } from '../../src/blockvol/chunk-line.ts';
import { defaultTuning, limits, type Tuning } from '../../src/blockvol/limits.ts';
import { RemoteChunks } from '../../src/blockvol/remote-file.ts';
import { RemoteFailure } from '../../src/blockvol/remote-pages.ts';
import { silent } from '../../src/os/logger.ts';
import { archived, chunkBytes, identity, MemoryPages } from './memory-pages.ts';
import { settlesSoon } from './volume-fixture.ts';

const count = limits.remoteQueuedMax + 8;

function lineOver(tuning: Partial<Tuning> = {}): { line: ChunkLine; pages: MemoryPages; stored: number[] } {
	// One chunk of content for all, so that a thousand of them are cheap.
	const pages = new MemoryPages(archived(chunkBytes));
	pages.chunk = () => pages.content;
	const stored: number[] = [];
	const chunks = new RemoteChunks(identity, 1, count * chunkBytes, chunkBytes, new Uint8Array(count / 8).fill(0xff));
	const all = { ...defaultTuning, remoteWaitMs: 200, remoteAttemptMs: 100, remoteRetryMs: 1, ...tuning };
	const store = (chunk: number): Promise<boolean> => {
		stored.push(chunk);
		return Promise.resolve(true);
	};
	return { line: new ChunkLine(pages, chunks, all, silent, { store }), pages, stored };
}

/** A fetch that waits until it is let go, or is aborted. */
function held(pages: MemoryPages): { release: () => void } {
	const gate = Promise.withResolvers<void>();
	pages.before = (_, signal) =>
		Promise.race([
			gate.promise,
			new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
		]);
	return { release: gate.resolve };
}

test('one fetch a chunk, however many wait; it is stored once', async (t) => {
	const { line, pages, stored } = lineOver();
	const gate = held(pages);
	const reads = Array.from({ length: 50 }, () => line.read(3));
	line.ahead(3);
	const filling = line.fill(3);
	gate.release();
	for (const bytes of await Promise.all(reads)) t.true(bytes?.equals(pages.content));
	t.true(await filling);
	t.deepEqual(pages.asked, [3]);
	t.deepEqual(stored, [3]);
	t.is(line.underWay, 0);
});

test('who waits is told after the bound that there is nothing, and the fetch goes on: the next one has what came of it', async (t) => {
	const { line, pages, stored } = lineOver({ remoteWaitMs: 30, remoteAttemptMs: 10_000 });
	const gate = held(pages);
	t.is(await line.read(0), undefined);
	t.is(line.underWay, 1);
	const next = line.read(0);
	gate.release();
	t.true((await next)?.equals(pages.content));
	t.deepEqual(pages.asked, [0]);
	t.deepEqual(stored, [0]);
});

test('an attempt has its own bound, also where the source does not end with the signal; it is tried again', async (t) => {
	const { line, pages } = lineOver({ remoteWaitMs: 5000, remoteAttemptMs: 20 });
	pages.before = () => (pages.asked.length === 1 ? new Promise<void>(() => undefined) : undefined);
	t.true((await line.read(0))?.equals(pages.content));
	t.is(line.failures, 1);
	t.is(line.failure, undefined, 'it went well since');
});

test('what may be mended is tried again with growing pauses until the bound, and recovers by itself', async (t) => {
	const { line, pages } = lineOver({ remoteWaitMs: 800, remoteRetryMs: 50 });
	pages.before = () => {
		throw new Error('the store is gone');
	};
	const startedAt = performance.now();
	t.is(await line.read(0), undefined);
	t.true(performance.now() - startedAt < 10_000);
	// 50 + 100 + 200 + 400 ms are below the bound, 800 more are above it.
	t.true(pages.asked.length >= 2 && pages.asked.length <= 5, `${pages.asked.length} attempts`);
	t.is(line.failure, 'the store is gone');
	// On a busy machine the bound may come in the middle of an attempt, which then ends by itself.
	while (line.underWay > 0) await new Promise((resolve) => setImmediate(resolve));
	pages.before = () => undefined;
	t.true((await line.read(0))?.equals(pages.content));
	t.is(line.failure, undefined);
});

test('what nobody can mend is told at once: a damaged chunk, and one of the wrong length', async (t) => {
	const { line, pages, stored } = lineOver({ remoteWaitMs: 60_000 });
	pages.before = () => {
		throw new RemoteFailure('chunk 0 is corrupt', false);
	};
	t.is(await line.read(0), undefined);
	t.deepEqual(pages.asked, [0]);
	pages.before = () => undefined;
	pages.chunk = () => pages.content.subarray(1);
	t.is(await line.read(0), undefined);
	t.regex(line.failure ?? '', /has 65535 bytes, not 65536/);
	t.deepEqual(stored, []);
});

test('at most so many at once by number and by bytes, and one place is for whoever reads', async (t) => {
	const { line, pages } = lineOver({ remoteFetchesMax: 8, remoteFetchBytesMax: 4 * chunkBytes, remoteAheadMax: 100, remoteWaitMs: 5000 });
	const gate = held(pages);
	for (let chunk = 0; chunk < 10; chunk++) line.ahead(chunk);
	t.is(pages.running, 3);
	const reads = [20, 21, 9].map((chunk) => line.read(chunk));
	t.is(pages.running, 4);
	t.deepEqual(pages.asked, [0, 1, 2, 20]);
	gate.release();
	await Promise.all(reads);
	// Those that are read first, also one that was to be fetched ahead.
	t.deepEqual(pages.asked.slice(4, 6), [21, 9]);
	await line.idle();
	t.is(pages.runningMax, 4);
	t.is(pages.asked.length, 12);
});

test('a line that is full has the next reader wait for a place, within its bound', async (t) => {
	const { line, pages } = lineOver({ remoteWaitMs: 60_000, remoteAttemptMs: 60_000 });
	const gate = held(pages);
	const reads = Array.from({ length: limits.remoteQueuedMax }, (_, chunk) => line.read(chunk));
	const more = line.read(limits.remoteQueuedMax);
	t.is(line.underWay, limits.remoteQueuedMax);
	t.false(await settlesSoon(more, 20));
	t.is(line.underWay, limits.remoteQueuedMax);
	gate.release();
	t.true((await more)?.equals(pages.content));
	await Promise.all(reads);
	await line.idle();
	t.is(line.underWay, 0);
});

test('a close ends every wait: of those that are fetched, in line, in a pause, and without a place', async (t) => {
	const { line, pages, stored } = lineOver({ remoteWaitMs: 60_000, remoteAttemptMs: 60_000, remoteRetryMs: 50_000 });
	pages.before = () => {
		throw new Error('gone');
	};
	const pausing = line.read(0);
	t.false(await settlesSoon(pausing, 20));
	held(pages);
	const reads = Array.from({ length: limits.remoteQueuedMax }, (_, chunk) => line.read(chunk + 1));
	line.close();
	for (const bytes of await Promise.all([pausing, ...reads])) t.is(bytes, undefined);
	await line.idle();
	t.is(await line.read(5), undefined);
	t.deepEqual(stored, []);
});
