import { once } from 'node:events';
import { createServer } from 'node:net';
import test from 'ava';
import { listenAt, portsTriedMax } from '../../src/appliance/ports.ts';
import { type Endpoint, parseEndpoint, printEndpoint } from '../../src/config/endpoint.ts';
import { UsageError } from '../../src/config/usage-error.ts';

const usual = { host: '127.0.0.1', port: 3260 };

test('endpoints: host and port, either alone, and IPv6 in brackets', (t) => {
	const parse = (text: string) => parseEndpoint(text, usual, '--iscsi');
	t.deepEqual(parse('10.0.0.1:9'), { host: '10.0.0.1', port: 9 });
	t.deepEqual(parse('10.0.0.1'), { host: '10.0.0.1', port: 3260 });
	t.deepEqual(parse(':3261'), { host: '127.0.0.1', port: 3261 });
	t.deepEqual(parse('[::1]:3261'), { host: '::1', port: 3261 });
	t.deepEqual(parse('[fe80::1]'), { host: 'fe80::1', port: 3260 });
	t.deepEqual(parse('storage.example:0'), { host: 'storage.example', port: 0 });
	for (const text of [
		'',
		'::1',
		'::1:3260',
		'a:b',
		'1.2.3.4:65536',
		'1.2.3.4:',
		'[1:2]:3',
		'a b:1',
		'[::1',
		'1.2.3.4:-1',
		'http://1.2.3.4:1',
	]) {
		t.throws(() => parse(text), { instanceOf: UsageError, message: /--iscsi takes HOST:PORT/ }, text);
	}
	t.is(printEndpoint({ host: '::1', port: 1 }), '[::1]:1');
	t.is(printEndpoint(usual), '127.0.0.1:3260');
});

function fails(code: string) {
	return () => Promise.reject(Object.assign(new Error(code), { code }));
}

test('the usual port taken: the next free one is used and the number of steps told', async (t) => {
	const taken = new Set([3260, 3261]);
	const listen = async ({ port }: Endpoint) => {
		if (taken.has(port)) throw Object.assign(new Error('taken'), { code: 'EADDRINUSE' });
		return port;
	};
	t.deepEqual(await listenAt({ name: 'iSCSI', flag: '--iscsi', asked: undefined, usual }, listen), { listening: 3262, tried: 2 });
});

test('a port that was asked for and is taken is refused', async (t) => {
	const asked = { host: '127.0.0.1', port: 3260 };
	const error = await t.throwsAsync(listenAt({ name: 'iSCSI', flag: '--iscsi', asked, usual }, fails('EADDRINUSE')), {
		instanceOf: UsageError,
	});
	t.is(error?.message, '127.0.0.1:3260 is taken by another program: choose another address or port for iSCSI with --iscsi.');
});

test('every way in which listening fails is one sentence with its flag; the search for a port ends', async (t) => {
	const what = { name: 'iSCSI', flag: '--iscsi', asked: undefined, usual };
	let attempts = 0;
	const none = listenAt(what, () => {
		attempts++;
		return fails('EADDRINUSE')();
	});
	await t.throwsAsync(none, { instanceOf: UsageError, message: /No port from 127\.0\.0\.1:3260 on is free/ });
	t.is(attempts, portsTriedMax);
	await t.throwsAsync(listenAt(what, fails('EACCES')), { instanceOf: UsageError, message: /privileges.*--iscsi/ });
	await t.throwsAsync(listenAt(what, fails('EADDRNOTAVAIL')), { instanceOf: UsageError, message: /no address of this machine/ });
	await t.throwsAsync(listenAt(what, fails('EMFILE')), { instanceOf: UsageError, message: /EMFILE/ });
	await t.throwsAsync(
		listenAt(what, () => Promise.reject(new TypeError('a bug'))),
		{ instanceOf: TypeError },
	);
});

test('a port that another program really holds is found to be taken', async (t) => {
	const holder = createServer().listen(0, '127.0.0.1');
	t.teardown(() => holder.close());
	await once(holder, 'listening');
	const address = holder.address();
	const port = typeof address === 'object' && address !== null ? address.port : 0;
	const server = createServer();
	t.teardown(() => server.close());
	const listen = async (endpoint: Endpoint) => {
		server.listen(endpoint);
		await once(server, 'listening');
	};
	await t.throwsAsync(listenAt({ name: 'iSCSI', flag: '--iscsi', asked: { host: '127.0.0.1', port }, usual }, listen), {
		message: /is taken/,
	});
	const { tried } = await listenAt({ name: 'iSCSI', flag: '--iscsi', asked: undefined, usual: { host: '127.0.0.1', port } }, listen);
	t.true(tried >= 1);
});
