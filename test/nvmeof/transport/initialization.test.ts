import test from 'ava';
import * as pdu from '../../../src/nvmeof/pdu.ts';
import { transportLimits } from '../../../src/nvmeof/transport-limits.ts';
import { opcode, pattern, r2t, split, statusOf, World } from './peer.ts';

test('ICResp: PFV 0, CPDA 0, the digests that were asked for, MAXH2CDATA; no logic before ICReq', async (t) => {
	for (const [headerDigest, dataDigest] of [
		[false, false],
		[true, false],
		[false, true],
		[true, true],
	] as const) {
		const world = new World();
		const peer = world.connect();
		t.is(world.logics.length, 0);
		const { type, flags, header, data } = await peer.initialize({ headerDigest, dataDigest });
		t.is(world.logics.length, 1);
		t.is(type, pdu.pduType.icResp);
		t.is(flags, 0);
		t.is(data.length, 0);
		const digests = (headerDigest ? 1 : 0) | (dataDigest ? 2 : 0);
		t.is(header.toString('hex', 0, 16), `0100800080000000000000${digests.toString().padStart(2, '0')}00001000`);
		t.true(header.subarray(16).every((byte) => byte === 0));
		t.is(pdu.ICResp.maxH2CData.get(header, 0), transportLimits.h2cDataBytes);
		t.true(transportLimits.h2cDataBytes >= transportLimits.r2tBytes);
		t.true(transportLimits.h2cDataBytes >= 4096 && transportLimits.h2cDataBytes % 4 === 0);
	}
});

test('the logic knows by which address and from where it was reached', async (t) => {
	const world = new World();
	const peer = world.connect();
	await peer.initialize();
	t.is(peer.logic.link.remote, '192.0.2.2:40000');
	t.is(peer.logic.link.localAddress, '192.0.2.1');
	t.is(peer.logic.link.localPort, 4420);
});

test('reserved bytes and bits of ICReq are not looked at', async (t) => {
	const peer = new World().connect();
	const request = peer.icReq();
	request.fill(0xff, 16);
	request[1] = 0xff;
	request[3] = 0xff;
	request[11] = 0xfc;
	peer.send(request);
	t.is(statusOf(await peer.answer()), 'ICResp');
});

for (const headerDigest of [false, true]) {
	for (const [hpda, pdo] of [
		[0, headerDigest ? 28 : 24],
		[1, headerDigest ? 32 : 24],
		[2, headerDigest ? 36 : 24],
		[4, 40],
		[15, 64],
		[16, 68],
		[30, 124],
		[31, 128],
	] as const) {
		test(`HPDA ${hpda}${headerDigest ? ' with header digest' : ''}: data of hot and cold reads of all sizes begins at ${pdo}, behind zeros`, async (t) => {
			const world = new World();
			pattern(world.device.medium.length, 2).copy(world.device.medium);
			const peer = await world.connect().open({ hpda, headerDigest, dataDigest: hpda % 2 === 1 });
			for (const cold of [false, true]) {
				world.device.cold = cold;
				for (const blocks of [1, 64, 65, 256, 600]) {
					peer.send(peer.command({ opcode: opcode.read, cid: 1, block: 3, blocks }));
					const answers = await peer.answers();
					t.is(statusOf(answers.pop()!), '0');
					for (const answer of answers) {
						t.is(answer.pdo, pdo);
						t.true(answer.padding.every((byte) => byte === 0));
					}
					t.true(Buffer.concat(answers.map(({ data }) => data)).equals(world.device.medium.subarray(1536, 1536 + blocks * 512)));
				}
			}
			t.true(world.isFree);
		});
	}
}

for (const [maxR2T, open] of [
	[0, 1],
	[1, 2],
	[3, 4],
	[7, 8],
	[8, 8],
	[0xffffffff, 8],
] as const) {
	test(`MAXR2T ${maxR2T}: ${open} R2Ts of one command at once, never more, and further ones as those are fulfilled`, async (t) => {
		const blocks = 12 * 2048;
		const world = new World({ budgetBytes: 256 * 1024 * 1024, deviceBytes: blocks * 512 });
		const peer = await world.connect().open({ maxR2T });
		const data = pattern(blocks * 512, 3);
		peer.send(peer.command({ opcode: opcode.write, cid: 1, block: 0, blocks }));
		const asked = (await peer.answers()).map(r2t);
		t.is(asked.length, open);
		let offset = 0;
		for (let next = asked.shift(); next !== undefined; next = asked.shift()) {
			t.is(next.offset, offset);
			t.is(next.length, transportLimits.r2tBytes);
			offset += next.length;
			peer.fulfil(next, data);
			const answers = await peer.answers();
			if (offset === data.length) t.deepEqual(answers.map(statusOf), ['0']);
			else asked.push(...answers.map(r2t));
			t.true(asked.length <= open);
		}
		t.is(offset, data.length);
		t.true(world.device.medium.equals(data));
		t.true(world.isFree);
	});
}

test('ICReq in single bytes and in pieces', async (t) => {
	for (const bytes of [1, 7, 8, 9, 127]) {
		const peer = new World().connect();
		for (const piece of split(peer.icReq(), bytes)) {
			t.deepEqual(peer.takeAnswers(), []);
			peer.send(piece);
		}
		t.is(statusOf(await peer.answer()), 'ICResp');
	}
});
