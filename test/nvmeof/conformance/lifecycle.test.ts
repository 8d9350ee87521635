import test from 'ava';
import * as commands from '../../nvme-host/commands.ts';
import { Namespace } from '../../nvme-host/namespace.ts';
import { content, otherSubnqn, World } from './world.ts';

const { property } = commands;
const enabled = 0x00460001;

test('properties: CAP, VS, CC and CSTS of a controller that is not enabled and of one that is', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ connectOnly: true });
	const cap = await association.propertyGet(property.cap, true);
	t.true((cap & 0xffffn) >= 127n, 'MQES');
	t.is((cap >> 16n) & 1n, 1n, 'CQR');
	const readyMs = Number((cap >> 24n) & 0xffn) * 500;
	t.true(readyMs >= 10_000 && readyMs <= 60_000, 'TO');
	t.is((cap >> 37n) & 1n, 1n, 'CSS: NVM command set');
	t.is((cap >> 48n) & 0xfn, 0n, 'MPSMIN');
	t.is(await association.propertyGet(property.vs), 0x00020000n);
	t.is(await association.propertyGet(property.cc), 0n);
	t.is(await association.propertyGet(property.csts), 0n);
	await association.enable();
	t.is(await association.propertyGet(property.cc), BigInt(enabled));
	t.is(await association.propertyGet(property.csts), 1n);
});

const refused: Record<string, (sqe: Buffer) => void> = {
	'Get of CAP in 4 bytes': (sqe) => commands.propertyGet(sqe, property.cap, false),
	'Get of CC in 8 bytes': (sqe) => commands.propertyGet(sqe, property.cc, true),
	'Get with a reserved size': (sqe) => {
		commands.propertyGet(sqe, property.cc, false);
		sqe[40] = 2;
	},
	'Get of an offset between two properties': (sqe) => commands.propertyGet(sqe, property.cc + 2, false),
	'Get of INTMS, which fabrics do not have': (sqe) => commands.propertyGet(sqe, 0x0c, false),
	'Get beyond all properties': (sqe) => commands.propertyGet(sqe, 0xfffffffc, false),
	'Set of CAP': (sqe) => commands.propertySet(sqe, property.cap, 0, true),
	'Set of VS': (sqe) => commands.propertySet(sqe, property.vs, 0x00010400),
	'Set of CSTS': (sqe) => commands.propertySet(sqe, property.csts, 0),
	'Set of CC in 8 bytes': (sqe) => commands.propertySet(sqe, property.cc, enabled, true),
	'Set of CC.MPS 1': (sqe) => commands.propertySet(sqe, property.cc, enabled | (1 << 7)),
	'Set of CC.AMS 1': (sqe) => commands.propertySet(sqe, property.cc, enabled | (1 << 11)),
	'Set of CC.CSS 1': (sqe) => commands.propertySet(sqe, property.cc, enabled | (1 << 4)),
	'Set of CC.SHN 3': (sqe) => commands.propertySet(sqe, property.cc, 3 << 14),
};
for (const [what, fill] of Object.entries(refused)) {
	test(`Property ${what}: Invalid Field, and nothing has changed`, async (t) => {
		const world = await World.open(t);
		const association = await world.connect({ connectOnly: true });
		const { status, dnr } = await association.admin.execute(fill);
		t.is(status, 0x002);
		t.true(dnr);
		t.is(await association.propertyGet(property.cc), 0n);
		t.is(await association.propertyGet(property.csts), 0n);
		await association.enable();
	});
}

test('Property Get and Set on an I/O queue: Invalid Queue Type', async (t) => {
	const world = await World.open(t);
	const association = await world.connect();
	const [queue] = association.io;
	t.is((await queue!.execute((sqe) => commands.propertyGet(sqe, property.cap, true))).status, 0x185);
	t.is((await queue!.execute((sqe) => commands.propertySet(sqe, property.cc, 0))).status, 0x185);
	t.is(await association.propertyGet(property.csts), 1n);
});

test('commands of a controller that is not enabled: Command Sequence Error, but Fabrics commands are carried out', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ connectOnly: true });
	for (const fill of [
		(sqe: Buffer) => commands.identify(sqe, 1),
		(sqe: Buffer) => commands.keepAlive(sqe),
		(sqe: Buffer) => commands.getFeatures(sqe, 7),
		(sqe: Buffer) => commands.asynchronousEventRequest(sqe),
	]) {
		t.is((await association.admin.execute(fill)).status, 0x00c);
	}
	await association.enable();
	t.is((await association.identify(1)).length, 4096);
});

test('reset: I/O queues end, CSTS.RDY falls, features are as at first; enabled again the controller works', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 2 });
	const namespace = await Namespace.attach(association, 1);
	await namespace.write(0, content(4096));
	await association.setFeature(0x0b, 0x100);
	await association.propertySet(property.cc, 0);
	await Promise.all(association.io.map(async (queue) => await queue.over()));
	t.is(await association.propertyGet(property.csts), 0n);
	t.is((await association.admin.execute((sqe) => commands.identify(sqe, 1))).status, 0x00c);
	await association.enable();
	t.is(await association.getFeature(0x0b), 0);
	await association.setFeature(7, 0);
	association.io.length = 0;
	await association.addQueue(1);
	t.deepEqual(await (await Namespace.attach(association, 1)).read(0, 8), content(4096));
});

test('normal shutdown: everything is flushed before CSTS.SHST says complete; commands are refused; a reset takes it back', async (t) => {
	const world = await World.open(t);
	const association = await world.connect();
	world.device.held = true;
	const calls = world.device.calls.length;
	await association.propertySet(property.cc, enabled | (1 << 14));
	t.is((await association.propertyGet(property.csts)) & 0xcn, 4n, 'occurring');
	t.deepEqual(
		world.device.calls.slice(calls).map(({ operation }) => operation),
		['flush'],
	);
	t.is((await association.io[0]!.execute((sqe) => commands.flush(sqe, 1))).status, 0x00c);
	world.device.held = false;
	world.device.release();
	t.is((await association.propertyGet(property.csts)) & 0xcn, 8n, 'complete');
	await association.propertySet(property.cc, 0);
	await association.enable();
	t.is(await association.propertyGet(property.csts), 1n);
});

test('abrupt shutdown is complete at once', async (t) => {
	const world = await World.open(t);
	const association = await world.connect();
	await association.propertySet(property.cc, enabled | (2 << 14));
	t.is((await association.propertyGet(property.csts)) & 0xcn, 8n);
});

test('KATO: a host that is silent for longer loses its controller and all of its connections, one that speaks does not', async (t) => {
	const world = await World.open(t);
	const silent = await world.connect({ ioQueues: 3, katoMs: 10_000 });
	const speaking = await world.namespace({ katoMs: 10_000 });
	world.pass(8);
	await speaking.association.keepAlive();
	t.is(silent.admin.ended, undefined);
	world.pass(5);
	await Promise.all([silent.admin.over(), ...silent.io.map(async (queue) => await queue.over())]);
	t.is(world.fabric.controllers().length, 1);
	await speaking.read(0, 1);
	t.is(speaking.association.admin.ended, undefined);
});

test('KATO: expiry frees what commands of that controller held, also those that the device has', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace({ katoMs: 5000 });
	world.device.held = true;
	const result = namespace.write(0, content(256 * 1024)).catch((error: unknown) => error);
	await world.until(() => world.device.calls.some(({ operation }) => operation === 'write'));
	world.pass(12);
	await namespace.association.admin.over();
	t.true((await result) instanceof Error);
	while (world.device.release());
	world.device.held = false;
	await world.until(() => world.budget.usedBytes === 0);
	t.is(world.fabric.controllers().length, 0);
});

test('KATO: Set Features 0Fh changes it, Get Features says it', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ katoMs: 10_000 });
	t.is(await association.getFeature(0x0f), 10_000);
	await association.setFeature(0x0f, 100_000);
	t.is(await association.getFeature(0x0f), 100_000);
	world.pass(60);
	await association.keepAlive();
	t.is(world.fabric.controllers().length, 1);
});

test('the end of the admin connection ends the I/O connections; the end of an I/O connection ends nothing else', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 3 });
	association.io[1]!.destroy();
	await association.keepAlive();
	await association.io[0]!.expectGood((sqe) => commands.flush(sqe, 1));
	association.admin.destroy();
	await Promise.all([association.io[0]!.over(), association.io[2]!.over()]);
	await world.until(() => world.fabric.controllers().length === 0);
	t.pass();
});

test('drain: a target that stops lets the hosts go, with what is outstanding answered', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace({ ioQueues: 2 });
	const other = await world.connect({ subnqn: otherSubnqn });
	await namespace.write(0, content(4096));
	const drained = world.listener.drain(1000);
	await Promise.all([namespace.association.admin.over(), other.admin.over()]);
	await drained;
	t.is(world.fabric.controllers().length, 0);
});
