import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u16be, u8 } from './field.ts';
import type { Field } from './field.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { findModePage, modePages } from './mode-pages.ts';
import type { ModePage } from './mode-pages.ts';
import { blockDescriptor, longDescriptor, modeHeader10, modeHeader6, shortDescriptor } from './mode-parameters.ts';
import type { ModeHeader } from './mode-parameters.ts';
import { additionalSense, illegal } from './sense.ts';

const dbd = bits(1, 3, 1);
const pageControl = bits(2, 6, 2);
const pageCode = bits(2, 0, 6);
const subpageCode = u8(3);

/** SPC-4, PC. */
const current = 0;
const changeable = 1;
const saved = 3;
const allPages = 0x3f;
const allSubpages = 0xff;

export const modeSense6 = modeSense('MODE SENSE (6)', 0x1a, 6, modeHeader6, undefined, u8(4));
export const modeSense10 = modeSense('MODE SENSE (10)', 0x5a, 10, modeHeader10, bits(1, 4, 1), u16be(7));

function modeSense(
	name: string,
	opcode: number,
	lengthBytes: 6 | 10,
	header: ModeHeader,
	llbaa: Field | undefined,
	allocationLength: Field,
): Command {
	return defineCommand({
		name,
		opcode,
		lengthBytes,
		fields: { dbd, pageControl, pageCode, subpageCode, allocationLength, ...(llbaa === undefined ? {} : { llbaa }) },
		reservation: 'read',
		start(unit, task) {
			const { cdb } = task;
			const control = pageControl.get(cdb);
			if (control === saved) return unit.check(task, illegal(additionalSense.savingParametersNotSupported));
			const code = pageCode.get(cdb);
			if (code !== allPages && findModePage(code, 0) === undefined) return unit.invalidField(task, pageCode);
			const pages = selectPages(code, subpageCode.get(cdb));
			if (pages.length === 0) return unit.invalidField(task, subpageCode);

			const descriptorLayout = llbaa?.get(cdb) === 1 ? longDescriptor : shortDescriptor;
			const descriptor = dbd.get(cdb) === 1 ? Buffer.alloc(0) : blockDescriptor(unit, descriptorLayout);
			const data = Buffer.concat([Buffer.alloc(header.lengthBytes), descriptor, ...pages.map((page) => shown(unit, page, control))]);
			// MODE DATA LENGTH does not count its own bytes.
			header.modeDataLength.set(data, data.length - header.modeDataLength.mask.length);
			header.wp.set(data, unit.readOnly ? 1 : 0);
			header.dpofua.set(data, 1);
			if (descriptor.length === longDescriptor.lengthBytes) header.longlba?.set(data, 1);
			header.blockDescriptorLength.set(data, descriptor.length);
			return answer(task, data, allocationLength.get(cdb));
		},
	});
}

/** 3Fh is all pages, with FFh their subpages too; FFh of one page is the page and all of its. */
function selectPages(code: number, subpage: number): readonly ModePage[] {
	if (code === allPages && subpage !== 0 && subpage !== allSubpages) return [];
	return modePages.filter((page) => (code === allPages || page.code === code) && (subpage === allSubpages || page.subpage === subpage));
}

/** Changeable values are a mask. */
function shown(unit: LogicalUnit, page: ModePage, control: number): Buffer {
	if (control === changeable) return page.changeable;
	return control === current ? unit.mode.current(page) : page.defaults;
}
