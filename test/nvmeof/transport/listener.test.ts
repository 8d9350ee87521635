import net from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { NvmeListener } from '../../../src/nvmeof/listener.ts';
import * as pdu from '../../../src/nvmeof/pdu.ts';
import { silent } from '../../../src/os/logger.ts';
import { cidOf, type ICReqOptions, opcode, pattern, settled, split, statusOf, World } from './peer.ts';

const MiB = 1024 * 1024;

async function listen(t: ExecutionContext, world: World): Promise<NvmeListener> {
	const listener = new NvmeListener({ fabric: world, budget: world.budget, log: silent });
	await listener.listen({ host: '127.0.0.1', port: 0 });
	t.teardown(() => listener.close());
	return listener;
}

interface Got {
	readonly type: number;
	readonly flags: number;
	readonly header: Buffer;
	readonly data: Buffer;
	readonly pdo: number;
	readonly padding: Buffer;
}

/** A host on a socket; a Peer makes its PDUs. */
class Client {
	readonly socket: net.Socket;
	readonly maker = new World().connect();
	readonly closed: Promise<void>;
	#received: Buffer = Buffer.alloc(0);
	#wake: (() => void) | undefined;
	#over = false;

	constructor(port: number) {
		this.socket = net.connect(port, '127.0.0.1');
		this.socket.on('data', (data) => {
			this.#received = Buffer.concat([this.#received, data]);
			this.#wake?.();
		});
		this.socket.on('error', () => undefined);
		this.closed = new Promise((resolve) => {
			this.socket.on('close', () => {
				this.#over = true;
				this.#wake?.();
				resolve();
			});
		});
	}

	/** The next PDU, without digests; undefined when the connection has ended. */
	async next(): Promise<Got | undefined> {
		for (;;) {
			const all = this.#received;
			if (all.length >= 8 && all.length >= all.readUInt32LE(4)) {
				const plen = all.readUInt32LE(4);
				const [type, flags, hlen, pdo] = [all[0]!, all[1]!, all[2]!, all[3]!];
				this.#received = all.subarray(plen);
				const dataAt = pdo === 0 ? hlen : pdo;
				return { type, flags, header: all.subarray(0, hlen), data: all.subarray(dataAt, plen), pdo, padding: all.subarray(hlen, dataAt) };
			}
			if (this.#over) return undefined;
			await new Promise<void>((resolve) => {
				this.#wake = resolve;
			});
		}
	}

	async open(options: ICReqOptions & { depth?: number } = {}): Promise<this> {
		this.socket.write(this.maker.icReq(options));
		if ((await this.next())?.type !== pdu.pduType.icResp) throw new Error('no ICResp');
		this.socket.write(this.maker.connectCommand(options));
		const answer = await this.next();
		if (answer === undefined || statusOf(answer) !== '0') throw new Error('Connect failed');
		return this;
	}
}

test('a host on a socket writes and reads, in pieces of any size', async (t) => {
	const world = new World({ deviceBytes: 8 * MiB });
	const listener = await listen(t, world);
	const client = await new Client(listener.address.port).open({ maxR2T: 3 });
	t.is(listener.connections, 1);
	const { link } = world.logics[0]!;
	t.is(link.remote, `127.0.0.1:${client.socket.localPort}`);
	t.is(link.localAddress, '127.0.0.1');
	t.is(link.localPort, listener.address.port);
	const data = pattern(4 * MiB, 1);
	client.socket.write(client.maker.command({ opcode: opcode.write, cid: 1, blocks: 8192 }));
	for (let next = await client.next(); next !== undefined && statusOf(next) === 'R2T'; next = await client.next()) {
		const { header } = next;
		const [ttag, from, length] = [pdu.R2T.ttag.get(header, 0), pdu.R2T.r2to.get(header, 0), pdu.R2T.r2tl.get(header, 0)];
		for (let at = from; at < from + length; at += MiB / 2) {
			const piece = data.subarray(at, at + MiB / 2);
			const bytes = client.maker.h2cData({ cid: 1, ttag, offset: at, data: piece, last: at + piece.length === from + length });
			for (const part of split(bytes, 77_777)) client.socket.write(part);
		}
	}
	t.true(world.device.medium.subarray(0, data.length).equals(data));
	client.socket.write(client.maker.command({ opcode: opcode.read, cid: 2, blocks: 8192 }));
	const parts: Buffer[] = [];
	for (let next = await client.next(); next !== undefined && statusOf(next) === 'C2HData'; next = await client.next())
		parts.push(next.data);
	t.true(Buffer.concat(parts).equals(data));
	client.socket.destroy();
	await client.closed;
	while (listener.connections > 0) await settled();
	t.true(world.isFree);
	t.deepEqual(world.logics[0]!.log, ['closed']);
	t.is(listener.statistics.bytesWritten, data.length);
	t.is(listener.statistics.bytesRead, data.length);
});

test('a C2HTermReq reaches the host before the connection closes, though bytes of it are unread', async (t) => {
	const world = new World();
	const listener = await listen(t, world);
	const client = await new Client(listener.address.port).open();
	client.socket.write(Buffer.concat([Buffer.alloc(100, 0x42), Buffer.alloc(300_000)]));
	t.is(statusOf((await client.next())!), 'term 1/0');
	t.is(await client.next(), undefined);
	await client.closed;
});

test('two listeners share a fabric and a budget; the fabric’s clock goes', async (t) => {
	const world = new World();
	const [one, two] = [await listen(t, world), await listen(t, world)];
	await new Client(one.address.port).open();
	await new Client(two.address.port).open();
	t.deepEqual(
		world.logics.map(({ link }) => link.localPort),
		[one.address.port, two.address.port],
	);
	while (world.ticks < 2) await new Promise((resolve) => setTimeout(resolve, 20));
	t.pass();
});

test('drain: what runs is answered, idle hosts are closed, no connection is taken any more', async (t) => {
	const world = new World();
	const listener = await listen(t, world);
	const { port } = listener.address;
	const idle = await new Client(port).open();
	const busy = await new Client(port).open();
	busy.socket.write(busy.maker.command({ opcode: opcode.pend, cid: 1 }));
	busy.socket.write(busy.maker.command({ opcode: opcode.later, cid: 2 }));
	while (world.logics[1]!.pending.length < 2) await settled();
	const drained = listener.drain(10_000);
	t.is(await idle.next(), undefined);
	await idle.closed;
	const late = new Client(port);
	await late.closed;
	world.logics[1]!.finish(1);
	const answer = await busy.next();
	t.is(cidOf(answer!), 2);
	t.is(await busy.next(), undefined);
	await drained;
	t.is(listener.connections, 0);
	t.deepEqual(
		world.logics.map(({ log }) => log),
		[['closed'], ['closed']],
	);
});

test('drain gives up after its time, and close() ends everything at once', async (t) => {
	const world = new World();
	const listener = await listen(t, world);
	const client = await new Client(listener.address.port).open();
	client.socket.write(client.maker.command({ opcode: opcode.later, cid: 2 }));
	while (world.logics[0]!.pending.length < 1) await settled();
	await listener.drain(30);
	t.is(listener.connections, 0);
	await client.closed;
	t.deepEqual(world.logics[0]!.log, ['closed']);
	await listener.close();
	const other = await listen(t, world);
	const clients = [await new Client(other.address.port).open(), new Client(other.address.port)];
	while (other.connections < 2) await settled();
	await other.close();
	for (const each of clients) await each.closed;
	t.is(other.connections, 0);
});

test('a port that is taken: listen() rejects with the system’s error', async (t) => {
	const world = new World();
	const listener = await listen(t, world);
	const other = new NvmeListener({ fabric: world, budget: world.budget, log: silent });
	await t.throwsAsync(other.listen(listener.address), { code: 'EADDRINUSE' });
	t.throws(() => other.address);
	await other.close();
});

test('a host that vanishes in the middle of everything leaves nothing behind', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const listener = await listen(t, world);
	world.device.cold = true;
	for (let round = 0; round < 10; round++) {
		const client = await new Client(listener.address.port).open();
		for (let cid = 0; cid < 20; cid++) client.socket.write(client.maker.command({ opcode: opcode.read, cid, blocks: 2000 }));
		for (let cid = 20; cid < 40; cid++) client.socket.write(client.maker.command({ opcode: opcode.write, cid, blocks: 2000 }));
		client.socket.write(client.maker.command({ opcode: opcode.write, cid: 50, blocks: 16, data: Buffer.alloc(8192) }).subarray(0, 3000));
		await client.next();
		client.socket.resetAndDestroy();
		await client.closed;
	}
	while (listener.connections > 0) await settled();
	while (!world.isFree) await settled();
	t.true(world.logics.every(({ log }) => log.at(-1) === 'closed'));
});
