import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import { bits, u32be, u64be } from './field.ts';

/** SBC-3, READ CAPACITY (10) parameter data. */
const capacity10 = { returnedLogicalBlockAddress: u32be(0), blockLengthInBytes: u32be(4) };

/** SBC-3, READ CAPACITY (16) parameter data. PROT_EN, P_I_EXPONENT and LOWEST ALIGNED LOGICAL BLOCK ADDRESS are 0. */
const capacity16 = {
	returnedLogicalBlockAddress: u64be(0),
	blockLengthInBytes: u32be(8),
	logicalBlocksPerPhysicalBlockExponent: bits(13, 0, 4),
	lbpme: bits(14, 7, 1),
	lbprz: bits(14, 6, 1),
};
const capacity16Length = 32;

/** The engine's page: what is written at once without reading first. */
export const physicalBlockBytes = 4096;

export const readCapacity10 = defineCommand({
	name: 'READ CAPACITY (10)',
	opcode: 0x25,
	lengthBytes: 10,
	fields: {},
	reservation: 'free',
	start(unit, task) {
		const data = Buffer.alloc(8);
		// FFFFFFFFh sends the initiator to READ CAPACITY (16).
		capacity10.returnedLogicalBlockAddress.set(data, Math.min(unit.blocks - 1, 0xffff_ffff));
		capacity10.blockLengthInBytes.set(data, unit.device.blockSize);
		return answer(task, data, data.length);
	},
});

const allocationLength = u32be(10);

export const readCapacity16 = defineCommand({
	name: 'READ CAPACITY (16)',
	opcode: 0x9e,
	serviceAction: 0x10,
	lengthBytes: 16,
	fields: { allocationLength },
	reservation: 'free',
	start(unit, task) {
		const data = Buffer.alloc(capacity16Length);
		capacity16.returnedLogicalBlockAddress.set(data, unit.blocks - 1);
		capacity16.blockLengthInBytes.set(data, unit.device.blockSize);
		capacity16.logicalBlocksPerPhysicalBlockExponent.set(data, Math.log2(physicalBlockBytes / unit.device.blockSize));
		capacity16.lbpme.set(data, 1);
		capacity16.lbprz.set(data, 1);
		return answer(task, data, allocationLength.get(task.cdb));
	},
});
