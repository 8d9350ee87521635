import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import type { Association } from '../../nvme-host/association.ts';
import * as commands from '../../nvme-host/commands.ts';
import { Namespace } from '../../nvme-host/namespace.ts';
import type { Result } from '../../nvme-host/queue.ts';
import { putU16, putU32, u16, u32 } from '../../nvme-host/wire.ts';
import { content, otherSubnqn, subnqn, World } from './world.ts';

const everyNamespace = 0xffffffff;
const ascii = (data: Buffer, at: number, length: number): string => data.toString('latin1', at, at + length);

async function status(association: Association, fill: (sqe: Buffer) => void, dataInBytes?: number, dataOut?: Buffer): Promise<Result> {
	return await association.admin.execute(fill, {
		...(dataInBytes === undefined ? {} : { dataInBytes }),
		...(dataOut === undefined ? {} : { dataOut }),
	});
}

// Identify.

test('Identify Controller: everything that a host computes with is there and is true', async (t) => {
	const world = await World.open(t);
	const association = await world.connect();
	const id = association.identity;
	t.regex(ascii(id, 4, 20), /^[\x20-\x7e]{20}$/, 'SN is ASCII, padded with spaces');
	t.not(ascii(id, 4, 20).trim(), '');
	t.regex(ascii(id, 24, 40), /^[\x20-\x7e]{40}$/, 'MN');
	t.regex(ascii(id, 64, 8), /^[\x20-\x7e]{8}$/, 'FR');
	t.is(id[76]! & 0x02, 0x02, 'CMIC: the subsystem may have several controllers');
	t.is(id[77], 10, 'MDTS: 4 MiB');
	t.is(u16(id, 78), association.cntlid, 'CNTLID');
	t.is(u32(id, 80), 0x00020000, 'VER');
	t.is(u32(id, 92) & 0x100, 0x100, 'OAES: namespace attribute notices');
	t.is(id[111], 1, 'CNTRLTYPE: I/O controller');
	t.true(id[258]! >= 3, 'ACL');
	t.true(id[259]! >= 3, 'AERL');
	t.not(u16(id, 320), 0, 'KAS');
	t.is(id[512], 0x66, 'SQES');
	t.is(id[513], 0x44, 'CQES');
	t.not(u16(id, 514), 0, 'MAXCMD');
	t.true(u32(id, 516) >= 1, 'NN');
	t.is(u16(id, 520) & 0xad, 0xad, 'ONCS: Compare, Dataset Management, Write Zeroes, Reservations, Verify');
	t.is(u16(id, 522), 1, 'FUSES: Compare and Write');
	t.is(id[525]! & 1, 1, 'VWC');
	t.true(u16(id, 526) >= 7 && u16(id, 528) >= 7 && u16(id, 532) >= 7, 'AWUN, AWUPF and ACWU: at least 4 KiB');
	t.is(u32(id, 536) & 3, 1, 'SGLS: supported, without an alignment');
	t.is(u32(id, 536) & (1 << 20), 1 << 20, 'SGLS: offsets');
	t.is(u32(id, 536) & (1 << 2), 0, 'SGLS: no keyed descriptors');
	t.is(ascii(id, 768, subnqn.length + 1), `${subnqn}\0`, 'SUBNQN');
	t.is(u32(id, 1792), (64 + limits.inCapsuleBytes) / 16, 'IOCCSZ');
	t.is(u32(id, 1796), 1, 'IORCSZ');
	t.is(u16(id, 1800), 0, 'ICDOFF');
	t.is(id[1802]! & 1, 0, 'FCATT: dynamic controllers');
	t.is(id[1803], 1, 'MSDBD');
	t.is(u16(id, 1804) & 1, 1, 'OFCS: Disconnect');
});

test('ANA fields stand where hosts look for them', async (t) => {
	const world = await World.open(t);
	const association = await world.connect();
	const id = association.identity;
	if ((id[76]! & 0x08) === 0) {
		t.pass('no ANA');
		return;
	}
	t.not(id[342], 0, 'ANATT');
	t.not(id[343], 0, 'ANACAP');
	t.true(u32(id, 344) >= 1 && u32(id, 348) >= 1, 'ANAGRPMAX and NANAGRPID');
	t.not(u32(id, 540), 0, 'MNAN');
	const log = await association.logPage(0x0c, 4096);
	t.is(u16(log, 8), 1, 'NGRPS');
	t.is(u32(log, 16), 1, 'ANAGRPID');
	t.is(u32(log, 20), 1, 'NNSIDS');
	t.is(log[32], 1, 'optimized');
	t.is(u32(log, 48), 1, 'the NSID list begins behind 32 bytes of descriptor');
	const groupsOnly = await association.logPage(0x0c, 48, { lsp: 1 });
	t.is(u32(groupsOnly, 20), 0, 'RGO: no namespaces');
	const namespace = await association.identify(0x00, { nsid: 1 });
	t.is(u32(namespace, 92), 1, 'ANAGRPID of the namespace');
});

test('Identify Namespace: sizes, formats and identities come from the volume', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ subnqn: otherSubnqn });
	const seen = new Set<string>();
	for (const [nsid, blockSize] of [
		[1, 512],
		[7, 4096],
		[9, 512],
	] as const) {
		const id = await association.identify(0x00, { nsid });
		const blocks = BigInt(8 * 1024 * 1024) / BigInt(blockSize);
		t.is(id.readBigUInt64LE(0), blocks, 'NSZE');
		t.is(id.readBigUInt64LE(8), blocks, 'NCAP');
		t.true(id.readBigUInt64LE(16) <= blocks, 'NUSE');
		t.is(id[24]! & 1, 1, 'NSFEAT: thin');
		const format = id[26]! & 0x0f;
		t.true(format <= id[25]!, 'FLBAS is one of NLBAF');
		t.is(1 << id[128 + format * 4 + 2]!, blockSize, 'LBADS');
		t.is(u16(id, 128 + format * 4), 0, 'no metadata');
		t.is(id[30]! & 1, 1, 'NMIC: shared');
		t.not(id[31]! & 0x7e, 0, 'RESCAP');
		t.is(id[33]! & 7, 1, 'DLFEAT: deallocated blocks read as zeros');
		const nguid = id.toString('hex', 104, 120);
		const eui64 = id.toString('hex', 120, 128);
		t.notRegex(nguid, /^0+$/);
		t.notRegex(eui64, /^0+$/);
		for (const identity of [nguid, eui64]) {
			t.false(seen.has(identity));
			seen.add(identity);
		}
		// The descriptor list says the same, and the UUID of the volume.
		const list = await association.identify(0x03, { nsid });
		const descriptors = new Map<number, string>();
		for (let at = 0; list[at + 1] !== 0; at += 4 + list[at + 1]!)
			descriptors.set(list[at]!, list.toString('hex', at + 4, at + 4 + list[at + 1]!));
		t.is(descriptors.get(1), eui64);
		t.is(descriptors.get(2), nguid);
		const uuid = world.registry.find(otherSubnqn)!.namespaces.get(nsid)!.device.uuid.replaceAll('-', '');
		t.is(descriptors.get(3), uuid);
		t.is(descriptors.get(4), '00', 'CSI');
		t.is(id[99]! & 1, nsid === 9 ? 1 : 0, 'NSATTR: write protected');
	}
});

test('Identify: lists of namespaces and controllers, and what other sets of commands are', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ subnqn: otherSubnqn, ioQueues: 0 });
	const second = await world.connect({ subnqn: otherSubnqn, ioQueues: 0 });
	const list = async (cns: number, nsid: number): Promise<number[]> => {
		const data = await association.identify(cns, { nsid });
		const found: number[] = [];
		for (let at = 0; at < data.length && u32(data, at) !== 0; at += 4) found.push(u32(data, at));
		return found;
	};
	t.deepEqual(await list(0x02, 0), [1, 7, 9]);
	t.deepEqual(await list(0x02, 1), [7, 9]);
	t.deepEqual(await list(0x02, 8), [9]);
	t.deepEqual(await list(0x02, 9), []);
	t.deepEqual(await list(0x07, 0), [1, 7, 9]);
	t.deepEqual(await list(0x10, 0), [1, 7, 9]);
	t.is((await association.identify(0x11, { nsid: 7 })).readBigUInt64LE(0), 2048n);
	const ids = [association.cntlid, second.cntlid].toSorted((a, b) => a - b);
	for (const [cns, nsid] of [
		[0x12, 7],
		[0x13, 0],
	] as const) {
		const controllers = await association.identify(cns, { nsid });
		t.deepEqual([u16(controllers, 0), u16(controllers, 2), u16(controllers, 4)], [2, ...ids], `CNS ${cns.toString(16)}h`);
		const rest = await association.identify(cns, { nsid, cntid: ids[0]! + 1 });
		t.deepEqual([u16(rest, 0), u16(rest, 2)], [1, ids[1]]);
	}
	const sets = await association.identify(0x1c, { cntid: 0xffff });
	t.is(sets.readBigUInt64LE(0), 1n, 'the NVM command set alone');
	t.is((await association.identify(0x08, { nsid: 7 })).length, 4096);
	t.is((await association.identify(0x05, { nsid: 7 })).length, 4096);
	const specific = await association.identify(0x06);
	t.true(specific[0]! <= 10, 'VSL is within MDTS');
});

test('Identify: a namespace that could be and is not is zeros', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 0 });
	t.deepEqual(await association.identify(0x00, { nsid: 2 }), Buffer.alloc(4096));
});

const identifyRefusals: Record<string, { fill: (sqe: Buffer) => void; status: number }> = {
	'CNS 04h, for NVM sets, which there are none of': { fill: (sqe) => commands.identify(sqe, 0x04), status: 0x002 },
	'CNS FFh': { fill: (sqe) => commands.identify(sqe, 0xff), status: 0x002 },
	'CNS 05h of another command set': { fill: (sqe) => commands.identify(sqe, 0x05, { nsid: 1, csi: 2 }), status: 0x002 },
	'CNS 06h of another command set': { fill: (sqe) => commands.identify(sqe, 0x06, { csi: 2 }), status: 0x002 },
	'CNS 07h of another command set': { fill: (sqe) => commands.identify(sqe, 0x07, { csi: 2 }), status: 0x002 },
	'CNS 00h with NSID 0': { fill: (sqe) => commands.identify(sqe, 0x00, { nsid: 0 }), status: 0x00b },
	'CNS 00h with an NSID above NN': { fill: (sqe) => commands.identify(sqe, 0x00, { nsid: 0x10000 }), status: 0x00b },
	'CNS 00h with NSID FFFFFFFEh': { fill: (sqe) => commands.identify(sqe, 0x00, { nsid: 0xfffffffe }), status: 0x00b },
	'CNS 02h with NSID FFFFFFFEh': { fill: (sqe) => commands.identify(sqe, 0x02, { nsid: 0xfffffffe }), status: 0x00b },
	'CNS 02h with NSID FFFFFFFFh': { fill: (sqe) => commands.identify(sqe, 0x02, { nsid: everyNamespace }), status: 0x00b },
	'CNS 03h with NSID 0': { fill: (sqe) => commands.identify(sqe, 0x03, { nsid: 0 }), status: 0x00b },
	'CNS 03h of an inactive namespace': { fill: (sqe) => commands.identify(sqe, 0x03, { nsid: 2 }), status: 0x002 },
};
for (const [what, { fill, status: wanted }] of Object.entries(identifyRefusals)) {
	test(`Identify, ${what}: status ${wanted.toString(16)}h`, async (t) => {
		const world = await World.open(t);
		const association = await world.connect({ ioQueues: 0 });
		const result = await status(association, fill, 4096);
		t.is(result.status, wanted);
		t.true(result.dnr);
		t.is(result.data.length, 0);
		await association.keepAlive();
	});
}

test('Identify and Get Log Page with less room than there is data give as much as fits', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 0 });
	const result = await status(association, (sqe) => commands.identify(sqe, 1), 512);
	if (result.status === 0) t.deepEqual(result.data, association.identity.subarray(0, 512));
	else t.is(result.status, 0x00f);
});

// Features.

test('features that every controller has can be read, and what was set is read back', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 4 });
	for (const fid of [0x01, 0x02, 0x04, 0x07, 0x0b, 0x0f]) {
		t.is((await status(association, (sqe) => commands.getFeatures(sqe, fid))).status, 0, `feature ${fid.toString(16)}h`);
	}
	t.is(await association.getFeature(0x05, { nsid: 1 }), 0);
	t.is(await association.getFeature(0x06), 1, 'the write cache is on');
	t.is(await association.getFeature(0x07), 0x00030003, 'Number of Queues says what was granted');
	await association.setFeature(0x0b, 0x100);
	t.is(await association.getFeature(0x0b), 0x100);
	await association.setFeature(0x04, 0x0150);
	t.is((await association.getFeature(0x04)) & 0xffff, 0x0150);
	const supported = await association.getFeature(0x0b, { sel: 3 });
	t.is(supported & 0x04, 0x04, 'changeable');
	t.is(supported & 0x01, 0x00, 'not saveable');
});

test('Volatile Write Cache off: what was written is flushed, and every write goes to stable storage before its answer', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	await namespace.write(0, content(4096));
	t.false(world.device.calls.at(-1)!.fua);
	await namespace.association.setFeature(0x06, 0);
	t.is(world.device.calls.at(-1)!.operation, 'flush');
	t.is(await namespace.association.getFeature(0x06), 0);
	for (const lengthBytes of [4096, 131_072]) {
		await namespace.write(0, content(lengthBytes));
		t.true(world.device.calls.at(-1)!.fua);
	}
	await namespace.association.setFeature(0x06, 1);
	await namespace.write(0, content(4096));
	t.false(world.device.calls.at(-1)!.fua);
});

test('feature 81h: the host identifier is that of Connect, in 128 bits', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 0 });
	const extended = await status(association, (sqe) => commands.getFeatures(sqe, 0x81, { dword11: 1 }), 16);
	t.is(extended.status, 0);
	t.deepEqual(extended.data, Buffer.from(association.hostid));
	t.is(
		(await status(association, (sqe) => commands.getFeatures(sqe, 0x81, { dword11: 0 }), 8)).status,
		0x002,
		'fabrics have the 128-bit form only',
	);
	const set = await status(association, (sqe) => commands.setFeatures(sqe, 0x81, 1), undefined, Buffer.alloc(16, 9));
	t.true([0x00c, 0x10e].includes(set.status), 'Connect has said it once and for all');
});

const featureRefusals: Record<string, { fill: (sqe: Buffer) => void; status: number | readonly number[] }> = {
	'Get of feature 00h': { fill: (sqe) => commands.getFeatures(sqe, 0x00), status: 0x002 },
	'Get of feature 03h, LBA ranges': { fill: (sqe) => commands.getFeatures(sqe, 0x03, { nsid: 1 }), status: 0x002 },
	'Get of feature 7Eh': { fill: (sqe) => commands.getFeatures(sqe, 0x7e), status: 0x002 },
	'Get of feature C0h': { fill: (sqe) => commands.getFeatures(sqe, 0xc0), status: 0x002 },
	'Get with a reserved Select': { fill: (sqe) => commands.getFeatures(sqe, 0x07, { sel: 4 }), status: 0x002 },
	'Set of feature 00h': { fill: (sqe) => commands.setFeatures(sqe, 0x00, 0), status: 0x002 },
	'Set of feature 7Eh': { fill: (sqe) => commands.setFeatures(sqe, 0x7e, 0), status: 0x002 },
	'Set of 07h with 65,536 submission queues': { fill: (sqe) => commands.setFeatures(sqe, 0x07, 0x0000ffff), status: 0x002 },
	'Set of 07h with 65,536 completion queues': { fill: (sqe) => commands.setFeatures(sqe, 0x07, 0xffff0000), status: 0x002 },
	'Set of 07h when queues exist': { fill: (sqe) => commands.setFeatures(sqe, 0x07, 0x00010001), status: 0x00c },
	'Set of 0Bh to be saved': { fill: (sqe) => commands.setFeatures(sqe, 0x0b, 0x100, { save: true }), status: 0x10d },
	'Set of 02h to a power state that is not': { fill: (sqe) => commands.setFeatures(sqe, 0x02, 1), status: 0x002 },
	'Set of 0Fh to 0': { fill: (sqe) => commands.setFeatures(sqe, 0x0f, 0), status: [0x002, 0x01a] },
	'Set of 0Bh for one namespace': { fill: (sqe) => commands.setFeatures(sqe, 0x0b, 0, { nsid: 1 }), status: 0x10f },
	'Set of 82h for an inactive namespace': { fill: (sqe) => commands.setFeatures(sqe, 0x82, 0, { nsid: 5 }), status: 0x002 },
	'Get of 83h for an inactive namespace': { fill: (sqe) => commands.getFeatures(sqe, 0x83, { nsid: 5 }), status: 0x002 },
};
for (const [what, { fill, status: wanted }] of Object.entries(featureRefusals)) {
	test(`Features, ${what}: refused with the standard’s status`, async (t) => {
		const world = await World.open(t);
		const association = await world.connect();
		const result = await status(association, fill, 4096);
		const statuses: readonly number[] = typeof wanted === 'number' ? [wanted] : wanted;
		t.true(statuses.includes(result.status), result.status.toString(16));
		t.is(await association.getFeature(0x07), 0);
	});
}

// Log pages.

test('log pages: error, SMART, firmware, commands and effects', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	const { association } = namespace;
	await namespace.write(0, content(1024 * 1024));
	await namespace.read(0, 2048);
	const smart = await association.logPage(0x02, 512);
	t.is(smart[0], 0, 'no critical warning');
	t.true(smart.readBigUInt64LE(32) >= 2n, 'Data Units Read, in thousands of 512 bytes');
	t.true(smart.readBigUInt64LE(48) >= 2n, 'Data Units Written');
	t.true(smart.readBigUInt64LE(64) >= 1n, 'Host Read Commands');
	t.true(smart.readBigUInt64LE(80) >= 1n, 'Host Write Commands');
	const ofNamespace = await status(association, (sqe) => commands.getLogPage(sqe, 0x02, 512, { nsid: 1 }), 512);
	t.is(ofNamespace.status, (association.identity[261]! & 1) === 1 ? 0 : 0x002, 'SMART of a namespace as LPA says');
	const firmware = await association.logPage(0x03, 512);
	t.is(ascii(firmware, 8, 8), ascii(association.identity, 64, 8), 'FRS1 is FR');
	const effects = await association.logPage(0x05, 4096);
	for (const opcode of [0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18]) t.is(effects[opcode * 4]! & 1, 1, `admin opcode ${opcode}`);
	for (const opcode of [0, 1, 2, 5, 8, 9, 0x0c, 0x0d, 0x0e, 0x11, 0x15]) t.is(effects[1024 + opcode * 4]! & 1, 1, `I/O opcode ${opcode}`);
	t.is(effects[1024 + 0x04 * 4]! & 1, 0, 'Write Uncorrectable is not there');
	t.is((await namespace.execute((sqe) => commands.range(sqe, 0x02, 1, namespace.blocks, 1), { dataInBytes: 512 })).status, 0x080);
	const errors = await association.logPage(0x01, 64);
	t.true(errors.readBigUInt64LE(0) >= 1n, 'error count');
	t.is(u16(errors, 8), 1, 'SQID');
	t.is((u16(errors, 12) >>> 1) & 0x7ff, 0x080, 'status');
});

test('a log page is read in pieces by its offset', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 0 });
	const whole = await association.logPage(0x05, 4096);
	const pieces: Buffer[] = [];
	for (let offsetBytes = 0; offsetBytes < 4096; offsetBytes += 1024) pieces.push(await association.logPage(0x05, 1024, { offsetBytes }));
	t.deepEqual(Buffer.concat(pieces), whole);
});

const logRefusals: Record<string, { fill: (sqe: Buffer) => void; status: number | readonly number[] }> = {
	'a page that is not': { fill: (sqe) => commands.getLogPage(sqe, 0x7f, 512), status: 0x109 },
	'a vendor’s page': { fill: (sqe) => commands.getLogPage(sqe, 0xc0, 512), status: 0x109 },
	'the discovery log of an I/O controller': { fill: (sqe) => commands.getLogPage(sqe, 0x70, 1024), status: 0x109 },
	'an offset that is no multiple of 4': { fill: (sqe) => commands.getLogPage(sqe, 0x02, 512, { offsetBytes: 2 }), status: 0x002 },
	'an offset behind the page': { fill: (sqe) => commands.getLogPage(sqe, 0x02, 512, { offsetBytes: 65_536 }), status: 0x002 },
	'more than can be transferred': { fill: (sqe) => commands.getLogPage(sqe, 0x02, 8 * 1024 * 1024), status: 0x002 },
};
for (const [what, { fill, status: wanted }] of Object.entries(logRefusals)) {
	test(`Get Log Page, ${what}: refused with the standard’s status`, async (t) => {
		const world = await World.open(t);
		const association = await world.connect({ ioQueues: 0 });
		const result = await status(association, fill, 4096);
		const statuses: readonly number[] = typeof wanted === 'number' ? [wanted] : wanted;
		t.true(statuses.includes(result.status), result.status.toString(16));
		await association.keepAlive();
	});
}

// Opcodes.

for (const opcode of [0x00, 0x01, 0x04, 0x05, 0x0d, 0x10, 0x11, 0x14, 0x15, 0x1a, 0x1d, 0x80, 0x81, 0x84, 0xc0, 0xff]) {
	test(`admin opcode ${opcode.toString(16)}h, which fabrics or this controller do not have: Invalid Command Opcode`, async (t) => {
		const world = await World.open(t);
		const association = await world.connect({ ioQueues: 0 });
		const result = await status(association, (sqe) => commands.plain(sqe, opcode));
		t.is(result.status, 0x001);
		t.true(result.dnr);
	});
}

// Asynchronous events and Abort.

test('Asynchronous Event Requests are held; one above the limit is refused, and the others stay', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 0 });
	const limit = association.identity[259]! + 1;
	association.watchEvents(limit);
	const excess = await status(association, (sqe) => commands.asynchronousEventRequest(sqe));
	t.is(excess.status, 0x105);
	for (let round = 0; round < 10; round++) {
		await association.keepAlive();
	}
	t.is(association.admin.outstanding, limit, 'no event, no answer');
	t.is(association.eventsWaiting, 0);
});

test('a namespace that comes, grows or goes: a notice, the list of changes, and no second notice before the list is read', async (t) => {
	const world = await World.open(t);
	const association = await world.connect();
	await association.setFeature(0x0b, 0x100);
	association.watchEvents(2);
	await association.keepAlive();
	const device = new MemoryDevice({ uuid: world.newUUID() });
	world.subsystem.addNamespace(3, device);
	t.deepEqual(await association.nextEvent(), { type: 2, information: 0, lid: 4 });
	device.resize(2 * 1024 * 1024);
	world.device.resize(65 * 1024 * 1024);
	await association.keepAlive();
	t.is(association.eventsWaiting, 0, 'masked until the log page is read');
	const changed = await association.logPage(0x04, 4096);
	t.deepEqual([u32(changed, 0), u32(changed, 4), u32(changed, 8)], [1, 3, 0]);
	t.is((await Namespace.attach(association, 1)).blocks, (65 * 1024 * 1024) / 512, 'the new size, without a new connection');
	await association.keepAlive();
	const eventsBefore = association.eventsWaiting;
	world.subsystem.removeNamespace(3);
	t.deepEqual(await association.nextEvent(), { type: 2, information: 0, lid: 4 });
	t.true(eventsBefore <= 1);
	const gone = await association.logPage(0x04, 4096);
	t.deepEqual([u32(gone, 0), u32(gone, 4)], [3, 0]);
	t.deepEqual(await association.logPage(0x04, 4096), Buffer.alloc(4096), 'once read it is empty');
});

test('without the feature there is no notice, and RAE keeps the event masked', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 0 });
	association.watchEvents(2);
	world.device.resize(65 * 1024 * 1024);
	await association.keepAlive();
	t.is(association.eventsWaiting, 0);
	await association.logPage(0x04, 4096);
	await association.setFeature(0x0b, 0x100);
	world.device.resize(66 * 1024 * 1024);
	await association.nextEvent();
	await association.logPage(0x04, 4096, { rae: true });
	world.device.resize(67 * 1024 * 1024);
	await association.keepAlive();
	t.is(association.eventsWaiting, 0, 'Retain Asynchronous Event: still masked');
	await association.logPage(0x04, 4096);
	world.device.resize(68 * 1024 * 1024);
	await association.nextEvent();
});

test('Abort of an Asynchronous Event Request: it completes with Command Abort Requested, and the abort says so', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 0 });
	let cid = -1;
	const request = association.admin.execute(commands.asynchronousEventRequest, {}, (command) => (cid = command.cid));
	t.true(await association.abort(0, cid));
	t.is((await request).status, 0x007);
	t.false(await association.abort(0, cid), 'it is gone');
	t.false(await association.abort(0, 0x7777));
});

test('Abort of a write whose data is withheld, and of one that the device has', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace();
	const { association } = namespace;
	const queue = association.io[0]!;
	const asked = new Promise<void>((resolve) => {
		queue.onR2T = () => {
			resolve();
			return true;
		};
	});
	let cid = -1;
	const fill = (sqe: Buffer): void => commands.range(sqe, commands.ioOpcode.write, 1, 0, 128);
	const withheld = queue.execute(fill, { dataOut: content(65_536), solicited: true }, (command) => (cid = command.cid));
	await asked;
	t.true(await association.abort(1, cid));
	t.is((await withheld).status, 0x007);
	t.deepEqual(world.device.bytes(0, 65_536), Buffer.alloc(65_536));
	queue.onR2T = undefined;
	world.device.held = true;
	const atDevice = queue.execute(fill, { dataOut: content(65_536) }, (command) => (cid = command.cid));
	await world.until(() => world.device.calls.some(({ operation }) => operation === 'write'));
	const aborted = association.abort(1, cid);
	world.device.held = false;
	world.device.release();
	const { status: ended } = await atDevice;
	// What the device had whole is written and may be said to be.
	t.true(ended === 0 || ended === 0x007);
	t.is(await aborted, ended === 0x007);
	await association.keepAlive();
	await queue.expectGood((sqe) => commands.flush(sqe, 1));
});

test('Abort of a command that waits in the device: its identifier is answered once', async (t) => {
	const world = await World.open(t, { cold: true });
	const namespace = await world.namespace();
	const queue = namespace.association.io[0]!;
	world.device.held = true;
	let cid = -1;
	const read = queue.execute(
		(sqe) => commands.range(sqe, commands.ioOpcode.read, 1, 0, 8),
		{ dataInBytes: 4096 },
		(command) => (cid = command.cid),
	);
	await world.until(() => world.device.calls.some(({ operation }) => operation === 'read'));
	const aborted = namespace.association.abort(1, cid);
	await namespace.association.keepAlive();
	world.device.held = false;
	while (world.device.release());
	const result = await read;
	t.is(result.status, (await aborted) ? 0x007 : 0);
	t.is((await namespace.read(0, 8)).length, 4096);
});

test('Abort with an SQID that is not: refused or not aborted, and nothing else', async (t) => {
	const world = await World.open(t);
	const association = await world.connect();
	const result = await status(association, (sqe) => {
		commands.abort(sqe, 9, 1);
	});
	t.true(result.status === 0x002 || (result.status === 0 && (result.result0 & 1) === 1));
});

test('Keep Alive has no fields to refuse: reserved dwords are ignored', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 0 });
	const result = await status(association, (sqe) => {
		commands.keepAlive(sqe);
		putU16(sqe, 40, 0xffff);
		putU32(sqe, 44, 0xffffffff);
	});
	t.is(result.status, 0);
});
