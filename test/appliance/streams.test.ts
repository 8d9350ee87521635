import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { ImportView } from '../../src/admin/stream-schemas.ts';
import { Appliance, realParts } from '../../src/appliance.ts';
import { exportsMax } from '../../src/appliance/streams-exports.ts';
import { StreamImports, importsMax } from '../../src/appliance/streams-imports.ts';
import type { OpenVolume } from '../../src/appliance/volume-slot.ts';
import { Qcow2Disk } from '../../src/archive/stream/qcow2-reader.ts';
import type { Outcome } from '../../src/blockvol/block-device.ts';
import { silent } from '../../src/os/logger.ts';
import { MemorySource, noise, unfolded } from '../archive/stream/image-file.ts';
import { temporaryDirectory } from '../temporary.ts';

const anywhere = { host: '127.0.0.1', port: 0 };
const mib = 2 ** 20;

interface Answer {
	status: number;
	headers: IncomingHttpHeaders;
	trailers: NodeJS.Dict<string>;
	body: Buffer;
}

async function start(t: ExecutionContext, outcome: (operation: string, offsetBytes: number) => Outcome | undefined = () => undefined) {
	const path = await temporaryDirectory(t);
	const parts = realParts();
	const opened = new Map<string, OpenVolume>();
	const open: typeof parts.engine.open = async (directory, options) => {
		const volume = await parts.engine.open(directory, options);
		const write = volume.write.bind(volume);
		volume.write = (offsetBytes, data, fua, completion) => {
			const wanted = outcome('write', offsetBytes);
			if (wanted === undefined) write(offsetBytes, data, fua, completion);
			else queueMicrotask(() => completion.complete(wanted));
		};
		opened.set(volume.uuid, volume);
		return volume;
	};
	const one = new Appliance(
		{ dataDirectory: path, version: '1', log: silent, iscsi: anywhere, nvme: 'none', nvmeDiscovery: 'none', admin: anywhere, drainMs: 1 },
		{ ...parts, engine: { ...parts.engine, open } },
	);
	t.teardown(() => one.stop());
	await one.start();
	const volume = async (name: string): Promise<OpenVolume> => {
		const found = opened.get((await one.operations.volume(name)).uuid);
		if (found === undefined) throw new Error(`no volume ${name}`);
		return found;
	};
	const ask = (method: string, where: string, headers: Record<string, string> = {}, body?: Buffer | object): Promise<Answer> =>
		new Promise((resolve, reject) => {
			const isJson = body !== undefined && !Buffer.isBuffer(body);
			const bytes = isJson ? Buffer.from(JSON.stringify(body)) : body;
			const asked = request(
				{
					socketPath: one.socket,
					method,
					path: where,
					agent: false,
					headers: {
						...(bytes === undefined ? {} : { 'content-type': isJson ? 'application/json' : 'application/octet-stream' }),
						...(bytes === undefined ? {} : { 'content-length': String(bytes.length) }),
						...headers,
					},
				},
				(response) => {
					const chunks: Buffer[] = [];
					response.on('data', (chunk: Buffer) => chunks.push(chunk));
					response.on('end', () =>
						resolve({
							status: response.statusCode ?? 0,
							headers: response.headers,
							trailers: response.trailers,
							body: Buffer.concat(chunks),
						}),
					);
					response.on('error', reject);
				},
			);
			asked.on('error', reject);
			asked.end(bytes);
		});
	return { one, path, ask, volume };
}

function json({ body }: Answer): unknown {
	return JSON.parse(body.toString());
}

function importOf(answer: Answer): ImportView {
	return json(answer) as ImportView;
}

function write(device: OpenVolume, offsetBytes: number, data: Buffer): Promise<Outcome> {
	return new Promise((resolve) => device.write(offsetBytes, data, false, { complete: resolve }));
}

async function read(device: OpenVolume, lengthBytes: number): Promise<Buffer> {
	const target = Buffer.alloc(lengthBytes);
	await new Promise((resolve) => device.read(0, target, { complete: resolve }));
	return target;
}

function digest(bytes: Buffer): string {
	return `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;
}

const snapshotPath = '/v1/volumes/data/snapshots/one/export';

async function exported(t: ExecutionContext) {
	const running = await start(t);
	const { one, volume } = running;
	await one.operations.createVolume({ name: 'data', sizeBytes: 8 * mib, blockSize: 512 });
	const device = await volume('data');
	const bytes = Buffer.alloc(8 * mib);
	noise(mib, 1).copy(bytes, 65536);
	noise(4096, 2).copy(bytes, 6 * mib);
	await write(device, 65536, noise(mib, 1));
	await write(device, 6 * mib, noise(4096, 2));
	await one.protection.snapshots.make({ volumes: ['data'], name: 'one' });
	await write(device, 0, noise(4096, 9));
	return { ...running, bytes, device };
}

test('export: raw, whole and in ranges, with its length; the same ETag each time; a checksum behind it for who takes trailers', async (t) => {
	const { ask, bytes } = await exported(t);
	const whole = await ask('GET', snapshotPath);
	t.is(whole.status, 200);
	t.like(whole.headers, { 'content-length': String(8 * mib), 'accept-ranges': 'bytes', 'content-type': 'application/octet-stream' });
	t.true(whole.body.equals(bytes));
	const etag = String(whole.headers.etag);
	for (const [range, from, to] of [
		['bytes=0-0', 0, 1],
		['bytes=65535-1114113', 65535, 1114114],
		['bytes=6291455-', 6291455, 8 * mib],
		['bytes=-4097', 8 * mib - 4097, 8 * mib],
		['bytes=100-99999999', 100, 8 * mib],
	] as const) {
		const part = await ask('GET', snapshotPath, { range, 'if-match': etag, te: 'trailers' });
		t.is(part.status, 206, range);
		t.is(part.headers['content-range'], `bytes ${from}-${to - 1}/${8 * mib}`);
		t.is(part.headers['content-length'], undefined);
		t.true(part.body.equals(bytes.subarray(from, to)), range);
		t.is(part.trailers['content-digest'], digest(bytes.subarray(from, to)));
	}
	t.like(await ask('GET', snapshotPath, { range: `bytes=${8 * mib}-` }), { status: 416 });
	// What is no single range of bytes is no range; If-Range of another snapshot asks for the whole.
	for (const headers of [{ range: 'bytes=5-2' }, { range: 'lines=1-2' }, { range: 'bytes=0-1', 'if-range': '"other"' }]) {
		t.like(await ask('GET', snapshotPath, headers), { status: 200 });
	}
	t.is((await ask('GET', snapshotPath, { 'if-match': '"other"' })).status, 412);
	t.is((await ask('GET', `${snapshotPath}?format=vhd`)).status, 400);
	t.is((await ask('GET', '/v1/volumes/data/snapshots/none/export')).status, 404);
	t.is((await ask('GET', '/v1/volumes/none/snapshots/one/export')).status, 404);
});

test('export: qcow2 in parts is qcow2, and holds what the snapshot does', async (t) => {
	const { ask, bytes } = await exported(t);
	const whole = await ask('GET', `${snapshotPath}?format=qcow2`);
	t.is(whole.headers['content-length'], String(whole.body.length));
	t.true(whole.body.length < 2 * mib);
	const half = Math.floor(whole.body.length / 2) + 3;
	const parts = [
		await ask('GET', `${snapshotPath}?format=qcow2`, { range: `bytes=0-${half - 1}` }),
		await ask('GET', `${snapshotPath}?format=qcow2`, { range: `bytes=${half}-` }),
	];
	const joined = Buffer.concat(parts.map(({ body }) => body));
	t.true(joined.equals(whole.body));
	t.true((await unfolded(await Qcow2Disk.open(new MemorySource(joined)))).equals(bytes));
	t.not(whole.headers.etag, (await ask('GET', snapshotPath)).headers.etag);
});

test('export: the list of what is allocated leads to every byte that is not zero', async (t) => {
	const { ask, bytes } = await exported(t);
	const found = json(await ask('GET', `${snapshotPath}/extents`)) as {
		sizeBytes: number;
		etag: string;
		ranges: { offsetBytes: number; lengthBytes: number }[];
	};
	t.is(found.sizeBytes, 8 * mib);
	t.is((await ask('GET', snapshotPath)).headers.etag, found.etag);
	t.deepEqual(found.ranges, [
		{ offsetBytes: 65536, lengthBytes: mib },
		{ offsetBytes: 6 * mib, lengthBytes: 4096 },
	]);
	const rest = json(await ask('GET', `${snapshotPath}/extents?from=${6 * mib}`)) as { ranges: object[] };
	t.is(rest.ranges.length, 1);
	const copy = Buffer.alloc(8 * mib);
	for (const { offsetBytes, lengthBytes } of found.ranges) bytes.copy(copy, offsetBytes, offsetBytes, offsetBytes + lengthBytes);
	t.true(copy.equals(bytes));
});

test('export: while somebody takes one, neither snapshot nor volume can be deleted; when he is gone, they can. Only so many at a time', async (t) => {
	const { one, ask } = await exported(t);
	const streams = await Promise.all(Array.from({ length: exportsMax }, () => one.streams.exports.open('data', 'one', 'raw')));
	t.is((await ask('GET', snapshotPath)).status, 409);
	for (const stream of streams.slice(1)) stream.close();
	t.is((await ask('DELETE', '/v1/volumes/data/snapshots/one')).status, 409);
	t.is((await ask('DELETE', '/v1/volumes/data')).status, 409);
	// A peer that takes a little and goes away.
	await new Promise<void>((resolve, reject) => {
		const asked = request({ socketPath: one.socket, path: snapshotPath, agent: false }, (response) => {
			response.once('data', () => {
				asked.destroy();
				resolve();
			});
		});
		asked.once('error', reject);
		asked.end();
	});
	streams[0]?.close();
	for (let round = 0; round < 200 && one.protection.snapshots.isInUse('data', 'one'); round++) {
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
	t.is((await ask('DELETE', '/v1/volumes/data/snapshots/one')).status, 204);
	t.is((await ask('DELETE', '/v1/volumes/data')).status, 204);
});

test('export: a snapshot of a clone, and one that is mounted', async (t) => {
	const { one, ask, bytes, volume } = await exported(t);
	const name = 'iqn.2026-11.dev.blockport:one';
	await one.operations.createTarget({ name, alias: '', tpgt: 1 });
	await one.protection.snapshots.mount('data', 'one', { target: name });
	t.true((await ask('GET', snapshotPath)).body.equals(bytes));
	await one.protection.snapshots.clone('data', 'one', 'copy');
	const page = noise(4096, 8);
	await write(await volume('copy'), 4096, page);
	await one.protection.snapshots.make({ volumes: ['copy'], name: 'two' });
	page.copy(bytes, 4096);
	t.true((await ask('GET', '/v1/volumes/copy/snapshots/two/export')).body.equals(bytes));
	const qcow2 = await ask('GET', '/v1/volumes/copy/snapshots/two/export?format=qcow2');
	t.true((await unfolded(await Qcow2Disk.open(new MemorySource(qcow2.body)))).equals(bytes));
});

async function begun(ask: Awaited<ReturnType<typeof start>>['ask'], wish: object = {}): Promise<ImportView> {
	return importOf(await ask('POST', '/v1/imports', {}, { name: 'new', sizeBytes: 8 * mib, ...wish }));
}

test('import: parts, zeros, an odd end; the volume appears at the end, with what came', async (t) => {
	const { one, path, ask, volume } = await start(t);
	const bytes = Buffer.alloc(5 * mib + 1000);
	noise(2 * mib, 1).copy(bytes);
	noise(mib + 1000, 2).copy(bytes, 4 * mib);
	const { id, uuid } = await begun(ask, { blockSize: 4096, sha256: createHash('sha256').update(bytes).digest('hex'), source: 'file' });
	const put = (from: number, to: number, more: Record<string, string> = {}) =>
		ask(
			'PUT',
			`/v1/imports/${id}/data`,
			{ 'content-range': `bytes ${from}-${to - 1}/*`, 'content-digest': digest(bytes.subarray(from, to)), ...more },
			bytes.subarray(from, to),
		);
	t.like(importOf(await put(0, 2 * mib)), { offsetBytes: 2 * mib, name: 'new', source: 'file' });
	t.is((await put(0, 2 * mib)).status, 409);
	t.is((await put(3 * mib, 4 * mib)).status, 409);
	t.like(json(await ask('POST', `/v1/imports/${id}/zeros`, {}, { offsetBytes: 2 * mib, lengthBytes: 2 * mib })), { offsetBytes: 4 * mib });
	const wrong = await put(4 * mib, bytes.length, { 'content-digest': digest(Buffer.from('x')) });
	t.is(wrong.status, 400);
	t.regex(wrong.body.toString(), /another checksum/);
	t.like(json(await ask('GET', `/v1/imports/${id}`)), { offsetBytes: 4 * mib });
	t.is((await put(4 * mib, bytes.length)).status, 200);
	t.is((await ask('GET', '/v1/volumes/new')).status, 404);
	t.is((await ask('POST', `/v1/imports/${id}/finish`, {}, { lengthBytes: 4 * mib })).status, 400);
	const made = await ask('POST', `/v1/imports/${id}/finish`, {}, { lengthBytes: bytes.length });
	t.is(made.status, 201);
	t.like(json(made), { name: 'new', uuid, sizeBytes: 8 * mib, blockSize: 4096 });
	t.true((await read(await volume('new'), 8 * mib)).equals(Buffer.concat([bytes, Buffer.alloc(8 * mib - bytes.length)])));
	t.is((await ask('GET', `/v1/imports/${id}`)).status, 404);
	t.deepEqual(await readdir(join(path, 'volumes')), [uuid]);
	t.true(one.protection.events.after(0, 100).some(({ kind, volume: name }) => kind === 'volume-imported' && name === 'new'));
});

test('import: another checksum of the whole, a cancel and a full disk leave nothing behind', async (t) => {
	let isFull = false;
	const { path, ask } = await start(t, () => (isFull ? 'noSpace' : undefined));
	const nothing = async (id: string, message: string): Promise<void> => {
		t.is((await ask('GET', `/v1/imports/${id}`)).status, 404, message);
		t.is((await ask('GET', '/v1/volumes/new')).status, 404, message);
		t.deepEqual(await readdir(join(path, 'volumes')), [], message);
	};
	const bytes = noise(mib, 1);
	const put = (id: string) => ask('PUT', `/v1/imports/${id}/data`, { 'content-range': `bytes 0-${mib - 1}/${mib}` }, bytes);
	const one = await begun(ask, { sha256: '0'.repeat(64) });
	t.is((await put(one.id)).status, 200);
	const wrong = await ask('POST', `/v1/imports/${one.id}/finish`, {}, { lengthBytes: mib });
	t.is(wrong.status, 409);
	t.regex(wrong.body.toString(), /another SHA-256/);
	await nothing(one.id, 'checksum');

	const two = await begun(ask);
	t.is((await put(two.id)).status, 200);
	t.is((await ask('DELETE', `/v1/imports/${two.id}`)).status, 204);
	await nothing(two.id, 'cancel');

	const three = await begun(ask);
	isFull = true;
	const full = await put(three.id);
	t.is(full.status, 507);
	t.regex(full.body.toString(), /noSpace.*file system is full/);
	await nothing(three.id, 'noSpace');
});

test('import: of a part that was not right nothing is in the volume, also if no other comes in its place', async (t) => {
	const { ask, volume } = await start(t);
	const bytes = noise(mib, 1);
	const { id } = await begun(ask, { sha256: createHash('sha256').update(bytes.subarray(0, 5000)).digest('hex') });
	const put = (part: Buffer, sha256: string) =>
		ask('PUT', `/v1/imports/${id}/data`, { 'content-range': `bytes 0-${part.length - 1}/*`, 'content-digest': sha256 }, part);
	t.is((await put(noise(3 * mib, 9), digest(bytes))).status, 400);
	t.is((await put(bytes.subarray(0, 5000), digest(bytes.subarray(0, 5000)))).status, 200);
	t.is((await ask('POST', `/v1/imports/${id}/finish`, {}, { lengthBytes: 5000 })).status, 201);
	t.true((await read(await volume('new'), 8 * mib)).equals(Buffer.concat([bytes.subarray(0, 5000), Buffer.alloc(8 * mib - 5000)])));
});

test('import: zeros whose checksum takes hours give way to the next request, and do not hold up the end of the appliance', async (t) => {
	const { one, ask } = await start(t);
	const sizeBytes = 2 ** 46;
	const zeros = async (id: string) => {
		const asked = ask('POST', `/v1/imports/${id}/zeros`, {}, { offsetBytes: 0, lengthBytes: sizeBytes });
		await new Promise((resolve) => setTimeout(resolve, 50));
		return asked;
	};
	const { id } = await begun(ask, { sizeBytes, sha256: '0'.repeat(64) });
	const first = zeros(id);
	await new Promise((resolve) => setTimeout(resolve, 100));
	t.is((await ask('POST', `/v1/imports/${id}/zeros`, {}, { offsetBytes: 0, lengthBytes: mib })).status, 200);
	t.is((await first).status, 409);
	t.like(json(await ask('GET', `/v1/imports/${id}`)), { offsetBytes: mib });
	const other = await begun(ask, { name: 'other', sizeBytes, sha256: '0'.repeat(64) });
	const last = zeros(other.id).catch(() => undefined);
	await new Promise((resolve) => setTimeout(resolve, 100));
	await one.stop();
	await last;
	t.pass();
});

test('import: a part that breaks off counts for nothing, and who comes again goes on; a part that hangs gives way to its successor', async (t) => {
	const { one, ask, volume } = await start(t);
	const bytes = noise(4 * mib, 5);
	const { id } = await begun(ask, { sizeBytes: 4 * mib });
	const headers = {
		'content-type': 'application/octet-stream',
		'content-range': `bytes 0-${4 * mib - 1}/*`,
		'content-length': String(4 * mib),
	};
	const half = () => {
		const asked = request({ socketPath: one.socket, method: 'PUT', path: `/v1/imports/${id}/data`, agent: false, headers });
		const ended = new Promise<void>((resolve) => asked.once('close', () => resolve()));
		asked.on('error', () => undefined);
		// Other bytes than the right ones.
		asked.write(noise(2 * mib, 6));
		return { asked, ended };
	};
	const first = half();
	setTimeout(() => first.asked.destroy(), 50);
	await first.ended;
	t.is(importOf(await ask('GET', `/v1/imports/${id}`)).offsetBytes, 0);
	const second = half();
	await new Promise((resolve) => setTimeout(resolve, 50));
	const done = await ask('PUT', `/v1/imports/${id}/data`, { 'content-range': `bytes 0-${4 * mib - 1}/*` }, bytes);
	t.is(done.status, 200);
	await second.ended;
	t.is((await ask('POST', `/v1/imports/${id}/finish`, {}, { lengthBytes: 4 * mib })).status, 201);
	t.true((await read(await volume('new'), 4 * mib)).equals(bytes));
});

test('import: what is asked wrongly is refused and the import goes on; only so many at a time', async (t) => {
	const { path, ask } = await start(t);
	t.is((await ask('POST', '/v1/imports', {}, { name: 'new', sizeBytes: 5000 })).status, 400);
	t.is((await ask('POST', '/v1/imports', {}, { name: 'No', sizeBytes: mib })).status, 400);
	const { id } = await begun(ask);
	const put = (range: string, bytes: Buffer, more: Record<string, string> = {}) =>
		ask('PUT', `/v1/imports/${id}/data`, { 'content-range': range, ...more }, bytes);
	const page = Buffer.alloc(4096, 1);
	for (const [range, bytes, more] of [
		['bytes 0-4094/*', page, {}],
		['bytes 0-4095/100', page, {}],
		['bytes */4096', page, {}],
		['octets 0-4095/*', page, {}],
		['bytes 9-4/*', page, {}],
		['bytes 0-99999999999999/*', page, {}],
		['bytes 0-4095/*', page, { 'content-digest': 'md5=:AAAA:' }],
		['bytes 0-4095/*', page, { 'content-type': 'application/json' }],
	] as const) {
		t.is((await put(range, bytes, more)).status, 400, `${range} ${JSON.stringify(more)}`);
	}
	t.is((await ask('POST', `/v1/imports/${id}/zeros`, {}, { offsetBytes: 0, lengthBytes: 8 * mib + 4096 })).status, 400);
	t.is((await put('bytes 0-4095/*', page)).status, 200);
	t.is((await put('bytes 4096-5095/*', page.subarray(0, 1000))).status, 200);
	const behind = await put('bytes 5096-6095/*', page.subarray(0, 1000));
	t.is(behind.status, 400);
	t.regex(behind.body.toString(), /has ended at byte 5096/);
	t.is((await ask('PUT', '/v1/imports/none/data', { 'content-range': 'bytes 0-4095/*' }, page)).status, 404);
	for (let index = 1; index < importsMax; index++)
		t.is((await ask('POST', '/v1/imports', {}, { name: `n${index}`, sizeBytes: mib })).status, 201);
	t.is((await ask('POST', '/v1/imports', {}, { name: 'more', sizeBytes: mib })).status, 409);
	t.is((json(await ask('GET', '/v1/imports')) as { imports: object[] }).imports.length, importsMax);
	t.is((await readdir(join(path, 'volumes'))).length, importsMax);
});

test('import: one that nobody sends to is given up, with what came and an event', async (t) => {
	const { one, path, ask } = await start(t);
	const { shadows, protection } = one;
	const imports = new StreamImports({ shadows, events: protection.events, idleMs: 100 });
	const { id } = await imports.begin({ name: 'new', sizeBytes: mib, blockSize: 512, source: '' });
	t.is(imports.view(id).idleSeconds, 1);
	for (let round = 0; round < 500 && (await readdir(join(path, 'volumes'))).length > 0; round++) {
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
	t.throws(() => imports.view(id), { message: /has ended, or was given up/ });
	t.deepEqual(await readdir(join(path, 'volumes')), []);
	t.true(protection.events.after(0, 100).some(({ kind }) => kind === 'import-given-up'));
	t.is((await ask('GET', '/v1/volumes/new')).status, 404);
});
