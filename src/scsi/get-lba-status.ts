import { answer, finish } from './answer.ts';
import { isInside, lbaOutOfRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import { bits, u32be, u64be } from './field.ts';
import { limits } from './limits.ts';

const startingLogicalBlockAddress = u64be(2);
const allocationLength = u32be(10);

/** SBC-3, GET LBA STATUS parameter data and LBA status descriptor. */
const header = { parameterDataLength: u32be(0) };
const headerLength = 8;
const descriptor = { lbaStatusLogicalBlockAddress: u64be(0), numberOfLogicalBlocks: u32be(8), provisioningStatus: bits(12, 0, 4) };
const descriptorLength = 16;
const mapped = 0;
const deallocated = 1;

/** Tells what is mapped from a block on, as far as one look of the device goes; the initiator asks again from there (SBC-3, GET LBA STATUS). */
export const getLbaStatus = defineCommand({
	name: 'GET LBA STATUS',
	opcode: 0x9e,
	serviceAction: 0x12,
	lengthBytes: 16,
	fields: { startingLogicalBlockAddress, allocationLength },
	reservation: 'read',
	start(unit, task) {
		const first = startingLogicalBlockAddress.get(task.cdb);
		if (!isInside(unit, first, 1)) return lbaOutOfRange(unit, task);
		const { blockSize } = unit.device;
		const room = Math.floor((allocationLength.get(task.cdb) - headerLength) / descriptorLength);
		const descriptorsMax = Math.min(Math.max(room, 1), limits.lbaStatusDescriptorsMax);
		void unit.device.allocation(first * blockSize, descriptorsMax).then(({ outcome, extents }) => {
			if (outcome === 'good') {
				const data = Buffer.alloc(headerLength + extents.length * descriptorLength);
				header.parameterDataLength.set(data, data.length - 4);
				let lba = first;
				for (const [index, { lengthBytes, isMapped }] of extents.entries()) {
					const entry = data.subarray(headerLength + index * descriptorLength);
					descriptor.lbaStatusLogicalBlockAddress.set(entry, lba);
					descriptor.numberOfLogicalBlocks.set(entry, lengthBytes / blockSize);
					descriptor.provisioningStatus.set(entry, isMapped ? mapped : deallocated);
					lba += lengthBytes / blockSize;
				}
				answer(task, data, allocationLength.get(task.cdb));
			} else {
				unit.fail(task, outcome);
			}
			finish(task);
		});
		return 'pending';
	},
});
