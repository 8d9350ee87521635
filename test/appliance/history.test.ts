import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { InitiatorDisk } from '../initiator/disk.ts';
import { Session } from '../initiator/session.ts';
import { blockport, serve } from '../cli/process.ts';
import { temporaryDirectory } from '../temporary.ts';
import { ApplianceHistory, type HistoryParts } from '../../src/appliance/history.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import type { EventView } from '../../src/admin/event-schemas.ts';
import type { HistoryView } from '../../src/admin/history-schemas.ts';
import type { StatusView } from '../../src/admin/schemas.ts';
import type { RestoredView, SnapshotView } from '../../src/admin/snapshot-schemas.ts';

const target = 'iqn.2026-11.dev.blockport:demo';

/** So that two moments are apart, whatever the machine does. */
async function apart(): Promise<string> {
	await delay(20);
	const at = new Date().toISOString();
	await delay(20);
	return at;
}

async function disk(status: StatusView, lun: number): Promise<InitiatorDisk> {
	const session = await Session.open({ port: status.iscsi?.port ?? 0, targetName: target });
	const found = new InitiatorDisk(session, lun);
	// What waits to be told first.
	for (let at = 0; at < 8; at++) if ((await found.execute((cdb) => void cdb.fill(0))).status === 0) break;
	return found;
}

test('the commands of the manual: a history on a running appliance, over its death and a restore; what was shown is shown again', async (t) => {
	const folder = await temporaryDirectory(t);
	const first = await serve(t, folder, '--demo', '--demo-size', '64M', '--log-level', 'error');
	const { run, json } = first;
	t.is((await run('volume', 'history', 'demo')).stdout, 'volume demo keeps no history\n');
	t.is((await run('volume', 'history', 'demo', '--on')).code, 2);
	t.regex(
		(await run('volume', 'history', 'demo', '--on', '--window', '1h', '--max-bytes', '1M')).stderr,
		/: a history of at most 1 MiB: at least 512 MiB are needed, 8 segments of the log\.$/m,
	);
	const begun = await json<HistoryView>('volume', 'history', 'demo', '--on', '--window', '1h', '--max-bytes', '1G');
	t.like(begun, { volume: 'demo', isOn: true, windowSeconds: 3600, maxBytes: 2 ** 30, anchors: 1 });

	const live = await disk(await json<StatusView>('status'), 0);
	const filled = (byte: number, lengthBytes: number): Buffer => Buffer.alloc(lengthBytes, byte);
	await live.write(0, filled(1, 2 ** 20), 512);
	const one = await apart();
	await live.write(8, filled(2, 4096), 512);
	const two = await apart();
	await live.write(0, filled(3, 2 ** 20), 512);
	t.is(
		(await run('volume', 'rewind', 'demo', '--to', one, '--view', 'at-one')).stdout,
		`snapshot demo@at-one shows what the volume held at ${one}\n`,
	);
	t.regex((await run('volume', 'rewind', 'demo', '--to', one, '--view', 'at-one')).stderr, /has a snapshot at-one already/);
	t.is((await run('volume', 'rewind', 'demo', '--to', one, '--view', '../x')).code, 2);
	const early = await run('volume', 'rewind', 'demo', '--to', '1h', '--view', 'early');
	t.is(early.code, 1);
	t.regex(early.stderr, /^blockport: Volume demo cannot be shown as it was at .*: the history does not reach back so far: .*\.\n$/);
	t.is((await run('volume', 'rewind', 'demo', '--to', one, '--view', 'x', '--restore')).code, 2);
	t.is((await run('snapshot', 'mount', 'demo@at-one', '--target', target, '--lun', '5')).code, 0);
	const shown = await disk(await json<StatusView>('status'), 5);
	t.deepEqual(await shown.read(0, 2048, 512), filled(1, 2 ** 20));
	await shown.session.logout();

	t.regex(
		(await run('volume', 'rewind', 'demo', '--to', two, '--restore')).stderr,
		/while \S+ \(iSCSI, logged in to \S+\) uses it needs --yes/,
	);
	t.regex(
		(await run('volume', 'rewind', 'demo', '--to', two, '--restore', '--keep-live-as', 'three', '--yes')).stdout,
		new RegExp(`^volume demo is what it was at ${two}; a session was told [^\\n]+\\n$`),
	);
	await live.session.logout();
	const names = (await json<{ snapshots: SnapshotView[] }>('snapshot', 'list', 'demo')).snapshots.map(({ name }) => name);
	t.deepEqual(names, ['at-one', 'three']);
	const kinds = (await json<{ events: EventView[] }>('event', 'list')).events.map(({ kind }) => kind);
	t.deepEqual(
		kinds.filter((kind) => /history|rewound|restored/.test(kind)),
		['history-on', 'volume-rewound', 'volume-restored', 'volume-rewound'],
	);
	const restoredAt = await apart();
	first.child.kill('SIGKILL');
	await first.ended;

	const again = await serve(t, folder, '--demo', '--log-level', 'error');
	const status = await again.json<StatusView>('status');
	const back = await disk(status, 0);
	t.deepEqual(await back.read(0, 24, 512), Buffer.concat([filled(1, 4096), filled(2, 4096), filled(1, 4096)]));
	t.like(await again.json<HistoryView>('volume', 'history', 'demo'), { isOn: true, windowSeconds: 3600, from: begun.from, anchors: 2 });
	for (const [name, at, byte] of [
		['before', two, 2],
		['after', restoredAt, 2],
		['first', one, 1],
	] as const) {
		t.is((await again.run('volume', 'rewind', 'demo', '--to', at, '--view', name)).code, 0, name);
		t.is((await again.run('snapshot', 'mount', `demo@${name}`, '--target', target, '--lun', '9')).code, 0);
		const view = await disk(status, 9);
		t.deepEqual(await view.read(8, 8, 512), filled(byte, 4096), name);
		await view.session.logout();
		t.is((await again.run('snapshot', 'unmount', `demo@${name}`)).code, 0);
	}
	t.is((await again.run('volume', 'history', 'demo', '--off', '--yes')).stdout, 'volume demo keeps no history\n');
	await back.session.logout();
	again.child.kill('SIGTERM');
	await again.ended;
	t.is((await blockport(['volume', 'check', 'demo', '--data-dir', again.dataDirectory])).stdout, 'volume demo is sound\n');
});

test('a rewind whose own snapshot cannot be removed is done all the same, and an event says what is left', async (t) => {
	const told: { kind: string; message: string }[] = [];
	const nothing = async (): Promise<void> => undefined;
	const volume = { keepHistory: nothing, endHistory: nothing, rewind: nothing, onHistory: () => undefined, history: undefined };
	const restored = { name: 'data' };
	const parts = {
		volumes: { openVolume: () => volume },
		events: { add: (event: { kind: string; message: string }) => void told.push(event) },
		snapshots: {
			restore: async () => restored,
			remove: async () => {
				throw new UsageError('It is mounted.', 'inUse');
			},
		},
		inTurn: async <T>(change: () => Promise<T>): Promise<T> => change(),
	};
	const history = new ApplianceHistory(parts as unknown as HistoryParts);
	t.is(await history.restore('data', { at: new Date().toISOString() }), restored as unknown as RestoredView);
	t.deepEqual(
		told.map(({ kind }) => kind),
		['volume-rewound', 'rewind-leftover'],
	);
	t.regex(told[1]?.message ?? '', /^Snapshot data@rewind-\S+ was made for a rewind and is still there: It is mounted\.$/);
});
