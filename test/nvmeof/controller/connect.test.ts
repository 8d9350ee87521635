import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import { silent } from '../../../src/os/logger.ts';
import { linesPerMinute } from '../../../src/os/throttled-log.ts';
import {
	TestQueue,
	attach,
	connectAdmin,
	connectData,
	connectIO,
	connectSqe,
	discoveryNQN,
	enabled,
	fabricsSqe,
	hostNQN,
	propertyGet,
	propertySet,
	settled,
	setUp,
	sqe,
	subsystemNQN,
} from './host.ts';
import type { ConnectDataFields, ConnectFields } from './host.ts';

const inCommand = 0;
const inData = 0x1_0000;

test('Connect of an admin queue: a controller of its own, the depth and the flow control that were asked for', async (t) => {
	const { fabric, subsystem } = setUp();
	const first = new TestQueue(fabric);
	t.is(first.logic.depth, 1);
	const one = await first.run(connectSqe({ sqsize: 31, cattr: 0b100 }), connectData());
	t.is(one.status, 0);
	t.is(first.logic.depth, 32);
	t.true(first.logic.flowControlDisabled);
	const second = new TestQueue(fabric);
	const two = await second.run(connectSqe({ sqsize: 127 }), connectData());
	t.false(second.logic.flowControlDisabled);
	t.is(second.logic.depth, 128);
	t.not(one.result0, two.result0);
	t.deepEqual([...subsystem.controllers.keys()], [one.result0, two.result0]);
	t.is(one.result0 >>> 16, 0, 'no authentication is asked for');
});

const badConnects: [title: string, command: ConnectFields, data: ConnectDataFields, status: number, result: number | undefined][] = [
	['RECFMT 1', { recfmt: 1 }, {}, 0x180, undefined],
	['SQSIZE 0', { sqsize: 0 }, {}, 0x182, inCommand | 44],
	['SQSIZE above MQES', { sqsize: limits.queueDepth }, {}, 0x182, inCommand | 44],
	['SQSIZE FFFFh', { sqsize: 0xffff }, {}, 0x182, inCommand | 44],
	['KATO 0', { kato: 0 }, {}, 0x01a, undefined],
	['KATO too long', { kato: limits.keepAliveMsMax + 1 }, {}, 0x01a, undefined],
	['HOSTID 0', {}, { hostid: Buffer.alloc(16) }, 0x182, inData | 0],
	['CNTLID of nobody', {}, { cntlid: 5 }, 0x182, inData | 16],
	['CNTLID FFFEh, which is for static controllers', {}, { cntlid: 0xfffe }, 0x182, inData | 16],
	['SUBNQN without an end', {}, { subnqn: Buffer.alloc(256, 0x6e) }, 0x182, inData | 256],
	['SUBNQN empty', {}, { subnqn: '' }, 0x182, inData | 256],
	['SUBNQN of nobody', {}, { subnqn: 'nqn.2026-11.test:other' }, 0x182, inData | 256],
	['SUBNQN in capitals', {}, { subnqn: subsystemNQN.toUpperCase() }, 0x182, inData | 256],
	['SUBNQN longer than 223 bytes', {}, { subnqn: `nqn.2026-11.test:${'a'.repeat(220)}` }, 0x182, inData | 256],
	['HOSTNQN without an end', {}, { hostnqn: Buffer.alloc(256, 0x6e) }, 0x182, inData | 512],
	['HOSTNQN longer than 223 bytes', {}, { hostnqn: `nqn.2026-11.test:${'a'.repeat(207)}` }, 0x182, inData | 512],
	['HOSTNQN empty', {}, { hostnqn: '' }, 0x182, inData | 512],
	['HOSTNQN that is no NQN', {}, { hostnqn: 'iqn.2026-11.test:host' }, 0x182, inData | 512],
	['HOSTNQN that is no UTF-8', {}, { hostnqn: Buffer.from('6e716e2e80ff', 'hex') }, 0x182, inData | 512],
	['a host that is not admitted', {}, { hostnqn: 'nqn.2026-11.test:stranger' }, 0x184, inData | 512],
	['PSDT 00b', { flags: 0 }, {}, 0x002, undefined],
	['FUSE 01b', { flags: 0x41 }, {}, 0x002, undefined],
	['an I/O queue of no controller', { qid: 1 }, { cntlid: 1 }, 0x182, inData | 16],
	['an I/O queue of the discovery subsystem', { qid: 1 }, { cntlid: 1, subnqn: discoveryNQN }, 0x182, inCommand | 42],
];

for (const [title, command, data, status, result] of badConnects) {
	test(`Connect with ${title}: ${status.toString(16)}h, and no controller`, async (t) => {
		const { fabric, subsystem } = setUp({ admits: (nqn) => nqn === hostNQN });
		const queue = new TestQueue(fabric);
		const answer = await queue.run(connectSqe(command), connectData(data));
		t.is(answer.status, status);
		t.true(answer.dnr);
		if (result !== undefined) t.is(answer.result0, result);
		t.is(subsystem.controllers.size, 0);
		t.is(fabric.controllers().length, 0);
		// The queue may try again.
		t.is((await queue.run(connectSqe(), connectData())).status, 0);
	});
}

test('a queue begins with Connect and has one only: Command Sequence Error', async (t) => {
	const { fabric } = setUp();
	const queue = new TestQueue(fabric);
	for (const entry of [
		propertyGet(0, 1),
		propertySet(0x14, 1),
		sqe({ opcode: 0x06, cdw10: 1 }),
		sqe({ opcode: 0xff }),
		fabricsSqe(8),
		fabricsSqe(0x33),
		fabricsSqe(5),
	])
		t.is((await queue.run(entry)).status, 0x00c);
	const twins = [queue.begin(connectSqe()), queue.begin(connectSqe())] as const;
	t.is((await queue.finish(twins[0], connectData())).status, 0);
	t.is((await queue.finish(twins[1], connectData())).status, 0x00c, 'the second of two that were under way at once');
	t.is((await queue.run(connectSqe(), connectData())).status, 0x00c);
	t.is(fabric.controllers().length, 1);
});

test('an unknown Fabrics command: Invalid Command Opcode', async (t) => {
	const { fabric } = setUp();
	const { admin } = await connectAdmin(fabric);
	t.is((await admin.run(fabricsSqe(0x33))).status, 0x001);
});

test('the controllers of a subsystem: as many as the limit, one more is Connect Controller Busy and may try again', async (t) => {
	const { fabric, subsystem } = setUp();
	const queues: TestQueue[] = [];
	for (let count = 0; count < limits.controllersPerSubsystem; count++) queues.push((await connectAdmin(fabric)).admin);
	const late = new TestQueue(fabric);
	const answer = await late.run(connectSqe(), connectData());
	t.is(answer.status, 0x181);
	t.false(answer.dnr);
	t.is(subsystem.controllers.size, limits.controllersPerSubsystem);
	t.is(new Set(subsystem.controllers.keys()).size, limits.controllersPerSubsystem);
	queues[17]!.close();
	t.is((await late.run(connectSqe(), connectData())).status, 0);
});

test('hosts that connect again and again fill no log: so many lines a minute, and then their number', async (t) => {
	const lines: object[] = [];
	const { fabric, tick } = setUp({ log: { ...silent, info: (fields, message) => lines.push({ ...fields, message }) } });
	for (let count = 0; count < 100; count++) (await connectAdmin(fabric)).admin.close();
	t.is(lines.length, linesPerMinute);
	tick(60_000);
	t.is(lines.length, linesPerMinute + 1);
	t.like(lines.at(-1), { suppressed: 100 - linesPerMinute });
});

test('a CNTLID that became free is not given to the next controller', async (t) => {
	const { fabric } = setUp();
	const { admin, cntlid } = await connectAdmin(fabric);
	admin.close();
	t.not((await connectAdmin(fabric)).cntlid, cntlid);
});

test('I/O queues: each field has to be that of the admin queue', async (t) => {
	const { fabric } = setUp();
	const { cntlid } = await connectAdmin(fabric);
	for (const [title, data, result] of [
		['HOSTID', { hostid: Buffer.alloc(16, 9) }, inData | 0],
		['HOSTNQN', { hostnqn: 'nqn.2026-11.test:other' }, inData | 512],
		['CNTLID', { cntlid: cntlid + 1 }, inData | 16],
		['SUBNQN', { subnqn: 'nqn.2026-11.test:two' }, inData | 256],
		['CNTLID FFFFh', { cntlid: 0xffff }, inData | 16],
	] as const) {
		const queue = new TestQueue(fabric);
		const answer = await queue.run(connectSqe({ qid: 1 }), connectData({ cntlid, ...data }));
		t.is(answer.status, 0x182, title);
		t.is(answer.result0, result, title);
	}
	t.notThrows(() => connectIO(fabric, cntlid));
});

test('I/O queues: 16 of them, each QID once, none beyond what Number of Queues granted', async (t) => {
	const { fabric } = setUp();
	const { admin, cntlid } = await connectAdmin(fabric);
	for (let qid = 1; qid <= limits.ioQueues; qid++) t.is((await connectIO(fabric, cntlid, { qid })).logic.depth, 128);
	const queue = new TestQueue(fabric);
	const above = await queue.run(connectSqe({ qid: limits.ioQueues + 1 }), connectData({ cntlid }));
	t.deepEqual([above.status, above.result0], [0x182, inCommand | 42]);
	t.is((await queue.run(connectSqe({ qid: 3 }), connectData({ cntlid }))).status, 0x101);
	admin.close();
	const { admin: next, cntlid: other } = await connectAdmin(fabric);
	const granted = await next.run(sqe({ opcode: 0x09, cdw10: 0x07, cdw11: 0x0001_0003 }));
	t.deepEqual([granted.status, granted.result0], [0, 0x0001_0001]);
	await connectIO(fabric, other, { qid: 2 });
	t.is((await new TestQueue(fabric).run(connectSqe({ qid: 3 }), connectData({ cntlid: other }))).status, 0x182);
});

test('an I/O queue before the controller is enabled: Command Sequence Error; with other entry sizes: invalid', async (t) => {
	const { fabric } = setUp();
	const admin = new TestQueue(fabric);
	const cntlid = (await admin.run(connectSqe(), connectData())).result0;
	const queue = new TestQueue(fabric);
	t.is((await queue.run(connectSqe({ qid: 1 }), connectData({ cntlid }))).status, 0x00c);
	await admin.run(propertySet(0x14, 0x0000_0001));
	t.is((await queue.run(connectSqe({ qid: 1 }), connectData({ cntlid }))).status, 0x182);
	await admin.run(propertySet(0x14, enabled));
	t.is((await queue.run(connectSqe({ qid: 1 }), connectData({ cntlid }))).status, 0);
});

test('access that is taken away: no more I/O queues, and endControllers() closes what there is', async (t) => {
	let admitted = true;
	const { fabric, subsystem } = setUp({ admits: () => admitted });
	const { admin, cntlid } = await connectAdmin(fabric);
	const io = await connectIO(fabric, cntlid);
	admitted = false;
	t.is((await new TestQueue(fabric).run(connectSqe({ qid: 2 }), connectData({ cntlid }))).status, 0x184);
	fabric.endControllers(subsystemNQN, 'nqn.2026-11.test:somebody-else');
	t.false(admin.isClosed);
	fabric.endControllers(subsystemNQN, hostNQN);
	t.true(admin.isClosed && io.isClosed);
	t.is(subsystem.controllers.size, 0);
});

test('the admin queue gone, the controller is gone with all of its queues', async (t) => {
	const { admin, io, subsystem, fabric, cntlid } = await attach();
	admin.close();
	t.true(io.isClosed);
	t.is(subsystem.controllers.size, 0);
	t.is((await new TestQueue(fabric).run(connectSqe({ qid: 2 }), connectData({ cntlid }))).status, 0x182);
});

test('an I/O queue gone, its QID may be connected again', async (t) => {
	const { admin, io, fabric, cntlid } = await attach();
	io.close();
	t.false(admin.isClosed);
	t.is((await connectIO(fabric, cntlid)).isClosed, false);
});

test('Disconnect deletes an I/O queue behind its answer; on the admin queue it is refused, and so is another format', async (t) => {
	const { admin, io, fabric, cntlid, controller } = await attach();
	t.is((await admin.run(fabricsSqe(0x08))).status, 0x185);
	const other = fabricsSqe(0x08);
	other[40] = 1;
	t.is((await io.run(other)).status, 0x180);
	const one = io.begin(fabricsSqe(0x08));
	t.is(one.step, 'finished');
	t.false(io.isClosed, 'the answer is on its way');
	t.deepEqual([...controller.queues.keys()], [0], 'and the queue identifier is free');
	t.is(one.request.status, 0);
	await settled();
	t.true(io.isClosed);
	t.false(admin.isClosed);
	await connectIO(fabric, cntlid);
});

test('a connection that has no Connect for 15 s is closed', (t) => {
	const { fabric, tick } = setUp();
	const queue = new TestQueue(fabric);
	tick(limits.connectMs);
	t.false(queue.isClosed);
	tick(1000);
	t.true(queue.isClosed);
	t.is(fabric.unconnected.size, 0);
});

test('KATO: silence ends the controller with every connection and frees it; any command of any queue starts the timer anew', async (t) => {
	const { admin, io, tick, fabric, subsystem } = await attach();
	for (let second = 0; second < 8; second++) {
		tick(4000);
		t.is((await (second % 2 === 0 ? admin.run(sqe({ opcode: 0x18 })) : io.run(sqe({ opcode: 0x00, nsid: 1 })))).status, 0);
	}
	tick(6000);
	t.false(admin.isClosed, 'up to a second of the last command is not seen by a tick');
	tick(1000);
	t.true(admin.isClosed && io.isClosed);
	t.is(subsystem.controllers.size, 0);
	t.deepEqual(fabric.controllers(), []);
	t.regex(admin.closings[0]!, /no command for 5000 ms/);
});

test('KATO is rounded up to KAS', async (t) => {
	const { fabric, subsystem } = setUp();
	for (const [kato, kept] of [
		[1, 1000],
		[1000, 1000],
		[1001, 2000],
		[limits.keepAliveMsMax, limits.keepAliveMsMax],
	] as const) {
		const { cntlid } = await connectAdmin(fabric, { kato });
		t.is(subsystem.controllers.get(cntlid)!.keepAlive.timeoutMs, kept);
	}
});

test('a process that stood still does not make its hosts pay: one late tick is no silence', async (t) => {
	const { admin, clock, fabric } = await attach();
	clock.nowMs += 1000;
	fabric.tick();
	clock.nowMs += 600_000;
	fabric.tick();
	t.false(admin.isClosed);
});
