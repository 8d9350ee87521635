import test from 'ava';
import { limits } from '../../src/iscsi/limits.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { read10, statusOf, World, write10 } from './peer.ts';

const maxCmdSN = (bhs: Buffer): number => pdu.SCSIResponse.maxCmdSN.get(bhs, 0);
const expCmdSN = (bhs: Buffer): number => pdu.SCSIResponse.expCmdSN.get(bhs, 0);
const tags = (answers: readonly { bhs: Buffer }[]): number[] => answers.map(({ bhs }) => bhs.readUInt32BE(16));

test('§4.2.2.1: commands outside the window are ignored without a word, at both ends', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(peer.command({ cdb: '00', tag: 1, cmdSN: peer.cmdSN - 1 }));
	peer.send(peer.command({ cdb: '00', tag: 2, cmdSN: peer.cmdSN + limits.tasksPerSession }));
	t.deepEqual(await peer.answers(), []);
	t.is(world.statistics.commandsIgnored, 2);
	peer.send(peer.command({ cdb: '00', tag: 3 }));
	t.is(statusOf(await peer.answer()), '00');
});

test('§4.2.2.1: commands that come out of order run in the order of CmdSN', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const first = peer.cmdSN;
	peer.send(peer.command({ cdb: '00', tag: 3, cmdSN: first + 2 }));
	peer.send(peer.command({ cdb: write10(0, 1), tag: 2, cmdSN: first + 1, write: 512, data: Buffer.alloc(512, 7) }));
	// A duplicate of one that is held.
	peer.send(peer.command({ cdb: '00', tag: 9, cmdSN: first + 2 }));
	t.deepEqual(await peer.answers(), []);
	peer.send(peer.command({ cdb: '00', tag: 1, cmdSN: first }));
	const answers = await peer.answers();
	t.deepEqual(
		tags(answers).toSorted((a, b) => a - b),
		[1, 2, 3],
	);
	t.is(expCmdSN(answers.at(-1)!.bhs), first + 3);
	t.is(world.device.medium[0], 7);
});

test('§4.2.2.1: more PDUs ahead of a hole than limits.heldPDUs cost the connection, not memory', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const first = peer.cmdSN;
	for (let ahead = 1; ahead <= limits.heldPDUs; ahead++) peer.send(peer.command({ cdb: '00', tag: ahead, cmdSN: first + ahead }));
	t.deepEqual(await peer.answers(), []);
	t.false(peer.closed);
	peer.send(peer.command({ cdb: '00', tag: 99, cmdSN: first + limits.heldPDUs + 1 }));
	t.is((await peer.answer()).bhs[2], pdu.rejectReason.protocolError);
	t.true(peer.closed);
});

test('§4.2.2.1: immediate commands go ahead of the order and do not advance ExpCmdSN', async (t) => {
	const peer = await new World().connect().open();
	peer.send(peer.command({ cdb: '00', tag: 1, immediate: true }));
	const answer = await peer.answer();
	t.is(statusOf(answer), '00');
	t.is(expCmdSN(answer.bhs), peer.cmdSN);
});

test('§4.2.2.1: MaxCmdSN follows the free task slots and never goes back', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.cold = true;
	world.device.held = true;
	const before = peer.cmdSN + limits.tasksPerSession - 1;
	for (let tag = 0; tag < limits.tasksPerSession; tag++) peer.send(peer.command({ cdb: read10(tag, 1), tag, read: 512 }));
	// The window is full: one more is ignored.
	peer.send(peer.command({ cdb: '00', tag: 500, cmdSN: peer.cmdSN }));
	t.deepEqual(await peer.answers(), []);
	t.is(world.device.waiting, limits.tasksPerSession);
	let last = before;
	while (world.device.release()) {
		for (const { bhs } of await peer.answers()) {
			t.true(maxCmdSN(bhs) >= last);
			t.true(pdu.serialDistance(maxCmdSN(bhs), expCmdSN(bhs)) < limits.tasksPerSession);
			last = maxCmdSN(bhs);
		}
	}
	t.is(last, before + limits.tasksPerSession);
});

test('§4.2.2.1: CmdSN wraps around', async (t) => {
	const peer = new World().connect();
	peer.cmdSN = 0xfffffffe;
	await peer.open();
	for (const tag of [1, 2, 3, 4]) {
		peer.send(peer.command({ cdb: '00', tag, cmdSN: peer.cmdSN >>> 0 }));
		t.is(statusOf(await peer.answer()), '00');
		peer.cmdSN = (peer.cmdSN + 1) >>> 0;
	}
});

test('§4.2.2.2: StatSN counts each status once; R2T and Data-In without status only show it', async (t) => {
	const world = new World();
	const peer = await world.connect().open({ MaxRecvDataSegmentLength: '512' });
	peer.send(peer.command({ cdb: '00', tag: 1 }));
	const first = pdu.SCSIResponse.statSN.get((await peer.answer()).bhs, 0);
	peer.send(peer.command({ cdb: read10(0, 3), tag: 2, read: 1536 }));
	const datas = await peer.answers();
	t.deepEqual(
		datas.map(({ bhs }) => bhs[1]! & pdu.statusBit),
		[0, 0, 1],
	);
	t.is(pdu.DataIn.statSN.get(datas[2]!.bhs, 0), first + 1);
	peer.send(peer.command({ cdb: write10(0, 1), tag: 3, write: 512 }));
	const r2t = await peer.answer();
	t.is(r2t.opcode, pdu.opcode.r2t);
	t.is(pdu.R2T.statSN.get(r2t.bhs, 0), first + 2);
	peer.send(
		peer.dataOut({
			tag: 3,
			transferTag: pdu.R2T.targetTransferTag.get(r2t.bhs, 0),
			offset: 0,
			dataSN: 0,
			final: true,
			data: Buffer.alloc(512),
		}),
	);
	t.is(pdu.SCSIResponse.statSN.get((await peer.answer()).bhs, 0), first + 2);
});

test('§11.2.1.8, §11.17.1: a tag that is in use, or that means none, is rejected; the CmdSN counts', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.cold = true;
	world.device.held = true;
	peer.send(peer.command({ cdb: read10(0, 1), tag: 5, read: 512 }));
	peer.send(peer.command({ cdb: '00', tag: 5 }));
	t.is((await peer.answer()).bhs[2], pdu.rejectReason.taskInProgress);
	peer.send(peer.command({ cdb: '00', tag: pdu.noTag }));
	const reject = await peer.answer();
	t.is(reject.bhs[2], pdu.rejectReason.invalidPDUField);
	t.is(reject.data.length, 48);
	t.is(expCmdSN(reject.bhs), peer.cmdSN);
	world.device.releaseAll();
	t.is((await peer.answer()).opcode, pdu.opcode.dataIn);
});

test('§11.17.1: one more immediate command than limits.immediateTasksPerSession is rejected', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.cold = true;
	world.device.held = true;
	for (let tag = 0; tag < limits.immediateTasksPerSession; tag++)
		peer.send(peer.command({ cdb: read10(0, 1), tag, read: 512, immediate: true }));
	t.deepEqual(await peer.answers(), []);
	peer.send(peer.command({ cdb: '00', tag: 99, immediate: true }));
	t.is((await peer.answer()).bhs[2], pdu.rejectReason.tooManyImmediateCommands);
	world.device.releaseAll();
	t.is((await peer.answers()).length, limits.immediateTasksPerSession);
	peer.send(peer.command({ cdb: '00', tag: 99, immediate: true }));
	t.is(statusOf(await peer.answer()), '00');
});

test('§11.18: NOP-Out is echoed up to what the initiator takes; without a tag it is only heard', async (t) => {
	const peer = await new World().connect().open({ MaxRecvDataSegmentLength: '512' });
	peer.send(peer.request(pdu.opcode.nopOut | pdu.immediateBit, 0x80, { 16: 0x77, 20: pdu.noTag }, Buffer.alloc(1000, 0x5a)));
	const answer = await peer.answer();
	t.is(answer.opcode, pdu.opcode.nopIn);
	t.is(pdu.NOPIn.initiatorTaskTag.get(answer.bhs, 0), 0x77);
	t.is(pdu.NOPIn.targetTransferTag.get(answer.bhs, 0), pdu.noTag);
	t.deepEqual(answer.data, Buffer.alloc(512, 0x5a));
	peer.send(peer.request(pdu.opcode.nopOut | pdu.immediateBit, 0x80, { 16: pdu.noTag, 20: 1 }));
	t.deepEqual(await peer.answers(), []);
});

test('§11.19: silence is answered with a ping, an unanswered ping with the end of the connection', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	for (let second = 0; second < limits.pingSeconds; second++) peer.connection.tick(false);
	const ping = await peer.answer();
	t.is(ping.opcode, pdu.opcode.nopIn);
	t.is(pdu.NOPIn.initiatorTaskTag.get(ping.bhs, 0), pdu.noTag);
	const tag = pdu.NOPIn.targetTransferTag.get(ping.bhs, 0);
	t.not(tag, pdu.noTag);
	peer.send(peer.request(pdu.opcode.nopOut | pdu.immediateBit, 0x80, { 16: pdu.noTag, 20: tag }));
	peer.connection.tick(true);
	for (let second = 0; second < limits.pingSeconds + limits.pingAnswerSeconds - 1; second++) peer.connection.tick(false);
	t.false(peer.closed);
	peer.connection.tick(false);
	t.is(peer.destroyed, 'no answer to a ping');
	t.is(world.environment.sessions.size, 0);
});

test('§11.16: SNACK is rejected, there is nothing to repeat at level 0', async (t) => {
	const peer = await new World().connect().open();
	peer.send(peer.request(pdu.opcode.snack, 0x81, { 16: pdu.noTag, 20: pdu.noTag, 40: 1, 44: 1 }));
	t.is((await peer.answer()).bhs[2], pdu.rejectReason.snackReject);
	t.false(peer.closed);
});

test('§11.17: an opcode that does not exist, or that only targets send, is rejected with its header', async (t) => {
	const peer = await new World().connect().open();
	for (const opcode of [0x07, 0x1c, 0x3e, pdu.opcode.dataIn, pdu.opcode.reject]) {
		const sent = peer.request(opcode, 0x80, { 16: 0x1234 });
		peer.send(sent);
		const reject = await peer.answer();
		t.is(reject.opcode, pdu.opcode.reject);
		t.is(reject.bhs[2], pdu.rejectReason.commandNotSupported);
		t.deepEqual(reject.data, sent);
	}
});

test('a login in full feature phase, and additional headers where there are none, end the connection', async (t) => {
	for (const make of [
		(): Buffer => Buffer.from([pdu.opcode.loginRequest | pdu.immediateBit, 0x87, ...Array.from({ length: 46 }, () => 0)]),
		(): Buffer => Buffer.from([pdu.opcode.nopOut | pdu.immediateBit, 0x80, 0, 0, 1, ...Array.from({ length: 47 }, () => 0)]),
	]) {
		const world = new World();
		const peer = await world.connect().open();
		peer.send(make());
		t.is((await peer.answer()).bhs[2], pdu.rejectReason.protocolError);
		t.true(peer.closed);
		t.is(world.environment.sessions.size, 0);
	}
});

test('§13.12: a data segment longer than we declared ends the connection', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const bhs = Buffer.alloc(48);
	bhs[0] = pdu.opcode.nopOut | pdu.immediateBit;
	pdu.BHS.dataSegmentLength.set(bhs, 0, limits.maxRecvDataSegmentLength + 1);
	peer.send(bhs);
	t.is(peer.destroyed, `data segment of ${limits.maxRecvDataSegmentLength + 1} bytes`);
	t.is(world.statistics.protocolErrors, 1);
});

test('§11.14: logout by session and by connection; recovery is refused, another CID is not found', async (t) => {
	const world = new World();
	const peer = await world.connect().open({}, { cid: 3 });
	const logout = (reason: number, cid: number): Buffer =>
		peer.request(pdu.opcode.logoutRequest | pdu.immediateBit, 0x80 | reason, { 16: 1, 20: cid << 16 });
	peer.send(logout(2, 3));
	t.is((await peer.answer()).bhs[2], 2);
	peer.send(logout(1, 4));
	t.is((await peer.answer()).bhs[2], 1);
	peer.send(logout(9, 3));
	t.is((await peer.answer()).bhs[2], pdu.rejectReason.invalidPDUField);
	t.false(peer.closed);
	peer.send(logout(1, 3));
	t.is((await peer.answer()).bhs[2], 0);
	t.true(peer.ended);
	t.is(world.environment.sessions.size, 0);
});

test('§11.14: logout waits for what the device has, and drops the rest', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.held = true;
	peer.send(peer.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) }));
	peer.send(peer.command({ cdb: write10(1, 1), tag: 2, write: 512 }));
	await peer.answers();
	peer.send(peer.request(pdu.opcode.logoutRequest | pdu.immediateBit, 0x80, { 16: 3 }));
	t.deepEqual(await peer.answers(), []);
	world.device.releaseAll();
	t.is((await peer.answer()).opcode, pdu.opcode.logoutResponse);
	t.true(peer.ended);
	t.is(world.budget.usedBytes, 0);
});
