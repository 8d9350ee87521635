import type { Socket } from 'node:net';

const slabBytes = 256 * 1024;
/** Data from this length on is sent from where it lies; shorter data is copied beside its header. */
export const referenceFromBytes = 16 * 1024;

/**
 * What goes out in one turn: headers and short data in a slab, long data by reference, all of it in one write (or one gathered write).
 * A slab is used again when the kernel has all of it.
 */
export class Outbox {
	readonly #socket: Socket;
	readonly #free: Buffer[] = [];
	#slab: Buffer = Buffer.allocUnsafeSlow(slabBytes);
	#start = 0;
	#end = 0;
	readonly #pieces: Buffer[] = [];

	constructor(socket: Socket) {
		this.#socket = socket;
	}

	get slab(): Buffer {
		return this.#slab;
	}

	/** Room for so many bytes (at most 64 KiB) in `slab`; returns where they begin. Take `slab` after this call. */
	reserve(lengthBytes: number): number {
		if (this.#end + lengthBytes > slabBytes) this.flush();
		if (this.#end + lengthBytes > slabBytes) this.#nextSlab();
		const at = this.#end;
		this.#end += lengthBytes;
		return at;
	}

	/** Data that stays as it is until it was sent. */
	reference(data: Buffer): void {
		if (this.#end > this.#start) this.#pieces.push(this.#slab.subarray(this.#start, this.#end));
		this.#start = this.#end;
		this.#pieces.push(data);
	}

	flush(): void {
		if (this.#end === 0) return;
		const socket = this.#socket;
		if (this.#start === 0) {
			socket.write(this.#slab.subarray(0, this.#end));
		} else {
			if (this.#end > this.#start) this.#pieces.push(this.#slab.subarray(this.#start, this.#end));
			socket.cork();
			for (const piece of this.#pieces) socket.write(piece);
			socket.uncork();
			this.#pieces.length = 0;
		}
		if (socket.writableLength === 0) {
			this.#start = 0;
			this.#end = 0;
		} else {
			this.#nextSlab();
		}
	}

	/** The used slab comes back once everything written so far is in the kernel. */
	#nextSlab(): void {
		const used = this.#slab;
		this.#socket.write('', () => this.#free.push(used));
		this.#slab = this.#free.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
		this.#start = 0;
		this.#end = 0;
	}
}
