import test from 'ava';
import * as fc from 'fast-check';
import type { Outcome } from '../../../src/blockvol/block-device.ts';
import { limits } from '../../../src/nvmeof/limits.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import { attach, connectIO, ranged, settled, sqe } from './host.ts';

const opcodes = { flush: 0x00, write: 0x01, read: 0x02, compare: 0x05, writeZeroes: 0x08, dataManagement: 0x09, verify: 0x0c } as const;
const withRange = ['write', 'read', 'compare', 'writeZeroes', 'verify'] as const;

/** Range definitions of Dataset Management. */
function ranges(list: readonly (readonly [slba: number | bigint, blocks: number])[]): Buffer {
	const data = Buffer.alloc(16 * list.length);
	for (const [index, [slba, blocks]] of list.entries()) {
		data.writeUInt32LE(blocks, 16 * index + 4);
		data.writeBigUInt64LE(BigInt(slba), 16 * index + 8);
	}
	return data;
}

function management(count: number, attributes: number, nsid = 1): Buffer {
	return sqe({ opcode: opcodes.dataManagement, nsid, cdw10: count - 1, cdw11: attributes });
}

const deallocate = 0b100;
const force = 1 << 30;

test('Write, then Read: the bytes at their place, and FUA only where it was asked for', async (t) => {
	const { io, device } = await attach();
	const data = Buffer.alloc(8192, 0x5a);
	t.is((await io.run(ranged(opcodes.write, 16, 16), data)).status, 0);
	t.is((await io.run(ranged(opcodes.write, 40, 1, { bits: force }), data)).status, 0);
	t.deepEqual(
		device.calls.map(({ operation, offsetBytes, lengthBytes, fua }) => [operation, offsetBytes, lengthBytes, fua]),
		[
			['write', 8192, 8192, false],
			['write', 20_480, 512, true],
		],
	);
	const read = await io.run(ranged(opcodes.read, 15, 18));
	t.deepEqual(read.data, Buffer.concat([Buffer.alloc(512), data, Buffer.alloc(512)]));
});

for (const blockSize of [512, 4096] as const) {
	test(`ranges of ${blockSize}-byte blocks: to the last block, not one further, and nothing wraps`, async (t) => {
		const { io, device } = await attach({ blockSize });
		const blocks = (1024 * 1024) / blockSize;
		for (const name of withRange) {
			const opcode = opcodes[name];
			t.is((await io.run(ranged(opcode, blocks - 1, 1), Buffer.alloc(blockSize))).status, 0, name);
			device.calls.length = 0;
			for (const [slba, count] of [
				[blocks, 1],
				[blocks - 1, 2],
				[0, blocks + 1],
				[2n ** 32n, 1],
				[2n ** 53n + 1n, 1],
				[2n ** 64n - 1n, 1],
				[2n ** 64n - 1n, 2],
			] as const) {
				const answer = await io.run(ranged(opcode, slba, count));
				t.deepEqual([answer.status, answer.dnr], [0x080, true], `${name} of ${count} at ${slba}`);
			}
			t.deepEqual(device.calls, []);
		}
	});
}

test('MDTS: 4 MiB go, one block more is Invalid Field; Write Zeroes and Verify have bounds of their own', async (t) => {
	const { io } = await attach({ sizeBytes: 256 * 1024 * 1024 });
	const blocks = limits.transferBytesMax / 512;
	for (const name of ['read', 'write', 'compare'] as const) {
		t.is(io.begin(ranged(opcodes[name], 0, blocks)).request.lengthBytes, limits.transferBytesMax);
		t.is((await io.run(ranged(opcodes[name], 0, blocks + 1))).status, 0x002, name);
		t.is((await io.run(ranged(opcodes[name], 0, 65_536))).status, 0x002, name);
	}
	t.is((await io.run(ranged(opcodes.writeZeroes, 0, limits.writeZeroesBytesMax / 512))).status, 0);
	t.is((await io.run(ranged(opcodes.verify, 0, 65_536))).status, 0);
	const { io: large } = await attach({ blockSize: 4096, sizeBytes: 256 * 1024 * 1024 });
	t.is((await large.run(ranged(opcodes.writeZeroes, 0, limits.writeZeroesBytesMax / 4096))).status, 0);
	t.is((await large.run(ranged(opcodes.writeZeroes, 0, limits.writeZeroesBytesMax / 4096 + 1))).status, 0x002);
});

for (const [name, opcode] of Object.entries(opcodes)) {
	test(`${name}: a namespace that cannot be is another fault than one that is not there`, async (t) => {
		const { io, device } = await attach();
		for (const [nsid, status] of [
			[0, 0x00b],
			[1025, 0x00b],
			[0xffff_fffe, 0x00b],
			[2, 0x002],
			[1024, 0x002],
		] as const)
			t.is((await io.run(ranged(opcode, 0, 1, { nsid }))).status, status, `NSID ${nsid}`);
		if (opcode !== opcodes.flush) t.is((await io.run(ranged(opcode, 0, 1, { nsid: 0xffff_ffff }))).status, 0x00b);
		t.deepEqual(device.calls, []);
	});

	test(`${name} with PRPs or a reserved PSDT: Invalid Field`, async (t) => {
		const { io, device } = await attach();
		for (const flags of [0x00, 0x80, 0xc0]) t.is((await io.run(ranged(opcode, 0, 1, { flags }))).status, 0x002);
		t.deepEqual(device.calls, []);
	});

	test(`${name}: FUSE 11b is Invalid Field`, async (t) => {
		const { io } = await attach();
		t.is((await io.run(ranged(opcode, 0, 1, { flags: 0x43 }))).status, 0x002);
	});
}

test('opcodes that there are not: Invalid Command Opcode', async (t) => {
	const { io } = await attach();
	for (const opcode of [0x04, 0x19, 0x18, 0x0a, 0x80, 0xff]) t.is((await io.run(sqe({ opcode, nsid: 1 }))).status, 0x001);
});

test('a namespace that is write protected takes reads, Verify, Compare and Flush only', async (t) => {
	const { io, device } = await attach({ readOnly: true });
	for (const name of ['write', 'writeZeroes'] as const) {
		const answer = await io.run(ranged(opcodes[name], 0, 1), Buffer.alloc(512));
		t.deepEqual([answer.status, answer.dnr], [0x020, true], name);
	}
	t.is((await io.run(management(1, deallocate), ranges([[0, 1]]))).status, 0x020);
	t.deepEqual(device.calls, []);
	for (const name of ['read', 'compare', 'verify', 'flush'] as const) t.is((await io.run(ranged(opcodes[name], 0, 1))).status, 0, name);
});

const outcomes: [outcome: Outcome, read: number, write: number, dnr: boolean][] = [
	['outOfRange', 0x080, 0x080, true],
	['noSpace', 0x081, 0x081, true],
	['mediumError', 0x281, 0x280, true],
	['faulted', 0x006, 0x006, true],
	['closed', 0x300, 0x300, false],
];

for (const [outcome, read, write, dnr] of outcomes) {
	test(`the outcome ${outcome} of the device: its status, for every command`, async (t) => {
		const { io, device } = await attach();
		device.outcome = () => outcome;
		for (const [name, status] of [
			['read', read],
			['compare', read],
			['verify', read],
			['write', write],
			['writeZeroes', write],
			['flush', write],
		] as const) {
			const answer = await io.run(ranged(opcodes[name], 0, 1), Buffer.alloc(512));
			t.deepEqual([answer.status, answer.dnr], [status, dnr], name);
		}
		t.is((await io.run(management(1, deallocate), ranges([[0, 1]]))).status, write);
		t.is((await io.run(sqe({ opcode: opcodes.flush, nsid: 0xffff_ffff }))).status, outcome === 'mediumError' ? 0x281 : write);
	});
}

test('Flush of every namespace: all of them, and the first failure is what is said when the last is over', async (t) => {
	const { io, device, subsystem } = await attach();
	const second = new MemoryDevice();
	subsystem.addNamespace(2, second);
	t.is((await io.run(sqe({ opcode: opcodes.flush, nsid: 0xffff_ffff }))).status, 0);
	t.deepEqual([device.calls.length, second.calls.length], [1, 1]);
	device.outcome = () => 'faulted';
	second.outcome = () => 'closed';
	second.held = true;
	const flush = io.begin(sqe({ opcode: opcodes.flush, nsid: 0xffff_ffff }));
	await settled();
	t.false(flush.finished);
	second.release();
	t.is((await io.finish(flush)).status, 0x006);
	subsystem.removeNamespace(1);
	subsystem.removeNamespace(2);
	t.is((await io.run(sqe({ opcode: opcodes.flush, nsid: 0xffff_ffff }))).status, 0, 'none of them');
});

test('Compare: equal, different in the first and in the last byte; piece by piece and no longer than it has to', async (t) => {
	const { io, device } = await attach({ sizeBytes: 4 * 1024 * 1024 });
	const data = Buffer.from(Array.from({ length: 512 * 1024 }, (_, index) => (index * 7) & 0xff));
	device.poke(3 * 512, data);
	t.is((await io.run(ranged(opcodes.compare, 3, 1024), data)).status, 0);
	t.true(device.calls.every(({ operation, lengthBytes }) => operation === 'read' && lengthBytes <= limits.pieceBytes));
	t.is(
		device.calls.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
		data.length,
	);
	for (const at of [0, data.length - 1, 65_536 - 3 * 512, 65_535 - 3 * 512]) {
		const other = Buffer.from(data);
		other[at]! ^= 1;
		device.calls.length = 0;
		const answer = await io.run(ranged(opcodes.compare, 3, 1024), other);
		t.deepEqual([answer.status, answer.dnr], [0x285, true], `byte ${at}`);
		t.is(device.calls.length, 1 + Math.floor((at + 3 * 512) / limits.pieceBytes));
	}
});

test('Compare whose data comes while its namespace goes: Invalid Field', async (t) => {
	const { io, subsystem } = await attach();
	const compare = io.begin(ranged(opcodes.compare, 0, 1));
	subsystem.removeNamespace(1);
	t.is((await io.finish(compare)).status, 0x002);
});

test('Write Zeroes, with and without DEAC, gives space back and leaves its neighbours', async (t) => {
	for (const bits of [0, 1 << 25, force]) {
		const { io, device } = await attach();
		device.poke(0, Buffer.alloc(1024 * 1024, 0xee));
		t.is((await io.run(ranged(opcodes.writeZeroes, 8, 16, { bits }))).status, 0);
		t.deepEqual(
			device.calls.map(({ operation, fua }) => [operation, fua]),
			[['zero', bits === force]],
		);
		t.deepEqual(
			[device.bytes(8 * 512 - 1, 1)[0], device.bytes(8 * 512, 1)[0], device.bytes(24 * 512 - 1, 1)[0], device.bytes(24 * 512, 1)[0]],
			[0xee, 0, 0, 0xee],
		);
		t.is(device.pages, 254);
	}
});

test('Verify reads every block and answers without data', async (t) => {
	const { io, device } = await attach({ cold: true });
	const answer = await io.run(ranged(opcodes.verify, 1, 2046));
	t.deepEqual([answer.status, answer.data.length], [0, 0]);
	t.is(
		device.calls.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
		2046 * 512,
	);
});

test('Verify: as many at once as there are buffers, the others in their turn; who is gone meanwhile reads nothing', async (t) => {
	const { io, device } = await attach();
	device.held = true;
	const all = Array.from({ length: limits.verifyBuffers + 3 }, (_, cid) => io.begin(ranged(opcodes.verify, 0, 1, { cid })));
	t.is(device.calls.length, limits.verifyBuffers);
	io.abort(
		({ sqe: entry }) => entry.readUInt16LE(2) === limits.verifyBuffers,
		() => undefined,
	);
	while (device.release());
	t.is((await io.finish(all[limits.verifyBuffers]!)).status, 0x007);
	for (const one of all) if (one !== all[limits.verifyBuffers]) t.is((await io.finish(one)).status, 0);
	t.is(device.calls.length, limits.verifyBuffers + 2);
});

test('Dataset Management: each range reads as zeros, its neighbours stay', async (t) => {
	const { io, device } = await attach();
	device.poke(0, Buffer.alloc(1024 * 1024, 0xee));
	const list = [
		[8, 8],
		[17, 1],
		[100, 0],
		[2047, 1],
	] as const;
	t.is((await io.run(management(list.length, deallocate), ranges(list))).status, 0);
	const zeroed = [...Array(2048).keys()].filter((lba) => device.bytes(lba * 512, 512).every((byte) => byte === 0));
	t.deepEqual(zeroed, [8, 9, 10, 11, 12, 13, 14, 15, 17, 2047]);
	t.is(device.calls.length, 3);
});

test('Dataset Management: 256 ranges are taken whole', async (t) => {
	const { io, device } = await attach();
	const list = Array.from({ length: limits.dataManagementRangesMax }, (_, index) => [index * 8, 1] as const);
	const one = io.begin(management(list.length, deallocate));
	t.is(one.request.lengthBytes, 4096);
	t.is((await io.finish(one, ranges(list))).status, 0);
	t.is(device.calls.length, 256);
});

test('Dataset Management with a bad range anywhere changes nothing, whether it is a hint or not', async (t) => {
	const { io, device } = await attach();
	for (const bad of [
		[2048, 1],
		[2047, 2],
		[2n ** 32n, 1],
		[2n ** 64n - 1n, 1],
		[2n ** 64n - 1n, 0xffff_ffff],
		[0, 0xffff_ffff],
	] as const) {
		for (const attributes of [0, deallocate])
			t.is((await io.run(management(2, attributes), ranges([[0, 8], bad]))).status, 0x080, `${bad[0]}`);
	}
	t.deepEqual(device.calls, []);
});

test('Dataset Management without AD, or of no blocks, changes nothing and succeeds', async (t) => {
	const { io, device } = await attach();
	t.is((await io.run(management(1, 0b011), ranges([[0, 8]]))).status, 0);
	t.is((await io.run(management(1, deallocate), ranges([[2048, 0]]))).status, 0);
	t.deepEqual(device.calls, []);
});

test('Dataset Management that fails at a range, or is aborted, stops there', async (t) => {
	const { io, device } = await attach();
	device.outcome = ({ offsetBytes }) => (offsetBytes === 512 ? 'faulted' : undefined);
	t.is(
		(
			await io.run(
				management(3, deallocate),
				ranges([
					[0, 1],
					[1, 1],
					[2, 1],
				]),
			)
		).status,
		0x006,
	);
	t.is(device.calls.length, 2);
	device.outcome = undefined;
	device.calls.length = 0;
	device.held = true;
	const one = io.begin(management(2, deallocate));
	io.supply(
		one,
		ranges([
			[0, 1],
			[1, 1],
		]),
	);
	let aborted: boolean | undefined;
	io.abort(
		() => true,
		(was) => (aborted = was),
	);
	device.release();
	t.is((await io.finish(one)).status, 0x007);
	t.true(aborted);
	t.is(device.calls.length, 1);
});

test('what the device has when the connection goes is finished afterwards, once', async (t) => {
	const { io, device } = await attach();
	device.held = true;
	const kinds = [
		io.begin(ranged(opcodes.writeZeroes, 0, 1)),
		io.begin(ranged(opcodes.flush, 0, 1)),
		io.begin(ranged(opcodes.verify, 0, 2048)),
		io.begin(ranged(opcodes.compare, 0, 2048)),
		io.begin(management(2, deallocate)),
	];
	io.supply(kinds[3]!, Buffer.alloc(1024 * 1024));
	io.supply(
		kinds[4]!,
		ranges([
			[0, 1],
			[1, 1],
		]),
	);
	for (const { request } of kinds) request.aborted = true;
	io.close();
	while (device.release()) await settled();
	t.true(kinds.every(({ finished }) => finished));
	t.is(device.calls.length, 5);
});

test('two queues of one controller see one namespace', async (t) => {
	const { io, fabric, cntlid } = await attach();
	const second = await connectIO(fabric, cntlid, { qid: 2 });
	await io.run(ranged(opcodes.write, 5, 1), Buffer.alloc(512, 7));
	t.is((await second.run(ranged(opcodes.read, 5, 1))).data[511], 7);
});

test('random commands: nothing throws, and each ends in a status', async (t) => {
	await fc.assert(
		fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 64, maxLength: 64 }), { maxLength: 20 }), fc.boolean(), async (entries, tame) => {
			const { io, admin } = await attach();
			for (const bytes of entries) {
				const entry = Buffer.from(bytes);
				// Left alone, nearly all of them would fail at the first check.
				if (tame) {
					entry[0] = entry[0]! % 0x16;
					entry[1] = 0x40 | (entry[1]! & 0b11);
					entry.writeUInt32LE(entry[4]! % 3, 4);
					entry.fill(0, 42, 48);
				}
				if (entry[0] === 0x7f) continue;
				for (const queue of [io, admin]) {
					if (queue.isClosed) continue;
					const one = queue.begin(entry);
					if (one.step === 'parameters') queue.supply(one, Buffer.from(bytes));
					else if (one.step === 'read' || one.step === 'write') await queue.finish(one);
				}
				await settled();
			}
			for (const queue of [io, admin]) {
				for (const one of queue.outstanding) if (!one.request.awaitsEvent && one.step === 'pending') return false;
			}
			return true;
		}),
		{ numRuns: 150 },
	);
	t.pass();
});
