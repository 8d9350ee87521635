import { bits, bytes, layout, reserved, u16le, u32le, u64le, u8 } from '../wire/layout.ts';
import { number64le } from './number-field.ts';
import { sqeBytes } from './request.ts';

/** FUSE of command dword 0. */
export const fuse = { normal: 0, first: 1, second: 2 } as const;
/** PSDT: SGLs, and MPTR names one contiguous buffer. A capsule has no other form (NVMe Base 2.0, Capsules and Data Transfer). */
export const psdtSGL = 1;
/** NSID of all namespaces. */
export const everyNamespace = 0xffff_ffff;

/** NVMe Base 2.0, Common Command Format: what all but the Fabrics commands begin with. */
const head = {
	opcode: u8(0),
	fuse: bits(1, 0, 2),
	psdt: bits(1, 6, 2),
	commandIdentifier: u16le(2),
	nsid: u32le(4),
	cdw2: u32le(8),
	cdw3: u32le(12),
	metadataPointer: bytes(16, 8),
	sgl1: bytes(24, 16),
};

/** What sgl1 holds (NVMe Base 2.0, SGL Data Block descriptor and Transport SGL Data Block descriptor). */
export const SGLDescriptor = layout('SGL Descriptor', 16, {
	address: bytes(0, 8),
	length: u32le(8),
	reserved12: reserved(12, 3),
	identifier: u8(15),
});

export const CommonSQE = layout('Common Command', sqeBytes, {
	...head,
	cdw10: u32le(40),
	cdw11: u32le(44),
	cdw12: u32le(48),
	cdw13: u32le(52),
	cdw14: u32le(56),
	cdw15: u32le(60),
});

/** NVMe Base 2.0, Fabrics Command - Submission Queue Entry. */
const fabricsHead = {
	opcode: u8(0),
	fuse: bits(1, 0, 2),
	psdt: bits(1, 6, 2),
	commandIdentifier: u16le(2),
	fctype: u8(4),
	reserved5: reserved(5, 19),
	sgl1: bytes(24, 16),
};

export const FabricsSQE = layout('Fabrics Command', sqeBytes, { ...fabricsHead, specific: bytes(40, 24) });

export const ConnectSQE = layout('Connect', sqeBytes, {
	...fabricsHead,
	recfmt: u16le(40),
	qid: u16le(42),
	sqsize: u16le(44),
	priorityClass: bits(46, 0, 2),
	disableSQFlowControl: bits(46, 2, 1),
	individualQueueDeletion: bits(46, 3, 1),
	reserved47: reserved(47, 1),
	kato: u32le(48),
	reserved52: reserved(52, 12),
});

export const DisconnectSQE = layout('Disconnect', sqeBytes, { ...fabricsHead, recfmt: u16le(40), reserved42: reserved(42, 22) });

export const PropertyGetSQE = layout('Property Get', sqeBytes, {
	...fabricsHead,
	size: bits(40, 0, 3),
	reserved41: reserved(41, 3),
	ofst: u32le(44),
	reserved48: reserved(48, 16),
});

export const PropertySetSQE = layout('Property Set', sqeBytes, {
	...fabricsHead,
	size: bits(40, 0, 3),
	reserved41: reserved(41, 3),
	ofst: u32le(44),
	value: u64le(48),
	reserved56: reserved(56, 8),
});

/** Authentication Send has TL, Authentication Receive AL, in the same place. */
export const AuthenticationSQE = layout('Authentication Send and Receive', sqeBytes, {
	...fabricsHead,
	reserved40: reserved(40, 1),
	spsp0: u8(41),
	spsp1: u8(42),
	secp: u8(43),
	length: u32le(44),
	reserved48: reserved(48, 16),
});

export const IdentifySQE = layout('Identify', sqeBytes, {
	...head,
	cns: u8(40),
	reserved41: reserved(41, 1),
	cntid: u16le(42),
	cnsSpecific: u16le(44),
	reserved46: reserved(46, 1),
	csi: u8(47),
	reserved48: reserved(48, 8),
	uuidIndex: bits(56, 0, 7),
	reserved57: reserved(57, 7),
});

export const GetLogPageSQE = layout('Get Log Page', sqeBytes, {
	...head,
	lid: u8(40),
	lsp: bits(41, 0, 7),
	rae: bits(41, 7, 1),
	numdl: u16le(42),
	numdu: u16le(44),
	lsi: u16le(46),
	lpo: number64le(48),
	uuidIndex: bits(56, 0, 7),
	reserved57: reserved(57, 1),
	ot: bits(58, 7, 1),
	csi: u8(59),
	reserved60: reserved(60, 4),
});

export const GetFeaturesSQE = layout('Get Features', sqeBytes, {
	...head,
	fid: u8(40),
	sel: bits(41, 0, 3),
	reserved42: reserved(42, 2),
	cdw11: u32le(44),
	reserved48: reserved(48, 8),
	uuidIndex: bits(56, 0, 7),
	reserved57: reserved(57, 7),
});

export const SetFeaturesSQE = layout('Set Features', sqeBytes, {
	...head,
	fid: u8(40),
	reserved41: reserved(41, 2),
	sv: bits(43, 7, 1),
	cdw11: u32le(44),
	reserved48: reserved(48, 8),
	uuidIndex: bits(56, 0, 7),
	reserved57: reserved(57, 7),
});

export const AbortSQE = layout('Abort', sqeBytes, { ...head, sqid: u16le(40), cid: u16le(42), reserved44: reserved(44, 20) });

/** NVM Command Set 1.0: Read, Write, Compare, Verify and Write Zeroes have their range, and what they have of FUA, DEAC and PRINFO, in the same places. */
export const RangeSQE = layout('Read, Write, Compare, Verify, Write Zeroes', sqeBytes, {
	...head,
	slba: number64le(40),
	nlb: u16le(48),
	reserved50: reserved(50, 1),
	stc: bits(51, 0, 1),
	deac: bits(51, 1, 1),
	prinfo: bits(51, 2, 4),
	fua: bits(51, 6, 1),
	lr: bits(51, 7, 1),
	dsm: u8(52),
	reserved53: reserved(53, 1),
	dspec: u16le(54),
	tags: bytes(56, 8),
});

export const DatasetManagementSQE = layout('Dataset Management', sqeBytes, {
	...head,
	nr: u8(40),
	reserved41: reserved(41, 3),
	idr: bits(44, 0, 1),
	idw: bits(44, 1, 1),
	ad: bits(44, 2, 1),
	reserved45: reserved(45, 19),
});

export const ReservationRegisterSQE = layout('Reservation Register', sqeBytes, {
	...head,
	rrega: bits(40, 0, 3),
	iekey: bits(40, 3, 1),
	reserved41: reserved(41, 2),
	cptpl: bits(43, 6, 2),
	reserved44: reserved(44, 20),
});

/** RACQA of Acquire and RRELA of Release stand in the same place. */
export const ReservationActionSQE = layout('Reservation Acquire and Release', sqeBytes, {
	...head,
	action: bits(40, 0, 3),
	iekey: bits(40, 3, 1),
	rtype: u8(41),
	reserved42: reserved(42, 22),
});

export const ReservationReportSQE = layout('Reservation Report', sqeBytes, {
	...head,
	numd: u32le(40),
	eds: bits(44, 0, 1),
	reserved45: reserved(45, 19),
});
