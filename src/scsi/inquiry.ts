import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import { bits, u16be, u8 } from './field.ts';
import { productIdentification, vendorIdentification } from './identity.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { ScsiTask } from './task.ts';
import { vpdPage } from './vpd.ts';

const evpd = bits(1, 0, 1);
const pageCode = u8(2);
const allocationLength = u16be(3);

/** SPC-4, standard INQUIRY data. RMB, NORMACA and PROTECT are 0. */
const standard = {
	peripheralQualifier: bits(0, 5, 3),
	peripheralDeviceType: bits(0, 0, 5),
	version: u8(2),
	hisup: bits(3, 4, 1),
	responseDataFormat: bits(3, 0, 4),
	additionalLength: u8(4),
	tpgs: bits(5, 4, 2),
	threePartyCopy: bits(5, 3, 1),
	cmdque: bits(7, 1, 1),
	versionDescriptors: 58,
};
const standardLength = 96;

/** SPC-4, version descriptor values without a revision: SAM-5, iSCSI, SPC-4, SBC-3. */
const versionDescriptors = [0x00a0, 0x0960, 0x0460, 0x04c0];
const versionSpc4 = 0x06;

export const inquiry = defineCommand({
	name: 'INQUIRY',
	opcode: 0x12,
	lengthBytes: 6,
	fields: { evpd, pageCode, allocationLength },
	reservation: 'free',
	attention: 'exempt',
	duringSanitize: true,
	start(unit, task, nexus) {
		if (evpd.get(task.cdb) === 0) {
			if (pageCode.get(task.cdb) !== 0) return unit.invalidField(task, pageCode);
			return answer(task, standardData(unit), allocationLength.get(task.cdb));
		}
		const page = vpdPage(pageCode.get(task.cdb), unit, nexus);
		return page === undefined ? unit.invalidField(task, pageCode) : answer(task, page, allocationLength.get(task.cdb));
	},
});

/**
 * INQUIRY of a LUN with nothing behind it: peripheral qualifier 011b, device type 1Fh (SPC-4). An initiator scans with it, so even VPD requests get this
 * and not an error.
 */
export function absentInquiry(task: ScsiTask): 'finished' {
	const data = standardData(undefined);
	standard.peripheralQualifier.set(data, 0b011);
	standard.peripheralDeviceType.set(data, 0x1f);
	return answer(task, data, allocationLength.get(task.cdb));
}

function standardData(unit: LogicalUnit | undefined): Buffer {
	const data = Buffer.alloc(standardLength);
	standard.version.set(data, versionSpc4);
	standard.hisup.set(data, 1);
	standard.responseDataFormat.set(data, 2);
	standard.additionalLength.set(data, standardLength - 5);
	// REPORT and SET TARGET PORT GROUPS are there, though all paths are alike.
	standard.tpgs.set(data, 0b11);
	standard.threePartyCopy.set(data, 1);
	standard.cmdque.set(data, 1);
	data.write(vendorIdentification, 8, 'latin1');
	data.write(productIdentification, 16, 'latin1');
	data.write(unit?.identity.productRevision ?? '    ', 32, 'latin1');
	for (const [index, value] of versionDescriptors.entries()) data.writeUInt16BE(value, standard.versionDescriptors + 2 * index);
	return data;
}
