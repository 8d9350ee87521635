import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { Appliance } from '../../src/appliance.ts';
import { silent } from '../../src/os/logger.ts';
import { InitiatorDisk, senseCodes } from '../initiator/disk.ts';
import { defaultInitiatorName } from '../initiator/login.ts';
import { Session } from '../initiator/session.ts';
import { taskFunction } from '../initiator/wire.ts';
import { Association, defaultHostNQN } from '../nvme-host/association.ts';
import { Namespace } from '../nvme-host/namespace.ts';
import { inCdb, out, outCdb, parameterList, reserveIn, types } from '../scsi/reservations.ts';
import { be } from '../scsi/initiator.ts';
import { temporaryDirectory } from '../temporary.ts';

const subsystem = 'nqn.2026-11.dev.blockport:one';
const target = 'iqn.2026-11.dev.blockport:one';
const anywhere = { host: '127.0.0.1', port: 0 };
const mebibyte = 1024 * 1024;
const conflict = 0x18;

/** Two volumes as LUN 0 and 1, the first one as namespace 1 too. */
async function exported(t: ExecutionContext) {
	const dataDirectory = await temporaryDirectory(t);
	const ports = { iscsi: anywhere, nvme: anywhere, nvmeDiscovery: 'none' as const, admin: anywhere };
	const one = new Appliance({ dataDirectory, version: '1', log: silent, ...ports, drainMs: 200 });
	t.teardown(() => one.stop());
	await one.start();
	const { operations } = one;
	await operations.createTarget({ name: target, alias: '', tpgt: 1 });
	for (const name of ['first', 'second']) {
		await operations.createVolume({ name, sizeBytes: 64 * mebibyte, blockSize: 512 });
		await operations.map(target, { volume: name });
	}
	await operations.allow(target, defaultInitiatorName);
	await operations.createSubsystem({ name: subsystem });
	await operations.mapNamespace(subsystem, { volume: 'first' });
	await operations.allowHost(subsystem, defaultHostNQN, {});
	const initiator = async (isid: string) => {
		const session = await Session.open({ port: one.iscsi?.port ?? 0, targetName: target, isid: Buffer.from(isid, 'hex') });
		t.teardown(() => session.destroy());
		const disks = [new InitiatorDisk(session, 0), new InitiatorDisk(session, 1)] as const;
		for (const disk of disks) {
			await disk.becomeReady();
		}
		return { session, disks };
	};
	const host = async () => {
		const association = await Association.open({ port: one.nvme?.port ?? 0, subnqn: subsystem, katoMs: 5000, hostid: randomBytes(16) });
		t.teardown(() => association.destroy());
		return await Namespace.attach(association, 1);
	};
	return { operations, initiator, host };
}

async function send(disk: InitiatorDisk, cdb: readonly number[], transfer: { dataOut?: Buffer; dataInBytes?: number } = {}) {
	const { status, sense, data, residual } = await disk.execute((buffer) => buffer.fill(0) && buffer.set(cdb), transfer);
	const { key, code, qualifier } = senseCodes(sense);
	return { status, sense: status === 2 ? `${key.toString(16)}/${(code * 256 + qualifier).toString(16)}` : '', data, residual };
}

const read = async (disk: InitiatorDisk, lba: number, blocks: number): Promise<Buffer> =>
	(await send(disk, [0x28, 0, ...be(lba, 4), 0, ...be(blocks, 2), 0], { dataInBytes: blocks * 512 })).data;
const write = async (disk: InitiatorDisk, lba: number, data: Buffer): Promise<number> =>
	(await send(disk, [0x2a, 0, ...be(lba, 4), 0, ...be(data.length / 512, 2), 0], { dataOut: data })).status;
const compareAndWrite = async (disk: InitiatorDisk, lba: number, expected: Buffer, data: Buffer) =>
	await send(disk, [0x89, 0, ...be(lba, 8), 0, 0, 0, expected.length / 512, 0, 0], { dataOut: Buffer.concat([expected, data]) });

function numbered(value: number): Buffer {
	const block = Buffer.alloc(512, value & 0xff);
	block.writeUInt32BE(value);
	return block;
}

test('COMPARE AND WRITE of two initiators and fused pairs of a host count in one block: no increment is lost', async (t) => {
	const { initiator, host } = await exported(t);
	const [a, b, h] = [await initiator('80000000000a'), await initiator('80000000000b'), await host()];
	const rounds = 30;
	const count = async (tryOnce: (expected: Buffer, data: Buffer) => Promise<boolean>, first: number): Promise<void> => {
		let seen = first;
		for (let done = 0; done < rounds;) {
			if (await tryOnce(numbered(seen), numbered(seen + 1))) done++;
			seen = (await read(a.disks[0], 7, 1)).readUInt32BE(0);
		}
	};
	t.is(await write(a.disks[0], 7, numbered(0)), 0);
	const scsi = (disk: InitiatorDisk) => async (expected: Buffer, data: Buffer) => {
		const answer = await compareAndWrite(disk, 7, expected, data);
		if (answer.status !== 0) t.is(answer.sense, 'e/1d00');
		return answer.status === 0;
	};
	const nvme = async (expected: Buffer, data: Buffer): Promise<boolean> => {
		const [compared, written] = await h.compareAndWrite(7, expected, data);
		return compared.status === 0 && written.status === 0;
	};
	await Promise.all([count(scsi(a.disks[0]), 0), count(scsi(b.disks[0]), 0), count(nvme, 0)]);
	t.is((await read(b.disks[0], 7, 1)).readUInt32BE(0), 3 * rounds);
});

test('EXTENDED COPY between two volumes on disk: data and what was never written, and a host sees it', async (t) => {
	const { initiator, host } = await exported(t);
	const { disks } = await initiator('80000000000a');
	const data = randomBytes(3 * mebibyte);
	for (let at = 0; at < data.length; at += mebibyte) t.is(await write(disks[1], 4096 + at / 512, data.subarray(at, at + mebibyte)), 0);
	t.is(await write(disks[0], 0, Buffer.alloc(mebibyte, 1)), 0);
	const cscd = async (disk: InitiatorDisk): Promise<Buffer> => {
		const page = (await send(disk, [0x12, 1, 0x83, 1, 0, 0], { dataInBytes: 256 })).data;
		// The first designator is the NAA.
		return Buffer.concat([Buffer.from([0xe4, 0, 0, 0, 1, 3, 0, 16]), page.subarray(8, 24), Buffer.from([0, 0, 0, 0, 0, 0, 2, 0])]);
	};
	const segment = Buffer.from([2, 0, 0, 0x18, 0, 1, 0, 0, 0, 0, ...be(16_384, 2), ...be(0, 8), ...be(0, 8)]);
	const list = Buffer.concat([
		Buffer.from([1, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 0]),
		await cscd(disks[0]),
		await cscd(disks[1]),
		segment,
	]);
	const answer = await send(disks[0], [0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...be(list.length, 4), 0, 0], { dataOut: list });
	t.is(answer.status, 0, answer.sense);
	t.deepEqual(await read(disks[0], 0, 2048), Buffer.alloc(mebibyte), 'what the source did not hold is zeros');
	for (let at = 0; at < data.length; at += mebibyte)
		t.deepEqual(await read(disks[0], 4096 + at / 512, 2048), data.subarray(at, at + mebibyte));
	const h = await host();
	t.deepEqual(await h.read(4096, 8), data.subarray(0, 4096));
});

test('fault ESXi format fails: 512e, residual counts, RESERVE (6), ATS, WRITE SAME (16), UNMAP and XCOPY in one session', async (t) => {
	const { initiator } = await exported(t);
	const [a, b] = [await initiator('80000000000a'), await initiator('80000000000b')];
	const [disk] = a.disks;
	const capacity = await send(disk, [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], { dataInBytes: 32 });
	t.deepEqual([capacity.data.readUInt32BE(8), capacity.data[13]], [512, 3]);
	t.is((await send(disk, [0x12, 0, 0, 4, 0, 0], { dataInBytes: 1024 })).residual, 1024 - 96);
	t.is((await send(disk, [0x16, 0, 0, 0, 0, 0])).status, 0);
	t.is(await write(b.disks[0], 0, Buffer.alloc(512)), conflict);
	t.is((await send(disk, [0x17, 0, 0, 0, 0, 0])).status, 0);
	t.is(await write(b.disks[0], 0, Buffer.alloc(512)), 0);
	t.is((await compareAndWrite(disk, 3, Buffer.alloc(512), numbered(1))).status, 0);
	t.is((await compareAndWrite(b.disks[0], 3, Buffer.alloc(512), numbered(2))).sense, 'e/1d00');
	t.is((await send(disk, [0x93, 0, ...be(0, 8), ...be(2048, 4), 0, 0], { dataOut: Buffer.alloc(512) })).status, 0);
	t.deepEqual(await read(disk, 3, 1), Buffer.alloc(512));
	t.is(await write(disk, 8, Buffer.alloc(4096, 9)), 0);
	const unmap = Buffer.from([0, 22, 0, 16, 0, 0, 0, 0, ...be(8, 8), ...be(8, 4), 0, 0, 0, 0]);
	t.is((await send(disk, [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], { dataOut: unmap })).status, 0);
	t.deepEqual(await read(disk, 8, 8), Buffer.alloc(4096));
	const parameters = await send(disk, [0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], { dataInBytes: 64 });
	t.true(parameters.data.includes(Buffer.from([0x02, 0xe4])), 'XCOPY, block to block');
});

test('fault WSFC validation: registrations are those of name and ISID, READ FULL STATUS tells them apart, APTPL is said', async (t) => {
	const { initiator } = await exported(t);
	const [a, b] = [await initiator('80000000000a'), await initiator('80000000000b')];
	for (const [{ disks }, key] of [
		[a, 5n],
		[b, 6n],
	] as const) {
		t.is((await send(disks[0], outCdb(out.register, 0, 24), { dataOut: parameterList(0n, key, { aptpl: true }) })).status, 0);
	}
	t.is((await send(a.disks[0], outCdb(out.reserve, types.WERO, 24), { dataOut: parameterList(5n, 0n) })).status, 0);
	const full = (await send(a.disks[0], inCdb(reserveIn.readFullStatus), { dataInBytes: 1024 })).data.toString('latin1');
	for (const isid of ['80000000000a', '80000000000b']) t.true(full.includes(`${defaultInitiatorName},i,0x${isid}`));
	t.is((await send(b.disks[0], outCdb(out.preempt, types.WERO, 24), { dataOut: parameterList(6n, 5n) })).status, 0);
	t.is(await write(b.disks[0], 0, Buffer.alloc(512)), 0);
	t.is((await send(a.disks[0], [0, 0, 0, 0, 0, 0])).sense, '6/2a05');
	t.is(await write(a.disks[0], 0, Buffer.alloc(512)), conflict);
});

test('fault resize not noticed: 2Ah/09h after growing, 3Fh/0Eh after mapping, on every session, once', async (t) => {
	const { operations, initiator } = await exported(t);
	const all = [await initiator('80000000000a'), await initiator('80000000000b')];
	await operations.resizeVolume('first', 128 * mebibyte);
	await operations.createVolume({ name: 'third', sizeBytes: mebibyte, blockSize: 512 });
	await operations.map(target, { volume: 'third' });
	for (const { disks } of all) {
		t.is((await send(disks[0], [0, 0, 0, 0, 0, 0])).sense, '6/2a09');
		t.is((await send(disks[0], [0, 0, 0, 0, 0, 0])).sense, '6/3f0e');
		t.is((await send(disks[0], [0, 0, 0, 0, 0, 0])).status, 0);
	}
});

test('fault ABORT and RESET hang: under load each is answered when nothing of the tasks is left, every other nexus is told', async (t) => {
	const { initiator } = await exported(t);
	const [a, b] = [await initiator('80000000000a'), await initiator('80000000000b')];
	for (const code of [taskFunction.abortTaskSet, taskFunction.clearTaskSet, taskFunction.logicalUnitReset, taskFunction.targetWarmReset]) {
		const load = [a, b].flatMap(({ disks }) =>
			Array.from({ length: 20 }, (_, index) => write(disks[0], 2048 * index, Buffer.alloc(mebibyte, index))),
		);
		const others = load.slice(20);
		t.is(await a.session.manageTask(code, 0), 0);
		for (const status of await Promise.all(others)) t.true([0x00, 0x02, 0x40].includes(status));
		for (const { disks } of [a, b]) for (const disk of disks) await disk.becomeReady();
		t.is(await write(b.disks[0], 0, Buffer.alloc(512)), 0);
	}
});

test('fault snapshot growth: LOG SENSE tells what is used and left, VPD B2 in which unit', async (t) => {
	const { initiator } = await exported(t);
	const [disk] = (await initiator('80000000000a')).disks;
	t.is((await send(disk, [0x12, 1, 0xb2, 0, 64, 0], { dataInBytes: 64 })).data[4], 11);
	const { data } = await send(disk, [0x4d, 0, 0x4c, 0, 0, 0, 0, 0, 64, 0], { dataInBytes: 64 });
	t.is(data.readUInt16BE(2), 24);
	t.true(data.readUInt32BE(8) > 0 && data.readUInt32BE(20) < 64);
});
