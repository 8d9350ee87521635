import { answer, collect } from './answer.ts';
import { defineCommand } from './command.ts';
import { bits, u16be, u32be, u8 } from './field.ts';
import { limits } from './limits.ts';
import type { TargetPort } from './nexus.ts';
import { additionalSense, illegal, invalidFieldInParameterList } from './sense.ts';

/** SPC-4, asymmetric access states: the only one that there is. One process serves every path alike. */
const activeOptimized = 0x0;

const parameterDataFormat = bits(1, 5, 3);
const allocationLength = u32be(6);
const parameterListLength = u32be(6);

/** SPC-4, REPORT TARGET PORT GROUPS parameter data: a length, with format 001b a second word, then the groups. */
const formats = { lengthOnly: 0, extended: 1 } as const;
const formatType = bits(4, 4, 3);

/** SPC-4, target port group descriptor with one target port. */
const group = {
	asymmetricAccessState: bits(0, 0, 4),
	aoSup: bits(1, 0, 1),
	targetPortGroup: u16be(2),
	targetPortCount: u8(7),
	relativeTargetPortIdentifier: u16be(10),
};
const groupLength = 12;

/** Of the target that the initiator came through: a portal group is a target port and a target port group at once. */
export const reportTargetPortGroups = defineCommand({
	name: 'REPORT TARGET PORT GROUPS',
	opcode: 0xa3,
	serviceAction: 0x0a,
	lengthBytes: 12,
	fields: { parameterDataFormat, allocationLength },
	reservation: 'free',
	start(unit, task, nexus) {
		const format = parameterDataFormat.get(task.cdb);
		if (format > formats.extended) return unit.invalidField(task, parameterDataFormat);
		const header = Buffer.alloc(format === formats.extended ? 8 : 4);
		if (format === formats.extended) formatType.set(header, formats.extended);
		const data = Buffer.concat([header, ...(nexus.port === undefined ? [] : [groupOf(nexus.port)])]);
		data.writeUInt32BE(data.length - 4);
		return answer(task, data, allocationLength.get(task.cdb));
	},
});

function groupOf({ targetPortalGroupTag }: TargetPort): Buffer {
	const data = Buffer.alloc(groupLength);
	group.asymmetricAccessState.set(data, activeOptimized);
	group.aoSup.set(data, 1);
	group.targetPortGroup.set(data, targetPortalGroupTag);
	group.targetPortCount.set(data, 1);
	group.relativeTargetPortIdentifier.set(data, targetPortalGroupTag);
	return data;
}

/** SPC-4, SET TARGET PORT GROUPS parameter list: four reserved bytes, then descriptors. */
const listHeaderLength = 4;
const wanted = { asymmetricAccessState: bits(0, 0, 4), targetPortGroup: u16be(2) };
const wantedLength = 4;

/** A group can be set to the state that it is in. */
export const setTargetPortGroups = defineCommand({
	name: 'SET TARGET PORT GROUPS',
	opcode: 0xa4,
	serviceAction: 0x0a,
	lengthBytes: 12,
	fields: { parameterListLength },
	reservation: 'write',
	start(unit, task, nexus) {
		task.nexus = nexus;
		const lengthBytes = parameterListLength.get(task.cdb);
		if (lengthBytes > limits.parameterBytesMax) return unit.invalidField(task, parameterListLength);
		return collect(task, lengthBytes);
	},
	parameters(unit, task, data) {
		if (data.length < task.lengthBytes || data.length < listHeaderLength || (data.length - listHeaderLength) % wantedLength !== 0)
			return unit.check(task, illegal(additionalSense.parameterListLengthError));
		for (let at = listHeaderLength; at < data.length; at += wantedLength) {
			const entry = data.subarray(at, at + wantedLength);
			if (wanted.asymmetricAccessState.get(entry) !== activeOptimized)
				return unit.check(task, invalidFieldInParameterList(wanted.asymmetricAccessState, at));
			if (wanted.targetPortGroup.get(entry) !== task.nexus?.port?.targetPortalGroupTag)
				return unit.check(task, invalidFieldInParameterList(wanted.targetPortGroup, at));
		}
		return 'finished';
	},
});
