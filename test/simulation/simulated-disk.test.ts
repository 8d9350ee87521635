import test from 'ava';
import { errorCode, wouldBlock } from '../../src/os/disk.ts';
import { readFully, writeFully } from '../../src/os/transfer.ts';
import { type Operation, PowerLost } from './operation.ts';
import { SimulatedDisk } from './simulated-disk.ts';

const seeds = Array.from({ length: 60 }, (_, seed) => seed);

async function diskWith(path: string, options: { sizeBytes?: number } = {}): Promise<SimulatedDisk> {
	const disk = new SimulatedDisk({ seed: 1 });
	await disk.makeDirectory('/d');
	await disk.syncDirectory('/');
	const file = await disk.open(path, 'create');
	if (options.sizeBytes !== undefined) await writeFully(file, new Uint8Array(options.sizeBytes), 0);
	await file.datasync();
	await disk.syncDirectory('/d');
	await file.close();
	return disk;
}

async function contentOf(disk: SimulatedDisk, path: string): Promise<Buffer> {
	const file = await disk.open(path, 'readOnly');
	const content = Buffer.alloc(await file.sizeBytes());
	await readFully(file, content, 0);
	return content;
}

/** The distinct contents that power loss leaves of a file over many seeds; 'absent' where the name is gone. */
async function outcomes(disk: SimulatedDisk, path: string): Promise<string[]> {
	const found = new Set<string>();
	for (const seed of seeds) {
		const survivor = disk.surviving(seed);
		try {
			found.add((await contentOf(survivor, path)).toString('latin1'));
		} catch (error) {
			if (errorCode(error) !== 'ENOENT') throw error;
			found.add('absent');
		}
	}
	return sorted(found);
}

function names(disk: SimulatedDisk): string[] {
	return sorted(seeds.map((seed) => disk.surviving(seed).paths().join(' ')));
}

function sorted(found: Iterable<string>): string[] {
	return [...new Set(found)].toSorted();
}

test('an unsynced write is lost, whole, or torn at 512 bytes, and never torn within a sector', async (t) => {
	const disk = await diskWith('/d/f', { sizeBytes: 2048 });
	const file = await disk.open('/d/f', 'existing');
	await writeFully(file, Buffer.alloc(2048, 'x'), 0);
	t.is((await contentOf(disk, '/d/f')).toString(), 'x'.repeat(2048));
	const found = await outcomes(disk, '/d/f');
	t.true(found.includes('x'.repeat(2048)));
	t.true(found.includes('\0'.repeat(2048)));
	t.true(found.length > 5);
	for (const content of found) for (let at = 0; at < 2048; at += 512) t.regex(content.slice(at, at + 512), /^(x{512}|\0{512})$/);
});

test('a write that was synced survives every power loss, a later one on top of it may not', async (t) => {
	const disk = await diskWith('/d/f', { sizeBytes: 512 });
	const file = await disk.open('/d/f', 'existing');
	await writeFully(file, Buffer.alloc(512, 'a'), 0);
	await file.datasync();
	await writeFully(file, Buffer.alloc(512, 'b'), 0);
	t.deepEqual(await outcomes(disk, '/d/f'), sorted(['a'.repeat(512), 'b'.repeat(512)]));
});

test('a datasync does not promise a write that took effect while it was under way', async (t) => {
	const ends = new Set<number>();
	for (const seed of seeds) {
		const disk = new SimulatedDisk({ seed, shortChance: 0 });
		const file = await disk.open('/f', 'create');
		await disk.syncDirectory('/');
		await file.write(Buffer.alloc(512), 0);
		await file.datasync();
		await Promise.all([file.datasync(), file.write(Buffer.alloc(512, 'x'), 0)]);
		ends.add((await outcomes(disk, '/f')).length);
	}
	t.deepEqual(ends, new Set([2]));
});

test('kill -9 loses nothing that was written, and what was unsynced may still go in a power loss after it', async (t) => {
	const disk = await diskWith('/d/f', { sizeBytes: 512 });
	const file = await disk.open('/d/f', 'existing');
	await writeFully(file, Buffer.alloc(512, 'x'), 0);
	const killed = disk.killed(1);
	t.is((await contentOf(killed, '/d/f')).toString(), 'x'.repeat(512));
	t.is((await outcomes(killed, '/d/f')).length, 2);
	await writeFully(file, Buffer.alloc(512, 'y'), 0);
	t.is((await contentOf(killed, '/d/f')).toString(), 'x'.repeat(512));
});

test('a created file vanishes with its synced data unless its directory was synced', async (t) => {
	const disk = await diskWith('/d/other');
	const file = await disk.open('/d/f', 'create');
	await writeFully(file, Buffer.from('data'), 0);
	await file.datasync();
	t.deepEqual(await outcomes(disk, '/d/f'), sorted(['absent', 'data']));
	await disk.syncDirectory('/d');
	t.deepEqual(await outcomes(disk, '/d/f'), sorted(['data']));
});

test('an unsynced rename leaves the old name or the new one, never both and never none', async (t) => {
	const disk = await diskWith('/d/old');
	await disk.rename('/d/old', '/d/new');
	t.deepEqual(names(disk), ['/d /d/new', '/d /d/old']);
	await disk.syncDirectory('/d');
	t.deepEqual(names(disk), ['/d /d/new']);
});

test('a removed file may reappear until its directory is synced', async (t) => {
	const disk = await diskWith('/d/f');
	await disk.remove('/d/f');
	t.deepEqual(await outcomes(disk, '/d/f'), sorted(['absent', '']));
	await disk.syncDirectory('/d');
	t.deepEqual(await outcomes(disk, '/d/f'), sorted(['absent']));
});

test('a name that a rename took away does not come back when only the rename was synced', async (t) => {
	const disk = new SimulatedDisk({ seed: 3 });
	await disk.makeDirectory('/a');
	await disk.makeDirectory('/b');
	await disk.syncDirectory('/');
	await disk.open('/a/f', 'create');
	await disk.rename('/a/f', '/b/f');
	await disk.syncDirectory('/b');
	t.deepEqual(names(disk), ['/a /b /b/f']);
});

test('an unsynced growth of a file may be lost, and with it the data behind the old end', async (t) => {
	const disk = await diskWith('/d/f');
	const file = await disk.open('/d/f', 'existing');
	await writeFully(file, Buffer.alloc(512, 'x'), 0);
	t.deepEqual(await outcomes(disk, '/d/f'), sorted(['', 'x'.repeat(512), '\0'.repeat(512)]));
});

test('a failed datasync: still readable, the next one succeeds, and yet it may be lost', async (t) => {
	const disk = await diskWith('/d/f', { sizeBytes: 512 });
	const file = await disk.open('/d/f', 'existing');
	await writeFully(file, Buffer.alloc(512, 'x'), 0);
	disk.faultRule = (operation) => (operation.kind === 'datasync' ? { kind: 'error', code: 'EIO' } : undefined);
	t.is(errorCode(await t.throwsAsync(file.datasync())), 'EIO');
	disk.faultRule = undefined;
	await file.datasync();
	t.is((await contentOf(disk, '/d/f')).toString(), 'x'.repeat(512));
	t.deepEqual(await outcomes(disk, '/d/f'), sorted(['\0'.repeat(512), 'x'.repeat(512)]));
	await writeFully(file, Buffer.alloc(512, 'y'), 0);
	await file.datasync();
	t.deepEqual(await outcomes(disk, '/d/f'), sorted(['y'.repeat(512)]));
});

test('power loss at operation k: it and all later ones have no effect and never complete', async (t) => {
	const disk = await diskWith('/d/f', { sizeBytes: 512 });
	const file = await disk.open('/d/f', 'existing');
	const lost = disk.powerLossAt(disk.operations + 1);
	let completed = 0;
	const count = (): void => {
		completed++;
	};
	void file.write(Buffer.alloc(512, 'x'), 0).then(count);
	void file.datasync().then(count);
	await lost;
	void file.sizeBytes().then(count);
	t.throws(() => file.writeSync(Buffer.alloc(1), 0), { instanceOf: PowerLost });
	await new Promise((resolve) => {
		setImmediate(resolve);
	});
	t.is(completed, 1);
});

test('a write under way at a power loss may have reached the disk in part', async (t) => {
	const disk = await diskWith('/d/f', { sizeBytes: 1024 });
	const file = await disk.open('/d/f', 'existing');
	const lost = disk.powerLossAt(disk.operations);
	void file.write(Buffer.alloc(1024, 'x'), 0);
	await lost;
	t.true((await outcomes(disk, '/d/f')).length >= 4);
});

test('sparse files: offsets of 64 TiB, holes read as zeros, punching gives space back, nextData finds what is left', async (t) => {
	const disk = new SimulatedDisk({ seed: 5 });
	const file = await disk.open('/f', 'create');
	const far = 64 * 2 ** 40 - 8192;
	await writeFully(file, Buffer.alloc(8192, 'x'), far);
	await writeFully(file, Buffer.alloc(4096, 'y'), 0);
	t.is(await file.sizeBytes(), far + 8192);
	t.is(await file.allocatedBytes(), 12288);
	t.deepEqual(await file.nextData(1), { startBytes: 1, endBytes: 4096 });
	t.deepEqual(await file.nextData(4096), { startBytes: far, endBytes: far + 8192 });
	await file.punch(far + 100, 8192 - 100);
	t.is(await file.sizeBytes(), far + 8192);
	t.is(await file.allocatedBytes(), 8192);
	const target = Buffer.alloc(8192);
	await readFully(file, target, far);
	t.deepEqual(target, Buffer.concat([Buffer.alloc(100, 'x'), Buffer.alloc(8092)]));
	await file.truncate(50);
	await file.truncate(200);
	await readFully(file, target.subarray(0, 200), 0);
	t.deepEqual(target.subarray(0, 200), Buffer.concat([Buffer.alloc(50, 'y'), Buffer.alloc(150)]));
	t.is(await file.nextData(4096), undefined);
});

test('a quota: writes are cut short, then refused with ENOSPC, and go on when space was given back', async (t) => {
	const disk = new SimulatedDisk({ seed: 5, quotaBytes: 8192, shortChance: 0 });
	const file = await disk.open('/f', 'create');
	t.is(await file.write(Buffer.alloc(12288, 'x'), 0), 8192);
	t.is(errorCode(await t.throwsAsync(file.write(Buffer.alloc(1), 8192))), 'ENOSPC');
	t.is(await file.write(Buffer.alloc(4096, 'y'), 0), 4096);
	t.is(await disk.freeBytes('/'), 0);
	await file.punch(0, 4096);
	t.is(await file.write(Buffer.alloc(4096), 8192), 4096);
});

test('a lock is held once, and by nobody after the process died', async (t) => {
	const disk = new SimulatedDisk({ seed: 5 });
	const lock = await disk.lock('/lock');
	await lock?.describe('pid 1');
	t.is(await disk.lock('/lock'), undefined);
	t.is((await contentOf(disk, '/lock')).toString(), 'pid 1');
	t.not(await disk.killed(1).lock('/lock'), undefined);
	await lock?.close();
	t.not(await disk.lock('/lock'), undefined);
});

test('faults: errors by rule, short transfers, misdirected reads, flipped bits', async (t) => {
	const disk = new SimulatedDisk({ seed: 5, wouldBlockChance: 0, shortChance: 0 });
	const file = await disk.open('/f', 'create');
	await file.write(Buffer.concat([Buffer.alloc(4096, 'a'), Buffer.alloc(4096, 'b')]), 0);
	const target = Buffer.alloc(4);
	disk.faultRule = () => ({ kind: 'misdirected', byBytes: 4096 });
	t.is(file.tryRead(target, 0), 4);
	t.is(target.toString(), 'bbbb');
	disk.faultRule = () => ({ kind: 'flippedBit', byteIndex: 2, bit: 1 });
	await file.read(target, 0);
	t.is(target.toString(), 'aaca');
	disk.faultRule = () => ({ kind: 'short', bytesMax: 3 });
	t.is(await file.read(target, 0), 3);
	t.is(await file.write(Buffer.alloc(4096, 'a'), 100), 412);
	disk.faultRule = (operation: Operation) => (operation.kind === 'read' ? { kind: 'error', code: 'EIO' } : undefined);
	t.is(errorCode(await t.throwsAsync(file.read(target, 0))), 'EIO');
	disk.faultRule = undefined;
	await file.datasync();
	disk.flipBit('/f', 4096, 1);
	t.is((await contentOf(disk, '/f')).subarray(4096, 4098).toString(), '`b');
	const survived = (await outcomes(disk, '/f')).filter((content) => content.length === 8192);
	t.true(survived.length > 0);
	for (const content of survived) t.is(content.slice(4096), '`' + 'b'.repeat(4095));
});

test('refusals are those of the kernel: ENOENT, EEXIST, ENOTEMPTY, EBADF', async (t) => {
	const disk = await diskWith('/d/f');
	t.is(errorCode(await t.throwsAsync(disk.open('/d/g', 'existing'))), 'ENOENT');
	t.is(errorCode(await t.throwsAsync(disk.open('/x/g', 'create'))), 'ENOENT');
	t.is(errorCode(await t.throwsAsync(disk.open('/d/f', 'create'))), 'EEXIST');
	t.is(errorCode(await t.throwsAsync(disk.removeDirectory('/d'))), 'ENOTEMPTY');
	const file = await disk.open('/d/f', 'readOnly');
	t.is(errorCode(await t.throwsAsync(file.write(Buffer.alloc(1), 0))), 'EBADF');
	await file.close();
	t.is(errorCode(await t.throwsAsync(file.sizeBytes())), 'EBADF');
	t.is(disk.violations.length, 1);
});

test('a buffer that changes during its write is noted', async (t) => {
	const disk = await diskWith('/d/f');
	const file = await disk.open('/d/f', 'existing');
	const data = Buffer.alloc(512);
	const written = file.write(data, 0);
	data[5] = 1;
	await written;
	t.is(disk.violations.length, 1);
});

test('the same seed gives the same run, another one another order of completion', async (t) => {
	const orders = new Map<number, string>();
	for (const seed of [1, 2, 3, 4, 1, 2, 3, 4]) {
		const disk = new SimulatedDisk({ seed });
		const file = await disk.open('/f', 'create');
		const order: number[] = [];
		await Promise.all([0, 1, 2, 3, 4].map((n) => file.write(Buffer.alloc(512), n * 512).then(() => order.push(n))));
		const before = orders.get(seed);
		if (before !== undefined) t.is(order.join(), before);
		orders.set(seed, order.join());
	}
	t.true(new Set(orders.values()).size > 1);
});

test('tryRead sometimes would block, and leaves garbage in the target then', async (t) => {
	const disk = new SimulatedDisk({ seed: 5, wouldBlockChance: 0.5, shortChance: 0 });
	const file = await disk.open('/f', 'create');
	await file.write(Buffer.alloc(512, 'x'), 0);
	const results = new Set(seeds.map(() => file.tryRead(Buffer.alloc(512), 0)));
	t.deepEqual(results, new Set([512, wouldBlock]));
});

test('a failed sync of a directory: names stay unsynced until the next one', async (t) => {
	const disk = await diskWith('/d/other');
	const file = await disk.open('/d/f', 'create');
	await file.datasync();
	disk.faultRule = () => ({ kind: 'error', code: 'EIO' });
	t.is(errorCode(await t.throwsAsync(disk.syncDirectory('/d'))), 'EIO');
	disk.faultRule = undefined;
	t.deepEqual(await outcomes(disk, '/d/f'), ['', 'absent']);
	await disk.syncDirectory('/d');
	t.deepEqual(await outcomes(disk, '/d/f'), ['']);
});
