import { register } from '../reservation/persistent-reserve-out.ts';
import type { Registrant } from '../reservation/registrant.ts';
import type { ReservationOutcome } from '../reservation/reservation-table.ts';
import { type ReservationType, scsiReservationType } from '../reservation/reservation-type.ts';
import { collect, finish } from './answer.ts';
import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits, u32be } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { type Nexus, registrantThrough, type TargetPort } from './nexus.ts';
import { PersistentReserveList } from './persistent-reserve-list.ts';
import { additionalSense, illegal, invalidFieldInCdb, invalidFieldInParameterList, senseKey } from './sense.ts';
import type { Sense } from './sense.ts';
import type { NextStep, ScsiTask } from './task.ts';

const scope = bits(2, 4, 4);
const type = bits(2, 0, 4);
const parameterListLength = u32be(5);
const logicalUnitScope = 0;
/** RESERVE, RELEASE, PREEMPT, PREEMPT AND ABORT; the others ignore SCOPE and TYPE. */
const serviceActionsWithType: readonly number[] = [0x01, 0x02, 0x04, 0x05];

/** A service action with its parameter list: what it does, and how that ended. */
interface Asked {
	readonly unit: LogicalUnit;
	readonly task: ScsiTask;
	readonly nexus: Nexus;
	readonly list: PersistentReserveList;
	/** Undefined if SCOPE and TYPE are none that a reservation can have. */
	readonly type: ReservationType | undefined;
}

/** What a service action answers: an outcome of the table, or sense of its own. */
type Settled = ReservationOutcome | Sense;

/** SPC-4, PERSISTENT RESERVE OUT. REGISTER. */
export const registerNexus = persistentReserveOut('REGISTER', 0x00, (asked) => registerAs(asked, false));

export const reserve = persistentReserveOut('RESERVE', 0x01, ({ unit, nexus, list, type: wanted, task }) =>
	wanted === undefined ? invalidType(task) : unit.reservations.acquire(nexus.registrant, list.reservationKey, wanted),
);

/** SCOPE and TYPE that are not those of the reservation are an invalid release, whatever they are. */
export const release = persistentReserveOut('RELEASE', 0x02, ({ unit, nexus, list, type: wanted }) =>
	unit.reservations.release(nexus.registrant, list.reservationKey, wanted),
);

export const clear = persistentReserveOut('CLEAR', 0x03, ({ unit, nexus, list }) =>
	unit.reservations.clear(nexus.registrant, list.reservationKey),
);

export const preempt = persistentReserveOut('PREEMPT', 0x04, (asked) => {
	const { unit, nexus, list } = asked;
	const wanted = typeToPreempt(asked);
	if (wanted === undefined) return invalidType(asked.task);
	return unit.reservations.preempt(nexus.registrant, list.reservationKey, list.serviceActionReservationKey, wanted);
});

export const preemptAndAbort = persistentReserveOut('PREEMPT AND ABORT', 0x05, (asked) => {
	const { unit, nexus, list, task } = asked;
	const wanted = typeToPreempt(asked);
	if (wanted === undefined) return invalidType(task);
	// The tasks of those who lost their registrations may be over at once.
	let returned = false;
	let atOnce: ReservationOutcome | undefined;
	const { reservationKey, serviceActionReservationKey } = list;
	unit.reservations.preemptAndAbort(nexus.registrant, reservationKey, serviceActionReservationKey, wanted, (outcome) => {
		if (!returned) {
			atOnce = outcome;
			return;
		}
		settle(unit, task, outcome);
		finish(task);
	});
	returned = true;
	return atOnce ?? 'pending';
});

export const registerAndIgnoreExistingKey = persistentReserveOut('REGISTER AND IGNORE EXISTING KEY', 0x06, (asked) =>
	registerAs(asked, true),
);

export const registerAndMove = persistentReserveOut('REGISTER AND MOVE', 0x07, ({ unit, nexus, list }) => {
	const { reservations } = unit;
	// What the list says of the other nexus is looked at only if this one may move anything (SPC-4, registering and moving the reservation).
	const refused = reservations.moveRefusal(nexus.registrant, list.reservationKey);
	if (refused !== undefined) return refused;
	if (list.aptpl && !reservations.canPersist) return invalidFieldInParameterList(list.aptplField);
	const to = list.destination(nexus, unit.ports);
	if ('key' in to) return to;
	return reservations.move(
		nexus.registrant,
		list.reservationKey,
		{ registrant: to, key: list.serviceActionReservationKey },
		list.unregister,
		list.aptpl,
	);
});

function registerAs({ unit, nexus, list }: Asked, ignoreExistingKey: boolean): Settled {
	const { reservations } = unit;
	const { registrant, port } = nexus;
	const key = list.serviceActionReservationKey;
	// A key that is not the nexus's own goes before everything else, and who is not registered and wants no key wants nothing.
	const ownKey = reservations.keyOf(registrant);
	if (!ignoreExistingKey && list.reservationKey !== (ownKey ?? 0n)) return 'conflict';
	if (ownKey === undefined && key === 0n) return 'good';
	if (list.aptpl && !reservations.canPersist) return invalidFieldInParameterList(list.aptplField);
	// SPEC_I_PT is for a nexus that registers.
	if (list.specIPt && ownKey !== undefined) return invalidFieldInParameterList(list.specIPtField);
	const ports = list.allTgPt ? unit.ports : [port];
	const specified = list.specIPt ? list.specified(ports, unit.nexuses) : undefined;
	if (specified !== undefined && 'key' in specified) return specified;
	return register(reservations, registrant, {
		reservationKey: list.reservationKey,
		serviceActionReservationKey: key,
		ignoreExistingKey,
		aptpl: list.aptpl,
		otherPorts: otherPorts(nexus, ports),
		specified,
	});
}

function persistentReserveOut(name: string, serviceAction: number, carryOut: (asked: Asked) => Settled | 'pending'): Command {
	const looksAtType = serviceActionsWithType.includes(serviceAction);
	return defineCommand({
		name: `PERSISTENT RESERVE OUT, ${name}`,
		opcode: 0x5f,
		serviceAction,
		lengthBytes: 10,
		fields: { ...(looksAtType ? { scope, type } : {}), parameterListLength },
		reservation: 'persistent',
		start(unit, task, nexus) {
			const lengthBytes = parameterListLength.get(task.cdb);
			if (lengthBytes < PersistentReserveList.shortestBytes || lengthBytes > limits.persistentReserveOutBytesMax)
				return unit.check(task, lengthError);
			task.nexus = nexus;
			return collect(task, lengthBytes);
		},
		parameters(unit, task, data): NextStep {
			if (data.length < task.lengthBytes) return unit.check(task, lengthError);
			// RESERVE of SPC-2 came while the list did.
			if (unit.reservations.unitHolder !== undefined) return unit.conflict(task);
			const list = new PersistentReserveList(data, serviceAction);
			if (list.wrong !== undefined) return unit.check(task, list.wrong);
			const isUnit = scope.get(task.cdb) === logicalUnitScope;
			const wanted = isUnit ? scsiReservationType(type.get(task.cdb)) : undefined;
			const settled = carryOut({ unit, task, nexus: task.nexus!, list, type: wanted });
			return settled === 'pending' ? 'pending' : settle(unit, task, settled);
		},
	});
}

const lengthError = illegal(additionalSense.parameterListLengthError);
const invalidKey = invalidFieldInParameterList({ byte: 8, bit: 7 });

function settle(unit: LogicalUnit, task: ScsiTask, settled: Settled): 'finished' {
	switch (settled) {
		case 'good':
			return 'finished';
		case 'conflict':
			return unit.conflict(task);
		case 'invalidKey':
			return unit.check(task, invalidKey);
		case 'wrongType':
			return unit.check(task, illegal(additionalSense.invalidReleaseOfPersistentReservation));
		case 'notReserved':
			return unit.check(task, invalidFieldInCdb(serviceActionField));
		case 'full':
			return unit.check(task, illegal(additionalSense.insufficientRegistrationResources));
		case 'notStored':
			return unit.check(task, { key: senseKey.hardwareError, code: additionalSense.internalTargetFailure });
		default:
			return unit.check(task, settled);
	}
}

const serviceActionField = { byte: 1, bit: 4 };

function invalidType({ cdb }: ScsiTask): Sense {
	return invalidFieldInCdb(scope.get(cdb) === logicalUnitScope ? type : scope);
}

/** SCOPE and TYPE are ignored where nothing is reserved anew: then any type will do. */
function typeToPreempt({ unit, list, type: wanted }: Asked): ReservationType | undefined {
	return unit.reservations.preemptsReservation(list.serviceActionReservationKey) ? wanted : (wanted ?? 'writeExclusive');
}

/** ALL_TG_PT: the same initiator port through the other ports that lead to the unit. */
function otherPorts(nexus: Nexus, ports: readonly (TargetPort | undefined)[]): Registrant[] {
	return ports.map((port) => registrantThrough(nexus.registrant.id, port)).filter(({ name }) => name !== nexus.registrant.name);
}
