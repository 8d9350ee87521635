import test from 'ava';
import * as pdu from '../../../src/nvmeof/pdu.ts';
import { transportLimits } from '../../../src/nvmeof/transport-limits.ts';
import { type Answer, cidOf, opcode, pattern, type Peer, statusOf, World } from './peer.ts';

const MiB = 1024 * 1024;

/** Puts the C2HData of one command together and checks what each must say. */
function together(answers: readonly Answer[], cid: number): Buffer {
	let offset = 0;
	const parts: Buffer[] = [];
	for (const [index, answer] of answers.entries()) {
		if (answer.type !== pdu.pduType.c2hData) throw new Error(statusOf(answer));
		if (cidOf(answer) !== cid) throw new Error(`CCCID ${cidOf(answer)}`);
		if (pdu.C2HData.datao.get(answer.header, 0) !== offset) throw new Error(`DATAO ${pdu.C2HData.datao.get(answer.header, 0)}`);
		if (pdu.C2HData.datal.get(answer.header, 0) !== answer.data.length) throw new Error('DATAL');
		if (answer.data.length > transportLimits.c2hDataBytes) throw new Error(`${answer.data.length} bytes in one PDU`);
		if (((answer.flags & pdu.flag.lastPDU) !== 0) !== (index === answers.length - 1)) throw new Error('LAST_PDU');
		if (answer.header.readUInt16LE(10) !== 0 || answer.header.readUInt32LE(20) !== 0) throw new Error('reserved bytes');
		offset += answer.data.length;
		parts.push(answer.data);
	}
	return Buffer.concat(parts);
}

async function world(options: { bytes?: number; budgetBytes?: number } = {}): Promise<World> {
	const made = new World({
		deviceBytes: options.bytes ?? MiB,
		...(options.budgetBytes === undefined ? {} : { budgetBytes: options.budgetBytes }),
	});
	pattern(made.device.medium.length, 3).copy(made.device.medium);
	return made;
}

for (const cold of [false, true]) {
	for (const flowControlDisabled of [false, true]) {
		const how = `${cold ? 'cold' : 'hot'}, flow control ${flowControlDisabled ? 'off' : 'on'}`;
		test(`reads of 512 bytes to 4 MiB, ${how}: all data in order, LAST_PDU once, and ${flowControlDisabled ? 'SUCCESS in it' : 'a CapsuleResp'}`, async (t) => {
			const made = await world({ bytes: 5 * MiB });
			const peer = await made.connect().open({ flowControlDisabled });
			made.device.cold = cold;
			for (const blocks of [1, 8, 63, 64, 65, 255, 256, 257, 512, 8192]) {
				peer.send(peer.command({ opcode: opcode.read, cid: 7, block: 5, blocks }));
				const answers = await peer.answers();
				if (flowControlDisabled) t.is(statusOf(answers.at(-1)!), 'C2HData 0');
				else t.is(statusOf(answers.pop()!), '0');
				t.true(together(answers, 7).equals(made.device.medium.subarray(2560, 2560 + blocks * 512)));
				for (const answer of answers.slice(0, -1)) t.is(answer.flags & pdu.flag.success, 0);
			}
			t.true(made.isFree);
			t.is(made.statistics.bytesRead, (1 + 8 + 63 + 64 + 65 + 255 + 256 + 257 + 512 + 8192) * 512);
		});
	}
}

test('a read that is at hand is answered in the turn that it came, without memory of its own', async (t) => {
	const made = await world();
	const peer = await made.connect().open({ flowControlDisabled: true });
	const { peakBytes } = made.budget;
	peer.send(peer.command({ opcode: opcode.read, cid: 1, block: 0, blocks: 8 }));
	t.deepEqual(peer.takeAnswers().map(statusOf), ['C2HData 0']);
	t.is(made.budget.peakBytes, peakBytes);
});

test('a read of no blocks is a completion without data', async (t) => {
	const peer = await (await world()).connect().open({ flowControlDisabled: true });
	peer.send(peer.command({ opcode: opcode.read, cid: 1, blocks: 0 }));
	t.deepEqual((await peer.answers()).map(statusOf), ['0']);
});

const sgls: Record<string, [edit: (sqe: Buffer) => void, status: string]> = {
	'another length, too long': [(sqe) => sqe.writeUInt32LE(1024, 32), 'f!'],
	'another length, too short': [(sqe) => sqe.writeUInt32LE(0, 32), 'f!'],
	'in-capsule data block': [(sqe) => sqe.writeUInt8(0x01, 39), '11!'],
	'keyed data block': [(sqe) => sqe.writeUInt8(0x40, 39), '11!'],
	'bit bucket': [(sqe) => sqe.writeUInt8(0x10, 39), '11!'],
	segment: [(sqe) => sqe.writeUInt8(0x20, 39), '11!'],
	'transport data block of another subtype': [(sqe) => sqe.writeUInt8(0x50, 39), '11!'],
	'PSDT 00b': [(sqe) => sqe.writeUInt8(0x00, 1), '2!'],
	'PSDT 11b': [(sqe) => sqe.writeUInt8(0xc0, 1), '2!'],
	'PSDT 10b': [(sqe) => sqe.writeUInt8(0x80, 1), '0'],
};

for (const [title, [edit, status]] of Object.entries(sgls)) {
	test(`SGL 1 of a read: ${title}: status ${status}`, async (t) => {
		const made = await world();
		const peer = await made.connect().open();
		peer.send(peer.command({ opcode: opcode.read, cid: 1, blocks: 1, edit }));
		const answers = await peer.answers();
		t.is(statusOf(answers.at(-1)!), status);
		t.is(answers.length, status === '0' ? 2 : 1);
		// Told before the completion, with the status that it has.
		if (status !== '0') t.deepEqual(peer.logic.log, [`ended 1 ${status.slice(0, -1)}`]);
	});
}

test('data of a finished request: as much as there is, and as SGL 1 has room for', async (t) => {
	const made = await world();
	const peer = await made.connect().open();
	for (const [have, length, sent] of [
		[4096, 4096, 4096],
		[4096, 1000, 1000],
		[100, 4096, 100],
		[100, 0, 0],
		[0, 100, 0],
		[300_000, 300_000, 300_000],
		[17, 17, 17],
	] as const) {
		peer.send(peer.command({ opcode: opcode.answer, cid: 3, cdw11: have, length }));
		const answers = await peer.answers();
		t.is(statusOf(answers.pop()!), '0');
		t.true(together(answers, 3).equals(pattern(have, 5).subarray(0, sent)));
	}
	peer.send(peer.command({ opcode: opcode.answer, cid: 3, cdw11: 10, length: 10, edit: (sqe) => sqe.writeUInt8(0x01, 39) }));
	t.is(statusOf(await peer.answer()), '11!');
});

test('SUCCESS says success and nothing else: a result, or a status, needs a CapsuleResp', async (t) => {
	const made = await world();
	const peer = await made.connect().open({ flowControlDisabled: true });
	peer.send(peer.command({ opcode: opcode.answer, cid: 1, cdw11: 64, length: 64, cdw13: 0xabcdef01 }));
	const [data, response] = await peer.answers();
	t.is(data!.flags, pdu.flag.lastPDU);
	t.is(statusOf(response!), '0');
	t.is(pdu.CapsuleResp.result0.get(response!.header, 0), 0xabcdef01);
	peer.send(peer.command({ opcode: opcode.answer, cid: 1, cdw11: 64, length: 64 }));
	t.deepEqual((await peer.answers()).map(statusOf), ['C2HData 0']);
	peer.send(peer.command({ opcode: opcode.flush, cid: 1 }));
	t.deepEqual((await peer.answers()).map(statusOf), ['0']);
});

for (const cold of [false, true]) {
	test(`a ${cold ? 'cold ' : ''}read that fails at its first and at a later piece: the status behind what was sent, without LAST_PDU`, async (t) => {
		for (const bad of [0, 256 * 1024]) {
			const made = await world();
			const peer = await made.connect().open({ flowControlDisabled: true });
			made.device.cold = cold;
			made.device.outcome = (call, offset) => (call === 'read' && offset >= bad ? 'mediumError' : undefined);
			peer.send(peer.command({ opcode: opcode.read, cid: 1, block: 0, blocks: 1024 }));
			const answers = await peer.answers();
			t.is(statusOf(answers.pop()!), '281!');
			t.is(answers.length, bad / transportLimits.c2hDataBytes);
			for (const answer of answers) t.is(answer.flags, 0);
			t.deepEqual(peer.logic.log, ['fail mediumError']);
			t.true(made.isFree);
		}
	});
}

test('digests of every kind of C2HData are right, and of completions', async (t) => {
	for (const [headerDigest, dataDigest] of [
		[true, false],
		[false, true],
		[true, true],
	] as const) {
		const made = await world();
		const peer = await made.connect().open({ headerDigest, dataDigest });
		for (const cold of [false, true]) {
			made.device.cold = cold;
			for (const blocks of [1, 64, 65, 600]) {
				peer.send(peer.command({ opcode: opcode.read, cid: 1, block: 0, blocks }));
				const answers = await peer.answers();
				t.is(statusOf(answers.pop()!), '0');
				t.true(together(answers, 1).equals(made.device.medium.subarray(0, blocks * 512)));
			}
		}
		peer.send(peer.command({ opcode: opcode.answer, cid: 1, cdw11: 33, length: 33 }));
		t.deepEqual(
			(await peer.answers()).map(({ data }) => data.length),
			[33, 0],
		);
	}
});

test('a host that does not read: what it has asked for stays bounded, takes turns when it reads again, and is whole', async (t) => {
	for (const cold of [false, true]) {
		const made = await world({ bytes: 4 * MiB });
		const peer = await made.connect().open({ flowControlDisabled: true });
		made.device.cold = cold;
		peer.blocked = true;
		const commands = Array.from({ length: 40 }, (_, cid) => peer.command({ opcode: opcode.read, cid, block: cid, blocks: 1024 }));
		for (const command of commands) peer.send(command);
		const seen = await peer.answers();
		t.true(made.budget.usedBytes <= transportLimits.readBytesPerConnection);
		t.true(peer.connection.outstanding > 1);
		for (let round = 0; round < 200 && seen.filter(({ flags }) => (flags & pdu.flag.success) !== 0).length < 40; round++) {
			peer.unblock();
			seen.push(...(await peer.answers()));
		}
		for (let cid = 0; cid < 40; cid++) {
			const data = together(
				seen.filter((answer) => cidOf(answer) === cid),
				cid,
			);
			t.true(data.equals(made.device.medium.subarray(cid * 512, cid * 512 + 1024 * 512)));
		}
		t.is(peer.connection.outstanding, 0);
		t.true(made.isFree);
	}
});

test('backpressure: a host that does not read is not read either, once answers with data for it wait for room', async (t) => {
	const made = await world();
	const peer = await made.connect().open();
	peer.blocked = true;
	for (let cid = 0; cid < 128; cid++) peer.send(peer.command({ opcode: opcode.answer, cid, cdw11: 60_000, length: 60_000 }));
	const seen = await peer.answers();
	t.true(peer.unreadBytes > 0);
	const waiting = peer.connection.outstanding * 60_000;
	t.true(waiting > transportLimits.waitingDataBytes && waiting <= transportLimits.waitingDataBytes + 2 * 60_000);
	for (let round = 0; round < 100 && seen.filter(({ type }) => type === pdu.pduType.capsuleResp).length < 128; round++) {
		peer.unblock();
		seen.push(...(await peer.answers()));
	}
	t.deepEqual(
		seen.filter(({ type }) => type === pdu.pduType.capsuleResp).map(cidOf),
		Array.from({ length: 128 }, (_, cid) => cid),
	);
	t.is(peer.unreadBytes, 0);
});

test('cold reads of many connections share a quarter of the budget, and writes go on beside them', async (t) => {
	const made = await world({ bytes: 4 * MiB, budgetBytes: 8 * MiB });
	made.device.cold = true;
	made.device.held = true;
	const peers: Peer[] = [];
	for (let index = 0; index < 8; index++) {
		const peer = await made.connect().open();
		peers.push(peer);
		for (let cid = 0; cid < 16; cid++) peer.send(peer.command({ opcode: opcode.read, cid, block: 0, blocks: 2048 }));
	}
	t.true(made.memory.reads.usedBytes <= 2 * MiB);
	t.is(made.budget.usedBytes, made.memory.reads.usedBytes);
	for (const { connection } of peers) t.true(connection.reads.heldBytes > 0 && connection.reads.heldBytes <= MiB / 2);
	const writer = await made.connect().open();
	writer.send(writer.command({ opcode: opcode.write, cid: 1, block: 0, blocks: 16, data: pattern(8192, 1) }));
	t.is(made.device.writes.length, 1);
	for (let round = 0; round < 5000 && made.device.waiting > 0; round++) {
		made.device.releaseAll();
		await writer.answers();
	}
	for (const peer of peers) {
		const answers = await peer.answers();
		t.is(answers.filter((answer) => statusOf(answer) === '0').length, 16);
	}
	t.true(made.isFree);
});

test('a read with FUA waits for a flush; aborted meanwhile, or with its connection gone, it sends nothing and leaves nothing', async (t) => {
	for (const end of ['abort', 'cut', 'flushed'] as const) {
		const made = await world({ bytes: MiB });
		made.device.held = true;
		const peer = await made.connect().open();
		peer.send(peer.command({ opcode: opcode.read, cid: 1, block: 0, blocks: 8, fua: true }));
		t.deepEqual(await peer.answers(), []);
		if (end === 'cut') peer.cut();
		if (end === 'abort')
			peer.connection.abort(
				() => true,
				() => undefined,
			);
		if (end !== 'cut') t.deepEqual(await peer.answers(), [], 'the device has it');
		made.device.held = false;
		made.device.releaseAll();
		const answers = end === 'cut' ? [] : await peer.answers();
		t.deepEqual(answers.map(statusOf), { abort: ['7'], cut: [], flushed: ['C2HData', '0'] }[end]);
		t.true(made.isFree);
		t.is(peer.connection.outstanding, 0);
	}
});
