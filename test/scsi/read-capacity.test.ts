import test from 'ava';
import { cdb, good, invalidField, setUp } from './initiator.ts';

test('READ CAPACITY (10): last block and block size', async (t) => {
	for (const blockSize of [512, 4096] as const) {
		const { send } = setUp({ blockSize, sizeBytes: 10 * 1024 * 1024 });
		const { dataIn } = await send(cdb.readCapacity10());
		t.is(dataIn.length, 8);
		t.is(dataIn.readUInt32BE(0), (10 * 1024 * 1024) / blockSize - 1);
		t.is(dataIn.readUInt32BE(4), blockSize);
	}
});

test('READ CAPACITY (10) of more than 2^32 blocks: FFFFFFFFh, and of exactly 2^32 too', async (t) => {
	for (const [blocks, last] of [
		[2 ** 32 - 1, 0xffff_fffe],
		[2 ** 32, 0xffff_ffff],
		[2 ** 32 + 1, 0xffff_ffff],
		[2 ** 37, 0xffff_ffff],
	] as const) {
		const { send } = setUp({ sizeBytes: blocks * 512 });
		t.is((await send(cdb.readCapacity10())).dataIn.readUInt32BE(0), last);
		t.is((await send(cdb.readCapacity16())).dataIn.readBigUInt64BE(0), BigInt(blocks - 1));
	}
});

test('READ CAPACITY (16): 512-byte blocks in pages of 8, thin, zeros after unmapping', async (t) => {
	for (const [blockSize, exponent] of [
		[512, 3],
		[4096, 0],
	] as const) {
		const { send } = setUp({ blockSize, sizeBytes: 4096 * 4096 });
		const { dataIn } = await send(cdb.readCapacity16());
		t.is(dataIn.length, 32);
		t.is(dataIn.readBigUInt64BE(0), BigInt((4096 * 4096) / blockSize - 1));
		t.is(dataIn.readUInt32BE(8), blockSize);
		t.is(dataIn[12], 0);
		t.is(dataIn[13], exponent);
		t.is(dataIn.readUInt16BE(14), 0xc000);
		t.true(dataIn.subarray(16).every((byte) => byte === 0));
	}
});

test('READ CAPACITY (16) is cut to its allocation length', async (t) => {
	const { send } = setUp();
	for (const length of [0, 1, 8, 12, 31, 32]) t.is((await send(cdb.readCapacity16(length))).dataIn.length, length);
	t.is((await send(cdb.readCapacity16(0xffff_ffff))).dataIn.length, 32);
});

test('after growth: one CAPACITY DATA HAS CHANGED, then the new size', async (t) => {
	const { send, device } = setUp();
	device.resize(2 * 1024 * 1024);
	device.resize(3 * 1024 * 1024);
	t.deepEqual((await send(cdb.readCapacity16())).sense, { key: 6, code: 0x2a09 });
	const { status, dataIn } = await send(cdb.readCapacity16());
	t.is(status, good);
	t.is(dataIn.readBigUInt64BE(0), 6143n);
	t.is((await send(cdb.read10(6143, 1))).status, good);
});

test('a wrong service action of 9Eh, A3h: INVALID FIELD IN CDB at byte 1 bit 4', async (t) => {
	const { send } = setUp();
	for (let action = 0; action < 32; action++) {
		if (action !== 0x10 && action !== 0x12) t.deepEqual((await send([0x9e, action])).sense, invalidField(1, 4), `9Eh/${action}`);
		if (![0x0a, 0x0c, 0x0d].includes(action)) t.deepEqual((await send([0xa3, action])).sense, invalidField(1, 4), `A3h/${action}`);
	}
});
