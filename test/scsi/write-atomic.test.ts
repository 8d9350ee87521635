import test from 'ava';
import { be, begin, good, invalidField, lbaOutOfRange, setUp } from './initiator.ts';

const writeAtomic = (lba: number | bigint, blocks: number, flags = 0, boundary = 0) => [
	0x9c,
	flags,
	...be(lba, 8),
	...be(boundary, 2),
	...be(blocks, 2),
	0,
	0,
];

test('WRITE ATOMIC (16): as many blocks as VPD B0 says are one write, one more is INVALID FIELD IN CDB', async (t) => {
	for (const blockSize of [512, 4096] as const) {
		const { send, device } = setUp({ blockSize });
		const blocks = (64 * 1024) / blockSize;
		const data = Buffer.alloc(blocks * blockSize, 'whole');
		const { status, step } = await send(writeAtomic(1, blocks), data);
		t.is(step, 'write');
		t.is(status, good);
		t.deepEqual(device.calls, [{ operation: 'write', offsetBytes: blockSize, lengthBytes: data.length, fua: false }]);
		t.deepEqual((await send(writeAtomic(0, blocks + 1), Buffer.alloc(data.length + blockSize))).sense, invalidField(12, 7));
	}
});

test('WRITE ATOMIC (16) with FUA; with a boundary, WRPROTECT, beyond the end or with less data than it says: refused', async (t) => {
	const { send, unit, nexus, device } = setUp();
	t.true((await send(writeAtomic(0, 1, 0x08), Buffer.alloc(512))).task.fua);
	device.calls.length = 0;
	t.is((await send(writeAtomic(0, 0))).status, good);
	t.deepEqual((await send(writeAtomic(0, 8, 0, 4), Buffer.alloc(4096))).sense, invalidField(10, 7));
	t.deepEqual((await send(writeAtomic(0, 1, 0x20), Buffer.alloc(512))).sense, invalidField(1, 7));
	t.deepEqual((await send(writeAtomic(2047, 2), Buffer.alloc(1024))).sense, lbaOutOfRange);
	t.deepEqual((await send(writeAtomic(2n ** 64n - 1n, 1), Buffer.alloc(512))).sense, lbaOutOfRange);
	const short = begin((task) => unit.start(task, nexus), writeAtomic(0, 2), 512);
	t.is(short.step, 'finished', 'a part of it would not be whole');
	t.deepEqual(device.calls, []);
});
