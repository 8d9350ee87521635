import test, { type ExecutionContext } from 'ava';
import { limits, type Geometry } from '../../src/blockvol/limits.ts';
import { decodeSuperblock, encodeSuperblock, slotBytes, SuperblockFile, type Superblock } from '../../src/blockvol/superblock.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { crc32c } from '../../src/wire/crc32c.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { temporaryDirectory } from '../temporary.ts';
import { WatchedDisk } from './watched-disk.ts';

const geometry: Geometry = {
	uuid: '01234567-89ab-cdef-0123-456789abcdef',
	sizeBytes: 64 * 2 ** 40,
	blockSize: 4096,
	segmentBytes: 2 ** 26,
	sliceBytes: 2 ** 43,
};
const plain: Superblock = {
	sequence: 4,
	geometry,
	epoch: 7,
	walGeneration: 2 ** 48 - 2,
	checkpointLSN: 2 ** 45 + 1,
	tailLSN: 2 ** 45 + 9,
	clean: true,
	build: 'a build',
	mapDigest: { low: 0xffffffff, high: 1 },
	layers: [2 ** 40, 1],
	tree: undefined,
	holds: [{ name: 'backup', fromLSN: 2 ** 44, budgetBytes: 2 ** 35 }],
	marks: [0, 7, 2 ** 26 - 1],
};

function padded(superblock: Superblock): Buffer {
	const slot = Buffer.alloc(slotBytes);
	encodeSuperblock(superblock).copy(slot);
	return slot;
}

function sealed(slot: Buffer, length = slot.readUInt32LE(12)): Buffer {
	slot.writeUInt32LE(crc32c(slot.subarray(4, length)), 0);
	return slot;
}

function reasonOf(slot: Buffer): string {
	const found = decodeSuperblock(slot);
	return typeof found === 'string' ? found : 'it is sound';
}

async function fileWith(t: ExecutionContext, slots: readonly (Buffer | undefined)[]): Promise<{ disk: WatchedDisk; path: string }> {
	const path = `${await temporaryDirectory(t)}/superblock`;
	const disk = new WatchedDisk(new FileDisk());
	const file = await disk.open(path, 'create');
	await file.write(Buffer.alloc(2 * slotBytes), 0);
	for (const [index, slot] of slots.entries()) if (slot !== undefined) await file.write(slot, index * slotBytes);
	await file.close();
	disk.forget();
	return { disk, path };
}

test('what is encoded is decoded, unknown digest and no holds too', (t) => {
	for (const superblock of [plain, { ...plain, clean: false, mapDigest: undefined, holds: [], layers: [1] }]) {
		t.deepEqual(decodeSuperblock(padded(superblock)), superblock);
	}
});

test('1,024 layers and 16 holds with names of 32 bytes fit into a slot; one more of either is refused', (t) => {
	const layers = Array.from({ length: limits.layersMax }, (_, index) => index + 1);
	const holds = Array.from({ length: limits.holdsMax }, (_, index) => ({
		name: `${index}`.padStart(32, 'n'),
		fromLSN: index,
		budgetBytes: 0,
	}));
	const full = { ...plain, layers, holds };
	t.true(encodeSuperblock(full).length <= slotBytes);
	t.deepEqual(decodeSuperblock(padded(full)), full);
	t.throws(() => encodeSuperblock({ ...full, layers: [...layers, 0] }), { instanceOf: RangeError });
	t.throws(() => encodeSuperblock({ ...full, layers: [] }), { instanceOf: RangeError });
	t.throws(() => encodeSuperblock({ ...full, holds: [...holds, ...holds.slice(0, 1)] }), { instanceOf: RangeError });
});

test('every single flipped bit is noticed', (t) => {
	const good = encodeSuperblock(plain);
	for (let bit = 0; bit < good.length * 8; bit++) {
		const slot = padded(plain);
		slot[bit >> 3] = slot.readUInt8(bit >> 3) ^ (1 << (bit & 7));
		t.is(typeof decodeSuperblock(slot), 'string', `bit ${bit}`);
	}
});

test('a sound checksum over impossible figures is not believed', (t) => {
	const spoil = (change: (slot: Buffer) => void): string => {
		const slot = padded(plain);
		change(slot);
		return reasonOf(sealed(slot));
	};
	t.regex(
		spoil((slot) => slot.writeUInt32LE(0, 104)),
		/counts/,
	);
	t.regex(
		spoil((slot) => slot.writeUInt32LE(1025, 104)),
		/counts/,
	);
	t.regex(
		spoil((slot) => slot.writeUInt32LE(17, 108)),
		/counts/,
	);
	t.regex(
		spoil((slot) => slot.writeUInt32LE(1, 104)),
		/does not fit/,
	);
	t.regex(
		spoil((slot) => slot.writeUInt32LE(1024, 40)),
		/block size/,
	);
	t.regex(
		spoil((slot) => slot.writeUInt32LE(1, 48)),
		/size/,
	);
	for (const length of [0, 191, slotBytes + 1, 0xffffffff]) {
		const slot = padded(plain);
		slot.writeUInt32LE(length, 12);
		t.regex(reasonOf(sealed(slot, Math.min(Math.max(length, 4), slotBytes))), /length/);
	}
	t.is(typeof decodeSuperblock(Buffer.alloc(slotBytes)), 'string');
	t.is(typeof decodeSuperblock(Buffer.alloc(slotBytes, 0xff)), 'string');
});

test('of two good slots the one with the higher sequence counts, whichever stands first', async (t) => {
	for (const [even, odd] of [
		[4, 5],
		[6, 5],
	] as const) {
		const { disk, path } = await fileWith(t, [padded({ ...plain, sequence: even }), padded({ ...plain, sequence: odd })]);
		const file = await SuperblockFile.open(disk, path);
		t.is(file.current.sequence, Math.max(even, odd));
		await file.close();
	}
});

test('a torn newer slot leaves the older one, at any sector', async (t) => {
	const layers = Array.from({ length: 500 }, (_, index) => index + 1);
	const newer = padded({ ...plain, sequence: 5, layers });
	for (const cut of [0, 512, 1024, 3584]) {
		const torn = Buffer.alloc(slotBytes);
		newer.copy(torn, 0, 0, cut);
		const { disk, path } = await fileWith(t, [padded(plain), torn]);
		const file = await SuperblockFile.open(disk, path);
		t.is(file.current.sequence, 4, `cut at ${cut}`);
		await file.close();
	}
});

test('a slot that stands in the place of the other does not count', async (t) => {
	const { disk, path } = await fileWith(t, [padded({ ...plain, sequence: 9 }), padded({ ...plain, sequence: 5 })]);
	const file = await SuperblockFile.open(disk, path);
	t.is(file.current.sequence, 5);
	await file.close();
});

test('with no good slot the volume is faulted, and both reasons are told', async (t) => {
	const { disk, path } = await fileWith(t, [padded({ ...plain, sequence: 5 }), undefined]);
	await t.throwsAsync(SuperblockFile.open(disk, path), {
		name: 'VolumeFault',
		message: /slot 0: .*other slot.*slot 1: no superblock magic/,
	});
	t.is(disk.openFiles.get(path), 0);
});

test('updates go to the slots in turn, one after the other, each durable before it is current', async (t) => {
	const { disk, path } = await fileWith(t, [padded(plain), undefined]);
	const file = await SuperblockFile.open(disk, path);
	disk.forget();
	const gate = disk.gate((call) => call.kind === 'datasync');
	const updates = [file.update({ epoch: 8 }), file.update({ checkpointLSN: 1 }), file.update({ epoch: 9, clean: false })];
	await gate.reached;
	t.is(file.current.epoch, 7, 'current before it is durable');
	gate.release();
	await Promise.all(updates);
	t.deepEqual(
		disk.calls.map(({ kind, positionBytes }) => (kind === 'write' ? `write ${positionBytes / slotBytes}` : kind)),
		['write 1', 'datasync', 'write 0', 'datasync', 'write 1', 'datasync'],
	);
	t.like(file.current, { epoch: 9, checkpointLSN: 1, clean: false, sequence: 7 });
	await file.close();
	const again = await SuperblockFile.open(disk, path);
	t.deepEqual(again.current, { ...plain, epoch: 9, checkpointLSN: 1, clean: false, sequence: 7 });
	await again.close();
});

test('an update that fails leaves the old one current and on the disk, and the next one goes to the same slot', async (t) => {
	for (const kind of ['write', 'datasync']) {
		const { disk, path } = await fileWith(t, [padded(plain), undefined]);
		const file = await SuperblockFile.open(disk, path);
		disk.fail((call) => call.kind === kind, 'EIO', 1);
		const failing = file.update({ epoch: 8 });
		const next = file.update({ checkpointLSN: 3 });
		await t.throwsAsync(failing, { code: 'EIO' });
		await next;
		t.like(file.current, { epoch: 7, checkpointLSN: 3, sequence: 5 });
		await file.close();
		const again = await SuperblockFile.open(disk, path);
		t.like(again.current, { epoch: 7, checkpointLSN: 3, sequence: 5 });
		await again.close();
	}
});

test('a sound slot of a newer format is never passed over for an older one beside it', async (t) => {
	const newer = padded({ ...plain, sequence: 5 });
	newer.writeUInt32LE(4, 8);
	const { disk, path } = await fileWith(t, [padded(plain), sealed(newer)]);
	await t.throwsAsync(SuperblockFile.open(disk, path), { name: 'VolumeFault', message: /version 4/ });
	t.is(disk.openFiles.get(path), 0);
});

test('one misread does not send the volume back to its older slot', async (t) => {
	const disk = new SimulatedDisk({ seed: 1, shortChance: 0 });
	const made = await disk.open('/superblock', 'create');
	await made.write(padded(plain), 0);
	await made.write(padded({ ...plain, sequence: 5 }), slotBytes);
	await made.close();
	let reads = 0;
	disk.faultRule = ({ kind, positionBytes }) =>
		kind === 'read' && positionBytes === slotBytes && reads++ === 0 ? { kind: 'flippedBit', byteIndex: 20, bit: 1 } : undefined;
	const file = await SuperblockFile.open(disk, '/superblock');
	t.is(file.current.sequence, 5);
	t.is(reads, 2);
	await file.close();
});

test('creating over a superblock that is there is refused', async (t) => {
	const { disk, path } = await fileWith(t, [padded(plain)]);
	await t.throwsAsync(SuperblockFile.create(disk, path, plain), { code: 'EEXIST' });
});
