import test from 'ava';
import { NvmeListener } from '../../../src/nvmeof/listener.ts';
import { silent } from '../../../src/os/logger.ts';
import { Association, discoveryNQN } from '../../nvme-host/association.ts';
import * as commands from '../../nvme-host/commands.ts';
import { u16, u32 } from '../../nvme-host/wire.ts';
import { closedSubnqn, otherSubnqn, strangerNQN, subnqn, World } from './world.ts';

const discovery = { subnqn: discoveryNQN, ioQueues: 0 };

test('the discovery log has one entry for each subsystem that the host may see, with the portal that serves it', async (t) => {
	const world = await World.open(t);
	const association = await world.connect(discovery);
	const { entries } = await association.discover();
	const subsystems = entries.filter(({ subtype }) => subtype === 2);
	t.deepEqual(subsystems.map((entry) => entry.subnqn).toSorted(), [subnqn, otherSubnqn].toSorted());
	for (const entry of subsystems) {
		t.like(entry, { trtype: 3, adrfam: 1, traddr: '127.0.0.1', trsvcid: String(world.port), cntlid: 0xffff });
		t.true(entry.asqsz >= 32, 'ASQSZ');
	}
	t.is(entries.filter(({ subnqn: nqn }) => nqn === closedSubnqn).length, 0);
	// An entry of this discovery subsystem itself, if there is one, says so.
	for (const entry of entries.filter(({ subtype }) => subtype !== 2)) t.deepEqual([entry.subtype, entry.subnqn], [3, discoveryNQN]);
	const stranger = await world.connect({ ...discovery, hostnqn: strangerNQN });
	const seen = (await stranger.discover()).entries.filter(({ subtype }) => subtype === 2).map((entry) => entry.subnqn);
	t.deepEqual(seen.toSorted(), [subnqn, otherSubnqn, closedSubnqn].toSorted());
});

test('what the log says can be connected to', async (t) => {
	const world = await World.open(t);
	const { entries } = await (await world.connect(discovery)).discover();
	for (const { subtype, subnqn: nqn, trsvcid, traddr } of entries) {
		if (subtype !== 2) continue;
		const association = await Association.open({ host: traddr, port: Number(trsvcid), subnqn: nqn, katoMs: 60_000 });
		t.teardown(() => association.destroy());
		t.is(association.io.length, 1);
	}
});

test('a second listener on another port serves the same fabric, as the discovery port does', async (t) => {
	const world = await World.open(t);
	const second = new NvmeListener({ fabric: world.fabric, budget: world.budget, log: silent });
	await second.listen({ host: '127.0.0.1', port: 0 });
	t.teardown(async () => await second.close());
	const association = await world.connect({ ...discovery, port: second.address.port });
	const { entries } = await association.discover();
	t.is(entries.filter(({ trsvcid }) => trsvcid === String(world.port)).length >= 2, true);
});

test('a host of all addresses is told the one by which it came', async (t) => {
	const world = await World.open(t);
	world.portals = [{ host: '0.0.0.0', port: world.port }];
	const { entries } = await (await world.connect(discovery)).discover();
	t.true(entries.every(({ traddr }) => traddr === '127.0.0.1'));
});

test('GENCTR changes with what the host may see, and only then', async (t) => {
	const world = await World.open(t);
	const association = await world.connect(discovery);
	const first = await association.discover();
	t.is((await association.discover()).generation, first.generation);
	world.addSubsystem('nqn.2026-11.dev.blockport.test:hidden', () => false);
	t.is((await association.discover()).generation, first.generation, 'a subsystem that it may not see');
	world.addSubsystem('nqn.2026-11.dev.blockport.test:new');
	const second = await association.discover();
	t.not(second.generation, first.generation);
	t.is(second.entries.length, first.entries.length + 1);
	world.registry.subsystems.delete('nqn.2026-11.dev.blockport.test:new');
	world.registry.changed();
	const third = await association.discover();
	t.not(third.generation, second.generation);
	t.is(third.entries.length, first.entries.length);
});

test('a change is told by an asynchronous event, once until the log is read, to those that see it', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ...discovery, katoMs: 60_000 });
	const stranger = await world.connect({ ...discovery, hostnqn: strangerNQN });
	for (const one of [association, stranger]) {
		await one.setFeature(0x0b, 0x80000000);
		one.watchEvents(2);
		await one.discover();
	}
	world.addSubsystem('nqn.2026-11.dev.blockport.test:theirs', (host) => host === strangerNQN);
	t.deepEqual(await stranger.nextEvent(), { type: 2, information: 0xf0, lid: 0x70 });
	await association.keepAlive();
	t.is(association.eventsWaiting, 0);
	world.addSubsystem('nqn.2026-11.dev.blockport.test:new1');
	t.deepEqual(await association.nextEvent(), { type: 2, information: 0xf0, lid: 0x70 });
	world.addSubsystem('nqn.2026-11.dev.blockport.test:new2');
	await association.keepAlive();
	t.is(association.eventsWaiting, 0, 'masked until the log is read');
	await association.discover();
	world.addSubsystem('nqn.2026-11.dev.blockport.test:new3');
	await association.nextEvent();
	t.pass();
});

test('a discovery controller says what it is, and has no I/O queues and no namespaces', async (t) => {
	const world = await World.open(t);
	const association = await world.connect(discovery);
	const id = association.identity;
	t.is(id[111], 2, 'CNTRLTYPE');
	t.is(u16(id, 78), association.cntlid);
	t.is(u32(id, 80), 0x00020000);
	t.is(u32(id, 92) >>> 31, 1, 'OAES: discovery log change notices');
	t.is(u32(id, 516), 0, 'NN');
	t.is(id[261]! & 0x04, 0x04, 'LPA: extended data, so offsets may be used');
	t.is(id.toString('latin1', 768, 768 + discoveryNQN.length + 1), `${discoveryNQN}\0`);
	t.not(u16(id, 514), 0, 'MAXCMD');
});

const refusals: Record<string, { fill: (sqe: Buffer) => void; status: readonly number[] }> = {
	'Identify Namespace': { fill: (sqe) => commands.identify(sqe, 0x00, { nsid: 1 }), status: [0x002, 0x00b] },
	'Identify, list of namespaces': { fill: (sqe) => commands.identify(sqe, 0x02), status: [0x002, 0x00b, 0] },
	'Number of Queues': { fill: (sqe) => commands.setFeatures(sqe, 0x07, 0), status: [0x002] },
	'an unknown log page': { fill: (sqe) => commands.getLogPage(sqe, 0x7f, 512), status: [0x109] },
	'the SMART log': { fill: (sqe) => commands.getLogPage(sqe, 0x02, 512), status: [0, 0x109] },
	'an offset of the log that is no multiple of 4': {
		fill: (sqe) => commands.getLogPage(sqe, 0x70, 1024, { offsetBytes: 6 }),
		status: [0x002],
	},
	'Namespace Management': { fill: (sqe) => commands.plain(sqe, 0x0d), status: [0x001] },
	'a Security Send': { fill: (sqe) => commands.plain(sqe, 0x81), status: [0x001] },
};
for (const [what, { fill, status }] of Object.entries(refusals)) {
	test(`a discovery controller, ${what}: refused with the standard’s status`, async (t) => {
		const world = await World.open(t);
		const association = await world.connect(discovery);
		const result = await association.admin.execute(fill, { dataInBytes: 4096 });
		t.true(status.includes(result.status), result.status.toString(16));
		t.is((await association.discover()).entries.length >= 2, true);
	});
}

test('the log is read in pieces by its offset, as nvme-cli does', async (t) => {
	const world = await World.open(t);
	const association = await world.connect(discovery);
	const { entries } = await association.discover();
	const whole = await association.logPage(0x70, 1024 * (entries.length + 1));
	const pieces: Buffer[] = [];
	for (let offsetBytes = 0; offsetBytes < whole.length; offsetBytes += 512) {
		pieces.push(await association.logPage(0x70, 512, { offsetBytes }));
	}
	t.deepEqual(Buffer.concat(pieces), whole);
});

test('a log of 300 subsystems comes whole, in one transfer and in order', async (t) => {
	const world = await World.open(t);
	const names = Array.from({ length: 300 }, (_none, index) => `nqn.2026-11.dev.blockport.test:many-${index}`);
	for (const name of names) world.addSubsystem(name);
	const { entries } = await (await world.connect(discovery)).discover();
	const seen = new Set(entries.map((entry) => entry.subnqn));
	t.true(names.every((name) => seen.has(name)));
	t.is(seen.size, entries.length);
});

test('a discovery controller lives without keep alives as long as its host asked for none, but not for ever', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ...discovery, katoMs: 0 });
	world.pass(60);
	await association.discover();
	world.pass(200);
	await association.admin.over();
	t.is(world.fabric.controllers().length, 0);
});

test('controllers of the discovery subsystem have identifiers of their own', async (t) => {
	const world = await World.open(t);
	const all = await Promise.all(Array.from({ length: 5 }, async () => await world.connect(discovery)));
	t.is(new Set(all.map(({ cntlid }) => cntlid)).size, 5);
});
