import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import { bits, u16be, u8 } from './field.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { status } from './task.ts';
import { thresholdSets } from './thin-space.ts';

const sp = bits(1, 0, 1);
const pageControl = bits(2, 6, 2);
const pageCode = bits(2, 0, 6);
const subpageCode = u8(3);
const parameterPointer = u16be(5);
const allocationLength = u16be(7);

/** SPC-4, PC: cumulative values. There are no thresholds and no defaults. */
const cumulative = 1;
const subpageFormat = 0x40;
const allSubpages = 0xff;

interface LogParameter {
	readonly code: number;
	readonly value: Buffer;
}

interface LogPage {
	isThere(unit: LogicalUnit): boolean;
	/** Ascending; undefined while they are not known. */
	parameters(unit: LogicalUnit): readonly LogParameter[] | undefined;
}

/** SBC-3, Logical Block Provisioning log page: resource counts in threshold sets, SCOPE 10b what others may take too, 01b what the unit has for itself. */
const provisioning: LogPage = {
	isThere: (unit) => unit.hasThresholds,
	parameters(unit) {
		const space = unit.space();
		if (space === undefined) return undefined;
		return [
			{ code: 0x0001, value: resource(space.availableBytes, 0b10) },
			{ code: 0x0002, value: resource(space.usedBytes, 0b01) },
		];
	},
};

function resource(bytes: number, scope: number): Buffer {
	const value = Buffer.alloc(8);
	value.writeUInt32BE(thresholdSets(bytes));
	value[4] = scope;
	return value;
}

/** SPC-4, Informational Exceptions log page: none, and no temperature. */
const informationalExceptions: LogPage = {
	isThere: () => true,
	parameters: () => [{ code: 0x0000, value: Buffer.from([0, 0, 0xff, 0]) }],
};

const pages: ReadonlyMap<number, LogPage> = new Map([
	[0x0c, provisioning],
	[0x2f, informationalExceptions],
]);

/** SPC-4, control byte of a parameter that is kept as a binary list. */
const binaryList = 0x03;

/** SPC-4, LOG SENSE. */
export const logSense = defineCommand({
	name: 'LOG SENSE',
	opcode: 0x4d,
	lengthBytes: 10,
	fields: { sp, pageControl, pageCode, subpageCode, parameterPointer, allocationLength },
	reservation: 'read',
	start(unit, task) {
		const { cdb } = task;
		// Nothing is saved.
		if (sp.get(cdb) !== 0) return unit.invalidField(task, sp);
		const code = pageCode.get(cdb);
		const subpage = subpageCode.get(cdb);
		if (subpage !== 0 && !(code === 0 && subpage === allSubpages)) return unit.invalidField(task, subpageCode);
		if (code === 0) {
			if (parameterPointer.get(cdb) !== 0) return unit.invalidField(task, parameterPointer);
			return answer(task, listOfPages(unit, subpage), allocationLength.get(cdb));
		}
		const wantedPage = pages.get(code);
		if (wantedPage?.isThere(unit) !== true) return unit.invalidField(task, pageCode);
		if (pageControl.get(cdb) !== cumulative) return unit.invalidField(task, pageControl);
		const parameters = wantedPage.parameters(unit);
		if (parameters === undefined) {
			task.status = status.busy;
			return 'finished';
		}
		const pointer = parameterPointer.get(cdb);
		const wanted = parameters.filter((parameter) => parameter.code >= pointer);
		if (wanted.length === 0) return unit.invalidField(task, parameterPointer);
		return answer(task, page(code, 0, Buffer.concat(wanted.map(encoded))), allocationLength.get(cdb));
	},
});

/** Supported Log Pages, or with all subpages their code and subpage in two bytes. */
function listOfPages(unit: LogicalUnit, subpage: number): Buffer {
	const codes = [0x00, ...[...pages].filter(([, one]) => one.isThere(unit)).map(([code]) => code)];
	return subpage === 0
		? page(0, 0, Buffer.from(codes))
		: page(0, subpage, Buffer.from([0, 0, 0, allSubpages, ...codes.slice(1).flatMap((code) => [code, 0])]));
}

function encoded({ code, value }: LogParameter): Buffer {
	const header = Buffer.from([code >> 8, code & 0xff, binaryList, value.length]);
	return Buffer.concat([header, value]);
}

function page(code: number, subpage: number, content: Buffer): Buffer {
	const header = Buffer.from([subpage === 0 ? code : code | subpageFormat, subpage, 0, 0]);
	header.writeUInt16BE(content.length, 2);
	return Buffer.concat([header, content]);
}
