import test from 'ava';
import type { ControllerView, SessionView, StatusView } from '../../src/admin/schemas.ts';
import type { RestoredView } from '../../src/admin/snapshot-schemas.ts';
import { toldText, whileUsed } from '../../src/cli/volume-users.ts';
import { defaultInitiatorName } from '../initiator/login.ts';
import { Session } from '../initiator/session.ts';
import { Association } from '../nvme-host/association.ts';
import { temporaryDirectory } from '../temporary.ts';
import { serve } from './process.ts';

const target = 'iqn.2026-11.dev.blockport:demo';
const subsystem = 'nqn.2026-11.dev.blockport:demo';

test('who uses something is named once, with the protocol and where, and eight at most', (t) => {
	const session = { initiator: 'iqn.a', target: 'iqn.t' };
	const controller = { host: 'nqn.h', subsystem: 'nqn.s' };
	t.is(whileUsed({ sessions: [], controllers: [] }), '');
	t.is(whileUsed({ sessions: [session, session], controllers: [] }), ', while iqn.a (iSCSI, logged in to iqn.t) uses it');
	t.is(
		whileUsed({ sessions: [session], controllers: [controller] }),
		', while iqn.a (iSCSI, logged in to iqn.t) and nqn.h (NVMe/TCP, connected to nqn.s) use it',
	);
	const many = (count: number) => Array.from({ length: count }, (_, index) => ({ initiator: `iqn.${index}`, target: 'iqn.t' }));
	t.notRegex(whileUsed({ sessions: many(8), controllers: [] }), /more/);
	t.regex(whileUsed({ sessions: many(9), controllers: [] }), /iqn\.6 \(iSCSI, logged in to iqn\.t\) and 2 more use it$/);
});

test('who was told of a restore is counted, and nothing is said where nobody was', (t) => {
	t.is(toldText({ told: { sessions: 0, controllers: 0 } }), '');
	t.regex(toldText({ told: { sessions: 1, controllers: 0 } }), /^; a session was told/);
	t.regex(toldText({ told: { sessions: 1, controllers: 2 } }), /^; a session and 2 controllers were told/);
});

test('what destroys names who is logged in and connected, in the question and with --yes; a restore says how many were told', async (t) => {
	const { run, json } = await serve(t, await temporaryDirectory(t), '--demo', '--demo-size', '64M', '--log-level', 'silent');
	const { iscsi, nvme } = await json<StatusView>('status');
	await run('snapshot', 'create', 'demo', 'one');
	const restore = ['snapshot', 'restore', 'demo@one'];
	const quiet = await run(...restore, '--yes');
	t.deepEqual([quiet.code, quiet.stderr, quiet.stdout], [0, '', 'volume demo is what snapshot one holds\n']);

	const session = await Session.open({ port: iscsi?.port ?? 0, targetName: target });
	const association = await Association.open({ port: nvme?.port ?? 0, subnqn: subsystem, katoMs: 120_000 });
	t.teardown(() => {
		session.destroy();
		association.destroy();
	});
	const [initiator] = (await json<{ sessions: SessionView[] }>('session', 'list')).sessions;
	const [host] = (await json<{ controllers: ControllerView[] }>('controller', 'list')).controllers;
	t.is(initiator?.initiator, defaultInitiatorName);
	const both = `${defaultInitiatorName} (iSCSI, logged in to ${target}) and ${host?.host} (NVMe/TCP, connected to ${subsystem}) use it`;
	const asked = await run(...restore);
	t.is(asked.code, 2);
	t.true(asked.stderr.includes(`, losing what was written since, while ${both} needs --yes`), asked.stderr);
	const done = await run(...restore, '--yes');
	t.is(done.code, 0, done.stderr);
	t.is(done.stderr, `blockport: warning: Restoring volume demo to snapshot one, losing what was written since, while ${both}.\n`);
	t.regex(done.stdout, /^volume demo is what snapshot one holds; a session and a controller were told/);
	const told = await json<RestoredView>(...restore, '--yes', '--keep-live-as', 'two');
	t.deepEqual(told.told, { sessions: 1, controllers: 1 });

	for (const [words, pattern] of [
		[['volume', 'delete', 'demo'], new RegExp(`all its data, while .*${target}.* and .*${subsystem}.* use it needs --yes`)],
		[['target', 'delete', target.toUpperCase()], new RegExp(`ending its sessions, while ${defaultInitiatorName}.* uses it needs --yes`)],
		[['subsystem', 'delete', subsystem], new RegExp(`ending its controllers, while ${host?.host}.* uses it needs --yes`)],
		[['archive', 'restore', 'none', 'manifest', 'demo', '--overwrite'], new RegExp(`while .*${target}.* use it needs --yes`)],
	] as const) {
		const refused = await run(...words);
		t.is(refused.code, 2);
		t.regex(refused.stderr, pattern);
	}
	const ended = await run('target', 'delete', target, '--yes');
	t.is(ended.code, 0, ended.stderr);
	t.regex(ended.stderr, /^blockport: warning: Deleting target .*logged in to/);
});
