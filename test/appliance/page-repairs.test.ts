import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { ScrubView } from '../../src/admin/scrub-schemas.ts';
import { Appliance, realParts } from '../../src/appliance.ts';
import type { OpenVolume } from '../../src/appliance/volume-slot.ts';
import type { Volume } from '../../src/blockvol/volume.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';

const anywhere = { host: '127.0.0.1', port: 0 };
const page = 4096;
const sizeBytes = 4 * 2 ** 20;

/** An appliance with a volume and an empty repository, and what these tests do with them. */
async function fresh(t: ExecutionContext) {
	const folder = await temporaryDirectory(t);
	const repository = join(folder, 'backup');
	await mkdir(repository);
	let volume: OpenVolume | undefined;
	const parts = realParts();
	const engine = {
		...parts.engine,
		open: async (...args: Parameters<typeof parts.engine.open>) => (volume = await parts.engine.open(...args)),
	};
	const one = new Appliance(
		{
			dataDirectory: join(folder, 'data'),
			version: '1',
			log: silent,
			iscsi: anywhere,
			nvme: 'none',
			nvmeDiscovery: 'none',
			admin: anywhere,
			drainMs: 200,
		},
		{ ...parts, engine },
	);
	t.teardown(() => one.stop());
	await one.start();
	const { archive, snapshots, scrubs, events } = one.protection;
	const { uuid } = await one.operations.createVolume({ name: 'data', sizeBytes, blockSize: 512 });
	await archive.addRepository({ name: 'off', location: { kind: 'folder', path: repository }, create: true });
	const layers = join(folder, 'data', 'volumes', uuid, 'layers');
	const device = (): OpenVolume => volume as OpenVolume;
	const write = async (index: number, bytes: Buffer): Promise<void> => {
		const outcome = await new Promise((resolve) => device().write(index * page, bytes, true, { complete: resolve }));
		t.is(outcome, 'good');
	};
	const archived = async (snapshot: string): Promise<void> => {
		const { id } = await archive.export('off', { volume: 'data', snapshot, full: false });
		while (archive.job(id).state === 'waiting' || archive.job(id).state === 'running') await delay(5);
		t.is(archive.job(id).state, 'done', archive.job(id).fault);
	};
	return {
		repository,
		write,
		archived,
		snapshot: (name: string) => snapshots.make({ volumes: ['data'], name }),
		/** A view of a snapshot waits until everything of it is in its layer. */
		pageIn: async (snapshot: string, index: number): Promise<Buffer | string> => {
			const view = await device().openSnapshot?.(snapshot);
			const bytes = Buffer.alloc(page);
			const outcome = await new Promise<string>((resolve) => view?.read(index * page, bytes, { complete: resolve }));
			await view?.close();
			return outcome === 'good' ? bytes : outcome;
		},
		/** Flips a byte of a page wherever a layer's file has these bytes. */
		damage: async (bytes: Buffer): Promise<number> => {
			let count = 0;
			for (const name of await readdir(layers)) {
				if (!name.endsWith('.data')) continue;
				const file = await open(join(layers, name), 'r+');
				const found = Buffer.alloc(page);
				for (let at = 0; (await file.read(found, 0, page, at)).bytesRead === page; at += page) {
					if (!found.equals(bytes)) continue;
					await file.write(Buffer.from([bytes.readUInt8(77) ^ 1]), 0, 1, at + 77);
					count++;
				}
				await file.close();
			}
			return count;
		},
		flushed: () => (volume as Volume).flushToLayers(),
		scrub: async (): Promise<ScrubView> => {
			await scrubs.begin('data', {});
			while (scrubs.view('data').state !== 'idle') await delay(5);
			return scrubs.view('data');
		},
		messages: () =>
			events
				.after(0, 1000)
				.filter(({ kind }) => kind === 'scrub-finding')
				.map(({ message }) => message),
	};
}

async function objectsOf(folder: string): Promise<string[]> {
	const entries = await readdir(folder, { recursive: true, withFileTypes: true });
	return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

test('a flipped byte in a layer of a snapshot is mended from its archive, whatever was written since; event and view say from where', async (t) => {
	const { write, snapshot, archived, damage, scrub, pageIn, messages } = await fresh(t);
	const bytes = randomBytes(page);
	await write(3, bytes);
	await snapshot('one');
	await archived('one');
	// A later snapshot shows the same layer; the volume has something else there by now.
	await snapshot('two');
	await write(3, randomBytes(page));
	await snapshot('three');
	await pageIn('three', 3);
	t.is(await damage(bytes), 1);
	t.is(await pageIn('two', 3), 'mediumError');
	const { found, last } = await scrub();
	t.like(last, { findings: 1, repaired: 1 });
	t.like(found[0], { page: 3, kind: 'data', isRepaired: true });
	t.regex(found[0]?.repair ?? '', /^from [0-9a-f]{32} in repository off$/);
	t.regex(messages()[0] ?? '', /page 3, LBA 24 does not match its checksum, and was repaired from [0-9a-f]{32} in repository off\.$/);
	t.deepEqual(await pageIn('one', 3), bytes);
	t.deepEqual(await pageIn('two', 3), bytes);
	t.like((await scrub()).last, { findings: 0 }, 'it is sound on the disk');
});

test('what no archive is sure to have stays as it is: a page that changed before the snapshot that was archived, and pages of the live layer', async (t) => {
	const { write, snapshot, archived, damage, scrub, pageIn, flushed } = await fresh(t);
	const [older, newer, live] = [randomBytes(page), randomBytes(page), randomBytes(page)];
	await write(3, older);
	await snapshot('one');
	await write(3, newer);
	await snapshot('two');
	// It has another page there than the layer under it.
	await archived('two');
	await write(5, live);
	await flushed();
	t.deepEqual([await damage(older), await damage(live)], [1, 1]);
	const { last, found } = await scrub();
	t.like(last, { findings: 2, repaired: 0 });
	t.deepEqual(found.map(({ page: at, repair }) => `${at}: ${repair}`).toSorted(), [
		'3: no snapshot that shows it was archived',
		'5: the page is newer than the last snapshot, or may be',
	]);
	t.is(await pageIn('one', 3), 'mediumError');
	t.deepEqual(await pageIn('two', 3), newer, 'and what was sound is');
});

test('an archive whose own chunk is damaged, or whose disk is away, mends nothing and is named; once it is whole again the next scrub uses it', async (t) => {
	const { write, snapshot, archived, damage, scrub, pageIn, repository, messages } = await fresh(t);
	const bytes = randomBytes(page);
	await write(3, bytes);
	await snapshot('one');
	await archived('one');
	t.is(await damage(bytes), 1);
	const chunk = (await objectsOf(join(repository, 'chunks')))[0] ?? '';
	const flip = async (): Promise<void> => {
		const file = await open(chunk, 'r+');
		const byte = Buffer.alloc(1);
		await file.read(byte, 0, 1, 200);
		await file.write(Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, 200);
		await file.close();
	};
	await flip();
	const { found, last } = await scrub();
	t.like(last, { findings: 1, repaired: 0 });
	t.regex(found[0]?.repair ?? '', /^repository off: chunks\/\S+ does not match its checksum$/);
	t.regex(
		messages()[0] ?? '',
		/does not match its checksum, and was not repaired: repository off: chunks\/\S+ does not match its checksum\.$/,
	);
	t.is(await pageIn('one', 3), 'mediumError', 'nothing was written');
	await flip();
	t.like((await scrub()).last, { findings: 1, repaired: 1 });
	t.deepEqual(await pageIn('one', 3), bytes);
	t.is(await damage(bytes), 1);
	await rename(repository, `${repository}.away`);
	const away = await scrub();
	t.like(away.last, { findings: 1, repaired: 0 });
	t.regex(away.found[0]?.repair ?? '', /^repository off cannot be used: /);
});
