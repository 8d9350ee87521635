import test from 'ava';
import * as pdu from '../../src/iscsi/pdu.ts';
import { type Answer, pattern, type Peer, read10, residualOf, statusOf, World } from './peer.ts';

const MiB = 1024 * 1024;
const inquiry = (length: number): string => `120000${length.toString(16).padStart(4, '0')}00`;

/** Puts the Data-In PDUs of one command together and checks what each must say of its place. */
function together(answers: readonly Answer[], keys: { segmentMax: number; burstMax: number }): { data: Buffer; last: Answer } {
	const parts: Buffer[] = [];
	let offset = 0;
	let burst = 0;
	for (const [index, { bhs, data, opcode }] of answers.entries()) {
		if (opcode !== pdu.opcode.dataIn) throw new Error(`opcode ${opcode}`);
		if (data.length > keys.segmentMax) throw new Error(`${data.length} bytes in one PDU`);
		if (pdu.DataIn.dataSN.get(bhs, 0) !== index) throw new Error(`DataSN ${pdu.DataIn.dataSN.get(bhs, 0)} for ${index}`);
		if (pdu.DataIn.bufferOffset.get(bhs, 0) !== offset) throw new Error('BufferOffset');
		if (pdu.DataIn.targetTransferTag.get(bhs, 0) !== pdu.noTag) throw new Error('TargetTransferTag');
		offset += data.length;
		burst += data.length;
		if (burst > keys.burstMax) throw new Error(`a burst of ${burst} bytes`);
		if ((bhs[1]! & pdu.finalBit) !== 0) burst = 0;
		parts.push(data);
	}
	return { data: Buffer.concat(parts), last: answers.at(-1)! };
}

async function readAll(peer: Peer, cdb: string, length: number): Promise<Answer[]> {
	peer.send(peer.command({ cdb, tag: 1, read: length }));
	return peer.answers();
}

test('§11.4: a read that is at hand is answered in the turn that it came, data and status in one PDU', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const data = pattern(4096, 1);
	data.copy(world.device.medium, 8192);
	peer.send(peer.command({ cdb: read10(16, 8), tag: 1, read: 4096 }));
	const [answer, ...others] = peer.takeAnswers();
	t.deepEqual(others, []);
	t.deepEqual(answer!.data, data);
	t.is(answer!.bhs[1], pdu.finalBit | pdu.statusBit);
	t.is(answer!.bhs[3], 0);
	t.is(world.budget.peakBytes, 0);
});

for (const cold of [false, true]) {
	for (const [segmentMax, burstMax] of [
		[262144, 16776192],
		[8192, 20000],
		[1000, 262144],
		[600, 512],
		[65536, 100_000],
	] as const) {
		test(`§13.12, §13.13: a ${cold ? 'cold ' : ''}read with segments of ${segmentMax} and bursts of ${burstMax}`, async (t) => {
			const world = new World();
			pattern(world.device.medium.length, 3).copy(world.device.medium);
			const peer = await world.connect().open({ MaxRecvDataSegmentLength: String(segmentMax), MaxBurstLength: String(burstMax) });
			world.device.cold = cold;
			const length = 300 * 512;
			const { data, last } = together(await readAll(peer, read10(5, 300), length), { segmentMax, burstMax });
			t.true(data.equals(world.device.medium.subarray(2560, 2560 + length)));
			t.is(last.bhs[1]! & (pdu.finalBit | pdu.statusBit), pdu.finalBit | pdu.statusBit);
			t.is(residualOf(last), 'none');
			t.is(world.budget.usedBytes, 0);
		});
	}
}

test('§11.4.5: residuals of reads, over and under, at hand and not', async (t) => {
	for (const cold of [false, true]) {
		const world = new World();
		pattern(world.device.medium.length, 3).copy(world.device.medium);
		const peer = await world.connect().open();
		world.device.cold = cold;
		for (const [blocks, expected, residual] of [
			[1, 512, 'none'],
			[1, 10000, 'U 9488'],
			[2, 512, 'O 512'],
			[1, 200, 'O 312'],
			[3, 1400, 'O 136'],
		] as const) {
			const { data, last } = together(await readAll(peer, read10(7, blocks), expected), { segmentMax: 262144, burstMax: MiB });
			t.true(data.equals(world.device.medium.subarray(3584, 3584 + Math.min(expected, blocks * 512))), residual);
			t.is(residualOf(last), residual);
		}
		const [none] = await readAll(peer, read10(7, 1), 0);
		t.is(none!.opcode, pdu.opcode.scsiResponse);
		t.is(residualOf(none!), 'O 512');
		const [empty] = await readAll(peer, read10(7, 0), 512);
		t.is(residualOf(empty!), 'U 512');
		// Flagged as a write: nothing comes back, and all of it is overflow.
		peer.send(peer.command({ cdb: read10(7, 1), tag: 1, write: 512, data: Buffer.alloc(512) }));
		const wrong = await peer.answer();
		t.is(statusOf(wrong), '00');
		t.is(residualOf(wrong), 'O 512');
		t.is(world.budget.usedBytes, 0);
	}
});

test('§11.4.5: residuals of data-in that is no medium', async (t) => {
	const peer = await new World().connect().open();
	const [whole] = await readAll(peer, inquiry(36), 36);
	t.is(whole!.data.length, 36);
	t.is(residualOf(whole!), 'none');
	const [under] = await readAll(peer, inquiry(36), 100);
	t.is(residualOf(under!), 'U 64');
	const [over] = await readAll(peer, inquiry(36), 10);
	t.is(over!.data.length, 10);
	t.is(residualOf(over!), 'O 26');
	const [nothing] = await readAll(peer, '000000000000', 100);
	t.is(residualOf(nothing!), 'U 100');
});

test('§11.4.5, §11.4.7: CHECK CONDITION comes in a response of its own with sense, and what was not transferred', async (t) => {
	const world = new World();
	const peer = await world.connect().open({ MaxRecvDataSegmentLength: '512' });
	world.device.outcome = (call, offset) => (call === 'read' && offset >= 1024 ? 'mediumError' : undefined);
	const answers = await readAll(peer, read10(0, 4), 2048);
	t.deepEqual(answers.map(statusOf), ['25', '25', '02 3/1100']);
	t.is(residualOf(answers[2]!), 'U 1024');
	t.is(pdu.SCSIResponse.expDataSN.get(answers[2]!.bhs, 0), 2);
	t.is(answers[2]!.data.readUInt16BE(0), answers[2]!.data.length - 2);
	world.device.cold = true;
	t.deepEqual((await readAll(peer, read10(0, 4), 2048)).map(statusOf), ['25', '25', '02 3/1100']);
	t.is(world.budget.usedBytes, 0);
});

test('a peer that does not read: what we hold for it stays bounded, and all of it arrives in the end', async (t) => {
	const world = new World();
	pattern(world.device.medium.length, 5).copy(world.device.medium);
	const peer = await world.connect().open();
	const got = new Map<number, Buffer[]>();
	const take = (answers: readonly Answer[]): void => {
		for (const { bhs, data } of answers) got.set(bhs.readUInt32BE(16), [...(got.get(bhs.readUInt32BE(16)) ?? []), data]);
	};
	peer.blocked = true;
	const before = peer.transmitter.bytesSent;
	for (let tag = 0; tag < 100; tag++) peer.send(peer.command({ cdb: read10(0, 2048), tag, read: MiB }));
	take(await peer.answers());
	t.true(peer.transmitter.bytesSent - before <= 600_000);
	peer.unblock();
	take(await peer.answers());
	t.is(got.size, 100);
	for (const parts of got.values()) t.true(Buffer.concat(parts).equals(world.device.medium.subarray(0, MiB)));
});

test('a peer that asks for answers and does not read them is not heard any more until it does', async (t) => {
	const peer = await new World().connect().open();
	peer.blocked = true;
	const ping = peer.request(pdu.opcode.nopOut | pdu.immediateBit, 0x80, { 16: 1, 20: pdu.noTag }, Buffer.alloc(32768, 1));
	// No more than limits.immediatePDUsPerTurn: when it goes on, all of them lie in one piece.
	for (let count = 0; count < 60; count++) peer.send(ping);
	t.true(peer.unreadBytes > 30 * ping.length);
	peer.unblock();
	let answers = (await peer.answers()).length;
	for (let round = 0; round < 10 && answers < 60; round++) answers += (await peer.answers()).length;
	t.is(answers, 60);
	t.is(peer.unreadBytes, 0);
});

test('long reads take turns on a slow connection', async (t) => {
	const world = new World({ deviceBytes: 8 * MiB });
	const peer = await world.connect().open();
	peer.blocked = true;
	for (const tag of [1, 2, 3]) peer.send(peer.command({ cdb: read10(0, 8192), tag, read: 4 * MiB }));
	const order: number[] = [];
	for (let round = 0; round < 12; round++) {
		for (const { bhs } of peer.takeAnswers()) order.push(bhs.readUInt32BE(16));
		peer.transmitter.drained();
	}
	t.true(order.includes(1) && order.includes(2) && order.includes(3));
	t.true(order.indexOf(3) <= 12, order.join(' '));
});

test('cold reads of one connection at the device stay bounded, others wait in line', async (t) => {
	const world = new World({ deviceBytes: 8 * MiB });
	const peer = await world.connect().open();
	world.device.cold = true;
	world.device.held = true;
	for (let tag = 0; tag < 64; tag++) peer.send(peer.command({ cdb: read10(tag * 256, 256), tag, read: 131072 }));
	await peer.answers();
	t.is(world.device.waiting, 32);
	t.is(world.budget.usedBytes, 4 * MiB);
	let answered = 0;
	while (world.device.release(world.device.waiting - 1)) answered += (await peer.answers()).length;
	t.is(answered, 64);
	t.is(world.budget.usedBytes, 0);
});
