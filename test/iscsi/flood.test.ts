import test from 'ava';
import { limits } from '../../src/iscsi/limits.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { type Peer, statusOf, World } from './peer.ts';

const ping = (peer: Peer, tag: number): Buffer =>
	peer.request(pdu.opcode.nopOut | pdu.immediateBit, 0x80, { 16: tag, 20: pdu.noTag }, Buffer.from('ping'));

/** §11.10.2: C and F at once. */
const badText = (peer: Peer): Buffer =>
	peer.request(pdu.opcode.textRequest | pdu.immediateBit, pdu.finalBit | pdu.continueBit, { 16: 5, 20: pdu.noTag }, Buffer.from('a=b\0'));

test('Text with C and F again and again: so many Rejects, then the end', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	for (let count = 0; count < limits.rejects; count++) {
		peer.send(badText(peer));
		t.is((await peer.answer()).bhs[2], pdu.rejectReason.protocolError);
		peer.send(ping(peer, count));
		t.is((await peer.answer()).opcode, pdu.opcode.nopIn, 'what is good in between changes nothing');
	}
	t.false(peer.closed);
	peer.send(badText(peer));
	t.is((await peer.answer()).opcode, pdu.opcode.reject);
	t.true(peer.ended);
	t.is(world.environment.sessions.size, 0);
});

test('Text that never ends is rejected at its bound, and that is a Reject like others', async (t) => {
	const peer = await new World().connect().open();
	let rejects = 0;
	for (let count = 0; count < 1000 && !peer.closed; count++) {
		const first = peer.request(
			pdu.opcode.textRequest | pdu.immediateBit,
			pdu.continueBit,
			{ 16: 5, 20: pdu.noTag },
			Buffer.alloc(8192, 0x61),
		);
		peer.send(first);
		let tag = (await peer.answer()).bhs.readUInt32BE(20);
		for (let more = 0; more < 10; more++) {
			const next = peer.request(pdu.opcode.textRequest | pdu.immediateBit, pdu.continueBit, { 16: 5, 20: tag }, Buffer.alloc(8192, 0x61));
			peer.send(next);
			const answer = await peer.answer();
			if (answer.opcode === pdu.opcode.reject) {
				rejects++;
				break;
			}
			tag = answer.bhs.readUInt32BE(20);
		}
	}
	t.is(rejects, limits.rejects + 1);
	t.true(peer.ended);
});

test('a Reject now and then ends nothing: each second takes one back', async (t) => {
	const peer = await new World().connect().open();
	for (let count = 0; count < 3 * limits.rejects; count++) {
		peer.send(badText(peer));
		await peer.answers();
		peer.connection.tick(true);
	}
	t.false(peer.closed);
});

test('pings without end in one turn: so many are answered, the others rejected until the end', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(Buffer.concat(Array.from({ length: 7000 }, (_, tag) => ping(peer, tag))));
	const answers = await peer.answers();
	t.is(answers.filter(({ opcode }) => opcode === pdu.opcode.nopIn).length, limits.immediatePDUsPerTurn);
	const rejects = answers.filter(({ opcode }) => opcode === pdu.opcode.reject);
	t.is(rejects.length, limits.rejects + 1);
	t.true(rejects.every(({ bhs }) => bhs[2] === pdu.rejectReason.tooManyImmediateCommands));
	t.true(peer.ended);
	const other = await world.connect().open({}, { isid: '00023d000002' });
	for (let turn = 0; turn < 100; turn++) {
		other.send(Buffer.concat(Array.from({ length: limits.immediatePDUsPerTurn }, (_, tag) => ping(other, tag))));
		t.is((await other.answers()).length, limits.immediatePDUsPerTurn);
	}
});

test('commands without end in one turn: those up to the MaxCmdSN that was told are done, the others ignored without a word', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const first = peer.cmdSN;
	const before = world.statistics.commands;
	peer.send(Buffer.concat(Array.from({ length: 500 }, (_, tag) => peer.command({ cdb: '00', tag }))));
	const answers = await peer.answers();
	t.is(answers.length, limits.tasksPerSession);
	t.is(world.statistics.commands - before, limits.tasksPerSession);
	t.is(world.statistics.commandsIgnored, 500 - limits.tasksPerSession);
	// It goes on where it was told to.
	peer.cmdSN = first + limits.tasksPerSession;
	peer.send(peer.command({ cdb: '00', tag: 1 }));
	t.is(statusOf(await peer.answer()), '00');
});

test('PDUs that cost nothing but time are taken limits.pdusPerTurn at a time, and all in the end', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const count = 3 * limits.pdusPerTurn;
	// Data for a command that is over is thrown away, however much of it comes.
	const one = peer.dataOut({ tag: 77, transferTag: 5, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(4) });
	peer.send(Buffer.concat([...Array.from({ length: count }, () => one), peer.command({ cdb: '00', tag: 1 })]));
	t.is(peer.unreadBytes, (count - limits.pdusPerTurn) * one.length + 4 + 48);
	t.false(peer.connection.stopped, 'nor does it count as held back');
	for (let round = 0; round < 10 && peer.unreadBytes > 0; round++) t.deepEqual(peer.takeAnswers(), await nothing());
	t.is(statusOf(await peer.answer()), '00');
});

async function nothing(): Promise<never[]> {
	await new Promise((resolve) => setImmediate(resolve));
	return [];
}
