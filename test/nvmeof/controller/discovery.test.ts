import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import { Subsystem } from '../../../src/nvmeof/subsystem.ts';
import { TestQueue, connectAdmin, connectData, connectSqe, discoveryNQN, enabled, propertySet, setUp, sqe } from './host.ts';
import type { SetUpOptions } from './host.ts';

interface Entry {
	trtype: number;
	adrfam: number;
	subtype: number;
	treq: number;
	portid: number;
	cntlid: number;
	asqsz: number;
	trsvcid: string;
	subnqn: string;
	traddr: string;
	sectype: number;
}

async function discovering(options: SetUpOptions & { localAddress?: string; hostnqn?: string } = {}) {
	const parts = setUp(options);
	const { admin } = await connectAdmin(parts.fabric, {
		subnqn: discoveryNQN,
		kato: 0,
		...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
		...(options.hostnqn === undefined ? {} : { hostnqn: options.hostnqn }),
	});
	const page = (rae = false, bytes = 16 * 1024) =>
		admin.run(sqe({ opcode: 0x02, cdw10: (0x70 | (rae ? 0x8000 : 0) | ((bytes / 4 - 1) << 16)) >>> 0 }));
	const log = async (rae = false) => {
		const { data } = await page(rae);
		const numrec = Number(data.readBigUInt64LE(8));
		return {
			genctr: Number(data.readBigUInt64LE(0)),
			recfmt: data.readUInt16LE(16),
			entries: Array.from({ length: numrec }, (_, index) => entryOf(data.subarray(1024 * (index + 1)))),
		};
	};
	return { ...parts, admin, page, log };
}

function entryOf(data: Buffer): Entry {
	const text = (from: number, length: number) => data.toString('latin1', from, from + length);
	return {
		trtype: data[0]!,
		adrfam: data[1]!,
		subtype: data[2]!,
		treq: data[3]!,
		portid: data.readUInt16LE(4),
		cntlid: data.readUInt16LE(6),
		asqsz: data.readUInt16LE(8),
		trsvcid: text(32, 32).trimEnd(),
		subnqn: text(256, 256).replace(/\0+$/, ''),
		traddr: text(512, 256).trimEnd(),
		sectype: data[768]!,
	};
}

function another(nqn: string, admits: (host: string) => boolean = () => true): Subsystem {
	return new Subsystem({ nqn, uuid: '0a3b1f2c-aaaa-4bbb-8ccc-1234567890ab', admits, secretFor: () => undefined });
}

test('the discovery log: one entry for each subsystem at each portal', async (t) => {
	const { log, registry } = await discovering({
		portals: [
			{ host: '192.0.2.1', port: 4420 },
			{ host: 'fd00::5', port: 14_420 },
		],
	});
	registry.subsystems.push(another('nqn.2026-11.test:two'));
	registry.changed();
	const { entries, recfmt } = await log();
	t.is(recfmt, 0);
	t.deepEqual(
		entries.map(({ subnqn, traddr, trsvcid, adrfam, portid }) => [subnqn, traddr, trsvcid, adrfam, portid]),
		[
			['nqn.2026-11.test:one', '192.0.2.1', '4420', 1, 1],
			['nqn.2026-11.test:two', '192.0.2.1', '4420', 1, 1],
			['nqn.2026-11.test:one', 'fd00::5', '14420', 2, 2],
			['nqn.2026-11.test:two', 'fd00::5', '14420', 2, 2],
		],
	);
	for (const { trtype, subtype, treq, cntlid, asqsz, sectype } of entries) {
		t.deepEqual([trtype, subtype, treq, cntlid, asqsz, sectype], [3, 2, 0b100, 0xffff, limits.queueDepth, 0]);
	}
});

for (const [host, localAddress, expected] of [
	['0.0.0.0', '198.51.100.9', ['198.51.100.9']],
	['0.0.0.0', '::ffff:198.51.100.9', ['198.51.100.9']],
	['0.0.0.0', 'fd00::9', []],
	['::', 'fd00::9', ['fd00::9']],
	['::', '::ffff:198.51.100.9', ['198.51.100.9']],
	['203.0.113.1', '198.51.100.9', ['203.0.113.1']],
] as const) {
	test(`a portal at ${host} for a host that came by ${localAddress}: ${expected.join() || 'left out'}`, async (t) => {
		const { log } = await discovering({ portals: [{ host, port: 4420 }], localAddress });
		const { entries } = await log();
		t.deepEqual(
			entries.map(({ traddr }) => traddr),
			[...expected],
		);
		t.true(entries.every(({ traddr, adrfam }) => adrfam === (traddr.includes(':') ? 2 : 1)));
	});
}

test('a host sees what it may connect to, and GENCTR moves only with what it sees', async (t) => {
	const allowed = new Set(['nqn.2026-11.test:host']);
	const { log, registry, admin } = await discovering({ admits: (nqn) => allowed.has(nqn) });
	await admin.run(sqe({ opcode: 0x09, cdw10: 0x0b, cdw11: 0x8000_0000 }));
	const event = admin.begin(sqe({ opcode: 0x0c }));
	const first = await log();
	t.is(first.entries.length, 1);
	registry.subsystems.push(another('nqn.2026-11.test:secret', () => false));
	registry.changed();
	t.deepEqual(await log(), first);
	t.false(event.finished, 'what a host may not see is no news');
	registry.subsystems.push(another('nqn.2026-11.test:open'));
	registry.changed();
	t.is((await admin.finish(event)).result0, 0x0070_f002);
	const second = await log();
	t.deepEqual(
		second.entries.map(({ subnqn }) => subnqn),
		['nqn.2026-11.test:one', 'nqn.2026-11.test:open'],
	);
	t.true(second.genctr > first.genctr);
	allowed.clear();
	registry.changed();
	const third = await log();
	t.deepEqual(
		third.entries.map(({ subnqn }) => subnqn),
		['nqn.2026-11.test:open'],
	);
	t.true(third.genctr > second.genctr);
});

test('a new host that sees less than another has entries of its own', async (t) => {
	const { fabric, log } = await discovering({ admits: (nqn) => nqn === 'nqn.2026-11.test:host' });
	t.is((await log()).entries.length, 1);
	const { admin: stranger } = await connectAdmin(fabric, { subnqn: discoveryNQN, hostnqn: 'nqn.2026-11.test:stranger' });
	const { status, data } = await stranger.run(sqe({ opcode: 0x02, cdw10: 0x00ff_0070 }));
	t.deepEqual([status, Number(data.readBigUInt64LE(8))], [0, 0]);
});

test('a change is one event until the log was read without RAE', async (t) => {
	const { admin, registry, log } = await discovering();
	await admin.run(sqe({ opcode: 0x09, cdw10: 0x0b, cdw11: 0x8000_0000 }));
	const change = (nqn: string): void => {
		registry.subsystems.push(another(nqn));
		registry.changed();
	};
	change('nqn.2026-11.test:a');
	t.is(admin.begin(sqe({ opcode: 0x0c })).step, 'finished');
	const next = admin.begin(sqe({ opcode: 0x0c }));
	change('nqn.2026-11.test:b');
	await log(true);
	t.false(next.finished);
	await log();
	change('nqn.2026-11.test:c');
	t.true(next.finished);
});

test('a portal that comes later is there in the next log, with another GENCTR', async (t) => {
	const { log, portals } = await discovering();
	const before = await log();
	portals.push({ host: '192.0.2.2', port: 4420 });
	const after = await log();
	t.is(after.entries.length, 2);
	t.not(after.genctr, before.genctr);
});

test('the log in pieces, as nvme-cli and libnvme read it: the header first, then what it says there is', async (t) => {
	const { admin, registry } = await discovering();
	for (let count = 0; count < 20; count++) registry.subsystems.push(another(`nqn.2026-11.test:n${count}`));
	registry.changed();
	const piece = async (offset: number, bytes: number) => {
		const entry = sqe({ opcode: 0x02, cdw10: (0x8070 | ((bytes / 4 - 1) << 16)) >>> 0 });
		entry.writeBigUInt64LE(BigInt(offset), 48);
		return (await admin.run(entry)).data;
	};
	const header = await piece(0, 1024);
	t.is(header.length, 1024);
	const numrec = Number(header.readBigUInt64LE(8));
	t.is(numrec, 21);
	const names: string[] = [];
	for (let at = 1024; at < 1024 * (numrec + 1); at += 4096) {
		const data = await piece(at, 4096);
		t.is(data.length, 4096);
		for (let from = 0; from < 4096; from += 1024) if (data[from] !== 0) names.push(entryOf(data.subarray(from)).subnqn);
	}
	t.is(new Set(names).size, 21);
});

const bad: [title: string, entry: Buffer, status: number][] = [
	['another log page', sqe({ opcode: 0x02, cdw10: 0x00ff_0002 }), 0x109],
	['an offset that is no dword', sqe({ opcode: 0x02, cdw10: 0x00ff_0070, cdw12: 2 }), 0x002],
	['an offset behind the end', sqe({ opcode: 0x02, cdw10: 0x00ff_0070, cdw12: 1_000_000 }), 0x002],
	['Abort', sqe({ opcode: 0x08 }), 0x001],
	['Format', sqe({ opcode: 0x80 }), 0x001],
	['an unknown feature', sqe({ opcode: 0x0a, cdw10: 0x07 }), 0x002],
	['setting an unknown feature', sqe({ opcode: 0x09, cdw10: 0x07 }), 0x002],
	['saving a feature', sqe({ opcode: 0x09, cdw10: 0x8000_000b }), 0x10d],
	['a selection of features', sqe({ opcode: 0x0a, cdw10: 0x10b }), 0x002],
	['events that it does not have', sqe({ opcode: 0x09, cdw10: 0x0b, cdw11: 0x100 }), 0x002],
	['a KATO that is too long', sqe({ opcode: 0x09, cdw10: 0x0f, cdw11: limits.keepAliveMsMax + 1 }), 0x01a],
	['PRPs', sqe({ opcode: 0x06, flags: 0, cdw10: 1 }), 0x002],
];

for (const [title, entry, status] of bad) {
	test(`a discovery controller and ${title}: ${status.toString(16)}h`, async (t) => {
		const { admin } = await discovering();
		t.is((await admin.run(entry)).status, status);
	});
}

test('features of a discovery controller: events and the keep alive timer', async (t) => {
	const { admin } = await discovering();
	for (const [fid, value] of [
		[0x0b, 0x8000_0000],
		[0x0f, 30_000],
	] as const) {
		t.is((await admin.run(sqe({ opcode: 0x09, cdw10: fid, cdw11: value }))).status, 0);
		t.is((await admin.run(sqe({ opcode: 0x0a, cdw10: fid }))).result0, value);
	}
	t.is((await admin.run(sqe({ opcode: 0x18 }))).status, 0);
});

test('without KATO a discovery controller is given up after two minutes of silence, with one after KATO', async (t) => {
	const { admin, tick, fabric } = await discovering();
	tick(119_000);
	t.false(admin.isClosed);
	await admin.run(sqe({ opcode: 0x18 }));
	tick(119_000);
	t.false(admin.isClosed);
	tick(4000);
	t.true(admin.isClosed);
	const { admin: kept } = await connectAdmin(fabric, { subnqn: discoveryNQN, kato: 10_000 });
	tick(13_000);
	t.true(kept.isClosed);
	t.deepEqual(fabric.controllers(), []);
});

test('a shutdown of a discovery controller is complete at once', async (t) => {
	const { admin } = await discovering();
	await admin.run(propertySet(0x14, enabled | (1 << 14)));
	t.is((await admin.run(sqe({ opcode: 0x02, cdw10: 0x00ff_0070 }))).status, 0x00c);
});

test('discovery has as many controllers as the limit, and takes any host', async (t) => {
	const { fabric } = setUp({ admits: () => false });
	const queues: TestQueue[] = [];
	for (let count = 0; count < limits.controllersPerSubsystem; count++)
		queues.push((await connectAdmin(fabric, { subnqn: discoveryNQN })).admin);
	t.is((await new TestQueue(fabric).run(connectSqe(), connectData({ subnqn: discoveryNQN }))).status, 0x181);
	fabric.close();
	t.true(queues.every(({ isClosed }) => isClosed));
	t.deepEqual(fabric.controllers(), []);
});
