import { collect, finish } from './answer.ts';
import { isInside, lbaOutOfRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import { bits, u16be, u32be, u64be } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { additionalSense, illegal, invalidFieldInParameterList } from './sense.ts';
import { status } from './task.ts';
import type { ScsiTask } from './task.ts';

const anchor = bits(1, 0, 1);
const parameterListLength = u16be(7);

/** SBC-3, UNMAP parameter list and UNMAP block descriptor. */
const list = { unmapBlockDescriptorDataLength: u16be(2) };
const listHeaderLength = 8;
const descriptor = { unmapLogicalBlockAddress: u64be(0), numberOfLogicalBlocks: u32be(8) };
const descriptorLength = 16;

interface Range {
	offsetBytes: number;
	lengthBytes: number;
}

/** All descriptors are checked before the first takes effect, so a refused UNMAP has changed nothing. */
export const unmap = defineCommand({
	name: 'UNMAP',
	opcode: 0x42,
	lengthBytes: 10,
	fields: { anchor, parameterListLength },
	reservation: 'write',
	timeoutSeconds: limits.longTimeoutSeconds,
	access: 'write',
	start(unit, task) {
		// ANC_SUP is 0 (SBC-3, UNMAP).
		if (anchor.get(task.cdb) !== 0) return unit.invalidField(task, anchor);
		return collect(task, parameterListLength.get(task.cdb));
	},
	parameters(unit, task, data) {
		if (data.length < task.lengthBytes || data.length < listHeaderLength) return lengthError(unit, task);
		const descriptorBytes = list.unmapBlockDescriptorDataLength.get(data);
		if (listHeaderLength + descriptorBytes > data.length) return lengthError(unit, task);
		// A last descriptor that is not whole is ignored (SBC-3, UNMAP parameter list).
		const count = Math.floor(descriptorBytes / descriptorLength);
		if (count > limits.unmapDescriptorsMax) return unit.check(task, invalidFieldInParameterList(list.unmapBlockDescriptorDataLength));
		const ranges: Range[] = [];
		let sumBlocks = 0;
		for (let index = 0; index < count; index++) {
			const at = listHeaderLength + index * descriptorLength;
			const entry = data.subarray(at, at + descriptorLength);
			const lba = descriptor.unmapLogicalBlockAddress.get(entry);
			const blocks = descriptor.numberOfLogicalBlocks.get(entry);
			if (!isInside(unit, lba, blocks)) return lbaOutOfRange(unit, task);
			sumBlocks += blocks;
			if (sumBlocks > limits.unmapBlocksMax) return unit.check(task, invalidFieldInParameterList(descriptor.numberOfLogicalBlocks, at));
			const { blockSize } = unit.device;
			if (blocks > 0) ranges.push({ offsetBytes: lba * blockSize, lengthBytes: blocks * blockSize });
		}
		return zeroRanges(unit, task, ranges);
	},
});

function lengthError(unit: LogicalUnit, task: ScsiTask): 'finished' {
	return unit.check(task, illegal(additionalSense.parameterListLengthError));
}

function zeroRanges(unit: LogicalUnit, task: ScsiTask, ranges: readonly Range[]): 'finished' | 'pending' {
	let index = 0;
	const next = (): boolean => {
		const range = ranges[index++];
		if (range === undefined) return false;
		unit.device.zero(range.offsetBytes, range.lengthBytes, !unit.mode.isWriteBack, task);
		return true;
	};
	task.onOutcome = (_task, outcome) => {
		if (outcome !== 'good') unit.fail(task, outcome);
		else if (task.aborted && index < ranges.length) task.status = status.taskAborted;
		else if (next()) return;
		finish(task);
	};
	return next() ? 'pending' : 'finished';
}
