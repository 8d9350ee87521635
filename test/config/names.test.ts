import test from 'ava';
import fc from 'fast-check';
import {
	checkAlias,
	checkBlockSize,
	checkIscsiName,
	checkLun,
	checkTpgt,
	checkVolumeName,
	checkVolumeSize,
	quoted,
} from '../../src/config/names.ts';
import { UsageError } from '../../src/config/usage-error.ts';

const TiB = 2 ** 40;

test('volume names: lower-case letters, digits, dots, underscores and dashes up to 63', (t) => {
	for (const name of ['a', '0', 'demo', 'a.b_c-d', 'a'.repeat(63)]) t.is(checkVolumeName(name), name);
	for (const name of ['', '-a', '.a', '_a', 'A', 'a b', 'a/b', '..', 'a\n', 'ä', 'a'.repeat(64), 'a\0']) {
		t.throws(() => checkVolumeName(name), { instanceOf: UsageError }, JSON.stringify(name));
	}
});

test('iSCSI names of the three types are taken', (t) => {
	for (const name of [
		'iqn.2026-11.dev.blockport:demo',
		'iqn.2001-04.com.example',
		'iqn.2001-04.com.example:storage:diskarrays-sn-a8675309',
		'iqn.1993-08.org.debian:01:abcdef012345',
		'iqn.1991-05.com.microsoft:host-1.example.org',
		'eui.02004567a425678d',
		'naa.52004567ba64678d',
		'naa.62004567ba64678d0123456789abcdef',
		`iqn.2026-11.dev.blockport:${'x'.repeat(223 - 26)}`,
	]) {
		t.is(checkIscsiName(name, 'target'), name);
	}
});

test('iSCSI names are brought to their normal form (RFC 3722)', (t) => {
	t.is(checkIscsiName('IQN.2001-04.COM.Example:Disk', 'target'), 'iqn.2001-04.com.example:disk');
	t.is(checkIscsiName('eui.02004567A425678D', 'initiator'), 'eui.02004567a425678d');
});

test('what is no iSCSI name is refused, and the message says whose it is', (t) => {
	for (const name of [
		'',
		'demo',
		'iqn',
		'iqn.',
		'iqn.2001-4.com.example',
		'iqn.2001-13.com.example',
		'iqn.2001-00.com.example',
		'iqn.2001-04.',
		'iqn.2001-04.com.example:',
		'iqn.2001-04.-com',
		'iqn.2001-04.com.example:a b',
		'iqn.2001-04.com.example:a_b',
		'iqn.2001-04.com.example:a\0b',
		'iqn.2001-04.com.example:a\n',
		'eui.02004567a425678',
		'eui.02004567a425678g',
		'naa.0',
		'naa.62004567ba64678d01234567',
		`iqn.2026-11.dev.blockport:${'x'.repeat(223 - 25)}`,
		`iqn.2026-11.dev.blockport:${'é'.repeat(110)}`,
	]) {
		t.throws(() => checkIscsiName(name, 'initiator'), { instanceOf: UsageError, message: /initiator/ }, JSON.stringify(name));
	}
});

test('any text is either refused with a UsageError or comes back in a form that is taken again', (t) => {
	fc.assert(
		fc.property(
			fc.oneof(
				fc.string(),
				fc.string().map((text) => `iqn.2026-11.dev.blockport:${text}`),
			),
			(text) => {
				try {
					const normal = checkIscsiName(text, 'target');
					return checkIscsiName(normal, 'target') === normal && Buffer.byteLength(normal) <= 223;
				} catch (error) {
					return error instanceof UsageError && !/[\n\0]/.test(error.message);
				}
			},
		),
		{ seed: 7, numRuns: 2000 },
	);
	t.pass();
});

test('volume sizes: multiples of 4096 up to 64 TiB', (t) => {
	for (const size of [4096, 2 ** 30, 64 * TiB]) t.is(checkVolumeSize(size), size);
	for (const size of [0, -4096, 512, 4097, 64 * TiB + 4096, Number.NaN, Infinity, 4096.5, 2 ** 60])
		t.throws(() => checkVolumeSize(size), { instanceOf: UsageError });
});

test('block size, LUN, portal group tag and alias have bounds', (t) => {
	t.is(checkBlockSize(512), 512);
	t.is(checkBlockSize(4096), 4096);
	for (const size of [0, 1, 520, 1024, 8192]) t.throws(() => checkBlockSize(size), { instanceOf: UsageError });
	t.is(checkLun(0), 0);
	t.is(checkLun(255), 255);
	for (const lun of [-1, 256, 0.5, Number.NaN]) t.throws(() => checkLun(lun), { instanceOf: UsageError });
	t.is(checkTpgt(65535), 65535);
	for (const tag of [0, 65536, 1.5]) t.throws(() => checkTpgt(tag), { instanceOf: UsageError });
	t.is(checkAlias('Rack 3, ünten'), 'Rack 3, ünten');
	for (const alias of ['a\0b', 'a\nb', 'ü'.repeat(128)]) t.throws(() => checkAlias(alias), { instanceOf: UsageError });
});

test('a name in a message is short and cannot move the cursor', (t) => {
	t.false(quoted('\u001B[2J').includes('\u001B'));
	t.true(quoted('x'.repeat(10_000)).length < 100);
});
