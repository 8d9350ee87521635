import test from 'ava';
import { describeReservations } from '../../src/cli/reservations.ts';

test('nobody is registered and nobody holds the unit: nothing is said', async (t) => {
	t.is(await describeReservations({ generation: 3, persistThroughPowerLoss: false, registrants: [] }), '');
});

test('who is registered, by protocol and port, with the key in hexadecimal, and who holds what', async (t) => {
	const text = await describeReservations({
		type: 'exclusiveAccessRegistrantsOnly',
		generation: 2,
		persistThroughPowerLoss: true,
		registrants: [
			{
				protocol: 'iscsi',
				id: 'iqn.1993-08.org.debian:01:a\u001B[2J,i,0x80000000000a',
				port: 'iqn.2026-11.test:one,t,0x0001',
				key: '0x0000000000000005',
				holder: true,
			},
			{ protocol: 'nvme', id: '00112233445566778899aabbccddeeff', key: '0xfedcba9876543210', holder: false },
		],
	});
	t.deepEqual(
		text.split('\n').map((line) => line.trim().split(/ {2,}/)),
		[
			['reservation', 'exclusive access, registrants only'],
			['persists through power loss', 'yes'],
			['generation', '2'],
			[''],
			['PROTOCOL', 'REGISTRANT', 'TARGET PORT', 'KEY', 'HOLDS'],
			['iscsi', 'iqn.1993-08.org.debian:01:a?[2J,i,0x80000000000a', 'iqn.2026-11.test:one,t,0x0001', '0x0000000000000005', 'yes'],
			['nvme', '00112233445566778899aabbccddeeff', '0xfedcba9876543210'],
		],
	);
});

test('the whole unit by RESERVE, which nobody registers for', async (t) => {
	const text = await describeReservations({ unitHolder: 'iqn.a,i,0x1', generation: 0, persistThroughPowerLoss: false, registrants: [] });
	t.regex(text, /^reservation +whole unit \(RESERVE\) by iqn\.a,i,0x1$/m);
	t.notRegex(text, /KEY/);
});
