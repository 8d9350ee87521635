import test from 'ava';
import { cdb, checkCondition, good, invalidField, invalidParameter, parameterListLengthError, setUp, hex } from './initiator.ts';

const recovery = hex('010a', '00'.repeat(10));
const caching = hex('081204', '00'.repeat(17));
/** TAS is byte 5 bit 6. */
const control = '0a0a001000400000ffff0000';
const exceptions = hex('1c0a08', '00'.repeat(9));
const allPages = hex(recovery, caching, control, exceptions);

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

test('MODE SENSE: default values are the current ones, no bit is changeable, none is saved', async (t) => {
	const { send } = setUp();
	const current = (await send(cdb.modeSense6(0x3f))).dataIn;
	t.deepEqual((await send(cdb.modeSense6(0x80 | 0x3f))).dataIn, current);
	const changeable = (await send(cdb.modeSense6(0x40 | 0x3f, 0, 0x08))).dataIn;
	t.is(
		changeable.toString('hex', 4),
		hex('010a', '00'.repeat(10), '0812', '00'.repeat(18), '0a0a', '00'.repeat(10), '1c0a', '00'.repeat(10)),
	);
	t.deepEqual((await send(cdb.modeSense6(0xc0 | 0x08))).sense, { key: 5, code: 0x3900 });
});

test('MODE SENSE subpages: 00h and FFh are the page, another is INVALID FIELD IN CDB at byte 3', async (t) => {
	const { send } = setUp();
	for (const page of [0x01, 0x08, 0x0a, 0x1c, 0x3f]) {
		t.deepEqual((await send(cdb.modeSense6(page, 0xff))).dataIn, (await send(cdb.modeSense6(page, 0))).dataIn);
		for (const subpage of [1, 2, 0x80, 0xfe]) t.deepEqual((await send(cdb.modeSense6(page, subpage))).sense, invalidField(3, 7));
	}
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

test('MODE SELECT that would change any bit of any page is refused with a pointer at that bit', async (t) => {
	const { send } = setUp();
	const list = (await send(cdb.modeSense6(0x3f, 0, 0x08))).dataIn;
	const headers = new Set<number>();
	for (let at = 4; at < list.length; at += 2 + list[at + 1]!) headers.add(at).add(at + 1);
	for (let byte = 4; byte < list.length; byte++) {
		if (headers.has(byte)) continue;
		for (let bit = 0; bit < 8; bit++) {
			const changed = Buffer.from(list);
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
