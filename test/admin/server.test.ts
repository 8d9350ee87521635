import { lstat, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { type RequestOptions, request } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Guard } from '../../src/admin/guard.ts';
import { loopbackHosts } from '../../src/admin/guard.ts';
import type { Operations } from '../../src/admin/operations.ts';
import type { ChapView, ControllerView, StatusView, SubsystemView, TargetView, VolumeView } from '../../src/admin/schemas.ts';
import { AdminServer } from '../../src/admin/server.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';

const volume: VolumeView = {
	name: 'data',
	uuid: '00000000-0000-4000-8000-000000000001',
	sizeBytes: 2 ** 30,
	blockSize: 512,
	createdAt: '2026-11-21T12:00:00.000Z',
	state: 'online',
	mappings: [],
	namespaces: [],
	statistics: { dirtyPages: 3, readCommands: 9, sizeBytes: 2 ** 30 },
};
const target: TargetView = {
	name: 'iqn.2026-11.dev.blockport:one',
	alias: '',
	tpgt: 1,
	openToAll: false,
	createdAt: '2026-11-21T12:00:00.000Z',
	luns: [],
	snapshots: [],
	initiators: [{ initiator: 'iqn.x', authentication: 'mutual', chapUser: 'x', mutualChapUser: 'one', sources: ['10.0.0.0/24'] }],
	redirection: { address: '10.0.0.2:3260', permanent: false },
	sessions: 2,
};
const chap: ChapView = { authentication: 'initiator', chapUser: 'discovery' };
const subsystem: SubsystemView = {
	name: 'nqn.2026-11.dev.blockport:one',
	uuid: '00000000-0000-4000-8000-000000000002',
	openToAll: false,
	createdAt: '2026-11-21T12:00:00.000Z',
	namespaces: [{ subsystem: 'nqn.2026-11.dev.blockport:one', nsid: 1, volume: 'data' }],
	snapshots: [],
	hosts: [{ host: 'nqn.2026-11.test:host', authentication: 'mutual', dhchapHash: 'sha256', dhchapDhgroup: 'ffdhe2048' }],
	controllers: 1,
};
const controller: ControllerView = {
	subsystem: subsystem.name,
	cntlid: 1,
	host: 'nqn.2026-11.test:host',
	hostID: '00112233445566778899aabbccddeeff',
	ioQueues: 2,
	remote: '127.0.0.1:40000',
	authenticated: true,
};
const status: StatusView = {
	version: '1.2.3',
	state: 'ready',
	pid: 1,
	startedAt: '2026-11-21T12:00:00.000Z',
	uptimeSeconds: 1.5,
	demo: false,
	dataDirectory: '/data',
	freeBytes: 1,
	iscsiPortals: [{ host: '::1', port: 3260, portalGroupTag: 2 }],
	volumes: { opening: 0, online: 1, faulted: 0 },
	faults: [],
	targets: 1,
	sessions: 2,
	subsystems: 3,
	controllers: 4,
	memory: { rssBytes: 1, budgetLimitBytes: 64, budgetUsedBytes: 2, budgetPeakBytes: 3, budgetWaiting: 4 },
	unknownDirectories: [],
};

/** Notes what it is asked, and says yes. */
class Stub implements Operations {
	state: StatusView['state'] = 'ready';
	calls: unknown[] = [];
	error: Error | undefined = undefined;
	statusOf = status;
	volumesOf = [volume];

	status = async () => this.statusOf;
	volumes = async () => this.volumesOf;
	volume = (name: string) => this.#done(volume, 'volume', name);
	createVolume = (body: object) => this.#done(volume, 'createVolume', body);
	resizeVolume = (name: string, sizeBytes: number) => this.#done(volume, 'resizeVolume', name, sizeBytes);
	setSanitizable = (name: string, isAllowed: boolean) => this.#done(volume, 'setSanitizable', name, isAllowed);
	deleteVolume = (name: string) => this.#done(undefined, 'deleteVolume', name);
	targets = () => [target];
	target = () => target;
	createTarget = (body: object) => this.#done(target, 'createTarget', body);
	deleteTarget = (name: string) => this.#done(undefined, 'deleteTarget', name);
	map = (name: string, mapping: { volume: string; lun?: number | undefined }) =>
		this.#done({ target: name, lun: mapping.lun ?? 0, volume: mapping.volume }, 'map', name, mapping);
	unmap = (name: string, lun: number) => this.#done(undefined, 'unmap', name, lun);
	allow = (name: string, initiator: string, access: object) => this.#done(target, 'allow', name, initiator, access);
	disallow = (name: string, initiator: string) => this.#done(target, 'disallow', name, initiator);
	redirectTarget = (name: string, to: object | undefined) => this.#done(target, 'redirectTarget', name, to);
	discoveryAuthentication = () => chap;
	setDiscoveryAuthentication = (wish: object) => this.#done(chap, 'setDiscoveryAuthentication', wish);
	clearDiscoveryAuthentication = () => this.#done(undefined, 'clearDiscoveryAuthentication');
	sessions = () => [];
	subsystems = () => [subsystem];
	subsystem = () => subsystem;
	createSubsystem = (body: object) => this.#done(subsystem, 'createSubsystem', body);
	deleteSubsystem = (name: string) => this.#done(undefined, 'deleteSubsystem', name);
	mapNamespace = (name: string, mapping: { volume: string; nsid?: number | undefined }) =>
		this.#done({ subsystem: name, nsid: mapping.nsid ?? 1, volume: mapping.volume }, 'mapNamespace', name, mapping);
	unmapNamespace = (name: string, nsid: number) => this.#done(undefined, 'unmapNamespace', name, nsid);
	allowHost = (name: string, host: string, access: object) => this.#done(subsystem, 'allowHost', name, host, access);
	disallowHost = (name: string, host: string) => this.#done(subsystem, 'disallowHost', name, host);
	controllers = () => [controller];
	nvmeStatistics = () => ({ connections: 8, bytesWritten: 9 });
	iscsiStatistics = () => ({ commands: 5, bytesRead: 6 });

	async #done<T>(result: T, ...call: unknown[]): Promise<T> {
		this.calls.push(call);
		if (this.error !== undefined) throw this.error;
		return result;
	}
}

interface Answer {
	status: number;
	headers: Record<string, string | string[] | undefined>;
	text: string;
	// oxlint-disable-next-line typescript/no-explicit-any -- what a test expects of it, it asserts
	body: any;
}

function ask(options: RequestOptions, body?: string, how: typeof request = request): Promise<Answer> {
	return new Promise((resolve, reject) => {
		const sent = how({ agent: false, ...options }, (response) => {
			let text = '';
			response.setEncoding('utf8');
			response.on('data', (chunk: string) => (text += chunk));
			response.on('end', () => {
				const json = response.headers['content-type']?.startsWith('application/json') === true;
				resolve({ status: response.statusCode ?? 0, headers: response.headers, text, body: json ? JSON.parse(text) : undefined });
			});
		});
		sent.on('error', reject);
		sent.end(body);
	});
}

async function serve(t: ExecutionContext, guard: Guard = { hosts: loopbackHosts, token: undefined }) {
	const operations = new Stub();
	const server = await AdminServer.create({ operations, log: silent, version: '1.2.3' });
	t.teardown(() => server.close());
	const port = await server.listenOnTcp('127.0.0.1', 0, guard);
	const call = (method: string, path: string, json?: unknown, headers: Record<string, string> = {}) => {
		const body = json === undefined ? undefined : typeof json === 'string' ? json : JSON.stringify(json);
		return ask(
			{
				host: '127.0.0.1',
				port,
				method,
				path,
				headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
			},
			body,
		);
	};
	return { operations, server, port, call };
}

test('healthz answers while the process does; readyz only when every volume was opened', async (t) => {
	const { operations, call } = await serve(t);
	t.is((await call('GET', '/healthz')).status, 200);
	t.deepEqual((await call('GET', '/readyz')).body, { status: 'ok' });
	for (const state of ['starting', 'stopping'] as const) {
		operations.state = state;
		const answer = await call('GET', '/readyz');
		t.is(answer.status, 503);
		t.deepEqual(answer.body, { status: state });
	}
	t.is((await call('GET', '/healthz')).status, 200);
});

test('every route reaches its operation with what was asked', async (t) => {
	const { operations, call } = await serve(t);
	const name = encodeURIComponent(target.name);
	const access = {
		chapUser: 'x',
		chapSecret: 'twelve bytes',
		mutualChapUser: 'one',
		mutualChapSecret: 'thirteen byte',
		sources: ['10.0.0.0/24'],
	};
	t.deepEqual((await call('GET', '/v1/status')).body, status);
	t.deepEqual((await call('GET', '/v1/volumes')).body, { volumes: [volume] });
	t.deepEqual((await call('GET', '/v1/volumes/data')).body, volume);
	t.is((await call('POST', '/v1/volumes', { name: 'data', sizeBytes: 4096 })).status, 201);
	t.deepEqual((await call('PATCH', '/v1/volumes/data', { sizeBytes: 8192 })).body, volume);
	t.deepEqual((await call('PATCH', '/v1/volumes/data', { sanitizable: true })).body, volume);
	for (const neither of [{}, { sizeBytes: 8192, sanitizable: true }]) t.is((await call('PATCH', '/v1/volumes/data', neither)).status, 400);
	t.is((await call('DELETE', '/v1/volumes/data')).status, 204);
	t.deepEqual((await call('GET', '/v1/targets')).body, { targets: [target] });
	t.deepEqual((await call('GET', `/v1/targets/${name}`)).body, target);
	t.is((await call('POST', '/v1/targets', { name: target.name })).status, 201);
	t.is((await call('DELETE', `/v1/targets/${name}`)).status, 204);
	t.deepEqual((await call('POST', `/v1/targets/${name}/luns`, { volume: 'data' })).body, { target: target.name, lun: 0, volume: 'data' });
	t.deepEqual((await call('PUT', `/v1/targets/${name}/luns/3`, { volume: 'data' })).body, { target: target.name, lun: 3, volume: 'data' });
	t.is((await call('DELETE', `/v1/targets/${name}/luns/3`)).status, 204);
	t.is((await call('PUT', `/v1/targets/${name}/initiators/iqn.x`)).status, 200);
	t.is((await call('PUT', `/v1/targets/${name}/initiators/iqn.x`, access)).status, 200);
	t.is((await call('DELETE', `/v1/targets/${name}/initiators/iqn.x`)).status, 200);
	t.is((await call('PUT', `/v1/targets/${name}/redirection`, { address: '10.0.0.2' })).status, 200);
	t.is((await call('PUT', `/v1/targets/${name}/redirection`, { address: '[fd00::2]:1', permanent: true })).status, 200);
	t.is((await call('DELETE', `/v1/targets/${name}/redirection`)).status, 200);
	t.deepEqual((await call('GET', '/v1/discovery/authentication')).body, chap);
	t.deepEqual((await call('PUT', '/v1/discovery/authentication', { chapSecret: 'twelve bytes' })).body, chap);
	t.is((await call('DELETE', '/v1/discovery/authentication')).status, 204);
	t.deepEqual((await call('GET', '/v1/sessions')).body, { sessions: [] });
	t.is((await call('POST', '/v1/volumes', { name: 'data', sizeBytes: 4096, exports: ['nvme'] })).status, 201);
	t.deepEqual(operations.calls, [
		['volume', 'data'],
		['createVolume', { name: 'data', sizeBytes: 4096, blockSize: 512 }],
		['resizeVolume', 'data', 8192],
		['setSanitizable', 'data', true],
		['deleteVolume', 'data'],
		['createTarget', { name: target.name, alias: '', tpgt: 1 }],
		['deleteTarget', target.name],
		['map', target.name, { volume: 'data' }],
		['map', target.name, { volume: 'data', lun: 3 }],
		['unmap', target.name, 3],
		['allow', target.name, 'iqn.x', {}],
		['allow', target.name, 'iqn.x', access],
		['disallow', target.name, 'iqn.x'],
		['redirectTarget', target.name, { address: '10.0.0.2', permanent: false }],
		['redirectTarget', target.name, { address: '[fd00::2]:1', permanent: true }],
		['redirectTarget', target.name, undefined],
		['setDiscoveryAuthentication', { chapSecret: 'twelve bytes' }],
		['clearDiscoveryAuthentication'],
		['createVolume', { name: 'data', sizeBytes: 4096, blockSize: 512, exports: ['nvme'] }],
	]);
});

test('every route of NVMe reaches its operation with what was asked', async (t) => {
	const { operations, call } = await serve(t);
	const path = `/v1/subsystems/${encodeURIComponent(subsystem.name)}`;
	const host = `${path}/hosts/${encodeURIComponent(controller.host)}`;
	const access = { dhchapSecret: 'one', dhchapCtrlSecret: 'two', dhchapHash: 'sha512', dhchapDhgroup: 'ffdhe8192' };
	t.deepEqual((await call('GET', '/v1/subsystems')).body, { subsystems: [subsystem] });
	t.deepEqual((await call('GET', path)).body, subsystem);
	t.is((await call('POST', '/v1/subsystems', { name: subsystem.name })).status, 201);
	t.is((await call('DELETE', path)).status, 204);
	t.deepEqual((await call('POST', `${path}/namespaces`, { volume: 'data' })).body, subsystem.namespaces[0]);
	t.deepEqual((await call('PUT', `${path}/namespaces/7`, { volume: 'data' })).body, { ...subsystem.namespaces[0], nsid: 7 });
	t.is((await call('DELETE', `${path}/namespaces/7`)).status, 204);
	t.is((await call('PUT', host)).status, 200);
	t.is((await call('PUT', host, access)).status, 200);
	t.is((await call('DELETE', host)).status, 200);
	t.deepEqual((await call('GET', '/v1/controllers')).body, { controllers: [controller] });
	t.deepEqual(operations.calls, [
		['createSubsystem', { name: subsystem.name }],
		['deleteSubsystem', subsystem.name],
		['mapNamespace', subsystem.name, { volume: 'data' }],
		['mapNamespace', subsystem.name, { volume: 'data', nsid: 7 }],
		['unmapNamespace', subsystem.name, 7],
		['allowHost', subsystem.name, controller.host, {}],
		['allowHost', subsystem.name, controller.host, access],
		['disallowHost', subsystem.name, controller.host],
	]);
});

test('bodies of NVMe routes that do not fit are 400 and reach nobody; what is wrong with a secret is said without it', async (t) => {
	const { operations, call } = await serve(t);
	for (const [method, path, body] of [
		['POST', '/v1/subsystems', { name: 1 }],
		['POST', '/v1/subsystems', { name: 'a', uuid: 'b' }],
		['POST', '/v1/subsystems/a/namespaces', { volume: 'a', nsid: 1.5 }],
		['PUT', '/v1/subsystems/a/namespaces/x', { volume: 'a' }],
		['PUT', '/v1/subsystems/a/hosts/b', { dhchapSecret: 'x'.repeat(129) }],
		['PUT', '/v1/subsystems/a/hosts/b', { dhchapHash: 'md5' }],
		['PUT', '/v1/subsystems/a/hosts/b', { dhchapDhgroup: 'modp' }],
		['PUT', '/v1/subsystems/a/hosts/b', { secret: 'x' }],
		['POST', '/v1/volumes', { name: 'a', sizeBytes: 4096, exports: ['nfs'] }],
		['POST', '/v1/volumes', { name: 'a', sizeBytes: 4096, exports: ['nvme', 'nvme', 'nvme'] }],
	] as const) {
		const answer = await call(method, path, body);
		t.is(answer.status, 400, `${method} ${path} ${JSON.stringify(body)}`);
		t.notRegex(answer.text, /xxx/);
	}
	t.deepEqual(operations.calls, []);
});

test('a name of 223 bytes, all of them escaped, fits into a path', async (t) => {
	const { operations, call } = await serve(t);
	t.is((await call('PUT', `/v1/targets/${'%C3%A9'.repeat(111)}/initiators/${'%3A'.repeat(223)}`)).status, 200);
	t.deepEqual(operations.calls, [['allow', 'é'.repeat(111), ':'.repeat(223), {}]]);
});

test('an address that cannot be read, or is too long: an error like every other', async (t) => {
	const { call } = await serve(t);
	for (const [name, status] of [
		['%zz', 400],
		['a'.repeat(3000), 414],
	] as const) {
		const refused = await call('GET', `/v1/volumes/${name}`);
		t.is(refused.status, status);
		t.like(refused.body, { error: { code: 'invalid' } });
	}
});

test('a body that is not what the route takes: 400, one sentence, nothing done', async (t) => {
	const { operations, call } = await serve(t);
	for (const body of [
		{},
		{ name: 'a' },
		{ name: 'a', sizeBytes: '1' },
		{ name: 'a', sizeBytes: -1 },
		{ name: 'a', sizeBytes: 1.5 },
		{ name: 'a', sizeBytes: 2 ** 60 },
		{ name: 'a', sizeBytes: 4096, blockSize: 520 },
		{ name: 'a', sizeBytes: 4096, extra: 1 },
		{ name: 'x'.repeat(600), sizeBytes: 4096 },
		[],
		'null',
		'{"name": "a"',
		'',
	]) {
		const answer = await call('POST', '/v1/volumes', body);
		t.is(answer.status, 400, JSON.stringify(body));
		t.is(answer.body.error.code, 'invalid');
		t.regex(answer.body.error.message, /^[^\n]+\.$/);
	}
	t.is((await call('PUT', '/v1/targets/t/luns/x', { volume: 'data' })).status, 400);
	t.is((await call('DELETE', '/v1/targets/t/luns/1.5')).status, 400);
	t.is((await call('POST', '/v1/volumes', `{"name": "${'a'.repeat(70_000)}"}`)).status, 413);
	t.deepEqual(operations.calls, []);
});

test('each refusal of the appliance has its status', async (t) => {
	const { operations, call } = await serve(t);
	for (const [code, expected] of [
		['invalid', 400],
		['notFound', 404],
		['alreadyExists', 409],
		['inUse', 409],
		['unavailable', 503],
		['noSpace', 507],
	] as const) {
		operations.error = new UsageError('It is so.', code);
		const answer = await call('DELETE', '/v1/volumes/data');
		t.is(answer.status, expected);
		t.deepEqual(answer.body, { error: { code, message: 'It is so.' } });
	}
});

test('a fault of ours: 500, and only the log says what it was', async (t) => {
	const { operations, call } = await serve(t);
	operations.error = new TypeError('secret of the inside');
	const answer = await call('DELETE', '/v1/volumes/data');
	t.is(answer.status, 500);
	t.is(answer.body.error.code, 'internal');
	t.notRegex(answer.text, /secret/);
	operations.error = undefined;
	operations.statusOf = { ...status, state: 'nonsense' as 'ready' };
	t.is((await call('GET', '/v1/status')).status, 500);
});

test('what is not there: 404 with a sentence', async (t) => {
	const { call } = await serve(t);
	t.regex((await call('GET', '/v2/volumes')).body.error.message, /no GET \/v2\/volumes/);
	t.is((await call('PUT', '/v1/volumes')).status, 404);
});

test('a page in a browser cannot use the API: foreign Host, foreign Origin, bodies other than JSON', async (t) => {
	const { operations, port, call } = await serve(t);
	const create = { name: 'a', sizeBytes: 4096 };
	for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example', '[::2]', '127.0.0.2']) {
		const answer = await call('POST', '/v1/volumes', create, { host });
		t.is(answer.status, 403, host);
		t.is(answer.body.error.code, 'forbidden');
	}
	for (const origin of ['http://evil.example', 'null', `http://127.0.0.1:${port + 1}`, 'http://localhost']) {
		t.is((await call('POST', '/v1/volumes', create, { origin })).status, 403, origin);
	}
	for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp']) {
		t.is((await call('POST', '/v1/volumes', JSON.stringify(create), { 'content-type': type })).status, 415, type);
	}
	t.deepEqual(operations.calls, []);
	const preflight = await call('OPTIONS', '/v1/volumes', undefined, { 'access-control-request-method': 'POST' });
	t.is(preflight.headers['access-control-allow-origin'], undefined);
	for (const host of ['localhost', `LOCALHOST:${port}`, `127.0.0.1:${port}`, '[::1]:9260']) {
		t.is((await call('GET', '/healthz', undefined, { host })).status, 200, host);
	}
	t.is((await call('POST', '/v1/volumes', create, { origin: `http://127.0.0.1:${port}` })).status, 201);
});

test('with a token, nothing is answered without it', async (t) => {
	const { call } = await serve(t, { hosts: undefined, token: 'a-long-enough-token' });
	for (const authorization of [
		undefined,
		'',
		'Bearer',
		'Bearer ',
		'Bearer a-long-enough-toke',
		'Bearer a-long-enough-token2',
		'Basic a-long-enough-token',
	]) {
		const answer = await call('GET', '/v1/status', undefined, authorization === undefined ? {} : { authorization });
		t.is(answer.status, 401, String(authorization));
	}
	t.is((await call('GET', '/v1/status', undefined, { authorization: 'Bearer a-long-enough-token', host: 'any.example' })).status, 200);
});

test('the TCP side speaks TLS when it is given a certificate', async (t) => {
	const folder = await temporaryDirectory(t);
	const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
	const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
	execFileSync(
		'openssl',
		[
			'req',
			'-x509',
			'-newkey',
			'ec',
			'-pkeyopt',
			'ec_paramgen_curve:prime256v1',
			'-nodes',
			'-keyout',
			key,
			'-out',
			cert,
			'-days',
			'2',
			...subject,
		],
		{
			stdio: 'ignore',
		},
	);
	const { server } = await serve(t);
	const tls = { cert: await readFile(cert), key: await readFile(key) };
	const port = await server.listenOnTcp('127.0.0.1', 0, { hosts: undefined, token: 'a-long-enough-token' }, tls);
	const options = { host: '127.0.0.1', servername: 'localhost', port, path: '/v1/status', ca: tls.cert };
	t.is((await ask({ ...options, headers: { authorization: 'Bearer a-long-enough-token' } }, undefined, tlsRequest)).status, 200);
	t.is((await ask(options, undefined, tlsRequest)).status, 401);
	await t.throwsAsync(ask({ host: '127.0.0.1', port, path: '/healthz' }));
});

test('the Unix socket is its owner’s alone, and needs neither Host nor token', async (t) => {
	const { server } = await serve(t, { hosts: undefined, token: 'a-long-enough-token' });
	const path = join(await temporaryDirectory(t), 'blockport.sock');
	await server.listenOnSocket(path);
	t.is((await stat(path)).mode & 0o777, 0o600);
	t.is((await ask({ socketPath: path, path: '/v1/status', headers: { host: 'whatever' } })).status, 200);
	await server.close();
	await t.throwsAsync(lstat(path), { code: 'ENOENT' });
});

test('a socket that a killed process left is replaced', async (t) => {
	const { server } = await serve(t);
	const path = join(await temporaryDirectory(t), 'blockport.sock');
	const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
	const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
	t.teardown(() => child.kill('SIGKILL'));
	await once(child.stdout, 'data');
	await t.throwsAsync(server.listenOnSocket(path), { instanceOf: UsageError, message: /Another program serves/ });
	child.kill('SIGKILL');
	await once(child, 'exit');
	t.true((await lstat(path)).isSocket());
	await server.listenOnSocket(path);
	t.is((await ask({ socketPath: path, path: '/healthz' })).status, 200);
});

test('what is no socket is not replaced; a path too long or nowhere is one sentence', async (t) => {
	const { server } = await serve(t);
	const folder = await temporaryDirectory(t);
	const file = join(folder, 'file');
	await writeFile(file, 'precious');
	await t.throwsAsync(server.listenOnSocket(file), { instanceOf: UsageError, message: /is no socket/ });
	t.is(await readFile(file, 'utf8'), 'precious');
	await symlink(file, join(folder, 'link'));
	await t.throwsAsync(server.listenOnSocket(join(folder, 'link')), { instanceOf: UsageError, message: /is no socket/ });
	await t.throwsAsync(server.listenOnSocket(join(folder, 'x'.repeat(100))), { instanceOf: UsageError, message: /longer than 107 bytes/ });
	await t.throwsAsync(server.listenOnSocket(join(folder, 'absent', 'x')), { instanceOf: UsageError, message: /cannot be made/ });
	await t.throwsAsync(server.listenOnSocket(join(file, 'x')), { instanceOf: UsageError, message: /cannot be made \(ENOTDIR\)/ });
});

test('a taken TCP port is the kernel’s error, for the appliance to explain', async (t) => {
	const { server, port } = await serve(t);
	await t.throwsAsync(server.listenOnTcp('127.0.0.1', port, { hosts: loopbackHosts, token: undefined }), { code: 'EADDRINUSE' });
});

test('metrics: appliance, budget, process, listener and each volume, as Prometheus text', async (t) => {
	const { operations, call } = await serve(t);
	const first = await call('GET', '/metrics');
	t.is(first.status, 200);
	t.regex(String(first.headers['content-type']), /^text\/plain; version=0\.0\.4/);
	for (const line of [
		'blockport_info{version="1.2.3"} 1',
		'blockport_ready 1',
		'blockport_volumes{state="online"} 1',
		'blockport_sessions 2',
		'blockport_budget_used_bytes 2',
		'blockport_budget_waiting 4',
		'blockport_iscsi_bytes_read_total 6',
		'blockport_subsystems 3',
		'blockport_nvme_controllers 4',
		'blockport_nvme_connections_total 8',
		'blockport_nvme_bytes_written_total 9',
		'blockport_volume_dirty_pages{volume="data"} 3',
		'blockport_volume_read_commands_total{volume="data"} 9',
		'# TYPE blockport_volume_read_commands_total counter',
		'blockport_volume_size_bytes{volume="data"} 1073741824',
		'blockport_volume_faulted{volume="data"} 0',
		'# TYPE process_cpu_seconds_total counter',
	]) {
		t.true(first.text.split('\n').includes(line), line);
	}
	t.regex(first.text, /^process_resident_memory_bytes \d+$/m);

	operations.volumesOf = [];
	operations.state = 'starting';
	const second = await call('GET', '/metrics');
	t.notRegex(second.text, /volume="data"/, 'a deleted volume is not shown any more');
	t.true(second.text.split('\n').includes('blockport_budget_used_bytes 2'), 'nothing adds up over scrapes');
});

test('the OpenAPI document names every route with its bodies', async (t) => {
	const { call } = await serve(t);
	const { body } = await call('GET', '/v1/openapi.json');
	t.is(body.openapi, '3.1.0');
	t.deepEqual(
		Object.entries(body.paths as Record<string, object>)
			.flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`))
			.toSorted(),
		[
			'delete /v1/discovery/authentication',
			'delete /v1/subsystems/{subsystem}',
			'delete /v1/subsystems/{subsystem}/hosts/{host}',
			'delete /v1/subsystems/{subsystem}/namespaces/{nsid}',
			'delete /v1/targets/{target}',
			'delete /v1/targets/{target}/initiators/{initiator}',
			'delete /v1/targets/{target}/luns/{lun}',
			'delete /v1/targets/{target}/redirection',
			'delete /v1/volumes/{volume}',
			'get /healthz',
			'get /readyz',
			'get /v1/controllers',
			'get /v1/discovery/authentication',
			'get /v1/sessions',
			'get /v1/status',
			'get /v1/subsystems',
			'get /v1/subsystems/{subsystem}',
			'get /v1/targets',
			'get /v1/targets/{target}',
			'get /v1/volumes',
			'get /v1/volumes/{volume}',
			'patch /v1/volumes/{volume}',
			'post /v1/subsystems',
			'post /v1/subsystems/{subsystem}/namespaces',
			'post /v1/targets',
			'post /v1/targets/{target}/luns',
			'post /v1/volumes',
			'put /v1/discovery/authentication',
			'put /v1/subsystems/{subsystem}/hosts/{host}',
			'put /v1/subsystems/{subsystem}/namespaces/{nsid}',
			'put /v1/targets/{target}/initiators/{initiator}',
			'put /v1/targets/{target}/luns/{lun}',
			'put /v1/targets/{target}/redirection',
		],
	);
	t.deepEqual(body.paths['/v1/volumes'].post.requestBody.content['application/json'].schema.required, ['name', 'sizeBytes']);
});

test('a peer that sends request after request and reads no answer is closed; others go on', async (t) => {
	const { port, call } = await serve(t);
	const socket = connect({ host: '127.0.0.1', port });
	t.teardown(() => socket.destroy());
	socket.on('error', () => undefined);
	await once(socket, 'connect');
	socket.pause();
	const request = `GET /v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`;
	socket.write(request.repeat(200));
	t.is((await call('GET', '/healthz')).status, 200);
	socket.resume();
	let received = 0;
	socket.on('data', (chunk: Buffer) => {
		received += chunk.length;
	});
	await once(socket, 'close');
	t.true(received < 4 * 100_000, `${received} bytes of answers`);
});

test('requests one after the other on one connection are no pipeline, however many', async (t) => {
	const { port } = await serve(t);
	const socket = connect({ host: '127.0.0.1', port });
	t.teardown(() => socket.destroy());
	await once(socket, 'connect');
	for (let index = 0; index < 20; index++) {
		socket.write(`GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
		const [chunk] = (await once(socket, 'data')) as [Buffer];
		t.regex(chunk.toString('latin1'), /^HTTP\/1.1 200/);
	}
});
