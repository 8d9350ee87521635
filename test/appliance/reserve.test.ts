import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { keepReserve, reserveBytes, withReserve } from '../../src/appliance/reserve.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';

/** A disk that says how much is free. */
function diskWith(free: { bytes: number }): FileDisk {
	const disk = new FileDisk();
	disk.freeBytes = () => Promise.resolve(free.bytes);
	return disk;
}

function full(): UsageError {
	return new UsageError('config.db cannot be written: the file system is full.', 'noSpace', {
		cause: Object.assign(new Error('full'), { code: 'SQLITE_FULL' }),
	});
}

/** Fails so many times, as a full configuration does. */
function failing(times: number): { work: () => string; calls: () => number } {
	let calls = 0;
	return {
		calls: () => calls,
		work() {
			if (calls++ < times) throw full();
			return 'done';
		},
	};
}

test('the reserve takes real space, is made once, and not where little is left', async (t) => {
	const path = await temporaryDirectory(t);
	const free = { bytes: 4 * reserveBytes - 1 };
	await keepReserve(diskWith(free), path);
	t.deepEqual(await readdir(path), []);
	free.bytes = 4 * reserveBytes;
	await keepReserve(diskWith(free), path);
	const made = await stat(join(path, 'reserve'));
	t.is(made.size, reserveBytes);
	await keepReserve(diskWith(free), path);
	t.is((await stat(join(path, 'reserve'))).ino, made.ino);
});

test('on a full file system the configuration gets the reserve, once, and it is made again when there is room', async (t) => {
	const path = await temporaryDirectory(t);
	const free = { bytes: Infinity };
	const disk = diskWith(free);
	await keepReserve(disk, path);
	free.bytes = 0;
	const once = failing(1);
	t.is(await withReserve(disk, path, silent, once.work), 'done');
	t.is(once.calls(), 2);
	t.deepEqual(await readdir(path), [], 'given up');
	const again = failing(1);
	await t.throwsAsync(withReserve(disk, path, silent, again.work), { instanceOf: UsageError, message: /full/ });
	t.is(again.calls(), 1, 'there is nothing left to give');
	free.bytes = Infinity;
	await keepReserve(disk, path);
	free.bytes = 0;
	const roomMade = failing(1);
	await withReserve(disk, path, silent, () => {
		const done = roomMade.work();
		// Something was deleted.
		free.bytes = Infinity;
		return done;
	});
	t.deepEqual(await readdir(path), ['reserve']);
});

test('what fails for another reason, or with room on the file system, leaves the reserve alone', async (t) => {
	const path = await temporaryDirectory(t);
	const free = { bytes: Infinity };
	const disk = diskWith(free);
	await keepReserve(disk, path);
	await t.throwsAsync(withReserve(disk, path, silent, failing(1).work), { instanceOf: UsageError });
	free.bytes = 0;
	const space = new UsageError('Volume a was not made: the file system is full.', 'noSpace', {
		cause: Object.assign(new Error('x'), { code: 'ENOSPC' }),
	});
	await t.throwsAsync(
		withReserve(disk, path, silent, () => Promise.reject(space)),
		{ is: space },
	);
	t.deepEqual(await readdir(path), ['reserve']);
});
