import test from 'ava';
import { begin, cdb, good, invalidField, lbaOutOfRange, setUp } from './initiator.ts';

const commands = { 'SYNCHRONIZE CACHE (10)': cdb.synchronizeCache10, 'SYNCHRONIZE CACHE (16)': cdb.synchronizeCache16 };
const immed = 0x02;

for (const [name, synchronizeCache] of Object.entries(commands)) {
	test(`${name} ends when the flush is complete, not before`, async (t) => {
		const { unit, nexus, device } = setUp();
		device.held = true;
		let finished = false;
		const { task, step, done } = begin((each) => unit.start(each, nexus), synchronizeCache(0, 0));
		task.owner = { taskFinished: () => (finished = true) };
		t.is(step, 'pending');
		t.deepEqual(device.calls, [{ operation: 'flush', offsetBytes: 0, lengthBytes: 0, fua: false }]);
		t.false(finished);
		device.release();
		t.true(finished);
		t.is(task.status, good);
		void done;
	});

	test(`${name} with IMMED is good at once, and the flush goes on`, async (t) => {
		const { send, device } = setUp();
		device.held = true;
		const { status, step } = await send(synchronizeCache(0, 0, immed));
		t.is(step, 'finished');
		t.is(status, good);
		t.true(device.release());
	});

	test(`${name} that fails: HARDWARE ERROR for a faulted volume, MEDIUM ERROR, BUSY for a closed one`, async (t) => {
		const { send, device } = setUp();
		device.outcome = () => 'faulted';
		t.deepEqual((await send(synchronizeCache(0, 0))).sense, { key: 4, code: 0x4400 });
		device.outcome = () => 'mediumError';
		t.deepEqual((await send(synchronizeCache(0, 0))).sense, { key: 3, code: 0x0c00 });
		device.outcome = () => 'closed';
		t.is((await send(synchronizeCache(0, 0))).status, 0x08);
	});

	test(`${name} of a range beyond the last block: LBA out of range, no flush`, async (t) => {
		const { send, device } = setUp();
		t.is((await send(synchronizeCache(0, 2048))).status, good);
		t.is((await send(synchronizeCache(2048, 0))).status, good);
		const flushes = device.calls.length;
		t.deepEqual((await send(synchronizeCache(2047, 2))).sense, lbaOutOfRange);
		t.deepEqual((await send(synchronizeCache(2049, 0, immed))).sense, lbaOutOfRange);
		t.is(device.calls.length, flushes);
	});
}

test('SYNCHRONIZE CACHE (16) at the end of 64 bits: LBA out of range', async (t) => {
	const { send } = setUp();
	for (const lba of [2n ** 32n, 2n ** 64n - 1n]) t.deepEqual((await send(cdb.synchronizeCache16(lba, 0))).sense, lbaOutOfRange);
});

test('START STOP UNIT: stop flushes, start and NO_FLUSH do not, and the unit stays ready', async (t) => {
	const { send, device } = setUp();
	t.is((await send([0x1b, 0, 0, 0, 0x01, 0])).status, good);
	t.is((await send([0x1b, 0, 0, 0, 0x04, 0])).status, good);
	t.is(device.calls.length, 0);
	t.is((await send([0x1b, 0, 0, 0, 0x00, 0])).step, 'pending');
	t.is((await send([0x1b, 1, 0, 0, 0x00, 0])).step, 'finished');
	t.deepEqual(
		device.calls.map((call) => call.operation),
		['flush', 'flush'],
	);
	t.is((await send(cdb.testUnitReady())).status, good);
	t.is((await send(cdb.read10(0, 1))).status, good);
});

test('START STOP UNIT with a power condition or LOEJ: INVALID FIELD IN CDB at byte 4', async (t) => {
	const { send } = setUp();
	for (let condition = 1; condition < 16; condition++)
		t.deepEqual((await send([0x1b, 0, 0, 0, condition << 4, 0])).sense, invalidField(4, 7));
	t.deepEqual((await send([0x1b, 0, 0, 0, 0x02, 0])).sense, invalidField(4, 1));
	t.deepEqual((await send([0x1b, 0, 0, 0, 0x03, 0])).sense, invalidField(4, 1));
});

test('PREVENT ALLOW MEDIUM REMOVAL: 00b and 01b are good, the obsolete values INVALID FIELD IN CDB', async (t) => {
	const { send } = setUp();
	t.is((await send([0x1e, 0, 0, 0, 0, 0])).status, good);
	t.is((await send([0x1e, 0, 0, 0, 1, 0])).status, good);
	t.deepEqual((await send([0x1e, 0, 0, 0, 2, 0])).sense, invalidField(4, 1));
	t.deepEqual((await send([0x1e, 0, 0, 0, 3, 0])).sense, invalidField(4, 1));
});
