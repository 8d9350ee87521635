import type { SqliteDatabase } from './database.ts';
import type { Transactions } from './transactions.ts';

/** Which volumes initiators may have sanitized, by UUID, with the manners of Configuration. None unless somebody said so. */
export class SanitizePermissions {
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;

	constructor(transactions: Transactions) {
		this.#transactions = transactions;
		this.#database = transactions.database;
	}

	has(volumeUuid: string): boolean {
		return this.#transactions.read(
			() => this.#database.prepare<[string]>('SELECT 1 FROM sanitizable_volumes WHERE volume_uuid = ?').get(volumeUuid) !== undefined,
		);
	}

	/** Of a volume that there is. */
	set(volumeUuid: string, isAllowed: boolean): void {
		this.#transactions.change(() => {
			const statement = isAllowed
				? 'INSERT OR IGNORE INTO sanitizable_volumes (volume_uuid) VALUES (?)'
				: 'DELETE FROM sanitizable_volumes WHERE volume_uuid = ?';
			this.#database.prepare(statement).run(volumeUuid);
		});
	}
}
