import test from 'ava';
import fc from 'fast-check';
import { crc32c as packagedCrc32c } from '@node-rs/crc32';
import { crc32c, crc32cOfPieces, crc32cOfRange } from '../../src/wire/crc32c.ts';
import { ChecksumJoin } from '../../src/wire/crc32c-join.ts';
import { isal } from '../../src/wire/isal.ts';

test('the examples of RFC 7143 appendix A.4 (byte order of the wire: least significant first)', (t) => {
	const onWire = (data: Uint8Array) => {
		const bytes = Buffer.alloc(4);
		bytes.writeUInt32LE(crc32c(data));
		return bytes.toString('hex');
	};
	t.is(onWire(Buffer.alloc(32)), 'aa36918a');
	t.is(onWire(Buffer.alloc(32, 0xff)), '43aba862');
	t.is(onWire(Buffer.from(Array.from({ length: 32 }, (_, index) => index))), '4e79dd46');
	t.is(onWire(Buffer.from(Array.from({ length: 32 }, (_, index) => 31 - index))), '5cdb3f11');
	const readCommandPDU =
		'01c00000' +
		'00000000' +
		'00000000' +
		'00000000' +
		'14000000' +
		'00000400' +
		'00000014' +
		'00000018' +
		'28000000' +
		'00000000' +
		'02000000' +
		'00000000';
	t.is(onWire(Buffer.from(readCommandPDU, 'hex')), '563a96d9');
});

test('the check value of the nine digits, and nothing gives zero', (t) => {
	t.is(crc32c(Buffer.from('123456789')), 0xe3069283);
	t.is(crc32c(Buffer.alloc(0)), 0);
});

test('table and native code agree on both sides of the switch', (t) => {
	const data = Buffer.from(Array.from({ length: 2000 }, (_, index) => (index * 7 + (index >> 3)) & 0xff));
	for (let length = 0; length <= 2000; length += length > 500 && length < 530 ? 1 : 37) {
		const whole = crc32c(data.subarray(0, length));
		let byteWise = 0;
		for (let at = 0; at < length; at++) byteWise = crc32c(data.subarray(at, at + 1), byteWise);
		t.is(whole, byteWise, `length ${length}`);
	}
});

test('a seed continues at any cut, and a range equals its view', (t) => {
	fc.assert(
		fc.property(fc.uint8Array({ maxLength: 3000, size: 'max' }), fc.nat(3000), (data, cut) => {
			const at = Math.min(cut, data.length);
			return (
				crc32c(data) === crc32c(data.subarray(at), crc32c(data.subarray(0, at))) &&
				crc32cOfRange(data, at, data.length) === crc32c(data.subarray(at))
			);
		}),
		{ seed: 7, numRuns: 300 },
	);
	t.pass();
});

test('whichever native code is there: the package and ISA-L, where it is installed, agree for any seed and length', (t) => {
	const data = Buffer.from(Array.from({ length: 10_000 }, (_, index) => (index * 31) ^ (index >> 3)));
	const candidates = isal === undefined ? [crc32c] : [crc32c, (data: Uint8Array, seed: number) => isal?.crc32c(data, 0, data.length, seed)];
	if (isal === undefined) t.log('ISA-L is not installed: only the package was looked at');
	for (const length of [0, 1, 511, 512, 513, 4096, 9999]) {
		for (const seed of [0, 1, 0xdeadbeef, 0xffffffff]) {
			const part = data.subarray(0, length);
			for (const candidate of candidates) t.is(candidate(part, seed), packagedCrc32c(part, seed) >>> 0);
		}
	}
});

const pieces = fc.record({
	pieceBytes: fc.constantFrom(1, 64, 512, 4096),
	count: fc.nat(9),
	offset: fc.nat(7),
});

const noise = Uint8Array.from({ length: 9 * 4096 + 7 }, (_, at) => Math.imul(at + 1, 0x9e3779b1) >>> 24);

test('pieces have the checksums of their views, and joined that of the whole', (t) => {
	fc.assert(
		fc.property(pieces, ({ pieceBytes, count, offset }) => {
			const view = noise.subarray(offset, offset + pieceBytes * count);
			const checksums = new Uint32Array(9).fill(77);
			crc32cOfPieces(view, pieceBytes, count, checksums);
			for (let piece = 0; piece < count; piece++)
				if (checksums[piece] !== crc32c(view.subarray(piece * pieceBytes, (piece + 1) * pieceBytes))) return false;
			if (checksums.subarray(count).some((checksum) => checksum !== 77)) return false;
			return new ChecksumJoin(pieceBytes).joined(checksums, count) === crc32c(view);
		}),
		{ seed: 7, numRuns: 200 },
	);
	for (const pieceBytes of [64, 4096]) {
		t.throws(() => crc32cOfPieces(new Uint8Array(3 * pieceBytes - 1), pieceBytes, 3, new Uint32Array(3)), { instanceOf: RangeError });
		t.throws(() => crc32cOfPieces(new Uint8Array(3 * pieceBytes), pieceBytes, 3, new Uint32Array(2)), { instanceOf: RangeError });
	}
	t.throws(() => new ChecksumJoin(48), { instanceOf: RangeError });
});
