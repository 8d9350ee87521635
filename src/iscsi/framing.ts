import { crc32cOfRange } from '../wire/crc32c.ts';
import { ahsBytesMax, BHS, bhsBytes, digestBytes, padded } from './pdu.ts';

/** Whoever makes sense of PDUs. Everything is called within Framing.receive(). */
export interface PDUHandler {
	/** While true no byte is taken. */
	readonly stopped: boolean;
	/** The longest data segment that is taken; asked for each PDU. */
	readonly dataSegmentLengthMax: number;
	readonly headerDigest: boolean;
	readonly dataDigest: boolean;
	/** A header (BHS and AHS) stands at `at`. */
	header(bhs: Buffer, at: number): void;
	/** Bytes of its data segment, which begin at `offset` of it. `whole`: these are all, and their digest was found good. */
	data(source: Buffer, start: number, end: number, offset: number, whole: boolean): void;
	/** The PDU is complete. */
	end(bhs: Buffer, at: number, digestGood: boolean): void;
	/** The stream cannot be followed any further. */
	lost(reason: string, digest: boolean): void;
}

/**
 * Cuts a byte stream into PDUs (RFC 7143 §11.1), whatever pieces it comes in. A PDU that lies whole in the piece is used in place; of others only
 * the header is kept, and data goes on to the handler as it comes.
 *
 *   header (48 + AHS + digest) ─→ data (segment + pad + digest, if any) ─→ end ─→ header …
 */
export class Framing {
	readonly #handler: PDUHandler;
	/** A header that came in pieces, or whose data is still to come. */
	readonly #kept = Buffer.allocUnsafeSlow(bhsBytes + ahsBytesMax + digestBytes);
	#keptBytes = 0;
	#bhs: Buffer = this.#kept;
	#bhsAt = 0;
	#inData = false;
	#dataBytes = 0;
	#paddedBytes = 0;
	#totalBytes = 0;
	#taken = 0;
	#crc = 0;
	#digest = 0;
	#dataDigest = false;

	constructor(handler: PDUHandler) {
		this.#handler = handler;
	}

	/** Returns where it stopped: `end`, or earlier when the handler is stopped. */
	receive(buffer: Buffer, start: number, end: number): number {
		let at = start;
		while (at < end && !this.#handler.stopped) {
			at = this.#inData ? this.#receiveData(buffer, at, end) : this.#receiveHeader(buffer, at, end);
		}
		if (this.#inData && this.#bhs !== this.#kept) {
			buffer.copy(this.#kept, 0, this.#bhsAt, this.#bhsAt + bhsBytes + 4 * BHS.totalAHSLength.get(buffer, this.#bhsAt));
			this.#bhs = this.#kept;
			this.#bhsAt = 0;
		}
		return at;
	}

	#receiveHeader(buffer: Buffer, start: number, end: number): number {
		if (this.#keptBytes === 0 && end - start >= bhsBytes) {
			const length = this.#headerBytes(buffer, start);
			if (end - start >= length) {
				this.#begin(buffer, start, length);
				return start + length;
			}
		}
		let at = start;
		if (this.#keptBytes < bhsBytes) {
			at += this.#keep(buffer, at, Math.min(end, at + bhsBytes - this.#keptBytes));
			if (this.#keptBytes < bhsBytes) return at;
		}
		const length = this.#headerBytes(this.#kept, 0);
		at += this.#keep(buffer, at, Math.min(end, at + length - this.#keptBytes));
		if (this.#keptBytes === length) {
			this.#keptBytes = 0;
			this.#begin(this.#kept, 0, length);
		}
		return at;
	}

	#headerBytes(bhs: Buffer, at: number): number {
		return bhsBytes + 4 * BHS.totalAHSLength.get(bhs, at) + (this.#handler.headerDigest ? digestBytes : 0);
	}

	#keep(buffer: Buffer, start: number, end: number): number {
		buffer.copy(this.#kept, this.#keptBytes, start, end);
		this.#keptBytes += end - start;
		return end - start;
	}

	#begin(bhs: Buffer, at: number, length: number): void {
		const handler = this.#handler;
		if (handler.headerDigest) {
			const covered = at + length - digestBytes;
			if (crc32cOfRange(bhs, at, covered) !== bhs.readUInt32LE(covered)) {
				// §7.7: the length fields cannot be trusted, so the next header cannot be found.
				handler.lost('header digest error', true);
				return;
			}
		}
		const dataBytes = BHS.dataSegmentLength.get(bhs, at);
		if (dataBytes > handler.dataSegmentLengthMax) {
			handler.lost(`data segment of ${dataBytes} bytes`, false);
			return;
		}
		this.#bhs = bhs;
		this.#bhsAt = at;
		this.#dataDigest = handler.dataDigest && dataBytes > 0;
		handler.header(bhs, at);
		if (dataBytes === 0) {
			handler.end(bhs, at, true);
			return;
		}
		this.#inData = true;
		this.#dataBytes = dataBytes;
		this.#paddedBytes = padded(dataBytes);
		this.#totalBytes = this.#paddedBytes + (this.#dataDigest ? digestBytes : 0);
		this.#taken = 0;
		this.#crc = 0;
	}

	#receiveData(buffer: Buffer, start: number, end: number): number {
		const handler = this.#handler;
		if (this.#taken === 0 && end - start >= this.#totalBytes) {
			const good =
				!this.#dataDigest || crc32cOfRange(buffer, start, start + this.#paddedBytes) === buffer.readUInt32LE(start + this.#paddedBytes);
			this.#inData = false;
			if (good) handler.data(buffer, start, start + this.#dataBytes, 0, true);
			handler.end(this.#bhs, this.#bhsAt, good);
			return start + this.#totalBytes;
		}
		let at = start;
		if (this.#taken < this.#dataBytes) {
			const piece = Math.min(end - at, this.#dataBytes - this.#taken);
			handler.data(buffer, at, at + piece, this.#taken, false);
			at = this.#took(buffer, at, piece);
		}
		if (this.#taken >= this.#dataBytes && this.#taken < this.#paddedBytes && at < end) {
			at = this.#took(buffer, at, Math.min(end - at, this.#paddedBytes - this.#taken));
		}
		while (this.#taken >= this.#paddedBytes && this.#taken < this.#totalBytes && at < end) {
			this.#digest = (this.#digest >>> 8) | (buffer[at]! << 24);
			this.#taken++;
			at++;
		}
		if (this.#taken === this.#totalBytes) {
			this.#inData = false;
			handler.end(this.#bhs, this.#bhsAt, !this.#dataDigest || this.#digest >>> 0 === this.#crc);
		}
		return at;
	}

	#took(buffer: Buffer, at: number, length: number): number {
		if (this.#dataDigest) this.#crc = crc32cOfRange(buffer, at, at + length, this.#crc);
		this.#taken += length;
		return at + length;
	}
}
