import { bits, u16be, u24be, u32be, u64be, u8 } from './field.ts';
import { limits } from './limits.ts';
import { additionalSense, illegal, invalidFieldInParameterList } from './sense.ts';
import type { Sense } from './sense.ts';

/** SPC-4, EXTENDED COPY (LID1) parameter list. */
const header = {
	listIdentifier: u8(0),
	listIdUsage: bits(1, 3, 2),
	cscdDescriptorListLength: u16be(2),
	segmentDescriptorListLength: u32be(8),
	inlineDataLength: u32be(12),
};
const headerLength = 16;

/** SPC-4, LIST ID USAGE: 00b what became of the copy is kept, 10b it is not, 11b there is no list identifier. */
export const listIdUsage = { keep: 0b00, reserved: 0b01, discard: 0b10, none: 0b11 } as const;

/** SPC-4, Identification Descriptor CSCD descriptor with the parameters of a block device. LU ID TYPE does not count where the designator names the unit, and NUL is obsolete. */
const cscd = {
	descriptorTypeCode: u8(0),
	peripheralDeviceType: bits(1, 0, 5),
	association: bits(5, 4, 2),
	designatorType: bits(5, 0, 4),
	designatorLength: u8(7),
	designator: 8,
	diskBlockLength: u24be(29),
};
export const cscdLength = 32;
const designatorBytesMax = 20;
const naa = 3;

/** SPC-4, block device to block device segment descriptor. */
const segment = {
	descriptorTypeCode: u8(0),
	dc: bits(1, 1, 1),
	descriptorLength: u16be(2),
	sourceCscd: u16be(4),
	destinationCscd: u16be(6),
	blockDeviceNumberOfBlocks: u16be(10),
	sourceLba: u64be(12),
	destinationLba: u64be(20),
};
export const segmentLength = 28;
const segmentHeaderLength = 4;

/** The descriptor types there are, for who asks. */
export const descriptorTypes = { blockToBlock: 0x02, identification: 0xe4 } as const;

export interface CopyDevice {
	/** NAA designator of a logical unit; undefined for a designator of another kind, which names none here. */
	readonly naa: Buffer | undefined;
	readonly diskBlockLength: number;
	/** Of DISK BLOCK LENGTH, from the list's first byte. */
	readonly blockLengthAt: number;
}

export interface CopySegment {
	readonly source: number;
	readonly destination: number;
	readonly sourceLba: number;
	readonly destinationLba: number;
	readonly blocks: number;
	/** DC: the blocks are those of the destination. */
	readonly countsDestination: boolean;
}

export interface CopyList {
	readonly identifier: number;
	readonly usage: number;
	readonly devices: readonly CopyDevice[];
	readonly segments: readonly CopySegment[];
}

/** Reads the list whole, before anything is copied. STR and PRIORITY are taken and mean nothing: segments are copied in their order. */
export function parseCopyList(data: Buffer): CopyList | { wrong: Sense } {
	if (data.length < headerLength) return { wrong: illegal(additionalSense.parameterListLengthError) };
	const identifier = header.listIdentifier.get(data);
	const usage = header.listIdUsage.get(data);
	if (usage === listIdUsage.reserved || (usage === listIdUsage.none && identifier !== 0))
		return { wrong: invalidFieldInParameterList(usage === listIdUsage.none ? header.listIdentifier : header.listIdUsage) };
	const cscdBytes = header.cscdDescriptorListLength.get(data);
	const segmentBytes = header.segmentDescriptorListLength.get(data);
	const end = headerLength + cscdBytes + segmentBytes;
	if (cscdBytes + segmentBytes > limits.copyDescriptorBytesMax || end > data.length || cscdBytes % cscdLength !== 0)
		return { wrong: illegal(additionalSense.parameterListLengthError) };
	if (header.inlineDataLength.get(data) > 0) return { wrong: illegal(additionalSense.inlineDataLengthExceeded) };
	if (cscdBytes / cscdLength > limits.copyDevicesMax) return { wrong: illegal(additionalSense.tooManyTargetDescriptors) };
	const devices: CopyDevice[] = [];
	for (let at = headerLength; at < headerLength + cscdBytes; at += cscdLength) {
		const device = parseDevice(data.subarray(at, at + cscdLength), at);
		if ('wrong' in device) return device;
		devices.push(device);
	}
	const segments: CopySegment[] = [];
	for (let at = headerLength + cscdBytes; at < end; at += segmentLength) {
		if (segments.length === limits.copySegmentsMax) return { wrong: illegal(additionalSense.tooManySegmentDescriptors) };
		const one = parseSegment(data.subarray(at, end), at);
		if ('wrong' in one) return one;
		segments.push(one);
	}
	return { identifier, usage, devices, segments };
}

function parseDevice(data: Buffer, at: number): CopyDevice | { wrong: Sense } {
	if (cscd.descriptorTypeCode.get(data) !== descriptorTypes.identification)
		return { wrong: illegal(additionalSense.unsupportedTargetDescriptorTypeCode) };
	if (cscd.peripheralDeviceType.get(data) !== 0) return { wrong: invalidFieldInParameterList(cscd.peripheralDeviceType, at) };
	const length = cscd.designatorLength.get(data);
	if (length > designatorBytesMax) return { wrong: invalidFieldInParameterList(cscd.designatorLength, at) };
	const isNamed = cscd.association.get(data) === 0 && cscd.designatorType.get(data) === naa;
	return {
		naa: isNamed ? data.subarray(cscd.designator, cscd.designator + length) : undefined,
		diskBlockLength: cscd.diskBlockLength.get(data),
		blockLengthAt: at + cscd.diskBlockLength.byte,
	};
}

function parseSegment(data: Buffer, at: number): CopySegment | { wrong: Sense } {
	if (data.length < segmentHeaderLength) return { wrong: illegal(additionalSense.parameterListLengthError) };
	if (segment.descriptorTypeCode.get(data) !== descriptorTypes.blockToBlock)
		return { wrong: illegal(additionalSense.unsupportedSegmentDescriptorTypeCode) };
	if (segment.descriptorLength.get(data) !== segmentLength - segmentHeaderLength)
		return { wrong: invalidFieldInParameterList(segment.descriptorLength, at) };
	if (data.length < segmentLength) return { wrong: illegal(additionalSense.parameterListLengthError) };
	return {
		source: segment.sourceCscd.get(data),
		destination: segment.destinationCscd.get(data),
		sourceLba: segment.sourceLba.get(data),
		destinationLba: segment.destinationLba.get(data),
		blocks: segment.blockDeviceNumberOfBlocks.get(data),
		countsDestination: segment.dc.get(data) === 1,
	};
}
