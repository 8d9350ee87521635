import { bits, bytes, layout, reserved, u16le, u32le, u8 } from '../wire/layout.ts';
import { cqeBytes, sqeBytes } from './request.ts';

/** NVMe/TCP Transport 1.0, "PDU Definitions": one table for each PDU, rows in the order of the figure. Numbers are little-endian. */
export const commonHeaderBytes = 8;
export const digestBytes = 4;

/** PDU-Type. The even ones come from hosts. */
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

/** FLAGS. LAST_PDU is of H2CData and C2HData, SUCCESS of C2HData. */
export const flag = { hdgstf: 0x01, ddgstf: 0x02, lastPDU: 0x04, success: 0x08 } as const;

const commonHeader = { pduType: u8(0), flags: u8(1), hlen: u8(2), pdo: u8(3), plen: u32le(4) };
const commonHeaderWithoutData = { pduType: u8(0), flags: u8(1), hlen: u8(2), reserved3: reserved(3, 1), plen: u32le(4) };

/** What all have in common (CH). */
export const CommonHeader = layout('CH', commonHeaderBytes, commonHeader);

const digestRow = { headerDigest: bits(11, 0, 1), dataDigest: bits(11, 1, 1) };

export const ICReq = layout('ICReq', 128, {
	...commonHeaderWithoutData,
	pfv: u16le(8),
	hpda: u8(10),
	...digestRow,
	maxR2T: u32le(12),
	reserved16: reserved(16, 112),
});

export const ICResp = layout('ICResp', 128, {
	...commonHeaderWithoutData,
	pfv: u16le(8),
	cpda: u8(10),
	...digestRow,
	maxH2CData: u32le(12),
	reserved16: reserved(16, 112),
});

/** H2CTermReq and C2HTermReq; the header of the PDU in error follows. */
export const TermReq = layout('TermReq', 24, { ...commonHeaderWithoutData, fes: u16le(8), fei: u32le(10), reserved14: reserved(14, 10) });

export const CapsuleCmd = layout('CapsuleCmd', 72, { ...commonHeader, sqe: bytes(8, sqeBytes) });

/** With the completion queue entry (NVMe Base 2.0, Completion Queue Entry) in it. */
export const CapsuleResp = layout('CapsuleResp', commonHeaderBytes + cqeBytes, {
	...commonHeaderWithoutData,
	result0: u32le(8),
	result1: u32le(12),
	sqhd: u16le(16),
	reserved18: reserved(18, 2),
	commandIdentifier: u16le(20),
	/** Bit 0 is reserved (the phase tag elsewhere), bits 1 to 11 are the status, bit 15 is Do Not Retry. */
	status: u16le(22),
});

export const H2CData = layout('H2CData', 24, {
	...commonHeader,
	cccid: u16le(8),
	ttag: u16le(10),
	datao: u32le(12),
	datal: u32le(16),
	reserved20: reserved(20, 4),
});

export const C2HData = layout('C2HData', 24, {
	...commonHeader,
	cccid: u16le(8),
	reserved10: reserved(10, 2),
	datao: u32le(12),
	datal: u32le(16),
	reserved20: reserved(20, 4),
});

export const R2T = layout('R2T', 24, {
	...commonHeaderWithoutData,
	cccid: u16le(8),
	ttag: u16le(10),
	r2to: u32le(12),
	r2tl: u32le(16),
	reserved20: reserved(20, 4),
});

/** The part of a submission queue entry that the transport reads (NVMe Base 2.0, Common Command Format; NVMe over Fabrics, "SGL 1"). */
export const Sqe = layout('SQE', sqeBytes, {
	opcode: u8(0),
	fuse: bits(1, 0, 2),
	psdt: bits(1, 6, 2),
	commandIdentifier: u16le(2),
	/** Of fabrics commands; the namespace of others begins here. */
	fctype: u8(4),
	commandSpecific5: bytes(5, 19),
	/** Of an in-capsule data block: where it begins in the capsule's data. */
	sglOffset: u32le(24),
	sglOffsetHigh: u32le(28),
	sglLength: u32le(32),
	reserved36: reserved(36, 3),
	sglIdentifier: u8(39),
	commandSpecific40: bytes(40, 24),
});

/** SGL identifier, type in bits 4 to 7: data block with an offset into the capsule, and transport data block. */
export const sglIdentifier = { inCapsule: 0x01, transport: 0x5a } as const;

export const fabricsOpcode = 0x7f;
export const connectType = 0x01;
