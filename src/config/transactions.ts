import Database from 'better-sqlite3';
import { type SqliteDatabase, explained } from './database.ts';
import { type Reserve, withReserve } from './reserve.ts';

/** Reading and changing the one database: what SQLite says of it becomes a UsageError. */
export class Transactions {
	readonly path: string;
	readonly database: SqliteDatabase;

	readonly #reserve: Reserve | undefined;

	constructor(path: string, database: SqliteDatabase, reserve?: Reserve) {
		this.path = path;
		this.database = database;
		this.#reserve = reserve;
	}

	/** One transaction, durable when it returns; nested calls join it. What throws leaves nothing changed. */
	change<T>(change: () => T): T {
		const run = (): T => this.database.transaction(change).immediate();
		// SQLite has rolled all of it back, the outer ones too: only the outermost may begin anew.
		return this.read(() => (this.database.inTransaction ? run() : withReserve(this.#reserve, run)));
	}

	read<T>(read: () => T): T {
		try {
			return read();
		} catch (error) {
			if (error instanceof Database.SqliteError) throw explained(error, this.path);
			throw error;
		}
	}
}
