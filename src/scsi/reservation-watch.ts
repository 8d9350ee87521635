import type { Registrant } from '../reservation/registrant.ts';
import type { ReservationListener, ReservationNotice } from '../reservation/reservation-table.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { Nexus } from './nexus.ts';
import { additionalSense } from './sense.ts';

const attentionOf: Readonly<Record<ReservationNotice, number>> = {
	registrationPreempted: additionalSense.registrationsPreempted,
	reservationReleased: additionalSense.reservationsReleased,
	reservationPreempted: additionalSense.reservationsPreempted,
};

/** A unit's ear at its reservation table: what others did to the registrations of its nexuses, over whichever protocol. */
export class ReservationWatch implements ReservationListener {
	readonly #unit: LogicalUnit;
	readonly #nexuses: () => Iterable<Nexus>;

	/** `nexuses`: those that are attached to the unit now. */
	constructor(unit: LogicalUnit, nexuses: () => Iterable<Nexus>) {
		this.#unit = unit;
		this.#nexuses = nexuses;
	}

	/** A nexus that is not there is not told: it will be told 29h/00h when it comes back. */
	notify(registrant: Registrant, notice: ReservationNotice): void {
		for (const nexus of this.#nexuses()) {
			if (nexus.registrant.name === registrant.name) this.#unit.raise(attentionOf[notice], nexus);
		}
	}

	abort(registrants: readonly Registrant[], finished: () => void): void {
		const names = new Set(registrants.map(({ name }) => name));
		const nexuses = [...this.#nexuses()].filter((nexus) => names.has(nexus.registrant.name));
		// One more than there are nexuses: the last one counts when all were asked.
		let running = nexuses.length + 1;
		const one = (): void => {
			running--;
			if (running === 0) finished();
		};
		for (const nexus of nexuses) {
			if (nexus.abortTasks === undefined) one();
			else nexus.abortTasks(this.#unit, one);
		}
		one();
	}
}
