import { crc32cOfRange } from '../wire/crc32c.ts';
import { CapsuleCmd, CommonHeader, commonHeaderBytes, digestBytes, flag, H2CData, ICReq, pduType, TermReq } from './pdu.ts';
import { fes, termReqBytesMax } from './term-req.ts';

/** Whoever makes sense of PDUs. Everything is called within Framing.receive(). */
export interface PDUHandler {
	/** While true no byte is taken. */
	readonly stopped: boolean;
	/** Agreed by ICReq and ICResp. */
	readonly headerDigest: boolean;
	readonly dataDigest: boolean;
	/** The most data that a capsule may bring now. */
	readonly inCapsuleBytesMax: number;
	/** Whether a PDU of this type may come now. */
	expects(type: number): boolean;
	/** A header, found good, stands at `at`; `dataBytes` of data follow. */
	header(buffer: Buffer, at: number, dataBytes: number): void;
	/** Bytes of its data, which begin at `offset` of it. `whole`: these are all, and their digest was found good. */
	data(source: Buffer, start: number, end: number, offset: number, whole: boolean): void;
	/** The PDU is complete. */
	ended(digestGood: boolean): void;
	/** The stream cannot be followed any further: for a C2HTermReq. `quotedBytes` of the PDU in error stand at `at`. */
	violated(status: number, fei: number, buffer: Buffer, at: number, quotedBytes: number): void;
	/** The same, but no C2HTermReq is due. */
	lost(reason: string): void;
}

const keptBytesMax = ICReq.sizeBytes + digestBytes;
/** CPDA 0: data of hosts begins on a dword. */
const alignment = 4;

/**
 * Cuts a byte stream into PDUs (NVMe/TCP Transport 1.0, "PDU Definitions"), whatever pieces it comes in. A PDU that lies whole in the piece is used in place; of others only
 * the header is kept, and data goes on to the handler as it comes.
 *
 *   common header (8) ─→ rest of the header (HLEN, digest) ─→ padding to PDO ─→ data ─→ digest ─→ end ─→ common header …
 *
 * The lowest incorrect field is the one that is reported.
 */
export class Framing {
	readonly #handler: PDUHandler;
	/** A header that came in pieces. */
	readonly #kept = Buffer.allocUnsafeSlow(keptBytesMax);
	#keptBytes = 0;
	/** Header and its digest, of the PDU in #kept. */
	#headerBytes = 0;
	#inBody = false;
	#paddingBytes = 0;
	#dataBytes = 0;
	/** Padding, data and digest. */
	#bodyBytes = 0;
	#taken = 0;
	#crc = 0;
	#digest = 0;
	#hasDataDigest = false;

	constructor(handler: PDUHandler) {
		this.#handler = handler;
	}

	/** A PDU has begun and not ended. */
	get inPDU(): boolean {
		return this.#inBody || this.#keptBytes > 0;
	}

	/** Returns where it stopped: `end`, or earlier when the handler is stopped. */
	receive(buffer: Buffer, start: number, end: number): number {
		let at = start;
		while (at < end && !this.#handler.stopped) {
			at = this.#inBody ? this.#receiveBody(buffer, at, end) : this.#receiveHeader(buffer, at, end);
		}
		return at;
	}

	#receiveHeader(buffer: Buffer, start: number, end: number): number {
		if (this.#keptBytes === 0 && end - start >= commonHeaderBytes) {
			const length = this.#checkCommonHeader(buffer, start);
			if (length === 0) return end;
			if (end - start >= length) {
				this.#begin(buffer, start, length);
				return start + length;
			}
		}
		let at = start;
		if (this.#keptBytes < commonHeaderBytes) {
			at += this.#keep(buffer, at, Math.min(end, at + commonHeaderBytes - this.#keptBytes));
			if (this.#keptBytes < commonHeaderBytes) return at;
			this.#headerBytes = this.#checkCommonHeader(this.#kept, 0);
			if (this.#headerBytes === 0) return end;
		}
		at += this.#keep(buffer, at, Math.min(end, at + this.#headerBytes - this.#keptBytes));
		if (this.#keptBytes === this.#headerBytes) {
			this.#keptBytes = 0;
			this.#begin(this.#kept, 0, this.#headerBytes);
		}
		return at;
	}

	#keep(buffer: Buffer, start: number, end: number): number {
		buffer.copy(this.#kept, this.#keptBytes, start, end);
		this.#keptBytes += end - start;
		return end - start;
	}

	/** What has to be right for the rest of the header to be found. Returns the bytes of the header with its digest; 0 when the stream is lost. */
	#checkCommonHeader(buffer: Buffer, at: number): number {
		const handler = this.#handler;
		const type = buffer[at]!;
		const flags = buffer[at + 1]!;
		const hlen = buffer[at + 2]!;
		const plen = CommonHeader.plen.get(buffer, at);
		const expected = headerBytesOf(type);
		if (expected === 0) return this.#wrong(fes.invalidPDUHeaderField, CommonHeader.pduType.offset, buffer, at);
		if (!handler.expects(type)) return this.#wrong(fes.pduSequenceError, 0, buffer, at);
		if (type === pduType.h2cTermReq && (hlen !== expected || plen < expected || plen > termReqBytesMax)) {
			handler.lost('a malformed H2CTermReq');
			return 0;
		}
		const digests = type === pduType.capsuleCmd || type === pduType.h2cData;
		const header = digests && handler.headerDigest ? expected + digestBytes : expected;
		if (digests && (((flags & flag.hdgstf) !== 0) !== handler.headerDigest || ((flags & flag.ddgstf) !== 0 && !handler.dataDigest)))
			return this.#wrong(fes.invalidPDUHeaderField, CommonHeader.flags.offset, buffer, at);
		if (hlen !== expected) return this.#wrong(fes.invalidPDUHeaderField, CommonHeader.hlen.offset, buffer, at);
		if (plen < header) return this.#wrong(fes.invalidPDUHeaderField, CommonHeader.plen.offset, buffer, at);
		return header;
	}

	#wrong(status: number, fei: number, buffer: Buffer, at: number): 0 {
		this.#handler.violated(status, fei, buffer, at, commonHeaderBytes);
		return 0;
	}

	/** The header and its digest are here. */
	#begin(buffer: Buffer, at: number, length: number): void {
		const handler = this.#handler;
		const hlen = buffer[at + 2]!;
		if (length > hlen) {
			const digest = buffer.readUInt32LE(at + hlen);
			if (crc32cOfRange(buffer, at, at + hlen) !== digest) {
				handler.violated(fes.headerDigestError, digest, buffer, at, hlen);
				return;
			}
		}
		const bodyBytes = CommonHeader.plen.get(buffer, at) - length;
		if (bodyBytes === 0) {
			this.#dataBytes = 0;
			handler.header(buffer, at, 0);
			handler.ended(true);
			return;
		}
		const wrong = this.#checkBody(buffer, at, length, bodyBytes);
		if (wrong !== undefined) {
			handler.violated(fes.invalidPDUHeaderField, wrong, buffer, at, hlen);
			return;
		}
		this.#inBody = true;
		this.#bodyBytes = bodyBytes;
		this.#taken = 0;
		this.#crc = 0;
		handler.header(buffer, at, this.#dataBytes);
	}

	/** Whether PDO and PLEN fit each other, and the data its kind of PDU; returns the offset of the field that does not. */
	#checkBody(buffer: Buffer, at: number, length: number, bodyBytes: number): number | undefined {
		const type = buffer[at]!;
		if (type === pduType.h2cTermReq) {
			this.#paddingBytes = 0;
			this.#dataBytes = bodyBytes;
			this.#hasDataDigest = false;
			return undefined;
		}
		if (type === pduType.icReq) return CommonHeader.plen.offset;
		const flagged = (buffer[at + 1]! & flag.ddgstf) !== 0;
		if (flagged !== this.#handler.dataDigest) return CommonHeader.flags.offset;
		const pdo = buffer[at + 3]!;
		if (pdo < length || pdo % alignment !== 0 || pdo - length > bodyBytes) return CommonHeader.pdo.offset;
		this.#paddingBytes = pdo - length;
		this.#hasDataDigest = flagged;
		this.#dataBytes = bodyBytes - this.#paddingBytes - (flagged ? digestBytes : 0);
		if (this.#dataBytes < (flagged ? 1 : 0)) return CommonHeader.plen.offset;
		if (type === pduType.capsuleCmd && this.#dataBytes > this.#handler.inCapsuleBytesMax) return CommonHeader.plen.offset;
		return undefined;
	}

	#receiveBody(buffer: Buffer, start: number, end: number): number {
		const handler = this.#handler;
		if (this.#taken === 0 && end - start >= this.#bodyBytes) {
			const dataAt = start + this.#paddingBytes;
			const dataEnd = dataAt + this.#dataBytes;
			const good = !this.#hasDataDigest || crc32cOfRange(buffer, dataAt, dataEnd) === buffer.readUInt32LE(dataEnd);
			this.#inBody = false;
			if (good && this.#dataBytes > 0) handler.data(buffer, dataAt, dataEnd, 0, true);
			handler.ended(good);
			return start + this.#bodyBytes;
		}
		let at = start;
		if (this.#taken < this.#paddingBytes) {
			const skipped = Math.min(end - at, this.#paddingBytes - this.#taken);
			this.#taken += skipped;
			at += skipped;
		}
		const dataEnd = this.#paddingBytes + this.#dataBytes;
		if (this.#taken >= this.#paddingBytes && this.#taken < dataEnd && at < end) {
			const piece = Math.min(end - at, dataEnd - this.#taken);
			handler.data(buffer, at, at + piece, this.#taken - this.#paddingBytes, false);
			if (this.#hasDataDigest) this.#crc = crc32cOfRange(buffer, at, at + piece, this.#crc);
			this.#taken += piece;
			at += piece;
		}
		while (this.#taken >= dataEnd && this.#taken < this.#bodyBytes && at < end) {
			this.#digest = (this.#digest >>> 8) | (buffer[at]! << 24);
			this.#taken++;
			at++;
		}
		if (this.#taken === this.#bodyBytes) {
			this.#inBody = false;
			handler.ended(!this.#hasDataDigest || this.#digest >>> 0 === this.#crc);
		}
		return at;
	}
}

/** HLEN of the PDUs that hosts send; 0 for all others. */
function headerBytesOf(type: number): number {
	switch (type) {
		case pduType.capsuleCmd:
			return CapsuleCmd.sizeBytes;
		case pduType.h2cData:
			return H2CData.sizeBytes;
		case pduType.icReq:
			return ICReq.sizeBytes;
		case pduType.h2cTermReq:
			return TermReq.sizeBytes;
		default:
			return 0;
	}
}
