import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { be, begin, good, invalidField, lbaOutOfRange, setUp } from './initiator.ts';

const forms = {
	'PRE-FETCH (10)': [(lba: number, blocks: number, flags = 0) => [0x34, flags, ...be(lba, 4), 0, ...be(blocks, 2), 0], 7],
	'PRE-FETCH (16)': [(lba: number, blocks: number, flags = 0) => [0x90, flags, ...be(lba, 8), ...be(blocks, 4), 0, 0], 10],
} as const;
const immed = 0x02;

for (const [name, [preFetch]] of Object.entries(forms)) {
	test(`${name} reads the blocks and sends nothing; no number is to the end of the medium`, async (t) => {
		const { send, device } = setUp();
		const { status, dataIn } = await send(preFetch(3, 200));
		t.is(status, good);
		t.is(dataIn.length, 0);
		t.is(device.calls[0]!.offsetBytes, 3 * 512);
		t.is(
			device.calls.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
			200 * 512,
		);
		device.calls.length = 0;
		t.is((await send(preFetch(2040, 0))).status, good);
		t.deepEqual(
			device.calls.map(({ operation, offsetBytes, lengthBytes }) => [operation, offsetBytes, lengthBytes]),
			[['read', 2040 * 512, 8 * 512]],
		);
		t.is((await send(preFetch(2048, 0))).status, good);
	});

	test(`${name}: beyond the end LBA out of range, also of no blocks; a block that cannot be read is a medium error`, async (t) => {
		const { send, device } = setUp();
		t.deepEqual((await send(preFetch(2047, 2))).sense, lbaOutOfRange);
		t.deepEqual((await send(preFetch(2049, 0))).sense, lbaOutOfRange);
		t.deepEqual((await send(preFetch(2049, 0, immed))).sense, lbaOutOfRange);
		device.outcome = () => 'mediumError';
		t.is((await send(preFetch(0, 1))).sense?.key, 3);
		t.is((await send(preFetch(0, 1, immed))).status, good);
	});
}

test('PRE-FETCH with IMMED: answered at once, one at a time is under way for a unit', async (t) => {
	const { send, unit, nexus, device } = setUp();
	device.held = true;
	for (let count = 0; count < 3; count++)
		t.is(begin((task) => unit.start(task, nexus), forms['PRE-FETCH (10)'][0](0, 8, immed)).step, 'finished');
	t.is(device.calls.length, 1);
	device.release();
	device.held = false;
	t.is((await send(forms['PRE-FETCH (10)'][0](0, 8, immed))).status, good);
	t.is(device.calls.length, 2);
});

test('PRE-FETCH (16) of more than MAXIMUM PREFETCH LENGTH: INVALID FIELD IN CDB; to the end of a long medium it reads as much', async (t) => {
	const { send, device } = setUp({ sizeBytes: 2 ** 30 });
	const most = limits.prefetchBytesMax / 512;
	t.deepEqual((await send(forms['PRE-FETCH (16)'][0](0, most + 1))).sense, invalidField(10, 7));
	t.is((await send(forms['PRE-FETCH (16)'][0](0, 0))).status, good);
	t.is(
		device.calls.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
		limits.prefetchBytesMax,
	);
});
