import { finish } from './answer.ts';
import { isInside, lbaOutOfRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u16be, u32be, u64be } from './field.ts';
import type { Field } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { Nexus } from './nexus.ts';
import type { ScsiTask } from './task.ts';

const immed = bits(1, 1, 1);

export const synchronizeCache10 = synchronizeCache('SYNCHRONIZE CACHE (10)', 0x35, 10, u32be(2), u16be(7));
export const synchronizeCache16 = synchronizeCache('SYNCHRONIZE CACHE (16)', 0x91, 16, u64be(2), u32be(10));

/** SBC-3, SYNCHRONIZE CACHE. The range is checked, and the whole volume is flushed: a flush is of everything that has completed. */
function synchronizeCache(name: string, opcode: number, lengthBytes: 10 | 16, lba: Field, numberOfBlocks: Field): Command {
	return defineCommand({
		name,
		opcode,
		lengthBytes,
		fields: { immed, lba, numberOfBlocks },
		// It belongs to the write commands, though it changes nothing.
		reservation: 'write',
		timeoutSeconds: limits.longTimeoutSeconds,
		start(unit, task, nexus) {
			const { cdb } = task;
			if (!isInside(unit, lba.get(cdb), numberOfBlocks.get(cdb))) return lbaOutOfRange(unit, task);
			return immed.get(cdb) === 0 ? flush(unit, task) : flushUnwatched(unit, nexus);
		},
	});
}

/** Flushes; the task ends when everything is on stable storage. */
export function flush(unit: LogicalUnit, task: ScsiTask): 'pending' {
	task.onOutcome = (done, outcome) => {
		if (outcome !== 'good') unit.fail(done, outcome);
		finish(done);
	};
	unit.device.flush(task);
	return 'pending';
}

/** IMMED: the answer says only that a flush has begun. If it fails the nexus is told with its next command. */
export function flushUnwatched(unit: LogicalUnit, nexus: Nexus): 'finished' {
	unit.device.flush({ complete: (outcome) => outcome !== 'good' && unit.defer(outcome, nexus) });
	return 'finished';
}
