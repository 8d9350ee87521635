import type { Field } from './field.ts';

/** SPC-4, sense keys that this device server, or a transport for it, returns. */
export const senseKey = {
	noSense: 0x0,
	notReady: 0x2,
	mediumError: 0x3,
	hardwareError: 0x4,
	illegalRequest: 0x5,
	unitAttention: 0x6,
	dataProtect: 0x7,
	copyAborted: 0xa,
	abortedCommand: 0xb,
	miscompare: 0xe,
} as const;

/** SPC-4, additional sense code in the high byte, its qualifier in the low byte. */
export const additionalSense = {
	noAdditionalSenseInformation: 0x0000,
	operationInProgress: 0x0016,
	logicalUnitNotReadySanitizeInProgress: 0x041b,
	unreachableCopyTarget: 0x0804,
	writeError: 0x0c00,
	thirdPartyDeviceFailure: 0x0d01,
	copyTargetDeviceNotReachable: 0x0d02,
	unrecoveredReadError: 0x1100,
	parameterListLengthError: 0x1a00,
	miscompareDuringVerifyOperation: 0x1d00,
	invalidCommandOperationCode: 0x2000,
	logicalBlockAddressOutOfRange: 0x2100,
	invalidFieldInCdb: 0x2400,
	logicalUnitNotSupported: 0x2500,
	invalidFieldInParameterList: 0x2600,
	invalidReleaseOfPersistentReservation: 0x2604,
	tooManyTargetDescriptors: 0x2606,
	unsupportedTargetDescriptorTypeCode: 0x2607,
	tooManySegmentDescriptors: 0x2608,
	unsupportedSegmentDescriptorTypeCode: 0x2609,
	unexpectedInexactSegment: 0x260a,
	inlineDataLengthExceeded: 0x260b,
	writeProtected: 0x2700,
	spaceAllocationFailedWriteProtect: 0x2707,
	powerOnResetOrBusDeviceResetOccurred: 0x2900,
	busDeviceResetFunctionOccurred: 0x2903,
	modeParametersChanged: 0x2a01,
	reservationsPreempted: 0x2a03,
	reservationsReleased: 0x2a04,
	registrationsPreempted: 0x2a05,
	capacityDataHasChanged: 0x2a09,
	commandSequenceError: 0x2c00,
	sanitizeCommandFailed: 0x3103,
	thinProvisioningSoftThresholdReached: 0x3807,
	savingParametersNotSupported: 0x3900,
	reportedLunsDataHasChanged: 0x3f0e,
	internalTargetFailure: 0x4400,
	insufficientRegistrationResources: 0x5504,
} as const;

/** What a sense data buffer says, apart from its format. */
export interface Sense {
	readonly key: number;
	/** Of `additionalSense`. */
	readonly code: number;
	/** Of a command that was answered before (SPC-4, deferred errors). */
	readonly isDeferred?: boolean | undefined;
	/** The INFORMATION field: for a medium access the LBA of the first block that it is about. */
	readonly information?: number | undefined;
	/** Which field an ILLEGAL REQUEST is about. */
	readonly fieldPointer?: FieldPointer | undefined;
	/** Of what goes on in the background: how much is done, 0 to 1. */
	readonly progress?: number | undefined;
}

export interface FieldPointer {
	readonly in: 'cdb' | 'parameterList';
	readonly byte: number;
	/** Most significant bit of the field. */
	readonly bit: number;
}

/** INVALID FIELD IN CDB, pointing at the field. */
export function invalidFieldInCdb(field: Pick<Field, 'byte' | 'bit'>): Sense {
	return illegal(additionalSense.invalidFieldInCdb, { in: 'cdb', byte: field.byte, bit: field.bit });
}

/** INVALID FIELD IN PARAMETER LIST, pointing at a field that stands `at` bytes behind the place its offset counts from. */
export function invalidFieldInParameterList(field: Pick<Field, 'byte' | 'bit'>, at = 0): Sense {
	return illegal(additionalSense.invalidFieldInParameterList, { in: 'parameterList', byte: at + field.byte, bit: field.bit });
}

/** ILLEGAL REQUEST without a field to point at. */
export function illegal(code: number, fieldPointer?: FieldPointer): Sense {
	return { key: senseKey.illegalRequest, code, fieldPointer };
}

export type SenseFormat = 'fixed' | 'descriptor';

/** SPC-4, sense data: fixed (70h, deferred 71h) or descriptor (72h, deferred 73h) format. */
export function senseData(sense: Sense, format: SenseFormat): Buffer {
	return format === 'fixed' ? fixedFormat(sense) : descriptorFormat(sense);
}

const fixedLength = 18;
/** Descriptor format with INFORMATION and a field pointer. */
export const senseBytesMax = 8 + 12 + 8;

function fixedFormat(sense: Sense): Buffer {
	const data = Buffer.alloc(fixedLength);
	data[0] = sense.isDeferred === true ? 0x71 : 0x70;
	data[2] = sense.key;
	// Four bytes only: an LBA above them is left out and VALID stays 0, as SPC-4 has it.
	if (sense.information !== undefined && sense.information <= 0xffff_ffff) {
		data[0] |= 0x80;
		data.writeUInt32BE(sense.information, 3);
	}
	data[7] = fixedLength - 8;
	data.writeUInt16BE(sense.code, 12);
	writeSpecific(data, 15, sense);
	return data;
}

function descriptorFormat(sense: Sense): Buffer {
	const information = sense.information === undefined ? 0 : 12;
	const pointer = sense.fieldPointer === undefined && sense.progress === undefined ? 0 : 8;
	const data = Buffer.alloc(8 + information + pointer);
	data[0] = sense.isDeferred === true ? 0x73 : 0x72;
	data[1] = sense.key;
	data.writeUInt16BE(sense.code, 2);
	data[7] = information + pointer;
	if (sense.information !== undefined) {
		data[8] = 0x00;
		data[9] = 0x0a;
		data[10] = 0x80;
		data.writeBigUInt64BE(BigInt(sense.information), 12);
	}
	if (pointer > 0) {
		data[8 + information] = 0x02;
		data[9 + information] = 0x06;
		writeSpecific(data, 12 + information, sense);
	}
	return data;
}

/** SPC-4, sense key specific data. */
function writeSpecific(data: Buffer, at: number, { fieldPointer, progress }: Sense): void {
	if (fieldPointer !== undefined) writeFieldPointer(data, at, fieldPointer);
	else if (progress !== undefined) {
		data[at] = 0x80;
		data.writeUInt16BE(Math.min(0xffff, Math.floor(progress * 0x1_0000)), at + 1);
	}
}

/** SPC-4, field pointer sense key specific data: SKSV, C/D, BPV and the pointers. */
function writeFieldPointer(data: Buffer, at: number, pointer: FieldPointer): void {
	data[at] = 0x80 | (pointer.in === 'cdb' ? 0x40 : 0) | 0x08 | pointer.bit;
	data.writeUInt16BE(pointer.byte, at + 1);
}
