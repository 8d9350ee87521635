import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { begin, cdb, good, invalidField, lbaOutOfRange, parameterListLengthError, setUp } from './initiator.ts';

const commands = { 'WRITE SAME (10)': [cdb.writeSame10, 7], 'WRITE SAME (16)': [cdb.writeSame16, 10] } as const;
const unmapBit = 0x08;
const ndob = 0x01;

for (const [name, [writeSame, lengthByte]] of Object.entries(commands)) {
	for (const blockSize of [512, 4096] as const) {
		test(`${name}: one block of ${blockSize} bytes over the whole range, the neighbours stay`, async (t) => {
			const { send, device } = setUp({ blockSize, sizeBytes: 4 * 1024 * 1024 });
			const block = Buffer.alloc(blockSize, 'pattern of a prime length');
			const { status, step } = await send(writeSame(3, 500), block);
			t.is(step, 'parameters');
			t.is(status, good);
			t.deepEqual(device.bytes(3 * blockSize, 500 * blockSize), Buffer.concat(Array.from({ length: 500 }, () => block)));
			t.deepEqual(device.bytes(0, 3 * blockSize), Buffer.alloc(3 * blockSize));
			t.deepEqual(device.bytes(503 * blockSize, blockSize), Buffer.alloc(blockSize));
			t.true(device.calls.every((call) => call.operation === 'write' && call.lengthBytes <= limits.pieceBytes));
		});
	}

	test(`${name} of zeros, with UNMAP or without, is one zero call`, async (t) => {
		for (const flags of [0, unmapBit]) {
			const { send, device } = setUp();
			device.poke(0, Buffer.alloc(1024 * 1024, 0xee));
			t.is((await send(writeSame(9, 1000, flags), Buffer.alloc(512))).status, good);
			t.deepEqual(device.calls, [{ operation: 'zero', offsetBytes: 9 * 512, lengthBytes: 1000 * 512, fua: false }]);
			t.deepEqual(device.bytes(9 * 512, 1000 * 512), Buffer.alloc(1000 * 512));
			t.is(device.bytes(8 * 512, 512)[511], 0xee);
			t.is(device.bytes(1009 * 512, 512)[0], 0xee);
		}
	});

	test(`${name} with UNMAP and a pattern writes the pattern`, async (t) => {
		const { send, device } = setUp();
		t.is((await send(writeSame(0, 2, unmapBit), Buffer.alloc(512, 7))).status, good);
		t.deepEqual(device.bytes(0, 1024), Buffer.alloc(1024, 7));
	});

	test(`${name}: a pattern of which one byte is not zero is no zero`, async (t) => {
		for (const at of [0, 255, 511]) {
			const { send, device } = setUp();
			const block = Buffer.alloc(512);
			block[at] = 1;
			t.is((await send(writeSame(4, 1), block)).status, good);
			t.deepEqual(device.bytes(4 * 512, 512), block);
		}
	});

	test(`${name} of no blocks is INVALID FIELD IN CDB (WSNZ), beyond the end LBA out of range`, async (t) => {
		const { send, device } = setUp();
		t.deepEqual((await send(writeSame(0, 0))).sense, invalidField(lengthByte, 7));
		t.deepEqual((await send(writeSame(2047, 2))).sense, lbaOutOfRange);
		t.deepEqual((await send(writeSame(0xffff_ffff, 1))).sense, lbaOutOfRange);
		t.deepEqual(device.calls, []);
	});

	test(`${name} with WRPROTECT, ANCHOR, PBDATA or LBDATA: INVALID FIELD IN CDB at the bit`, async (t) => {
		const { send } = setUp();
		t.deepEqual((await send(writeSame(0, 1, 0x20))).sense, invalidField(1, 7));
		t.deepEqual((await send(writeSame(0, 1, 0x18))).sense, invalidField(1, 4));
		t.deepEqual((await send(writeSame(0, 1, 0x04))).sense, invalidField(1, 2));
		t.deepEqual((await send(writeSame(0, 1, 0x02))).sense, invalidField(1, 1));
	});

	test(`${name} with less than a block of data: PARAMETER LIST LENGTH ERROR, nothing written`, async (t) => {
		const { send, device } = setUp();
		t.deepEqual((await send(writeSame(0, 1), Buffer.alloc(511, 1))).sense, parameterListLengthError);
		t.deepEqual(device.calls, []);
	});
}

test('WRITE SAME (16) with NDOB takes no data and writes zeros; WRITE SAME (10) has no NDOB and takes its block', async (t) => {
	const { send, device } = setUp();
	device.poke(0, Buffer.alloc(4096, 0xee));
	const { status, step } = await send(cdb.writeSame16(1, 2, ndob));
	t.is(step, 'pending');
	t.is(status, good);
	t.deepEqual(device.bytes(512, 1024), Buffer.alloc(1024));
	t.is((await send(cdb.writeSame10(1, 2, ndob), Buffer.alloc(512, 9))).step, 'parameters');
	t.deepEqual(device.bytes(512, 1024), Buffer.alloc(1024, 9));
});

test('WRITE SAME (16): the maximum length of VPD B0 is taken, one block more is INVALID FIELD IN CDB', async (t) => {
	const { send } = setUp({ sizeBytes: 2 ** 40 });
	const blocks = limits.writeSameBytesMax / 512;
	t.is((await send(cdb.writeSame16(0, blocks, ndob))).status, good);
	t.deepEqual((await send(cdb.writeSame16(0, blocks + 1, ndob))).sense, invalidField(10, 7));
});

test('WRITE SAME (16) at 2^32 and at the end of 64 bits: LBA out of range', async (t) => {
	const { send, device } = setUp();
	for (const lba of [2n ** 32n, 2n ** 55n, 2n ** 64n - 1n])
		t.deepEqual((await send(cdb.writeSame16(lba, 0xffff_ffff, ndob))).sense, lbaOutOfRange);
	t.deepEqual(device.calls, []);
});

test('WRITE SAME that runs out of space: SPACE ALLOCATION FAILED, and no further piece', async (t) => {
	const { send, device } = setUp();
	device.outcome = (call) => (call.offsetBytes > 0 ? 'noSpace' : undefined);
	t.deepEqual((await send(cdb.writeSame10(0, 2048), Buffer.alloc(512, 1))).sense, { key: 7, code: 0x2707 });
	t.is(device.calls.length, 2);
	t.deepEqual((await send(cdb.writeSame10(8, 1), Buffer.alloc(512))).sense, { key: 7, code: 0x2707 });
});

test('WRITE SAME of a long pattern that is aborted ends after its present piece with TASK ABORTED', async (t) => {
	const { unit, nexus, device } = setUp();
	device.held = true;
	const { task, done } = begin((each) => unit.start(each, nexus), cdb.writeSame10(0, 2048));
	t.is(task.lengthBytes, 512);
	t.is(unit.parameters(task, Buffer.alloc(512, 1)), 'pending');
	task.aborted = true;
	device.release();
	await done;
	t.is(task.status, 0x40);
	t.is(device.calls.length, 1);
});

test('WRITE SAME with more than one block of data-out: PARAMETER LIST LENGTH ERROR, nothing is written', async (t) => {
	for (const [writeSame] of Object.values(commands)) {
		const { send, device } = setUp();
		t.deepEqual((await send(writeSame(0, 1, unmapBit), Buffer.alloc(1024))).sense, parameterListLengthError);
		t.deepEqual(device.calls, []);
	}
});
