import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import test from 'ava';
import { KernelAio, requestsMax, writeEach } from '../../src/os/kernel-aio.ts';
import { temporaryDirectory } from '../temporary.ts';
import { ScriptedFile } from './scripted-file.ts';

// One after the other: contexts are few, and who finds none writes one by one.
const bytes = 512;

function sourcesOf(count: number): { sources: Buffer[]; positions: number[]; expected: Buffer } {
	const slab = Buffer.alloc(count * bytes);
	const expected = Buffer.alloc(count * bytes);
	const sources: Buffer[] = [];
	const positions: number[] = [];
	for (let index = 0; index < count; index++) {
		const source = slab.subarray(index * bytes, (index + 1) * bytes).fill(index % 251);
		source.writeUInt32LE(index, 0);
		// Backwards, so that order does not help.
		const position = (count - 1 - index) * bytes;
		source.copy(expected, position);
		sources.push(source);
		positions.push(position);
	}
	return { sources, positions, expected };
}

for (const count of [0, 1, requestsMax, requestsMax + 1, 2 * requestsMax + 7]) {
	test.serial(`writeEach carries ${count} writes out, each to its place`, async (t) => {
		const path = `${await temporaryDirectory(t)}/file`;
		const fd = openSync(path, 'wx+');
		const { sources, positions, expected } = sourcesOf(count);
		const none = new ScriptedFile(0, ['EIO']);
		await writeEach(fd, none, sources, positions);
		t.true(readFileSync(path).equals(expected));
		t.is(none.calls.length, 0, 'the kernel left nothing over');
		closeSync(fd);
	});
}

test.serial('writes above 4 GiB go to their place', async (t) => {
	const path = `${await temporaryDirectory(t)}/file`;
	const fd = openSync(path, 'wx+');
	const position = 5 * 2 ** 32 + 4096;
	await writeEach(fd, new ScriptedFile(0, ['EIO']), [Buffer.from('here')], [position]);
	const target = Buffer.alloc(8);
	t.is(readSync(fd, target, 0, 8, position), 4);
	t.is(target.toString('utf8', 0, 4), 'here');
	closeSync(fd);
});

test.serial('what the kernel refuses is written over by ordinary writes, whose error is the one that is told', async (t) => {
	const path = `${await temporaryDirectory(t)}/file`;
	closeSync(openSync(path, 'wx+'));
	const fd = openSync(path, 'r');
	const { sources, positions, expected } = sourcesOf(requestsMax + 5);
	const file = new ScriptedFile(expected.length, []);
	await writeEach(fd, file, sources, positions);
	t.true(file.bytes.equals(expected));
	await t.throwsAsync(writeEach(fd, new ScriptedFile(expected.length, [bytes, 'ENOSPC']), sources, positions), { code: 'ENOSPC' });
	// The context that met errors serves on.
	const again = openSync(path, 'r+');
	await writeEach(again, new ScriptedFile(0, ['EIO']), sources, positions);
	t.true(readFileSync(path).equals(expected));
	closeSync(fd);
	closeSync(again);
});

test.serial('with no context to be had, writes go one by one', async (t) => {
	const held: KernelAio[] = [];
	for (let aio = KernelAio.acquire(); aio !== undefined; aio = KernelAio.acquire()) held.push(aio);
	t.true(held.length <= 4);
	const { sources, positions, expected } = sourcesOf(3);
	const file = new ScriptedFile(expected.length, [1, 7]);
	await writeEach(-1, file, sources, positions);
	t.true(file.bytes.equals(expected));
	for (const aio of held) aio.release();
});

test.serial('writeEach calls side by side do not disturb each other', async (t) => {
	const directory = await temporaryDirectory(t);
	const files = Array.from({ length: 8 }, (_, index) => ({ path: `${directory}/${index}`, ...sourcesOf(300 + index) }));
	await Promise.all(
		files.map(async ({ path, sources, positions, expected }) => {
			const fd = openSync(path, 'wx+');
			const rest = new ScriptedFile(expected.length, []);
			await writeEach(fd, rest, sources, positions);
			closeSync(fd);
			// Those that found no context wrote one by one.
			const seen = rest.calls.length === 0 ? readFileSync(path) : rest.bytes;
			t.true(seen.equals(expected), path);
		}),
	);
});
