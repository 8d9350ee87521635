import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import { u32be, u8 } from './field.ts';
import type { Nexus, TargetPort } from './nexus.ts';
import { invalidFieldInCdb, senseData } from './sense.ts';
import { status } from './task.ts';
import type { ScsiTask } from './task.ts';

const selectReport = u8(2);
const allocationLength = u32be(6);

/** SPC-4, SELECT REPORT: all but well known logical units, these alone (there are none), everything. */
const selectReports = { addressable: 0x00, wellKnown: 0x01, all: 0x02 } as const;

export const reportLunsCommand = defineCommand({
	name: 'REPORT LUNS',
	opcode: 0xa0,
	lengthBytes: 12,
	fields: { selectReport, allocationLength },
	reservation: 'free',
	attention: 'exempt',
	duringSanitize: true,
	start: (_unit, task, nexus) => reportLuns(nexus.port, task, nexus),
});

/** Also for a LUN with nothing behind it. Without a port the inventory is empty. */
export function reportLuns(port: TargetPort | undefined, task: ScsiTask, nexus: Nexus): 'finished' {
	const select = selectReport.get(task.cdb);
	if (select > selectReports.all) {
		task.status = status.checkCondition;
		task.sense = senseData(invalidFieldInCdb(selectReport), 'fixed');
		return 'finished';
	}
	const luns = select === selectReports.wellKnown ? [] : (port?.luns() ?? []);
	const data = Buffer.alloc(8 + 8 * luns.length);
	data.writeUInt32BE(8 * luns.length, 0);
	// SAM-5, peripheral device addressing on bus 0: limits.lunsPerTarget keeps every LUN within its 8 bits.
	for (const [index, lun] of luns.entries()) data[8 + 8 * index + 1] = lun;
	port?.lunsReported(nexus);
	return answer(task, data, allocationLength.get(task.cdb));
}
