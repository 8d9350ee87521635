import test from 'ava';
import * as fc from 'fast-check';
import { limits } from '../../src/scsi/limits.ts';
import { be, begin, cdb, good, invalidField, invalidParameter, lbaOutOfRange, parameterListLengthError, setUp } from './initiator.ts';

function list(ranges: readonly (readonly [lba: number | bigint, blocks: number])[]): Buffer {
	const bytes = ranges.length * 16;
	return Buffer.from([
		...be(bytes + 6, 2),
		...be(bytes, 2),
		0,
		0,
		0,
		0,
		...ranges.flatMap(([lba, blocks]) => [...be(lba, 8), ...be(blocks, 4), 0, 0, 0, 0]),
	]);
}

test('UNMAP: each range reads as zeros, its neighbours stay', async (t) => {
	const { send, device } = setUp();
	device.poke(0, Buffer.alloc(1024 * 1024, 0xee));
	const data = list([
		[8, 8],
		[17, 1],
		[100, 0],
		[2047, 1],
	]);
	t.is((await send(cdb.unmap(data.length), data)).status, good);
	const zeroed = [...Array(2048).keys()].filter((lba) => device.bytes(lba * 512, 512).every((byte) => byte === 0));
	t.deepEqual(zeroed, [8, 9, 10, 11, 12, 13, 14, 15, 17, 2047]);
	t.is(device.calls.length, 3);
});

test('UNMAP with no list, no descriptor, or an incomplete last descriptor is good', async (t) => {
	const { send, device } = setUp();
	t.is((await send(cdb.unmap(0))).status, good);
	t.is((await send(cdb.unmap(8), list([]))).status, good);
	t.deepEqual(device.calls, []);
	const data = list([
		[0, 1],
		[1, 1],
	]);
	data.writeUInt16BE(31, 2);
	t.is((await send(cdb.unmap(data.length), data)).status, good);
	t.is(device.calls.length, 1);
});

test('UNMAP with a bad range anywhere changes nothing', async (t) => {
	const { send, device } = setUp();
	for (const bad of [
		[2048, 1],
		[2047, 2],
		[2n ** 32n, 1],
		[2n ** 64n - 1n, 1],
		[2n ** 64n - 1n, 0xffff_ffff],
		[0, 0xffff_ffff],
	] as const) {
		const data = list([[0, 8], bad]);
		t.deepEqual((await send(cdb.unmap(data.length), data)).sense, lbaOutOfRange, `LBA ${bad[0]}, ${bad[1]} blocks`);
	}
	t.deepEqual(device.calls, []);
});

test('UNMAP with a list shorter than its header, or than its own length: PARAMETER LIST LENGTH ERROR', async (t) => {
	const { send } = setUp();
	const data = list([[0, 1]]);
	for (let length = 1; length < data.length; length++)
		t.deepEqual((await send(cdb.unmap(length), data)).sense, parameterListLengthError, `${length} bytes`);
	t.deepEqual((await send(cdb.unmap(24), data.subarray(0, 23))).sense, parameterListLengthError);
});

test('UNMAP: the most descriptors and blocks that VPD B0 names are taken, one more of either is refused', async (t) => {
	const { send } = setUp({ sizeBytes: 2 ** 40 });
	const many = Array.from({ length: limits.unmapDescriptorsMax }, (_, index) => [index * 10, 1] as const);
	t.is((await send(cdb.unmap(8 + 16 * many.length), list(many))).status, good);
	const tooMany = list([...many, [0, 1]]);
	t.deepEqual((await send(cdb.unmap(tooMany.length), tooMany)).sense, invalidParameter(2, 7));

	const blocks = limits.unmapBlocksMax;
	const large = list([
		[0, blocks - 1],
		[blocks, 1],
	]);
	t.is((await send(cdb.unmap(large.length), large)).status, good);
	const tooLarge = list([
		[0, blocks],
		[blocks, 1],
	]);
	t.deepEqual((await send(cdb.unmap(tooLarge.length), tooLarge)).sense, invalidParameter(8 + 16 + 8, 7));
});

test('UNMAP with ANCHOR: INVALID FIELD IN CDB at byte 1 bit 0', async (t) => {
	const { send } = setUp();
	t.deepEqual((await send(cdb.unmap(24, 1), list([[0, 1]]))).sense, invalidField(1, 0));
});

test('UNMAP that fails at a range stops there with the sense of the outcome', async (t) => {
	const { send, device } = setUp();
	device.outcome = (call) => (call.offsetBytes === 512 ? 'faulted' : undefined);
	const data = list([
		[0, 1],
		[1, 1],
		[2, 1],
	]);
	t.deepEqual((await send(cdb.unmap(data.length), data)).sense, { key: 4, code: 0x4400 });
	t.is(device.calls.length, 2);
});

test('UNMAP that is aborted between two ranges ends with TASK ABORTED', async (t) => {
	const { unit, nexus, device } = setUp();
	device.held = true;
	const data = list([
		[0, 1],
		[1, 1],
	]);
	const { task, done } = begin((each) => unit.start(each, nexus), cdb.unmap(data.length));
	t.is(unit.parameters(task, data), 'pending');
	task.aborted = true;
	device.release();
	await done;
	t.is(task.status, 0x40);
	t.is(device.calls.length, 1);
});

test('UNMAP of random bytes: never throws, ends in GOOD or ILLEGAL REQUEST', async (t) => {
	await fc.assert(
		fc.asyncProperty(fc.uint8Array({ minLength: 0, maxLength: 80 }), fc.nat(80), async (bytes, length) => {
			const { send } = setUp();
			const { status, sense } = await send(cdb.unmap(length), Buffer.from(bytes));
			return status === good || sense?.key === 5;
		}),
		{ numRuns: 300 },
	);
	t.pass();
});
