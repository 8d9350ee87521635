import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { be, begin, good, invalidField, lbaOutOfRange, parameterListLengthError, setUp } from './initiator.ts';

const compareAndWrite = (lba: number | bigint, blocks: number, flags = 0) => [0x89, flags, ...be(lba, 8), 0, 0, 0, blocks, 0, 0];
const halves = (expected: Buffer, wanted: Buffer) => Buffer.concat([expected, wanted]);

for (const blockSize of [512, 4096] as const) {
	test(`COMPARE AND WRITE of ${blockSize}-byte blocks: what is expected is there, and the second half is written by one call of the device`, async (t) => {
		const { send, device } = setUp({ blockSize });
		const blocks = limits.compareAndWriteBytesMax / blockSize;
		const old = Buffer.alloc(blocks * blockSize, 'old');
		const wanted = Buffer.alloc(blocks * blockSize, 'wanted');
		device.poke(3 * blockSize, old);
		t.is((await send(compareAndWrite(3, blocks), halves(old, wanted))).status, good);
		t.deepEqual(device.bytes(3 * blockSize, wanted.length), wanted);
		t.deepEqual(device.calls, [{ operation: 'compareAndWrite', offsetBytes: 3 * blockSize, lengthBytes: blocks * blockSize, fua: false }]);
	});
}

test('COMPARE AND WRITE of something else: MISCOMPARE with the offset of the first byte that differs, and nothing is written', async (t) => {
	const { send, device } = setUp();
	const old = Buffer.alloc(1024, 'old');
	for (const at of [0, 1, 511, 512, 1023]) {
		device.poke(0, old);
		const expected = Buffer.from(old);
		expected[at]! ^= 0x01;
		const { sense } = await send(compareAndWrite(0, 2), halves(expected, Buffer.alloc(1024, 'new')));
		t.deepEqual(sense, { key: 0xe, code: 0x1d00, information: at });
		t.deepEqual(device.bytes(0, 1024), old);
	}
});

test('COMPARE AND WRITE with FUA is durable before its answer, DPO changes nothing, blocks that were never written are zeros', async (t) => {
	const { send, device } = setUp();
	t.is((await send(compareAndWrite(7, 1, 0x18), halves(Buffer.alloc(512), Buffer.alloc(512, 1)))).status, good);
	t.true(device.calls[0]!.fua);
});

test('COMPARE AND WRITE: no blocks are good, one more than VPD B0 says, WRPROTECT and a data-out of another length INVALID FIELD IN CDB', async (t) => {
	const { send, device } = setUp();
	t.is((await send(compareAndWrite(0, 0))).status, good);
	t.deepEqual((await send(compareAndWrite(0, 129), Buffer.alloc(2 * 129 * 512))).sense, invalidField(13, 7));
	t.deepEqual((await send(compareAndWrite(0, 1, 0x20), Buffer.alloc(1024))).sense, invalidField(1, 7));
	for (const lengthBytes of [0, 512, 1023, 1025, 2048])
		t.deepEqual((await send(compareAndWrite(0, 1), Buffer.alloc(lengthBytes))).sense, invalidField(13, 7));
	t.deepEqual((await send(compareAndWrite(0, 0), Buffer.alloc(512))).sense, invalidField(13, 7), '256 blocks that the field cannot say');
	t.deepEqual((await send(compareAndWrite(2047, 2), Buffer.alloc(2048))).sense, lbaOutOfRange);
	t.deepEqual((await send(compareAndWrite(2n ** 64n - 1n, 1), Buffer.alloc(1024))).sense, lbaOutOfRange);
	t.deepEqual(device.calls, []);
});

test('COMPARE AND WRITE of which less arrives than was announced: PARAMETER LIST LENGTH ERROR', (t) => {
	const { unit, nexus, device } = setUp();
	const { task } = begin((each) => unit.start(each, nexus), compareAndWrite(0, 1), 1024);
	t.is(unit.parameters(task, Buffer.alloc(512)), 'finished');
	t.is(task.sense![12]! * 256 + task.sense![13]!, parameterListLengthError.code);
	t.deepEqual(device.calls, []);
});
