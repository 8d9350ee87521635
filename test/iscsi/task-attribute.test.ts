import test from 'ava';
import * as pdu from '../../src/iscsi/pdu.ts';
import { pattern, settled, statusOf, World, write10 } from './peer.ts';

test('§11.3.1.1: untagged, simple, ordered and head of queue are carried out; ACA and reserved attributes are 02 5/4900, and nothing is written', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	for (let attribute = 0; attribute < 8; attribute++) {
		const command = peer.command({ cdb: write10(attribute, 1), tag: attribute, write: 512, data: Buffer.alloc(512, 1) });
		command[1] = (command[1]! & ~0x07) | attribute;
		peer.send(command);
		t.is(statusOf(await peer.answer()), attribute < 4 ? '00' : '02 5/4900');
	}
	t.is(world.budget.usedBytes, 0);
	t.is(world.statistics.commands, 9, 'with the one that opened the session');
});

test('ORDSUP 0: an ORDERED write is begun when it is here, in the order of CmdSN, and waits for no earlier one that lacks its data', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const attribute = (command: Buffer, value: number): Buffer => {
		command[1] = (command[1]! & ~0x07) | value;
		return command;
	};
	const late = pattern(512, 1);
	peer.send(attribute(peer.command({ cdb: write10(0, 1), tag: 1, write: 512 }), 1));
	const asked = await peer.answer();
	t.is(asked.opcode, pdu.opcode.r2t);
	for (const [tag, value] of [
		[2, 2],
		[3, 1],
		[4, 2],
	] as const)
		peer.send(attribute(peer.command({ cdb: write10(tag, 1), tag, write: 512, data: pattern(512, tag) }), value));
	t.deepEqual(
		world.device.writes.map(({ offsetBytes }) => offsetBytes / 512),
		[2, 3, 4],
	);
	await settled();
	t.deepEqual(
		peer.takeAnswers().map((answer) => statusOf(answer)),
		['00', '00', '00'],
	);
	const transferTag = pdu.R2T.targetTransferTag.get(asked.bhs, 0);
	peer.send(peer.dataOut({ tag: 1, transferTag, offset: 0, dataSN: 0, final: true, data: late }));
	t.is(statusOf(await peer.answer()), '00');
	t.is(world.device.writes.at(-1)?.offsetBytes, 0, 'what an initiator wants behind another command, it sends when that one has its status');
	t.is(world.budget.usedBytes, 0);
});
