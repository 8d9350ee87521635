import test from 'ava';
import { parseContentRange, parseDigest, parseRange, printDigest } from '../../src/admin/byte-range.ts';

test('Range: one range of bytes, cut at the end; what begins behind it cannot be satisfied; anything else is no range', (t) => {
	for (const [header, from, to] of [
		['bytes=0-0', 0, 1],
		['bytes=0-99', 0, 100],
		['bytes=10-1000000', 10, 100],
		['bytes=99-', 99, 100],
		['bytes=-1', 99, 100],
		['bytes=-1000', 0, 100],
		[' bytes=5-5 ', 5, 6],
	] as const) {
		t.deepEqual(parseRange(header, 100), { from, to }, header);
	}
	for (const header of ['bytes=100-', 'bytes=100-200', 'bytes=-0']) t.is(parseRange(header, 100), 'unsatisfiable', header);
	for (const header of [
		undefined,
		'',
		'bytes=',
		'bytes=-',
		'bytes=5-4',
		'bytes=0-1,3-4',
		'bytes=a-b',
		'items=0-1',
		'bytes=1-99999999999999999',
	]) {
		t.is(parseRange(header, 100), undefined, header);
	}
});

test('Content-Range of a part: of a known or unknown length, and nothing else', (t) => {
	t.deepEqual(parseContentRange('bytes 0-4095/*'), { from: 0, to: 4096 });
	t.deepEqual(parseContentRange('bytes 4096-4096/4097'), { from: 4096, to: 4097 });
	for (const header of [
		undefined,
		'bytes */100',
		'bytes 0-100/100',
		'bytes 5-4/*',
		'bytes 0-9007199254740991/*',
		'bytes=0-1/*',
		'bytes 0-/*',
	]) {
		t.is(parseContentRange(header), undefined, header);
	}
});

test('Content-Digest: sha-256 among others, whole or not at all', (t) => {
	const sha256 = Buffer.alloc(32, 7);
	t.deepEqual(parseDigest(printDigest(sha256)), sha256);
	t.deepEqual(parseDigest(`md5=:AAAA:, ${printDigest(sha256)}`), sha256);
	for (const header of [undefined, '', 'sha-256=:AAAA:', 'sha-512=:AAAA:', printDigest(sha256).replace('sha-256', 'xsha-256')]) {
		t.is(parseDigest(header), undefined, header);
	}
});
