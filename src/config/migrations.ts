/**
 * The schema, one step a version. A step that was released never changes: a new one is added behind it. Position n leads to version n + 1.
 *
 * Integers are STRICT and checked here again, though Configuration checks first: a file that somebody edited by hand must not carry an impossible size into the engine.
 */
export const migrations: readonly string[] = [
	`
	CREATE TABLE volumes (
		name        TEXT PRIMARY KEY,
		uuid        TEXT NOT NULL UNIQUE,
		size_bytes  INTEGER NOT NULL CHECK (size_bytes > 0 AND size_bytes % 4096 = 0),
		block_size  INTEGER NOT NULL CHECK (block_size IN (512, 4096)),
		created_at  TEXT NOT NULL
	) STRICT;

	-- Directories under volumes/ that hold nothing anybody was promised: a volume that is being made or deleted. A restart removes them.
	CREATE TABLE doomed_directories (
		uuid        TEXT PRIMARY KEY
	) STRICT;

	CREATE TABLE targets (
		name        TEXT PRIMARY KEY,
		alias       TEXT NOT NULL,
		tpgt        INTEGER NOT NULL CHECK (tpgt BETWEEN 1 AND 65535),
		-- Honoured under --demo only.
		open_to_all INTEGER NOT NULL CHECK (open_to_all IN (0, 1)),
		created_at  TEXT NOT NULL
	) STRICT;

	CREATE TABLE luns (
		target      TEXT NOT NULL REFERENCES targets (name) ON DELETE CASCADE,
		lun         INTEGER NOT NULL CHECK (lun BETWEEN 0 AND 255),
		volume      TEXT NOT NULL REFERENCES volumes (name) ON DELETE RESTRICT,
		PRIMARY KEY (target, lun),
		UNIQUE (target, volume)
	) STRICT;

	CREATE TABLE target_access (
		target      TEXT NOT NULL REFERENCES targets (name) ON DELETE CASCADE,
		initiator   TEXT NOT NULL,
		PRIMARY KEY (target, initiator)
	) STRICT;
	`,
];
