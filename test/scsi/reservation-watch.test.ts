import test from 'ava';
import { Registrant } from '../../src/reservation/registrant.ts';
import type { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { begin, cdb, good } from './initiator.ts';
import {
	type Initiator,
	conflict,
	iscsiTransportId,
	isid,
	moveList,
	names,
	out,
	outCdb,
	parameterList,
	portTag,
	setUpShared,
	types,
} from './reservations.ts';

const reservationsPreempted = 0x2a03;
const reservationsReleased = 0x2a04;
const registrationsPreempted = 0x2a05;

async function registered() {
	const parts = setUpShared();
	const { a, b, c } = parts;
	await a.register(0n, 5n);
	await b.register(0n, 6n);
	const told = async () => ({ a: await drain(a), b: await drain(b), c: await drain(c) });
	return { ...parts, told };
}

async function drain({ attention }: Initiator): Promise<number[]> {
	const codes: number[] = [];
	for (let code = await attention(); code !== undefined; code = await attention()) codes.push(code);
	return codes;
}

test('PREEMPT of a registration: 2Ah/05h for who lost it, once, and for nobody else', async (t) => {
	const { a, told } = await registered();
	t.is(await a.preempt(5n, 6n, types.WE), good);
	t.deepEqual(await told(), { a: [], b: [registrationsPreempted], c: [] });
	t.deepEqual(await told(), { a: [], b: [], c: [] });
});

test('PREEMPT of the holder: 2Ah/05h for the holder; 2Ah/04h for registrants whom another type binds now', async (t) => {
	const { a, b, c, told } = await registered();
	await c.register(0n, 7n);
	await a.reserve(5n, types.WERO);
	t.is(await b.preempt(6n, 5n, types.WE), good);
	t.deepEqual(await told(), { a: [registrationsPreempted], b: [], c: [reservationsReleased] });
	t.is(await c.preempt(7n, 6n, types.WE), good);
	t.deepEqual(await told(), { a: [], b: [registrationsPreempted], c: [] });
});

for (const [name, type] of Object.entries(types)) {
	test(`RELEASE of ${name}: 2Ah/04h for the other registrants if they had a part in it`, async (t) => {
		const { a, told } = await registered();
		await a.reserve(5n, type);
		await a.release(5n, type);
		t.deepEqual(await told(), { a: [], b: /RO$|AR$/.test(name) ? [reservationsReleased] : [], c: [] });
	});
}

test('the holder of a registrants only type unregisters: 2Ah/04h for the others', async (t) => {
	const { a, told } = await registered();
	await a.reserve(5n, types.EARO);
	await a.register(5n, 0n);
	t.deepEqual(await told(), { a: [], b: [reservationsReleased], c: [] });
});

test('CLEAR: 2Ah/03h for the other registrants', async (t) => {
	const { a, told } = await registered();
	await a.reserve(5n, types.WE);
	await a.out(out.clear, parameterList(5n, 0n));
	t.deepEqual(await told(), { a: [], b: [reservationsPreempted], c: [] });
});

test('REGISTER AND MOVE and RESERVE tell nobody', async (t) => {
	const { a, told } = await registered();
	await a.reserve(5n, types.EARO);
	await a.out(out.registerAndMove, moveList(5n, 9n, portTag, iscsiTransportId(names.c, isid), { unreg: true }));
	t.deepEqual(await told(), { a: [], b: [], c: [] });
});

test('what an NVMe host does is told to initiators, by the same codes', async (t) => {
	const { table, told } = await registered();
	const host = new Registrant('nvme', 'ab'.repeat(16));
	table.register(host, 9n);
	t.is(table.preempt(host, 9n, 6n, 'writeExclusive'), 'good');
	t.deepEqual(await told(), { a: [], b: [registrationsPreempted], c: [] });
	t.is(table.acquire(host, 9n, 'writeExclusiveAllRegistrants'), 'good');
	t.is(table.release(host, 9n, 'writeExclusiveAllRegistrants'), 'good');
	t.deepEqual(await told(), { a: [reservationsReleased], b: [], c: [] });
	t.is(table.clear(host, 9n), 'good');
	t.deepEqual(await told(), { a: [reservationsPreempted], b: [], c: [] });
});

test('a nexus that is not there keeps its registration, and is told 29h/00h when it comes back', async (t) => {
	const { a, b, target, table } = await registered();
	target.detach(b.nexus);
	t.is(table.report().registrations.length, 2);
	t.is(await a.preempt(5n, 6n, types.WE), good);
	target.attach(b.nexus);
	t.deepEqual(await drain(b), [0x2900]);
});

/** Keeps the ends of aborts until they are let go. */
function watchAborts(initiator: Initiator) {
	const asked: (() => void)[] = [];
	const units: LogicalUnit[] = [];
	initiator.nexus.abortTasks = (unit, ended) => {
		units.push(unit);
		asked.push(ended);
	};
	return { asked, units };
}

test('PREEMPT AND ABORT is over when the transport has ended the tasks of all that were preempted; its own are left', async (t) => {
	const { a, b, c, unit, table } = await registered();
	await c.register(0n, 6n);
	const aborts = [a, b, c].map(watchAborts);
	const list = parameterList(5n, 6n);
	const { task, step } = begin((each) => unit.start(each, a.nexus), outCdb(out.preemptAndAbort, types.WE, list.length));
	t.is(step, 'parameters');
	let finished = 0;
	task.owner = { taskFinished: () => finished++ };
	t.is(unit.parameters(task, list), 'pending');
	t.is(table.report().registrations.length, 1, 'it has taken effect');
	t.deepEqual(
		aborts.map(({ units }) => units),
		[[], [unit], [unit]],
	);
	aborts[1]!.asked[0]!();
	t.is(finished, 0);
	aborts[2]!.asked[0]!();
	t.is(finished, 1);
	t.is(task.status, good);
});

test('PREEMPT AND ABORT with nothing to abort, or that is refused, is over at once', async (t) => {
	const { a, b, c, target } = await registered();
	const { asked } = watchAborts(b);
	t.is((await a.out(out.preemptAndAbort, parameterList(5n, 9n), types.WE)).status, conflict);
	t.is((await c.out(out.preemptAndAbort, parameterList(0n, 6n), types.WE)).status, conflict);
	t.is(asked.length, 0);
	target.detach(b.nexus);
	const { status, step } = await a.out(out.preemptAndAbort, parameterList(5n, 6n), types.WE);
	t.deepEqual([status, step], [good, 'parameters']);
});

test('PREEMPT aborts nothing', async (t) => {
	const { a, b } = await registered();
	const { asked } = watchAborts(b);
	t.is(await a.preempt(5n, 6n, types.WE), good);
	t.is(asked.length, 0);
	t.is((await b.send(cdb.inquiry())).status, good);
});
