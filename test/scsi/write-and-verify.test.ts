import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { be, begin, good, invalidField, lbaOutOfRange, setUp } from './initiator.ts';

const forms = {
	'WRITE AND VERIFY (10)': [(lba: number, blocks: number, flags = 0) => [0x2e, flags, ...be(lba, 4), 0, ...be(blocks, 2), 0], 7],
	'WRITE AND VERIFY (12)': [(lba: number, blocks: number, flags = 0) => [0xae, flags, ...be(lba, 4), ...be(blocks, 4), 0, 0], 6],
	'WRITE AND VERIFY (16)': [(lba: number, blocks: number, flags = 0) => [0x8e, flags, ...be(lba, 8), ...be(blocks, 4), 0, 0], 10],
} as const;
const compare = 0x02;

for (const [name, [writeAndVerify, lengthByte]] of Object.entries(forms)) {
	test(`${name}: written durably, then read`, async (t) => {
		for (const flags of [0, compare, 0x10]) {
			const { send, device } = setUp();
			const data = Buffer.alloc(300 * 512, 'verified');
			t.is((await send(writeAndVerify(5, 300, flags), data)).status, good);
			t.deepEqual(device.bytes(5 * 512, data.length), data);
			const kinds = device.calls.map(({ operation }) => operation);
			t.is(kinds.lastIndexOf('write') + 1, kinds.indexOf('read'), 'all is written before it is read');
			t.true(device.calls.every(({ operation, fua }) => operation !== 'write' || fua));
		}
	});

	test(`${name}: what cannot be read back is a medium error with its place; what reads back differently with BYTCHK 1 MISCOMPARE`, async (t) => {
		const { send, device } = setUp();
		device.outcome = ({ operation, offsetBytes }) => (operation === 'read' && offsetBytes < 8192 ? 'mediumError' : undefined);
		const bad = await send(writeAndVerify(0, 16), Buffer.alloc(8192));
		t.is(bad.sense?.key, 3);
		device.outcome = ({ operation }) => {
			if (operation === 'read') device.poke(512, Buffer.alloc(1, 9));
			return undefined;
		};
		t.deepEqual((await send(writeAndVerify(0, 16, compare), Buffer.alloc(8192))).sense, { key: 0xe, code: 0x1d00 });
		t.is((await send(writeAndVerify(0, 16), Buffer.alloc(8192))).status, good, 'without BYTCHK only its checksum counts');
	});

	test(`${name}: WRPROTECT, reserved BYTCHK, more than 1 MiB, beyond the end`, async (t) => {
		const { send, device } = setUp({ sizeBytes: 4 * 1024 * 1024 });
		t.deepEqual((await send(writeAndVerify(0, 1, 0x20), Buffer.alloc(512))).sense, invalidField(1, 7));
		t.deepEqual((await send(writeAndVerify(0, 1, 0x04), Buffer.alloc(512))).sense, invalidField(1, 2));
		t.deepEqual((await send(writeAndVerify(0, limits.parameterBytesMax / 512 + 1))).sense, invalidField(lengthByte, 7));
		t.deepEqual((await send(writeAndVerify(8191, 2))).sense, lbaOutOfRange);
		t.is((await send(writeAndVerify(8192, 0))).status, good);
		t.deepEqual(device.calls, []);
	});
}

test('WRITE AND VERIFY that is aborted between writing and verifying ends there', async (t) => {
	const { unit, nexus, device } = setUp();
	device.held = true;
	const { task, done } = begin((each) => unit.start(each, nexus), forms['WRITE AND VERIFY (10)'][0](0, 8), 4096);
	t.is(unit.parameters(task, Buffer.alloc(4096)), 'pending');
	task.aborted = true;
	device.release();
	await done;
	t.deepEqual(
		device.calls.map(({ operation }) => operation),
		['write'],
	);
	t.is(task.status, 0x40);
});
