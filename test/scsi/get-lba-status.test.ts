import test from 'ava';
import { limits } from '../../src/scsi/limits.ts';
import { begin, good, setUp } from './initiator.ts';

function getLbaStatus(lba: number, allocationLength: number): number[] {
	const cdb = Buffer.alloc(16);
	cdb[0] = 0x9e;
	cdb[1] = 0x12;
	cdb.writeBigUInt64BE(BigInt(lba), 2);
	cdb.writeUInt32BE(allocationLength, 10);
	return [...cdb];
}

function descriptors(data: Buffer): { lba: number; blocks: number; status: number }[] {
	const found = [];
	for (let at = 8; at < data.length; at += 16) {
		found.push({ lba: Number(data.readBigUInt64BE(at)), blocks: data.readUInt32BE(at + 8), status: data[at + 12]! & 0x0f });
	}
	return found;
}

test('GET LBA STATUS: mapped and deallocated stretches in turn, from the block asked for', async (t) => {
	const { send, device } = setUp({ sizeBytes: 64 * 4096 });
	device.poke(8 * 4096, Buffer.alloc(2 * 4096, 1));
	const { status, dataIn } = await send(getLbaStatus(0, 4096));
	t.is(status, good);
	t.is(dataIn.readUInt32BE(0), dataIn.length - 4);
	t.deepEqual(descriptors(dataIn), [
		{ lba: 0, blocks: 64, status: 1 },
		{ lba: 64, blocks: 16, status: 0 },
		{ lba: 80, blocks: 432, status: 1 },
	]);
	t.deepEqual(descriptors((await send(getLbaStatus(67, 24))).dataIn), [{ lba: 67, blocks: 13, status: 0 }]);
});

test('GET LBA STATUS goes on where a look ends, so far and no further: neighbours are one, and an abort ends it', async (t) => {
	const { send, device, unit, nexus } = setUp({ sizeBytes: 64 * 4096 });
	device.poke(3 * 4096, Buffer.alloc(2 * 4096, 1));
	const offsets: number[] = [];
	device.allocation = async (offsetBytes) => {
		offsets.push(offsetBytes / 4096);
		const isMapped = offsetBytes === 3 * 4096 || offsetBytes === 4 * 4096;
		return { outcome: offsetBytes === 60 * 4096 ? 'mediumError' : 'good', extents: [{ lengthBytes: 4096, isMapped }] };
	};
	t.deepEqual(descriptors((await send(getLbaStatus(0, 4096))).dataIn), [
		{ lba: 0, blocks: 24, status: 1 },
		{ lba: 24, blocks: 16, status: 0 },
		{ lba: 40, blocks: 8 * 11, status: 1 },
	]);
	t.deepEqual(offsets, [...Array(limits.lbaStatusLooksMax).keys()]);
	// No room for a second descriptor; and what cannot be read is met by who asks for it.
	t.deepEqual(descriptors((await send(getLbaStatus(0, 24))).dataIn), [{ lba: 0, blocks: 24, status: 1 }]);
	t.deepEqual(descriptors((await send(getLbaStatus(58 * 8, 4096))).dataIn), [{ lba: 464, blocks: 16, status: 1 }]);
	t.is((await send(getLbaStatus(60 * 8, 4096))).sense?.key, 3);
	const { task, done } = begin((one) => unit.start(one, nexus), getLbaStatus(0, 4096));
	task.aborted = true;
	offsets.length = 0;
	await done;
	t.is(task.status, 0x40);
	t.deepEqual(offsets, []);
});

test('GET LBA STATUS is cut to its allocation length, and the parameter data length says what there is', async (t) => {
	const { send } = setUp({ sizeBytes: 64 * 4096 });
	for (const length of [0, 4, 8, 20]) t.is((await send(getLbaStatus(0, length))).dataIn.length, length);
	t.is((await send(getLbaStatus(0, 8))).dataIn.readUInt32BE(0), 20);
});

test('GET LBA STATUS behind the last block: LOGICAL BLOCK ADDRESS OUT OF RANGE; of an unreadable map: MEDIUM ERROR', async (t) => {
	const { send, device } = setUp({ sizeBytes: 64 * 4096 });
	t.deepEqual((await send(getLbaStatus(512, 24))).sense, { key: 5, code: 0x2100 });
	device.outcome = () => 'mediumError';
	t.is((await send(getLbaStatus(0, 24))).sense?.key, 3);
});
