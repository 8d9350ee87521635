import test from 'ava';
import * as pdu from '../../../src/nvmeof/pdu.ts';
import { opcode, statusOf, World } from './peer.ts';

/** Bytes written down by hand from the figures of NVMe/TCP Transport 1.0, in the order of the wire. */
const lines = (...parts: string[]): Buffer => Buffer.from(parts.join('').replaceAll(' ', ''), 'hex');

test('sizes of the headers', (t) => {
	const { CapsuleCmd, CapsuleResp, C2HData, H2CData, ICReq, ICResp, R2T, TermReq } = pdu;
	t.deepEqual(
		[ICReq, ICResp, TermReq, CapsuleCmd, CapsuleResp, H2CData, C2HData, R2T].map(({ sizeBytes }) => sizeBytes),
		[128, 128, 24, 72, 24, 24, 24, 24],
	);
});

test('ICReq as a Linux host sends it, with both digests: ICResp', async (t) => {
	const peer = new World().connect();
	peer.send(lines('00 00 80 00 80000000', '0000 00 03 00000000', '00'.repeat(112)));
	const { header } = await peer.answer();
	t.deepEqual(header, lines('01 00 80 00 80000000', '0000 00 03 00001000', '00'.repeat(112)));
});

test('R2T, byte by byte', async (t) => {
	const peer = await new World().connect().open();
	peer.send(
		lines(
			'04 00 48 00 48000000',
			'01 40 3412 01000000 0000000000000000 0000000000000000',
			'0000000000000000 00100000 000000 5a',
			'10000000 00000000 08000000 00000000 00000000 00000000',
		),
	);
	const { header } = await peer.answer();
	t.is(pdu.R2T.ttag.get(header, 0) & 0x3ff, 0);
	header.writeUInt16LE(0, 10);
	t.deepEqual(header, lines('09 00 18 00 18000000', '3412 0000 00000000 00100000 00000000'));
});

test('C2HData and CapsuleResp with header digest, byte by byte', async (t) => {
	const world = new World();
	world.device.medium.fill(0xab, 0, 512);
	const peer = await world.connect().open({ headerDigest: true, flowControlDisabled: true });
	peer.send(peer.command({ opcode: opcode.read, cid: 0x1234, block: 0, blocks: 1 }));
	const [data] = await peer.answers();
	t.deepEqual(data!.header, lines('07 0d 18 1c 1c020000', '3412 0000 00000000 00020000 00000000'));
	t.deepEqual(data!.data, Buffer.alloc(512, 0xab));
	peer.send(peer.command({ opcode: opcode.fail, cid: 0x4321 }));
	const [response] = await peer.answers();
	t.is(statusOf(response!), '1!');
	t.deepEqual(response!.header, lines('05 01 18 00 1c000000', '00000000 00000000 0000 0000 2143 0280'));
});

test('C2HTermReq, byte by byte', async (t) => {
	const peer = new World().connect();
	peer.send(lines('00 00 80 00 80000000', '0200 00 00 00000000', '00'.repeat(112)));
	const { header, data } = await peer.answer();
	t.deepEqual(header, lines('03 00 18 00 98000000', '0600 08000000 00000000000000000000'));
	t.is(data.length, 128);
});
