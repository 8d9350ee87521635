import { basicHeaderBytes, padded, u24 } from './wire.ts';

/** Who is told of PDUs. A header is given as a buffer and a position, valid during the call. */
export interface PDUSink {
	/** A header with a data segment was read: call collect() or direct() of the reader now. */
	dataTarget(header: Buffer, at: number, lengthBytes: number): void;
	/** The whole PDU was read. `data` is what was collected; empty for direct data. */
	pdu(header: Buffer, at: number, data: Buffer): void;
}

const nothing = Buffer.alloc(0);

/** Cuts a byte stream into PDUs. Nothing is copied but a header that is split over two reads, and data to where the sink wants it. */
export class PDUReader {
	readonly #sink: PDUSink;
	readonly #header = Buffer.alloc(basicHeaderBytes);
	#headerFill = 0;
	/** The rest of the data segment, and behind it of its padding; 0 while reading a header. */
	#dataRemaining = 0;
	#padRemaining = 0;
	/** Additional header segments that are passed over. */
	#skipRemaining = 0;
	#target: Buffer | undefined = undefined;
	#targetAt = 0;
	#collected: Buffer = nothing;

	constructor(sink: PDUSink) {
		this.#sink = sink;
	}

	/** For dataTarget: gather the segment and give it to pdu(). */
	collect(lengthBytes: number): void {
		this.#collected = Buffer.allocUnsafe(lengthBytes);
		this.#target = this.#collected;
		this.#targetAt = 0;
	}

	/** For dataTarget: put the segment into `target`, or nowhere. */
	direct(target: Buffer | undefined, at: number): void {
		this.#collected = nothing;
		this.#target = target;
		this.#targetAt = at;
	}

	push(buffer: Buffer, end: number): void {
		let at = 0;
		while (at < end) {
			if (this.#headerFill === 0 && end - at >= basicHeaderBytes) {
				const dataBytes = u24(buffer, at + 5);
				const whole = basicHeaderBytes + padded(dataBytes);
				if (buffer[at + 4] === 0 && end - at >= whole) {
					this.#wholePDU(buffer, at, dataBytes);
					at += whole;
					continue;
				}
			}
			at = this.#slowly(buffer, at, end);
		}
	}

	#wholePDU(buffer: Buffer, at: number, dataBytes: number): void {
		if (dataBytes === 0) {
			this.#sink.pdu(buffer, at, nothing);
			return;
		}
		this.#sink.dataTarget(buffer, at, dataBytes);
		const from = at + basicHeaderBytes;
		if (this.#target !== undefined) buffer.copy(this.#target, this.#targetAt, from, from + dataBytes);
		const collected = this.#collected;
		this.#collected = nothing;
		this.#target = undefined;
		this.#sink.pdu(buffer, at, collected);
	}

	/** A PDU that is split over reads: moves on as far as it can and returns the new position. */
	#slowly(buffer: Buffer, at: number, end: number): number {
		if (this.#headerFill < basicHeaderBytes) {
			const taken = Math.min(end - at, basicHeaderBytes - this.#headerFill);
			buffer.copy(this.#header, this.#headerFill, at, at + taken);
			this.#headerFill += taken;
			if (this.#headerFill < basicHeaderBytes) return at + taken;
			this.#dataRemaining = u24(this.#header, 5);
			this.#padRemaining = padded(this.#dataRemaining) - this.#dataRemaining;
			this.#skipRemaining = this.#header[4]! * 4;
			if (this.#dataRemaining > 0) this.#sink.dataTarget(this.#header, 0, this.#dataRemaining);
			this.#finishIfWhole();
			return at + taken;
		}
		if (this.#skipRemaining > 0) {
			const skipped = Math.min(end - at, this.#skipRemaining);
			this.#skipRemaining -= skipped;
			this.#finishIfWhole();
			return at + skipped;
		}
		if (this.#dataRemaining > 0) {
			const taken = Math.min(end - at, this.#dataRemaining);
			if (this.#target !== undefined) buffer.copy(this.#target, this.#targetAt, at, at + taken);
			this.#targetAt += taken;
			this.#dataRemaining -= taken;
			this.#finishIfWhole();
			return at + taken;
		}
		const skipped = Math.min(end - at, this.#padRemaining);
		this.#padRemaining -= skipped;
		this.#finishIfWhole();
		return at + skipped;
	}

	#finishIfWhole(): void {
		if (this.#dataRemaining > 0 || this.#padRemaining > 0 || this.#skipRemaining > 0) return;
		this.#headerFill = 0;
		const collected = this.#collected;
		this.#collected = nothing;
		this.#target = undefined;
		this.#sink.pdu(this.#header, 0, collected);
	}
}
