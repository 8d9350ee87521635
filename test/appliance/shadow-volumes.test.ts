import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Appliance, realParts } from '../../src/appliance.ts';
import { shadowsMax } from '../../src/appliance/shadow-volumes.ts';
import type { OpenVolume } from '../../src/appliance/volume-slot.ts';
import type { Outcome } from '../../src/blockvol/block-device.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';

const anywhere = { host: '127.0.0.1', port: 0 };
const target = 'iqn.2026-11.dev.blockport:one';
const mib = 2 ** 20;

/** What the engine has opened last, by uuid. */
const opened = new Map<string, OpenVolume>();

async function start(t: ExecutionContext, dataDirectory: string) {
	const parts = realParts();
	const open: typeof parts.engine.open = async (directory, options) => {
		const volume = await parts.engine.open(directory, options);
		opened.set(volume.uuid, volume);
		return volume;
	};
	const one = new Appliance(
		{ dataDirectory, version: '1', log: silent, iscsi: anywhere, nvme: 'none', nvmeDiscovery: 'none', admin: anywhere, drainMs: 1 },
		{ ...parts, engine: { ...parts.engine, open } },
	);
	t.teardown(() => one.stop());
	await one.start();
	return one;
}

function write(device: Pick<OpenVolume, 'write'>, offsetBytes: number, text: string): Promise<Outcome> {
	return new Promise((resolve) => device.write(offsetBytes, Buffer.alloc(4096, text), false, { complete: resolve }));
}

function text(device: Pick<OpenVolume, 'read'>, offsetBytes: number): Promise<string> {
	const target = Buffer.alloc(4096);
	return new Promise((resolve) =>
		device.read(offsetBytes, target, { complete: (outcome) => resolve(outcome === 'good' ? target.toString('latin1', 0, 3) : outcome) }),
	);
}

async function live(one: Appliance, name: string): Promise<OpenVolume> {
	const found = opened.get((await one.operations.volume(name)).uuid);
	if (found === undefined) throw new Error(`no volume ${name}`);
	return found;
}

async function refuses(t: ExecutionContext, code: UsageErrorCode, action: () => Promise<unknown>): Promise<void> {
	const error = await t.throwsAsync(action, { instanceOf: UsageError });
	t.is(error?.code, code, error?.message);
}

test('a volume is not there before it is published, and then it is, also after a restart', async (t) => {
	const path = await temporaryDirectory(t);
	const one = await start(t, path);
	const shadow = await one.shadows.begin('data', mib, 4096);
	t.is(await write(shadow.device, 8192, 'abc'), 'good');
	t.deepEqual(await one.operations.volumes(), []);
	await refuses(t, 'notFound', () => one.operations.volume('data'));
	const made = await shadow.publish();
	t.like(made, { name: 'data', sizeBytes: mib, blockSize: 4096, state: 'online', uuid: shadow.device.uuid });
	t.is(await text(await live(one, 'data'), 8192), 'abc');
	await shadow.discard();
	await refuses(t, 'inUse', () => shadow.publish());
	await one.stop();
	const again = await start(t, path);
	t.is(await text(await live(again, 'data'), 8192), 'abc');
});

test('what was discarded, and what a stop or a crash leaves, is gone with its directory', async (t) => {
	const path = await temporaryDirectory(t);
	const one = await start(t, path);
	const names = () => readdir(join(path, 'volumes'));
	const first = await one.shadows.begin('data', mib, 512);
	t.deepEqual(await names(), [first.device.uuid]);
	await first.discard();
	await first.discard();
	t.deepEqual(await names(), []);
	const second = await one.shadows.begin('data', mib, 512);
	t.deepEqual(await names(), [second.device.uuid]);
	await one.stop();
	t.deepEqual(await names(), []);
	await refuses(t, 'unavailable', () => one.shadows.begin('data', mib, 512));
});

test('a name that is taken, twice the same name, and one shadow too many are refused', async (t) => {
	const one = await start(t, await temporaryDirectory(t));
	await one.operations.createVolume({ name: 'there', sizeBytes: mib, blockSize: 512 });
	await refuses(t, 'alreadyExists', () => one.shadows.begin('there', mib, 512));
	await refuses(t, 'invalid', () => one.shadows.begin('odd', mib + 1, 512));
	await refuses(t, 'notFound', () => one.shadows.begin('absent', mib, 512, { overwrite: { keepAs: 'old' } }));
	await refuses(t, 'alreadyExists', () => one.shadows.begin('there', mib, 512, { overwrite: { keepAs: 'there' } }));
	const shadow = await one.shadows.begin('s0', mib, 512);
	await refuses(t, 'inUse', () => one.shadows.begin('s0', mib, 512));
	for (let index = 1; index < shadowsMax; index++) await one.shadows.begin(`s${index}`, mib, 512);
	await refuses(t, 'inUse', () => one.shadows.begin('more', mib, 512));
	await shadow.discard();
	await one.shadows.begin('more', mib, 512);
});

test('a flush that fails: no volume, also not after a restart', async (t) => {
	const path = await temporaryDirectory(t);
	const one = await start(t, path);
	const shadow = await one.shadows.begin('data', mib, 512);
	await write(shadow.device, 0, 'abc');
	shadow.device.flush = (completion) => queueMicrotask(() => completion.complete('faulted'));
	await refuses(t, 'unavailable', () => shadow.publish());
	t.deepEqual(await one.operations.volumes(), []);
	await one.stop();
	t.deepEqual(await (await start(t, path)).operations.volumes(), []);
	t.deepEqual(await readdir(join(path, 'volumes')), []);
});

test('a name that was taken meanwhile: publish is refused, the volume there stays, the shadow can be discarded', async (t) => {
	const path = await temporaryDirectory(t);
	const one = await start(t, path);
	const shadow = await one.shadows.begin('data', mib, 512);
	await one.operations.createVolume({ name: 'data', sizeBytes: 2 * mib, blockSize: 512 });
	await refuses(t, 'alreadyExists', () => shadow.publish());
	t.is((await one.operations.volume('data')).sizeBytes, 2 * mib);
	await shadow.discard();
	t.deepEqual(await readdir(join(path, 'volumes')), [(await one.operations.volume('data')).uuid]);
});

test('overwrite: the name leads to the new volume and the old one has another name, also after a restart; a mapped one is refused', async (t) => {
	const path = await temporaryDirectory(t);
	const one = await start(t, path);
	const before = await one.operations.createVolume({ name: 'data', sizeBytes: mib, blockSize: 512 });
	await write(await live(one, 'data'), 0, 'old');
	await one.operations.createTarget({ name: target, alias: '', tpgt: 1 });
	await one.operations.map(target, { volume: 'data' });
	const overwrite = { keepAs: 'data-before' };
	await refuses(t, 'inUse', () => one.shadows.begin('data', 2 * mib, 4096, { overwrite }));
	await one.operations.unmap(target, 0);

	const shadow = await one.shadows.begin('data', 2 * mib, 4096, { overwrite });
	await write(shadow.device, 0, 'new');
	await one.operations.map(target, { volume: 'data' });
	await refuses(t, 'inUse', () => shadow.publish({ overwrite }));
	t.is(await text(await live(one, 'data'), 0), 'old');
	await one.operations.unmap(target, 0);

	t.like(await shadow.publish({ overwrite }), { name: 'data', sizeBytes: 2 * mib, blockSize: 4096, uuid: shadow.device.uuid });
	t.like(await one.operations.volume('data-before'), { sizeBytes: mib, blockSize: 512, uuid: before.uuid, state: 'online' });
	// What the target shows from now on is the new one.
	await one.operations.map(target, { volume: 'data' });
	t.is(await text(await live(one, 'data'), 0), 'new');
	t.is(await text(await live(one, 'data-before'), 0), 'old');
	await one.stop();
	const again = await start(t, path);
	t.is(await text(await live(again, 'data'), 0), 'new');
	t.is(await text(await live(again, 'data-before'), 0), 'old');
	await again.operations.deleteVolume('data-before');
});
