import { strict as assert } from 'node:assert';
import { generationModulus, limits, reservationKeyMax } from './limits.ts';
import { Registrant } from './registrant.ts';
import { type ReservationStore, ReservationStoreFault, type StoredReservations } from './reservation-store.ts';
import { type ReservationType, reservationTypes } from './reservation-type.ts';

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

/**
 * What another registrant did to this one. SCSI: unit attentions REGISTRATIONS PREEMPTED (2A/05), RESERVATIONS RELEASED (2A/04), RESERVATIONS PREEMPTED (2A/03).
 * NVMe: Registration Preempted (1), Reservation Released (2), Reservation Preempted (3) in the Reservation Notification log page, and its event.
 */
export type ReservationNotice = 'registrationPreempted' | 'reservationReleased' | 'reservationPreempted';

/** A protocol's side of a table. Both protocols get every call, and look for those registrants that are theirs. */
export interface ReservationListener {
	notify(registrant: Registrant, notice: ReservationNotice): void;
	/**
	 * Ends what these have outstanding on the volume, as Preempt and Abort asks; the command that asked is of none of them. Calls `finished` once, when no medium works for them any more; at
	 * once if nothing was outstanding.
	 */
	abort(registrants: readonly Registrant[], finished: () => void): void;
}

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

export interface ReservationReport {
	readonly generation: number;
	readonly persistThroughPowerLoss: boolean;
	readonly type: ReservationType | undefined;
	/** In the order in which they registered. */
	readonly registrations: readonly (Registration & { readonly holder: boolean })[];
}

interface State {
	readonly registrations: ReadonlyMap<string, Registration>;
	readonly reservation: Reservation | undefined;
	readonly persistThroughPowerLoss: boolean;
}

/**
 * The registrations and the reservation of one volume, for SCSI and NVMe alike: a reservation that a host took over one protocol binds those of the other.
 * The operations are those of NVMe's Register, Acquire, Release and Report; what SCSI's REGISTER and REGISTER AND MOVE want beyond them is in
 * persistent-reserve-out.ts.
 *
 * Invariants, asserted after each change:
 * - no key is 0, and there are at most limits.registrantsPerVolume registrations
 * - there is no reservation without a registration, and the holder of one that is not of an all-registrants type is registered
 *
 * A change is drawn up, stored if anything persistent is touched, and only then takes effect and is told: when the store fails, nothing happened.
 */
export class ReservationTable {
	readonly #store: ReservationStore | undefined;
	readonly #listeners = new Set<ReservationListener>();
	#state: State;
	#generation = 0;

	/** Carries what the store says was persistent; the generation counts from 0 after each start (SPC-4, PRGENERATION). Throws what store.load() throws. */
	constructor(store?: ReservationStore) {
		this.#store = store;
		const stored = store?.load();
		this.#state = stored?.persistThroughPowerLoss === true ? restored(stored) : nothing;
		assertSound(this.#state);
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

	/** RELEASE; NVMe Release. Good without effect for a registrant that holds nothing. */
	release(registrant: Registrant, key: bigint, type: ReservationType): ReservationOutcome {
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

	/**
	 * REGISTER AND MOVE: registers `to` with its key and makes it the holder. `from` remains registered unless `unregister`.
	 * Nobody is told: what the two of them lose and get is known to who asked (SPC-4, registering and moving the reservation).
	 */
	move(from: Registrant, key: bigint, to: Registration, unregister: boolean, persist?: boolean): ReservationOutcome {
		if (!this.#keyIs(from, key)) return 'conflict';
		const { reservation } = this.#state;
		if (reservation === undefined) return 'notReserved';
		if (reservationTypes[reservation.type].allRegistrants || !this.isHolder(from)) return 'conflict';
		if (to.key === 0n || to.registrant.name === from.name) return 'invalidKey';
		const registrations = new Map(this.#state.registrations);
		registrations.set(to.registrant.name, to);
		if (unregister) registrations.delete(from.name);
		if (registrations.size > limits.registrantsPerVolume) return 'full';
		const persistThroughPowerLoss = persist ?? this.#state.persistThroughPowerLoss;
		return this.#commit(
			{ registrations, reservation: { type: reservation.type, holder: to.registrant }, persistThroughPowerLoss },
			[],
			true,
		);
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
		const takesOver = allRegistrants ? preempted === 0n : reservation?.holder !== undefined && this.keyOf(reservation.holder) === preempted;
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
		if (!this.#save(next)) return 'notStored';
		this.#state = next;
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

interface Notice {
	readonly registrant: Registrant;
	readonly notice: ReservationNotice;
}

const nothing: State = { registrations: new Map(), reservation: undefined, persistThroughPowerLoss: false };

function reservationOf(type: ReservationType, registrant: Registrant): Reservation {
	return { type, holder: reservationTypes[type].allRegistrants ? undefined : registrant };
}

function isHolder({ reservation, registrations }: State, registrant: Registrant): boolean {
	if (reservation === undefined) return false;
	return reservation.holder === undefined ? registrations.has(registrant.name) : reservation.holder.name === registrant.name;
}

/** Without a reservation that has lost its last holder. */
function settled(state: State): State {
	const { reservation, registrations } = state;
	if (reservation === undefined) return state;
	const held = reservation.holder === undefined ? registrations.size > 0 : registrations.has(reservation.holder.name);
	return held ? state : { ...state, reservation: undefined };
}

/** Whom to tell that a reservation ended between two states by the doing of `by`. */
function released(before: State, after: State, by: Registrant): Notice[] {
	if (before.reservation === undefined || after.reservation !== undefined) return [];
	return reservationTypes[before.reservation.type].releaseIsTold ? toldOthers(after, by, 'reservationReleased') : [];
}

function toldOthers(state: State, by: Registrant, notice: ReservationNotice): Notice[] {
	return [...state.registrations.values()]
		.filter((one) => one.registrant.name !== by.name)
		.map((one) => ({ registrant: one.registrant, notice }));
}

function stored(state: State): StoredReservations {
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

function restored({ type, registrations }: StoredReservations): State {
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

function assertSound({ registrations, reservation }: State): void {
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
