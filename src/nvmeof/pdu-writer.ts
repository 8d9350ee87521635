import { crc32cOfRange } from '../wire/crc32c.ts';
import type { Transmitter } from '../wire/transmitter.ts';
import { C2HData, CapsuleResp, CommonHeader, digestBytes, flag, ICResp, pduType, R2T } from './pdu.ts';
import { transportLimits } from './transport-limits.ts';

/**
 * Puts PDUs of one connection into its transmitter: common header, alignment of data, digests. Use: reserve(), then the PDU. Nothing else may touch the transmitter in between.
 */
export class PDUWriter {
	readonly #transmitter: Transmitter;
	#headerDigest = false;
	#dataDigest = false;
	/** From the first byte of a C2HData to its data: PDO. */
	#dataOffset: number = C2HData.sizeBytes;

	constructor(transmitter: Transmitter) {
		this.#transmitter = transmitter;
	}

	get dataOffset(): number {
		return this.#dataOffset;
	}

	/** What ICReq and ICResp have agreed on: digests of all PDUs from now on, and HPDA, the alignment of data that the host wants (dwords less one). */
	agree(headerDigest: boolean, dataDigest: boolean, hpda: number): void {
		this.#headerDigest = headerDigest;
		this.#dataDigest = dataDigest;
		const alignment = (hpda + 1) * 4;
		this.#dataOffset = Math.ceil((C2HData.sizeBytes + (headerDigest ? digestBytes : 0)) / alignment) * alignment;
	}

	get buffer(): Buffer {
		return this.#transmitter.buffer;
	}

	/** Where the data of the C2HData has to stand that room was reserved for. */
	get dataAt(): number {
		return this.#transmitter.at + this.#dataOffset;
	}

	/** Room for a CapsuleResp or an R2T. */
	reserveHeader(): boolean {
		return this.#transmitter.reserve(CapsuleResp.sizeBytes + digestBytes);
	}

	/** Room for a C2HData. */
	reserveData(dataBytes: number): boolean {
		return this.#transmitter.reserve(this.#dataOffset + dataBytes + digestBytes);
	}

	capsuleResp(commandIdentifier: number, status: number, sqhd: number, result0: number, result1: number): void {
		const { buffer, at } = this.#transmitter;
		this.#commonHeader(buffer, at, pduType.capsuleResp, 0, CapsuleResp.sizeBytes);
		CapsuleResp.result0.set(buffer, at, result0);
		CapsuleResp.result1.set(buffer, at, result1);
		CapsuleResp.sqhd.set(buffer, at, sqhd);
		buffer[at + CapsuleResp.reserved18.offset] = 0;
		buffer[at + CapsuleResp.reserved18.offset + 1] = 0;
		CapsuleResp.commandIdentifier.set(buffer, at, commandIdentifier);
		CapsuleResp.status.set(buffer, at, status);
		this.#transmitter.commit(this.#sealHeader(buffer, at, CapsuleResp.sizeBytes));
	}

	r2t(commandIdentifier: number, ttag: number, offset: number, lengthBytes: number): void {
		const { buffer, at } = this.#transmitter;
		this.#commonHeader(buffer, at, pduType.r2t, 0, R2T.sizeBytes);
		R2T.cccid.set(buffer, at, commandIdentifier);
		R2T.ttag.set(buffer, at, ttag);
		R2T.r2to.set(buffer, at, offset);
		R2T.r2tl.set(buffer, at, lengthBytes);
		clearDword(buffer, at + R2T.reserved20.offset);
		this.#transmitter.commit(this.#sealHeader(buffer, at, R2T.sizeBytes));
	}

	/** The data stands at dataAt already. `flags`: LAST_PDU and SUCCESS. */
	c2hData(commandIdentifier: number, offset: number, dataBytes: number, flags: number): void {
		const { buffer, at } = this.#transmitter;
		this.#transmitter.commit(this.c2hDataInto(buffer, at, commandIdentifier, offset, dataBytes, flags));
	}

	/** The same around data in a buffer of its own: the data stands at `at` + dataOffset, with room for a digest behind it. Returns the PDU's length. */
	c2hDataInto(buffer: Buffer, at: number, commandIdentifier: number, offset: number, dataBytes: number, flags: number): number {
		const dataAt = at + this.#dataOffset;
		let end = dataAt + dataBytes;
		if (this.#dataDigest) end += digestBytes;
		this.#commonHeader(buffer, at, pduType.c2hData, this.#dataDigest ? flags | flag.ddgstf : flags, C2HData.sizeBytes);
		CommonHeader.pdo.set(buffer, at, this.#dataOffset);
		CommonHeader.plen.set(buffer, at, end - at);
		C2HData.cccid.set(buffer, at, commandIdentifier);
		buffer[at + C2HData.reserved10.offset] = 0;
		buffer[at + C2HData.reserved10.offset + 1] = 0;
		C2HData.datao.set(buffer, at, offset);
		C2HData.datal.set(buffer, at, dataBytes);
		clearDword(buffer, at + C2HData.reserved20.offset);
		const padAt = at + this.#sealHeader(buffer, at, C2HData.sizeBytes);
		if (padAt < dataAt) buffer.fill(0, padAt, dataAt);
		if (this.#dataDigest) buffer.writeUInt32LE(crc32cOfRange(buffer, dataAt, end - digestBytes), end - digestBytes);
		return end - at;
	}

	/** A PDU in a buffer of its own always finds room. It counts as an answer that found none in a slab. */
	send(pdu: Buffer): void {
		this.#transmitter.send(pdu, 0, pdu.length, undefined);
	}

	/** HLEN is `sizeBytes`, and without data so is PLEN, but for the header's digest. */
	#commonHeader(buffer: Buffer, at: number, type: number, flags: number, sizeBytes: number): void {
		buffer[at] = type;
		buffer[at + 1] = this.#headerDigest ? flags | flag.hdgstf : flags;
		buffer[at + 2] = sizeBytes;
		buffer[at + 3] = 0;
		CommonHeader.plen.set(buffer, at, this.#headerDigest ? sizeBytes + digestBytes : sizeBytes);
	}

	/** Returns the length of the header with its digest. */
	#sealHeader(buffer: Buffer, at: number, sizeBytes: number): number {
		if (!this.#headerDigest) return sizeBytes;
		buffer.writeUInt32LE(crc32cOfRange(buffer, at, at + sizeBytes), at + sizeBytes);
		return sizeBytes + digestBytes;
	}
}

/** For four bytes a call of fill() costs more than a store. */
function clearDword(buffer: Buffer, at: number): void {
	buffer[at] = 0;
	buffer[at + 1] = 0;
	buffer[at + 2] = 0;
	buffer[at + 3] = 0;
}

/** ICResp: digests as the host asked for, no alignment of our own. */
export function icResp(headerDigest: boolean, dataDigest: boolean): Buffer {
	const pdu = Buffer.alloc(ICResp.sizeBytes);
	ICResp.pduType.set(pdu, 0, pduType.icResp);
	ICResp.hlen.set(pdu, 0, ICResp.sizeBytes);
	ICResp.plen.set(pdu, 0, ICResp.sizeBytes);
	ICResp.headerDigest.set(pdu, 0, headerDigest ? 1 : 0);
	ICResp.dataDigest.set(pdu, 0, dataDigest ? 1 : 0);
	ICResp.maxH2CData.set(pdu, 0, transportLimits.h2cDataBytes);
	return pdu;
}
