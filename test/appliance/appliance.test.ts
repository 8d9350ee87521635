import { once } from 'node:events';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { type Server, createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Appliance, type ApplianceOptions } from '../../src/appliance.ts';
import { demoSubsystem, demoTarget } from '../../src/appliance/demo.ts';
import { DataDirectory } from '../../src/appliance/data-directory.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';
import { type StandIns, session, standIns } from './stand-in.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const initiator = 'iqn.1993-08.org.debian:01:abc';
const anywhere = { host: '127.0.0.1', port: 0 };
const visitor = (initiatorName: string, address = '127.0.0.1') => ({ initiatorName, address });

function appliance(t: ExecutionContext, dataDirectory: string, options: Partial<ApplianceOptions> = {}, parts: StandIns = standIns()) {
	const made = new Appliance(
		{
			dataDirectory,
			version: '1.2.3',
			log: silent,
			iscsi: anywhere,
			nvme: anywhere,
			nvmeDiscovery: anywhere,
			admin: anywhere,
			drainMs: 1,
			...options,
		},
		parts.parts,
	);
	t.teardown(() => made.stop());
	return made;
}

function status(socketPath: string): Promise<number> {
	return new Promise((resolve, reject) => {
		request({ socketPath, path: '/readyz', agent: false }, (response) => {
			response.resume();
			resolve(response.statusCode ?? 0);
		})
			.on('error', reject)
			.end();
	});
}

async function holdPort(t: ExecutionContext, host = '127.0.0.1'): Promise<number> {
	const server: Server = createServer().listen(0, host);
	t.teardown(() => server.close());
	await once(server, 'listening');
	const address = server.address();
	return typeof address === 'object' && address !== null ? address.port : 0;
}

async function isUnlocked(path: string): Promise<boolean> {
	const directory = await DataDirectory.open(new FileDisk(), path, false);
	await directory.close();
	return true;
}

test('an empty directory becomes an appliance with nothing in it, open to nobody', async (t) => {
	const path = join(await temporaryDirectory(t), 'data');
	const parts = standIns();
	const one = appliance(t, path, {}, parts);
	await one.start();
	const shown = await one.operations.status();
	t.like(shown, { version: '1.2.3', state: 'ready', demo: false, targets: 0, sessions: 0, volumes: { opening: 0, online: 0, faulted: 0 } });
	t.true(shown.freeBytes > 0);
	t.is(shown.iscsi?.port, one.iscsi?.port);
	t.is(await status(one.socket), 200);
	t.deepEqual(parts.portal?.registry.visibleTo(visitor(initiator)), []);
	t.deepEqual(await one.stop(), []);
	t.is(parts.portal?.drainedMs, 1);
	t.deepEqual((await readdir(path)).toSorted(), ['config.db', 'lock', 'reserve', 'volumes']);
});

test('a second one on the same directory is refused with one sentence, and the first goes on', async (t) => {
	const path = await temporaryDirectory(t);
	const first = appliance(t, path);
	await first.start();
	await t.throwsAsync(appliance(t, path).start(), { instanceOf: UsageError, message: /Another blockport uses/ });
	t.is(await status(first.socket), 200);
});

test('the demo: one volume at LUN 0 of a target that everyone may use, the same after a restart', async (t) => {
	const path = await temporaryDirectory(t);
	const parts = standIns();
	const first = appliance(t, path, { demo: true, demoBytes: 2 ** 20 }, parts);
	await first.start();
	t.deepEqual(first.demo, { iscsi: { target: demoTarget, lun: 0 }, nvme: { subsystem: demoSubsystem, nsid: 1 } });
	const [volume] = await first.operations.volumes();
	t.like(volume, { name: 'demo', sizeBytes: 2 ** 20, state: 'online', mappings: [{ target: demoTarget, lun: 0, volume: 'demo' }] });
	t.deepEqual(
		parts.portal?.registry.visibleTo(visitor('iqn.anybody')).map(({ name }) => name),
		[demoTarget],
	);
	await first.stop();

	const again = appliance(t, path, { demo: true, demoBytes: 2 ** 21 });
	await again.start();
	t.is((await again.operations.volumes())[0]?.uuid, volume?.uuid);
	t.is((await again.operations.volumes())[0]?.sizeBytes, 2 ** 20);
});

test('outside the demo the demo’s target is open to nobody, until somebody is allowed', async (t) => {
	const path = await temporaryDirectory(t);
	const first = appliance(t, path, { demo: true });
	await first.start();
	await first.stop();
	const parts = standIns();
	const again = appliance(t, path, {}, parts);
	await again.start();
	t.is(again.demo, undefined);
	const registry = parts.portal?.registry;
	const device = registry?.find(demoTarget);
	t.truthy(device);
	t.deepEqual(registry?.visibleTo(visitor(initiator)), []);
	t.false(device !== undefined && registry?.admits(visitor(initiator), device));
	await again.operations.allow(demoTarget, initiator);
	t.true(device !== undefined && registry?.admits(visitor(initiator), device));
	t.is(registry?.visibleTo(visitor(initiator)).length, 1);
	t.deepEqual(registry?.visibleTo(visitor(`${initiator}x`)), []);
});

test('the demo changes nothing in a directory that has a configuration', async (t) => {
	const path = await temporaryDirectory(t);
	const first = appliance(t, path);
	await first.start();
	await first.operations.createVolume({ name: 'data', sizeBytes: 8192, blockSize: 512 });
	await first.stop();
	const again = appliance(t, path, { demo: true });
	await again.start();
	t.is(again.demo, undefined);
	t.deepEqual(
		(await again.operations.volumes()).map(({ name }) => name),
		['data'],
	);
	t.deepEqual(again.operations.targets(), []);
});

test('changes reach the iSCSI side at once: target, mapping, access, and the way back', async (t) => {
	const parts = standIns();
	const one = appliance(t, await temporaryDirectory(t), {}, parts);
	await one.start();
	const { operations } = one;
	const registry = parts.portal?.registry;
	await operations.createVolume({ name: 'data', sizeBytes: 8192, blockSize: 512 });
	await operations.createTarget({ name: target, alias: 'One', tpgt: 7 });
	const device = registry?.find(target);
	t.is(device?.alias, 'One');
	t.is(device?.targetPortalGroupTag, 7);
	t.is((await operations.map(target, { volume: 'data', lun: 5 })).lun, 5);
	t.is((await operations.map(target, { volume: 'data', lun: 5 })).lun, 5);
	t.deepEqual([...(device?.units.keys() ?? [])], [5]);
	t.is(device?.units.get(5)?.blocks, 16);
	await operations.resizeVolume('data', 16384);
	t.is(device?.units.get(5)?.blocks, 32);
	await operations.allow(target, initiator);
	t.deepEqual(registry?.visibleTo(visitor(initiator)), [device]);
	await operations.disallow(target, initiator);
	t.deepEqual(registry?.visibleTo(visitor(initiator)), []);
	await t.throwsAsync(operations.deleteVolume('data'), { instanceOf: UsageError, message: /unmap LUN 5 of / });
	await operations.unmap(target, 5);
	t.deepEqual([...(device?.units.keys() ?? [])], []);
	await operations.deleteVolume('data');
	t.deepEqual(parts.portal?.announced, [target, target]);
	parts.portal!.list = [session(initiator, target), session(initiator, `${target}2`)];
	await operations.deleteTarget(target);
	t.is(registry?.find(target), undefined);
	t.deepEqual(parts.portal?.ended, [`${target} ${initiator}: its target was deleted`]);
});

test('a volume is one logical unit in every target that maps it', async (t) => {
	const parts = standIns();
	const one = appliance(t, await temporaryDirectory(t), {}, parts);
	await one.start();
	await one.operations.createVolume({ name: 'data', sizeBytes: 8192, blockSize: 512 });
	for (const name of [`${target}1`, `${target}2`]) {
		await one.operations.createTarget({ name, alias: '', tpgt: 1 });
		await one.operations.map(name, { volume: 'data' });
	}
	const registry = parts.portal?.registry;
	t.truthy(registry?.find(`${target}1`)?.units.get(0));
	t.is(registry?.find(`${target}1`)?.units.get(0), registry?.find(`${target}2`)?.units.get(0));
});

test('a volume that is deleted and made again is another logical unit', async (t) => {
	const parts = standIns();
	const one = appliance(t, await temporaryDirectory(t), {}, parts);
	await one.start();
	await one.operations.createTarget({ name: target, alias: '', tpgt: 1 });
	const units = [];
	for (let round = 0; round < 2; round++) {
		await one.operations.createVolume({ name: 'data', sizeBytes: 8192, blockSize: 512 });
		await one.operations.map(target, { volume: 'data' });
		units.push(parts.portal?.registry.find(target)?.units.get(0));
		await one.operations.unmap(target, 0);
		await one.operations.deleteVolume('data');
	}
	t.truthy(units[0]);
	t.not(units[0], units[1]);
	t.not(units[0]?.device.uuid, units[1]?.device.uuid);
});

test('sessions are shown with their target, and counted there', async (t) => {
	const parts = standIns();
	const one = appliance(t, await temporaryDirectory(t), {}, parts);
	await one.start();
	await one.operations.createTarget({ name: target, alias: '', tpgt: 1 });
	if (parts.portal !== undefined) parts.portal.list = [session(initiator, target), session(initiator, undefined)];
	t.deepEqual(
		one.operations.sessions().map(({ kind, since }) => [kind, since]),
		[
			['normal', '2026-11-21T12:00:00.000Z'],
			['discovery', '2026-11-21T12:00:00.000Z'],
		],
	);
	t.is(one.operations.target(target).sessions, 1);
	t.deepEqual(one.operations.iscsiStatistics(), { commands: 7 });
});

test('whoever is admitted no longer loses its sessions, and nobody else does', async (t) => {
	const parts = standIns();
	const one = appliance(t, await temporaryDirectory(t), {}, parts);
	await one.start();
	for (const name of [target, `${target}2`]) {
		await one.operations.createTarget({ name, alias: '', tpgt: 1 });
		await one.operations.allow(name, initiator);
		await one.operations.allow(name, `${initiator}2`);
	}
	if (parts.portal !== undefined) {
		parts.portal.list = [
			session(initiator, target),
			session(`${initiator}2`, target),
			session(initiator, `${target}2`),
			session(initiator, undefined),
		];
	}
	// The listener knows the name in lower case, whoever spelled it.
	await one.operations.disallow(target, initiator.toUpperCase());
	t.deepEqual(parts.portal?.ended, [`${target} ${initiator}: its initiator is admitted no longer`]);
});

test('listeners answer while volumes are opened; commands wait, changes wait, readiness says so', async (t) => {
	const path = await temporaryDirectory(t);
	const first = appliance(t, path, { demo: true });
	await first.start();
	await first.stop();

	const parts = standIns();
	let replayed: () => void = () => {};
	const replay = new Promise<void>((resolve) => {
		replayed = resolve;
	});
	const reached = new Promise<void>((resolve) => {
		parts.engine.before = () => {
			resolve();
			return replay;
		};
	});
	const again = appliance(t, path, { demo: true }, parts);
	const started = again.start();
	await reached;
	t.true((again.iscsi?.port ?? 0) > 0);
	const unit = parts.portal?.registry.find(demoTarget)?.units.get(0);
	t.is(unit?.device.tryRead(0, Buffer.alloc(512)), undefined);
	t.is(again.operations.state, 'starting');
	const created = again.operations.createTarget({ name: target, alias: '', tpgt: 1 });
	t.deepEqual(
		again.operations.targets().map(({ name }) => name),
		[demoTarget],
	);
	replayed();
	await started;
	t.is((await created).name, target);
	t.is(again.operations.state, 'ready');
	t.is(unit?.device.tryRead(0, Buffer.alloc(512)), 'good');
});

test('a forced check reaches every volume', async (t) => {
	const path = await temporaryDirectory(t);
	const first = appliance(t, path, { demo: true });
	await first.start();
	await first.stop();
	for (const forceCheck of [true, false]) {
		const parts = standIns();
		const again = appliance(t, path, { demo: true, forceCheck }, parts);
		await again.start();
		await again.stop();
		t.deepEqual(parts.engine.forced, [forceCheck]);
	}
});

test('a faulted volume does not keep the others from being served, and is a notice', async (t) => {
	const path = await temporaryDirectory(t);
	const first = appliance(t, path, { demo: true });
	await first.start();
	const bad = await first.operations.createVolume({ name: 'bad', sizeBytes: 8192, blockSize: 512 });
	await first.stop();
	await writeFile(join(path, 'volumes', bad.uuid, 'superblock'), 'garbage');
	const again = appliance(t, path, { demo: true });
	await again.start();
	t.like(await again.operations.status(), { state: 'ready', volumes: { opening: 0, online: 1, faulted: 1 } });
	t.deepEqual(again.notices, ['volume bad is faulted: Both superblock slots are damaged.']);
	await again.operations.deleteVolume('bad');
	t.deepEqual((await again.operations.status()).faults, []);
});

test('an iSCSI or admin port that was asked for and is taken is refused, and everything is closed again', async (t) => {
	const path = await temporaryDirectory(t);
	const port = await holdPort(t);
	const taken = { host: '127.0.0.1', port };
	await t.throwsAsync(appliance(t, path, { iscsi: taken }).start(), { instanceOf: UsageError, message: /taken.*--iscsi/ });
	t.true(await isUnlocked(path));
	const parts = standIns();
	await t.throwsAsync(appliance(t, path, { admin: taken, demo: true }, parts).start(), {
		instanceOf: UsageError,
		message: /taken.*--admin/,
	});
	t.true(await isUnlocked(path));
	t.true(parts.engine.opened.every((volume) => volume.closed));
	t.is(parts.portal?.drainedMs, 1);
});

test('a usual port that is taken: the next free one, and a notice that says so', async (t) => {
	// Whoever holds the usual ports already does as well.
	for (const port of [3260, 9260]) {
		const holder = createServer();
		holder.on('error', () => {});
		holder.listen(port, '127.0.0.1');
		t.teardown(() => holder.close());
		await Promise.race([once(holder, 'listening'), once(holder, 'error').catch(() => undefined)]);
	}
	const one = appliance(t, await temporaryDirectory(t), { iscsi: undefined, admin: undefined, demo: true });
	await one.start();
	t.true((one.iscsi?.port ?? 0) > 3260);
	t.true((one.admin?.port ?? 0) > 9260);
	t.is(one.iscsi?.host, '127.0.0.1');
	t.regex(one.notices.join('\n'), /port 3260 is taken by another program: iSCSI is at 127\.0\.0\.1:\d+\nport 9260 is taken/);
});

test('administration beyond loopback needs a token and TLS, before anything is opened', async (t) => {
	const folder = await temporaryDirectory(t);
	const path = join(folder, 'data');
	const token = join(folder, 'token');
	await writeFile(token, 'a-long-enough-token\n');
	const admin = { host: '0.0.0.0', port: 0 };
	const refused = (options: Partial<ApplianceOptions>, message: RegExp) =>
		t.throwsAsync(appliance(t, path, options).start(), { instanceOf: UsageError, message });
	await refused({ admin }, /needs a token and TLS/);
	await refused({ admin, adminTokenFile: token }, /needs a token and TLS/);
	await refused({ admin, adminTokenFile: token, adminTlsCertFile: token }, /go together/);
	await refused(
		{ admin, adminTokenFile: join(folder, 'absent'), adminTlsCertFile: token, adminTlsKeyFile: token },
		/--admin-token-file cannot be read \(ENOENT\)/,
	);
	await writeFile(join(folder, 'short'), 'short');
	await refused({ adminTokenFile: join(folder, 'short') }, /shorter than 16/);
	t.deepEqual((await readdir(folder)).toSorted(), ['short', 'token']);
	await refused({ admin, adminTokenFile: token, adminTlsCertFile: token, adminTlsKeyFile: token }, /certificate/);
	t.true(await isUnlocked(path));
});

test('a configuration from a newer release, or a damaged one, is refused with one sentence', async (t) => {
	const path = await temporaryDirectory(t);
	await writeFile(join(path, 'config.db'), 'garbage '.repeat(1000));
	await t.throwsAsync(appliance(t, path).start(), { instanceOf: UsageError, message: /config\.db is damaged/ });
	t.regex(await readFile(join(path, 'config.db'), 'utf8'), /^garbage/);
});

test('a change that comes while it stops is refused', async (t) => {
	const one = appliance(t, await temporaryDirectory(t));
	await one.start();
	const stopped = one.stop();
	await t.throwsAsync(one.operations.createVolume({ name: 'late', sizeBytes: 8192, blockSize: 512 }), {
		instanceOf: UsageError,
		message: /being stopped/,
	});
	await stopped;
});

test('stopping twice, and without a start, is no error', async (t) => {
	const one = appliance(t, await temporaryDirectory(t));
	t.deepEqual(await one.stop(), []);
	await one.start();
	await Promise.all([one.stop(), one.stop()]);
	t.pass();
});
