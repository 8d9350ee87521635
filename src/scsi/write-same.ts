import { collect, finish } from './answer.ts';
import { lbaOutOfRange, placeRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import type { Command, CommandRow } from './command.ts';
import { bits, u16be, u32be, u64be } from './field.ts';
import type { Field } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { walkRange } from './range-walk.ts';
import { additionalSense, illegal } from './sense.ts';
import type { ScsiTask } from './task.ts';

const wrprotect = bits(1, 5, 3);
const anchor = bits(1, 4, 1);
/** A hint: zeros give their space back with or without it, and another pattern cannot be unmapped (SBC-3, LBPRZ 001b). */
const unmap = bits(1, 3, 1);
const pbdata = bits(1, 2, 1);
const lbdata = bits(1, 1, 1);
const ndob = bits(1, 0, 1);

export const writeSame10 = writeSame('WRITE SAME (10)', 0x41, 10, u32be(2), u16be(7), undefined);
export const writeSame16 = writeSame('WRITE SAME (16)', 0x93, 16, u64be(2), u32be(10), ndob);

/** SBC-3, WRITE SAME: one block of data-out over a range, or zeros without data-out (NDOB). */
function writeSame(
	name: string,
	opcode: number,
	lengthBytes: 10 | 16,
	lba: Field,
	numberOfLogicalBlocks: Field,
	noData: Field | undefined,
): Command {
	const fields: CommandRow['fields'] = {
		wrprotect,
		anchor,
		unmap,
		pbdata,
		lbdata,
		lba,
		numberOfLogicalBlocks,
		...(noData === undefined ? {} : { noData }),
	};
	return defineCommand({
		name,
		opcode,
		lengthBytes,
		fields,
		reservation: 'write',
		timeoutSeconds: limits.longTimeoutSeconds,
		access: 'write',
		start(unit, task) {
			const { cdb } = task;
			if (wrprotect.get(cdb) !== 0) return unit.invalidField(task, wrprotect);
			if (anchor.get(cdb) !== 0) return unit.invalidField(task, anchor);
			// Obsolete: they would put the address into each block. To ignore them would write something else than was asked for.
			if (pbdata.get(cdb) !== 0) return unit.invalidField(task, pbdata);
			if (lbdata.get(cdb) !== 0) return unit.invalidField(task, lbdata);
			if (!placeRange(unit, task, lba.get(cdb), numberOfLogicalBlocks.get(cdb))) return lbaOutOfRange(unit, task);
			// WSNZ is 1: 0 does not mean "to the end of the medium".
			if (task.lengthBytes === 0 || task.lengthBytes > limits.writeSameBytesMax) return unit.invalidField(task, numberOfLogicalBlocks);
			if (noData?.get(cdb) === 1) return zero(unit, task, task.lengthBytes);
			return collect(task, unit.device.blockSize);
		},
		parameters(unit, task, data) {
			const { blockSize } = unit.device;
			// Who sends something else than one block means something else than is done here.
			if (data.length < blockSize || task.dataOutBytes > blockSize) {
				return unit.check(task, illegal(additionalSense.parameterListLengthError));
			}
			const bytes = numberOfLogicalBlocks.get(task.cdb) * blockSize;
			const block = data.subarray(0, blockSize);
			return block.every((byte) => byte === 0) ? zero(unit, task, bytes) : fill(unit, task, bytes, block);
		},
	});
}

function zero(unit: LogicalUnit, task: ScsiTask, lengthBytes: number): 'pending' {
	task.onOutcome = (_task, outcome) => {
		if (outcome !== 'good') unit.fail(task, outcome);
		finish(task);
	};
	unit.device.zero(task.offsetBytes, lengthBytes, !unit.mode.isWriteBack, task);
	return 'pending';
}

function fill(unit: LogicalUnit, task: ScsiTask, lengthBytes: number, block: Buffer): 'pending' {
	task.lengthBytes = lengthBytes;
	const pattern = Buffer.alloc(Math.min(limits.pieceBytes, lengthBytes), block);
	return walkRange(unit, task, limits.pieceBytes, {
		issue: (offsetBytes, pieceBytes) => unit.device.write(offsetBytes, pattern.subarray(0, pieceBytes), !unit.mode.isWriteBack, task),
	});
}
