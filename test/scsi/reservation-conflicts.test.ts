import test from 'ava';
import { Registrant } from '../../src/reservation/registrant.ts';
import { commands } from '../../src/scsi/commands.ts';
import { ScsiTask } from '../../src/scsi/task.ts';
import { cdb, good } from './initiator.ts';
import { conflict, type Initiator, inCdb, out, outCdb, parameterList, reserveIn, setUpShared, types } from './reservations.ts';

const powerOn = 0x2900;
const capacityChanged = 0x2a09;
const registrationsPreempted = 0x2a05;

/** One row of SPC-4's and SBC-3's tables of commands allowed in the presence of reservations, and of SPC-2's: does it pass? */
interface Row {
	readonly cdb: readonly number[];
	/** Another nexus has the unit by RESERVE. */
	readonly legacy: boolean;
	/** Another nexus has a reservation of a Write Exclusive, and of an Exclusive Access type. */
	readonly writeExclusive: boolean;
	readonly exclusiveAccess: boolean;
}

const always = { legacy: true, writeExclusive: true, exclusiveAccess: true };
const ready = { legacy: false, writeExclusive: true, exclusiveAccess: true };
const reads = { legacy: false, writeExclusive: true, exclusiveAccess: false };
const writes = { legacy: false, writeExclusive: false, exclusiveAccess: false };

const rows: Readonly<Record<string, Row>> = {
	'TEST UNIT READY': { cdb: cdb.testUnitReady(), ...ready },
	'REQUEST SENSE': { cdb: cdb.requestSense(), ...always },
	'READ (6)': { cdb: [0x08, 0, 0, 0, 1, 0], ...reads },
	'WRITE (6)': { cdb: [0x0a, 0, 0, 0, 1, 0], ...writes },
	INQUIRY: { cdb: cdb.inquiry(), ...always },
	'MODE SELECT (6)': { cdb: cdb.modeSelect6(0), ...writes },
	'MODE SENSE (6)': { cdb: cdb.modeSense6(0x3f), ...reads },
	'START STOP UNIT': { cdb: [0x1b, 0, 0, 0, 1, 0], ...always },
	'START STOP UNIT, stop': { cdb: [0x1b, 0, 0, 0, 4, 0], ...writes },
	'START STOP UNIT, power condition': { cdb: [0x1b, 0, 0, 0, 0x11, 0], ...writes },
	'PREVENT ALLOW MEDIUM REMOVAL': { cdb: [0x1e, 0, 0, 0, 0, 0], ...always },
	'PREVENT ALLOW MEDIUM REMOVAL, prevent': { cdb: [0x1e, 0, 0, 0, 1, 0], ...writes },
	'READ CAPACITY (10)': { cdb: cdb.readCapacity10(), ...always },
	'READ (10)': { cdb: cdb.read10(0, 1), ...reads },
	'WRITE (10)': { cdb: cdb.write10(0, 1), ...writes },
	'VERIFY (10)': { cdb: cdb.verify10(0, 1), ...reads },
	'SYNCHRONIZE CACHE (10)': { cdb: cdb.synchronizeCache10(0, 0), ...writes },
	'WRITE SAME (10)': { cdb: cdb.writeSame10(0, 1), ...writes },
	// With a list that is not as it should be: nothing is to begin here.
	'SANITIZE, OVERWRITE': { cdb: [0x48, 0x01, 0, 0, 0, 0, 0, 0, 0, 0], ...writes },
	'SANITIZE, BLOCK ERASE': { cdb: [0x48, 0x02, 0, 0, 0, 0, 0, 0, 8, 0], ...writes },
	'SANITIZE, EXIT FAILURE MODE': { cdb: [0x48, 0x1f, 0, 0, 0, 0, 0, 0, 8, 0], ...writes },
	UNMAP: { cdb: cdb.unmap(0), ...writes },
	'MODE SELECT (10)': { cdb: cdb.modeSelect10(0), ...writes },
	'MODE SENSE (10)': { cdb: cdb.modeSense10(0x3f), ...reads },
	'EXTENDED COPY (LID1)': { cdb: [0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], ...writes },
	'RECEIVE COPY STATUS (LID1)': { cdb: [0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], ...always },
	'RECEIVE COPY OPERATING PARAMETERS': { cdb: [0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], ...always },
	'REPORT TARGET PORT GROUPS': { cdb: [0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], ...always },
	'SET TARGET PORT GROUPS': { cdb: [0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], ...writes },
	'LOG SENSE': { cdb: [0x4d, 0, 0x40, 0, 0, 0, 0, 0, 64, 0], ...reads },
	'WRITE AND VERIFY (10)': { cdb: [0x2e, 0, 0, 0, 0, 0, 0, 0, 1, 0], ...writes },
	'PRE-FETCH (10)': { cdb: [0x34, 0, 0, 0, 0, 0, 0, 0, 1, 0], ...reads },
	'READ DEFECT DATA (10)': { cdb: [0x37, 0, 0, 0, 0, 0, 0, 0, 8, 0], ...reads },
	'COMPARE AND WRITE': { cdb: [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0], ...writes },
	'ORWRITE (16)': { cdb: [0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], ...writes },
	'WRITE AND VERIFY (16)': { cdb: [0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], ...writes },
	'PRE-FETCH (16)': { cdb: [0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], ...reads },
	'WRITE ATOMIC (16)': { cdb: [0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], ...writes },
	'WRITE AND VERIFY (12)': { cdb: [0xae, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], ...writes },
	'READ DEFECT DATA (12)': { cdb: [0xb7, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], ...reads },
	'READ (16)': { cdb: cdb.read16(0, 1), ...reads },
	'WRITE (16)': { cdb: cdb.write16(0, 1), ...writes },
	'VERIFY (16)': { cdb: cdb.verify16(0, 1), ...reads },
	'SYNCHRONIZE CACHE (16)': { cdb: cdb.synchronizeCache16(0, 0), ...writes },
	'WRITE SAME (16)': { cdb: cdb.writeSame16(0, 1), ...writes },
	'READ CAPACITY (16)': { cdb: cdb.readCapacity16(), ...always },
	'GET LBA STATUS': { cdb: [0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], ...reads },
	'REPORT LUNS': { cdb: cdb.reportLuns(), ...always },
	'REPORT SUPPORTED OPERATION CODES': { cdb: cdb.reportOperationCodes(0), ...reads },
	'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS': { cdb: [0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], ...reads },
	'READ (12)': { cdb: cdb.read12(0, 1), ...reads },
	'WRITE (12)': { cdb: cdb.write12(0, 1), ...writes },
	'VERIFY (12)': { cdb: cdb.verify12(0, 1), ...reads },
};

/** They have tests of their own. */
const reserving = /^(?:RESERVE|RELEASE|PERSISTENT RESERVE)/;

test('every command stands in the table of this test', (t) => {
	for (const { name } of commands) t.true(reserving.test(name) || name in rows, name);
});

async function passes(initiator: Initiator, { cdb: bytes }: Row): Promise<boolean> {
	const { status, dataIn, sense } = await initiator.send(bytes, Buffer.alloc(4096));
	if (status !== conflict) return true;
	if (dataIn.length > 0 || sense !== undefined) throw new Error('RESERVATION CONFLICT with data or sense');
	return false;
}

for (const [name, type] of Object.entries(types)) {
	test(`${name}: which commands of the holder, of another registrant and of others pass`, async (t) => {
		const { a, b, c, device } = setUpShared();
		await a.register(0n, 5n);
		await b.register(0n, 6n);
		t.is(await a.reserve(5n, type), good);
		const registrantsToo = /RO$|AR$/.test(name);
		for (const [command, row] of Object.entries(rows)) {
			const others = name.startsWith('WE') ? row.writeExclusive : row.exclusiveAccess;
			t.true(await passes(a, row), `${command} of the holder`);
			t.is(await passes(b, row), registrantsToo || others, `${command} of a registrant`);
			const before = device.calls.length;
			t.is(await passes(c, row), others, `${command} of another`);
			if (!others) t.is(device.calls.length, before, `${command} did nothing`);
		}
	});
}

test('RESERVE by another: which commands pass; of the one that has the unit all but PERSISTENT RESERVE do', async (t) => {
	const { a, b } = setUpShared();
	t.is((await a.send([0x16, 0, 0, 0, 0, 0])).status, good);
	for (const [command, row] of Object.entries(rows)) {
		t.true(await passes(a, row), command);
		t.is(await passes(b, row), row.legacy, command);
	}
	for (const who of [a, b]) {
		for (const action of Object.values(reserveIn)) t.is((await who.send(inCdb(action))).status, conflict);
		for (const action of Object.values(out)) t.is((await who.out(action, parameterList(0n, 0n), 1)).status, conflict);
	}
});

test('a reservation of an NVMe host binds initiators, and registering makes one of them a registrant', async (t) => {
	const { a, table } = setUpShared();
	const host = new Registrant('nvme', 'ab'.repeat(16));
	table.register(host, 9n);
	t.is(table.acquire(host, 9n, 'exclusiveAccessRegistrantsOnly'), 'good');
	t.is((await a.send(cdb.read10(0, 1))).status, conflict);
	t.is(await a.register(0n, 5n), good);
	t.is((await a.send(cdb.write10(0, 1), Buffer.alloc(512))).status, good);
	t.is(await a.preempt(5n, 9n, types.WE), good);
	t.false(table.allows(host, 'write'));
	t.true(table.allows(host, 'read'));
});

test('SAM-5, status precedence: a reset is told before RESERVATION CONFLICT, other unit attentions after it', async (t) => {
	const { a, b, unit, device } = setUpShared();
	await a.register(0n, 5n);
	await b.register(0n, 6n);
	await a.reserve(5n, types.EA);
	device.resize(device.sizeBytes * 2);
	while (unit.takeAttention(a.nexus) !== undefined);
	unit.reset('target');
	t.is(unit.takeAttention(a.nexus), powerOn);
	t.is(await a.preempt(5n, 6n, types.EA), good);
	const first = await b.send(cdb.read10(0, 1));
	t.is(first.sense?.code, powerOn, 'though it is not the oldest');
	t.is((await b.send(cdb.read10(0, 1))).status, conflict);
	t.is((await b.send(cdb.read10(0, 1))).status, conflict, 'the others wait');
	t.is(await b.attention(), capacityChanged);
	t.is(await b.attention(), registrationsPreempted);
	t.is(await b.attention(), undefined);
});

test('a conflict is said before what else is wrong with a command; an operation code that does not exist is none', async (t) => {
	const { a, b } = setUpShared();
	await a.register(0n, 5n);
	await a.reserve(5n, types.EA);
	const naca = [...cdb.read10(0, 1)];
	naca[9] = 4;
	t.is((await b.send(naca)).status, conflict);
	t.is((await b.send(cdb.read10(0xffff_ffff, 1))).status, conflict);
	t.deepEqual((await b.send([0xff])).sense, { key: 5, code: 0x2000 });
});

test('RESERVE while the parameter list of PERSISTENT RESERVE OUT is on its way: a conflict, and nothing is registered', (t) => {
	const { a, unit, table } = setUpShared();
	for (const key of [5n, 0n]) {
		const task = new ScsiTask();
		task.cdb.set(outCdb(out.register, 0, 24));
		t.is(unit.start(task, a.nexus), 'parameters');
		t.is(table.reserveUnit(a.nexus.registrant), 'good');
		t.is(unit.parameters(task, parameterList(0n, key)), 'finished');
		t.is(task.status, conflict);
		table.endUnitReservation();
	}
	t.is(table.report().registrations.length, 0);
});
