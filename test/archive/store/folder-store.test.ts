import { chmod, link, mkdir, readFile, readdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { type Entry, type FolderDisk, KernelFolderDisk } from '../../../src/archive/store/folder-disk.ts';
import { FolderStore } from '../../../src/archive/store/folder-store.ts';
import type { DiskFile } from '../../../src/os/disk.ts';
import { SimulatedDisk } from '../../simulation/simulated-disk.ts';
import { temporaryDirectory } from '../../temporary.ts';
import { contract, keys, storeError } from './contract.ts';

for (const { title, run } of contract) {
	test(`folder: ${title}`, async (t) => {
		await run(await FolderStore.open(await temporaryDirectory(t)), 'test');
		t.pass();
	});
}

/** Fails a named operation with a code. */
class FailingDisk extends KernelFolderDisk {
	failing:
		| { readonly operation: 'open' | 'write' | 'datasync' | 'link' | 'rename' | 'syncDirectory' | 'list' | 'look'; readonly code: string }
		| undefined;

	override async open(path: string, mode: 'existing' | 'create' | 'readOnly'): Promise<DiskFile> {
		this.#fail('open');
		const file = await super.open(path, mode);
		const [write, datasync] = [file.write.bind(file), file.datasync.bind(file)];
		return Object.assign(file, {
			write: async (source: Uint8Array, at: number) => {
				this.#fail('write');
				return write(source, at);
			},
			datasync: async () => {
				this.#fail('datasync');
				return datasync();
			},
		});
	}

	override async link(from: string, to: string): Promise<void> {
		this.#fail('link');
		return super.link(from, to);
	}

	override async rename(from: string, to: string): Promise<void> {
		this.#fail('rename');
		return super.rename(from, to);
	}

	override async syncDirectory(path: string): Promise<void> {
		this.#fail('syncDirectory');
		return super.syncDirectory(path);
	}

	override async list(path: string): Promise<string[]> {
		this.#fail('list');
		return super.list(path);
	}

	override async look(path: string): Promise<Entry | undefined> {
		this.#fail('look');
		return super.look(path);
	}

	#fail(operation: string): void {
		if (this.failing?.operation === operation) throw Object.assign(new Error(`${this.failing.code}: made`), { code: this.failing.code });
	}
}

test('an error at any step of a put: the object is not there, nothing is left behind, and the same put then works', async (t) => {
	const root = await temporaryDirectory(t);
	const disk = new FailingDisk();
	const store = await FolderStore.open(root, disk);
	const steps = [
		['open', 'ENOSPC', 'noSpace', /is full/],
		['write', 'ENOSPC', 'noSpace', /make room/],
		['write', 'EDQUOT', 'noSpace', /is full/],
		['write', 'EIO', 'failed', /EIO/],
		['datasync', 'EIO', 'failed', /EIO/],
		['rename', 'EACCES', 'denied', /read and write access/],
		['open', 'EROFS', 'denied', /read-only/],
		['open', 'ESTALE', 'unreachable', /does not answer/],
	] as const;
	for (const [operation, code, kind, message] of steps) {
		disk.failing = { operation, code };
		const error = await t.throwsAsync(store.put('a/b', Buffer.from('x')));
		t.true(storeError(kind, message)(error), `${operation} ${code}`);
		disk.failing = undefined;
		t.is(await store.get('a/b'), undefined);
		t.deepEqual(await filesBelow(root), []);
	}
	disk.failing = { operation: 'link', code: 'ENOSPC' };
	t.true(storeError('noSpace')(await t.throwsAsync(store.put('a/b', Buffer.from('x'), { ifAbsent: true }))));
	disk.failing = undefined;
	t.is(await store.put('a/b', Buffer.from('x')), 'stored');
	t.deepEqual(await filesBelow(root), ['a/b']);
});

test('a folder that cannot be synced: the put fails, and so does a look at what may not last', async (t) => {
	const disk = new FailingDisk();
	const store = await FolderStore.open(await temporaryDirectory(t), disk);
	await store.put('a', Buffer.from('x'));
	disk.failing = { operation: 'syncDirectory', code: 'EIO' };
	t.true(storeError('failed')(await t.throwsAsync(store.put('b', Buffer.from('x')))));
	t.true(storeError('failed')(await t.throwsAsync(store.head('a'))));
	t.true(storeError('failed')(await t.throwsAsync(keys(store, ''))));
	t.true(storeError('failed')(await t.throwsAsync(store.delete('a'))));
	disk.failing = { operation: 'syncDirectory', code: 'EROFS' };
	t.is((await store.head('b'))?.sizeBytes, 1);
	disk.failing = { operation: 'list', code: 'EIO' };
	t.true(storeError('failed')(await t.throwsAsync(keys(store, ''))));
	disk.failing = { operation: 'look', code: 'EACCES' };
	t.true(storeError('denied')(await t.throwsAsync(store.get('b'))));
});

test('what is no folder is refused at the opening, and nothing is made', async (t) => {
	const root = await temporaryDirectory(t);
	await writeFile(join(root, 'file'), 'x');
	await symlink(join(root, 'gone'), join(root, 'dangling'));
	for (const path of [join(root, 'none'), join(root, 'dangling')])
		t.true(storeError('notFound', /does not exist; make the folder/)(await t.throwsAsync(FolderStore.open(path))), path);
	for (const [path, message] of [
		[join(root, 'file'), /is no folder/],
		[join(root, 'file', 'below'), /no folder/],
		['relative', /absolute/],
		['/', /absolute/],
		['', /absolute/],
	] as const) {
		t.true(storeError('invalid', message)(await t.throwsAsync(FolderStore.open(path))), path);
	}
	t.deepEqual((await readdir(root)).sort(), ['dangling', 'file']);
	await symlink(root, join(root, 'linked'));
	const store = await FolderStore.open(`${join(root, 'linked')}/`);
	await store.put('a', Buffer.from('x'));
	t.is(await readFile(join(root, 'a'), 'utf8'), 'x');
});

test('symbolic links in a repository are neither followed nor replaced', async (t) => {
	const outside = await temporaryDirectory(t);
	await writeFile(join(outside, 'secret'), 'secret');
	const root = await temporaryDirectory(t);
	const store = await FolderStore.open(root);
	await symlink(outside, join(root, 'folder'));
	await symlink(join(outside, 'secret'), join(root, 'file'));
	for (const key of ['folder/secret', 'folder/new', 'folder/deep/new', 'file']) {
		t.true(storeError('invalid', /in the way/)(await t.throwsAsync(store.put(key, Buffer.from('x')))), key);
		t.true(storeError('invalid', /in the way/)(await t.throwsAsync(store.get(key))), key);
		t.true(storeError('invalid', /in the way/)(await t.throwsAsync(store.head(key))), key);
		t.true(storeError('invalid', /in the way/)(await t.throwsAsync(store.delete(key))), key);
	}
	t.deepEqual(await keys(store, ''), []);
	t.deepEqual(await readdir(outside), ['secret']);
	t.is(await readFile(join(outside, 'secret'), 'utf8'), 'secret');
	t.deepEqual((await readdir(root)).sort(), ['file', 'folder']);
});

test('a key that is the folder of another, or the other way round, is refused and harms neither', async (t) => {
	const store = await FolderStore.open(await temporaryDirectory(t));
	await store.put('a/b', Buffer.from('x'));
	await store.put('c', Buffer.from('y'));
	t.true(storeError('invalid', /in the way/)(await t.throwsAsync(store.put('a', Buffer.from('z')))));
	t.true(storeError('invalid', /in the way/)(await t.throwsAsync(store.put('c/d', Buffer.from('z')))));
	t.is(await store.get('a'), undefined);
	t.is(await store.get('c/d'), undefined);
	await store.delete('a');
	await store.delete('c/d');
	t.deepEqual(await keys(store, ''), ['a/b', 'c']);
});

test('temporary files are in no list, and cleaned up when they are old; foreign files are left alone', async (t) => {
	const root = await temporaryDirectory(t);
	const store = await FolderStore.open(root);
	await store.put('a/b', Buffer.from('x'));
	const hourAgo = Date.now() / 1000 - 3600;
	for (const name of ['.upload-1', 'a/.upload-2', 'a/.upload-3', '.foreign', 'two words']) {
		await writeFile(join(root, name), 'left behind');
		if (name !== 'a/.upload-3') await utimes(join(root, name), hourAgo, hourAgo);
	}
	await mkdir(join(root, 'lost+found'));
	await chmod(join(root, 'lost+found'), 0);
	await link(join(root, 'a/b'), join(root, 'a/.upload-4'));
	t.deepEqual(await keys(store, ''), ['a/b']);
	t.is(await store.cleanUploads(600_000), 2);
	t.deepEqual(await filesBelow(root), ['.foreign', 'a/.upload-3', 'a/.upload-4', 'a/b', 'two words']);
	t.is(await store.cleanUploads(0), 2);
	t.is(String(await store.get('a/b')), 'x');
	await chmod(join(root, 'lost+found'), 0o700);
});

test('a folder that goes away, as an unmounted disk does: unreachable, nothing is written in its place; when it is back everything is there', async (t) => {
	const root = await temporaryDirectory(t);
	await mkdir(join(root, 'mount'));
	const store = await FolderStore.open(join(root, 'mount'));
	await store.put('a/b', Buffer.from('x'));
	for (const away of ['gone', 'empty']) {
		await rename(join(root, 'mount'), join(root, 'elsewhere'));
		if (away === 'empty') await mkdir(join(root, 'mount'));
		for (const operation of [
			store.put('a/c', Buffer.from('y')),
			store.put('c', Buffer.from('y')),
			store.get('a/b'),
			store.get('none'),
			store.head('a/b'),
			store.delete('a/b'),
			store.cleanUploads(0),
			keys(store, ''),
			keys(store, 'a/'),
		]) {
			t.true(storeError('unreachable', /mounted/)(await t.throwsAsync(operation)), away);
		}
		if (away === 'empty') {
			t.deepEqual(await readdir(join(root, 'mount')), []);
			await rm(join(root, 'mount'), { recursive: true });
		}
		await rename(join(root, 'elsewhere'), join(root, 'mount'));
		t.is(String(await store.get('a/b')), 'x');
		await store.put('c', Buffer.from('y'));
		await store.delete('c');
	}
	await store.close();
	t.true(storeError('failed', /closed/)(await t.throwsAsync(store.get('a/b'))));
});

test('the clock of the file system is the one that ages are counted by', async (t) => {
	class LateDisk extends KernelFolderDisk {
		override async look(path: string): Promise<Entry | undefined> {
			const entry = await super.look(path);
			return entry && { ...entry, modifiedMs: entry.modifiedMs - 7_200_000 };
		}
	}
	const store = await FolderStore.open(await temporaryDirectory(t), new LateDisk());
	await store.put('a', Buffer.from('x'));
	const ageMs = store.nowMs() - ((await store.head('a'))?.modifiedMs ?? 0);
	t.true(Math.abs(ageMs) < 60_000, `${ageMs}`);
});

/** The simulated disk has no times, and one file system. */
class PowerlessDisk implements FolderDisk {
	readonly #disk: SimulatedDisk;
	readonly open;
	readonly list;
	readonly makeDirectory;
	readonly rename;
	readonly link;
	readonly remove;
	readonly removeDirectory;
	readonly syncDirectory;
	readonly lock;
	readonly freeBytes;
	readonly lookThrough;

	constructor(disk: SimulatedDisk) {
		this.#disk = disk;
		this.open = disk.open.bind(disk);
		this.list = disk.list.bind(disk);
		this.makeDirectory = disk.makeDirectory.bind(disk);
		this.rename = disk.rename.bind(disk);
		this.link = disk.link.bind(disk);
		this.remove = disk.remove.bind(disk);
		this.removeDirectory = disk.removeDirectory.bind(disk);
		this.syncDirectory = disk.syncDirectory.bind(disk);
		this.lock = disk.lock.bind(disk);
		this.freeBytes = disk.freeBytes.bind(disk);
		this.lookThrough = this.look.bind(this);
	}

	async look(path: string): Promise<Entry | undefined> {
		if (!this.#disk.paths().includes(path)) return undefined;
		const isFolder = await this.#disk.list(path).then(
			() => true,
			() => false,
		);
		return { kind: isFolder ? 'folder' : 'file', sizeBytes: 0, modifiedMs: Date.now(), identity: path };
	}
}

async function scenario(store: FolderStore, stored: Map<string, string>): Promise<void> {
	const put = async (key: string, value: string, ifAbsent: boolean): Promise<void> => {
		await store.put(key, Buffer.alloc(9000, value), { ifAbsent });
		stored.set(key, value);
	};
	await put('chunks/aa/one', '1', false);
	await put('chunks/aa/two', '2', true);
	await put('manifest', '3', true);
	await put('chunks/bb/three', '4', true);
	await put('manifest', '5', false);
}

test('power loss at every operation of puts: what was stored is there, whole; what was not is whole or absent', async (t) => {
	let crashes = 0;
	let absent = 0;
	for (let k = 1; ; k++) {
		const disk = new SimulatedDisk({ seed: k });
		await disk.makeDirectory('/repository');
		await disk.syncDirectory('/');
		const store = await FolderStore.open('/repository', new PowerlessDisk(disk));
		const before = disk.operations;
		const stored = new Map<string, string>();
		const finished = scenario(store, stored).then(() => 'finished');
		const outcome = await Promise.race([finished, disk.powerLossAt(before + k)]);
		if (outcome === 'finished') break;
		crashes++;
		for (let seed = 1; seed <= 4; seed++) {
			const left = await FolderStore.open('/repository', new PowerlessDisk(disk.surviving(seed)));
			for (const key of ['chunks/aa/one', 'chunks/aa/two', 'chunks/bb/three', 'manifest']) {
				const found = await left.get(key);
				const where = `${key} at operation ${k}, state ${seed}`;
				if (found === undefined) {
					absent++;
					t.false(stored.has(key), `${where}: stored, and gone`);
				} else {
					const values = key === 'manifest' ? ['3', '5'] : [{ 'chunks/aa/one': '1', 'chunks/aa/two': '2' }[key] ?? '4'];
					t.true(
						values.some((value) => found.equals(Buffer.alloc(9000, value))),
						`${where}: torn`,
					);
					if (stored.get(key) === '5') t.is(String(found)[0], '5', where);
				}
			}
		}
	}
	t.log(`${crashes} crashes, ${absent} objects absent`);
	t.true(crashes > 30 && absent > 0);
});

async function filesBelow(root: string): Promise<string[]> {
	const entries = await readdir(root, { recursive: true, withFileTypes: true });
	return entries
		.filter((entry) => !entry.isDirectory())
		.map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
		.sort();
}
