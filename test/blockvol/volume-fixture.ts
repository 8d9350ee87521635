import { stat } from 'node:fs/promises';
import type { ExecutionContext } from 'ava';
import type { Completion, Outcome } from '../../src/blockvol/block-device.ts';
import type { Tuning } from '../../src/blockvol/limits.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import type { Disk } from '../../src/os/disk.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { silent } from '../../src/os/logger.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { temporaryDirectory } from '../temporary.ts';
import { WatchedDisk } from './watched-disk.ts';

export const uuid = '2f0e9f5c-5b1d-4a6e-9a57-0d6c1f6f3b01';
export const page = 4096;
export const kib = 1024;
export const mib = 1024 * 1024;

/** Nothing happens by itself, and every write of the log can be held up. */
export const still: Partial<Tuning> = {
	flushIdleMs: 0,
	flushStartBytes: Infinity,
	inlineAppendBytesMax: 0,
	inlineOverwriteBytesMax: 0,
	directBytesMin: Infinity,
	overwriteBytesMin: Infinity,
};

export interface Shape {
	uuid?: string;
	sizeBytes?: number;
	blockSize?: 512 | 4096;
	segmentBytes?: number;
	sliceBytes?: number;
}

export async function makeVolume(disk: Disk, directory: string, shape: Shape = {}): Promise<void> {
	await Volume.create(disk, directory, { uuid, sizeBytes: 16 * mib, blockSize: 512, segmentBytes: mib, ...shape });
}

export function openVolume(disk: Disk, directory: string, tuning: Partial<Tuning> = {}): Promise<Volume> {
	return Volume.open(disk, directory, { log: silent, tuning: { ...still, ...tuning } });
}

export interface Served {
	disk: WatchedDisk;
	directory: string;
	volume: Volume;
	/** Closes the volume, or forgets it, and opens it again. */
	reopen: (how: 'closed' | 'killed', tuning?: Partial<Tuning>) => Promise<Volume>;
}

/** A fresh volume in a temporary directory, over a disk that can be watched. */
export async function serveVolume(t: ExecutionContext, shape: Shape = {}, tuning: Partial<Tuning> = {}): Promise<Served> {
	const directory = `${await temporaryDirectory(t)}/volume`;
	return serveOn(new WatchedDisk(new FileDisk()), directory, shape, tuning);
}

/** A fresh volume over a disk in memory: a call on a closed file can hit no other file there. */
export async function serveInMemory(shape: Shape = {}, tuning: Partial<Tuning> = {}): Promise<Served> {
	const disk = new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 });
	await disk.makeDirectory('/data');
	return serveOn(new WatchedDisk(disk), '/data/volume', shape, tuning);
}

async function serveOn(disk: WatchedDisk, directory: string, shape: Shape, tuning: Partial<Tuning>): Promise<Served> {
	await makeVolume(disk, directory, shape);
	const served: Served = {
		disk,
		directory,
		volume: await openVolume(disk, directory, tuning),
		async reopen(how, other = tuning) {
			if (how === 'closed') await served.volume.close();
			else served.volume.abandon();
			served.volume = await openVolume(disk, directory, other);
			return served.volume;
		},
	};
	return served;
}

export function outcome(start: (completion: Completion) => void): Promise<Outcome> {
	return new Promise((resolve) => {
		start({ complete: resolve });
	});
}

export function write(volume: Volume, offsetBytes: number, data: Uint8Array, fua = false): Promise<Outcome> {
	return outcome((completion) => volume.write(offsetBytes, data, fua, completion));
}

export function zero(volume: Volume, offsetBytes: number, lengthBytes: number, fua = false): Promise<Outcome> {
	return outcome((completion) => volume.zero(offsetBytes, lengthBytes, fua, completion));
}

export function flush(volume: Volume): Promise<Outcome> {
	return outcome((completion) => volume.flush(completion));
}

export async function read(volume: Volume, offsetBytes: number, lengthBytes: number): Promise<Buffer> {
	const target = Buffer.alloc(lengthBytes, 0xee);
	const result = await outcome((completion) => volume.read(offsetBytes, target, completion));
	if (result !== 'good') throw new Error(`the read ended with ${result}`);
	return target;
}

export function filled(lengthBytes: number, value: number): Buffer {
	return Buffer.alloc(lengthBytes, value);
}

/** True if the promise settles within some turns of the event loop and the thread pool. */
export function settlesSoon(promise: Promise<unknown>, turns = 400): Promise<boolean> {
	const settled = promise.then(
		() => true,
		() => true,
	);
	return Promise.race([settled, poolTurns(turns)]);
}

/** Hops through the thread pool and the event loop. */
async function poolTurns(count: number): Promise<boolean> {
	for (let turn = 0; turn < count; turn++) await stat('/');
	return false;
}
