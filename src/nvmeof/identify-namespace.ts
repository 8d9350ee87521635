import { writeBytesMax } from '../blockvol/block-device.ts';
import { bits, bytes, layout, reserved, u16le, u32le, u8 } from '../wire/layout.ts';
import { anaGroup } from './log-ana.ts';
import type { Namespace } from './namespace.ts';
import { number128le, number64le } from './number-field.ts';

/** NVM Command Set 1.0, Identify Namespace Data Structure. */
export const IdentifyNamespace = layout('Identify Namespace', 4096, {
	nsze: number64le(0),
	ncap: number64le(8),
	nuse: number64le(16),
	nsfeat: u8(24),
	nlbaf: u8(25),
	flbas: u8(26),
	mc: u8(27),
	dpc: u8(28),
	dps: u8(29),
	nmic: u8(30),
	rescap: u8(31),
	fpi: u8(32),
	dlfeat: u8(33),
	nawun: u16le(34),
	nawupf: u16le(36),
	nacwu: u16le(38),
	nabsn: u16le(40),
	nabo: u16le(42),
	nabspf: u16le(44),
	noiob: u16le(46),
	nvmcap: number128le(48),
	npwg: u16le(64),
	npwa: u16le(66),
	npdg: u16le(68),
	npda: u16le(70),
	nows: u16le(72),
	mssrl: u16le(74),
	mcl: u32le(76),
	msrc: u8(80),
	reserved81: reserved(81, 11),
	anagrpid: u32le(92),
	reserved96: reserved(96, 3),
	nsattr: u8(99),
	nvmsetid: u16le(100),
	endgid: u16le(102),
	nguid: bytes(104, 16),
	eui64: bytes(120, 8),
	lbaf0: bytes(128, 4),
	lbaf1: bytes(132, 4),
	otherFormats: reserved(136, 248),
	vendorSpecific: reserved(384, 3712),
});

/** NVM Command Set 1.0, LBA Format Data Structure. */
const LBAFormat = layout('LBA Format', 4, { ms: u16le(0), lbads: u8(2), rp: bits(3, 0, 2) });

/** NVMe Base 2.0, I/O Command Set Independent Identify Namespace Data Structure. */
export const IndependentIdentifyNamespace = layout('Independent Identify Namespace', 4096, {
	nsfeat: u8(0),
	nmic: u8(1),
	rescap: u8(2),
	fpi: u8(3),
	anagrpid: u32le(4),
	nsattr: u8(8),
	reserved9: reserved(9, 1),
	nvmsetid: u16le(10),
	endgid: u16le(12),
	nstat: u8(14),
	reserved15: reserved(15, 4081),
});

/** What the engine stores, trims and checks by. */
const pageBytes = 4096;
/** Thin (THINP), the atomic fields of the namespace are valid (NSABP), the sizes that are optimal are valid (OPTPERF). */
const features = 0b1_0011;
/** More than one controller may have it. */
const shared = 1;
/** PTPL, the six types, and IEKEY as NVMe 1.3 and later have it. */
const reservationCapabilities = 0xff;
/** Blocks without space read as zeros, and Write Zeroes takes DEAC. */
const deallocation = 0b0_1001;
const writeProtected = 1;
const ready = 1;
/** LBA formats; FLBAS names the one that the volume has. Nobody can format it into the other. */
const formats = [
	{ blockSize: 512, relativePerformance: 1 },
	{ blockSize: 4096, relativePerformance: 0 },
] as const;

export function identifyNamespace(namespace: Namespace): Buffer {
	const data = Buffer.alloc(IdentifyNamespace.sizeBytes);
	const { device, identity, blocks } = namespace;
	const pageBlocks = pageBytes / device.blockSize;
	const fields = IdentifyNamespace;
	fields.nsze.set(data, 0, blocks);
	fields.ncap.set(data, 0, blocks);
	fields.nuse.set(data, 0, namespace.usedBlocks);
	fields.nsfeat.set(data, 0, features);
	fields.nlbaf.set(data, 0, formats.length - 1);
	fields.flbas.set(
		data,
		0,
		formats.findIndex(({ blockSize }) => blockSize === device.blockSize),
	);
	fields.nmic.set(data, 0, shared);
	fields.rescap.set(data, 0, reservationCapabilities);
	fields.dlfeat.set(data, 0, deallocation);
	// 0's based, all of these.
	for (const field of [fields.nawun, fields.nawupf, fields.nacwu]) field.set(data, 0, namespace.atomicBlocks - 1);
	for (const field of [fields.npwg, fields.npwa, fields.npdg, fields.npda]) field.set(data, 0, pageBlocks - 1);
	fields.nows.set(data, 0, writeBytesMax / device.blockSize - 1);
	fields.nvmcap.set(data, 0, device.sizeBytes);
	fields.anagrpid.set(data, 0, anaGroup);
	fields.nsattr.set(data, 0, namespace.readOnly ? writeProtected : 0);
	fields.nguid.set(data, 0, identity.nguid);
	fields.eui64.set(data, 0, identity.eui64);
	for (const [index, { blockSize, relativePerformance }] of formats.entries()) {
		const at = fields.lbaf0.offset + index * LBAFormat.sizeBytes;
		LBAFormat.lbads.set(data, at, Math.log2(blockSize));
		LBAFormat.rp.set(data, at, relativePerformance);
	}
	return data;
}

export function identifyIndependentNamespace(namespace: Namespace): Buffer {
	const data = Buffer.alloc(IndependentIdentifyNamespace.sizeBytes);
	IndependentIdentifyNamespace.nmic.set(data, 0, shared);
	IndependentIdentifyNamespace.rescap.set(data, 0, reservationCapabilities);
	IndependentIdentifyNamespace.anagrpid.set(data, 0, anaGroup);
	IndependentIdentifyNamespace.nsattr.set(data, 0, namespace.readOnly ? writeProtected : 0);
	IndependentIdentifyNamespace.nstat.set(data, 0, ready);
	return data;
}
