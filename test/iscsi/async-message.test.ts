import test from 'ava';
import { limits } from '../../src/iscsi/limits.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { FlatDevice } from './flat-device.ts';
import { type Answer, statusOf, World } from './peer.ts';

/** Event and parameters. */
function eventOf({ opcode, bhs }: Answer): number[] {
	if (opcode !== pdu.opcode.asyncMessage) return [-1, opcode];
	const { asyncEvent, parameter1, parameter2, parameter3 } = pdu.AsyncMessage;
	return [asyncEvent.get(bhs, 0), parameter1.get(bhs, 0), parameter2.get(bhs, 0), parameter3.get(bhs, 0)];
}

test('§11.9.1, event 0: the LUNs of a target have changed, with the sense data of it', async (t) => {
	const world = new World();
	world.target.map(7, new LogicalUnit(new FlatDevice({ uuid: '0b6f3a52-6d0e-4c1b-8f0a-51c5a0c2d702' })));
	world.target.unmap(0);
	const peer = await world.connect().open();
	const statSN = peer.connection.writer.statSN;
	peer.connection.control.reportedLunsChanged();
	const message = await peer.answer();
	t.deepEqual(eventOf(message), [0, 0, 0, 0]);
	t.is(message.bhs.toString('hex', 8, 16), '0007000000000000');
	t.is(message.bhs.readUInt32BE(16), pdu.noTag);
	t.is(pdu.AsyncMessage.statSN.get(message.bhs, 0), statSN);
	t.is(message.data.readUInt16BE(0), message.data.length - 2);
	const sense = message.data.subarray(2);
	t.is(sense[0]! & 0x7f, 0x70);
	t.is(sense[2]! & 0xf, 6);
	t.is(sense.toString('hex', 12, 14), '3f0e');
	// It is a status like any other, so the next has the next number.
	peer.send(peer.command({ cdb: '00', tag: 1, lun: 7 }));
	t.is(pdu.SCSIResponse.statSN.get((await peer.answer()).bhs, 0), statSN + 1);
});

test('a discovery session has no LUNs, and is told of none', async (t) => {
	const peer = new World().connect();
	await peer.login({}, { discovery: true });
	peer.connection.control.reportedLunsChanged();
	t.deepEqual(await peer.answers(), []);
});

test('event 1: who does not log out in the time it has is told (event 2) and loses the connection and all that it had', async (t) => {
	const world = new World();
	const peer = await world.connect().open({}, { cid: 5 });
	peer.connection.control.askForLogout(limits.logoutSeconds);
	t.deepEqual(eventOf(await peer.answer()), [1, 0, 0, limits.logoutSeconds]);
	for (let second = 1; second < limits.logoutSeconds; second++) peer.connection.tick(true);
	t.false(peer.closed);
	// Commands go on meanwhile.
	peer.send(peer.command({ cdb: '00', tag: 1 }));
	t.is(statusOf(await peer.answer()), '00');
	peer.connection.tick(true);
	t.deepEqual(eventOf(await peer.answer()), [2, 5, peer.connection.parameters.defaultTime2Wait, 0]);
	t.true(peer.ended);
	t.is(world.environment.sessions.size, 0);
});

test('event 1: who logs out in time hears no more', async (t) => {
	const peer = await new World().connect().open();
	peer.connection.control.askForLogout(2);
	await peer.answer();
	peer.send(peer.request(pdu.opcode.logoutRequest | pdu.immediateBit, 0x80, { 16: 1, 20: 0 }));
	t.is((await peer.answer()).opcode, pdu.opcode.logoutResponse);
	for (let second = 0; second < 5; second++) peer.connection.tick(true);
	t.deepEqual(await peer.answers(), []);
});

test('event 3: a session that the target ends is told before, and its tasks are gone', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const other = await world.connect().open({}, { isid: '00023d000002' });
	world.device.held = true;
	world.device.cold = true;
	peer.send(peer.command({ cdb: '28000000000000000100', tag: 1, read: 512 }));
	peer.connection.session!.dismiss('a test');
	t.deepEqual(eventOf(await peer.answer()), [3, 0, 2, 0]);
	t.true(peer.ended);
	world.device.releaseAll();
	t.is(world.budget.usedBytes, 0);
	t.deepEqual(
		world.environment.sessions.live().map(({ isid }) => isid),
		['00023d000002'],
	);
	t.false(other.closed);
});

test('before full feature phase there is nobody to tell', async (t) => {
	const peer = new World().connect();
	peer.connection.control.askForLogout(1);
	peer.connection.control.announceDrop('session');
	peer.connection.tick(true);
	t.deepEqual(await peer.answers(), []);
	t.false(peer.closed);
});
