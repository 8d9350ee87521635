import test from 'ava';
import { Registrant } from '../../src/reservation/registrant.ts';
import { out, outCdb, parameterList, types } from '../scsi/reservations.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { type Peer, read10, statusOf, World, write10 } from './peer.ts';

const fn = pdu.taskManagementFunction;
const conflict = '18';
const taskAborted = '40';
const names = { a: 'iqn.2026-11.test:a', b: 'iqn.2026-11.test:b' };
const reserve6 = '16';
let nextTag = 100;

/** Status, or key and code of the sense. */
async function send(peer: Peer, cdb: string, data?: Buffer): Promise<string> {
	peer.send(peer.command({ cdb, tag: nextTag++, ...(data === undefined ? {} : { write: data.length, data }) }));
	return statusOf(await peer.answer());
}

async function reserveOut(peer: Peer, action: number, list: Buffer, type = 0): Promise<string> {
	return await send(peer, Buffer.from(outCdb(action, type, list.length)).toString('hex'), list);
}

const write = (peer: Peer) => send(peer, write10(0, 1), Buffer.alloc(512));

async function two(options: ConstructorParameters<typeof World>[0] = {}) {
	const world = new World(options);
	const a = await world.connect().open({}, { initiator: names.a });
	const b = await world.connect().open({}, { initiator: names.b });
	return { world, a, b };
}

async function registered(type: number) {
	const parts = await two();
	const { a, b } = parts;
	const done = [
		await reserveOut(a, out.register, parameterList(0n, 5n)),
		await reserveOut(b, out.register, parameterList(0n, 6n)),
		await reserveOut(a, out.reserve, parameterList(5n, 0n), type),
	];
	if (done.join(' ') !== '00 00 00') throw new Error(done.join(' '));
	return parts;
}

test('PERSISTENT RESERVE OUT with its list as immediate data, and solicited: another nexus meets RESERVATION CONFLICT', async (t) => {
	const { a, b } = await registered(types.WE);
	t.is(await write(a), '00');
	t.is(await write(b), conflict);
	t.is(await reserveOut(b, out.reserve, parameterList(6n, 0n), types.WE), conflict);
	const list = parameterList(5n, 0n);
	a.send(a.command({ cdb: Buffer.from(outCdb(out.release, types.WE, 24)).toString('hex'), tag: 1, write: 24 }));
	const transferTag = pdu.R2T.targetTransferTag.get((await a.answer()).bhs, 0);
	a.send(a.dataOut({ tag: 1, transferTag, offset: 0, dataSN: 0, final: true, data: list }));
	t.is(statusOf(await a.answer()), '00');
	t.is(await write(b), '00');
	t.is(await send(b, Buffer.from(outCdb(out.register, 0, 24)).toString('hex')), '02 5/2400', 'without the W bit no list can come');
});

test('a nexus that logs in again keeps its registration and its reservation; a session with another ISID has neither', async (t) => {
	const { world, a, b } = await registered(types.WE);
	a.cut();
	t.is(await write(b), conflict);
	const again = await world.connect().open({}, { initiator: names.a });
	t.is(await write(again), '00');
	const spelled = await world.connect().open({}, { initiator: names.a.toUpperCase() });
	t.is(again.destroyed, 'reinstated by a new login', 'one nexus, however its name is spelled');
	t.is(await write(spelled), '00');
	const second = await world.connect().open({}, { initiator: names.a, isid: '00023d000002' });
	t.is(await write(second), conflict);
});

test('RESERVE (6) ends with LOGICAL UNIT RESET, both target resets, logout and the loss of the session', async (t) => {
	for (const how of [fn.logicalUnitReset, fn.targetWarmReset, fn.targetColdReset, 'logout', 'cut'] as const) {
		const { world, a, b } = await two();
		t.is(await send(a, reserve6), '00');
		t.is(await write(b), conflict);
		if (how === 'cut') a.cut();
		else if (how === 'logout') {
			a.send(a.request(pdu.opcode.logoutRequest | pdu.immediateBit, 0x80, { 16: 1 }));
			await a.answer();
			a.cut();
		} else {
			b.send(b.manage(how, 1));
			t.is((await b.answer()).bhs[2], 0);
		}
		t.is(world.unit.reservations.unitHolder, undefined, String(how));
		if (how === fn.logicalUnitReset || how === fn.targetWarmReset) t.regex(await write(b), /^02 6\/29/);
		if (how !== fn.targetColdReset) t.is(await write(b), '00');
	}
});

test('PREEMPT AND ABORT: what waits for data ends at once with TASK ABORTED, what the device has when it gives it back; only then it is good', async (t) => {
	const { world, a, b } = await registered(types.WERO);
	world.device.held = true;
	world.device.cold = true;
	b.send(b.command({ cdb: read10(0, 1), tag: 1, read: 512 }));
	b.send(b.command({ cdb: write10(1, 1), tag: 2, write: 512 }));
	const transferTag = pdu.R2T.targetTransferTag.get((await b.answer()).bhs, 0);
	a.send(a.command({ cdb: read10(0, 1), tag: 3, read: 512 }));
	const list = parameterList(5n, 6n);
	a.send(a.command({ cdb: Buffer.from(outCdb(out.preemptAndAbort, types.WERO, 24)).toString('hex'), tag: 4, write: 24, data: list }));
	t.deepEqual((await b.answers()).map(statusOf), [taskAborted]);
	t.deepEqual(await a.answers(), [], 'a read of the preempted nexus is at the device still');
	b.send(b.dataOut({ tag: 2, transferTag, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(512, 1) }));
	t.deepEqual(await b.answers(), [], 'late data goes nowhere');
	world.device.releaseAll();
	t.deepEqual((await b.answers()).map(statusOf), [taskAborted]);
	const answers = await a.answers();
	t.deepEqual(
		answers.map(({ opcode }) => opcode).toSorted((x, y) => x - y),
		[pdu.opcode.scsiResponse, pdu.opcode.dataIn].toSorted((x, y) => x - y),
		'its own read is not aborted',
	);
	t.is(statusOf(answers.find(({ opcode }) => opcode === pdu.opcode.scsiResponse)!), '00');
	world.device.held = false;
	t.deepEqual(world.device.writes, []);
	t.is(world.budget.usedBytes, 0);
	t.is(world.environment.sessions.functions.size, 0);
	t.is(await write(b), conflict);
	t.is(await send(b, '00'), '02 6/2a05');
	t.is(await send(b, '00'), '00');
});

test('PREEMPT leaves the tasks of who is preempted alone', async (t) => {
	const { world, a, b } = await registered(types.WERO);
	world.device.held = true;
	b.send(b.command({ cdb: write10(1, 1), tag: 2, write: 512, data: Buffer.alloc(512, 1) }));
	t.is(await reserveOut(a, out.preempt, parameterList(5n, 6n), types.WERO), '00');
	world.device.releaseAll();
	t.is(statusOf(await b.answer()), '00');
	t.is(world.device.writes.length, 1);
});

test('an NVMe host that preempts and aborts ends the tasks of an initiator, and hears of it when the device has given them back', async (t) => {
	const { world, b } = await registered(types.WERO);
	const table = world.unit.reservations;
	const host = new Registrant('nvme', 'ab'.repeat(16));
	table.register(host, 9n);
	world.device.held = true;
	b.send(b.command({ cdb: write10(1, 1), tag: 2, write: 512, data: Buffer.alloc(512, 1) }));
	const ends: string[] = [];
	table.preemptAndAbort(host, 9n, 6n, 'writeExclusive', (outcome) => ends.push(outcome));
	t.deepEqual(ends, []);
	world.device.releaseAll();
	t.deepEqual((await b.answers()).map(statusOf), [taskAborted]);
	t.deepEqual(ends, ['good']);
});

test('who preempts and is gone before the tasks are: nothing is answered, nothing stays behind', async (t) => {
	const { world, a, b } = await registered(types.WERO);
	world.device.held = true;
	b.send(b.command({ cdb: write10(1, 1), tag: 2, write: 512, data: Buffer.alloc(512, 1) }));
	const list = parameterList(5n, 6n);
	a.send(a.command({ cdb: Buffer.from(outCdb(out.preemptAndAbort, types.WERO, 24)).toString('hex'), tag: 4, write: 24, data: list }));
	a.cut();
	b.cut();
	t.is(world.environment.sessions.size, 2);
	world.device.releaseAll();
	t.deepEqual(await a.answers(), []);
	t.is(world.environment.sessions.size, 0);
	t.is(world.environment.sessions.functions.size, 0);
	t.is(world.budget.usedBytes, 0);
	t.is(world.unit.reservations.report().registrations.length, 1);
});

test('LOGICAL UNIT RESET of a WRITE SAME: it stops at its next piece, not at its end', async (t) => {
	const { world, a, b } = await two();
	world.device.held = true;
	// 2,000 blocks, not of zeros.
	a.send(a.command({ cdb: '4100000000000007d000', tag: 1, write: 512, data: Buffer.alloc(512, 7) }));
	t.deepEqual(await a.answers(), []);
	b.send(b.manage(fn.logicalUnitReset, 1));
	world.device.releaseAll();
	t.deepEqual((await a.answers()).map(statusOf), [taskAborted]);
	t.is((await b.answer()).bhs[2], 0);
	t.is(world.device.writes.length, 1);
});
