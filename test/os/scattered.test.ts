import { open } from 'node:fs/promises';
import test from 'ava';
import { allocateScattered } from '../../src/os/scattered.ts';
import { temporaryDirectory } from '../temporary.ts';

const page = 4096;
const mib = 1024 * 1024;

test('short ranges without a neighbour get space, exactly theirs; others are left to the kernel, and nothing else of the file changes', async (t) => {
	const file = await open(`${await temporaryDirectory(t)}/file`, 'wx+');
	t.teardown(() => file.close());
	await file.write(Buffer.alloc(page, 7), 0, page, 8 * mib);
	const before = (await file.stat()).blocks * 512;
	const ranges = [
		[0, page],
		[8 * mib, 2 * page],
		[20 * mib, page],
		[20 * mib + page, page],
		[40 * mib, 64 * 1024],
	] as const;
	await allocateScattered(
		file.fd,
		ranges.map(([, length]) => Buffer.alloc(length)),
		ranges.map(([position]) => position),
	);
	const { blocks, size } = await file.stat();
	t.is(blocks * 512 - before, 2 * page, 'the first, and the second half of the second');
	t.is(size, 8 * mib + page);
	const kept = Buffer.alloc(page);
	await file.read(kept, 0, page, 8 * mib);
	t.deepEqual(kept, Buffer.alloc(page, 7));
});

test('more ranges than calls side by side; what the kernel refuses is told', async (t) => {
	const file = await open(`${await temporaryDirectory(t)}/file`, 'wx+');
	const positions = Array.from({ length: 50 }, (_, index) => index * 8 * mib);
	const sources = positions.map(() => Buffer.alloc(page));
	await allocateScattered(file.fd, sources, positions);
	// The file system's own list of extents comes on top.
	const { blocks } = await file.stat();
	t.true(blocks * 512 >= 50 * page && blocks * 512 < 60 * page);
	await file.close();
	await t.throwsAsync(allocateScattered(-1, sources, positions), { code: 'EBADF' });
});
