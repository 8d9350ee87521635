import test from 'ava';
import { features } from '../../../src/nvmeof/feature-rows.ts';
import { limits } from '../../../src/nvmeof/limits.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import { attach, connectIO, hostID, ranged, setUp, connectAdmin, sqe } from './host.ts';

async function prepared(options: Parameters<typeof attach>[0] = {}) {
	const parts = await attach(options);
	const get = (fid: number, { nsid = 0, sel = 0, cdw11 = 0 } = {}) =>
		parts.admin.run(sqe({ opcode: 0x0a, nsid, cdw10: fid | (sel << 8), cdw11 }));
	const set = (fid: number, cdw11: number, { nsid = 0, save = false, data = Buffer.alloc(0) } = {}) =>
		parts.admin.run(sqe({ opcode: 0x09, nsid, cdw10: (fid | (save ? 0x8000_0000 : 0)) >>> 0, cdw11 }), data);
	return { ...parts, get, set };
}

test('features that are set are read back; SEL default and saved say what was there before', async (t) => {
	const { get, set } = await prepared();
	for (const [fid, value, initial] of [
		[0x01, 0x0102_0307, 0],
		[0x02, 0x60, 0],
		[0x04, 0x0157, 0xffff],
		[0x06, 0, 1],
		[0x0a, 1, 0],
		[0x0b, 0x11f, 0],
		[0x0f, 9000, 0x1d4c0],
	] as const) {
		t.is((await set(fid, value)).status, 0, `FID ${fid.toString(16)}h`);
		t.is((await get(fid)).result0, value);
		t.is((await get(fid, { sel: 1 })).result0, initial);
		t.is((await get(fid, { sel: 2 })).result0, initial);
	}
	t.is((await set(0x04, 0x0020_0100 - 0x10_0000)).status, 0, 'under threshold');
	t.is((await get(0x04, { cdw11: 0x10_0000 })).result0, 0x100);
	t.is((await get(0x04)).result0, 0x157);
	t.is((await set(0x04, 0x000f_0140)).status, 0, 'all sensors');
});

test('SEL supported capabilities: nothing is saveable, what is of a namespace says so', async (t) => {
	const { get } = await prepared();
	for (const feature of features) {
		const { fid, scope } = feature;
		const isChangeable = feature.set !== undefined;
		t.is(
			(await get(fid, { sel: 3 })).result0,
			(scope === 'namespace' ? 0b010 : 0) | (isChangeable ? 0b100 : 0),
			`FID ${fid.toString(16)}h`,
		);
	}
});

test('the log of feature identifiers shows those that there are', async (t) => {
	const { admin, get } = await prepared();
	const log = (await admin.run(sqe({ opcode: 0x02, cdw10: 0x00ff_0012 }))).data;
	for (let fid = 0; fid < 256; fid++) {
		const { status } = await get(fid, { nsid: 1, cdw11: 1 });
		t.is(log.readUInt32LE(4 * fid) & 1, status === 0 ? 1 : 0, `FID ${fid.toString(16)}h`);
	}
});

const bad: [title: string, fid: number, value: number, options: { nsid?: number; save?: boolean }, status: number][] = [
	['an unknown FID', 0x00, 0, {}, 0x002],
	['interrupt coalescing, which fabrics do not have', 0x08, 0, {}, 0x002],
	['an FID of a vendor', 0xc0, 0, {}, 0x002],
	['SV', 0x0b, 0, { save: true }, 0x10d],
	['SV on a namespace', 0x82, 0, { save: true, nsid: 1 }, 0x10d],
	['a power state that there is not', 0x02, 1, {}, 0x002],
	['a sensor that there is not', 0x04, 0x1_0000, {}, 0x002],
	['a reserved threshold type', 0x04, 0x20_0000, {}, 0x002],
	['Error Recovery, which cannot be changed', 0x05, 5, { nsid: 1 }, 0x10e],
	['no queues at all: FFFFh submission queues', 0x07, 0x0000_ffff, {}, 0x002],
	['no queues at all: FFFFh completion queues', 0x07, 0xffff_0000, {}, 0x002],
	['an event that is not in OAES', 0x0b, 0x200, {}, 0x002],
	['the discovery event', 0x0b, 0x8000_0000, {}, 0x002],
	['a SMART warning that is reserved', 0x0b, 0x20, {}, 0x002],
	['KATO 0', 0x0f, 0, {}, 0x01a],
	['KATO too long', 0x0f, limits.keepAliveMsMax + 1, {}, 0x01a],
	['a combination of command sets that there is not', 0x19, 1, {}, 0x12b],
	['a namespace, on a feature of the controller', 0x0b, 0, { nsid: 1 }, 0x10f],
	['a reserved bit of the notification mask', 0x82, 1, { nsid: 1 }, 0x002],
	['a high bit of the notification mask', 0x82, 0x10, { nsid: 1 }, 0x002],
	['a reserved bit of the persistence', 0x83, 2, { nsid: 1 }, 0x002],
	['namespace 0', 0x82, 0, { nsid: 0 }, 0x00b],
	['a namespace beyond NN', 0x82, 0, { nsid: 1025 }, 0x00b],
	['a namespace that is not there', 0x83, 1, { nsid: 2 }, 0x002],
];

for (const [title, fid, value, options, status] of bad) {
	test(`Set Features with ${title}: ${status.toString(16)}h, and nothing changes`, async (t) => {
		const { set, get, subsystem, controller } = await prepared();
		const values = structuredClone(controller.features);
		const answer = await set(fid, value, options);
		t.deepEqual([answer.status, answer.dnr], [status, true]);
		t.deepEqual(structuredClone(controller.features), values);
		t.is((await get(0x0f)).result0, 5000);
		t.is((await get(0x82, { nsid: 1 })).result0, 0);
		t.false(subsystem.namespaces.get(1)!.reservations.persistThroughPowerLoss);
	});
}

const badGets: [title: string, fid: number, options: { nsid?: number; sel?: number; cdw11?: number }, status: number][] = [
	['an unknown FID', 0x03, {}, 0x002],
	['a reserved SEL', 0x0b, { sel: 4 }, 0x002],
	['the highest SEL', 0x0b, { sel: 7 }, 0x002],
	['a sensor that there is not', 0x04, { cdw11: 0x3_0000 }, 0x002],
	['a reserved threshold type', 0x04, { cdw11: 0x30_0000 }, 0x002],
	['a host identifier of 64 bits', 0x81, {}, 0x002],
	['the mask of no namespace', 0x82, {}, 0x00b],
	['the mask of every namespace', 0x82, { nsid: 0xffff_ffff }, 0x00b],
	['the persistence of a namespace that is not there', 0x83, { nsid: 9 }, 0x002],
	['the error recovery of a namespace beyond NN', 0x05, { nsid: 4000 }, 0x00b],
];

for (const [title, fid, options, status] of badGets) {
	test(`Get Features with ${title}: ${status.toString(16)}h`, async (t) => {
		const { get } = await prepared();
		const answer = await get(fid, options);
		t.deepEqual([answer.status, answer.dnr], [status, true]);
	});
}

test('Number of Queues: what was asked for up to the limit; once an I/O queue is there, Command Sequence Error', async (t) => {
	const { fabric } = setUp();
	const { admin, cntlid } = await connectAdmin(fabric);
	for (const [asked, granted] of [
		[0x003f_003f, 0x000f_000f],
		[0x0000_0000, 0x0000_0000],
		[0x0001_0007, 0x0001_0001],
		[0xfffe_fffe, 0x000f_000f],
	] as const) {
		t.is((await admin.run(sqe({ opcode: 0x09, cdw10: 0x07, cdw11: asked }))).result0, granted);
		t.is((await admin.run(sqe({ opcode: 0x0a, cdw10: 0x07 }))).result0, granted);
	}
	const io = await connectIO(fabric, cntlid);
	t.is((await admin.run(sqe({ opcode: 0x09, cdw10: 0x07, cdw11: 0 }))).status, 0x00c);
	io.close();
	t.is((await admin.run(sqe({ opcode: 0x09, cdw10: 0x07, cdw11: 0 }))).status, 0);
});

test('Volatile Write Cache off: what is in it is flushed first, and from then on every write goes to stable storage', async (t) => {
	const { set, admin, io, device } = await prepared();
	device.held = true;
	const off = admin.begin(sqe({ opcode: 0x09, cdw10: 0x06, cdw11: 0 }));
	t.is(off.step, 'pending');
	device.release();
	t.is((await admin.finish(off)).status, 0);
	device.held = false;
	await io.run(ranged(0x01, 0, 1), Buffer.alloc(512));
	await io.run(ranged(0x08, 0, 1));
	await io.run(sqe({ opcode: 0x09, nsid: 1, cdw11: 4 }), Buffer.from('000000000100000000000000'.padEnd(32, '0'), 'hex'));
	t.deepEqual(
		device.calls.map(({ operation, fua }) => [operation, fua]),
		[
			['flush', false],
			['write', true],
			['zero', true],
			['zero', true],
		],
	);
	device.calls.length = 0;
	t.is((await set(0x06, 1)).status, 0);
	await io.run(ranged(0x01, 0, 1), Buffer.alloc(512));
	t.deepEqual(
		device.calls.map(({ operation, fua }) => [operation, fua]),
		[['write', false]],
	);
});

test('Timestamp: counts from the controller’s start, or from what the host said', async (t) => {
	const { admin, clock, get, set } = await prepared();
	clock.nowMs += 5000;
	const before = (await get(0x0e)).data;
	t.deepEqual([before.readUIntLE(0, 6), before[6]], [5000, 0]);
	const data = Buffer.alloc(8);
	data.writeUIntLE(1_700_000_000_000, 0, 6);
	t.is((await set(0x0e, 0, { data })).status, 0);
	clock.nowMs += 250;
	const after = (await get(0x0e)).data;
	t.deepEqual([after.length, after.readUIntLE(0, 6), after[6]], [8, 1_700_000_000_250, 0b010]);
	t.is(admin.outstanding.size, 0);
});

test('Host Identifier: that of Connect, and it cannot be set', async (t) => {
	const { get, set } = await prepared();
	t.deepEqual((await get(0x81, { cdw11: 1 })).data, hostID);
	t.is((await set(0x81, 1, { data: Buffer.alloc(16, 1) })).status, 0x00c);
	t.deepEqual((await get(0x81, { cdw11: 1 })).data, hostID);
});

test('reservation mask and persistence: each namespace its own, FFFFFFFFh sets all', async (t) => {
	const { get, set, subsystem } = await prepared();
	subsystem.addNamespace(2, new MemoryDevice());
	await set(0x82, 0b0010, { nsid: 1 });
	t.deepEqual([(await get(0x82, { nsid: 1 })).result0, (await get(0x82, { nsid: 2 })).result0], [0b0010, 0]);
	await set(0x82, 0b1110, { nsid: 0xffff_ffff });
	t.deepEqual([(await get(0x82, { nsid: 1 })).result0, (await get(0x82, { nsid: 2 })).result0], [0b1110, 0b1110]);
	await set(0x83, 1, { nsid: 2 });
	t.deepEqual([(await get(0x83, { nsid: 1 })).result0, (await get(0x83, { nsid: 2 })).result0], [0, 1]);
	t.true(subsystem.namespaces.get(2)!.reservations.persistThroughPowerLoss);
});

test('KATO set anew counts from then on', async (t) => {
	const { set, admin, tick } = await prepared();
	await set(0x0f, 60_000);
	tick(50_000);
	t.false(admin.isClosed);
	tick(12_000);
	t.true(admin.isClosed);
});
