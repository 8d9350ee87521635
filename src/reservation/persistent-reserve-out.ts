import type { Registrant } from './registrant.ts';
import type { Registration, ReservationOutcome, ReservationTable } from './reservation-table.ts';

/**
 * The service actions of PERSISTENT RESERVE OUT (SPC-4) that are more than one operation of the table. The others are
 *
 *     RESERVE            table.acquire(nexus, reservationKey, type)
 *     RELEASE            table.release(nexus, reservationKey, type)
 *     CLEAR              table.clear(nexus, reservationKey)
 *     PREEMPT            table.preempt(nexus, reservationKey, serviceActionReservationKey, type)
 *     PREEMPT AND ABORT  table.preemptAndAbort(…)
 *     REGISTER AND MOVE  table.move(nexus, reservationKey, { registrant, key: serviceActionReservationKey }, unreg, aptpl)
 *
 * REPLACE LOST RESERVATION has nothing to replace: a database that lost its reservations is refused as a whole at the start, so RLR_C is 0 in
 * REPORT CAPABILITIES and the service action is an invalid field in the CDB.
 */
export interface RegisterParameters {
	/** Not looked at by REGISTER AND IGNORE EXISTING KEY. */
	readonly reservationKey: bigint;
	readonly serviceActionReservationKey: bigint;
	readonly ignoreExistingKey: boolean;
	readonly aptpl: boolean;
	/** ALL_TG_PT: the nexuses of the same initiator port with the target's other ports. */
	readonly otherPorts?: readonly Registrant[];
	/** SPEC_I_PT: the nexuses of the initiator ports in the parameter list, even if they are none; undefined without the bit. Only for a nexus that is not registered. */
	readonly specified?: readonly Registrant[] | undefined;
}

/**
 * REGISTER, and REGISTER AND IGNORE EXISTING KEY. An unregistered nexus that asks for key 0 gets good and nothing else: not even PRGENERATION changes.
 * With SPEC_I_PT all are registered or none; those that are registered already keep the key that they have. With ALL_TG_PT the other ports are treated as
 * if the command had come through each of them; one that would refuse it is left as it is.
 */
export function register(table: ReservationTable, nexus: Registrant, parameters: RegisterParameters): ReservationOutcome {
	const { serviceActionReservationKey: key, aptpl, otherPorts = [], specified } = parameters;
	const registered = table.isRegistered(nexus);
	if (!admits(table, nexus, parameters)) return 'conflict';
	// Neither SPEC_I_PT nor anything else is looked at of who asks for nothing. But it has to be let through first (SPC-2: RESERVE of the unit stops everybody).
	if (!registered && key === 0n) return table.unitHolder === undefined ? 'good' : 'conflict';
	// SPEC_I_PT is for a nexus that registers, not for one that changes or gives up its key.
	if (specified !== undefined && (registered || parameters.ignoreExistingKey)) return 'invalidKey';
	const changes: Registration[] = [{ registrant: nexus, key }];
	for (const other of otherPorts) {
		if (admits(table, other, parameters)) changes.push({ registrant: other, key });
	}
	for (const one of specified ?? []) {
		if (!table.isRegistered(one)) changes.push({ registrant: one, key });
	}
	return table.enroll(nexus, changes, aptpl);
}

/** An unregistered nexus says 0 as its key, a registered one the key that it has. */
function admits(table: ReservationTable, nexus: Registrant, { ignoreExistingKey, reservationKey }: RegisterParameters): boolean {
	return ignoreExistingKey || reservationKey === (table.keyOf(nexus) ?? 0n);
}
