import type { ReservationReport, ReservationTable } from '../reservation/reservation-table.ts';
import { type ReservationType, reservationTypes } from '../reservation/reservation-type.ts';
import { answer } from './answer.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u16be, u32be } from './field.ts';
import type { Field } from './field.ts';
import { targetPortalGroupTagIn } from './port-name.ts';
import { transportId } from './transport-id.ts';

const allocationLength = u16be(7);

/** SPC-4, PERSISTENT RESERVE IN parameter data: all but REPORT CAPABILITIES begin alike. */
const header = { prGeneration: u32be(0), additionalLength: u32be(4) };
const headerLength = 8;

export const readKeys = persistentReserveIn('READ KEYS', 0x00, (table) => {
	const { generation, registrations } = table.report();
	const keys = Buffer.alloc(8 * registrations.length);
	for (const [index, { key }] of registrations.entries()) keys.writeBigUInt64BE(key, 8 * index);
	return withHeader(generation, keys);
});

/** Byte 13 of its descriptor: SCOPE 0h (the logical unit) and TYPE. */
const reservationLength = 16;
const typeOfReservation = bits(13, 0, 4);

export const readReservation = persistentReserveIn('READ RESERVATION', 0x01, (table) => {
	const report = table.report();
	if (report.type === undefined) return withHeader(report.generation, Buffer.alloc(0));
	const descriptor = Buffer.alloc(reservationLength);
	descriptor.writeBigUInt64BE(holdersKey(report, report.type));
	typeOfReservation.set(descriptor, reservationTypes[report.type].scsi);
	return withHeader(report.generation, descriptor);
});

const capabilities = {
	length: u16be(0),
	crh: bits(2, 4, 1),
	sipC: bits(2, 3, 1),
	atpC: bits(2, 2, 1),
	ptplC: bits(2, 0, 1),
	tmv: bits(3, 7, 1),
	allowCommands: bits(3, 4, 3),
	ptplA: bits(3, 0, 1),
};
const capabilitiesLength = 8;
/** PERSISTENT RESERVATION TYPE MASK: the bit of each type. */
const typeMask: Readonly<Record<ReservationType, Field>> = {
	writeExclusive: bits(4, 1, 1),
	exclusiveAccess: bits(4, 3, 1),
	writeExclusiveRegistrantsOnly: bits(4, 5, 1),
	exclusiveAccessRegistrantsOnly: bits(4, 6, 1),
	writeExclusiveAllRegistrants: bits(4, 7, 1),
	exclusiveAccessAllRegistrants: bits(5, 0, 1),
};
/** ALLOW COMMANDS 011b: TEST UNIT READY passes every type, and MODE SENSE and REPORT SUPPORTED … the Write Exclusive ones, as the groups in the command table have it. */
const allowCommands = 0b011;

/** RLR_C is 0: a reservation cannot be lost alone. */
export const reportCapabilities = persistentReserveIn('REPORT CAPABILITIES', 0x02, (table) => {
	const data = Buffer.alloc(capabilitiesLength);
	capabilities.length.set(data, capabilitiesLength);
	capabilities.crh.set(data, 1);
	capabilities.sipC.set(data, 1);
	capabilities.atpC.set(data, 1);
	capabilities.ptplC.set(data, table.canPersist ? 1 : 0);
	capabilities.tmv.set(data, 1);
	capabilities.allowCommands.set(data, allowCommands);
	capabilities.ptplA.set(data, table.persistThroughPowerLoss ? 1 : 0);
	for (const bit of Object.values(typeMask)) bit.set(data, 1);
	return data;
});

/** Full status descriptor; key in bytes 0 to 7. ALL_TG_PT is 0: each target port is listed by itself. */
const fullStatus = {
	rHolder: bits(12, 0, 1),
	type: bits(13, 0, 4),
	relativeTargetPortIdentifier: u16be(18),
	additionalDescriptorLength: u32be(20),
};
const fullStatusLength = 24;

export const readFullStatus = persistentReserveIn('READ FULL STATUS', 0x03, (table) => {
	const { generation, type, registrations } = table.report();
	const descriptors = registrations.flatMap(({ registrant, key, holder }) => {
		const id = transportId(registrant);
		const data = Buffer.alloc(fullStatusLength);
		data.writeBigUInt64BE(key);
		if (holder && type !== undefined) {
			fullStatus.rHolder.set(data, 1);
			fullStatus.type.set(data, reservationTypes[type].scsi);
		}
		fullStatus.relativeTargetPortIdentifier.set(data, targetPortalGroupTagIn(registrant.port));
		fullStatus.additionalDescriptorLength.set(data, id.length);
		return [data, id];
	});
	return withHeader(generation, Buffer.concat(descriptors));
});

function persistentReserveIn(name: string, serviceAction: number, parameterData: (table: ReservationTable) => Buffer): Command {
	return defineCommand({
		name: `PERSISTENT RESERVE IN, ${name}`,
		opcode: 0x5e,
		serviceAction,
		lengthBytes: 10,
		fields: { allocationLength },
		reservation: 'persistent',
		start: (unit, task) => answer(task, parameterData(unit.reservations), allocationLength.get(task.cdb)),
	});
}

/** ADDITIONAL LENGTH counts everything, whatever the allocation length cuts off. */
function withHeader(generation: number, content: Buffer): Buffer {
	const data = Buffer.alloc(headerLength);
	header.prGeneration.set(data, generation);
	header.additionalLength.set(data, content.length);
	return Buffer.concat([data, content]);
}

/** 0 for an all-registrants type, where the reservation has no one holder. */
function holdersKey({ registrations }: ReservationReport, type: ReservationType): bigint {
	if (reservationTypes[type].allRegistrants) return 0n;
	return registrations.find(({ holder }) => holder)?.key ?? 0n;
}
