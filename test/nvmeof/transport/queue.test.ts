import test from 'ava';
import type { Request } from '../../../src/nvmeof/request.ts';
import { status } from '../../../src/nvmeof/status.ts';
import { cidOf, opcode, pattern, type Peer, r2t, statusOf, World } from './peer.ts';

const MiB = 1024 * 1024;

/** An abort as a controller asks for it; what it was told. */
function abort(peer: Peer, ...cids: number[]): { named: number; over: boolean[] } {
	const over: boolean[] = [];
	const select = ({ sqe }: Request): boolean => cids.includes(sqe.readUInt16LE(2));
	const named = peer.connection.abort(select, (aborted) => over.push(aborted));
	return { named, over };
}

test('a command identifier that is in use: Command Identifier Conflict, the first goes on; the second’s data is thrown away', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(peer.command({ opcode: opcode.later, cid: 5 }));
	for (const cid of [5, 5]) {
		peer.send(peer.command({ opcode: opcode.write, cid, blocks: 1, data: Buffer.alloc(512, 1) }));
		t.is(statusOf(await peer.answer()), '3!');
	}
	peer.send(peer.command({ opcode: opcode.flush, cid: 6 }));
	t.is(statusOf(await peer.answer()), '0');
	t.is(world.device.writes.length, 0);
	peer.logic.finish();
	t.is(statusOf(await peer.answer()), '0');
	peer.send(peer.command({ opcode: opcode.flush, cid: 5 }));
	t.is(statusOf(await peer.answer()), '0');
	t.is(peer.connection.outstanding, 0);
});

test('a conflict whose answer finds no room is answered later, and goes with the connection', async (t) => {
	for (const cut of [false, true]) {
		const world = new World();
		const peer = await world.connect().open();
		peer.send(peer.command({ opcode: opcode.later, cid: 100 }));
		peer.blocked = true;
		for (let cid = 0; cid < 5; cid++) peer.send(peer.command({ opcode: opcode.answer, cid, cdw11: 131_000, length: 131_000 }));
		for (let count = 0; count < 30; count++) peer.send(peer.command({ opcode: opcode.flush, cid: 100 }));
		const seen = await peer.answers();
		if (cut) {
			peer.cut();
			t.is(peer.connection.outstanding, 1);
			t.is(peer.connection.line.size, 0);
			peer.logic.finish();
			t.is(peer.connection.outstanding, 0);
		} else {
			for (let round = 0; round < 5; round++) {
				peer.unblock();
				seen.push(...(await peer.answers()));
			}
			t.is(seen.filter((answer) => statusOf(answer) === '3!' && cidOf(answer) === 100).length, 30);
		}
		t.true(world.isFree);
	}
});

for (const depth of [2, 32, 128]) {
	test(`a queue of ${depth} entries takes ${depth} commands at once; the end of one makes room for another`, async (t) => {
		const peer = await new World().connect().open({ depth });
		for (let cid = 0; cid < depth; cid++) peer.send(peer.command({ opcode: opcode.later, cid }));
		t.deepEqual(await peer.answers(), []);
		for (let cid = depth; cid < 3 * depth; cid++) {
			peer.logic.finish();
			peer.send(peer.command({ opcode: opcode.later, cid }));
			t.deepEqual((await peer.answers()).map(cidOf), [cid - depth]);
		}
		peer.send(peer.command({ opcode: opcode.later, cid: 999 }));
		t.is(statusOf(await peer.answer()), 'term 2/0');
	});
}

test('before Connect the queue has one entry', async (t) => {
	const peer = new World().connect();
	await peer.initialize();
	peer.send(peer.command({ opcode: opcode.later, cid: 1 }));
	t.deepEqual(await peer.answers(), []);
	peer.send(peer.connectCommand());
	t.is(statusOf(await peer.answer()), 'term 2/0');
});

test('end() from within start(): the answer of that command leaves, others are ended without one, then the connection closes', async (t) => {
	for (const step of ['finished', 'pending'] as const) {
		const world = new World();
		const peer = await world.connect().open();
		peer.send(peer.command({ opcode: opcode.later, cid: 1 }));
		peer.send(peer.command({ opcode: opcode.write, cid: 2, blocks: 16 }));
		t.is(statusOf(await peer.answer()), 'R2T');
		peer.logic.onStart = (request) => {
			peer.connection.end('Disconnect');
			return step === 'finished' ? request.end(status.success) : step;
		};
		peer.send(peer.command({ opcode: 0x7f, cid: 3 }), peer.command({ opcode: opcode.flush, cid: 4 }));
		t.deepEqual((await peer.answers()).map(statusOf), step === 'finished' ? ['0'] : []);
		t.true(peer.ended);
		t.deepEqual(peer.logic.log, ['closed']);
		t.true(world.isFree);
		// The logic finishes it, and nothing comes of it.
		peer.logic.finish();
		t.deepEqual(await peer.answers(), []);
	}
});

test('end() from within start() does not wait for the rest of a capsule', async (t) => {
	const peer = await new World().connect().open();
	peer.logic.onStart = (request) => {
		request.lengthBytes = 4000;
		peer.connection.end('enough');
		return 'parameters';
	};
	peer.send(peer.command({ opcode: opcode.parameters, cid: 1, data: Buffer.alloc(4000) }).subarray(0, 100));
	t.true(peer.ended);
	t.deepEqual(peer.logic.log, ['closed']);
});

test('end() from within parameters(), and behind a pending command’s answer', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(peer.command({ opcode: opcode.later, cid: 1 }));
	peer.logic.finish();
	peer.connection.end('Disconnect');
	peer.connection.end('Disconnect');
	t.deepEqual((await peer.answers()).map(statusOf), ['0']);
	t.true(peer.ended);
	const other = await world.connect().open();
	const { logic } = other;
	const parameters = logic.parameters.bind(logic);
	logic.parameters = (request, data) => {
		other.connection.end('enough');
		return parameters(request, data);
	};
	other.send(other.command({ opcode: opcode.parameters, cid: 1, cdw11: 4, data: Buffer.alloc(4) }));
	t.deepEqual((await other.answers()).map(statusOf), ['0']);
	t.true(other.ended);
	t.is(logic.log.at(-1), 'closed');
});

test('end() while answers wait for room: they leave first', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.blocked = true;
	for (let cid = 0; cid < 5; cid++) peer.send(peer.command({ opcode: opcode.answer, cid, cdw11: 131_000, length: 131_000 }));
	for (let cid = 10; cid < 40; cid++) peer.send(peer.command({ opcode: opcode.fail, cid }));
	const seen = await peer.answers();
	t.true(peer.connection.line.size > 5);
	const answers = peer.connection.line.all().filter(({ answerable }) => answerable).length;
	peer.connection.end('enough');
	t.false(peer.closed);
	const before = seen.length;
	for (let round = 0; round < 5 && !peer.closed; round++) {
		peer.unblock();
		seen.push(...(await peer.answers()));
	}
	t.true(peer.ended);
	seen.push(...peer.takeAnswers());
	t.is(seen.slice(before).filter((answer) => statusOf(answer) === '1!').length, answers);
	t.deepEqual(peer.logic.log.at(-1), 'closed');
});

test('destroy(): nothing more is sent; what the device has is awaited before its memory goes back', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const peer = await world.connect().open();
	world.device.held = true;
	world.device.cold = true;
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 16, data: pattern(8192, 1) }));
	peer.send(peer.command({ opcode: opcode.write, cid: 2, blocks: 2048 }));
	peer.fulfil(r2t(await peer.answer()), pattern(MiB, 1));
	peer.send(peer.command({ opcode: opcode.read, cid: 3, blocks: 2048 }));
	peer.send(peer.command({ opcode: opcode.flush, cid: 4 }));
	peer.send(peer.command({ opcode: opcode.pend, cid: 5 }));
	peer.send(peer.command({ opcode: opcode.write, cid: 6, blocks: 2048 }));
	t.deepEqual((await peer.answers()).map(statusOf), ['R2T']);
	t.is(peer.connection.outstanding, 6);
	peer.connection.destroy('enough');
	t.is(peer.destroyed, 'enough');
	t.deepEqual(peer.logic.log, ['closed']);
	t.is(peer.connection.outstanding, 4);
	t.is(world.budget.usedBytes, 8192 + MiB + 128 * 1024);
	t.is(world.device.borrowedBytes, MiB);
	for (let left = 4; left > 0; left--) {
		world.device.release();
		t.is(peer.connection.outstanding, left - 1);
	}
	t.true(world.isFree);
	t.deepEqual(peer.logic.log, ['closed']);
	t.deepEqual(await peer.answers(), []);
	peer.connection.destroy('again');
	t.deepEqual(peer.logic.log, ['closed']);
});

test('a pending request with data keeps it after the connection, until the logic finishes it; one that awaits an event ends with the connection', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.logic.afterParameters = 'pending';
	peer.send(peer.command({ opcode: opcode.parameters, cid: 1, cdw11: 8192, data: pattern(8192, 1) }));
	peer.send(peer.command({ opcode: opcode.pend, cid: 2 }));
	peer.cut();
	t.is(peer.connection.outstanding, 1);
	t.is(world.budget.usedBytes, 8192);
	peer.logic.finish();
	t.is(peer.connection.outstanding, 0);
	t.true(world.isFree);
});

test('abort of a read that the device has: Command Abort Requested when it has come back, no data; the logic is told before', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.cold = true;
	world.device.held = true;
	peer.send(peer.command({ opcode: opcode.read, cid: 1, blocks: 1024 }));
	const asked = abort(peer, 1);
	t.deepEqual(asked, { named: 1, over: [] });
	t.deepEqual(await peer.answers(), []);
	world.device.releaseAll();
	t.is(statusOf(await peer.answer()), '7');
	t.deepEqual(asked.over, [true]);
	t.deepEqual(peer.logic.log, ['ended 1 7']);
	t.true(world.isFree);
	t.is(world.statistics.commandsAborted, 1);
});

test('abort of a read that waits for room, and of one that waits for memory', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB });
	const peer = await world.connect().open();
	peer.blocked = true;
	for (let cid = 0; cid < 5; cid++) peer.send(peer.command({ opcode: opcode.read, cid, blocks: 1024 }));
	const seen = await peer.answers();
	const asked = abort(peer, 3);
	t.is(asked.named, 1);
	world.budget.tryTake(4 * MiB);
	world.device.cold = true;
	peer.send(peer.command({ opcode: opcode.read, cid: 9, blocks: 1 }));
	for (let round = 0; round < 10; round++) {
		peer.unblock();
		seen.push(...(await peer.answers()));
	}
	t.deepEqual(asked.over, [true]);
	t.deepEqual(seen.filter((answer) => cidOf(answer) === 3 && statusOf(answer) === '7').length, 1);
	t.true(world.budget.waiting > 0);
	t.deepEqual(abort(peer, 9), { named: 1, over: [true] });
	t.is(statusOf((await peer.answers()).at(-1)!), '7');
	peer.cut();
	world.budget.give(4 * MiB);
	t.true(world.isFree);
});

test('abort of a write that waits for its data: at once; late data is thrown away, also when its command identifier is used again', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const peer = await world.connect().open({ maxR2T: 1 });
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 4096 }));
	const [first, second] = (await peer.answers()).map(r2t);
	peer.send(peer.h2cData({ cid: 1, ttag: first!.ttag, offset: 0, data: Buffer.alloc(512, 1), last: false }));
	t.deepEqual(abort(peer, 1), { named: 1, over: [true] });
	t.is(statusOf(await peer.answer()), '7');
	t.true(world.isFree);
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 1 }));
	const again = r2t(await peer.answer());
	peer.fulfil(second!, Buffer.alloc(2 * MiB, 2));
	peer.fulfil(again, pattern(512, 7));
	t.is(statusOf(await peer.answer()), '0');
	peer.send(
		peer.h2cData({ cid: 1, ttag: first!.ttag, offset: 512, data: Buffer.alloc(512 * 1024, 1), last: false }),
		peer.h2cData({ cid: 1, ttag: first!.ttag, offset: 512 + 512 * 1024, data: Buffer.alloc(512 * 1024 - 512, 1), last: true }),
	);
	t.deepEqual(await peer.answers(), []);
	t.false(peer.closed);
	t.is(peer.connection.r2ts.size, 0);
	t.is(world.device.writes.length, 1);
	t.true(world.device.medium.subarray(0, 512).equals(pattern(512, 7)));
	t.true(world.isFree);
});

test('abort of a write in the middle of its capsule, and of one that waits for memory', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB });
	const peer = await world.connect().open();
	const bytes = peer.command({ opcode: opcode.write, cid: 1, blocks: 16, data: pattern(8192, 1) });
	peer.send(bytes.subarray(0, 4000));
	t.deepEqual(abort(peer, 1), { named: 1, over: [true] });
	t.is(statusOf(await peer.answer()), '7');
	t.true(world.isFree);
	peer.send(bytes.subarray(4000), peer.command({ opcode: opcode.flush, cid: 2 }));
	t.deepEqual((await peer.answers()).map(cidOf), [2]);
	world.budget.tryTake(4 * MiB);
	peer.send(bytes, peer.command({ opcode: opcode.flush, cid: 2 }));
	t.true(peer.unreadBytes > 0);
	t.deepEqual(abort(peer, 1), { named: 1, over: [true] });
	t.deepEqual((await peer.answers()).map(statusOf), ['7', '0']);
	world.budget.give(4 * MiB);
	t.is(world.device.writes.length, 0);
	t.true(world.isFree);
});

test('abort of a write that the device has whole: what has become of it; of one that it has in part: aborted, and no more is asked for', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const peer = await world.connect().open();
	world.device.held = true;
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 1, data: pattern(512, 1) }));
	peer.send(peer.command({ opcode: opcode.write, cid: 2, blocks: 4096 }));
	const asked = r2t(await peer.answer());
	peer.fulfil(asked, pattern(2 * MiB, 2));
	const second = r2t(await peer.answer());
	const aborted = abort(peer, 1, 2);
	t.is(aborted.named, 2);
	t.deepEqual(await peer.answers(), []);
	world.device.releaseAll();
	const answers = await peer.answers();
	t.deepEqual(
		answers.map((answer) => [cidOf(answer), statusOf(answer)]),
		[
			[1, '0'],
			[2, '7'],
		],
	);
	t.deepEqual(aborted.over, [false, true]);
	peer.fulfil(second, pattern(2 * MiB, 2));
	t.is(world.device.writes.length, 2);
	t.true(world.isFree);
});

test('abort of a write whose piece at the device then fails: aborted', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.held = true;
	world.device.outcome = () => 'noSpace';
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 1, data: pattern(512, 1) }));
	const aborted = abort(peer, 1);
	world.device.releaseAll();
	t.is(statusOf(await peer.answer()), '7');
	t.deepEqual(aborted.over, [true]);
});

test('abort of a pending request: the logic sees it and says what has become of it', async (t) => {
	const peer = await new World().connect().open();
	for (const code of [status.success, status.commandAbortRequested]) {
		peer.send(peer.command({ opcode: opcode.later, cid: 1 }));
		const aborted = abort(peer, 1);
		t.is(aborted.named, 1);
		const again = abort(peer, 1);
		t.deepEqual(await peer.answers(), []);
		t.true(peer.logic.pending[0]!.aborted);
		if (code !== status.success) peer.logic.pending[0]!.end(code, false);
		peer.logic.finish();
		t.is(statusOf(await peer.answer()), code.toString(16));
		t.deepEqual([...aborted.over, ...again.over], [code !== status.success, code !== status.success]);
	}
	t.deepEqual(peer.logic.log, []);
	t.deepEqual(abort(peer, 1), { named: 0, over: [] });
});

test('abort of what has its answer already names it and says when that has left', async (t) => {
	const peer = await new World().connect().open();
	peer.blocked = true;
	for (let cid = 0; cid < 5; cid++) peer.send(peer.command({ opcode: opcode.answer, cid, cdw11: 131_000, length: 131_000 }));
	for (let cid = 10; cid < 40; cid++) peer.send(peer.command({ opcode: opcode.flush, cid }));
	await peer.answers();
	const aborted = abort(peer, 39);
	t.deepEqual(aborted, { named: 1, over: [] });
	for (let round = 0; round < 5; round++) {
		peer.unblock();
		await peer.answers();
	}
	t.deepEqual(aborted.over, [false]);
});

test('who aborts is told also when the connection is gone, once the device has nothing of it', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.held = true;
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 1, data: Buffer.alloc(512) }));
	const aborted = abort(peer, 1);
	peer.cut();
	t.deepEqual(aborted.over, []);
	world.device.releaseAll();
	t.deepEqual(aborted.over, [true]);
});

test('an abort whose listener ends the connection, or finishes another request', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	for (const cid of [1, 2]) peer.send(peer.command({ opcode: opcode.write, cid, blocks: 16 }));
	peer.send(peer.command({ opcode: opcode.later, cid: 3 }));
	await peer.answers();
	peer.connection.abort(
		({ sqe }) => sqe.readUInt16LE(2) < 3,
		() => peer.logic.pending.length > 0 && peer.logic.finish(),
	);
	const answers = await peer.answers();
	t.deepEqual(answers.map(statusOf), ['7', '0', '7']);
	t.is(cidOf(answers[1]!), 3);
	for (const cid of [1, 2]) peer.send(peer.command({ opcode: opcode.write, cid, blocks: 16 }));
	await peer.answers();
	let told = 0;
	peer.connection.abort(
		() => true,
		() => {
			told++;
			peer.connection.destroy('enough');
		},
	);
	t.is(told, 2);
	t.is(peer.connection.outstanding, 0);
	t.true(world.isFree);
});

test('drain: commands that run are answered, R2Ts fulfilled, no new command is taken, requests that await an event are not waited for', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.held = true;
	peer.send(peer.command({ opcode: opcode.pend, cid: 1 }));
	peer.send(peer.command({ opcode: opcode.write, cid: 2, blocks: 1, data: Buffer.alloc(512, 1) }));
	peer.send(peer.command({ opcode: opcode.write, cid: 3, blocks: 32 }));
	const asked = r2t(await peer.answer());
	peer.connection.drain();
	peer.fulfil(asked, pattern(16384, 1));
	peer.send(peer.command({ opcode: opcode.write, cid: 4, blocks: 1, data: Buffer.alloc(512, 1) }));
	t.deepEqual(await peer.answers(), []);
	t.true(peer.unreadBytes > 0);
	t.false(peer.closed);
	world.device.release();
	t.deepEqual((await peer.answers()).map(cidOf), [2]);
	t.false(peer.closed);
	world.device.release();
	t.deepEqual((await peer.answers()).map(cidOf), [3]);
	t.true(peer.ended);
	t.is(world.device.writes.length, 2);
	t.is(peer.connection.outstanding, 0);
	t.deepEqual(peer.logic.log, ['closed']);
});

test('drain of an idle connection, of one before ICReq, and in the middle of a capsule', async (t) => {
	const world = new World();
	const idle = await world.connect().open();
	idle.connection.drain();
	t.true(idle.ended);
	const raw = world.connect();
	raw.connection.drain();
	t.true(raw.ended);
	const middle = await world.connect().open();
	const bytes = middle.command({ opcode: opcode.write, cid: 1, blocks: 2, data: pattern(1024, 1) });
	middle.send(bytes.subarray(0, 500));
	middle.connection.drain();
	middle.send(bytes.subarray(500));
	t.deepEqual((await middle.answers()).map(statusOf), ['0']);
	t.true(middle.ended);
	t.true(world.isFree);
});

test('end() and violations in every state leave nothing held, and closed() is called once', async (t) => {
	const states: Record<string, (peer: Peer) => void | Promise<unknown>> = {
		idle: () => undefined,
		'in a header': (peer) => peer.send(peer.command({ opcode: opcode.flush, cid: 9 }).subarray(0, 20)),
		'in a capsule': (peer) =>
			peer.send(peer.command({ opcode: opcode.write, cid: 9, blocks: 16, data: Buffer.alloc(8192) }).subarray(0, 3000)),
		'with R2Ts': (peer) => peer.send(peer.command({ opcode: opcode.write, cid: 9, blocks: 600 })),
		'in an H2CData': async (peer) => {
			peer.send(peer.command({ opcode: opcode.write, cid: 9, blocks: 600 }));
			const { ttag } = r2t(await peer.answer());
			peer.send(peer.h2cData({ cid: 9, ttag, offset: 0, data: Buffer.alloc(512 * 600), last: true }).subarray(0, 100_000));
		},
		'with cold reads': (peer) => {
			peer.world.device.cold = true;
			peer.send(peer.command({ opcode: opcode.read, cid: 9, blocks: 600 }));
		},
		'with parameters half here': async (peer) => {
			peer.send(peer.command({ opcode: opcode.parameters, cid: 9, cdw11: 60_000, length: 60_000 }));
			const { ttag } = r2t(await peer.answer());
			peer.send(peer.h2cData({ cid: 9, ttag, offset: 0, data: Buffer.alloc(30_000), last: false }));
		},
	};
	for (const [name, bring] of Object.entries(states)) {
		for (const way of ['end', 'destroy', 'cut', 'term'] as const) {
			const world = new World();
			const peer = await world.connect().open();
			await bring(peer);
			if (way === 'term') peer.connection.violated(2, 0, Buffer.alloc(8), 0, 8);
			else if (way === 'cut') peer.cut();
			else peer.connection[way]('enough');
			await peer.answers();
			t.true(peer.closed, `${name}, ${way}`);
			t.true(world.isFree, `${name}, ${way}`);
			t.is(peer.connection.outstanding, 0, `${name}, ${way}`);
			peer.cut();
			t.deepEqual(peer.logic.log, ['closed'], `${name}, ${way}`);
		}
	}
});
