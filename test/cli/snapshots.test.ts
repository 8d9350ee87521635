import { link, mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { EventView } from '../../src/admin/event-schemas.ts';
import type { ScheduleDetailView, ScheduleRunView } from '../../src/admin/schedule-schemas.ts';
import type { StatusView, VolumeView } from '../../src/admin/schemas.ts';
import type { SnapshotView } from '../../src/admin/snapshot-schemas.ts';
import { InitiatorDisk } from '../initiator/disk.ts';
import { Session } from '../initiator/session.ts';
import { temporaryDirectory } from '../temporary.ts';
import { blockport, serve } from './process.ts';

const target = 'iqn.2026-11.dev.blockport:demo';
const subsystem = 'nqn.2026-11.dev.blockport:demo';

test('the commands of the manual: snapshots on a running appliance, which outlive its death', async (t) => {
	const folder = await temporaryDirectory(t);
	const first = await serve(t, folder, '--demo', '--demo-size', '64M', '--log-level', 'error');
	const { run, json } = first;
	t.is((await run('snapshot', 'list')).stdout, 'There are no snapshots.\n');
	t.is((await run('snapshot', 'create', 'demo', 'one')).stdout, 'snapshot demo@one made\n');
	const made = await json<{ snapshots: SnapshotView[] }>('snapshot', 'create', 'demo', 'two');
	t.like(made.snapshots[0], { volume: 'demo', name: 'two', parent: 'one', sizeBytes: 2 ** 26 });
	t.regex((await run('snapshot', 'list', 'demo')).stdout, /^demo@one +2026|^demo@one +\d{4}-.* 64 MiB/m);
	t.regex((await run('snapshot', 'show', 'demo@two')).stdout, /^stands on +one$/m);
	t.is(
		(await run('snapshot', 'mount', 'demo@one', '--target', target, '--subsystem', subsystem, '--nsid', '9')).stdout,
		`snapshot demo@one is LUN 1 of ${target} and namespace 9 of ${subsystem}, read-only\n`,
	);
	t.regex((await run('target', 'show', target)).stdout, /^LUNs +0=demo 1=demo@one$/m);
	t.regex((await run('subsystem', 'show', subsystem)).stdout, /^namespaces +1=demo 9=demo@one$/m);
	const { iscsi } = await json<StatusView>('status');
	const session = await Session.open({ port: iscsi?.port ?? 0, targetName: target });
	t.regex(
		(await run('snapshot', 'restore', 'demo@one')).stderr,
		/to snapshot one, losing what was written since, while iqn\.\S+ \(iSCSI, logged in to \S+:demo\) uses it needs --yes/,
	);
	await session.logout();
	t.is((await run('snapshot', 'delete', 'demo@one', '--yes')).code, 1);
	t.is((await run('snapshot', 'diff', 'demo@one')).stdout, 'Nothing was written.\n');
	t.regex((await run('volume', 'space', 'demo')).stdout, /^NAME +SHOWS +HOLDS ALONE\ndemo +0 B +0 B\ndemo@one +0 B +0 B\n/);
	t.is((await run('volume', 'create', 'other', '--size', '64M')).code, 0);
	t.is((await run('snapshot', 'create', 'demo,other', 'both')).stdout, 'snapshot demo@both made\nsnapshot other@both made\n');
	t.is((await run('snapshot', 'delete', 'demo@both', '-y')).code, 0);
	first.child.kill('SIGKILL');
	await first.ended;

	const again = await serve(t, folder, '--log-level', 'error');
	t.regex((await again.run('snapshot', 'list')).stdout, new RegExp(`^demo@one +.* LUN 1 of ${target}, namespace 9 of ${subsystem}$`, 'm'));
	t.is((await again.run('snapshot', 'unmount', 'demo@one')).stdout, 'snapshot demo@one unmounted\n');
	t.is((await again.run('snapshot', 'unmount', 'demo@one')).code, 1);
	t.is(
		(await again.run('snapshot', 'restore', 'demo@one', '--keep-live-as', 'three', '-y')).stdout,
		'volume demo is what snapshot one holds\n',
	);
	t.is((await again.run('snapshot', 'delete', 'demo@two', '-y', '--wait')).stdout, 'snapshot demo@two deleted\n');
	t.regex((await again.run('snapshot', 'clone', 'demo@one', 'copy')).stdout, /^volume copy made of demo@one: 64 MiB, uuid /);
	t.is((await again.run('snapshot', 'clone', 'demo@one', 'copy')).code, 1);
	t.is((await again.run('volume', 'flatten', 'copy', '--wait')).stdout, 'volume copy stands on its own\n');
	const left = await again.json<{ snapshots: SnapshotView[] }>('snapshot', 'list', 'demo');
	t.deepEqual(
		left.snapshots.map(({ name }) => name),
		['one', 'three'],
	);
	await again.run('snapshot', 'clone', 'demo@one', 'sharing');
	const listed = (await again.run('volume', 'list')).stdout;
	t.regex(listed, /^sharing .* online, not flattened/m);
	t.notRegex(listed, /^copy .* not flattened/m);
	const { uuid } = await again.json<VolumeView>('volume', 'show', 'sharing');
	again.child.kill('SIGTERM');
	await again.ended;
	const check = (volume: string) => blockport(['volume', 'check', volume, '--data-dir', again.dataDirectory]);
	for (const volume of ['demo', 'copy', 'sharing']) t.is((await check(volume)).stdout, `volume ${volume} is sound\n`);
	// A name too many for a file that two volumes share, and one beside them that is no volume.
	const layers = join(again.dataDirectory, 'volumes', uuid, 'layers');
	for (const name of await readdir(layers)) await link(join(layers, name), join(folder, name));
	t.regex((await check('sharing')).stdout, /has 3 names, 2 volumes need it/);
	await mkdir(join(again.dataDirectory, 'volumes', 'lost'));
	t.is((await check('copy')).stdout, 'volume copy is sound\n');
});

test('the commands of the manual: schedules on a running appliance', async (t) => {
	const { run, json } = await serve(t, await temporaryDirectory(t), '--log-level', 'silent');
	t.is((await run('schedule', 'list')).stdout, 'There are no schedules.\n');
	t.is((await run('event', 'list')).stdout, 'There are no events.\n');
	t.is((await run('volume', 'create', 'data', '--size', '64M')).code, 0);
	const words = ['--volume', 'data', '--cron', '0 4 * * mon-fri', '--zone', 'Europe/Berlin', '--keep-last', '3', '--keep-weekly', '4'];
	t.regex(
		(await run('schedule', 'create', 'nightly', ...words)).stdout,
		/^schedule nightly made: next 20\d\d-\d\d-\d\dT0[23]:00:00\.000Z\n$/,
	);
	t.regex((await run('schedule', 'list')).stdout, /^nightly +data +0 4 \* \* mon-fri +Europe\/Berlin +3 last, 4 weekly +20.*Z +ok$/m);
	const ran = await json<ScheduleRunView>('schedule', 'run', 'nightly');
	t.regex(ran.name, /^nightly-20\d{6}-\d{6}$/);
	t.regex(
		(await run('schedule', 'change', 'nightly', '--keep-weekly', '0', '--cron', '@daily')).stdout,
		/^schedule nightly changed: next /,
	);
	const shown = await json<ScheduleDetailView>('schedule', 'show', 'nightly');
	t.like(shown, {
		cron: '@daily',
		zone: 'Europe/Berlin',
		keep: { last: 3, weekly: 0 },
		snapshots: [{ name: ran.name, keptFor: ['last'] }],
	});
	t.regex((await run('schedule', 'show', 'nightly')).stdout, new RegExp(`^data@${ran.name} +20.*Z  kept as last$`, 'm'));
	t.regex((await run('snapshot', 'list')).stdout, /^data@nightly-.* nightly$/m);
	t.is((await json<{ events: EventView[] }>('event', 'list')).events[0]?.kind, 'snapshot-made');
	t.is((await json<{ events: EventView[] }>('event', 'list', '--after', '1')).events.length, 0);
	t.regex((await run('volume', 'delete', 'data', '-y')).stderr, /delete schedule nightly/);
	t.is((await run('schedule', 'delete', 'nightly')).stdout, 'schedule nightly deleted; its snapshots stay\n');
	t.is((await run('schedule', 'run', 'nightly')).code, 1);
	t.is((await run('volume', 'delete', 'data', '-y')).code, 0);
});

test('volume scrub: a sound volume, one with a damaged page, and by the clock', async (t) => {
	const { run, json, dataDirectory } = await serve(t, await temporaryDirectory(t), '--demo', '--demo-size', '64M', '--log-level', 'silent');
	const { iscsi } = await json<StatusView>('status');
	const session = await Session.open({ port: iscsi?.port ?? 0, targetName: target });
	const disk = new InitiatorDisk(session, 0);
	// The unit attention of a new nexus.
	await disk.execute((cdb) => void cdb.fill(0));
	const written = await disk.execute((cdb) => cdb.set([0x2a, 0, 0, 0, 0, 0, 0, 0, 80, 0]), { dataOut: Buffer.alloc(80 * 512, 7) });
	t.is(written.status, 0);
	session.destroy();
	// Its layer is complete as soon as somebody reads it: the page stands in a file then.
	await run('snapshot', 'create', 'demo', 'one');
	await run('snapshot', 'mount', 'demo@one', '--target', target);
	const sound = await run('volume', 'scrub', 'demo', '--wait', '--rate', '1G');
	t.is(sound.code, 0, sound.stderr);
	t.regex(sound.stdout, /^last +\S+: 10 pages, 0 not sound, 0 repaired$/m);
	t.is(sound.stderr, '', 'no bar where there is no terminal');

	const { uuid } = await json<VolumeView>('volume', 'show', 'demo');
	const file = await open(join(dataDirectory, 'volumes', uuid, 'layers', '1.data'), 'r+');
	await file.write(Buffer.from('damage'), 0, 6, 3 * 4096 + 100);
	await file.close();
	const bad = await run('volume', 'scrub', 'demo', '--wait');
	t.is(bad.code, 1);
	t.regex(bad.stderr, /^blockport: Volume demo is not sound: one page\.$/m);
	t.regex(bad.stdout, /^found +layer 1 of a snapshot, page 3, LBA 24: data, not repaired \(no snapshot that shows it was archived\)$/m);
	t.regex(
		(await run('event', 'list')).stdout,
		/error +Volume demo, layer 1 \(of a snapshot\), page 3, LBA 24 does not match its checksum, and was not repaired: no snapshot that shows it was archived\.$/m,
	);

	t.regex(
		(await run('volume', 'scrub', 'demo', '--cron', '@weekly', '--zone', 'Europe/Berlin')).stdout,
		/^by the clock +@weekly \(Europe\/Berlin\), next 20/m,
	);
	t.regex((await run('volume', 'scrub', 'demo', '--status')).stdout, /^state +idle$/m);
	t.notRegex((await run('volume', 'scrub', 'demo', '--no-cron')).stdout, /by the clock/);
	t.is((await run('volume', 'scrub', 'demo', '--stop')).code, 1);
	t.is((await run('volume', 'scrub', 'demo', '--stop', '--wait')).code, 2);
	t.is((await run('volume', 'scrub', 'demo', '--zone', 'UTC')).code, 2);
	t.is((await run('volume', 'scrub', 'demo', '--rate', '1K')).code, 2);
	t.is((await run('volume', 'scrub', 'none')).code, 1);
});

test('snapshots and schedules: what is asked wrongly is 2, what cannot be done is 1, each in one sentence', async (t) => {
	const { run } = await serve(t, await temporaryDirectory(t), '--log-level', 'silent');
	await run('volume', 'create', 'data', '--size', '64M');
	await run('snapshot', 'create', 'data', 'one');
	const cases: [number, string[], RegExp][] = [
		[2, ['snapshot', 'create', 'data', 'a b'], /no name of a snapshot/],
		[2, ['snapshot', 'create', 'data,data', 'two'], /different names/],
		[2, ['snapshot', 'show', 'data'], /VOLUME@NAME/],
		[2, ['snapshot', 'show', 'data@one@two'], /VOLUME@NAME/],
		[2, ['snapshot', 'delete', 'data@one'], /--yes/],
		[2, ['volume', 'delete', 'data'], /Deleting volume data, its snapshot and all its data needs --yes/],
		[2, ['snapshot', 'restore', 'data@one'], /losing what was written since.*--yes/],
		[2, ['snapshot', 'mount', 'data@one'], /Name the target/],
		[2, ['schedule', 'create', 's', '--volume', 'data', '--cron', '* * * *', '--keep-last', '1'], /five fields/],
		[2, ['schedule', 'create', 's', '--volume', 'data', '--cron', '@daily'], /at least one of/],
		[2, ['schedule', 'create', 's', '--volume', 'data', '--cron', '@daily', '--keep-last', 'x'], /whole number/],
		[2, ['schedule', 'create', 's', '--volume', 'data', '--cron', '@daily', '--keep-last', '1', '--zone', 'Mars'], /time zone/],
		[1, ['schedule', 'create', 's', '--volume', 'none', '--cron', '@daily', '--keep-last', '1'], /no volume none/],
		[1, ['snapshot', 'create', 'data', 'one'], /already/],
		[1, ['snapshot', 'show', 'data@two'], /no snapshot data@two/],
		[1, ['snapshot', 'mount', 'data@one', '--target', target], /no target/],
		[1, ['schedule', 'show', 's'], /no schedule s/],
	];
	for (const [code, words, sentence] of cases) {
		const result = await run(...words);
		t.is(result.code, code, `${words.join(' ')}: ${result.stderr}`);
		t.regex(result.stderr, sentence, words.join(' '));
		t.notRegex(result.stderr, /^\s+at /m);
	}
});
