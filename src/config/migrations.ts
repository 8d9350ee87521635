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
	`
	CREATE TABLE subsystems (
		name        TEXT PRIMARY KEY,
		uuid        TEXT NOT NULL UNIQUE,
		-- Honoured under --demo only.
		open_to_all INTEGER NOT NULL CHECK (open_to_all IN (0, 1)),
		created_at  TEXT NOT NULL
	) STRICT;

	CREATE TABLE namespaces (
		subsystem   TEXT NOT NULL REFERENCES subsystems (name) ON DELETE CASCADE,
		nsid        INTEGER NOT NULL CHECK (nsid BETWEEN 1 AND 1024),
		volume      TEXT NOT NULL REFERENCES volumes (name) ON DELETE RESTRICT,
		PRIMARY KEY (subsystem, nsid),
		UNIQUE (subsystem, volume)
	) STRICT;

	-- Secrets stand here as they were given, because DH-HMAC-CHAP computes with them: the file is readable for its owner only.
	CREATE TABLE subsystem_hosts (
		subsystem       TEXT NOT NULL REFERENCES subsystems (name) ON DELETE CASCADE,
		host            TEXT NOT NULL,
		dhchap_secret   TEXT,
		dhchap_ctrl_secret TEXT CHECK (dhchap_ctrl_secret IS NULL OR dhchap_secret IS NOT NULL),
		dhchap_hash     TEXT NOT NULL CHECK (dhchap_hash IN ('sha256', 'sha384', 'sha512')),
		dhchap_dhgroup  TEXT NOT NULL CHECK (dhchap_dhgroup IN ('null', 'ffdhe2048', 'ffdhe3072', 'ffdhe4096', 'ffdhe6144', 'ffdhe8192')),
		PRIMARY KEY (subsystem, host)
	) STRICT;

	-- What a reservation table keeps over a power loss: nothing else has a row here.
	CREATE TABLE reservations (
		volume_uuid TEXT PRIMARY KEY REFERENCES volumes (uuid) ON DELETE CASCADE,
		type        TEXT
	) STRICT;

	CREATE TABLE registrations (
		volume_uuid TEXT NOT NULL REFERENCES reservations (volume_uuid) ON DELETE CASCADE,
		position    INTEGER NOT NULL,
		protocol    TEXT NOT NULL CHECK (protocol IN ('iscsi', 'nvme')),
		id          TEXT NOT NULL,
		port        TEXT NOT NULL,
		-- 16 hexadecimal digits: SQLite's integers are signed.
		key         TEXT NOT NULL CHECK (length(key) = 16 AND key <> '0000000000000000'),
		holder      INTEGER NOT NULL CHECK (holder IN (0, 1)),
		PRIMARY KEY (volume_uuid, position),
		UNIQUE (volume_uuid, protocol, id, port)
	) STRICT;
	`,
	`
	-- Secrets stand here as they were given, because CHAP computes with them.
	ALTER TABLE target_access ADD COLUMN chap_user TEXT;
	ALTER TABLE target_access ADD COLUMN chap_secret TEXT CHECK ((chap_secret IS NULL) = (chap_user IS NULL));
	ALTER TABLE target_access ADD COLUMN mutual_chap_user TEXT;
	ALTER TABLE target_access ADD COLUMN mutual_chap_secret TEXT
		CHECK ((mutual_chap_secret IS NULL) = (mutual_chap_user IS NULL) AND (mutual_chap_secret IS NULL OR chap_secret IS NOT NULL));

	-- An initiator without a row here may come from anywhere.
	CREATE TABLE target_access_sources (
		target      TEXT NOT NULL,
		initiator   TEXT NOT NULL,
		position    INTEGER NOT NULL,
		source      TEXT NOT NULL,
		PRIMARY KEY (target, initiator, position),
		FOREIGN KEY (target, initiator) REFERENCES target_access (target, initiator) ON DELETE CASCADE
	) STRICT;

	CREATE TABLE discovery_authentication (
		id                 INTEGER PRIMARY KEY CHECK (id = 1),
		chap_user          TEXT NOT NULL,
		chap_secret        TEXT NOT NULL,
		mutual_chap_user   TEXT,
		mutual_chap_secret TEXT CHECK ((mutual_chap_secret IS NULL) = (mutual_chap_user IS NULL))
	) STRICT;

	-- Where logins to a target go instead of to us: host:port.
	ALTER TABLE targets ADD COLUMN redirect TEXT;
	ALTER TABLE targets ADD COLUMN redirect_permanent INTEGER NOT NULL DEFAULT 0 CHECK (redirect_permanent IN (0, 1));
	`,
	`
	CREATE TABLE schedules (
		name         TEXT PRIMARY KEY,
		cron         TEXT NOT NULL,
		zone         TEXT NOT NULL,
		template     TEXT NOT NULL,
		keep_last    INTEGER NOT NULL DEFAULT 0 CHECK (keep_last >= 0),
		keep_hourly  INTEGER NOT NULL DEFAULT 0 CHECK (keep_hourly >= 0),
		keep_daily   INTEGER NOT NULL DEFAULT 0 CHECK (keep_daily >= 0),
		keep_weekly  INTEGER NOT NULL DEFAULT 0 CHECK (keep_weekly >= 0),
		keep_monthly INTEGER NOT NULL DEFAULT 0 CHECK (keep_monthly >= 0),
		keep_yearly  INTEGER NOT NULL DEFAULT 0 CHECK (keep_yearly >= 0),
		-- Milliseconds since 1970.
		seen_ms      INTEGER NOT NULL,
		created_at   TEXT NOT NULL
	) STRICT;

	CREATE TABLE schedule_volumes (
		schedule     TEXT NOT NULL REFERENCES schedules (name) ON DELETE CASCADE,
		volume       TEXT NOT NULL REFERENCES volumes (name) ON DELETE RESTRICT,
		PRIMARY KEY (schedule, volume)
	) STRICT;

	-- What a schedule made, and so may delete. Without an id: about to be made.
	CREATE TABLE schedule_snapshots (
		schedule     TEXT NOT NULL REFERENCES schedules (name) ON DELETE CASCADE,
		volume       TEXT NOT NULL REFERENCES volumes (name) ON DELETE CASCADE,
		name         TEXT NOT NULL,
		snapshot_id  INTEGER,
		PRIMARY KEY (schedule, volume, name)
	) STRICT;
	`,
	`
	-- A snapshot as a LUN or a namespace, read-only. The engine's id says which one it is, should another come to have its name.
	CREATE TABLE snapshot_mounts (
		volume      TEXT NOT NULL REFERENCES volumes (name) ON DELETE RESTRICT,
		snapshot    TEXT NOT NULL,
		snapshot_id INTEGER NOT NULL,
		uuid        TEXT NOT NULL,
		size_bytes  INTEGER NOT NULL CHECK (size_bytes > 0 AND size_bytes % 4096 = 0),
		target      TEXT REFERENCES targets (name) ON DELETE RESTRICT,
		lun         INTEGER CHECK (lun BETWEEN 0 AND 255),
		subsystem   TEXT REFERENCES subsystems (name) ON DELETE RESTRICT,
		nsid        INTEGER CHECK (nsid BETWEEN 1 AND 1024),
		CHECK ((target IS NULL) <> (subsystem IS NULL) AND (target IS NULL) = (lun IS NULL) AND (subsystem IS NULL) = (nsid IS NULL)),
		UNIQUE (target, lun),
		UNIQUE (subsystem, nsid),
		UNIQUE (volume, snapshot, target),
		UNIQUE (volume, snapshot, subsystem)
	) STRICT;
	`,
	`
	CREATE TABLE scrubs (
		volume      TEXT PRIMARY KEY REFERENCES volumes (name) ON DELETE CASCADE,
		cron        TEXT,
		zone        TEXT CHECK ((zone IS NULL) = (cron IS NULL)),
		-- Milliseconds since 1970.
		seen_ms     INTEGER NOT NULL,
		-- What runs and what came to its end, as JSON: nothing is searched in them.
		run         TEXT CHECK (run IS NULL OR json_valid(run)),
		last        TEXT CHECK (last IS NULL OR json_valid(last))
	) STRICT;
	`,
	`
	-- Secrets stand here as they were given: requests to S3 are signed with one, and the key of a repository is derived from the other.
	CREATE TABLE repositories (
		name         TEXT PRIMARY KEY,
		-- As JSON; nothing in it is secret.
		location     TEXT NOT NULL CHECK (json_valid(location)),
		secret_access_key TEXT,
		passphrase   TEXT,
		zone         TEXT NOT NULL,
		keep_last    INTEGER NOT NULL DEFAULT 0 CHECK (keep_last >= 0),
		keep_hourly  INTEGER NOT NULL DEFAULT 0 CHECK (keep_hourly >= 0),
		keep_daily   INTEGER NOT NULL DEFAULT 0 CHECK (keep_daily >= 0),
		keep_weekly  INTEGER NOT NULL DEFAULT 0 CHECK (keep_weekly >= 0),
		keep_monthly INTEGER NOT NULL DEFAULT 0 CHECK (keep_monthly >= 0),
		keep_yearly  INTEGER NOT NULL DEFAULT 0 CHECK (keep_yearly >= 0),
		created_at   TEXT NOT NULL
	) STRICT;

	-- Those that ended tell of repositories that may be gone. Ids are never used twice: somebody may still ask for an old one.
	CREATE TABLE archive_jobs (
		id           INTEGER PRIMARY KEY AUTOINCREMENT,
		repository   TEXT NOT NULL,
		kind         TEXT NOT NULL,
		wish         TEXT NOT NULL CHECK (json_valid(wish)),
		state        TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
		attempts     INTEGER NOT NULL DEFAULT 0,
		cut_short    INTEGER NOT NULL DEFAULT 0,
		note         TEXT,
		result       TEXT CHECK (result IS NULL OR json_valid(result)),
		fault        TEXT,
		created_at   TEXT NOT NULL,
		finished_at  TEXT CHECK ((finished_at IS NULL) = (state IN ('waiting', 'running')))
	) STRICT;

	-- What this appliance has put into repositories, of the snapshots that it still has.
	CREATE TABLE archived_snapshots (
		volume_uuid  TEXT NOT NULL REFERENCES volumes (uuid) ON DELETE CASCADE,
		snapshot_id  INTEGER NOT NULL,
		repository   TEXT NOT NULL REFERENCES repositories (name) ON DELETE CASCADE,
		manifest     TEXT NOT NULL,
		PRIMARY KEY (volume_uuid, snapshot_id, repository)
	) STRICT;

	-- Where its snapshots are archived once they are made.
	ALTER TABLE schedules ADD COLUMN repository TEXT REFERENCES repositories (name) ON DELETE RESTRICT;
	`,
	`
	-- Initiators may destroy everything that is in them.
	CREATE TABLE sanitizable_volumes (
		volume_uuid  TEXT PRIMARY KEY REFERENCES volumes (uuid) ON DELETE CASCADE
	) STRICT;
	`,
	`
	CREATE TABLE volume_space (
		volume_uuid       TEXT PRIMARY KEY REFERENCES volumes (uuid) ON DELETE CASCADE,
		quota_bytes       INTEGER CHECK (quota_bytes > 0),
		threshold_percent INTEGER CHECK (threshold_percent BETWEEN 1 AND 100)
	) STRICT;

	CREATE TABLE directory_space (
		id                INTEGER PRIMARY KEY CHECK (id = 1),
		threshold_percent INTEGER CHECK (threshold_percent BETWEEN 1 AND 100)
	) STRICT;
	`,
	`
	-- By what an appliance knows its own traces in repositories that it shares with others.
	CREATE TABLE archive_identity (
		id           INTEGER PRIMARY KEY CHECK (id = 1),
		identity     TEXT NOT NULL CHECK (length(identity) = 32)
	) STRICT;
	INSERT INTO archive_identity (id, identity) VALUES (1, lower(hex(randomblob(16))));
	`,
];
