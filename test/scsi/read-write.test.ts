import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { cdb, good, invalidField, lbaOutOfRange, setUp } from './initiator.ts';

const mebibyte = 1024 * 1024;
const reads = { 'READ (10)': cdb.read10, 'READ (12)': cdb.read12, 'READ (16)': cdb.read16 };
const writes = { 'WRITE (10)': cdb.write10, 'WRITE (12)': cdb.write12, 'WRITE (16)': cdb.write16 };
const transfers = { ...reads, ...writes };

for (const blockSize of [512, 4096] as const) {
	for (const [name, write] of Object.entries(writes)) {
		test(`${name} of ${blockSize}-byte blocks: the next READ (16) returns what was written`, async (t) => {
			const { send } = setUp({ blockSize });
			const data = Buffer.alloc(5 * blockSize, 'abcdefg');
			t.is((await send(write(7, 5), data)).status, good);
			const read = await send(cdb.read16(7, 5));
			t.is(read.status, good);
			t.deepEqual(read.dataIn, data);
			t.deepEqual((await send(cdb.read10(6, 1))).dataIn, Buffer.alloc(blockSize));
			t.deepEqual((await send(cdb.read12(12, 1))).dataIn, Buffer.alloc(blockSize));
		});
	}
}

for (const [name, transfer] of Object.entries(transfers)) {
	test(`${name}: the step names offset and length in bytes`, async (t) => {
		const { send } = setUp();
		const { step, task } = await send(transfer(3, 4), Buffer.alloc(2048));
		t.is(step, name.startsWith('READ') ? 'read' : 'write');
		t.is(task.offsetBytes, 3 * 512);
		t.is(task.lengthBytes, 4 * 512);
	});

	test(`${name}: FUA reaches the task, DPO does no harm`, async (t) => {
		const { send } = setUp();
		t.false((await send(transfer(0, 1, 0x10), Buffer.alloc(512))).task.fua);
		t.true((await send(transfer(0, 1, 0x18), Buffer.alloc(512))).task.fua);
	});

	test(`${name} of no blocks is good and moves nothing, also right behind the last block`, async (t) => {
		const { send, device } = setUp();
		for (const lba of [0, 2048]) {
			const { status, step } = await send(transfer(lba, 0));
			t.is(status, good);
			t.is(step, 'finished');
		}
		t.deepEqual(device.calls, []);
	});

	test(`${name} beyond the last block: LBA out of range, nothing moved`, async (t) => {
		const { send, device } = setUp();
		for (const [lba, blocks] of [
			[2048, 1],
			[2047, 2],
			[2049, 0],
			[0, 2049],
			[0xffff_ffff, 1],
			[0xffff_ffff, 0xffff],
		] as const) {
			t.deepEqual((await send(transfer(lba, blocks), Buffer.alloc(512))).sense, lbaOutOfRange, `LBA ${lba}, ${blocks} blocks`);
		}
		t.is((await send(transfer(2047, 1), Buffer.alloc(512))).status, good);
		t.is(device.calls.length, 1);
	});

	test(`${name} with protection information: INVALID FIELD IN CDB at byte 1 bit 7`, async (t) => {
		const { send } = setUp();
		for (let value = 1; value < 8; value++) t.deepEqual((await send(transfer(0, 1, value << 5))).sense, invalidField(1, 7));
	});
}

for (const [name, transfer] of Object.entries({ 'READ (16)': cdb.read16, 'WRITE (16)': cdb.write16 })) {
	test(`${name} at 2^32 and at the end of 64 bits: LBA out of range, no wrap-around`, async (t) => {
		const { send, device } = setUp();
		const addresses = [2n ** 32n, 2n ** 32n + 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 55n, 2n ** 63n, 2n ** 64n - 1n];
		for (const lba of addresses) {
			for (const blocks of [0, 1, 2, 0xffff_ffff])
				t.deepEqual((await send(transfer(lba, blocks), Buffer.alloc(512))).sense, lbaOutOfRange, `LBA ${lba}, ${blocks} blocks`);
		}
		t.deepEqual(device.calls, []);
	});

	test(`${name} reaches the last block of 64 TiB, and not the one behind it`, async (t) => {
		const { send, device } = setUp({ sizeBytes: 64 * 1024 ** 4 });
		const last = (64 * 1024 ** 4) / 512 - 1;
		t.is((await send(transfer(last, 1), Buffer.alloc(512, 1))).status, good);
		t.is(device.calls[0]?.offsetBytes, last * 512);
		t.deepEqual((await send(transfer(last, 2), Buffer.alloc(1024))).sense, lbaOutOfRange);
		t.deepEqual((await send(transfer(last + 1, 1), Buffer.alloc(512))).sense, lbaOutOfRange);
	});
}

test('READ and WRITE of the maximum transfer length are taken, one block more is INVALID FIELD IN CDB', async (t) => {
	const { send } = setUp({ sizeBytes: 64 * mebibyte });
	const blocks = limits.transferBytesMax / 512;
	t.is((await send(cdb.read16(0, blocks))).dataIn.length, limits.transferBytesMax);
	t.deepEqual((await send(cdb.read16(0, blocks + 1))).sense, invalidField(10, 7));
	t.deepEqual((await send(cdb.write12(0, blocks + 1))).sense, invalidField(6, 7));
	t.is((await send(cdb.read10(0, 0xffff))).status, good);
});

test('READ (6) and WRITE (6): 21 bits of address, a length of 0 is 256 blocks', async (t) => {
	const { send, device } = setUp({ sizeBytes: 1024 * mebibyte });
	const data = Buffer.alloc(256 * 512, 'x');
	t.is((await send([0x0a, 0x1f, 0xff, 0x00, 0, 0], data)).status, good);
	t.deepEqual(device.calls[0], { operation: 'write', offsetBytes: 0x1fff00 * 512, lengthBytes: 256 * 512, fua: false });
	t.deepEqual((await send([0x08, 0x1f, 0xff, 0x00, 0, 0])).dataIn, data);
	t.is((await send([0x08, 0, 0, 1, 1, 0])).dataIn.length, 512);
	// SCSI-2 had a LUN in the upper three bits of byte 1: they are no part of the address.
	t.deepEqual((await send([0x08, 0xff, 0xff, 0x00, 1, 0])).dataIn, data.subarray(0, 512));
});

test('READ (6) beyond the last block: LBA out of range', async (t) => {
	const { send } = setUp();
	t.deepEqual((await send([0x08, 0, 0x08, 0, 1, 0])).sense, lbaOutOfRange);
	t.deepEqual((await send([0x0a, 0, 0x07, 0xff, 0, 0])).sense, lbaOutOfRange);
});

test('a read only unit refuses everything that writes with WRITE PROTECTED, and reads', async (t) => {
	const { send, device } = setUp({ readOnly: true });
	for (const command of [
		[0x0a, 0, 0, 0, 1, 0],
		cdb.write10(0, 1),
		cdb.write12(0, 1),
		cdb.write16(0, 1),
		cdb.writeSame10(0, 1),
		cdb.writeSame16(0, 1, 1),
		cdb.unmap(24),
	]) {
		t.deepEqual((await send(command, Buffer.alloc(512))).sense, { key: 7, code: 0x2700 });
	}
	t.deepEqual(device.calls, []);
	t.is((await send(cdb.read10(0, 1))).status, good);
	t.is((await send(cdb.synchronizeCache10(0, 0))).status, good);
});

test('a READ and a WRITE that go wrong on the medium have the sense of their outcome', async (t) => {
	const { send, device } = setUp();
	const cases = [
		['mediumError', cdb.read10(0, 1), 3, 0x1100],
		['faulted', cdb.read10(0, 1), 4, 0x4400],
		['outOfRange', cdb.read10(0, 1), 5, 0x2100],
		['mediumError', cdb.write10(0, 1), 3, 0x0c00],
		['faulted', cdb.write10(0, 1), 4, 0x4400],
		['noSpace', cdb.write10(0, 1), 7, 0x2707],
		['outOfRange', cdb.write10(0, 1), 5, 0x2100],
	] as const;
	for (const [outcome, command, key, code] of cases) {
		device.outcome = () => outcome;
		t.deepEqual((await send(command, Buffer.alloc(512))).sense, { key, code }, outcome);
	}
	device.outcome = () => 'closed';
	t.is((await send(cdb.write10(0, 1), Buffer.alloc(512))).status, 0x08);
});
