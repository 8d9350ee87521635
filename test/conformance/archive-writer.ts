import { createHash, randomFillSync } from 'node:crypto';
import { InitiatorDisk } from '../initiator/disk.ts';
import { Session } from '../initiator/session.ts';
import type { Random } from './random.ts';

export const chunkBytes = 2 ** 20;
const blockBytes = 512;
const readBytes = 2 ** 18;
const readsAtOnce = 8;

/** SHA-256 of each chunk of a volume; a chunk of zeros is ''. */
export type ChunkHashes = readonly string[];

/** A volume that is written to all the time, and what it holds: a copy of it in memory. */
export class WrittenVolume {
	readonly #sizeBytes: number;
	readonly #copy: Buffer;
	readonly #random: Random;
	#disk: InitiatorDisk | undefined;
	#chunks: readonly number[] = [];
	#working: Promise<void> = Promise.resolve();
	#isWriting = false;
	writes = 0;
	/** What a write that was not answered may have changed. */
	#doubtful: { offsetBytes: number; data: Buffer } | undefined;

	constructor(sizeBytes: number, random: Random) {
		this.#sizeBytes = sizeBytes;
		this.#copy = Buffer.alloc(sizeBytes);
		this.#random = random;
	}

	/** Logs in; a write that the death of the server left unanswered is made again. */
	async connect(port: number, targetName: string): Promise<void> {
		const session = await Session.open({ port, targetName });
		this.#disk = new InitiatorDisk(session, 0);
		await this.#disk.becomeReady();
		const again = this.#doubtful;
		this.#doubtful = undefined;
		if (again !== undefined) await this.#write(again.offsetBytes, again.data);
	}

	/** Writes to these chunks until pause(). */
	resume(chunks: readonly number[]): void {
		this.#chunks = chunks;
		this.#isWriting = true;
		this.#working = this.#work();
	}

	/** Resolves when nothing is on its way: copy and volume are the same. */
	async pause(): Promise<void> {
		this.#isWriting = false;
		await this.#working;
	}

	/** After the death of the server. */
	async disconnect(): Promise<void> {
		await this.pause();
		this.#disk?.session.destroy();
		this.#disk = undefined;
	}

	hashes(): ChunkHashes {
		return hashesOf(this.#copy);
	}

	async #work(): Promise<void> {
		while (this.#isWriting) {
			const chunk = this.#chunks[this.#random.between(0, this.#chunks.length - 1)] ?? 0;
			const data = randomFillSync(Buffer.alloc(this.#random.between(1, 16) * 4096));
			const offsetBytes = chunk * chunkBytes + this.#random.between(0, (chunkBytes - data.length) / 4096) * 4096;
			this.#doubtful = { offsetBytes, data };
			try {
				await this.#write(offsetBytes, data);
			} catch {
				// The server died: what became of this one shows when it is made again.
				this.#isWriting = false;
				return;
			}
			this.#doubtful = undefined;
			// A load, and not all that the machine can do: others are measured beside it.
			await new Promise((resolve) => {
				setTimeout(resolve, 4);
			});
		}
	}

	async #write(offsetBytes: number, data: Buffer): Promise<void> {
		if (this.#disk === undefined) throw new Error('not connected');
		await this.#disk.write(offsetBytes / blockBytes, data, blockBytes);
		data.copy(this.#copy, offsetBytes);
		this.writes++;
	}

	get sizeBytes(): number {
		return this.#sizeBytes;
	}
}

/** What a volume holds that is mapped as this LUN. */
export async function readHashes(port: number, targetName: string, lun: number, sizeBytes: number): Promise<ChunkHashes> {
	const session = await Session.open({ port, targetName });
	try {
		const disk = new InitiatorDisk(session, lun);
		await disk.becomeReady();
		const bytes = Buffer.alloc(sizeBytes);
		let next = 0;
		const reader = async (): Promise<void> => {
			for (let at = next; at < sizeBytes; at = next) {
				next += readBytes;
				const read = await disk.read(at / blockBytes, readBytes / blockBytes, blockBytes);
				read.copy(bytes, at);
			}
		};
		await Promise.all(Array.from({ length: readsAtOnce }, reader));
		return hashesOf(bytes);
	} finally {
		session.destroy();
	}
}

/**
 * Chunks that can be read and are not what they should be, of these. What cannot be read, since its repository is away, is not wrong.
 */
export async function wrongChunks(
	port: number,
	targetName: string,
	lun: number,
	hashes: ChunkHashes,
	chunks: readonly number[],
): Promise<number[]> {
	const session = await Session.open({ port, targetName });
	try {
		const disk = new InitiatorDisk(session, lun);
		await disk.becomeReady();
		const wrong: number[] = [];
		for (const chunk of chunks) {
			const reads = Array.from({ length: chunkBytes / readBytes }, (_, index) =>
				disk.read((chunk * chunkBytes + index * readBytes) / blockBytes, readBytes / blockBytes, blockBytes),
			);
			const parts = await Promise.allSettled(reads);
			if (parts.some(({ status }) => status === 'rejected')) continue;
			const read = Buffer.concat(parts.map((part) => (part as PromiseFulfilledResult<Buffer>).value));
			if (hashesOf(read)[0] !== hashes[chunk]) wrong.push(chunk);
		}
		return wrong;
	} finally {
		session.destroy();
	}
}

/** Bytes that no other call gives, every fifth chunk zeros. */
export function noiseWithHoles(sizeBytes: number): Buffer {
	const bytes = Buffer.alloc(sizeBytes);
	for (let at = 0; at < sizeBytes; at += chunkBytes)
		if ((at / chunkBytes) % 5 !== 3) randomFillSync(bytes, at, Math.min(chunkBytes, sizeBytes - at));
	return bytes;
}

export function hashesOf(bytes: Buffer): ChunkHashes {
	const zeros = Buffer.alloc(chunkBytes);
	const hashes: string[] = [];
	for (let at = 0; at < bytes.length; at += chunkBytes) {
		const chunk = bytes.subarray(at, at + chunkBytes);
		hashes.push(chunk.equals(zeros.subarray(0, chunk.length)) ? '' : createHash('sha256').update(chunk).digest('hex'));
	}
	return hashes;
}
