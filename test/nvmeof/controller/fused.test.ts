import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import { attach, attachOther, ranged, settled, sqe } from './host.ts';
import type { Started, TestQueue } from './host.ts';

const first = 0x41;
const second = 0x42;
const compare = 0x05;
const write = 0x01;

function half(opcode: number, flags: number, { slba = 4, blocks = 1, nsid = 1, cid = flags, bits = 0 } = {}): Buffer {
	return ranged(opcode, slba, blocks, { flags, nsid, cid, bits });
}

const old = Buffer.alloc(512, 0x11);
const next = Buffer.alloc(512, 0x22);

async function prepared(options: Parameters<typeof attach>[0] = {}) {
	const parts = await attach(options);
	parts.device.poke(4 * 512, old);
	return parts;
}

async function statuses(io: TestQueue, ...all: Started[]): Promise<number[]> {
	const answers: number[] = [];
	for (const one of all) answers.push((await io.finish(one)).status);
	return answers;
}

test('Compare and Write: equal data is replaced in one step of the device, and both succeed', async (t) => {
	const { io, device } = await prepared();
	const one = io.begin(half(compare, first));
	io.supply(one, old);
	t.is(one.step, 'pending');
	t.true(one.request.awaitsEvent, 'it waits for the host');
	const two = io.begin(half(write, second, { bits: 1 << 30 }));
	io.supply(two, next);
	t.false(one.request.awaitsEvent || two.request.awaitsEvent);
	t.deepEqual(await statuses(io, one, two), [0, 0]);
	t.deepEqual(device.calls, [{ operation: 'compareAndWrite', offsetBytes: 2048, lengthBytes: 512, fua: true }]);
	t.deepEqual(device.bytes(2048, 512), next);
});

test('Compare and Write whose data comes in the other order', async (t) => {
	const { io, device } = await prepared();
	const one = io.begin(half(compare, first));
	const two = io.begin(half(write, second));
	io.supply(two, next);
	t.is(two.step, 'pending');
	t.deepEqual(device.calls, []);
	io.supply(one, old);
	t.deepEqual(await statuses(io, one, two), [0, 0]);
	t.deepEqual(device.bytes(2048, 512), next);
});

test('different data: Compare Failure, Failed Fused Command, and nothing is written', async (t) => {
	const { io, device } = await prepared();
	const one = io.begin(half(compare, first));
	io.supply(one, next);
	const two = io.begin(half(write, second));
	io.supply(two, next);
	t.deepEqual(await statuses(io, one, two), [0x285, 0x009]);
	t.deepEqual(device.bytes(2048, 512), old);
});

test('two pairs one behind the other, each with its own data', async (t) => {
	const { io, device } = await prepared();
	const all = [
		half(compare, first, { cid: 1 }),
		half(write, second, { cid: 2 }),
		half(compare, first, { cid: 3 }),
		half(write, second, { cid: 4 }),
	].map((entry) => io.begin(entry));
	io.supply(all[2]!, next);
	io.supply(all[3]!, Buffer.alloc(512, 0x33));
	t.deepEqual(device.calls.length, 1, 'the second pair need not wait');
	io.supply(all[0]!, old);
	io.supply(all[1]!, next);
	t.deepEqual(await statuses(io, ...all), [0, 0, 0x285, 0x009]);
});

test('pairs on two queues know nothing of each other', async (t) => {
	const { io, fabric } = await prepared();
	const other = await attachOther(fabric, '5');
	const one = io.begin(half(compare, first));
	t.is((await other.io.run(half(write, second))).status, 0x00a);
	t.is((await other.io.run(ranged(0x02, 0, 1))).status, 0);
	io.supply(one, old);
	t.is(one.step, 'pending');
});

for (const supplied of [true, false]) {
	test(`a first without its second: Missing Fused Command, and the command behind it goes its way (data ${supplied ? 'here' : 'still on its way'})`, async (t) => {
		for (const follower of [
			ranged(0x02, 0, 1),
			half(compare, first, { cid: 9 }),
			sqe({ opcode: 0xff, nsid: 1 }),
			ranged(0x02, 0, 1, { flags: 0x43 }),
		]) {
			const { io } = await prepared();
			const one = io.begin(half(compare, first));
			if (supplied) io.supply(one, old);
			const behind = io.begin(follower);
			t.is((await io.finish(one, old)).status, 0x00a);
			t.is(behind.request.status, follower[0] === 0xff ? 0x001 : follower[1] === 0x43 ? 0x002 : 0);
		}
	});
}

test('a second without its first: Missing Fused Command', async (t) => {
	const { io, device } = await prepared();
	t.is((await io.run(half(write, second))).status, 0x00a);
	const one = io.begin(half(compare, first));
	await io.run(ranged(0x02, 0, 1));
	t.is((await io.finish(one, old)).status, 0x00a);
	t.is((await io.run(half(write, second))).status, 0x00a);
	t.false(device.calls.some(({ operation }) => operation !== 'read'));
});

for (const supplied of [true, false]) {
	const when = supplied ? 'here' : 'still on its way';
	test(`ranges, namespaces or opcodes that do not make a pair: Invalid Field for both (data ${when})`, async (t) => {
		for (const bad of [
			half(write, second, { slba: 5 }),
			half(write, second, { blocks: 2 }),
			half(write, second, { nsid: 2 }),
			half(compare, second),
			half(0x02, second),
			half(0x08, second),
			half(0xff, second),
		]) {
			const { io, device } = await prepared();
			const one = io.begin(half(compare, first));
			if (supplied) io.supply(one, old);
			const two = io.begin(bad);
			t.is((await io.finish(two)).status, 0x002);
			t.is((await io.finish(one, old)).status, 0x002);
			t.deepEqual(device.calls, []);
		}
	});

	test(`a second that is refused for itself: its status, and Failed Fused Command for the first (data ${when})`, async (t) => {
		const { io, fabric, subsystem, device, controller } = await prepared();
		const other = await attachOther(fabric, '7');
		const table = subsystem.namespaces.get(1)!.reservations;
		t.is(table.register(other.registrant, 5n), 'good');
		t.is(table.acquire(other.registrant, 5n, 'writeExclusive'), 'good');
		const one = io.begin(half(compare, first));
		if (supplied) io.supply(one, old);
		t.is((await io.run(half(write, second))).status, 0x083);
		t.is((await io.finish(one, old)).status, 0x009);
		t.deepEqual(device.calls, []);
		t.is(controller.errors.count, 2);
	});
}

const badFirsts: [title: string, entry: Buffer, status: number][] = [
	['a Write first', half(write, first), 0x002],
	['a Read first', half(0x02, first), 0x002],
	['an opcode that there is not', half(0xee, first), 0x002],
	['a range beyond the last block', half(compare, first, { slba: 4000 }), 0x080],
	['a namespace that is not there', half(compare, first, { nsid: 2 }), 0x002],
	['a namespace 0', half(compare, first, { nsid: 0 }), 0x00b],
	['more than ACWU', half(compare, first, { slba: 0, blocks: limits.atomicBytes / 512 + 1 }), 0x014],
	['PRPs', half(compare, 0x01), 0x002],
];

for (const [title, entry, status] of badFirsts) {
	test(`a first with ${title}: ${status.toString(16)}h, and its second is Failed Fused Command`, async (t) => {
		const { io, device } = await prepared();
		t.is((await io.run(entry)).status, status);
		t.is((await io.run(half(write, second))).status, 0x009);
		t.is((await io.run(half(write, second))).status, 0x00a, 'it failed once');
		t.deepEqual(device.calls, []);
	});
}

test('a first that fails and has no second behind it: the next command goes its way', async (t) => {
	const { io } = await prepared();
	t.is((await io.run(half(write, first))).status, 0x002);
	t.is((await io.run(ranged(0x02, 0, 1))).status, 0);
	t.is((await io.run(half(write, second))).status, 0x00a);
});

test('as much as ACWU says goes', async (t) => {
	const { io, device } = await prepared();
	const blocks = limits.atomicBytes / 512;
	const one = io.begin(half(compare, first, { slba: 100, blocks }));
	io.supply(one, Buffer.alloc(limits.atomicBytes));
	const two = io.begin(half(write, second, { slba: 100, blocks }));
	io.supply(two, Buffer.alloc(limits.atomicBytes, 9));
	t.deepEqual(await statuses(io, one, two), [0, 0]);
	t.is(device.bytes(100 * 512 + limits.atomicBytes - 1, 1)[0], 9);
});

test('a namespace that is write protected: the second says so', async (t) => {
	const { io } = await prepared({ readOnly: true });
	const one = io.begin(half(compare, first));
	io.supply(one, old);
	t.is((await io.run(half(write, second))).status, 0x020);
	t.is((await io.finish(one)).status, 0x009);
});

for (const [outcome, expected] of [
	['mediumError', [0x281, 0x009]],
	['noSpace', [0x009, 0x081]],
	['faulted', [0x009, 0x006]],
	['closed', [0x009, 0x300]],
	['outOfRange', [0x009, 0x080]],
] as const) {
	test(`the outcome ${outcome} of the device`, async (t) => {
		const { io, device } = await prepared();
		device.outcome = () => outcome;
		const one = io.begin(half(compare, first));
		io.supply(one, old);
		const two = io.begin(half(write, second));
		io.supply(two, next);
		t.deepEqual(await statuses(io, one, two), [...expected]);
	});
}

test('the transport ends a half by itself: the other one is Failed Fused Command, whichever came first', async (t) => {
	const lose = (io: TestQueue, one: Started): void => {
		io.abort(
			(request) => request === one.request,
			() => undefined,
		);
	};
	{
		const { io } = await prepared();
		const one = io.begin(half(compare, first));
		lose(io, one);
		t.is((await io.run(half(write, second))).status, 0x009);
	}
	{
		const { io } = await prepared();
		const one = io.begin(half(compare, first));
		const two = io.begin(half(write, second));
		io.supply(two, next);
		lose(io, one);
		t.deepEqual(await statuses(io, one, two), [0x007, 0x009]);
	}
	{
		const { io } = await prepared();
		const one = io.begin(half(compare, first));
		const two = io.begin(half(write, second));
		lose(io, two);
		t.is(one.step, 'parameters');
		t.is((await io.finish(one, old)).status, 0x009);
	}
	{
		const { io, device } = await prepared();
		const one = io.begin(half(compare, first));
		io.supply(one, old);
		const two = io.begin(half(write, second));
		lose(io, two);
		t.deepEqual(await statuses(io, one, two), [0x009, 0x007]);
		t.deepEqual(device.calls, []);
	}
});

test('Abort of a half that waits for the other', async (t) => {
	const abort = (cid: number): Buffer => sqe({ opcode: 0x08, cid: 99, cdw10: (1 | (cid << 16)) >>> 0 });
	{
		const { io, admin } = await prepared();
		const one = io.begin(half(compare, first, { cid: 1 }));
		io.supply(one, old);
		t.is((await admin.run(abort(1))).result0, 0);
		t.is((await io.finish(one)).status, 0x007);
		t.is((await io.run(half(write, second))).status, 0x009);
	}
	{
		const { io, admin } = await prepared();
		const one = io.begin(half(compare, first, { cid: 1 }));
		const two = io.begin(half(write, second, { cid: 2 }));
		io.supply(two, next);
		t.is((await admin.run(abort(2))).result0, 0);
		t.deepEqual([(await io.finish(two)).status, (await io.finish(one, old)).status], [0x007, 0x009]);
	}
});

test('the connection goes: what waits for the other half is forgotten, what the device has is finished', async (t) => {
	const { io, device } = await prepared();
	const running = [io.begin(half(compare, first, { cid: 1 })), io.begin(half(write, second, { cid: 2 }))] as const;
	device.held = true;
	io.supply(running[0], old);
	io.supply(running[1], next);
	const waiting = io.begin(half(compare, first, { cid: 3 }));
	io.supply(waiting, old);
	io.close();
	t.false(waiting.finished);
	while (device.release());
	await settled();
	t.true(running[0].finished && running[1].finished);
	t.false(waiting.finished);
});
