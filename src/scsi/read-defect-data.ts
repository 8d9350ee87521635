import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import { bits, u16be, u32be } from './field.ts';
import type { Field } from './field.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { ScsiTask } from './task.ts';

/** REQ_PLIST, REQ_GLIST and DEFECT LIST FORMAT stand side by side, in another byte of each CDB; so do their echoes in byte 1 of the answer. */
function listFields(byte: number) {
	return { reqPlist: bits(byte, 4, 1), reqGlist: bits(byte, 3, 1), defectListFormat: bits(byte, 0, 3) };
}

const returned = { plistv: bits(1, 4, 1), glistv: bits(1, 3, 1), defectListFormat: bits(1, 0, 3) };
/** SBC-3: 111b is reserved. */
const reservedFormat = 0b111;

const fields10 = { ...listFields(2), allocationLength: u16be(7) };
const fields12 = { ...listFields(1), addressDescriptorIndex: u32be(2), allocationLength: u32be(6) };

/** SBC-3, READ DEFECT DATA (10). A volume has no sectors of its own that could be reassigned, so both lists are there and empty, in whatever format. */
export const readDefectData10 = defineCommand({
	name: 'READ DEFECT DATA (10)',
	opcode: 0x37,
	lengthBytes: 10,
	fields: fields10,
	reservation: 'read',
	start: (unit, task) => emptyLists(unit, task, fields10, 4),
});

export const readDefectData12 = defineCommand({
	name: 'READ DEFECT DATA (12)',
	opcode: 0xb7,
	lengthBytes: 12,
	fields: fields12,
	reservation: 'read',
	start(unit, task) {
		// There is no descriptor to begin with but the first that is not there.
		if (fields12.addressDescriptorIndex.get(task.cdb) !== 0) return unit.invalidField(task, fields12.addressDescriptorIndex);
		return emptyLists(unit, task, fields12, 8);
	},
});

function emptyLists(
	unit: LogicalUnit,
	task: ScsiTask,
	fields: ReturnType<typeof listFields> & { allocationLength: Field },
	headerLength: number,
): 'finished' {
	const { cdb } = task;
	if (fields.defectListFormat.get(cdb) === reservedFormat) return unit.invalidField(task, fields.defectListFormat);
	const data = Buffer.alloc(headerLength);
	returned.plistv.set(data, fields.reqPlist.get(cdb));
	returned.glistv.set(data, fields.reqGlist.get(cdb));
	returned.defectListFormat.set(data, fields.defectListFormat.get(cdb));
	return answer(task, data, fields.allocationLength.get(cdb));
}
