import net from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { WireSocket } from '../../src/wire/socket.ts';

/** A WireSocket that takes everything, and the socket of its peer. */
async function pair(t: ExecutionContext, patience?: { endMs: number; lingerMs: number }) {
	const server = net.createServer({ pauseOnConnect: true });
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	t.teardown(() => server.close());
	const { port } = server.address() as net.AddressInfo;
	const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
	const peer = net.connect({ port, host: '127.0.0.1' });
	peer.on('error', () => undefined);
	t.teardown(() => peer.destroy());
	let gone: (reason: string) => void = () => undefined;
	const closed = new Promise<string>((resolve) => {
		gone = resolve;
	});
	const socket = new WireSocket(
		await accepted,
		() => ({ receive: (_buffer, _start, end) => end, roomAgain: () => undefined, closed: (reason) => gone(reason) }),
		patience,
	);
	return { socket, peer, closed };
}

test('end(): the last words reach a peer that reads, and then it is closed', async (t) => {
	const { socket, peer, closed } = await pair(t);
	const words = Buffer.alloc(4 * 1024 * 1024, 7);
	socket.transmitter.send(words, 0, words.length, undefined);
	socket.end();
	let heard = 0;
	peer.on('data', (data) => {
		heard += data.length;
	});
	await new Promise((resolve) => peer.once('end', resolve));
	t.is(heard, words.length);
	t.is(await closed, 'closed by us');
});

test('end(): a peer that does not read is closed all the same, and so is one that does not close', async (t) => {
	const deaf = await pair(t, { endMs: 50, lingerMs: 3_600_000 });
	// More than the kernel's buffers take.
	const words = Buffer.alloc(64 * 1024 * 1024, 7);
	deaf.socket.transmitter.send(words, 0, words.length, undefined);
	deaf.socket.end();
	t.is(await deaf.closed, 'the peer does not read our last words');

	const open = await pair(t, { endMs: 3_600_000, lingerMs: 50 });
	open.peer.pause();
	open.socket.end();
	t.is(await open.closed, 'closed by us');
});
