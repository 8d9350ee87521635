import net from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { congestionControlOf, setCongestionControl } from '../../src/os/tcp-congestion.ts';
import { chosenAlgorithm, congestionControl } from '../../src/wire/congestion-control.ts';
import { WireSocket } from '../../src/wire/socket.ts';

/** The descriptor of a server or a socket: Node keeps it in the handle. */
function descriptor(of: object): number {
	return Number(Reflect.get(Reflect.get(of, '_handle') as object, 'fd'));
}

/** What a connection on loopback has as its algorithm once it is a WireSocket, where the system gives `systems`; undefined where the kernel does not let us choose that one. */
async function applied(t: ExecutionContext, systems: string): Promise<string | undefined> {
	const server = net.createServer({ pauseOnConnect: true });
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	t.teardown(() => server.close());
	// Accepted connections begin with what the listener has, as they do with the system's choice.
	if (!setCongestionControl(descriptor(server), systems)) return undefined;
	const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
	const peer = net.connect({ port: (server.address() as net.AddressInfo).port, host: '127.0.0.1' });
	t.teardown(() => peer.destroy());
	const socket = await accepted;
	const fd = descriptor(socket);
	t.is(congestionControlOf(fd), systems);
	const wire = new WireSocket(socket, () => ({
		receive: (_buffer, _start, end) => end,
		roomAgain: () => undefined,
		closed: () => undefined,
	}));
	t.teardown(() => wire.destroy('the test is over'));
	return congestionControlOf(fd);
}

test('auto: cubic in the place of BBR, of any version, towards private addresses', (t) => {
	for (const near of [
		'127.0.0.1',
		'127.255.255.254',
		'10.1.2.3',
		'172.16.0.1',
		'172.31.255.255',
		'192.168.7.9',
		'169.254.1.1',
		'::1',
		'fe80::1',
		'fd12:3456::1',
		'::ffff:10.1.2.3',
	])
		for (const systems of ['bbr', 'bbr2']) t.is(chosenAlgorithm(systems, near), 'cubic', `${systems} to ${near}`);
});

test('auto: what the system gives, towards other addresses and where it is not BBR', (t) => {
	for (const far of [
		'8.8.8.8',
		'172.15.255.255',
		'172.32.0.0',
		'192.169.0.1',
		'11.0.0.1',
		'100.64.0.1',
		'2001:db8::1',
		'::ffff:8.8.8.8',
		'',
	])
		t.is(chosenAlgorithm('bbr', far), 'bbr', `to ${far}`);
	for (const systems of ['cubic', 'reno', 'dctcp', 'vegas']) t.is(chosenAlgorithm(systems, '10.1.2.3'), systems);
});

test.serial('an accepted connection gets what was chosen', async (t) => {
	t.teardown(() => congestionControl.configure('auto'));
	congestionControl.configure('auto');
	// Every kernel has it and lets everybody choose it.
	t.is(await applied(t, 'reno'), 'reno');
	const auto = await applied(t, 'bbr');
	if (auto === undefined) t.log('this kernel does not let us choose BBR, so nothing can be put in its place');
	else t.is(auto, 'cubic');
	congestionControl.configure('system');
	t.is(await applied(t, 'bbr'), auto === undefined ? undefined : 'bbr');
});

test('an algorithm that the kernel does not have is said, and the socket keeps its own', async (t) => {
	const server = net.createServer();
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	t.teardown(() => server.close());
	const before = congestionControlOf(descriptor(server));
	t.false(setCongestionControl(descriptor(server), 'no-such-one'));
	t.is(congestionControlOf(descriptor(server)), before);
	t.throws(() => congestionControlOf(-1), { code: 'EBADF' });
	t.throws(() => setCongestionControl(-1, 'cubic'), { code: 'EBADF' });
	t.notThrows(() => congestionControl.apply(-1, '127.0.0.1'), 'a connection does not fail for it');
});
