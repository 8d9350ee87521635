/**
 * The parts of RFC 7143 §11 that an initiator needs, as plain byte offsets. Written apart from src/iscsi on purpose: this side judges that one.
 */
export const basicHeaderBytes = 48;

export const opcode = {
	nopOut: 0x00,
	scsiCommand: 0x01,
	taskManagement: 0x02,
	login: 0x03,
	text: 0x04,
	dataOut: 0x05,
	logout: 0x06,
	nopIn: 0x20,
	scsiResponse: 0x21,
	taskManagementResponse: 0x22,
	loginResponse: 0x23,
	textResponse: 0x24,
	dataIn: 0x25,
	logoutResponse: 0x26,
	r2t: 0x31,
	asyncMessage: 0x32,
	reject: 0x3f,
} as const;

export const immediateDelivery = 0x40;
export const finalFlag = 0x80;
export const noTag = 0xffffffff;

/** RFC 7143 §11.5.1. */
export const taskFunction = {
	abortTask: 1,
	abortTaskSet: 2,
	clearTaskSet: 4,
	logicalUnitReset: 5,
	targetWarmReset: 6,
	targetColdReset: 7,
	taskReassign: 8,
} as const;

export function u32(buffer: Uint8Array, at: number): number {
	return ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0;
}

export function u24(buffer: Uint8Array, at: number): number {
	return (buffer[at]! << 16) | (buffer[at + 1]! << 8) | buffer[at + 2]!;
}

export function putU32(buffer: Uint8Array, at: number, value: number): void {
	buffer[at] = value >>> 24;
	buffer[at + 1] = value >>> 16;
	buffer[at + 2] = value >>> 8;
	buffer[at + 3] = value;
}

export function putU24(buffer: Uint8Array, at: number, value: number): void {
	buffer[at] = value >>> 16;
	buffer[at + 1] = value >>> 8;
	buffer[at + 2] = value;
}

/** SAM-5 §4.7.7: LUNs below 256 in peripheral addressing, others in flat space addressing. */
export function putLUN(buffer: Uint8Array, at: number, lun: number): void {
	buffer[at] = lun < 256 ? 0 : 0x40 | (lun >>> 8);
	buffer[at + 1] = lun;
	buffer.fill(0, at + 2, at + 8);
}

/** Serial number arithmetic of RFC 1982 on 32 bits: how far `a` lies after `b`, negative when before. */
export function serialDistance(a: number, b: number): number {
	return (a - b) | 0;
}

export function padded(lengthBytes: number): number {
	return (lengthBytes + 3) & ~3;
}
