import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { be, begin, good, invalidField, lbaOutOfRange, parameterListLengthError, setUp } from './initiator.ts';

const orwrite = (lba: number | bigint, blocks: number, flags = 0) => [0x8b, flags, ...be(lba, 8), ...be(blocks, 4), 0, 0];

test('ORWRITE (16) sets bits, clears none, and leaves the neighbours', async (t) => {
	const { send, device } = setUp();
	const blocks = 300;
	device.poke(0, Buffer.alloc(1024 * 1024, 0x81));
	t.is((await send(orwrite(5, blocks), Buffer.alloc(blocks * 512, 0xc2))).status, good);
	t.deepEqual(device.bytes(5 * 512, blocks * 512), Buffer.alloc(blocks * 512, 0xc3));
	t.is(device.bytes(4 * 512, 512)[511], 0x81);
	t.is(device.bytes(305 * 512, 512)[0], 0x81);
});

test('ORWRITE (16) of blocks that change meanwhile: nothing that was written is lost', async (t) => {
	const { send, device } = setUp();
	let others = 3;
	device.outcome = ({ operation }) => {
		if (operation === 'compareAndWrite' && others > 0) device.poke(100, Buffer.from([1 << others--]));
		return undefined;
	};
	t.is((await send(orwrite(0, 1), Buffer.alloc(512, 0x80))).status, good);
	const expected = Buffer.alloc(512, 0x80);
	expected[100] = 0x80 | 2;
	t.deepEqual(device.bytes(0, 512), expected);
});

test('ORWRITE (16) of blocks that never stop changing: BUSY after as many tries as the limit says', async (t) => {
	const { send, device } = setUp();
	let value = 0;
	device.outcome = ({ operation }) => {
		if (operation === 'compareAndWrite') device.poke(0, Buffer.from([++value & 0xff]));
		return undefined;
	};
	t.is((await send(orwrite(0, 1), Buffer.alloc(512))).status, 0x08);
	t.is(device.calls.filter(({ operation }) => operation === 'compareAndWrite').length, limits.orwriteTriesMax + 1);
});

test('ORWRITE (16) with FUA is durable; ORPROTECT, more than 1 MiB, beyond the end and a data-out of another length are refused', async (t) => {
	const { send, device } = setUp({ sizeBytes: 4 * 1024 * 1024 });
	t.is((await send(orwrite(0, 1, 0x08), Buffer.alloc(512, 1))).status, good);
	t.true(device.calls.at(-1)!.fua);
	device.calls.length = 0;
	t.is((await send(orwrite(0, 0))).status, good);
	t.deepEqual((await send(orwrite(0, 1, 0x20), Buffer.alloc(512))).sense, invalidField(1, 7));
	t.deepEqual((await send(orwrite(0, limits.parameterBytesMax / 512 + 1))).sense, invalidField(10, 7));
	t.deepEqual((await send(orwrite(8191, 2))).sense, lbaOutOfRange);
	t.deepEqual((await send(orwrite(2n ** 63n, 1))).sense, lbaOutOfRange);
	t.deepEqual((await send(orwrite(0, 2), Buffer.alloc(512))).sense, parameterListLengthError);
	t.deepEqual((await send(orwrite(0, 1), Buffer.alloc(1024))).sense, parameterListLengthError);
	t.deepEqual(device.calls, []);
});

test('ORWRITE (16): outcomes of reading and writing are the command’s, and an abort ends it at the next step', async (t) => {
	for (const operation of ['read', 'compareAndWrite']) {
		const { send, device } = setUp();
		device.outcome = (call) => (call.operation === operation ? 'faulted' : undefined);
		t.deepEqual((await send(orwrite(0, 1), Buffer.alloc(512))).sense, { key: 4, code: 0x4400 });
	}
	const { unit, nexus, device } = setUp();
	device.held = true;
	const { task, done } = begin((each) => unit.start(each, nexus), orwrite(0, 8), 4096);
	t.is(unit.parameters(task, Buffer.alloc(4096, 1)), 'pending');
	task.aborted = true;
	device.release();
	await done;
	t.is(task.status, 0x40);
	t.is(device.pages, 0);
});
