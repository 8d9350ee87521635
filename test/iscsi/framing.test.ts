import test from 'ava';
import fc from 'fast-check';
import * as pdu from '../../src/iscsi/pdu.ts';
import { type Answer, pattern, type Peer, read10, statusOf, World, write10 } from './peer.ts';

/** A conversation of all kinds of PDU, as one stream behind the login. Its Data-Out answers R2Ts with tags 1 and 2, which a new connection gives first. */
function conversation(peer: Peer): Buffer {
	const data = pattern(20000, 4);
	return Buffer.concat([
		peer.command({ cdb: '120000002400', tag: 1, read: 36 }),
		peer.command({ cdb: write10(4, 4), tag: 2, write: 2048, data: data.subarray(0, 2048) }),
		peer.request(pdu.opcode.nopOut | pdu.immediateBit, 0x80, { 16: 3, 20: pdu.noTag }, Buffer.from('five!')),
		peer.command({ cdb: write10(8, 20), tag: 4, write: 10240, final: false, data: data.subarray(0, 1024) }),
		peer.dataOut({ tag: 4, offset: 1024, dataSN: 0, final: true, data: data.subarray(1024, 4096) }),
		peer.dataOut({ tag: 4, transferTag: 1, offset: 4096, dataSN: 0, final: false, data: data.subarray(4096, 8192) }),
		peer.dataOut({ tag: 4, transferTag: 1, offset: 8192, dataSN: 1, final: true, data: data.subarray(8192, 10240) }),
		peer.request(pdu.opcode.textRequest, 0x80, { 16: 5, 20: pdu.noTag }, Buffer.from('SendTargets=\0')),
		peer.command({ cdb: '42000000000000001800', tag: 6, write: 24 }),
		peer.dataOut({
			tag: 6,
			transferTag: 2,
			offset: 0,
			dataSN: 0,
			final: true,
			data: Buffer.from('0016001000000000000000000000000a0000000200000000', 'hex'),
		}),
		peer.command({ cdb: read10(4, 24), tag: 7, read: 12288 }),
		peer.manage(pdu.taskManagementFunction.abortTask, 8, { referenced: 55, refCmdSN: 0 }),
		peer.command({ cdb: write10(0x7fffffff, 1), tag: 9, write: 512, data: Buffer.alloc(512) }),
	]);
}

async function converse(
	digests: boolean,
	pieces: (stream: Buffer) => Buffer[],
): Promise<{ answers: Buffer; medium: Buffer; used: number; closed: boolean }> {
	const world = new World();
	const peer = await world
		.connect()
		.open({ FirstBurstLength: '4096', ...(digests ? { HeaderDigest: 'CRC32C', DataDigest: 'CRC32C' } : {}) });
	const answers: Answer[] = [];
	for (const piece of pieces(conversation(peer))) {
		peer.send(piece);
		// What comes in a microtask comes before the next piece, as between two events of a socket.
		answers.push(...(await peer.answers()));
	}
	peer.send(peer.request(pdu.opcode.logoutRequest | pdu.immediateBit, 0x80, { 16: 99 }));
	answers.push(...(await peer.answers()));
	const inOrder = answers.toSorted((a, b) => a.bhs.readUInt32BE(16) - b.bhs.readUInt32BE(16));
	// Sequence numbers tell of the order in which answers left, which may differ with completions.
	const shown = inOrder.map(({ bhs, data }) => {
		const header = Buffer.from(bhs);
		header.fill(0, 24, 36);
		return Buffer.concat([header, data]);
	});
	return {
		answers: Buffer.concat(shown),
		medium: Buffer.from(world.device.medium.subarray(0, 65536)),
		used: world.budget.usedBytes,
		closed: peer.ended,
	};
}

for (const digests of [false, true]) {
	const name = digests ? 'with both digests' : 'without digests';

	test(`a conversation ${name} has the same answers byte by byte, in odd pieces and at once`, async (t) => {
		const whole = await converse(digests, (stream) => split(stream, 20000));
		t.true(whole.closed);
		t.is(whole.used, 0);
		for (const bytes of [1, 7, 47, 48, 49, 53, 512, 1000, 4097]) {
			const pieces = await converse(digests, (stream) => split(stream, bytes));
			t.true(pieces.answers.equals(whole.answers), `${bytes} bytes`);
			t.true(pieces.medium.equals(whole.medium));
			t.is(pieces.used, 0);
		}
	});

	test(`a conversation ${name} has the same answers with a single cut anywhere`, async (t) => {
		const whole = await converse(digests, (stream) => [stream]);
		const { length } = conversation(await new World().connect().open());
		for (let cut = 1; cut < length; cut += cut < 300 ? 1 : 97) {
			const pieces = await converse(digests, (stream) => [stream.subarray(0, cut), stream.subarray(cut)]);
			t.true(pieces.answers.equals(whole.answers), `cut at ${cut}`);
		}
	});
}

test('§7.7: a bad header digest ends the connection', async (t) => {
	const world = new World();
	const peer = await world.connect().open({ HeaderDigest: 'CRC32C' });
	const command = peer.command({ cdb: '00', tag: 1 });
	command[48]! ^= 1;
	peer.send(command);
	t.is(peer.destroyed, 'header digest error');
	t.is(world.statistics.digestErrors, 1);
	t.is(world.environment.sessions.size, 0);
});

test('§7.8: a bad data digest is rejected with the header; a command or Data-Out ends with 47h/05h, nothing is written, the session goes on', async (t) => {
	for (const pieceBytes of [100_000, 100]) {
		const world = new World();
		const peer = await world.connect().open({ DataDigest: 'CRC32C' });
		const sendBroken = (bytes: Buffer): void => {
			bytes[bytes.length - 1]! ^= 1;
			for (const piece of split(bytes, pieceBytes)) peer.send(piece);
		};
		const command = peer.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) });
		const header = Buffer.from(command.subarray(0, 48));
		sendBroken(command);
		const [reject, response] = await peer.answers();
		t.is(reject!.bhs[2], pdu.rejectReason.dataDigestError);
		t.deepEqual(reject!.data, header);
		t.is(statusOf(response!), '02 b/4705');

		peer.send(peer.command({ cdb: write10(0, 1), tag: 2, write: 512 }));
		const transferTag = pdu.R2T.targetTransferTag.get((await peer.answer()).bhs, 0);
		sendBroken(peer.dataOut({ tag: 2, transferTag, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(512, 1) }));
		t.deepEqual((await peer.answers()).map(statusOf), ['3f', '02 b/4705']);

		sendBroken(peer.request(pdu.opcode.nopOut | pdu.immediateBit, 0x80, { 16: 3, 20: pdu.noTag }, Buffer.alloc(100)));
		t.deepEqual((await peer.answers()).map(statusOf), ['3f']);
		t.deepEqual(world.device.writes, []);
		t.is(world.budget.usedBytes, 0);
		peer.send(peer.command({ cdb: write10(0, 1), tag: 4, write: 512, data: Buffer.alloc(512, 1) }));
		t.is(statusOf(await peer.answer()), '00');
	}
});

test('our own digests are right on every kind of Data-In, at hand and not', async (t) => {
	const world = new World();
	pattern(world.device.medium.length, 1).copy(world.device.medium);
	const peer = await world.connect().open({ HeaderDigest: 'CRC32C', DataDigest: 'CRC32C', MaxRecvDataSegmentLength: '65536' });
	for (const cold of [false, true]) {
		world.device.cold = cold;
		peer.send(peer.command({ cdb: read10(0, 300), tag: 1, read: 153600 }));
		t.true(Buffer.concat((await peer.answers()).map(({ data }) => data)).equals(world.device.medium.subarray(0, 153600)));
		// A length that wants padding.
		peer.send(peer.command({ cdb: read10(0, 1), tag: 1, read: 201 }));
		t.is((await peer.answer()).data.length, 201);
	}
});

test('§11.2.2: a longer CDB in an additional header is refused, others are passed over, a broken one is refused too', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const withSegments = (segments: string): Buffer => {
		const ahs = Buffer.from(segments, 'hex');
		const command = peer.command({ cdb: '00', tag: 1 });
		command[4] = ahs.length / 4;
		return Buffer.concat([command, ahs]);
	};
	for (const [segments, status] of [
		['000d0100' + '00'.repeat(12), '02 5/2000'],
		['0005020000000200', '00'],
		['00050200000002000005070000000000', '00'],
		['ffff0200', '02 5/2000'],
		['00'.repeat(1020), '00'],
	] as const) {
		for (const pieceBytes of [2000, 13]) {
			for (const piece of split(withSegments(segments), pieceBytes)) peer.send(piece);
			t.is(statusOf(await peer.answer()), status);
		}
	}
});

test('changed bytes anywhere in a conversation never throw, never leave memory or tasks behind, never grow without bound', async (t) => {
	await fc.assert(
		fc.asyncProperty(
			fc.array(fc.tuple(fc.nat(100_000), fc.nat(255)), { minLength: 1, maxLength: 12 }),
			fc.integer({ min: 1, max: 9000 }),
			fc.boolean(),
			fc.boolean(),
			async (changes, pieceBytes, early, digests) => {
				const world = new World();
				const peer = await world.connect().open({ FirstBurstLength: '4096', ...(digests ? { DataDigest: 'CRC32C' } : {}) });
				const stream = conversation(peer);
				// Early changes hit headers more often.
				for (const [at, value] of changes) stream[at % (early ? 400 : stream.length)] = value;
				for (const piece of split(stream, pieceBytes)) peer.send(piece);
				await peer.answers();
				if (world.budget.peakBytes > 2 * 1024 * 1024) throw new Error(`${world.budget.peakBytes} bytes at once`);
				peer.cut();
				await peer.answers();
				return (
					world.budget.usedBytes === 0 &&
					world.budget.waiting === 0 &&
					world.environment.sessions.size === 0 &&
					world.environment.plan.share.usedBytes === 0
				);
			},
		),
		{ seed: 20261121, numRuns: Number(process.env['FUZZ_RUNS'] ?? 250) },
	);
	t.pass();
});

test('changed bytes anywhere in a login never throw and leave no session behind', async (t) => {
	const login = Buffer.from(
		'InitiatorName=iqn.2026-11.test:initiator\0TargetName=iqn.2026-11.test:disk\0SessionType=Normal\0MaxBurstLength=1000\0HeaderDigest=None,CRC32C\0',
	);
	await fc.assert(
		fc.asyncProperty(
			fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 8 }),
			fc.integer({ min: 1, max: 300 }),
			async (changes, pieceBytes) => {
				const world = new World();
				const peer = world.connect();
				const bhs = Buffer.alloc(48);
				bhs[0] = 0x43;
				bhs[1] = 0x87;
				const request = peer.pdu(bhs, login);
				for (const [at, value] of changes) request[at % request.length] = value;
				for (const piece of split(Buffer.concat([request, request]), pieceBytes)) peer.send(piece);
				await peer.answers().catch(() => []);
				peer.cut();
				return world.environment.sessions.size === 0 && world.budget.usedBytes === 0;
			},
		),
		{ seed: 20261122, numRuns: Number(process.env['FUZZ_RUNS'] ?? 250) },
	);
	t.pass();
});

function split(stream: Buffer, bytes: number): Buffer[] {
	const pieces: Buffer[] = [];
	for (let at = 0; at < stream.length; at += bytes) pieces.push(stream.subarray(at, at + bytes));
	return pieces;
}
