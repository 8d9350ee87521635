import test from 'ava';
import { Registrant } from '../../src/reservation/registrant.ts';
import { limits } from '../../src/reservation/limits.ts';
import { cdb, good, hex, invalidField } from './initiator.ts';
import { inCdb, isid, iscsiTransportId, keysOf, names, out, parameterList, reserveIn, setUpShared, types } from './reservations.ts';

test('READ KEYS: generation, length and keys, in the order in which they came; cut by the allocation length, which changes no field', async (t) => {
	const { a, b } = setUpShared();
	t.is((await a.send(inCdb(reserveIn.readKeys))).dataIn.toString('hex'), '0000000000000000');
	await a.register(0n, 0x1122334455667788n);
	await b.register(0n, 0xffffffffffffffffn);
	const { dataIn, status } = await b.send(inCdb(reserveIn.readKeys));
	t.is(status, good);
	t.is(dataIn.toString('hex'), hex('00000002', '00000010', '1122334455667788', 'ffffffffffffffff'));
	for (const length of [0, 4, 8, 12, 24]) t.deepEqual((await b.send(inCdb(reserveIn.readKeys, length))).dataIn, dataIn.subarray(0, length));
});

test('READ RESERVATION: nothing, one holder’s key, and 0 where all registrants hold it', async (t) => {
	const { a, b } = setUpShared();
	const read = async () => (await a.send(inCdb(reserveIn.readReservation))).dataIn.toString('hex');
	await a.register(0n, 5n);
	await b.register(0n, 6n);
	t.is(await read(), hex('00000002', '00000000'));
	for (const [name, type] of Object.entries(types)) {
		t.is(await a.reserve(5n, type), good);
		const key = name.endsWith('AR') ? '0000000000000000' : '0000000000000005';
		t.is(await read(), hex('00000002', '00000010', key, '00000000', '00', `0${type}`, '0000'), name);
		t.is(await a.release(5n, type), good);
	}
});

test('REPORT CAPABILITIES: CRH, SIP_C, ATP_C, PTPL_C, six types, TEST UNIT READY and reads of settings let through; PTPL_A follows APTPL', async (t) => {
	const { a } = setUpShared();
	const read = async () => (await a.send(inCdb(reserveIn.reportCapabilities))).dataIn.toString('hex');
	t.is(await read(), hex('0008', '1d', 'b0', 'ea01', '0000'));
	await a.register(0n, 5n, { aptpl: true });
	t.is(await read(), hex('0008', '1d', 'b1', 'ea01', '0000'));
	t.is((await a.send(inCdb(reserveIn.reportCapabilities, 4))).dataIn.toString('hex'), '00081db1');
	const forgetful = setUpShared({ persists: false });
	t.is((await forgetful.a.send(inCdb(reserveIn.reportCapabilities))).dataIn.toString('hex', 2, 3), '1c', 'without a store');
});

test('READ FULL STATUS: key, holder, type, target port and the iSCSI TransportID of each; an NVMe host with its HOSTID and no protocol', async (t) => {
	const { a, b, table } = setUpShared();
	await a.register(0n, 5n);
	await b.register(0n, 6n);
	table.register(new Registrant('nvme', 'ab'.repeat(16)), 7n);
	await b.reserve(6n, types.EA);
	const { dataIn } = await a.send(inCdb(reserveIn.readFullStatus));
	// 18 characters, the separator, 12 digits and the null: 36 bytes.
	const id = (name: string) => hex('45000024', Buffer.from(`${name},i,0x${isid}\0`).toString('hex'));
	const expected = hex(
		'00000003',
		(2 * 64 + 48).toString(16).padStart(8, '0'),
		hex('0000000000000005', '00000000', '00', '00', '00000000', '0007', '00000028', id(names.a)),
		hex('0000000000000006', '00000000', '01', '03', '00000000', '0007', '00000028', id(names.b)),
		hex('0000000000000007', '00000000', '00', '00', '00000000', '0000', '00000018', '0f00000000000000', 'ab'.repeat(16)),
	);
	t.is(dataIn.toString('hex'), expected);
	await b.release(6n, types.EA);
	await b.reserve(6n, types.WEAR);
	const all = (await a.send(inCdb(reserveIn.readFullStatus))).dataIn;
	t.deepEqual([all[8 + 12], all[8 + 13], all[8 + 64 + 12], all[8 + 128 + 12]], [1, 7, 1, 1]);
});

test('service actions that do not exist: INVALID FIELD IN CDB at the service action', async (t) => {
	const { a } = setUpShared();
	for (let action = 4; action < 32; action++) t.deepEqual((await a.send(inCdb(action))).sense, invalidField(1, 4));
	for (let action = 8; action < 32; action++)
		t.deepEqual((await a.send([0x5f, action, 0, 0, 0, 0, 0, 0, 24, 0])).sense, invalidField(1, 4));
});

test('REPORT SUPPORTED OPERATION CODES shows each service action, with its usage data', async (t) => {
	const { a } = setUpShared();
	for (let action = 0; action < 4; action++) {
		const { dataIn } = await a.send(cdb.reportOperationCodes(2, 0x5e, action));
		t.is(dataIn.toString('hex'), hex('0003000a', '5e', `0${action}`, '0000000000', 'ffff', '04'));
	}
	for (let action = 0; action < 8; action++) {
		const { dataIn } = await a.send(cdb.reportOperationCodes(2, 0x5f, action));
		t.is(
			dataIn.toString('hex'),
			hex('0003000a', '5f', `0${action}`, [1, 2, 4, 5].includes(action) ? 'ff' : '00', '0000', 'ffffffff', '04'),
		);
	}
	for (const [opcode, length] of [
		[0x16, 6],
		[0x17, 6],
		[0x56, 10],
		[0x57, 10],
	] as const) {
		t.is((await a.send(cdb.reportOperationCodes(1, opcode))).dataIn.readUInt16BE(2), length);
	}
});

test('as many registrants as a volume takes: all are in READ KEYS and READ FULL STATUS, one more is INSUFFICIENT REGISTRATION RESOURCES', async (t) => {
	const { a, b, table } = setUpShared();
	for (let index = 1; index < limits.registrantsPerVolume; index++) {
		table.register(new Registrant('iscsi', `iqn.2026-11.test:${'x'.repeat(200)}${index},i,0x${isid}`, 'iqn.2026-11.test:t,t,0x0001'), 9n);
	}
	t.is(await a.register(0n, 5n), good);
	const { status, sense } = await b.out(out.register, parameterList(0n, 6n));
	t.is(status, 2);
	t.deepEqual(sense, { key: 5, code: 0x5504 });
	const specified = [iscsiTransportId(names.c, isid)];
	t.deepEqual((await b.out(out.register, parameterList(0n, 6n, { specIPt: true, transportIds: specified }))).sense, {
		key: 5,
		code: 0x5504,
	});
	t.is((await keysOf(a)).length, limits.registrantsPerVolume);
	const full = (await a.send(inCdb(reserveIn.readFullStatus, 0xffff))).dataIn;
	t.is(full.length, 0xffff);
	t.true(full.readUInt32BE(4) > 0xffff, 'ADDITIONAL LENGTH says how much there is');
});
