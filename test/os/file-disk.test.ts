import { readFile, writeFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { errorCode, wouldBlock, type DiskFile } from '../../src/os/disk.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { temporaryDirectory } from '../temporary.ts';

const page = 4096;
const disk = new FileDisk();

async function freshFile(t: ExecutionContext): Promise<DiskFile> {
	const file = await disk.open(`${await temporaryDirectory(t)}/file`, 'create');
	t.teardown(() => file.close());
	return file;
}

/** Reads without waiting; a page that was just written may still be on its way out of the cache of a slow file system. */
function tryReadText(file: DiskFile, length: number, position: number): string {
	const target = Buffer.alloc(length);
	const bytes = file.tryRead(target, position);
	return bytes < 0 ? 'wouldBlock' : target.toString('latin1', 0, bytes);
}

test('create refuses a name that is there, existing refuses one that is not', async (t) => {
	const path = `${await temporaryDirectory(t)}/file`;
	await t.throwsAsync(disk.open(path, 'existing'), { code: 'ENOENT' });
	await t.throwsAsync(disk.open(path, 'readOnly'), { code: 'ENOENT' });
	const file = await disk.open(path, 'create');
	await t.throwsAsync(disk.open(path, 'create'), { code: 'EEXIST' });
	await file.write(Buffer.from('kept'), 0);
	await file.close();
	const again = await disk.open(path, 'existing');
	t.is(await again.sizeBytes(), 4);
	await again.close();
});

test('a file opened readOnly cannot be written or punched', async (t) => {
	const path = `${await temporaryDirectory(t)}/file`;
	await writeFile(path, 'text');
	const file = await disk.open(path, 'readOnly');
	await t.throwsAsync(file.write(Buffer.from('x'), 0), { code: 'EBADF' });
	t.throws(() => file.writeSync(Buffer.from('x'), 0), { code: 'EBADF' });
	await t.throwsAsync(file.punch(0, page), { code: 'EBADF' });
	await file.close();
	t.is(await readFile(path, 'utf8'), 'text');
});

test('tryRead returns what is in memory, less at the end of the file and 0 behind it', async (t) => {
	const file = await freshFile(t);
	await file.write(Buffer.from('0123456789'), 0);
	t.is(tryReadText(file, 4, 3), '3456');
	t.is(tryReadText(file, 40, 8), '89');
	t.is(tryReadText(file, 4, 10), '');
	t.is(tryReadText(file, 4, 1e6), '');
});

test('tryRead reads into a part of a buffer and nowhere else', async (t) => {
	const file = await freshFile(t);
	await file.write(Buffer.from('abcdef'), 0);
	const slab = Buffer.alloc(20, '.');
	t.is(file.tryRead(slab.subarray(5, 9), 1), 4);
	t.is(slab.toString(), '.....bcde...........');
	t.is(file.tryRead(slab, 0, 14, 17), 3);
	t.is(slab.toString(), '.....bcde.....abc...');
	t.is(file.tryRead(slab, 4, 18), 2, 'to the end of the buffer');
	t.is(slab.toString(), '.....bcde.....abc.ef');
	t.is(file.tryRead(slab.subarray(2, 6), 0, 1, 2), 1);
	t.is(slab.toString(), '...a.bcde.....abc.ef');
	for (const [start, end] of [
		[0, 21],
		[-1, 4],
		[5, 4],
	] as const)
		t.throws(() => file.tryRead(slab, 0, start, end), { instanceOf: RangeError });
	t.is(slab.toString(), '...a.bcde.....abc.ef');
});

test('tryRead of bytes that are not in memory says wouldBlock or less than asked, or has them: never others', async (t) => {
	const file = await freshFile(t);
	const data = Buffer.alloc(1024 * 1024, 'q');
	await file.write(data, 0);
	await file.datasync();
	const target = Buffer.alloc(data.length);
	const bytes = file.tryRead(target, 0);
	t.true(bytes === wouldBlock || bytes > 0);
	if (bytes > 0) t.true(target.subarray(0, bytes).equals(data.subarray(0, bytes)));
	t.is(await file.read(target, 0), data.length);
});

test("tryRead throws the kernel's error with its code", async (t) => {
	const file = await freshFile(t);
	t.throws(() => file.tryRead(Buffer.alloc(10), -2), { code: 'EINVAL' });
});

test('writev gathers, writeEach scatters; sizes follow', async (t) => {
	const file = await freshFile(t);
	t.is(await file.writev([Buffer.from('ab'), Buffer.alloc(0), Buffer.from('cde')], 10), 5);
	await file.writeEach?.([Buffer.from('XY'), Buffer.from('Z')], [0, 20]);
	t.is(await file.sizeBytes(), 21);
	const target = Buffer.alloc(21);
	await file.read(target, 0);
	t.is(target.toString('latin1').replaceAll('\0', '.'), 'XY........abcde.....Z');
});

test('a hole that was punched reads as zeros, gives its space back and keeps the size', async (t) => {
	const file = await freshFile(t);
	await file.write(Buffer.alloc(64 * page, 1), 0);
	await file.datasync();
	const before = await file.allocatedBytes();
	await file.punch(16 * page, 32 * page);
	t.is(await file.sizeBytes(), 64 * page);
	t.true((await file.allocatedBytes()) <= before - 32 * page);
	const target = Buffer.alloc(3 * page, 9);
	await file.read(target, 15 * page);
	t.true(target.equals(Buffer.concat([Buffer.alloc(page, 1), Buffer.alloc(2 * page)])));
});

test('a hole punched beyond the end of the file changes nothing', async (t) => {
	const file = await freshFile(t);
	await file.write(Buffer.from('data'), 0);
	await file.punch(100 * page, page);
	t.is(await file.sizeBytes(), 4);
});

test('nextData finds the stretches between holes, and nothing behind the last', async (t) => {
	const file = await freshFile(t);
	t.is(await file.nextData(0), undefined);
	await file.write(Buffer.alloc(page, 1), 256 * page);
	await file.write(Buffer.alloc(page, 1), 1024 * page);
	await file.datasync();
	const first = await file.nextData(0);
	t.true(first !== undefined && first.startBytes <= 256 * page && first.endBytes >= 257 * page && first.endBytes <= 1024 * page);
	const second = await file.nextData(first?.endBytes ?? 0);
	t.true(second !== undefined && second.startBytes <= 1024 * page && second.endBytes === 1025 * page);
	t.is(await file.nextData(1025 * page), undefined);
});

test('calls on the thread pool that fail side by side each get their own error', async (t) => {
	const path = `${await temporaryDirectory(t)}/file`;
	await writeFile(path, 'text');
	const file = await disk.open(path, 'readOnly');
	const kinds = Array.from({ length: 200 }, (_, index) => index % 4);
	const results = await Promise.all(
		kinds.map(async (kind) => {
			try {
				if (kind === 0) await file.punch(0, page);
				else if (kind === 1) return (await file.nextData(1e9)) === undefined ? 'no data' : 'data';
				else if (kind === 2) await file.write(Buffer.from('x'), 0);
				else return tryReadText(file, 4, 0);
			} catch (error) {
				return errorCode(error);
			}
			return 'no error';
		}),
	);
	t.deepEqual(
		results,
		kinds.map((kind) => ['EBADF', 'no data', 'EBADF', 'text'][kind]),
	);
	await file.close();
});

test('a second lock on a file is refused until the first is closed', async (t) => {
	const path = `${await temporaryDirectory(t)}/lock`;
	const held = await disk.lock(path);
	t.truthy(held);
	t.is(await disk.lock(path), undefined);
	await held?.describe('pid 1 and more');
	await held?.describe('pid 2');
	t.is(await readFile(path, 'utf8'), 'pid 2');
	await held?.close();
	const again = await disk.lock(path);
	t.truthy(again);
	await again?.close();
});

test('a lock in a directory that does not exist is an error and not a refusal', async (t) => {
	await t.throwsAsync(disk.lock(`${await temporaryDirectory(t)}/none/lock`), { code: 'ENOENT' });
});

test('directories: made with parents, listed, renamed over, removed only when empty', async (t) => {
	const root = await temporaryDirectory(t);
	await disk.makeDirectory(`${root}/a/b`);
	await disk.makeDirectory(`${root}/a/b`);
	await (await disk.open(`${root}/a/b/one`, 'create')).close();
	await (await disk.open(`${root}/a/b/two`, 'create')).close();
	await disk.rename(`${root}/a/b/one`, `${root}/a/b/two`);
	await disk.syncDirectory(`${root}/a/b`);
	t.deepEqual(await disk.list(`${root}/a/b`), ['two']);
	await t.throwsAsync(disk.removeDirectory(`${root}/a/b`), { code: 'ENOTEMPTY' });
	await disk.remove(`${root}/a/b/two`);
	await disk.removeDirectory(`${root}/a/b`);
	t.deepEqual(await disk.list(`${root}/a`), []);
	await t.throwsAsync(disk.list(`${root}/a/b`), { code: 'ENOENT' });
	await t.throwsAsync(disk.syncDirectory(`${root}/a/b`), { code: 'ENOENT' });
	t.true((await disk.freeBytes(root)) > 0);
});

test('truncate changes the size; what it adds reads as zeros', async (t) => {
	const file = await freshFile(t);
	await file.write(Buffer.from('0123456789'), 0);
	await file.truncate(4);
	await file.truncate(8);
	const target = Buffer.alloc(8, 1);
	t.is(await file.read(target, 0), 8);
	t.is(target.toString('latin1'), '0123\0\0\0\0');
});
