import assert from 'node:assert/strict';
import type { Outcome } from '../blockvol/block-device.ts';
import type { SanitizeOrder } from '../blockvol/sanitize-record.ts';
import { collect, finish } from './answer.ts';
import { defineCommand } from './command.ts';
import type { Command, CommandRow } from './command.ts';
import { bits, u16be, u32be, u8 } from './field.ts';
import type { Field } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { additionalSense, illegal, invalidFieldInParameterList } from './sense.ts';
import { status } from './task.ts';
import type { NextStep, ScsiTask } from './task.ts';

const immed = bits(1, 7, 1);
const znr = bits(1, 6, 1);
const ause = bits(1, 5, 1);
const parameterListLength = u16be(7);
/** Looked at: a command that destroys everything is refused rather than half understood. */
const reserved = [u32be(2), u8(6)] as const;

/** SBC-4, OVERWRITE service action parameter list. */
const list = { invert: bits(0, 7, 1), test: bits(0, 5, 2), overwriteCount: bits(0, 0, 5), initializationPatternLength: u16be(2) };
const listHeaderBytes = 4;

/** SBC-4, SANITIZE. */
export const sanitizeOverwrite = sanitizeCommand('OVERWRITE', 0x01, {
	start(unit, task) {
		const refused = refusal(unit, task);
		if (refused !== undefined) return unit.invalidField(task, refused);
		const length = parameterListLength.get(task.cdb);
		if (length <= listHeaderBytes || length > listHeaderBytes + unit.device.blockSize) return unit.invalidField(task, parameterListLength);
		return collect(task, length);
	},
	parameters(unit, task, data) {
		if (data.length < task.lengthBytes) return unit.check(task, illegal(additionalSense.parameterListLengthError));
		const patternLength = list.initializationPatternLength.get(data);
		const fields: [Field, boolean][] = [
			// Nothing is tested that way here.
			[list.test, list.test.get(data) === 0],
			[list.overwriteCount, list.overwriteCount.get(data) > 0],
			[list.initializationPatternLength, patternLength > 0 && patternLength <= unit.device.blockSize],
		];
		const wrong = fields.find(([, isRight]) => !isRight);
		if (wrong !== undefined) return unit.check(task, invalidFieldInParameterList(wrong[0]));
		if (listHeaderBytes + patternLength > data.length) return unit.check(task, illegal(additionalSense.parameterListLengthError));
		return begin(unit, task, {
			method: 'overwrite',
			passes: list.overwriteCount.get(data),
			invert: list.invert.get(data) !== 0,
			pattern: Uint8Array.from(data.subarray(listHeaderBytes, listHeaderBytes + patternLength)),
			mayExitFailure: ause.get(task.cdb) !== 0,
		});
	},
});

export const sanitizeBlockErase = sanitizeCommand('BLOCK ERASE', 0x02, {
	start(unit, task) {
		const refused = refusal(unit, task) ?? listOf(task);
		if (refused !== undefined) return unit.invalidField(task, refused);
		const mayExitFailure = ause.get(task.cdb) !== 0;
		return begin(unit, task, { method: 'blockErase', passes: 1, invert: false, pattern: new Uint8Array(1), mayExitFailure });
	},
});

/** Where nothing has failed it changes nothing. */
export const sanitizeExitFailureMode = sanitizeCommand('EXIT FAILURE MODE', 0x1f, {
	start(unit, task) {
		const { sanitizer } = unit.device;
		assert(sanitizer !== undefined);
		const refused = reservedOf(task) ?? listOf(task);
		if (refused !== undefined) return unit.invalidField(task, refused);
		// The restricted completion mode ends with another sanitize operation only.
		if (sanitizer.state?.kind === 'failed' && !sanitizer.state.mayExitFailure) return unit.invalidField(task, serviceActionField);
		task.onOutcome = (done, outcome) => {
			if (outcome !== 'good') unit.fail(done, outcome);
			finish(done);
		};
		sanitizer.exitFailure(task);
		return 'pending';
	},
});

const serviceActionField = bits(1, 0, 5);

function sanitizeCommand(name: string, serviceAction: number, steps: Pick<CommandRow, 'start' | 'parameters'>): Command {
	return defineCommand({
		name: `SANITIZE, ${name}`,
		opcode: 0x48,
		serviceAction,
		lengthBytes: 10,
		fields: { immed, znr, ause, reserved2: reserved[0], reserved6: reserved[1], parameterListLength },
		reservation: 'write',
		access: 'write',
		duringSanitize: true,
		isOffered: ({ device: { sanitizer } }) => sanitizer !== undefined && (sanitizer.isAllowed || sanitizer.state !== undefined),
		timeoutSeconds: limits.sanitizeTimeoutSeconds,
		...steps,
		start(unit, task, nexus) {
			const state = unit.device.sanitizer?.state;
			if (state?.kind === 'running') {
				unit.fail(task, 'sanitizing');
				return 'finished';
			}
			return steps.start(unit, task, nexus);
		},
	});
}

/** The field for which an order to sanitize is refused. */
function refusal(unit: LogicalUnit, task: ScsiTask): Field | undefined {
	const state = unit.device.sanitizer?.state;
	// After a failure in the restricted completion mode the next order has to be in it, too.
	if (state?.kind === 'failed' && !state.mayExitFailure && ause.get(task.cdb) !== 0) return ause;
	return reservedOf(task);
}

/** ZNR is for zoned devices. */
function reservedOf({ cdb }: ScsiTask): Field | undefined {
	return [znr, ...reserved].find((field) => field.get(cdb) !== 0);
}

function listOf({ cdb }: ScsiTask): Field | undefined {
	return parameterListLength.get(cdb) === 0 ? undefined : parameterListLength;
}

function begin(unit: LogicalUnit, task: ScsiTask, order: SanitizeOrder): NextStep {
	const { sanitizer } = unit.device;
	// isOffered: without one nobody would ever complete the task.
	assert(sanitizer !== undefined);
	const waits = immed.get(task.cdb) === 0;
	/** The task is another command's once it has ended. */
	let watched: ScsiTask | undefined = task;
	const end = (outcome: Outcome | 'kept' | 'aborted'): void => {
		if (watched === undefined) return;
		const ended = watched;
		watched = undefined;
		if (outcome === 'aborted') ended.status = status.taskAborted;
		else if (outcome === 'kept') unit.check(ended, illegal(additionalSense.commandSequenceError));
		else if (outcome !== 'good') unit.fail(ended, outcome);
		finish(ended);
	};
	sanitizer.begin(order, {
		begun: (answer) => {
			if (answer !== 'good' || !waits) end(answer);
		},
		// What was begun goes on whatever becomes of the task (SBC-4, performing a sanitize operation).
		moved: () => {
			if (watched?.aborted === true) end('aborted');
		},
		ended: (outcome) => end(outcome),
	});
	return 'pending';
}
