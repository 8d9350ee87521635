import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Appliance } from '../../src/appliance.ts';
import { beginSanitize } from '../../src/blockvol/sanitize.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { silent } from '../../src/os/logger.ts';
import { InitiatorDisk, senseCodes } from '../initiator/disk.ts';
import { defaultInitiatorName } from '../initiator/login.ts';
import { Session } from '../initiator/session.ts';
import { temporaryDirectory } from '../temporary.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const anywhere = { host: '127.0.0.1', port: 0 };
const mebibyte = 1024 * 1024;
const secret = Buffer.alloc(4096, 'what nobody shall read again');

async function exported(t: ExecutionContext, dataDirectory: string) {
	const ports = { iscsi: anywhere, nvme: 'none' as const, nvmeDiscovery: 'none' as const, admin: anywhere };
	const one = new Appliance({ dataDirectory, version: '1', log: silent, ...ports, drainMs: 200 });
	t.teardown(() => one.stop());
	await one.start();
	return one;
}

async function attach(t: ExecutionContext, one: Appliance, isid = '800000000001') {
	const session = await Session.open({ port: one.iscsi?.port ?? 0, targetName: target, isid: Buffer.from(isid, 'hex') });
	t.teardown(() => session.destroy());
	const disk = new InitiatorDisk(session, 0);
	const send = async (cdb: readonly number[], transfer: { dataOut?: Buffer; dataInBytes?: number } = {}) => {
		const { status, sense, data } = await disk.execute((buffer) => buffer.fill(0) && buffer.set(cdb), transfer);
		const { key, code, qualifier } = senseCodes(sense);
		return { status, code: [key, code, qualifier].map((part) => part.toString(16)).join('/'), data };
	};
	/** Until the unit attentions of a new session are told. */
	const told = async (): Promise<void> => {
		while ((await send([0, 0, 0, 0, 0, 0])).code.startsWith('6/'));
	};
	await told();
	const read = async (): Promise<Buffer> => (await send([0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0], { dataInBytes: 4096 })).data;
	const write = async (): Promise<unknown> => send([0x2a, 0x08, 0, 0, 0, 8, 0, 0, 8, 0], { dataOut: secret });
	const ready = async (): Promise<void> => {
		while ((await send([0, 0, 0, 0, 0, 0])).status !== 0) await new Promise((resolve) => setTimeout(resolve, 20));
	};
	return { send, read, write, ready };
}

async function setUp(t: ExecutionContext) {
	const dataDirectory = await temporaryDirectory(t);
	const one = await exported(t, dataDirectory);
	const { operations } = one;
	await operations.createTarget({ name: target, alias: '', tpgt: 1 });
	const { uuid } = await operations.createVolume({ name: 'first', sizeBytes: 16 * mebibyte, blockSize: 512 });
	await operations.map(target, { volume: 'first' });
	await operations.allow(target, defaultInitiatorName);
	return { one, operations, dataDirectory, directory: join(dataDirectory, 'volumes', uuid), ...(await attach(t, one)) };
}

/** Whether any file of a volume has the secret. */
async function tells(directory: string): Promise<boolean> {
	for (const folder of ['wal', 'layers'])
		for (const name of await readdir(join(directory, folder)))
			if ((await readFile(join(directory, folder, name))).includes('what nobody shall read again')) return true;
	return false;
}

const blockErase = [0x48, 0x02, 0, 0, 0, 0, 0, 0, 0, 0];

test('SANITIZE is not there before the operator says so; then nothing of what was written is in any file of the volume, and the volume goes on', async (t) => {
	const { operations, send, read, write, directory } = await setUp(t);
	await write();
	t.is((await send(blockErase)).code, '5/20/0');
	t.true(await tells(directory));
	const view = await operations.setSanitizable('first', true);
	t.true(view.sanitizable);
	t.is((await send(blockErase)).status, 0);
	t.false(await tells(directory));
	t.deepEqual(await read(), Buffer.alloc(4096));
	await write();
	t.deepEqual(await read(), secret);
	const pattern = Buffer.from([0x01, 0, 0, 4, 0xde, 0xad, 0xbe, 0xef]);
	t.is((await send([0x48, 0x01, 0, 0, 0, 0, 0, 0, pattern.length, 0], { dataOut: pattern })).status, 0);
	t.false(await tells(directory));
	t.deepEqual(await read(), Buffer.alloc(4096, Buffer.from('deadbeef', 'hex')));
	t.is((await operations.volume('first')).state, 'online');
	t.is((await operations.setSanitizable('first', false)).sanitizable, undefined);
	t.is((await send(blockErase)).code, '5/20/0');
});

test('snapshots keep what a volume holds: COMMAND SEQUENCE ERROR, and the data are there', async (t) => {
	const { one, operations, send, read, write } = await setUp(t);
	await write();
	await operations.setSanitizable('first', true);
	const address = `http://127.0.0.1:${one.admin?.port}`;
	const made = await fetch(`${address}/v1/snapshots`, {
		method: 'POST',
		headers: { 'content-type': 'application/json' },
		body: JSON.stringify({ volumes: ['first'], name: 'monday' }),
	});
	t.is(made.status, 201);
	t.is((await send(blockErase)).code, '5/2c/0');
	t.deepEqual(await read(), secret);
	t.is((await fetch(`${address}/v1/volumes/first/snapshots/monday`, { method: 'DELETE' })).status, 204);
	for (let status = 2; status !== 0;) {
		const answer = await send(blockErase);
		t.true(answer.status === 0 || answer.code === '5/2c/0', answer.code);
		status = answer.status;
	}
	t.deepEqual(await read(), Buffer.alloc(4096));
});

test('an appliance that was killed in the middle goes on with it at the next start: NOT READY until then, and never an old byte', async (t) => {
	const { one, write, operations, dataDirectory, directory } = await setUp(t);
	await write();
	await operations.setSanitizable('first', true);
	await one.stop();
	t.true(await tells(directory));
	await beginSanitize(new FileDisk(), directory, {
		method: 'blockErase',
		passes: 2,
		invert: true,
		pattern: new Uint8Array(1),
		mayExitFailure: false,
	});
	const again = await exported(t, dataDirectory);
	const { read, ready } = await attach(t, again);
	await ready();
	t.deepEqual(await read(), Buffer.alloc(4096));
	t.false(await tells(directory));
	t.is((await again.operations.volume('first')).state, 'online');
});

test('the appliance ends in the middle: what an initiator has begun is not forgotten', async (t) => {
	const { one, write, operations, send, dataDirectory, directory } = await setUp(t);
	await write();
	await operations.setSanitizable('first', true);
	const pattern = Buffer.from([31, 0, 0, 1, 0]);
	t.is((await send([0x48, 0x81, 0, 0, 0, 0, 0, 0, pattern.length, 0], { dataOut: pattern })).status, 0);
	t.is((await send([0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0], { dataInBytes: 4096 })).code, '2/4/1b');
	t.is((await operations.volume('first')).state, 'sanitizing');
	await t.throwsAsync(operations.resizeVolume('first', 32 * mebibyte), { name: 'UsageError' });
	await one.stop();
	const again = await exported(t, dataDirectory);
	const { send: sendAgain } = await attach(t, again, '800000000002');
	const answer = await sendAgain([0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0], { dataInBytes: 4096 });
	t.true(answer.code === '2/4/1b' || !answer.data.includes('what nobody'), answer.code);
	await again.stop();
	t.true((await readdir(directory)).includes('superblock'));
});
