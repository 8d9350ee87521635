import { collect, finish } from './answer.ts';
import { lbaOutOfRange, placeRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import { bits, u32be, u64be } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { additionalSense, illegal } from './sense.ts';
import { status } from './task.ts';
import type { ScsiTask } from './task.ts';

const orprotect = bits(1, 5, 3);
const dpo = bits(1, 4, 1);
const fua = bits(1, 3, 1);
const lba = u64be(2);
const transferLength = u32be(10);

/**
 * SBC-3, ORWRITE (16): sets the bits of the data-out on the medium. What was read is written back only if it is still there, so no command of any protocol comes between the two;
 * each step of limits.compareAndWriteBytesMax stands for itself, as a long write does.
 */
export const orwrite16 = defineCommand({
	name: 'ORWRITE (16)',
	opcode: 0x8b,
	lengthBytes: 16,
	fields: { orprotect, dpo, fua, lba, transferLength },
	reservation: 'write',
	timeoutSeconds: limits.longTimeoutSeconds,
	access: 'write',
	start(unit, task) {
		const { cdb } = task;
		if (orprotect.get(cdb) !== 0) return unit.invalidField(task, orprotect);
		if (!placeRange(unit, task, lba.get(cdb), transferLength.get(cdb))) return lbaOutOfRange(unit, task);
		if (task.lengthBytes > limits.parameterBytesMax) return unit.invalidField(task, transferLength);
		return collect(task, task.lengthBytes);
	},
	parameters(unit, task, data) {
		if (data.length < task.lengthBytes || task.dataOutBytes > task.lengthBytes) {
			return unit.check(task, illegal(additionalSense.parameterListLengthError));
		}
		setBits(unit, task, data);
		return 'pending';
	},
});

/**
 *   reading ── good ─→ writing ── good ─→ reading the next step, or the end
 *      ↑                  └─ miscompare (the blocks changed meanwhile) ─┐
 *      └────────────────────────────────────────────────────────────────┘ at most limits.orwriteTriesMax times a step, then BUSY
 */
function setBits(unit: LogicalUnit, task: ScsiTask, data: Buffer): void {
	const isDurable = fua.get(task.cdb) === 1 || !unit.mode.isWriteBack;
	const stepBytes = Math.min(limits.compareAndWriteBytesMax, unit.device.atomicBytesMax);
	const before = Buffer.alloc(Math.min(stepBytes, task.lengthBytes));
	const after = Buffer.alloc(before.length);
	let done = 0;
	let tries = 0;
	let isReading = true;
	const length = (): number => Math.min(before.length, task.lengthBytes - done);
	const read = (): void => {
		isReading = true;
		unit.device.read(task.offsetBytes + done, before.subarray(0, length()), task);
	};
	const write = (): void => {
		isReading = false;
		for (let index = 0; index < length(); index++) after[index] = before[index]! | data[done + index]!;
		const [expected, wanted] = [before.subarray(0, length()), after.subarray(0, length())];
		unit.device.compareAndWrite(task.offsetBytes + done, expected, wanted, isDurable, task);
	};
	task.onOutcome = (_task, outcome) => {
		if (outcome === 'miscompare' && tries < limits.orwriteTriesMax && !task.aborted) {
			tries++;
			read();
			return;
		}
		if (outcome === 'miscompare') task.status = status.busy;
		else if (outcome !== 'good') unit.fail(task, outcome);
		else if (isReading && !task.aborted) {
			write();
			return;
		} else if (!isReading) {
			done += length();
			tries = 0;
			if (done < task.lengthBytes && !task.aborted) {
				read();
				return;
			}
		}
		if (task.aborted && done < task.lengthBytes) task.status = status.taskAborted;
		finish(task);
	};
	read();
}
