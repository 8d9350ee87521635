import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import { Registrant } from '../../../src/reservation/registrant.ts';
import { ReservationTable } from '../../../src/reservation/reservation-table.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import { attach, attachOther, connectAdmin, connectIO, hostID, ranged, settled, sqe } from './host.ts';
import type { TestQueue } from './host.ts';

function keys(...values: bigint[]): Buffer {
	const data = Buffer.alloc(8 * values.length);
	for (const [index, value] of values.entries()) data.writeBigUInt64LE(value, 8 * index);
	return data;
}

const register = (io: TestQueue, current: bigint, key: bigint, { rrega = 0, iekey = 0, cptpl = 0, nsid = 1 } = {}) =>
	io.run(sqe({ opcode: 0x0d, nsid, cdw10: (rrega | (iekey << 3) | (cptpl << 30)) >>> 0 }), keys(current, key));
const acquire = (io: TestQueue, current: bigint, rtype: number, { preempted = 0n, racqa = 0, iekey = 0, nsid = 1 } = {}) =>
	io.run(sqe({ opcode: 0x11, nsid, cdw10: racqa | (iekey << 3) | (rtype << 8) }), keys(current, preempted));
const release = (io: TestQueue, current: bigint, rtype: number, { rrela = 0, iekey = 0, nsid = 1 } = {}) =>
	io.run(sqe({ opcode: 0x15, nsid, cdw10: rrela | (iekey << 3) | (rtype << 8) }), keys(current));
const report = (io: TestQueue, { eds = 1, bytes = 4096, nsid = 1 } = {}) =>
	io.run(sqe({ opcode: 0x0e, nsid, cdw10: bytes / 4 - 1, cdw11: eds }));

async function two(options: Parameters<typeof attach>[0] = {}) {
	const parts = await attach(options);
	const other = await attachOther(parts.fabric, 'b');
	return { ...parts, other };
}

test('register, acquire, report, release: what the standard’s structures say of it', async (t) => {
	const { io, other, cntlid } = await two();
	t.is((await register(io, 0n, 0x1122n, { cptpl: 3 })).status, 0);
	t.is((await register(other.io, 0n, 0x3344n)).status, 0);
	t.is((await acquire(io, 0x1122n, 1)).status, 0);
	const { data } = await report(other.io);
	t.is(data.length, 64 * 3);
	t.is(data.readUInt32LE(0), 2, 'GEN');
	t.is(data[4], 1, 'RTYPE');
	t.is(data.readUInt16LE(5), 2, 'REGCTL');
	t.is(data[9], 1, 'PTPLS');
	const entry = (index: number) => {
		const at = 64 + 64 * index;
		return {
			cntlid: data.readUInt16LE(at),
			rcsts: data[at + 2],
			rkey: data.readBigUInt64LE(at + 8),
			hostid: data.toString('hex', at + 16, at + 32),
		};
	};
	t.deepEqual(entry(0), { cntlid, rcsts: 1, rkey: 0x1122n, hostid: hostID.toString('hex') });
	t.deepEqual(entry(1), { cntlid: other.cntlid, rcsts: 0, rkey: 0x3344n, hostid: 'bb'.repeat(16) });
	t.is((await release(io, 0x1122n, 1)).status, 0);
	t.is((await report(io)).data[4], 0);
	t.is((await register(io, 0x1122n, 0n, { rrega: 1 })).status, 0);
	t.is((await report(io)).data.readUInt16LE(5), 1);
});

test('Reservation Report: cut to NUMD; without EDS Host Identifier Inconsistent Format', async (t) => {
	const { io } = await two();
	await register(io, 0n, 1n);
	for (const bytes of [4, 24, 64, 68, 128]) t.is((await report(io, { bytes })).data.length, bytes);
	t.is((await report(io, { bytes: 2 ** 24 })).data.length, 128);
	t.deepEqual([(await report(io, { eds: 0 })).status, (await report(io, { eds: 0 })).dnr], [0x018, true]);
});

test('a host that has no controller, one with two, and one of the other protocol are all reported', async (t) => {
	const table = new ReservationTable();
	const { io, other, fabric, cntlid } = await two({ reservations: table });
	await register(io, 0n, 1n);
	await register(other.io, 0n, 2n);
	const { cntlid: again } = await connectAdmin(fabric);
	other.admin.close();
	table.register(new Registrant('iscsi', 'iqn.2026-11.test:initiator,i,0x00023d000001', 'iqn.2026-11.test:target,t,0x0001'), 3n);
	const { data } = await report(io);
	t.is(data.readUInt16LE(5), 4);
	t.deepEqual(
		[0, 1, 2, 3].map((index) => data.readUInt16LE(64 + 64 * index)),
		[cntlid, again, 0xffff, 0xffff],
	);
	t.deepEqual(
		[0, 1, 2, 3].map((index) => data.readBigUInt64LE(64 + 64 * index + 8)),
		[1n, 1n, 2n, 3n],
	);
	t.notRegex(data.toString('hex', 64 + 192 + 16, 64 + 192 + 32), /^0+$/);
});

const groups = { read: [0x02, 0x05, 0x0c], write: [0x01, 0x08, 0x09, 0x00] } as const;

for (const [rtype, read, write] of [
	[1, ['holder', 'registrant', 'other'], ['holder']],
	[2, ['holder'], ['holder']],
	[3, ['holder', 'registrant', 'other'], ['holder', 'registrant']],
	[4, ['holder', 'registrant'], ['holder', 'registrant']],
	[5, ['holder', 'registrant', 'other'], ['holder', 'registrant']],
	[6, ['holder', 'registrant'], ['holder', 'registrant']],
] as const) {
	test(`reservation type ${rtype}: who may read and who may write, by every command of both groups`, async (t) => {
		const parts = await two();
		const third = await attachOther(parts.fabric, 'c');
		const who = { holder: parts.io, registrant: parts.other.io, other: third.io };
		await register(who.holder, 0n, 1n);
		await register(who.registrant, 0n, 2n);
		t.is((await acquire(who.holder, 1n, rtype)).status, 0);
		for (const [name, io] of Object.entries(who)) {
			for (const [group, allowed] of [
				['read', read],
				['write', write],
			] as const) {
				for (const opcode of groups[group]) {
					const status = (await io.run(ranged(opcode, 0, 1), Buffer.alloc(4096))).status;
					t.is(status, (allowed as readonly string[]).includes(name) ? 0 : 0x083, `${name}, opcode ${opcode}`);
				}
			}
			if (!(write as readonly string[]).includes(name))
				t.is((await io.run(sqe({ opcode: 0x00, nsid: 0xffff_ffff }))).status, 0x083, 'Flush of all');
			t.is((await report(io)).status, 0);
		}
	});
}

test('a reservation is of one namespace', async (t) => {
	const { io, other, subsystem } = await two();
	subsystem.addNamespace(2, new MemoryDevice());
	await register(io, 0n, 1n);
	await acquire(io, 1n, 2);
	t.is((await other.io.run(ranged(0x02, 0, 1, { nsid: 2 }))).status, 0);
	t.is((await other.io.run(ranged(0x02, 0, 1))).status, 0x083);
});

test('one table of the volume: what is reserved elsewhere binds here, and the other way round', async (t) => {
	const table = new ReservationTable();
	const initiator = new Registrant('iscsi', 'iqn.2026-11.test:initiator,i,0x00023d000001', 'iqn.2026-11.test:target,t,0x0001');
	const { io } = await two({ reservations: table });
	table.register(initiator, 7n);
	t.is(table.acquire(initiator, 7n, 'exclusiveAccess'), 'good');
	t.is((await io.run(ranged(0x02, 0, 1))).status, 0x083);
	await register(io, 0n, 9n);
	t.is((await acquire(io, 9n, 2, { racqa: 1, preempted: 7n })).status, 0);
	t.is((await io.run(ranged(0x02, 0, 1))).status, 0);
	t.false(table.allows(initiator, 'read'));
});

const bad: [title: string, run: (io: TestQueue) => Promise<{ status: number }>, status: number][] = [
	['Register with RREGA 3', (io) => register(io, 0n, 1n, { rrega: 3 }), 0x002],
	['Register with RREGA 7', (io) => register(io, 0n, 1n, { rrega: 7 }), 0x002],
	['Register with CPTPL 01b', (io) => register(io, 0n, 1n, { cptpl: 1 }), 0x002],
	['Register with key 0', (io) => register(io, 0n, 0n), 0x002],
	['Register on every namespace', (io) => register(io, 0n, 1n, { nsid: 0xffff_ffff }), 0x00b],
	['Register on namespace 0', (io) => register(io, 0n, 1n, { nsid: 0 }), 0x00b],
	['Register on a namespace that is not there', (io) => register(io, 0n, 1n, { nsid: 2 }), 0x002],
	['unregistering without a registration', (io) => register(io, 0n, 0n, { rrega: 1 }), 0x083],
	['unregistering without a registration, IEKEY', (io) => register(io, 0n, 0n, { rrega: 1, iekey: 1 }), 0x083],
	['replacing without a registration', (io) => register(io, 1n, 2n, { rrega: 2 }), 0x083],
	['Acquire with RACQA 3', (io) => acquire(io, 1n, 1, { racqa: 3 }), 0x002],
	['Acquire with IEKEY', (io) => acquire(io, 1n, 1, { iekey: 1 }), 0x002],
	['Acquire with RTYPE 0', (io) => acquire(io, 1n, 0), 0x002],
	['Acquire with RTYPE 7', (io) => acquire(io, 1n, 7), 0x002],
	['Acquire with RTYPE 255', (io) => acquire(io, 1n, 255), 0x002],
	['Acquire without a registration', (io) => acquire(io, 1n, 1), 0x083],
	['Acquire on a namespace beyond NN', (io) => acquire(io, 1n, 1, { nsid: 1025 }), 0x00b],
	['Preempt without a registration', (io) => acquire(io, 1n, 1, { racqa: 1, preempted: 1n }), 0x083],
	['Preempt and Abort without a registration', (io) => acquire(io, 1n, 1, { racqa: 2, preempted: 1n }), 0x083],
	['Release with RRELA 2', (io) => release(io, 1n, 1, { rrela: 2 }), 0x002],
	['Release with IEKEY', (io) => release(io, 1n, 1, { iekey: 1 }), 0x002],
	['Release with RTYPE 0', (io) => release(io, 1n, 0), 0x002],
	['Release without a registration', (io) => release(io, 1n, 1), 0x083],
	['Clear without a registration', (io) => release(io, 1n, 0, { rrela: 1 }), 0x083],
	['Report of namespace 0', (io) => report(io, { nsid: 0 }), 0x00b],
	['Report of every namespace', (io) => report(io, { nsid: 0xffff_ffff }), 0x00b],
];

for (const [title, run, status] of bad) {
	test(`${title}: ${status.toString(16)}h, and nothing is reserved or registered`, async (t) => {
		const { io, subsystem } = await two();
		t.is((await run(io)).status, status);
		t.deepEqual(subsystem.namespaces.get(1)!.reservations.report().registrations, []);
	});
}

test('wrong keys: Reservation Conflict; releasing another type: Invalid Field', async (t) => {
	const { io, other } = await two();
	await register(io, 0n, 1n);
	t.is((await register(io, 0n, 2n)).status, 0x083, 'registered with another key');
	t.is((await register(io, 9n, 2n, { rrega: 2 })).status, 0x083);
	t.is((await register(io, 9n, 2n, { rrega: 2, iekey: 1 })).status, 0);
	t.is((await acquire(io, 1n, 1)).status, 0x083);
	t.is((await acquire(io, 2n, 1)).status, 0);
	t.is((await release(io, 1n, 1)).status, 0x083);
	t.is((await release(io, 2n, 2)).status, 0x002);
	t.is((await register(io, 9n, 0n, { rrega: 1 })).status, 0x083);
	await register(other.io, 0n, 5n);
	t.is((await acquire(other.io, 5n, 1)).status, 0x083);
	t.is((await acquire(other.io, 5n, 1, { racqa: 1, preempted: 77n })).status, 0x083);
	t.is((await register(io, 9n, 0n, { rrega: 1, iekey: 1 })).status, 0);
});

test('CPTPL sets and clears the persistence, as feature 83h does', async (t) => {
	const { io, admin } = await two();
	const ptpl = async (): Promise<number> => (await admin.run(sqe({ opcode: 0x0a, nsid: 1, cdw10: 0x83 }))).result0;
	await register(io, 0n, 1n, { cptpl: 3 });
	t.is(await ptpl(), 1);
	await register(io, 0n, 1n, { cptpl: 0 });
	t.is(await ptpl(), 1);
	await register(io, 0n, 1n, { cptpl: 2 });
	t.is(await ptpl(), 0);
	await admin.run(sqe({ opcode: 0x09, nsid: 1, cdw10: 0x83, cdw11: 1 }));
	t.is((await report(io)).data[9], 1);
});

async function notifications(admin: TestQueue): Promise<[type: number, more: number, nsid: number, count: number]> {
	const { data } = await admin.run(sqe({ opcode: 0x02, nsid: 0xffff_ffff, cdw10: 0x000f_0080 }));
	return [data[8]!, data[9]!, data.readUInt32LE(12), Number(data.readBigUInt64LE(0))];
}

test('preempted, released and cleared: the log page and the event of every host that lost something', async (t) => {
	const { io, other, admin } = await two();
	const event = admin.begin(sqe({ opcode: 0x0c }));
	await register(io, 0n, 1n);
	await register(other.io, 0n, 2n);
	await acquire(other.io, 2n, 3);
	await release(other.io, 2n, 3);
	t.is((await admin.finish(event)).result0, 0x0080_0006);
	await acquire(other.io, 2n, 1, { racqa: 1, preempted: 1n });
	t.deepEqual(await notifications(admin), [2, 1, 1, 1]);
	const again = admin.begin(sqe({ opcode: 0x0c }));
	t.is(again.step, 'finished', 'the page behind the one that was read');
	t.deepEqual(await notifications(admin), [1, 0, 1, 2]);
	t.deepEqual(await notifications(admin), [0, 0, 0, 0]);
	await register(io, 0n, 1n);
	await release(other.io, 2n, 0, { rrela: 1 });
	t.is((await notifications(admin))[0], 3);
	t.deepEqual(await notifications(other.admin), [0, 0, 0, 0], 'who did it is not told');
});

test('what the mask of feature 82h names is neither told nor logged', async (t) => {
	const { io, other, admin } = await two();
	await admin.run(sqe({ opcode: 0x09, nsid: 1, cdw10: 0x82, cdw11: 0b0010 }));
	const event = admin.begin(sqe({ opcode: 0x0c }));
	await register(io, 0n, 1n);
	await register(other.io, 0n, 2n);
	await acquire(other.io, 2n, 1, { racqa: 1, preempted: 1n });
	t.false(event.finished);
	t.deepEqual(await notifications(admin), [0, 0, 0, 0]);
	await register(io, 0n, 1n);
	await release(other.io, 2n, 0, { rrela: 1 });
	t.true(event.finished);
});

test('every controller of the host is told', async (t) => {
	const { io, other, admin, fabric } = await two();
	const { admin: second } = await connectAdmin(fabric);
	await register(io, 0n, 1n);
	await register(other.io, 0n, 2n);
	await acquire(other.io, 2n, 1, { racqa: 1, preempted: 1n });
	t.is((await notifications(admin))[0], 1);
	t.is((await notifications(second))[0], 1);
});

test('notifications that nobody reads: the last of them are kept', async (t) => {
	const { controller, admin } = await two();
	for (let count = 0; count < limits.reservationNotifications + 5; count++) controller.reservations.notice(1, 'reservationReleased');
	t.deepEqual(await notifications(admin), [2, limits.reservationNotifications - 1, 1, 6]);
});

test('Preempt and Abort answers when nothing of the preempted host runs on the namespace any more', async (t) => {
	const { io, other, device, fabric, subsystem } = await two();
	subsystem.addNamespace(2, new MemoryDevice());
	await register(io, 0n, 1n);
	await register(other.io, 0n, 2n);
	await acquire(other.io, 2n, 2);
	device.held = true;
	const second = await connectIO(fabric, other.cntlid, { qid: 2, hostid: Buffer.alloc(16, 0xbb), hostnqn: 'nqn.2026-11.test:host-b' });
	const victims = [other.io.begin(ranged(0x0c, 0, 2048, { cid: 1 })), second.begin(ranged(0x08, 0, 8, { cid: 2 }))];
	const waiting = second.begin(ranged(0x05, 0, 8, { cid: 3 }));
	const elsewhere = other.io.begin(ranged(0x05, 0, 8, { cid: 4, nsid: 2 }));
	const fused = other.io.begin(ranged(0x05, 0, 1, { flags: 0x41, cid: 5 }));
	other.io.supply(fused, Buffer.alloc(512));
	const timestamp = other.admin.begin(sqe({ opcode: 0x09, nsid: 0xffff_ffff, cdw10: 0x0e }));
	const preempt = io.begin(sqe({ opcode: 0x11, nsid: 1, cdw10: 2 | (2 << 8) }));
	io.supply(preempt, keys(1n, 2n));
	t.is(preempt.step, 'pending');
	t.is((await second.finish(waiting)).status, 0x007);
	t.is((await other.io.finish(fused)).status, 0x007);
	t.is(elsewhere.step, 'parameters', 'another namespace is not touched');
	t.is(timestamp.step, 'parameters', 'nor is the admin queue');
	await settled();
	t.false(preempt.finished);
	device.release();
	t.false(preempt.finished, 'one of two');
	device.release();
	t.is((await io.finish(preempt)).status, 0);
	t.is(victims[0]!.request.status, 0x007);
	t.is((await other.io.run(ranged(0x02, 0, 1))).status, 0x083);
});

test('Preempt and Abort with nothing outstanding answers at once', async (t) => {
	const { io, other } = await two();
	await register(io, 0n, 1n);
	await register(other.io, 0n, 2n);
	t.is((await acquire(io, 1n, 1, { racqa: 2, preempted: 2n })).status, 0);
	t.is((await report(io)).data.readUInt16LE(5), 1);
});

test('a registration outlives the controller; a namespace that goes takes its listener with it', async (t) => {
	const table = new ReservationTable();
	const { io, other, admin, fabric, subsystem } = await two({ reservations: table });
	await register(io, 0n, 1n);
	await acquire(io, 1n, 2);
	admin.close();
	t.is((await other.io.run(ranged(0x02, 0, 1))).status, 0x083);
	const { cntlid } = await connectAdmin(fabric);
	t.is((await (await connectIO(fabric, cntlid)).run(ranged(0x02, 0, 1))).status, 0);
	await register(other.io, 0n, 2n);
	subsystem.removeNamespace(1);
	t.is(table.clear(new Registrant('nvme', hostID.toString('hex')), 1n), 'good');
	t.deepEqual(await notifications(other.admin), [0, 0, 0, 0]);
});
