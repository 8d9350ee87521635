import { writeBytesMax } from '../blockvol/block-device.ts';
import { collect } from './answer.ts';
import { lbaOutOfRange, placeRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u16be, u32be, u64be } from './field.ts';
import type { Field } from './field.ts';
import { limits } from './limits.ts';
import { walkRange } from './range-walk.ts';
import { verifyEqual, verifyReadable } from './verify.ts';

const wrprotect = bits(1, 5, 3);
const dpo = bits(1, 4, 1);
const bytchk = bits(1, 1, 2);

/** SBC-3, BYTCHK: 00b the blocks are readable, 01b they hold what was sent. */
const compare = 0b01;

export const writeAndVerify10 = writeAndVerify('WRITE AND VERIFY (10)', 0x2e, 10, u32be(2), u16be(7));
export const writeAndVerify12 = writeAndVerify('WRITE AND VERIFY (12)', 0xae, 12, u32be(2), u32be(6));
export const writeAndVerify16 = writeAndVerify('WRITE AND VERIFY (16)', 0x8e, 16, u64be(2), u32be(10));

/** SBC-3, WRITE AND VERIFY: writes to stable storage, because that is what is to be verified, then reads it back. As with WRITE, whole blocks of a shorter data-out are written. */
function writeAndVerify(name: string, opcode: number, lengthBytes: 10 | 12 | 16, lba: Field, transferLength: Field): Command {
	return defineCommand({
		name,
		opcode,
		lengthBytes,
		fields: { wrprotect, dpo, bytchk, lba, transferLength },
		reservation: 'write',
		timeoutSeconds: limits.longTimeoutSeconds,
		access: 'write',
		start(unit, task) {
			const { cdb } = task;
			if (wrprotect.get(cdb) !== 0) return unit.invalidField(task, wrprotect);
			if (bytchk.get(cdb) > compare) return unit.invalidField(task, bytchk);
			if (!placeRange(unit, task, lba.get(cdb), transferLength.get(cdb))) return lbaOutOfRange(unit, task);
			if (task.lengthBytes > limits.parameterBytesMax) return unit.invalidField(task, transferLength);
			return collect(task, task.lengthBytes);
		},
		parameters(unit, task, data) {
			const { offsetBytes } = task;
			task.lengthBytes = data.length - (data.length % unit.device.blockSize);
			if (task.lengthBytes === 0) return 'finished';
			const verify = (): void => {
				if (bytchk.get(task.cdb) === compare) verifyEqual(unit, task, data);
				else verifyReadable(unit, task, limits.pieceBytes);
			};
			const issue = (at: number, pieceBytes: number): void =>
				unit.device.write(at, data.subarray(at - offsetBytes, at - offsetBytes + pieceBytes), true, task);
			return walkRange(unit, task, writeBytesMax, { issue }, verify);
		},
	});
}
