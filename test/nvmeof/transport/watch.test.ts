import test from 'ava';
import { transportLimits } from '../../../src/nvmeof/transport-limits.ts';
import { opcode, pattern, type Peer, r2t, statusOf, World } from './peer.ts';

const MiB = 1024 * 1024;

/** Ticks until the connection ends, up to a bound. */
function ticksToEnd(peer: Peer, each: (second: number) => void = () => undefined, bound = 100): number {
	for (let second = 1; second <= bound; second++) {
		each(second);
		peer.connection.tick();
		if (peer.closed) return second;
	}
	return Infinity;
}

test('who does not come to Connect is ended: silent, after ICReq, or with a Connect that fails', async (t) => {
	const world = new World();
	const initialized = world.connect();
	await initialized.initialize();
	const failing = world.connect();
	await failing.initialize();
	for (const peer of [world.connect(), initialized]) {
		t.is(ticksToEnd(peer), transportLimits.connectSeconds + 1);
		t.is(peer.destroyed, 'Connect took too long');
	}
	const seconds = ticksToEnd(failing, () => failing.send(failing.command({ opcode: opcode.fail, cid: 1 })));
	t.is(seconds, transportLimits.connectSeconds + 1);
});

test('who is connected may be silent: Keep Alive is the controller’s', async (t) => {
	const peer = await new World().connect().open();
	t.is(ticksToEnd(peer), Infinity);
	peer.send(peer.command({ opcode: opcode.pend, cid: 1 }));
	t.is(ticksToEnd(peer), Infinity);
});

test('data that R2Ts asked for and that does not come ends the connection, and frees its memory', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	for (const begun of [false, true]) {
		const peer = await world.connect().open();
		peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 2048 }));
		const { ttag } = r2t(await peer.answer());
		if (begun) peer.send(peer.h2cData({ cid: 1, ttag, offset: 0, data: Buffer.alloc(512 * 1024), last: false }).subarray(0, 1000));
		// In the first second data of Connect had come.
		t.is(ticksToEnd(peer), transportLimits.stalledSeconds + 1);
		t.is(peer.destroyed, 'stalled');
		t.true(world.isFree);
	}
	t.is(world.statistics.stalled, 2);
});

test('data that comes slowly does not end the connection while nobody wants the memory', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const peer = await world.connect().open();
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 2048 }));
	const { ttag } = r2t(await peer.answer());
	let at = 0;
	const seconds = ticksToEnd(peer, (second) => {
		if (second % 20 !== 0) return;
		peer.send(peer.h2cData({ cid: 1, ttag, offset: at, data: Buffer.alloc(4), last: false }));
		at += 4;
	});
	t.is(seconds, Infinity);
});

test('while others wait for memory, data that does not come or only trickles in ends the connection soon; they go on', async (t) => {
	const enough = MiB / transportLimits.solicitedStarvedSeconds;
	for (const trickle of [0, 1000, transportLimits.contendedBytesPerSecond, enough - 4, enough]) {
		const world = new World({ budgetBytes: 4 * MiB, deviceBytes: 4 * MiB });
		const slow = await world.connect().open();
		slow.send(slow.command({ opcode: opcode.write, cid: 1, blocks: 2048 }));
		const { ttag } = r2t(await slow.answer());
		const other = await world.connect().open();
		other.send(other.command({ opcode: opcode.write, cid: 1, blocks: 8 }));
		t.deepEqual(await other.answers(), []);
		let at = 0;
		const seconds = ticksToEnd(
			slow,
			() => {
				if (trickle === 0) return;
				slow.send(slow.h2cData({ cid: 1, ttag, offset: at, data: Buffer.alloc(trickle), last: false }));
				at += trickle;
			},
			7,
		);
		if (trickle === enough) {
			t.is(seconds, Infinity);
			slow.cut();
		} else {
			t.is(seconds, transportLimits.stalledContendedSeconds);
			t.is(slow.destroyed, 'stalled');
		}
		other.fulfil(r2t(await other.answer()), pattern(4096, 1));
		t.is(statusOf(await other.answer()), '0');
		t.true(world.isFree);
	}
});

test('a host that fulfils each R2T promptly is not ended, however little it writes and however scarce memory is', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB, deviceBytes: 4 * MiB });
	const holder = await world.connect().open();
	holder.send(holder.command({ opcode: opcode.write, cid: 1, blocks: 2000 }));
	r2t(await holder.answer());
	const waiter = await world.connect().open();
	waiter.send(waiter.command({ opcode: opcode.write, cid: 1, blocks: 2048 }));
	const small = await world.connect().open();
	small.send(small.command({ opcode: opcode.write, cid: 1, blocks: 1 }));
	holder.cut();
	waiter.fulfil(r2t(await waiter.answer()), pattern(MiB, 1));
	await waiter.answers();
	const others = world.memory.solicited.join('others');
	world.memory.solicited.take(others, MiB - 512, { granted: () => undefined });
	const blocker = { granted: () => undefined };
	let asked = r2t(await small.answer());
	world.memory.solicited.take(others, MiB, blocker);
	t.true(small.connection.isContended);
	for (let second = 0; second < 30; second++) {
		small.fulfil(asked, pattern(512, second));
		t.is(statusOf(await small.answer()), '0');
		small.connection.tick();
		t.false(small.closed);
		world.memory.solicited.forget(others, blocker);
		small.send(small.command({ opcode: opcode.write, cid: 1, blocks: 1 }));
		asked = r2t(await small.answer());
		world.memory.solicited.take(others, MiB, blocker);
		small.connection.tick();
	}
	t.false(small.closed);
});

test('a capsule whose data does not come ends the connection; one that comes is fine', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const bytes = peer.command({ opcode: opcode.write, cid: 1, blocks: 16, data: pattern(8192, 1) });
	for (let command = 0; command < 40; command++) {
		peer.send(bytes.subarray(0, 4000));
		peer.connection.tick();
		peer.send(bytes.subarray(4000));
		t.is(statusOf(await peer.answer()), '0');
		peer.connection.tick();
	}
	peer.send(bytes.subarray(0, 4000));
	peer.connection.tick();
	t.is(ticksToEnd(peer), transportLimits.stalledSeconds);
	t.true(world.isFree);
});

test('a host that does not read is ended after a time, sooner when others wait for memory', async (t) => {
	for (const contended of [false, true]) {
		const world = new World({ budgetBytes: 4 * MiB });
		const peer = await world.connect().open();
		peer.blocked = true;
		peer.send(peer.command({ opcode: opcode.read, cid: 1, blocks: 1024 }));
		await peer.answers();
		peer.transmitter.movedSince();
		if (contended) {
			world.budget.tryTake(4 * MiB);
			world.budget.take(1, { granted: () => undefined });
		}
		t.is(ticksToEnd(peer), contended ? transportLimits.stalledContendedSeconds : transportLimits.stalledSeconds);
		t.is(peer.destroyed, 'stalled');
	}
});

test('a host that reads slowly goes on', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const peer = await world.connect().open();
	peer.blocked = true;
	for (let cid = 0; cid < 100; cid++) peer.send(peer.command({ opcode: opcode.read, cid, blocks: 8192 }));
	await peer.answers();
	const seconds = ticksToEnd(peer, (second) => {
		if (second % 25 !== 0) return;
		peer.unblock();
		peer.blocked = true;
		peer.transmitter.drained();
	});
	t.is(seconds, Infinity);
});

test('a connection that we do not read is not blamed for what it does not send', async (t) => {
	const world = new World({ budgetBytes: 8 * MiB, deviceBytes: 4 * MiB });
	const peer = await world.connect().open();
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 2048 }));
	t.is(statusOf(await peer.answer()), 'R2T');
	world.budget.tryTake(8 * MiB - world.budget.usedBytes);
	peer.send(peer.command({ opcode: opcode.write, cid: 2, blocks: 1, data: Buffer.alloc(512) }));
	t.true(peer.connection.stopped);
	t.is(ticksToEnd(peer), Infinity);
});

test('a failed write that waits for the rest of its data holds nothing, so nobody ends it', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const peer = await world.connect().open({ maxR2T: 1 });
	world.device.outcome = () => 'noSpace';
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 4096 }));
	const [first] = (await peer.answers()).map(r2t);
	peer.fulfil(first!, pattern(2 * MiB, 1));
	t.deepEqual(await peer.answers(), []);
	t.true(world.isFree);
	t.is(ticksToEnd(peer), Infinity);
});

test('a host that does not read our last word is closed after a time', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.blocked = true;
	peer.send(Buffer.alloc(8, 0x42));
	t.true(peer.ended);
	for (let second = 0; second < transportLimits.closeSeconds; second++) peer.connection.tick();
	t.is(peer.destroyed, undefined);
	peer.connection.tick();
	t.is(peer.destroyed, 'the host does not close');
});
