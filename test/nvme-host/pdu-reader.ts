import { crc32c, crc32cOfRange } from '../../src/wire/crc32c.ts';
import { ProtocolViolation } from './host-error.ts';
import {
	commonHeaderBytes,
	dataOffset,
	digestBytes,
	fes,
	icBytes,
	pduFlag,
	pduType,
	shortHeaderBytes,
	termReqDataBytesMax,
	u32,
} from './wire.ts';

/** Who is told of PDUs. A header is given as a buffer and a position, valid during the call. */
export interface PDUSink {
	/** The header of a C2HData was read: call direct() of the reader now. */
	dataTarget(header: Buffer, at: number): void;
	/** The whole PDU was read, of a TermReq with its data. False for `intact`: the data digest of a C2HData was wrong. */
	pdu(header: Buffer, at: number, intact: boolean): void;
}

/** Nothing that a controller sends has more in front of its data; a TermReq is the longest without. */
const headBytesMax = 256;

/**
 * Cuts what a controller sends into PDUs and checks everything that a PDU says about its own form: type, HLEN, PDO, PLEN, digest flags and digests. Nothing is copied but a
 * header that is split over two reads, and data to where the sink wants it.
 *
 *     head (common header, header, HDGST, padding) → data of C2HData → DDGST → head …
 */
export class PDUReader {
	headerDigest = false;
	dataDigest = false;
	/** HPDA: how the controller has to align its data, in 0's based dwords. */
	hpda = 0;
	readonly #sink: PDUSink;
	readonly #head = Buffer.alloc(headBytesMax);
	#headFill = 0;
	#pduBuffer: Buffer = this.#head;
	#pduAt = 0;
	#pduEnd = 0;
	#dataRemaining = 0;
	#digestFill = 0;
	#digestWanted = 0;
	readonly #digest = Buffer.alloc(digestBytes);
	#crc = 0;
	#target: Buffer | undefined = undefined;
	#targetAt = 0;

	constructor(sink: PDUSink) {
		this.#sink = sink;
	}

	/** For dataTarget: put the data into `target` from a position on, or nowhere. */
	direct(target: Buffer | undefined, at: number): void {
		this.#target = target;
		this.#targetAt = at;
	}

	/** The header of the PDU that is being read, without its digest: what a TermReq gives back. */
	get header(): Buffer {
		const at = this.#pduAt;
		const hlen = Math.max(this.#pduBuffer[at + 2]!, commonHeaderBytes);
		return this.#pduBuffer.subarray(at, Math.min(this.#pduEnd, at + hlen));
	}

	/** Throws ProtocolViolation; then nothing may be pushed any more. */
	push(buffer: Buffer, end: number): void {
		let at = 0;
		while (at < end) {
			if (this.#headFill === 0 && end - at >= commonHeaderBytes) {
				this.#pduBuffer = buffer;
				this.#pduAt = at;
				this.#pduEnd = end;
				const headBytes = this.#headBytes(buffer, at);
				if (end - at >= headBytes && end - at >= u32(buffer, at + 4)) {
					this.#wholePDU(buffer, at, headBytes);
					at += u32(buffer, at + 4);
					continue;
				}
			}
			at = this.#slowly(buffer, at, end);
		}
	}

	#wholePDU(buffer: Buffer, at: number, headBytes: number): void {
		this.#checkHeaderDigest(buffer, at);
		const plen = u32(buffer, at + 4);
		let intact = true;
		if (buffer[at] === pduType.c2hData) {
			this.#sink.dataTarget(buffer, at);
			const end = at + plen - (this.dataDigest ? digestBytes : 0);
			if (this.#target !== undefined) buffer.copy(this.#target, this.#targetAt, at + headBytes, end);
			if (this.dataDigest) intact = crc32cOfRange(buffer, at + headBytes, end) === u32(buffer, end);
			this.#target = undefined;
		}
		this.#sink.pdu(buffer, at, intact);
	}

	/** A PDU that is split over reads: moves on as far as it can and returns the new position. */
	#slowly(buffer: Buffer, at: number, end: number): number {
		if (this.#dataRemaining > 0) return this.#data(buffer, at, end);
		if (this.#digestFill < this.#digestWanted) return this.#dataDigestBytes(buffer, at, end);
		const head = this.#head;
		const wanted = this.#headFill < commonHeaderBytes ? commonHeaderBytes : this.#headBytes(head, 0);
		const taken = Math.min(end - at, wanted - this.#headFill);
		buffer.copy(head, this.#headFill, at, at + taken);
		this.#headFill += taken;
		this.#pduBuffer = head;
		this.#pduAt = 0;
		this.#pduEnd = this.#headFill;
		if (this.#headFill < commonHeaderBytes || this.#headFill < this.#headBytes(head, 0)) return at + taken;
		this.#checkHeaderDigest(head, 0);
		if (head[0] === pduType.c2hData) {
			this.#digestWanted = this.dataDigest ? digestBytes : 0;
			this.#dataRemaining = u32(head, 4) - this.#headFill - this.#digestWanted;
			this.#digestFill = 0;
			this.#crc = 0;
			this.#sink.dataTarget(head, 0);
		}
		if (this.#dataRemaining === 0 && this.#digestWanted === 0) this.#finish(true);
		return at + taken;
	}

	#data(buffer: Buffer, at: number, end: number): number {
		const taken = Math.min(end - at, this.#dataRemaining);
		if (this.#target !== undefined) buffer.copy(this.#target, this.#targetAt, at, at + taken);
		this.#targetAt += taken;
		this.#dataRemaining -= taken;
		if (this.dataDigest) this.#crc = crc32c(buffer.subarray(at, at + taken), this.#crc);
		else if (this.#dataRemaining === 0) this.#finish(true);
		return at + taken;
	}

	#dataDigestBytes(buffer: Buffer, at: number, end: number): number {
		const taken = Math.min(end - at, digestBytes - this.#digestFill);
		buffer.copy(this.#digest, this.#digestFill, at, at + taken);
		this.#digestFill += taken;
		if (this.#digestFill === digestBytes) this.#finish(u32(this.#digest, 0) === this.#crc);
		return at + taken;
	}

	#finish(intact: boolean): void {
		this.#headFill = 0;
		this.#digestWanted = 0;
		this.#digestFill = 0;
		this.#target = undefined;
		this.#sink.pdu(this.#head, 0, intact);
	}

	/** What precedes the data of a C2HData; the whole PDU of every other type. Checks the common header. */
	#headBytes(buffer: Buffer, at: number): number {
		const type = buffer[at]!;
		const plen = u32(buffer, at + 4);
		const hlen = hlenOf(type);
		if (buffer[at + 2] !== hlen)
			throw new ProtocolViolation(`HLEN ${buffer[at + 2]} of a PDU of type ${type}`, fes.invalidPDUHeaderField, 2);
		const hasDigests = type !== pduType.icResp && type !== pduType.c2hTermReq;
		const flags = buffer[at + 1]!;
		const hdgst = hasDigests && this.headerDigest;
		const isData = type === pduType.c2hData;
		if (((flags & pduFlag.hdgstf) !== 0) !== hdgst || ((flags & pduFlag.ddgstf) !== 0) !== (isData && this.dataDigest))
			throw new ProtocolViolation(`flags ${flags} of a PDU of type ${type}`, fes.invalidPDUHeaderField, 1);
		if ((flags & ~(isData ? 0x0f : 0x03)) !== 0) throw new ProtocolViolation(`reserved flags ${flags}`, fes.invalidPDUHeaderField, 1);
		const headerBytes = hlen + (hdgst ? digestBytes : 0);
		if (isData) return this.#checkData(buffer, at, plen, headerBytes);
		if (buffer[at + 3] !== 0) throw new ProtocolViolation(`PDO ${buffer[at + 3]} without data`, fes.invalidPDUHeaderField, 3);
		const extra = plen - headerBytes;
		if (extra < 0 || extra > (type === pduType.c2hTermReq ? termReqDataBytesMax : 0))
			throw new ProtocolViolation(`PLEN ${plen} of a PDU of type ${type}`, fes.invalidPDUHeaderField, 4);
		return plen;
	}

	#checkData(buffer: Buffer, at: number, plen: number, headerBytes: number): number {
		const pdo = buffer[at + 3]!;
		if (pdo < headerBytes || pdo !== dataOffset(pdo, this.hpda)) throw new ProtocolViolation(`PDO ${pdo}`, fes.invalidPDUHeaderField, 3);
		if (plen <= pdo + (this.dataDigest ? digestBytes : 0))
			throw new ProtocolViolation(`C2HData of PLEN ${plen}`, fes.invalidPDUHeaderField, 4);
		return pdo;
	}

	#checkHeaderDigest(buffer: Buffer, at: number): void {
		const type = buffer[at]!;
		if (!this.headerDigest || type === pduType.icResp || type === pduType.c2hTermReq) return;
		const hlen = buffer[at + 2]!;
		const received = u32(buffer, at + hlen);
		if (crc32cOfRange(buffer, at, at + hlen) !== received)
			throw new ProtocolViolation('a wrong header digest', fes.headerDigestError, received);
	}
}

function hlenOf(type: number): number {
	if (type === pduType.icResp) return icBytes;
	if (type === pduType.c2hTermReq || type === pduType.capsuleResp || type === pduType.c2hData || type === pduType.r2t)
		return shortHeaderBytes;
	throw new ProtocolViolation(`a PDU of type ${type}`, fes.invalidPDUHeaderField, 0);
}
