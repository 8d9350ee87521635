import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { BlockDevice, Outcome } from '../src/blockvol/block-device.ts';
import { Volume } from '../src/blockvol/volume.ts';
import { FileDisk } from '../src/os/file-disk.ts';
import { silent } from '../src/os/logger.ts';

/**
 * Snapshots of the engine, in process, over a real directory:
 *   npx node bench/snapshots.ts [--directory DIR] [--size-mib N] [--counts 0,1,10,100,1000]
 * How long one takes, by how much is unflushed; random 4 KiB reads under 1 to 1,000 of them, warm; random 4 KiB writes before and right after one.
 */
const { values } = parseArgs({
	options: {
		directory: { type: 'string', default: '.' },
		'size-mib': { type: 'string', default: '256' },
		counts: { type: 'string', default: '0,1,10,100,1000' },
	},
});
const mib = 2 ** 20;
const page = 4096;
const sizeBytes = Number(values['size-mib']) * mib;
const pages = sizeBytes / page;
const root = await mkdtemp(join(values.directory, 'bench-snapshots-'));
const disk = new FileDisk();

try {
	console.log('create, by MiB that are not flushed (ms):');
	for (const unflushed of [0, 16, 64].filter((size) => size * mib <= sizeBytes)) {
		const volume = await fresh({ flushIdleMs: 0, flushStartBytes: Infinity });
		await fill(volume, unflushed * mib);
		const startedAt = performance.now();
		await volume.createSnapshot('one');
		console.log(`  ${unflushed}: ${(performance.now() - startedAt).toFixed(2)}`);
		await volume.close();
	}
	console.log('4 KiB random reads, warm, by snapshots (µs of CPU each):');
	const volume = await fresh({});
	await fill(volume, sizeBytes);
	let made = 0;
	for (const count of values.counts.split(',').map(Number)) {
		for (; made < count; made++) {
			await write(volume, Math.floor(Math.random() * pages) * page, Buffer.alloc(page, made));
			await volume.createSnapshot(`s${made}`);
		}
		await volume.flushToLayers();
		await reads(volume, 4 * pages);
		const before = process.cpuUsage();
		const waited = await reads(volume, 100_000);
		const { user, system } = process.cpuUsage(before);
		const each = (user + system) / 100_000;
		console.log(`  ${count}: ${each.toFixed(2)}, ${waited} of 100000 waited for the disk`);
	}
	console.log('4 KiB random writes at depth 32 (µs each):');
	if (made > 0) await volume.deleteSnapshot(`s${made - 1}`);
	for (const when of ['before', 'right after'] as const) {
		if (when === 'right after') await volume.createSnapshot('last');
		const startedAt = performance.now();
		await writes(volume, 20_000, 32);
		console.log(`  ${when} a snapshot: ${(((performance.now() - startedAt) * 1000) / 20_000).toFixed(2)}`);
	}
	await volume.close();
} finally {
	await rm(root, { recursive: true, force: true });
}

async function fresh(tuning: Parameters<typeof Volume.open>[2]['tuning']): Promise<Volume> {
	const directory = join(root, String(performance.now()));
	const uuid = crypto.randomUUID();
	await Volume.create(disk, directory, { uuid, sizeBytes, blockSize: 4096 });
	return Volume.open(disk, directory, { log: silent, tuning: tuning ?? {} });
}

async function fill(volume: Volume, lengthBytes: number): Promise<void> {
	for (let offset = 0; offset < lengthBytes; offset += 64 * 1024 - page) {
		await write(volume, offset, Buffer.alloc(Math.min(64 * 1024 - page, lengthBytes - offset), 1 + (offset % 251)));
	}
}

/** How many of them could not be answered at once. */
async function reads(device: BlockDevice, count: number): Promise<number> {
	const target = Buffer.alloc(page);
	let waited = 0;
	for (let at = 0; at < count; at++) {
		const offset = Math.floor(Math.random() * pages) * page;
		if (device.tryRead(offset, target) !== undefined) continue;
		waited++;
		await good((completion) => device.read(offset, target, completion));
	}
	return waited;
}

async function writes(device: BlockDevice, count: number, depth: number): Promise<void> {
	const data = Buffer.alloc(page, 7);
	const worker = async (): Promise<void> => {
		for (let at = 0; at < count / depth; at++) {
			const offset = Math.floor(Math.random() * pages) * page;
			await good((completion) => device.write(offset, data, false, completion));
		}
	};
	await Promise.all(Array.from({ length: depth }, worker));
}

function write(device: BlockDevice, offset: number, data: Buffer): Promise<void> {
	return good((completion) => device.write(offset, data, false, completion));
}

async function good(start: (completion: { complete(outcome: Outcome): void }) => void): Promise<void> {
	const outcome = await new Promise<Outcome>((resolve) => {
		start({ complete: resolve });
	});
	if (outcome !== 'good') throw new Error(`a command ended with ${outcome}`);
}
