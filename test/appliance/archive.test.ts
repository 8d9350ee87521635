import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import type { ArchiveJobView } from '../../src/admin/archive-schemas.ts';
import { Appliance, realParts } from '../../src/appliance.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { InitiatorDisk } from '../initiator/disk.ts';
import { defaultInitiatorName } from '../initiator/login.ts';
import { Session } from '../initiator/session.ts';
import { temporaryDirectory } from '../temporary.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const anywhere = { host: '127.0.0.1', port: 0 };
const sizeBytes = 8 * 2 ** 20;
const chunkBytes = 2 ** 20;
const blockBytes = 512;

/** An appliance with its own engine; `disk` is LUN 0 of its only target. */
async function start(t: ExecutionContext, dataDirectory: string) {
	const one = new Appliance(
		{ dataDirectory, version: '1', log: silent, iscsi: anywhere, nvme: 'none', nvmeDiscovery: 'none', admin: anywhere, drainMs: 200 },
		realParts(),
	);
	t.teardown(() => one.stop());
	await one.start();
	const { archive, snapshots, events, schedules } = one.protection;
	const ended = async ({ id }: ArchiveJobView): Promise<ArchiveJobView> => {
		for (;;) {
			const job = archive.job(id);
			if (job.state !== 'waiting' && job.state !== 'running') return job;
			await delay(5);
		}
	};
	const done = async (begun: Promise<ArchiveJobView> | ArchiveJobView): Promise<ArchiveJobView> => {
		const job = await ended(await begun);
		t.is(job.state, 'done', job.fault);
		return job;
	};
	const failed = async (begun: Promise<ArchiveJobView>): Promise<ArchiveJobView> => {
		const job = await ended(await begun);
		t.is(job.state, 'failed', JSON.stringify(job));
		return job;
	};
	const disk = async (lun = 0) => {
		const session = await Session.open({ port: one.iscsi?.port ?? 0, targetName: target });
		t.teardown(() => session.destroy());
		const found = new InitiatorDisk(session, lun);
		await found.becomeReady();
		return found;
	};
	/** All bytes of a volume, through a LUN that it has for that long. */
	const bytesOf = async (volume: string): Promise<Buffer> => {
		const { mappings } = await one.operations.volume(volume);
		const { lun } = mappings[0] ?? (await one.operations.map(target, { volume }));
		const reader = await disk(lun);
		const parts: Buffer[] = [];
		for (let at = 0; at < sizeBytes; at += 2 ** 18) parts.push(await reader.read(at / blockBytes, 2 ** 18 / blockBytes, blockBytes));
		await reader.session.logout();
		if (mappings.length === 0) await one.operations.unmap(target, lun);
		return Buffer.concat(parts);
	};
	return { one, archive, snapshots, events, schedules, operations: one.operations, ended, done, failed, disk, bytesOf };
}

async function fresh(t: ExecutionContext) {
	const folder = await temporaryDirectory(t);
	const path = join(folder, 'data');
	const repository = join(folder, 'backup');
	await mkdir(repository);
	const running = await start(t, path);
	const { operations } = running;
	await operations.createTarget({ name: target, alias: '', tpgt: 1 });
	await operations.allow(target, defaultInitiatorName, {});
	await operations.createVolume({ name: 'data', sizeBytes, blockSize: 512 });
	await operations.map(target, { volume: 'data' });
	const disk = await running.disk();
	const write = async (chunk: number, data: Buffer = randomBytes(65_536)) =>
		await disk.write((chunk * chunkBytes) / blockBytes, data, blockBytes);
	return { folder, path, repository, data: disk, write, ...running };
}

async function refuses(t: ExecutionContext, code: UsageErrorCode, action: () => unknown, message: RegExp = /^[^\n]+\.$/): Promise<void> {
	const error = await t.throwsAsync(async () => action(), { instanceOf: UsageError });
	t.is(error?.code, code, error?.message);
	t.regex(error?.message ?? '', message);
}

const inFolder = (name: string, path: string, more: object = {}) => ({
	name,
	location: { kind: 'folder' as const, path },
	create: true,
	...more,
});

async function objectsOf(folder: string): Promise<string[]> {
	const entries = await readdir(folder, { recursive: true, withFileTypes: true });
	return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

test('export, increments, restore: another appliance with nothing but the repository has it all', async (t) => {
	const first = await fresh(t);
	const { archive, snapshots, done, write, bytesOf, repository } = first;
	const added = await archive.addRepository(inFolder('off', repository, { passphrase: 'correct horse' }));
	t.like(added, { name: 'off', place: repository, isEncrypted: true, hasSecret: false });
	const contents: Buffer[] = [];
	const manifests: string[] = [];
	const uploaded: unknown[] = [];
	for (const [index, chunks] of [[0, 1, 2, 5], [5], [], [0, 7]].entries()) {
		for (const chunk of chunks) await write(chunk);
		await snapshots.make({ volumes: ['data'], name: `s${index}` });
		contents.push(await bytesOf('data'));
		const { result } = await done(archive.export('off', { volume: 'data', snapshot: `s${index}`, full: false }));
		manifests.push(String(result?.['manifest']));
		uploaded.push(result?.['uploadedChunks']);
	}
	t.deepEqual(uploaded, [4, 1, 0, 2]);
	const { manifests: listed, damaged } = await archive.manifests('off');
	t.deepEqual(damaged, []);
	t.deepEqual(
		listed.map(({ id, local, parent }) => [id, local, parent]),
		manifests.map((id, index) => [id, `data@s${index}`, manifests[index - 1]]),
	);
	t.like(await archive.repository('off'), { state: 'reachable', manifests: 4, volumes: 1, chunkBytes });
	await first.one.stop();

	const second = await start(t, join(first.folder, 'other'));
	await second.operations.createTarget({ name: target, alias: '', tpgt: 1 });
	await second.operations.allow(target, defaultInitiatorName, {});
	const known = { name: 'brought', location: { kind: 'folder' as const, path: repository }, create: false };
	await refuses(t, 'invalid', () => second.archive.addRepository(known), /passphrase/);
	await refuses(t, 'invalid', () => second.archive.addRepository({ ...known, passphrase: 'another horse' }));
	t.deepEqual(second.archive.repositories(), []);
	await second.archive.addRepository({ ...known, passphrase: 'correct horse' });
	const seen = await second.archive.manifests('brought', 'data');
	t.deepEqual(
		seen.manifests.map(({ id, local }) => [id, local]),
		manifests.map((id) => [id, undefined]),
	);
	for (const [index, manifest] of manifests.entries()) {
		await second.done(second.archive.restore('brought', manifest, { volume: `r${index}`, overwrite: false, lazy: false }));
		t.true((await second.bytesOf(`r${index}`)).equals(contents[index] as Buffer), `s${index}`);
	}
	t.is((await second.operations.volumes()).length, 4);
});

test('what is asked wrongly is refused, and nothing is begun', async (t) => {
	const { archive, snapshots, repository, folder, done, write } = await fresh(t);
	const wish = inFolder('off', repository);
	await refuses(t, 'notFound', () => archive.addRepository({ ...wish, create: false }));
	await refuses(t, 'notFound', () => archive.addRepository(inFolder('off', join(folder, 'nowhere'))));
	await archive.addRepository(wish);
	await refuses(t, 'alreadyExists', () => archive.addRepository(wish));
	await archive.removeRepository('off');
	await refuses(t, 'alreadyExists', () => archive.addRepository(wish), /There is a repository at/);
	await archive.addRepository({ ...wish, create: false });
	await refuses(t, 'notFound', () => archive.export('other', { volume: 'data', snapshot: 'one', full: false }), /no repository other/);
	await refuses(t, 'notFound', () => archive.export('off', { volume: 'none', snapshot: 'one', full: false }));
	await refuses(t, 'notFound', () => archive.export('off', { volume: 'data', snapshot: 'one', full: false }));
	await refuses(t, 'notFound', () => archive.restore('off', 'ab'.repeat(16), { volume: 'new', overwrite: false, lazy: false }));
	await refuses(t, 'inUse', () => archive.prune('off'), /no rules/);
	await refuses(t, 'notFound', () => archive.job(7));
	t.deepEqual(archive.jobs(), []);
	await write(0);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	const { result } = await done(archive.export('off', { volume: 'data', snapshot: 'one', full: false }));
	const manifest = String(result?.['manifest']);
	await refuses(t, 'alreadyExists', () => archive.restore('off', manifest, { volume: 'data', overwrite: false, lazy: false }));
	await refuses(t, 'inUse', () => archive.restore('off', manifest, { volume: 'data', overwrite: true, lazy: false }), /unmap/);
	await refuses(t, 'notFound', () => archive.restore('off', manifest, { volume: 'new', overwrite: true, lazy: false }));
	await refuses(t, 'invalid', () => archive.restore('off', manifest, { volume: 'new', overwrite: false, keepAs: 'old', lazy: false }));
	t.is(archive.jobs().length, 1);
});

test('a restore over a volume keeps what it was under another name', async (t) => {
	const { archive, snapshots, operations, repository, done, write, bytesOf, data } = await fresh(t);
	await archive.addRepository(inFolder('off', repository));
	await write(3);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	const before = await bytesOf('data');
	const { result } = await done(archive.export('off', { volume: 'data', snapshot: 'one', full: false }));
	await write(3);
	const after = await bytesOf('data');
	await data.session.logout();
	await operations.unmap(target, 0);
	await done(archive.restore('off', String(result?.['manifest']), { volume: 'data', overwrite: true, keepAs: 'data-old', lazy: false }));
	t.true((await bytesOf('data')).equals(before));
	t.true((await bytesOf('data-old')).equals(after));
});

test('a lazy restore is there at once, is fetched while it is used, and needs the repository until all is here', async (t) => {
	const first = await fresh(t);
	const { archive, snapshots, operations, repository, folder, path, done, failed, write, bytesOf, disk } = first;
	await archive.addRepository(inFolder('off', repository));
	for (const chunk of [0, 3, 6]) await write(chunk);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	const before = await bytesOf('data');
	const { result } = await done(archive.export('off', { volume: 'data', snapshot: 'one', full: false }));
	const manifest = String(result?.['manifest']);
	// What holds the data is away from the moment on that the volume is there.
	const [chunks, away] = [join(repository, 'chunks'), join(folder, 'chunks-away')];
	await rename(chunks, away);
	await done(archive.restore('off', manifest, { volume: 'lazily', overwrite: false, lazy: true }));
	t.like((await operations.volume('lazily')).restoring, { repository: 'off', manifest, done: 0 });
	await refuses(t, 'inUse', () => archive.deleteManifest('off', manifest, 'remote'), /Volume lazily is still being restored/);
	await refuses(t, 'inUse', () => archive.removeRepository('off'), /Volume lazily is still being restored/);
	await snapshots.make({ volumes: ['lazily'], name: 'of-it' });
	await mkdir(join(folder, 'backup2'));
	await archive.addRepository(inFolder('second', join(folder, 'backup2')));
	const { fault } = await failed(archive.export('second', { volume: 'lazily', snapshot: 'of-it', full: false }));
	t.regex(
		fault ?? '',
		/mediumError\. Volume lazily is still being restored from repository off, and what it lacks could not be fetched \(.*\)\. See to it that repository off can be used, .* try again\.$/,
	);
	const { lun } = await operations.map(target, { volume: 'lazily' });
	const writer = await disk(lun);
	const fresher = randomBytes(65_536);
	await writer.write((5 * chunkBytes) / blockBytes, fresher, blockBytes);
	await writer.session.logout();
	await operations.unmap(target, lun);
	await first.one.stop();
	await rename(away, chunks);
	const second = await start(t, path);
	const expected = Buffer.from(before);
	fresher.copy(expected, 5 * chunkBytes);
	t.true((await second.bytesOf('lazily')).equals(expected));
	while ((await second.operations.volume('lazily')).restoring !== undefined) await delay(10);
	t.like(await second.archive.deleteManifest('off', manifest, 'remote'), { remote: 'deleted' });
	await rm(repository, { recursive: true });
	t.true((await second.bytesOf('lazily')).equals(expected));
});

test('deleting: here, there, or both; there first, and a failure leaves both', async (t) => {
	const { archive, snapshots, repository, folder, done, write, events } = await fresh(t);
	await archive.addRepository(inFolder('off', repository));
	await mkdir(join(folder, 'backup2'));
	await archive.addRepository(inFolder('second', join(folder, 'backup2')));
	const ids = new Map<string, string>();
	for (const name of ['a', 'b', 'c', 'd']) {
		await write(1);
		await snapshots.make({ volumes: ['data'], name });
		const { result } = await done(archive.export('off', { volume: 'data', snapshot: name, full: false }));
		ids.set(name, String(result?.['manifest']));
	}
	const id = (name: string) => ids.get(name) ?? '';
	const { result } = await done(archive.export('second', { volume: 'data', snapshot: 'd', full: false }));
	const here = () => snapshots.views('data').map(({ name }) => name);
	const there = async () => (await archive.manifests('off')).manifests.map(({ snapshot }) => snapshot.name);

	t.deepEqual(await archive.archived('data', 'a'), [{ repository: 'off', manifest: id('a'), state: 'there' }]);
	t.like(await archive.deleteManifest('off', id('a'), 'remote'), { remote: 'deleted', local: 'kept' });
	t.deepEqual(await archive.archived('data', 'a'), []);
	t.deepEqual(here(), ['a', 'b', 'c', 'd']);
	t.like(await archive.deleteManifest('off', id('a'), 'remote'), { remote: 'notFound', local: 'kept' });

	t.like(await archive.deleteManifest('off', id('b'), 'both'), { remote: 'deleted', local: 'deleted', stillArchived: [] });
	t.deepEqual(here(), ['a', 'c', 'd']);
	t.deepEqual(await there(), ['c', 'd']);
	t.like(await archive.deleteManifest('off', id('b'), 'both'), { remote: 'notFound', local: 'notFound' });

	// The disk of the second repository is gone: neither is deleted here, and it says so.
	await rename(join(folder, 'backup2'), join(folder, 'away'));
	await refuses(t, 'unavailable', () => archive.deleteSnapshot('data', 'd'), /snapshot data@d stays, it is gone from off/);
	t.deepEqual(here(), ['a', 'c', 'd']);
	t.deepEqual(await archive.archived('data', 'd'), [{ repository: 'second', manifest: String(result?.['manifest']), state: 'unknown' }]);
	await refuses(
		t,
		'unavailable',
		() => archive.deleteManifest('second', String(result?.['manifest']), 'both'),
		/snapshot data@d stays, too/,
	);
	await rename(join(folder, 'away'), join(folder, 'backup2'));
	t.deepEqual((await archive.deleteSnapshot('data', 'd')).deletedFrom, [{ repository: 'second', manifest: String(result?.['manifest']) }]);
	t.deepEqual(here(), ['a', 'c']);
	t.deepEqual((await archive.manifests('second')).manifests, []);

	// Somebody else deletes it there: nobody is told any more that it still lives there.
	await write(1);
	await snapshots.make({ volumes: ['data'], name: 'e' });
	const made = await done(archive.export('off', { volume: 'data', snapshot: 'e', full: false }));
	await rm(join(repository, 'manifests', String(made.result?.['manifest'])));
	t.deepEqual(await archive.archived('data', 'e'), []);
	await snapshots.remove('data', 'e');

	// Deleted here only, it still lives there, and nothing that happens to a catalogue deletes anything here.
	await snapshots.remove('data', 'c');
	t.deepEqual(await there(), ['c']);
	await rm(join(repository, 'manifests'), { recursive: true });
	t.deepEqual(await there(), []);
	t.deepEqual(here(), ['a']);
	t.is(events.after(0, 1000).filter(({ kind }) => kind === 'archive-deleted').length, 4);
});

test('a repository that was removed and added again: what it has of the snapshots here is found by what they are, and deleted everywhere', async (t) => {
	const { archive, snapshots, repository, folder, done, write } = await fresh(t);
	await mkdir(join(folder, 'backup2'));
	for (const [name, path] of [
		['off', repository],
		['second', join(folder, 'backup2')],
	] as const)
		await archive.addRepository(inFolder(name, path));
	const exported = async (name: string, to = 'off') =>
		String((await done(archive.export(to, { volume: 'data', snapshot: name, full: false }))).result?.['manifest']);
	const ids: string[] = [];
	for (const name of ['a', 'b', 'c', 'd']) {
		await write(1);
		await snapshots.make({ volumes: ['data'], name });
		ids.push(await exported(name));
	}
	const [a = '', b = '', c = ''] = ids;
	const second = await exported('a', 'second');
	const here = () => snapshots.views('data').map(({ name }) => name);
	const places = (...all: (readonly [string, string])[]) => all.map(([name, manifest]) => ({ repository: name, manifest }));

	const addedAgain = async (): Promise<void> => {
		await archive.removeRepository('off');
		await archive.addRepository(inFolder('off', repository, { create: false }));
	};
	await addedAgain();
	t.deepEqual(
		await archive.archived('data', 'a'),
		places(['off', a], ['second', second]).map((place) => ({ ...place, state: 'there' as const })),
	);
	t.deepEqual((await archive.deleteSnapshot('data', 'a')).deletedFrom, places(['off', a], ['second', second]));
	t.deepEqual(here(), ['b', 'c', 'd']);
	t.deepEqual(
		(await archive.manifests('off')).manifests.map(({ snapshot }) => snapshot.name),
		['b', 'c', 'd'],
	);
	t.like(await archive.deleteManifest('off', b, 'both'), { remote: 'deleted', local: 'deleted', stillArchived: [] });
	t.deepEqual(here(), ['c', 'd']);

	// Nobody knows whether it lives there, too: nothing is deleted, here or elsewhere, and it is said.
	await addedAgain();
	await rename(repository, join(folder, 'away'));
	await refuses(t, 'unavailable', () => archive.deleteSnapshot('data', 'c'), /data@c lives in repository off is not known, so it stays/);
	await refuses(t, 'notFound', () => archive.deleteManifest('off', c, 'both'), /Repository off cannot be listed|cannot be opened/);
	t.deepEqual(await archive.archived('data', 'c'), []);
	t.deepEqual(here(), ['c', 'd']);
	await rename(join(folder, 'away'), repository);
	t.deepEqual((await archive.deleteSnapshot('data', 'c')).deletedFrom, places(['off', c]));
	t.deepEqual(here(), ['d']);
});

test('a snapshot that is being archived is not deleted; cancelled, it may be, and nothing is left', async (t) => {
	const { archive, snapshots, repository, path, write } = await fresh(t);
	await archive.addRepository(inFolder('off', repository));
	for (let chunk = 0; chunk < 8; chunk++) await write(chunk, randomBytes(262_144));
	await snapshots.make({ volumes: ['data'], name: 'one' });
	const job = await archive.export('off', { volume: 'data', snapshot: 'one', full: false, bytesPerSecond: 65_536 });
	await refuses(t, 'inUse', () => snapshots.remove('data', 'one'), /being archived: wait for the end of archive job 1, or cancel it/);
	await refuses(t, 'inUse', () => archive.export('off', { volume: 'data', snapshot: 'one', full: false }), /Job 1 archives/);
	await refuses(t, 'inUse', () => archive.removeRepository('off'), /Job 1/);
	while (archive.job(job.id).state !== 'running') await delay(5);
	t.is((await archive.cancel(job.id)).state, 'cancelled');
	t.deepEqual((await archive.manifests('off')).manifests, []);
	await snapshots.remove('data', 'one');
	// The job clears its journal away after it is said to be cancelled.
	while ((await readdir(join(path, 'archive'))).length > 0) await delay(5);
	t.deepEqual((await archive.manifests('off')).manifests, []);
});

test('an export that a stop cuts short goes on with the next start, and sends nothing twice', async (t) => {
	const first = await fresh(t);
	const { archive, snapshots, repository, path, write, one } = first;
	await archive.addRepository(inFolder('off', repository));
	for (let chunk = 0; chunk < 8; chunk++) await write(chunk, randomBytes(262_144));
	await snapshots.make({ volumes: ['data'], name: 'one' });
	const job = await archive.export('off', { volume: 'data', snapshot: 'one', full: false, bytesPerSecond: 1_000_000 });
	while ((archive.job(job.id).numbers?.['uploadedChunks'] ?? 0) < 2) await delay(5);
	await one.stop();
	const second = await start(t, path);
	const { result, attempts } = await second.done(second.archive.job(job.id));
	t.is(attempts, 2);
	t.true(Number(result?.['resumedChunks']) >= 2, JSON.stringify(result));
	t.true(Number(result?.['uploadedChunks']) <= 6, JSON.stringify(result));
	t.is((await second.archive.manifests('off')).manifests.length, 1);
	t.deepEqual(await readdir(join(path, 'archive')), []);
});

test('a crash after the last step of an export, or of a restore, and before its job has ended: nothing is done twice', async (t) => {
	const { archive, snapshots, repository, path, done, write, one } = await fresh(t);
	await archive.addRepository(inFolder('off', repository));
	await write(2);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	const exported = await done(archive.export('off', { volume: 'data', snapshot: 'one', full: false }));
	const manifest = String(exported.result?.['manifest']);
	const restored = await done(archive.restore('off', manifest, { volume: 'new', overwrite: false, lazy: false }));
	await one.stop();
	const database = new Database(join(path, 'config.db'));
	database.exec("UPDATE archive_jobs SET state = 'running', finished_at = NULL, result = NULL");
	database.close();
	const second = await start(t, path);
	t.like((await second.done(second.archive.job(exported.id))).result, { manifest, uploadedChunks: 0 });
	t.like((await second.done(second.archive.job(restored.id))).result, { volume: 'new', uuid: restored.result?.['uuid'] });
	t.is((await second.archive.manifests('off')).manifests.length, 1);
	t.deepEqual(
		(await second.operations.volumes()).map(({ name }) => name),
		['data', 'new'],
	);
});

test('verify finds what is flipped and what is gone, and repairs it from snapshots that are here', async (t) => {
	const { archive, snapshots, repository, done, failed, write } = await fresh(t);
	await archive.addRepository(inFolder('off', repository));
	for (const chunk of [0, 4]) await write(chunk);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	await done(archive.export('off', { volume: 'data', snapshot: 'one', full: false }));
	t.like((await done(archive.verify('off', { full: true, repair: false }))).result, { manifests: 1, chunks: 2, findings: 0 });
	const chunks = (await objectsOf(join(repository, 'chunks'))).toSorted();
	t.is(chunks.length, 2);
	const bytes = await readFile(chunks[0] as string);
	bytes[bytes.length >> 1]! ^= 0x10;
	await writeFile(chunks[0] as string, bytes);
	await rm(chunks[1] as string);
	t.like((await failed(archive.verify('off', { full: false, repair: false }))).result, { findings: 1 });
	const verified = await failed(archive.verify('off', { full: true, repair: false }));
	t.like(verified.result, { findings: 2 });
	t.regex(verified.fault ?? '', /is not sound: 2 findings/);
	const [manifest] = (await archive.manifests('off')).manifests;
	const restored = await failed(archive.restore('off', manifest?.id ?? '', { volume: 'new', overwrite: false, lazy: false }));
	t.regex(restored.fault ?? '', /chunks\//);
	t.like((await done(archive.verify('off', { full: true, repair: true }))).result, { findings: 0, foundBefore: 2, repairedChunks: 2 });
	await done(archive.restore('off', manifest?.id ?? '', { volume: 'new', overwrite: false, lazy: false }));
});

test('rules: after an export, what none keeps goes; by hand too, and the collection gives the space back', async (t) => {
	const { archive, snapshots, repository, done, write } = await fresh(t);
	await archive.addRepository(inFolder('off', repository));
	for (let index = 0; index < 4; index++) {
		await write(2);
		await snapshots.make({ volumes: ['data'], name: `s${index}` });
		await done(archive.export('off', { volume: 'data', snapshot: `s${index}`, full: false }));
	}
	const there = async () => (await archive.manifests('off')).manifests.map(({ snapshot }) => snapshot.name);
	t.deepEqual(await there(), ['s0', 's1', 's2', 's3']);
	await archive.changeRepository('off', { keep: { last: 2 } });
	t.deepEqual(
		(await archive.prunable('off')).manifests.map(({ snapshot }) => snapshot.name),
		['s0', 's1'],
	);
	t.deepEqual(await there(), ['s0', 's1', 's2', 's3']);
	t.like((await done(archive.prune('off'))).result, { deleted: 2, kept: 2 });
	t.deepEqual(await there(), ['s2', 's3']);
	await write(2);
	await snapshots.make({ volumes: ['data'], name: 's4' });
	await done(archive.export('off', { volume: 'data', snapshot: 's4', full: false }));
	for (const job of archive.jobs()) await done(job);
	t.deepEqual(await there(), ['s3', 's4']);
	t.is((await objectsOf(join(repository, 'chunks'))).length, 5);
	await done(archive.gc('off', { graceSeconds: 0 }));
	t.is((await objectsOf(join(repository, 'chunks'))).length, 2);
	t.like((await done(archive.verify('off', { full: true, repair: false }))).result, { manifests: 2, chunks: 2 });
});

test('a schedule archives what it made', async (t) => {
	const { archive, schedules, repository, done, write } = await fresh(t);
	await archive.addRepository(inFolder('off', repository));
	await write(1);
	const made = await schedules.create({
		name: 'often',
		volumes: ['data'],
		cron: '@yearly',
		zone: 'UTC',
		keep: { last: 3 },
		repository: 'off',
	});
	t.is(made.repository, 'off');
	await refuses(t, 'inUse', () => archive.removeRepository('off'), /Schedule often/);
	const { name } = await schedules.run('often');
	for (const job of archive.jobs()) await done(job);
	t.deepEqual(
		(await archive.manifests('off')).manifests.map(({ snapshot }) => snapshot.name),
		[name],
	);
	t.is((await schedules.change('often', { repository: null })).repository, undefined);
	await schedules.run('often');
	t.is((await archive.manifests('off')).manifests.length, 1);
});

test('a repository that is away is told, and what is to be done waits for it', async (t) => {
	const { archive, snapshots, repository, folder, write, done, one, events } = await fresh(t);
	await archive.addRepository(inFolder('off', repository));
	await write(1);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	t.like(await archive.repository('off'), { state: 'reachable' });
	await rename(repository, join(folder, 'away'));
	t.like(await archive.repository('off'), { state: 'unusable' });
	const job = await archive.export('off', { volume: 'data', snapshot: 'one', full: false });
	while (archive.job(job.id).fault === undefined) await delay(5);
	t.like(archive.job(job.id), { state: 'waiting', attempts: 1 });
	t.regex(archive.job(job.id).fault ?? '', /is its disk mounted/);
	const metrics = [...one.protection.metrics()].filter(({ name }) => name === 'blockport_archive_jobs');
	t.deepEqual(
		metrics.map(({ labels, value }) => [labels?.['state'], value]),
		[
			['waiting', 1],
			['running', 0],
		],
	);
	t.is(events.after(0, 99).at(-1)?.kind, 'archive-waits');
	await rename(join(folder, 'away'), repository);
	await done(job);
	t.is((await archive.manifests('off')).manifests.length, 1);
});
