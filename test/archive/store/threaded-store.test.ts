import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openStore } from '../../../src/archive/store/open-store.ts';
import { temporaryDirectory } from '../../temporary.ts';
import { contract, infos, keys, storeError } from './contract.ts';
import { S3Server } from './s3-server.ts';

async function serve(t: ExecutionContext): Promise<S3Server> {
	return new S3Server().start(t);
}

async function open(t: ExecutionContext, server: S3Server) {
	const store = await openStore(server.location());
	t.teardown(() => store.close());
	server.take();
	return store;
}

test('S3 in a thread: the whole contract', async (t) => {
	const store = await open(t, await serve(t));
	for (const [index, { title, run }] of contract.entries()) {
		await run(store, `claim-${index}`);
		t.log(title);
	}
	t.pass();
});

test('a folder in a thread: the whole contract, and the sentences of a folder', async (t) => {
	const path = await temporaryDirectory(t);
	const store = await openStore({ kind: 'folder', path });
	t.teardown(() => store.close());
	t.is(store.name, `folder ${path}`);
	t.true(store.canPutIfAbsent);
	for (const { title, run } of contract) {
		await run(store, 'claim');
		t.log(title);
	}
	t.true(storeError('notFound', /make the folder/)(await t.throwsAsync(openStore({ kind: 'folder', path: join(path, 'none') }))));
	await writeFile(join(path, 'file'), 'x');
	t.true(storeError('invalid', /in the way/)(await t.throwsAsync(store.put('file/a', Buffer.from('x')))));
	await rm(path, { recursive: true });
	t.true(storeError('unreachable', /is its disk mounted/)(await t.throwsAsync(store.put('a', Buffer.from('x')))));
});

test('what is given away is not copied, and what is a part of something else is', async (t) => {
	const store = await openStore({ kind: 'folder', path: await temporaryDirectory(t) });
	t.teardown(() => store.close());
	const whole = randomBytes(3 << 20);
	const copy = Buffer.from(whole);
	const part = whole.subarray(1000, 2_000_000);
	await store.put('part', part, { isGiven: true });
	t.true(whole.equals(copy));
	await store.put('whole', whole, { isGiven: true });
	t.is(whole.length, 0);
	t.true((await store.get('part'))?.equals(copy.subarray(1000, 2_000_000)));
	t.true((await store.get('whole'))?.equals(copy));
	// Refused before it is gone.
	const kept = randomBytes(100_000);
	await t.throwsAsync(store.put('no/../key', kept, { isGiven: true }));
	t.is(kept.length, 100_000);
});

test('a list of several parts, one that is left in its middle, and one that is ended', async (t) => {
	const server = await serve(t);
	const expected = Array.from({ length: 2500 }, (_, index) => `many/${String(index).padStart(5, '0')}`);
	for (const key of expected) server.objects.set(`repository/one/${key}`, { bytes: Buffer.from('x'), modifiedMs: Date.now() });
	const store = await open(t, server);
	t.deepEqual(await keys(store, 'many/'), expected);
	for await (const { key } of store.list('many/')) if (key === expected[1200]) break;
	const controller = new AbortController();
	const reason = new Error('enough');
	await t.throwsAsync(
		async () => {
			for await (const { key } of store.list('many/', { signal: controller.signal })) if (key === expected[1500]) controller.abort(reason);
		},
		{ is: reason },
	);
	t.deepEqual(await keys(store, 'many/0249'), expected.slice(2490));
});

test("what is put may be changed as soon as it is stored, and what is got is its receiver's", async (t) => {
	const store = await open(t, await serve(t));
	const whole = randomBytes(3 << 20);
	const part = whole.subarray(1000, 2_000_000);
	const copy = Buffer.from(part);
	await store.put('a', part);
	t.is(whole.length, 3 << 20, 'its memory was not given away');
	whole.fill(0);
	const [one, two] = await Promise.all([store.get('a'), store.get('a')]);
	one?.fill(1);
	t.true(two?.equals(copy));
});

test("errors keep their code, their sentence and what was behind them; the server's clock is known here", async (t) => {
	const server = await serve(t);
	await t.throwsAsync(openStore(server.location({ secretAccessKey: 'wrong' })), { message: /the secret access key is wrong/ });
	server.clockOffsetMs = 7_200_000;
	const store = await open(t, server);
	await store.put('a', Buffer.from('x'));
	const [info] = await infos(store, '');
	t.true(Math.abs(store.nowMs() - (info?.modifiedMs ?? 0)) < 60_000);
	server.faults.push({ status: 403, code: 'QuotaExceeded' });
	const error = await t.throwsAsync(store.put('a', Buffer.from('x')));
	t.true(storeError('noSpace', /no room/)(error));
	t.regex(String(error?.cause), /QuotaExceeded/);
});

test('a signal ends an operation that hangs, at the server too; closing ends all, and what comes later is told', async (t) => {
	const server = await serve(t);
	const store = await open(t, server);
	server.fault = () => 'hang';
	const controller = new AbortController();
	const reason = new Error('enough');
	const hanging = t.throwsAsync(store.get('a', { signal: controller.signal }));
	while (server.requests.length === 0) await new Promise(setImmediate);
	controller.abort(reason);
	t.is(await hanging, reason);
	const last = t.throwsAsync(store.head('a'));
	while (server.requests.length === 1) await new Promise(setImmediate);
	await store.close();
	t.true(storeError('failed', /was closed/)(await last));
	t.true(storeError('failed', /was closed/)(await t.throwsAsync(store.get('a'))));
	await store.close();
});
