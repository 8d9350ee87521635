import test from 'ava';
import { cdb, decodeSense, good, newNexus, run, setUp } from './initiator.ts';

const failed = { key: 4, code: 0x4400 };
const immediate = { 'SYNCHRONIZE CACHE (10)': cdb.synchronizeCache10(0, 0, 0x02), 'START STOP UNIT': [0x1b, 1, 0, 0, 0, 0] };

for (const [name, bytes] of Object.entries(immediate)) {
	test(`${name} with IMMED that fails after its answer: the next command of the nexus is told, once, and is not carried out`, async (t) => {
		const { unit, send, device } = setUp();
		const other = newNexus('iqn.2026-11.test:other');
		unit.attach(other);
		unit.takeAttention(other);
		device.outcome = ({ operation }) => (operation === 'flush' ? 'faulted' : undefined);
		t.is((await send(bytes)).status, good);
		await new Promise((resolve) => setImmediate(resolve));
		t.is((await run(unit, other, cdb.testUnitReady())).status, good, 'nobody else is');
		t.is((await send(cdb.inquiry())).status, good, 'INQUIRY is answered all the same');
		device.calls.length = 0;
		const answer = await send(cdb.write10(0, 1), Buffer.alloc(512));
		t.deepEqual(answer.sense, failed);
		t.is(answer.task.sense![0]! & 0x7f, 0x71, 'a deferred error');
		t.deepEqual(device.calls, []);
		t.is((await send(cdb.read10(0, 1))).status, good);
	});
}

test('a deferred error in descriptor format, by REQUEST SENSE behind unit attentions, and its end with a reset or the nexus', async (t) => {
	const { unit, send, nexus } = setUp();
	unit.mode.isDescriptorSense = true;
	unit.defer('mediumError', nexus);
	t.is((await send(cdb.testUnitReady())).task.sense![0]! & 0x7f, 0x73);
	unit.defer('faulted', nexus);
	unit.raise(0x2a09, nexus);
	t.is(decodeSense((await send(cdb.requestSense())).dataIn).code, 0x2a09);
	const second = (await send(cdb.requestSense())).dataIn;
	t.deepEqual([second[0]! & 0x7f, decodeSense(second)], [0x71, failed]);
	t.is((await send(cdb.testUnitReady())).status, good);
	unit.defer('faulted', nexus);
	unit.reset();
	unit.takeAttention(nexus);
	t.is((await send(cdb.testUnitReady())).status, good);
	unit.defer('faulted', nexus);
	unit.detach(nexus);
	unit.attach(nexus);
	unit.takeAttention(nexus);
	t.is((await send(cdb.testUnitReady())).status, good);
	unit.defer('faulted', newNexus('iqn.2026-11.test:gone'));
	t.is((await send(cdb.testUnitReady())).status, good);
});
