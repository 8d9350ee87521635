import test from 'ava';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { limits } from '../../src/scsi/limits.ts';
import type { Space } from '../../src/scsi/thin-space.ts';
import { be, cdb, good, hex, invalidField, newNexus, run } from './initiator.ts';
import { MemoryDevice } from './memory-device.ts';

const mebibyte = 1024 * 1024;
const reached = { key: 6, code: 0x3807 };
const logSense = (page: number, { subpage = 0, control = 1, pointer = 0, flags = 0, room = 512 } = {}) => [
	0x4d,
	flags,
	(control << 6) | page,
	subpage,
	0,
	...be(pointer, 2),
	...be(room, 2),
	0,
];

function setUp(blockSize: 512 | 4096 = 512) {
	const device = new MemoryDevice({ blockSize, sizeBytes: 2 ** 36 });
	const state: { space: Space | undefined } = { space: { usedBytes: 700 * mebibyte, availableBytes: 5000 * mebibyte } };
	const unit = new LogicalUnit(device, { space: () => state.space });
	const nexuses = [newNexus(), newNexus('iqn.2026-11.test:other')] as const;
	for (const nexus of nexuses) {
		unit.attach(nexus);
		unit.takeAttention(nexus);
	}
	const send = async (bytes: readonly number[], data?: Buffer) => await run(unit, nexuses[0], bytes, data);
	return { device, unit, state, nexuses, send };
}

test('space that comes down to the threshold: every nexus is told 38h/07h once, and again after there was more', async (t) => {
	const { unit, state, nexuses, send } = setUp();
	const told = async (): Promise<(number | undefined)[]> => {
		t.is((await send(cdb.testUnitReady())).status, good);
		return nexuses.map((nexus) => unit.takeAttention(nexus));
	};
	t.deepEqual(await told(), [undefined, undefined]);
	state.space = { usedBytes: 0, availableBytes: 1025 * mebibyte };
	t.deepEqual(await told(), [undefined, undefined]);
	state.space = { usedBytes: 0, availableBytes: 1025 * mebibyte - 1 };
	t.deepEqual(await told(), [reached.code, reached.code]);
	state.space = { usedBytes: 0, availableBytes: 0 };
	t.deepEqual(await told(), [undefined, undefined]);
	state.space = { usedBytes: 0, availableBytes: 2000 * mebibyte };
	t.deepEqual(await told(), [undefined, undefined]);
	state.space = { usedBytes: 0, availableBytes: 3 };
	t.deepEqual(await told(), [reached.code, reached.code]);
});

test('space that suffices for what the volume could still take is enough, however little; who comes later is told what the others were', async (t) => {
	const { device, unit, state, nexuses, send } = setUp();
	state.space = { usedBytes: device.sizeBytes - 10 * mebibyte, availableBytes: 10 * mebibyte };
	await send(cdb.testUnitReady());
	t.is(unit.takeAttention(nexuses[0]), undefined);
	state.space = { usedBytes: device.sizeBytes - 10 * mebibyte, availableBytes: 10 * mebibyte - 1 };
	await send(cdb.testUnitReady());
	t.is(unit.takeAttention(nexuses[0]), reached.code);
	const late = newNexus('iqn.2026-11.test:late');
	unit.attach(late);
	t.deepEqual([unit.takeAttention(late), unit.takeAttention(late), unit.takeAttention(late)], [0x2900, reached.code, undefined]);
});

test('writers are told too: one command in so many looks at the space', async (t) => {
	const { state, nexuses, unit } = setUp();
	state.space = { usedBytes: 0, availableBytes: 0 };
	for (let count = 1; count < limits.writesPerSpaceCheck; count++) await run(unit, nexuses[0], cdb.write10(0, 1), Buffer.alloc(512));
	t.is(unit.takeAttention(nexuses[1]), undefined);
	t.is((await run(unit, nexuses[0], cdb.write10(0, 1), Buffer.alloc(512))).status, good);
	t.deepEqual((await run(unit, nexuses[0], cdb.write10(0, 1), Buffer.alloc(512))).sense, reached);
	t.is(unit.takeAttention(nexuses[1]), reached.code);
});

test('MODE SELECT 1Ch/02h moves the threshold and switches it off; a reset brings it back', async (t) => {
	const { unit, state, nexuses, send } = setUp();
	const select = async (descriptor: string) => {
		const list = Buffer.from(hex('00000000', '5c020014', '00'.repeat(12), descriptor), 'hex');
		return await send(cdb.modeSelect6(list.length), list);
	};
	t.is((await select('8001000000002000')).status, good);
	unit.takeAttention(nexuses[1]);
	await send(cdb.testUnitReady());
	t.is(unit.takeAttention(nexuses[0]), reached.code, '5000 MiB are below 8192');
	t.is((await select('0001000000002000')).status, good);
	state.space = { usedBytes: 0, availableBytes: 0 };
	await send(cdb.testUnitReady());
	t.is(unit.takeAttention(nexuses[0]), undefined);
	unit.reset();
	unit.takeAttention(nexuses[0]);
	await send(cdb.testUnitReady());
	t.is(unit.takeAttention(nexuses[0]), reached.code);
});

test('VPD B2: a threshold set is a mebibyte; without knowledge of the space there is none', async (t) => {
	for (const [blockSize, exponent] of [
		[512, 11],
		[4096, 8],
	] as const) {
		const { send } = setUp(blockSize);
		t.is((await send(cdb.vpd(0xb2))).dataIn[4], exponent);
	}
	const unit = new LogicalUnit(new MemoryDevice());
	t.is((await run(unit, newNexus(), cdb.vpd(0xb2))).dataIn[4], 0);
});

test('LOG SENSE: the pages there are; what is available and what is used, in threshold sets; no exceptions', async (t) => {
	const { send } = setUp();
	t.is((await send(logSense(0x00))).dataIn.toString('hex'), '00000003000c2f');
	t.is((await send(logSense(0x00, { subpage: 0xff }))).dataIn.toString('hex'), '40ff0008000000ff0c002f00');
	t.is(
		(await send(logSense(0x0c))).dataIn.toString('hex'),
		hex('0c000018', '00010308', '00001388', '02000000', '00020308', '000002bc', '01000000'),
	);
	t.is((await send(logSense(0x0c, { pointer: 2 }))).dataIn.toString('hex'), hex('0c00000c', '00020308', '000002bc', '01000000'));
	t.is((await send(logSense(0x2f))).dataIn.toString('hex'), '2f000008000003040000ff00');
	t.is((await send(logSense(0x0c, { room: 5 }))).dataIn.length, 5);
});

test('LOG SENSE of the temperature, another page, with SP, thresholds, a subpage or behind the last parameter: INVALID FIELD IN CDB', async (t) => {
	const { send, state } = setUp();
	for (const page of [0x0d, 0x01, 0x3f]) t.deepEqual((await send(logSense(page))).sense, invalidField(2, 5));
	t.deepEqual((await send(logSense(0x0c, { flags: 1 }))).sense, invalidField(1, 0));
	for (const control of [0, 2, 3]) t.deepEqual((await send(logSense(0x0c, { control }))).sense, invalidField(2, 7));
	t.deepEqual((await send(logSense(0x0c, { subpage: 1 }))).sense, invalidField(3, 7));
	t.deepEqual((await send(logSense(0x0c, { pointer: 3 }))).sense, invalidField(5, 7));
	t.deepEqual((await send(logSense(0x00, { pointer: 1 }))).sense, invalidField(5, 7));
	state.space = undefined;
	t.is((await send(logSense(0x0c))).status, 0x08, 'the space is not known yet');
	const unit = new LogicalUnit(new MemoryDevice());
	t.is((await run(unit, newNexus(), logSense(0x00))).dataIn.toString('hex'), '00000002002f');
	t.deepEqual((await run(unit, newNexus(), logSense(0x0c))).sense, invalidField(2, 5));
});

test("the operator's threshold is told by itself, also where that of the mode page is reached already", async (t) => {
	const { unit, state, nexuses, send } = setUp();
	const told = async (space: Space): Promise<number | undefined> => {
		state.space = space;
		await send(cdb.testUnitReady());
		unit.takeAttention(nexuses[1]);
		return unit.takeAttention(nexuses[0]);
	};
	t.is(await told({ usedBytes: 0, availableBytes: 3 * mebibyte, isLow: false }), reached.code);
	t.is(await told({ usedBytes: mebibyte, availableBytes: 2 * mebibyte, isLow: true }), reached.code);
	t.is(await told({ usedBytes: mebibyte, availableBytes: mebibyte, isLow: true }), undefined);
	t.is(await told({ usedBytes: mebibyte, availableBytes: 2 ** 40, isLow: false }), undefined);
	t.is(await told({ usedBytes: mebibyte, availableBytes: 2 ** 40, isLow: true }), reached.code);
});
