import { strict as assert } from 'node:assert';
import { generationModulus, limits } from './limits.ts';
import type { Registrant } from './registrant.ts';
import {
	assertSound,
	isHolder,
	type Notice,
	nothing,
	type Registration,
	released,
	type Reservation,
	type ReservationNotice,
	reservationOf,
	restored,
	settled,
	type State,
	stored,
	toldOthers,
} from './reservation-state.ts';
import { type ReservationStore, ReservationStoreFault } from './reservation-store.ts';
import { type ReservationType, reservationTypes } from './reservation-type.ts';

export type { Registration, Reservation, ReservationNotice } from './reservation-state.ts';

/**
 * How an operation ended; unless `good`, it changed nothing.
 *
 * | Outcome     | SCSI                                                            | NVMe                     |
 * | ----------- | --------------------------------------------------------------- | ------------------------ |
 * | conflict    | RESERVATION CONFLICT                                            | Reservation Conflict     |
 * | invalidKey  | ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST                | Invalid Field in Command |
 * | wrongType   | ILLEGAL REQUEST, INVALID RELEASE OF PERSISTENT RESERVATION      | Invalid Field in Command |
 * | notReserved | ILLEGAL REQUEST, INVALID FIELD IN CDB (REGISTER AND MOVE only)  |                          |
 * | full        | ILLEGAL REQUEST, INSUFFICIENT REGISTRATION RESOURCES            | Internal Error           |
 * | notStored   | HARDWARE ERROR, INTERNAL TARGET FAILURE                         | Internal Error           |
 */
export type ReservationOutcome = 'good' | 'conflict' | 'invalidKey' | 'wrongType' | 'notReserved' | 'full' | 'notStored';

/** A protocol's side of a table. Both protocols get every call, and look for those registrants that are theirs. */
export interface ReservationListener {
	notify(registrant: Registrant, notice: ReservationNotice): void;
	/**
	 * Ends what these have outstanding on the volume, as Preempt and Abort asks; the command that asked is of none of them. Calls `finished` once, when no medium works for them any more; at
	 * once if nothing was outstanding.
	 */
	abort(registrants: readonly Registrant[], finished: () => void): void;
}

export interface ReservationReport {
	readonly generation: number;
	readonly persistThroughPowerLoss: boolean;
	readonly type: ReservationType | undefined;
	/** In the order in which they registered. */
	readonly registrations: readonly (Registration & { readonly holder: boolean })[];
}

/**
 * The registrations and the reservation of one volume, for SCSI and NVMe alike: a reservation that a host took over one protocol binds those of the other.
 * The operations are those of NVMe's Register, Acquire, Release and Report; what SCSI's REGISTER and REGISTER AND MOVE want beyond them is in
 * persistent-reserve-out.ts.
 *
 * Beside them stands SPC-2's RESERVE of the whole unit, by one I_T nexus and without a key. It lasts as long as the nexus at most and is stored nowhere.
 *
 * Invariants, asserted after each change:
 * - no key is 0, and there are at most limits.registrantsPerVolume registrations
 * - there is no reservation without a registration, and the holder of one that is not of an all-registrants type is registered
 * - nobody is registered while somebody has the whole unit (SPC-2: each of the two methods refuses the other)
 *
 * A change is drawn up, stored if anything persistent is touched, and only then takes effect and is told: when the store fails, nothing happened.
 */
export class ReservationTable {
	readonly #store: ReservationStore | undefined;
	readonly #listeners = new Set<ReservationListener>();
	#state: State;
	#generation = 0;
	#unitHolder: Registrant | undefined;
	#restricts: boolean;

	/** Carries what the store says was persistent; the generation counts from 0 after each start (SPC-4, PRGENERATION). Throws what store.load() throws. */
	constructor(store?: ReservationStore) {
		this.#store = store;
		const stored = store?.load();
		this.#state = stored?.persistThroughPowerLoss === true ? restored(stored) : nothing;
		assertSound(this.#state);
		this.#restricts = this.#state.reservation !== undefined;
	}

	/** Whether anybody holds anything: while this is false, allows() is true for all. */
	get restricts(): boolean {
		return this.#restricts;
	}

	/** Who has the whole unit by RESERVE of SPC-2. */
	get unitHolder(): Registrant | undefined {
		return this.#unitHolder;
	}

	/** PTPL_C: whether there is a store that can keep anything. */
	get canPersist(): boolean {
		return this.#store !== undefined;
	}

	/** PRGENERATION, GEN: counts registrations, preemptions and clears that succeeded, modulo 2^32; reserving and releasing do not count. */
	get generation(): number {
		return this.#generation;
	}

	get reservation(): Reservation | undefined {
		return this.#state.reservation;
	}

	/** PTPL, APTPL. */
	get persistThroughPowerLoss(): boolean {
		return this.#state.persistThroughPowerLoss;
	}

	/** Whether this one's commands of that kind get through now (SPC-4 and SBC-3, commands allowed in the presence of reservations; NVMe Base 2.0, Command Behavior in the Presence of a Reservation). */
	allows(registrant: Registrant, access: 'read' | 'write'): boolean {
		if (!this.#restricts) return true;
		if (this.#unitHolder !== undefined) return this.#unitHolder.name === registrant.name;
		const { reservation } = this.#state;
		if (reservation === undefined) return true;
		const circle = reservationTypes[reservation.type][access];
		if (circle === 'everyone') return true;
		return circle === 'registrants' ? this.#state.registrations.has(registrant.name) : reservation.holder?.name === registrant.name;
	}

	isRegistered(registrant: Registrant): boolean {
		return this.#state.registrations.has(registrant.name);
	}

	/** Undefined if it is not registered. */
	keyOf(registrant: Registrant): bigint | undefined {
		return this.#state.registrations.get(registrant.name)?.key;
	}

	isHolder(registrant: Registrant): boolean {
		return isHolder(this.#state, registrant);
	}

	report(): ReservationReport {
		const { reservation, registrations, persistThroughPowerLoss } = this.#state;
		return {
			generation: this.#generation,
			persistThroughPowerLoss,
			type: reservation?.type,
			registrations: [...registrations.values()].map((one) => ({ ...one, holder: isHolder(this.#state, one.registrant) })),
		};
	}

	/** The returned function takes the listener away again. */
	listen(listener: ReservationListener): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** NVMe Register, RREGA 0: a registrant may say its key again, not another one. `persist` is CPTPL; undefined leaves it as it is. */
	register(registrant: Registrant, key: bigint, persist?: boolean): ReservationOutcome {
		if (key === 0n) return 'invalidKey';
		const current = this.keyOf(registrant);
		if (current !== undefined && current !== key) return 'conflict';
		return this.enroll(registrant, [{ registrant, key }], persist);
	}

	/** RREGA 1. With IEKEY (`currentKey` 'ignored') the key is not compared, but it must be a registrant still. */
	unregister(registrant: Registrant, currentKey: bigint | 'ignored', persist?: boolean): ReservationOutcome {
		if (!this.#keyIs(registrant, currentKey)) return 'conflict';
		return this.enroll(registrant, [{ registrant, key: 0n }], persist);
	}

	/** RREGA 2. */
	replace(registrant: Registrant, currentKey: bigint | 'ignored', key: bigint, persist?: boolean): ReservationOutcome {
		if (key === 0n) return 'invalidKey';
		if (!this.#keyIs(registrant, currentKey)) return 'conflict';
		return this.enroll(registrant, [{ registrant, key }], persist);
	}

	/**
	 * Sets keys, and takes out those registrants whose key is to be 0, all in one step. What both standards build on; the caller has compared the old keys.
	 * A reservation whose holder goes is released, and of an all-registrants type when nobody remains.
	 */
	enroll(by: Registrant, changes: readonly Registration[], persist?: boolean): ReservationOutcome {
		if (this.#unitHolder !== undefined) return 'conflict';
		const registrations = new Map(this.#state.registrations);
		for (const change of changes) {
			if (change.key === 0n) registrations.delete(change.registrant.name);
			else registrations.set(change.registrant.name, change);
		}
		if (registrations.size > limits.registrantsPerVolume) return 'full';
		const next = settled({
			registrations,
			reservation: this.#state.reservation,
			persistThroughPowerLoss: persist ?? this.#state.persistThroughPowerLoss,
		});
		return this.#commit(next, released(this.#state, next, by), true);
	}

	/** NVMe feature Reservation Persistence. No registration, and not counted. */
	setPersistence(persistThroughPowerLoss: boolean): ReservationOutcome {
		return this.#commit({ ...this.#state, persistThroughPowerLoss }, [], false);
	}

	/** RESERVE; NVMe Acquire. The holder may say again what it has, but not with another type. */
	acquire(registrant: Registrant, key: bigint, type: ReservationType): ReservationOutcome {
		if (!this.#keyIs(registrant, key)) return 'conflict';
		const { reservation } = this.#state;
		if (reservation !== undefined) return reservation.type === type && this.isHolder(registrant) ? 'good' : 'conflict';
		return this.#commit({ ...this.#state, reservation: reservationOf(type, registrant) }, [], false);
	}

	/** RELEASE; NVMe Release. Good without effect for a registrant that holds nothing. `type` undefined is one that no reservation can have. */
	release(registrant: Registrant, key: bigint, type: ReservationType | undefined): ReservationOutcome {
		if (!this.#keyIs(registrant, key)) return 'conflict';
		const { reservation } = this.#state;
		if (reservation === undefined || !this.isHolder(registrant)) return 'good';
		if (reservation.type !== type) return 'wrongType';
		const next = { ...this.#state, reservation: undefined };
		return this.#commit(next, released(this.#state, next, registrant), false);
	}

	/** CLEAR: the reservation and all registrations go. */
	clear(registrant: Registrant, key: bigint): ReservationOutcome {
		if (!this.#keyIs(registrant, key)) return 'conflict';
		const notices = [...this.#state.registrations.values()]
			.filter((one) => one.registrant.name !== registrant.name)
			.map((one) => ({ registrant: one.registrant, notice: 'reservationPreempted' as const }));
		return this.#commit({ ...this.#state, registrations: new Map(), reservation: undefined }, notices, true);
	}

	/**
	 * PREEMPT; NVMe Acquire with RACQA 1. `preempted` is the key of those who have to go (SERVICE ACTION RESERVATION KEY, PRKEY):
	 *
	 * | Reservation           | preempted            | Effect                                                                    |
	 * | --------------------- | -------------------- | ------------------------------------------------------------------------- |
	 * | all-registrants type  | 0                    | all others go; the caller reserves with `type`                            |
	 * | all-registrants type  | a key                | those with the key go; the reservation stays while anybody is registered  |
	 * | other type            | the holder's key     | those with the key go, except the caller; the caller reserves with `type` |
	 * | other type            | another key          | those with the key go                                                     |
	 * | other type            | 0                    | invalidKey                                                                |
	 * | none                  | a key                | those with the key go; nothing is reserved                                |
	 * | none                  | 0                    | SCSI: invalidKey. NVMe: conflict, as no registrant has that key           |
	 *
	 * The last row is where the standards differ. When a key is nobody's, both say conflict. Where only registrations go, that includes the caller's own if
	 * it named its own key.
	 */
	preempt(registrant: Registrant, key: bigint, preempted: bigint, type: ReservationType): ReservationOutcome {
		return this.#preempt(registrant, key, preempted, type).outcome;
	}

	/** PREEMPT AND ABORT; RACQA 2. `finished` is called once, perhaps before this returns: at once if it failed, else when every listener has ended the commands of those who went. */
	preemptAndAbort(
		registrant: Registrant,
		key: bigint,
		preempted: bigint,
		type: ReservationType,
		finished: (outcome: ReservationOutcome) => void,
	): void {
		const { outcome, gone } = this.#preempt(registrant, key, preempted, type);
		if (gone.length === 0) {
			finished(outcome);
			return;
		}
		const listeners = [...this.#listeners];
		// One more than there are listeners: the last one counts when all were asked.
		let running = listeners.length + 1;
		const one = (): void => {
			running--;
			assert.ok(running >= 0);
			if (running === 0) finished(outcome);
		};
		for (const listener of listeners) listener.abort(gone, one);
		one();
	}

	/** Why this one cannot move a reservation, wherever to; undefined if it can. */
	moveRefusal(from: Registrant, key: bigint): 'conflict' | 'notReserved' | undefined {
		if (!this.#keyIs(from, key)) return 'conflict';
		const { reservation } = this.#state;
		if (reservation === undefined) return 'notReserved';
		return reservation.holder?.name === from.name ? undefined : 'conflict';
	}

	/**
	 * REGISTER AND MOVE: registers `to` with its key and makes it the holder. `from` remains registered unless `unregister`.
	 * Nobody is told: what the two of them lose and get is known to who asked (SPC-4, registering and moving the reservation).
	 */
	move(from: Registrant, key: bigint, to: Registration, unregister: boolean, persist?: boolean): ReservationOutcome {
		const refused = this.moveRefusal(from, key);
		if (refused !== undefined) return refused;
		const { type } = this.#state.reservation!;
		if (to.key === 0n || to.registrant.name === from.name) return 'invalidKey';
		const registrations = new Map(this.#state.registrations);
		registrations.set(to.registrant.name, to);
		if (unregister) registrations.delete(from.name);
		if (registrations.size > limits.registrantsPerVolume) return 'full';
		const persistThroughPowerLoss = persist ?? this.#state.persistThroughPowerLoss;
		return this.#commit({ registrations, reservation: { type, holder: to.registrant }, persistThroughPowerLoss }, [], true);
	}

	/** Whether preempt() of this key would put a reservation of the caller's into the place of the one that there is; else its type is not looked at. */
	preemptsReservation(preempted: bigint): boolean {
		const { reservation } = this.#state;
		if (reservation === undefined) return false;
		return reservation.holder === undefined ? preempted === 0n : this.keyOf(reservation.holder) === preempted;
	}

	/**
	 * RESERVE of SPC-2. While anybody is registered it is a conflict, except for those whom the persistent reservation lets do everything: for them it is good
	 * without effect (SPC-4, exceptions to SPC-2 RESERVE and RELEASE behavior).
	 */
	reserveUnit(registrant: Registrant): 'good' | 'conflict' {
		if (this.#state.registrations.size > 0) return this.#isExcepted(registrant) ? 'good' : 'conflict';
		if (this.#unitHolder !== undefined) return this.#unitHolder.name === registrant.name ? 'good' : 'conflict';
		this.#setUnitHolder(registrant);
		return 'good';
	}

	/** RELEASE of SPC-2: good without effect for who does not have the unit; with registrations as reserveUnit(). */
	releaseUnit(registrant: Registrant): 'good' | 'conflict' {
		if (this.#state.registrations.size > 0) return this.#isExcepted(registrant) ? 'good' : 'conflict';
		this.endUnitReservation(registrant);
		return 'good';
	}

	/** The nexus is lost, or (without one) the unit was reset: what RESERVE of SPC-2 has set ends. */
	endUnitReservation(registrant?: Registrant): void {
		if (registrant === undefined || this.#unitHolder?.name === registrant.name) this.#setUnitHolder(undefined);
	}

	#setUnitHolder(registrant: Registrant | undefined): void {
		assert.ok(registrant === undefined || this.#state.registrations.size === 0);
		this.#unitHolder = registrant;
		this.#restricts = registrant !== undefined || this.#state.reservation !== undefined;
	}

	#isExcepted(registrant: Registrant): boolean {
		const { reservation } = this.#state;
		if (reservation === undefined) return false;
		return reservationTypes[reservation.type].write === 'holder' ? this.isHolder(registrant) : this.isRegistered(registrant);
	}

	#preempt(
		registrant: Registrant,
		key: bigint,
		preempted: bigint,
		type: ReservationType,
	): { outcome: ReservationOutcome; gone: readonly Registrant[] } {
		const refused = (outcome: ReservationOutcome) => ({ outcome, gone: [] });
		if (!this.#keyIs(registrant, key)) return refused('conflict');
		const { reservation, registrations, persistThroughPowerLoss } = this.#state;
		const allRegistrants = reservation !== undefined && reservationTypes[reservation.type].allRegistrants;
		if (preempted === 0n && !allRegistrants) {
			return refused(reservation === undefined && registrant.protocol === 'nvme' ? 'conflict' : 'invalidKey');
		}
		const takesOver = this.preemptsReservation(preempted);
		const going = [...registrations.values()].filter(
			(one) => (preempted === 0n || one.key === preempted) && !(takesOver && one.registrant.name === registrant.name),
		);
		if (going.length === 0 && !takesOver) return refused('conflict');
		const left = new Map(registrations);
		for (const one of going) left.delete(one.registrant.name);
		const next = settled({
			registrations: left,
			reservation: takesOver ? reservationOf(type, registrant) : reservation,
			persistThroughPowerLoss,
		});
		const gone = going.map((one) => one.registrant).filter((one) => one.name !== registrant.name);
		const notices: Notice[] = gone.map((one) => ({ registrant: one, notice: 'registrationPreempted' }));
		// Those who remain learn that another type binds them now.
		if (takesOver && reservation?.type !== type) notices.push(...toldOthers(next, registrant, 'reservationReleased'));
		const outcome = this.#commit(next, notices, true);
		return outcome === 'good' ? { outcome, gone } : refused(outcome);
	}

	#keyIs(registrant: Registrant, key: bigint | 'ignored'): boolean {
		const current = this.keyOf(registrant);
		return current !== undefined && (key === 'ignored' || key === current);
	}

	#commit(next: State, notices: readonly Notice[], counted: boolean): ReservationOutcome {
		assertSound(next);
		assert.ok(this.#unitHolder === undefined || next.registrations.size === 0);
		if (!this.#save(next)) return 'notStored';
		this.#state = next;
		this.#restricts = this.#unitHolder !== undefined || next.reservation !== undefined;
		if (counted) this.#generation = (this.#generation + 1) % generationModulus;
		for (const { registrant, notice } of notices) {
			for (const listener of this.#listeners) listener.notify(registrant, notice);
		}
		return 'good';
	}

	/** What is not persistent, before and after, costs no write. */
	#save(next: State): boolean {
		if (this.#store === undefined || (!this.#state.persistThroughPowerLoss && !next.persistThroughPowerLoss)) return true;
		try {
			this.#store.save(stored(next));
			return true;
		} catch (error) {
			if (!(error instanceof ReservationStoreFault)) throw error;
			return false;
		}
	}
}
