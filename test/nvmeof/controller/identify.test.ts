import test from 'ava';
import { atomicBytesMax } from '../../../src/blockvol/block-device.ts';
import { adminCommands } from '../../../src/nvmeof/admin-commands.ts';
import { features } from '../../../src/nvmeof/feature-rows.ts';
import { ioCommands } from '../../../src/nvmeof/io-commands.ts';
import { limits } from '../../../src/nvmeof/limits.ts';
import { logPages } from '../../../src/nvmeof/log-pages.ts';
import { Subsystem } from '../../../src/nvmeof/subsystem.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import { attach, attachOther, connectAdmin, hostNQN, setUp, sqe, subsystemNQN } from './host.ts';

type Asked = { nsid?: number; cntid?: number; csi?: number };

async function identified(options: Parameters<typeof attach>[0] = {}) {
	const parts = await attach(options);
	const ask = (cns: number, { nsid, cntid = 0, csi = 0 }: Asked = {}) =>
		parts.admin.run(sqe({ opcode: 0x06, nsid: nsid ?? 0, cdw10: (cns | (cntid << 16)) >>> 0, cdw11: (csi << 24) >>> 0 }));
	const read = async (cns: number, asked: Asked = {}): Promise<Buffer> => {
		const { status, data } = await ask(cns, asked);
		if (status !== 0 || data.length !== 4096) throw new Error(`CNS ${cns.toString(16)}h: ${status.toString(16)}h, ${data.length} bytes`);
		return data;
	};
	return { ...parts, ask, read };
}

function text(data: Buffer, from: number, length: number): string {
	return data.toString('latin1', from, from + length);
}

test('Identify Controller: what Linux looks at before it uses a controller', async (t) => {
	const { read, cntlid } = await identified();
	const data = await read(0x01);
	t.is(data.readUInt16LE(78), cntlid);
	t.not(data.readUInt16LE(320), 0, 'KAS');
	t.is(data.readUInt32LE(1792), (64 + limits.inCapsuleBytes) / 16, 'IOCCSZ');
	t.is(data.readUInt32LE(1796), 1, 'IORCSZ');
	t.is(data.readUInt16LE(1800), 0, 'ICDOFF');
	t.is(data.readUInt16LE(514), 128, 'MAXCMD, no more than MQES + 1');
	t.is(data.readUInt32LE(536) & 0b11, 1, 'SGLS');
	t.is((data.readUInt32LE(536) >>> 20) & 0b11, 0b11, 'SGLS: offsets, transport data blocks');
	t.is(data[512], 0x66);
	t.is(data[513], 0x44);
	t.is(text(data, 768, 256).replace(/\0+$/, ''), subsystemNQN);
	t.is(data.readUInt32LE(80), 0x0002_0000);
	t.is(data[111], 1, 'CNTRLTYPE');
	t.is(data[1803], 1, 'MSDBD');
	t.is(data[1802], 0, 'dynamic controllers');
	t.is(data.readUInt16LE(1804), 1, 'Disconnect');
	t.is(data[77], 10, 'MDTS: 4 MiB');
});

test('Identify Controller: ANA, at its offsets', async (t) => {
	const { read } = await identified();
	const data = await read(0x01);
	t.is(data[76]! & 0b1010, 0b1010, 'CMIC: several controllers, ANA');
	t.is(data[342], 1, 'ANATT');
	t.is(data[343], 1, 'ANACAP: optimized, and nothing that takes the NSIDs out of the log');
	t.is(data.readUInt32LE(344), 1, 'ANAGRPMAX');
	t.is(data.readUInt32LE(348), 1, 'NANAGRPID');
	const [mnan, nn] = [data.readUInt32LE(540), data.readUInt32LE(516)];
	t.true(mnan > 0 && mnan <= nn);
	t.is(nn, limits.namespacesPerSubsystem);
	// The whole ANA log fits into one command, which Linux demands.
	t.true(16 + 32 + 4 * mnan <= 4096 * 2 ** data[77]!);
});

test('Identify Controller: what else it promises', async (t) => {
	const { read } = await identified();
	const data = await read(0x01);
	t.is(data[258], limits.aborts - 1, 'ACL');
	t.is(data[259], limits.asynchronousEventRequests - 1, 'AERL');
	t.is(data[262], limits.errorLogEntries - 1, 'ELPE');
	t.is(data.readUInt32LE(92), 0x100, 'OAES');
	t.is(data.readUInt32LE(96), 0x41, 'CTRATT: 128-bit HOSTID, TBKAS');
	t.is(data[525], 0b111, 'VWC');
	t.is(data.readUInt16LE(522), 1, 'FUSES');
	t.is(data.readUInt16LE(526), data.readUInt16LE(528), 'AWUN and AWUPF');
	t.is((data.readUInt16LE(528) + 1) * 4096, limits.atomicBytes, 'AWUPF holds for the largest block too');
	t.is(data[73]! | (data[74]! << 8) | (data[75]! << 16), 0x42_4c4b, 'IEEE');
	t.is(text(data, 24, 40).trimEnd(), 'Blockport');
});

test('ONCS is made of the rows that are dispatched: each bit has its command, each command its bit', async (t) => {
	const { read, io } = await identified();
	const oncs = (await read(0x01)).readUInt16LE(520);
	const bits: Record<number, readonly number[]> = {
		0: [0x05],
		1: [0x04],
		2: [0x09],
		3: [0x08],
		5: [0x0d, 0x0e, 0x11, 0x15],
		7: [0x0c],
		8: [0x19],
	};
	for (const [bit, opcodes] of Object.entries(bits)) {
		for (const opcode of opcodes) {
			const one = io.begin(sqe({ opcode, nsid: 1 }));
			const refused = one.step === 'finished' && one.request.status === 0x001;
			t.is(!refused, ((oncs >>> Number(bit)) & 1) === 1, `opcode ${opcode.toString(16)}h`);
		}
	}
	t.is((oncs >>> 4) & 1, 1, 'Save and Select');
	t.is((oncs >>> 6) & 1, features.some(({ fid }) => fid === 0x0e) ? 1 : 0, 'Timestamp');
	t.is(oncs, 0b1111_1101);
});

test('the effects log shows exactly the opcodes that are not answered with Invalid Command Opcode', async (t) => {
	const { admin, io } = await identified();
	const log = (await admin.run(sqe({ opcode: 0x02, nsid: 0xffff_ffff, cdw10: 0x03ff_0005 }))).data;
	t.is(log.length, 4096);
	for (let opcode = 0; opcode < 256; opcode++) {
		if (opcode === 0x7f) continue;
		const [adminEntry, ioEntry] = [log.readUInt32LE(4 * opcode), log.readUInt32LE(1024 + 4 * opcode)];
		const known = (queue: typeof admin): boolean => {
			const one = queue.begin(sqe({ opcode, cdw10: 0x7f }));
			const answered = one.step !== 'finished' || one.request.status !== 0x001;
			if (one.step === 'pending')
				queue.abort(
					(request) => request === one.request,
					() => undefined,
				);
			return answered;
		};
		t.is(adminEntry & 1, known(admin) ? 1 : 0, `admin ${opcode.toString(16)}h`);
		t.is(ioEntry & 1, known(io) ? 1 : 0, `I/O ${opcode.toString(16)}h`);
		t.is(ioEntry & ~0b11, 0, 'Linux warns of any other bit');
	}
	t.deepEqual(
		ioCommands.filter(({ opcode }) => (log.readUInt32LE(1024 + 4 * opcode) & 0b10) !== 0).map(({ name }) => name),
		['Write', 'Write Zeroes', 'Dataset Management'],
	);
	t.deepEqual(
		[...adminCommands].map(({ opcode }) => opcode),
		[0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18],
	);
});

test('LPA and the list of log pages show the pages that there are', async (t) => {
	const { admin, read } = await identified();
	t.is((await read(0x01))[261], 0b10_0111);
	const supported = (await admin.run(sqe({ opcode: 0x02, cdw10: 0x00ff_0000 }))).data;
	t.is(supported.length, 1024);
	for (let lid = 0; lid < 256; lid++) {
		const { status } = await admin.run(sqe({ opcode: 0x02, cdw10: lid }));
		t.is(status, (supported.readUInt32LE(4 * lid) & 1) === 1 ? 0 : 0x109, `LID ${lid.toString(16)}h`);
	}
	t.is(logPages.length, 10);
});

for (const blockSize of [512, 4096] as const) {
	test(`Identify Namespace of a volume with ${blockSize}-byte blocks`, async (t) => {
		const { read } = await identified({ blockSize, sizeBytes: 64 * 1024 * 1024, usedBytes: () => 1024 * 1024 });
		const data = await read(0x00, { nsid: 1 });
		const blocks = (64 * 1024 * 1024) / blockSize;
		t.deepEqual(
			[0, 8].map((at) => data.readBigUInt64LE(at)),
			[BigInt(blocks), BigInt(blocks)],
		);
		t.is(data.readBigUInt64LE(16), BigInt((1024 * 1024) / blockSize), 'NUSE');
		t.is(data[24], 0b1_0011, 'NSFEAT: thin, atomicity, optimal sizes');
		const format = data[26]! & 0xf;
		t.is(data.readUInt16LE(128 + 4 * format), 0, 'no metadata');
		t.is(2 ** data[128 + 4 * format + 2]!, blockSize);
		t.deepEqual(
			[0, 1].map((index) => data[128 + 4 * index + 2]),
			[9, 12],
		);
		t.is(data[25], 1);
		t.is(data[30], 1, 'shared');
		t.is(data[31], 0xff, 'RESCAP');
		t.is(data[33], 0b0_1001, 'DLFEAT: zeros, DEAC');
		for (const at of [34, 36, 38])
			t.is((data.readUInt16LE(at) + 1) * blockSize, limits.atomicBytes, 'atomicity is what the engine is handed in one piece');
		t.true(limits.atomicBytes <= atomicBytesMax);
		for (const at of [64, 66, 68, 70]) t.is((data.readUInt16LE(at) + 1) * blockSize, 4096, 'NPWG, NPWA, NPDG, NPDA');
		t.is(((data.readUInt16LE(72) + 1) * blockSize) % 4096, 0, 'NOWS');
		t.is(data.readUInt32LE(92), 1, 'ANAGRPID');
		t.is(data[99], 0, 'NSATTR');
		t.is(data.readBigUInt64LE(48), 64n * 1024n * 1024n, 'NVMCAP');
	});
}

test('names derive from the UUID: other volumes have others, the same volume the same, and none is zero', async (t) => {
	const { subsystem, read } = await identified();
	const other = new MemoryDevice({ uuid: '0d9f2a77-6b0a-4d4e-8a53-1f2c3d4e5f60', sizeBytes: 8192 });
	subsystem.addNamespace(7, other);
	const names = async (nsid: number) => {
		const data = await read(0x00, { nsid });
		return { nguid: data.toString('hex', 104, 120), eui64: data.toString('hex', 120, 128), blocks: data.readBigUInt64LE(0) };
	};
	const [one, two] = [await names(1), await names(7)];
	t.not(one.nguid, two.nguid);
	t.not(one.eui64, two.eui64);
	t.is(two.blocks, 16n);
	for (const { nguid, eui64 } of [one, two]) {
		t.notRegex(nguid, /^0+$/);
		t.is(nguid.slice(16, 22), '424c4b');
		t.is(eui64.slice(0, 6), '424c4b');
	}
	const again = await identified();
	t.deepEqual((await again.read(0x00, { nsid: 1 })).toString('hex', 104, 128), one.nguid + one.eui64);
	const list = await read(0x03, { nsid: 7 });
	t.deepEqual(
		descriptors(list),
		new Map([
			[1, two.eui64],
			[2, two.nguid],
			[3, '0d9f2a776b0a4d4e8a531f2c3d4e5f60'],
			[4, '00'],
		]),
	);
});

function descriptors(list: Buffer): Map<number, string> {
	const found = new Map<number, string>();
	for (let at = 0; list[at] !== 0; at += 4 + list[at + 1]!) found.set(list[at]!, list.toString('hex', at + 4, at + 4 + list[at + 1]!));
	return found;
}

test('two subsystems have two serial numbers', async (t) => {
	const { read, registry, fabric } = await identified();
	const second = new Subsystem({
		nqn: 'nqn.2026-11.test:two',
		uuid: 'a6f4ab2e-4f04-4c5b-9c46-fd1c8f4ad1f0',
		admits: () => true,
		secretFor: () => undefined,
	});
	registry.subsystems.push(second);
	const other = await attachOther(fabric, '2', second.nqn);
	const data = (await other.admin.run(sqe({ opcode: 0x06, cdw10: 1 }))).data;
	const serial = text(await read(0x01), 4, 20);
	t.regex(serial, /^[0-9A-F]{20}$/);
	t.not(text(data, 4, 20), serial);
	t.is(text(data, 768, 20), 'nqn.2026-11.test:two');
});

test('a namespace that is write protected says so, in both structures', async (t) => {
	const { read } = await identified({ readOnly: true });
	t.is((await read(0x00, { nsid: 1 }))[99], 1);
	const independent = await read(0x08, { nsid: 1 });
	t.is(independent[8], 1);
	t.is(independent[14], 1, 'NSTAT: ready');
	t.is(independent.readUInt32LE(4), 1, 'ANAGRPID');
	t.is(independent[1], 1);
	t.is(independent[2], 0xff);
});

test('namespace lists: ascending, above the NSID that was given', async (t) => {
	const { read, subsystem } = await identified();
	for (const nsid of [30, 4, 1024]) subsystem.addNamespace(nsid, new MemoryDevice());
	const list = async (cns: number, nsid: number) => {
		const data = await read(cns, { nsid });
		return Array.from({ length: 5 }, (_, index) => data.readUInt32LE(4 * index));
	};
	for (const cns of [0x02, 0x07, 0x10]) {
		t.deepEqual(await list(cns, 0), [1, 4, 30, 1024, 0]);
		t.deepEqual(await list(cns, 4), [30, 1024, 0, 0, 0]);
		t.deepEqual(await list(cns, 1024), [0, 0, 0, 0, 0]);
	}
	subsystem.removeNamespace(4);
	t.deepEqual(await list(0x02, 0), [1, 30, 1024, 0, 0]);
});

test('controller lists: those of the subsystem from CNTID on, and those of a namespace', async (t) => {
	const { read, fabric, cntlid } = await identified();
	const { cntlid: second } = await connectAdmin(fabric, { hostid: Buffer.alloc(16, 3) });
	const list = async (cns: number, cntid: number, nsid = 0) => {
		const data = await read(cns, { cntid, nsid });
		return Array.from({ length: data.readUInt16LE(0) }, (_, index) => data.readUInt16LE(2 + 2 * index));
	};
	t.deepEqual(await list(0x13, 0), [cntlid, second]);
	t.deepEqual(await list(0x13, second), [second]);
	t.deepEqual(await list(0x13, second + 1), []);
	t.deepEqual(await list(0x12, 0, 1), [cntlid, second]);
	t.deepEqual(await list(0x12, 0, 2), []);
});

test('the command set structures: NVM is the only one, and WZSL says what Write Zeroes takes', async (t) => {
	const { read, cntlid } = await identified();
	for (const cntid of [0xffff, cntlid]) t.is((await read(0x1c, { cntid })).readBigUInt64LE(0), 1n);
	const nvm = await read(0x06);
	t.is(4096 * 2 ** nvm[1]!, limits.writeZeroesBytesMax);
	t.true((await read(0x05, { nsid: 1 })).every((byte) => byte === 0));
});

const bad: [title: string, cns: number, asked: Asked, status: number][] = [
	['a CNS that there is not', 0x04, {}, 0x002],
	['a CNS that is reserved', 0xff, {}, 0x002],
	['primary controller capabilities', 0x14, {}, 0x002],
	['a namespace 0', 0x00, { nsid: 0 }, 0x00b],
	['every namespace', 0x00, { nsid: 0xffff_ffff }, 0x00b],
	['a namespace beyond NN', 0x00, { nsid: 1025 }, 0x00b],
	['descriptors of namespace 0', 0x03, { nsid: 0 }, 0x00b],
	['descriptors beyond NN', 0x03, { nsid: 1025 }, 0x00b],
	['descriptors of every namespace', 0x03, { nsid: 0xffff_ffff }, 0x00b],
	['descriptors of a namespace that is not there', 0x03, { nsid: 2 }, 0x002],
	['NSID FFFFFFFEh of the active list', 0x02, { nsid: 0xffff_fffe }, 0x00b],
	['NSID FFFFFFFFh of the active list', 0x02, { nsid: 0xffff_ffff }, 0x00b],
	['NSID FFFFFFFEh of the list by command set', 0x07, { nsid: 0xffff_fffe }, 0x00b],
	['NSID FFFFFFFFh of the allocated list', 0x10, { nsid: 0xffff_ffff }, 0x00b],
	['an allocated namespace 0', 0x11, { nsid: 0 }, 0x00b],
	['CSI 2 of CNS 05h', 0x05, { nsid: 1, csi: 2 }, 0x002],
	['CNS 05h of namespace 0', 0x05, { nsid: 0 }, 0x00b],
	['CSI 2 of CNS 06h', 0x06, { csi: 2 }, 0x002],
	['CSI 1 of CNS 07h', 0x07, { csi: 1 }, 0x002],
	['CNS 08h of namespace 0', 0x08, { nsid: 0 }, 0x00b],
	['controllers of namespace 0', 0x12, { nsid: 0 }, 0x00b],
	['command sets of a controller that is not there', 0x1c, { cntid: 999 }, 0x11f],
];

for (const [title, cns, asked, status] of bad) {
	test(`Identify CNS ${cns.toString(16)}h with ${title}: ${status.toString(16)}h`, async (t) => {
		const { ask } = await identified();
		const answer = await ask(cns, asked);
		t.deepEqual([answer.status, answer.dnr, answer.data.length], [status, true, 0]);
	});
}

test('a namespace that could be and is not there: zeros', async (t) => {
	const { read } = await identified();
	for (const cns of [0x00, 0x05, 0x08, 0x11]) t.true((await read(cns, { nsid: 2 })).every((byte) => byte === 0));
});

test('Identify with PRPs, or as part of a fused operation: Invalid Field', async (t) => {
	const { admin } = await identified();
	for (const flags of [0x00, 0x80, 0xc0, 0x41, 0x42]) t.is((await admin.run(sqe({ opcode: 0x06, flags, cdw10: 1 }))).status, 0x002);
});

test('a discovery controller identifies itself, and has no namespaces', async (t) => {
	const { fabric } = setUp();
	const { admin } = await connectAdmin(fabric, { subnqn: 'nqn.2014-08.org.nvmexpress.discovery', hostnqn: hostNQN });
	const { data } = await admin.run(sqe({ opcode: 0x06, cdw10: 1 }));
	t.is(data[111], 2);
	t.is(data.readUInt32LE(92), 0x8000_0000);
	t.is(text(data, 768, 36), 'nqn.2014-08.org.nvmexpress.discovery');
	t.is(data.readUInt32LE(516), 0);
	t.is(data.readUInt32LE(536) & 1, 1, 'SGLS');
	t.true(data.readUInt32LE(1792) >= 4 && data.readUInt32LE(1796) >= 1);
	t.not(data.readUInt16LE(514), 0);
	t.is(data.readUInt16LE(520), 0);
	for (const cns of [0x00, 0x02, 0x03, 0x06, 0x08, 0x1c]) t.is((await admin.run(sqe({ opcode: 0x06, cdw10: cns, nsid: 1 }))).status, 0x002);
});
