import type { BlockDevice, Completion, Outcome } from '../../src/blockvol/block-device.ts';

/**
 * Some windows of a huge device, one behind the other: a model of a few megabytes then reaches every corner of 64 TiB. Reads and writes stay within a window,
 * zero goes over the gaps as well. Growth adds to the last window.
 */
export interface Windows {
	readonly count: number;
	/** A multiple of every size in which the simulation reads. */
	readonly windowBytes: number;
	/** What lies between two windows and is never written. */
	readonly gapBytes: number;
}

export class WindowedDevice {
	readonly #device: BlockDevice;
	readonly #windows: Windows;

	constructor(device: BlockDevice, windows: Windows) {
		this.#device = device;
		this.#windows = windows;
	}

	/** Bytes of the device that holds so many bytes of windows. */
	static deviceBytes(windows: Windows, sizeBytes: number): number {
		return sizeBytes + (windows.count - 1) * windows.gapBytes;
	}

	get blockSize(): number {
		return this.#device.blockSize;
	}

	get sizeBytes(): number {
		return this.#device.sizeBytes - (this.#windows.count - 1) * this.#windows.gapBytes;
	}

	/** The longest stretch from an offset on that lies in one window. */
	stretch(offsetBytes: number, lengthBytes: number): number {
		const { windowBytes, count } = this.#windows;
		const isLast = offsetBytes >= (count - 1) * windowBytes;
		return isLast ? lengthBytes : Math.min(lengthBytes, windowBytes - (offsetBytes % windowBytes));
	}

	tryRead(offsetBytes: number, target: Uint8Array, start = 0, end = target.length): Outcome | undefined {
		return this.#device.tryRead(this.#position(offsetBytes), target, start, end);
	}

	read(offsetBytes: number, target: Uint8Array, completion: Completion): void {
		this.#device.read(this.#position(offsetBytes), target, completion);
	}

	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void {
		this.#device.write(this.#position(offsetBytes), data, fua, completion);
	}

	zero(offsetBytes: number, lengthBytes: number, fua: boolean, completion: Completion): void {
		const start = this.#position(offsetBytes);
		// The end is the end of the last byte's window, or the gap behind it would be half zeroed for nothing.
		const end = this.#position(offsetBytes + lengthBytes - 1) + 1;
		this.#device.zero(start, end - start, fua, completion);
	}

	#position(offsetBytes: number): number {
		const { windowBytes, gapBytes, count } = this.#windows;
		return offsetBytes + Math.min(count - 1, Math.floor(offsetBytes / windowBytes)) * gapBytes;
	}
}
