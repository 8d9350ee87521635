import test, { type ExecutionContext } from 'ava';
import { Association, discoveryNQN, type AssociationOptions } from './association.ts';
import type { Command } from './command.ts';
import { HostError } from './host-error.ts';
import { Namespace } from './namespace.ts';
import type { ReceivedPDU } from './raw-connection.ts';
import { ScriptedController, type ScriptedQueue } from './scripted-controller.ts';
import { pduType } from './wire.ts';

const blockSize = 512;
const blocks = 4096;
const text = (buffer: Buffer, at: number): string => buffer.toString('latin1', at, buffer.indexOf(0, at));

/** As much of a controller as a host needs to get going: one namespace in memory, capsules only or one R2T a write. */
class Script {
	readonly controller = new ScriptedController();
	readonly medium = Buffer.alloc(blocks * blockSize);
	readonly connects: {
		qid: number;
		sqsize: number;
		cattr: number;
		kato: number;
		cntlid: number;
		subnqn: string;
		hostnqn: string;
		hostid: Buffer;
	}[] = [];
	readonly seen: number[][] = [];
	readonly events: { queue: ScriptedQueue; cid: number }[] = [];
	cc = 0;
	/** Property reads until CSTS follows CC. */
	readyAfter = 3;
	/** CSTS.CFS. */
	hasFailed = false;
	queuesMax = 16;
	keepAlives = 0;
	connectStatus = 0;
	/** IOCCSZ. */
	ioccsz = 68;
	discovery: Buffer[] = [];
	/** Adds to GENCTR with each read of the log's header, so many times. */
	restless = 0;
	#generation = 7;

	constructor() {
		this.controller.onPDU = (pdu, queue) => {
			if (pdu.type === pduType.capsuleCmd) this.#command(pdu, queue);
			else this.#h2cData(pdu, queue);
		};
	}

	#command(pdu: ReceivedPDU, queue: ScriptedQueue): void {
		const sqe = pdu.bytes.subarray(8, 72);
		const cid = pdu.u16(10);
		const answer = (result0 = 0, status = 0, result1 = 0): void => queue.send(queue.completion({ cid, status, result0, result1 }));
		if (sqe[0] === 0x7f) this.#fabrics(sqe, pdu.data, queue, answer);
		else if (queue.qid === 0) this.#admin(sqe, cid, queue, answer);
		else this.#io(sqe, cid, pdu.data, queue, answer);
	}

	#fabrics(sqe: Buffer, data: Buffer, queue: ScriptedQueue, answer: (result0?: number, status?: number, result1?: number) => void): void {
		if (sqe[4] === 1) {
			queue.qid = sqe.readUInt16LE(42);
			this.connects.push({
				qid: queue.qid,
				sqsize: sqe.readUInt16LE(44),
				cattr: sqe[46]!,
				kato: sqe.readUInt32LE(48),
				hostid: Buffer.from(data.subarray(0, 16)),
				cntlid: data.readUInt16LE(16),
				subnqn: text(data, 256),
				hostnqn: text(data, 512),
			});
			const sqhd = (sqe[46]! & 4) !== 0 ? 0xffff : 1;
			queue.send(queue.completion({ cid: sqe.readUInt16LE(2), status: this.connectStatus, result0: 5, sqhd }));
		} else if (sqe[4] === 0) {
			if (sqe.readUInt32LE(44) === 0x14) this.cc = sqe.readUInt32LE(48);
			this.readyAfter = 3;
			answer();
		} else if (sqe.readUInt32LE(44) === 0) {
			// CAP: TO 10 (5 s), MQES 127, in both dwords.
			answer(0x0a00_007f, 0, 0x20);
		} else if (sqe.readUInt32LE(44) === 0x14) {
			answer(this.cc);
		} else {
			const csts = (this.cc & 1) | (((this.cc >>> 14) & 3) !== 0 ? 8 : 0);
			answer(this.hasFailed ? 2 : this.readyAfter-- > 0 ? 0 : csts);
		}
	}

	#admin(sqe: Buffer, cid: number, queue: ScriptedQueue, answer: (result0?: number, status?: number) => void): void {
		if (sqe[0] === 0x0c) {
			this.events.push({ queue, cid });
		} else if (sqe[0] === 0x18) {
			this.keepAlives++;
			answer();
		} else if (sqe[0] === 0x08) {
			answer(1);
		} else if (sqe[0] === 0x09) {
			const granted = Math.min(this.queuesMax, sqe.readUInt16LE(44) + 1) - 1;
			answer(granted | (granted << 16));
		} else if (sqe[0] === 0x06 && sqe[40] === 1) {
			const data = Buffer.alloc(4096);
			data.writeUInt32LE(this.ioccsz, 1792);
			queue.send(queue.data({ cid, success: true }, data));
		} else if (sqe[0] === 0x06) {
			const data = Buffer.alloc(4096);
			data.writeBigUInt64LE(BigInt(blocks), 0);
			data[26] = 1;
			data[128 + 4 + 2] = 9;
			queue.send(queue.data({ cid, success: true }, data));
		} else if (sqe[0] === 0x02) {
			const length = (sqe.readUInt16LE(42) + 1) * 4;
			const header = Buffer.alloc(1024);
			if (this.restless > 0) this.#generation++;
			this.restless--;
			header.writeBigUInt64LE(BigInt(this.#generation), 0);
			header.writeBigUInt64LE(BigInt(this.discovery.length), 8);
			queue.send(queue.data({ cid, success: true }, Buffer.concat([header, ...this.discovery]).subarray(0, length)));
		}
	}

	#io(sqe: Buffer, cid: number, data: Buffer, queue: ScriptedQueue, answer: (result0?: number, status?: number) => void): void {
		const at = Number(sqe.readBigUInt64LE(40)) * blockSize;
		const length = (sqe.readUInt16LE(48) + 1) * blockSize;
		this.seen.push([queue.qid, sqe[0]!, sqe.readUInt32LE(4), at / blockSize, length / blockSize, sqe[1]! & 3, sqe[51]!]);
		if (sqe[0] === 2) {
			queue.send(queue.data({ cid, success: true }, this.medium.subarray(at, at + length)));
		} else if (sqe[0] === 1 && data.length === 0) {
			queue.qid = queue.qid | (at << 8);
			queue.send(queue.r2t(cid, 4, 0, length));
		} else if (sqe[0] === 5 && !this.medium.subarray(at, at + length).equals(data)) {
			answer(0, 0x285);
		} else {
			if (sqe[0] === 1) data.copy(this.medium, at);
			if (sqe[0] === 8) this.medium.fill(0, at, at + length);
			if (sqe[0] === 9)
				for (let range = 0; range < data.length; range += 16) {
					const from = Number(data.readBigUInt64LE(range + 8)) * blockSize;
					this.medium.fill(0, from, from + data.readUInt32LE(range + 4) * blockSize);
				}
			answer();
		}
	}

	#h2cData(pdu: ReceivedPDU, queue: ScriptedQueue): void {
		pdu.data.copy(this.medium, (queue.qid >>> 8) + pdu.u32(12));
		if ((pdu.flags & 4) === 0) return;
		queue.qid &= 0xff;
		queue.send(queue.completion({ cid: pdu.u16(8) }));
	}
}

async function open(t: ExecutionContext, options: Partial<AssociationOptions> = {}, script = new Script()) {
	await script.controller.listen();
	t.teardown(async () => await script.controller.close());
	const association = await Association.open({ port: script.controller.port, subnqn: 'nqn.2026-11.dev.blockport.test:one', ...options });
	t.teardown(() => association.destroy());
	return { script, association };
}

function content(lengthBytes: number, seed = 1): Buffer {
	return Buffer.from(Array.from({ length: lengthBytes }, (_value, index) => (index * 31 + seed * 7 + (index >> 8)) & 0xff));
}

test('an association connects the admin queue, enables, identifies, and connects every I/O queue to the same controller', async (t) => {
	const { script, association } = await open(t, { ioQueues: 3, depth: 64, katoMs: 15_000, hostid: Buffer.alloc(16, 0xab) });
	t.is(association.cntlid, 5);
	t.is(association.io.length, 3);
	t.is(script.cc, 0x00460001);
	const same = { cattr: 4, subnqn: 'nqn.2026-11.dev.blockport.test:one', hostid: Buffer.alloc(16, 0xab) };
	script.connects.forEach((connect) => t.like(connect, same));
	t.deepEqual(
		script.connects.map(({ qid, sqsize, kato, cntlid }) => [qid, sqsize, kato, cntlid]),
		[
			[0, 31, 15_000, 0xffff],
			[1, 63, 0, 5],
			[2, 63, 0, 5],
			[3, 63, 0, 5],
		],
	);
	t.is(association.io[0]!.inCapsuleBytesMax, 1024);
});

test('fewer queues than asked for, a refused Connect and a controller that fails are errors', async (t) => {
	const few = new Script();
	few.queuesMax = 2;
	await t.throwsAsync(open(t, { ioQueues: 3 }, few), { instanceOf: HostError, message: /2 granted/ });
	const refusing = new Script();
	refusing.connectStatus = 0x184;
	await t.throwsAsync(open(t, {}, refusing), { instanceOf: HostError, message: /184h/ });
	const failed = new Script();
	failed.hasFailed = true;
	await t.throwsAsync(open(t, {}, failed), { instanceOf: HostError, message: /CFS/ });
});

for (const solicited of [false, true]) {
	test(`a namespace reads what it wrote through both queues, ${solicited ? 'by R2T' : 'in the capsule where it fits'}`, async (t) => {
		const { script, association } = await open(t, { ioQueues: 2 });
		const namespace = await Namespace.attach(association, 1);
		t.is(namespace.blockSize, blockSize);
		t.is(namespace.blocks, blocks);
		for (const [index, count] of [1, 2, 3, 40, 100].entries()) {
			const data = content(count * blockSize, index);
			t.is((await namespace.write(index * 128, data, { solicited, fua: index === 1 })).r2ts, solicited || count > 2 ? 1 : 0);
			t.deepEqual(await namespace.read(index * 128, count), data);
		}
		t.deepEqual(
			script.seen.filter(([, opcode]) => opcode === 1).map(([, , , , , , flags]) => flags),
			[0, 0x40, 0, 0, 0],
		);
		t.deepEqual(new Set(script.seen.map(([qid]) => qid)), new Set([1, 2]));
	});
}

test('zero, deallocate, flush, compare, verify and the fused pair say what they should', async (t) => {
	const { script, association } = await open(t);
	const namespace = await Namespace.attach(association, 1);
	const data = content(1024);
	await namespace.write(8, data);
	t.is((await namespace.compare(8, data)).status, 0);
	t.is((await namespace.compare(9, data)).status, 0x285);
	const [compared, written] = await namespace.compareAndWrite(8, data, content(1024, 9));
	t.deepEqual([compared.status, written.status], [0, 0]);
	t.deepEqual(script.medium.subarray(4096, 5120), content(1024, 9));
	await namespace.flush();
	await namespace.zero(8, 1);
	t.is((await namespace.verify(8, 3)).status, 0);
	t.true(script.medium.subarray(4096, 4608).every((byte) => byte === 0));
	await namespace.deallocate([{ lba: 9, blocks: 1 }]);
	t.true(script.medium.every((byte) => byte === 0));
	t.deepEqual(
		script.seen.map(([, opcode, nsid, , , fuse, flags]) => [opcode, nsid, fuse, flags]),
		[
			[1, 1, 0, 0],
			[5, 1, 0, 0],
			[5, 1, 0, 0],
			[5, 1, 1, 0],
			[1, 1, 2, 0],
			[0, 1, 0, 0],
			[8, 1, 0, 2],
			[12, 1, 0, 0],
			[9, 1, 0, 0],
		],
	);
});

test('the submit… methods keep all queues full without a promise a command', async (t) => {
	const { association } = await open(t, { ioQueues: 2, depth: 8, commandsMax: 8 });
	const namespace = await Namespace.attach(association, 1);
	const payload = content(blockSize);
	let started = 0;
	let finished = 0;
	await new Promise<void>((resolve) => {
		const owner = {
			finished(command: Command): void {
				t.is(command.status, 0);
				finished++;
				if (started < 500) next(command);
				else if (namespace.outstanding === 0) resolve();
			},
		};
		const next = (command: Command): void => {
			const kind = started++ % 4;
			if (kind === 0) namespace.submitRead(command, started, 1);
			else if (kind === 1) namespace.submitWrite(command, started, 1);
			else if (kind === 2) namespace.submitZero(command, started, 1);
			else namespace.submitFlush(command);
		};
		for (let command = namespace.take(); command !== undefined; command = namespace.take()) {
			command.owner = owner;
			command.dataOut = payload;
			next(command);
		}
		t.is(namespace.outstanding, 16);
		t.is(namespace.take(), undefined);
	});
	t.is(finished, 500);
});

test('asynchronous events are taken in, and their requests sent again', async (t) => {
	const { script, association } = await open(t, { ioQueues: 0 });
	association.watchEvents(2);
	await association.keepAlive();
	t.is(script.events.length, 2);
	const { queue, cid } = script.events.shift()!;
	queue.send(queue.completion({ cid, result0: 0x0004_0002 | (0x03 << 8) }));
	t.deepEqual(await association.nextEvent(), { type: 2, information: 3, lid: 4 });
	await association.keepAlive();
	t.is(script.events.length, 2);
	t.is(association.eventsWaiting, 0);
});

test('keep alives go out by themselves when asked for', async (t) => {
	const { script } = await open(t, { ioQueues: 0, katoMs: 20, keepsAlive: true });
	while (script.keepAlives < 3) await new Promise((resolve) => setImmediate(resolve));
	t.pass();
});

test('the discovery log is read again while it changes', async (t) => {
	const script = new Script();
	const entry = Buffer.alloc(1024);
	entry[0] = 3;
	entry[1] = 1;
	entry[2] = 2;
	entry.write('4420', 32);
	entry.write('nqn.x', 256);
	entry.write('127.0.0.1', 512);
	script.discovery = [entry, entry];
	script.restless = 3;
	const { association } = await open(t, { ioQueues: 0, subnqn: discoveryNQN }, script);
	const { generation, entries } = await association.discover();
	t.is(generation, 10n);
	t.is(entries.length, 2);
	t.like(entries[1], { trtype: 3, adrfam: 1, subtype: 2, trsvcid: '4420', subnqn: 'nqn.x', traddr: '127.0.0.1' });
});

test('shutdown sets CC.SHN and waits for CSTS.SHST', async (t) => {
	const { script, association } = await open(t);
	await association.shutdown();
	t.is((script.cc >>> 14) & 3, 1);
	t.truthy(association.admin.ended);
	t.truthy(association.io[0]!.ended);
});

test('abort says whether the controller aborted', async (t) => {
	const { association } = await open(t);
	t.false(await association.abort(1, 3));
});
