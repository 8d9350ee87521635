import test from 'ava';
import { copiedBytesMax } from '../../../src/blockvol/block-device.ts';
import { limits } from '../../../src/nvmeof/limits.ts';
import { transportLimits } from '../../../src/nvmeof/transport-limits.ts';
import { opcode, pattern, type Peer, split, statusOf, World } from './peer.ts';

const MiB = 1024 * 1024;
const large = limits.inCapsuleBytes;

function largeWrite(peer: Peer, cid: number, data: Buffer, block = 0): Buffer {
	return peer.command({ opcode: opcode.write, cid, block, blocks: data.length / 512, data });
}

for (const digest of [false, true]) {
	test(`a large write in its capsule is whole, however it is cut, and its bytes stay while the device has them; data digest ${digest}`, async (t) => {
		const world = new World();
		const peer = await world.connect().open({ dataDigest: digest });
		world.device.held = true;
		for (const length of [copiedBytesMax, copiedBytesMax + 512, large]) {
			for (const pieceBytes of [2 * MiB, 60_000, 72]) {
				const data = pattern(length, length + pieceBytes);
				for (const piece of split(largeWrite(peer, 1, data), pieceBytes)) peer.send(piece);
				// What comes next lies where it lay.
				peer.send(largeWrite(peer, 2, pattern(length, 9), 1024));
				t.deepEqual(await peer.answers(), []);
				t.is(world.budget.usedBytes, 2 * length);
				t.is(world.memory.capsules.usedBytes, 2 * length);
				t.true(world.device.release());
				t.true(world.device.release());
				t.deepEqual((await peer.answers()).map(statusOf), ['0', '0']);
				t.true(world.device.medium.subarray(0, length).equals(data));
				t.true(world.isFree);
			}
		}
	});
}

test('a large capsule whose digest is wrong changes nothing, and holds nothing', async (t) => {
	const world = new World();
	const peer = await world.connect().open({ dataDigest: true });
	const bytes = largeWrite(peer, 1, pattern(large, 1));
	bytes[bytes.length - 1]! ^= 1;
	for (const piece of split(bytes, 50_000)) peer.send(piece);
	t.is(statusOf(await peer.answer()), '22');
	t.deepEqual(world.device.writes, []);
	t.true(world.isFree);
});

test('one connection holds no more of large capsules than its part; then it is not read, others are, and small ones are', async (t) => {
	const world = new World({ budgetBytes: 128 * MiB });
	world.device.held = true;
	const peer = await world.connect().openAs('one');
	const other = await world.connect().openAs('other');
	const fit = transportLimits.capsuleBytesPerConnection / large;
	for (let cid = 0; cid < fit; cid++) peer.send(largeWrite(peer, cid, pattern(large, 1)));
	t.is(peer.unreadBytes, 0);
	peer.send(largeWrite(peer, 100, pattern(large, 2)));
	t.true(peer.unreadBytes > 0);
	t.is(peer.connection.capsules.heldBytes, transportLimits.capsuleBytesPerConnection);
	other.send(largeWrite(other, 1, pattern(large, 3)));
	other.send(other.command({ opcode: opcode.write, cid: 2, blocks: 8, data: pattern(4096, 3) }));
	t.is(other.unreadBytes, 0);
	while (world.device.release()) await peer.answers();
	t.is(peer.unreadBytes, 0);
	t.true(world.isFree);
});

test('hosts that begin large capsules and keep the rest back do not keep others from theirs, and end', async (t) => {
	const world = new World({ budgetBytes: 8 * MiB });
	const { limitBytes, reserveBytes } = world.memory.capsules;
	t.is(limitBytes, 8 * MiB * transportLimits.capsuleShare);
	const slow: Peer[] = [];
	for (let index = 0; index < 100; index++) {
		const peer = await world.connect().openAs('slow');
		peer.send(largeWrite(peer, 1, pattern(large, 1)).subarray(0, 1000));
		slow.push(peer);
	}
	t.is(world.memory.capsules.usedBytes, limitBytes - reserveBytes);
	const good = await world.connect().openAs('good');
	good.send(largeWrite(good, 1, pattern(large, 2)));
	good.send(good.command({ opcode: opcode.write, cid: 2, blocks: 8, data: pattern(4096, 3) }));
	t.deepEqual((await good.answers()).map(statusOf), ['0', '0']);
	// Somebody of another name waits, though nobody of the slow ones would have noticed.
	const names = Array.from({ length: 100 }, (_, index) => `slow ${index}`);
	for (const name of names) {
		const peer = await world.connect().openAs(name);
		peer.send(largeWrite(peer, 1, pattern(large, 1)).subarray(0, 1000));
		slow.push(peer);
	}
	t.is(world.memory.capsules.usedBytes, limitBytes);
	good.send(largeWrite(good, 3, pattern(large, 4)));
	t.deepEqual(await good.answers(), []);
	for (let second = 0; second < transportLimits.stalledContendedSeconds; second++)
		for (const peer of slow) if (!peer.closed) peer.connection.tick();
	t.true(slow.filter(({ destroyed }) => destroyed === 'stalled').length >= limitBytes / large - 1);
	// Each that ends lets the next one begin; the good one has its turn among them.
	let answer = '';
	for (let second = 0; second < 60 && answer === ''; second++) {
		for (const peer of slow) if (!peer.closed) peer.connection.tick();
		answer = (await good.answers()).map(statusOf).join();
	}
	t.is(answer, '0');
	for (const peer of slow) peer.cut();
	t.true(world.isFree);
});

test('a connection that ends while its large capsule waits leaves the line', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB });
	world.device.held = true;
	const peer = await world.connect().openAs('one');
	for (let cid = 0; cid < 100 && peer.unreadBytes === 0; cid++) peer.send(largeWrite(peer, cid, pattern(large, 1)));
	t.true(peer.unreadBytes > 0);
	peer.cut();
	while (world.device.release());
	await peer.answers();
	t.true(world.isFree);
});
