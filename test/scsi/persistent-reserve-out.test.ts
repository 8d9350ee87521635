import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { Nexus } from '../../src/scsi/nexus.ts';
import { ReservationTable } from '../../src/reservation/reservation-table.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { checkCondition, good, invalidField, invalidParameter, parameterListLengthError, run } from './initiator.ts';
import {
	conflict,
	inCdb,
	initiator,
	isid,
	iscsiTransportId,
	keysOf,
	moveList,
	names,
	out,
	outCdb,
	parameterList,
	portTag,
	reserveIn,
	setUpShared,
	types,
} from './reservations.ts';

const hardwareError = { key: 4, code: 0x4400 };
const invalidRelease = { key: 5, code: 0x2604 };
const everyAction = Object.entries(out);
const stranger = 'iqn.2026-11.test:stranger';

test('REGISTER, change and unregister: by the key that the nexus has, 0 if none; READ KEYS shows it', async (t) => {
	const { a, b } = setUpShared();
	t.is(await a.register(1n, 5n), conflict, 'an unregistered nexus has key 0');
	t.is(await a.register(0n, 5n), good);
	t.is(await a.register(0n, 6n), conflict);
	t.is(await b.register(0n, 0n), good, 'registers nothing');
	t.deepEqual(await keysOf(a), [5n]);
	t.is(await a.register(5n, 6n), good);
	t.deepEqual(await keysOf(b), [6n]);
	t.is(await a.register(6n, 0n), good);
	t.deepEqual(await keysOf(b), []);
});

test('REGISTER AND IGNORE EXISTING KEY: whatever the reservation key says', async (t) => {
	const { a } = setUpShared();
	t.is((await a.out(out.registerAndIgnore, parameterList(0xdeadn, 5n))).status, good);
	t.is((await a.out(out.registerAndIgnore, parameterList(0xbeefn, 6n))).status, good);
	t.deepEqual(await keysOf(a), [6n]);
	t.is((await a.out(out.registerAndIgnore, parameterList(0xdeadn, 0n))).status, good);
	t.deepEqual(await keysOf(a), []);
});

for (const [name, type] of Object.entries(types)) {
	test(`RESERVE and RELEASE of ${name}: by registrants, with their keys; another type or holder is a conflict`, async (t) => {
		const { a, b } = setUpShared();
		t.is(await a.reserve(0n, type), conflict, 'not registered');
		await a.register(0n, 5n);
		await b.register(0n, 6n);
		t.is(await a.reserve(6n, type), conflict, 'another’s key');
		t.is(await a.reserve(5n, type), good);
		t.is(await a.reserve(5n, type), good, 'again');
		const other = type === types.WE ? types.EA : types.WE;
		t.is(await a.reserve(5n, other), conflict, 'another type');
		const isHolder = name.endsWith('AR');
		t.is(await b.reserve(6n, type), isHolder ? good : conflict);
		t.is(await b.release(5n, type), conflict, 'not its key');
		if (!isHolder) t.is(await b.release(6n, type), good, 'a registrant that holds nothing');
		t.deepEqual((await a.out(out.release, parameterList(5n, 0n), other)).sense, invalidRelease);
		t.deepEqual((await a.out(out.release, parameterList(5n, 0n), 0x10 | type)).sense, invalidRelease, 'another scope');
		t.is((await a.send(inCdb(reserveIn.readReservation))).dataIn[21], type, 'nothing of that released it');
		t.is(await a.release(5n, type), good);
		t.is((await a.send(inCdb(reserveIn.readReservation))).dataIn.length, 8);
		t.is(await a.release(5n, type), good, 'nothing is held');
	});
}

test('scopes and types that do not exist: INVALID FIELD IN CDB, nothing is reserved', async (t) => {
	const { a, b, table } = setUpShared();
	await a.register(0n, 5n);
	await b.register(0n, 6n);
	const wrong = [0, 2, 4, 9, 15].map((type) => [type, 3] as const);
	for (const [scopeAndType, bit] of [...wrong, [0x11, 7] as const, [0xf1, 7] as const])
		t.deepEqual((await a.out(out.reserve, parameterList(5n, 0n), scopeAndType)).sense, invalidField(2, bit), String(scopeAndType));
	t.is(table.reservation, undefined);
	t.is(await a.reserve(5n, types.WE), good);
	for (const action of [out.preempt, out.preemptAndAbort]) {
		t.deepEqual((await b.out(action, parameterList(6n, 5n), 2)).sense, invalidField(2, 3));
		t.deepEqual((await b.out(action, parameterList(6n, 5n), 0x21)).sense, invalidField(2, 7));
	}
	t.true(table.isHolder(a.nexus.registrant));
});

test('PREEMPT of registrations alone does not look at scope and type', async (t) => {
	const { a, b, table } = setUpShared();
	await a.register(0n, 5n);
	await b.register(0n, 6n);
	t.is(await a.preempt(5n, 6n, 0xff), good);
	t.deepEqual(await keysOf(a), [5n]);
	t.is(table.reservation, undefined);
});

test('PREEMPT: the holder’s key hands the reservation over; 0 and keys of nobody as the standard says', async (t) => {
	const { a, b, c, table } = setUpShared();
	await a.register(0n, 5n);
	await b.register(0n, 6n);
	await a.reserve(5n, types.WE);
	t.is(await c.preempt(0n, 5n, types.WE), conflict, 'not registered');
	t.is(await b.preempt(6n, 9n, types.WE), conflict, 'a key of nobody');
	const zero = await b.out(out.preempt, parameterList(6n, 0n), types.WE);
	t.deepEqual([zero.status, zero.sense], [checkCondition, invalidParameter(8, 7)]);
	t.is(await b.preempt(6n, 5n, types.EARO), good);
	t.deepEqual(table.reservation, { type: 'exclusiveAccessRegistrantsOnly', holder: b.nexus.registrant });
	t.deepEqual(await keysOf(b), [6n]);
});

test('CLEAR: by any registrant', async (t) => {
	const { a, b, c } = setUpShared();
	await a.register(0n, 5n);
	await b.register(0n, 6n);
	await a.reserve(5n, types.EA);
	t.is((await c.out(out.clear, parameterList(0n, 0n))).status, conflict);
	t.is((await b.out(out.clear, parameterList(6n, 0n))).status, good);
	t.deepEqual(await keysOf(c), []);
});

test('parameter lists: shorter or longer than they say, or than can be, are PARAMETER LIST LENGTH ERROR, and nothing changes', async (t) => {
	const { a } = setUpShared();
	for (const [name, action] of everyAction) {
		const list = parameterList(0n, 5n);
		for (const length of [0, 8, 23]) t.deepEqual((await a.send(outCdb(action, 1, length), list)).sense, parameterListLengthError, name);
		const longest = limits.persistentReserveOutBytesMax;
		const tooLong = await a.send(outCdb(action, 1, longest + 1), list);
		t.deepEqual([tooLong.step, tooLong.sense], ['finished', parameterListLengthError], 'no data is asked for');
		t.is((await a.send(outCdb(action, 1, longest), list)).step, 'parameters', name);
		t.deepEqual((await a.send(outCdb(action, 1, 24), list.subarray(0, 23))).sense, parameterListLengthError, `${name}: less data came`);
		if (action !== out.registerAndMove)
			t.deepEqual((await a.out(action, Buffer.concat([list, Buffer.alloc(1)]), 1)).sense, parameterListLengthError, name);
	}
	const specified = parameterList(0n, 5n, { specIPt: true, transportIds: [iscsiTransportId(stranger, isid)] });
	for (const cut of [
		specified.subarray(0, 24),
		specified.subarray(0, 27),
		specified.subarray(0, -4),
		Buffer.concat([specified, Buffer.alloc(4)]),
	])
		t.deepEqual((await a.out(out.register, cut)).sense, parameterListLengthError);
	const moved = moveList(0n, 5n, portTag, iscsiTransportId(stranger, isid));
	for (const cut of [moved.subarray(0, -4), Buffer.concat([moved, Buffer.alloc(4)])])
		t.deepEqual((await a.out(out.registerAndMove, cut)).sense, parameterListLengthError);
	t.deepEqual(await keysOf(a), []);
});

test('SPEC_I_PT: registers the ports of the list too, in one step, with a digit of zeros more or less; those of an initiator without ISID are those that are there', async (t) => {
	const { a, b, c, table } = setUpShared();
	const transportIds = [
		iscsiTransportId(names.b.toUpperCase(), isid.replace(/^0+/, '')),
		iscsiTransportId(stranger, 'ABCDEF012345'),
		iscsiTransportId(names.c),
	];
	t.is(await a.register(0n, 5n, { specIPt: true, transportIds }), good);
	t.deepEqual(await keysOf(a), [5n, 5n, 5n, 5n]);
	t.is(table.generation, 1);
	for (const one of [a, b, c]) t.is(table.keyOf(one.nexus.registrant), 5n);
	t.true(table.report().registrations.some(({ registrant }) => registrant.id === `${stranger},i,0xabcdef012345`));
	t.is(await b.register(5n, 0n), good, 'as if it had registered itself');
});

test('SPEC_I_PT: refused with another service action, and of a nexus that is registered; not looked at without a key', async (t) => {
	const { a, b } = setUpShared();
	const list = parameterList(5n, 6n, { specIPt: true, transportIds: [iscsiTransportId(stranger, isid)] });
	await a.register(0n, 5n);
	for (const [name, action] of everyAction) {
		if (action === out.registerAndMove) continue;
		t.deepEqual((await a.out(action, list, 1)).sense, invalidParameter(20, 3), name);
	}
	t.deepEqual((await a.out(out.register, parameterList(5n, 6n, { specIPt: true }))).sense, invalidParameter(20, 3), 'with nobody in it');
	t.is(await a.register(4n, 6n, { specIPt: true }), conflict, 'the key comes first');
	t.is(await b.register(0n, 0n, { specIPt: true }), good);
	t.deepEqual(await keysOf(a), [5n]);
});

test('TransportIDs that are none: INVALID FIELD IN PARAMETER LIST at the field, and nobody is registered', async (t) => {
	const { a } = setUpShared();
	const change = (byte: number, value: number) => {
		const id = iscsiTransportId(stranger, isid);
		id[byte] = value;
		return id;
	};
	const text = (content: string, formatCode = 0x45) => {
		const id = iscsiTransportId('x'.repeat(47));
		id.fill(0, 4).write(content, 4);
		id[0] = formatCode;
		return id;
	};
	for (const [id, byte, bit] of [
		[change(0, 0x40), 0, 3],
		[change(0, 0x85), 0, 7],
		[change(0, 0xc5), 0, 7],
		[change(3, 16), 2, 7],
		[change(3, 41), 2, 7],
		[change(2, 1), 2, 7],
		[Buffer.from([0x45, 0]), 2, 7],
		[iscsiTransportId('y'.repeat(20)).fill(0x79, 4), 4, 7],
		[text(''), 4, 7],
		[text(stranger), 4, 7],
		[text(`${stranger},i,0x`), 4, 7],
		[text(`${stranger},i,0x0123456789abc`), 4, 7],
		[text(`${stranger},i,0x00023d00000g`), 4, 7],
		[text(',i,0x00023d000001'), 4, 7],
		[text('host,i,0x00023d000001'), 4, 7],
		[text('iqn.2026-11.test:a b,i,0x00023d000001'), 4, 7],
		[text('', 0x05), 4, 7],
		[iscsiTransportId(`iqn.${'n'.repeat(220)}`, isid), 4, 7],
	] as const) {
		const good = iscsiTransportId(names.c, isid);
		const list = parameterList(0n, 5n, { specIPt: true, transportIds: [good, id] });
		t.deepEqual((await a.out(out.register, list)).sense, invalidParameter(28 + good.length + byte, bit), id.toString('latin1'));
	}
	t.deepEqual(await keysOf(a), []);
	const longest = iscsiTransportId(`iqn.${'n'.repeat(219)}`, isid);
	t.is(await a.register(0n, 5n, { specIPt: true, transportIds: [longest] }), good);
});

test('ALL_TG_PT: the same initiator through every port that leads to the unit, also when it unregisters; only where it registers', async (t) => {
	const { a, unit, attach, table } = setUpShared();
	const second = new ScsiTarget('iqn.2026-11.test:second', { targetPortalGroupTag: 2 });
	second.map(3, unit);
	const again = attach(names.a, second);
	t.is(await a.register(0n, 5n), good);
	t.is(await again.reserve(5n, types.WE), conflict, 'another port is another nexus');
	t.is(await a.register(5n, 0n), good);
	t.is(await a.register(0n, 5n, { allTgPt: true }), good);
	t.is(await again.reserve(5n, types.WE), good);
	const { dataIn } = await a.send(inCdb(reserveIn.readFullStatus));
	t.deepEqual([dataIn.readUInt16BE(8 + 18), dataIn.readUInt16BE(8 + 64 + 18)], [portTag, 2]);
	t.is((await a.out(out.register, parameterList(5n, 0n, { allTgPt: true }))).status, good);
	t.deepEqual(table.report().registrations, []);
	t.is(table.reservation, undefined);
	t.is(await a.register(0n, 5n, { specIPt: true, allTgPt: true, transportIds: [iscsiTransportId(names.b, isid)] }), good);
	t.is(table.report().registrations.length, 4);
	second.unmap(3);
	t.is(await a.register(5n, 6n, { allTgPt: true }), good);
	t.deepEqual(await keysOf(a), [6n, 5n, 5n, 5n], 'a port that leads there no more');
});

test('APTPL: stored before the answer; refused where nothing can be stored; a store that fails is INTERNAL TARGET FAILURE, and nothing has changed', async (t) => {
	const { a, b, store } = setUpShared();
	t.is(await a.register(0n, 5n, { aptpl: true }), good);
	t.is(await a.reserve(5n, types.EA), good);
	t.is(store.kept?.type, 'exclusiveAccess');
	t.deepEqual(store.kept?.registrations, [
		{ protocol: 'iscsi', id: `${names.a},i,0x${isid}`, port: 'iqn.2026-11.test:disk,t,0x0007', key: 5n, holder: true },
	]);
	store.fails = true;
	t.deepEqual((await b.out(out.register, parameterList(0n, 6n))).sense, hardwareError);
	t.deepEqual((await a.out(out.release, parameterList(5n, 0n), types.EA)).sense, hardwareError);
	t.deepEqual(await keysOf(b), [5n]);
	t.is((await b.send([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0])).status, conflict);
	store.fails = false;

	const forgetful = setUpShared({ persists: false });
	t.deepEqual((await forgetful.a.out(out.register, parameterList(0n, 5n, { aptpl: true }))).sense, invalidParameter(20, 0));
	t.deepEqual((await forgetful.a.out(out.registerAndIgnore, parameterList(0n, 5n, { aptpl: true }))).sense, invalidParameter(20, 0));
	t.is(await forgetful.a.register(0n, 5n), good);
	t.is(await forgetful.a.reserve(5n, types.EA), good);
	const moved = moveList(5n, 6n, portTag, iscsiTransportId(names.b, isid), { aptpl: true });
	t.deepEqual((await forgetful.a.out(out.registerAndMove, moved)).sense, invalidParameter(17, 0));
});

test('a nexus that comes again after a restart has its registration and its reservation; another ISID, target or initiator has not', async (t) => {
	const { a, store } = setUpShared();
	await a.register(0n, 5n, { aptpl: true });
	await a.reserve(5n, types.WE);
	const device = setUpShared().device;
	const unit = new LogicalUnit(device, { reservations: new ReservationTable(store) });
	const write = async (name: string, itsIsid: string, targetName: string, tag: number) => {
		const target = new ScsiTarget(targetName, { targetPortalGroupTag: tag });
		target.map(0, unit);
		const nexus = new Nexus(name, itsIsid);
		target.attach(nexus);
		unit.takeAttention(nexus);
		return (await run(unit, nexus, [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], Buffer.alloc(512))).status;
	};
	const disk = 'iqn.2026-11.test:disk';
	t.is(await write(names.a, isid, disk, portTag), good);
	t.is(await write('IQN.2026-11.TEST:A', isid.toUpperCase(), disk, portTag), good, 'another spelling');
	t.is(await write(names.a, '00023d000002', disk, portTag), conflict);
	t.is(await write(names.a, isid, disk, 8), conflict);
	t.is(await write(names.a, isid, 'iqn.2026-11.test:other', portTag), conflict);
	t.is(await write(names.b, isid, disk, portTag), conflict);
});

test('REGISTER AND MOVE: the other nexus is registered and holds, this one stays registered or not', async (t) => {
	const { a, b, c, table, store } = setUpShared();
	await a.register(0n, 5n);
	await a.reserve(5n, types.WERO);
	t.is((await a.out(out.registerAndMove, moveList(5n, 6n, portTag, iscsiTransportId(names.b, isid)))).status, good);
	t.true(table.isHolder(b.nexus.registrant));
	t.deepEqual(await keysOf(a), [5n, 6n]);
	const back = moveList(6n, 7n, portTag, iscsiTransportId(names.c, isid), { unreg: true, aptpl: true });
	t.is((await b.out(out.registerAndMove, back)).status, good);
	t.deepEqual(await keysOf(a), [5n, 7n]);
	t.true(table.isHolder(c.nexus.registrant));
	t.is(store.kept?.registrations.length, 2);
	for (const one of [a, b, c]) t.is(await one.attention(), undefined, 'nobody is told');
});

test('REGISTER AND MOVE: each refusal has its answer, and changes nothing', async (t) => {
	const { a, b, table, unit } = setUpShared();
	const id = iscsiTransportId(names.b, isid);
	const move = async (who: typeof a, list: Buffer) => {
		const { status, sense } = await who.out(out.registerAndMove, list);
		return sense ?? status;
	};
	t.is(await move(a, moveList(0n, 6n, portTag, id)), conflict, 'not registered');
	await a.register(0n, 5n);
	t.is(await move(a, moveList(4n, 6n, portTag, id)), conflict, 'another key');
	t.deepEqual(await move(a, moveList(5n, 6n, portTag, id)), invalidField(1, 4), 'nothing is reserved');
	await a.reserve(5n, types.EAAR);
	t.is(await move(a, moveList(5n, 6n, portTag, id)), conflict, 'all registrants hold it');
	await a.release(5n, types.EAAR);
	await a.reserve(5n, types.EA);
	await b.register(0n, 8n);
	t.is(await move(b, moveList(8n, 6n, portTag, iscsiTransportId(names.c, isid))), conflict, 'not the holder');
	t.deepEqual(await move(a, moveList(5n, 0n, portTag, id)), invalidParameter(8, 7), 'no key');
	t.deepEqual(await move(a, moveList(5n, 6n, 8, id)), invalidParameter(18, 7), 'no such port');
	t.deepEqual(await move(a, moveList(5n, 6n, portTag, iscsiTransportId(names.a, isid))), invalidParameter(24, 7), 'itself');
	t.deepEqual(await move(a, moveList(5n, 6n, portTag, iscsiTransportId(names.b))), invalidParameter(24, 7), 'no one port');
	t.deepEqual(await move(a, moveList(5n, 6n, portTag, Buffer.alloc(24))), invalidParameter(24, 3), 'no iSCSI');
	t.deepEqual(
		await move(a, moveList(5n, 6n, portTag, Buffer.concat([id, Buffer.alloc(4)]))),
		invalidParameter(20, 7),
		'more than one TransportID',
	);
	t.deepEqual(await move(a, moveList(5n, 6n, portTag, id.subarray(0, 20))), invalidParameter(20, 7), 'too short');
	t.deepEqual(await move(a, moveList(5n, 6n, portTag, id.subarray(0, -1))), invalidParameter(20, 7), 'no multiple of 4');
	for (const tag of [9, 9, 4]) new ScsiTarget(`iqn.2026-11.test:${unit.ports.length}`, { targetPortalGroupTag: tag }).map(0, unit);
	t.deepEqual(await move(a, moveList(5n, 6n, 9, id)), invalidParameter(18, 7), 'two ports of that identifier');
	t.deepEqual(await keysOf(a), [5n, 8n]);
	t.true(table.isHolder(a.nexus.registrant));
	t.is(await move(a, moveList(5n, 6n, 4, iscsiTransportId(names.a, isid))), good, 'itself through another port');
	t.deepEqual(
		table.report().registrations.map(({ registrant, holder }) => [registrant.port, holder]),
		[
			['iqn.2026-11.test:disk,t,0x0007', false],
			['iqn.2026-11.test:disk,t,0x0007', false],
			['iqn.2026-11.test:3,t,0x0004', true],
		],
	);
});

test('a nexus without a target is one too', async (t) => {
	const { unit, a } = setUpShared();
	const alone = new Nexus(names.a, isid);
	unit.attach(alone);
	unit.takeAttention(alone);
	const one = initiator(unit, alone);
	t.is(await one.register(0n, 5n), good);
	t.is(await a.register(5n, 6n), conflict);
});

test('REPLACE LOST RESERVATION and what has no service action: INVALID FIELD IN CDB, and nothing changes', async (t) => {
	const { a, table } = setUpShared();
	await a.register(0n, 5n);
	await a.reserve(5n, types.WE);
	const before = table.report();
	for (let action = 0x08; action < 0x20; action++) {
		const { sense } = await a.send(outCdb(action, 0x01, 24), parameterList(0n, 6n));
		t.deepEqual(sense, invalidField(1, 4), `service action ${action}`);
	}
	t.deepEqual(table.report(), before);
});
