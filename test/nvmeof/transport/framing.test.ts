import test from 'ava';
import fc from 'fast-check';
import * as pdu from '../../../src/nvmeof/pdu.ts';
import { type Answer, cidOf, opcode, pattern, type Peer, split, World } from './peer.ts';

/** A conversation of all kinds of PDU, as one stream behind Connect. Its H2CData answers R2Ts with the tags that a new connection gives first. */
function conversation(peer: Peer): Buffer {
	const data = pattern(20_000, 4);
	const tag = (turn: number, slot = 0): number => (turn << 10) | slot;
	return Buffer.concat([
		peer.command({ opcode: opcode.answer, cid: 1, cdw11: 36, length: 36, cdw13: 5 }),
		peer.command({ opcode: opcode.write, cid: 2, block: 4, blocks: 4, data: data.subarray(0, 2048) }),
		peer.command({ opcode: opcode.flush, cid: 3 }),
		peer.command({ opcode: opcode.write, cid: 4, block: 8, blocks: 20 }),
		peer.h2cData({ cid: 4, ttag: tag(1), offset: 0, data: data.subarray(0, 4096), last: false }),
		peer.command({ opcode: opcode.parameters, cid: 5, cdw11: 700, data: data.subarray(0, 700) }),
		peer.h2cData({ cid: 4, ttag: tag(1), offset: 4096, data: data.subarray(4096, 10_240), last: true }),
		peer.command({ opcode: opcode.parameters, cid: 6, cdw11: 1001, length: 1001 }),
		peer.h2cData({ cid: 6, ttag: tag(2), offset: 0, data: data.subarray(0, 999), last: false }),
		peer.h2cData({ cid: 6, ttag: tag(2), offset: 999, data: data.subarray(999, 1001), last: true }),
		peer.command({ opcode: opcode.read, cid: 7, block: 4, blocks: 24 }),
		peer.command({ opcode: opcode.fail, cid: 8 }),
		peer.command({ opcode: opcode.write, cid: 9, block: 0x7fffff, blocks: 1, data: Buffer.alloc(512) }),
		peer.command({ opcode: opcode.write, cid: 10, block: 60, blocks: 1, length: 512, data: data.subarray(0, 513) }),
	]);
}

interface Result {
	answers: Buffer;
	medium: Buffer;
	parameters: Buffer[];
	isFree: boolean;
	closed: boolean;
}

async function converse(digests: boolean, padding: number, pieces: (stream: Buffer) => Buffer[]): Promise<Result> {
	const world = new World({ deviceBytes: 65_536 });
	const peer = await world.connect().open({ headerDigest: digests, dataDigest: digests, hpda: 3 });
	peer.padding = padding;
	const answers: Answer[] = [];
	for (const piece of pieces(conversation(peer))) {
		peer.send(piece);
		// What comes in a microtask comes before the next piece, as between two events of a socket.
		answers.push(...(await peer.answers()));
	}
	const inOrder = answers.filter(({ type }) => type !== pdu.pduType.r2t).toSorted((a, b) => cidOf(a) - cidOf(b));
	// SQHD tells how many had come when an answer left, which differs with the pieces.
	const shown = inOrder.map(({ type, header, data }) => {
		const copy = Buffer.from(header);
		if (type === pdu.pduType.capsuleResp) copy.writeUInt16LE(0, 16);
		return Buffer.concat([copy, data]);
	});
	const result = {
		answers: Buffer.concat(shown),
		medium: Buffer.from(world.device.medium),
		parameters: peer.logic.parametersSeen,
		isFree: world.isFree,
		closed: peer.closed,
	};
	peer.cut();
	return result;
}

for (const digests of [false, true]) {
	for (const padding of [0, 24]) {
		const name = `${digests ? 'with both digests' : 'without digests'}, padding ${padding}`;

		test(`a conversation ${name} has the same answers byte by byte, in odd pieces and at once`, async (t) => {
			const whole = await converse(digests, padding, (stream) => [stream]);
			t.false(whole.closed);
			t.true(whole.isFree);
			t.deepEqual(
				whole.parameters.map(({ length }) => length),
				[1024, 700, 1001],
			);
			for (const bytes of [1, 7, 8, 9, 71, 72, 73, 76, 100, 512, 1000, 4097]) {
				const pieces = await converse(digests, padding, (stream) => split(stream, bytes));
				t.true(pieces.answers.equals(whole.answers), `${bytes} bytes`);
				t.true(pieces.medium.equals(whole.medium));
				t.deepEqual(pieces.parameters, whole.parameters);
				t.true(pieces.isFree);
			}
		});

		test(`a conversation ${name} has the same answers with a single cut anywhere`, async (t) => {
			const whole = await converse(digests, padding, (stream) => [stream]);
			const { length } = conversation(await new World().connect().open());
			for (let cut = 1; cut < length; cut += cut < 300 ? 1 : 61) {
				const pieces = await converse(digests, padding, (stream) => [stream.subarray(0, cut), stream.subarray(cut)]);
				t.true(pieces.answers.equals(whole.answers), `cut at ${cut}`);
				t.true(pieces.medium.equals(whole.medium));
			}
		});
	}
}

test('what the device and the logic got is what was sent', async (t) => {
	const { medium, parameters } = await converse(true, 24, (stream) => split(stream, 333));
	const data = pattern(20_000, 4);
	t.true(medium.subarray(2048, 4096).equals(data.subarray(0, 2048)));
	t.true(medium.subarray(4096, 14_336).equals(data.subarray(0, 10_240)));
	t.true(medium.subarray(60 * 512, 61 * 512).equals(data.subarray(0, 512)));
	t.true(parameters[1]!.equals(data.subarray(0, 700)));
	t.true(parameters[2]!.equals(data.subarray(0, 1001)));
});

test('changed bytes anywhere in a conversation never throw, never leave memory or commands behind, never hold more than their bounds', async (t) => {
	await fc.assert(
		fc.asyncProperty(
			fc.array(fc.tuple(fc.nat(100_000), fc.nat(255)), { minLength: 1, maxLength: 12 }),
			fc.integer({ min: 1, max: 9000 }),
			fc.boolean(),
			fc.boolean(),
			fc.boolean(),
			async (changes, pieceBytes, early, dataDigest, headerDigest) => {
				const world = new World({ deviceBytes: 65_536 });
				const peer = await world.connect().open({ dataDigest, headerDigest });
				const stream = conversation(peer);
				// Early changes hit headers more often.
				for (const [at, value] of changes) stream[at % (early ? 400 : stream.length)] = value;
				for (const piece of split(stream, pieceBytes)) peer.send(piece);
				await settledAnswers(peer);
				if (world.budget.peakBytes > 20 * 1024 * 1024) throw new Error(`${world.budget.peakBytes} bytes at once`);
				const { logic } = peer;
				peer.cut();
				await settledAnswers(peer);
				while (logic.pending.length > 0) logic.finish();
				return world.isFree && peer.connection.outstanding === 0 && peer.connection.commands.size === 0 && logic.log.at(-1) === 'closed';
			},
		),
		{ seed: 20261121, numRuns: Number(process.env['FUZZ_RUNS'] ?? 400) },
	);
	t.pass();
});

test('random bytes behind ICReq, or instead of it, never throw and hold nothing', async (t) => {
	await fc.assert(
		fc.asyncProperty(
			fc.uint8Array({ minLength: 1, maxLength: 600 }),
			fc.integer({ min: 1, max: 300 }),
			fc.boolean(),
			async (bytes, pieceBytes, raw) => {
				const world = new World({ deviceBytes: 65_536 });
				const peer = world.connect();
				if (!raw) await peer.initialize();
				for (const piece of split(Buffer.from(bytes), pieceBytes)) peer.send(piece);
				await settledAnswers(peer);
				peer.cut();
				return world.isFree;
			},
		),
		{ seed: 20261122, numRuns: Number(process.env['FUZZ_RUNS'] ?? 400) },
	);
	t.pass();
});

/** What is answered to nonsense has to be PDUs still. */
async function settledAnswers(peer: Peer): Promise<void> {
	await peer.answers();
}
