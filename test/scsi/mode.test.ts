import test from 'ava';
import {
	cdb,
	checkCondition,
	decodeSense,
	good,
	invalidField,
	invalidParameter,
	newNexus,
	parameterListLengthError,
	run,
	setUp,
	hex,
} from './initiator.ts';

const recovery = hex('010a', '00'.repeat(10));
const caching = hex('081204', '00'.repeat(17));
/** TAS is byte 5 bit 6. */
const control = '0a0a001000400000ffff0000';
const exceptions = hex('1c0a08', '00'.repeat(9));
const allPages = hex(recovery, caching, control, exceptions);
/** One threshold: enabled, soft, decreasing, of what is available, 1024 sets. */
const provisioning = hex('5c020014', '00'.repeat(12), '8001000000000400');

test('MODE SENSE (6) 3Fh: header with DPOFUA, block descriptor, every page ascending', async (t) => {
	const { send } = setUp({ sizeBytes: 0x12345 * 512 });
	const { dataIn } = await send(cdb.modeSense6(0x3f));
	t.is(dataIn[0], dataIn.length - 1);
	t.is(dataIn.toString('hex', 1), hex('001008', '00012345', '00000200', allPages));
});

test('MODE SENSE (10) 3Fh: the same with the long header', async (t) => {
	const { send } = setUp({ sizeBytes: 0x12345 * 4096, blockSize: 4096 });
	const { dataIn } = await send(cdb.modeSense10(0x3f));
	t.is(dataIn.readUInt16BE(0), dataIn.length - 2);
	t.is(dataIn.toString('hex', 2), hex('001000000008', '00012345', '00001000', allPages));
});

test('MODE SENSE (10) with LLBAA: LONGLBA and a block descriptor of 16 bytes', async (t) => {
	const { send } = setUp({ sizeBytes: 2 ** 33 * 512 });
	t.is(
		(await send(cdb.modeSense10(0x08, 0, 0x10))).dataIn.toString('hex', 2),
		hex('001001000010', '0000000200000000', '00000000', '00000200', caching),
	);
	t.is((await send(cdb.modeSense10(0x08))).dataIn.toString('hex', 8, 16), hex('ffffffff', '00000200'), 'a capacity that does not fit');
});

test('MODE SENSE with DBD leaves the block descriptor out', async (t) => {
	const { send } = setUp();
	t.is((await send(cdb.modeSense6(0x08, 0, 0x08))).dataIn.toString('hex'), hex('17001000', caching));
	t.is((await send(cdb.modeSense10(0x08, 0, 0x18))).dataIn.toString('hex'), hex('001a001000000000', caching));
});

test('MODE SENSE 08h: the write cache is on, WCE', async (t) => {
	const { send } = setUp();
	t.is((await send(cdb.modeSense6(0x08, 0, 0x08))).dataIn[4 + 2]! & 0x04, 0x04);
});

test('MODE SENSE of a read only unit has WP', async (t) => {
	const { send } = setUp({ readOnly: true });
	t.is((await send(cdb.modeSense6(0x08))).dataIn[2], 0x90);
	t.is((await send(cdb.modeSense10(0x08))).dataIn[3], 0x90);
});

test('MODE SENSE: default values are the first ones, WCE, D_SENSE and SWP are changeable, none is saved', async (t) => {
	const { send } = setUp();
	const current = (await send(cdb.modeSense6(0x3f))).dataIn;
	t.deepEqual((await send(cdb.modeSense6(0x80 | 0x3f))).dataIn, current);
	const changeable = (await send(cdb.modeSense6(0x40 | 0x3f, 0, 0x08))).dataIn;
	t.is(
		changeable.toString('hex', 4),
		hex('010a', '00'.repeat(10), '081204', '00'.repeat(17), '0a0a04000800', '00'.repeat(6), '1c0a', '00'.repeat(10)),
	);
	t.deepEqual((await send(cdb.modeSense6(0xc0 | 0x08))).sense, { key: 5, code: 0x3900 });
});

test('MODE SENSE subpages: 00h is the page, FFh the page with its subpages, 1Ch/02h the threshold, another is INVALID FIELD IN CDB at byte 3', async (t) => {
	const { send } = setUp();
	for (const page of [0x01, 0x08, 0x0a])
		t.deepEqual((await send(cdb.modeSense6(page, 0xff))).dataIn, (await send(cdb.modeSense6(page, 0))).dataIn);
	t.is((await send(cdb.modeSense6(0x1c, 0xff, 0x08))).dataIn.toString('hex', 4), hex(exceptions, provisioning));
	t.is((await send(cdb.modeSense6(0x1c, 0x02, 0x08))).dataIn.toString('hex', 4), provisioning);
	t.is((await send(cdb.modeSense6(0x3f, 0xff, 0x08))).dataIn.toString('hex', 4), hex(allPages, provisioning));
	for (const page of [0x01, 0x08, 0x0a, 0x1c, 0x3f])
		for (const subpage of [1, 3, 0x80, 0xfe]) t.deepEqual((await send(cdb.modeSense6(page, subpage))).sense, invalidField(3, 7));
	t.deepEqual((await send(cdb.modeSense6(0x3f, 2))).sense, invalidField(3, 7));
	t.deepEqual((await send(cdb.modeSense6(0x08, 2))).sense, invalidField(3, 7));
});

test('MODE SENSE of a page that is not there: INVALID FIELD IN CDB at byte 2 bit 5', async (t) => {
	const { send } = setUp();
	for (let page = 0; page < 0x3f; page++) {
		if ([0x01, 0x08, 0x0a, 0x1c].includes(page)) continue;
		t.deepEqual((await send(cdb.modeSense6(page))).sense, invalidField(2, 5));
		t.deepEqual((await send(cdb.modeSense10(page))).sense, invalidField(2, 5));
	}
});

test('MODE SENSE is cut to its allocation length and still tells the whole length', async (t) => {
	const { send } = setUp();
	const whole = (await send(cdb.modeSense6(0x3f))).dataIn;
	for (const length of [0, 1, 4, 12, 20]) t.deepEqual((await send(cdb.modeSense6(0x3f, 0, 0, length))).dataIn, whole.subarray(0, length));
});

test('MODE SELECT accepts what MODE SENSE returned', async (t) => {
	for (const sizeBytes of [1024 * 1024, 2 ** 33 * 512]) {
		const { send } = setUp({ sizeBytes });
		const six = (await send(cdb.modeSense6(0x3f))).dataIn;
		t.is((await send(cdb.modeSelect6(six.length), six)).status, good);
		for (const flags of [0, 0x08, 0x10]) {
			const ten = (await send(cdb.modeSense10(0x3f, 0, flags))).dataIn;
			t.is((await send(cdb.modeSelect10(ten.length), ten)).status, good);
		}
	}
});

test('MODE SELECT accepts 0 and all ones as the number of blocks, and no list at all', async (t) => {
	const { send } = setUp();
	for (const blocks of ['00000000', 'ffffffff', '00000800']) {
		const list = Buffer.from(`00000008${blocks}00000200`, 'hex');
		t.is((await send(cdb.modeSelect6(list.length), list)).status, good);
	}
	for (const blocks of ['0000000000000000', 'ffffffffffffffff', '0000000000000800']) {
		const list = Buffer.from(`0000000001000010${blocks}0000000000000200`, 'hex');
		t.is((await send(cdb.modeSelect10(list.length), list)).status, good);
	}
	t.is((await send(cdb.modeSelect6(0))).status, good);
	t.is((await send(cdb.modeSelect10(0, 0))).status, good);
});

test('MODE SELECT that would change any other bit of any page is refused with a pointer at that bit, and changes none', async (t) => {
	const { send } = setUp();
	const list = (await send(cdb.modeSense6(0x3f, 0, 0x08))).dataIn;
	const changeable = (await send(cdb.modeSense6(0x40 | 0x3f, 0, 0x08))).dataIn;
	const headers = new Set<number>();
	for (let at = 4; at < list.length; at += 2 + list[at + 1]!) headers.add(at).add(at + 1);
	for (let byte = 4; byte < list.length; byte++) {
		if (headers.has(byte)) continue;
		for (let bit = 0; bit < 8; bit++) {
			if ((changeable[byte]! & (1 << bit)) !== 0) continue;
			const changed = Buffer.from(list);
			// WCE, which could be changed, stands before or behind it.
			changed[4 + 12 + 2]! ^= 0x04;
			changed[byte]! ^= 1 << bit;
			t.deepEqual((await send(cdb.modeSelect6(changed.length), changed)).sense, invalidParameter(byte, bit));
		}
	}
	t.deepEqual((await send(cdb.modeSense6(0x3f, 0, 0x08))).dataIn, list);
});

test('MODE SELECT with a wrong block descriptor, medium type, page code, page length or subpage is refused with a pointer', async (t) => {
	const { send } = setUp();
	const cases = [
		[hex('00000008', '00000801', '00000200'), 4, 7],
		[hex('00000008', '00000800', '00001000'), 9, 7],
		[hex('00000004', '00000800'), 3, 7],
		['00010000', 1, 7],
		[hex('00000000', '0000'), 4, 5],
		[hex('00000000', '3f00'), 4, 5],
		[hex('00000000', '4a01000a'), 4, 6],
		[hex('00000000', '4a00000a'), 4, 6],
		[hex('00000000', '5c030014'), 4, 6],
		[hex('00000000', '5c020015', '00'.repeat(21)), 7, 7],
		[hex('00000000', '5c020014', '01', '00'.repeat(11), '8001000000000400'), 8, 0],
		[hex('00000000', '5c020014', '00'.repeat(12), '8002000000000400'), 21, 1],
		[hex('00000000', '0a0b', '00'.repeat(11)), 5, 7],
	] as const;
	for (const [digits, byte, bit] of cases) {
		const list = Buffer.from(digits, 'hex');
		t.deepEqual((await send(cdb.modeSelect6(list.length), list)).sense, invalidParameter(byte, bit), digits);
	}
});

test('MODE SELECT with a list that ends too early: PARAMETER LIST LENGTH ERROR', async (t) => {
	const { send } = setUp();
	const six = (await send(cdb.modeSense6(0x08))).dataIn;
	const ends = new Set([4 + 8, six.length]);
	for (let length = 1; length <= six.length; length++) {
		const { status, sense } = await send(cdb.modeSelect6(length), six);
		if (ends.has(length)) t.is(status, good);
		else t.deepEqual(sense, parameterListLengthError, `${length} bytes`);
	}
	t.deepEqual(
		(await send(cdb.modeSelect6(six.length), six.subarray(0, 12))).sense,
		parameterListLengthError,
		'the initiator sent less than the CDB says',
	);
	t.deepEqual((await send(cdb.modeSelect10(7), Buffer.alloc(7))).sense, parameterListLengthError);
});

test('MODE SELECT with SP, or of pages without PF: INVALID FIELD IN CDB', async (t) => {
	const { send } = setUp();
	t.deepEqual((await send(cdb.modeSelect6(4, 0x11), Buffer.alloc(4))).sense, invalidField(1, 0));
	const { status, sense } = await send(cdb.modeSelect10(8, 0), Buffer.alloc(8));
	t.is(status, checkCondition);
	t.deepEqual(sense, invalidField(1, 4));
});

/** MODE SELECT (6) of one page with a bit flipped. */
async function flip(send: ReturnType<typeof setUp>['send'], page: number, byte: number, mask: number) {
	const list = (await send(cdb.modeSense6(page, 0, 0x08))).dataIn;
	list[0] = 0;
	list[2] = 0;
	list[4 + byte]! ^= mask;
	return await send(cdb.modeSelect6(list.length), list);
}

const otherWrites = {
	'WRITE (6)': [[0x0a, 0, 0, 0, 1, 0], 512],
	'WRITE (10)': [cdb.write10(0, 1), 512],
	'WRITE ATOMIC (16)': [[0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 512],
	'WRITE SAME (10)': [cdb.writeSame10(0, 8), 512],
	'WRITE SAME (16), NDOB': [cdb.writeSame16(0, 8, 0x01), 0],
	UNMAP: [cdb.unmap(24), 24],
	'COMPARE AND WRITE': [[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 1024],
	'ORWRITE (16)': [[0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 512],
	'WRITE AND VERIFY (10)': [[0x2e, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512],
} as const;

test('MODE SELECT 08h, WCE 0: what was written becomes durable before it is answered, and from then on each write of every command does', async (t) => {
	const { send, device } = setUp();
	t.is((await send(cdb.write10(0, 1), Buffer.alloc(512))).status, good);
	t.false(device.calls.at(-1)!.fua);
	t.is((await flip(send, 0x08, 2, 0x04)).status, good);
	t.is(device.calls.at(-1)!.operation, 'flush');
	t.is((await send(cdb.modeSense6(0x08, 0, 0x08))).dataIn[4 + 2]! & 0x04, 0);
	for (const [name, [bytes, lengthBytes]] of Object.entries(otherWrites)) {
		const data = Buffer.alloc(lengthBytes);
		if (name === 'UNMAP') data.set(Buffer.from('0016001000000000000000000000000000000008', 'hex'));
		device.calls.length = 0;
		t.is((await send(bytes, data)).status, good, name);
		const changes = device.calls.filter(({ operation }) => ['write', 'zero', 'compareAndWrite'].includes(operation));
		t.true(changes.length > 0 && changes.every(({ fua }) => fua), name);
	}
	t.is((await flip(send, 0x08, 2, 0x04)).status, good);
	device.calls.length = 0;
	await send(cdb.write10(0, 1), Buffer.alloc(512));
	t.deepEqual(
		device.calls.map(({ operation, fua }) => [operation, fua]),
		[['write', false]],
		'WCE 1 again: nothing is flushed',
	);
});

test('MODE SELECT 08h, WCE 0, when the flush fails: HARDWARE ERROR', async (t) => {
	const { send, device } = setUp();
	device.outcome = () => 'faulted';
	t.deepEqual((await flip(send, 0x08, 2, 0x04)).sense, { key: 4, code: 0x4400 });
});

test('MODE SELECT 0Ah, D_SENSE: autosense comes in descriptor format, and in fixed format again', async (t) => {
	const { send } = setUp();
	const responseCode = async (): Promise<number> => (await send(cdb.read10(0xffff_ffff, 1))).task.sense![0]! & 0x7f;
	t.is(await responseCode(), 0x70);
	t.is((await flip(send, 0x0a, 2, 0x04)).status, good);
	t.is(await responseCode(), 0x72);
	t.deepEqual((await send(cdb.read10(0xffff_ffff, 1))).sense, { key: 5, code: 0x2100 });
	t.is((await flip(send, 0x0a, 2, 0x04)).status, good);
	t.is(await responseCode(), 0x70);
	t.deepEqual(decodeSense((await send(cdb.read10(0, 1, 0x20))).task.sense!), invalidField(1, 7));
});

test('MODE SELECT 0Ah, SWP: WRITE PROTECTED and WP, until it is taken back or the unit is reset', async (t) => {
	const { send, unit, device, nexus } = setUp();
	t.is((await flip(send, 0x0a, 4, 0x08)).status, good);
	t.is((await send(cdb.modeSense6(0x08))).dataIn[2]! & 0x80, 0x80);
	device.calls.length = 0;
	for (const [name, [bytes, lengthBytes]] of Object.entries(otherWrites))
		t.deepEqual((await send(bytes, Buffer.alloc(lengthBytes))).sense, { key: 7, code: 0x2700 }, name);
	t.deepEqual(device.calls, []);
	t.is((await send(cdb.read10(0, 1))).status, good);
	t.is((await flip(send, 0x0a, 4, 0x08)).status, good);
	t.is((await send(cdb.write10(0, 1), Buffer.alloc(512))).status, good);

	await flip(send, 0x0a, 4, 0x08);
	await flip(send, 0x08, 2, 0x04);
	unit.reset();
	unit.takeAttention(nexus);
	t.is((await send(cdb.modeSense6(0x3f, 0, 0x08))).dataIn.toString('hex', 4), allPages, 'as at first');
	t.is((await send(cdb.write10(0, 1), Buffer.alloc(512))).status, good);
	t.false(device.calls.at(-1)!.fua);
});

test('MODE SELECT that changes something: every other nexus is told 2Ah/01h once; one that changes nothing tells nobody', async (t) => {
	const { send, unit, nexus } = setUp();
	const other = newNexus('iqn.2026-11.test:other');
	unit.attach(other);
	unit.takeAttention(other);
	const list = (await send(cdb.modeSense6(0x3f, 0, 0x08))).dataIn;
	t.is((await send(cdb.modeSelect6(list.length), list)).status, good);
	t.is((await run(unit, other, cdb.testUnitReady())).status, good);
	await flip(send, 0x0a, 2, 0x04);
	t.is((await run(unit, nexus, cdb.testUnitReady())).status, good);
	t.deepEqual((await run(unit, other, cdb.testUnitReady())).sense, { key: 6, code: 0x2a01 });
	t.is((await run(unit, other, cdb.testUnitReady())).status, good);
});
