import {
	copiedBytesMax,
	writeBytesMax,
	type Allocation,
	type BlockDevice,
	type CompareCompletion,
	type Completion,
	type Outcome,
} from '../../src/blockvol/block-device.ts';

export interface FlatDeviceOptions {
	sizeBytes?: number;
	blockSize?: 512 | 4096;
	uuid?: string;
}

/**
 * A volume in one buffer. It takes the contract at its word: short writes are copied before the call returns, longer ones are read from the caller's buffer at
 * completion. Completions come in a microtask, or held until release(), in any order.
 */
export class FlatDevice implements BlockDevice {
	readonly uuid: string;
	readonly blockSize: 512 | 4096;
	readonly atomicBytesMax = writeBytesMax;
	medium: Buffer;
	fault: string | undefined = undefined;
	/** tryRead always has to wait. */
	cold = false;
	/** Completions wait for release(). */
	held = false;
	/** What the next calls come to; undefined: whatever they would. */
	outcome: ((call: string, offsetBytes: number) => Outcome | undefined) | undefined = undefined;
	/** Bytes of long writes under way. */
	borrowedBytes = 0;
	/** Whether `writes` is kept. */
	recording = true;
	readonly writes: { offsetBytes: number; lengthBytes: number; fua: boolean }[] = [];
	readonly #waiting: (() => void)[] = [];
	readonly #listeners = new Set<() => void>();

	constructor(options: FlatDeviceOptions = {}) {
		this.uuid = options.uuid ?? '0b6f3a52-6d0e-4c1b-8f0a-51c5a0c2d701';
		this.blockSize = options.blockSize ?? 512;
		this.medium = Buffer.alloc(options.sizeBytes ?? 4 * 1024 * 1024);
	}

	get sizeBytes(): number {
		return this.medium.length;
	}

	get waiting(): number {
		return this.#waiting.length;
	}

	tryRead(offsetBytes: number, target: Uint8Array, start = 0, end = target.length): Outcome | undefined {
		if (this.cold) return undefined;
		return this.#read(offsetBytes, target.subarray(start, end));
	}

	read(offsetBytes: number, target: Uint8Array, completion: Completion): void {
		this.#later(() => completion.complete(this.#read(offsetBytes, target)));
	}

	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void {
		if (data.length > writeBytesMax || data.length === 0) throw new RangeError(`a write of ${data.length} bytes`);
		const outcome = this.#check('write', offsetBytes, data.length);
		if (this.recording) this.writes.push({ offsetBytes, lengthBytes: data.length, fua });
		const copied = data.length <= copiedBytesMax;
		const source = copied && this.held ? Buffer.from(data) : data;
		if (copied && !this.held && outcome === 'good') this.medium.set(source, offsetBytes);
		if (!copied) this.borrowedBytes += data.length;
		this.#later(() => {
			if (!copied) this.borrowedBytes -= data.length;
			if (outcome === 'good' && (!copied || source !== data)) this.medium.set(source, offsetBytes);
			completion.complete(outcome);
		});
	}

	compareAndWrite(offsetBytes: number, expected: Uint8Array, data: Uint8Array, _fua: boolean, completion: CompareCompletion): void {
		const there = this.medium.subarray(offsetBytes, offsetBytes + expected.length);
		const different = there.findIndex((byte, index) => byte !== expected[index]);
		let outcome = this.#check('compareAndWrite', offsetBytes, data.length);
		if (outcome === 'good' && different >= 0) {
			outcome = 'miscompare';
			completion.miscompareOffset = different;
		}
		if (outcome === 'good') this.medium.set(data, offsetBytes);
		this.#later(() => completion.complete(outcome));
	}

	zero(offsetBytes: number, lengthBytes: number, _fua: boolean, completion: Completion): void {
		const outcome = this.#check('zero', offsetBytes, lengthBytes);
		if (outcome === 'good') this.medium.fill(0, offsetBytes, offsetBytes + lengthBytes);
		this.#later(() => completion.complete(outcome));
	}

	flush(completion: Completion): void {
		this.#later(() => completion.complete(this.outcome?.('flush', 0) ?? 'good'));
	}

	async allocation(offsetBytes: number): Promise<Allocation> {
		return { outcome: 'good', extents: [{ lengthBytes: this.medium.length - offsetBytes, isMapped: true }] };
	}

	onResize(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	grow(sizeBytes: number): void {
		this.medium = Buffer.concat([this.medium, Buffer.alloc(sizeBytes - this.medium.length)]);
		for (const listener of this.#listeners) listener();
	}

	/** Lets a held completion go, the oldest unless another is named; false if there is none. */
	release(index = 0): boolean {
		const [next] = this.#waiting.splice(index, 1);
		next?.();
		return next !== undefined;
	}

	releaseAll(): void {
		while (this.release());
	}

	#read(offsetBytes: number, target: Uint8Array): Outcome {
		const outcome = this.#check('read', offsetBytes, target.length);
		if (outcome === 'good') this.medium.copy(target, 0, offsetBytes, offsetBytes + target.length);
		return outcome;
	}

	#check(call: string, offsetBytes: number, lengthBytes: number): Outcome {
		if (offsetBytes % this.blockSize !== 0 || lengthBytes % this.blockSize !== 0)
			throw new RangeError(`${call} of ${lengthBytes} bytes at ${offsetBytes}`);
		return this.outcome?.(call, offsetBytes) ?? (offsetBytes + lengthBytes > this.medium.length ? 'outOfRange' : 'good');
	}

	#later(act: () => void): void {
		if (this.held) this.#waiting.push(act);
		else queueMicrotask(act);
	}
}
