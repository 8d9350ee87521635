import net from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { limits } from '../../src/iscsi/limits.ts';
import { IscsiListener } from '../../src/iscsi/listener.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { linesPerMinute } from '../../src/os/throttled-log.ts';
import { MemoryBudget } from '../../src/os/memory-budget.ts';
import { type Answer, generous, initiatorName, loginRequest, pattern, read10, targetName, text, World, write10 } from './peer.ts';

const MiB = 1024 * 1024;

async function listen(t: ExecutionContext, world = new World()): Promise<IscsiListener> {
	const listener = new IscsiListener({ registry: world.environment.registry, budget: world.budget, log: world.environment.log });
	await listener.listen({ host: '127.0.0.1', port: 0 });
	t.teardown(() => listener.close());
	return listener;
}

/** An initiator on a socket; a Peer makes its PDUs. */
class Client {
	readonly socket: net.Socket;
	readonly maker = new World().connect();
	readonly closed: Promise<void>;
	failure: Error | undefined;
	#received = Buffer.alloc(0);
	#wake: (() => void) | undefined;
	#over = false;

	constructor(port: number) {
		this.socket = net.connect(port, '127.0.0.1');
		this.socket.on('data', (data) => {
			this.#received = Buffer.concat([this.#received, data]);
			this.#wake?.();
		});
		this.socket.on('error', (error) => {
			this.failure = error;
		});
		this.closed = new Promise((resolve) => {
			this.socket.on('close', () => {
				this.#over = true;
				this.#wake?.();
				resolve();
			});
		});
	}

	/** The next PDU; undefined when the connection has ended. */
	async next(): Promise<Answer | undefined> {
		for (;;) {
			const all = this.#received;
			if (all.length >= pdu.bhsBytes) {
				const length = pdu.BHS.dataSegmentLength.get(all, 0);
				const end = pdu.bhsBytes + pdu.padded(length);
				if (all.length >= end) {
					this.#received = all.subarray(end);
					return { opcode: all[0]! & 0x3f, bhs: all.subarray(0, pdu.bhsBytes), data: all.subarray(pdu.bhsBytes, pdu.bhsBytes + length) };
				}
			}
			if (this.#over) return undefined;
			await new Promise<void>((resolve) => {
				this.#wake = resolve;
			});
		}
	}

	async login(isid = '00023d000001', discovery = false): Promise<Answer | undefined> {
		const names = discovery ? { SessionType: 'Discovery' } : { TargetName: targetName };
		this.socket.write(
			this.maker.pdu(loginRequest({ isid }), text({ InitiatorName: initiatorName, ...names, ...(discovery ? {} : generous) })),
		);
		const answer = await this.next();
		if (discovery) return answer;
		this.socket.write(this.maker.command({ cdb: '00', tag: 1 }));
		await this.next();
		return answer;
	}
}

async function client(t: ExecutionContext, listener: IscsiListener, isid?: string): Promise<Client> {
	const made = new Client(listener.address.port);
	t.teardown(() => made.socket.destroy());
	if (isid !== undefined) await made.login(isid);
	return made;
}

test('a write of 1 MiB in many pieces and a read of it over TCP', async (t) => {
	const world = new World({ deviceBytes: 2 * MiB });
	const listener = await listen(t, world);
	const initiator = await client(t, listener, '000000000001');
	const data = pattern(MiB, 1);
	initiator.socket.write(initiator.maker.command({ cdb: write10(8, 2048), tag: 2, write: MiB, data: data.subarray(0, 65536) }));
	const r2t = (await initiator.next())!;
	const transferTag = pdu.R2T.targetTransferTag.get(r2t.bhs, 0);
	for (let offset = 65536, dataSN = 0; offset < MiB; offset += 61440, dataSN++) {
		const part = data.subarray(offset, offset + 61440);
		initiator.socket.write(
			initiator.maker.dataOut({ tag: 2, transferTag, offset, dataSN, final: offset + part.length === MiB, data: part }),
		);
	}
	t.is((await initiator.next())!.bhs[3], 0);
	initiator.socket.write(initiator.maker.command({ cdb: read10(8, 2048), tag: 3, read: MiB }));
	const parts: Buffer[] = [];
	for (let done = false; !done;) {
		const answer = (await initiator.next())!;
		parts.push(answer.data);
		done = (answer.bhs[1]! & pdu.statusBit) !== 0;
	}
	t.true(Buffer.concat(parts).equals(data));
	t.is(world.budget.usedBytes, 0);
	t.like(listener.sessions()[0], {
		initiator: initiatorName,
		target: targetName,
		isid: '000000000001',
		bytesRead: MiB,
		bytesWritten: MiB,
		commands: 3,
	});
	t.like(listener.statistics, { connections: 1, logins: 1, bytesRead: MiB, bytesWritten: MiB });
});

test('a port that is taken rejects with EADDRINUSE', async (t) => {
	const world = new World();
	const listener = await listen(t, world);
	const second = new IscsiListener({ registry: world.environment.registry, budget: world.budget, log: world.environment.log });
	await t.throwsAsync(second.listen(listener.address), { code: 'EADDRINUSE' });
});

test('a budget that is too small for one command is refused at once', (t) => {
	const { registry, log } = new World().environment;
	t.throws(() => new IscsiListener({ registry, log, budget: new MemoryBudget(MiB) }), { instanceOf: RangeError });
});

test('drain: initiators are asked to log out, commands finish, new logins are refused, and it resolves when the last is gone', async (t) => {
	const world = new World();
	const listener = await listen(t, world);
	const initiator = await client(t, listener, '000000000001');
	const late = await client(t, listener);
	const { port } = listener.address;
	await new Promise((resolve) => late.socket.once('connect', resolve));
	world.device.held = true;
	initiator.socket.write(initiator.maker.command({ cdb: write10(0, 1), tag: 7, write: 512, data: Buffer.alloc(512, 1) }));
	while (world.device.waiting === 0) await new Promise(setImmediate);
	const drained = listener.drain(60_000);
	const message = (await initiator.next())!;
	t.is(message.opcode, pdu.opcode.asyncMessage);
	t.is(pdu.AsyncMessage.parameter3.get(message.bhs, 0), 60);
	world.device.releaseAll();
	t.is((await initiator.next())!.opcode, pdu.opcode.scsiResponse);
	initiator.socket.write(initiator.maker.request(pdu.opcode.logoutRequest | pdu.immediateBit, 0x80, { 16: 8 }));
	t.is((await initiator.next())!.opcode, pdu.opcode.logoutResponse);
	await drained;
	t.is(listener.connections, 0);
	await initiator.closed;
	await late.closed;
	const refused = new Client(port);
	t.is(await refused.next(), undefined);
});

test('drain: an initiator that does not log out is closed when the time is over', async (t) => {
	const listener = await listen(t);
	const initiator = await client(t, listener, '000000000001');
	await listener.drain(1);
	t.is((await initiator.next())!.opcode, pdu.opcode.asyncMessage);
	t.is(await initiator.next(), undefined);
	t.is(listener.sessions().length, 0);
});

test('close: sessions end at once, twice is no harm', async (t) => {
	const listener = await listen(t);
	const initiators = [await client(t, listener, '000000000001'), await client(t, listener, '000000000002'), await client(t, listener)];
	await listener.close();
	await listener.close();
	for (const initiator of initiators) await initiator.closed;
	t.is(listener.connections, 0);
});

test('a refused login reaches the initiator before the connection closes, also with unread bytes behind it', async (t) => {
	const world = new World();
	world.strangers.add(initiatorName);
	const listener = await listen(t, world);
	const initiator = await client(t, listener);
	initiator.socket.write(
		Buffer.concat([
			initiator.maker.pdu(loginRequest({}), text({ InitiatorName: initiatorName, TargetName: targetName })),
			Buffer.alloc(300_000),
		]),
	);
	t.is((await initiator.next())!.bhs.toString('hex', 36, 38), '0202');
	t.is(await initiator.next(), undefined);
	// A reset could have overtaken the answer.
	t.is(initiator.failure, undefined);
	t.is(listener.statistics.loginsRefused, 1);
});

test('endSessions: those that are meant, with an asynchronous message; the others go on', async (t) => {
	const listener = await listen(t);
	const [one, other] = [await client(t, listener, '000000000001'), await client(t, listener, '000000000002')];
	t.is(
		listener.endSessions(({ target }) => target === 'iqn.2026-11.test:nothing', 'a test'),
		0,
	);
	t.is(
		listener.endSessions(({ isid }) => isid === '000000000001', 'a test'),
		1,
	);
	const last = await one.next();
	t.is(last?.opcode, pdu.opcode.asyncMessage);
	t.is(pdu.AsyncMessage.asyncEvent.get(last!.bhs, 0), pdu.asyncEvent.dropAllConnections);
	await one.closed;
	t.deepEqual(
		listener.sessions().map(({ isid, address, authentication, target }) => ({ isid, address, authentication, target })),
		[{ isid: '000000000002', address: '127.0.0.1', authentication: 'none', target: targetName }],
	);
	t.false(other.socket.destroyed);
});

test('limits.connections: one more is closed at once, the others go on', async (t) => {
	const listener = await listen(t);
	const first = await client(t, listener, '000000000001');
	const sockets: net.Socket[] = [];
	t.teardown(() => sockets.forEach((socket) => socket.destroy()));
	for (let count = 1; count < limits.connections; count++) {
		const localAddress = count < limits.connectionsPerAddress ? '127.0.0.1' : '127.0.0.2';
		const socket = net.connect({ port: listener.address.port, host: '127.0.0.1', localAddress });
		sockets.push(socket);
		await new Promise((resolve) => socket.once('connect', resolve));
	}
	while (listener.connections < limits.connections) await new Promise(setImmediate);
	const over = await client(t, listener);
	await over.closed;
	t.is(listener.statistics.connectionsRefused, 1);
	first.socket.write(first.maker.command({ cdb: '00', tag: 5 }));
	t.is((await first.next())!.opcode, pdu.opcode.scsiResponse);
});

test('limits.connectionsPerAddress: one more of that address is closed at once, and the log says it; another address has its own', async (t) => {
	const lines: object[] = [];
	const world = new World();
	const log = { ...world.environment.log, warn: (fields: object, message: string) => lines.push({ ...fields, message }) };
	const listener = new IscsiListener({ registry: world.environment.registry, budget: world.budget, log });
	await listener.listen({ host: '127.0.0.1', port: 0 });
	t.teardown(() => listener.close());
	const connect = (localAddress: string): net.Socket => {
		const socket = net.connect({ port: listener.address.port, host: '127.0.0.1', localAddress });
		socket.on('error', () => undefined);
		t.teardown(() => socket.destroy());
		return socket;
	};
	const until = async (reached: () => boolean): Promise<void> => {
		while (!reached()) await new Promise(setImmediate);
	};
	const sockets = Array.from({ length: limits.connectionsPerAddress }, () => connect('127.0.0.1'));
	await until(() => listener.connections === limits.connectionsPerAddress);
	for (let count = 0; count < 2 * linesPerMinute; count++) connect('127.0.0.1');
	await until(() => listener.statistics.connectionsRefused === 2 * linesPerMinute);
	t.deepEqual(lines[0], {
		remote: '127.0.0.1',
		reason: `this address has ${limits.connectionsPerAddress} connections`,
		message: 'iSCSI connection refused',
	});
	t.is(lines.length, linesPerMinute, 'a flood of refusals is none of lines');
	connect('127.0.0.2');
	await until(() => listener.connections === limits.connectionsPerAddress + 1);
	sockets[0]!.destroy();
	await until(() => listener.connections === limits.connectionsPerAddress);
	connect('127.0.0.1');
	await until(() => listener.connections === limits.connectionsPerAddress + 1);
	t.is(listener.statistics.connectionsRefused, 2 * linesPerMinute);
});

test('an initiator that does not read gets everything in the end', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	pattern(world.device.medium.length, 2).copy(world.device.medium);
	const listener = await listen(t, world);
	const initiator = await client(t, listener, '000000000001');
	initiator.socket.pause();
	for (let tag = 10; tag < 42; tag++) initiator.socket.write(initiator.maker.command({ cdb: read10(0, 8192), tag, read: 4 * MiB }));
	// Enough of them to fill every buffer between us.
	while (world.statistics.commands === 0 && listener.statistics.commands < 33) await new Promise(setImmediate);
	initiator.socket.resume();
	const sums = new Map<number, number>();
	for (let ended = 0; ended < 32;) {
		const { bhs, data } = (await initiator.next())!;
		const tag = bhs.readUInt32BE(16);
		const offset = pdu.DataIn.bufferOffset.get(bhs, 0);
		if (!data.equals(world.device.medium.subarray(offset, offset + data.length))) t.fail(`tag ${tag} at ${offset}`);
		sums.set(tag, (sums.get(tag) ?? 0) + data.length);
		if ((bhs[1]! & pdu.statusBit) !== 0) ended++;
	}
	t.true([...sums.values()].every((sum) => sum === 4 * MiB));
});

test('discovery over TCP names the portal that was reached', async (t) => {
	const listener = await listen(t);
	const initiator = await client(t, listener);
	await initiator.login('000000000001', true);
	initiator.socket.write(initiator.maker.request(pdu.opcode.textRequest, 0x80, { 16: 2, 20: pdu.noTag }, Buffer.from('SendTargets=All\0')));
	t.is((await initiator.next())!.data.toString(), `TargetName=${targetName}\0TargetAddress=127.0.0.1:${listener.address.port},1\0`);
});

test('challenges are random: two logins are never asked the same', async (t) => {
	const world = new World();
	world.chap = { initiator: { user: 'abc', secret: 'a secret of 18 b..' }, target: undefined };
	const listener = await listen(t, world);
	const challenges = new Set<string>();
	for (let login = 0; login < 4; login++) {
		const initiator = await client(t, listener);
		const say = async (keys: Record<string, string>) => {
			initiator.socket.write(initiator.maker.pdu(loginRequest({ currentStage: 0, nextStage: 1, transit: false }), text(keys)));
			return (await initiator.next())!.data.toString();
		};
		await say({ InitiatorName: initiatorName, TargetName: targetName, AuthMethod: 'CHAP' });
		const challenge = /CHAP_C=0x(?<digits>[0-9a-f]{64})/.exec(await say({ CHAP_A: '8' }))?.groups?.['digits'] ?? '';
		t.is(challenge.length, 64);
		challenges.add(challenge);
	}
	t.is(challenges.size, 4);
});

test('limits.portals: one more is refused', async (t) => {
	const listener = await listen(t);
	for (let count = 1; count < limits.portals; count++) await listener.listen({ host: '127.0.0.1', port: 0 });
	await t.throwsAsync(listener.listen({ host: '127.0.0.1', port: 0 }), { instanceOf: RangeError });
	t.is(new Set(listener.portals.map(({ port }) => port)).size, limits.portals);
});
