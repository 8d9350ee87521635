import test from 'ava';
import { status } from '../../src/scsi/task.ts';
import { be, begin, cdb, good, invalidField, invalidParameter, newNexus, parameterListLengthError, run, setUp } from './initiator.ts';
import { ScriptedSanitizer } from './scripted-sanitizer.ts';

const immed = 0x80;
const ause = 0x20;
const inProgress = { key: 2, code: 0x041b };
const illegalOpcode = { key: 5, code: 0x2000 };
const failed = { key: 3, code: 0x3103 };

function sanitize(serviceAction: number, flags = 0, length = 0): number[] {
	return [0x48, serviceAction | flags, 0, 0, 0, 0, 0, ...be(length, 2), 0];
}

function list(first: number, pattern: Buffer, patternLength = pattern.length): Buffer {
	return Buffer.concat([Buffer.from([first, 0, ...be(patternLength, 2)]), pattern]);
}

function sanitizable() {
	const sanitizer = new ScriptedSanitizer();
	return { sanitizer, ...setUp({ sanitizer }) };
}

/** A step of the event loop: what was to be answered at once has been. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('SANITIZE is there only where it is allowed: else INVALID COMMAND OPERATION CODE, and REPORT SUPPORTED OPERATION CODES lists none', async (t) => {
	const { send, sanitizer } = sanitizable();
	const listed = async (): Promise<number> => {
		const { dataIn } = await send(cdb.reportOperationCodes(0));
		let count = 0;
		for (let at = 4; at < dataIn.length; at += 8) if (dataIn[at] === 0x48) count++;
		return count;
	};
	t.is(await listed(), 3);
	t.deepEqual((await send(sanitize(0x03))).sense, invalidField(1, 4), 'CRYPTOGRAPHIC ERASE');
	for (const action of [0, 4, 0x1e]) t.deepEqual((await send(sanitize(action))).sense, invalidField(1, 4), `service action ${action}`);
	sanitizer.isAllowed = false;
	t.is(await listed(), 0);
	for (const action of [0, 1, 2, 3, 0x1f]) t.deepEqual((await send(sanitize(action))).sense, illegalOpcode);
	t.deepEqual((await setUp().send(sanitize(0x02))).sense, illegalOpcode);
	const wabereq = async (): Promise<number> => (await send(cdb.vpd(0xb1))).dataIn[7]! >> 6;
	t.is(await wabereq(), 0);
	sanitizer.isAllowed = true;
	t.is(await wabereq(), 1);
	t.deepEqual(sanitizer.orders, []);
});

test('OVERWRITE: count, inversion, pattern and AUSE are those of the list; without IMMED it ends with the operation', async (t) => {
	const { unit, nexus, sanitizer } = sanitizable();
	const data = list(0x80 | 3, Buffer.from('pattern'));
	const { task, step, done } = begin((one) => unit.start(one, nexus), sanitize(0x01, ause, data.length), data.length);
	t.is(step, 'parameters');
	t.is(unit.parameters(task, data), 'pending');
	await turn();
	const pattern = Uint8Array.from(Buffer.from('pattern'));
	t.deepEqual(sanitizer.orders, [{ method: 'overwrite', passes: 3, invert: true, pattern, mayExitFailure: true }]);
	let isOver = false;
	void done.then(() => (isOver = true));
	await turn();
	t.false(isOver);
	sanitizer.ended('good');
	await done;
	t.is(task.status, good);
});

test('BLOCK ERASE with IMMED: good once the order stands; one that is refused is not', async (t) => {
	const { send, sanitizer } = sanitizable();
	t.is((await send(sanitize(0x02, immed))).status, good);
	t.like(sanitizer.orders[0], { method: 'blockErase', mayExitFailure: false });
	sanitizer.ended('good');
	for (const [answer, sense] of [
		['kept', { key: 5, code: 0x2c00 }],
		['faulted', { key: 4, code: 0x4400 }],
	] as const) {
		sanitizer.answer = answer;
		for (const flags of [0, immed]) t.deepEqual((await send(sanitize(0x02, flags))).sense, sense, answer);
	}
	sanitizer.answer = 'closed';
	t.is((await send(sanitize(0x02))).status, status.busy);
});

test('SANITIZE with what it has no use for is refused at the field, and nothing is begun', async (t) => {
	const { send, sanitizer } = sanitizable();
	for (const action of [0x01, 0x02, 0x1f]) {
		const length = action === 0x01 ? 5 : 0;
		const pattern = list(1, Buffer.from([0]));
		for (let byte = 2; byte <= 6; byte++) {
			const bytes = sanitize(action, 0, length);
			bytes[byte] = 0x10;
			t.deepEqual((await send(bytes, pattern)).sense, invalidField(byte === 6 ? 6 : 2, 7), `service action ${action}, byte ${byte}`);
		}
		t.deepEqual((await send(sanitize(action, 0x40, length), pattern)).sense, invalidField(1, 6), 'ZNR');
	}
	for (const action of [0x02, 0x1f]) t.deepEqual((await send(sanitize(action, 0, 8), Buffer.alloc(8))).sense, invalidField(7, 7));
	for (const length of [0, 1, 4, 517, 65_535])
		t.deepEqual((await send(sanitize(0x01, 0, length), Buffer.alloc(length))).sense, invalidField(7, 7));
	for (const [data, byte, bit] of [
		[list(0, Buffer.alloc(512)), 0, 4],
		[list(0x21, Buffer.alloc(512)), 0, 6],
		[list(1, Buffer.alloc(512), 0), 2, 7],
		[list(1, Buffer.alloc(512), 513), 2, 7],
	] as const)
		t.deepEqual((await send(sanitize(0x01, 0, data.length), data)).sense, invalidParameter(byte, bit));
	const cut = list(1, Buffer.alloc(4), 5);
	t.deepEqual((await send(sanitize(0x01, 0, cut.length), cut)).sense, parameterListLengthError);
	t.deepEqual((await send(sanitize(0x01, 0, 100), list(1, Buffer.alloc(4)))).sense, parameterListLengthError, 'less data-out than said');
	t.deepEqual(sanitizer.orders, []);
	t.is(sanitizer.exits, 0);
});

test('while a unit is being sanitized: NOT READY with the progress for every command but INQUIRY, REPORT LUNS and REQUEST SENSE, another SANITIZE too', async (t) => {
	const { send, sanitizer, device } = sanitizable();
	await send(sanitize(0x02, immed));
	sanitizer.moved(0.25);
	for (const bytes of [cdb.testUnitReady(), cdb.read16(0, 1), cdb.write16(0, 1), sanitize(0x02), sanitize(0x1f), cdb.readCapacity10()]) {
		const answer = await send(bytes, Buffer.alloc(512));
		t.like(answer.sense, inProgress);
		if (bytes[0] !== 0x48) t.is(answer.task.sense?.readUInt16BE(16), 0x4000);
		if (bytes[0] !== 0x48) t.is(answer.task.sense?.[15], 0x80);
	}
	const { dataIn } = await send(cdb.requestSense());
	t.deepEqual([dataIn[2], dataIn.readUInt16BE(12), dataIn[15], dataIn.readUInt16BE(16)], [2, 0x041b, 0x80, 0x4000]);
	t.is((await send(cdb.inquiry())).status, good);
	t.deepEqual(device.calls, []);
	t.is(sanitizer.orders.length, 1);
	sanitizer.ended('good');
	t.is((await send(cdb.testUnitReady())).status, good);
});

test('an abort ends the command and not the operation', async (t) => {
	const { unit, nexus, sanitizer, send } = sanitizable();
	const { task, done } = begin((one) => unit.start(one, nexus), sanitize(0x02));
	await turn();
	task.aborted = true;
	sanitizer.moved(0.5);
	await done;
	t.is(task.status, status.taskAborted);
	t.like((await send(cdb.testUnitReady())).sense, inProgress);
	unit.reset();
	unit.takeAttention(nexus);
	t.like((await send(cdb.testUnitReady())).sense, inProgress);
	sanitizer.ended('good');
	t.is((await send(cdb.testUnitReady())).status, good);
});

test('after a failure: SANITIZE COMMAND FAILED for all but SANITIZE, until it is done again', async (t) => {
	const { unit, nexus, sanitizer, send } = sanitizable();
	const { task, done } = begin((one) => unit.start(one, nexus), sanitize(0x02));
	await turn();
	sanitizer.ended('sanitizeFailed');
	await done;
	t.is(task.sense?.readUInt16BE(12), failed.code);
	t.deepEqual((await send(cdb.read16(0, 1))).sense, failed);
	t.is((await send(cdb.requestSense())).dataIn.readUInt16BE(12), failed.code);
	// Forbidding it in between keeps nobody from mending it.
	sanitizer.isAllowed = false;
	t.deepEqual((await send(sanitize(0x1f))).sense, invalidField(1, 4), 'restricted completion mode');
	t.deepEqual((await send(sanitize(0x02, ause))).sense, invalidField(1, 5), 'restricted completion mode');
	t.is(sanitizer.exits, 0);
	t.is((await send(sanitize(0x02, immed))).status, good);
	sanitizer.ended('good');
	t.is((await send(cdb.testUnitReady())).status, good);
});

test('EXIT FAILURE MODE ends a failure of an order with AUSE, and is good where nothing has failed', async (t) => {
	const { sanitizer, send } = sanitizable();
	t.is((await send(sanitize(0x1f))).status, good);
	await send(sanitize(0x02, immed | ause));
	sanitizer.ended('sanitizeFailed', true);
	t.deepEqual((await send(cdb.testUnitReady())).sense, failed);
	t.is((await send(sanitize(0x1f))).status, good);
	t.is(sanitizer.exits, 2);
	t.is((await send(cdb.testUnitReady())).status, good);
});

test('SANITIZE of a write-protected unit: WRITE PROTECTED; where another holds it: RESERVATION CONFLICT', async (t) => {
	const sanitizer = new ScriptedSanitizer();
	const { send } = setUp({ sanitizer, readOnly: true });
	t.deepEqual((await send(sanitize(0x02))).sense, { key: 7, code: 0x2700 });
	const other = sanitizable();
	const holder = newNexus('iqn.2026-11.test:other');
	other.unit.attach(holder);
	other.unit.takeAttention(holder);
	await run(other.unit, holder, [0x16, 0, 0, 0, 0, 0]);
	t.is((await other.send(sanitize(0x02))).status, status.reservationConflict);
	t.deepEqual([...sanitizer.orders, ...other.sanitizer.orders], []);
});
