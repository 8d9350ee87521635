import { connect, type Socket } from 'node:net';
import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import { transportLimits } from '../../../src/nvmeof/transport-limits.ts';
import { Registrant } from '../../../src/reservation/registrant.ts';
import type { Association } from '../../nvme-host/association.ts';
import * as commands from '../../nvme-host/commands.ts';
import { connectionLost } from '../../nvme-host/command.ts';
import { Namespace } from '../../nvme-host/namespace.ts';
import { capsuleCmd, described, h2cData, icReq } from '../../nvme-host/raw-connection.ts';
import { pduType, putU16, putU32, sqeBytes } from '../../nvme-host/wire.ts';
import { connectCapsule, content, strangerNQN, World } from './world.ts';

const { ioOpcode } = commands;
const mebibyte = 1024 * 1024;

function generator(seed: number): (below: number) => number {
	let x = seed | 1;
	return (below) => {
		x ^= x << 13;
		x ^= x >>> 17;
		x ^= x << 5;
		return (x >>> 0) % below;
	};
}

for (const seed of [1, 2, 3, 4]) {
	test(`3,000 random commands on an I/O queue: each is answered once, whatever it says, seed ${seed}`, async (t) => {
		const world = await World.open(t, { sizeBytes: mebibyte });
		const namespace = await world.namespace({ ioQueues: 1, commandsMax: 16, depth: 32 });
		const random = generator(seed * 7919);
		const opcodes = [...Object.values(ioOpcode), 0x04, 0x10, 0x80];
		const seen = new Map<number, number>();
		const one = async (): Promise<void> => {
			const opcode = opcodes[random(opcodes.length)]!;
			// The low bits of an opcode say which way its data goes; everything else may be anything.
			const hasOut = (opcode & 3) === 1;
			const length = (opcode & 3) === 0 || random(4) === 0 ? 0 : 512 * (1 + random(32));
			const fill = (sqe: Buffer): void => {
				for (let at = 0; at < sqeBytes; at += 4) putU32(sqe, at, random(3) === 0 ? random(0x10000) * random(0x10000) : random(8));
				sqe[0] = opcode;
				// Fused halves wait for each other, and with others between them end one another: rarely.
				sqe[1] = random(20) === 0 ? random(4) : 0;
				putU32(sqe, 4, [1, 1, 1, 1, 1, 0, 2, 0xffffffff][random(8)]!);
				if (random(2) === 0) {
					putU32(sqe, 40, random(2048));
					putU32(sqe, 44, 0);
					putU16(sqe, 48, Math.max(0, length / 512 - 1));
				}
			};
			const transfer = hasOut ? { dataOut: content(length, length) } : { dataInBytes: length };
			const result = await namespace.association.io[0]!.execute(fill, length === 0 ? {} : transfer);
			seen.set(result.status, (seen.get(result.status) ?? 0) + 1);
		};
		const worker = async (): Promise<void> => {
			for (let count = 0; count < 250; count++) await one();
		};
		// A first half that nothing follows waits for ever, so flushes keep coming.
		const running = new Set(Array.from({ length: 12 }, worker));
		for (const one of running) void one.then(() => running.delete(one));
		while (running.size > 0) await namespace.execute((sqe) => commands.flush(sqe, 1));
		t.false(seen.has(connectionLost), String(namespace.association.io[0]!.ended));
		t.false(seen.has(0x006), 'no internal error');
		t.true(seen.size >= 6, [...seen].join(' '));
		await namespace.association.keepAlive();
		await world.until(() => world.budget.usedBytes === 0);
	});
}

for (const seed of [1, 2]) {
	test(`2,000 random commands on an admin queue: each but held event requests is answered once, seed ${seed}`, async (t) => {
		const world = await World.open(t);
		const random = generator(seed * 104_729);
		const opcodes = [...Object.values(commands.adminOpcode), commands.fabricsOpcode, 0x00, 0x01, 0x0d, 0x81];
		let association = await world.connect({ ioQueues: 0 });
		const seen = new Map<number, number>();
		for (let count = 0; count < 2000; count++) {
			const opcode = opcodes[random(opcodes.length)]!;
			// A held event request has no answer; a write of CC may disable the controller.
			if (opcode === commands.adminOpcode.asynchronousEventRequest) continue;
			const fill = (sqe: Buffer): void => {
				for (let at = 0; at < sqeBytes; at += 4) putU32(sqe, at, random(3) === 0 ? random(0x10000) * random(0x10000) : random(16));
				sqe[0] = opcode;
				sqe[1] = random(20) === 0 ? random(4) : 0;
				if (opcode === commands.fabricsOpcode && sqe[4] === commands.fabricsType.propertySet) sqe[4] = commands.fabricsType.propertyGet;
				putU32(sqe, 4, opcode === commands.fabricsOpcode ? sqe[4]! : random(4));
			};
			const length = 4 * random(1025);
			const transfer = length === 0 ? {} : random(2) === 0 ? { dataInBytes: length } : { dataOut: content(length) };
			const result = await association.admin.execute(fill, transfer);
			seen.set(result.status, (seen.get(result.status) ?? 0) + 1);
			if (association.admin.ended !== undefined) {
				t.is(association.admin.termReq, undefined);
				association = await world.connect({ ioQueues: 0 });
			}
		}
		t.false(seen.has(0x006), 'no internal error');
		t.true((seen.get(connectionLost) ?? 0) <= 1);
		t.true(seen.size >= 6, [...seen].join(' '));
		await world.until(() => world.budget.usedBytes === 0);
	});
}

test('data for the R2T of an aborted command, sent because it was on its way, ends nothing', async (t) => {
	const world = await World.open(t);
	const { raw, association } = await world.rawIO();
	const data = content(65_536);
	const write = (sqe: Buffer): void => commands.range(sqe, ioOpcode.write, 1, 0, 128);
	raw.send(capsuleCmd(described(write, 7, 65_536)));
	const r2t = await raw.expect(pduType.r2t);
	raw.send(h2cData({ cccid: 7, ttag: r2t.u16(10), datao: 0, last: false }, data.subarray(0, 4096)));
	t.true(await association.abort(2, 7));
	const aborted = await raw.expect(pduType.capsuleResp);
	t.deepEqual([aborted.cid, aborted.status], [7, 0x007]);
	raw.send(h2cData({ cccid: 7, ttag: r2t.u16(10), datao: 4096 }, data.subarray(4096)));
	raw.send(capsuleCmd(described((sqe) => commands.flush(sqe, 1), 8)));
	const flushed = await raw.expect(pduType.capsuleResp);
	t.deepEqual([flushed.cid, flushed.status], [8, 0]);
	t.deepEqual(world.device.bytes(0, 65_536), Buffer.alloc(65_536), 'nothing of it was written');
	await world.until(() => world.budget.usedBytes === 0);
});

test('a reset under load: everything outstanding ends, nothing is answered later, and the controller works again', async (t) => {
	const world = await World.open(t, { cold: true });
	const association = await world.connect({ ioQueues: 4 });
	const namespace = await Namespace.attach(association, 1);
	world.device.held = true;
	const outstanding = Array.from({ length: 64 }, async (_none, index) =>
		index % 2 === 0
			? await namespace.execute((sqe) => commands.range(sqe, ioOpcode.read, 1, index, 8), { dataInBytes: 4096 })
			: await namespace.execute((sqe) => commands.range(sqe, ioOpcode.write, 1, index * 64, 64), { dataOut: content(32_768) }),
	);
	await world.until(() => world.device.calls.length >= 64);
	await association.propertySet(commands.property.cc, 0);
	const results = await Promise.all(outstanding);
	t.true(results.every(({ status }) => status === connectionLost));
	await association.enable();
	while (world.device.release());
	world.device.held = false;
	await world.until(() => world.budget.usedBytes === 0);
	await association.setFeature(0x07, 0);
	association.io.length = 0;
	await association.addQueue(1);
	const again = await Namespace.attach(association, 1);
	await again.write(0, content(65_536));
	t.true((await again.read(0, 128)).equals(content(65_536)));
});

test('a host that asks for much and reads nothing is not fed without bound, others go on, and it gets everything when it reads again', async (t) => {
	const world = await World.open(t);
	const data = content(mebibyte);
	await (await world.namespace()).write(0, data);
	const { raw } = await world.rawIO({}, { sqsize: 127 });
	raw.pause();
	const calls = world.device.calls.length;
	const count = 100;
	for (let cid = 0; cid < count; cid++)
		raw.send(capsuleCmd(described((sqe) => commands.range(sqe, ioOpcode.read, 1, 0, 2048), cid, mebibyte)));
	const other = await world.namespace();
	for (let round = 0; round < 50; round++) {
		const written = content(65_536, round);
		await other.write(4096, written);
		t.true((await other.read(4096, 128)).equals(written));
	}
	const readBytes = world.device.calls
		.slice(calls)
		.filter(({ operation, offsetBytes }) => operation === 'tryRead' && offsetBytes < mebibyte)
		.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
	t.true(readBytes >= mebibyte, 'it was begun');
	t.true(readBytes < 32 * mebibyte, `${readBytes} bytes were read for nobody`);
	t.true(world.budget.usedBytes <= world.budget.limitBytes);
	raw.resume();
	const received = new Map<number, number>();
	let done = 0;
	while (done < count) {
		const next = await raw.next();
		if (next?.type === pduType.capsuleResp) {
			t.is(next.status, 0);
			done++;
			continue;
		}
		t.is(next?.type, pduType.c2hData);
		const at = received.get(next!.u16(8)) ?? 0;
		t.is(next!.u32(12), at);
		t.true(next!.data.equals(data.subarray(at, at + next!.data.length)));
		received.set(next!.u16(8), at + next!.data.length);
	}
	t.true([...received.values()].every((bytes) => bytes === mebibyte));
	await world.until(() => world.budget.usedBytes === 0);
});

test('controllers of a subsystem are bounded: one more is Connect Controller Busy, and goes well when another has gone', async (t) => {
	const world = await World.open(t);
	const all: Association[] = [];
	// Of one address no more could come than transportLimits.connectionsPerAddress.
	const id = Buffer.alloc(16, 7);
	const host = { nqn: strangerNQN, id, registrant: new Registrant('nvme', id.toString('hex')) };
	for (let count = 8; count < limits.controllersPerSubsystem; count++) t.truthy(world.subsystem.createController(host, world.nowMs));
	for (let count = 0; count < 8; count++) {
		all.push(await world.connect({ connectOnly: true }));
	}
	const raw = await world.initialised();
	raw.send(connectCapsule(0));
	const busy = await raw.expect(pduType.capsuleResp);
	t.is(busy.status, 0x181);
	t.is(busy.u16(22) & 0x8000, 0, 'not Do Not Retry');
	all[7]!.destroy();
	await world.until(() => world.fabric.controllers().length < limits.controllersPerSubsystem);
	raw.send(connectCapsule(0));
	t.is((await raw.expect(pduType.capsuleResp)).status, 0);
	await all[0]!.propertyGet(commands.property.csts);
});

test('connections are bounded: one more is closed at once, and those that are there go on', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 1 });
	const sockets: Socket[] = [];
	t.teardown(() => {
		for (const socket of sockets) socket.destroy();
	});
	// Few at a time: the kernel's queue of connections that nobody has accepted is bounded too.
	const half = transportLimits.connectionsPerAddress;
	while (sockets.length < half - 2) sockets.push(connect(world.port, '127.0.0.1'));
	await world.until(() => world.listener.connections === half);
	// One address has all that it may have; another has its own.
	const refused = await world.raw();
	t.is(await refused.next(), undefined);
	while (sockets.length < transportLimits.connections - 2) {
		for (let count = 0; count < 16; count++) sockets.push(connect({ port: world.port, host: '127.0.0.1', localAddress: '127.0.0.2' }));
		await world.until(() => world.listener.connections === sockets.length + 2);
	}
	const excess = await world.raw();
	excess.send(icReq());
	t.is(await excess.next(), undefined);
	await association.io[0]!.expectGood((sqe) => commands.flush(sqe, 1));
	sockets[0]!.destroy();
	await world.until(() => world.listener.connections < transportLimits.connections);
	await world.initialised();
	t.is(world.listener.statistics.connectionsRefused, 2);
});

test('Disconnect with commands outstanding: it is answered, they end, and the device’s late answers harm nobody', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace({ ioQueues: 2 });
	const queue = namespace.association.io[1]!;
	world.device.held = true;
	const outstanding = queue.execute((sqe) => commands.flush(sqe, 1));
	await world.until(() => world.device.calls.length > 0);
	t.is((await queue.execute((sqe) => commands.disconnect(sqe))).status, 0);
	const ended = await outstanding;
	t.true(ended.status === connectionLost || ended.status === 0x007 || ended.status === 0x008);
	world.device.held = false;
	while (world.device.release());
	await namespace.association.io[0]!.expectGood((sqe) => commands.flush(sqe, 1));
});

for (const [name, fill] of [
	['Asynchronous Event Requests', (sqe: Buffer) => commands.asynchronousEventRequest(sqe)],
	['Aborts', (sqe: Buffer) => commands.abort(sqe, 0, 9)],
	['Keep Alives', (sqe: Buffer) => commands.keepAlive(sqe)],
] as const) {
	test(`a flood of ${name} on an admin queue ends that host when its queue is exceeded, and no other`, async (t) => {
		const world = await World.open(t);
		const good = await world.connect({ ioQueues: 1 });
		const raw = await world.rawAdmin();
		const before = world.listener.statistics.commands;
		const flood = Array.from({ length: 5000 }, (_, cid) => capsuleCmd(described(fill, cid & 0xff, 0, false)));
		raw.send(Buffer.concat(flood));
		for (let pdu = await raw.next(); pdu !== undefined && pdu.type !== pduType.c2hTermReq;) pdu = await raw.next();
		await world.until(() => world.fabric.controllers().length === 1);
		t.true(world.listener.statistics.commands - before <= 200, `${world.listener.statistics.commands - before}`);
		await good.io[0]!.expectGood((sqe) => commands.flush(sqe, 1));
	});
}
