import test from 'ava';
import type { Outcome } from '../../../src/blockvol/block-device.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import * as commands from '../../nvme-host/commands.ts';
import type { Namespace } from '../../nvme-host/namespace.ts';
import type { Result } from '../../nvme-host/queue.ts';
import { capsuleCmd, described } from '../../nvme-host/raw-connection.ts';
import { pduType, putU32 } from '../../nvme-host/wire.ts';
import { content, otherSubnqn, World } from './world.ts';

const { ioOpcode } = commands;
const everyNamespace = 0xffffffff;
const mebibyte = 1024 * 1024;

/** How each command that has a range, or data, is said with any range. */
const ranged: Record<string, { opcode: number; data: 'in' | 'out' | 'none' }> = {
	Read: { opcode: ioOpcode.read, data: 'in' },
	Write: { opcode: ioOpcode.write, data: 'out' },
	Compare: { opcode: ioOpcode.compare, data: 'out' },
	'Write Zeroes': { opcode: ioOpcode.writeZeroes, data: 'none' },
	Verify: { opcode: ioOpcode.verify, data: 'none' },
};

async function run(
	namespace: Namespace,
	{ opcode, data }: { opcode: number; data: string },
	lba: number,
	blocks: number,
	nsid = namespace.nsid,
): Promise<Result> {
	const lengthBytes = blocks * namespace.blockSize;
	return await namespace.execute(
		(sqe) => commands.range(sqe, opcode, nsid, lba, blocks),
		data === 'in' ? { dataInBytes: lengthBytes } : data === 'out' ? { dataOut: content(lengthBytes) } : {},
	);
}

for (const [name, command] of Object.entries(ranged)) {
	for (const [where, lba, blocks] of [
		['one block past the end', 131_072, 1],
		['across the end', 131_071, 2],
		['at 2^52', 2 ** 52, 1],
		['across the end by much', 131_000, 200],
	] as const) {
		test(`${name} ${where}: LBA Out of Range, Do Not Retry, and the medium is as before`, async (t) => {
			const world = await World.open(t);
			const namespace = await world.namespace();
			t.is(namespace.blocks, 131_072);
			const before = world.device.bytes(131_000 * 512, 72 * 512);
			const result = await run(namespace, command, lba, blocks);
			t.is(result.status, 0x080);
			t.true(result.dnr);
			t.deepEqual(world.device.bytes(131_000 * 512, 72 * 512), before);
			await namespace.flush();
		});
	}
	test(`${name} of the last block is in range`, async (t) => {
		const world = await World.open(t);
		const namespace = await world.namespace();
		if (command.data === 'out') world.device.poke(131_071 * 512, content(512));
		t.is((await run(namespace, command, 131_071, 1)).status, 0);
	});
	for (const [nsid, status] of [
		[0, 0x00b],
		[0x10000, 0x00b],
		[0xfffffffe, 0x00b],
		[everyNamespace, 0x00b],
		// One that could be and is not is inactive, and no invalid one.
		[2, 0x002],
	] as const) {
		test(`${name} of namespace ${nsid.toString(16)}h: status ${status.toString(16)}h`, async (t) => {
			const world = await World.open(t);
			const namespace = await world.namespace();
			const result = await run(namespace, command, 0, 8, nsid);
			t.is(result.status, status);
			t.true(result.dnr);
		});
	}
}

test('an SLBA of 2^64 − 1 and its neighbours do not wrap', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	for (const slba of [0xffffffffffffffffn, 0xfffffffffffffff8n, 0x8000000000000000n, 0x0080000000000000n]) {
		for (const { opcode, data } of Object.values(ranged)) {
			const fill = (sqe: Buffer): void => {
				commands.range(sqe, opcode, 1, 0, 8);
				sqe.writeBigUInt64LE(slba, 40);
			};
			const result = await namespace.execute(
				fill,
				data === 'in' ? { dataInBytes: 4096 } : data === 'out' ? { dataOut: content(4096) } : {},
			);
			t.is(result.status, 0x080, `opcode ${opcode}, SLBA ${slba.toString(16)}h`);
		}
	}
});

for (const name of ['Read', 'Write', 'Compare']) {
	test(`${name} above MDTS: Invalid Field; of exactly MDTS it is carried out`, async (t) => {
		const world = await World.open(t);
		const namespace = await world.namespace();
		const most = 4 * mebibyte;
		const above = await namespace.execute(
			(sqe) => commands.range(sqe, ranged[name]!.opcode, 1, 0, most / 512 + 1),
			name === 'Read' ? { dataInBytes: most + 512 } : { dataOut: Buffer.alloc(most + 512) },
		);
		t.is(above.status, 0x002);
		t.true(above.dnr);
		t.is((await run(namespace, ranged[name]!, 0, most / 512)).status, name === 'Compare' ? 0x285 : 0);
	});
}

test('Write Zeroes above WZSL: Invalid Field; of exactly WZSL it is carried out', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	const wzsl = (await namespace.association.identify(0x06))[1]!;
	if (wzsl === 0) {
		t.is((await run(namespace, ranged['Write Zeroes']!, 0, 65_536)).status, 0);
		return;
	}
	const blocks = (4096 << wzsl) / 512;
	t.is((await run(namespace, ranged['Write Zeroes']!, 0, blocks)).status, 0);
	if (blocks < 65_536) t.is((await run(namespace, ranged['Write Zeroes']!, 0, blocks + 1)).status, 0x002);
});

for (const opcode of [0x04, 0x0a, 0x0b, 0x10, 0x19, 0x79, 0x7d, 0x80, 0xff]) {
	test(`I/O opcode ${opcode.toString(16)}h: Invalid Command Opcode`, async (t) => {
		const world = await World.open(t);
		const namespace = await world.namespace();
		const result = await namespace.execute((sqe) => commands.plain(sqe, opcode, 1));
		t.is(result.status, 0x001);
		t.true(result.dnr);
	});
}

test('admin commands on an I/O queue are I/O opcodes there', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	// Identify is 06h and Keep Alive 18h: no I/O commands that this controller has.
	t.is((await namespace.execute((sqe) => commands.identify(sqe, 1), { dataInBytes: 4096 })).status, 0x001);
	t.is((await namespace.execute((sqe) => commands.keepAlive(sqe))).status, 0x001);
});

test('FUA goes to the medium, Flush flushes, and of all namespaces too', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	await namespace.write(0, content(4096), { fua: true });
	t.true(world.device.calls.at(-1)!.fua);
	await namespace.write(0, content(65_536), { fua: true });
	t.true(world.device.calls.at(-1)!.fua);
	await namespace.write(0, content(4096));
	t.false(world.device.calls.at(-1)!.fua);
	await namespace.flush();
	t.is(world.device.calls.at(-1)!.operation, 'flush');
	const calls = world.device.calls.length;
	t.is((await namespace.execute((sqe) => commands.flush(sqe, everyNamespace))).status, 0);
	t.is(world.device.calls.length, calls + 1);
	t.is((await namespace.execute((sqe) => commands.flush(sqe, 5))).status, 0x002);
	await namespace.execute((sqe) => commands.range(sqe, ioOpcode.writeZeroes, 1, 0, 8, { fua: true }));
	t.true(world.device.calls.at(-1)!.fua);
});

test('Read with FUA: what it reads is put on the medium first, and a flush that fails is its answer; without FUA nothing is flushed', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	const data = content(8192);
	await namespace.write(3, data);
	const before = world.device.calls.length;
	const read = (fua: boolean) =>
		namespace.execute((sqe) => commands.range(sqe, ioOpcode.read, 1, 3, 16, { fua }), { dataInBytes: data.length });
	t.true((await read(false)).data.equals(data));
	t.false(world.device.calls.slice(before).some(({ operation }) => operation === 'flush'));
	const plain = await read(true);
	t.is(plain.status, 0);
	t.true(plain.data.equals(data));
	t.deepEqual(world.device.calls.slice(before).filter(({ operation }) => operation === 'flush').length, 1);
	world.device.held = true;
	const waiting = read(true);
	await world.until(() => world.device.calls.slice(before).filter(({ operation }) => operation === 'flush').length === 2);
	await namespace.execute((sqe) => commands.range(sqe, ioOpcode.read, 1, 3, 1), { dataInBytes: 512 });
	world.device.held = false;
	while (world.device.release());
	t.true((await waiting).data.equals(data));
	world.device.outcome = ({ operation }) => (operation === 'flush' ? 'faulted' : undefined);
	const failed = await read(true);
	t.is(failed.status, 0x006);
	t.is(failed.data.length, 0);
});

test('Compare and Verify with FUA flush before they read, without it they do not', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	const data = content(8192);
	await namespace.write(0, data);
	const flushes = (): number => world.device.calls.filter(({ operation }) => operation === 'flush').length;
	for (const [opcode, dataOut] of [
		[ioOpcode.compare, data],
		[ioOpcode.verify, undefined],
	] as const) {
		const run = (fua: boolean) =>
			namespace.execute((sqe) => commands.range(sqe, opcode, 1, 0, 16, { fua }), dataOut === undefined ? {} : { dataOut });
		const before = flushes();
		t.is((await run(false)).status, 0);
		t.is(flushes(), before);
		t.is((await run(true)).status, 0);
		t.is(flushes(), before + 1);
		t.is(world.device.calls.findLast(({ operation }) => operation !== 'tryRead')!.operation, 'read', 'it reads behind the flush');
		world.device.outcome = ({ operation }) => (operation === 'flush' ? 'faulted' : undefined);
		t.is((await run(true)).status, 0x006);
		world.device.outcome = undefined;
	}
});

test('a read-only namespace: everything that writes is refused with Namespace is Write Protected, reads go on', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace({ subnqn: otherSubnqn }, 9);
	const device = world.registry.find(otherSubnqn)!.namespaces.get(9)!.device as MemoryDevice;
	const calls = device.calls.length;
	for (const name of ['Write', 'Write Zeroes']) {
		const result = await run(namespace, ranged[name]!, 0, 8);
		t.is(result.status, 0x020, name);
	}
	const ranges = commands.datasetRanges([{ lba: 0, blocks: 8 }]);
	t.is((await namespace.execute((sqe) => commands.datasetManagement(sqe, 9, 1), { dataOut: ranges })).status, 0x020);
	t.is(device.calls.slice(calls).filter(({ operation }) => operation === 'write' || operation === 'zero').length, 0);
	t.deepEqual(await namespace.read(0, 8), Buffer.alloc(4096));
	await namespace.flush();
});

test('Write Zeroes and deallocate: zeros are read and the space is given back', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	await namespace.write(0, content(65_536));
	const pages = world.device.pages;
	await namespace.zero(0, 64);
	t.deepEqual(await namespace.read(0, 64), Buffer.alloc(32_768));
	t.deepEqual(await namespace.read(64, 64), content(65_536).subarray(32_768));
	t.true(world.device.pages < pages);
	await namespace.deallocate([
		{ lba: 64, blocks: 8 },
		{ lba: 80, blocks: 8 },
		{ lba: 100, blocks: 0 },
	]);
	t.deepEqual(await namespace.read(64, 8), Buffer.alloc(4096));
	t.deepEqual(await namespace.read(72, 8), content(65_536).subarray(36_864, 40_960));
	t.deepEqual(await namespace.read(80, 8), Buffer.alloc(4096));
});

test('Dataset Management: 256 ranges, hints without effect, and a range past the end', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	await namespace.write(0, content(mebibyte));
	await namespace.deallocate(Array.from({ length: 256 }, (_none, index) => ({ lba: index * 8, blocks: 4 })));
	const left = await namespace.read(0, 2048);
	for (let index = 0; index < 256; index++) {
		t.true(left.subarray(index * 4096, index * 4096 + 2048).every((byte) => byte === 0));
		t.deepEqual(
			left.subarray(index * 4096 + 2048, (index + 1) * 4096),
			content(mebibyte).subarray(index * 4096 + 2048, (index + 1) * 4096),
		);
	}
	const ranges = commands.datasetRanges([{ lba: 0, blocks: 2048 }]);
	t.is((await namespace.execute((sqe) => commands.datasetManagement(sqe, 1, 1, false), { dataOut: ranges })).status, 0);
	t.true((await namespace.read(0, 2048)).equals(left), 'without AD nothing happens');
	const beyond = commands.datasetRanges([
		{ lba: 0, blocks: 8 },
		{ lba: namespace.blocks - 1, blocks: 2 },
	]);
	t.is((await namespace.execute((sqe) => commands.datasetManagement(sqe, 1, 2), { dataOut: beyond })).status, 0x080);
	t.is((await namespace.execute((sqe) => commands.datasetManagement(sqe, 2, 1), { dataOut: ranges })).status, 0x002);
	t.is((await namespace.execute((sqe) => commands.datasetManagement(sqe, 1, 2), { dataOut: ranges })).status, 0x00f, 'one range of two');
});

test('Dataset Management in a buffer for 256 ranges, as Linux sends it: what is behind the counted ones is not looked at', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	await namespace.write(0, content(65_536));
	const room = Buffer.alloc(4096 + 16, 0xff);
	commands.datasetRanges([{ lba: 8, blocks: 8 }]).copy(room);
	const send = async (bytes: number, ranges: number): Promise<number> =>
		(await namespace.execute((sqe) => commands.datasetManagement(sqe, 1, ranges), { dataOut: room.subarray(0, bytes) })).status;
	t.is(await send(4096, 1), 0);
	const left = content(65_536).fill(0, 4096, 8192);
	t.deepEqual(await namespace.read(0, 128), left);
	t.is(await send(4096, 2), 0x080, 'the second one is counted now');
	t.is(await send(4096 + 16, 1), 0x00f, 'more than there can be');
	t.is(await send(16, 2), 0x00f, 'less than was counted');
	t.deepEqual(await namespace.read(0, 128), left);
});

test('Compare: equal, different in the last byte, and nothing is changed', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	for (const lengthBytes of [512, 8192, 65_536, mebibyte, 4 * mebibyte]) {
		const data = content(lengthBytes, lengthBytes);
		await namespace.write(0, data);
		t.is((await namespace.compare(0, data)).status, 0);
		data[lengthBytes - 1]! ^= 1;
		const different = await namespace.compare(0, data);
		t.is(different.status, 0x285);
		data[lengthBytes - 1]! ^= 1;
		t.true((await namespace.read(0, lengthBytes / 512)).equals(data));
	}
});

test('fused Compare and Write: writes when equal, else Compare Failure and Command Aborted due to Failed Fused Command', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	for (const lengthBytes of [512, 4096, 65_536]) {
		const [old, fresh] = [content(lengthBytes, 1), content(lengthBytes, 2)];
		await namespace.write(16, old);
		const good = await namespace.compareAndWrite(16, old, fresh);
		t.deepEqual([good[0].status, good[1].status], [0, 0]);
		t.deepEqual(await namespace.read(16, lengthBytes / 512), fresh);
		const bad = await namespace.compareAndWrite(16, old, content(lengthBytes, 3));
		t.deepEqual([bad[0].status, bad[1].status], [0x285, 0x009]);
		t.deepEqual(await namespace.read(16, lengthBytes / 512), fresh);
	}
});

test('fused Compare and Write is one step: of 64 that race from two queues on one counter none is lost', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace({ ioQueues: 2 });
	let wins = 0;
	const compete = async (queueIndex: number): Promise<void> => {
		for (let round = 0; round < 32; round++) {
			for (;;) {
				const seen = await namespace.read(0, 1, queueIndex);
				const next = Buffer.from(seen);
				putU32(next, 0, seen.readUInt32LE(0) + 1);
				const [compared, written] = await namespace.compareAndWrite(0, seen, next, queueIndex);
				if (compared.status === 0 && written.status === 0) break;
				t.deepEqual([compared.status, written.status], [0x285, 0x009]);
			}
			wins++;
		}
	};
	await Promise.all([compete(0), compete(1)]);
	t.is(wins, 64);
	t.is((await namespace.read(0, 1)).readUInt32LE(0), 64);
});

const halves: Record<string, { pair: [opcode: number, fuse: number, lba: number, blocks: number][]; statuses: (readonly number[])[] }> = {
	'a second without a first': { pair: [[ioOpcode.write, 2, 0, 1]], statuses: [[0x00a]] },
	'a first that another command follows': {
		pair: [
			[ioOpcode.compare, 1, 0, 1],
			[ioOpcode.write, 0, 8, 1],
		],
		statuses: [[0x00a], [0]],
	},
	'two firsts, then a second': {
		pair: [
			[ioOpcode.compare, 1, 0, 1],
			[ioOpcode.compare, 1, 0, 1],
			[ioOpcode.write, 2, 0, 1],
		],
		statuses: [[0x00a], [0x285], [0x009]],
	},
	'different ranges': {
		pair: [
			[ioOpcode.compare, 1, 0, 1],
			[ioOpcode.write, 2, 1, 1],
		],
		statuses: [
			[0x002, 0x009],
			[0x002, 0x009],
		],
	},
	'different lengths': {
		pair: [
			[ioOpcode.compare, 1, 0, 1],
			[ioOpcode.write, 2, 0, 2],
		],
		statuses: [
			[0x002, 0x009],
			[0x002, 0x009],
		],
	},
	'Write first and Compare second': {
		pair: [
			[ioOpcode.write, 1, 0, 1],
			[ioOpcode.compare, 2, 0, 1],
		],
		statuses: [
			[0x002, 0x00a],
			[0x002, 0x00a, 0x009],
		],
	},
	'FUSE 11b': { pair: [[ioOpcode.compare, 3, 0, 1]], statuses: [[0x002]] },
	'a fused Read': {
		pair: [
			[ioOpcode.read, 1, 0, 1],
			[ioOpcode.write, 2, 0, 1],
		],
		statuses: [
			[0x002, 0x00a],
			[0x002, 0x00a, 0x009],
		],
	},
	'more than is atomic': {
		pair: [
			[ioOpcode.compare, 1, 0, 4096],
			[ioOpcode.write, 2, 0, 4096],
		],
		statuses: [[0x014], [0x014, 0x009]],
	},
};
for (const [what, { pair, statuses }] of Object.entries(halves)) {
	test(`fused, ${what}: refused with the standard’s status, and nothing written that should not`, async (t) => {
		const world = await World.open(t);
		const namespace = await world.namespace();
		const queue = namespace.association.io[0]!;
		const results = await Promise.all(
			pair.map(async ([opcode, fuse, lba, blocks]) => {
				const fill = (sqe: Buffer): void => {
					commands.range(sqe, opcode, 1, lba, blocks);
					sqe[1] = fuse;
				};
				return await queue.execute(fill, opcode === ioOpcode.read ? { dataInBytes: blocks * 512 } : { dataOut: content(blocks * 512) });
			}),
		);
		results.forEach((result, index) =>
			t.true(statuses[index]!.includes(result.status), `command ${index}: ${result.status.toString(16)}h`),
		);
		t.deepEqual(world.device.bytes(0, 1024), Buffer.alloc(1024));
		const good = await namespace.compareAndWrite(0, Buffer.alloc(512), content(512));
		t.deepEqual([good[0].status, good[1].status], [0, 0], 'the queue goes on');
	});
}

test('a first half whose second never comes ends with its connection', async (t) => {
	const world = await World.open(t);
	const { raw } = await world.rawIO();
	const sqe = described((entry) => commands.range(entry, ioOpcode.compare, 1, 0, 1), 3, 512, true);
	sqe[1]! |= 1;
	raw.send(capsuleCmd(sqe, Buffer.alloc(512)));
	raw.finish();
	t.is(await raw.next(), undefined);
	await world.until(() => world.budget.usedBytes === 0);
});

const outcomes: Record<Exclude<Outcome, 'good' | 'miscompare'>, { read: readonly number[]; write: readonly number[]; dnr?: boolean }> = {
	outOfRange: { read: [0x080], write: [0x080] },
	noSpace: { read: [0x081], write: [0x081] },
	mediumError: { read: [0x281], write: [0x280, 0x281] },
	faulted: { read: [0x006, 0x280], write: [0x006, 0x020, 0x280] },
	closed: { read: [0x300, 0x082, 0x006], write: [0x300, 0x082, 0x006], dnr: false },
	sanitizing: { read: [0x01d], write: [0x01d], dnr: false },
	sanitizeFailed: { read: [0x01c], write: [0x01c], dnr: true },
};
for (const [outcome, { read, write, dnr }] of Object.entries(outcomes)) {
	for (const lengthBytes of [4096, 256 * 1024]) {
		test(`a medium that says ${outcome} to ${lengthBytes} bytes: the status of its table, and the next command is carried out`, async (t) => {
			const world = await World.open(t);
			const namespace = await world.namespace();
			world.device.outcome = () => outcome as Outcome;
			const blocks = lengthBytes / 512;
			const wrote = await run(namespace, ranged['Write']!, 0, blocks);
			t.true(write.includes(wrote.status), wrote.status.toString(16));
			const got = await namespace.execute((sqe) => commands.range(sqe, ioOpcode.read, 1, 0, blocks), { dataInBytes: lengthBytes });
			t.true(read.includes(got.status), got.status.toString(16));
			t.false(got.bySuccessFlag);
			if (dnr !== undefined) t.deepEqual([wrote.dnr, got.dnr], [dnr, dnr]);
			if (outcome !== 'outOfRange') {
				const flushed = await namespace.execute((sqe) => commands.flush(sqe, 1));
				t.not(flushed.status, 0, 'a flush that failed is never called good');
			}
			for (const name of ['Write Zeroes', 'Verify', 'Compare']) {
				t.not((await run(namespace, ranged[name]!, 0, 8)).status, 0, name);
			}
			world.device.outcome = undefined;
			await namespace.write(0, content(lengthBytes));
			t.true((await namespace.read(0, blocks)).equals(content(lengthBytes)));
			await world.until(() => world.budget.usedBytes === 0);
		});
	}
}

test('a medium error in the middle of a long read: its status, never SUCCESS, and no byte of it is called good', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	world.device.outcome = ({ offsetBytes, lengthBytes }) =>
		offsetBytes <= mebibyte && offsetBytes + lengthBytes > mebibyte ? 'mediumError' : undefined;
	const result = await namespace.execute((sqe) => commands.range(sqe, ioOpcode.read, 1, 0, 8192), { dataInBytes: 4 * mebibyte });
	t.is(result.status, 0x281);
	t.false(result.bySuccessFlag);
	world.device.outcome = undefined;
	t.is((await namespace.read(0, 8192)).length, 4 * mebibyte);
});

test('a volume that grows is written up to its new end, without a new connection', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	t.is((await run(namespace, ranged['Write']!, 131_072, 8)).status, 0x080);
	world.device.resize(65 * mebibyte);
	t.is((await run(namespace, ranged['Write']!, 131_072, 8)).status, 0);
});

test('a namespace that goes while commands are outstanding: they end, later ones are refused, others go on', async (t) => {
	const world = await World.open(t);
	const device = new MemoryDevice({ uuid: world.newUUID() });
	world.subsystem.addNamespace(4, device);
	const namespace = await world.namespace({}, 4);
	device.held = true;
	const outstanding = run(namespace, ranged['Write']!, 0, 8);
	await world.until(() => device.calls.length > 0);
	world.subsystem.removeNamespace(4);
	device.held = false;
	device.release();
	await outstanding;
	t.is((await run(namespace, ranged['Read']!, 0, 8)).status, 0x002);
	t.is((await run(namespace, ranged['Read']!, 0, 8, 1)).status, 0);
});

test('4,096-byte blocks: LBAs and lengths count in them', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace({ subnqn: otherSubnqn }, 7);
	t.is(namespace.blockSize, 4096);
	const data = content(3 * 4096);
	await namespace.write(5, data);
	t.deepEqual(await namespace.read(6, 2), data.subarray(4096));
	const device = world.registry.find(otherSubnqn)!.namespaces.get(7)!.device as MemoryDevice;
	t.deepEqual(device.bytes(5 * 4096, data.length), data);
	t.is((await run(namespace, ranged['Read']!, 2048, 1)).status, 0x080);
});

test('the end-to-end protection that no format has: PRACT and PRCHK are refused or without effect', async (t) => {
	const world = await World.open(t);
	const { raw } = await world.rawIO();
	const sqe = described((entry) => commands.range(entry, ioOpcode.read, 1, 0, 1), 3, 512);
	sqe[51]! |= 0x3c;
	raw.send(capsuleCmd(sqe));
	const answer = await raw.next();
	if (answer?.type === pduType.capsuleResp) t.is(answer.status, 0x002);
	else t.is(answer?.type, pduType.c2hData);
});
