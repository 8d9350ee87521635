import { defineCommand } from './command.ts';
import { bits } from './field.ts';
import { limits } from './limits.ts';
import { flush, flushUnwatched } from './synchronize-cache.ts';

/** Reads go on whatever the volume's state, so a unit that exists is ready. */
export const testUnitReady = defineCommand({
	name: 'TEST UNIT READY',
	opcode: 0x00,
	lengthBytes: 6,
	fields: {},
	reservation: 'ready',
	start(unit) {
		unit.checkSpace();
		return 'finished';
	},
});

const immed = bits(1, 0, 1);
const powerCondition = bits(4, 4, 4);
const noFlush = bits(4, 2, 1);
const loej = bits(4, 1, 1);
const startBit = bits(4, 0, 1);

/**
 * SBC-3, START STOP UNIT. Stop makes everything durable and no more: there is nothing to spin down, and one initiator does not take the volume from the
 * others. Power conditions are not supported, nor is loading (the medium is not removable).
 */
export const startStopUnit = defineCommand({
	name: 'START STOP UNIT',
	opcode: 0x1b,
	lengthBytes: 6,
	fields: { immed, powerCondition, noFlush, loej, startBit },
	timeoutSeconds: limits.longTimeoutSeconds,
	reservation: (cdb) => (startBit.get(cdb) === 1 && powerCondition.get(cdb) === 0 ? 'free' : 'write'),
	start(unit, task, nexus) {
		const { cdb } = task;
		if (powerCondition.get(cdb) !== 0) return unit.invalidField(task, powerCondition);
		if (loej.get(cdb) !== 0) return unit.invalidField(task, loej);
		if (startBit.get(cdb) !== 0 || noFlush.get(cdb) !== 0) return 'finished';
		return immed.get(cdb) === 0 ? flush(unit, task) : flushUnwatched(unit, nexus);
	},
});

const prevent = bits(4, 0, 2);

/** The medium is not removable, so preventing its removal changes nothing; 10b and 11b are obsolete. */
export const preventAllowMediumRemoval = defineCommand({
	name: 'PREVENT ALLOW MEDIUM REMOVAL',
	opcode: 0x1e,
	lengthBytes: 6,
	fields: { prevent },
	reservation: (cdb) => (prevent.get(cdb) === 0 ? 'free' : 'write'),
	start: (unit, task) => (prevent.get(task.cdb) > 1 ? unit.invalidField(task, prevent) : 'finished'),
});
