import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { readsAhead } from '../../../src/archive/stream/limits.ts';
import { Qcow2Disk } from '../../../src/archive/stream/qcow2-reader.ts';
import { Qcow2Image } from '../../../src/archive/stream/qcow2-writer.ts';
import { rawBytes } from '../../../src/archive/stream/raw-writer.ts';
import { DeviceError } from '../../../src/archive/stream/stream-error.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import { temporaryDirectory } from '../../temporary.ts';
import { MemorySource, hasQemuImg, noise, qemuImg, unfolded } from './image-file.ts';

const mib = 2 ** 20;
const nothing = Buffer.alloc(mib);

async function gathered(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
	const all: Buffer[] = [];
	for await (const chunk of chunks) all.push(Buffer.from(chunk));
	return Buffer.concat(all);
}

/** Zeros become holes: half a gigabyte of them is no matter of a unit test. */
async function writeSparse(path: string, chunks: AsyncIterable<Buffer>, sizeBytes: number): Promise<void> {
	const file = await open(path, 'w');
	try {
		await file.truncate(sizeBytes);
		let at = 0;
		for await (const chunk of chunks) {
			if (!chunk.equals(nothing.subarray(0, chunk.length))) await file.write(chunk, 0, chunk.length, at);
			at += chunk.length;
		}
	} finally {
		await file.close();
	}
}

async function image(device: MemoryDevice): Promise<Qcow2Image> {
	return new Qcow2Image(device, await Qcow2Image.count(device));
}

/** Pages here and there: at the borders of clusters and of tables, and in the last page. */
function scattered(sizeBytes: number, seed: number): MemoryDevice {
	const device = new MemoryDevice({ sizeBytes, blockSize: 512 });
	const places = [
		0,
		65536 - 4096,
		65536 * 3 + 4096,
		65536 * 3 + 12288,
		65536 * 5,
		512 * mib - 4096,
		512 * mib,
		1100 * mib,
		sizeBytes - 4096,
	];
	for (const [index, place] of places.entries()) {
		if (place >= 0 && place + 4096 <= sizeBytes) device.poke(place, noise(4096, seed + index));
	}
	return device;
}

for (const sizeBytes of [4096, 65536 - 4096, mib + 4096, 20 * mib]) {
	test(`a device of ${sizeBytes} bytes: the image has the length it said, and our reader finds the same bytes`, async (t) => {
		const device = scattered(sizeBytes, 7);
		const made = await image(device);
		const bytes = await gathered(made.bytes());
		t.is(bytes.length, made.lengthBytes);
		const disk = await Qcow2Disk.open(new MemorySource(bytes));
		t.is(disk.sizeBytes, sizeBytes);
		t.true((await unfolded(disk)).equals(device.bytes(0, sizeBytes)));
	});
}

test('from any byte on it is the same image: a transfer can go on where it broke off', async (t) => {
	const device = scattered(2 * mib, 3);
	const made = await image(device);
	const whole = await gathered(made.bytes());
	for (const from of [
		0,
		1,
		65535,
		65536,
		65536 * 3 + 7,
		65536 * 4,
		65536 * 5,
		65536 * 5 + 1,
		65536 * 6 + 4097,
		whole.length - 1,
		whole.length,
	]) {
		t.true((await gathered(made.bytes(from))).equals(whole.subarray(from)), `from ${from}`);
	}
	const upTo = await gathered(made.bytes(65536, 3 * 65536));
	t.true(upTo.length < whole.length && upTo.subarray(0, 2 * 65536).equals(whole.subarray(65536, 3 * 65536)));
});

test('a raw part begins and ends at any byte, and what is not allocated is not read', async (t) => {
	const device = scattered(2 * mib, 5);
	const whole = device.bytes(0, 2 * mib);
	for (const [from, to] of [
		[0, 2 * mib],
		[1, 2],
		[4095, 8193],
		[65535, 262145],
		[2 * mib - 1, 2 * mib],
		[5, 5],
	] as const) {
		t.true((await gathered(rawBytes(device, from, to))).equals(whole.subarray(from, to)), `${from} to ${to}`);
	}
	device.calls.length = 0;
	await gathered(rawBytes(device, 0, 2 * mib));
	const read = device.calls.filter(({ operation, lengthBytes }) => operation === 'read' && lengthBytes > 512);
	t.is(
		read.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
		6 * 4096,
	);
});

test('a page that cannot be read ends the stream with the outcome, after what came before it', async (t) => {
	const device = scattered(mib, 1);
	device.outcome = ({ operation, offsetBytes, lengthBytes }) =>
		operation === 'read' && lengthBytes > 512 && offsetBytes >= 3 * 65536 ? 'mediumError' : undefined;
	let came = 0;
	const error = await t.throwsAsync(
		async () => {
			for await (const chunk of rawBytes(device, 0, mib)) came += chunk.length;
		},
		{ instanceOf: DeviceError },
	);
	t.is(error?.outcome, 'mediumError');
	t.is(came, 3 * 65536 + 4096);
});

test('whoever stops taking leaves no read under way, and few are made ahead', async (t) => {
	const device = new MemoryDevice({ sizeBytes: 16 * mib });
	device.poke(0, noise(16 * mib, 2));
	for await (const chunk of rawBytes(device, 0, 16 * mib)) {
		t.is(chunk.length, 256 * 1024);
		break;
	}
	const reads = device.calls.filter(({ operation, lengthBytes }) => operation === 'read' && lengthBytes > 512).length;
	t.true(reads >= 1 && reads <= 9, String(reads));
	const abort = new AbortController();
	abort.abort(new Error('gone'));
	await t.throwsAsync(() => gathered(rawBytes(device, 0, mib, abort.signal)), { message: 'gone' });
});

test('qemu-img: no error, no leak, the same bytes; over several tables, and a disk of 16 TiB', async (t) => {
	if (!(await hasQemuImg())) {
		t.log('qemu-img is not installed');
		t.pass();
		return;
	}
	const directory = await temporaryDirectory(t);
	const file = join(directory, 'image.qcow2');
	const raw = join(directory, 'image.raw');
	for (const sizeBytes of [4096, mib + 4096, 516 * mib]) {
		const device = scattered(sizeBytes, 11);
		await writeFile(file, (await image(device)).bytes());
		await writeSparse(raw, rawBytes(device, 0, sizeBytes), sizeBytes);
		t.regex(await qemuImg('check', '-f', 'qcow2', file), /No errors were found on the image\./, `${sizeBytes}`);
		t.regex(await qemuImg('info', file), new RegExp(`\\(${sizeBytes} bytes\\)`));
		await qemuImg('compare', '-f', 'qcow2', '-F', 'raw', file, raw);
	}
	const tib = 2 ** 40;
	const far = new MemoryDevice({ sizeBytes: 16 * tib });
	far.poke(16 * tib - 4096, noise(4096, 4));
	far.poke(9 * tib, noise(4096, 5));
	const looks = far.allocation.bind(far);
	// A page map of 16 TiB that is walked page by page is no matter of this test.
	far.allocation = async (offsetBytes, extentsMax) => {
		const next = [9 * tib, 9 * tib + 4096, 16 * tib - 4096, 16 * tib].find((border) => border > offsetBytes) ?? 0;
		t.true(extentsMax > 0 && looks !== undefined);
		return {
			outcome: 'good',
			extents: [{ lengthBytes: next - offsetBytes, isMapped: offsetBytes === 9 * tib || offsetBytes === 16 * tib - 4096 }],
		};
	};
	await writeFile(file, (await image(far)).bytes());
	t.regex(await qemuImg('check', '-f', 'qcow2', file), /No errors were found on the image\./);
	t.regex(await qemuImg('info', file), /16 TiB/);
});

test('a few buffers serve for a whole stream, and a piece stays what it is until the next one is asked for', async (t) => {
	const device = new MemoryDevice({ sizeBytes: 16 * mib });
	const bytes = noise(16 * mib, 2);
	device.poke(0, bytes);
	const memories = new Set<ArrayBufferLike>();
	let at = 0;
	for await (const chunk of rawBytes(device, 0, 16 * mib)) {
		await new Promise((resolve) => setImmediate(resolve));
		if (!chunk.equals(bytes.subarray(at, at + chunk.length))) t.fail(`at ${at}`);
		memories.add(chunk.buffer);
		at += chunk.length;
	}
	t.is(at, 16 * mib);
	t.true(memories.size <= readsAhead + 1, String(memories.size));
});
