/**
 * The parts of NVMe/TCP Transport 1.0 and NVMe Base 2.0 that a host needs, as plain byte offsets; everything is little-endian. Written apart from src/nvmeof on
 * purpose: this side judges that one.
 */
export const pduType = {
	icReq: 0x00,
	icResp: 0x01,
	h2cTermReq: 0x02,
	c2hTermReq: 0x03,
	capsuleCmd: 0x04,
	capsuleResp: 0x05,
	h2cData: 0x06,
	c2hData: 0x07,
	r2t: 0x09,
} as const;

/** FLAGS of the common header. LAST_PDU belongs to both data PDUs, SUCCESS to C2HData. */
export const pduFlag = { hdgstf: 0x01, ddgstf: 0x02, lastPDU: 0x04, success: 0x08 } as const;

export const commonHeaderBytes = 8;
export const icBytes = 128;
/** HLEN of the PDUs that carry a submission queue entry, and of those that carry a completion or describe data. */
export const capsuleCmdBytes = 72;
export const shortHeaderBytes = 24;
export const digestBytes = 4;
export const sqeBytes = 64;
/** TermReq: at most so much of the PDU in error follows the header. */
export const termReqDataBytesMax = 128;

/** Fatal Error Status of both TermReq PDUs. 5 is R2T Limit Exceeded from the host and Data Transfer Limit Exceeded from the controller. */
export const fes = {
	invalidPDUHeaderField: 1,
	pduSequenceError: 2,
	headerDigestError: 3,
	dataTransferOutOfRange: 4,
	limitExceeded: 5,
	unsupportedParameter: 6,
} as const;

/** SGL Identifier, the last byte of a descriptor: Data Block with an offset into the capsule, and Transport SGL Data Block. */
export const sglInCapsule = 0x01;
export const sglTransport = 0x5a;

/** PSDT of a command's second byte: SGLs, no metadata. */
export const psdtSGL = 0x40;

export function u16(buffer: Uint8Array, at: number): number {
	return buffer[at]! | (buffer[at + 1]! << 8);
}

export function u32(buffer: Uint8Array, at: number): number {
	return (buffer[at]! | (buffer[at + 1]! << 8) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 24)) >>> 0;
}

export function u64(buffer: Uint8Array, at: number): bigint {
	return BigInt(u32(buffer, at)) | (BigInt(u32(buffer, at + 4)) << 32n);
}

export function putU16(buffer: Uint8Array, at: number, value: number): void {
	buffer[at] = value;
	buffer[at + 1] = value >>> 8;
}

export function putU32(buffer: Uint8Array, at: number, value: number): void {
	buffer[at] = value;
	buffer[at + 1] = value >>> 8;
	buffer[at + 2] = value >>> 16;
	buffer[at + 3] = value >>> 24;
}

/** Up to 2^53. */
export function putU64(buffer: Uint8Array, at: number, value: number): void {
	putU32(buffer, at, value);
	putU32(buffer, at + 4, Math.floor(value / 0x1_0000_0000));
}

export function putCommonHeader(
	buffer: Uint8Array,
	at: number,
	type: number,
	flags: number,
	hlen: number,
	pdo: number,
	plen: number,
): void {
	buffer[at] = type;
	buffer[at + 1] = flags;
	buffer[at + 2] = hlen;
	buffer[at + 3] = pdo;
	putU32(buffer, at + 4, plen);
}

/** Where data begins behind a header of so many bytes, digest included: the next multiple of what HPDA or CPDA (0's based dwords) says. */
export function dataOffset(headerBytes: number, alignment: number): number {
	const unit = (alignment + 1) * 4;
	return Math.ceil(headerBytes / unit) * unit;
}
