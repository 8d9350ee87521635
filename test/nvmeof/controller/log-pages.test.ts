import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import { attach, ranged, sqe } from './host.ts';

interface Asked {
	nsid?: number;
	bytes?: number;
	offset?: number | bigint;
	lsp?: number;
	rae?: boolean;
	ot?: boolean;
	csi?: number;
}

function logSqe(
	lid: number,
	{ nsid = 0xffff_ffff, bytes = 4096, offset = 0, lsp = 0, rae = false, ot = false, csi = 0 }: Asked = {},
): Buffer {
	const dwords = bytes / 4 - 1;
	const entry = sqe({
		opcode: 0x02,
		nsid,
		cdw10: (lid | (lsp << 8) | (rae ? 0x8000 : 0) | ((dwords & 0xffff) << 16)) >>> 0,
		cdw11: dwords >>> 16,
		cdw14: ((ot ? 0x80_0000 : 0) | (csi << 24)) >>> 0,
	});
	entry.writeBigUInt64LE(BigInt(offset), 48);
	return entry;
}

async function prepared(options: Parameters<typeof attach>[0] = {}) {
	const parts = await attach(options);
	return { ...parts, log: (lid: number, asked: Asked = {}) => parts.admin.run(logSqe(lid, asked)) };
}

const bad: [title: string, lid: number, asked: Asked, status: number][] = [
	['a log page that there is not', 0x07, {}, 0x109],
	['the discovery log', 0x70, {}, 0x109],
	['a log page of a vendor', 0xc0, {}, 0x109],
	['an offset that is no dword', 0x02, { offset: 2 }, 0x002],
	['an offset behind the end', 0x02, { offset: 516 }, 0x002],
	['an offset of 2^63', 0x02, { offset: 2n ** 63n }, 0x002],
	['an offset that counts indices', 0x01, { ot: true }, 0x002],
	['more than MDTS', 0x01, { bytes: limits.transferBytesMax + 4 }, 0x002],
	['the effects log of another command set', 0x05, { csi: 2 }, 0x002],
	['SMART of a namespace that is not there', 0x02, { nsid: 2 }, 0x002],
	['SMART of a namespace beyond NN', 0x02, { nsid: 1025 }, 0x00b],
	['ANA of one namespace', 0x0c, { nsid: 1 }, 0x002],
	['the changed namespaces of one', 0x04, { nsid: 1 }, 0x002],
	['the errors of one namespace', 0x01, { nsid: 1 }, 0x002],
	['the reservation notifications of one namespace', 0x80, { nsid: 1 }, 0x002],
];

for (const [title, lid, asked, status] of bad) {
	test(`Get Log Page for ${title}: ${status.toString(16)}h`, async (t) => {
		const { log } = await prepared();
		const answer = await log(lid, asked);
		t.deepEqual([answer.status, answer.dnr, answer.data.length], [status, true, 0]);
	});
}

test('NSID 0 and FFFFFFFFh are the controller; SMART takes a namespace too', async (t) => {
	const { log } = await prepared();
	for (const lid of [0x01, 0x02, 0x03, 0x04, 0x05, 0x0c, 0x80])
		for (const nsid of [0, 0xffff_ffff]) t.is((await log(lid, { nsid })).status, 0);
	t.is((await log(0x02, { nsid: 1 })).status, 0);
});

test('a page in pieces is the page in one piece; beyond its end there are zeros, up to a bound', async (t) => {
	const { log } = await prepared();
	const whole = (await log(0x05)).data;
	const pieces: Buffer[] = [];
	for (let offset = 0; offset < 4096; offset += 12) pieces.push((await log(0x05, { offset, bytes: 12 })).data);
	t.deepEqual(Buffer.concat(pieces).subarray(0, 4096), whole);
	const padded = (await log(0x02, { bytes: 8192 })).data;
	t.is(padded.length, 8192);
	t.true(padded.subarray(512).every((byte) => byte === 0));
	t.is((await log(0x02, { offset: 512, bytes: 8 })).data.length, 8, 'right behind the end');
	t.is((await log(0x02, { bytes: limits.transferBytesMax })).data.length, limits.paddedLogBytes);
});

test('ANA: one group, optimized, with every NSID behind its descriptor of 32 bytes', async (t) => {
	const { log, subsystem } = await prepared();
	subsystem.addNamespace(9, new MemoryDevice());
	const { data } = await log(0x0c, { bytes: 56 });
	const before = data.readBigUInt64LE(0);
	t.is(data.readUInt16LE(8), 1, 'groups');
	t.is(data.readUInt32LE(16), 1, 'ANAGRPID');
	t.is(data.readUInt32LE(20), 2, 'NNSIDs');
	t.is(data.readBigUInt64LE(24), before);
	t.is(data[32], 1, 'optimized');
	t.deepEqual([data.readUInt32LE(48), data.readUInt32LE(52)], [1, 9]);
	subsystem.removeNamespace(9);
	const after = (await log(0x0c, { bytes: 56 })).data;
	t.is(after.readBigUInt64LE(0), before + 1n);
	t.is(after.readUInt32LE(20), 1);
	const groupsOnly = (await log(0x0c, { lsp: 1, bytes: 56 })).data;
	t.deepEqual([groupsOnly.readUInt16LE(8), groupsOnly.readUInt32LE(20), groupsOnly.readUInt32LE(48)], [1, 0, 0]);
	subsystem.removeNamespace(1);
	t.is((await log(0x0c, { bytes: 56 })).data.readUInt16LE(8), 0, 'a group without namespaces is not there');
});

test('ANA of as many namespaces as there may be is whole', async (t) => {
	const { log, subsystem } = await prepared();
	const device = new MemoryDevice();
	for (let nsid = 2; nsid <= limits.namespacesPerSubsystem; nsid++) subsystem.addNamespace(nsid, device);
	t.throws(() => subsystem.addNamespace(limits.namespacesPerSubsystem + 1, device), { instanceOf: RangeError });
	t.throws(() => subsystem.addNamespace(5, device), { instanceOf: RangeError });
	const bytes = 16 + 32 + 4 * limits.namespacesPerSubsystem;
	const { data } = await log(0x0c, { bytes });
	t.is(data.length, bytes);
	t.is(data.readUInt32LE(20), limits.namespacesPerSubsystem);
	t.is(data.readUInt32LE(bytes - 4), limits.namespacesPerSubsystem);
});

test('ANA in pieces of 4 KiB, as libnvme reads it: the piece behind few NSIDs is there', async (t) => {
	const { log } = await prepared();
	const last = 16 + 32 + 4 * limits.namespacesPerSubsystem - 4096;
	const { status, data } = await log(0x0c, { offset: 4096, bytes: last });
	t.deepEqual([status, data], [0, Buffer.alloc(last)]);
	t.is((await log(0x0c, { offset: 4096 + last + 4, bytes: 4 })).status, 2, 'behind the largest that it can be');
});

test('SMART counts what went through, of one namespace and of all', async (t) => {
	const { log, io, subsystem, clock } = await prepared({ sizeBytes: 4 * 1024 * 1024 });
	subsystem.addNamespace(2, new MemoryDevice({ sizeBytes: 4 * 1024 * 1024 }));
	for (let count = 0; count < 3; count++) await io.run(ranged(0x01, 0, 2048), Buffer.alloc(1024 * 1024));
	await io.run(ranged(0x02, 0, 8, { nsid: 2 }));
	await io.run(ranged(0x05, 0, 1, { nsid: 2 }), Buffer.alloc(512));
	clock.nowMs += 2 * 3_600_000;
	const read = (data: Buffer) => [32, 48, 64, 80].map((at) => Number(data.readBigUInt64LE(at)));
	t.deepEqual(read((await log(0x02, { nsid: 1 })).data), [0, Math.ceil((3 * 1024 * 1024) / 512_000), 0, 3]);
	t.deepEqual(read((await log(0x02, { nsid: 2 })).data), [1, 0, 2, 0]);
	const all = (await log(0x02)).data;
	t.deepEqual(read(all), [1, 7, 2, 3]);
	t.is(Number(all.readBigUInt64LE(128)), 2, 'hours');
	t.is(all[3], 100);
	t.is(all[0], 0);
	subsystem.removeNamespace(1);
	t.deepEqual(read((await log(0x02)).data), [1, 7, 2, 3], 'what a namespace did that is gone still counts');
});

test('SMART: a volume with a fault is a critical warning, a medium error is counted, and errors are', async (t) => {
	const { log, device, io, subsystem } = await prepared();
	subsystem.addNamespace(2, new MemoryDevice());
	device.outcome = () => 'mediumError';
	t.is((await io.run(ranged(0x02, 0, 1))).status, 0x281);
	t.is((await io.run(ranged(0x01, 0, 1), Buffer.alloc(512))).status, 0x280);
	device.fault = 'an fdatasync failed';
	const all = (await log(0x02)).data;
	t.is(all[0], 0b0100);
	t.is((await log(0x02, { nsid: 1 })).data[0], 0b1100);
	t.is((await log(0x02, { nsid: 2 })).data[0], 0);
	t.is(Number(all.readBigUInt64LE(160)), 2);
	t.is(Number(all.readBigUInt64LE(176)), 2);
});

test('the error log: newest first, with queue, command, status and place; a ring of 64', async (t) => {
	const { log, io, admin } = await prepared();
	await io.run(ranged(0x02, 77_777, 1, { cid: 5 }));
	// Dword 10 of this one is a length, no LBA.
	await io.run(ranged(0x0e, 1023, 1, { cid: 7 }));
	await admin.run(sqe({ opcode: 0x99, cid: 6, nsid: 3 }));
	const { data } = await log(0x01);
	t.is(data.length, 64 * limits.errorLogEntries);
	t.deepEqual(
		[0, 64, 128].map((at) => ({
			count: Number(data.readBigUInt64LE(at)),
			sqid: data.readUInt16LE(at + 8),
			cid: data.readUInt16LE(at + 10),
			status: data.readUInt16LE(at + 12),
			location: data.readUInt16LE(at + 14),
			lba: Number(data.readBigUInt64LE(at + 16)),
			nsid: data.readUInt32LE(at + 24),
			trtype: data[at + 29],
		})),
		[
			{ count: 3, sqid: 0, cid: 6, status: 0x8002, location: 0xffff, lba: 0, nsid: 3, trtype: 0 },
			{ count: 2, sqid: 1, cid: 7, status: 0x8030, location: 0xffff, lba: 0, nsid: 1, trtype: 0 },
			{ count: 1, sqid: 1, cid: 5, status: 0x8100, location: 0xffff, lba: 77_777, nsid: 1, trtype: 0 },
		],
	);
	t.is(data.readBigUInt64LE(192), 0n);
	for (let count = 0; count < limits.errorLogEntries; count++) await admin.run(sqe({ opcode: 0x98 }));
	const full = (await log(0x01)).data;
	t.is(Number(full.readBigUInt64LE(0)), limits.errorLogEntries + 3);
	t.is(Number(full.readBigUInt64LE(64 * 63)), 4);
});

test('the firmware log: one slot, active, with the revision that Identify shows', async (t) => {
	const { log, admin } = await prepared();
	const { data } = await log(0x03, { bytes: 512 });
	const identify = (await admin.run(sqe({ opcode: 0x06, cdw10: 1 }))).data;
	t.is(data[0], 1);
	t.is(data.toString('latin1', 8, 16), identify.toString('latin1', 64, 72));
	t.true(data.subarray(16).every((byte) => byte === 0));
	t.is(identify[260], 0b011);
});

test('Changed Namespace List: what came, went and grew, once; RAE keeps it', async (t) => {
	const { log, subsystem, device } = await prepared();
	const list = async (rae: boolean): Promise<number[]> => {
		const { data } = await log(0x04, { rae });
		return Array.from({ length: 1024 }, (_, index) => data.readUInt32LE(4 * index)).filter((nsid) => nsid !== 0);
	};
	t.deepEqual(await list(false), []);
	subsystem.addNamespace(8, new MemoryDevice());
	subsystem.addNamespace(3, new MemoryDevice());
	subsystem.removeNamespace(8);
	device.resize(2 * 1024 * 1024);
	t.deepEqual(await list(true), [1, 3, 8]);
	t.deepEqual(await list(false), [1, 3, 8]);
	t.deepEqual(await list(false), []);
});
