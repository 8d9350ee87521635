import test from 'ava';
import { hex } from './initiator.ts';
import * as fc from 'fast-check';
import { bits, u16be, u21be, u24be, u32be, u64be, u8 } from '../../src/scsi/field.ts';
import { outcomeSense } from '../../src/scsi/outcome-sense.ts';
import { invalidFieldInCdb, invalidFieldInParameterList, senseData } from '../../src/scsi/sense.ts';

test('fixed format: 18 bytes, VALID with INFORMATION, the field pointer in bytes 15 to 17', (t) => {
	t.is(
		senseData({ key: 3, code: 0x1100, information: 0x01020304 }, 'fixed').toString('hex'),
		hex('f00003010203040a000000001100', '00000000'),
	);
	t.is(senseData(invalidFieldInCdb({ byte: 0x0a, bit: 7 }), 'fixed').toString('hex'), hex('700005000000000a000000002400', '00cf000a'));
	t.is(
		senseData(invalidFieldInParameterList({ byte: 2, bit: 3 }, 0x100), 'fixed').toString('hex'),
		hex('700005000000000a000000002600', '008b0102'),
	);
});

test('fixed format: an INFORMATION above 32 bits is not valid', (t) => {
	t.is(senseData({ key: 3, code: 0x1100, information: 0xffff_ffff }, 'fixed').toString('hex', 0, 7), 'f00003ffffffff');
	t.is(senseData({ key: 3, code: 0x1100, information: 0x1_0000_0000 }, 'fixed').toString('hex', 0, 7), '70000300000000');
});

test('descriptor format: header, information and sense key specific descriptors', (t) => {
	t.is(senseData({ key: 5, code: 0x2000 }, 'descriptor').toString('hex'), '7205200000000000');
	t.is(
		senseData({ key: 3, code: 0x1100, information: 0x1_0000_0002 }, 'descriptor').toString('hex'),
		hex('720311000000000c', '000a80000000000100000002'),
	);
	t.is(senseData(invalidFieldInCdb({ byte: 1, bit: 4 }), 'descriptor').toString('hex'), hex('7205240000000008', '02060000cc000100'));
	const both = { key: 5, code: 0x2100, information: 7, fieldPointer: { in: 'cdb', byte: 2, bit: 7 } } as const;
	t.is(senseData(both, 'descriptor').toString('hex'), hex('7205210000000014', '000a80000000000000000007', '02060000cf000200'));
});

test('outcomes: each has its sense, closed is BUSY, and only a medium error carries an LBA', (t) => {
	t.deepEqual(outcomeSense('outOfRange', 'read', 5), { key: 5, code: 0x2100 });
	t.deepEqual(outcomeSense('noSpace', 'write', 5), { key: 7, code: 0x2707 });
	t.deepEqual(outcomeSense('mediumError', 'read'), { key: 3, code: 0x1100 });
	t.deepEqual(outcomeSense('mediumError', 'read', 0), { key: 3, code: 0x1100, information: 0 });
	t.deepEqual(outcomeSense('mediumError', 'write', 5), { key: 3, code: 0x0c00, information: 5 });
	t.deepEqual(outcomeSense('faulted', 'none'), { key: 4, code: 0x4400 });
	t.is(outcomeSense('closed', 'write', 5), undefined);
});

test('a field returns what was set, touches no other bit, and names its first byte and highest bit', (t) => {
	const fields = [
		[u8(3), 0xff, 3, 7],
		[u16be(3), 0xffff, 3, 7],
		[u24be(3), 0xffffff, 3, 7],
		[u32be(3), 0xffff_ffff, 3, 7],
		[u64be(3), Number.MAX_SAFE_INTEGER, 3, 7],
		[u21be(3), 0x1fffff, 3, 4],
		[bits(3, 2, 3), 7, 3, 4],
	] as const;
	for (const [field, max, byte, bit] of fields) {
		t.deepEqual([field.byte, field.bit], [byte, bit]);
		fc.assert(
			fc.property(fc.integer({ min: 0, max }), (value) => {
				const buffer = Buffer.alloc(12);
				field.set(buffer, value);
				t.is(field.get(buffer), value);
				for (const [index, octet] of buffer.entries()) t.is(octet & ~(field.mask[index - byte] ?? 0), 0);
			}),
			{ numRuns: 50 },
		);
		t.throws(() => field.set(Buffer.alloc(12), max * 2 + 2), { instanceOf: RangeError });
		t.throws(() => field.set(Buffer.alloc(12), -1), { instanceOf: RangeError });
	}
});

test('a field of 64 bits above 2^53 is never below it', (t) => {
	const field = u64be(0);
	for (const value of [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
		const buffer = Buffer.alloc(8);
		buffer.writeBigUInt64BE(value);
		t.true(field.get(buffer) >= 2 ** 53);
	}
});
