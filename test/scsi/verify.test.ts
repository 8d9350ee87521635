import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { begin, cdb, good, invalidField, lbaOutOfRange, parameterListLengthError, setUp } from './initiator.ts';

const verifies = { 'VERIFY (10)': cdb.verify10, 'VERIFY (12)': cdb.verify12, 'VERIFY (16)': cdb.verify16 };
const compare = 0x02;

for (const [name, verify] of Object.entries(verifies)) {
	test(`${name} without BYTCHK: good for a readable range, LBA out of range beyond the end`, async (t) => {
		const { send } = setUp();
		t.is((await send(verify(0, 2048))).status, good);
		t.is((await send(verify(0, 2048, 0x10))).status, good, 'DPO');
		t.is((await send(verify(2048, 0))).status, good);
		t.deepEqual((await send(verify(2047, 2))).sense, lbaOutOfRange);
		t.deepEqual((await send(verify(0xffff_ffff, 1))).sense, lbaOutOfRange);
	});

	test(`${name} with BYTCHK 1: good when equal, MISCOMPARE when one bit differs at either end`, async (t) => {
		const { send, device } = setUp();
		const data = Buffer.alloc(300 * 512, 'verify');
		device.poke(5 * 512, data);
		t.is((await send(verify(5, 300, compare), data)).status, good);
		for (const at of [0, 511, 512, limits.pieceBytes, data.length - 1]) {
			const other = Buffer.from(data);
			other[at]! ^= 0x80;
			t.deepEqual((await send(verify(5, 300, compare), other)).sense, { key: 0xe, code: 0x1d00 }, `byte ${at}`);
		}
		t.deepEqual(device.bytes(5 * 512, data.length), data);
	});

	test(`${name} with VRPROTECT or BYTCHK 10b and 11b: INVALID FIELD IN CDB`, async (t) => {
		const { send } = setUp();
		t.deepEqual((await send(verify(0, 1, 0x20))).sense, invalidField(1, 7));
		t.deepEqual((await send(verify(0, 1, 0x04))).sense, invalidField(1, 2));
		t.deepEqual((await send(verify(0, 1, 0x06))).sense, invalidField(1, 2));
	});
}

test('VERIFY (16) at 2^32 and at the end of 64 bits: LBA out of range', async (t) => {
	const { send, device } = setUp();
	for (const lba of [2n ** 32n, 2n ** 55n, 2n ** 64n - 1n]) {
		for (const flags of [0, compare]) t.deepEqual((await send(cdb.verify16(lba, 0xffff_ffff, flags))).sense, lbaOutOfRange);
	}
	t.deepEqual(device.calls, []);
});

test('VERIFY of any length reads in bounded pieces', async (t) => {
	const { send, device } = setUp({ sizeBytes: 256 * 1024 * 1024 });
	t.is((await send(cdb.verify16(1, 256 * 2048 - 1))).status, good);
	t.is(Math.max(...device.calls.map((call) => call.lengthBytes)), limits.pieceBytes);
	t.is(
		device.calls.reduce((sum, call) => sum + call.lengthBytes, 0),
		256 * 1024 * 1024 - 512,
	);
	t.is(device.calls[1]?.offsetBytes, limits.pieceBytes, 'pieces after the first are aligned');
});

test('VERIFY over an unreadable page: MEDIUM ERROR, and INFORMATION is the first block of it in the range', async (t) => {
	const { send, device } = setUp({ sizeBytes: 8 * 1024 * 1024 });
	const badBytes = 300 * 1024;
	device.outcome = ({ offsetBytes, lengthBytes }) =>
		offsetBytes < badBytes + 4096 && offsetBytes + lengthBytes > badBytes ? 'mediumError' : undefined;
	t.deepEqual((await send(cdb.verify10(3, 4096))).sense, { key: 3, code: 0x1100, information: badBytes / 512 });
	t.deepEqual((await send(cdb.verify10(badBytes / 512 + 2, 1))).sense, { key: 3, code: 0x1100, information: badBytes / 512 + 2 });
	t.deepEqual((await send(cdb.verify10(badBytes / 512, 1, compare), Buffer.alloc(512))).sense, { key: 3, code: 0x1100 });
});

test('VERIFY over a page that is readable the second time is good, and reads nothing beyond its range', async (t) => {
	const { send, device } = setUp();
	device.outcome = () => (device.calls.length === 2 ? 'mediumError' : undefined);
	t.is((await send(cdb.verify10(0, 400))).status, good);
	t.is(Math.max(...device.calls.map((call) => call.offsetBytes + call.lengthBytes)), 400 * 512);
});

test('VERIFY over an unreadable page above 2^32 blocks: INFORMATION of fixed sense stays invalid', async (t) => {
	const { send, device } = setUp({ sizeBytes: 2 ** 43 });
	device.outcome = () => 'mediumError';
	t.deepEqual((await send(cdb.verify16(2 ** 33, 1))).sense, { key: 3, code: 0x1100 });
});

test('VERIFY that compares: the longest is limits.parameterBytesMax, one block more is INVALID FIELD IN CDB', async (t) => {
	const { send } = setUp({ sizeBytes: 8 * 1024 * 1024 });
	const blocks = limits.parameterBytesMax / 512;
	t.is((await send(cdb.verify10(0, blocks, compare), Buffer.alloc(limits.parameterBytesMax))).status, good);
	t.deepEqual((await send(cdb.verify10(0, blocks + 1, compare))).sense, invalidField(7, 7));
});

test('VERIFY that compares with less data than the CDB says: PARAMETER LIST LENGTH ERROR, nothing read', async (t) => {
	const { send, device } = setUp();
	t.deepEqual((await send(cdb.verify10(0, 2, compare), Buffer.alloc(1023))).sense, parameterListLengthError);
	t.deepEqual(device.calls, []);
});

test('VERIFY that is aborted ends after its present piece with TASK ABORTED', async (t) => {
	const { unit, nexus, device } = setUp({ sizeBytes: 64 * 1024 * 1024 });
	device.held = true;
	const { task, step, done } = begin((each) => unit.start(each, nexus), cdb.verify16(0, 64 * 2048));
	t.is(step, 'pending');
	device.release();
	task.aborted = true;
	device.release();
	await done;
	t.is(task.status, 0x40);
	t.is(task.sense, undefined);
	t.is(device.calls.length, 2);
});
