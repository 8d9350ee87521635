import type { ReservationType } from './reservation-type.ts';
import type { ReservationProtocol } from './registrant.ts';

export interface StoredRegistration {
	readonly protocol: ReservationProtocol;
	readonly id: string;
	readonly port: string;
	readonly key: bigint;
	/** Holds the reservation; with an all-registrants type all or none are marked, and the mark means nothing. */
	readonly holder: boolean;
}

/** What a table keeps over a power loss. */
export interface StoredReservations {
	/** PTPL, APTPL: if not set, nothing else is kept. */
	readonly persistThroughPowerLoss: boolean;
	readonly type: ReservationType | undefined;
	/** In the order in which they registered. */
	readonly registrations: readonly StoredRegistration[];
}

/** Where one table's persistent part lives. Both methods are synchronous: a command is answered only after save() returned. */
export interface ReservationStore {
	/** Undefined if nothing was ever saved. */
	load(): StoredReservations | undefined;
	/** Durable, whole, before it returns; throws ReservationStoreFault if it could not, and then the old state is what is stored. */
	save(state: StoredReservations): void;
}

/** The store could not make a change durable. The command that wanted it is refused and changes nothing. */
export class ReservationStoreFault extends Error {
	override readonly name = 'ReservationStoreFault';
}
