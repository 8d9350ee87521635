import { descriptorTypes } from './copy-list.ts';
import { u16be, u32be, u8 } from './field.ts';
import { limits } from './limits.ts';
import { segmentGranularityExponent } from './receive-copy-results.ts';

/** SPC-4, third-party copy descriptor types of the Third-party Copy VPD page. */
const type = { supportedCommands: 0x0001, parameterData: 0x0004, supportedDescriptors: 0x0008, supportedCscdIds: 0x000c, general: 0x8001 };

/** Operation codes with their service actions. */
const commands: readonly (readonly [number, readonly number[]])[] = [
	[0x83, [0x00]],
	[0x84, [0x00, 0x03]],
];

/** SPC-4, Parameter Data third-party copy descriptor; offsets from its first byte. Inline data is not taken. */
const parameterData = {
	maximumCscdDescriptorCount: u16be(8),
	maximumSegmentDescriptorCount: u16be(10),
	maximumDescriptorListLength: u32be(12),
};
const parameterDataLength = 0x1c;

/** SPC-4, General Copy Operations third-party copy descriptor. */
const general = {
	totalConcurrentCopies: u32be(4),
	maximumIdentifiedConcurrentCopies: u32be(8),
	maximumSegmentLength: u32be(12),
	dataSegmentGranularity: u8(16),
};
const generalLength = 0x20;

/** The descriptors of the page, ascending by type. */
export function thirdPartyCopyDescriptors(): Buffer {
	const list = Buffer.from(commands.flatMap(([opcode, actions]) => [opcode, actions.length, ...actions]));
	const parameters = descriptor(type.parameterData, Buffer.alloc(parameterDataLength));
	parameterData.maximumCscdDescriptorCount.set(parameters, limits.copyDevicesMax);
	parameterData.maximumSegmentDescriptorCount.set(parameters, limits.copySegmentsMax);
	parameterData.maximumDescriptorListLength.set(parameters, limits.copyDescriptorBytesMax);
	const codes = Object.values(descriptorTypes).toSorted((a, b) => a - b);
	const operations = descriptor(type.general, Buffer.alloc(generalLength));
	general.totalConcurrentCopies.set(operations, limits.copiesPerUnit);
	general.maximumIdentifiedConcurrentCopies.set(operations, limits.copiesPerUnit);
	general.maximumSegmentLength.set(operations, limits.copySegmentBytesMax);
	general.dataSegmentGranularity.set(operations, segmentGranularityExponent);
	return Buffer.concat([
		descriptor(type.supportedCommands, Buffer.from([list.length, ...list])),
		parameters,
		descriptor(type.supportedDescriptors, Buffer.from([codes.length, ...codes])),
		// No CSCD descriptor ID stands for a device by itself.
		descriptor(type.supportedCscdIds, Buffer.alloc(2)),
		operations,
	]);
}

/** Padded to a multiple of 4. */
function descriptor(code: number, content: Buffer): Buffer {
	const data = Buffer.alloc(4 + Math.ceil(content.length / 4) * 4);
	data.writeUInt16BE(code, 0);
	data.writeUInt16BE(data.length - 4, 2);
	content.copy(data, 4);
	return data;
}
