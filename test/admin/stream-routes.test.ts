import { createHash } from 'node:crypto';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Operations } from '../../src/admin/operations.ts';
import { AdminServer } from '../../src/admin/server.ts';
import { type OpenExport, type StreamOperations, putBytesMax, streamRoutes } from '../../src/admin/stream-routes.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';

const chunk = Buffer.alloc(256 * 1024, 7);

/** An export of 64 GiB that notes what was taken of it. */
class EndlessExport implements OpenExport {
	readonly etag = '"endless-raw"';
	readonly lengthBytes = 64 * 2 ** 30;
	made = 0;
	failures: unknown[] = [];
	failAfter = Infinity;
	readonly closed: Promise<void>;
	close!: () => void;

	constructor() {
		this.closed = new Promise((resolve) => (this.close = resolve));
	}

	async *bytes(fromBytes: number, toBytes: number, signal: AbortSignal): AsyncGenerator<Buffer> {
		for (let at = fromBytes; at < toBytes; at += chunk.length) {
			signal.throwIfAborted();
			if (this.made >= this.failAfter) throw new Error('a page cannot be read');
			this.made += chunk.length;
			yield chunk;
			await new Promise((resolve) => setImmediate(resolve));
		}
	}

	failed(error: unknown): void {
		this.failures.push(error);
	}
}

async function serve(t: ExecutionContext, stalledMs?: number) {
	const opened = new EndlessExport();
	const asked: string[] = [];
	const operations = new Proxy({} as StreamOperations, {
		get:
			(_target, name) =>
			async (...words: unknown[]) => {
				asked.push(`${String(name)} ${words.map(String).join(' ')}`);
				return opened;
			},
	});
	const server = await AdminServer.create({
		operations: {} as Operations,
		log: silent,
		version: '1',
		more: [streamRoutes(operations, stalledMs)],
	});
	t.teardown(() => server.close());
	const socketPath = join(await temporaryDirectory(t), 'socket');
	await server.listenOnSocket(socketPath);
	const get = (headers: Record<string, string> = {}): Promise<IncomingMessage> =>
		new Promise((resolve, reject) => {
			const path = '/v1/volumes/data/snapshots/one/export';
			request({ socketPath, path, headers, agent: false }, resolve).on('error', reject).end();
		});
	return { opened, asked, get, socketPath };
}

test('who reads nothing has little made for it, and is cut off after a while', async (t) => {
	const { opened, get } = await serve(t, 300);
	const response = await get();
	response.on('error', () => undefined);
	response.pause();
	await opened.closed;
	// What the kernel's and Node's buffers hold.
	t.true(opened.made < 8 * 2 ** 20, String(opened.made));
	t.regex(String(opened.failures[0]), /nothing of an export was taken/);
});

test('who goes away ends the work, and that is no failure', async (t) => {
	const { opened, get } = await serve(t);
	const response = await get();
	response.on('error', () => undefined);
	response.once('data', () => response.destroy());
	await opened.closed;
	t.deepEqual(opened.failures, []);
	t.true(opened.made < 16 * 2 ** 20, String(opened.made));
});

test('what cannot be read in the middle cuts the connection: nobody takes the part for the whole', async (t) => {
	const { opened, get } = await serve(t);
	opened.failAfter = 2 ** 20;
	const response = await get({ range: `bytes=0-${2 ** 21 - 1}`, te: 'trailers' });
	t.is(response.statusCode, 206);
	const ended = await new Promise<string>((resolve) => {
		response.resume();
		response.on('end', () => resolve('end'));
		response.on('error', () => resolve('error'));
	});
	t.is(ended, 'error');
	await opened.closed;
	t.is(opened.failures.length, 1);
	t.deepEqual(response.trailers, {});
});

test('a checksum behind a part of it, for who takes trailers among others', async (t) => {
	const { get } = await serve(t);
	const response = await get({ range: 'bytes=5-300000', te: 'gzip, trailers;q=1' });
	t.is(response.headers['trailer'], undefined);
	const whole = await get({ range: 'bytes=5-300000', te: 'gzip, trailers' });
	const hash = createHash('sha256');
	for await (const part of whole as AsyncIterable<Buffer>) hash.update(part);
	t.is(whole.trailers['content-digest'], `sha-256=:${hash.digest('base64')}:`);
	response.destroy();
});

test('a part that is larger than any may be is refused before it is read, and nothing is asked', async (t) => {
	const { asked, socketPath } = await serve(t);
	const status = await new Promise<number>((resolve, reject) => {
		const headers = {
			'content-type': 'application/octet-stream',
			'content-range': `bytes 0-${putBytesMax}/*`,
			'content-length': String(putBytesMax + 1),
		};
		const sent = request({ socketPath, method: 'PUT', path: '/v1/imports/x/data', headers, agent: false }, (response) => {
			resolve(response.statusCode ?? 0);
			sent.destroy();
		});
		sent.on('error', reject);
		sent.write(chunk);
	});
	t.true(status === 400 || status === 413, String(status));
	t.deepEqual(asked, []);
});
