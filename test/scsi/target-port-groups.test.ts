import test from 'ava';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { be, good, invalidField, invalidParameter, newNexus, parameterListLengthError, run } from './initiator.ts';
import { MemoryDevice } from './memory-device.ts';

const report = (format = 0, allocationLength = 255) => [0xa3, 0x0a | (format << 5), 0, 0, 0, 0, ...be(allocationLength, 4), 0, 0];
const set = (lengthBytes: number) => [0xa4, 0x0a, 0, 0, 0, 0, ...be(lengthBytes, 4), 0, 0];

function setUp() {
	const unit = new LogicalUnit(new MemoryDevice());
	const target = new ScsiTarget('iqn.2026-11.test:groups', { targetPortalGroupTag: 0x1234 });
	const nexus = newNexus();
	target.attach(nexus);
	target.map(0, unit);
	while (unit.takeAttention(nexus) !== undefined);
	return { unit, nexus, send: async (cdb: readonly number[], data?: Buffer) => await run(unit, nexus, cdb, data) };
}

test('REPORT TARGET PORT GROUPS: one group, active and optimized, with the port that VPD 83 names; TPGS says that it is there', async (t) => {
	const { send } = setUp();
	t.is((await send(report())).dataIn.toString('hex'), '0000000c000112340000000100001234');
	t.is((await send(report(1))).dataIn.toString('hex'), '0000001010000000000112340000000100001234');
	t.is((await send(report(0, 6))).dataIn.toString('hex'), '0000000c0001');
	t.deepEqual((await send(report(2))).sense, invalidField(1, 7));
	t.is((await send([0x12, 0, 0, 0, 96, 0])).dataIn[5]! & 0x30, 0x30);
	const identification = (await send([0x12, 1, 0x83, 4, 0, 0])).dataIn.toString('hex');
	t.true(identification.includes('5194000400001234') && identification.includes('5195000400001234'));
});

test('SET TARGET PORT GROUPS takes the state that the group is in, and refuses another state and another group with a pointer', async (t) => {
	const { send } = setUp();
	t.is((await send(set(0))).status, good);
	t.is((await send(set(4), Buffer.alloc(4))).status, good);
	t.is((await send(set(8), Buffer.from('0000000000001234', 'hex'))).status, good);
	for (const state of [1, 2, 3, 0xe])
		t.deepEqual((await send(set(8), Buffer.from([0, 0, 0, 0, state, 0, 0x12, 0x34]))).sense, invalidParameter(4, 3));
	t.deepEqual((await send(set(12), Buffer.from('000000000000123400001235', 'hex'))).sense, invalidParameter(10, 7));
	for (const length of [1, 3, 5, 7]) t.deepEqual((await send(set(length), Buffer.alloc(length))).sense, parameterListLengthError);
	t.deepEqual((await send(set(8), Buffer.alloc(4))).sense, parameterListLengthError);
	t.deepEqual((await send(set(2 ** 20 + 1))).sense, invalidField(6, 7));
});

test('VPD 86: simple and head of queue, no ordered commands; a volatile cache; the longest sense data', async (t) => {
	const { send } = setUp();
	const { dataIn } = await send([0x12, 1, 0x86, 4, 0, 0]);
	t.is(dataIn.length, 64);
	t.is(dataIn.toString('hex', 0, 14), '0086003c0003010000000000001c');
	t.true(dataIn.subarray(14).every((byte) => byte === 0));
});
