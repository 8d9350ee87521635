import { commonHeaderBytes, pduType, TermReq } from './pdu.ts';

/** Fatal Error Status (NVMe/TCP Transport 1.0, C2HTermReq). */
export const fes = {
	invalidPDUHeaderField: 0x01,
	pduSequenceError: 0x02,
	headerDigestError: 0x03,
	dataTransferOutOfRange: 0x04,
	dataTransferLimitExceeded: 0x05,
	unsupportedParameter: 0x06,
} as const;

/** PDU in error, and the whole PDU: no more than this. */
const quotedBytesMax = 128;
export const termReqBytesMax = TermReq.sizeBytes + quotedBytesMax;

/**
 * C2HTermReq. `fei` is the offset of the field in error for an invalid field and an unsupported parameter, the digest that was received for a header digest error, else 0.
 * The first `quotedBytes` of the PDU in error stand at `at`.
 */
export function c2hTermReq(status: number, fei: number, header: Buffer, at: number, quotedBytes: number): Buffer {
	const quoted = Math.min(Math.max(quotedBytes, commonHeaderBytes), quotedBytesMax);
	const pdu = Buffer.alloc(TermReq.sizeBytes + quoted);
	TermReq.pduType.set(pdu, 0, pduType.c2hTermReq);
	TermReq.hlen.set(pdu, 0, TermReq.sizeBytes);
	TermReq.plen.set(pdu, 0, pdu.length);
	TermReq.fes.set(pdu, 0, status);
	TermReq.fei.set(pdu, 0, fei);
	header.copy(pdu, TermReq.sizeBytes, at, at + quoted);
	return pdu;
}
