import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type RequestListener, createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ApiClient, ApiError } from '../../src/cli/api-client.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { temporaryDirectory } from '../temporary.ts';

async function serve(t: ExecutionContext, listener: RequestListener): Promise<string> {
	const server = createServer(listener).listen(0, '127.0.0.1');
	t.teardown(() => server.close());
	await once(server, 'listening');
	const address = server.address();
	return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
}

test('a call sends JSON with its length and the token, and reads JSON', async (t) => {
	const seen: unknown[] = [];
	const host = await serve(t, (request, response) => {
		let text = '';
		request.on('data', (chunk: Buffer) => (text += chunk.toString()));
		request.on('end', () => {
			seen.push([request.method, request.url, request.headers['content-type'], request.headers.authorization, text]);
			response.end('{"a":1}');
		});
	});
	const tokenFile = join(await temporaryDirectory(t), 'token');
	await writeFile(tokenFile, 'secret\n');
	const client = new ApiClient({ dataDir: '/nowhere', host, tokenFile });
	t.deepEqual(await client.post('/x', { b: 2 }), { a: 1 });
	t.deepEqual(await new ApiClient({ dataDir: '/nowhere', host: `http://${host}` }).get('/y'), { a: 1 });
	t.deepEqual(seen, [
		['POST', '/x', 'application/json', 'Bearer secret', '{"b":2}'],
		['GET', '/y', undefined, undefined, ''],
	]);
});

test('an error of the API is its sentence and status; another program’s answer is said to be one', async (t) => {
	const host = await serve(t, (request, response) => {
		response.statusCode = request.url === '/mine' ? 409 : 404;
		response.end(request.url === '/mine' ? '{"error":{"code":"inUse","message":"It is mapped."}}' : '<html>');
	});
	const client = new ApiClient({ dataDir: '/nowhere', host });
	t.is((await t.throwsAsync(client.get('/mine'), { instanceOf: ApiError, message: 'It is mapped.' }))?.status, 409);
	await t.throwsAsync(client.get('/other'), { instanceOf: ApiError, message: /HTTP 404 and no blockport error/ });
});

test('nobody there, a hang-up and what is no HTTP are one sentence each', async (t) => {
	const folder = await temporaryDirectory(t);
	await t.throwsAsync(new ApiClient({ dataDir: folder }).get('/'), {
		instanceOf: ApiError,
		message: /No blockport answers at .*blockport\.sock/,
	});
	await t.throwsAsync(new ApiClient({ dataDir: folder, host: '127.0.0.1:1' }).get('/'), {
		instanceOf: ApiError,
		message: /No blockport answers/,
	});
	const server = createTcpServer((socket) => socket.end('SSH-2.0-OpenSSH\r\n')).listen(0, '127.0.0.1');
	t.teardown(() => server.close());
	await once(server, 'listening');
	const address = server.address();
	const host = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
	await t.throwsAsync(new ApiClient({ dataDir: folder, host }).get('/'), { instanceOf: ApiError, message: /failed \(\w+\)/ });
});

test('a host that is no URL and a token file that cannot be read are usage errors', (t) => {
	for (const host of ['http://', 'ftp://x', '127.0.0.1:99999', 'http://127.0.0.1:9260/elsewhere'])
		t.throws(() => new ApiClient({ dataDir: '.', host }), { instanceOf: UsageError, message: /--host takes a URL/ }, host);
	t.throws(() => new ApiClient({ dataDir: '.', host: 'localhost', tokenFile: '/nowhere/token' }), {
		instanceOf: UsageError,
		message: 'There is no file /nowhere/token: make it with the token in it, or name another.',
	});
});
