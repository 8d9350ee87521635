import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { Appliance } from '../../src/appliance.ts';
import { silent } from '../../src/os/logger.ts';
import { InitiatorDisk, senseCodes } from '../initiator/disk.ts';
import { defaultInitiatorName } from '../initiator/login.ts';
import { Session } from '../initiator/session.ts';
import { Association, defaultHostNQN } from '../nvme-host/association.ts';
import * as commands from '../nvme-host/commands.ts';
import { Namespace } from '../nvme-host/namespace.ts';
import { inCdb, out, outCdb, parameterList, reserveIn, types } from '../scsi/reservations.ts';
import { temporaryDirectory } from '../temporary.ts';

const subsystem = 'nqn.2026-11.dev.blockport:one';
const target = 'iqn.2026-11.dev.blockport:one';
const anywhere = { host: '127.0.0.1', port: 0 };
const isidA = Buffer.from('80000000000a', 'hex');
const isidB = Buffer.from('80000000000b', 'hex');
/** RESERVATION CONFLICT, and Reservation Conflict. */
const scsiConflict = 0x18;
const nvmeConflict = 0x083;
/** RTYPE. */
const writeExclusive = 1;

async function start(t: ExecutionContext, dataDirectory: string) {
	const one = new Appliance({
		dataDirectory,
		version: '1',
		log: silent,
		iscsi: anywhere,
		nvme: anywhere,
		nvmeDiscovery: 'none',
		admin: anywhere,
		drainMs: 200,
	});
	t.teardown(() => one.stop());
	await one.start();
	const initiator = async (isid: Uint8Array) => {
		const session = await Session.open({ port: one.iscsi?.port ?? 0, targetName: target, isid });
		t.teardown(() => session.destroy());
		const disk = new InitiatorDisk(session, 0);
		await attention(disk);
		return disk;
	};
	const host = async (hostid: Buffer) => {
		const association = await Association.open({ port: one.nvme?.port ?? 0, subnqn: subsystem, katoMs: 5000, hostid });
		t.teardown(() => association.destroy());
		return await Namespace.attach(association, 1);
	};
	return { one, operations: one.operations, initiator, host };
}

/** One volume as LUN 0 and as namespace 1. */
async function exported(t: ExecutionContext, path?: string) {
	const running = await start(t, path ?? (await temporaryDirectory(t)));
	const { operations } = running;
	await operations.createVolume({ name: 'data', sizeBytes: 2 ** 26, blockSize: 512 });
	await operations.createTarget({ name: target, alias: '', tpgt: 1 });
	await operations.map(target, { volume: 'data' });
	await operations.allow(target, defaultInitiatorName);
	await operations.createSubsystem({ name: subsystem });
	await operations.mapNamespace(subsystem, { volume: 'data' });
	await operations.allowHost(subsystem, defaultHostNQN, {});
	return running;
}

const reserveOut = async (disk: InitiatorDisk, action: number, key: bigint, other: bigint, type = 0, aptpl = false): Promise<number> =>
	(await disk.execute((cdb) => fill(cdb, outCdb(action, type, 24)), { dataOut: parameterList(key, other, { aptpl }) })).status;

const scsiWrite = async (disk: InitiatorDisk): Promise<number> =>
	(await disk.execute((cdb) => fill(cdb, [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]), { dataOut: Buffer.alloc(512, 1) })).status;

const scsiRead = async (disk: InitiatorDisk): Promise<number> =>
	(await disk.execute((cdb) => fill(cdb, [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]), { dataInBytes: 512 })).status;

/** The next unit attention as its code and qualifier; undefined if there is none. */
async function attention(disk: InitiatorDisk): Promise<number | undefined> {
	const { status, sense } = await disk.execute((cdb) => fill(cdb, [0, 0, 0, 0, 0, 0]));
	if (status === 0) return undefined;
	const { key, code, qualifier } = senseCodes(sense);
	if (key !== 6) throw new Error(`status ${status}, sense key ${key}`);
	return code * 256 + qualifier;
}

function fill(cdb: Uint8Array, bytes: readonly number[]): void {
	cdb.fill(0);
	cdb.set(bytes);
}

const register = async (host: Namespace, key: bigint): Promise<number> =>
	(await host.execute((sqe) => commands.reservationRegister(sqe, 1, 0), { dataOut: commands.reservationKeys(0n, key) })).status;

const acquire = async (host: Namespace, racqa: number, rtype: number, key: bigint, preempted = 0n): Promise<number> =>
	(await host.execute((sqe) => commands.reservationAcquire(sqe, 1, racqa, rtype), { dataOut: commands.reservationKeys(key, preempted) }))
		.status;

const nvmeWrite = async (host: Namespace): Promise<number> =>
	(await host.execute((sqe) => commands.range(sqe, commands.ioOpcode.write, 1, 0, 1), { dataOut: Buffer.alloc(512, 2) })).status;

const nvmeRead = async (host: Namespace): Promise<number> =>
	(await host.execute((sqe) => commands.range(sqe, commands.ioOpcode.read, 1, 0, 1), { dataInBytes: 512 })).status;

test('an initiator holds: a host meets Reservation Conflict until it registers; preempted, it gets the event and its log page', async (t) => {
	const { initiator, host } = await exported(t);
	const a = await initiator(isidA);
	const h = await host(randomBytes(16));
	t.is(await reserveOut(a, out.register, 0n, 5n), 0);
	t.is(await reserveOut(a, out.reserve, 5n, 0n, types.EARO), 0);
	t.deepEqual([await nvmeRead(h), await nvmeWrite(h)], [nvmeConflict, nvmeConflict]);
	t.is(await register(h, 6n), 0);
	t.deepEqual([await nvmeRead(h), await nvmeWrite(h)], [0, 0]);
	const keys = await a.expectGood((cdb) => fill(cdb, inCdb(reserveIn.readKeys, 64)), { dataInBytes: 64 });
	t.is(keys.toString('hex', 8), '00000000000000050000000000000006');
	const { association } = h;
	association.watchEvents(1);
	t.is(await reserveOut(a, out.preemptAndAbort, 5n, 6n, types.EARO), 0);
	const { lid } = await association.nextEvent();
	t.is(lid, 0x80);
	const page = await association.logPage(0x80, 64);
	t.deepEqual([page[8], page[9], page.readUInt32LE(12)], [1, 0, 1], 'Registration Preempted, nothing behind it, namespace 1');
	t.deepEqual([await nvmeRead(h), await nvmeWrite(h)], [nvmeConflict, nvmeConflict]);
	t.is(await attention(a), undefined);
});

test('a host holds: initiators meet RESERVATION CONFLICT, each nexus for itself; preempted, a nexus gets its unit attention, once', async (t) => {
	const { initiator, host } = await exported(t);
	const [a, b] = [await initiator(isidA), await initiator(isidB)];
	const h = await host(randomBytes(16));
	t.is(await register(h, 6n), 0);
	// Write Exclusive - Registrants Only.
	t.is(await acquire(h, 0, 3, 6n), 0);
	t.deepEqual([await scsiRead(a), await scsiWrite(a)], [0, scsiConflict]);
	t.is(await reserveOut(a, out.register, 0n, 5n), 0);
	t.deepEqual([await scsiWrite(a), await scsiWrite(b)], [0, scsiConflict], 'another ISID is another nexus');
	t.is(await acquire(h, 2, 3, 6n, 5n), 0);
	t.is(await scsiWrite(a), scsiConflict);
	t.deepEqual([await attention(a), await attention(a), await attention(b)], [0x2a05, undefined, undefined]);
	const shown = await a.expectGood((cdb) => fill(cdb, inCdb(reserveIn.readReservation, 24)), { dataInBytes: 24 });
	t.is(shown.toString('hex', 8), '0000000000000006'.concat('00000000', '00', '05', '0000'), 'the host’s key, TYPE 5');
});

test('a volume shows who is registered and who holds it, over both protocols; a list does not', async (t) => {
	const { operations, initiator, host } = await exported(t);
	t.deepEqual((await operations.volume('data')).reservations, { generation: 0, persistThroughPowerLoss: false, registrants: [] });
	const a = await initiator(isidA);
	const hostid = randomBytes(16);
	const h = await host(hostid);
	t.is(await register(h, 0xfedc_ba98_7654_3210n), 0);
	t.is(await reserveOut(a, out.register, 0n, 5n), 0);
	t.is(await acquire(h, 0, writeExclusive, 0xfedc_ba98_7654_3210n), 0);
	t.deepEqual((await operations.volume('data')).reservations, {
		type: 'writeExclusive',
		generation: 2,
		persistThroughPowerLoss: false,
		registrants: [
			{ protocol: 'nvme', id: hostid.toString('hex'), key: '0xfedcba9876543210', holder: true },
			{
				protocol: 'iscsi',
				id: `${defaultInitiatorName},i,0x${isidA.toString('hex')}`,
				port: `${target},t,0x0001`,
				key: '0x0000000000000005',
				holder: false,
			},
		],
	});
	t.is((await operations.volumes())[0]?.reservations, undefined);
});

test('RESERVE (6) of an initiator binds hosts, who cannot register either; the loss of its session lets them go on', async (t) => {
	const { operations, initiator, host } = await exported(t);
	const a = await initiator(isidA);
	const b = await initiator(isidB);
	const h = await host(randomBytes(16));
	await a.expectGood((cdb) => fill(cdb, [0x16, 0, 0, 0, 0, 0]));
	t.deepEqual([await nvmeRead(h), await nvmeWrite(h), await register(h, 6n)], [nvmeConflict, nvmeConflict, nvmeConflict]);
	t.is(await scsiRead(b), scsiConflict);
	t.is(await scsiWrite(a), 0);
	t.is((await operations.volume('data')).reservations?.unitHolder, `${defaultInitiatorName},i,0x${isidA.toString('hex')}`);
	await a.session.logout();
	t.deepEqual([await scsiRead(b), await nvmeWrite(h), await register(h, 6n)], [0, 0, 0]);
	t.is((await b.execute((cdb) => fill(cdb, [0x16, 0, 0, 0, 0, 0]))).status, scsiConflict, 'while a host is registered');
});

test('APTPL: after a restart the same nexus has its reservation, and nobody else; hosts are bound by it', async (t) => {
	const path = await temporaryDirectory(t);
	const first = await exported(t, path);
	const a = await first.initiator(isidA);
	t.is(await reserveOut(a, out.register, 0n, 5n, 0, true), 0);
	t.is(await reserveOut(a, out.reserve, 5n, 0n, writeExclusive), 0);
	await first.one.stop();

	const second = await start(t, path);
	const again = await second.initiator(isidA);
	const other = await second.initiator(isidB);
	const h = await second.host(randomBytes(16));
	t.deepEqual([await scsiWrite(again), await scsiWrite(other), await nvmeWrite(h)], [0, scsiConflict, nvmeConflict]);
	const capabilities = await other.expectGood((cdb) => fill(cdb, inCdb(reserveIn.reportCapabilities, 8)), { dataInBytes: 8 });
	t.is(capabilities.toString('hex'), '00081db1ea010000');
	t.is(await reserveOut(again, out.register, 5n, 5n), 0);
	await second.one.stop();

	const third = await start(t, path);
	t.is(await scsiWrite(await third.initiator(isidB)), 0, 'the last registration did without APTPL');
});

test('one volume under two targets: ALL_TG_PT registers both nexuses, and what one target’s nexus reserves binds the other’s', async (t) => {
	const { operations, one, initiator } = await exported(t);
	const second = 'iqn.2026-11.dev.blockport:two';
	await operations.createTarget({ name: second, alias: '', tpgt: 1 });
	await operations.map(second, { volume: 'data', lun: 4 });
	await operations.allow(second, defaultInitiatorName);
	const session = await Session.open({ port: one.iscsi?.port ?? 0, targetName: second, isid: isidA });
	t.teardown(() => session.destroy());
	const other = new InitiatorDisk(session, 4);
	await attention(other);
	const a = await initiator(isidA);
	t.is(await reserveOut(a, out.register, 0n, 5n), 0);
	t.is(await reserveOut(a, out.reserve, 5n, 0n, types.WERO), 0);
	t.is(await scsiWrite(other), scsiConflict);
	const dataOut = parameterList(5n, 5n, { allTgPt: true });
	await a.expectGood((cdb) => fill(cdb, outCdb(out.registerAndIgnore, 0, 24)), { dataOut });
	t.is(await scsiWrite(other), 0);
});
