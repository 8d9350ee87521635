import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import { descriptorTypes } from './copy-list.ts';
import { bits, u16be, u32be, u8 } from './field.ts';
import { limits } from './limits.ts';

const listIdentifier = u8(2);
const allocationLength = u32be(10);

/** SPC-4, RECEIVE COPY STATUS (LID1) parameter data. HDD is 0: no data is held. */
const copyStatus = {
	availableData: u32be(0),
	copyManagerStatus: bits(4, 0, 7),
	segmentsProcessed: u16be(5),
	transferCountUnits: u8(7),
	transferCount: u32be(8),
};
const copyStatusLength = 12;
const managerStatus = { inProgress: 0, good: 1, failed: 2 } as const;
/** TRANSFER COUNT UNITS: KiB. */
const kibibytes = 1;

export const receiveCopyStatus = defineCommand({
	name: 'RECEIVE COPY STATUS (LID1)',
	opcode: 0x84,
	serviceAction: 0x00,
	lengthBytes: 16,
	fields: { listIdentifier, allocationLength },
	reservation: 'free',
	start(unit, task, nexus) {
		const progress = unit.copies.get(nexus, listIdentifier.get(task.cdb));
		if (progress === undefined) return unit.invalidField(task, listIdentifier);
		const data = Buffer.alloc(copyStatusLength);
		copyStatus.availableData.set(data, copyStatusLength - 4);
		copyStatus.copyManagerStatus.set(data, managerStatus[progress.state]);
		copyStatus.segmentsProcessed.set(data, progress.segments);
		copyStatus.transferCountUnits.set(data, kibibytes);
		copyStatus.transferCount.set(data, Math.floor(progress.bytes / 1024));
		return answer(task, data, allocationLength.get(task.cdb));
	},
});

/** SPC-4, RECEIVE COPY OPERATING PARAMETERS parameter data. No inline data, no held data, no stream devices. */
const operating = {
	availableData: u32be(0),
	snlid: bits(4, 0, 1),
	maximumCscdDescriptorCount: u16be(8),
	maximumSegmentDescriptorCount: u16be(10),
	maximumDescriptorListLength: u32be(12),
	maximumSegmentLength: u32be(16),
	totalConcurrentCopies: u16be(34),
	maximumConcurrentCopies: u8(36),
	dataSegmentGranularity: u8(37),
	implementedDescriptorListLength: u8(43),
};
const operatingLength = 44;
/** 2 to its power, in bytes. */
export const segmentGranularityExponent = 9;

export const receiveCopyOperatingParameters = defineCommand({
	name: 'RECEIVE COPY OPERATING PARAMETERS',
	opcode: 0x84,
	serviceAction: 0x03,
	lengthBytes: 16,
	fields: { allocationLength },
	reservation: 'free',
	start(_unit, task) {
		const implemented = Buffer.from(Object.values(descriptorTypes).toSorted((a, b) => a - b));
		const data = Buffer.concat([Buffer.alloc(operatingLength), implemented]);
		operating.availableData.set(data, data.length - 4);
		operating.snlid.set(data, 1);
		operating.maximumCscdDescriptorCount.set(data, limits.copyDevicesMax);
		operating.maximumSegmentDescriptorCount.set(data, limits.copySegmentsMax);
		operating.maximumDescriptorListLength.set(data, limits.copyDescriptorBytesMax);
		operating.maximumSegmentLength.set(data, limits.copySegmentBytesMax);
		operating.totalConcurrentCopies.set(data, limits.copiesPerUnit);
		operating.maximumConcurrentCopies.set(data, limits.copiesPerUnit);
		operating.dataSegmentGranularity.set(data, segmentGranularityExponent);
		operating.implementedDescriptorListLength.set(data, implemented.length);
		return answer(task, data, allocationLength.get(task.cdb));
	},
});
