import Database from 'better-sqlite3';
import { type SqliteDatabase, explained } from './database.ts';

/** Reading and changing the one database: what SQLite says of it becomes a UsageError. */
export class Transactions {
	readonly path: string;
	readonly database: SqliteDatabase;

	constructor(path: string, database: SqliteDatabase) {
		this.path = path;
		this.database = database;
	}

	/** One transaction, durable when it returns; nested calls join it. What throws leaves nothing changed. */
	change<T>(change: () => T): T {
		return this.read(() => this.database.transaction(change).immediate());
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
