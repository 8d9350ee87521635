import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { DataDirectory } from '../../src/appliance/data-directory.ts';
import { removeTree } from '../../src/appliance/remove-tree.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { temporaryDirectory } from '../temporary.ts';

const disk = new FileDisk();

test('it is made for its owner only, with its volumes folder and a lock that names the process', async (t) => {
	const path = join(await temporaryDirectory(t), 'data');
	const directory = await DataDirectory.open(disk, path);
	t.is((await stat(path)).mode & 0o777, 0o700);
	t.deepEqual((await readdir(path)).toSorted(), ['lock', 'volumes']);
	t.is(await readFile(join(path, 'lock'), 'utf8'), `${process.pid}\n`);
	await directory.close();
});

test('a second one on the same directory is refused until the first is closed', async (t) => {
	const path = await temporaryDirectory(t);
	const first = await DataDirectory.open(disk, path);
	const error = await t.throwsAsync(DataDirectory.open(disk, path), { instanceOf: UsageError });
	t.regex(error?.message ?? '', /Another blockport uses .*--data-dir/);
	await first.close();
	const second = await DataDirectory.open(disk, path);
	await second.close();
});

test('the lock of a killed process is free', async (t) => {
	const path = await temporaryDirectory(t);
	const script = `
		import { DataDirectory } from '${new URL('../../src/appliance/data-directory.ts', import.meta.url).href}';
		import { FileDisk } from '${new URL('../../src/os/file-disk.ts', import.meta.url).href}';
		await DataDirectory.open(new FileDisk(), process.argv[1]);
		console.log('locked');
		setInterval(() => {}, 1000);
	`;
	const child = spawn(process.execPath, ['--input-type=module', '-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
	t.teardown(() => child.kill('SIGKILL'));
	await once(child.stdout, 'data');
	await t.throwsAsync(DataDirectory.open(disk, path), { instanceOf: UsageError });
	child.kill('SIGKILL');
	await once(child, 'exit');
	const directory = await DataDirectory.open(disk, path);
	await directory.close();
});

test('a missing parent, a file in its place and a directory that is not to be made are one sentence each', async (t) => {
	const folder = await temporaryDirectory(t);
	const missing = await t.throwsAsync(DataDirectory.open(disk, join(folder, 'a', 'b')), { instanceOf: UsageError });
	t.regex(missing?.message ?? '', /\/a does not exist: make it/);
	await writeFile(join(folder, 'file'), '');
	await t.throwsAsync(DataDirectory.open(disk, join(folder, 'file')), { instanceOf: UsageError, message: /is no directory/ });
	await t.throwsAsync(DataDirectory.open(disk, join(folder, 'file', 'x')), { instanceOf: UsageError });
	await t.throwsAsync(DataDirectory.open(disk, join(folder, 'absent'), false), {
		instanceOf: UsageError,
		message: /There is no data directory/,
	});
	t.deepEqual(await readdir(folder), ['file']);
});

test('a directory that cannot be written is one sentence', async (t) => {
	if (process.getuid?.() === 0) {
		// Root may write everywhere but here.
		await t.throwsAsync(DataDirectory.open(disk, '/proc/blockport-test'), { instanceOf: UsageError });
		await t.throwsAsync(DataDirectory.open(disk, '/proc'), { instanceOf: UsageError });
		return;
	}
	const path = join(await temporaryDirectory(t), 'data');
	await mkdir(path);
	await chmod(path, 0o500);
	await t.throwsAsync(DataDirectory.open(disk, path), { instanceOf: UsageError, message: /cannot be written \(EACCES\)/ });
});

test('a full file system and a failing disk are one sentence each, and the lock is given back', async (t) => {
	const path = await temporaryDirectory(t);
	for (const [code, pattern] of [
		['ENOSPC', /is full/],
		['EIO', /EIO/],
		['EROFS', /cannot be written/],
	] as const) {
		const failing = new FileDisk();
		failing.syncDirectory = () => Promise.reject(Object.assign(new Error(code), { code }));
		await t.throwsAsync(DataDirectory.open(failing, path), { instanceOf: UsageError, message: pattern });
	}
	const directory = await DataDirectory.open(disk, path);
	await directory.close();
});

test('removing a tree removes a volume’s directory whole, takes an absent one, and stops at a depth no volume has', async (t) => {
	const folder = await temporaryDirectory(t);
	const volume = join(folder, 'volume');
	await mkdir(join(volume, 'wal'), { recursive: true });
	await writeFile(join(volume, 'wal', '0.wal'), 'x');
	await writeFile(join(volume, 'superblock'), 'x');
	await removeTree(disk, volume);
	t.deepEqual(await readdir(folder), []);
	await t.notThrowsAsync(removeTree(disk, volume));
	await mkdir(join(volume, 'a/b/c/d/e/f/g'), { recursive: true });
	await t.throwsAsync(removeTree(disk, volume), { instanceOf: RangeError });
});
