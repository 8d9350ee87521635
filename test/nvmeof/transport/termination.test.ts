import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import * as pdu from '../../../src/nvmeof/pdu.ts';
import { transportLimits } from '../../../src/nvmeof/transport-limits.ts';
import { crc32c } from '../../../src/wire/crc32c.ts';
import { opcode, pattern, type Peer, r2t, split, statusOf, World } from './peer.ts';

interface Wrong {
	/** Before ICReq. */
	raw?: boolean;
	headerDigest?: boolean;
	dataDigest?: boolean;
	maxR2T?: number;
	/** The PDU in error. Undefined `quoted`: its common header. */
	make: (peer: Peer) => Promise<Buffer> | Buffer;
	expected: string;
	quoted?: number;
}

/** A PDU with one byte changed. */
function changed(bytes: Buffer, at: number, value: number): Buffer {
	bytes[at] = value;
	return bytes;
}

function withPLEN(bytes: Buffer, plen: number): Buffer {
	bytes.writeUInt32LE(plen, 4);
	return bytes;
}

const write8 = { opcode: opcode.write, cid: 1, block: 0, blocks: 16 } as const;

/** Begins a write of 8 KiB that R2T asks for, and answers with an H2CData of the first half, unless told otherwise. */
async function solicited(
	peer: Peer,
	options: { cid?: number; tag?: number; offset?: number; length?: number; last?: boolean; edit?: (header: Buffer) => void },
): Promise<Buffer> {
	peer.send(peer.command(write8));
	const asked = r2t(await peer.answer());
	return peer.h2cData({
		cid: options.cid ?? asked.cid,
		ttag: options.tag ?? asked.ttag,
		offset: options.offset ?? 0,
		data: Buffer.alloc(options.length ?? 4096, 1),
		last: options.last ?? false,
		...(options.edit === undefined ? {} : { edit: options.edit }),
	});
}

const wrongs: Record<string, Wrong> = {
	// FES 01h, Invalid PDU Header Field: FEI is the offset of the field.
	'a PDU type that does not exist': { make: (peer) => changed(peer.command(write8), 0, 0x42), expected: 'term 1/0' },
	'a PDU type of controllers: ICResp': { make: (peer) => changed(peer.icReq(), 0, pdu.pduType.icResp), expected: 'term 1/0' },
	'a PDU type of controllers: C2HTermReq': { make: (peer) => changed(peer.termReq(), 0, pdu.pduType.c2hTermReq), expected: 'term 1/0' },
	'a PDU type of controllers: CapsuleResp': {
		make: (peer) => changed(peer.command(write8), 0, pdu.pduType.capsuleResp),
		expected: 'term 1/0',
	},
	'a PDU type of controllers: C2HData': { make: (peer) => changed(peer.command(write8), 0, pdu.pduType.c2hData), expected: 'term 1/0' },
	'a PDU type of controllers: R2T': { make: (peer) => changed(peer.command(write8), 0, pdu.pduType.r2t), expected: 'term 1/0' },
	'the same before ICReq': { raw: true, make: (peer) => changed(peer.command(write8), 0, 0x42), expected: 'term 1/0' },
	'HDGSTF where header digests were not agreed': {
		make: (peer) => changed(peer.command(write8), 1, pdu.flag.hdgstf),
		expected: 'term 1/1',
	},
	'no HDGSTF where header digests were agreed': {
		headerDigest: true,
		make: (peer) => changed(peer.command(write8), 1, 0),
		expected: 'term 1/1',
	},
	'DDGSTF where data digests were not agreed': {
		make: (peer) => changed(peer.command({ ...write8, data: Buffer.alloc(8192) }), 1, pdu.flag.ddgstf),
		expected: 'term 1/1',
	},
	'no DDGSTF where data digests were agreed': {
		dataDigest: true,
		make: (peer) => changed(peer.command({ ...write8, data: Buffer.alloc(8192) }), 1, 0),
		expected: 'term 1/1',
		quoted: 72,
	},
	'HLEN of CapsuleCmd below 72': { make: (peer) => changed(peer.command(write8), 2, 71), expected: 'term 1/2' },
	'HLEN of CapsuleCmd above 72': { make: (peer) => changed(peer.command(write8), 2, 73), expected: 'term 1/2' },
	'HLEN 0': { make: (peer) => changed(peer.command(write8), 2, 0), expected: 'term 1/2' },
	'HLEN of ICReq': { raw: true, make: (peer) => changed(peer.icReq(), 2, 127), expected: 'term 1/2' },
	'HLEN of H2CData': { make: async (peer) => changed(await solicited(peer, {}), 2, 23), expected: 'term 1/2' },
	'PDO inside the header': {
		make: (peer) => changed(peer.command({ ...write8, data: Buffer.alloc(8192) }), 3, 68),
		expected: 'term 1/3',
		quoted: 72,
	},
	'PDO 0 with data': {
		make: (peer) => changed(peer.command({ ...write8, data: Buffer.alloc(8192) }), 3, 0),
		expected: 'term 1/3',
		quoted: 72,
	},
	'PDO inside the header digest': {
		headerDigest: true,
		make: (peer) => redigested(peer.command({ ...write8, data: Buffer.alloc(8192) }), (header) => header.writeUInt8(72, 3)),
		expected: 'term 1/3',
		quoted: 72,
	},
	'PDO off a dword': {
		make: (peer) => changed(peer.command({ ...write8, data: Buffer.alloc(8192) }), 3, 74),
		expected: 'term 1/3',
		quoted: 72,
	},
	'PDO behind the end': { make: (peer) => changed(withPLEN(peer.command(write8), 80), 3, 84), expected: 'term 1/3', quoted: 72 },
	'PLEN of CapsuleCmd below its header': { make: (peer) => withPLEN(peer.command(write8), 71), expected: 'term 1/4' },
	'PLEN of CapsuleCmd without room for its header digest': {
		headerDigest: true,
		make: (peer) => withPLEN(peer.command(write8), 72),
		expected: 'term 1/4',
	},
	'PLEN 0': { make: (peer) => withPLEN(peer.command(write8), 0), expected: 'term 1/4' },
	'PLEN of ICReq above 128': { raw: true, make: (peer) => withPLEN(peer.icReq(), 132), expected: 'term 1/4', quoted: 128 },
	'PLEN of ICReq below 128': { raw: true, make: (peer) => withPLEN(peer.icReq(), 127), expected: 'term 1/4' },
	'PLEN with a data digest and no data': {
		dataDigest: true,
		make: (peer) => changed(changed(withPLEN(peer.command(write8), 76), 1, pdu.flag.ddgstf), 3, 72),
		expected: 'term 1/4',
		quoted: 72,
	},
	'in-capsule data beyond IOCCSZ': {
		make: (peer) => peer.command({ ...write8, data: Buffer.alloc(limits.inCapsuleBytes + 4) }),
		expected: 'term 1/4',
		quoted: 72,
	},
	'PLEN of 4 GiB': { make: (peer) => changed(withPLEN(peer.command(write8), 0xffffffff), 3, 72), expected: 'term 1/4', quoted: 72 },
	'HPDA above 31': { raw: true, make: (peer) => peer.icReq({ hpda: 32 }), expected: 'term 1/10', quoted: 128 },
	'H2CData with a CCCID of no command': { make: (peer) => solicited(peer, { cid: 9, tag: 0x7777 }), expected: 'term 1/8', quoted: 24 },
	'H2CData with a CCCID that is not that of its TTAG': { make: (peer) => solicited(peer, { cid: 2 }), expected: 'term 1/8', quoted: 24 },
	'H2CData with a TTAG that was not given': { make: (peer) => solicited(peer, { tag: 0x7777 }), expected: 'term 1/10', quoted: 24 },
	'H2CData of a command that has no R2T': {
		make: (peer) => {
			peer.send(peer.command({ opcode: opcode.later, cid: 5 }));
			return peer.h2cData({ cid: 5, ttag: 0, offset: 0, data: Buffer.alloc(512), last: true });
		},
		expected: 'term 1/10',
		quoted: 24,
	},
	'DATAL above the data of the PDU': {
		make: (peer) => solicited(peer, { edit: (header) => pdu.H2CData.datal.set(header, 0, 4100) }),
		expected: 'term 1/16',
		quoted: 24,
	},
	'DATAL below the data of the PDU': {
		make: (peer) => solicited(peer, { edit: (header) => pdu.H2CData.datal.set(header, 0, 4092) }),
		expected: 'term 1/16',
		quoted: 24,
	},
	'H2CData without data': { make: (peer) => solicited(peer, { length: 0 }), expected: 'term 1/16', quoted: 24 },
	// FES 02h, PDU Sequence Error.
	'a command before ICReq': { raw: true, make: (peer) => peer.command(write8), expected: 'term 2/0' },
	'H2CData before ICReq': {
		raw: true,
		make: (peer) => peer.h2cData({ cid: 1, ttag: 1, offset: 0, data: Buffer.alloc(4), last: true }),
		expected: 'term 2/0',
	},
	'a second ICReq': { make: (peer) => peer.icReq(), expected: 'term 2/0' },
	'H2CData that skips data': { make: (peer) => solicited(peer, { offset: 4 }), expected: 'term 2/0', quoted: 24 },
	'H2CData that repeats data': {
		make: async (peer) => {
			peer.send(await solicited(peer, {}));
			return peer.h2cData({ cid: 1, ttag: r2tOfLast(peer), offset: 0, data: Buffer.alloc(4096, 1), last: false });
		},
		expected: 'term 2/0',
		quoted: 24,
	},
	'LAST_PDU before the end': { make: (peer) => solicited(peer, { last: true }), expected: 'term 2/0', quoted: 24 },
	'no LAST_PDU at the end': { make: (peer) => solicited(peer, { length: 8192 }), expected: 'term 2/0', quoted: 24 },
	'more commands than the queue has entries': {
		make: (peer) => {
			for (let cid = 0; cid < 128; cid++) peer.send(peer.command({ opcode: opcode.later, cid }));
			return peer.command({ opcode: opcode.later, cid: 128 });
		},
		expected: 'term 2/0',
		quoted: 72,
	},
	// FES 04h, Data Transfer Out of Range.
	'H2CData behind the range of its R2T': {
		make: (peer) => solicited(peer, { offset: 8192, length: 4, last: true }),
		expected: 'term 4/0',
		quoted: 24,
	},
	'H2CData beyond the end of its R2T': { make: (peer) => solicited(peer, { length: 8196, last: true }), expected: 'term 4/0', quoted: 24 },
	'DATAO near 4 GiB': { make: (peer) => solicited(peer, { offset: 0xfffffffc }), expected: 'term 4/0', quoted: 24 },
	'H2CData in front of the range of its R2T': {
		maxR2T: 1,
		make: async (peer) => {
			peer.send(peer.command({ opcode: opcode.write, cid: 1, block: 0, blocks: 4096 }));
			const [, second] = (await peer.answers()).map(r2t);
			return peer.h2cData({ cid: 1, ttag: second!.ttag, offset: 0, data: Buffer.alloc(4096), last: false });
		},
		expected: 'term 4/0',
		quoted: 24,
	},
	// FES 05h, Data Transfer Limit Exceeded.
	'H2CData longer than MAXH2CDATA': {
		make: async (peer) => {
			peer.send(peer.command({ opcode: opcode.write, cid: 1, block: 0, blocks: 2048 }));
			const { ttag } = r2t(await peer.answer());
			return peer.h2cData({ cid: 1, ttag, offset: 0, data: Buffer.alloc(transportLimits.h2cDataBytes + 4), last: false });
		},
		expected: 'term 5/0',
		quoted: 24,
	},
	// FES 06h, Unsupported Parameter.
	'PFV that is not 0': { raw: true, make: (peer) => peer.icReq({ pfv: 1 }), expected: 'term 6/8', quoted: 128 },
	'PFV 0100h': { raw: true, make: (peer) => peer.icReq({ pfv: 0x100 }), expected: 'term 6/8', quoted: 128 },
	// The lowest incorrect field is told.
	'flags and HLEN wrong': { make: (peer) => changed(changed(peer.command(write8), 1, 1), 2, 9), expected: 'term 1/1' },
	'HLEN and PLEN wrong': { make: (peer) => withPLEN(changed(peer.command(write8), 2, 9), 3), expected: 'term 1/2' },
	'PDO and PLEN wrong': {
		make: (peer) => changed(peer.command({ ...write8, data: Buffer.alloc(limits.inCapsuleBytes + 4) }), 3, 6),
		expected: 'term 1/3',
		quoted: 72,
	},
	'PFV and HPDA wrong': { raw: true, make: (peer) => peer.icReq({ pfv: 1, hpda: 99 }), expected: 'term 6/8', quoted: 128 },
};

let lastR2T = 0;
function r2tOfLast(peer: Peer): number {
	peer.connection.r2ts.forEach((chunk) => {
		lastR2T = chunk.ttag;
	});
	return lastR2T;
}

/** Changes a header and computes its digest anew. */
function redigested(bytes: Buffer, change: (header: Buffer) => void): Buffer {
	const header = bytes.subarray(0, bytes[2]);
	change(header);
	bytes.writeUInt32LE(crc32c(header), header.length);
	return bytes;
}

for (const [title, wrong] of Object.entries(wrongs)) {
	test(`${title}: ${wrong.expected}, with the header in error, and only that connection ends`, async (t) => {
		for (const pieceBytes of [0, 1, 5, 100]) {
			const world = new World({ deviceBytes: 2 * 1024 * 1024 });
			const other = await world.connect().open();
			const peer = world.connect();
			if (wrong.raw !== true) await peer.open(wrong);
			const bytes = await wrong.make(peer);
			peer.takeAnswers();
			// A command behind it must not be looked at.
			const stream = Buffer.concat([
				bytes,
				Buffer.from(peer.command({ opcode: opcode.write, cid: 77, blocks: 1, data: Buffer.alloc(512, 9) })),
			]);
			for (const piece of pieceBytes === 0 ? [stream] : split(stream, pieceBytes)) peer.send(piece);
			const answers = await peer.answers();
			t.deepEqual(answers.map(statusOf), [wrong.expected]);
			t.true(peer.ended);
			t.deepEqual(answers[0]!.data, Buffer.from(bytes.subarray(0, wrong.quoted ?? 8)));
			t.is(answers[0]!.flags, 0);
			t.is(world.device.writes.length, 0);
			t.is(world.statistics.protocolErrors, 1);
			peer.cut();
			for (const { pending } of world.logics) for (const request of pending.splice(0)) request.owner!.requestFinished(request);
			t.true(world.isFree);
			if (wrong.raw !== true) t.is(world.logics[1]!.log.at(-1), 'closed');
			other.send(other.command({ opcode: opcode.flush, cid: 1 }));
			t.is(statusOf(await other.answer()), '0');
		}
	});
}

for (const broken of ['header', 'digest'] as const) {
	test(`FES 03h, Header Digest Error: a changed ${broken} of CapsuleCmd and H2CData; FEI is the digest that came`, async (t) => {
		for (const kind of ['CapsuleCmd', 'H2CData']) {
			for (const pieceBytes of [0, 1, 50]) {
				const world = new World();
				const peer = await world.connect().open({ headerDigest: true, dataDigest: true });
				const bytes = kind === 'CapsuleCmd' ? peer.command({ ...write8, data: Buffer.alloc(8192, 1) }) : await solicited(peer, {});
				const hlen = bytes[2]!;
				bytes[broken === 'header' ? 10 : hlen + 2]! ^= 0x40;
				for (const piece of pieceBytes === 0 ? [bytes] : split(bytes, pieceBytes)) peer.send(piece);
				const answer = await peer.answer();
				t.is(statusOf(answer), `term 3/${bytes.readUInt32LE(hlen)}`);
				t.deepEqual(answer.data, Buffer.from(bytes.subarray(0, hlen)));
				t.true(peer.ended);
				t.is(world.device.writes.length, 0);
				t.is(world.statistics.headerDigestErrors, 1);
				t.true(world.isFree);
			}
		}
	});
}

test('a changed byte anywhere in a header with digest: its connection is terminated, nothing is written', async (t) => {
	for (let at = 0; at < 76; at++) {
		const world = new World();
		const peer = await world.connect().open({ headerDigest: true });
		const bytes = peer.command({ ...write8, data: Buffer.alloc(8192, 1) });
		bytes[at]! ^= 1;
		peer.send(bytes);
		const answer = await peer.answer();
		// What the digest is found by is told itself.
		t.regex(statusOf(answer), at === 0 || at === 1 || at === 2 ? /^term [12]\// : /^term 3\//, `byte ${at}`);
		t.is(world.device.writes.length, 0);
		t.true(world.isFree);
	}
});

test('H2CTermReq: the connection ends at once, unanswered; what it holds goes back; whether before or after ICReq', async (t) => {
	for (const data of [Buffer.alloc(0), Buffer.alloc(24), Buffer.alloc(128)]) {
		for (const raw of [false, true]) {
			const world = new World();
			const peer = world.connect();
			if (!raw) {
				await peer.open();
				peer.send(peer.command(write8));
				t.is(statusOf(await peer.answer()), 'R2T');
			}
			for (const piece of split(peer.termReq(5, 0, data), 3)) peer.send(piece);
			t.deepEqual(await peer.answers(), []);
			t.is(peer.destroyed, 'terminated by the host');
			t.is(world.statistics.terminatedByHost, 1);
			t.true(world.isFree);
		}
	}
});

test('a malformed H2CTermReq is not answered with another: the connection ends', async (t) => {
	const make = (peer: Peer, change: (bytes: Buffer) => Buffer): Buffer => change(peer.termReq());
	for (const change of [
		(bytes: Buffer) => withPLEN(bytes, 153),
		(bytes: Buffer) => withPLEN(bytes, 23),
		(bytes: Buffer) => changed(bytes, 2, 25),
		(bytes: Buffer) => withPLEN(bytes, 0xffffffff),
	]) {
		const world = new World();
		const peer = await world.connect().open();
		peer.send(make(peer, change));
		t.deepEqual(await peer.answers(), []);
		t.is(peer.destroyed, 'a malformed H2CTermReq');
		t.is(world.statistics.protocolErrors, 1);
	}
});

test('a header that never becomes whole: nothing happens, and the connection can be ended', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const bytes = peer.command({ ...write8, data: pattern(8192, 1) });
	for (let length = 1; length < 72; length++) {
		const one = await world.connect().open();
		one.send(bytes.subarray(0, length));
		t.deepEqual(await one.answers(), []);
		one.cut();
	}
	t.true(world.isFree);
	t.is(world.device.writes.length, 0);
});

test('a PDU that is cut off anywhere in its data: nothing is written, nothing is held', async (t) => {
	for (let length = 72; length < 72 + 8192; length += 512) {
		const world = new World();
		const peer = await world.connect().open();
		peer.send(peer.command({ ...write8, data: pattern(8192, 1) }).subarray(0, length));
		t.deepEqual(await peer.answers(), []);
		t.is(world.budget.usedBytes, 8192);
		peer.cut();
		t.is(world.device.writes.length, 0);
		t.true(world.isFree);
		t.is(world.logics[0]!.log.at(-1), 'closed');
	}
});
