import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { s3Limits } from '../../../src/archive/store/limits.ts';
import type { S3Location } from '../../../src/archive/store/location.ts';
import { type S3Store, type S3Surroundings, openS3Store } from '../../../src/archive/store/s3-store.ts';
import { temporaryDirectory } from '../../temporary.ts';
import { contract, infos, keys, storeError } from './contract.ts';
import { type Fault, S3Server } from './s3-server.ts';

/** Waits take no time, and are written down; a timer rings when a test calls it. */
function hurried(): { waitsMs: number[]; timers: Map<() => void, number>; clock: NonNullable<S3Surroundings['clock']> } {
	const waitsMs: number[] = [];
	const timers = new Map<() => void, number>();
	let nowMs = 0;
	return {
		waitsMs,
		timers,
		clock: {
			nowMs: () => nowMs,
			wait: (ms, signal) => {
				waitsMs.push(ms);
				nowMs += ms;
				signal.throwIfAborted();
				return Promise.resolve();
			},
			timer: (ms, done) => {
				timers.set(done, ms);
				return () => void timers.delete(done);
			},
			random: () => 1,
		},
	};
}

async function open(
	t: ExecutionContext,
	server: S3Server,
	location: Partial<S3Location> = {},
	surroundings: S3Surroundings = { clock: hurried().clock },
): Promise<S3Store> {
	const store = await openS3Store(server.location(location), {}, surroundings);
	t.teardown(() => store.close());
	server.take();
	return store;
}

for (const { title, run } of contract) {
	for (const conditionalPut of ['yes', 'ignored', 'notImplemented'] as const) {
		if (conditionalPut !== 'yes' && !title.startsWith('a put if absent')) continue;
		test(`S3, conditional put ${conditionalPut}: ${title}`, async (t) => {
			const server = await new S3Server().start(t);
			server.conditionalPut = conditionalPut;
			server.listPageKeys = 3;
			const store = await open(t, server);
			t.is(store.canPutIfAbsent, conditionalPut === 'yes');
			await run(store, 'test');
			t.deepEqual([...server.uploads], []);
		});
	}
}

test('throttling, failures and connections that end: every operation is done in the end, after waits that grow', async (t) => {
	const server = await new S3Server().start(t);
	const { waitsMs, clock } = hurried();
	const store = await open(t, server, {}, { clock });
	const faults: Fault[] = [
		{ status: 503, code: 'SlowDown' },
		'reset',
		{ status: 500, code: 'InternalError' },
		{ status: 502, code: 'Bad', text: '<html>Bad gateway</html>' },
		{ status: 429, code: 'TooManyRequests' },
		{ status: 400, code: 'RequestTimeout' },
	];
	const bytes = randomBytes(100_000);
	const operations: [string, () => Promise<unknown>][] = [
		['put', () => store.put('a/b', bytes)],
		['get', () => store.get('a/b')],
		['head', () => store.head('a/b')],
		['list', () => keys(store, 'a/')],
		['delete', () => store.delete('a/b')],
		['cleanUploads', () => store.cleanUploads(0)],
	];
	for (const [name, operation] of operations) {
		// An answer to HEAD has no body, so a 400 cannot say which it is.
		server.faults.push(...(name === 'head' ? [...faults.slice(0, 5), 'reset' as const] : faults));
		waitsMs.length = 0;
		await t.notThrowsAsync(operation(), name);
		t.deepEqual(waitsMs, [100, 200, 400, 800, 1600, 3200], name);
		t.is(server.requests.splice(0).length, 7, name);
	}
	t.is(server.objects.has('repository/one/a/b'), false);
});

test('it ends: after twelve attempts, or two minutes, with what was wrong', async (t) => {
	const server = await new S3Server().start(t);
	const { waitsMs, clock } = hurried();
	const store = await open(t, server, {}, { clock });
	server.fault = () => ({ status: 503, code: 'SlowDown' });
	const error = await t.throwsAsync(store.put('a', Buffer.from('x')));
	t.true(storeError('unreachable', /too busy.*12 times/)(error));
	t.true((error as { retryable?: boolean }).retryable);
	t.is(server.requests.splice(0).length, 12);
	server.fault = () => ({ status: 503, code: 'SlowDown', headers: { 'retry-after': '3600' } });
	waitsMs.length = 0;
	t.true(storeError('unreachable')(await t.throwsAsync(store.get('a'))));
	t.deepEqual([...new Set(waitsMs)], [20_000], 'not an hour, and no longer than two minutes altogether');
	t.is(waitsMs.length, 6);
});

test('a server that is too busy gets fewer requests at once, and more again when it is not', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server);
	server.capacity = 4;
	server.latencyMs = 3;
	const bytes = Buffer.alloc(100, 1);
	await Promise.all(Array.from({ length: 200 }, (_, index) => store.put(`busy/${index}`, bytes)));
	t.is((await keys(store, 'busy/')).length, 200);
	const refused = server.requests.splice(0).length - 201;
	t.true(refused > 0 && refused < 100, `${refused} requests were refused`);
	t.true(server.underWayMost <= 16, `${server.underWayMost} at once`);
	t.true(store.window < 16);
	server.capacity = Infinity;
	for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 16 }, () => store.head('busy/0')));
	t.is(store.window, 16);
});

test('an answer that is lost: a put is made again, and one if absent knows its own object', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server);
	for (const fault of ['lost', 'reset'] as const) {
		server.faults.push(fault);
		t.is(await store.put(`${fault}/one`, Buffer.from('mine'), { ifAbsent: true }), 'stored');
		t.is(await store.put(`${fault}/one`, Buffer.from('yours'), { ifAbsent: true }), 'exists');
		server.faults.push(fault);
		t.is(await store.put(`${fault}/one`, Buffer.from('theirs'), { ifAbsent: true }), 'exists');
		t.is(String(await store.get(`${fault}/one`)), 'mine');
		server.faults.push(fault);
		await store.delete(`${fault}/one`);
		t.is(await store.get(`${fault}/one`), undefined);
	}
	server.conditionalPut = 'conflict';
	t.is(await store.put('two', Buffer.from('x'), { ifAbsent: true }), 'stored');
});

test('an answer that is cut off is never an object', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server);
	const bytes = randomBytes(500_000);
	await store.put('a', bytes);
	server.faults.push('truncate', 'truncate');
	t.true((await store.get('a'))?.equals(bytes));
	server.fault = () => 'truncate';
	t.true(storeError('unreachable')(await t.throwsAsync(store.get('a'))));
});

test('bytes that change on the way to the server are not stored', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server);
	const bytes = randomBytes(100_000);
	server.faults.push('corrupt', 'corrupt');
	await store.put('a', bytes);
	t.true((await store.get('a'))?.equals(bytes));
	t.is(server.requests.splice(0).length, 4);
	const big = randomBytes(10 << 20);
	server.faults.push('reset', 'corrupt', 'corrupt');
	await store.put('b', big);
	t.true((await store.get('b'))?.equals(big));
});

test("a clock that is hours off: requests are signed by the server's, and ages are counted by it", async (t) => {
	for (const clockOffsetMs of [-5 * 3_600_000, 36 * 3_600_000]) {
		const server = await new S3Server().start(t);
		server.clockOffsetMs = clockOffsetMs;
		const store = await open(t, server);
		await store.put('a', Buffer.from('x'));
		t.is((await store.head('a'))?.sizeBytes, 1);
		const [info] = await infos(store, '');
		t.true(Math.abs(store.nowMs() - (info?.modifiedMs ?? 0)) < 60_000);
		// And one that jumps while the store is open: a HEAD has no body that would name the reason.
		server.clockOffsetMs = 0;
		t.is((await store.head('a'))?.sizeBytes, 1);
		t.true(Math.abs(store.nowMs() - Date.now()) < 60_000);
	}
});

test('what is wrong is said at the opening, with the mend', async (t) => {
	const server = await new S3Server().start(t);
	const closed = await new S3Server().start(t);
	const closedPort = closed.port;
	await closed.stop();
	const rows: [Partial<S3Location>, Parameters<typeof storeError>[0], RegExp][] = [
		[{ secretAccessKey: 'wrong' }, 'denied', /the secret access key is wrong/],
		[{ accessKeyId: 'nobody' }, 'denied', /does not know this access key id/],
		[{ bucket: 'elsewhere' }, 'notFound', /there is no bucket elsewhere.*make it/],
		[{ region: 'eu-west-1' }, 'invalid', /eu-west-1 is the wrong region for backups; it is in us-east-1/],
		[{ endpoint: `http://127.0.0.1:${closedPort}` }, 'unreachable', /nothing listens at .*right\? \(tried 4 times\)$/],
		[{ endpoint: `https://127.0.0.1:${server.port}` }, 'invalid', /does not speak TLS; is it an http:\/\/ endpoint/],
		[{ endpoint: 'ftp://host' }, 'invalid', /is no endpoint/],
		[{ endpoint: 'http://user:password@host/' }, 'invalid', /"http:\/\/host\/" is no endpoint/],
		[{ endpoint: 'http://host/path' }, 'invalid', /is no endpoint/],
		[{ endpoint: 'host:80' }, 'invalid', /is no endpoint/],
		[{ region: 'Not a region' }, 'invalid', /is no region/],
		[{ bucket: 'Not_a_bucket' }, 'invalid', /is no name of a bucket/],
		[{ prefix: 'a/../b' }, 'invalid', /is no key/],
		[{ prefix: '/a' }, 'invalid', /is no key/],
		[{ secretAccessKey: 'with a line end\n' }, 'invalid', /line end/],
		[{ caFile: '/nowhere/ca.pem' }, 'invalid', /cannot be read \(ENOENT\)/],
		[{ caFile: '/etc/hostname' }, 'invalid', /no certificate/],
	];
	for (const [changes, code, message] of rows) {
		const error = await t.throwsAsync(
			openS3Store(server.location(changes), {}, { clock: hurried().clock }),
			undefined,
			JSON.stringify(changes),
		);
		t.true(storeError(code, message)(error), error?.message);
		t.false(/password|a_secret/.test(error?.message ?? ''), error?.message);
	}
	t.is(server.objects.size, 0);
});

test('a name that nobody knows, and one that is found: the bucket in the host', async (t) => {
	const server = await new S3Server().start(t);
	const asked: string[] = [];
	const lookup: NonNullable<S3Surroundings['lookup']> = (hostname, options, done) => {
		asked.push(hostname);
		if (!hostname.endsWith('s3.example')) return done(Object.assign(new Error('ENOTFOUND'), { code: 'ENOTFOUND' }), '');
		return options.all === true ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
	};
	const { clock } = hurried();
	const wrong = openS3Store(server.location({ endpoint: `http://nobody.example:${server.port}`, pathStyle: false }), {}, { lookup, clock });
	t.true(storeError('unreachable', /nobody knows the host of http:\/\/nobody\.example.*in the path/)(await t.throwsAsync(wrong)));
	const store = await open(t, server, { endpoint: `http://s3.example:${server.port}`, pathStyle: false }, { lookup, clock });
	await store.put('a', Buffer.from('x'));
	t.is(server.requests[0]?.headers.host, `backups.s3.example:${server.port}`);
	t.is(String(await store.get('a')), 'x');
	t.deepEqual([...new Set(asked)], ['backups.nobody.example', 'backups.s3.example']);
});

test('credentials of the environment, with a token and without; none at all is said', async (t) => {
	const server = await new S3Server({ sessionToken: 'token' }).start(t);
	const { accessKeyId, secretAccessKey, ...rest } = server.location();
	const location = { ...rest };
	const environment = { AWS_ACCESS_KEY_ID: accessKeyId ?? '', AWS_SECRET_ACCESS_KEY: secretAccessKey ?? '', AWS_SESSION_TOKEN: 'token' };
	const store = await openS3Store(location, {}, { environment });
	t.teardown(() => store.close());
	await store.put('a', Buffer.from('x'));
	const { clock } = hurried();
	const denied = await t.throwsAsync(openS3Store(location, {}, { clock, environment: { ...environment, AWS_SESSION_TOKEN: '' } }));
	t.true(storeError('denied', /token is not valid any more/)(denied));
	t.true(storeError('invalid', /no credentials: .*AWS_ACCESS_KEY_ID/)(await t.throwsAsync(openS3Store(location, {}, { environment: {} }))));
	t.true(storeError('invalid', /go together/)(await t.throwsAsync(openS3Store({ ...location, accessKeyId: 'x' }, {}, { environment }))));
});

test('credentials that may only read: everything is read, nothing can be put', async (t) => {
	const server = await new S3Server().start(t);
	const writer = await open(t, server);
	await writer.put('a', Buffer.from('x'));
	server.readOnly = true;
	const reader = await open(t, server);
	t.false(reader.canPutIfAbsent);
	t.is(String(await reader.get('a')), 'x');
	t.true(storeError('denied', /do the access keys have the right/)(await t.throwsAsync(reader.put('b', Buffer.from('x')))));
});

test('an object lock is respected: one request, and an error that names it', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server);
	await store.put('a', Buffer.from('x'));
	server.take();
	server.lockedKeys.add('repository/one/a');
	t.true(storeError('denied', /object lock/)(await t.throwsAsync(store.delete('a'))));
	t.deepEqual(server.take(), ['DELETE repository/one/a']);
	server.faults.push({ status: 403, code: 'ObjectLocked' });
	t.true(storeError('denied', /an object lock keeps it/)(await t.throwsAsync(store.delete('a'))));
});

test('no room on the server, and answers that make no sense', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server);
	for (const fault of [
		{ status: 403, code: 'QuotaExceeded' },
		{ status: 507, code: 'XMinioStorageFull' },
		{ status: 413, code: 'RequestEntityTooLarge', text: '<html>' },
	]) {
		server.faults.push(fault);
		t.true(storeError('noSpace', /no room, or the quota/)(await t.throwsAsync(store.put('a', Buffer.from('x')))));
	}
	server.faults.push({ status: 200, code: '', text: '<html><body>Log in to the network</body></html>' });
	t.true(storeError('failed', /is no list; is http.* an S3 server/)(await t.throwsAsync(keys(store, 'a'))));
	server.faults.push({ status: 200, code: '', text: '<html><body>Log in to the network</body></html>' });
	t.true(storeError('failed', /an S3 server/)(await t.throwsAsync(store.put('a', Buffer.from('x')))));
	server.faults.push({ status: 200, code: '', text: '<html><body>Log in to the network</body></html>' });
	t.true(storeError('failed', /no size or no time/)(await t.throwsAsync(store.head('a'))));
	server.faults.push({ status: 418, code: 'Teapot' });
	t.true(storeError('failed', /418 Teapot/)(await t.throwsAsync(store.get('a'))));
});

test('a bucket that was there and is not: asked again like a server that fails, for OpenStack Swift says so while its account server is down; at the opening it is final', async (t) => {
	const server = await new S3Server().start(t);
	const { waitsMs, clock } = hurried();
	const store = await open(t, server, {}, { clock });
	const operations: (() => Promise<unknown>)[] = [
		() => store.put('a', Buffer.from('x')),
		() => store.get('a'),
		() => keys(store, ''),
		() => store.delete('a'),
	];
	for (const operation of operations) {
		server.faults.push({ status: 404, code: 'NoSuchBucket' }, { status: 404, code: 'NoSuchBucket' });
		waitsMs.length = 0;
		await t.notThrowsAsync(operation());
		t.deepEqual(waitsMs, [100, 200]);
	}
	t.false(server.objects.has('repository/one/a'));
	server.fault = () => ({ status: 404, code: 'NoSuchBucket' });
	for (const operation of operations) {
		server.take();
		t.true(storeError('notFound', /no bucket backups at .*; make it, or mend its name.*12 times/)(await t.throwsAsync(operation())));
		t.is(server.take().length, 12);
	}
	t.true(storeError('notFound', /no bucket/)(await t.throwsAsync(openS3Store(server.location(), {}, { clock }))));
	t.is(server.take().length, 1, 'whoever opens it waits to be told');
});

test('an upload in parts that fails is taken back; one that was completed with the answer lost is done', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server);
	const bytes = randomBytes((20 << 20) + 5);
	server.fault = ({ query }) => (query.get('partNumber') === '2' ? { status: 403, code: 'AccessDenied' } : undefined);
	t.true(storeError('denied')(await t.throwsAsync(store.put('a', bytes))));
	t.deepEqual([server.uploads.size, server.objects.has('repository/one/a')], [0, false]);
	let once = true;
	server.fault = ({ method, query }) => {
		if (!once || method !== 'POST' || !query.has('uploadId')) return undefined;
		once = false;
		return 'lost';
	};
	t.is(await store.put('a', bytes), 'stored');
	t.true((await store.get('a'))?.equals(bytes));
	server.take();
	once = true;
	server.fault = ({ method, query }) => {
		if (!once || method !== 'POST' || !query.has('uploadId')) return undefined;
		once = false;
		server.uploads.clear();
		return 'reset';
	};
	t.true(storeError('failed', /taken away/)(await t.throwsAsync(store.put('b', bytes))));
	t.false(server.objects.has('repository/one/b'));
	const controller = new AbortController();
	const reason = new Error('enough');
	server.fault = ({ query }) => {
		if (query.get('partNumber') === '3') controller.abort(reason);
		return undefined;
	};
	t.is(await t.throwsAsync(store.put('c', bytes, { signal: controller.signal })), reason);
	t.is(server.uploads.size, 0);
});

test("old uploads are cleaned up, of this repository only, by the server's clock, over several pages", async (t) => {
	const server = await new S3Server().start(t);
	server.clockOffsetMs = 3 * 3_600_000;
	server.listPageKeys = 2;
	const store = await open(t, server);
	const nowMs = Date.now() + server.clockOffsetMs;
	for (let index = 0; index < 7; index++) {
		server.uploads.set(`id-${index}`, { key: `repository/one/${index % 3}`, begunMs: nowMs - 7_200_000, parts: new Map() });
	}
	server.uploads.set('young', { key: 'repository/one/young', begunMs: nowMs - 1000, parts: new Map() });
	server.uploads.set('foreign', { key: 'repository/two/a', begunMs: 0, parts: new Map() });
	t.is(await store.cleanUploads(3_600_000), 7);
	t.deepEqual([...server.uploads.keys()], ['young', 'foreign']);
	server.faults.push({ status: 501, code: 'NotImplemented' });
	t.is(await store.cleanUploads(0), 0);
});

test("a list of many pages, among other people's objects; one that is in no order, or does not go on, is refused", async (t) => {
	const server = await new S3Server().start(t);
	server.listPageKeys = 7;
	const store = await open(t, server);
	const expected = Array.from({ length: 50 }, (_, index) => `chunks/${String(index).padStart(3, '0')}`);
	const put = (key: string): unknown => server.objects.set(key, { bytes: Buffer.from('x'), modifiedMs: Date.now() });
	for (const key of expected) put(`repository/one/${key}`);
	for (const key of [
		'repository/one/chunks/ü & <b>',
		'repository/one/chunks/.hidden',
		'repository/one/chunks//',
		'repository/two',
		'repository/one2/chunks/000',
	])
		put(key);
	t.deepEqual(await keys(store, 'chunks/'), expected);
	t.deepEqual(await keys(store, ''), expected);
	const row = (key: string): string =>
		`<Contents><Key>repository/one/${key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`;
	for (const [text, message] of [
		[`<IsTruncated>false</IsTruncated>${row('b')}${row('a')}`, /in no order/],
		[`<IsTruncated>true</IsTruncated>${row('a')}`, /does not go on/],
		['<IsTruncated>false</IsTruncated><Contents><Key>%ZZ</Key></Contents>', /no URL encoding/],
		['<IsTruncated>false</IsTruncated><Contents><Key>other/a</Key></Contents>', /the server lists "other\/a"/],
	] as const) {
		server.faults.push({ status: 200, code: '', text: `<ListBucketResult>${text}</ListBucketResult>` });
		t.true(storeError('failed', message)(await t.throwsAsync(keys(store, ''))));
	}
	server.fault = () => ({
		status: 200,
		code: '',
		text: `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>`,
	});
	t.true(storeError('failed', /does not go on/)(await t.throwsAsync(keys(store, ''))));
});

test('a signal ends an operation that hangs, and one that waits for its next attempt; so does closing', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server, {}, {});
	const reason = new Error('enough');
	server.fault = () => 'hang';
	const controller = new AbortController();
	const hanging = t.throwsAsync(store.get('a', { signal: controller.signal }));
	while (server.requests.length === 0) await new Promise(setImmediate);
	controller.abort(reason);
	t.is(await hanging, reason);
	server.requests.length = 0;
	server.fault = () => ({ status: 503, code: 'SlowDown', headers: { 'retry-after': '20' } });
	const other = new AbortController();
	const waiting = t.throwsAsync(store.get('a', { signal: other.signal }));
	while (server.requests.length === 0) await new Promise(setImmediate);
	setTimeout(() => other.abort(reason), 20);
	t.is(await waiting, reason);
	server.requests.length = 0;
	server.fault = () => 'hang';
	const last = t.throwsAsync(store.get('a'));
	while (server.requests.length === 0) await new Promise(setImmediate);
	await store.close();
	t.true(storeError('failed', /closed/)(await last));
	t.true(storeError('failed', /closed/)(await t.throwsAsync(store.get('a'))));
});

test('that nothing is there is believed when it was said twice: a server may say it of an object that is being put over', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server);
	await store.put('a', Buffer.from('x'));
	server.take();
	server.faults.push({ status: 404, code: 'NoSuchKey' });
	t.is(String(await store.get('a')), 'x');
	server.faults.push({ status: 404, code: 'NoSuchKey' });
	t.is((await store.head('a'))?.sizeBytes, 1);
	t.deepEqual(
		server.take(),
		['GET', 'GET', 'HEAD', 'HEAD'].map((method) => `${method} repository/one/a`),
	);
	t.is(await store.get('b'), undefined);
	t.is(await store.head('b'), undefined);
	t.deepEqual(
		server.take(),
		['GET', 'GET', 'HEAD', 'HEAD'].map((method) => `${method} repository/one/b`),
	);
});

test('the probe leaves one object, hidden from every list, however often the bucket is opened', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server, { prefix: '' });
	await openS3Store(server.location({ prefix: '' })).then((other) => other.close());
	t.deepEqual(server.take(), ['GET ?encoding-type&list-type&max-keys&prefix', 'PUT .conditional-put-probe']);
	t.deepEqual([...server.objects.keys()], ['.conditional-put-probe']);
	t.deepEqual(await keys(store, ''), []);
});

/** An authority's certificate and one of a server, signed by it, for a name. */
async function certificates(t: ExecutionContext, name: string): Promise<{ caFile: string; key: string; cert: string }> {
	const folder = await temporaryDirectory(t);
	const at = (file: string): string => join(folder, file);
	const request = (args: string[]): void =>
		void execFileSync('openssl', ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', ...args], {
			stdio: 'ignore',
		});
	request(['-x509', '-keyout', at('ca.key'), '-out', at('ca.pem'), '-days', '2', '-subj', '/CN=an authority']);
	const signed = [
		'-CA',
		at('ca.pem'),
		'-CAkey',
		at('ca.key'),
		'-addext',
		`subjectAltName=${name}`,
		'-addext',
		'basicConstraints=critical,CA:FALSE',
	];
	request(['-x509', '-keyout', at('key.pem'), '-out', at('cert.pem'), '-days', '2', '-subj', '/CN=a server', ...signed]);
	return { caFile: at('ca.pem'), key: await readFile(at('key.pem'), 'utf8'), cert: await readFile(at('cert.pem'), 'utf8') };
}

test('TLS: an authority of the operator is trusted when its file is given, and only for the names of the certificate', async (t) => {
	const { caFile, ...tls } = await certificates(t, 'IP:127.0.0.1');
	const server = await new S3Server().start(t, tls);
	const endpoint = `https://127.0.0.1:${server.port}`;
	const { clock } = hurried();
	const untrusted = await t.throwsAsync(openS3Store(server.location({ endpoint }), {}, { clock }));
	t.true(storeError('invalid', /certificate .* is not trusted.*CA file/)(untrusted));
	const other = await certificates(t, 'IP:127.0.0.1');
	t.true(
		storeError(
			'invalid',
			/is not trusted/,
		)(await t.throwsAsync(openS3Store(server.location({ endpoint, caFile: other.caFile }), {}, { clock }))),
	);
	t.is(server.requests.length, 0);
	const store = await open(t, server, { endpoint, caFile });
	await store.put('a', Buffer.alloc(9 << 20, 1));
	t.is((await store.get('a'))?.length, 9 << 20);
	const { caFile: named, ...names } = await certificates(t, 'DNS:elsewhere.example');
	const elsewhere = await new S3Server().start(t, names);
	const wrongName = openS3Store(elsewhere.location({ endpoint: `https://127.0.0.1:${elsewhere.port}`, caFile: named }), {}, { clock });
	t.true(storeError('invalid', /ERR_TLS_CERT_ALTNAME_INVALID/)(await t.throwsAsync(wrongName)));
});

test('something else at the port of the endpoint', async (t) => {
	const other = createServer((socket) => socket.on('error', () => undefined).end('SSH-2.0-OpenSSH_9.2\r\n'));
	await new Promise<void>((resolve) => {
		other.listen(0, '127.0.0.1', resolve);
	});
	t.teardown(() => void other.close());
	const endpoint = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
	const opened = openS3Store({ ...new S3Server().location(), endpoint }, {}, { clock: hurried().clock });
	t.true(storeError('invalid', /does not speak HTTP here; is it an https:/)(await t.throwsAsync(opened)));
});

test('a server that accepts and is silent: an attempt without a byte has an end', async (t) => {
	const server = await new S3Server().start(t);
	const store = await open(t, server, {}, { clock: hurried().clock, times: { idleMs: 2000 } });
	server.faults.push('hang');
	await store.put('a', randomBytes(1000));
	t.true(server.requests.length >= 2);
	server.faults.push('hang');
	t.is((await store.get('a'))?.length, 1000);
});

test('a server that sends a body byte by byte: an attempt has an end, by the size of what is sent or got', async (t) => {
	const server = await new S3Server().start(t);
	const { timers, clock } = hurried();
	const store = await open(t, server, {}, { clock });
	const bytes = randomBytes(5 << 20);
	server.fault = () => {
		t.deepEqual([...timers.values()], [50_000], '30 s, and 4 for each MiB of the body');
		return undefined;
	};
	await store.put('a', bytes);
	server.fault = undefined;
	server.faults.push('trickle');
	server.take();
	const got = store.get('a');
	const ringing = setInterval(() => {
		// As soon as the size is known, the time is given for it.
		for (const [ring, ms] of timers) if (server.requests.length === 1 && ms === 50_000) ring();
	}, 1);
	t.true((await got)?.equals(bytes));
	clearInterval(ringing);
	t.deepEqual(server.take(), ['GET repository/one/a', 'GET repository/one/a']);
	t.is(timers.size, 0);
});

test("a list that goes on and on with other people's objects ends, and says what to do", async (t) => {
	const server = await new S3Server().start(t);
	server.listPageKeys = 1;
	const store = await open(t, server);
	const put = (key: string): unknown => server.objects.set(key, { bytes: Buffer.from('x'), modifiedMs: Date.now() });
	put('repository/one/chunks/000');
	for (let index = 0; index < s3Limits.foreignPages; index++) put(`repository/one/chunks/.${String(index).padStart(5, '0')}`);
	t.deepEqual(await keys(store, 'chunks/'), ['chunks/000'], 'as many as may be');
	put('repository/one/chunks/.more');
	await t.throwsAsync(keys(store, 'chunks/'), {
		name: 'StoreError',
		message: /1001 pages of other people's objects; give the repository a prefix of its own/,
	});
});
