import { createLazyVolume } from '../../src/blockvol/lazy-volume.ts';
import type { RemotePages, RemoteSource } from '../../src/blockvol/remote-pages.ts';
import type { Tuning } from '../../src/blockvol/limits.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { silent } from '../../src/os/logger.ts';
import type { Logger } from '../../src/os/logger.ts';
import type { ExecutionContext } from 'ava';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { temporaryDirectory } from '../temporary.ts';
import { kib, mib, type Shape, still, uuid } from './volume-fixture.ts';
import { WatchedDisk } from './watched-disk.ts';

export const identity = { repository: 'vault', manifest: 'c0ffee' };
export const chunkBytes = 64 * kib;

const zeros = Buffer.alloc(chunkBytes);

/** An archived snapshot in memory, which may be slow, gone or damaged. */
export class MemoryPages implements RemotePages {
	readonly content: Buffer;
	/** Chunks that were asked for, in order. */
	readonly asked: number[] = [];
	/** Under way now, and the most there ever were. */
	running = 0;
	runningMax = 0;
	closed = 0;
	/** Called before a chunk is given: waits, or throws. */
	before: (chunk: number, signal: AbortSignal) => Promise<void> | void = () => undefined;

	constructor(content: Buffer) {
		this.content = content;
	}

	get source(): RemoteSource {
		const chunkIsZero = (chunk: number): boolean => this.chunk(chunk).equals(zeros.subarray(0, this.chunk(chunk).length));
		return { identity, sizeBytes: this.content.length, chunkBytes, chunkIsZero };
	}

	chunk(index: number): Buffer {
		return this.content.subarray(index * chunkBytes, (index + 1) * chunkBytes);
	}

	async fetch(index: number, signal: AbortSignal): Promise<Buffer> {
		this.asked.push(index);
		this.runningMax = Math.max(this.runningMax, ++this.running);
		try {
			await this.before(index, signal);
			return Buffer.from(this.chunk(index));
		} finally {
			this.running--;
		}
	}

	close(): Promise<void> {
		this.closed++;
		return Promise.resolve();
	}
}

/** Bytes of which no two pages are the same; the chunks named are zeros. */
export function archived(sizeBytes: number, zeroChunks: readonly number[] = []): Buffer {
	const content = Buffer.alloc(sizeBytes);
	for (let at = 0; at < sizeBytes; at += 8) content.writeUInt32LE((at + 0x1234567) >>> 0, at);
	for (const chunk of zeroChunks) content.fill(0, chunk * chunkBytes, (chunk + 1) * chunkBytes);
	return content;
}

/** Nothing is filled by itself, and nothing takes long. */
export const lazy: Partial<Tuning> = {
	...still,
	remoteFillersMax: 0,
	remoteAheadMax: 0,
	remoteWaitMs: 20_000,
	remoteAttemptMs: 10_000,
	remoteRetryMs: 1,
	remoteFillShare: 1,
	remoteFreeBytesMin: 0,
	mergeShare: 1,
};

export interface ServedLazily {
	readonly disk: WatchedDisk;
	readonly directory: string;
	readonly pages: MemoryPages;
	volume: Volume;
	reopen(how: 'closed' | 'killed', tuning?: Partial<Tuning>, known?: boolean): Promise<Volume>;
}

/** A lazily restored volume in a temporary directory; on a disk in memory without `t`. */
export async function serveLazily(
	t: ExecutionContext | undefined,
	content: Buffer,
	tuning: Partial<Tuning> = {},
	shape: Shape = {},
	log: Logger = silent,
): Promise<ServedLazily> {
	const memory = new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 });
	if (t === undefined) await memory.makeDirectory('/data');
	const directory = `${t === undefined ? '/data' : await temporaryDirectory(t)}/volume`;
	const disk = new WatchedDisk(t === undefined ? memory : new FileDisk());
	const pages = new MemoryPages(content);
	await createLazyVolume(disk, directory, { uuid, sizeBytes: content.length, blockSize: 512, segmentBytes: mib, ...shape }, pages.source);
	const open = (other: Partial<Tuning>, known: boolean): Promise<Volume> =>
		Volume.open(disk, directory, { log, tuning: { ...lazy, ...other }, remote: () => (known ? pages : undefined) });
	const served: ServedLazily = {
		disk,
		directory,
		pages,
		volume: await open(tuning, true),
		async reopen(how, other = tuning, known = true) {
			if (how === 'closed') await served.volume.close();
			else served.volume.abandon();
			served.volume = await open(other, known);
			return served.volume;
		},
	};
	return served;
}

/** Waits until the filler has finished. */
export async function filled(volume: Volume): Promise<void> {
	while (volume.remote !== undefined) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Waits until so many chunks are in the volume's layer. */
export async function stored(volume: Volume, chunks: number): Promise<void> {
	while ((volume.remote?.localChunks ?? chunks) < chunks) await new Promise((resolve) => setTimeout(resolve, 2));
}
