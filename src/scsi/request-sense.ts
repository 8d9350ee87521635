import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import { bits, u8 } from './field.ts';
import { sanitizeSense } from './sanitize-sense.ts';
import { additionalSense, illegal, senseData, senseKey } from './sense.ts';
import type { Sense } from './sense.ts';
import type { ScsiTask } from './task.ts';

const desc = bits(1, 0, 1);
const allocationLength = u8(4);

/** Up to ADDITIONAL SENSE CODE QUALIFIER in fixed format. */
const shortest = 14;
const nothing: Sense = { key: senseKey.noSense, code: additionalSense.noAdditionalSenseInformation };

/** Sense data otherwise comes with CHECK CONDITION; what is left to ask for is a unit attention or a deferred error (SPC-4, REQUEST SENSE). */
export const requestSense = defineCommand({
	name: 'REQUEST SENSE',
	opcode: 0x03,
	lengthBytes: 6,
	fields: { desc, allocationLength },
	reservation: 'free',
	attention: 'exempt',
	duringSanitize: true,
	start(unit, task, nexus) {
		// A condition that the allocation length would cut off has not been told, so it stays.
		if (allocationLength.get(task.cdb) < shortest) return respond(task, nothing);
		// First, since initiators ask again and again how far it is; what else they are to be told waits.
		const sanitize = unit.device.sanitizer?.state;
		if (sanitize !== undefined) return respond(task, sanitizeSense(sanitize));
		const code = unit.takeAttention(nexus);
		if (code !== undefined) return respond(task, { key: senseKey.unitAttention, code });
		return respond(task, unit.takeDeferred(nexus) ?? nothing);
	},
});

export function absentRequestSense(task: ScsiTask): 'finished' {
	return respond(task, illegal(additionalSense.logicalUnitNotSupported));
}

function respond(task: ScsiTask, sense: Sense): 'finished' {
	return answer(task, senseData(sense, desc.get(task.cdb) === 0 ? 'fixed' : 'descriptor'), allocationLength.get(task.cdb));
}
