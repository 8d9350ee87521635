import type { BlockDevice, Outcome } from '../../blockvol/block-device.ts';
import { writeBytes, writesAhead, zeroRunBytesMin } from './limits.ts';
import { DeviceError } from './stream-error.ts';

const pageBytes = 4096;
const zeros = Buffer.alloc(zeroRunBytesMin);

/**
 * Fills an empty device from a stream of bytes: large writes of whole pages, so many at a time and no more. Runs of zeros are left out, since the device is empty; where something was
 * written before, they are made zeros.
 */
export class DeviceWriter {
	readonly #device: BlockDevice;
	readonly #free: Buffer[] = [];
	readonly #running = new Set<Promise<void>>();
	#buffers = 0;
	#failure: DeviceError | undefined;
	/** Behind it nothing was written ever. */
	#touchedBytes = 0;

	constructor(device: BlockDevice) {
		this.#device = device;
	}

	/**
	 * Writes what comes to a place that is whole pages; the last page is filled up with zeros. Resolves to the bytes that came, when the device has them all. Rejects with DeviceError, or with
	 * what the stream fails with; then nothing is under way any more, and the range may hold anything.
	 */
	async write(offsetBytes: number, chunks: AsyncIterable<Uint8Array>): Promise<number> {
		let [at, came] = [offsetBytes, 0];
		let buffer: Buffer | undefined;
		let filled = 0;
		try {
			for await (const chunk of chunks) {
				for (let used = 0; used < chunk.length;) {
					buffer ??= await this.#buffer();
					const length = Math.min(chunk.length - used, buffer.length - filled);
					buffer.set(chunk.subarray(used, used + length), filled);
					used += length;
					filled += length;
					if (filled < buffer.length) continue;
					this.#submit(at, buffer, filled);
					at += filled;
					[buffer, filled] = [undefined, 0];
				}
				came += chunk.length;
			}
			if (buffer !== undefined && filled > 0) {
				const whole = Math.ceil(filled / pageBytes) * pageBytes;
				buffer.fill(0, filled, whole);
				this.#submit(at, buffer, whole);
				buffer = undefined;
			}
		} finally {
			if (buffer !== undefined) this.#free.push(buffer);
			await Promise.all(this.#running);
		}
		this.#check();
		return came;
	}

	/** Makes whole pages zeros. Rejects with DeviceError. */
	async zero(offsetBytes: number, lengthBytes: number): Promise<void> {
		const touched = Math.min(offsetBytes + lengthBytes, this.#touchedBytes) - offsetBytes;
		if (touched > 0) this.#run(zeroed(this.#device, offsetBytes, touched));
		await Promise.all(this.#running);
		this.#check();
	}

	/** Makes zeros of what was written from a whole page on, by parts that do not count. Rejects with DeviceError. */
	async zeroFrom(offsetBytes: number): Promise<void> {
		if (offsetBytes < this.#touchedBytes) await this.zero(offsetBytes, this.#touchedBytes - offsetBytes);
	}

	#check(): void {
		if (this.#failure !== undefined) throw this.#failure;
	}

	async #buffer(): Promise<Buffer> {
		while (this.#free.length === 0 && this.#buffers === writesAhead) await Promise.race(this.#running);
		this.#check();
		const free = this.#free.pop();
		if (free !== undefined) return free;
		this.#buffers++;
		return Buffer.allocUnsafeSlow(writeBytes);
	}

	/** What is not zeros becomes writes; the buffer is free again when all have ended. */
	#submit(offsetBytes: number, buffer: Buffer, lengthBytes: number): void {
		const commands: Promise<DeviceError | undefined>[] = [];
		for (let at = 0; at < lengthBytes;) {
			const isZero = zerosAt(buffer, at, lengthBytes);
			let end = at;
			while (end < lengthBytes && zerosAt(buffer, end, lengthBytes) === isZero) end = Math.min(lengthBytes, end + zeroRunBytesMin);
			const start = offsetBytes + at;
			if (!isZero) commands.push(written(this.#device, start, buffer.subarray(at, end)));
			else if (start < this.#touchedBytes) commands.push(zeroed(this.#device, start, end - at));
			at = end;
		}
		this.#touchedBytes = Math.max(this.#touchedBytes, offsetBytes + lengthBytes);
		this.#run(
			Promise.all(commands).then((outcomes) => {
				this.#free.push(buffer);
				return outcomes.find((outcome) => outcome !== undefined);
			}),
		);
	}

	#run(work: Promise<DeviceError | undefined>): void {
		const running = work.then((failure) => {
			this.#failure ??= failure;
			this.#running.delete(running);
		});
		this.#running.add(running);
	}
}

function zerosAt(buffer: Buffer, at: number, lengthBytes: number): boolean {
	const length = Math.min(zeroRunBytesMin, lengthBytes - at);
	return buffer.subarray(at, at + length).equals(length === zeros.length ? zeros : zeros.subarray(0, length));
}

function written(device: BlockDevice, offsetBytes: number, data: Buffer): Promise<DeviceError | undefined> {
	return ended(`${data.length} bytes to ${offsetBytes}`, (complete) => device.write(offsetBytes, data, false, { complete }));
}

function zeroed(device: BlockDevice, offsetBytes: number, lengthBytes: number): Promise<DeviceError | undefined> {
	return ended(`zeros to ${offsetBytes}`, (complete) => device.zero(offsetBytes, lengthBytes, false, { complete }));
}

function ended(what: string, start: (complete: (outcome: Outcome) => void) => void): Promise<DeviceError | undefined> {
	return new Promise((resolve) => {
		start((outcome) => resolve(outcome === 'good' ? undefined : new DeviceError(what, outcome)));
	});
}
