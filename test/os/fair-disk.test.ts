import test from 'ava';
import { FairDisk } from '../../src/os/fair-disk.ts';
import type { DiskFile } from '../../src/os/disk.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

/** A disk on which whatever waits for it waits until `release`, and what is under way. */
class StalledDisk extends SimulatedDisk {
	readonly underWay: string[] = [];
	readonly #released = Promise.withResolvers<void>();

	release(): void {
		this.#released.resolve();
	}

	override async open(path: string, mode: 'existing' | 'create' | 'readOnly'): Promise<DiskFile> {
		const file = await super.open(path, mode);
		const stalled = async <T>(kind: string, work: () => Promise<T>): Promise<T> => {
			this.underWay.push(kind);
			await this.#released.promise;
			return work();
		};
		const [read, write, datasync] = [file.read.bind(file), file.write.bind(file), file.datasync.bind(file)];
		return Object.assign(file, {
			read: (target: Uint8Array, at: number) => stalled('read', () => read(target, at)),
			write: (source: Uint8Array, at: number) => stalled('write', () => write(source, at)),
			datasync: () => stalled('datasync', () => datasync()),
		});
	}
}

test('a volume whose disk does not answer has half of the pool for its transfers and a quarter for its syncs; another goes on', async (t) => {
	const threads = Number(process.env.UV_THREADPOOL_SIZE ?? 4);
	const disk = new StalledDisk({ seed: 1 });
	const file = await new FairDisk(disk).open('/file', 'create');
	file.writeSync(Buffer.alloc(4096, 1), 0);
	const work = [
		...Array.from({ length: 10 }, () => file.read(Buffer.alloc(4096), 0)),
		file.write(Buffer.alloc(512), 0),
		file.datasync(),
		file.datasync(),
		file.datasync(),
	];
	await settle();
	const count = (kind: string): number => disk.underWay.filter((one) => one === kind).length;
	t.deepEqual([count('read'), count('write'), count('datasync')], [threads / 2, 0, threads / 4]);
	const other = await new FairDisk(new SimulatedDisk({ seed: 2 })).open('/file', 'create');
	t.is(await other.write(Buffer.alloc(4096), 0), 4096);
	await other.datasync();
	disk.release();
	await Promise.all(work);
	t.deepEqual([count('read'), count('write'), count('datasync')], [10, 1, 3]);
});

test('everything that a file can do is passed on', async (t) => {
	const disk = new FairDisk(new SimulatedDisk({ seed: 1 }));
	await disk.makeDirectory('/d');
	const file = await disk.open('/d/one', 'create');
	t.is(file.writeSync(Buffer.alloc(8192, 1), 0), 8192);
	t.is(await file.writev([Buffer.alloc(512, 2), Buffer.alloc(512, 3)], 0), 1024);
	await file.writeEach!([Buffer.alloc(512, 4), Buffer.alloc(512, 5)], [1024, 4096]);
	await file.punch(4096, 4096);
	await file.datasync();
	const seen = Buffer.alloc(8192);
	t.is(file.tryRead(seen, 0), 8192);
	t.deepEqual(
		[0, 512, 1024, 1536, 4096].map((at) => seen[at]),
		[2, 3, 4, 1, 0],
	);
	const part = Buffer.alloc(1024, 9);
	t.is(file.tryRead(part, 0, 256, 768), 512);
	t.true(part.equals(Buffer.concat([Buffer.alloc(256, 9), Buffer.alloc(512, 2), Buffer.alloc(256, 9)])), 'a part, and nowhere else');
	t.is(await file.sizeBytes(), 8192);
	t.is(await file.allocatedBytes(), 4096);
	t.deepEqual(await file.nextData(0), { startBytes: 0, endBytes: 4096 });
	await disk.link('/d/one', '/d/two');
	t.is(await file.links(), 2);
	await file.truncate(512);
	t.is(await file.sizeBytes(), 512);
	await file.close();
	await disk.rename('/d/two', '/d/three');
	t.deepEqual((await disk.list('/d')).toSorted(), ['one', 'three']);
	await disk.remove('/d/one');
	await disk.remove('/d/three');
	await disk.syncDirectory('/d');
	await disk.removeDirectory('/d');
	t.true((await disk.freeBytes('/')) > 0);
	const lock = await disk.lock('/lock');
	t.is(await disk.lock('/lock'), undefined);
	await lock?.close();
});
