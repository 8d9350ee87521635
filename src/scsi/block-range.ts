import type { LogicalUnit } from './logical-unit.ts';
import { additionalSense, illegal } from './sense.ts';
import type { ScsiTask } from './task.ts';

/**
 * Puts a range of blocks into the task as bytes. False if it ends beyond the last block. An LBA of 64 bits comes in rounded above 2^53, where it is beyond
 * every capacity; no sum is formed, so nothing wraps.
 */
export function placeRange(unit: LogicalUnit, task: ScsiTask, lba: number, blocks: number): boolean {
	if (!isInside(unit, lba, blocks)) return false;
	task.offsetBytes = lba * unit.device.blockSize;
	task.lengthBytes = blocks * unit.device.blockSize;
	return true;
}

/** A range of no blocks may stand right behind the last one; an LBA beyond that leaves less than none. */
export function isInside(unit: LogicalUnit, lba: number, blocks: number): boolean {
	return blocks <= unit.blocks - lba;
}

export function lbaOutOfRange(unit: LogicalUnit, task: ScsiTask): 'finished' {
	return unit.check(task, illegal(additionalSense.logicalBlockAddressOutOfRange));
}
