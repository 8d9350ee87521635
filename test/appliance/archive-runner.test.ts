import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
	ArchiveRunner,
	type JobContext,
	type JobEnd,
	LaterError,
	cutShortMax,
	runningMax,
	triesMax,
} from '../../src/appliance/archive-runner.ts';
import { EventLog } from '../../src/appliance/event-log.ts';
import type { ArchiveJobRow, ArchiveWish } from '../../src/config/archive-jobs.ts';
import { Configuration } from '../../src/config/configuration.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';

/** A job that a test carries on. */
interface Asked {
	readonly job: ArchiveJobRow;
	readonly context: JobContext;
	end(end?: Partial<JobEnd>): Promise<void>;
	fail(error: Error): Promise<void>;
}

const turns = async (): Promise<void> => {
	for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};

async function fixture(t: ExecutionContext) {
	const path = join(await temporaryDirectory(t), 'config.db');
	const clock = { ms: Date.parse('2026-11-21T12:30:00Z'), later: undefined as { ms: number; call: () => void } | undefined };
	const configuration = new Configuration(path, () => new Date(clock.ms));
	t.teardown(() => configuration.close());
	const events = new EventLog(silent, () => clock.ms);
	const asked: Asked[] = [];
	const ended: number[] = [];
	const make = () =>
		new ArchiveRunner({
			jobs: configuration.archiveJobs,
			events,
			ended: (id) => ended.push(id),
			clock: {
				now: () => clock.ms,
				later: (ms, call) => {
					const entry = { ms, call };
					clock.later = entry;
					return () => void (clock.later === entry && (clock.later = undefined));
				},
			},
			work: (job, context) => {
				const { promise, resolve, reject } = Promise.withResolvers<JobEnd>();
				context.signal.addEventListener('abort', () => reject(context.signal.reason));
				asked.push({
					job,
					context,
					end: (end) => (resolve({ result: {}, message: 'It is done.', ...end }), turns()),
					fail: (error) => (reject(error), turns()),
				});
				return promise;
			},
		});
	const runner = make();
	runner.start();
	const states = () =>
		configuration.archiveJobs
			.all()
			.toReversed()
			.map(({ state }) => state);
	const look = async (ms: number) => {
		clock.ms += ms;
		const { later } = clock;
		clock.later = undefined;
		later?.call();
		await turns();
	};
	return { configuration, runner, make, asked, ended, events, clock, states, look, jobs: configuration.archiveJobs };
}

const exportOf = (volume: number, snapshotId = 1): ArchiveWish => ({
	kind: 'export',
	volume: `v${volume}`,
	volumeUuid: `00000000-0000-4000-8000-00000000000${volume}`,
	snapshot: `s${snapshotId}`,
	snapshotId,
	full: false,
});

test('a few at a time, and one export of a volume: the others wait their turn', async (t) => {
	const { runner, asked, states } = await fixture(t);
	runner.add('a', exportOf(1, 1));
	runner.add('a', exportOf(1, 2));
	for (let volume = 2; volume <= runningMax + 1; volume++) runner.add('a', exportOf(volume));
	await turns();
	t.is(asked.length, runningMax);
	t.deepEqual(states(), ['running', 'waiting', 'running', 'running', 'waiting']);
	await asked[1]?.end();
	t.deepEqual(states(), ['running', 'waiting', 'done', 'running', 'running']);
	await asked[0]?.end();
	t.deepEqual(states(), ['done', 'running', 'done', 'running', 'running']);
	t.like(asked.at(-1)?.job.wish, { volume: 'v1', snapshotId: 2 });
});

test('one collection of a repository at a time, beside one of another', async (t) => {
	const { runner, states } = await fixture(t);
	for (const repository of ['a', 'a', 'b']) runner.add(repository, { kind: 'gc' });
	await turns();
	t.deepEqual(states(), ['running', 'waiting', 'running']);
});

test('how far a job is, and at which rate; how it ended', async (t) => {
	const { runner, asked, clock, events, ended } = await fixture(t);
	const { id } = runner.add('a', exportOf(1));
	await turns();
	clock.ms += 2000;
	asked[0]?.context.progress(0.5, { doneBytes: 4096, totalBytes: 8192 });
	t.like(runner.view(asked[0]?.job as ArchiveJobRow), { done: 0.5, numbers: { doneBytes: 4096, totalBytes: 8192, bytesPerSecond: 2048 } });
	await asked[0]?.end({ result: { manifest: 'm' } });
	t.is(events.after(0, 9).at(-1)?.kind, 'archive-export');
	t.deepEqual(ended, [id]);
});

test('what came to its end and found something wrong has failed, and keeps what it found', async (t) => {
	const { runner, asked, jobs, events } = await fixture(t);
	const { id } = runner.add('a', { kind: 'verify', full: true, repair: false });
	await turns();
	await asked[0]?.end({ result: { findings: 3 }, fault: 'Three findings.', message: 'Three findings.' });
	t.like(jobs.get(id), { state: 'failed', fault: 'Three findings.', result: { findings: 3 } });
	t.like(events.after(0, 9).at(-1), { severity: 'error', kind: 'archive-failed' });
});

test('what may pass is tried again, later each time; what cannot be done is not', async (t) => {
	const { runner, asked, look, jobs, events, clock } = await fixture(t);
	const { id } = runner.add('a', exportOf(1));
	await turns();
	await asked[0]?.fail(new LaterError('The store does not answer.'));
	t.like(jobs.get(id), { state: 'waiting', fault: 'The store does not answer.', attempts: 1 });
	t.is(runner.view(jobs.get(id)).retryAt, new Date(clock.ms + 2000).toISOString());
	t.is(clock.later?.ms, 2000);
	await look(2000);
	t.is(asked.length, 2);
	await asked[1]?.fail(new LaterError('The store does not answer.'));
	t.is(clock.later?.ms, 4000);
	await look(4000);
	await asked[2]?.fail(new UsageError('There is no such bucket.', 'notFound'));
	t.like(jobs.get(id), { state: 'failed', fault: 'There is no such bucket.', attempts: 3 });
	t.deepEqual(
		events.after(0, 9).map(({ kind }) => kind),
		['archive-waits', 'archive-failed'],
	);
	await look(3_600_000);
	t.is(asked.length, 3);
});

test('a store that never answers is given up after many tries', async (t) => {
	const { runner, asked, look, jobs } = await fixture(t);
	const { id } = runner.add('a', { kind: 'gc' });
	await turns();
	for (let tries = 1; tries < triesMax; tries++) {
		await asked.at(-1)?.fail(new LaterError('No answer.'));
		t.is(jobs.get(id).state, 'waiting');
		await look(3_600_000);
	}
	await asked.at(-1)?.fail(new LaterError('No answer.'));
	t.is(jobs.get(id).state, 'failed');
	t.is(asked.length, triesMax);
});

test('cancel: one that waits and one that runs; not one that has ended', async (t) => {
	const { runner, asked, states, ended } = await fixture(t);
	const one = runner.add('a', exportOf(1, 1));
	const two = runner.add('a', exportOf(1, 2));
	await turns();
	t.is((await runner.cancel(two.id)).state, 'cancelled');
	t.is((await runner.cancel(one.id)).state, 'cancelled');
	t.is(asked.length, 1);
	t.deepEqual(states(), ['cancelled', 'cancelled']);
	t.deepEqual(ended, [two.id, one.id]);
	await t.throwsAsync(runner.cancel(one.id), { message: /has ended already/ });
	await t.throwsAsync(runner.cancel(99), { message: /no archive job 99/ });
});

test('a stop and a crash leave jobs for the next start, which begins them anew', async (t) => {
	const { runner, make, asked, jobs, states } = await fixture(t);
	runner.add('a', exportOf(1));
	runner.add('a', { kind: 'gc' });
	await turns();
	await runner.stop();
	t.deepEqual(states(), ['waiting', 'waiting']);
	// As a crash leaves it.
	jobs.begin(1);
	const again = make();
	again.start();
	await turns();
	t.deepEqual(states(), ['running', 'running']);
	t.is(asked.length, 4);
	t.is(jobs.get(1).attempts, 3);
	runner.start();
	await turns();
	t.is(asked.length, 4);
});

test('a job that ends the process each time is given up, and keeps nobody from being served', async (t) => {
	const { runner, make, jobs, events } = await fixture(t);
	const { id } = runner.add('a', { kind: 'gc' });
	await turns();
	for (let crash = 1; crash < cutShortMax; crash++) {
		make().start();
		await turns();
		t.is(jobs.get(id).state, 'running');
	}
	make().start();
	t.is(jobs.get(id).state, 'failed');
	t.regex(events.after(0, 99).at(-1)?.message ?? '', /ended 16 times in a row/);
	// An orderly end of the process does not count.
	const other = runner.add('b', { kind: 'gc' });
	await turns();
	t.is(jobs.cutShort(other.id), 1);
	jobs.again(other.id, undefined);
	t.is(jobs.cutShort(other.id), 1);
});
