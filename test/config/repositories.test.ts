import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Configuration } from '../../src/config/configuration.ts';
import { limits } from '../../src/config/limits.ts';
import { type NewRepository, type RepositoryLocation, hasRules, placeOf } from '../../src/config/repositories.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { temporaryDirectory } from '../temporary.ts';

const uuid = '01234567-89ab-4cde-8f01-23456789abcd';
const s3 = { kind: 's3', region: 'us-east-1', bucket: 'backup', prefix: 'one', pathStyle: true } as const;

async function fresh(t: ExecutionContext) {
	const path = join(await temporaryDirectory(t), 'config.db');
	const configuration = new Configuration(path, () => new Date('2026-11-21T00:00:00Z'));
	t.teardown(() => configuration.close());
	return { path, configuration, repositories: configuration.repositories, jobs: configuration.archiveJobs };
}

function refuses(t: ExecutionContext, code: UsageErrorCode, action: () => unknown, message: RegExp = /^[^\n]+\.$/): void {
	const error = t.throws(action, { instanceOf: UsageError });
	t.is(error?.code, code, error?.message);
	t.regex(error?.message ?? '', message);
}

const folder = (name: string, path = `/backup/${name}`): NewRepository => ({ name, location: { kind: 'folder', path } });

test('repositories of both kinds are what they were told to be, also after a restart', async (t) => {
	const { path, configuration, repositories } = await fresh(t);
	repositories.add({
		...folder('disk', '/backup/disk/'),
		passphrase: 'correct horse',
		keep: { daily: 7, monthly: 12 },
		zone: 'Europe/Berlin',
	});
	repositories.add({
		name: 'cloud',
		location: { ...s3, endpoint: 'https://s3.example.com:8443/', prefix: 'a/b/', accessKeyId: 'key', caFile: '/etc/ca.pem' },
		secretAccessKey: 'secret',
	});
	configuration.close();
	const again = new Configuration(path);
	t.teardown(() => again.close());
	const [cloud, disk] = again.repositories.all();
	t.deepEqual(disk, {
		name: 'disk',
		location: { kind: 'folder', path: '/backup/disk' },
		secretAccessKey: undefined,
		passphrase: 'correct horse',
		keep: { last: 0, hourly: 0, daily: 7, weekly: 0, monthly: 12, yearly: 0 },
		zone: 'Europe/Berlin',
		createdAt: '2026-11-21T00:00:00.000Z',
	});
	t.deepEqual(cloud?.location, {
		...s3,
		endpoint: 'https://s3.example.com:8443',
		prefix: 'a/b',
		accessKeyId: 'key',
		caFile: '/etc/ca.pem',
	});
	t.is(cloud?.secretAccessKey, 'secret');
	t.is(placeOf(cloud?.location as RepositoryLocation), 's3://backup/a/b at https://s3.example.com:8443');
	t.is(hasRules(disk?.keep ?? { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }), true);
	t.is(hasRules(cloud?.keep ?? { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }), false);
});

test('what is no repository is refused, and nothing is added', async (t) => {
	const { repositories } = await fresh(t);
	const wrong: [NewRepository, RegExp][] = [
		[folder('Upper'), /name of a repository/],
		[folder(''), /name of a repository/],
		[folder('a', 'relative'), /absolute path/],
		[folder('a', '/a\0b'), /absolute path/],
		[folder('a', `/${'x'.repeat(limits.repositoryPathLength)}`), /absolute path/],
		[{ name: 'a', location: { ...s3, bucket: 'Bucket' } }, /bucket/],
		[{ name: 'a', location: { ...s3, bucket: 'ab' } }, /bucket/],
		[{ name: 'a', location: { ...s3, region: '' } }, /region/],
		[{ name: 'a', location: { ...s3, prefix: '../x' } }, /prefix/],
		[{ name: 'a', location: { ...s3, prefix: 'a//b' } }, /prefix/],
		[{ name: 'a', location: { ...s3, prefix: 'x'.repeat(limits.repositoryPrefixLength + 1) } }, /prefix/],
		[{ name: 'a', location: { ...s3, endpoint: 'ftp://host' } }, /endpoint/],
		[{ name: 'a', location: { ...s3, endpoint: 'https://host/path' } }, /endpoint/],
		[{ name: 'a', location: { ...s3, endpoint: 'https://me:word@host' } }, /endpoint holds no name/],
		[{ name: 'a', location: { ...s3, caFile: 'ca.pem' } }, /absolute path/],
		[{ name: 'a', location: { ...s3, accessKeyId: 'key' } }, /go together/],
		[{ name: 'a', location: s3, secretAccessKey: 'secret' }, /go together/],
		[{ ...folder('a'), secretAccessKey: 'secret' }, /on S3/],
		[{ ...folder('a'), passphrase: 'x'.repeat(limits.passphraseBytesMin - 1) }, /passphrase/],
		[{ ...folder('a'), passphrase: 'x'.repeat(limits.passphraseBytesMax + 1) }, /passphrase/],
		[{ ...folder('a'), keep: { daily: -1 } }, /whole number/],
		[{ ...folder('a'), keep: { daily: 501 } }, /at most 500/],
		[{ ...folder('a'), zone: 'Nowhere/Town' }, /time zone/],
	];
	for (const [wish, message] of wrong) refuses(t, 'invalid', () => repositories.add(wish), message);
	refuses(t, 'notFound', () => repositories.get('a'));
	t.deepEqual(repositories.all(), []);
	repositories.add(folder('a'));
	refuses(t, 'alreadyExists', () => repositories.add(folder('a', '/elsewhere')));
	refuses(t, 'alreadyExists', () => repositories.add(folder('b', '/backup/a/')), /Repository a is at \/backup\/a already/);
	for (let count = 1; count < limits.repositories; count++) repositories.add(folder(`r${count}`));
	refuses(t, 'inUse', () => repositories.add(folder('more')), /the most/);
});

test('a change says what it changes: the rest stays, secrets too', async (t) => {
	const { repositories } = await fresh(t);
	repositories.add({
		name: 'a',
		location: { ...s3, accessKeyId: 'key' },
		secretAccessKey: 'one',
		passphrase: 'correct horse',
		keep: { daily: 7 },
	});
	t.is(repositories.change('a', { keep: { daily: 0, weekly: 3 } }).secretAccessKey, 'one');
	const row = repositories.change('a', { secretAccessKey: 'two', accessKeyId: 'other' });
	t.deepEqual(row.location, { ...s3, accessKeyId: 'other' });
	t.deepEqual(row.keep, { last: 0, hourly: 0, daily: 0, weekly: 3, monthly: 0, yearly: 0 });
	t.is(row.secretAccessKey, 'two');
	t.is(row.passphrase, 'correct horse');
	refuses(t, 'invalid', () => repositories.change('a', { keep: { yearly: 1000 } }));
	refuses(t, 'notFound', () => repositories.change('b', {}));
	repositories.add(folder('b'));
	refuses(t, 'invalid', () => repositories.change('b', { accessKeyId: 'key', secretAccessKey: 'x' }), /on S3/);
});

test('a repository that is used is not removed', async (t) => {
	const { configuration, repositories, jobs } = await fresh(t);
	repositories.add(folder('a'));
	configuration.addVolume({ name: 'data', uuid, sizeBytes: 4096, blockSize: 512 });
	const keep = { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
	const schedule = { name: 'often', volumes: ['data'], cron: '@daily', zone: 'UTC', template: '{schedule}-{utc:YYYYMMDD-HHmmss}', keep };
	refuses(t, 'notFound', () => configuration.schedules.add({ ...schedule, repository: 'b' }), /no repository b/);
	t.is(configuration.schedules.add({ ...schedule, repository: 'a' }).repository, 'a');
	refuses(t, 'inUse', () => repositories.remove('a'), /Schedule often/);
	t.is(configuration.schedules.change('often', { cron: '@hourly' }).repository, 'a');
	t.is(configuration.schedules.change('often', { repository: null }).repository, undefined);
	const { id } = jobs.add('a', { kind: 'gc' });
	refuses(t, 'inUse', () => repositories.remove('a'), /Job 1 is still at work/);
	jobs.begin(id);
	refuses(t, 'inUse', () => repositories.remove('a'));
	jobs.end(id, { state: 'done' });
	t.is(repositories.remove('a').name, 'a');
	t.deepEqual(repositories.all(), []);
	t.is(jobs.get(id).repository, 'a');
});

test('jobs: from waiting to their end, bounded in number, forgotten after many later ones', async (t) => {
	const { path, configuration, repositories, jobs } = await fresh(t);
	repositories.add(folder('a'));
	const wish = { kind: 'export', volume: 'data', volumeUuid: uuid, snapshot: 'one', snapshotId: 7, full: false } as const;
	refuses(t, 'invalid', () => jobs.add('a', { ...wish, bytesPerSecond: limits.archiveBytesPerSecondMin - 1 }), /rate/);
	const { id } = jobs.add('a', wish);
	t.deepEqual(jobs.begin(id).wish, wish);
	jobs.again(id, 'The store does not answer.');
	t.like(jobs.get(id), { state: 'waiting', attempts: 1, fault: 'The store does not answer.', finishedAt: undefined });
	t.like(jobs.begin(id), { state: 'running', attempts: 2, fault: undefined });
	configuration.close();
	const again = new Configuration(path);
	t.teardown(() => again.close());
	t.deepEqual(
		again.archiveJobs.pending().map((job) => job.id),
		[id],
	);
	again.archiveJobs.end(id, { state: 'done', result: { chunks: 3 } });
	t.like(again.archiveJobs.get(id), { state: 'done', result: { chunks: 3 } });
	t.deepEqual(again.archiveJobs.pending(), []);
	refuses(t, 'notFound', () => again.archiveJobs.get(99));
	let last = id;
	for (let count = 0; count < limits.archiveJobs; count++) last = again.archiveJobs.add('a', { kind: 'gc' }).id;
	refuses(t, 'inUse', () => again.archiveJobs.add('a', { kind: 'gc' }), /the most/);
	for (const job of again.archiveJobs.pending()) again.archiveJobs.end(job.id, { state: 'done' });
	t.is(again.archiveJobs.all().length, limits.archiveJobsRemembered);
	t.is(again.archiveJobs.all()[0]?.id, last);
	t.is(again.archiveJobs.find(id), undefined);
	t.true(again.archiveJobs.add('a', { kind: 'gc' }).id > last);
});

test('what was archived is known by the ids of volume and snapshot, and goes with either side', async (t) => {
	const { configuration, repositories, jobs } = await fresh(t);
	for (const name of ['a', 'b']) repositories.add(folder(name));
	configuration.addVolume({ name: 'data', uuid, sizeBytes: 4096, blockSize: 512 });
	const done = (repository: string, snapshotId: number, manifest: string, volumeUuid = uuid) =>
		jobs.end(jobs.add(repository, { kind: 'gc' }).id, { state: 'done' }, { volumeUuid, snapshotId, repository, manifest });
	done('a', 1, 'm1');
	done('b', 1, 'm1');
	done('a', 2, 'm2');
	done('a', 3, 'm3', '01234567-89ab-4cde-8f01-23456789abce');
	const known = () => jobs.archived(uuid).map(({ snapshotId, repository, manifest }) => `${snapshotId} ${repository} ${manifest}`);
	t.deepEqual(known(), ['1 a m1', '1 b m1', '2 a m2']);
	t.deepEqual(jobs.archived('01234567-89ab-4cde-8f01-23456789abce'), []);
	jobs.forgetManifest('a', 'm1');
	t.deepEqual(known(), ['1 b m1', '2 a m2']);
	jobs.forgetSnapshot(uuid, 2);
	t.deepEqual(known(), ['1 b m1']);
	repositories.remove('b');
	t.deepEqual(known(), []);
	done('a', 1, 'm1');
	configuration.removeVolume('data');
	t.deepEqual(known(), []);
});

test('secrets stand in config.db only, which nobody else may read', async (t) => {
	const { path, repositories } = await fresh(t);
	const row = repositories.add({ ...folder('a'), passphrase: 'correct horse battery' });
	t.false(JSON.stringify(row.location).includes('correct'));
	t.true(readFileSync(`${path}-wal`).includes('correct horse battery'));
});
