import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import type { DiskImage, RandomSource } from '../../../src/archive/stream/image-source.ts';
import { ImageError } from '../../../src/archive/stream/stream-error.ts';

const run = promisify(execFile);

/** Resolves to what qemu-img prints; rejects when it fails. */
export async function qemuImg(...words: string[]): Promise<string> {
	return (await run('qemu-img', words, { maxBuffer: 2 ** 24 })).stdout;
}

/** Whether qemu-img is installed: without it the tests of this folder have their own images only, and test/conformance judges. */
export async function hasQemuImg(): Promise<boolean> {
	try {
		await qemuImg('--version');
		return true;
	} catch (error) {
		if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
		throw error;
	}
}

/** A file in memory that refuses to be read where it is not. */
export class MemorySource implements RandomSource {
	readonly bytes: Buffer;
	readBytes = 0;
	largest = 0;

	constructor(bytes: Buffer) {
		this.bytes = bytes;
	}

	static async of(path: string): Promise<MemorySource> {
		return new MemorySource(await readFile(path));
	}

	get sizeBytes(): number {
		return this.bytes.length;
	}

	async read(offsetBytes: number, lengthBytes: number): Promise<Buffer> {
		if (offsetBytes < 0 || lengthBytes < 1 || offsetBytes + lengthBytes > this.bytes.length)
			throw new RangeError(`${lengthBytes} bytes at ${offsetBytes}`);
		this.readBytes += lengthBytes;
		this.largest = Math.max(this.largest, lengthBytes);
		return this.bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
	}
}

/** All of a disk, or what it is refused for. */
export async function unfolded(image: DiskImage, fromBytes = 0): Promise<Buffer> {
	const parts: Buffer[] = [];
	for await (const { lengthBytes, data } of image.parts(fromBytes)) {
		if (data !== undefined && data.length !== lengthBytes) throw new Error(`a part of ${lengthBytes} bytes has ${data.length}`);
		parts.push(data ?? Buffer.alloc(lengthBytes));
	}
	return Buffer.concat(parts);
}

export async function refused(t: ExecutionContext, action: () => Promise<unknown>, message: RegExp): Promise<void> {
	const error = await t.throwsAsync(action, { instanceOf: ImageError });
	t.regex(error?.message ?? '', message);
}

/** Bytes that repeat nowhere, the same for the same seed. */
export function noise(lengthBytes: number, seed: number): Buffer {
	const bytes = Buffer.alloc(Math.ceil(lengthBytes / 4) * 4);
	let state = seed * 2 + 1;
	for (let at = 0; at < bytes.length; at += 4) {
		state = Math.imul(state, 1664525) + 1013904223;
		bytes.writeUInt32LE(state >>> 0, at);
	}
	return bytes.subarray(0, lengthBytes);
}
