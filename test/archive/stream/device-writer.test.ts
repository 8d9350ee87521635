import test from 'ava';
import { DeviceWriter } from '../../../src/archive/stream/device-writer.ts';
import { writesAhead } from '../../../src/archive/stream/limits.ts';
import { DeviceError } from '../../../src/archive/stream/stream-error.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import { noise } from './image-file.ts';

const mib = 2 ** 20;

async function* chunks(bytes: Buffer, lengthBytes: number): AsyncGenerator<Buffer> {
	for (let at = 0; at < bytes.length; at += lengthBytes) yield bytes.subarray(at, at + lengthBytes);
}

test('chunks of any length become large writes of whole pages; the last page is filled up with zeros', async (t) => {
	const device = new MemoryDevice({ sizeBytes: 8 * mib, blockSize: 4096 });
	const bytes = noise(3 * mib + 1000, 1);
	t.is(await new DeviceWriter(device).write(mib, chunks(bytes, 65_521)), bytes.length);
	t.deepEqual(
		device.calls.map(({ operation, offsetBytes, lengthBytes }) => `${operation} ${lengthBytes} at ${offsetBytes}`),
		[`write ${mib} at ${mib}`, `write ${mib} at ${2 * mib}`, `write ${mib} at ${3 * mib}`, `write 4096 at ${4 * mib}`],
	);
	t.true(device.bytes(mib, bytes.length).equals(bytes));
	t.true(device.bytes(mib + bytes.length, 4096 - 1000).equals(Buffer.alloc(4096 - 1000)));
});

test('zeros are left out of an empty device, and written where something was before', async (t) => {
	const device = new MemoryDevice({ sizeBytes: 8 * mib });
	const writer = new DeviceWriter(device);
	const bytes = Buffer.alloc(2 * mib);
	noise(4096, 3).copy(bytes, 70_000);
	await writer.write(0, chunks(bytes, mib));
	t.deepEqual(
		device.calls.map(({ operation, offsetBytes, lengthBytes }) => `${operation} ${lengthBytes} at ${offsetBytes}`),
		['write 65536 at 65536'],
	);
	await writer.zero(4 * mib, mib);
	t.is(device.calls.length, 1);
	await writer.write(0, chunks(noise(mib, 4), mib));
	await writer.write(0, chunks(bytes, mib));
	t.true(device.bytes(0, 2 * mib).equals(bytes));
	await writer.write(0, chunks(noise(mib, 4), mib));
	await writer.zero(0, 8 * mib);
	t.true(device.bytes(0, 8 * mib).equals(Buffer.alloc(8 * mib)));
});

test('so many writes are under way and no more, however fast the stream is', async (t) => {
	const device = new MemoryDevice({ sizeBytes: 16 * mib });
	device.held = true;
	const writing = new DeviceWriter(device).write(0, chunks(noise(16 * mib, 2), 65_536));
	let most = 0;
	for (let released = 0; released < 16;) {
		await new Promise((resolve) => setImmediate(resolve));
		most = Math.max(most, device.calls.length - released);
		if (device.release()) released++;
	}
	t.is(await writing, 16 * mib);
	t.is(most, writesAhead);
	t.true(device.bytes(0, 16 * mib).equals(noise(16 * mib, 2)));
});

test('a full disk ends it with its outcome, and a stream that fails with its error; nothing is under way then', async (t) => {
	const device = new MemoryDevice({ sizeBytes: 16 * mib });
	device.outcome = ({ offsetBytes }) => (offsetBytes >= 2 * mib ? 'noSpace' : undefined);
	const error = await t.throwsAsync(() => new DeviceWriter(device).write(0, chunks(noise(16 * mib, 2), 65_536)), {
		instanceOf: DeviceError,
	});
	t.is(error?.outcome, 'noSpace');
	t.true(device.calls.length <= 2 + writesAhead + 1, String(device.calls.length));
	const other = new MemoryDevice({ sizeBytes: 16 * mib });
	const broken = async function* (): AsyncGenerator<Buffer> {
		yield noise(3 * mib, 1);
		throw new Error('aborted');
	};
	const writer = new DeviceWriter(other);
	await t.throwsAsync(() => writer.write(0, broken()), { message: 'aborted' });
	// What was begun is begun anew, over what the first attempt has left.
	t.is(await writer.write(0, chunks(noise(mib, 7), 4096)), mib);
	t.true(other.bytes(0, mib).equals(noise(mib, 7)));
});
