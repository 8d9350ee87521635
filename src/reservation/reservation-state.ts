import { strict as assert } from 'node:assert';
import { limits, reservationKeyMax } from './limits.ts';
import { Registrant } from './registrant.ts';
import type { StoredReservations } from './reservation-store.ts';
import { type ReservationType, reservationTypes } from './reservation-type.ts';

/**
 * What another registrant did to this one. SCSI: unit attentions REGISTRATIONS PREEMPTED (2A/05), RESERVATIONS RELEASED (2A/04), RESERVATIONS PREEMPTED (2A/03).
 * NVMe: Registration Preempted (1), Reservation Released (2), Reservation Preempted (3) in the Reservation Notification log page, and its event.
 */
export type ReservationNotice = 'registrationPreempted' | 'reservationReleased' | 'reservationPreempted';

export interface Registration {
	readonly registrant: Registrant;
	/** Never 0. */
	readonly key: bigint;
}

export interface Reservation {
	readonly type: ReservationType;
	/** Undefined for an all-registrants type, where every registrant holds it. */
	readonly holder: Registrant | undefined;
}

/** What a table says at one moment; a change makes a new one. */
export interface State {
	readonly registrations: ReadonlyMap<string, Registration>;
	readonly reservation: Reservation | undefined;
	readonly persistThroughPowerLoss: boolean;
}

export interface Notice {
	readonly registrant: Registrant;
	readonly notice: ReservationNotice;
}

export const nothing: State = { registrations: new Map(), reservation: undefined, persistThroughPowerLoss: false };

export function reservationOf(type: ReservationType, registrant: Registrant): Reservation {
	return { type, holder: reservationTypes[type].allRegistrants ? undefined : registrant };
}

export function isHolder({ reservation, registrations }: State, registrant: Registrant): boolean {
	if (reservation === undefined) return false;
	return reservation.holder === undefined ? registrations.has(registrant.name) : reservation.holder.name === registrant.name;
}

/** Without a reservation that has lost its last holder. */
export function settled(state: State): State {
	const { reservation, registrations } = state;
	if (reservation === undefined) return state;
	const held = reservation.holder === undefined ? registrations.size > 0 : registrations.has(reservation.holder.name);
	return held ? state : { ...state, reservation: undefined };
}

/** Whom to tell that a reservation ended between two states by the doing of `by`. */
export function released(before: State, after: State, by: Registrant): Notice[] {
	if (before.reservation === undefined || after.reservation !== undefined) return [];
	return reservationTypes[before.reservation.type].releaseIsTold ? toldOthers(after, by, 'reservationReleased') : [];
}

export function toldOthers(state: State, by: Registrant, notice: ReservationNotice): Notice[] {
	return [...state.registrations.values()]
		.filter((one) => one.registrant.name !== by.name)
		.map((one) => ({ registrant: one.registrant, notice }));
}

export function stored(state: State): StoredReservations {
	if (!state.persistThroughPowerLoss) return { persistThroughPowerLoss: false, type: undefined, registrations: [] };
	return {
		persistThroughPowerLoss: true,
		type: state.reservation?.type,
		registrations: [...state.registrations.values()].map(({ registrant, key }) => ({
			protocol: registrant.protocol,
			id: registrant.id,
			port: registrant.port,
			key,
			holder: isHolder(state, registrant),
		})),
	};
}

export function restored({ type, registrations }: StoredReservations): State {
	const entries = registrations.map((one) => {
		const registrant = new Registrant(one.protocol, one.id, one.port);
		return { registrant, key: one.key, holder: one.holder };
	});
	const holder = entries.find((one) => one.holder)?.registrant;
	assert.equal(type !== undefined, holder !== undefined, 'a stored reservation has a holder');
	return {
		registrations: new Map(entries.map(({ registrant, key }) => [registrant.name, { registrant, key }])),
		reservation: type === undefined || holder === undefined ? undefined : reservationOf(type, holder),
		persistThroughPowerLoss: true,
	};
}

export function assertSound({ registrations, reservation }: State): void {
	assert.ok(registrations.size <= limits.registrantsPerVolume);
	for (const [name, { registrant, key }] of registrations) {
		assert.equal(name, registrant.name);
		assert.ok(key > 0n && key <= reservationKeyMax);
	}
	if (reservation === undefined) return;
	assert.ok(registrations.size > 0);
	assert.equal(reservation.holder === undefined, reservationTypes[reservation.type].allRegistrants);
	assert.ok(reservation.holder === undefined || registrations.has(reservation.holder.name));
}
