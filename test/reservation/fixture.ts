import { Registrant } from '../../src/reservation/registrant.ts';
import type { ReservationStore, StoredReservations } from '../../src/reservation/reservation-store.ts';
import { ReservationStoreFault } from '../../src/reservation/reservation-store.ts';
import { ReservationTable } from '../../src/reservation/reservation-table.ts';

/** Keeps what was saved, in memory, and fails on request. */
export class MemoryStore implements ReservationStore {
	kept: StoredReservations | undefined;
	saves = 0;
	fails = false;

	load(): StoredReservations | undefined {
		return this.kept;
	}

	save(state: StoredReservations): void {
		if (this.fails) throw new ReservationStoreFault('the disk is full');
		this.saves++;
		this.kept = structuredClone(state);
	}
}

/** Writes down what is told, and leaves aborts open until the test ends them. */
export class Witness {
	readonly told: string[] = [];
	readonly aborted: string[][] = [];
	readonly #open: (() => void)[] = [];

	notify(registrant: Registrant, notice: string): void {
		this.told.push(`${registrant.id} ${notice}`);
	}

	abort(registrants: readonly Registrant[], finished: () => void): void {
		this.aborted.push(registrants.map((one) => one.id));
		this.#open.push(finished);
	}

	finish(): void {
		for (const finished of this.#open.splice(0)) finished();
	}

	/** What was told since the last call, sorted. */
	take(): string[] {
		return this.told.splice(0).toSorted();
	}
}

export const port = 'iqn.2026-11.test:t,t,0x0001';
export const a = new Registrant('iscsi', 'a', port);
export const b = new Registrant('nvme', 'b');
export const c = new Registrant('iscsi', 'c', port);
export const d = new Registrant('nvme', 'd');
export const everyone = [a, b, c, d];

export const keyA = 0xaan;
export const keyB = 0xbbn;
export const keyC = 0xccn;

/** a, b and c registered with their keys; d is not. */
export function registered(): { table: ReservationTable; store: MemoryStore; witness: Witness } {
	const store = new MemoryStore();
	const table = new ReservationTable(store);
	const witness = new Witness();
	table.listen(witness);
	table.register(a, keyA);
	table.register(b, keyB);
	table.register(c, keyC);
	return { table, store, witness };
}

/** `a=aa b=bb*` with a star for a holder. */
export function shown(table: ReservationTable): string {
	return table
		.report()
		.registrations.map(({ registrant, key, holder }) => `${registrant.id}=${key.toString(16)}${holder ? '*' : ''}`)
		.join(' ');
}
