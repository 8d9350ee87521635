import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { Appliance, type ApplianceOptions } from '../../src/appliance.ts';
import { limits } from '../../src/config/limits.ts';
import { limits as nvmeLimits } from '../../src/nvmeof/limits.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { Association, type AssociationOptions, defaultHostNQN, discoveryNQN } from '../nvme-host/association.ts';
import * as commands from '../nvme-host/commands.ts';
import { Namespace } from '../nvme-host/namespace.ts';
import { authenticate } from '../nvmeof/auth/authenticate.ts';
import { hmac } from '../nvmeof/auth/host.ts';
import { temporaryDirectory } from '../temporary.ts';

const subsystem = 'nqn.2026-11.dev.blockport:one';
const anywhere = { host: '127.0.0.1', port: 0 };

/** The whole appliance with its own engine and listeners, and the host of the conformance tests against it. */
async function start(t: ExecutionContext, dataDirectory: string, options: Partial<ApplianceOptions> = {}) {
	const one = new Appliance({
		dataDirectory,
		version: '1.2.3',
		log: silent,
		iscsi: anywhere,
		nvme: anywhere,
		nvmeDiscovery: anywhere,
		admin: anywhere,
		drainMs: 200,
		...options,
	});
	t.teardown(() => one.stop());
	await one.start();
	const open = async (more: Partial<AssociationOptions> = {}) => {
		const association = await Association.open({ port: one.nvme?.port ?? 0, subnqn: subsystem, katoMs: 5000, ...more });
		t.teardown(() => association.destroy());
		return association;
	};
	const discover = async (hostnqn = defaultHostNQN, port = one.nvmeDiscovery?.port ?? 0) => {
		const association = await open({ port, subnqn: discoveryNQN, hostnqn, ioQueues: 0 });
		const { entries } = await association.discover();
		association.destroy();
		return entries;
	};
	return { one, operations: one.operations, open, discover };
}

/** A subsystem with one volume, which admits the host. */
async function exported(t: ExecutionContext, path?: string) {
	const running = await start(t, path ?? (await temporaryDirectory(t)));
	const { operations } = running;
	await operations.createVolume({ name: 'data', sizeBytes: 2 ** 26, blockSize: 4096 });
	await operations.createSubsystem({ name: subsystem });
	await operations.mapNamespace(subsystem, { volume: 'data' });
	await operations.allowHost(subsystem, defaultHostNQN, {});
	return running;
}

async function until(reached: () => boolean, what: string): Promise<void> {
	for (let waited = 0; !reached(); waited += 5) {
		if (waited > 5000) throw new Error(`${what} did not come`);
		await delay(5);
	}
}

function secretText(secret: Buffer, transformation: string): string {
	const sum = Buffer.alloc(4);
	sum.writeUInt32LE(crc32(secret));
	return `DHHC-1:${transformation}:${Buffer.concat([secret, sum]).toString('base64')}:`;
}

test('the limits of the configuration are those of the controllers', (t) => {
	t.is(limits.namespacesPerSubsystem, nvmeLimits.namespacesPerSubsystem);
	t.is(limits.nqnBytes, nvmeLimits.nqnBytes);
});

test('a volume that was mapped is read and written by the host that was allowed, and seen by nobody else', async (t) => {
	const { open, discover, operations, one } = await exported(t);
	const association = await open();
	const namespace = await Namespace.attach(association, 1);
	t.is(namespace.sizeBytes, 2 ** 26);
	const data = randomBytes(8192);
	await namespace.write(16, data);
	t.deepEqual(await namespace.read(16, 2), data);
	t.is((await discover())[0]?.subnqn, subsystem);
	t.is((await discover())[0]?.trsvcid, String(one.nvme?.port));
	t.is((await discover(defaultHostNQN, one.nvme?.port)).length, 1, 'also on the I/O port');
	t.deepEqual(await discover('nqn.2026-11.test:stranger'), []);
	await t.throwsAsync(open({ hostnqn: 'nqn.2026-11.test:stranger' }), { message: /refused with status 184h/ });
	const [controller] = operations.controllers();
	t.like(controller, { subsystem, host: defaultHostNQN, ioQueues: 1, authenticated: false });
	t.is(operations.subsystem(subsystem).controllers, 1);
	t.like(await operations.status(), { subsystems: 1, controllers: 1, nvme: one.nvme, nvmeDiscovery: one.nvmeDiscovery });
	const counted = operations.nvmeStatistics();
	t.true((counted['bytesWritten'] ?? 0) >= 8192 && (counted['bytesRead'] ?? 0) >= 8192 && (counted['commands'] ?? 0) > 10);
});

test('disallow, delete and a secret that is new end the controllers that they concern, and no others', async (t) => {
	const { open, operations } = await exported(t);
	const second = 'nqn.2026-11.test:second';
	await operations.allowHost(subsystem, second, {});
	const first = await open();
	const other = await open({ hostnqn: second });
	await operations.disallowHost(subsystem, defaultHostNQN);
	await until(() => first.admin.ended !== undefined, 'the end of the first');
	t.is(other.admin.ended, undefined);
	await t.throwsAsync(open(), { message: /184h/ });
	await operations.allowHost(subsystem, defaultHostNQN, {});
	const again = await open();
	await operations.allowHost(subsystem, defaultHostNQN, { dhchapSecret: secretText(randomBytes(32), '00') });
	await until(() => again.admin.ended !== undefined, 'the end of who never proved itself');
	t.is(other.admin.ended, undefined);
	await operations.deleteSubsystem(subsystem);
	await until(() => other.admin.ended !== undefined, 'the end of the other');
	t.deepEqual(operations.controllers(), []);
	await t.throwsAsync(open({ hostnqn: second }), { message: /refused/ });
});

test('mapping, growing and unmapping reach a host that is connected', async (t) => {
	const { open, operations } = await exported(t);
	const association = await open();
	// Namespace Attribute Notices.
	await association.setFeature(0x0b, 1 << 8);
	association.watchEvents(1);
	const changed = async () => {
		const { lid } = await association.nextEvent();
		return [lid, (await association.logPage(lid, 4096)).readUInt32LE(0)];
	};
	await operations.resizeVolume('data', 2 ** 27);
	t.deepEqual(await changed(), [4, 1]);
	t.is((await Namespace.attach(association, 1)).sizeBytes, 2 ** 27);
	await operations.createVolume({ name: 'more', sizeBytes: 2 ** 20, blockSize: 512 });
	t.is((await operations.mapNamespace(subsystem, { volume: 'more', nsid: 7 })).nsid, 7);
	t.deepEqual(await changed(), [4, 7]);
	t.is((await Namespace.attach(association, 7)).blockSize, 512);
	await operations.unmapNamespace(subsystem, 7);
	t.deepEqual(await changed(), [4, 7]);
	const { status } = await association.io[0]!.execute((sqe) => commands.flush(sqe, 7));
	t.is(status, 0x002, 'an inactive namespace');
	await operations.deleteVolume('more');
	await t.throwsAsync(operations.deleteVolume('data'), { instanceOf: UsageError, message: /unmap namespace 1 of .* first/ });
});

test('DH-HMAC-CHAP: with the secrets of both sides the host works, on all of its queues; with others it is refused', async (t) => {
	const { open, operations } = await exported(t);
	const [hostSecret, controllerSecret] = [randomBytes(48), randomBytes(64)];
	await operations.allowHost(subsystem, defaultHostNQN, {
		dhchapSecret: secretText(hostSecret, '02'),
		dhchapCtrlSecret: secretText(controllerSecret, '00'),
		dhchapHash: 'sha384',
		dhchapDhgroup: 'ffdhe2048',
	});
	const identity = {
		hostNQN: defaultHostNQN,
		subsystemNQN: subsystem,
		key: hmac('sha384', hostSecret, defaultHostNQN, 'NVMe-over-Fabrics'),
	};
	const association = await open({ ioQueues: 2, authenticate: authenticate(identity, controllerSecret) });
	const namespace = await Namespace.attach(association, 1);
	await namespace.write(0, Buffer.alloc(4096, 1));
	t.true(operations.controllers()[0]?.authenticated);
	t.like(operations.subsystem(subsystem).hosts[0], { authentication: 'mutual', dhchapHash: 'sha384', dhchapDhgroup: 'ffdhe2048' });
	t.notRegex(JSON.stringify(operations.subsystems()), /DHHC/);
	// A host that does not authenticate comes as far as the Connect.
	await t.throwsAsync(open(), { message: /191/ });
	await t.throwsAsync(open({ authenticate: authenticate({ ...identity, key: hostSecret }) }), { message: /explanation 1/ });
	await t.throwsAsync(open({ authenticate: authenticate(identity, hostSecret) }), { message: /does not know its secret/ });
	await operations.allowHost(subsystem, defaultHostNQN, { dhchapSecret: secretText(randomBytes(32), '00') });
	t.is(association.admin.ended, undefined, 'a secret that is changed ends nobody who has proved itself');
	await t.throwsAsync(open({ authenticate: authenticate(identity) }), { message: /explanation 1/ });
});

test('secrets that are none, or one for both sides, are refused in one sentence that does not repeat them', async (t) => {
	const { operations } = await exported(t);
	const secret = Buffer.alloc(32, 0xa5);
	const text = secretText(secret, '00');
	for (const access of [
		{ dhchapSecret: 'secret' },
		{ dhchapSecret: text.replace('paWl', 'paWm') },
		{ dhchapSecret: text, dhchapCtrlSecret: 'DHHC-1' },
		{ dhchapSecret: text, dhchapCtrlSecret: secretText(secret, '01') },
		{ dhchapCtrlSecret: secretText(randomBytes(32), '00') },
	]) {
		const error = await t.throwsAsync(operations.allowHost(subsystem, defaultHostNQN, access), { instanceOf: UsageError });
		t.notRegex(error.message, /paW/);
	}
	await operations.allowHost(subsystem, defaultHostNQN, { dhchapSecret: text });
	const later = operations.allowHost(subsystem, defaultHostNQN, { dhchapCtrlSecret: text });
	await t.throwsAsync(later, { instanceOf: UsageError, message: /different secrets/ }, 'also when they are said one after the other');
	t.is(operations.subsystem(subsystem).hosts[0]?.authentication, 'host');
});

test('a reservation that persists is there again after a restart, and one that does not is gone', async (t) => {
	const path = await temporaryDirectory(t);
	const hostid = randomBytes(16);
	for (const persists of [true, false]) {
		const first = persists ? await exported(t, path) : await start(t, path);
		const association = await first.open({ hostid });
		const [io] = association.io;
		const cptpl = persists ? 3 : 2;
		await io!.expectGood((sqe) => commands.reservationRegister(sqe, 1, 0, { cptpl }), { dataOut: commands.reservationKeys(0n, 0xabcn) });
		// Write exclusive.
		await io!.expectGood((sqe) => commands.reservationAcquire(sqe, 1, 0, 1), { dataOut: commands.reservationKeys(0xabcn, 0n) });
		await first.one.stop();

		const second = await start(t, path);
		const stranger = await Namespace.attach(await second.open(), 1);
		const written = await stranger.execute((sqe) => commands.range(sqe, commands.ioOpcode.write, 1, 0, 1), { dataOut: Buffer.alloc(4096) });
		t.is(written.status, persists ? 0x083 : 0);
		const holder = await Namespace.attach(await second.open({ hostid }), 1);
		await holder.write(0, Buffer.alloc(4096));
		await second.one.stop();
	}
});

test('a reservation of one subsystem binds the hosts of another that maps the same volume', async (t) => {
	const { open, operations } = await exported(t);
	const other = `${subsystem}-2`;
	await operations.createSubsystem({ name: other });
	await operations.mapNamespace(other, { volume: 'data', nsid: 9 });
	await operations.allowHost(other, defaultHostNQN, {});
	const holder = await open();
	await holder.io[0]!.expectGood((sqe) => commands.reservationRegister(sqe, 1, 0), { dataOut: commands.reservationKeys(0n, 5n) });
	// Exclusive access.
	await holder.io[0]!.expectGood((sqe) => commands.reservationAcquire(sqe, 1, 0, 2), { dataOut: commands.reservationKeys(5n, 0n) });
	const stranger = await open({ subnqn: other });
	const read = await stranger.io[0]!.execute((sqe) => commands.range(sqe, commands.ioOpcode.read, 9, 0, 1), { dataInBytes: 4096 });
	t.is(read.status, 0x083);
});

test('stop() lets a host’s commands finish, ends its connections, and takes no longer than it was told', async (t) => {
	const { open, one } = await exported(t);
	const association = await open();
	association.watchEvents(1);
	const namespace = await Namespace.attach(association, 1);
	const writes = Array.from({ length: 20 }, (_, index) => namespace.write(index * 8, Buffer.alloc(32768, index)));
	await Promise.all(writes);
	const begunMs = performance.now();
	t.deepEqual(await one.stop(), []);
	t.true(performance.now() - begunMs < 3000);
	await until(() => association.admin.ended !== undefined && association.io[0]!.ended !== undefined, 'the end of its queues');
});

test('without NVMe: nothing listens there; discovery alone is refused, without it the I/O port tells what there is', async (t) => {
	const none = await start(t, await temporaryDirectory(t), { nvme: 'none', nvmeDiscovery: undefined });
	t.is(none.one.nvme, undefined);
	t.is(none.one.nvmeDiscovery, undefined);
	const alone = new Appliance({
		dataDirectory: await temporaryDirectory(t),
		version: '1',
		log: silent,
		nvme: 'none',
		nvmeDiscovery: anywhere,
	});
	await t.throwsAsync(alone.start(), { instanceOf: UsageError, message: /--nvme-discovery without --nvme/ });
	const { one, discover } = await start(t, await temporaryDirectory(t), { nvmeDiscovery: 'none', demo: true, demoBytes: 2 ** 26 });
	t.is(one.nvmeDiscovery, undefined);
	t.is((await discover(defaultHostNQN, one.nvme?.port))[0]?.subnqn, 'nqn.2026-11.dev.blockport:demo');
});

test('the demo’s subsystem is open to all under --demo only', async (t) => {
	const path = await temporaryDirectory(t);
	const first = await start(t, path, { demo: true, demoBytes: 2 ** 26 });
	const subnqn = 'nqn.2026-11.dev.blockport:demo';
	const association = await first.open({ subnqn, hostnqn: 'nqn.2026-11.test:anybody' });
	t.is((await Namespace.attach(association, 1)).sizeBytes, 2 ** 26);
	await first.one.stop();
	const again = await start(t, path);
	await t.throwsAsync(again.open({ subnqn }), { message: /184h/ });
	t.deepEqual(await again.discover(), []);
});

test('volume create --export: a target and a subsystem of that name, mapped, open to nobody; or nothing at all', async (t) => {
	const { operations } = await start(t, await temporaryDirectory(t));
	const made = await operations.createVolume({ name: 'data', sizeBytes: 8192, blockSize: 512, exports: ['iscsi', 'nvme'] });
	t.deepEqual(made.mappings, [{ target: 'iqn.2026-11.dev.blockport:data', lun: 0, volume: 'data' }]);
	t.deepEqual(made.namespaces, [{ subsystem: 'nqn.2026-11.dev.blockport:data', nsid: 1, volume: 'data' }]);
	t.deepEqual(operations.subsystems()[0]?.hosts, []);
	t.deepEqual(operations.targets()[0]?.initiators, []);
	await operations.createSubsystem({ name: 'nqn.2026-11.dev.blockport:taken' });
	const taken = operations.createVolume({ name: 'taken', sizeBytes: 8192, blockSize: 512, exports: ['iscsi', 'nvme'] });
	await t.throwsAsync(taken, { instanceOf: UsageError, message: /There is a subsystem/ });
	// iSCSI names have no underscore.
	const named = operations.createVolume({ name: 'under_score', sizeBytes: 8192, blockSize: 512, exports: ['nvme', 'iscsi'] });
	await t.throwsAsync(named, { instanceOf: UsageError, message: /no iSCSI target name/ });
	t.is((await operations.volumes()).length, 1);
	t.is(operations.targets().length, 1);
	t.is(operations.subsystems().length, 2);
});
