import test, { type ExecutionContext } from 'ava';
import { connectionLost, type Command } from './command.ts';
import { flush, ioOpcode, range } from './commands.ts';
import { HostError } from './host-error.ts';
import { Queue, type QueueOptions } from './queue.ts';
import type { ReceivedPDU } from './raw-connection.ts';
import { ScriptedController, type ScriptedQueue } from './scripted-controller.ts';
import { fes, pduType, sglInCapsule, sglTransport } from './wire.ts';

async function start(t: ExecutionContext, options: Partial<QueueOptions> = {}, controller = new ScriptedController()) {
	await controller.listen();
	const queue = await Queue.open({ port: controller.port, ...options });
	t.teardown(async () => {
		queue.destroy();
		await controller.close();
	});
	return { controller, queue };
}

function content(lengthBytes: number, factor = 7): Buffer {
	return Buffer.from(Array.from({ length: lengthBytes }, (_value, index) => (index * factor + (index >> 8)) & 0xff));
}

const read = (sqe: Buffer): void => range(sqe, ioOpcode.read, 1, 0, 8);
const write = (sqe: Buffer): void => range(sqe, ioOpcode.write, 1, 0, 8);
const digests = [
	[false, false],
	[true, false],
	[false, true],
	[true, true],
] as const;

/** The command identifier of a capsule: it lies at 2 of the SQE, behind 8 bytes of common header. */
const cidOf = (pdu: ReceivedPDU): number => pdu.u16(10);

for (const [headerDigest, dataDigest] of digests) {
	for (const [pieceBytes, hpda] of [
		[0, 0],
		[1, 0],
		[7, 15],
		[100, 31],
	] as const) {
		const form = `header digest ${headerDigest}, data digest ${dataDigest}, HPDA ${hpda}, cut into ${pieceBytes || 'no'} pieces`;
		test(`a read over two C2HData and a completion arrives whole: ${form}`, async (t) => {
			const { controller, queue } = await start(t, { headerDigest, dataDigest, hpda });
			controller.pieceBytes = pieceBytes;
			const data = content(1024);
			controller.onPDU = (pdu, peer) => {
				t.true(pdu.intact);
				const cid = cidOf(pdu);
				peer.send(
					peer.data({ cid, last: false }, data.subarray(0, 512)),
					peer.data({ cid, offset: 512 }, data.subarray(512)),
					peer.completion({ cid, result0: 77, sqhd: 5 }),
				);
			};
			const result = await queue.execute(read, { dataInBytes: 1024 });
			t.like(result, { status: 0, result0: 77, bySuccessFlag: false });
			t.deepEqual(result.data, data);
			t.is(queue.sqhd, 5);
			t.is(queue.outstanding, 0);
			t.is(queue.dataDigestErrors, 0);
		});
	}

	test(`a write in its capsule carries its data aligned and digested: header digest ${headerDigest}, data digest ${dataDigest}`, async (t) => {
		const padding = new ScriptedController();
		padding.cpda = 31;
		const { controller, queue } = await start(t, { headerDigest, dataDigest }, padding);
		const data = content(4096);
		controller.onPDU = (pdu, peer) => {
			t.true(pdu.intact);
			t.is(pdu.bytes[3], 128, 'PDO is the next multiple of CPDA’s 128 bytes');
			t.is(pdu.bytes[2], 72);
			t.is(pdu.flags, (headerDigest ? 1 : 0) | (dataDigest ? 2 : 0));
			t.deepEqual(pdu.data, data);
			t.is(pdu.bytes[8 + 1], 0x40, 'PSDT says SGL');
			t.is(pdu.bytes[8 + 39], sglInCapsule);
			t.is(pdu.u32(8 + 32), 4096);
			peer.send(peer.completion({ cid: cidOf(pdu) }));
		};
		t.is((await queue.execute(write, { dataOut: data })).status, 0);
	});

	test(`R2Ts are answered in H2CData of at most MAXH2CDATA, the last one marked: header digest ${headerDigest}, data digest ${dataDigest}`, async (t) => {
		const { controller, queue } = await start(t, { headerDigest, dataDigest });
		const data = content(100_000);
		const seen = Buffer.alloc(data.length);
		const pieces: [number, number, number, boolean][] = [];
		controller.maxH2CData = 4096;
		controller.onPDU = (pdu, peer) => {
			t.true(pdu.intact);
			if (pdu.type === pduType.capsuleCmd) {
				t.is(pdu.bytes[8 + 39], sglTransport);
				t.is(pdu.data.length, 0);
				peer.send(peer.r2t(cidOf(pdu), 9, 0, 40_000));
				return;
			}
			const offset = pdu.u32(12);
			t.is(pdu.u32(16), pdu.data.length);
			pdu.data.copy(seen, offset);
			const isLast = (pdu.flags & 4) !== 0;
			pieces.push([pdu.u16(10), offset, pdu.data.length, isLast]);
			if (!isLast) return;
			if (offset + pdu.data.length === data.length) peer.send(peer.completion({ cid: pdu.u16(8) }));
			else peer.send(peer.r2t(pdu.u16(8), 10, 40_000, 60_000));
		};
		const result = await queue.execute(write, { dataOut: data });
		t.like(result, { status: 0, r2ts: 2 });
		t.deepEqual(seen, data);
		t.true(pieces.every(([, , length]) => length <= 4096));
		t.deepEqual(
			pieces.filter(([, , , isLast]) => isLast),
			[
				[9, 36_864, 3136, true],
				[10, 97_344, 2656, true],
			],
		);
	});
}

test('long data is sent from where it lies, with a right digest', async (t) => {
	const wide = new ScriptedController();
	wide.maxH2CData = 128 * 1024;
	const { controller, queue } = await start(t, { headerDigest: true, dataDigest: true }, wide);
	const data = content(300_000);
	const seen = Buffer.alloc(256 * 1024);
	controller.onPDU = (pdu, peer) => {
		t.true(pdu.intact);
		if (pdu.type === pduType.capsuleCmd) peer.send(peer.r2t(cidOf(pdu), 1, 0, seen.length));
		else {
			pdu.data.copy(seen, pdu.u32(12));
			if ((pdu.flags & 4) !== 0) peer.send(peer.completion({ cid: pdu.u16(8) }));
		}
	};
	const command = queue.take()!;
	write(command.sqe);
	command.dataOut = data;
	command.dataOutStart = 1234;
	command.dataOutBytes = seen.length;
	await new Promise<Command>((resolve) => {
		command.owner = { finished: resolve };
		queue.submit(command);
	});
	t.is(command.status, 0);
	t.deepEqual(seen, data.subarray(1234, 1234 + seen.length));
});

test('the SUCCESS flag ends a read without a completion', async (t) => {
	const { controller, queue } = await start(t);
	queue.flowControl = false;
	controller.onPDU = (pdu, peer) => peer.send(peer.data({ cid: cidOf(pdu), success: true }, content(512)));
	const result = await queue.execute(read, { dataInBytes: 512 });
	t.like(result, { status: 0, bySuccessFlag: true });
	t.deepEqual(result.data, content(512));
});

test('a status, Do Not Retry and both result dwords are understood', async (t) => {
	const { controller, queue } = await start(t);
	controller.onPDU = (pdu, peer) =>
		peer.send(peer.completion({ cid: cidOf(pdu), status: 0x285, dnr: true, result0: 0x12345678, result1: 0x9abcdef0 }));
	t.like(await queue.execute(read), { status: 0x285, dnr: true, result0: 0x12345678, result1: 0x9abcdef0 });
});

test('a wrong data digest is counted and leaves the connection as it is', async (t) => {
	const { controller, queue } = await start(t, { dataDigest: true });
	controller.onPDU = (pdu, peer) => {
		const cid = cidOf(pdu);
		peer.send(peer.data({ cid }, content(512), { dataDigest: 'wrong' }), peer.completion({ cid, status: 0x022 }));
	};
	t.is((await queue.execute(read, { dataInBytes: 512 })).status, 0x022);
	t.is((await queue.execute(read, { dataInBytes: 512 })).status, 0x022);
	t.is(queue.dataDigestErrors, 2);
});

test('what is submitted in one go leaves in that order, one behind the other, in one piece', async (t) => {
	const { controller, queue } = await start(t);
	const order: number[] = [];
	controller.onPDU = (pdu, peer) => {
		order.push(pdu.bytes[8]! * 10 + (pdu.bytes[9]! & 3));
		peer.send(peer.completion({ cid: cidOf(pdu) }));
	};
	const data = content(512);
	await Promise.all([
		queue.execute((sqe) => range(sqe, ioOpcode.compare, 1, 0, 1, { fuse: 1 }), { dataOut: data }),
		queue.execute((sqe) => range(sqe, ioOpcode.write, 1, 0, 1, { fuse: 2 }), { dataOut: data }),
		queue.execute((sqe) => flush(sqe, 1)),
	]);
	t.deepEqual(order, [51, 12, 0]);
});

test('a pool serves far more commands than it has, and an identifier comes back only after many others', async (t) => {
	const { controller, queue } = await start(t, { commandsMax: 4 });
	const open = new Set<number>();
	const used = new Set<number>();
	let most = 0;
	let total = 0;
	controller.onPDU = (pdu, peer) => {
		const cid = cidOf(pdu);
		t.false(open.has(cid));
		open.add(cid);
		used.add(cid);
		most = Math.max(most, open.size);
		setImmediate(() => {
			open.delete(cid);
			peer.send(peer.completion({ cid }));
		});
	};
	const done = new Promise<void>((resolve) => {
		const owner = {
			finished(command: Command): void {
				if (++total <= 400) queue.submit(command);
				else if (queue.outstanding === 0) resolve();
			},
		};
		for (let command = queue.take(); command !== undefined; command = queue.take()) {
			flush(command.sqe, 1);
			command.owner = owner;
			queue.submit(command);
		}
	});
	await done;
	t.is(most, 4);
	t.is(total, 404);
	t.is(used.size, 4 * 64);
});

test('onR2T holds an R2T back, sendData answers it', async (t) => {
	const { controller, queue } = await start(t);
	const data = content(1024);
	controller.onPDU = (pdu, peer) => {
		if (pdu.type === pduType.capsuleCmd) peer.send(peer.r2t(cidOf(pdu), 3, 0, 1024));
		else {
			t.deepEqual(pdu.data, data);
			peer.send(peer.completion({ cid: pdu.u16(8) }));
		}
	};
	const held: Parameters<NonNullable<Queue['onR2T']>>[0][] = [];
	const asked = new Promise<void>((resolve) => {
		queue.onR2T = (r2t) => {
			held.push(r2t);
			resolve();
			return true;
		};
	});
	const result = queue.execute(write, { dataOut: data, solicited: true });
	await asked;
	t.is(controller.queues[0]!.received.length, 1);
	queue.sendData(held[0]!);
	t.is((await result).status, 0);
});

test('a cut connection ends every command as lost, and what is submitted afterwards too', async (t) => {
	const { controller, queue } = await start(t);
	controller.onPDU = (_pdu, peer) => peer.cut();
	const results = await Promise.all(Array.from({ length: 5 }, async () => await queue.execute(read, { dataInBytes: 512 })));
	t.deepEqual(
		results.map(({ status }) => status),
		Array.from({ length: 5 }, () => connectionLost),
	);
	t.is((await queue.execute(read)).status, connectionLost);
	t.is(queue.outstanding, 0);
});

test('a C2HTermReq ends the queue, and its reason can be read', async (t) => {
	const { controller, queue } = await start(t);
	controller.onPDU = (pdu, peer) => peer.send(peer.termReq(2, 0x1234, pdu.bytes.subarray(0, 72)));
	t.is((await queue.execute(read)).status, connectionLost);
	t.is(queue.termReq?.fes, fes.pduSequenceError);
	t.is(queue.termReq?.fei, 0x1234);
	t.is(queue.termReq?.data.length, 72);
});

/** What a controller must not send: the answer to a read of 512 bytes, and the FES and FEI of the host's H2CTermReq. */
const faults: Record<string, [(peer: ScriptedQueue, cid: number) => Buffer, number, number]> = {
	'a completion for an unknown identifier': [(peer, cid) => peer.completion({ cid: cid + 1 }), fes.invalidPDUHeaderField, 20],
	'data for an unknown identifier': [(peer, cid) => peer.data({ cid: cid + 1 }, content(512)), fes.invalidPDUHeaderField, 8],
	'data beyond what was asked for': [(peer, cid) => peer.data({ cid }, content(516)), fes.dataTransferOutOfRange, 0],
	'data out of order': [(peer, cid) => peer.data({ cid, offset: 4 }, content(4)), fes.pduSequenceError, 0],
	'data behind the last': [
		(peer, cid) => Buffer.concat([peer.data({ cid }, content(4)), peer.data({ cid, offset: 4 }, content(4))]),
		fes.pduSequenceError,
		0,
	],
	'a DATAL that is not the data’s': [(peer, cid) => peer.data({ cid, datal: 256 }, content(512)), fes.invalidPDUHeaderField, 16],
	'a completion before the last data': [
		(peer, cid) => Buffer.concat([peer.data({ cid, last: false }, content(512)), peer.completion({ cid })]),
		fes.pduSequenceError,
		0,
	],
	'SUCCESS although there is flow control': [(peer, cid) => peer.data({ cid, success: true }, content(512)), fes.invalidPDUHeaderField, 1],
	'SUCCESS before the last data': [
		(peer, cid) => peer.data({ cid, success: true, last: false }, content(256)),
		fes.invalidPDUHeaderField,
		1,
	],
	'an R2T for a read': [(peer, cid) => peer.r2t(cid, 1, 0, 512), fes.dataTransferOutOfRange, 0],
	'a wrong HLEN': [(peer, cid) => peer.completion({ cid }, { hlen: 20 }), fes.invalidPDUHeaderField, 2],
	'a PLEN that is too long': [(peer, cid) => peer.completion({ cid }, { plen: 28 }), fes.invalidPDUHeaderField, 4],
	'a PLEN that is too short': [(peer, cid) => peer.completion({ cid }, { plen: 20 }), fes.invalidPDUHeaderField, 4],
	'a PDO without data': [(peer, cid) => peer.completion({ cid }, { pdo: 24 }), fes.invalidPDUHeaderField, 3],
	'a PDO inside the header': [(peer, cid) => peer.data({ cid }, content(512), { pdo: 20 }), fes.invalidPDUHeaderField, 3],
	'a digest flag that was not agreed': [(peer, cid) => peer.completion({ cid }, { flags: 1 }), fes.invalidPDUHeaderField, 1],
	'a reserved flag': [(peer, cid) => peer.completion({ cid }, { flags: 4 }), fes.invalidPDUHeaderField, 1],
	'a type that only hosts send': [(peer, cid) => peer.completion({ cid }, { at: { 0: 4 } }), fes.invalidPDUHeaderField, 0],
	'a type that is nobody’s': [(peer, cid) => peer.completion({ cid }, { at: { 0: 8 } }), fes.invalidPDUHeaderField, 0],
};
for (const [fault, [answer, status, information]] of Object.entries(faults)) {
	test(`a controller that sends ${fault} is sent an H2CTermReq and not listened to any more`, async (t) => {
		const { controller, queue } = await start(t);
		const terminated = new Promise<ReceivedPDU>((resolve) => {
			controller.onPDU = (pdu, peer) => {
				if (pdu.type === pduType.h2cTermReq) resolve(pdu);
				else peer.send(answer(peer, cidOf(pdu)));
			};
		});
		t.is((await queue.execute(read, { dataInBytes: 512 })).status, connectionLost);
		t.truthy(queue.ended);
		const pdu = await terminated;
		t.deepEqual([pdu.u16(8), pdu.u32(10)], [status, information]);
		t.true(pdu.bytes.length >= 24 + 8);
	});
}

test('a wrong header digest ends the queue with the received digest in FEI', async (t) => {
	const { controller, queue } = await start(t, { headerDigest: true });
	let digest = 0;
	const terminated = new Promise<ReceivedPDU>((resolve) => {
		controller.onPDU = (pdu, peer) => {
			if (pdu.type === pduType.h2cTermReq) return resolve(pdu);
			const answer = peer.completion({ cid: cidOf(pdu) }, { headerDigest: 'wrong' });
			digest = answer.readUInt32LE(24);
			peer.send(answer);
		};
	});
	t.is((await queue.execute(read)).status, connectionLost);
	const pdu = await terminated;
	t.deepEqual([pdu.u16(8), pdu.u32(10)], [fes.headerDigestError, digest]);
});

const refusals: Record<string, (controller: ScriptedController) => void> = {
	'digests that were not asked for': (controller) => (controller.answeredDgst = 1),
	'a MAXH2CDATA below 4 KiB': (controller) => (controller.maxH2CData = 4092),
	'a MAXH2CDATA that is no multiple of 4': (controller) => (controller.maxH2CData = 4098),
	'a CPDA above 31': (controller) => (controller.cpda = 32),
	'another PFV': (controller) => (controller.icRespForm = { at: { 8: 1 } }),
	'a short PLEN': (controller) => (controller.icRespForm = { plen: 64 }),
};
for (const [fault, misbehave] of Object.entries(refusals)) {
	test(`an ICResp with ${fault} is not accepted`, async (t) => {
		const controller = new ScriptedController();
		await controller.listen();
		t.teardown(async () => await controller.close());
		misbehave(controller);
		await t.throwsAsync(Queue.open({ port: controller.port }), { instanceOf: HostError });
	});
}
