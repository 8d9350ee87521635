import test from 'ava';
import { objectBytesMax } from '../../../src/archive/store/object-store.ts';
import { readBody } from '../../../src/archive/store/s3-body.ts';
import { storeError } from './contract.ts';

async function* body(...parts: string[]): AsyncIterable<Uint8Array> {
	for (const part of parts) {
		await Promise.resolve();
		yield Buffer.from(part);
	}
}

test('a body is as long as it was said to be, or an error of the connection', async (t) => {
	t.is(String(await readBody(body('ab', 'c'), 3, 'key')), 'abc');
	t.is(String(await readBody(body('ab', 'c'), undefined, 'key')), 'abc');
	t.is(String(await readBody(body(), 0, 'key')), '');
	for (const sizeBytes of [4, 2, 0])
		await t.throwsAsync(readBody(body('ab', 'c'), sizeBytes, 'key'), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
});

test('a body that is longer than an object may be is not read into memory', async (t) => {
	t.true(storeError('invalid', /1073741824 at most/)(await t.throwsAsync(readBody(body('ab'), objectBytesMax + 1, 'key'))));
	async function* endless(): AsyncIterable<Uint8Array> {
		const part = Buffer.alloc(1);
		Object.defineProperty(part, 'length', { value: 300 * 1024 * 1024 });
		for (;;) {
			await Promise.resolve();
			yield part;
		}
	}
	t.true(storeError('invalid', /at most/)(await t.throwsAsync(readBody(endless(), undefined, 'key'))));
});
