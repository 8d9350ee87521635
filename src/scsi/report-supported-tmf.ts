import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import { bits, u32be } from './field.ts';
import { limits } from './limits.ts';

const repd = bits(2, 7, 1);
const allocationLength = u32be(6);

/** SPC-4, REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS basic parameter data: those that the iSCSI transport carries out. */
const functions = {
	abortTask: bits(0, 7, 1),
	abortTaskSet: bits(0, 6, 1),
	clearTaskSet: bits(0, 4, 1),
	logicalUnitReset: bits(0, 3, 1),
	targetReset: bits(0, 1, 1),
};
const basicLength = 4;
/** With REPD the time-outs follow, in units of 100 ms: one for all functions, the long one. */
const extendedLength = 16;
const timeouts = { tmftmov: bits(4, 0, 1), longTimeout: u32be(8) };

export const reportSupportedTaskManagementFunctions = defineCommand({
	name: 'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS',
	opcode: 0xa3,
	serviceAction: 0x0d,
	lengthBytes: 12,
	fields: { repd, allocationLength },
	reservation: 'read',
	start(unit, task) {
		// SPC-4: at least the basic data must find room.
		if (allocationLength.get(task.cdb) < basicLength) return unit.invalidField(task, allocationLength);
		const extended = repd.get(task.cdb) !== 0;
		const data = Buffer.alloc(extended ? extendedLength : basicLength);
		for (const each of Object.values(functions)) each.set(data, 1);
		if (extended) {
			data[3] = extendedLength - basicLength;
			timeouts.tmftmov.set(data, 1);
			timeouts.longTimeout.set(data, limits.taskManagementTimeoutSeconds * 10);
		}
		return answer(task, data, allocationLength.get(task.cdb));
	},
});
