import test from 'ava';
import {
	TestQueue,
	attach,
	connectAdmin,
	connectData,
	connectIO,
	connectSqe,
	enabled,
	propertyGet,
	propertySet,
	settled,
	setUp,
	sqe,
} from './host.ts';

async function plain() {
	const parts = setUp();
	const admin = new TestQueue(parts.fabric);
	const cntlid = (await admin.run(connectSqe(), connectData())).result0;
	const csts = async (): Promise<number> => (await admin.run(propertyGet(0x1c, 0))).result0;
	return { ...parts, admin, cntlid, csts };
}

test('CAP: depth 128, contiguous queues, 20 s, both ways to choose the command set, 4 KiB pages, ready with media', async (t) => {
	const { admin } = await plain();
	const { result0, result1 } = await admin.run(propertyGet(0x00, 1));
	t.is(result0 & 0xffff, 127);
	t.is((result0 >>> 16) & 1, 1);
	t.is((result0 >>> 24) & 0xff, 40);
	t.is(result1 & 0xf, 0);
	t.is((result1 >>> 5) & 0xff, 0b0100_0001, 'CSS');
	t.is((result1 >>> 16) & 0xff, 0, 'MPSMIN and MPSMAX');
	t.is((result1 >>> 27) & 0b11, 0b01, 'CRMS');
	t.is((await admin.run(propertyGet(0x08, 0))).result0, 0x0002_0000);
	t.is((await admin.run(propertyGet(0x68, 0))).result0, 40);
});

test('Property Get: an offset without a property, the wrong size, a reserved size: Invalid Field', async (t) => {
	const { admin } = await plain();
	for (const [offset, size] of [
		[0x00, 0],
		[0x08, 1],
		[0x14, 1],
		[0x1c, 1],
		[0x68, 1],
		[0x1c, 2],
		[0x1c, 7],
		[0x04, 0],
		[0x0c, 0],
		[0x20, 0],
		[0x24, 0],
		[0xffff_fffc, 0],
	] as const)
		t.is((await admin.run(propertyGet(offset, size))).status, 0x002, `${offset.toString(16)}h, size ${size}`);
	t.is((await admin.run(propertyGet(0x1c, 0, 0))).status, 0x002, 'PSDT 00b');
});

test('Property Set: read-only properties, the wrong size, and what CC cannot be: Invalid Field, and nothing changes', async (t) => {
	const { admin, csts } = await plain();
	for (const [offset, value, size] of [
		[0x00, 0, 1],
		[0x08, 0, 0],
		[0x1c, 1, 0],
		[0x68, 1, 0],
		[0x20, 0x4e56_4d65, 0],
		[0x14, enabled, 1],
		[0x14, enabled | (1 << 4), 0],
		[0x14, enabled | (7 << 4), 0],
		[0x14, enabled | (1 << 7), 0],
		[0x14, enabled | (1 << 8), 0],
		[0x14, enabled | (1 << 11), 0],
		[0x14, enabled | (3 << 14), 0],
	] as const) {
		t.is((await admin.run(propertySet(offset, value, size))).status, 0x002, `${offset.toString(16)}h = ${value.toString(16)}h`);
		t.is((await admin.run(propertyGet(0x14, 0))).result0, 0);
		t.is(await csts(), 0);
	}
	t.is((await admin.run(propertySet(0x14, enabled | (6 << 4)))).status, 0, 'all I/O command sets');
	t.is((await admin.run(propertySet(0x14, enabled))).status, 0x002, 'another command set while it is enabled');
});

test('properties are for the admin queue: Invalid Queue Type elsewhere', async (t) => {
	const { io } = await attach();
	t.is((await io.run(propertyGet(0x1c, 0))).status, 0x185);
	t.is((await io.run(propertySet(0x14, 0))).status, 0x185);
});

test('a controller that is not enabled takes Fabrics commands only: Command Sequence Error', async (t) => {
	const { admin, csts } = await plain();
	for (const opcode of [0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0xff]) t.is((await admin.run(sqe({ opcode, cdw10: 1 }))).status, 0x00c);
	t.is(await csts(), 0);
	await admin.run(propertySet(0x14, enabled));
	t.is(await csts(), 1);
	t.is((await admin.run(sqe({ opcode: 0x18 }))).status, 0);
});

test('CC as Linux writes it: the sizes first, then EN, later SHN', async (t) => {
	const { admin, csts } = await plain();
	t.is((await admin.run(propertySet(0x14, 0x0046_0060))).status, 0);
	t.is(await csts(), 0);
	t.is((await admin.run(propertySet(0x14, 0x0046_0061))).status, 0);
	t.is(await csts(), 1);
	t.is((await admin.run(propertySet(0x14, 0x0046_4061))).status, 0);
	await settled();
	t.is(await csts(), 0b1001);
	t.is((await admin.run(propertyGet(0x14, 0))).result0, 0x0046_4061);
});

test('a normal shutdown flushes every namespace before it is complete, and ends what waits for events', async (t) => {
	const { admin, io, device, subsystem } = await attach();
	const event = admin.begin(sqe({ opcode: 0x0c, cid: 9 }));
	device.held = true;
	t.is((await admin.run(propertySet(0x14, enabled | (1 << 14)))).status, 0);
	const csts = async (): Promise<number> => (await admin.run(propertyGet(0x1c, 0))).result0;
	t.is(await csts(), 0b0101);
	t.is((await admin.finish(event)).status, 0x008);
	t.deepEqual(
		device.calls.map(({ operation }) => operation),
		['flush'],
	);
	t.is((await io.run(sqe({ opcode: 0x02, nsid: 1 }))).status, 0x00c);
	t.is((await admin.run(sqe({ opcode: 0x18 }))).status, 0x00c);
	device.release();
	t.is(await csts(), 0b1001);
	t.is(subsystem.controllers.size, 1, 'the host still reads CSTS');
});

test('an abrupt shutdown is complete at once and flushes nothing', async (t) => {
	const { admin, device } = await attach();
	await admin.run(propertySet(0x14, enabled | (2 << 14)));
	t.is((await admin.run(propertyGet(0x1c, 0))).result0, 0b1001);
	t.deepEqual(device.calls, []);
});

test('a reset during a shutdown: what was flushed then does not count any more', async (t) => {
	const { admin, device } = await attach();
	device.held = true;
	await admin.run(propertySet(0x14, enabled | (1 << 14)));
	await admin.run(propertySet(0x14, 0));
	await admin.run(propertySet(0x14, enabled));
	device.release();
	t.is((await admin.run(propertyGet(0x1c, 0))).result0, 1);
});

test('a shutdown of a controller that is not enabled is complete, and it can be enabled afterwards', async (t) => {
	const { admin, csts } = await plain();
	await admin.run(propertySet(0x14, 1 << 15));
	t.is(await csts(), 0b1000);
	await admin.run(propertySet(0x14, enabled));
	t.is(await csts(), 1);
});

test('a reset ends the I/O queues and the waiting events, and puts the features back; the admin queue stays', async (t) => {
	const { admin, io, fabric, cntlid, controller } = await attach();
	await admin.run(sqe({ opcode: 0x09, cdw10: 0x0b, cdw11: 0x100 }));
	await admin.run(sqe({ opcode: 0x09, cdw10: 0x06, cdw11: 0 }));
	await admin.run(sqe({ opcode: 0x09, cdw10: 0x82, nsid: 1, cdw11: 0b1110 }));
	controller.namespaceChanged(1);
	const event = admin.begin(sqe({ opcode: 0x0c }));
	t.is((await admin.finish(event)).result0, 0x0004_0002);
	const waiting = admin.begin(sqe({ opcode: 0x0c }));
	t.is((await admin.run(propertySet(0x14, enabled & ~1))).status, 0);
	t.true(io.isClosed);
	t.false(admin.isClosed);
	const ended = await admin.finish(waiting);
	t.deepEqual([ended.status, ended.dnr], [0x008, false]);
	t.is((await admin.run(propertyGet(0x1c, 0))).result0, 0);
	t.is((await admin.run(sqe({ opcode: 0x18 }))).status, 0x00c);
	await admin.run(propertySet(0x14, enabled));
	for (const [fid, nsid, value] of [
		[0x0b, 0, 0],
		[0x06, 0, 1],
		[0x82, 1, 0],
	] as const)
		t.is((await admin.run(sqe({ opcode: 0x0a, nsid, cdw10: fid }))).result0, value);
	const list = await admin.run(sqe({ opcode: 0x02, nsid: 0xffff_ffff, cdw10: 0x03ff_0004 }));
	t.true(list.data.every((byte) => byte === 0));
	await connectIO(fabric, cntlid);
});

test('data that comes after a reset goes nowhere: Command Sequence Error', async (t) => {
	const { admin, controller } = await attach();
	const one = admin.begin(sqe({ opcode: 0x09, cdw10: 0x0e }));
	t.is(one.step, 'parameters');
	await admin.run(propertySet(0x14, 0));
	t.is((await admin.finish(one, Buffer.alloc(8, 1))).status, 0x00c);
	t.is(controller.features.timestamp, undefined);
});

test('two hosts: the reset of one touches nothing of the other', async (t) => {
	const { fabric, admin, io } = await attach();
	const { admin: other } = await connectAdmin(fabric, { hostid: Buffer.alloc(16, 1) });
	await other.run(propertySet(0x14, 0));
	t.false(io.isClosed || admin.isClosed);
	t.is((await io.run(sqe({ opcode: 0x00, nsid: 1 }))).status, 0);
});
