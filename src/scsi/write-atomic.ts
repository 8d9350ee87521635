import { lbaOutOfRange, placeRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import { bits, u16be, u64be } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';

const wrprotect = bits(1, 5, 3);
const dpo = bits(1, 4, 1);
const fua = bits(1, 3, 1);
const lba = u64be(2);
const atomicBoundary = u16be(10);
const transferLength = u16be(12);

/** SBC-4, WRITE ATOMIC (16): whole or absent after a crash, as the engine keeps it for every write up to BlockDevice.atomicBytesMax. It has no boundaries within. */
export const writeAtomic16 = defineCommand({
	name: 'WRITE ATOMIC (16)',
	opcode: 0x9c,
	lengthBytes: 16,
	fields: { wrprotect, dpo, fua, lba, atomicBoundary, transferLength },
	reservation: 'write',
	access: 'write',
	start(unit, task) {
		const { cdb } = task;
		if (wrprotect.get(cdb) !== 0) return unit.invalidField(task, wrprotect);
		if (atomicBoundary.get(cdb) !== 0) return unit.invalidField(task, atomicBoundary);
		const blocks = transferLength.get(cdb);
		if (!placeRange(unit, task, lba.get(cdb), blocks)) return lbaOutOfRange(unit, task);
		// What the initiator does not send whole could not be written whole either.
		if (blocks > atomicBlocksMax(unit) || task.dataOutBytes < task.lengthBytes) return unit.invalidField(task, transferLength);
		task.fua = fua.get(cdb) === 1 || !unit.mode.isWriteBack;
		return blocks === 0 ? 'finished' : 'write';
	},
});

/** MAXIMUM ATOMIC TRANSFER LENGTH: of what the transport hands over in one piece. */
export function atomicBlocksMax({ device }: LogicalUnit): number {
	return Math.floor(Math.min(limits.atomicBytesMax, device.atomicBytesMax) / device.blockSize);
}
