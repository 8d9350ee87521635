import net from 'node:net';
import test from 'ava';
import { CommandTable } from '../../../src/nvmeof/command-table.ts';
import { Command } from '../../../src/nvmeof/command.ts';
import { limits } from '../../../src/nvmeof/limits.ts';
import { NvmeListener } from '../../../src/nvmeof/listener.ts';
import { c2hTermReq, termReqBytesMax } from '../../../src/nvmeof/term-req.ts';
import { transportLimits } from '../../../src/nvmeof/transport-limits.ts';
import { TransportMemory } from '../../../src/nvmeof/transport-memory.ts';
import { silent } from '../../../src/os/logger.ts';
import { MemoryBudget } from '../../../src/os/memory-budget.ts';
import { opcode, pattern, r2t, statusOf, World } from './peer.ts';

const MiB = 1024 * 1024;

// The others of transport-limits.ts: c2hDataBytes and readBytesPerConnection in c2h-data, h2cDataBytes in termination, r2tBytes and r2tsPerCommand in initialization, shares in h2c-data and
// c2h-data, shares and what one connection may hold of capsules in large-capsules, seconds in watch, waitingDataBytes in c2h-data; parameterBytesMax in h2c-data.

for (const [queue, bytes] of [
	['an I/O queue', limits.inCapsuleBytes],
	['the admin queue', limits.adminInCapsuleBytes],
] as const) {
	test(`in-capsule data of ${queue}: ${bytes} bytes are taken, one more ends the connection`, async (t) => {
		const world = new World();
		const peer = await world.connect().open();
		peer.logic.inCapsuleBytesMax = bytes;
		peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: bytes / 512, data: pattern(bytes, 1) }));
		t.is(statusOf(await peer.answer()), '0');
		peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: bytes / 512, data: pattern(bytes + 1, 1) }));
		t.is(statusOf(await peer.answer()), 'term 1/4');
	});
}

test('an H2CData of MAXH2CDATA is taken', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: transportLimits.h2cDataBytes / 512 }));
	peer.fulfil(r2t(await peer.answer()), pattern(transportLimits.h2cDataBytes, 1));
	t.is(statusOf(await peer.answer()), '0');
});

test('R2Ts that nobody fulfils: so many of aborted commands are remembered, one more ends the connection', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	for (let count = 0; count < transportLimits.r2tsPerConnection; count++) {
		peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 1 }));
		t.is(statusOf(peer.takeAnswers()[0]!), 'R2T');
		peer.connection.abort(
			() => true,
			() => undefined,
		);
		await peer.answers();
	}
	t.is(peer.connection.r2ts.size, transportLimits.r2tsPerConnection);
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 1 }));
	t.deepEqual(await peer.answers(), []);
	t.is(peer.destroyed, 'too many R2Ts are not fulfilled');
	t.true(world.isFree);
	t.is(peer.connection.outstanding, 0);
});

test('a queue takes no more commands than limits.queueDepth, whatever the logic says', async (t) => {
	const peer = await new World().connect().open({ depth: 4096 });
	for (let cid = 0; cid < limits.queueDepth; cid++) peer.send(peer.command({ opcode: opcode.later, cid: cid * 257 }));
	t.deepEqual(await peer.answers(), []);
	peer.send(peer.command({ opcode: opcode.later, cid: 1 }));
	t.is(statusOf(await peer.answer()), 'term 2/0');
});

test('who sends more commands than its queue has entries without an answer in between is cut, however quickly each would be over', async (t) => {
	for (const flowControlDisabled of [false, true]) {
		for (const kind of [opcode.fail, opcode.answer, opcode.read]) {
			const world = new World();
			const peer = await world.connect().open({ depth: 32, flowControlDisabled });
			const flood = (count: number): void => {
				const commands = Array.from({ length: count }, (_, cid) => peer.command({ opcode: kind, cid, blocks: 1, cdw11: 512, length: 512 }));
				peer.send(Buffer.concat(commands));
			};
			// As many as it has, again and again, are its right.
			for (let turn = 0; turn < 50; turn++) {
				flood(32);
				await peer.answers();
				t.false(peer.closed);
			}
			const before = world.statistics.commands;
			flood(7000);
			const answers = await peer.answers();
			t.is(statusOf(answers.at(-1)!), 'term 2/0');
			t.true(peer.ended);
			t.is(world.statistics.commands - before, 32);
			t.true(world.isFree);
			t.is(peer.connection.outstanding, 0);
		}
	}
});

test('H2CData of one dword each are taken transportLimits.pdusPerTurn at a time, and the write is whole in the end', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const data = pattern(8192, 5);
	peer.send(peer.command({ opcode: opcode.write, cid: 1, blocks: 16 }));
	const { ttag } = r2t(await peer.answer());
	const pieces: Buffer[] = [];
	for (let at = 0; at < data.length; at += 4)
		pieces.push(peer.h2cData({ cid: 1, ttag, offset: at, data: data.subarray(at, at + 4), last: at + 4 === data.length }));
	peer.send(Buffer.concat(pieces));
	t.is(peer.unreadBytes, (pieces.length - transportLimits.pdusPerTurn) * pieces[0]!.length + 4);
	t.false(peer.connection.stopped, 'nor does it count as held back');
	for (let round = 0; round < 10 && peer.unreadBytes > 0; round++) await new Promise((resolve) => setImmediate(resolve));
	t.is(statusOf(await peer.answer()), '0');
	t.true(world.device.medium.subarray(0, data.length).equals(data));
});

test('what is outstanding when a turn begins counts in it', async (t) => {
	const peer = await new World().connect().open({ depth: 32 });
	for (let cid = 0; cid < 20; cid++) peer.send(peer.command({ opcode: opcode.later, cid }));
	const quick = (count: number): Buffer =>
		Buffer.concat(Array.from({ length: count }, (_, index) => peer.command({ opcode: opcode.answer, cid: 100 + index })));
	peer.send(quick(12));
	t.is((await peer.answers()).length, 12);
	peer.send(quick(13));
	t.is(statusOf((await peer.answers()).at(-1)!), 'term 2/0');
});

test('the table of commands: all identifiers found while it changes, whatever their bits; it refuses more than its bound', (t) => {
	for (const step of [1, 256, 257, 4096, 511]) {
		const table = new CommandTable();
		const commands: Command[] = [];
		const make = (index: number): Command => {
			const command = new Command();
			command.commandIdentifier = (index * step) & 0xffff;
			return command;
		};
		const seen = new Set<number>();
		for (let index = 0; index < 2000; index++) {
			const command = make(index);
			const isNew = !seen.has(command.commandIdentifier);
			t.is(table.add(command), isNew);
			if (isNew) {
				seen.add(command.commandIdentifier);
				commands.push(command);
			}
			if (commands.length >= limits.queueDepth || index % 3 === 2) {
				const [gone] = commands.splice((index * 7) % commands.length, 1);
				table.delete(gone!);
				seen.delete(gone!.commandIdentifier);
				t.is(table.get(gone!.commandIdentifier), undefined);
			}
			for (const each of commands) if (table.get(each.commandIdentifier) !== each) throw new Error(`${each.commandIdentifier} is lost`);
			t.is(table.size, commands.length);
		}
		t.throws(() => table.delete(make(0xffff)), { instanceOf: RangeError });
	}
	const table = new CommandTable();
	t.throws(
		() => {
			for (let cid = 0; cid < 300; cid++) {
				const command = new Command();
				command.commandIdentifier = cid;
				table.add(command);
			}
		},
		{ instanceOf: RangeError },
	);
});

test('a C2HTermReq never exceeds 152 bytes', (t) => {
	t.is(termReqBytesMax, 152);
	t.is(c2hTermReq(1, 2, Buffer.alloc(300), 10, 300).length, 152);
	t.is(c2hTermReq(1, 2, Buffer.alloc(300), 10, 0).length, 32);
});

test('a budget below 4 MiB is refused; all listeners of a budget share one plan', (t) => {
	t.throws(() => TransportMemory.of(new MemoryBudget(4 * MiB - 1)), { instanceOf: RangeError });
	const budget = new MemoryBudget(4 * MiB);
	t.is(TransportMemory.of(budget), TransportMemory.of(budget));
	t.not(TransportMemory.of(budget), TransportMemory.of(new MemoryBudget(4 * MiB)));
});

test('connections: so many are taken, one more is closed at once, and another fits when one has gone', async (t) => {
	const world = new World();
	const listener = new NvmeListener({ fabric: world, budget: world.budget, log: silent });
	await listener.listen({ host: '127.0.0.1', port: 0 });
	t.teardown(() => listener.close());
	const connect = (localAddress = '127.0.0.1'): Promise<net.Socket> =>
		new Promise((resolve, reject) => {
			const socket = net.connect({ port: listener.address.port, host: '127.0.0.1', localAddress }, () => resolve(socket));
			socket.on('error', reject);
		});
	const sockets: net.Socket[] = [];
	for (let count = 0; count < transportLimits.connections; count++)
		sockets.push(await connect(count < transportLimits.connectionsPerAddress ? '127.0.0.1' : '127.0.0.2'));
	const more = await connect('127.0.0.3');
	await new Promise((resolve) => {
		more.on('close', resolve);
		more.resume();
	});
	t.is(listener.connections, transportLimits.connections);
	t.is(listener.statistics.connectionsRefused, 1);
	const gone = new Promise((resolve) => {
		sockets[0]!.on('close', resolve);
	});
	sockets[0]!.resume();
	sockets[0]!.destroy();
	await gone;
	while (listener.connections === transportLimits.connections) await new Promise((resolve) => setImmediate(resolve));
	const last = await connect();
	while (listener.connections < transportLimits.connections) await new Promise((resolve) => setImmediate(resolve));
	t.is(listener.statistics.connectionsRefused, 1);
	for (const socket of [...sockets, last]) socket.destroy();
});

test('one address has transportLimits.connectionsPerAddress over all listeners of a fabric; another has its own, and the log says it', async (t) => {
	const world = new World();
	const lines: object[] = [];
	const log = { ...silent, warn: (fields: object, message: string) => lines.push({ ...fields, message }) };
	const listeners = [
		new NvmeListener({ fabric: world, budget: world.budget, log }),
		new NvmeListener({ fabric: world, budget: world.budget, log }),
	];
	for (const listener of listeners) {
		await listener.listen({ host: '127.0.0.1', port: 0 });
		t.teardown(() => listener.close());
	}
	const connect = (index: number, localAddress: string): net.Socket => {
		const socket = net.connect({ port: listeners[index]!.address.port, host: '127.0.0.1', localAddress });
		socket.on('error', () => undefined);
		t.teardown(() => socket.destroy());
		return socket;
	};
	const count = (): number => listeners[0]!.connections + listeners[1]!.connections;
	const until = async (reached: () => boolean): Promise<void> => {
		while (!reached()) await new Promise((resolve) => setImmediate(resolve));
	};
	const sockets = Array.from({ length: transportLimits.connectionsPerAddress }, (_, index) => connect(index % 2, '127.0.0.1'));
	await until(() => count() === transportLimits.connectionsPerAddress);
	connect(0, '127.0.0.1');
	connect(1, '127.0.0.1');
	await until(() => listeners.every(({ statistics }) => statistics.connectionsRefused === 1));
	t.deepEqual(lines[0], {
		remote: '127.0.0.1',
		reason: `this address has ${transportLimits.connectionsPerAddress} connections`,
		message: 'NVMe/TCP connection refused',
	});
	connect(0, '127.0.0.2');
	await until(() => count() === transportLimits.connectionsPerAddress + 1);
	sockets[0]!.destroy();
	await until(() => count() === transportLimits.connectionsPerAddress);
	connect(1, '127.0.0.1');
	await until(() => count() === transportLimits.connectionsPerAddress + 1);
	t.is(lines.length, 2);
});
