/** Bytes in front of and behind the payload of a pooled buffer: room for a PDU's header and digests. */
export const headRoomBytes = 64;
const tailRoomBytes = 64;
const smallestShift = 12;
const largestShift = 20;
const heldBytesMax = 64 * 1024 * 1024;

/** The largest payload that acquire() grants. */
export const pooledPayloadBytesMax = 1 << largestShift;

/**
 * Payload buffers in classes of powers of two from 4 KiB to 1 MiB, each with room for a header and a tail. What is given back is kept for the next, up to
 * a bound; trim() lets go of what a quiet time has not used. Counting who may have how much is the memory budget's work, not the pool's.
 */
class BufferPool {
	readonly #free: Buffer[][] = Array.from({ length: largestShift - smallestShift + 1 }, () => []);
	readonly #leastFree: number[] = Array.from({ length: largestShift - smallestShift + 1 }, () => 0);
	#retainedBytes = 0;
	#usedBytes = 0;

	get retainedBytes(): number {
		return this.#retainedBytes;
	}

	/** A buffer with room for `payloadBytes` from headRoomBytes on. Its content is arbitrary. */
	acquire(payloadBytes: number): Buffer {
		const kind = classOf(payloadBytes);
		const free = this.#free[kind];
		if (free === undefined) throw new RangeError(`no pooled buffer holds ${payloadBytes} bytes`);
		const lengthBytes = (1 << (kind + smallestShift)) + headRoomBytes + tailRoomBytes;
		this.#usedBytes += lengthBytes;
		const buffer = free.pop();
		if (buffer === undefined) return Buffer.allocUnsafeSlow(lengthBytes);
		this.#retainedBytes -= buffer.length;
		if (free.length < this.#leastFree[kind]!) this.#leastFree[kind] = free.length;
		return buffer;
	}

	/** Takes back a buffer that acquire() gave. The caller keeps no view of it. */
	release(buffer: Buffer): void {
		this.#usedBytes -= buffer.length;
		// Used and kept together: a load that changes its sizes does not hold its memory twice.
		if (this.#usedBytes + this.#retainedBytes + buffer.length > heldBytesMax) return;
		this.#free[classOf(buffer.length - headRoomBytes - tailRoomBytes)]!.push(buffer);
		this.#retainedBytes += buffer.length;
	}

	/** Call it every few seconds: frees half of the buffers of each class that nobody wanted since the last call. */
	trim(): void {
		this.#free.forEach((free, kind) => {
			const unused = Math.min(this.#leastFree[kind]!, free.length);
			for (const buffer of free.splice(0, Math.ceil(unused / 2))) this.#retainedBytes -= buffer.length;
			this.#leastFree[kind] = free.length;
		});
	}
}

/** One for the process: sockets of all protocols share it. */
export const bufferPool = new BufferPool();

function classOf(payloadBytes: number): number {
	return payloadBytes <= 1 << smallestShift ? 0 : 32 - Math.clz32(payloadBytes - 1) - smallestShift;
}
