import test from 'ava';
import { AddressSlots, plainAddress } from '../../src/os/address-slots.ts';

test('an address has so many slots and no more, others have their own, and what is given back can be taken again', (t) => {
	const slots = new AddressSlots(2);
	t.deepEqual(
		['a', 'a', 'a', 'b', 'b', 'b'].map((address) => slots.take(address)),
		[true, true, false, true, true, false],
	);
	slots.give('a');
	t.true(slots.take('a'));
	t.false(slots.take('a'));
	slots.give('a');
	slots.give('a');
	t.throws(() => slots.give('a'), { instanceOf: RangeError });
	t.deepEqual([slots.take('a'), slots.take('a'), slots.take('a')], [true, true, false]);
});

test('an IPv4 address is one address, whichever socket it came by', (t) => {
	t.is(plainAddress('::ffff:192.0.2.1'), '192.0.2.1');
	t.is(plainAddress('192.0.2.1'), '192.0.2.1');
	t.is(plainAddress('::ffff:1:2'), '::ffff:1:2');
	t.is(plainAddress('2001:db8::1'), '2001:db8::1');
});
