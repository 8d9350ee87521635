import { bufferPool, headRoomBytes } from '../wire/buffer-pool.ts';
import { limits } from './limits.ts';

/**
 * Buffers for what is read of one namespace and thrown away. Who finds none waits in line; the line is bounded by what the queues may have outstanding. Each namespace has its own, so that a disk
 * that hangs stops nobody else.
 */
export class VerifyBuffers {
	readonly #line: ((pooled: Buffer) => void)[] = [];
	#taken = 0;

	/** Gives a pooled buffer at once, or when one is given back; limits.pieceBytes of it are for use. */
	take(taker: (pooled: Buffer) => void): void {
		if (this.#taken === limits.verifyBuffers) {
			this.#line.push(taker);
			return;
		}
		this.#taken++;
		taker(bufferPool.acquire(limits.pieceBytes));
	}

	give(pooled: Buffer): void {
		const taker = this.#line.shift();
		if (taker !== undefined) {
			taker(pooled);
			return;
		}
		this.#taken--;
		bufferPool.release(pooled);
	}
}

/** The part of a pooled buffer that is for use. */
export function payloadOf(pooled: Buffer): Buffer {
	return pooled.subarray(headRoomBytes, headRoomBytes + limits.pieceBytes);
}
