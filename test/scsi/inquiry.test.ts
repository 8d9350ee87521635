import { randomUUID } from 'node:crypto';
import test from 'ava';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { cdb, checkCondition, good, invalidField, newNexus, run, setUp, hex } from './initiator.ts';
import { MemoryDevice } from './memory-device.ts';

test('INQUIRY: a direct access block device of SPC-4, at the offsets of the standard', async (t) => {
	const { send } = setUp({ productRevision: '0.1' });
	const { status, dataIn } = await send(cdb.inquiry());
	t.is(status, good);
	t.is(dataIn.length, 96);
	t.is(dataIn.subarray(0, 8).toString('hex'), '000006125b380002');
	t.is(dataIn.toString('latin1', 8, 16), 'BLKPORT ');
	t.is(dataIn.toString('latin1', 16, 32), 'Blockport volume');
	t.is(dataIn.toString('latin1', 32, 36), '0.1 ');
	t.is(dataIn.subarray(58, 66).toString('hex'), '00a00960046004c0');
});

test('INQUIRY data is cut to the allocation length, its own length fields stay whole', async (t) => {
	const { send } = setUp();
	const whole = (await send(cdb.inquiry())).dataIn;
	for (const length of [0, 1, 5, 36, 95, 96]) t.deepEqual((await send(cdb.inquiry(length))).dataIn, whole.subarray(0, length));
	t.deepEqual((await send(cdb.inquiry(0xffff))).dataIn, whole);
	t.is((await send(cdb.vpd(0x83, 8))).dataIn.readUInt16BE(2), (await send(cdb.vpd(0x83))).dataIn.length - 4);
});

test('INQUIRY with a page code but without EVPD, and of a page that does not exist: INVALID FIELD IN CDB at byte 2', async (t) => {
	const { send } = setUp();
	t.deepEqual((await send([0x12, 0, 0x80, 0, 255, 0])).sense, invalidField(2, 7));
	const listed = new Set((await send(cdb.vpd(0))).dataIn.subarray(4));
	for (let page = 0; page < 256; page++) {
		const { status, sense, dataIn } = await send(cdb.vpd(page));
		if (!listed.has(page)) t.deepEqual(sense, invalidField(2, 7), `page ${page}`);
		else {
			t.is(status, good);
			t.is(dataIn[0], 0);
			t.is(dataIn[1], page);
			t.is(dataIn.readUInt16BE(2), dataIn.length - 4);
		}
	}
});

test('VPD 00 lists exactly what exists, ascending', async (t) => {
	const { send } = setUp();
	t.is((await send(cdb.vpd(0))).dataIn.toString('hex'), hex('000000080080', '83868fb0b1b2'));
});

test('VPD 80: the serial number is the UUID', async (t) => {
	const { send } = setUp({ uuid: '01234567-89ab-4cde-8f01-23456789abcd' });
	t.is((await send(cdb.vpd(0x80))).dataIn.toString('latin1', 4), '0123456789ab4cde8f0123456789abcd');
});

interface Designator {
	protocol: number;
	codeSet: number;
	piv: boolean;
	association: number;
	type: number;
	value: Buffer;
}

function designators(page: Buffer): Designator[] {
	const found: Designator[] = [];
	let at = 4;
	for (; at < page.length; at += 4 + page[at + 3]!) {
		found.push({
			protocol: page[at]! >> 4,
			codeSet: page[at]! & 0x0f,
			piv: (page[at + 1]! & 0x80) !== 0,
			association: (page[at + 1]! >> 4) & 3,
			type: page[at + 1]! & 0x0f,
			value: page.subarray(at + 4, at + 4 + page[at + 3]!),
		});
	}
	if (at !== page.length) throw new Error('the last designator ends beyond the page');
	return found;
}

function text(name: string): string {
	return Buffer.from(name.padEnd(Math.ceil((name.length + 1) / 4) * 4, '\0')).toString('hex');
}

test('VPD 83: NAA-6 of 16 bytes, T10 vendor ID and name of the unit; port number, port group and names of the target', async (t) => {
	const uuid = '01234567-89ab-4cde-8f01-23456789abcd';
	const target = new ScsiTarget('iqn.2026-11.test:disk', { targetPortalGroupTag: 0x102 });
	const unit = new LogicalUnit(new MemoryDevice({ uuid }));
	target.map(0, unit);
	const nexus = newNexus();
	target.attach(nexus);
	const all = designators((await run(unit, nexus, cdb.vpd(0x83))).dataIn);
	const brief = all.map(({ value, ...rest }) => ({ ...rest, value: value.toString('hex') }));
	const naa = all[0]!.value.toString('hex');
	t.is(all[0]!.value.length, 16);
	t.regex(naa, /^6424c4b[0-9a-f]{25}$/);
	t.deepEqual(brief, [
		{ protocol: 0, codeSet: 1, piv: false, association: 0, type: 3, value: naa },
		{
			protocol: 0,
			codeSet: 2,
			piv: false,
			association: 0,
			type: 1,
			value: Buffer.from('BLKPORT 0123456789ab4cde8f0123456789abcd').toString('hex'),
		},
		{ protocol: 0, codeSet: 3, piv: false, association: 0, type: 8, value: text(`naa.${naa}`) },
		{ protocol: 5, codeSet: 1, piv: true, association: 1, type: 4, value: '00000102' },
		{ protocol: 5, codeSet: 1, piv: true, association: 1, type: 5, value: '00000102' },
		{ protocol: 5, codeSet: 3, piv: true, association: 1, type: 8, value: text('iqn.2026-11.test:disk,t,0x0102') },
		{ protocol: 5, codeSet: 3, piv: true, association: 2, type: 8, value: text('iqn.2026-11.test:disk') },
	]);
});

test('the identity of a volume is the same in another process, target and LUN: the NAA of a known UUID', async (t) => {
	const { send } = setUp({ uuid: '8c3a6f0e-58a1-4b52-9d0c-2f6f6f0b7a11' });
	const [naa] = designators((await send(cdb.vpd(0x83))).dataIn);
	t.is(naa?.value.toString('hex'), '6424c4b872aa349641f42b6c7e1d9994');
});

test('two volumes share no serial number and no designator of theirs, even if their UUIDs differ in one bit', async (t) => {
	const uuids = Array.from({ length: 200 }, () => randomUUID() as string);
	uuids.push('00000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001', '80000000-0000-4000-8000-000000000000');
	const seen = new Set<string>();
	for (const uuid of uuids) {
		const { send } = setUp({ uuid });
		seen.add((await send(cdb.vpd(0x80))).dataIn.toString('latin1', 4));
		for (const { value } of designators((await send(cdb.vpd(0x83))).dataIn)) seen.add(value.toString('hex'));
	}
	t.is(seen.size, uuids.length * 4);
});

test('VPD B0: the limits at their offsets, in blocks of the volume', async (t) => {
	for (const [blockSize, perPage] of [
		[512, 8],
		[4096, 1],
	] as const) {
		const { send } = setUp({ blockSize });
		const { dataIn } = await send(cdb.vpd(0xb0));
		t.is(dataIn.length, 64);
		t.is(dataIn.readUInt16BE(2), 0x3c);
		t.is(dataIn[4], 0x01, 'WSNZ');
		t.is(dataIn[5]! * blockSize, 64 * 1024, 'MAXIMUM COMPARE AND WRITE LENGTH');
		t.is(dataIn.readUInt16BE(6), perPage, 'OPTIMAL TRANSFER LENGTH GRANULARITY');
		t.is(dataIn.readUInt32BE(8) * blockSize, 32 * 1024 * 1024, 'MAXIMUM TRANSFER LENGTH');
		t.is(dataIn.readUInt32BE(12) * blockSize, 1024 * 1024, 'OPTIMAL TRANSFER LENGTH');
		t.is(dataIn.readUInt32BE(16) * blockSize, 32 * 1024 * 1024, 'MAXIMUM PREFETCH LENGTH');
		t.is(dataIn.readUInt32BE(20), 2 ** 20, 'MAXIMUM UNMAP LBA COUNT');
		t.is(dataIn.readUInt32BE(24), 256, 'MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT');
		t.is(dataIn.readUInt32BE(28), perPage, 'OPTIMAL UNMAP GRANULARITY');
		t.is(dataIn.readUInt32BE(32), 0x8000_0000, 'UGAVALID, alignment 0');
		t.is(dataIn.readBigUInt64BE(36), BigInt(1024 ** 3 / blockSize), 'MAXIMUM WRITE SAME LENGTH');
		t.is(dataIn.readUInt32BE(44) * blockSize, 64 * 1024, 'MAXIMUM ATOMIC TRANSFER LENGTH');
		t.true(
			dataIn.subarray(48).every((byte) => byte === 0),
			'no alignment, granularity or boundary',
		);
	}
});

test('VPD B1: a medium that does not rotate', async (t) => {
	const { send } = setUp();
	const { dataIn } = await send(cdb.vpd(0xb1));
	t.is(dataIn.length, 64);
	t.is(dataIn.readUInt16BE(4), 1);
	t.true(dataIn.subarray(6).every((byte) => byte === 0));
});

test('VPD B2: UNMAP and both WRITE SAME in byte 5, zeros after unmapping, thin', async (t) => {
	const { send } = setUp();
	t.is((await send(cdb.vpd(0xb2))).dataIn.toString('hex'), '00b2000400e40200');
});

test('INQUIRY with NACA: INVALID FIELD IN CDB at the CONTROL byte', async (t) => {
	const { send } = setUp();
	const { status, sense } = await send([0x12, 0, 0, 0, 255, 0x04]);
	t.is(status, checkCondition);
	t.deepEqual(sense, invalidField(5, 2));
});
