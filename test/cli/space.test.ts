import test from 'ava';
import type { EventView } from '../../src/admin/event-schemas.ts';
import type { StatusView } from '../../src/admin/schemas.ts';
import type { VolumeLimitsView } from '../../src/admin/space-schemas.ts';
import { InitiatorDisk, senseCodes } from '../initiator/disk.ts';
import { Session } from '../initiator/session.ts';
import { temporaryDirectory } from '../temporary.ts';
import { serve } from './process.ts';

test('a quota on a running appliance: writes end with SPACE ALLOCATION FAILED, reads go on, the threshold is a unit attention and an event, and more quota lifts it', async (t) => {
	const { run, json } = await serve(t, await temporaryDirectory(t), '--demo', '--demo-size', '64M', '--log-level', 'silent');
	t.regex((await run('volume', 'limit', 'demo')).stdout, /^quota +none$/m);
	t.regex((await run('volume', 'limit', 'demo', '--quota', '4M', '--threshold', '50')).stdout, /^quota +4 MiB\nthreshold +50 %$/m);
	t.regex((await run('space')).stdout, /^threshold +90 %/m);
	t.is((await run('space', '--threshold', 'none')).stderr, '');
	t.regex((await run('space', '--threshold', 'none')).stdout, /^threshold +none$/m);
	for (const words of [
		['volume', 'limit', 'demo', '--quota', 'x'],
		['volume', 'limit', 'demo', '--threshold', '101'],
		['space', '--threshold', '0'],
		['volume', 'limit', 'demo', '--quota', '4096'],
	])
		t.is((await run(...words)).code, 2, words.join(' '));
	t.is((await run('volume', 'limit', 'none')).code, 1);
	const { iscsi } = await json<StatusView>('status');
	const session = await Session.open({ port: iscsi?.port ?? 0, targetName: 'iqn.2026-11.dev.blockport:demo' });
	const disk = new InitiatorDisk(session, 0);
	await disk.becomeReady();
	const codes = new Set<string>();
	const write = async (lba: number): Promise<number> => {
		const cdb = Buffer.from([0x2a, 0, 0, 0, 0, 0, 0, 0, 128, 0]);
		cdb.writeUInt32BE(lba, 2);
		const { status, sense } = await disk.execute((target) => target.set(cdb), { dataOut: Buffer.alloc(64 * 1024, 7) });
		const { key, code, qualifier } = senseCodes(sense);
		if (status !== 0) codes.add([key, code, qualifier].map((one) => one.toString(16)).join('/'));
		return status;
	};
	// 16 MiB, of which hardly 4 have room; each unit attention lets one go by.
	let good = 0;
	for (let at = 0; at < 256; at++) if ((await write(at * 128)) === 0) good++;
	t.true(good >= 60 && good <= 64, `${good} of 64 KiB`);
	t.true(codes.has('7/27/7'), [...codes].join(' '));
	const reading = await disk.execute((cdb) => cdb.set([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]), { dataInBytes: 512 });
	t.is(reading.data[0] ?? reading.sense[12], 7);
	const testUnitReady = async (): Promise<void> => {
		const { status, sense } = await disk.execute((cdb) => void cdb.fill(0));
		const { key, code, qualifier } = senseCodes(sense);
		if (status !== 0) codes.add([key, code, qualifier].map((one) => one.toString(16)).join('/'));
	};
	// The kernel is asked once a second at most, and the clock looks every five.
	let kinds: string[] = [];
	for (let attempt = 0; attempt < 300 && !(kinds.includes('volume-full') && kinds.includes('volume-space-low')); attempt++) {
		await testUnitReady();
		kinds = (await json<{ events: EventView[] }>('event', 'list')).events.map(({ kind }) => kind);
	}
	t.true(kinds.includes('volume-full') && kinds.includes('volume-space-low'), kinds.join(' '));
	// The first one looks, the second one is told.
	for (let at = 0; at < 2; at++) await testUnitReady();
	t.true(codes.has('6/38/7'), [...codes].join(' '));
	t.like(await json<VolumeLimitsView>('volume', 'limit', 'demo'), { isLow: true, isRefusing: true, quotaBytes: 4 * 2 ** 20 });
	await run('volume', 'limit', 'demo', '--quota', '8M');
	t.is(await write(255 * 128), 0);
	t.like(await json<VolumeLimitsView>('volume', 'limit', 'demo'), { isRefusing: false });
	await session.logout();
});
