import { lbaOutOfRange, placeRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u16be, u21be, u32be, u64be, u8 } from './field.ts';
import type { Field } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { NextStep, ScsiTask } from './task.ts';

/** RDPROTECT or WRPROTECT, DPO and FUA stand alike in all CDBs but the 6-byte ones. DPO is taken and means nothing: the cache is the kernel's. */
const protect = bits(1, 5, 3);
const dpo = bits(1, 4, 1);
const fua = bits(1, 3, 1);

const address10 = { lba: u32be(2), transferLength: u16be(7) };
const address12 = { lba: u32be(2), transferLength: u32be(6) };
const address16 = { lba: u64be(2), transferLength: u32be(10) };

interface Address {
	lba: Field;
	transferLength: Field;
}

/** SBC-3, READ (6). */
export const read6 = transfer6('READ (6)', 0x08, 'read');
export const read10 = transfer('READ (10)', 0x28, 10, 'read', address10);
export const read12 = transfer('READ (12)', 0xa8, 12, 'read', address12);
export const read16 = transfer('READ (16)', 0x88, 16, 'read', address16);
export const write6 = transfer6('WRITE (6)', 0x0a, 'write');
export const write10 = transfer('WRITE (10)', 0x2a, 10, 'write', address10);
export const write12 = transfer('WRITE (12)', 0xaa, 12, 'write', address12);
export const write16 = transfer('WRITE (16)', 0x8a, 16, 'write', address16);

function transfer(
	name: string,
	opcode: number,
	lengthBytes: 10 | 12 | 16,
	access: 'read' | 'write',
	{ lba, transferLength }: Address,
): Command {
	return defineCommand({
		name,
		opcode,
		lengthBytes,
		fields: { protect, dpo, fua, lba, transferLength },
		reservation: access,
		access,
		start(unit, task) {
			const { cdb } = task;
			if (protect.get(cdb) !== 0) return unit.invalidField(task, protect);
			task.fua = fua.get(cdb) !== 0;
			return begin(unit, task, lba.get(cdb), transferLength.get(cdb), access, transferLength);
		},
	});
}

/** No FUA, and no way to say "no blocks": a transfer length of 0 is 256 blocks. */
function transfer6(name: string, opcode: number, access: 'read' | 'write'): Command {
	const lba = u21be(1);
	const transferLength = u8(4);
	return defineCommand({
		name,
		opcode,
		lengthBytes: 6,
		fields: { lba, transferLength },
		reservation: access,
		access,
		start(unit, task) {
			return begin(unit, task, lba.get(task.cdb), transferLength.get(task.cdb) || 256, access, transferLength);
		},
	});
}

function begin(unit: LogicalUnit, task: ScsiTask, lba: number, blocks: number, access: 'read' | 'write', transferLength: Field): NextStep {
	if (!placeRange(unit, task, lba, blocks)) return lbaOutOfRange(unit, task);
	if (task.lengthBytes > limits.transferBytesMax) return unit.invalidField(task, transferLength);
	if (!unit.mode.isWriteBack && access === 'write') task.fua = true;
	return blocks === 0 ? 'finished' : access;
}
