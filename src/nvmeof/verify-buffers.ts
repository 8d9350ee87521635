import { limits } from './limits.ts';

/** Buffers for what is read and thrown away. Who finds none waits in line; the line is bounded by what the queues may have outstanding. */
class VerifyBuffers {
	readonly #free: Buffer[] = [];
	#made = 0;
	readonly #line: ((buffer: Buffer) => void)[] = [];

	/** Gives a buffer of limits.pieceBytes at once, or when one is given back. */
	take(taker: (buffer: Buffer) => void): void {
		const buffer = this.#free.pop();
		if (buffer !== undefined) taker(buffer);
		else if (this.#made < limits.verifyBuffers) {
			this.#made++;
			taker(Buffer.allocUnsafeSlow(limits.pieceBytes));
		} else this.#line.push(taker);
	}

	give(buffer: Buffer): void {
		const taker = this.#line.shift();
		if (taker === undefined) this.#free.push(buffer);
		else taker(buffer);
	}
}

/** One for the process. */
export const verifyBuffers = new VerifyBuffers();
