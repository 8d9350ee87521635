import test from 'ava';
import * as pdu from '../../src/iscsi/pdu.ts';
import { type Answer, type Peer, pattern, residualOf, statusOf, World, write10 } from './peer.ts';

const MiB = 1024 * 1024;

interface R2T {
	tag: number;
	transferTag: number;
	r2tSN: number;
	offset: number;
	length: number;
}

function r2t({ bhs, opcode }: Answer): R2T {
	if (opcode !== pdu.opcode.r2t) throw new Error(`opcode ${opcode.toString(16)} where an R2T was expected`);
	const { R2T: table } = pdu;
	return {
		tag: table.initiatorTaskTag.get(bhs, 0),
		transferTag: table.targetTransferTag.get(bhs, 0),
		r2tSN: table.r2tSN.get(bhs, 0),
		offset: table.bufferOffset.get(bhs, 0),
		length: table.desiredDataTransferLength.get(bhs, 0),
	};
}

/** Fulfils an R2T from the command's whole data, in PDUs of at most `pduBytes`. */
function fulfil(peer: Peer, asked: R2T, data: Buffer, pduBytes = 8192): void {
	const end = asked.offset + asked.length;
	for (let offset = asked.offset, dataSN = 0; offset < end; offset += pduBytes, dataSN++) {
		const part = data.subarray(offset, Math.min(offset + pduBytes, end));
		peer.send(
			peer.dataOut({ tag: asked.tag, transferTag: asked.transferTag, offset, dataSN, final: offset + part.length === end, data: part }),
		);
	}
}

test('immediate data that is all of a command is written in the turn that it came, without memory of its own', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const data = pattern(4096, 1);
	peer.send(peer.command({ cdb: write10(8, 8, true), tag: 1, write: 4096, data }));
	t.deepEqual(world.device.writes, [{ offsetBytes: 4096, lengthBytes: 4096, fua: true }]);
	const answer = await peer.answer();
	t.is(statusOf(answer), '00');
	t.is(residualOf(answer), 'none');
	t.deepEqual(world.device.medium.subarray(4096, 8192), data);
	t.is(world.budget.usedBytes, 0);
	t.is(world.budget.peakBytes, 4096);
});

test('§4.2.5.2: immediate, unsolicited and solicited data of one command reach the device as one write', async (t) => {
	const world = new World();
	const peer = await world.connect().open({ FirstBurstLength: '4096' });
	const data = pattern(16384, 2);
	peer.send(peer.command({ cdb: write10(0, 32), tag: 1, write: 16384, final: false, data: data.subarray(0, 1024) }));
	peer.send(peer.dataOut({ tag: 1, offset: 1024, dataSN: 0, final: false, data: data.subarray(1024, 2048) }));
	t.deepEqual(peer.takeAnswers(), []);
	peer.send(peer.dataOut({ tag: 1, offset: 2048, dataSN: 1, final: true, data: data.subarray(2048, 4096) }));
	const asked = r2t(await peer.answer());
	t.like(asked, { r2tSN: 0, offset: 4096, length: 12288 });
	fulfil(peer, asked, data, 5000);
	t.is(statusOf(await peer.answer()), '00');
	t.deepEqual(
		world.device.writes.map(({ lengthBytes }) => lengthBytes),
		[16384],
	);
	t.deepEqual(world.device.medium.subarray(0, 16384), data);
});

test('§11.8.4: DesiredDataTransferLength never exceeds MaxBurstLength', async (t) => {
	const world = new World();
	const peer = await world.connect().open({ MaxBurstLength: '5000', InitialR2T: 'Yes', ImmediateData: 'No' });
	const data = pattern(12288, 3);
	peer.send(peer.command({ cdb: write10(0, 24), tag: 1, write: 12288 }));
	const lengths: number[] = [];
	for (let next = await peer.answer(); next.opcode === pdu.opcode.r2t; next = await peer.answer()) {
		const asked = r2t(next);
		t.is(asked.r2tSN, lengths.length);
		lengths.push(asked.length);
		fulfil(peer, asked, data);
	}
	t.deepEqual(lengths, [5000, 5000, 2288]);
	t.deepEqual(world.device.medium.subarray(0, 12288), data);
});

for (const outstanding of [1, 8]) {
	test(`§13.17: a write of 8 MiB with MaxOutstandingR2T ${outstanding} has so many R2Ts open, in order, and holds a bounded part`, async (t) => {
		const world = new World({ deviceBytes: 8 * MiB });
		const peer = await world.connect().open({ MaxOutstandingR2T: String(outstanding), ImmediateData: 'No' });
		const data = pattern(8 * MiB, outstanding);
		peer.send(peer.command({ cdb: write10(0, 16384), tag: 1, write: data.length }));
		const open = (await peer.answers()).map(r2t);
		t.is(open.length, outstanding);
		let offset = 0;
		while (open.length > 0) {
			const asked = open.shift()!;
			t.is(asked.offset, offset);
			offset += asked.length;
			fulfil(peer, asked, data, 200_000);
			const answers = await peer.answers();
			if (offset === data.length) {
				t.deepEqual(answers.map(statusOf), ['00']);
				t.is(pdu.SCSIResponse.expDataSN.get(answers[0]!.bhs, 0), 8);
			} else open.push(...answers.map(r2t));
			t.true(open.length <= outstanding);
		}
		t.true(world.device.medium.equals(data));
		t.true(world.budget.peakBytes <= (outstanding + 1) * MiB);
		t.is(world.budget.usedBytes, 0);
	});
}

test('a long write with unsolicited data holds its first burst and then chunk by chunk; what the device gets adds up', async (t) => {
	const world = new World({ deviceBytes: 8 * MiB });
	const peer = await world.connect().open({ FirstBurstLength: '10000' });
	const data = pattern(3 * MiB, 9);
	peer.send(peer.command({ cdb: write10(16, 6144), tag: 1, write: data.length, data: data.subarray(0, 10000) }));
	for (let next = await peer.answer(); next.opcode === pdu.opcode.r2t; next = await peer.answer()) fulfil(peer, r2t(next), data, 262144);
	t.true(world.device.medium.subarray(8192, 8192 + data.length).equals(data));
	t.deepEqual(
		world.device.writes.map(({ lengthBytes }) => lengthBytes),
		[12288, MiB, MiB, MiB - 12288],
	);
});

const wrongs: Record<string, { keys?: Record<string, string>; send(peer: Peer): void; status: string }> = {
	'§13.11: immediate data that was not agreed': {
		keys: { ImmediateData: 'No' },
		send: (peer) => peer.send(peer.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) })),
		status: '02 b/0c0c',
	},
	'§13.10: unsolicited data where InitialR2T=Yes': {
		keys: { InitialR2T: 'Yes' },
		send: (peer) => {
			peer.send(peer.command({ cdb: write10(0, 2), tag: 1, write: 1024, final: false, data: Buffer.alloc(512, 1) }));
			peer.send(peer.dataOut({ tag: 1, offset: 512, dataSN: 0, final: true, data: Buffer.alloc(512, 1) }));
		},
		status: '02 b/0c0c',
	},
	'§13.14: immediate data beyond FirstBurstLength': {
		keys: { FirstBurstLength: '512' },
		send: (peer) => peer.send(peer.command({ cdb: write10(0, 2), tag: 1, write: 1024, data: Buffer.alloc(1024, 1) })),
		status: '02 b/0c0d',
	},
	'§13.14: unsolicited data beyond FirstBurstLength': {
		keys: { FirstBurstLength: '1024' },
		send: (peer) => {
			peer.send(peer.command({ cdb: write10(0, 4), tag: 1, write: 2048, final: false }));
			peer.send(peer.dataOut({ tag: 1, offset: 0, dataSN: 0, final: false, data: Buffer.alloc(1024, 1) }));
			peer.send(peer.dataOut({ tag: 1, offset: 1024, dataSN: 1, final: true, data: Buffer.alloc(512, 1) }));
		},
		status: '02 b/0c0d',
	},
	'§11.7: more data than the command expects': {
		send: (peer) => peer.send(peer.command({ cdb: write10(0, 2), tag: 1, write: 512, data: Buffer.alloc(1024, 1) })),
		status: '02 b/0c0d',
	},
	'§11.7.5: a DataSN that is not next': {
		send: (peer) => {
			peer.send(peer.command({ cdb: write10(0, 2), tag: 1, write: 1024, final: false }));
			peer.send(peer.dataOut({ tag: 1, offset: 0, dataSN: 1, final: true, data: Buffer.alloc(1024, 1) }));
		},
		status: '02 b/4705',
	},
	'§11.7.6: a BufferOffset that is not next': {
		send: (peer) => {
			peer.send(peer.command({ cdb: write10(0, 2), tag: 1, write: 1024, final: false }));
			peer.send(peer.dataOut({ tag: 1, offset: 512, dataSN: 0, final: true, data: Buffer.alloc(512, 1) }));
		},
		status: '02 b/0c0d',
	},
	'§11.3.4: data with a command that is no write': {
		send: (peer) => peer.send(peer.command({ cdb: '2800000000000001', tag: 1, read: 512, data: Buffer.alloc(512, 1) })),
		status: '02 b/0c0c',
	},
	'§11.3.1: a write that is flagged as a read': {
		send: (peer) => peer.send(peer.command({ cdb: write10(0, 1), tag: 1, read: 512 })),
		status: '02 5/2400',
	},
	'§11.3.1: both directions at once': {
		send: (peer) => {
			const command = peer.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) });
			command[1]! |= pdu.readBit;
			peer.send(command);
		},
		status: '02 5/2000',
	},
};

for (const [title, wrong] of Object.entries(wrongs)) {
	test(`${title}: CHECK CONDITION, nothing is written, the session goes on`, async (t) => {
		const world = new World();
		const peer = await world.connect().open(wrong.keys ?? {});
		wrong.send(peer);
		t.is(statusOf(await peer.answer()), wrong.status);
		t.deepEqual(world.device.writes, []);
		t.is(world.budget.usedBytes, 0);
		peer.send(peer.command({ cdb: '00', tag: 1 }));
		t.is(statusOf(await peer.answer()), '00');
	});
}

test('solicited data: wrong DataSN, offset, length and F each end the command once the R2T is over', async (t) => {
	const world = new World();
	const peer = await world.connect().open({ ImmediateData: 'No' });
	const cases: [{ offset?: number; dataSN?: number; final?: boolean; length?: number }, string][] = [
		[{ dataSN: 1 }, '02 b/4705'],
		[{ offset: 512 }, '02 b/0c0d'],
		[{ length: 512 }, '02 b/0c0d'],
		[{ length: 2048 }, '02 b/0c0d'],
	];
	for (const [wrong, status] of cases) {
		peer.send(peer.command({ cdb: write10(0, 2), tag: 1, write: 1024 }));
		const asked = r2t(await peer.answer());
		const data = Buffer.alloc(wrong.length ?? 1024, 1);
		peer.send(peer.dataOut({ ...asked, offset: wrong.offset ?? 0, dataSN: wrong.dataSN ?? 0, final: true, data }));
		t.is(statusOf(await peer.answer()), status);
	}
	// F is missing: the answer waits for it.
	peer.send(peer.command({ cdb: write10(0, 2), tag: 1, write: 1024 }));
	const asked = r2t(await peer.answer());
	peer.send(peer.dataOut({ ...asked, dataSN: 0, final: false, data: Buffer.alloc(1024, 1) }));
	t.deepEqual(await peer.answers(), []);
	peer.send(peer.dataOut({ ...asked, dataSN: 1, final: true, data: Buffer.alloc(0) }));
	t.is(statusOf(await peer.answer()), '02 b/0c0d');
	t.deepEqual(world.device.writes, []);
	t.is(world.budget.usedBytes, 0);
});

test('§11.7.4: a transfer tag that was not given is rejected and the data thrown away; data of no command is ignored', async (t) => {
	const world = new World();
	const peer = await world.connect().open({ ImmediateData: 'No' });
	peer.send(peer.command({ cdb: write10(0, 1), tag: 1, write: 512 }));
	const asked = r2t(await peer.answer());
	peer.send(peer.dataOut({ tag: 1, transferTag: asked.transferTag + 1, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(512, 9) }));
	t.is((await peer.answer()).bhs[2], pdu.rejectReason.invalidPDUField);
	peer.send(peer.dataOut({ tag: 77, transferTag: 5, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(512, 9) }));
	peer.send(peer.dataOut({ tag: 77, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(512, 9) }));
	t.deepEqual(await peer.answers(), []);
	fulfil(peer, asked, Buffer.alloc(512, 3));
	t.is(statusOf(await peer.answer()), '00');
	t.is(world.device.medium[0], 3);
});

test('§11.7: unsolicited data where none may come any more ends the command', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(peer.command({ cdb: write10(0, 2), tag: 1, write: 1024 }));
	const asked = r2t(await peer.answer());
	peer.send(peer.dataOut({ tag: 1, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(512, 9) }));
	fulfil(peer, asked, Buffer.alloc(1024, 3));
	t.is(statusOf(await peer.answer()), '02 b/0c0c');
});

test('a command that fails at once is answered behind its unsolicited data, which is thrown away', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(peer.command({ cdb: write10(0x7fffffff, 2), tag: 1, write: 1024, final: false, data: Buffer.alloc(512) }));
	t.deepEqual(await peer.answers(), []);
	peer.send(peer.dataOut({ tag: 1, offset: 512, dataSN: 0, final: true, data: Buffer.alloc(512) }));
	t.is(statusOf(await peer.answer()), '02 5/2100');
});

test('§11.4.5: residuals of writes, over and under; whole blocks of what came are written', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const cases: [blocks: number, expected: number, residual: string, written: number][] = [
		[1, 512, 'none', 512],
		[1, 1024, 'U 512', 512],
		[2, 512, 'O 512', 512],
		[2, 700, 'O 324', 512],
		[1, 200, 'O 312', 0],
		[1, 0, 'O 512', 0],
		[0, 512, 'U 512', 0],
	];
	for (const [blocks, expected, residual, written] of cases) {
		world.device.writes.length = 0;
		world.device.medium.fill(0);
		peer.send(peer.command({ cdb: write10(0, blocks), tag: 1, write: expected, data: Buffer.alloc(expected, 0x11) }));
		const answer = await peer.answer();
		t.is(statusOf(answer), '00', residual);
		t.is(residualOf(answer), residual);
		t.is(world.device.medium.lastIndexOf(0x11) + 1, written);
	}
	// The same by R2T: only what will be used is asked for.
	const slow = await world.connect().open({ ImmediateData: 'No' }, { isid: '00023d000002' });
	slow.send(slow.command({ cdb: write10(0, 1), tag: 1, write: 1024 }));
	const asked = r2t(await slow.answer());
	t.is(asked.length, 512);
	fulfil(slow, asked, Buffer.alloc(512));
	t.is(residualOf(await slow.answer()), 'U 512');
});

test('a bad outcome of one chunk is the answer, when the others have come back', async (t) => {
	const world = new World({ deviceBytes: 8 * MiB });
	const peer = await world.connect().open({ MaxOutstandingR2T: '2', ImmediateData: 'No' });
	world.device.outcome = (call, offset) => (call === 'write' && offset === 0 ? 'noSpace' : undefined);
	const data = pattern(3 * MiB, 1);
	peer.send(peer.command({ cdb: write10(0, 6144), tag: 1, write: data.length }));
	const [first, second] = (await peer.answers()).map(r2t);
	fulfil(peer, first!, data, 262144);
	// The third was asked for before the first had failed; nothing is asked for after that.
	const third = r2t(await peer.answer());
	fulfil(peer, second!, data, 262144);
	t.deepEqual(await peer.answers(), []);
	fulfil(peer, third, data, 262144);
	t.is(statusOf(await peer.answer()), '02 7/2707');
	t.is(world.budget.usedBytes, 0);
});

test('data of parameters is collected whole, whatever pieces it comes in', async (t) => {
	const world = new World();
	const peer = await world.connect().open({ ImmediateData: 'No' });
	world.device.medium.fill(0xff);
	// UNMAP of 8 blocks at LBA 16.
	const list = Buffer.from('001600100000000000000000000000100000000800000000', 'hex');
	peer.send(peer.command({ cdb: '42000000000000001800', tag: 1, write: 24 }));
	fulfil(peer, r2t(await peer.answer()), list, 10);
	t.is(statusOf(await peer.answer()), '00');
	t.true(world.device.medium.subarray(8192, 12288).equals(Buffer.alloc(4096)));
	t.is(world.device.medium[12288], 0xff);
	t.is(world.budget.usedBytes, 0);
});
