import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u16be, u32be, u8 } from './field.ts';

const rctd = bits(2, 7, 1);
const reportingOptions = bits(2, 0, 3);
const requestedOperationCode = u8(3);
const requestedServiceAction = u16be(4);
const allocationLength = u32be(6);

/** SPC-4, REPORTING OPTIONS. */
const all = 0;
const oneWithoutServiceAction = 1;
const oneWithServiceAction = 2;
const oneEitherWay = 3;

/** SPC-4, SUPPORT. */
const notSupported = 1;
const asInStandard = 3;

/** SPC-4, command time-outs descriptor, in seconds. NOMINAL COMMAND PROCESSING TIMEOUT is 0: none is stated. */
const timeouts = { descriptorLength: u16be(0), recommendedCommandTimeout: u32be(8) };
const timeoutsLength = 12;

function timeoutsOf(command: Command): Buffer {
	const data = Buffer.alloc(timeoutsLength);
	timeouts.descriptorLength.set(data, timeoutsLength - 2);
	timeouts.recommendedCommandTimeout.set(data, command.timeoutSeconds);
	return data;
}

/** REPORT SUPPORTED OPERATION CODES over a dispatch table. */
export function defineReportSupportedOperationCodes(commands: () => readonly Command[]): Command {
	return defineCommand({
		name: 'REPORT SUPPORTED OPERATION CODES',
		opcode: 0xa3,
		serviceAction: 0x0c,
		lengthBytes: 12,
		fields: { rctd, reportingOptions, requestedOperationCode, requestedServiceAction, allocationLength },
		reservation: 'read',
		start(unit, task) {
			const { cdb } = task;
			const offered = commands().filter((command) => command.isOffered(unit));
			const withTimeouts = rctd.get(cdb) !== 0;
			const options = reportingOptions.get(cdb);
			if (options === all) return answer(task, allCommands(offered, withTimeouts), allocationLength.get(cdb));
			if (options > oneEitherWay) return unit.invalidField(task, reportingOptions);
			const opcode = requestedOperationCode.get(cdb);
			const serviceAction = requestedServiceAction.get(cdb);
			const ofOpcode = offered.filter((command) => command.opcode === opcode);
			const hasServiceActions = ofOpcode.some((command) => command.serviceAction !== undefined);
			if (options === oneWithoutServiceAction && hasServiceActions) return unit.invalidField(task, reportingOptions);
			if (options === oneWithServiceAction && ofOpcode.length > 0 && !hasServiceActions) return unit.invalidField(task, reportingOptions);
			// Option 3: an operation code without service actions is asked for with 0.
			const wanted = hasServiceActions || serviceAction !== 0 ? serviceAction : undefined;
			const match = ofOpcode.find((command) => options === oneWithoutServiceAction || command.serviceAction === wanted);
			return answer(task, oneCommand(match, withTimeouts), allocationLength.get(cdb));
		},
	});
}

function allCommands(commands: readonly Command[], withTimeouts: boolean): Buffer {
	const descriptors = commands.flatMap((command) => {
		const data = Buffer.alloc(8);
		data[0] = command.opcode;
		data.writeUInt16BE(command.serviceAction ?? 0, 2);
		data[5] = (withTimeouts ? 0x02 : 0) | (command.serviceAction === undefined ? 0 : 0x01);
		data.writeUInt16BE(command.usage.length, 6);
		return withTimeouts ? [data, timeoutsOf(command)] : [data];
	});
	const content = Buffer.concat(descriptors);
	const header = Buffer.alloc(4);
	header.writeUInt32BE(content.length);
	return Buffer.concat([header, content]);
}

function oneCommand(command: Command | undefined, withTimeouts: boolean): Buffer {
	if (command === undefined) return Buffer.from([0, notSupported, 0, 0]);
	const header = Buffer.alloc(4);
	header[1] = (withTimeouts ? 0x80 : 0) | asInStandard;
	header.writeUInt16BE(command.usage.length, 2);
	return Buffer.concat([header, Buffer.from(command.usage), ...(withTimeouts ? [timeoutsOf(command)] : [])]);
}
