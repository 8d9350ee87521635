import { collect, finish } from './answer.ts';
import { lbaOutOfRange, placeRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import { bits, u64be, u8 } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { additionalSense, illegal, senseKey } from './sense.ts';

const wrprotect = bits(1, 5, 3);
const dpo = bits(1, 4, 1);
const fua = bits(1, 3, 1);
const lba = u64be(2);
const numberOfLogicalBlocks = u8(13);

/**
 * SBC-3, COMPARE AND WRITE: the first half of the data-out is compared with the medium, and if it is there the second half is written; one step among all commands of
 * all protocols, because the engine does both in one.
 */
export const compareAndWrite = defineCommand({
	name: 'COMPARE AND WRITE',
	opcode: 0x89,
	lengthBytes: 16,
	fields: { wrprotect, dpo, fua, lba, numberOfLogicalBlocks },
	reservation: 'write',
	access: 'write',
	start(unit, task) {
		const { cdb } = task;
		if (wrprotect.get(cdb) !== 0) return unit.invalidField(task, wrprotect);
		const blocks = numberOfLogicalBlocks.get(cdb);
		if (!placeRange(unit, task, lba.get(cdb), blocks)) return lbaOutOfRange(unit, task);
		if (blocks > compareAndWriteBlocksMax(unit)) return unit.invalidField(task, numberOfLogicalBlocks);
		// More than both halves, or less: initiator and target do not mean the same blocks.
		if (task.dataOutBytes !== 2 * task.lengthBytes) return unit.invalidField(task, numberOfLogicalBlocks);
		return collect(task, 2 * task.lengthBytes);
	},
	parameters(unit, task, data) {
		if (data.length < task.lengthBytes) return unit.check(task, illegal(additionalSense.parameterListLengthError));
		const half = task.lengthBytes / 2;
		task.onOutcome = (_task, outcome) => {
			if (outcome === 'miscompare') {
				// INFORMATION: where the first byte that differs stands in the data-out.
				const sense = { key: senseKey.miscompare, code: additionalSense.miscompareDuringVerifyOperation };
				unit.check(task, { ...sense, information: task.miscompareOffset });
			} else if (outcome !== 'good') unit.fail(task, outcome);
			finish(task);
		};
		const isDurable = fua.get(task.cdb) === 1 || !unit.mode.isWriteBack;
		unit.device.compareAndWrite(task.offsetBytes, data.subarray(0, half), data.subarray(half, 2 * half), isDurable, task);
		return 'pending';
	},
});

/** MAXIMUM COMPARE AND WRITE LENGTH, at most 255. */
export function compareAndWriteBlocksMax({ device }: LogicalUnit): number {
	return Math.min(Math.floor(Math.min(limits.compareAndWriteBytesMax, device.atomicBytesMax) / device.blockSize), 0xff);
}
