import { putU16, putU32, putU64 } from './wire.ts';

/** Submission queue entries of NVMe Base 2.0, NVM Command Set 1.0 and the fabrics chapter, written into 64 bytes that are cleared first. */
export const adminOpcode = {
	getLogPage: 0x02,
	identify: 0x06,
	abort: 0x08,
	setFeatures: 0x09,
	getFeatures: 0x0a,
	asynchronousEventRequest: 0x0c,
	keepAlive: 0x18,
} as const;

export const ioOpcode = {
	flush: 0x00,
	write: 0x01,
	read: 0x02,
	writeUncorrectable: 0x04,
	compare: 0x05,
	writeZeroes: 0x08,
	datasetManagement: 0x09,
	verify: 0x0c,
	reservationRegister: 0x0d,
	reservationReport: 0x0e,
	reservationAcquire: 0x11,
	reservationRelease: 0x15,
} as const;

export const fabricsOpcode = 0x7f;

/** FCTYPE, byte 4 of a fabrics command. */
export const fabricsType = {
	propertySet: 0x00,
	connect: 0x01,
	propertyGet: 0x04,
	authenticationSend: 0x05,
	authenticationReceive: 0x06,
	disconnect: 0x08,
} as const;

/** FUSE, the low two bits of the second byte. */
export const fuse = { first: 1, second: 2 } as const;

/** Offsets of the properties. */
export const property = { cap: 0x00, vs: 0x08, cc: 0x14, csts: 0x1c, nssr: 0x20 } as const;

export function start(sqe: Uint8Array, opcode: number, nsid = 0): void {
	sqe.fill(0);
	sqe[0] = opcode;
	putU32(sqe, 4, nsid);
}

export type Dwords = Readonly<Partial<Record<10 | 11 | 12 | 13 | 14 | 15, number>>>;

/** Any command that is described by its dwords. */
export function plain(sqe: Uint8Array, opcode: number, nsid = 0, dwords: Dwords = {}): void {
	start(sqe, opcode, nsid);
	for (const [dword, value] of Object.entries(dwords)) putU32(sqe, Number(dword) * 4, value);
}

// Fabrics commands.

function fabrics(sqe: Uint8Array, type: number): void {
	sqe.fill(0);
	sqe[0] = fabricsOpcode;
	sqe[4] = type;
}

/** Bit 2 of CATTR: no submission queue flow control. */
export const cattrDisableFlowControl = 0x04;

export interface ConnectFields {
	recfmt: number;
	qid: number;
	/** 0's based. */
	sqsize: number;
	cattr: number;
	/** Milliseconds. */
	kato: number;
}

export function connect(sqe: Uint8Array, { recfmt, qid, sqsize, cattr, kato }: ConnectFields): void {
	fabrics(sqe, fabricsType.connect);
	putU16(sqe, 40, recfmt);
	putU16(sqe, 42, qid);
	putU16(sqe, 44, sqsize);
	sqe[46] = cattr;
	putU32(sqe, 48, kato);
}

export interface ConnectData {
	/** 16 bytes. */
	hostid: Uint8Array;
	cntlid: number;
	/** A Buffer is put in as it is: for names without an end. */
	subnqn: string | Buffer;
	hostnqn: string | Buffer;
}

export const connectDataBytes = 1024;

export function connectData({ hostid, cntlid, subnqn, hostnqn }: ConnectData): Buffer {
	const data = Buffer.alloc(connectDataBytes);
	data.set(hostid, 0);
	putU16(data, 16, cntlid);
	data.set(Buffer.from(subnqn), 256);
	data.set(Buffer.from(hostnqn), 512);
	return data;
}

/** `wide`: a property of 8 bytes. */
export function propertyGet(sqe: Uint8Array, offset: number, wide: boolean): void {
	fabrics(sqe, fabricsType.propertyGet);
	sqe[40] = wide ? 1 : 0;
	putU32(sqe, 44, offset);
}

export function propertySet(sqe: Uint8Array, offset: number, value: number, wide = false): void {
	fabrics(sqe, fabricsType.propertySet);
	sqe[40] = wide ? 1 : 0;
	putU32(sqe, 44, offset);
	putU64(sqe, 48, value);
}

export function disconnect(sqe: Uint8Array, recfmt = 0): void {
	fabrics(sqe, fabricsType.disconnect);
	putU16(sqe, 40, recfmt);
}

/** Security protocol E9h, protocol specific 0001h: NVMe over Fabrics in-band authentication. */
export function authenticationSend(sqe: Uint8Array, lengthBytes: number): void {
	fabrics(sqe, fabricsType.authenticationSend);
	authentication(sqe, lengthBytes);
}

export function authenticationReceive(sqe: Uint8Array, lengthBytes: number): void {
	fabrics(sqe, fabricsType.authenticationReceive);
	authentication(sqe, lengthBytes);
}

function authentication(sqe: Uint8Array, lengthBytes: number): void {
	sqe[41] = 0x01;
	sqe[42] = 0x01;
	sqe[43] = 0xe9;
	putU32(sqe, 44, lengthBytes);
}

// Admin commands.

export function identify(sqe: Uint8Array, cns: number, options: { nsid?: number; cntid?: number; csi?: number } = {}): void {
	start(sqe, adminOpcode.identify, options.nsid);
	sqe[40] = cns;
	putU16(sqe, 42, options.cntid ?? 0);
	sqe[47] = options.csi ?? 0;
}

export interface LogPageOptions {
	nsid?: number;
	/** Log specific field. */
	lsp?: number;
	/** Retain Asynchronous Event. */
	rae?: boolean;
	offsetBytes?: number;
}

export function getLogPage(sqe: Uint8Array, lid: number, lengthBytes: number, options: LogPageOptions = {}): void {
	start(sqe, adminOpcode.getLogPage, options.nsid);
	// 0's based dwords, the low half here and the high one in the next dword.
	const numd = lengthBytes / 4 - 1;
	sqe[40] = lid;
	sqe[41] = (options.lsp ?? 0) | (options.rae === true ? 0x80 : 0);
	putU16(sqe, 42, numd);
	putU16(sqe, 44, numd >>> 16);
	putU64(sqe, 48, options.offsetBytes ?? 0);
}

/** `sel`: 0 current, 1 default, 2 saved, 3 supported capabilities. */
export function getFeatures(sqe: Uint8Array, fid: number, options: { nsid?: number; sel?: number; dword11?: number } = {}): void {
	start(sqe, adminOpcode.getFeatures, options.nsid);
	sqe[40] = fid;
	sqe[41] = options.sel ?? 0;
	putU32(sqe, 44, options.dword11 ?? 0);
}

export function setFeatures(sqe: Uint8Array, fid: number, dword11: number, options: { nsid?: number; save?: boolean } = {}): void {
	start(sqe, adminOpcode.setFeatures, options.nsid);
	sqe[40] = fid;
	sqe[43] = options.save === true ? 0x80 : 0;
	putU32(sqe, 44, dword11);
}

export function abort(sqe: Uint8Array, sqid: number, cid: number): void {
	start(sqe, adminOpcode.abort);
	putU16(sqe, 40, sqid);
	putU16(sqe, 42, cid);
}

export function keepAlive(sqe: Uint8Array): void {
	start(sqe, adminOpcode.keepAlive);
}

export function asynchronousEventRequest(sqe: Uint8Array): void {
	start(sqe, adminOpcode.asynchronousEventRequest);
}

// I/O commands. LBAs up to 2^53; `blocks` counts from 1 and is sent 0's based.

export interface RangeOptions {
	/** Force Unit Access. */
	fua?: boolean;
	/** Deallocate, of Write Zeroes. */
	deac?: boolean;
	fuse?: 1 | 2;
}

export function range(sqe: Uint8Array, opcode: number, nsid: number, lba: number, blocks: number, options: RangeOptions = noOptions): void {
	start(sqe, opcode, nsid);
	sqe[1] = options.fuse ?? 0;
	putU64(sqe, 40, lba);
	putU16(sqe, 48, blocks - 1);
	sqe[51] = (options.fua === true ? 0x40 : 0) | (options.deac === true ? 0x02 : 0);
}

const noOptions: RangeOptions = {};

export function flush(sqe: Uint8Array, nsid: number): void {
	start(sqe, ioOpcode.flush, nsid);
}

/** AD is the attribute Deallocate. */
export function datasetManagement(sqe: Uint8Array, nsid: number, ranges: number, ad = true): void {
	start(sqe, ioOpcode.datasetManagement, nsid);
	sqe[40] = ranges - 1;
	putU32(sqe, 44, ad ? 0x04 : 0);
}

export function datasetRanges(ranges: readonly { lba: number; blocks: number }[]): Buffer {
	const data = Buffer.alloc(ranges.length * 16);
	ranges.forEach(({ lba, blocks }, index) => {
		putU32(data, index * 16 + 4, blocks);
		putU64(data, index * 16 + 8, lba);
	});
	return data;
}

/** RREGA 0 register, 1 unregister, 2 replace; CPTPL 0 no change, 2 PTPL off, 3 on. Data: current key, new key. */
export function reservationRegister(sqe: Uint8Array, nsid: number, rrega: number, options: { iekey?: boolean; cptpl?: number } = {}): void {
	start(sqe, ioOpcode.reservationRegister, nsid);
	putU32(sqe, 40, rrega | (options.iekey === true ? 0x08 : 0) | ((options.cptpl ?? 0) << 30));
}

/** RACQA 0 acquire, 1 preempt, 2 preempt and abort; RTYPE 1 to 6. Data: current key, key to preempt. */
export function reservationAcquire(sqe: Uint8Array, nsid: number, racqa: number, rtype: number, iekey = false): void {
	start(sqe, ioOpcode.reservationAcquire, nsid);
	putU32(sqe, 40, racqa | (iekey ? 0x08 : 0) | (rtype << 8));
}

/** RRELA 0 release, 1 clear. Data: current key. */
export function reservationRelease(sqe: Uint8Array, nsid: number, rrela: number, rtype: number, iekey = false): void {
	start(sqe, ioOpcode.reservationRelease, nsid);
	putU32(sqe, 40, rrela | (iekey ? 0x08 : 0) | (rtype << 8));
}

/** EDS: the extended data structure, with 128-bit host identifiers. */
export function reservationReport(sqe: Uint8Array, nsid: number, lengthBytes: number, eds = true): void {
	start(sqe, ioOpcode.reservationReport, nsid);
	putU32(sqe, 40, lengthBytes / 4 - 1);
	putU32(sqe, 44, eds ? 1 : 0);
}

/** One or two 64-bit keys. */
export function reservationKeys(...keys: bigint[]): Buffer {
	const data = Buffer.alloc(keys.length * 8);
	keys.forEach((key, index) => data.writeBigUInt64LE(key, index * 8));
	return data;
}
