import { crc32c, crc32cOfRange } from '../../src/wire/crc32c.ts';
import { type Outbox, referenceFromBytes } from '../initiator/outbox.ts';
import {
	capsuleCmdBytes,
	commonHeaderBytes,
	dataOffset,
	digestBytes,
	pduFlag,
	pduType,
	putCommonHeader,
	putU16,
	putU32,
	shortHeaderBytes,
	sqeBytes,
	termReqDataBytesMax,
} from './wire.ts';

/** Puts a host's PDUs into an outbox: short data is copied beside its header, long data is sent from where it lies. */
export class PDUWriter {
	headerDigest = false;
	dataDigest = false;
	/** CPDA: how the controller wants data aligned, in 0's based dwords. */
	cpda = 0;
	/** MAXH2CDATA: the most data of one H2CData. */
	maxH2CData = 4096;
	readonly #outbox: Outbox;

	constructor(outbox: Outbox) {
		this.#outbox = outbox;
	}

	/** A command with `length` bytes of data in its capsule, or none. */
	capsule(sqe: Uint8Array, data: Buffer | undefined, start: number, length: number): void {
		const at = this.#head(pduType.capsuleCmd, 0, capsuleCmdBytes, length);
		const slab = this.#outbox.slab;
		for (let index = 0; index < sqeBytes; index++) slab[at + commonHeaderBytes + index] = sqe[index]!;
		this.#finish(at, capsuleCmdBytes, data, start, length);
	}

	/** The data that one R2T asked for, `offset` being its place in the command's data that begins at `start`. */
	h2cData(cid: number, ttag: number, data: Buffer, start: number, offset: number, length: number): void {
		const end = offset + length;
		while (offset < end) {
			const piece = Math.min(this.maxH2CData, end - offset);
			const at = this.#head(pduType.h2cData, offset + piece === end ? pduFlag.lastPDU : 0, shortHeaderBytes, piece);
			const slab = this.#outbox.slab;
			putU16(slab, at + 8, cid);
			putU16(slab, at + 10, ttag);
			putU32(slab, at + 12, offset);
			putU32(slab, at + 16, piece);
			putU32(slab, at + 20, 0);
			this.#finish(at, shortHeaderBytes, data, start + offset, piece);
			offset += piece;
		}
	}

	termReq(status: number, information: number, offending: Uint8Array): void {
		const copied = Math.min(offending.length, termReqDataBytesMax);
		const at = this.#outbox.reserve(shortHeaderBytes + copied);
		const slab = this.#outbox.slab;
		slab.fill(0, at, at + shortHeaderBytes);
		putCommonHeader(slab, at, pduType.h2cTermReq, 0, shortHeaderBytes, 0, shortHeaderBytes + copied);
		putU16(slab, at + 8, status);
		putU32(slab, at + 10, information);
		slab.set(offending.subarray(0, copied), at + shortHeaderBytes);
	}

	/** Reserves header, digest, padding and the data if it is short; returns where they begin. */
	#head(type: number, flags: number, hlen: number, dataBytes: number): number {
		const hasData = dataBytes > 0;
		const headerBytes = hlen + (this.headerDigest ? digestBytes : 0);
		const pdo = hasData ? dataOffset(headerBytes, this.cpda) : 0;
		const plen = hasData ? pdo + dataBytes + (this.dataDigest ? digestBytes : 0) : headerBytes;
		const isCopied = dataBytes < referenceFromBytes;
		const at = this.#outbox.reserve(isCopied ? plen : pdo);
		const slab = this.#outbox.slab;
		if (pdo > headerBytes) slab.fill(0, at + headerBytes, at + pdo);
		const digests = (this.headerDigest ? pduFlag.hdgstf : 0) | (hasData && this.dataDigest ? pduFlag.ddgstf : 0);
		putCommonHeader(slab, at, type, flags | digests, hlen, pdo, plen);
		return at;
	}

	/** The header is complete: digests and data. */
	#finish(at: number, hlen: number, data: Buffer | undefined, start: number, length: number): void {
		const slab = this.#outbox.slab;
		if (this.headerDigest) putU32(slab, at + hlen, crc32cOfRange(slab, at, at + hlen));
		if (length === 0 || data === undefined) return;
		if (length < referenceFromBytes) {
			const dataAt = at + slab[at + 3]!;
			data.copy(slab, dataAt, start, start + length);
			if (this.dataDigest) putU32(slab, dataAt + length, crc32cOfRange(slab, dataAt, dataAt + length));
			return;
		}
		const piece = data.subarray(start, start + length);
		this.#outbox.reference(piece);
		if (!this.dataDigest) return;
		const digestAt = this.#outbox.reserve(digestBytes);
		putU32(this.#outbox.slab, digestAt, crc32c(piece));
	}
}
