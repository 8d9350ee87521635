import { mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ArchiveJobView, ManifestsView, RepositoryDetailView, SnapshotDeletionView } from '../../src/admin/archive-schemas.ts';
import type { EventView } from '../../src/admin/event-schemas.ts';
import { temporaryDirectory } from '../temporary.ts';
import { serve } from './process.ts';

test('the commands of the manual: an archive from its making to the restore, also after a crash', async (t) => {
	const folder = await temporaryDirectory(t);
	const backup = join(folder, 'backup');
	await mkdir(backup);
	await writeFile(join(folder, 'phrase'), 'correct horse battery\n');
	const first = await serve(t, folder, '--demo', '--demo-size', '8M', '--log-level', 'error');
	const { run, json } = first;
	t.is((await run('archive', 'repository', 'list')).stdout, 'There are no repositories.\n');
	const passphrase = ['--passphrase', `@${join(folder, 'phrase')}`];
	t.regex(
		(await run('archive', 'repository', 'add', 'off', '--folder', backup, ...passphrase, '--create')).stdout,
		/^repository off at .*backup made, encrypted: without the passphrase nobody reads it\n$/,
	);
	t.regex((await run('archive', 'repository', 'list')).stdout, /^off +\S+backup +yes +everything$/m);
	t.is((await run('archive', 'repository', 'change', 'off', '--keep-daily', '7', '--keep-last', '2')).stdout, 'repository off changed\n');
	const detail = await json<RepositoryDetailView>('archive', 'repository', 'show', 'off');
	t.like(detail, { state: 'reachable', isEncrypted: true, manifests: 0, keep: { last: 2, daily: 7 } });
	t.false(JSON.stringify(detail).includes('correct'));

	for (const name of ['one', 'two']) await run('snapshot', 'create', 'demo', name);
	const exported = await run('archive', 'export', 'demo@one', 'off');
	t.is(exported.code, 0, exported.stderr);
	t.regex(exported.stdout, /^export of demo@one to off: done$/m);
	const job = await json<ArchiveJobView>('archive', 'export', 'demo@two', 'off', '--limit', '100M');
	t.like(job, { kind: 'export', state: 'done', volume: 'demo', snapshot: 'two' });
	const { manifests } = await json<ManifestsView>('archive', 'list', 'off', '--volume', 'demo');
	t.deepEqual(
		manifests.map(({ snapshot, local }) => [snapshot.name, local]),
		[
			['one', 'demo@one'],
			['two', 'demo@two'],
		],
	);
	const [one = '', two = ''] = manifests.map(({ id }) => id);
	t.regex((await run('archive', 'list', 'off')).stdout, new RegExp(`^${one} +demo +one +.* last daily|^${one} +demo +one +.* last`, 'm'));
	t.regex((await run('archive', 'show', 'off', two)).stdout, /^snapshot +two$/m);
	t.regex((await run('archive', 'status')).stdout, /^1 +export of demo@one to off +done /m);
	t.is((await run('archive', 'verify', 'off', '--full')).code, 0);
	t.is((await run('archive', 'check', 'off')).code, 0);
	t.is((await run('archive', 'gc', 'off', '--grace', '1h')).code, 0);
	t.is((await run('archive', 'prune', 'off', '--dry-run')).stdout, 'Every archived snapshot is kept by a rule.\n2 are kept\n');
	first.child.kill('SIGKILL');
	await first.ended;

	const again = await serve(t, folder, '--log-level', 'error');
	const restored = await again.run('archive', 'restore', 'off', two, 'new');
	t.is(restored.code, 0, restored.stderr);
	t.regex((await again.run('volume', 'list')).stdout, /^new +8 MiB/m);
	const taken = await again.run('archive', 'restore', 'off', two, 'new');
	t.is(taken.code, 1);
	t.is(taken.stderr, 'blockport: There is a volume new already.\n');
	t.is((await again.run('archive', 'restore', 'off', two, 'new', '--overwrite', '--keep-as', 'old', '-y')).code, 0);
	t.regex((await again.run('volume', 'list')).stdout, /^old +8 MiB/m);

	const lazily = await again.run('archive', 'restore', 'off', two, 'lazily', '--lazy');
	t.is(lazily.code, 0, lazily.stderr);
	t.regex(lazily.stdout, /still to fetch +\d.*\n +until then needs repository +off\n/);
	t.regex((await again.run('volume', 'show', 'lazily')).stdout, /^state +online, not flattened$/m);

	t.regex((await again.run('snapshot', 'delete', 'demo@one')).stderr, new RegExp(`which stays as ${one} in repository off needs --yes`));
	t.is(
		(await again.run('snapshot', 'delete', 'demo@one', '-y')).stdout,
		`snapshot demo@one deleted\nit still lives as ${one} in repository off\n`,
	);
	const both = await again.json<SnapshotDeletionView>('snapshot', 'delete', 'demo@two', '--everywhere', '-y');
	t.deepEqual(both.deletedFrom, [{ repository: 'off', manifest: two }]);
	t.regex((await again.run('archive', 'delete', 'off', one, '-y')).stdout, /: deleted$/m);
	t.regex((await again.run('archive', 'delete', 'off', one, '-y')).stdout, /: was not there$/m);
	const { events } = await again.json<{ events: EventView[] }>('event', 'list');
	t.true(events.some(({ kind }) => kind === 'archive-restore'));
	await rename(backup, `${backup}-away`);
	t.is((await again.run('archive', 'repository', 'show', 'off')).code, 1);
	t.is((await again.run('archive', 'list', 'off')).code === 0, false);
	await rename(`${backup}-away`, backup);
	t.is((await again.run('archive', 'repository', 'remove', 'off', '-y')).stdout, 'repository off removed; what is in it stays\n');
	t.true((await readdir(backup)).length > 0);
});

test('what is asked wrongly of an archive is 2, what cannot be done is 1, each in one sentence', async (t) => {
	const folder = await temporaryDirectory(t);
	const { run } = await serve(t, folder, '--demo', '--demo-size', '8M', '--log-level', 'error');
	const cases: [number, RegExp, ...string[]][] = [
		[2, /--folder or --s3/, 'repository', 'add', 'off'],
		[2, /go with --s3/, 'repository', 'add', 'off', '--folder', folder, '--region', 'x'],
		[2, /s3:\/\/BUCKET/, 'repository', 'add', 'off', '--s3', 'bucket'],
		[2, /go together/, 'repository', 'add', 'off', '--s3', 's3://bucket', '--access-key-id', 'key'],
		[2, /8 to 1024 bytes/, 'repository', 'add', 'off', '--folder', folder, '--passphrase', 'short', '--create'],
		[1, /cannot be opened/, 'repository', 'add', 'off', '--folder', folder],
		[1, /make the folder, or mount its disk/, 'repository', 'add', 'off', '--folder', join(folder, 'none'), '--create'],
		[0, /^$/, 'repository', 'add', 'bare', '--folder', folder, '--create'],
		[1, /Repository bare is at .* already/, 'repository', 'add', 'off', '--folder', folder, '--create'],
		[1, /has no rules/, 'prune', 'bare', '--dry-run'],
		[1, /no repository off/, 'list', 'off'],
		[1, /no repository off/, 'export', 'demo@one', 'off'],
		[2, /VOLUME@NAME/, 'export', 'demo', 'off'],
		[2, /go.* with --overwrite/, 'restore', 'off', 'x', 'new', '--keep-as', 'old'],
		[1, /no volume new/, 'restore', 'off', 'x', 'new', '--overwrite'],
		[2, /needs --yes/, 'restore', 'off', 'x', 'demo', '--overwrite'],
		[2, /needs --yes/, 'delete', 'off', 'x'],
		[2, /exclude each other/, 'verify', 'off', '--quick', '--full'],
		[2, /a time such as/, 'gc', 'off', '--grace', 'soon'],
		[1, /no archive job 3/, 'cancel', '3'],
	];
	for (const [code, message, ...words] of cases) {
		const result = await run('archive', ...words);
		t.is(result.code, code, words.join(' '));
		t.regex(result.stderr, message, words.join(' '));
	}
});
