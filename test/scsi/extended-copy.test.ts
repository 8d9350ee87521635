import test from 'ava';
import * as fc from 'fast-check';
import { limits } from '../../src/scsi/limits.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { be, begin, good, invalidField, invalidParameter, newNexus, parameterListLengthError, run } from './initiator.ts';
import { MemoryDevice, type MemoryDeviceOptions } from './memory-device.ts';

const blocksMax = 65_535;
const unreachable = { key: 0xa, code: 0x0804 };
const notReachable = { key: 0xa, code: 0x0d02 };

interface SegmentOptions {
	source?: number;
	destination?: number;
	blocks: number;
	from: number;
	to: number;
	flags?: number;
	type?: number;
	length?: number;
}

/** An Identification Descriptor CSCD descriptor. */
function device(unit: LogicalUnit, { naa = unit.identity.naa, type = 0xe4, blockSize = unit.device.blockSize, byte1 = 0 } = {}): number[] {
	const designator = [...naa, ...Array.from({ length: 20 - naa.length }, () => 0)];
	return [type, byte1, 0, 0, 1, 3, 0, naa.length, ...designator, 0, ...be(blockSize, 3)];
}

function segment({ source = 0, destination = 0, blocks, from, to, flags = 0, type = 2, length = 0x18 }: SegmentOptions): number[] {
	return [type, flags, ...be(length, 2), ...be(source, 2), ...be(destination, 2), 0, 0, ...be(blocks, 2), ...be(from, 8), ...be(to, 8)];
}

function list(devices: number[][], segments: number[][], { id = 1, usage = 0, inline = 0 } = {}): Buffer {
	const [first, second] = [devices.flat(), segments.flat()];
	return Buffer.from([id, usage << 3, ...be(first.length, 2), 0, 0, 0, 0, ...be(second.length, 4), ...be(inline, 4), ...first, ...second]);
}

const copyCdb = (lengthBytes: number) => [0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...be(lengthBytes, 4), 0, 0];
const results = (action: number, id: number, allocationLength = 255) => [
	0x84,
	action,
	id,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	...be(allocationLength, 4),
	0,
	0,
];

/** Two volumes under one target, and an initiator that reaches both. */
function setUp(first: MemoryDeviceOptions = {}, second: MemoryDeviceOptions = {}) {
	const devices = [
		new MemoryDevice({ sizeBytes: 8 * 1024 * 1024, ...first }),
		new MemoryDevice({ uuid: '11111111-58a1-4b52-9d0c-2f6f6f0b7a12', sizeBytes: 8 * 1024 * 1024, ...second }),
	] as const;
	const units = [new LogicalUnit(devices[0]), new LogicalUnit(devices[1])] as const;
	const target = new ScsiTarget('iqn.2026-11.test:copies');
	const nexus = newNexus();
	target.attach(nexus);
	for (const [lun, unit] of units.entries()) {
		target.map(lun, unit);
		while (unit.takeAttention(nexus) !== undefined);
	}
	while (units[0].takeAttention(nexus) !== undefined);
	const copy = async (data: Buffer, lengthBytes = data.length) => await run(units[0], nexus, copyCdb(lengthBytes), data);
	return { devices, units, target, nexus, copy };
}

test('EXTENDED COPY within a volume: the blocks arrive, the neighbours and the source stay', async (t) => {
	const { devices, units, copy } = setUp();
	const data = Buffer.alloc(3000 * 512, 'copied from here');
	devices[0].poke(7 * 512, data);
	t.is((await copy(list([device(units[0])], [segment({ blocks: 3000, from: 7, to: 8001 })]))).status, good);
	t.deepEqual(devices[0].bytes(8001 * 512, data.length), data);
	t.deepEqual(devices[0].bytes(7 * 512, data.length), data);
	t.deepEqual(devices[0].bytes(11_001 * 512, 512), Buffer.alloc(512));
});

test('EXTENDED COPY between two volumes of a target, of different block sizes; DC counts the blocks of the destination', async (t) => {
	const { devices, units, copy } = setUp({}, { blockSize: 4096 });
	const data = Buffer.alloc(64 * 512, 'other');
	devices[0].poke(0, data);
	const both = [device(units[0]), device(units[1])];
	t.is((await copy(list(both, [segment({ destination: 1, blocks: 64, from: 0, to: 3 })]))).status, good);
	t.deepEqual(devices[1].bytes(3 * 4096, data.length), data);
	t.is((await copy(list(both, [segment({ destination: 1, blocks: 8, from: 0, to: 100, flags: 2 })]))).status, good);
	t.deepEqual(devices[1].bytes(100 * 4096, data.length), data);
	t.deepEqual((await copy(list(both, [segment({ destination: 1, blocks: 3, from: 0, to: 0 })]))).sense, { key: 0xa, code: 0x260a });
});

test('EXTENDED COPY of what the source does not hold: zeros, and no data is moved', async (t) => {
	const { devices, units, copy } = setUp();
	devices[1].poke(0, Buffer.alloc(8 * 1024 * 1024, 0xee));
	devices[0].poke(1024 * 1024, Buffer.alloc(4096, 7));
	const both = [device(units[0]), device(units[1])];
	devices[0].calls.length = 0;
	t.is((await copy(list(both, [segment({ destination: 1, blocks: 8192, from: 0, to: 0 })]))).status, good);
	const expected = Buffer.alloc(4 * 1024 * 1024);
	expected.fill(7, 1024 * 1024, 1024 * 1024 + 4096);
	t.deepEqual(devices[1].bytes(0, expected.length), expected);
	t.is(devices[1].bytes(expected.length, 1)[0], 0xee);
	t.deepEqual(
		devices[1].calls.map(({ operation, lengthBytes }) => [operation, lengthBytes]),
		[
			['zero', 1024 * 1024],
			['write', 4096],
			['zero', 4 * 1024 * 1024 - 1024 * 1024 - 4096],
		],
	);
});

test('EXTENDED COPY onto itself, a block or a piece further or back: as if it had been read whole before', async (t) => {
	for (const distance of [1, 8, 3000, -1, -8, -3000]) {
		const { devices, units, copy } = setUp();
		const [from, blocks] = [4000, 5000];
		const data = Buffer.from(Array.from({ length: blocks * 512 }, (_, index) => (index * 7 + (index >> 9)) & 0xff));
		devices[0].poke(from * 512, data);
		t.is((await copy(list([device(units[0])], [segment({ blocks, from, to: from + distance })]))).status, good);
		t.deepEqual(devices[0].bytes((from + distance) * 512, data.length), data, `${distance}`);
	}
});

test('EXTENDED COPY: segments in their order, up to the one that fails; COPY STATUS says how far it came', async (t) => {
	const { devices, units, nexus, copy } = setUp();
	devices[0].poke(0, Buffer.alloc(512, 1));
	const segments = [
		segment({ blocks: 1, from: 0, to: 1 }),
		segment({ blocks: 1, from: 1, to: 2 }),
		segment({ blocks: 2, from: 0, to: 16_383 }),
		segment({ blocks: 1, from: 0, to: 5 }),
	];
	t.deepEqual((await copy(list([device(units[0])], segments, { id: 9 }))).sense, notReachable);
	t.deepEqual(devices[0].bytes(0, 5 * 512), Buffer.concat([Buffer.alloc(3 * 512, 1), Buffer.alloc(2 * 512)]));
	const failed = (await run(units[0], nexus, results(0, 9))).dataIn;
	t.is(failed.toString('hex'), '000000080200020100000001');
	t.is((await copy(list([device(units[0])], segments.slice(0, 2), { id: 10 }))).status, good);
	t.is((await run(units[0], nexus, results(0, 10))).dataIn[4], 1);
});

test('COPY STATUS of a copy under way; its identifier is taken meanwhile; an unknown one, of another nexus or discarded: INVALID FIELD IN CDB', async (t) => {
	const { devices, units, target, nexus, copy } = setUp();
	devices[0].poke(0, Buffer.alloc(4096, 1));
	devices[0].held = true;
	const data = list([device(units[0])], [segment({ blocks: 8, from: 0, to: 100 })]);
	const { task, done } = begin((each) => units[0].start(each, nexus), copyCdb(data.length));
	t.is(units[0].parameters(task, data), 'pending');
	await new Promise((resolve) => setImmediate(resolve));
	t.is((await run(units[0], nexus, results(0, 1))).dataIn[4], 0);
	t.deepEqual((await copy(data)).sense, { key: 5, code: 0x0016 });
	devices[0].held = false;
	devices[0].release();
	await done;
	t.is(task.status, good);
	t.is((await run(units[0], nexus, results(0, 1))).dataIn[4], 1);
	t.deepEqual((await run(units[0], nexus, results(0, 2))).sense, invalidField(2, 7));
	const other = newNexus('iqn.2026-11.test:other');
	target.attach(other);
	while (units[0].takeAttention(other) !== undefined);
	t.deepEqual((await run(units[0], other, results(0, 1))).sense, invalidField(2, 7));
	t.is((await copy(list([device(units[0])], [segment({ blocks: 1, from: 0, to: 1 })], { id: 3, usage: 2 }))).status, good);
	t.deepEqual((await run(units[0], nexus, results(0, 3))).sense, invalidField(2, 7));
	units[0].reset();
	units[0].takeAttention(nexus);
	t.deepEqual((await run(units[0], nexus, results(0, 1))).sense, invalidField(2, 7), 'a reset forgets it');
});

test('as many copies at once as the limit says, one more is BUSY; of so many results the oldest gives way', async (t) => {
	const { devices, units, nexus, copy } = setUp();
	devices[0].poke(0, Buffer.alloc(4096, 1));
	const one = (id: number) => list([device(units[0])], [segment({ blocks: 8, from: 0, to: 100 })], { id });
	devices[0].held = true;
	const running = Array.from({ length: limits.copiesPerUnit }, (_, id) => {
		const { task, done } = begin((each) => units[0].start(each, nexus), copyCdb(one(id).length));
		t.is(units[0].parameters(task, one(id)), 'pending');
		return { task, done };
	});
	t.is((await copy(one(99))).status, 0x08);
	await new Promise((resolve) => setImmediate(resolve));
	devices[0].held = false;
	while (devices[0].release());
	for (const { task, done } of running) {
		await done;
		t.is(task.status, good);
	}
	for (let id = 100; id < 100 + limits.copyResultsPerNexus; id++) t.is((await copy(one(id))).status, good);
	t.deepEqual((await run(units[0], nexus, results(0, 0))).sense, invalidField(2, 7));
	for (let id = 100; id < 100 + limits.copyResultsPerNexus; id++) t.is((await run(units[0], nexus, results(0, id))).dataIn[4], 1);
});

test('EXTENDED COPY that is aborted ends at its next piece', async (t) => {
	const { devices, units, nexus } = setUp();
	devices[0].poke(0, Buffer.alloc(3 * 1024 * 1024, 1));
	devices[0].held = true;
	const data = list([device(units[0])], [segment({ blocks: 6144, from: 0, to: 8192 })]);
	const { task, done } = begin((each) => units[0].start(each, nexus), copyCdb(data.length));
	t.is(units[0].parameters(task, data), 'pending');
	await new Promise((resolve) => setImmediate(resolve));
	task.aborted = true;
	devices[0].held = false;
	devices[0].release();
	await done;
	t.is(task.status, 0x40);
	t.is(devices[0].calls.filter(({ operation }) => operation === 'write').length, 1);
});

test('EXTENDED COPY to or from a unit that is not in the target, read only, reserved by another, or fails', async (t) => {
	const far = new LogicalUnit(new MemoryDevice({ uuid: '22222222-58a1-4b52-9d0c-2f6f6f0b7a12' }));
	const { devices, units, copy } = setUp();
	const across = (first: LogicalUnit, second: LogicalUnit) =>
		list([device(first), device(second)], [segment({ destination: 1, blocks: 8, from: 0, to: 0 })]);
	t.deepEqual((await copy(across(units[0], far))).sense, unreachable);
	t.deepEqual((await copy(across(far, units[0]))).sense, unreachable);
	t.deepEqual((await copy(list([device(units[0])], [segment({ source: 1, blocks: 1, from: 0, to: 1 })]))).sense, unreachable);
	t.deepEqual((await copy(list([device(units[0])], [segment({ destination: 1, blocks: 1, from: 0, to: 1 })]))).sense, unreachable);
	const other = newNexus('iqn.2026-11.test:other');
	units[1].reservations.reserveUnit(other.registrant);
	t.deepEqual((await copy(across(units[0], units[1]))).sense, notReachable);
	t.deepEqual((await copy(across(units[1], units[0]))).sense, notReachable);
	units[1].reservations.endUnitReservation();
	t.is((await copy(across(units[0], units[1]))).status, good);
	for (const [outcome, sense] of [
		['mediumError', { key: 0xa, code: 0x0d01 }],
		['noSpace', { key: 7, code: 0x2707 }],
	] as const) {
		devices[0].poke(0, Buffer.alloc(512, 1));
		devices[1].outcome = () => outcome;
		t.deepEqual((await copy(across(units[0], units[1]))).sense, sense);
	}
	devices[1].outcome = () => 'closed';
	t.is((await copy(across(units[0], units[1]))).status, 0x08, 'the volume is being shut down: BUSY');
});

test('EXTENDED COPY to a write-protected unit, or one without write cache', async (t) => {
	const { devices, units, copy } = setUp();
	const both = list([device(units[0]), device(units[1])], [segment({ destination: 1, blocks: 8, from: 0, to: 0 })]);
	units[1].mode.isWriteBack = false;
	t.is((await copy(both)).status, good);
	t.true(devices[1].calls.every(({ fua }) => fua));
	units[1].mode.isWriteProtected = true;
	devices[1].calls.length = 0;
	t.deepEqual((await copy(both)).sense, notReachable);
	t.deepEqual(devices[1].calls, []);
});

test('EXTENDED COPY lists: lengths, counts and types by the standard, nothing is copied', async (t) => {
	const { devices, units, copy } = setUp();
	const d = device(units[0]);
	const s = segment({ blocks: 1, from: 0, to: 1 });
	t.is((await copy(Buffer.alloc(0))).status, good);
	t.is((await copy(list([d], []))).status, good);
	const whole = list([d], [s]);
	for (let length = 1; length < whole.length; length++)
		t.deepEqual((await copy(whole.subarray(0, length))).sense, parameterListLengthError, `${length} bytes`);
	const many = Array.from({ length: limits.copyDevicesMax + 1 }, () => d);
	t.deepEqual((await copy(list(many, [s]))).sense, { key: 5, code: 0x2606 });
	t.deepEqual(
		(
			await copy(
				list(
					[d],
					Array.from({ length: limits.copySegmentsMax + 1 }, () => s),
				),
			)
		).sense,
		{ key: 5, code: 0x2608 },
	);
	t.deepEqual(
		(
			await copy(
				list(
					many,
					Array.from({ length: limits.copySegmentsMax }, () => s),
				),
			)
		).sense,
		parameterListLengthError,
	);
	t.deepEqual((await copy(list([device(units[0], { type: 0xe0 })], [s]))).sense, { key: 5, code: 0x2607 });
	t.deepEqual((await copy(list([d], [segment({ blocks: 1, from: 0, to: 1, type: 3 })]))).sense, { key: 5, code: 0x2609 });
	t.deepEqual((await copy(list([d], [s], { inline: 4 }))).sense, { key: 5, code: 0x260b });
	t.deepEqual((await copy(list([d], [segment({ blocks: 1, from: 0, to: 1, length: 0x14 })]))).sense, invalidParameter(16 + 32 + 2, 7));
	t.deepEqual((await copy(list([device(units[0], { blockSize: 4096 })], [s]))).sense, invalidParameter(16 + 29, 7));
	t.deepEqual((await copy(list([device(units[0], { byte1: 1 })], [s]))).sense, invalidParameter(16 + 1, 4));
	t.deepEqual((await copy(list([d], [s], { usage: 1 }))).sense, invalidParameter(1, 4));
	t.deepEqual((await copy(list([d], [s], { usage: 3 }))).sense, invalidParameter(0, 7));
	t.deepEqual(devices[0].calls, []);
	t.is((await copy(list([d], [s], { usage: 3, id: 0 }))).status, good);
});

test('EXTENDED COPY of the longest segment is taken, of a longer one refused', async (t) => {
	const size = { sizeBytes: 2 ** 30 };
	const { devices, units, copy } = setUp({ ...size, blockSize: 4096 }, { ...size, blockSize: 4096 });
	const both = [device(units[0]), device(units[1])];
	const most = limits.copySegmentBytesMax / 4096;
	t.is((await copy(list(both, [segment({ destination: 1, blocks: most, from: 0, to: 0 })]))).status, good);
	t.deepEqual((await copy(list(both, [segment({ destination: 1, blocks: most + 1, from: 0, to: 0 })]))).sense, notReachable);
	t.true(most < blocksMax);
	t.is(devices[1].calls.length, 1, 'nothing there: one zero call');
});

test('RECEIVE COPY OPERATING PARAMETERS: the limits at their offsets, block to block and identification descriptors', async (t) => {
	const { units, nexus } = setUp();
	const { dataIn } = await run(units[0], nexus, results(3, 0));
	t.is(dataIn.readUInt32BE(0), dataIn.length - 4);
	t.is(dataIn[4], 1, 'SNLID');
	t.is(dataIn.readUInt16BE(8), limits.copyDevicesMax);
	t.is(dataIn.readUInt16BE(10), limits.copySegmentsMax);
	t.is(dataIn.readUInt32BE(12), limits.copyDescriptorBytesMax);
	t.is(dataIn.readUInt32BE(16), limits.copySegmentBytesMax);
	t.is(dataIn.readUInt32BE(20), 0, 'inline data');
	t.is(dataIn.readUInt32BE(24), 0, 'held data');
	t.is(dataIn[36], limits.copiesPerUnit);
	t.is(dataIn[37], 9);
	t.is(dataIn.toString('hex', 43), '0202e4');
	t.deepEqual((await run(units[0], nexus, results(1, 0))).sense, invalidField(1, 4), 'RECEIVE COPY DATA');
	t.deepEqual((await run(units[0], nexus, results(4, 0))).sense, invalidField(1, 4), 'FAILED SEGMENT DETAILS');
});

test('VPD 8F: commands, limits and descriptors of third-party copies, each descriptor padded to words; 3PC in INQUIRY', async (t) => {
	const { units, nexus } = setUp();
	const { dataIn } = await run(units[0], nexus, [0x12, 1, 0x8f, 4, 0, 0]);
	t.is(dataIn.readUInt16BE(2), dataIn.length - 4);
	const found = new Map<number, Buffer>();
	for (let at = 4; at < dataIn.length; at += 4 + dataIn.readUInt16BE(at + 2)) {
		t.is(dataIn.readUInt16BE(at + 2) % 4, 0);
		found.set(dataIn.readUInt16BE(at), dataIn.subarray(at, at + 4 + dataIn.readUInt16BE(at + 2)));
	}
	t.deepEqual([...found.keys()], [1, 4, 8, 12, 0x8001]);
	t.is(found.get(1)!.toString('hex', 4), '0783010084020003');
	t.is(found.get(4)!.length, 32);
	t.is(found.get(4)!.readUInt16BE(8), limits.copyDevicesMax);
	t.is(found.get(4)!.readUInt16BE(10), limits.copySegmentsMax);
	t.is(found.get(4)!.readUInt32BE(12), limits.copyDescriptorBytesMax);
	t.is(found.get(8)!.toString('hex', 4), '0202e400');
	t.is(found.get(0x8001)!.readUInt32BE(12), limits.copySegmentBytesMax);
	t.is((await run(units[0], nexus, [0x12, 0, 0, 0, 96, 0])).dataIn[5]! & 0x08, 0x08);
});

test('EXTENDED COPY lists with bytes changed at random: a legal status and legal sense, nothing throws, nothing is copied beyond the medium', async (t) => {
	const flips = fc.array(fc.tuple(fc.nat(16 + 64 + 56 - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
	await fc.assert(
		fc.asyncProperty(flips, fc.boolean(), async (changes, isShort) => {
			const { devices, units, copy } = setUp({ sizeBytes: 1024 * 1024 }, { sizeBytes: 1024 * 1024 });
			devices[0].poke(0, Buffer.alloc(64 * 1024, 1));
			const segments = [segment({ destination: 1, blocks: 64, from: 0, to: 100 }), segment({ source: 1, blocks: 64, from: 100, to: 2 })];
			const data = list([device(units[0]), device(units[1])], segments);
			for (const [index, value] of changes) data[index]! ^= value;
			const { status, sense } = await copy(isShort ? data.subarray(0, data.length - changes.length) : data);
			t.true(status === good || status === 0x02);
			if (sense !== undefined) t.true([0x5, 0xa].includes(sense.key), `${sense.key}`);
			for (const { calls, sizeBytes } of devices) for (const call of calls) t.true(call.offsetBytes + call.lengthBytes <= sizeBytes);
		}),
		{ numRuns: 300 },
	);
});
