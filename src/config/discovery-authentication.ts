import { type ChapColumns, type ChapRow, type ChapWish, checkDirections, fromColumns, granted, selectChap, toColumns } from './chap.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

/** Names of both sides when the operator gives none. */
const usual = { initiator: 'discovery', target: 'blockport' };

/** What initiators have to prove in discovery sessions, the same for all: a row or none. */
export class DiscoveryAuthentication {
	readonly #transactions: Transactions;

	constructor(transactions: Transactions) {
		this.#transactions = transactions;
	}

	get(): ChapRow {
		const row = this.#transactions.read(() =>
			this.#transactions.database.prepare<[], ChapColumns>(`SELECT ${selectChap} FROM discovery_authentication`).get(),
		);
		return row === undefined ? { chap: undefined, mutualChap: undefined } : fromColumns(row);
	}

	/** What the wish leaves out stays as it is. Refuses (UsageError) a wish that leaves it without a secret of the initiator. */
	set(wish: ChapWish): ChapRow {
		return this.#transactions.change(() => {
			const next = granted(this.get(), wish, usual);
			if (next.chap === undefined) throw new UsageError('Authentication of discovery needs a secret of the initiator.');
			this.#transactions.database
				.prepare(
					'INSERT OR REPLACE INTO discovery_authentication (id, chap_user, chap_secret, mutual_chap_user, mutual_chap_secret) VALUES (1, ?, ?, ?, ?)',
				)
				.run(...toColumns(next));
			checkDirections(this.#transactions);
			return next;
		});
	}

	/** Discovery is for everyone again; each sees what it may use, as before. */
	clear(): void {
		this.#transactions.change(() => this.#transactions.database.prepare('DELETE FROM discovery_authentication').run());
	}
}
