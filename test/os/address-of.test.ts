import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { crc32c as packagedCrc32c } from '@node-rs/crc32';
import { addressIfLatest, addressOf } from '../../src/os/address-of.ts';
import { readFromCache } from '../../src/os/syscalls.ts';
import { crc32c, crc32cOfRange } from '../../src/wire/crc32c.ts';
import { temporaryDirectory } from '../temporary.ts';

test('the address of a view is that of its buffer and where it begins, whichever buffer was asked about before', (t) => {
	const [one, other] = [Buffer.allocUnsafeSlow(8192), Buffer.allocUnsafeSlow(8192)];
	const [first, second] = [addressOf(one), addressOf(other)];
	t.true(first > 0 && second > 0 && Math.abs(first - second) >= 8192);
	t.is(addressOf(one.subarray(4096)), first + 4096);
	t.is(addressOf(other.subarray(17, 18)), second + 17);
	t.is(addressOf(one), first);
});

test('what is known without a look is only the buffer that was asked about last', (t) => {
	const [one, other] = [Buffer.allocUnsafeSlow(4096), Buffer.allocUnsafeSlow(4096)];
	const first = addressOf(one);
	t.is(addressIfLatest(one.subarray(100)), first + 100);
	t.is(addressIfLatest(other), 0);
	addressOf(other);
	t.is(addressIfLatest(one), 0);
});

test('of a part of what has just been read, the checksum is that of those bytes', (t) => {
	const slab = randomBytes(3 * 4096);
	addressOf(slab);
	for (const [start, end] of [
		[0, 4096],
		[4096, 8192],
		[5000, 12_288],
		[3, 515],
	] as const)
		t.is(crc32cOfRange(slab, start, end), packagedCrc32c(slab.subarray(start, end)), `${start} to ${end}`);
	t.is(crc32cOfRange(slab.subarray(100), 50, 4000), packagedCrc32c(slab.subarray(150, 4100)));
	t.throws(() => crc32cOfRange(slab, 8192, 12_289), { instanceOf: RangeError });
	t.throws(() => crc32cOfRange(slab, -600, 100), { instanceOf: RangeError });
	t.throws(() => crc32cOfRange(slab, 12_287, 12_289), { instanceOf: RangeError }, 'a short one, too');
});

test('reads into parts of a slab and their checksums, in turn with those of other buffers', async (t) => {
	const path = join(await temporaryDirectory(t), 'file');
	const content = randomBytes(16 * 4096);
	writeFileSync(path, content);
	const fd = openSync(path, 'r');
	t.teardown(() => closeSync(fd));
	const slabs = [Buffer.allocUnsafeSlow(4 * 4096), Buffer.allocUnsafeSlow(4 * 4096)];
	const own = Buffer.from(content.subarray(0, 4096));
	for (let page = 0; page < 16; page++) {
		const target = slabs[page % 2]!.subarray((page % 4) * 4096, (page % 4) * 4096 + 4096);
		t.is(readFromCache(fd, target, page * 4096), 4096);
		const expected = content.subarray(page * 4096, page * 4096 + 4096);
		t.is(crc32c(target), packagedCrc32c(expected));
		t.is(crc32c(target, 12345), packagedCrc32c(expected, 12345));
		t.is(crc32c(own), packagedCrc32c(content.subarray(0, 4096)), 'by its view');
		t.true(target.equals(expected));
	}
});
