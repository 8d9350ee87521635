import { collect } from './answer.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u16be, u8 } from './field.ts';
import type { Field } from './field.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { findModePage } from './mode-pages.ts';
import type { ModePage } from './mode-pages.ts';
import { longDescriptor, modeHeader10, modeHeader6, shortDescriptor } from './mode-parameters.ts';
import type { BlockDescriptor, ModeHeader } from './mode-parameters.ts';
import { additionalSense, illegal, invalidFieldInParameterList } from './sense.ts';
import type { Sense } from './sense.ts';
import { flush } from './synchronize-cache.ts';
import type { NextStep, ScsiTask } from './task.ts';

const pf = bits(1, 4, 1);
const sp = bits(1, 0, 1);

export const modeSelect6 = modeSelect('MODE SELECT (6)', 0x15, 6, modeHeader6, u8(4));
export const modeSelect10 = modeSelect('MODE SELECT (10)', 0x55, 10, modeHeader10, u16be(7));

/** SPC-4, MODE SELECT: all pages of the list, or none: the first value that cannot be changed is refused, and pointed at. */
function modeSelect(name: string, opcode: number, lengthBytes: 6 | 10, header: ModeHeader, parameterListLength: Field): Command {
	return defineCommand({
		name,
		opcode,
		lengthBytes,
		fields: { pf, sp, parameterListLength },
		reservation: 'write',
		start(unit, task, nexus) {
			task.nexus = nexus;
			// Pages cannot be saved.
			if (sp.get(task.cdb) !== 0) return unit.invalidField(task, sp);
			const listLength = parameterListLength.get(task.cdb);
			// PF 0: pages of a form that SPC-4 leaves to the vendor.
			if (pf.get(task.cdb) === 0 && listLength > 0) return unit.invalidField(task, pf);
			return collect(task, listLength);
		},
		parameters(unit, task, data) {
			const list = data.length < task.lengthBytes ? lengthError : readList(unit, header, data);
			return Array.isArray(list) ? apply(unit, task, list) : unit.check(task, list);
		},
	});
}

interface WantedPage {
	readonly page: ModePage;
	readonly values: Buffer;
}

/** The other nexuses learn that something changed. Who switches the write cache off waits until what it held is on stable storage. */
function apply(unit: LogicalUnit, task: ScsiTask, wanted: readonly WantedPage[]): NextStep {
	const wasWriteBack = unit.mode.isWriteBack;
	let isChanged = false;
	for (const { page, values } of wanted) isChanged = unit.mode.set(page, values) || isChanged;
	if (isChanged) unit.raiseForOthers(additionalSense.modeParametersChanged, task.nexus);
	return wasWriteBack && !unit.mode.isWriteBack ? flush(unit, task) : 'finished';
}

const lengthError: Sense = illegal(additionalSense.parameterListLengthError);

function readList(unit: LogicalUnit, header: ModeHeader, data: Buffer): WantedPage[] | Sense {
	if (data.length < header.lengthBytes) return lengthError;
	if (header.mediumType.get(data) !== 0) return invalidFieldInParameterList(header.mediumType);
	const descriptorLength = header.blockDescriptorLength.get(data);
	const layout = header.longlba?.get(data) === 1 ? longDescriptor : shortDescriptor;
	if (descriptorLength !== 0 && descriptorLength !== layout.lengthBytes) return invalidFieldInParameterList(header.blockDescriptorLength);
	let at = header.lengthBytes + descriptorLength;
	if (at > data.length) return lengthError;
	if (descriptorLength !== 0) {
		const wrong = checkDescriptor(unit, layout, data.subarray(header.lengthBytes, at), header.lengthBytes);
		if (wrong !== undefined) return wrong;
	}
	const wanted: WantedPage[] = [];
	while (at < data.length) {
		const code = data[at]! & 0x3f;
		const isSubpage = (data[at]! & 0x40) !== 0;
		if (findModePage(code, 0) === undefined) return invalidFieldInParameterList({ byte: at, bit: 5 });
		if (at + 1 === data.length) return lengthError;
		const page = findModePage(code, isSubpage ? data[at + 1]! : 0);
		// A subpage 0 has no SPF.
		if (page === undefined || isSubpage === (page.subpage === 0)) return invalidFieldInParameterList({ byte: at, bit: 6 });
		const { headerLength } = page;
		const { length } = page.defaults;
		if (at + headerLength > data.length) return lengthError;
		for (let index = 1; index < headerLength; index++)
			if (data[at + index] !== page.defaults[index]) return invalidFieldInParameterList({ byte: at + index, bit: 7 });
		if (at + length > data.length) return lengthError;
		const current = unit.mode.current(page);
		for (let index = headerLength; index < length; index++) {
			const difference = (data[at + index]! ^ current[index]!) & ~page.changeable[index]!;
			if (difference !== 0) return invalidFieldInParameterList({ byte: at + index, bit: 31 - Math.clz32(difference) });
		}
		// PS is reserved here, whatever MODE SENSE said.
		wanted.push({ page, values: Buffer.concat([page.defaults.subarray(0, headerLength), data.subarray(at + headerLength, at + length)]) });
		at += length;
	}
	return wanted;
}

/** SBC-3: NUMBER OF LOGICAL BLOCKS may be the capacity, 0 (keep it) or all ones (the largest there is). */
function checkDescriptor(unit: LogicalUnit, layout: BlockDescriptor, descriptor: Buffer, at: number): Sense | undefined {
	const blocks = layout.numberOfLogicalBlocks.get(descriptor);
	if (blocks !== 0 && blocks !== layout.allBlocks && blocks !== unit.blocks)
		return invalidFieldInParameterList(layout.numberOfLogicalBlocks, at);
	if (layout.logicalBlockLength.get(descriptor) !== unit.device.blockSize)
		return invalidFieldInParameterList(layout.logicalBlockLength, at);
	return undefined;
}
