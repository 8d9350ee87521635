import { type ChapColumns, type ChapRow, type ChapWish, checkDirections, fromColumns, granted, selectChap, toColumns } from './chap.ts';
import type { SqliteDatabase } from './database.ts';
import { limits } from './limits.ts';
import { checkIscsiName } from './names.ts';
import { checkSources } from './sources.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

/** An initiator that a target admits. */
export interface InitiatorRow extends ChapRow {
	/** iSCSI name in its normal form. */
	readonly initiator: string;
	/** Networks and addresses that it may come from; none means any. */
	readonly sources: readonly string[];
}

/** What `allow` says; what it leaves out stays as it is. */
export interface InitiatorAccess extends ChapWish {
	readonly sources?: readonly string[] | undefined;
}

/** Who may use a target, with the manners of Configuration: durable when a method returns, and nothing changed when it throws UsageError. */
export class Initiators {
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;

	constructor(transactions: Transactions) {
		this.#transactions = transactions;
		this.#database = transactions.database;
	}

	/** Sorted by name. */
	of(target: string): InitiatorRow[] {
		return this.#transactions.read(() => {
			const sources = this.#database
				.prepare<[string, string], string>('SELECT source FROM target_access_sources WHERE target = ? AND initiator = ? ORDER BY position')
				.pluck();
			return this.#database
				.prepare<[string], ChapColumns & { initiator: string }>(
					`SELECT initiator, ${selectChap} FROM target_access WHERE target = ? ORDER BY initiator`,
				)
				.all(target)
				.map((row) => ({ initiator: row.initiator, ...fromColumns(row), sources: sources.all(target, row.initiator) }));
		});
	}

	/** Admits an initiator, or changes how. A secret that is not said again stays: nobody loses authentication by an `allow` that says less. */
	allow(target: string, initiator: string, access: InitiatorAccess): void {
		this.#transactions.change(() => {
			const name = checkIscsiName(initiator, 'initiator');
			const rows = this.of(target);
			const before = rows.find((row) => row.initiator === name);
			if (before === undefined && rows.length >= limits.initiatorsPerTarget) {
				throw new UsageError(`Target ${target} admits ${limits.initiatorsPerTarget} initiators, which is the most.`, 'inUse');
			}
			const chap = granted(before, access, { initiator: name, target });
			this.#database
				.prepare(
					`INSERT INTO target_access (target, initiator, chap_user, chap_secret, mutual_chap_user, mutual_chap_secret) VALUES (?, ?, ?, ?, ?, ?)
					ON CONFLICT (target, initiator) DO UPDATE SET chap_user = excluded.chap_user, chap_secret = excluded.chap_secret,
						mutual_chap_user = excluded.mutual_chap_user, mutual_chap_secret = excluded.mutual_chap_secret`,
				)
				.run(target, name, ...toColumns(chap));
			checkDirections(this.#transactions);
			if (access.sources !== undefined) this.#setSources(target, name, checkSources(access.sources));
		});
	}

	disallow(target: string, initiator: string): void {
		this.#transactions.change(() => {
			const name = initiator.normalize('NFKC').toLowerCase();
			const { changes } = this.#database.prepare('DELETE FROM target_access WHERE target = ? AND initiator = ?').run(target, name);
			if (changes === 0) throw new UsageError(`Target ${target} does not admit ${initiator}.`, 'notFound');
		});
	}

	#setSources(target: string, initiator: string, sources: readonly string[]): void {
		this.#database.prepare('DELETE FROM target_access_sources WHERE target = ? AND initiator = ?').run(target, initiator);
		const insert = this.#database.prepare('INSERT INTO target_access_sources (target, initiator, position, source) VALUES (?, ?, ?, ?)');
		for (const [position, source] of sources.entries()) insert.run(target, initiator, position, source);
	}
}
