import { bits, u16be, u24be, u32be, u64be, u8 } from './field.ts';
import type { Field } from './field.ts';
import type { LogicalUnit } from './logical-unit.ts';

/** SPC-4, mode parameter header for the 6- and the 10-byte commands. */
export interface ModeHeader {
	readonly lengthBytes: number;
	readonly modeDataLength: Field;
	readonly mediumType: Field;
	readonly wp: Field;
	readonly dpofua: Field;
	/** Only the long header can announce 16-byte descriptors. */
	readonly longlba: Field | undefined;
	readonly blockDescriptorLength: Field;
}

export const modeHeader6: ModeHeader = {
	lengthBytes: 4,
	modeDataLength: u8(0),
	mediumType: u8(1),
	wp: bits(2, 7, 1),
	dpofua: bits(2, 4, 1),
	longlba: undefined,
	blockDescriptorLength: u8(3),
};

export const modeHeader10: ModeHeader = {
	lengthBytes: 8,
	modeDataLength: u16be(0),
	mediumType: u8(2),
	wp: bits(3, 7, 1),
	dpofua: bits(3, 4, 1),
	longlba: bits(4, 0, 1),
	blockDescriptorLength: u16be(6),
};

/** SBC-3, short and long LBA mode parameter block descriptor. */
export interface BlockDescriptor {
	readonly lengthBytes: number;
	readonly numberOfLogicalBlocks: Field;
	readonly logicalBlockLength: Field;
	/** What stands for a capacity that does not fit; in MODE SELECT: the largest capacity there is. */
	readonly allBlocks: number;
}

export const shortDescriptor: BlockDescriptor = {
	lengthBytes: 8,
	numberOfLogicalBlocks: u32be(0),
	logicalBlockLength: u24be(5),
	allBlocks: 0xffff_ffff,
};
/** FFFFFFFFFFFFFFFFh reads as 2^64, rounded. */
export const longDescriptor: BlockDescriptor = {
	lengthBytes: 16,
	numberOfLogicalBlocks: u64be(0),
	logicalBlockLength: u32be(12),
	allBlocks: 2 ** 64,
};

export function blockDescriptor(unit: LogicalUnit, layout: BlockDescriptor): Buffer {
	const data = Buffer.alloc(layout.lengthBytes);
	layout.numberOfLogicalBlocks.set(data, Math.min(unit.blocks, layout.allBlocks));
	layout.logicalBlockLength.set(data, unit.device.blockSize);
	return data;
}
