import { kernelError } from '../simulation/operation.ts';
import type { DiskFile } from '../../src/os/disk.ts';

/** A file in memory whose calls transfer as many bytes as a script says; 'EIO' and the like fail. After the script they transfer all. */
export class ScriptedFile implements DiskFile {
	readonly path = 'scripted';
	readonly bytes: Buffer;
	readonly calls: { kind: string; positionBytes: number; lengthBytes: number; parts: number }[] = [];
	readonly #script: (number | string)[];

	constructor(sizeBytes: number, script: (number | string)[]) {
		this.bytes = Buffer.alloc(sizeBytes);
		this.#script = [...script];
	}

	#take(kind: string, positionBytes: number, lengthBytes: number, parts: number): number {
		this.calls.push({ kind, positionBytes, lengthBytes, parts });
		const step = this.#script.shift() ?? lengthBytes;
		if (typeof step === 'string') throw kernelError(step, this.path);
		return Math.min(step, lengthBytes);
	}

	sizeBytes(): Promise<number> {
		return Promise.resolve(this.bytes.length);
	}

	tryRead(target: Uint8Array, positionBytes: number, start = 0, end = target.length): number {
		return this.#readInto(target.subarray(start, end), positionBytes);
	}

	async read(target: Uint8Array, positionBytes: number): Promise<number> {
		await Promise.resolve();
		return this.#readInto(target, positionBytes);
	}

	writeSync(source: Uint8Array, positionBytes: number): number {
		const length = this.#take('writeSync', positionBytes, source.length, 1);
		this.bytes.set(source.subarray(0, length), positionBytes);
		return length;
	}

	async write(source: Uint8Array, positionBytes: number): Promise<number> {
		await Promise.resolve();
		const length = this.#take('write', positionBytes, source.length, 1);
		this.bytes.set(source.subarray(0, length), positionBytes);
		return length;
	}

	async writev(sources: readonly Uint8Array[], positionBytes: number): Promise<number> {
		await Promise.resolve();
		const all = Buffer.concat(sources);
		const length = this.#take('writev', positionBytes, all.length, sources.length);
		this.bytes.set(all.subarray(0, length), positionBytes);
		return length;
	}

	#readInto(target: Uint8Array, positionBytes: number): number {
		const length = Math.min(this.#take('read', positionBytes, target.length, 1), Math.max(0, this.bytes.length - positionBytes));
		target.set(this.bytes.subarray(positionBytes, positionBytes + length));
		return length;
	}

	datasync(): Promise<void> {
		return Promise.resolve();
	}

	punch(): Promise<void> {
		return Promise.resolve();
	}

	nextData(): Promise<undefined> {
		return Promise.resolve(undefined);
	}

	links(): Promise<number> {
		return Promise.resolve(1);
	}

	inode(): Promise<number> {
		return Promise.resolve(1);
	}

	allocatedBytes(): Promise<number> {
		return Promise.resolve(0);
	}

	truncate(): Promise<void> {
		return Promise.resolve();
	}

	close(): Promise<void> {
		return Promise.resolve();
	}
}
