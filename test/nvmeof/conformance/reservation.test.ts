import test, { type ExecutionContext } from 'ava';
import * as commands from '../../nvme-host/commands.ts';
import type { Namespace } from '../../nvme-host/namespace.ts';
import { u16, u32 } from '../../nvme-host/wire.ts';
import { content, World } from './world.ts';

const { ioOpcode } = commands;
const conflict = 0x083;
const keyA = 0xaaaa_0000_0000_0001n;
const keyB = 0xbbbb_0000_0000_0002n;
const rtype = {
	writeExclusive: 1,
	exclusiveAccess: 2,
	writeExclusiveRegistrants: 3,
	exclusiveAccessRegistrants: 4,
	writeExclusiveAll: 5,
	exclusiveAccessAll: 6,
};

async function start(t: ExecutionContext): Promise<{ world: World; a: Namespace; b: Namespace }> {
	const world = await World.open(t);
	const a = await world.namespace({ hostid: Buffer.alloc(16, 0xa1) });
	const b = await world.namespace({ hostid: Buffer.alloc(16, 0xb2) });
	return { world, a, b };
}

async function register(
	host: Namespace,
	rrega: number,
	current: bigint,
	fresh: bigint,
	options: { iekey?: boolean; cptpl?: number } = {},
): Promise<number> {
	const dataOut = commands.reservationKeys(current, fresh);
	return (await host.execute((sqe) => commands.reservationRegister(sqe, 1, rrega, options), { dataOut })).status;
}

async function acquire(host: Namespace, racqa: number, type: number, current: bigint, preempted = 0n): Promise<number> {
	const dataOut = commands.reservationKeys(current, preempted);
	return (await host.execute((sqe) => commands.reservationAcquire(sqe, 1, racqa, type), { dataOut })).status;
}

async function release(host: Namespace, rrela: number, type: number, current: bigint): Promise<number> {
	const dataOut = commands.reservationKeys(current);
	return (await host.execute((sqe) => commands.reservationRelease(sqe, 1, rrela, type), { dataOut })).status;
}

const read = async (host: Namespace): Promise<number> =>
	(await host.execute((sqe) => commands.range(sqe, ioOpcode.read, 1, 0, 1), { dataInBytes: 512 })).status;
const write = async (host: Namespace): Promise<number> =>
	(await host.execute((sqe) => commands.range(sqe, ioOpcode.write, 1, 0, 1), { dataOut: content(512) })).status;

interface Report {
	generation: number;
	type: number;
	registrants: { holder: boolean; hostid: string; key: bigint }[];
}

async function report(host: Namespace): Promise<Report> {
	const { data } = await host.association.io[0]!.expectGood((sqe) => commands.reservationReport(sqe, 1, 4096), { dataInBytes: 4096 });
	const registrants = Array.from({ length: u16(data, 5) }, (_none, index) => {
		const at = 64 + index * 64;
		return { holder: (data[at + 2]! & 1) === 1, key: data.readBigUInt64LE(at + 8), hostid: data.toString('hex', at + 16, at + 32) };
	});
	return { generation: u32(data, 0), type: data[4]!, registrants };
}

test('register, report, replace and unregister', async (t) => {
	const { a, b } = await start(t);
	t.deepEqual((await report(a)).registrants, []);
	const before = (await report(a)).generation;
	t.is(await register(a, 0, 0n, keyA), 0);
	t.is(await register(b, 0, 0n, keyB), 0);
	const both = await report(b);
	t.deepEqual(
		both.registrants.toSorted((x, y) => (x.key < y.key ? -1 : 1)),
		[
			{ holder: false, hostid: 'a1'.repeat(16), key: keyA },
			{ holder: false, hostid: 'b2'.repeat(16), key: keyB },
		],
	);
	t.is(both.generation, before + 2);
	t.is(await register(a, 0, 0n, keyB), conflict, 'registered with another key');
	t.is(await register(a, 2, keyB, 5n), conflict, 'replace with a wrong current key');
	t.is(await register(a, 2, keyA, 5n), 0);
	t.is(await register(a, 1, keyA, 0n), conflict, 'unregister with the old key');
	t.is(await register(a, 1, 5n, 0n), 0);
	t.is(await register(a, 1, 5n, 0n), conflict, 'not registered any more');
	t.is((await report(b)).registrants.length, 1);
});

/** What a registrant that does not hold, and a host that is not registered, may do: read, write. */
const access: Record<string, { type: number; registrant: [boolean, boolean]; stranger: [boolean, boolean] }> = {
	'Write Exclusive': { type: rtype.writeExclusive, registrant: [true, false], stranger: [true, false] },
	'Exclusive Access': { type: rtype.exclusiveAccess, registrant: [false, false], stranger: [false, false] },
	'Write Exclusive - Registrants Only': { type: rtype.writeExclusiveRegistrants, registrant: [true, true], stranger: [true, false] },
	'Exclusive Access - Registrants Only': { type: rtype.exclusiveAccessRegistrants, registrant: [true, true], stranger: [false, false] },
	'Write Exclusive - All Registrants': { type: rtype.writeExclusiveAll, registrant: [true, true], stranger: [true, false] },
	'Exclusive Access - All Registrants': { type: rtype.exclusiveAccessAll, registrant: [true, true], stranger: [false, false] },
};
for (const [name, { type, registrant, stranger }] of Object.entries(access)) {
	test(`${name}: who may read, write, compare, zero, deallocate, flush and verify`, async (t) => {
		const { world, a, b } = await start(t);
		const c = await world.namespace({ hostid: Buffer.alloc(16, 0xc3) });
		t.is(await register(a, 0, 0n, keyA), 0);
		t.is(await register(b, 0, 0n, keyB), 0);
		t.is(await acquire(a, 0, type, keyA), 0);
		t.is((await report(c)).type, type);
		const ranges = commands.datasetRanges([{ lba: 0, blocks: 1 }]);
		const may = async (host: Namespace, [mayRead, mayWrite]: readonly boolean[], who: string): Promise<void> => {
			const readStatus = mayRead ? 0 : conflict;
			const writeStatus = mayWrite ? 0 : conflict;
			t.is(await read(host), readStatus, `${who} reads`);
			t.is(await write(host), writeStatus, `${who} writes`);
			t.is((await host.execute((sqe) => commands.range(sqe, ioOpcode.verify, 1, 0, 1))).status, readStatus, `${who} verifies`);
			const compared = (await host.execute((sqe) => commands.range(sqe, ioOpcode.compare, 1, 0, 1), { dataOut: Buffer.alloc(512, 1) }))
				.status;
			t.is(compared, mayRead ? 0x285 : conflict, `${who} compares`);
			t.is((await host.execute((sqe) => commands.range(sqe, ioOpcode.writeZeroes, 1, 0, 1))).status, writeStatus, `${who} zeroes`);
			t.is(
				(await host.execute((sqe) => commands.datasetManagement(sqe, 1, 1), { dataOut: ranges })).status,
				writeStatus,
				`${who} deallocates`,
			);
			t.is((await host.execute((sqe) => commands.flush(sqe, 1))).status, writeStatus, `${who} flushes`);
		};
		await may(a, [true, true], 'the holder');
		await may(b, registrant, 'a registrant');
		await may(c, stranger, 'a stranger');
	});
}

test('acquire by a host that is not registered, with a wrong key, or over another’s reservation: Reservation Conflict', async (t) => {
	const { a, b } = await start(t);
	t.is(await acquire(a, 0, 1, keyA), conflict);
	t.is(await register(a, 0, 0n, keyA), 0);
	t.is(await register(b, 0, 0n, keyB), 0);
	t.is(await acquire(a, 0, 1, keyB), conflict);
	t.is(await acquire(a, 0, 1, keyA), 0);
	t.is(await acquire(a, 0, 1, keyA), 0, 'the same again');
	t.is(await acquire(a, 0, 2, keyA), conflict, 'another type');
	t.is(await acquire(b, 0, 1, keyB), conflict);
});

test('release: by the holder, with its type; by others it does nothing; and clear', async (t) => {
	const { a, b } = await start(t);
	await register(a, 0, 0n, keyA);
	await register(b, 0, 0n, keyB);
	await acquire(a, 0, 1, keyA);
	t.is(await release(b, 0, 1, keyB), 0, 'not the holder: good, and nothing is released');
	t.is(await write(b), conflict);
	t.is(await release(a, 0, 2, keyA), 0x002, 'another type than is held');
	t.is(await release(a, 0, 1, keyB), conflict, 'a wrong key');
	t.is(await release(a, 0, 1, keyA), 0);
	t.is(await write(b), 0);
	await acquire(a, 0, 1, keyA);
	t.is(await release(b, 1, 0, keyB), 0, 'clear by any registrant');
	t.deepEqual((await report(a)).registrants, []);
	t.is(await write(b), 0);
});

test('preempt: the key’s registrations go, the reservation is the preemptor’s, and the preempted host is told', async (t) => {
	const { a, b } = await start(t);
	const { association } = a;
	association.watchEvents(2);
	await register(a, 0, 0n, keyA);
	await register(b, 0, 0n, keyB);
	await acquire(a, 0, 1, keyA);
	t.is(await acquire(b, 1, 2, keyB, keyA), 0);
	const after = await report(b);
	t.is(after.type, 2);
	t.deepEqual(after.registrants, [{ holder: true, hostid: 'b2'.repeat(16), key: keyB }]);
	t.is(await read(a), conflict);
	const event = await association.nextEvent();
	t.deepEqual([event.type, event.lid], [6, 0x80]);
	const log = await association.logPage(0x80, 64);
	t.is(log[8], 1, 'Registration Preempted');
	t.is(u32(log, 12), 1, 'NSID');
});

test('preempt and abort: what the preempted host has outstanding ends', async (t) => {
	const { world, a, b } = await start(t);
	await register(a, 0, 0n, keyA);
	await register(b, 0, 0n, keyB);
	await acquire(a, 0, 1, keyA);
	const queue = a.association.io[0]!;
	const asked = new Promise<void>((resolve) => {
		queue.onR2T = () => {
			resolve();
			return true;
		};
	});
	const outstanding = a.execute((sqe) => commands.range(sqe, ioOpcode.write, 1, 0, 128), {
		dataOut: content(65_536),
		solicited: true,
	});
	await asked;
	t.is(await acquire(b, 2, 1, keyB, keyA), 0);
	t.is((await outstanding).status, 0x007);
	t.deepEqual(world.device.bytes(0, 65_536), Buffer.alloc(65_536));
});

test('a registration is a host’s, not a controller’s: another controller of the same HOSTID has it', async (t) => {
	const { world, a, b } = await start(t);
	const again = await world.namespace({ hostid: Buffer.alloc(16, 0xa1) });
	await register(a, 0, 0n, keyA);
	await acquire(a, 0, 2, keyA);
	t.is(await write(again), 0);
	t.is(await write(b), conflict);
	a.association.destroy();
	await world.until(() => world.fabric.controllers().length === 2);
	t.is(await write(again), 0);
	t.is(await write(b), conflict, 'a reservation outlives its controller');
});

const refusals: Record<string, { fill: (sqe: Buffer) => void; keys: number; status: number }> = {
	'Register with a reserved RREGA': { fill: (sqe) => commands.reservationRegister(sqe, 1, 3), keys: 2, status: 0x002 },
	'Register with a reserved CPTPL': { fill: (sqe) => commands.reservationRegister(sqe, 1, 0, { cptpl: 1 }), keys: 2, status: 0x002 },
	'Register of an inactive namespace': { fill: (sqe) => commands.reservationRegister(sqe, 5, 0), keys: 2, status: 0x002 },
	'Register with 8 bytes of data': { fill: (sqe) => commands.reservationRegister(sqe, 1, 0), keys: 1, status: 0x00f },
	'Acquire with a reserved RACQA': { fill: (sqe) => commands.reservationAcquire(sqe, 1, 3, 1), keys: 2, status: 0x002 },
	'Acquire with RTYPE 0': { fill: (sqe) => commands.reservationAcquire(sqe, 1, 0, 0), keys: 2, status: 0x002 },
	'Acquire with RTYPE 7': { fill: (sqe) => commands.reservationAcquire(sqe, 1, 0, 7), keys: 2, status: 0x002 },
	'Acquire with IEKEY': { fill: (sqe) => commands.reservationAcquire(sqe, 1, 0, 1, true), keys: 2, status: 0x002 },
	'Release with a reserved RRELA': { fill: (sqe) => commands.reservationRelease(sqe, 1, 2, 1), keys: 1, status: 0x002 },
	'Release with IEKEY': { fill: (sqe) => commands.reservationRelease(sqe, 1, 0, 1, true), keys: 1, status: 0x002 },
};
for (const [what, { fill, keys, status }] of Object.entries(refusals)) {
	test(`Reservation ${what}: status ${status.toString(16)}h, and nothing has changed`, async (t) => {
		const { a } = await start(t);
		await register(a, 0, 0n, keyA);
		const before = await report(a);
		const dataOut = commands.reservationKeys(...Array.from({ length: keys }, () => keyA));
		t.is((await a.execute(fill, { dataOut })).status, status);
		t.deepEqual(await report(a), before);
	});
}

test('Report without the extended data structure: Host Identifier Inconsistent Format', async (t) => {
	const { a } = await start(t);
	t.is((await a.execute((sqe) => commands.reservationReport(sqe, 1, 4096, false), { dataInBytes: 4096 })).status, 0x018);
});

test('Register with IEKEY replaces whatever key there was', async (t) => {
	const { a } = await start(t);
	await register(a, 0, 0n, keyA);
	t.is(await register(a, 2, 0n, keyB, { iekey: true }), 0);
	t.is((await report(a)).registrants[0]!.key, keyB);
});
