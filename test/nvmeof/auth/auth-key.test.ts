import test from 'ava';
import { DhchapKey, DhchapKeyError } from '../../../src/nvmeof/auth-key.ts';
import { crc32 } from 'node:zlib';

function text(secret: Buffer, transformation = '00'): string {
	const sum = Buffer.alloc(4);
	sum.writeUInt32LE(crc32(secret));
	return `DHHC-1:${transformation}:${Buffer.concat([secret, sum]).toString('base64')}:`;
}

test('secrets of 32, 48 and 64 bytes are taken, with every transformation', (t) => {
	for (const length of [32, 48, 64]) {
		for (const transformation of ['00', '01', '02', '03'])
			t.notThrows(() => DhchapKey.parse(text(Buffer.alloc(length, 1), transformation)));
	}
});

test('what is no secret is refused, and the message does not repeat it', (t) => {
	const good = text(Buffer.alloc(32, 0xa5));
	const bad = [
		'',
		'secret',
		good.slice(0, -1),
		good.replace('DHHC-1', 'DHHC-2'),
		good.replace(':00:', ':04:'),
		good.replace(':00:', ':0:'),
		` ${good}`,
		`${good}\n`,
		good.replace('paWl', 'paWm'),
		text(Buffer.alloc(31, 1)),
		text(Buffer.alloc(33, 1)),
		text(Buffer.alloc(0)),
		'DHHC-1:00:AAAA:',
		'DHHC-1:00::',
		good.replace(':00:', ':00:*'),
	];
	for (const one of bad) {
		const error = t.throws(() => DhchapKey.parse(one), { instanceOf: DhchapKeyError }, JSON.stringify(one));
		t.false(error.message.includes('paW'));
	}
	t.notThrows(() => DhchapKey.parse(good));
});

test('the same secret is known again under another transformation', (t) => {
	const secret = Buffer.alloc(48, 3);
	t.true(DhchapKey.parse(text(secret)).sameSecret(DhchapKey.parse(text(secret, '02'))));
	t.false(DhchapKey.parse(text(secret)).sameSecret(DhchapKey.parse(text(Buffer.alloc(32, 3)))));
	t.false(DhchapKey.parse(text(secret)).sameSecret(DhchapKey.parse(text(Buffer.alloc(48, 4)))));
});
