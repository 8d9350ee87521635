import test from 'ava';
import * as pdu from '../../src/iscsi/pdu.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { outCdb, out, parameterList, types } from '../scsi/reservations.ts';
import { FlatDevice } from './flat-device.ts';
import { type Answer, pattern, type Peer, read10, residualOf, statusOf, World, write10 } from './peer.ts';

/*
 * What initiators' users have complained of in other targets: each complaint that concerns iSCSI, answered. SCSI's own are in test/scsi.
 */

const MiB = 1024 * 1024;
const second = { isid: '00023d000002' };
const testUnitReady = '00';
const volume = () => new LogicalUnit(new FlatDevice({ uuid: '0b6f3a52-6d0e-4c1b-8f0a-51c5a0c2d702' }));
const opcodesOf = (answers: readonly Answer[]): number[] => answers.map(({ opcode }) => opcode);

let nextTag = 1000;
async function send(peer: Peer, cdb: string, about: { lun?: number; data?: Buffer } = {}): Promise<string> {
	const { data, lun } = about;
	peer.send(
		peer.command({
			cdb,
			tag: nextTag++,
			...(lun === undefined ? {} : { lun }),
			...(data === undefined ? {} : { write: data.length, data }),
		}),
	);
	return statusOf(await peer.answer());
}

test('"aborts and resets hang": a reset ends what is queued, what waits for data and what the device has, tells everyone, and is answered behind all that', async (t) => {
	const world = new World();
	const [peer, other] = [await world.connect().open(), await world.connect().open({}, second)];
	world.device.held = true;
	world.device.cold = true;
	peer.send(peer.command({ cdb: read10(0, 8), tag: 1, read: 4096 }));
	peer.send(peer.command({ cdb: write10(0, 8), tag: 2, write: 4096, data: Buffer.alloc(4096, 1) }));
	peer.send(peer.command({ cdb: write10(8, 256), tag: 3, write: 131072 }));
	other.send(other.command({ cdb: read10(0, 8), tag: 1, read: 4096 }));
	const r2ts = await peer.answers();
	t.deepEqual(opcodesOf(r2ts), [pdu.opcode.r2t]);
	peer.send(peer.manage(pdu.taskManagementFunction.logicalUnitReset, 9));
	t.deepEqual(await peer.answers(), [], 'the device still has two of them');
	world.device.releaseAll();
	t.deepEqual(opcodesOf(await peer.answers()), [pdu.opcode.taskManagementResponse]);
	t.deepEqual((await other.answers()).map(statusOf), ['40'], 'who did not ask for it gets TASK ABORTED');
	t.is(world.budget.usedBytes, 0);
	world.device.held = false;
	for (const told of [other, peer]) {
		t.is(await send(told, testUnitReady), '02 6/2903');
		t.is(await send(told, testUnitReady), '00');
	}
});

test('"the new size is not noticed": each nexus is told once, and nobody twice', async (t) => {
	const world = new World();
	const peers = [await world.connect().open(), await world.connect().open({}, second)];
	world.device.grow(8 * MiB);
	for (const peer of peers) {
		t.is(await send(peer, testUnitReady), '02 6/2a09');
		t.is(await send(peer, testUnitReady), '00');
	}
	const late = await world.connect().open({}, { isid: '00023d000003' });
	t.is(await send(late, testUnitReady), '00', 'who comes later knows no other size');
	world.device.grow(9 * MiB);
	world.device.grow(10 * MiB);
	t.is(await send(peers[0]!, testUnitReady), '02 6/2a09');
	t.is(await send(peers[0]!, testUnitReady), '00', 'twice before anybody asked is once');
});

test('"a new LUN is not noticed": each nexus is told once on each LUN that it has, and REPORT LUNS makes that void', async (t) => {
	const world = new World();
	const [peer, other] = [await world.connect().open(), await world.connect().open({}, second)];
	world.target.map(5, volume());
	for (const lun of [0, 5]) {
		if (lun === 5) t.is(await send(peer, testUnitReady, { lun }), '02 6/2900', 'the new one itself was powered on');
		t.is(await send(peer, testUnitReady, { lun }), '02 6/3f0e');
		t.is(await send(peer, testUnitReady, { lun }), '00');
	}
	other.send(other.command({ cdb: 'a0000000000000000100', tag: 1, read: 256 }));
	const lunsOf = (answers: readonly Answer[]) => answers.find(({ opcode }) => opcode === pdu.opcode.dataIn)?.data.readUInt32BE(0);
	t.is(lunsOf(await other.answers()), 16);
	t.is(await send(other, testUnitReady), '00');
	world.target.unmap(5);
	for (const one of [peer, other]) {
		t.is(await send(one, testUnitReady), '02 6/3f0e');
		t.is(await send(one, testUnitReady), '00');
		t.is(await send(one, testUnitReady, { lun: 5 }), '02 5/2500');
	}
});

test('"ESXi cannot format the disk": residual counts are right for every length that is asked for, and RESERVE (6) binds', async (t) => {
	const world = new World();
	const [peer, other] = [await world.connect().open(), await world.connect().open({}, second)];
	const inquiry = async (expected: number): Promise<string> => {
		peer.send(peer.command({ cdb: '120000006000', tag: nextTag++, read: expected }));
		const answers = await peer.answers();
		return residualOf(answers.at(-1)!);
	};
	const whole = await inquiry(96);
	const bytes = 96 - Number(/^U (?<count>\d+)$/.exec(whole)?.groups?.['count'] ?? 0);
	t.is(await inquiry(255), `U ${255 - bytes}`);
	t.is(await inquiry(36), `O ${bytes - 36}`);
	t.is(await inquiry(bytes), 'none');
	t.is(await send(peer, '16'), '00');
	t.is(await send(other, write10(0, 1), { data: Buffer.alloc(512) }), '18');
	t.is(await send(peer, '17'), '00');
	t.is(await send(other, write10(0, 1), { data: Buffer.alloc(512) }), '00');
});

test('"cluster validation fails": a registration belongs to initiator name and ISID, so it is there again after a new login and in no other session', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const reserve = (action: number, key: bigint, next: bigint) => ({
		cdb: Buffer.from(outCdb(action, types.WERO, 24)).toString('hex'),
		data: parameterList(key, next),
	});
	const register = reserve(out.register, 0n, 7n);
	t.is(await send(peer, register.cdb, register), '00');
	const hold = reserve(out.reserve, 7n, 0n);
	t.is(await send(peer, hold.cdb, hold), '00');
	const sibling = await world.connect().open({}, second);
	t.is(await send(sibling, write10(0, 1), { data: Buffer.alloc(512) }), '18');
	peer.cut();
	const again = await world.connect().open();
	t.is(await send(again, write10(0, 1), { data: Buffer.alloc(512) }), '00');
	t.is(await send(sibling, write10(0, 1), { data: Buffer.alloc(512) }), '18');
});

test('"the disk went read-only while the target restarted": logins and pings are answered while the volume is not, and its commands end when it is', async (t) => {
	const world = new World();
	world.device.held = true;
	world.device.cold = true;
	const peer = await world.connect().open();
	peer.send(peer.command({ cdb: read10(0, 1), tag: 1, read: 512 }));
	t.deepEqual(await peer.answers(), []);
	peer.send(peer.request(pdu.opcode.nopOut | pdu.immediateBit, 0x80, { 16: 3, 20: pdu.noTag }, Buffer.from('still there')));
	t.is((await peer.answer()).data.toString(), 'still there');
	world.device.releaseAll();
	t.deepEqual(opcodesOf(await peer.answers()), [pdu.opcode.dataIn]);
});

test('"FUA is ignored": it reaches the volume, in writes of one PDU and of many', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	t.is(await send(peer, write10(0, 8, true), { data: Buffer.alloc(4096, 1) }), '00');
	t.is(await send(peer, write10(8, 8, false), { data: Buffer.alloc(4096, 1) }), '00');
	peer.send(peer.command({ cdb: write10(16, 8, true), tag: 1, write: 4096 }));
	const transferTag = pdu.R2T.targetTransferTag.get((await peer.answer()).bhs, 0);
	peer.send(peer.dataOut({ tag: 1, transferTag, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(4096, 2) }));
	await peer.answers();
	t.deepEqual(
		world.device.writes.map(({ fua }) => fua),
		[true, false, true],
	);
});

test('"FUA is ignored": a read with it shows nothing that is not on the medium; one that cannot be put there fails, and an abort ends the wait', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const fuaRead = '28080000000000000800';
	let flushes = 0;
	let outcome: 'good' | 'faulted' = 'good';
	world.device.outcome = (operation) => {
		if (operation !== 'flush') return 'good';
		flushes++;
		return outcome;
	};
	world.device.held = true;
	peer.send(peer.command({ cdb: fuaRead, tag: 1, read: 4096 }));
	t.deepEqual(await peer.answers(), []);
	world.device.releaseAll();
	t.deepEqual(opcodesOf(await peer.answers()), [pdu.opcode.dataIn]);
	t.is(flushes, 1);
	peer.send(peer.command({ cdb: fuaRead, tag: 2, read: 4096 }));
	peer.send(peer.manage(pdu.taskManagementFunction.abortTask, 9, { referenced: 2 }));
	t.deepEqual(await peer.answers(), []);
	world.device.releaseAll();
	t.deepEqual(opcodesOf(await peer.answers()), [pdu.opcode.taskManagementResponse]);
	world.device.held = false;
	outcome = 'faulted';
	peer.send(peer.command({ cdb: fuaRead, tag: 3, read: 4096 }));
	t.is(statusOf(await peer.answer()), '02 4/4400');
	peer.send(peer.command({ cdb: read10(0, 8), tag: 3, read: 4096 }));
	t.deepEqual(opcodesOf(await peer.answers()), [pdu.opcode.dataIn], 'one without FUA needs no flush');
	t.is(world.budget.usedBytes, 0);
});

test('"an R2T asks for everything that is left": never more than MaxBurstLength, and never more of them than MaxOutstandingR2T', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const keys = { ImmediateData: 'No', InitialR2T: 'Yes', MaxBurstLength: '65536', MaxOutstandingR2T: '3' };
	const peer = await world.connect().open(keys);
	const data = pattern(MiB, 3);
	peer.send(peer.command({ cdb: write10(0, 2048), tag: 1, write: MiB }));
	let asked = 0;
	let open = await peer.answers();
	t.is(open.length, 3, 'as many as were agreed on, at once');
	while (open[0]?.opcode === pdu.opcode.r2t) {
		t.true(open.length <= 3);
		const [{ bhs }, ...others] = open as [Answer, ...Answer[]];
		const offset = pdu.R2T.bufferOffset.get(bhs, 0);
		const length = pdu.R2T.desiredDataTransferLength.get(bhs, 0);
		t.is(pdu.R2T.r2tSN.get(bhs, 0), asked++);
		t.true(length <= 65536);
		const transferTag = pdu.R2T.targetTransferTag.get(bhs, 0);
		peer.send(peer.dataOut({ tag: 1, transferTag, offset, dataSN: 0, final: true, data: data.subarray(offset, offset + length) }));
		open = [...others, ...(await peer.answers())];
	}
	t.is(statusOf(open[0]!), '00');
	t.true(world.device.medium.subarray(0, MiB).equals(data));
});

test('"task management does nothing": an aborted write never reaches the medium, though its data still comes', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(peer.command({ cdb: write10(0, 8), tag: 1, write: 4096 }));
	const transferTag = pdu.R2T.targetTransferTag.get((await peer.answer()).bhs, 0);
	peer.send(peer.manage(pdu.taskManagementFunction.abortTask, 2, { referenced: 1 }));
	t.is((await peer.answer()).bhs[2], pdu.taskManagementResponse.functionComplete);
	peer.send(peer.dataOut({ tag: 1, transferTag, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(4096, 1) }));
	t.deepEqual(await peer.answers(), []);
	t.deepEqual(world.device.writes, []);
	t.false(peer.closed);
});

test('"one big write stops the session": other commands of the session are answered while its data is awaited', async (t) => {
	const world = new World({ deviceBytes: 32 * MiB });
	const peer = await world.connect().open({ ImmediateData: 'No', InitialR2T: 'Yes' });
	peer.send(peer.command({ cdb: write10(0, 32768), tag: 1, write: 16 * MiB }));
	t.deepEqual(opcodesOf(await peer.answers()), [pdu.opcode.r2t]);
	peer.send(peer.command({ cdb: read10(0, 1), tag: 2, read: 512 }));
	t.deepEqual(opcodesOf(await peer.answers()), [pdu.opcode.dataIn]);
});

test('"MaxCmdSN advances when a command is received": it follows commands that have ended, so the window is what there is room for', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const { window } = peer.connection.session!;
	const before = window.maxCmdSN;
	world.device.held = true;
	world.device.cold = true;
	for (let tag = 1; tag <= 10; tag++) peer.send(peer.command({ cdb: read10(0, 1), tag, read: 512 }));
	await peer.answers();
	t.is(window.maxCmdSN, before);
	world.device.releaseAll();
	await peer.answers();
	t.is(window.maxCmdSN, before + 10);
});

test('"closing a session closes the volume": a second session goes on, and so does the next', async (t) => {
	const world = new World();
	const [peer, other] = [await world.connect().open(), await world.connect().open({}, second)];
	peer.send(peer.request(pdu.opcode.logoutRequest | pdu.immediateBit, 0x80, { 16: 1 }));
	await peer.answer();
	t.is(await send(other, write10(0, 1), { data: Buffer.alloc(512, 3) }), '00');
	other.cut();
	const next = await world.connect().open();
	t.is(await send(next, write10(0, 1), { data: Buffer.alloc(512, 3) }), '00');
});

test('a peer that does not answer its ping leaves nothing behind: session, memory, reservation and place in the window', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	t.is(await send(peer, '16'), '00');
	peer.send(peer.command({ cdb: write10(0, 256), tag: 1, write: 131072 }));
	await peer.answers();
	t.true(world.budget.usedBytes > 0);
	for (let seconds = 0; seconds < 60 && !peer.closed; seconds++) peer.connection.tick(false);
	t.true(peer.closed);
	t.is(world.environment.sessions.size, 0);
	t.is(world.budget.usedBytes, 0);
	t.is(world.unit.reservations.unitHolder, undefined);
});
