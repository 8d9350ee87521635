import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateRawSync, zstdCompressSync } from 'node:zlib';
import test from 'ava';
import {
	Qcow2Header,
	Qcow2HeaderMore,
	compressed,
	copied,
	incompatible,
	qcow2Magic,
	tableEntry,
	zeroFlag,
} from '../../../src/archive/stream/qcow2-format.ts';
import { Qcow2Disk } from '../../../src/archive/stream/qcow2-reader.ts';
import { temporaryDirectory } from '../../temporary.ts';
import { MemorySource, hasQemuImg, noise, qemuImg, refused, unfolded } from './image-file.ts';

const clusterBytes = 65536;
const mib = 2 ** 20;

interface Wish {
	version?: number;
	clusterBits?: number;
	size?: bigint;
	l1Size?: number;
	l1Offset?: bigint;
	/** Entries of the one table of the second level. */
	l2?: readonly bigint[];
	l1?: readonly bigint[];
	features?: bigint;
	compression?: number;
	headerLength?: number;
	backing?: bigint;
	crypt?: number;
	clusters?: number;
}

/** Header, first table, second table, and clusters of noise behind them. */
function built(wish: Wish): Buffer {
	const file = Buffer.alloc((wish.clusters ?? 6) * clusterBytes);
	noise(file.length, 9).copy(file, 3 * clusterBytes, 3 * clusterBytes);
	Qcow2Header.magic.set(file, 0, qcow2Magic);
	Qcow2Header.version.set(file, 0, wish.version ?? 3);
	Qcow2Header.backingFileOffset.set(file, 0, wish.backing ?? 0n);
	Qcow2Header.cryptMethod.set(file, 0, wish.crypt ?? 0);
	Qcow2Header.clusterBits.set(file, 0, wish.clusterBits ?? 16);
	Qcow2Header.size.set(file, 0, wish.size ?? BigInt(mib));
	Qcow2Header.l1Size.set(file, 0, wish.l1Size ?? 1);
	Qcow2Header.l1TableOffset.set(file, 0, wish.l1Offset ?? BigInt(clusterBytes));
	Qcow2HeaderMore.incompatibleFeatures.set(file, Qcow2Header.sizeBytes, wish.features ?? 0n);
	Qcow2HeaderMore.headerLength.set(file, Qcow2Header.sizeBytes, wish.headerLength ?? (wish.compression === undefined ? 104 : 112));
	Qcow2HeaderMore.compressionType.set(file, Qcow2Header.sizeBytes, wish.compression ?? 0);
	for (const [index, entry] of (wish.l1 ?? [BigInt(2 * clusterBytes) | copied]).entries()) {
		tableEntry.set(file, clusterBytes + index * 8, entry);
	}
	for (const [index, entry] of (wish.l2 ?? []).entries()) tableEntry.set(file, 2 * clusterBytes + index * 8, entry);
	return file;
}

function cluster(number: number): bigint {
	return BigInt(number * clusterBytes);
}

const read = async (file: Buffer, fromBytes = 0): Promise<Buffer> => unfolded(await Qcow2Disk.open(new MemorySource(file)), fromBytes);

test('clusters, zeros by flag, and what is not there, in versions 2 and 3', async (t) => {
	const file = built({ l2: [cluster(3) | copied, 0n, cluster(4) | copied | zeroFlag, cluster(5)] });
	const disk = await read(file);
	t.is(disk.length, mib);
	t.true(disk.subarray(0, clusterBytes).equals(file.subarray(3 * clusterBytes, 4 * clusterBytes)));
	t.true(disk.subarray(clusterBytes, 3 * clusterBytes).equals(Buffer.alloc(2 * clusterBytes)));
	t.true(disk.subarray(3 * clusterBytes, 4 * clusterBytes).equals(file.subarray(5 * clusterBytes)));
	const old = built({ version: 2, l2: [cluster(5) | copied] });
	t.true((await read(old)).subarray(0, clusterBytes).equals(old.subarray(5 * clusterBytes)));
	await refused(t, () => read(built({ version: 2, l2: [cluster(4) | copied | zeroFlag] })), /reserved bits/);
});

for (const [kind, compression] of [
	['zlib', 0],
	['zstd', 1],
] as const) {
	test(`compressed clusters: ${kind}, from any sector, with more behind the end of their stream`, async (t) => {
		const plain = Buffer.alloc(clusterBytes);
		noise(9000, 4).copy(plain, 100);
		const stream = compression === 0 ? deflateRawSync(plain, { windowBits: 12 }) : zstdCompressSync(plain);
		const at = 3 * clusterBytes + 1000;
		const sectors = Math.ceil((at + stream.length) / 512) - Math.floor(at / 512) - 1;
		const entry = BigInt(at) | (BigInt(sectors) << 54n) | compressed;
		const features = compression === 0 ? 0n : 1n << BigInt(incompatible.compressionType);
		const file = built({ compression, features, l2: [0n, entry] });
		stream.copy(file, at);
		const disk = await read(file);
		t.true(disk.subarray(clusterBytes, 2 * clusterBytes).equals(plain));
		t.true((await read(file, clusterBytes + 4096)).equals(disk.subarray(clusterBytes + 4096)));
		// Damaged, cut off, and one that unfolds to more than a cluster.
		const damaged = Buffer.from(file);
		damaged.fill(0xff, at, at + 20);
		await refused(t, () => read(damaged), /compressed cluster/);
		const bomb = Buffer.from(file);
		(compression === 0 ? deflateRawSync(Buffer.alloc(64 * mib)) : zstdCompressSync(Buffer.alloc(64 * mib))).copy(bomb, at);
		// Refused before it is unfolded, not after.
		await refused(t, () => read(bomb), /cannot be decompressed/);
		const short = Buffer.from(file);
		(compression === 0 ? deflateRawSync(Buffer.alloc(4096)) : zstdCompressSync(Buffer.alloc(4096))).copy(short, at);
		await refused(t, () => read(short), /compressed cluster/);
	});
}

test('from any byte on it is the same disk', async (t) => {
	const file = built({ l2: [cluster(3) | copied, 0n, cluster(4) | copied, cluster(5)] });
	const disk = await read(file);
	for (const from of [0, 512, 65536, 65536 + 4096, 3 * 65536 - 512, 4 * 65536, mib - 512, mib]) {
		t.true((await read(file, from)).equals(disk.subarray(from)), `from ${from}`);
	}
});

test('what needs something else than this file is refused by its name', async (t) => {
	const bit = (feature: number): bigint => 1n << BigInt(feature);
	await refused(t, () => read(built({ backing: 112n })), /backing file/);
	await refused(t, () => read(built({ crypt: 2 })), /encrypted/);
	await refused(t, () => read(built({ features: bit(incompatible.dirty) })), /not closed properly/);
	await refused(t, () => read(built({ features: bit(incompatible.corrupt) })), /marked as corrupt/);
	await refused(t, () => read(built({ features: bit(incompatible.externalDataFile) })), /another file/);
	await refused(t, () => read(built({ features: bit(incompatible.extendedL2Entries) })), /extended L2/);
	await refused(t, () => read(built({ features: bit(5) })), /feature of bit 5/);
	await refused(t, () => read(built({ features: bit(63) })), /feature of bit 63/);
	await refused(t, () => read(built({ version: 4 })), /version 4/);
	await refused(t, () => read(built({ features: bit(3), compression: 2 })), /number 2/);
	await refused(t, () => read(built({ compression: 1 })), /contradicts/);
});

test('hostile images: each is refused with a sentence, and nothing large is read or made for it', async (t) => {
	const cases: [Wish, RegExp][] = [
		[{ clusterBits: 8 }, /2\^8/],
		[{ clusterBits: 22 }, /2\^22/],
		[{ clusterBits: 0xffffffff }, /clusters/],
		[{ size: 2n ** 63n }, /64 TiB/],
		[{ size: 2n ** 46n + 512n, l1Size: 2 ** 20 }, /64 TiB/],
		[{ size: 1000n }, /whole sectors/],
		[{ size: 2n ** 46n, l1Size: 1 }, /entries/],
		[{ size: 2n ** 46n, clusterBits: 9, l1Size: 0xffffffff }, /32 MiB/],
		[{ size: 2n ** 46n, l1Size: 2 ** 17 }, /behind the end/],
		[{ l1Offset: 2n ** 62n }, /behind the end/],
		[{ l1Offset: 2n ** 64n - 65536n }, /behind the end/],
		[{ l1Offset: 65537n }, /no cluster/],
		[{ l1: [(2n ** 55n) | copied] }, /behind the end/],
		[{ l1: [cluster(2) | 1n] }, /reserved bits/],
		[{ l1: [cluster(2) | (1n << 60n)] }, /reserved bits/],
		[{ l1: [cluster(2) + 512n] }, /middle of a cluster/],
		[{ l2: [cluster(6)] }, /behind the end/],
		[{ l2: [2n ** 55n] }, /behind the end/],
		[{ l2: [cluster(3) + 512n] }, /middle of a cluster/],
		[{ l2: [cluster(3) | 2n] }, /reserved bits/],
		[{ l2: [compressed | ((1n << 54n) - 1n)] }, /behind the end/],
		[{ headerLength: 80 }, /header has 80/],
		[{ headerLength: 105 }, /header has 105/],
	];
	for (const [wish, message] of cases) {
		const source = new MemorySource(built(wish));
		await refused(t, async () => unfolded(await Qcow2Disk.open(source)), message);
		t.true(source.largest <= clusterBytes, String(message));
	}
	for (const length of [0, 3, 71]) await refused(t, () => read(built({}).subarray(0, length)), /too short/);
	await refused(t, () => read(Buffer.alloc(512, 'QFI')), /no qcow2/);
});

test('tables that lead to one place again and again are refused, and not unfolded', async (t) => {
	const l2 = Array.from({ length: 8192 }, () => cluster(3));
	await refused(t, () => read(built({ size: 512n * BigInt(mib), l2 })), /more clusters than the file has/);
	// The first table leads to itself, and to the second table again and again.
	await refused(
		t,
		() => read(built({ size: 512n * 16n * BigInt(mib), l1Size: 16, l1: Array.from({ length: 16 }, () => cluster(2)) })),
		/more clusters/,
	);
	await refused(t, () => read(built({ l1: [cluster(1) | copied] })), /first table/);
	await refused(t, () => read(built({ l2: [cluster(1) | copied] })), /first table/);
});

test('ten thousand images with changed bits: each is read or refused, and nothing else happens', async (t) => {
	const file = built({ l2: [cluster(3) | copied, 0n, cluster(4) | copied | zeroFlag, cluster(5)] });
	let state = 12345;
	const random = (below: number): number => {
		state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
		return state % below;
	};
	let refusals = 0;
	for (let round = 0; round < 10_000; round++) {
		const changes: [number, number][] = [];
		for (let count = 1 + random(4); count > 0; count--) {
			const at = [random(112), clusterBytes + random(16), 2 * clusterBytes + random(64)][random(3)] ?? 0;
			changes.push([at, file.readUInt8(at)]);
			file.writeUInt8(file.readUInt8(at) ^ (1 << random(8)), at);
		}
		let length = 0;
		try {
			const disk = await Qcow2Disk.open(new MemorySource(file));
			for await (const part of disk.parts(0)) {
				length += part.lengthBytes;
				if (part.data !== undefined && part.data.length !== part.lengthBytes) t.fail(`round ${round}`);
			}
			if (length !== disk.sizeBytes) t.fail(`round ${round}: ${length} of ${disk.sizeBytes}`);
		} catch (error) {
			if (!(error instanceof Error) || error.name !== 'ImageError') throw new Error(`round ${round}`, { cause: error });
			refusals++;
		}
		for (const [at, byte] of changes.toReversed()) file.writeUInt8(byte, at);
	}
	t.true(refusals > 1000 && refusals < 10_000, String(refusals));
});

test('what qemu-img makes: both versions, cluster sizes from 512 bytes to 2 MiB, compressed by zlib and zstd, odd sizes', async (t) => {
	if (!(await hasQemuImg())) {
		t.log('qemu-img is not installed');
		t.pass();
		return;
	}
	const directory = await temporaryDirectory(t);
	const raw = join(directory, 'raw');
	const bytes = Buffer.alloc(5 * mib + 512 * 3);
	noise(mib + 1000, 1).copy(bytes, 70_000);
	noise(5000, 2).copy(bytes, bytes.length - 5000);
	bytes.fill('compressible ', 3 * mib, 4 * mib);
	await writeFile(raw, bytes);
	const file = join(directory, 'image');
	for (const [options, more] of [
		['compat=0.10', []],
		['compat=0.10', ['-c']],
		['compat=1.1', []],
		['compat=1.1', ['-c']],
		['compat=1.1,compression_type=zstd', ['-c']],
		['compat=1.1,cluster_size=512', []],
		['compat=1.1,cluster_size=512', ['-c']],
		['compat=1.1,cluster_size=2M', []],
		['compat=1.1,cluster_size=2M,compression_type=zstd', ['-c']],
		['compat=1.1,preallocation=full', []],
		['compat=1.1,preallocation=metadata', []],
		['compat=1.1,lazy_refcounts=on,refcount_bits=1', []],
	] as const) {
		await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', '-o', options, ...more, raw, file);
		const disk = await Qcow2Disk.open(await MemorySource.of(file));
		t.is(disk.sizeBytes, bytes.length, options);
		t.true((await unfolded(disk)).equals(bytes), `${options} ${more.join(' ')}`);
	}
	await qemuImg('create', '-f', 'qcow2', '-F', 'qcow2', '-b', file, join(directory, 'child'));
	await refused(t, async () => Qcow2Disk.open(await MemorySource.of(join(directory, 'child'))), /backing file/);
	await qemuImg('create', '-f', 'qcow2', '-o', `data_file=${join(directory, 'data')}`, join(directory, 'external'), '1M');
	await refused(t, async () => Qcow2Disk.open(await MemorySource.of(join(directory, 'external'))), /another file/);
	await qemuImg('create', '-f', 'qcow2', '-o', 'extended_l2=on', join(directory, 'subclusters'), '1M');
	await refused(t, async () => Qcow2Disk.open(await MemorySource.of(join(directory, 'subclusters'))), /extended L2/);
});
