import { bits, bytes, layout, reserved, u8, u16be, u24be, u32be } from '../wire/layout.ts';

/** RFC 7143 §11: every PDU's basic header segment, one table each, rows in the order of the figure. */
export const bhsBytes = 48;
/** TotalAHSLength counts words in one byte. */
export const ahsBytesMax = 255 * 4;
export const digestBytes = 4;
/** "No tag" in Initiator Task Tag, Target Transfer Tag and Referenced Task Tag. */
export const noTag = 0xffffffff;

/** §11.2.1.2. 0x00 to 0x1f come from initiators. */
export const opcode = {
	nopOut: 0x00,
	scsiCommand: 0x01,
	taskManagementRequest: 0x02,
	loginRequest: 0x03,
	textRequest: 0x04,
	dataOut: 0x05,
	logoutRequest: 0x06,
	snack: 0x10,
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

/** Final, Continue and Transit bits of byte 1, and the I bit of byte 0. */
export const immediateBit = 0x40;
export const finalBit = 0x80;
export const continueBit = 0x40;
export const readBit = 0x40;
export const writeBit = 0x20;
export const statusBit = 0x01;
export const overflowBit = 0x04;
export const underflowBit = 0x02;

const opcodeRow = { opcode: bits(0, 0, 6), immediate: bits(0, 6, 1) };
const lengths = { totalAHSLength: u8(4), dataSegmentLength: u24be(5) };
const sequence = { statSN: u32be(24), expCmdSN: u32be(28), maxCmdSN: u32be(32) };

/** §11.2: what all have in common. */
export const BHS = layout('BHS', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	opcodeSpecific2: bytes(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	opcodeSpecific20: bytes(20, 4),
	cmdSN: u32be(24),
	expStatSN: u32be(28),
	opcodeSpecific32: bytes(32, 16),
});

/** §11.3 */
export const SCSICommand = layout('SCSI Command', bhsBytes, {
	...opcodeRow,
	attributes: bits(1, 0, 3),
	write: bits(1, 5, 1),
	read: bits(1, 6, 1),
	final: bits(1, 7, 1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	expectedDataTransferLength: u32be(20),
	cmdSN: u32be(24),
	expStatSN: u32be(28),
	cdb: bytes(32, 16),
});

/** §11.2.2: the types of additional header segment. */
export const ahsType = { extendedCDB: 1, bidirectionalReadLength: 2 } as const;

/** §11.4 */
export const SCSIResponse = layout('SCSI Response', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	response: u8(2),
	status: u8(3),
	...lengths,
	reserved8: reserved(8, 8),
	initiatorTaskTag: u32be(16),
	snackTag: u32be(20),
	...sequence,
	expDataSN: u32be(36),
	bidirectionalReadResidualCount: u32be(40),
	residualCount: u32be(44),
});

/** §11.5 */
export const TaskManagementRequest = layout('Task Management Function Request', bhsBytes, {
	...opcodeRow,
	function: bits(1, 0, 7),
	final: bits(1, 7, 1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	referencedTaskTag: u32be(20),
	cmdSN: u32be(24),
	expStatSN: u32be(28),
	refCmdSN: u32be(32),
	expDataSN: u32be(36),
	reserved40: reserved(40, 8),
});

/** §11.6 */
export const TaskManagementResponse = layout('Task Management Function Response', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	response: u8(2),
	reserved3: reserved(3, 1),
	...lengths,
	reserved8: reserved(8, 8),
	initiatorTaskTag: u32be(16),
	reserved20: reserved(20, 4),
	...sequence,
	reserved36: reserved(36, 12),
});

/** §11.7 */
export const DataOut = layout('SCSI Data-Out', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	targetTransferTag: u32be(20),
	reserved24: reserved(24, 4),
	expStatSN: u32be(28),
	reserved32: reserved(32, 4),
	dataSN: u32be(36),
	bufferOffset: u32be(40),
	reserved44: reserved(44, 4),
});

/** §11.7 */
export const DataIn = layout('SCSI Data-In', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	reserved2: reserved(2, 1),
	status: u8(3),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	targetTransferTag: u32be(20),
	...sequence,
	dataSN: u32be(36),
	bufferOffset: u32be(40),
	residualCount: u32be(44),
});

/** §11.8 */
export const R2T = layout('R2T', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	targetTransferTag: u32be(20),
	...sequence,
	r2tSN: u32be(36),
	bufferOffset: u32be(40),
	desiredDataTransferLength: u32be(44),
});

/** §11.9 */
export const AsyncMessage = layout('Asynchronous Message', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	reserved20: reserved(20, 4),
	...sequence,
	asyncEvent: u8(36),
	asyncVCode: u8(37),
	parameter1: u16be(38),
	parameter2: u16be(40),
	parameter3: u16be(42),
	reserved44: reserved(44, 4),
});

/** §11.10 */
export const TextRequest = layout('Text Request', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	targetTransferTag: u32be(20),
	cmdSN: u32be(24),
	expStatSN: u32be(28),
	reserved32: reserved(32, 16),
});

/** §11.11 */
export const TextResponse = layout('Text Response', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	targetTransferTag: u32be(20),
	...sequence,
	reserved36: reserved(36, 12),
});

/** §11.12 */
export const LoginRequest = layout('Login Request', bhsBytes, {
	...opcodeRow,
	nextStage: bits(1, 0, 2),
	currentStage: bits(1, 2, 2),
	continue: bits(1, 6, 1),
	transit: bits(1, 7, 1),
	versionMax: u8(2),
	versionMin: u8(3),
	...lengths,
	isid: bytes(8, 6),
	tsih: u16be(14),
	initiatorTaskTag: u32be(16),
	cid: u16be(20),
	reserved22: reserved(22, 2),
	cmdSN: u32be(24),
	expStatSN: u32be(28),
	reserved32: reserved(32, 16),
});

/** §11.13 */
export const LoginResponse = layout('Login Response', bhsBytes, {
	...opcodeRow,
	nextStage: bits(1, 0, 2),
	currentStage: bits(1, 2, 2),
	continue: bits(1, 6, 1),
	transit: bits(1, 7, 1),
	versionMax: u8(2),
	versionActive: u8(3),
	...lengths,
	isid: bytes(8, 6),
	tsih: u16be(14),
	initiatorTaskTag: u32be(16),
	reserved20: reserved(20, 4),
	...sequence,
	statusClass: u8(36),
	statusDetail: u8(37),
	reserved38: reserved(38, 10),
});

/** §11.14 */
export const LogoutRequest = layout('Logout Request', bhsBytes, {
	...opcodeRow,
	reasonCode: bits(1, 0, 7),
	final: bits(1, 7, 1),
	reserved2: reserved(2, 2),
	...lengths,
	reserved8: reserved(8, 8),
	initiatorTaskTag: u32be(16),
	cid: u16be(20),
	reserved22: reserved(22, 2),
	cmdSN: u32be(24),
	expStatSN: u32be(28),
	reserved32: reserved(32, 16),
});

/** §11.15 */
export const LogoutResponse = layout('Logout Response', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	response: u8(2),
	reserved3: reserved(3, 1),
	...lengths,
	reserved8: reserved(8, 8),
	initiatorTaskTag: u32be(16),
	reserved20: reserved(20, 4),
	...sequence,
	reserved36: reserved(36, 4),
	time2Wait: u16be(40),
	time2Retain: u16be(42),
	reserved44: reserved(44, 4),
});

/** §11.16 */
export const SNACKRequest = layout('SNACK Request', bhsBytes, {
	...opcodeRow,
	type: bits(1, 0, 4),
	final: bits(1, 7, 1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	targetTransferTag: u32be(20),
	reserved24: reserved(24, 4),
	expStatSN: u32be(28),
	reserved32: reserved(32, 8),
	begRun: u32be(40),
	runLength: u32be(44),
});

/** §11.17 */
export const Reject = layout('Reject', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	reason: u8(2),
	reserved3: reserved(3, 1),
	...lengths,
	reserved8: reserved(8, 8),
	initiatorTaskTag: u32be(16),
	reserved20: reserved(20, 4),
	...sequence,
	dataSN: u32be(36),
	reserved40: reserved(40, 8),
});

/** §11.18 */
export const NOPOut = layout('NOP-Out', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	targetTransferTag: u32be(20),
	cmdSN: u32be(24),
	expStatSN: u32be(28),
	reserved32: reserved(32, 16),
});

/** §11.19 */
export const NOPIn = layout('NOP-In', bhsBytes, {
	...opcodeRow,
	flags: u8(1),
	reserved2: reserved(2, 2),
	...lengths,
	lun: bytes(8, 8),
	initiatorTaskTag: u32be(16),
	targetTransferTag: u32be(20),
	...sequence,
	reserved36: reserved(36, 12),
});

/** §11.17.1 */
export const rejectReason = {
	dataDigestError: 0x02,
	snackReject: 0x03,
	protocolError: 0x04,
	commandNotSupported: 0x05,
	tooManyImmediateCommands: 0x06,
	taskInProgress: 0x07,
	invalidDataACK: 0x08,
	invalidPDUField: 0x09,
	longOperationReject: 0x0a,
	waitingForLogout: 0x0c,
} as const;

/** §11.5.1 */
export const taskManagementFunction = {
	abortTask: 1,
	abortTaskSet: 2,
	clearACA: 3,
	clearTaskSet: 4,
	logicalUnitReset: 5,
	targetWarmReset: 6,
	targetColdReset: 7,
	taskReassign: 8,
} as const;

/** §11.6.1 */
export const taskManagementResponse = {
	functionComplete: 0,
	taskDoesNotExist: 1,
	lunDoesNotExist: 2,
	taskStillAllegiant: 3,
	taskAllegianceReassignmentNotSupported: 4,
	functionNotSupported: 5,
	functionAuthorizationFailed: 6,
	functionRejected: 255,
} as const;

/** §11.9.1 */
export const asyncEvent = { scsiEvent: 0, logoutRequest: 1, dropConnection: 2, dropAllConnections: 3, negotiationRequest: 4 } as const;

/** §11.13.5: class in the high byte, detail in the low byte. */
export const loginStatus = {
	success: 0x0000,
	targetMovedTemporarily: 0x0101,
	targetMovedPermanently: 0x0102,
	initiatorError: 0x0200,
	authenticationFailure: 0x0201,
	authorizationFailure: 0x0202,
	notFound: 0x0203,
	targetRemoved: 0x0204,
	unsupportedVersion: 0x0205,
	tooManyConnections: 0x0206,
	missingParameter: 0x0207,
	cannotIncludeInSession: 0x0208,
	sessionTypeNotSupported: 0x0209,
	sessionDoesNotExist: 0x020a,
	invalidDuringLogin: 0x020b,
	targetError: 0x0300,
	serviceUnavailable: 0x0301,
	outOfResources: 0x0302,
} as const;

/** §11.2.1.2: whether the PDU carries a CmdSN and so takes part in ordering. */
export function carriesCmdSN(code: number): boolean {
	return (
		code === opcode.scsiCommand ||
		code === opcode.nopOut ||
		code === opcode.taskManagementRequest ||
		code === opcode.textRequest ||
		code === opcode.logoutRequest
	);
}

export function padded(length: number): number {
	return (length + 3) & ~3;
}

/** RFC 1982 serial numbers: positive if `a` comes after `b`. */
export function serialDistance(a: number, b: number): number {
	return (a - b) | 0;
}
