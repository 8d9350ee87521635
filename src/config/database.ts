import { chmodSync, statSync } from 'node:fs';
import Database from 'better-sqlite3';
import { migrations } from './migrations.ts';
import { type Reserve, withReserve } from './reserve.ts';
import { UsageError } from './usage-error.ts';

export type SqliteDatabase = Database.Database;

/**
 * Opens config.db, making it if it is not there, and brings its schema to the newest version: all steps in one transaction, so that a crash leaves the old version or the new one.
 * Throws UsageError for a file that is no database, is damaged, is newer than this program, or cannot be written.
 */
export function openDatabase(path: string, steps: readonly string[] = migrations, reserve?: Reserve): SqliteDatabase {
	return withReserve(reserve, () => open(path, steps));
}

function open(path: string, steps: readonly string[]): SqliteDatabase {
	let database: SqliteDatabase | undefined;
	try {
		database = new Database(path, { timeout: 2000 });
		makePrivate(path);
		database.pragma('journal_mode = WAL');
		// A configuration change that was acknowledged survives power loss.
		database.pragma('synchronous = FULL');
		database.pragma('foreign_keys = ON');
		migrate(database, path, steps);
		return database;
	} catch (error) {
		database?.close();
		if (error instanceof Database.SqliteError) throw explained(error, path);
		// better-sqlite3 says so of a directory that is not there.
		if (error instanceof TypeError) throw new UsageError(`${path} cannot be opened: ${error.message}.`, 'unavailable', { cause: error });
		throw error;
	}
}

/** It holds secrets. SQLite gives its other files the same mode. */
function makePrivate(path: string): void {
	if ((statSync(path).mode & 0o077) === 0) return;
	try {
		chmodSync(path, 0o600);
	} catch (error) {
		const code = error instanceof Error && 'code' in error ? String(error.code) : '';
		if (code === '') throw error;
		throw new UsageError(`${path} holds secrets, others may read it, and that cannot be changed (${code}): chmod 600 it.`, 'unavailable', {
			cause: error,
		});
	}
}

function migrate(database: SqliteDatabase, path: string, steps: readonly string[]): void {
	const upgrade = database.transaction(() => {
		database.exec('CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT');
		const version = database.prepare<[], number>('SELECT version FROM schema_version').pluck().get();
		const known = version ?? 0;
		if (known > steps.length) {
			throw new UsageError(
				`${path} has schema ${known} and this blockport knows up to ${steps.length}: run the newer release that wrote it, or restore an older config.db.`,
			);
		}
		for (const step of steps.slice(known)) database.exec(step);
		if (version === undefined) database.prepare('INSERT INTO schema_version (version) VALUES (?)').run(steps.length);
		else if (version !== steps.length) database.prepare('UPDATE schema_version SET version = ?').run(steps.length);
	});
	upgrade.immediate();
}

/** The sentence for what SQLite said; https://sqlite.org/rescode.html. */
export function explained(error: InstanceType<typeof Database.SqliteError>, path: string): UsageError {
	const cause = { cause: error };
	const primary = /^SQLITE_[A-Z]+/.exec(error.code)?.[0] ?? error.code;
	switch (primary) {
		case 'SQLITE_NOTADB':
		case 'SQLITE_CORRUPT':
			return new UsageError(
				`${path} is damaged or no configuration of blockport: restore it from a copy, or move it away to begin anew.`,
				'unavailable',
				cause,
			);
		case 'SQLITE_FULL':
			return new UsageError(`${path} cannot be written: the file system is full; make room on it first.`, 'noSpace', cause);
		case 'SQLITE_CANTOPEN':
		case 'SQLITE_READONLY':
		case 'SQLITE_PERM':
			return new UsageError(`${path} cannot be opened for writing: check who owns it and its directory.`, 'unavailable', cause);
		case 'SQLITE_BUSY':
		case 'SQLITE_LOCKED':
			return new UsageError(`${path} is locked by another program: end that program first.`, 'unavailable', cause);
		case 'SQLITE_IOERR':
			return new UsageError(
				`${path} cannot be read or written: the disk fails, or its file system is full (${error.code}).`,
				'unavailable',
				cause,
			);
		default:
			return new UsageError(`${path} cannot be used: ${error.message}.`, 'unavailable', cause);
	}
}
