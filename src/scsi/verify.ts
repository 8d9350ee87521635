import { collect } from './answer.ts';
import { lbaOutOfRange, placeRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u16be, u32be, u64be } from './field.ts';
import type { Field } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { walkRange } from './range-walk.ts';
import { physicalBlockBytes } from './read-capacity.ts';
import { additionalSense, illegal, senseKey } from './sense.ts';
import type { ScsiTask } from './task.ts';

const vrprotect = bits(1, 5, 3);
const dpo = bits(1, 4, 1);
const bytchk = bits(1, 1, 2);

/** SBC-3, BYTCHK: 00b the medium is readable, 01b it holds the data-out. 11b (one block for the whole range) is refused like the reserved 10b. */
const readable = 0b00;
const compare = 0b01;

export const verify10 = verify('VERIFY (10)', 0x2f, 10, u32be(2), u16be(7));
export const verify12 = verify('VERIFY (12)', 0xaf, 12, u32be(2), u32be(6));
export const verify16 = verify('VERIFY (16)', 0x8f, 16, u64be(2), u32be(10));

function verify(name: string, opcode: number, lengthBytes: 10 | 12 | 16, lba: Field, verificationLength: Field): Command {
	return defineCommand({
		name,
		opcode,
		lengthBytes,
		fields: { vrprotect, dpo, bytchk, lba, verificationLength },
		reservation: 'read',
		timeoutSeconds: limits.longTimeoutSeconds,
		access: 'read',
		start(unit, task) {
			const { cdb } = task;
			if (vrprotect.get(cdb) !== 0) return unit.invalidField(task, vrprotect);
			const check = bytchk.get(cdb);
			if (check > compare) return unit.invalidField(task, bytchk);
			if (!placeRange(unit, task, lba.get(cdb), verificationLength.get(cdb))) return lbaOutOfRange(unit, task);
			if (task.lengthBytes === 0) return 'finished';
			if (check === readable) return verifyReadable(unit, task, limits.pieceBytes);
			if (task.lengthBytes > limits.parameterBytesMax) return unit.invalidField(task, verificationLength);
			return collect(task, task.lengthBytes);
		},
		parameters(unit, task, data) {
			if (data.length < task.lengthBytes) return unit.check(task, illegal(additionalSense.parameterListLengthError));
			return verifyEqual(unit, task, data);
		},
	});
}

/** On a medium error it looks again page by page, so that INFORMATION can name the place. */
export function verifyReadable(unit: LogicalUnit, task: ScsiTask, pieceBytes: number): 'pending' {
	const endBytes = task.offsetBytes + task.lengthBytes;
	const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, task.lengthBytes));
	return walkRange(unit, task, pieceBytes, {
		issue: (offsetBytes, lengthBytes) => unit.device.read(offsetBytes, buffer.subarray(0, lengthBytes), task),
		failed(outcome, offsetBytes) {
			if (outcome !== 'mediumError' || pieceBytes === physicalBlockBytes) {
				unit.fail(task, outcome, offsetBytes);
				return false;
			}
			task.offsetBytes = offsetBytes;
			task.lengthBytes = endBytes - offsetBytes;
			verifyReadable(unit, task, physicalBlockBytes);
			return true;
		},
	});
}

/** Compares the medium with the data-out. */
export function verifyEqual(unit: LogicalUnit, task: ScsiTask, data: Buffer): 'pending' {
	const startBytes = task.offsetBytes;
	const buffer = Buffer.allocUnsafe(Math.min(limits.pieceBytes, task.lengthBytes));
	return walkRange(unit, task, limits.pieceBytes, {
		issue: (offsetBytes, lengthBytes) => unit.device.read(offsetBytes, buffer.subarray(0, lengthBytes), task),
		visited(offsetBytes, lengthBytes) {
			const from = offsetBytes - startBytes;
			if (buffer.compare(data, from, from + lengthBytes, 0, lengthBytes) === 0) return true;
			unit.check(task, { key: senseKey.miscompare, code: additionalSense.miscompareDuringVerifyOperation });
			return false;
		},
	});
}
