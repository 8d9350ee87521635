import test, { type ExecutionContext } from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import type { Association } from '../../nvme-host/association.ts';
import * as commands from '../../nvme-host/commands.ts';
import { Namespace } from '../../nvme-host/namespace.ts';
import {
	capsuleCmd,
	described,
	h2cData,
	h2cTermReq,
	icReq,
	pdu,
	type PDUForm,
	type RawConnection,
} from '../../nvme-host/raw-connection.ts';
import { fes, pduType, putU32, sglInCapsule } from '../../nvme-host/wire.ts';
import { connectCapsule, content, expectTermReq, formOf, World } from './world.ts';

const { ioOpcode } = commands;

/** A world with a host that reads and writes before and after: whatever happens on another connection is nothing to it. */
async function start(t: ExecutionContext): Promise<{ world: World; goesOn: () => Promise<void> }> {
	const world = await World.open(t);
	const bystander = await world.namespace();
	let round = 0;
	const goesOn = async (): Promise<void> => {
		round++;
		const data = content(4096, round);
		await bystander.write(1000, data);
		t.true((await bystander.read(1000, 8)).equals(data));
		await bystander.association.keepAlive();
		t.is(bystander.association.admin.ended, undefined);
	};
	await goesOn();
	return { world, goesOn };
}

const flush = (cid = 1): Buffer => described((sqe) => commands.flush(sqe, 1), cid);
const write = (cid: number, blocks: number, inCapsule = false): Buffer =>
	described((sqe) => commands.range(sqe, ioOpcode.write, 1, 0, blocks), cid, blocks * 512, inCapsule);
const read = (cid: number, blocks: number): Buffer =>
	described((sqe) => commands.range(sqe, ioOpcode.read, 1, 0, blocks), cid, blocks * 512);

// Initialisation.

for (const dgst of [0, 1, 2, 3]) {
	test(`ICResp: digests ${dgst} are agreed, every other field is in its bounds, reserved bytes are 0`, async (t) => {
		const { world } = await start(t);
		const raw = await world.raw();
		raw.send(icReq({ dgst }));
		const answer = await raw.expect(pduType.icResp);
		t.is(answer.bytes.length, 128);
		t.deepEqual([...answer.bytes.subarray(0, 4)], [1, 0, 128, 0]);
		t.is(answer.u16(8), 0, 'PFV');
		t.true(answer.bytes[10]! <= 31, 'CPDA');
		t.is(answer.bytes[11], dgst, 'DGST');
		t.true(answer.u32(12) >= 128 * 1024 && answer.u32(12) % 4 === 0, 'MAXH2CDATA');
		t.deepEqual(answer.bytes.subarray(16), Buffer.alloc(112));
	});
}

test('ICReq: reserved bits of DGST are not answered', async (t) => {
	const { world } = await start(t);
	const raw = await world.raw();
	raw.send(icReq({ dgst: 0xfc }));
	t.is((await raw.expect(pduType.icResp)).bytes[11]! & 0xfc, 0);
});

test('ICReq: arriving byte by byte, with a Connect behind it', async (t) => {
	const { world } = await start(t);
	const raw = await world.raw();
	await raw.sendCut(Buffer.concat([icReq({ dgst: 3 }), connectCapsule(0, {}, { headerDigest: true, dataDigest: true })]), 1);
	await raw.expect(pduType.icResp);
	const answer = await raw.expect(pduType.capsuleResp);
	t.is(answer.status, 0);
	t.true(answer.intact);
});

interface Violation {
	send: (() => Buffer) | Buffer;
	fes: number | readonly number[];
	fei?: number;
}

const unsupported = [fes.unsupportedParameter, fes.invalidPDUHeaderField];
/** A type that is no host's may be called an invalid field or a PDU out of order. */
const wrongType = [fes.invalidPDUHeaderField, fes.pduSequenceError];

const beforeInitialisation: Record<string, Violation> = {
	'ICReq: another PFV': { send: icReq({ pfv: 1 }), fes: unsupported, fei: 8 },
	'ICReq: HPDA above 31': { send: icReq({ hpda: 32 }), fes: unsupported, fei: 10 },
	'ICReq: HLEN too short': { send: icReq({}, { hlen: 72 }), fes: fes.invalidPDUHeaderField, fei: 2 },
	'ICReq: HLEN too long': { send: icReq({}, { hlen: 129 }), fes: fes.invalidPDUHeaderField, fei: 2 },
	'ICReq: PLEN too short': { send: icReq({}, { plen: 127 }), fes: fes.invalidPDUHeaderField, fei: 4 },
	'ICReq: PLEN too long': { send: icReq({}, { plen: 132 }), fes: fes.invalidPDUHeaderField, fei: 4 },
	'a CapsuleCmd before ICReq': { send: () => capsuleCmd(flush()), fes: fes.pduSequenceError },
	'a Connect before ICReq': { send: () => connectCapsule(0), fes: fes.pduSequenceError },
	'an H2CData before ICReq': { send: () => h2cData({ cccid: 1, ttag: 1, datao: 0 }, Buffer.alloc(8)), fes: fes.pduSequenceError },
	'an ICResp from a host': { send: icReq({}, { at: { 0: pduType.icResp } }), fes: wrongType, fei: 0 },
	'type 8, which is nobody’s, before ICReq': { send: icReq({}, { at: { 0: 8 } }), fes: fes.invalidPDUHeaderField, fei: 0 },
	'type FFh before ICReq': { send: Buffer.alloc(128, 0xff), fes: fes.invalidPDUHeaderField, fei: 0 },
	'zeros, which are an ICReq of HLEN 0': { send: Buffer.alloc(128), fes: fes.invalidPDUHeaderField, fei: 2 },
	'the words of another protocol': { send: Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), fes: fes.invalidPDUHeaderField, fei: 0 },
};
for (const [what, { send, ...wanted }] of Object.entries(beforeInitialisation)) {
	test(`${what}: C2HTermReq, and others go on`, async (t) => {
		const { world, goesOn } = await start(t);
		const raw = await world.raw();
		const bytes = Buffer.isBuffer(send) ? send : send();
		raw.send(bytes);
		await expectTermReq(t, raw, { ...wanted, quoted: bytes });
		await goesOn();
	});
}

/** On an I/O queue without digests, with a write of 16 KiB and identifier 7 whose R2T has come (TTAG in `ttag`). */
const onQueue: Record<string, { send: (ttag: number) => Buffer; fes: number | readonly number[]; fei?: number }> = {
	'a second ICReq': { send: () => icReq(), fes: fes.pduSequenceError },
	'a C2HTermReq from a host': { send: () => h2cTermReq(1, 0, undefined, { at: { 0: 3 } }), fes: wrongType, fei: 0 },
	'a CapsuleResp from a host': { send: () => pdu(pduType.capsuleResp, Buffer.alloc(16), undefined), fes: wrongType, fei: 0 },
	'a C2HData from a host': { send: () => pdu(pduType.c2hData, Buffer.alloc(16), Buffer.alloc(8)), fes: wrongType, fei: 0 },
	'an R2T from a host': { send: () => pdu(pduType.r2t, Buffer.alloc(16), undefined), fes: wrongType, fei: 0 },
	'a PDU of type 8': { send: () => capsuleCmd(flush(), undefined, { at: { 0: 8 } }), fes: fes.invalidPDUHeaderField, fei: 0 },
	'a PDU of type 0Ah': { send: () => capsuleCmd(flush(), undefined, { at: { 0: 10 } }), fes: fes.invalidPDUHeaderField, fei: 0 },

	'CapsuleCmd: HLEN 64': { send: () => capsuleCmd(flush(), undefined, { hlen: 64 }), fes: fes.invalidPDUHeaderField, fei: 2 },
	'CapsuleCmd: HLEN 76': { send: () => capsuleCmd(flush(), undefined, { hlen: 76 }), fes: fes.invalidPDUHeaderField, fei: 2 },
	'CapsuleCmd: PLEN below HLEN': { send: () => capsuleCmd(flush(), undefined, { plen: 71 }), fes: fes.invalidPDUHeaderField, fei: 4 },
	'CapsuleCmd: PLEN 0': { send: () => capsuleCmd(flush(), undefined, { plen: 0 }), fes: fes.invalidPDUHeaderField, fei: 4 },
	'CapsuleCmd: PLEN of 4 GiB': {
		send: () => capsuleCmd(write(1, 1, true), Buffer.alloc(512), { plen: 0xffffffff }),
		fes: [fes.invalidPDUHeaderField, fes.limitExceeded],
		fei: 4,
	},
	'CapsuleCmd: more in-capsule data than there may be': {
		send: () => capsuleCmd(write(1, limits.inCapsuleBytes / 512 + 1, true), Buffer.alloc(limits.inCapsuleBytes + 512)),
		fes: [fes.invalidPDUHeaderField, fes.limitExceeded],
		fei: 4,
	},
	'CapsuleCmd: PDO inside the header': {
		send: () => capsuleCmd(write(1, 1, true), Buffer.alloc(512), { pdo: 68 }),
		fes: fes.invalidPDUHeaderField,
		fei: 3,
	},
	'CapsuleCmd: PDO that is no multiple of 4': {
		send: () => capsuleCmd(write(1, 1, true), Buffer.alloc(512), { pdo: 74 }),
		fes: fes.invalidPDUHeaderField,
		fei: 3,
	},
	'CapsuleCmd: PDO behind PLEN': {
		send: () => capsuleCmd(write(1, 1, true), Buffer.alloc(8), { pdo: 84 }),
		fes: fes.invalidPDUHeaderField,
		fei: 3,
	},
	'CapsuleCmd: HDGSTF that was not agreed': {
		send: () => capsuleCmd(flush(), undefined, { headerDigest: true }),
		fes: fes.invalidPDUHeaderField,
		fei: 1,
	},
	'CapsuleCmd: DDGSTF that was not agreed': {
		send: () => capsuleCmd(write(1, 1, true), Buffer.alloc(512), { dataDigest: true }),
		fes: fes.invalidPDUHeaderField,
		fei: 1,
	},

	'H2CData: HLEN 20': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0 }, Buffer.alloc(16_384), { hlen: 20 }),
		fes: fes.invalidPDUHeaderField,
		fei: 2,
	},
	'H2CData: PDO inside the header': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0 }, Buffer.alloc(16_384), { pdo: 20 }),
		fes: fes.invalidPDUHeaderField,
		fei: 3,
	},
	'H2CData: PLEN below HLEN': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0 }, Buffer.alloc(16_384), { plen: 23 }),
		fes: fes.invalidPDUHeaderField,
		fei: 4,
	},
	'H2CData: no data at all': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0, datal: 0 }, Buffer.alloc(0)),
		fes: fes.invalidPDUHeaderField,
	},
	'H2CData: HDGSTF that was not agreed': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0 }, Buffer.alloc(16_384), { headerDigest: true }),
		fes: fes.invalidPDUHeaderField,
		fei: 1,
	},
	'H2CData: an unknown CCCID': {
		send: (ttag) => h2cData({ cccid: 8, ttag, datao: 0 }, Buffer.alloc(16_384)),
		fes: fes.invalidPDUHeaderField,
		fei: 8,
	},
	'H2CData: an unknown TTAG': {
		send: (ttag) => h2cData({ cccid: 7, ttag: ttag ^ 0x8001, datao: 0 }, Buffer.alloc(16_384)),
		fes: fes.invalidPDUHeaderField,
		fei: 10,
	},
	'H2CData: DATAL less than the data': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0, datal: 16_380 }, Buffer.alloc(16_384)),
		fes: fes.invalidPDUHeaderField,
		fei: 16,
	},
	'H2CData: DATAL more than the data': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0, datal: 16_388 }, Buffer.alloc(16_384)),
		fes: fes.invalidPDUHeaderField,
		fei: 16,
	},
	'H2CData: DATAO and DATAL beyond the R2T': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 512 }, Buffer.alloc(16_384)),
		fes: fes.dataTransferOutOfRange,
	},
	'H2CData: DATAO beyond the R2T': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 16_384 }, Buffer.alloc(512)),
		fes: fes.dataTransferOutOfRange,
	},
	'H2CData: DATAO near 2^32': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0xfffffe00 }, Buffer.alloc(1024)),
		fes: fes.dataTransferOutOfRange,
	},
	'H2CData: out of order': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 8192 }, Buffer.alloc(8192)),
		fes: fes.pduSequenceError,
	},
	'H2CData: the same data twice': {
		send: (ttag) => {
			const half = h2cData({ cccid: 7, ttag, datao: 0, last: false }, Buffer.alloc(8192));
			return Buffer.concat([half, half]);
		},
		fes: fes.pduSequenceError,
	},
	'H2CData: LAST_PDU before the last': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0 }, Buffer.alloc(8192)),
		fes: [fes.pduSequenceError, fes.invalidPDUHeaderField],
		fei: 1,
	},
	'H2CData: the last without LAST_PDU': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0, last: false }, Buffer.alloc(16_384)),
		fes: [fes.pduSequenceError, fes.invalidPDUHeaderField],
		fei: 1,
	},
};

/** A write of 16 KiB with identifier 7 whose R2T has come: its TTAG. */
async function openWrite(t: ExecutionContext, raw: RawConnection, form: PDUForm = {}): Promise<number> {
	raw.send(capsuleCmd(write(7, 32), undefined, form));
	const r2t = await raw.expect(pduType.r2t);
	t.true(r2t.intact);
	t.deepEqual([r2t.u16(8), r2t.u32(12), r2t.u32(16)], [7, 0, 16_384]);
	return r2t.u16(10);
}

for (const [what, { send, ...wanted }] of Object.entries(onQueue)) {
	test(`${what}: C2HTermReq, nothing of the open write on the medium, and others go on`, async (t) => {
		const { world, goesOn } = await start(t);
		const { raw } = await world.rawIO();
		const before = world.device.bytes(0, 16_384);
		const ttag = await openWrite(t, raw);
		const bytes = send(ttag);
		raw.send(bytes);
		await expectTermReq(t, raw, wanted);
		t.true(world.device.bytes(0, 16_384).equals(before));
		await goesOn();
		await world.until(() => world.budget.usedBytes === 0);
	});
}

const withDigests: Record<string, { send: (ttag: number) => Buffer; fes: number; fei?: number | 'digest' }> = {
	'CapsuleCmd: no HDGSTF although agreed': {
		send: () => capsuleCmd(flush(), undefined, { dataDigest: true }),
		fes: fes.invalidPDUHeaderField,
		fei: 1,
	},
	'CapsuleCmd: no DDGSTF although agreed': {
		send: () => capsuleCmd(write(1, 1, true), Buffer.alloc(512), { headerDigest: true }),
		fes: fes.invalidPDUHeaderField,
		fei: 1,
	},
	'CapsuleCmd: a wrong header digest': {
		send: () => capsuleCmd(flush(), undefined, { headerDigest: 'wrong' }),
		fes: fes.headerDigestError,
		fei: 'digest',
	},
	'H2CData: a wrong header digest': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0 }, Buffer.alloc(16_384), { headerDigest: 'wrong', dataDigest: true }),
		fes: fes.headerDigestError,
		fei: 'digest',
	},
	'H2CData: no DDGSTF although agreed': {
		send: (ttag) => h2cData({ cccid: 7, ttag, datao: 0 }, Buffer.alloc(16_384), { headerDigest: true }),
		fes: fes.invalidPDUHeaderField,
		fei: 1,
	},
	'CapsuleCmd: PLEN without room for the data digest': {
		send: () => capsuleCmd(write(1, 1, true), Buffer.alloc(4), { headerDigest: true, dataDigest: true, plen: 80 }),
		fes: fes.invalidPDUHeaderField,
		fei: 4,
	},
};
for (const [what, { send, fes: status, fei }] of Object.entries(withDigests)) {
	test(`${what}: C2HTermReq, and others go on`, async (t) => {
		const { world, goesOn } = await start(t);
		const fields = { dgst: 3 };
		const { raw } = await world.rawIO(fields);
		const ttag = await openWrite(t, raw, formOf(fields));
		const bytes = send(ttag);
		raw.send(bytes);
		const information = fei === 'digest' ? bytes.readUInt32LE(bytes[2]) : fei;
		await expectTermReq(t, raw, { fes: status, ...(information === undefined ? {} : { fei: information }), quoted: bytes });
		await goesOn();
	});
}

// Data digests: the command fails, the connection lives.

test('a wrong data digest in a capsule: Transient Transport Error, nothing written, the connection goes on', async (t) => {
	const { world } = await start(t);
	const { raw } = await world.rawIO({ dgst: 3 });
	const before = world.device.bytes(0, 4096);
	raw.send(capsuleCmd(write(5, 8, true), content(4096), { headerDigest: true, dataDigest: 'wrong' }));
	const failed = await raw.expect(pduType.capsuleResp);
	t.deepEqual([failed.cid, failed.status], [5, 0x022]);
	t.is(failed.u16(22) & 0x8000, 0, 'not Do Not Retry: the same may go well');
	t.deepEqual(world.device.bytes(0, 4096), before);
	raw.send(capsuleCmd(write(6, 8, true), content(4096), { headerDigest: true, dataDigest: true }));
	const good = await raw.expect(pduType.capsuleResp);
	t.deepEqual([good.cid, good.status], [6, 0]);
	t.deepEqual(world.device.bytes(0, 4096), content(4096));
});

test('a wrong data digest in the middle H2CData of three: Transient Transport Error behind the last, the connection goes on', async (t) => {
	const { world } = await start(t);
	const { raw } = await world.rawIO({ dgst: 3 });
	const ttag = await openWrite(t, raw, { headerDigest: true, dataDigest: true });
	const piece = (datao: number, length: number, last: boolean, dataDigest: true | 'wrong'): Buffer =>
		h2cData({ cccid: 7, ttag, datao, last }, Buffer.alloc(length, 0xee), { headerDigest: true, dataDigest });
	raw.send(piece(0, 4096, false, true), piece(4096, 4096, false, 'wrong'));
	raw.send(piece(8192, 8192, true, true));
	const failed = await raw.expect(pduType.capsuleResp);
	t.deepEqual([failed.cid, failed.status], [7, 0x022]);
	raw.send(capsuleCmd(flush(8), undefined, { headerDigest: true, dataDigest: true }));
	t.is((await raw.expect(pduType.capsuleResp)).status, 0);
});

for (const inConnect of [true, false]) {
	test(`a wrong data digest of ${inConnect ? 'a Connect' : 'a Dataset Management'}: Transient Transport Error, then the right one goes well`, async (t) => {
		const { world } = await start(t);
		const form = { headerDigest: true, dataDigest: true };
		if (inConnect) {
			const raw = await world.initialised({ dgst: 3 });
			raw.send(connectCapsule(0, {}, { ...form, dataDigest: 'wrong' }));
			t.is((await raw.expect(pduType.capsuleResp)).status, 0x022);
			raw.send(connectCapsule(0, {}, form));
			t.is((await raw.expect(pduType.capsuleResp)).status, 0);
			return;
		}
		const { raw } = await world.rawIO({ dgst: 3 });
		const ranges = commands.datasetRanges([{ lba: 0, blocks: 8 }]);
		const sqe = described((entry) => commands.datasetManagement(entry, 1, 1), 3, 16, true);
		raw.send(capsuleCmd(sqe, ranges, { ...form, dataDigest: 'wrong' }));
		t.is((await raw.expect(pduType.capsuleResp)).status, 0x022);
		raw.send(capsuleCmd(sqe, ranges, form));
		t.is((await raw.expect(pduType.capsuleResp)).status, 0);
	});
}

// H2CTermReq and ends.

for (const [what, bytes] of [
	['an H2CTermReq', h2cTermReq(1, 2, Buffer.alloc(72))],
	['an H2CTermReq without data', h2cTermReq(2, 0)],
	['an H2CTermReq whose PLEN is too long', h2cTermReq(2, 0, Buffer.alloc(8), { plen: 4096 })],
	['an H2CTermReq whose HLEN is wrong', h2cTermReq(2, 0, undefined, { hlen: 20 })],
] as const) {
	for (const when of ['before ICReq', 'on a queue']) {
		test(`${what} ${when}: the connection ends without a word, and others go on`, async (t) => {
			const { world, goesOn } = await start(t);
			const raw = when === 'on a queue' ? (await world.rawIO()).raw : await world.raw();
			if (when === 'on a queue') await openWrite(t, raw);
			raw.send(bytes);
			t.is(await raw.next(), undefined);
			await goesOn();
			await world.until(() => world.budget.usedBytes === 0);
		});
	}
}

test('every PDU cut off anywhere, and the connection with it: others go on, no memory stays', async (t) => {
	const { world, goesOn } = await start(t);
	const form = { headerDigest: true, dataDigest: true };
	const association = await world.connect({ headerDigest: true, dataDigest: true, ioQueues: 16 });
	association.io[15]!.destroy();
	const capsule = capsuleCmd(write(3, 8, true), content(4096), form);
	const cuts = (bytes: Buffer): number[] => [1, 7, 8, 9, 23, 24, 71, 72, 73, 75, 76, 77, 128, 300, bytes.length - 5, bytes.length - 1];
	// One connection after the other has that queue identifier.
	for (const cut of cuts(capsule)) {
		const raw = await world.initialised({ dgst: 3 });
		await world.connectRaw(raw, association, 16, {}, form);
		raw.send(capsule.subarray(0, cut));
		raw.finish();
		t.is(await raw.next(), undefined);
	}
	for (const cut of [1, 7, 8, 9, 10, 23, 24, 25, 28, 29, 4000, 16_384 + 31]) {
		const raw = await world.initialised({ dgst: 3 });
		await world.connectRaw(raw, association, 16, {}, form);
		const ttag = await openWrite(t, raw, form);
		raw.send(h2cData({ cccid: 7, ttag, datao: 0 }, Buffer.alloc(16_384, 0xdd), form).subarray(0, cut));
		raw.finish();
		t.is(await raw.next(), undefined);
	}
	for (const cut of [1, 2, 8, 64, 127]) {
		const raw = await world.raw();
		raw.send(icReq().subarray(0, cut));
		raw.finish();
		t.is(await raw.next(), undefined);
	}
	t.deepEqual(world.device.bytes(0, 16_384), Buffer.alloc(16_384), 'nothing of a write that was never whole');
	await goesOn();
	await world.until(() => world.budget.usedBytes === 0);
});

test('a seeded storm of damaged PDUs: each connection is answered or ended, and others go on', async (t) => {
	const { world, goesOn } = await start(t);
	let x = 0x2545f491;
	const random = (below: number): number => {
		x ^= x << 13;
		x ^= x >>> 17;
		x ^= x << 5;
		return (x >>> 0) % below;
	};
	for (let round = 0; round < 300; round++) {
		const stream = Buffer.concat([
			icReq({ dgst: random(4) }),
			connectCapsule(0),
			capsuleCmd(flush(1)),
			capsuleCmd(write(2, 8, true), content(4096, round)),
			h2cData({ cccid: 2, ttag: 0, datao: 0 }, Buffer.alloc(64)),
		]);
		for (let damage = 0; damage < 1 + random(6); damage++) stream[random(stream.length)] = random(256);
		const raw = await world.raw();
		raw.send(stream.subarray(0, 1 + random(stream.length)));
		raw.finish();
		for (const answer of await raw.rest()) t.true([1, 3, 5, 7, 9].includes(answer.type), `round ${round}`);
		if (round % 50 === 0) await goesOn();
	}
	await goesOn();
	await world.until(() => world.budget.usedBytes === 0);
});

// Alignment, data, completions.

for (const hpda of [0, 1, 3, 15, 31]) {
	for (const headerDigest of [false, true]) {
		test(`C2HData begins where HPDA ${hpda} wants it${headerDigest ? ', behind a header digest' : ''}`, async (t) => {
			const { world } = await start(t);
			const namespace = await world.namespace({ hpda, headerDigest, dataDigest: headerDigest });
			const data = content(128 * 1024, hpda);
			await namespace.write(64, data);
			// The host itself refuses a PDO that is no such multiple.
			t.true((await namespace.read(64, 256)).equals(data));
			t.deepEqual(await namespace.read(64, 1), data.subarray(0, 512));
			t.is(namespace.association.io[0]!.dataDigestErrors, 0);
		});
	}
}

test('padding in front of a host’s data is skipped, whatever PDO says, with digests over the data alone', async (t) => {
	const { world } = await start(t);
	for (const dgst of [0, 3]) {
		const { raw } = await world.rawIO({ dgst });
		for (const alignment of [0, 7, 31]) {
			const data = content(4096, alignment + dgst);
			raw.send(capsuleCmd(write(alignment, 8, true), data, { ...formOf({ dgst }), alignment }));
			t.is((await raw.expect(pduType.capsuleResp)).status, 0);
			t.deepEqual(world.device.bytes(0, 4096), data);
		}
	}
});

test('SUCCESS ends reads only when the host asked for no flow control; else each has its completion, with SQHD', async (t) => {
	const { world } = await start(t);
	const without = await world.namespace({ disableFlowControl: true });
	const result = await without.execute((sqe) => commands.range(sqe, ioOpcode.read, 1, 0, 8), { dataInBytes: 4096 });
	t.true(result.bySuccessFlag);
	const withControl = await world.namespace({ disableFlowControl: false, depth: 4 });
	t.true(withControl.association.io[0]!.flowControl);
	const heads: number[] = [];
	for (let count = 0; count < 6; count++) {
		const { bySuccessFlag } = await withControl.execute((sqe) => commands.range(sqe, ioOpcode.read, 1, 0, 8), { dataInBytes: 4096 });
		t.false(bySuccessFlag);
		heads.push(withControl.association.io[0]!.sqhd);
	}
	// Connect took the first entry.
	t.deepEqual(heads, [2, 3, 0, 1, 2, 3]);
});

for (const maxR2T of [0, 1, 3]) {
	test(`a write of 4 MiB has at most ${maxR2T + 1} R2Ts outstanding, in order, and together they are the whole`, async (t) => {
		const { world } = await start(t);
		const { raw } = await world.rawIO({ maxR2T });
		const data = content(4 * 1024 * 1024, maxR2T);
		raw.send(capsuleCmd(write(7, data.length / 512)));
		let solicited = 0;
		let most = 0;
		let sent = 0;
		const open: { ttag: number; offset: number; length: number }[] = [];
		while (sent < data.length) {
			// A flush that is answered says that no further R2T was on its way.
			raw.send(capsuleCmd(flush(100 + open.length)));
			for (;;) {
				const next = await raw.next();
				if (next?.type === pduType.capsuleResp) break;
				t.is(next?.type, pduType.r2t);
				t.is(next!.u32(12), solicited);
				const length = next!.u32(16);
				solicited += length;
				open.push({ ttag: next!.u16(10), offset: next!.u32(12), length });
			}
			most = Math.max(most, open.length);
			t.true(open.length >= 1 && open.length <= maxR2T + 1);
			t.is(new Set(open.map(({ ttag }) => ttag)).size, open.length);
			const { ttag, offset, length } = open.shift()!;
			for (let at = 0; at < length; at += 128 * 1024) {
				const end = Math.min(length, at + 128 * 1024);
				raw.send(h2cData({ cccid: 7, ttag, datao: offset + at, last: end === length }, data.subarray(offset + at, offset + end)));
			}
			sent += length;
		}
		const end = await raw.expect(pduType.capsuleResp);
		t.deepEqual([end.cid, end.status], [7, 0]);
		t.is(solicited, data.length);
		t.is(most, maxR2T + 1, 'as many as the host allows');
		t.true(world.device.bytes(0, data.length).equals(data));
	});
}

test('R2Ts of several writes are answered in any order between them', async (t) => {
	const { world } = await start(t);
	const { raw } = await world.rawIO();
	const sqe = (cid: number): Buffer => described((entry) => commands.range(entry, ioOpcode.write, 1, cid * 64, 64), cid, 32_768);
	raw.send(capsuleCmd(sqe(1)), capsuleCmd(sqe(2)), capsuleCmd(sqe(3)));
	const tags = new Map<number, number>();
	for (let count = 0; count < 3; count++) {
		const r2t = await raw.expect(pduType.r2t);
		tags.set(r2t.u16(8), r2t.u16(10));
	}
	const piece = (cccid: number, half: 0 | 1): Buffer =>
		h2cData({ cccid, ttag: tags.get(cccid)!, datao: half * 16_384, last: half === 1 }, content(16_384, cccid * 2 + half));
	raw.send(piece(3, 0), piece(1, 0), piece(3, 1), piece(2, 0), piece(2, 1), piece(1, 1));
	const answers = [await raw.expect(pduType.capsuleResp), await raw.expect(pduType.capsuleResp), await raw.expect(pduType.capsuleResp)];
	t.deepEqual(
		answers.map(({ cid }) => cid).toSorted((x, y) => x - y),
		[1, 2, 3],
	);
	for (const cid of [1, 2, 3])
		t.deepEqual(world.device.bytes(cid * 32_768, 32_768), Buffer.concat([content(16_384, cid * 2), content(16_384, cid * 2 + 1)]));
});

test('a completion has no phase tag and no reserved bits', async (t) => {
	const { world } = await start(t);
	const { raw } = await world.rawIO();
	raw.send(capsuleCmd(flush(0xabcd)));
	const answer = await raw.expect(pduType.capsuleResp);
	t.is(answer.bytes.length, 24);
	t.deepEqual([...answer.bytes.subarray(0, 8)], [5, 0, 24, 0, 24, 0, 0, 0]);
	t.is(answer.cid, 0xabcd);
	t.is(answer.u16(22), 0);
});

test('an identifier that is in use: Command Identifier Conflict, and the first command is as before', async (t) => {
	const { world } = await start(t);
	const { raw } = await world.rawIO();
	const ttag = await openWrite(t, raw);
	raw.send(capsuleCmd(flush(7)));
	const conflict = await raw.expect(pduType.capsuleResp);
	t.deepEqual([conflict.cid, conflict.status], [7, 0x003]);
	raw.send(h2cData({ cccid: 7, ttag, datao: 0 }, content(16_384)));
	const done = await raw.expect(pduType.capsuleResp);
	t.deepEqual([done.cid, done.status], [7, 0]);
});

test('more commands than the queue has entries end the connection, and others go on', async (t) => {
	const { world, goesOn } = await start(t);
	const { raw } = await world.rawIO({}, { sqsize: 3 });
	for (let cid = 0; cid < 5; cid++) raw.send(capsuleCmd(write(cid, 32)));
	const answers = await raw.rest();
	t.is(answers.filter(({ type }) => type === pduType.r2t).length, 4);
	t.is(answers.at(-1)?.type, pduType.c2hTermReq);
	await goesOn();
});

// SGLs: what a command says of its data.

const sgls: Record<string, { change: (sqe: Buffer) => void; status: number }> = {
	'PSDT 00b, which is PRPs': { change: (sqe) => (sqe[1] = 0x00), status: 0x002 },
	'PSDT 11b': { change: (sqe) => (sqe[1] = 0xc0), status: 0x002 },
	'a keyed descriptor': { change: (sqe) => (sqe[39] = 0x40), status: 0x011 },
	'a segment descriptor': { change: (sqe) => (sqe[39] = 0x20), status: 0x011 },
	'a bit bucket descriptor': { change: (sqe) => (sqe[39] = 0x10), status: 0x011 },
	'a data block with an address': { change: (sqe) => (sqe[39] = 0x00), status: 0x011 },
	'another subtype of the transport’s descriptor': { change: (sqe) => (sqe[39] = 0x5b), status: 0x011 },
	'a length of 0': { change: (sqe) => putU32(sqe, 32, 0), status: 0x00f },
	'a length below what the command transfers': { change: (sqe) => putU32(sqe, 32, 512), status: 0x00f },
	'a length above what the command transfers': { change: (sqe) => putU32(sqe, 32, 8192), status: 0x00f },
};
for (const [what, { change, status }] of Object.entries(sgls)) {
	for (const kind of ['read', 'write', 'write in its capsule'] as const) {
		test(`SGL 1 of a ${kind}, ${what}: status ${status.toString(16)}h, and nothing happens`, async (t) => {
			const { world } = await start(t);
			const { raw } = await world.rawIO();
			const calls = world.device.calls.length;
			const sqe = kind === 'read' ? read(3, 8) : write(3, 8, kind === 'write in its capsule');
			change(sqe);
			raw.send(capsuleCmd(sqe, kind === 'write in its capsule' ? content(4096) : undefined));
			const answer = await raw.expect(pduType.capsuleResp);
			t.is(answer.status, status);
			t.is(answer.u16(22) & 0x8000, 0x8000, 'Do Not Retry');
			t.deepEqual(world.device.calls.slice(calls), []);
			raw.send(capsuleCmd(flush(4)));
			t.is((await raw.expect(pduType.capsuleResp)).status, 0);
		});
	}
}

const inCapsule: Record<string, { change: (sqe: Buffer) => void; data: number; status: number }> = {
	'an offset behind the data': { change: (sqe) => putU32(sqe, 24, 8192), data: 4096, status: 0x016 },
	'an offset above 4 GiB': { change: (sqe) => putU32(sqe, 28, 1), data: 4096, status: 0x016 },
	'less data than the descriptor says': { change: () => undefined, data: 2048, status: 0x00f },
	'no data at all': { change: () => undefined, data: 0, status: 0x00f },
};
for (const [what, { change, data, status }] of Object.entries(inCapsule)) {
	test(`in-capsule data, ${what}: status ${status.toString(16)}h, nothing written, the connection goes on`, async (t) => {
		const { world } = await start(t);
		const { raw } = await world.rawIO();
		const sqe = write(3, 8, true);
		change(sqe);
		raw.send(capsuleCmd(sqe, content(data)));
		const { status: answered } = await raw.expect(pduType.capsuleResp);
		t.true(answered === status || (data === 0 && answered === 0x016), answered.toString(16));
		t.deepEqual(world.device.bytes(0, 4096), Buffer.alloc(4096));
		raw.send(capsuleCmd(flush(4)));
		t.is((await raw.expect(pduType.capsuleResp)).status, 0);
	});
}

test('in-capsule data at an offset is taken from there; a read cannot have its data in the capsule', async (t) => {
	const { world } = await start(t);
	const { raw } = await world.rawIO();
	const sqe = write(3, 2, true);
	putU32(sqe, 24, 1024);
	const data = content(2048);
	raw.send(capsuleCmd(sqe, data));
	t.is((await raw.expect(pduType.capsuleResp)).status, 0);
	t.deepEqual(world.device.bytes(0, 1024), data.subarray(1024));
	const wrong = read(4, 1);
	wrong[39] = sglInCapsule;
	raw.send(capsuleCmd(wrong));
	t.is((await raw.expect(pduType.capsuleResp)).status, 0x011);
});

// Bounds.

test('a host that keeps back the data of its R2Ts does not stop others, and its share of the memory comes back with its end', async (t) => {
	const world = await World.open(t, { budgetBytes: 16 * 1024 * 1024 });
	const withholding: Association[] = [];
	for (let index = 0; index < 3; index++) {
		const association = await world.connect({ maxR2Ts: 4 });
		withholding.push(association);
		const queue = association.io[0]!;
		queue.onR2T = () => true;
		const held = await Namespace.attach(association, 1);
		for (let count = 0; count < 16; count++) void held.write(8192 * (index + 1), content(1024 * 1024)).catch(() => undefined);
	}
	const other = await world.namespace();
	for (let round = 0; round < 20; round++) {
		const data = content(8192, round);
		await other.write(round * 16, data);
		t.true((await other.read(round * 16, 16)).equals(data));
	}
	t.true(world.budget.usedBytes <= world.budget.limitBytes);
	t.true(world.budget.usedBytes > 0);
	for (const association of withholding) association.destroy();
	await world.until(() => world.budget.usedBytes === 0);
});
