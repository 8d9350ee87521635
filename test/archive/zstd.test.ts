import { randomBytes } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import test from 'ava';
import { type Library, loaded, pack, unpack } from '../../src/archive/zstd.ts';

/** Half of it is new, half repeats. */
function text(bytes: number): Buffer {
	const piece = randomBytes(64);
	return Buffer.from(Array.from({ length: bytes }, (_none, at) => (at % 128 < 64 ? (piece[at % 64] as number) : (at * 31) & 0xff)));
}

const libraries: [name: string, library: Library | undefined][] = [
	["node's own library", loaded],
	['node:zlib', undefined],
];

test("the pinned node exports the library's symbols", (t) => {
	t.truthy(loaded);
});

for (const [name, library] of libraries) {
	test(`${name}: frames that everybody can read, whatever length comes after whatever other, and what is not shorter is left`, (t) => {
		for (const bytes of [256, 4096, 1 << 20, 1000, 5_000_000, 64 * 1024, 16 << 20, 257]) {
			const plain = text(bytes);
			const frame = Buffer.from(pack(plain, library) ?? []);
			t.true(frame.length > 0 && frame.length < bytes, `${bytes}`);
			t.true(zstdDecompressSync(frame).equals(plain), `${bytes}`);
			t.true(unpack(frame, bytes, library)?.equals(plain), `${bytes}`);
			t.is(pack(randomBytes(bytes), library), undefined, `${bytes} that are random`);
		}
		t.is(unpack(zstdCompressSync(Buffer.alloc(0)), 0, library)?.length, 0);
	});

	test(`${name}: a frame that is damaged, cut off, foreign or of another length is none, and the next is read all the same`, (t) => {
		const plain = text(100_000);
		const frame = zstdCompressSync(plain);
		for (const length of [0, 1, plain.length - 1, plain.length + 1, 1 << 24]) t.is(unpack(frame, length, library), undefined, `${length}`);
		for (const bytes of [0, 1, 4, 10, frame.length - 1]) t.is(unpack(frame.subarray(0, bytes), plain.length, library), undefined);
		t.is(unpack(randomBytes(5000), 5000, library), undefined);
		const bomb = zstdCompressSync(Buffer.alloc(64 << 20));
		t.is(unpack(bomb, 1 << 20, library), undefined, 'no more is written than was asked for');
		for (let flips = 0; flips < 200; flips++) {
			const damaged = Buffer.from(frame);
			const at = flips % 20 === 0 ? flips % 4 : Math.floor((flips * damaged.length) / 200);
			damaged[at] = (damaged[at] as number) ^ (1 << (flips % 8));
			const read = unpack(damaged, plain.length, library);
			t.true(read === undefined || read.length === plain.length);
		}
		t.true(unpack(frame, plain.length, library)?.equals(plain));
	});

	test(`${name}: what was unpacked has its buffer to itself`, (t) => {
		const plain = text(50_000);
		const frame = zstdCompressSync(plain);
		const [one, two] = [unpack(frame, plain.length, library), unpack(frame, plain.length, library)];
		one?.fill(0);
		t.true(two?.equals(plain));
	});
}
