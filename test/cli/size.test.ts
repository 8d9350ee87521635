import test from 'ava';
import fc from 'fast-check';
import { exactSize, parseSize, printSize } from '../../src/cli/size.ts';
import { UsageError } from '../../src/config/usage-error.ts';

test('sizes are powers of 1024, with or without iB, in either case', (t) => {
	const cases: [string, number][] = [
		['4096', 4096],
		['0', 0],
		['4096B', 4096],
		['4K', 4096],
		['4k', 4096],
		['4KiB', 4096],
		['4 KiB', 4096],
		['10G', 10 * 2 ** 30],
		['10GiB', 10 * 2 ** 30],
		['10gib', 10 * 2 ** 30],
		['512M', 2 ** 29],
		['1.5T', 1.5 * 2 ** 40],
		['0.5K', 512],
		['64T', 2 ** 46],
		[' 1G ', 2 ** 30],
	];
	for (const [text, bytes] of cases) t.is(parseSize(text), bytes, text);
});

test('what is no size, no whole number of bytes or too large is refused', (t) => {
	for (const text of [
		'',
		'G',
		'-1',
		'1e3',
		'0x10',
		'10GB',
		'10X',
		'1,5G',
		'1.G',
		'.5G',
		'10 G iB',
		'1G1M',
		'NaN',
		'∞',
		'1.0001K',
		'0.3',
		'65T',
		'64.1T',
		'99999999999999999G',
		'1'.repeat(50),
	]) {
		t.throws(() => parseSize(text), { instanceOf: UsageError }, JSON.stringify(text));
	}
});

test('bytes are printed in the largest unit that leaves a whole part', (t) => {
	const cases: [number, string][] = [
		[0, '0 B'],
		[1023, '1023 B'],
		[1024, '1 KiB'],
		[1536, '1.5 KiB'],
		[10 * 2 ** 30, '10 GiB'],
		[2 ** 46, '64 TiB'],
		[2 ** 50, '1024 TiB'],
	];
	for (const [bytes, text] of cases) t.is(printSize(bytes), text);
});

test('every multiple of a unit is read back as the same number', (t) => {
	fc.assert(
		fc.property(fc.integer({ min: 0, max: 65535 }), fc.constantFrom('K', 'M', 'G'), (count, unit) => {
			const bytes = count * 1024 ** ('KMG'.indexOf(unit) + 1);
			return parseSize(`${count}${unit}`) === bytes && parseSize(`${count}${unit}iB`) === bytes;
		}),
		{ seed: 11 },
	);
	t.pass();
});

test('in a sentence where every byte counts, a size that had to be rounded has its bytes too', (t) => {
	for (const [bytes, text] of [
		[0, '0 B'],
		[4096, '4 KiB'],
		[10 * 2 ** 30, '10 GiB'],
		[1.5 * 2 ** 40, '1.5 TiB'],
		[10 * 2 ** 30 + 1, '10 GiB (10737418241 bytes)'],
		[2 ** 30 / 3 - 1 / 3, '341.33 MiB (357913941 bytes)'],
		[2 ** 46, '64 TiB'],
	] as const)
		t.is(exactSize(bytes), text);
});
