import test from 'ava';
import { cdb, good, setUp } from './initiator.ts';

// Faults that an earlier block engine had. Each is shown not to be here by bytes of the standard's, counted from the first byte of a page.

test('fault FUA ignored: a WRITE with FUA reaches the device as one, a READ with FUA is a READ', async (t) => {
	const { send, device } = setUp();
	for (const write of [cdb.write10(0, 1, 0x08), cdb.write12(0, 1, 0x08), cdb.write16(0, 1, 0x08)]) {
		t.is((await send(write, Buffer.alloc(512))).status, good);
		t.true(device.calls.at(-1)!.fua);
	}
	t.is((await send(cdb.read16(0, 1, 0x08))).status, good);
	t.is((await send(cdb.modeSense6(0x08))).dataIn[2]! & 0x10, 0x10, 'DPOFUA');
});

test('fault VPD B0 four bytes late: UNMAP limits at 20 and 24, granularity at 28, WRITE SAME at 36', async (t) => {
	const { dataIn } = await setUp().send(cdb.vpd(0xb0));
	t.is(dataIn.readUInt16BE(2), 0x3c);
	t.is(dataIn.readUInt32BE(20), 0x0010_0000);
	t.is(dataIn.readUInt32BE(24), 256);
	t.is(dataIn.readUInt32BE(28), 8);
	t.is(dataIn[32], 0x80);
	t.is(dataIn.readBigUInt64BE(36), 0x20_0000n);
});

test('fault VPD B2 flags in byte 6: LBPU, LBPWS, LBPWS10 and LBPRZ are in byte 5, and byte 6 is the type', async (t) => {
	const { dataIn } = await setUp().send(cdb.vpd(0xb2));
	t.deepEqual([dataIn[5], dataIn[6]], [0xe4, 0x02]);
});

test('fault VPD B1 missing: page 00h lists it, and it says that nothing rotates', async (t) => {
	const { send } = setUp();
	t.true((await send(cdb.vpd(0x00))).dataIn.subarray(4).includes(0xb1));
	t.is((await send(cdb.vpd(0xb1))).dataIn.readUInt16BE(4), 1);
});

test('fault NAA-6 of 8 bytes, one serial number for all: the designator has 16 bytes, and volumes differ in both', async (t) => {
	const seen = new Set<string>();
	for (const uuid of ['8c3a6f0e-58a1-4b52-9d0c-2f6f6f0b7a11', '8c3a6f0e-58a1-4b52-9d0c-2f6f6f0b7a12']) {
		const { send } = setUp({ uuid });
		const { dataIn } = await send(cdb.vpd(0x83));
		t.deepEqual([...dataIn.subarray(4, 8)], [0x01, 0x03, 0, 16]);
		t.is(dataIn[8]! >> 4, 6);
		seen.add(dataIn.toString('hex', 8, 24));
		seen.add((await send(cdb.vpd(0x80))).dataIn.toString('latin1', 4));
	}
	t.is(seen.size, 4);
});

test('fault 4 KiB logical blocks only: 512-byte blocks are there, eight to a physical one', async (t) => {
	const { dataIn } = await setUp({ blockSize: 512 }).send(cdb.readCapacity16());
	t.deepEqual([dataIn.readUInt32BE(8), dataIn[13]], [512, 3]);
});
