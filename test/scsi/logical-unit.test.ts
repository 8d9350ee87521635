import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { ScsiTask, status } from '../../src/scsi/task.ts';
import { UnitAttentions } from '../../src/scsi/unit-attention.ts';
import { cdb, decodeSense, good, newNexus, run, setUp } from './initiator.ts';
import { MemoryDevice } from './memory-device.ts';

const powerOn = { key: 6, code: 0x2900 };

test('after attach: one POWER ON, RESET, OR BUS DEVICE RESET OCCURRED per nexus, then commands go', async (t) => {
	const unit = new LogicalUnit(new MemoryDevice());
	const [one, two] = [newNexus('iqn.2026-11.test:one'), newNexus('iqn.2026-11.test:two')];
	unit.attach(one);
	unit.attach(two);
	for (const nexus of [one, two]) {
		t.deepEqual((await run(unit, nexus, cdb.read10(0, 1))).sense, powerOn);
		t.is((await run(unit, nexus, cdb.read10(0, 1))).status, good);
	}
	unit.detach(one);
	unit.attach(one);
	t.deepEqual((await run(unit, one, cdb.testUnitReady())).sense, powerOn);
	t.is((await run(unit, two, cdb.testUnitReady())).status, good);
});

test('a command that meets a unit attention is not carried out', async (t) => {
	const device = new MemoryDevice();
	const unit = new LogicalUnit(device);
	const nexus = newNexus();
	unit.attach(nexus);
	t.is((await run(unit, nexus, cdb.write10(0, 1), Buffer.alloc(512, 1))).step, 'finished');
	t.deepEqual(device.calls, []);
	unit.reset();
	t.deepEqual((await run(unit, nexus, [0xff])).sense, { key: 6, code: 0x2903 }, 'nor is one that does not exist');
});

test('INQUIRY and REPORT LUNS go past a unit attention and leave it', async (t) => {
	const unit = new LogicalUnit(new MemoryDevice());
	const nexus = newNexus();
	unit.attach(nexus);
	t.is((await run(unit, nexus, cdb.inquiry())).status, good);
	t.is((await run(unit, nexus, cdb.vpd(0x83))).status, good);
	t.is((await run(unit, nexus, cdb.reportLuns())).status, good);
	t.deepEqual((await run(unit, nexus, cdb.testUnitReady())).sense, powerOn);
});

test('REQUEST SENSE returns unit attentions as data, in order, each once, then NO SENSE', async (t) => {
	const { unit, nexus, device } = setUp();
	unit.detach(nexus);
	unit.attach(nexus);
	device.resize(2 * 1024 * 1024);
	unit.reset();
	const senses = [];
	for (let index = 0; index < 4; index++) {
		const { status: result, dataIn } = await run(unit, nexus, cdb.requestSense(index % 2));
		t.is(result, good);
		t.is(dataIn[0], index % 2 === 0 ? 0x70 : 0x72, 'DESC chooses the format');
		senses.push(decodeSense(dataIn));
	}
	t.deepEqual(senses, [powerOn, { key: 6, code: 0x2a09 }, { key: 6, code: 0x2903 }, { key: 0, code: 0 }]);
});

test('REQUEST SENSE that would cut the condition off leaves it', async (t) => {
	const unit = new LogicalUnit(new MemoryDevice());
	const nexus = newNexus();
	unit.attach(nexus);
	t.is((await run(unit, nexus, cdb.requestSense(0, 0))).dataIn.length, 0);
	t.is((await run(unit, nexus, cdb.requestSense(0, 13))).dataIn.length, 13);
	t.deepEqual(decodeSense((await run(unit, nexus, cdb.requestSense(0, 14))).dataIn), powerOn);
});

test('logical unit reset: all nexuses are told 29h/03h once, the one that asked too', async (t) => {
	const { unit, nexus } = setUp();
	const other = newNexus('iqn.2026-11.test:other');
	unit.attach(other);
	unit.takeAttention(other);
	unit.reset();
	for (const each of [nexus, other]) {
		t.deepEqual((await run(unit, each, cdb.testUnitReady())).sense, { key: 6, code: 0x2903 });
		t.is((await run(unit, each, cdb.testUnitReady())).status, good);
	}
});

test('a nexus that is not attached is told nothing', async (t) => {
	const { unit, device } = setUp();
	device.resize(2 * 1024 * 1024);
	t.is((await run(unit, newNexus(), cdb.testUnitReady())).status, good);
});

test('close ends the subscription to the size', (t) => {
	const { unit, device } = setUp();
	t.is(device.listeners, 1);
	unit.close();
	t.is(device.listeners, 0);
});

test('unit attentions: one above the limit replaces them all by 29h/00h', (t) => {
	const attentions = new UnitAttentions();
	const nexus = newNexus();
	attentions.attach(nexus);
	for (let code = 1; code <= limits.unitAttentionsPerNexus; code++) attentions.raise(code, nexus);
	attentions.raise(1, nexus);
	t.is(attentions.take(nexus), 1, 'at the limit each is still there, and a second one of a kind changes nothing');
	attentions.raise(100, nexus);
	attentions.raise(101, nexus);
	t.true(attentions.any);
	t.is(attentions.take(nexus), 0x2900);
	t.is(attentions.take(nexus), undefined);
	t.false(attentions.any);
});

test('unit attentions: taking, withdrawing and detaching leave nothing waiting', (t) => {
	const attentions = new UnitAttentions();
	const [one, two] = [newNexus(), newNexus()];
	attentions.attach(one);
	attentions.attach(two);
	attentions.raiseForAll(7);
	attentions.raiseForAll(8, one);
	attentions.withdraw(9, two);
	t.true(attentions.any);
	attentions.withdraw(7, one);
	t.true(attentions.any);
	attentions.detach(two);
	t.false(attentions.any);
	t.is(attentions.take(two), undefined);
});

test('unit attentions: a nexus above the limit is not taken', (t) => {
	const attentions = new UnitAttentions();
	for (let index = 0; index < limits.nexuses; index++) t.true(attentions.attach(newNexus()));
	t.false(attentions.attach(newNexus()));
});

test('fail with an offset: INFORMATION of a medium error is its LBA; other outcomes have none', (t) => {
	const { unit } = setUp();
	const task = new ScsiTask();
	task.cdb.set(cdb.read16(0, 16));
	unit.fail(task, 'mediumError', 5 * 512);
	t.deepEqual(decodeSense(task.sense!), { key: 3, code: 0x1100, information: 5 });
	unit.fail(task, 'faulted', 5 * 512);
	t.deepEqual(decodeSense(task.sense!), { key: 4, code: 0x4400 });
	t.throws(() => unit.fail(task, 'good'));
});

test('fail for a closed volume: BUSY without sense, also after data-in was there', (t) => {
	const { unit } = setUp();
	const task = new ScsiTask();
	task.cdb.set(cdb.read10(0, 1));
	unit.fail(task, 'mediumError');
	unit.fail(task, 'closed');
	t.is(task.status, status.busy);
	t.is(task.sense, undefined);
});

test('parameters for a command that asked for none is a fault of the caller', (t) => {
	const { unit } = setUp();
	const task = new ScsiTask();
	task.cdb.set(cdb.read10(0, 1));
	t.throws(() => unit.parameters(task, Buffer.alloc(8)));
});
