import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { Nexus } from '../../src/scsi/nexus.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { carryOut, cdb, good, invalidField, newNexus, run, hex } from './initiator.ts';
import { MemoryDevice } from './memory-device.ts';

const powerOn = { key: 6, code: 0x2900 };
const lunsChanged = { key: 6, code: 0x3f0e };
const notSupported = { key: 5, code: 0x2500 };

function peripheral(lun: number): Uint8Array {
	return Uint8Array.of(0, lun, 0, 0, 0, 0, 0, 0);
}

function newUnit(): LogicalUnit {
	return new LogicalUnit(new MemoryDevice());
}

function setUp(luns: readonly number[] = [0]) {
	const target = new ScsiTarget('iqn.2026-11.test:disk');
	for (const lun of luns) target.map(lun, newUnit());
	const nexus = newNexus();
	target.attach(nexus);
	const send = (lun: number, command: readonly number[]) =>
		carryOut(target.units.get(lun), (task) => target.start(task, peripheral(lun), nexus), command);
	return { target, nexus, send };
}

test('a unit is found by peripheral and by flat addressing, and by no other form of LUN', (t) => {
	const { target } = setUp([0, 5, 255]);
	for (const lun of [0, 5, 255]) {
		const unit = target.units.get(lun);
		t.truthy(unit);
		t.is(target.unit(peripheral(lun)), unit);
		t.is(target.unit(Uint8Array.of(0x40, lun, 0, 0, 0, 0, 0, 0)), unit);
		t.is(target.unit(Uint8Array.of(0x41, lun, 0, 0, 0, 0, 0, 0)), undefined, 'flat LUN of 256 and more');
		t.is(target.unit(Uint8Array.of(0x01, lun, 0, 0, 0, 0, 0, 0)), undefined, 'bus 1');
		t.is(target.unit(Uint8Array.of(0x80, lun, 0, 0, 0, 0, 0, 0)), undefined, 'logical unit addressing');
		t.is(target.unit(Uint8Array.of(0xc1, lun, 0, 0, 0, 0, 0, 0)), undefined, 'well known');
		for (let byte = 2; byte < 8; byte++) {
			const second = peripheral(lun);
			second[byte] = 1;
			t.is(target.unit(second), undefined, 'a second level');
		}
	}
	t.is(target.unit(peripheral(1)), undefined);
});

test('REPORT LUNS lists the LUNs ascending in 8 bytes each', async (t) => {
	const { send } = setUp([7, 0, 255]);
	const { status, dataIn } = await send(0, cdb.reportLuns());
	t.is(status, good);
	t.is(dataIn.toString('hex'), hex('0000001800000000', '0000000000000000', '0007000000000000', '00ff000000000000'));
	t.deepEqual((await send(0, cdb.reportLuns(2))).dataIn, dataIn);
	t.is((await send(0, cdb.reportLuns(1))).dataIn.toString('hex'), '0000000000000000');
	t.deepEqual((await send(0, cdb.reportLuns(0, 16))).dataIn, dataIn.subarray(0, 16));
	for (const select of [3, 0x10, 0x11, 0x12, 0xff]) t.deepEqual((await send(0, cdb.reportLuns(select))).sense, invalidField(2, 7));
});

test('a LUN with nothing behind it: INQUIRY, REQUEST SENSE and REPORT LUNS are answered, everything else is LOGICAL UNIT NOT SUPPORTED', async (t) => {
	const { send } = setUp([0]);
	const inquiry = await send(3, cdb.inquiry());
	t.is(inquiry.status, good);
	t.is(inquiry.dataIn[0], 0x7f);
	t.is((await send(3, cdb.vpd(0x83))).dataIn[0], 0x7f);
	const sense = await send(3, cdb.requestSense());
	t.is(sense.status, good);
	t.is(sense.dataIn.toString('hex'), hex('70000500000000', '0a', '00000000', '2500', '00000000'));
	t.is((await send(3, cdb.requestSense(1))).dataIn.toString('hex'), '7205250000000000');
	t.is((await send(3, cdb.reportLuns())).dataIn.readUInt32BE(0), 8);
	for (const command of [cdb.testUnitReady(), cdb.read10(0, 1), cdb.readCapacity16(), [0xff], [0x12, 0, 0, 0, 255, 4]]) {
		t.deepEqual((await send(3, command)).sense, notSupported);
	}
});

test('a target without LUNs reports an empty list', async (t) => {
	const { send } = setUp([]);
	t.is((await send(0, cdb.reportLuns())).dataIn.toString('hex'), '0000000000000000');
});

test('mapping and unmapping: every attached nexus is told on every unit, once for several changes', async (t) => {
	const { target, nexus, send } = setUp([0, 1]);
	for (const lun of [0, 1]) t.deepEqual((await send(lun, cdb.testUnitReady())).sense, powerOn);
	target.map(2, newUnit());
	target.unmap(1);
	t.deepEqual((await send(0, cdb.testUnitReady())).sense, lunsChanged);
	t.is((await send(0, cdb.testUnitReady())).status, good);
	t.deepEqual((await send(2, cdb.testUnitReady())).sense, powerOn, 'a unit mapped later');
	t.deepEqual((await send(2, cdb.testUnitReady())).sense, lunsChanged);
	t.is((await send(2, cdb.testUnitReady())).status, good);
	t.deepEqual((await send(1, cdb.testUnitReady())).sense, notSupported);
	target.detach(nexus);
	target.map(1, newUnit());
	t.is((await send(0, cdb.testUnitReady())).status, good);
});

test('REPORT LUNS takes REPORTED LUNS DATA HAS CHANGED back on all units of that nexus, and nothing else', async (t) => {
	const { target, send } = setUp([0, 1]);
	const other = newNexus('iqn.2026-11.test:other');
	target.attach(other);
	target.map(2, newUnit());
	t.is((await send(0, cdb.reportLuns())).status, good);
	for (const lun of [0, 1, 2]) {
		t.deepEqual((await send(lun, cdb.testUnitReady())).sense, powerOn);
		t.is((await send(lun, cdb.testUnitReady())).status, good);
	}
	const unit = target.units.get(0)!;
	t.deepEqual((await run(unit, other, cdb.testUnitReady())).sense, powerOn);
	t.deepEqual((await run(unit, other, cdb.testUnitReady())).sense, lunsChanged);
});

test('target reset: every nexus is told on every unit, the one that asked too', async (t) => {
	const { target, nexus, send } = setUp([0, 1]);
	const other = newNexus('iqn.2026-11.test:other');
	target.attach(other);
	for (const unit of target.units.values()) {
		unit.takeAttention(nexus);
		unit.takeAttention(other);
	}
	target.reset();
	for (const lun of [0, 1]) t.deepEqual((await send(lun, cdb.testUnitReady())).sense, powerOn);
	t.deepEqual((await run(target.units.get(0)!, other, cdb.testUnitReady())).sense, powerOn);
});

test('256 LUNs are the limit; a LUN that is taken, out of range, or of a unit mapped already is refused', (t) => {
	const { target } = setUp([]);
	for (let lun = 0; lun < limits.lunsPerTarget; lun++) target.map(lun, newUnit());
	t.is(target.units.size, 256);
	t.deepEqual(target.luns(), [...Array(256).keys()]);
	for (const lun of [0, 255, 256, -1, 1.5, Number.NaN]) t.throws(() => target.map(lun, newUnit()), { instanceOf: RangeError });
	const unit = target.units.get(9)!;
	target.unmap(8);
	t.throws(() => target.map(8, unit), { instanceOf: RangeError });
	target.unmap(8);
});

test('at the limit of nexuses one more is not attached, on no unit; after a detach it is', (t) => {
	const target = new ScsiTarget('iqn.2026-11.test:disk');
	const unit = newUnit();
	target.map(0, unit);
	const nexuses = Array.from(
		{ length: limits.nexuses },
		(_, index) => new Nexus('iqn.2026-11.test:host', index.toString(16).padStart(12, '0')),
	);
	for (const nexus of nexuses) t.true(target.attach(nexus));
	t.true(target.attach(nexuses[0]!), 'again');
	const late = newNexus();
	t.false(target.attach(late));
	t.is(late.port, undefined);
	t.is(unit.takeAttention(late), undefined);
	target.detach(nexuses[0]!);
	t.true(target.attach(late));
	t.is(late.port, target);
});

test('a unit in two targets keeps their nexuses apart and names the port it is reached by', async (t) => {
	const unit = newUnit();
	const reach = (name: string) => {
		const target = new ScsiTarget(`iqn.2026-11.test:${name}`);
		target.map(0, unit);
		const nexus = newNexus();
		target.attach(nexus);
		unit.takeAttention(nexus);
		return { target, nexus };
	};
	const one = reach('one');
	const two = reach('two');
	two.target.map(1, newUnit());
	t.is((await run(unit, one.nexus, cdb.testUnitReady())).status, good);
	t.deepEqual((await run(unit, two.nexus, cdb.testUnitReady())).sense, lunsChanged);
	const pages = await Promise.all([one, two].map(({ nexus }) => run(unit, nexus, cdb.vpd(0x83))));
	t.true(pages[0]!.dataIn.includes('iqn.2026-11.test:one,t,0x0001'));
	t.true(pages[1]!.dataIn.includes('iqn.2026-11.test:two,t,0x0001'));
	t.deepEqual(pages[0]!.dataIn.subarray(4, 24), pages[1]!.dataIn.subarray(4, 24), 'one NAA');
});

test('an ISID is 12 hex digits', (t) => {
	for (const isid of ['', '00023d00000', '00023d0000011', '00023d00000g'])
		t.throws(() => new Nexus('iqn.2026-11.test:host', isid), { instanceOf: RangeError });
});
