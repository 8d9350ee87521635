import type { Logger } from '../os/logger.ts';
import type { ReservationProtocol } from '../reservation/registrant.ts';
import {
	type ReservationStore,
	ReservationStoreFault,
	type StoredRegistration,
	type StoredReservations,
} from '../reservation/reservation-store.ts';
import { isReservationType, reservationTypes } from '../reservation/reservation-type.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

interface RegistrationRecord {
	protocol: ReservationProtocol;
	id: string;
	port: string;
	key: string;
	holder: 0 | 1;
}

/** The persistent reservations of one volume in config.db. A volume without persistence has no row. */
export class SqliteReservationStore implements ReservationStore {
	readonly #transactions: Transactions;
	readonly #uuid: string;
	readonly #log: Logger;

	constructor(transactions: Transactions, uuid: string, log: Logger) {
		this.#transactions = transactions;
		this.#uuid = uuid;
		this.#log = log;
	}

	/** Throws UsageError for rows that no table wrote. */
	load(): StoredReservations | undefined {
		return this.#transactions.read(() => {
			const { database } = this.#transactions;
			const row = database
				.prepare<[string], { type: string | null }>('SELECT type FROM reservations WHERE volume_uuid = ?')
				.get(this.#uuid);
			if (row === undefined) return undefined;
			const registrations = database
				.prepare<[string], RegistrationRecord>(
					'SELECT protocol, id, port, key, holder FROM registrations WHERE volume_uuid = ? ORDER BY position',
				)
				.all(this.#uuid)
				.map((record) => this.#registration(record));
			const holders = registrations.filter((one) => one.holder).length;
			if (row.type === null) {
				if (holders > 0) throw this.#damaged();
				return { persistThroughPowerLoss: true, type: undefined, registrations };
			}
			if (!isReservationType(row.type)) throw this.#damaged();
			if (holders !== (reservationTypes[row.type].allRegistrants ? registrations.length : 1) || holders === 0) throw this.#damaged();
			return { persistThroughPowerLoss: true, type: row.type, registrations };
		});
	}

	save(state: StoredReservations): void {
		try {
			this.#transactions.change(() => this.#replace(state));
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			this.#log.error({ uuid: this.#uuid, err: error }, 'a reservation that was to persist cannot be stored: the command is refused');
			throw new ReservationStoreFault(error.message, { cause: error });
		}
	}

	#replace({ persistThroughPowerLoss, type, registrations }: StoredReservations): void {
		const { database } = this.#transactions;
		database.prepare('DELETE FROM reservations WHERE volume_uuid = ?').run(this.#uuid);
		if (!persistThroughPowerLoss) return;
		database.prepare('INSERT INTO reservations (volume_uuid, type) VALUES (?, ?)').run(this.#uuid, type ?? null);
		const insert = database.prepare(
			'INSERT INTO registrations (volume_uuid, position, protocol, id, port, key, holder) VALUES (?, ?, ?, ?, ?, ?, ?)',
		);
		for (const [position, one] of registrations.entries()) {
			const key = one.key.toString(16).padStart(16, '0');
			insert.run(this.#uuid, position, one.protocol, one.id, one.port, key, one.holder ? 1 : 0);
		}
	}

	#registration({ key, holder, ...rest }: RegistrationRecord): StoredRegistration {
		if (!/^[0-9a-f]{16}$/.test(key)) throw this.#damaged();
		return { ...rest, key: BigInt(`0x${key}`), holder: holder === 1 };
	}

	#damaged(): UsageError {
		return new UsageError(
			`${this.#transactions.path} has damaged reservations of volume ${this.#uuid}: restore it from a copy.`,
			'unavailable',
		);
	}
}
