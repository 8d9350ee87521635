import { lbaOutOfRange, placeRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u16be, u32be, u64be } from './field.ts';
import type { Field } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { walkRange } from './range-walk.ts';
import { ScsiTask } from './task.ts';

const immed = bits(1, 1, 1);

export const preFetch10 = preFetch('PRE-FETCH (10)', 0x34, 10, u32be(2), u16be(7));
export const preFetch16 = preFetch('PRE-FETCH (16)', 0x90, 16, u64be(2), u32be(10));

/** Units on which an IMMED one is under way: one at a time, the others are hints that nobody takes. */
const inBackground = new WeakSet<LogicalUnit>();

/**
 * SBC-3, PRE-FETCH: reads the blocks, so that the kernel's page cache has them. The answer is GOOD and not CONDITION MET, because nobody knows how long it keeps them.
 */
function preFetch(name: string, opcode: number, lengthBytes: 10 | 16, lba: Field, prefetchLength: Field): Command {
	return defineCommand({
		name,
		opcode,
		lengthBytes,
		fields: { immed, lba, prefetchLength },
		reservation: 'read',
		timeoutSeconds: limits.longTimeoutSeconds,
		access: 'read',
		start(unit, task) {
			const { cdb } = task;
			const first = lba.get(cdb);
			// No number is "to the end of the medium".
			const blocks = prefetchLength.get(cdb) || Math.max(unit.blocks - first, 0);
			if (!placeRange(unit, task, first, blocks)) return lbaOutOfRange(unit, task);
			if (prefetchLength.get(cdb) === 0) task.lengthBytes = Math.min(task.lengthBytes, limits.prefetchBytesMax);
			if (task.lengthBytes > limits.prefetchBytesMax) return unit.invalidField(task, prefetchLength);
			if (task.lengthBytes === 0) return 'finished';
			if (immed.get(cdb) === 0) return read(unit, task);
			if (!inBackground.has(unit)) {
				inBackground.add(unit);
				const background = new ScsiTask();
				background.offsetBytes = task.offsetBytes;
				background.lengthBytes = task.lengthBytes;
				cdb.copy(background.cdb);
				// A bad block will be told to who reads it.
				background.owner = { taskFinished: () => void inBackground.delete(unit) };
				read(unit, background);
			}
			return 'finished';
		},
	});
}

function read(unit: LogicalUnit, task: ScsiTask): 'pending' {
	const buffer = Buffer.allocUnsafe(Math.min(limits.pieceBytes, task.lengthBytes));
	return walkRange(unit, task, limits.pieceBytes, {
		issue: (offsetBytes, pieceBytes) => unit.device.read(offsetBytes, buffer.subarray(0, pieceBytes), task),
	});
}
