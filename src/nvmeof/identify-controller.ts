import { bytes, layout, reserved, u16le, u32le, u8 } from '../wire/layout.ts';
import type { Controller } from './controller.ts';
import { featureBits } from './feature-rows.ts';
import { companyId, modelNumber, paddedText, terminatedText } from './identity.ts';
import { optionalCommands } from './io-commands.ts';
import { limits } from './limits.ts';
import { anaGroup } from './log-ana.ts';
import { logPageAttributes } from './log-pages.ts';
import { number128le } from './number-field.ts';
import type { NvmController } from './nvm-controller.ts';
import { version } from './properties.ts';
import { cqeBytes, sqeBytes } from './request.ts';

/** NVMe Base 2.0, Identify Controller Data Structure. */
export const IdentifyController = layout('Identify Controller', 4096, {
	vid: u16le(0),
	ssvid: u16le(2),
	sn: bytes(4, 20),
	mn: bytes(24, 40),
	fr: bytes(64, 8),
	rab: u8(72),
	ieee: bytes(73, 3),
	cmic: u8(76),
	mdts: u8(77),
	cntlid: u16le(78),
	ver: u32le(80),
	rtd3r: u32le(84),
	rtd3e: u32le(88),
	oaes: u32le(92),
	ctratt: u32le(96),
	rrls: u16le(100),
	reserved102: reserved(102, 9),
	cntrltype: u8(111),
	fguid: bytes(112, 16),
	crdt: bytes(128, 6),
	reserved134: reserved(134, 119),
	nvmsr: u8(253),
	vwci: u8(254),
	mec: u8(255),
	oacs: u16le(256),
	acl: u8(258),
	aerl: u8(259),
	frmw: u8(260),
	lpa: u8(261),
	elpe: u8(262),
	npss: u8(263),
	avscc: u8(264),
	apsta: u8(265),
	wctemp: u16le(266),
	cctemp: u16le(268),
	mtfa: u16le(270),
	hmpre: u32le(272),
	hmmin: u32le(276),
	tnvmcap: number128le(280),
	unvmcap: number128le(296),
	rpmbs: u32le(312),
	edstt: u16le(316),
	dsto: u8(318),
	fwug: u8(319),
	kas: u16le(320),
	hctma: u16le(322),
	mntmt: u16le(324),
	mxtmt: u16le(326),
	sanicap: u32le(328),
	hmminds: u32le(332),
	hmmaxd: u16le(336),
	nsetidmax: u16le(338),
	endgidmax: u16le(340),
	anatt: u8(342),
	anacap: u8(343),
	anagrpmax: u32le(344),
	nanagrpid: u32le(348),
	pels: u32le(352),
	domainIdentifier: u16le(356),
	reserved358: reserved(358, 10),
	megcap: number128le(368),
	reserved384: reserved(384, 128),
	sqes: u8(512),
	cqes: u8(513),
	maxcmd: u16le(514),
	nn: u32le(516),
	oncs: u16le(520),
	fuses: u16le(522),
	fna: u8(524),
	vwc: u8(525),
	awun: u16le(526),
	awupf: u16le(528),
	icsvscc: u8(530),
	nwpc: u8(531),
	acwu: u16le(532),
	cdfs: u16le(534),
	sgls: u32le(536),
	mnan: u32le(540),
	maxdna: number128le(544),
	maxcna: u32le(560),
	reserved564: reserved(564, 204),
	subnqn: bytes(768, 256),
	reserved1024: reserved(1024, 768),
	ioccsz: u32le(1792),
	iorcsz: u32le(1796),
	icdoff: u16le(1800),
	fcatt: u8(1802),
	msdbd: u8(1803),
	ofcs: u16le(1804),
	reserved1806: reserved(1806, 242),
	psd0: bytes(2048, 32),
	otherPowerStates: reserved(2080, 992),
	vendorSpecific: reserved(3072, 1024),
});

/** CMIC: several ports, several controllers, ANA reporting. */
const multipath = 0b1011;
/** CTRATT: host identifiers of 128 bits, Traffic Based Keep Alive. */
const attributes = 0b0100_0001;
const controllerTypes = { io: 1, discovery: 2 } as const;
/** OAES: Namespace Attribute Notices; Discovery Log Page Change Notices. */
const eventBits = { io: 1 << 8, discovery: 2 ** 31 } as const;
/** One firmware slot, and it cannot be written. */
const firmwareSlots = 0b011;
/** ANA: the optimized state is reported. That a namespace keeps its group is not said: libnvme 1.3 would leave no room for NSIDs in the log, and read past its end. */
const anaCapabilities = 1;
/** Seconds that no transition between ANA states may take longer than; there is none. */
const anaTransitionSeconds = 1;
/** A volatile write cache is there, and Flush takes NSID FFFFFFFFh. */
const volatileWriteCache = 0b111;
/** FUSES: Compare and Write. */
const fusedOperations = 1;
/** SGLs of any alignment, with offsets into the capsule, and the descriptor that leaves the place of data to the transport. */
const sglSupport = 1 | (1 << 20) | (1 << 21);
/** OFCS: Disconnect deletes an I/O queue. */
const disconnects = 1;
/** Of the formats of Identify Namespace. */
const largestBlockBytes = 4096;
/** IOCCSZ and IORCSZ count in these. */
const capsuleUnitBytes = 16;

/** NVMe Base 2.0, Identify with CNS 01h of an I/O controller. */
export function identifyNvmController(controller: NvmController): Buffer {
	const { subsystem } = controller;
	const data = identifyAny(controller, subsystem.serialNumber, subsystem.firmwareRevision);
	const fields = IdentifyController;
	fields.cmic.set(data, 0, multipath);
	fields.acl.set(data, 0, limits.aborts - 1);
	fields.frmw.set(data, 0, firmwareSlots);
	fields.lpa.set(data, 0, logPageAttributes);
	fields.elpe.set(data, 0, limits.errorLogEntries - 1);
	fields.anatt.set(data, 0, anaTransitionSeconds);
	fields.anacap.set(data, 0, anaCapabilities);
	fields.anagrpmax.set(data, 0, anaGroup);
	fields.nanagrpid.set(data, 0, 1);
	fields.nn.set(data, 0, limits.namespacesPerSubsystem);
	fields.mnan.set(data, 0, limits.namespacesPerSubsystem);
	fields.oncs.set(data, 0, optionalCommands() | featureBits);
	fields.fuses.set(data, 0, fusedOperations);
	fields.vwc.set(data, 0, volatileWriteCache);
	// In logical blocks of any format there is; a namespace says more exactly what holds for it.
	for (const field of [fields.awun, fields.awupf, fields.acwu]) field.set(data, 0, limits.atomicBytes / largestBlockBytes - 1);
	fields.ioccsz.set(data, 0, (sqeBytes + limits.inCapsuleBytes) / capsuleUnitBytes);
	return data;
}

/** The same of a discovery controller, which leaves out what concerns namespaces and I/O queues. */
export function identifyDiscoveryController(controller: Controller, serialNumber: string, firmwareRevision: string): Buffer {
	const data = identifyAny(controller, serialNumber, firmwareRevision);
	IdentifyController.lpa.set(data, 0, extendedLogPages);
	IdentifyController.ioccsz.set(data, 0, sqeBytes / capsuleUnitBytes);
	return data;
}

/** LPA: log pages take an offset and lengths of 32 bits. */
const extendedLogPages = 1 << 2;

function identifyAny(controller: Controller, serialNumber: string, firmwareRevision: string): Buffer {
	const data = Buffer.alloc(IdentifyController.sizeBytes);
	const fields = IdentifyController;
	fields.sn.set(data, 0, paddedText(serialNumber, fields.sn.size));
	fields.mn.set(data, 0, paddedText(modelNumber, fields.mn.size));
	fields.fr.set(data, 0, paddedText(firmwareRevision, fields.fr.size));
	fields.ieee.set(data, 0, companyId.toReversed());
	fields.mdts.set(data, 0, Math.log2(limits.transferBytesMax / 4096));
	fields.cntlid.set(data, 0, controller.id);
	fields.ver.set(data, 0, version);
	fields.oaes.set(data, 0, eventBits[controller.type]);
	fields.ctratt.set(data, 0, attributes);
	fields.cntrltype.set(data, 0, controllerTypes[controller.type]);
	fields.aerl.set(data, 0, limits.asynchronousEventRequests - 1);
	fields.kas.set(data, 0, limits.keepAliveGranularityMs / 100);
	// The smallest and the largest entry, as powers of two.
	fields.sqes.set(data, 0, Math.log2(sqeBytes) * 0x11);
	fields.cqes.set(data, 0, Math.log2(cqeBytes) * 0x11);
	fields.maxcmd.set(data, 0, limits.queueDepth);
	fields.sgls.set(data, 0, sglSupport);
	fields.subnqn.set(data, 0, terminatedText(controller.owner.nqn, fields.subnqn.size));
	fields.iorcsz.set(data, 0, cqeBytes / capsuleUnitBytes);
	fields.msdbd.set(data, 0, 1);
	fields.ofcs.set(data, 0, controller.type === 'io' ? disconnects : 0);
	return data;
}
