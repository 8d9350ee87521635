import {
	copiedBytesMax,
	type Allocation,
	type BlockDevice,
	type CompareCompletion,
	type Completion,
	type Outcome,
	type Sanitizer,
} from '../../src/blockvol/block-device.ts';

const pageBytes = 4096;

export type Operation = 'tryRead' | 'read' | 'write' | 'compareAndWrite' | 'zero' | 'flush';

export interface Call {
	operation: Operation;
	offsetBytes: number;
	lengthBytes: number;
	fua: boolean;
}

export interface MemoryDeviceOptions {
	uuid?: string;
	blockSize?: 512 | 4096;
	sizeBytes?: number;
	/** tryRead always has to wait. */
	cold?: boolean;
	sanitizer?: Sanitizer;
}

/** A sparse volume in memory. It records its calls, checks their alignment, and answers with whatever outcome a test asks for. */
export class MemoryDevice implements BlockDevice {
	readonly uuid: string;
	readonly blockSize: 512 | 4096;
	readonly atomicBytesMax = 1024 * 1024;
	readonly calls: Call[] = [];
	fault: string | undefined = undefined;
	/** The outcome of a call; undefined lets it go its way. Nothing happens on the medium when the outcome is not good. */
	outcome: ((call: Call) => Outcome | undefined) | undefined = undefined;
	/** Completions wait for release() while this is true. */
	held = false;
	readonly sanitizer: Sanitizer | undefined;
	readonly #cold: boolean;
	readonly #waiting: (() => void)[] = [];
	readonly #pages = new Map<number, Buffer>();
	readonly #listeners = new Set<() => void>();
	#sizeBytes: number;

	constructor(options: MemoryDeviceOptions = {}) {
		this.uuid = options.uuid ?? '8c3a6f0e-58a1-4b52-9d0c-2f6f6f0b7a11';
		this.blockSize = options.blockSize ?? 512;
		this.#sizeBytes = options.sizeBytes ?? 1024 * 1024;
		this.#cold = options.cold ?? false;
		this.sanitizer = options.sanitizer;
	}

	get sizeBytes(): number {
		return this.#sizeBytes;
	}

	get listeners(): number {
		return this.#listeners.size;
	}

	get pages(): number {
		return this.#pages.size;
	}

	resize(sizeBytes: number): void {
		this.#sizeBytes = sizeBytes;
		for (const listener of this.#listeners) listener();
	}

	/** Lets one held completion go; false if there is none. */
	release(): boolean {
		const next = this.#waiting.shift();
		next?.();
		return next !== undefined;
	}

	tryRead(offsetBytes: number, target: Uint8Array, start = 0, end = target.length): Outcome | undefined {
		const outcome = this.#begin('tryRead', offsetBytes, end - start, false);
		if (this.#cold) return undefined;
		if (outcome === 'good') this.peek(offsetBytes, target.subarray(start, end));
		return outcome;
	}

	read(offsetBytes: number, target: Uint8Array, completion: Completion): void {
		const outcome = this.#begin('read', offsetBytes, target.length, false);
		this.#later(completion, outcome, () => this.peek(offsetBytes, target));
	}

	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void {
		const outcome = this.#begin('write', offsetBytes, data.length, fua);
		// The caller may use its buffer for something else at once.
		const kept = data.length <= copiedBytesMax ? Buffer.from(data) : data;
		this.#later(completion, outcome, () => this.poke(offsetBytes, kept));
	}

	compareAndWrite(offsetBytes: number, expected: Uint8Array, data: Uint8Array, fua: boolean, completion: CompareCompletion): void {
		let outcome = this.#begin('compareAndWrite', offsetBytes, data.length, fua);
		const different = this.bytes(offsetBytes, expected.length).findIndex((byte, index) => byte !== expected[index]);
		if (outcome === 'good' && different >= 0) {
			outcome = 'miscompare';
			completion.miscompareOffset = different;
		}
		const kept = Buffer.from(data);
		this.#later(completion, outcome, () => this.poke(offsetBytes, kept));
	}

	zero(offsetBytes: number, lengthBytes: number, fua: boolean, completion: Completion): void {
		const outcome = this.#begin('zero', offsetBytes, lengthBytes, fua);
		this.#later(completion, outcome, () => this.#clear(offsetBytes, lengthBytes));
	}

	flush(completion: Completion): void {
		this.#later(completion, this.#begin('flush', 0, 0, false), () => undefined);
	}

	/** Every page counts as mapped that was ever written and not cleared since. */
	async allocation(offsetBytes: number, extentsMax: number): Promise<Allocation> {
		const outcome = this.#begin('read', offsetBytes, this.blockSize, false);
		const extents: Allocation['extents'] = [];
		if (outcome !== 'good') return { outcome, extents };
		for (let at = offsetBytes; at < this.#sizeBytes;) {
			const isMapped = this.#pages.has(Math.floor(at / pageBytes));
			const lengthBytes = pageBytes - (at % pageBytes);
			const last = extents.at(-1);
			if (last?.isMapped === isMapped) last.lengthBytes += lengthBytes;
			else if (extents.length === extentsMax) break;
			else extents.push({ lengthBytes, isMapped });
			at += lengthBytes;
		}
		return { outcome, extents };
	}

	onResize(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** Puts bytes on the medium behind the device's back. */
	poke(offsetBytes: number, data: Uint8Array): void {
		this.#eachPage(offsetBytes, data.length, (number, from, length, at) => {
			let page = this.#pages.get(number);
			if (page === undefined) this.#pages.set(number, (page = Buffer.alloc(pageBytes)));
			page.set(data.subarray(at, at + length), from);
		});
	}

	/** Reads bytes behind the device's back. */
	peek(offsetBytes: number, target: Uint8Array): void {
		this.#eachPage(offsetBytes, target.length, (number, from, length, at) => {
			const page = this.#pages.get(number);
			if (page === undefined) target.fill(0, at, at + length);
			else target.set(page.subarray(from, from + length), at);
		});
	}

	bytes(offsetBytes: number, lengthBytes: number): Buffer {
		const data = Buffer.alloc(lengthBytes);
		this.peek(offsetBytes, data);
		return data;
	}

	#begin(operation: Operation, offsetBytes: number, lengthBytes: number, fua: boolean): Outcome {
		if (offsetBytes % this.blockSize !== 0 || lengthBytes % this.blockSize !== 0)
			throw new Error(`${operation} of ${lengthBytes} bytes at ${offsetBytes} is not whole blocks`);
		const call = { operation, offsetBytes, lengthBytes, fua };
		this.calls.push(call);
		const wanted = this.outcome?.(call);
		if (wanted !== undefined) return wanted;
		return offsetBytes + lengthBytes > this.#sizeBytes ? 'outOfRange' : 'good';
	}

	#later(completion: Completion, outcome: Outcome, effect: () => void): void {
		const end = (): void => {
			if (outcome === 'good') effect();
			completion.complete(outcome);
		};
		if (this.held) this.#waiting.push(end);
		else queueMicrotask(end);
	}

	#clear(offsetBytes: number, lengthBytes: number): void {
		const endBytes = offsetBytes + lengthBytes;
		for (const [number, page] of this.#pages) {
			const from = Math.max(offsetBytes, number * pageBytes) - number * pageBytes;
			const to = Math.min(endBytes, (number + 1) * pageBytes) - number * pageBytes;
			if (from >= to) continue;
			if (to - from === pageBytes) this.#pages.delete(number);
			else page.fill(0, from, to);
		}
	}

	#eachPage(offsetBytes: number, lengthBytes: number, visit: (number: number, from: number, length: number, at: number) => void): void {
		let at = 0;
		while (at < lengthBytes) {
			const position = offsetBytes + at;
			const from = position % pageBytes;
			const length = Math.min(pageBytes - from, lengthBytes - at);
			visit(Math.floor(position / pageBytes), from, length, at);
			at += length;
		}
	}
}
