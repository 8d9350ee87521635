import test from 'ava';
import { bits, bytes, layout, reserved, u16be, u16le, u24be, u32be, u32le, u64be, u64le, u8 } from '../../src/wire/layout.ts';

test('each field reads back what was set, at an offset, and touches nothing else', (t) => {
	const table = layout('T', 26, {
		low: bits(0, 0, 3),
		high: bits(0, 3, 5),
		byte: u8(1),
		word: u16be(2),
		three: u24be(4),
		gap: reserved(7, 1),
		long: u32be(8),
		wide: u64be(12),
		run: bytes(20, 6),
	});
	const buffer = Buffer.alloc(40, 0xa5);
	const base = 7;
	table.low.set(buffer, base, 5);
	table.high.set(buffer, base, 0x11);
	table.byte.set(buffer, base, 0xfe);
	table.word.set(buffer, base, 0xfedc);
	table.three.set(buffer, base, 0xfedcba);
	table.long.set(buffer, base, 0xfedcba98);
	table.wide.set(buffer, base, 0xfedcba9876543210n);
	table.run.set(buffer, base, Buffer.from('010203040506', 'hex'));
	t.is(buffer.toString('hex', base, base + 26), '8dfefedcfedcbaa5fedcba98fedcba9876543210010203040506');
	t.is(buffer.toString('hex', 0, base), 'a5'.repeat(7));
	t.is(buffer.toString('hex', base + 26), 'a5'.repeat(7));
	t.is(table.low.get(buffer, base), 5);
	t.is(table.high.get(buffer, base), 0x11);
	t.is(table.byte.get(buffer, base), 0xfe);
	t.is(table.word.get(buffer, base), 0xfedc);
	t.is(table.three.get(buffer, base), 0xfedcba);
	t.is(table.long.get(buffer, base), 0xfedcba98);
	t.is(table.wide.get(buffer, base), 0xfedcba9876543210n);
	t.is(Buffer.from(table.run.get(buffer, base)).toString('hex'), '010203040506');
	t.is(table.sizeBytes, 26);
});

test('little-endian fields: the lowest byte stands first, the highest bit is no sign', (t) => {
	const table = layout('L', 14, { word: u16le(0), long: u32le(2), wide: u64le(6) });
	const buffer = Buffer.alloc(20, 0xa5);
	table.word.set(buffer, 3, 0xfedc);
	table.long.set(buffer, 3, 0xfedcba98);
	table.wide.set(buffer, 3, 0xfedcba9876543210n);
	t.is(buffer.toString('hex'), 'a5a5a5dcfe98badcfe1032547698badcfea5a5a5');
	t.is(table.word.get(buffer, 3), 0xfedc);
	t.is(table.long.get(buffer, 3), 0xfedcba98);
	t.is(table.wide.get(buffer, 3), 0xfedcba9876543210n);
});

test('a hole, an overlap, a wrong total, a row out of order and an empty row are refused at load', (t) => {
	t.throws(() => layout('Hole', 4, { a: u8(0), b: u16be(2) }), { message: 'Hole: byte 1 of 4 is in no field' });
	t.throws(() => layout('Short', 4, { a: u16be(0) }), { message: 'Short: byte 2 of 4 is in no field' });
	t.throws(() => layout('Overlap', 4, { a: u32be(0), b: u8(3) }), { message: 'Overlap.b overlaps another field at byte 3' });
	t.throws(() => layout('Bits', 1, { a: bits(0, 0, 4), b: bits(0, 3, 5) }), { message: 'Bits.b overlaps another field at byte 0' });
	t.throws(() => layout('Long', 4, { a: u16be(0), b: u24be(2) }), { message: 'Long.b ends at byte 5 of 4' });
	t.throws(() => layout('Order', 2, { a: u8(1), b: u8(0) }), { message: 'Order.b: byte 0 stands behind byte 1 in the table' });
	t.throws(() => layout('Empty', 1, { a: u8(0), b: reserved(0, 0) }), {
		message: 'Order.b is empty or no field'.replace('Order', 'Empty'),
	});
	t.throws(() => layout('Wide', 1, { a: bits(0, 4, 5) }), { message: 'Wide.a is empty or no field' });
});

test('a run of bytes takes its own length only', (t) => {
	t.throws(() => bytes(0, 4).set(Buffer.alloc(8), 0, Buffer.alloc(3)), { instanceOf: RangeError });
});
