import test from 'ava';
import { copiedBytesMax } from '../../../src/blockvol/block-device.ts';
import { limits } from '../../../src/nvmeof/limits.ts';
import * as pdu from '../../../src/nvmeof/pdu.ts';
import { transportLimits } from '../../../src/nvmeof/transport-limits.ts';
import { type Answer, cidOf, opcode, pattern, type Peer, r2t, split, statusOf, World } from './peer.ts';

const MiB = 1024 * 1024;

/** Fulfils each R2T as it comes until the command is answered; returns the answer. */
async function serve(peer: Peer, data: Buffer, pieceBytes?: number): Promise<Answer> {
	const waiting = await peer.answers();
	for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
		if (next.type !== pdu.pduType.r2t) {
			if (waiting.length > 0) throw new Error('an answer before the end of R2Ts');
			return next;
		}
		peer.fulfil(r2t(next), data, pieceBytes);
		waiting.push(...(await peer.answers()));
	}
	throw new Error('no answer');
}

test('data in a capsule is written in the turn that it came, in one piece, straight from the receive buffer', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	for (const blocks of [1, 8, 16]) {
		const data = pattern(blocks * 512, blocks);
		peer.send(peer.command({ opcode: opcode.write, cid: 1, block: 100, blocks, data, fua: blocks === 8 }));
		t.deepEqual(world.device.writes.at(-1), { offsetBytes: 51200, lengthBytes: data.length, fua: blocks === 8 });
		t.true(world.device.medium.subarray(51200, 51200 + data.length).equals(data));
		t.deepEqual(peer.takeAnswers(), []);
		t.is(world.budget.usedBytes, data.length);
		t.is(statusOf(await peer.answer()), '0');
		t.true(world.isFree);
	}
	t.is(world.statistics.bytesWritten, 25 * 512);
});

test('a completion of a write: CID, SQHD that counts commands, no result, reserved bytes zero', async (t) => {
	const peer = await new World().connect().open({ depth: 5 });
	const heads: number[] = [];
	for (let cid = 0x1230; cid < 0x1238; cid++) {
		peer.send(peer.command({ opcode: opcode.write, cid, blocks: 1, data: Buffer.alloc(512) }));
		const { header } = await peer.answer();
		heads.push(pdu.CapsuleResp.sqhd.get(header, 0));
		header.writeUInt16LE(0, 16);
		t.is(header.toString('hex'), `050018001800000000000000000000000000000030120000`.replace('3012', `${(cid & 0xff).toString(16)}12`));
	}
	// Connect was the first.
	t.deepEqual(heads, [2, 3, 4, 0, 1, 2, 3, 4]);
});

test('SQHD without flow control: FFFFh in the answer to Connect, else zero', async (t) => {
	const peer = new World().connect();
	await peer.initialize();
	peer.send(peer.connectCommand({ flowControlDisabled: true }));
	t.is(pdu.CapsuleResp.sqhd.get((await peer.answer()).header, 0), 0xffff);
	peer.send(peer.command({ opcode: opcode.flush, cid: 1 }));
	t.is(pdu.CapsuleResp.sqhd.get((await peer.answer()).header, 0), 0);
	peer.send(peer.command({ opcode: pdu.fabricsOpcode, cid: 1, edit: (sqe) => sqe.writeUInt8(4, 4) }));
	t.is(pdu.CapsuleResp.sqhd.get((await peer.answer()).header, 0), 0);
});

for (const [headerDigest, dataDigest] of [
	[false, false],
	[true, true],
] as const) {
	for (const padding of [0, 4, 52, 100]) {
		test(`data in a capsule behind ${padding} bytes of padding${headerDigest ? ', with digests' : ''}, in all pieces`, async (t) => {
			for (const pieceBytes of [1, 3, 71, 72, 73, 76, 77, 500, 10_000]) {
				const world = new World();
				const peer = await world.connect().open({ headerDigest, dataDigest });
				peer.padding = padding;
				const data = pattern(1536, 4);
				for (const piece of split(peer.command({ opcode: opcode.write, cid: 1, block: 2, blocks: 3, data }), pieceBytes)) peer.send(piece);
				t.is(statusOf(await peer.answer()), '0');
				t.true(world.device.medium.subarray(1024, 2560).equals(data));
				t.is(world.device.writes.length, 1);
				t.true(world.isFree);
			}
		});
	}
}

test('SGL 1 with an offset into the capsule: that part is written, whole and in pieces', async (t) => {
	for (const pieceBytes of [1, 100, 10_000]) {
		const world = new World();
		const peer = await world.connect().open();
		const data = pattern(4096, 6);
		const command = peer.command({
			opcode: opcode.write,
			cid: 1,
			blocks: 2,
			length: 1024,
			data,
			edit: (sqe) => sqe.writeUInt32LE(1000, 24),
		});
		for (const piece of split(command, pieceBytes)) peer.send(piece);
		t.is(statusOf(await peer.answer()), '0');
		t.true(world.device.medium.subarray(0, 1024).equals(data.subarray(1000, 2024)));
		t.is(world.device.medium[1024], 0);
	}
});

const sgls: Record<string, { edit: (sqe: Buffer) => void; status: string; data?: boolean }> = {
	'longer than the command': { edit: (sqe) => sqe.writeUInt32LE(1024, 32), status: 'f!' },
	'shorter than the command': { edit: (sqe) => sqe.writeUInt32LE(256, 32), status: 'f!' },
	'longer than the command, at the host': { edit: (sqe) => sqe.writeUInt32LE(1024, 32), status: 'f!', data: false },
	'offset behind the capsule': { edit: (sqe) => sqe.writeUInt32LE(513, 24), status: '16!' },
	'offset behind 4 GiB': { edit: (sqe) => sqe.writeUInt32LE(1, 28), status: '16!' },
	'offset and length beyond the capsule': { edit: (sqe) => sqe.writeUInt32LE(4, 24), status: 'f!' },
	'in-capsule with no data there': { edit: (sqe) => sqe.writeUInt8(1, 39), status: 'f!', data: false },
	'a segment': { edit: (sqe) => sqe.writeUInt8(0x20, 39), status: '11!' },
	'a last segment': { edit: (sqe) => sqe.writeUInt8(0x30, 39), status: '11!' },
	'a data block with an address': { edit: (sqe) => sqe.writeUInt8(0x00, 39), status: '11!' },
	'a keyed data block': { edit: (sqe) => sqe.writeUInt8(0x4f, 39), status: '11!' },
	'PSDT 00b': { edit: (sqe) => sqe.writeUInt8(0, 1), status: '2!' },
	'PSDT 11b': { edit: (sqe) => sqe.writeUInt8(0xc0, 1), status: '2!' },
};

for (const [title, { edit, status, data }] of Object.entries(sgls)) {
	test(`SGL 1 of a write, ${title}: status ${status}, nothing is written, the logic is told, the queue goes on`, async (t) => {
		for (const pieceBytes of [5, 10_000]) {
			const world = new World();
			const peer = await world.connect().open();
			const options = { opcode: opcode.write, cid: 1, blocks: 1 };
			const command = peer.command({ ...options, edit, ...(data === false ? {} : { data: Buffer.alloc(512, 1) }) });
			for (const piece of split(command, pieceBytes)) peer.send(piece);
			t.is(statusOf(await peer.answer()), status);
			t.deepEqual(peer.logic.log, [`ended 1 ${status.slice(0, -1)}`]);
			peer.send(peer.command({ ...options, data: Buffer.alloc(512, 2) }));
			t.is(statusOf(await peer.answer()), '0');
			t.is(world.device.writes.length, 1);
			t.true(world.isFree);
		}
	});
}

test('data in a capsule that nobody wants is thrown away', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	for (const pieceBytes of [100, 10_000]) {
		for (const code of [opcode.flush, opcode.fail, opcode.answer]) {
			for (const piece of split(peer.command({ opcode: code, cid: 1, data: Buffer.alloc(512, 1), length: 512 }), pieceBytes))
				peer.send(piece);
			await peer.answer();
		}
		// R2T asks for what SGL 1 has at the host, whatever lies in the capsule.
		const edit = (sqe: Buffer): void => {
			sqe[39] = pdu.sglIdentifier.transport;
		};
		for (const piece of split(peer.command({ opcode: opcode.write, cid: 1, blocks: 1, data: Buffer.alloc(512, 1), edit }), pieceBytes))
			peer.send(piece);
		t.is(statusOf(await serve(peer, pattern(512, 9))), '0');
		t.true(world.device.medium.subarray(0, 512).equals(pattern(512, 9)));
	}
	t.true(world.isFree);
});

for (const [headerDigest, dataDigest] of [
	[false, false],
	[true, true],
] as const) {
	test(`writes of 512 bytes to 4 MiB by R2T${headerDigest ? ' with digests' : ''}, whatever pieces the data comes in`, async (t) => {
		for (const blocks of [1, 16, 17, 127, 128, 129, 256, 1024, 2048, 2049, 8192]) {
			for (const pieceBytes of [4096, 100_000, MiB]) {
				const world = new World({ deviceBytes: 5 * MiB });
				const peer = await world.connect().open({ headerDigest, dataDigest });
				const data = pattern(blocks * 512, blocks);
				peer.send(peer.command({ opcode: opcode.write, cid: 9, block: 3, blocks }));
				t.is(statusOf(await serve(peer, data, pieceBytes)), '0');
				t.true(world.device.medium.subarray(1536, 1536 + data.length).equals(data));
				t.is(world.device.medium[1536 + data.length], 0);
				t.is(world.device.writes.length, Math.ceil(data.length / transportLimits.r2tBytes));
				t.true(world.isFree);
				t.is(world.statistics.bytesWritten, data.length);
			}
		}
	});
}

test('R2Ts of one command may be fulfilled in any order, and their data interleaved', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const peer = await world.connect().open({ maxR2T: 7 });
	const data = pattern(4 * MiB, 8);
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 8192 }));
	const asked = (await peer.answers()).map(r2t);
	t.is(asked.length, 4);
	const half = MiB / 2;
	for (const part of [0, 1]) {
		for (const { ttag, offset } of asked.toReversed()) {
			const from = offset + part * half;
			peer.send(peer.h2cData({ cid: 1, ttag, offset: from, data: data.subarray(from, from + half), last: part === 1 }));
		}
	}
	t.is(statusOf(await peer.answer()), '0');
	t.true(world.device.medium.equals(data));
});

test('many commands at once, each with its own R2T, fulfilled in odd order', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const asked = [];
	for (let cid = 0; cid < 100; cid++) {
		peer.send(peer.command({ opcode: opcode.write, cid, block: cid * 8, blocks: 8 }));
		asked.push(...(await peer.answers()).map(r2t));
	}
	t.is(new Set(asked.map(({ ttag }) => ttag)).size, 100);
	for (let index = 0; index < 100; index++) {
		const { cid, ttag } = asked[(index * 37) % 100]!;
		peer.send(peer.h2cData({ cid, ttag, offset: 0, data: pattern(4096, cid), last: true }));
	}
	const answers = await peer.answers();
	t.deepEqual(
		answers.map(cidOf).toSorted((a, b) => a - b),
		Array.from({ length: 100 }, (_, cid) => cid),
	);
	for (let cid = 0; cid < 100; cid++) t.true(world.device.medium.subarray(cid * 4096, cid * 4096 + 4096).equals(pattern(4096, cid)));
	t.true(world.isFree);
});

test('a Transfer Tag that is over is not given again soon, and is not taken any more', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const tags: number[] = [];
	for (let index = 0; index < 60; index++) {
		peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 1 }));
		const asked = r2t(await peer.answer());
		tags.push(asked.ttag);
		peer.fulfil(asked, Buffer.alloc(512, 1));
		t.is(statusOf(await peer.answer()), '0');
	}
	t.is(new Set(tags).size, 60);
	const other = await world.connect().open();
	other.send(other.command({ opcode: opcode.write, cid: 1, blocks: 1 }));
	const { ttag } = r2t(await other.answer());
	other.fulfil({ cid: 1, ttag, offset: 0, length: 512 }, Buffer.alloc(512, 1));
	await other.answers();
	// Over, while the same command identifier has an R2T in the same slot.
	other.send(other.command({ opcode: opcode.write, cid: 1, blocks: 1 }));
	t.is((r2t(await other.answer()).ttag ^ ttag) & 0x3ff, 0);
	other.send(other.h2cData({ cid: 1, ttag, offset: 0, data: Buffer.alloc(512), last: true }));
	t.is(statusOf(await other.answer()), 'term 1/10');
	peer.send(peer.h2cData({ cid: 1, ttag: tags[5]!, offset: 0, data: Buffer.alloc(512), last: true }));
	t.is(statusOf(await peer.answer()), 'term 1/8');
});

test('a bad data digest of a capsule: Transient Transport Error without DNR, nothing is written, the queue goes on', async (t) => {
	for (const pieceBytes of [10_000, 100, 1]) {
		for (const code of [opcode.write, opcode.parameters]) {
			const world = new World();
			const peer = await world.connect().open({ dataDigest: true });
			peer.logic.parametersSeen.length = 0;
			const bytes = peer.command({ opcode: code, cid: 1, blocks: 1, cdw11: 512, data: pattern(512, 1) });
			bytes[bytes.length - 100]! ^= 1;
			for (const piece of split(bytes, pieceBytes)) peer.send(piece);
			t.is(statusOf(await peer.answer()), '22');
			t.deepEqual(peer.logic.log, ['ended 1 22']);
			t.deepEqual(peer.logic.parametersSeen, []);
			t.is(world.device.writes.length, 0);
			t.is(world.statistics.dataDigestErrors, 1);
			t.true(world.isFree);
			peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 1, data: pattern(512, 2) }));
			t.is(statusOf(await peer.answer()), '0');
		}
	}
});

test('a bad data digest of an H2CData: the rest that R2Ts have asked for is awaited and thrown away, then Transient Transport Error', async (t) => {
	for (const broken of ['data', 'digest'] as const) {
		for (const pieceBytes of [MiB, 1000]) {
			const world = new World({ deviceBytes: 4 * MiB });
			const peer = await world.connect().open({ dataDigest: true, maxR2T: 1 });
			peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 8192 }));
			const [first, second] = (await peer.answers()).map(r2t);
			const half = MiB / 2;
			const bytes = peer.h2cData({ cid: 1, ttag: first!.ttag, offset: 0, data: Buffer.alloc(half, 1), last: false });
			bytes[broken === 'data' ? 5000 : bytes.length - 2]! ^= 1;
			for (const piece of split(bytes, pieceBytes)) peer.send(piece);
			t.deepEqual(await peer.answers(), []);
			// What was granted for it is free at once.
			t.is(world.memory.solicited.usedBytes, 0);
			peer.send(peer.h2cData({ cid: 1, ttag: first!.ttag, offset: half, data: Buffer.alloc(half, 1), last: true }));
			t.deepEqual(await peer.answers(), []);
			peer.fulfil(second!, Buffer.alloc(2 * MiB, 1));
			t.is(statusOf(await peer.answer()), '22');
			t.is(world.device.writes.length, 0);
			t.true(world.isFree);
		}
	}
});

test('a bad outcome of one chunk: its status, when R2Ts are over and the device has nothing of the command any more', async (t) => {
	const world = new World({ deviceBytes: 8 * MiB });
	const peer = await world.connect().open({ maxR2T: 2 });
	world.device.held = true;
	world.device.outcome = (call, offset) => (call === 'write' && offset === MiB ? 'noSpace' : undefined);
	const data = pattern(8 * MiB, 2);
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 16384 }));
	const asked = (await peer.answers()).map(r2t);
	t.is(asked.length, 3);
	peer.fulfil(asked[0]!, data);
	peer.fulfil(asked[1]!, data);
	const more = (await peer.answers()).map(r2t);
	world.device.release(1);
	t.deepEqual(await peer.answers(), []);
	t.deepEqual(peer.logic.log, ['fail noSpace']);
	// No more R2Ts; those that are open are awaited.
	peer.fulfil(asked[2]!, data);
	for (const each of more) peer.fulfil(each, data);
	t.deepEqual(await peer.answers(), []);
	world.device.releaseAll();
	t.is(statusOf(await peer.answer()), '6!');
	t.is(world.device.writes.length, 2);
	t.true(world.isFree);
});

test('a bad outcome of data in a capsule', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.outcome = () => 'faulted';
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 1, data: Buffer.alloc(512) }));
	t.is(statusOf(await peer.answer()), '6!');
	t.true(world.isFree);
});

test('parameters are collected whole, from the capsule and by R2T, up to their limit; the buffer stays the logic’s while it is pending', async (t) => {
	for (const maxR2T of [0, 7]) {
		const world = new World({ budgetBytes: 64 * MiB });
		const peer = await world.connect().open({ maxR2T });
		for (const length of [1, 17, 4096, 8192, 100_001, MiB, MiB + 4, limits.parameterBytesMax]) {
			for (const pieceBytes of [60_000, MiB]) {
				const data = pattern(length, 3);
				peer.logic.parametersSeen.length = 0;
				const inCapsule = length <= limits.inCapsuleBytes;
				const command = peer.command({ opcode: opcode.parameters, cid: 1, cdw11: length, length, ...(inCapsule ? { data } : {}) });
				for (const piece of split(command, pieceBytes === MiB ? MiB : 50)) peer.send(piece);
				t.is(statusOf(await serve(peer, data, Math.min(pieceBytes, transportLimits.h2cDataBytes))), '0');
				t.is(peer.logic.parametersSeen.length, 1);
				t.true(peer.logic.parametersSeen[0]!.equals(data));
				t.true(world.isFree);
			}
		}
		peer.logic.afterParameters = 'pending';
		peer.send(peer.command({ opcode: opcode.parameters, cid: 1, cdw11: 4096, length: 4096 }));
		t.is((await peer.answers().then((answers) => answers.map((answer) => peer.fulfil(r2t(answer), pattern(4096, 1))))).length, 1);
		t.deepEqual(await peer.answers(), []);
		t.is(world.budget.usedBytes, 4096);
		peer.logic.finish();
		t.is(statusOf(await peer.answer()), '0');
		t.true(world.isFree);
	}
});

test('parameters beyond their limit: Invalid Field; beyond what a small budget could ever grant: Internal Error, which may be tried again', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB });
	const peer = await world.connect().open();
	const length = limits.parameterBytesMax + 1;
	peer.send(peer.command({ opcode: opcode.parameters, cid: 1, cdw11: length, length }));
	t.is(statusOf(await peer.answer()), '2!');
	peer.send(peer.command({ opcode: opcode.parameters, cid: 1, cdw11: MiB + 1, length: MiB + 1 }));
	t.is(statusOf(await peer.answer()), '6');
	t.deepEqual(peer.logic.log, ['ended 1 2', 'ended 1 6']);
	peer.send(peer.command({ opcode: opcode.parameters, cid: 1, cdw11: MiB, length: MiB }));
	t.is(statusOf(await serve(peer, pattern(MiB, 1))), '0');
});

test('parameters and a write of no length need no data', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	for (const data of [undefined, Buffer.alloc(0)]) {
		peer.send(peer.command({ opcode: opcode.parameters, cid: 1, cdw11: 0, length: 0, ...(data === undefined ? {} : { data }) }));
		t.is(statusOf(await peer.answer()), '0');
		t.is(peer.logic.parametersSeen.at(-1)!.length, 0);
		peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 0, ...(data === undefined ? {} : { data }) }));
		t.is(statusOf(await peer.answer()), '0');
	}
	t.is(world.device.writes.length, 0);
});

test('writes up to what the device copies go to it in one piece, and hold no memory of the pool once it has them', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.held = true;
	for (const bytes of [copiedBytesMax, copiedBytesMax + 512]) {
		peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: bytes / 512 }));
		peer.fulfil(r2t(await peer.answer()), pattern(bytes, 1), 1000);
		await peer.answers();
		t.is(world.device.borrowedBytes, bytes > copiedBytesMax ? bytes : 0);
		t.is(world.budget.usedBytes, bytes);
		world.device.releaseAll();
		t.is(statusOf(await peer.answer()), '0');
	}
	t.true(world.isFree);
});

test('what one connection may have solicited is bounded, and so is what all have; each write gets its turn', async (t) => {
	const world = new World({ budgetBytes: 16 * MiB, deviceBytes: 4 * MiB });
	world.device.recording = false;
	const data = pattern(4 * MiB, 1);
	const peers: Peer[] = [];
	for (let index = 0; index < 6; index++) peers.push(await world.connect().open({ maxR2T: 7 }));
	for (const peer of peers) for (let cid = 0; cid < 4; cid++) peer.send(peer.command({ opcode: opcode.write, cid, blocks: 8192 }));
	// A quarter of the budget is for all, a quarter of that for each.
	t.is(world.memory.solicited.usedBytes, 4 * MiB);
	for (const peer of peers) t.true(peer.connection.solicited.heldBytes <= MiB);
	const done = new Map<Peer, number>();
	for (let round = 0; round < 400; round++) {
		for (const peer of peers) {
			for (const answer of await peer.answers()) {
				if (answer.type === pdu.pduType.r2t) peer.fulfil(r2t(answer), data);
				else done.set(peer, (done.get(peer) ?? 0) + 1);
			}
		}
		t.true(world.memory.solicited.usedBytes <= 4 * MiB);
	}
	t.deepEqual([...done.values()], [4, 4, 4, 4, 4, 4]);
	t.true(world.budget.peakBytes <= 4 * MiB);
	t.true(world.isFree);
});

test('no memory for data in a capsule: the connection is not read until there is, and the command is whole', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB });
	const peer = await world.connect().open();
	const other = await world.connect().open();
	world.budget.tryTake(4 * MiB - 1000);
	for (const pieceBytes of [10_000, 100]) {
		const bytes = peer.command({ opcode: opcode.write, cid: 1, block: 0, blocks: 16, data: pattern(8192, 2) });
		for (const piece of split(bytes, pieceBytes)) peer.send(piece);
		peer.send(peer.command({ opcode: opcode.flush, cid: 2 }));
		t.deepEqual(await peer.answers(), []);
		t.true(peer.unreadBytes > 0);
		// What needs no memory goes on.
		other.send(other.command({ opcode: opcode.read, cid: 1, blocks: 1 }));
		t.is((await other.answers()).length, 2);
		world.budget.give(4 * MiB - 1000);
		t.deepEqual((await peer.answers()).map(statusOf), ['0', '0']);
		t.true(world.device.medium.subarray(0, 8192).equals(pattern(8192, 2)));
		world.device.medium.fill(0);
		world.budget.tryTake(4 * MiB - 1000);
	}
	// One that ends while it waits leaves the line.
	peer.send(peer.command({ opcode: opcode.write, cid: 1, block: 0, blocks: 16, data: pattern(8192, 2) }));
	t.is(world.budget.waiting, 1);
	peer.cut();
	t.is(world.budget.waiting, 0);
	world.budget.give(4 * MiB - 1000);
	t.true(world.isFree);
});

test('no room to transmit R2Ts: they are sent when there is', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.blocked = true;
	for (let cid = 0; cid < 5; cid++) peer.send(peer.command({ opcode: opcode.answer, cid, cdw11: 130_000, length: 130_000 }));
	for (let cid = 5; cid < 125; cid++) peer.send(peer.command({ opcode: opcode.write, cid, block: cid, blocks: 1 }));
	const seen = await peer.answers();
	t.true(seen.filter((answer) => statusOf(answer) === 'R2T').length < 120);
	for (let round = 0; round < 5; round++) {
		peer.unblock();
		seen.push(...(await peer.answers()));
	}
	const asked = seen.filter((answer) => statusOf(answer) === 'R2T').map(r2t);
	t.is(asked.length, 120);
	for (const each of asked) peer.fulfil(each, pattern(512, each.cid));
	t.is((await peer.answers()).length, 120);
	for (let cid = 5; cid < 125; cid++) t.true(world.device.medium.subarray(cid * 512, cid * 512 + 512).equals(pattern(512, cid)));
	t.true(world.isFree);
});
