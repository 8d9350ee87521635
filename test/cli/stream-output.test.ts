import { join } from 'node:path';
import { Writable } from 'node:stream';
import test from 'ava';
import { ApiError } from '../../src/cli/api-client.ts';
import { OutputFile, writeOut } from '../../src/cli/stream-output.ts';
import { temporaryDirectory } from '../temporary.ts';

/** Full after each write, until the next turn of the loop. */
function narrow(): Writable {
	return new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => setImmediate(done) });
}

test('a pipe that is full again and again is waited for, and nobody goes on listening', async (t) => {
	const pipe = narrow();
	const events = ['drain', 'close', 'error'] as const;
	const before = events.map((event) => pipe.listenerCount(event));
	for (let count = 0; count < 20; count++) await writeOut(pipe, Buffer.alloc(10));
	t.deepEqual(
		events.map((event) => pipe.listenerCount(event)),
		before,
	);
});

test('a pipe whose reader leaves while it is full is told, and so is the next write', async (t) => {
	const pipe = new Writable({ highWaterMark: 1, write: () => undefined });
	pipe.on('error', () => undefined);
	const waiting = t.throwsAsync(writeOut(pipe, Buffer.alloc(10)), { instanceOf: ApiError, message: /EPIPE/ });
	pipe.destroy(Object.assign(new Error('broken'), { code: 'EPIPE' }));
	await waiting;
	await t.throwsAsync(writeOut(pipe, Buffer.alloc(10)), { instanceOf: ApiError, message: /was closed/ });
});

test('a folder that is not there is named', async (t) => {
	const folder = join(await temporaryDirectory(t), 'none');
	await t.throwsAsync(OutputFile.open(join(folder, 'out.raw'), 'x', false), {
		message: `${folder} is not there: make that folder, or name a file elsewhere.`,
	});
});
