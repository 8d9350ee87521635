import type { Logger } from '../os/logger.ts';
import { exactSize } from '../os/size-text.ts';
import { ArchiveJobs } from './archive-jobs.ts';
import { type SqliteDatabase, openDatabase } from './database.ts';
import type { Reserve } from './reserve.ts';
import { DiscoveryAuthentication } from './discovery-authentication.ts';
import { type InitiatorAccess, type InitiatorRow, Initiators } from './initiators.ts';
import { limits } from './limits.ts';
import { checkAlias, checkBlockSize, checkIscsiName, checkRedirection, checkTpgt, checkVolumeName, checkVolumeSize } from './names.ts';
import { Repositories } from './repositories.ts';
import { SqliteReservationStore } from './reservation-store.ts';
import { Schedules } from './schedules.ts';
import { SanitizePermissions } from './sanitize-permissions.ts';
import { Scrubs } from './scrubs.ts';
import { SnapshotMounts, placeText } from './snapshot-mounts.ts';
import { SpaceLimitsStore } from './space-limits.ts';
import { Subsystems } from './subsystems.ts';
import { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

export interface VolumeRow {
	readonly name: string;
	/** Lower-case UUID, also the name of the directory under volumes/. */
	readonly uuid: string;
	readonly sizeBytes: number;
	readonly blockSize: 512 | 4096;
	/** ISO 8601, UTC. */
	readonly createdAt: string;
}

export interface LunRow {
	readonly target: string;
	readonly lun: number;
	readonly volume: string;
}

export interface TargetRow {
	readonly name: string;
	readonly alias: string;
	readonly tpgt: number;
	/** Admits every initiator, under --demo only. */
	readonly openToAll: boolean;
	readonly createdAt: string;
	/** Ascending by LUN. */
	readonly luns: readonly LunRow[];
	/** Those that are admitted, sorted by name. */
	readonly initiators: readonly InitiatorRow[];
	/** Where its logins go instead, for maintenance. */
	readonly redirection: RedirectionRow | undefined;
}

export interface RedirectionRow {
	/** host:port, IPv6 in brackets. */
	readonly address: string;
	/** Initiators are to forget us. */
	readonly permanent: boolean;
}

interface TargetRecord {
	name: string;
	alias: string;
	tpgt: number;
	openToAll: 0 | 1;
	createdAt: string;
	redirect: string | null;
	redirectPermanent: 0 | 1;
}

/**
 * What the appliance was told to be, in config.db. Every change is durable when its method returns. Each method refuses (UsageError) what it was given wrongly, and then has changed nothing.
 *
 * Volume directories and rows change in an order that a crash cannot make ambiguous:
 *
 *     create   doomDirectory(uuid) → the directory → addVolume(row), which takes the doom back in the same transaction
 *     replace  doomDirectory(uuid) → the directory → replaceVolume(row, keepAs), which takes the doom back and gives the old volume its other name
 *     delete   removeVolume(name), which dooms the directory in the same transaction → the directory is removed → directoryRemoved(uuid)
 *
 * So a directory that a restart finds is a volume's (keep), doomed (nobody was promised anything of it, or its deletion was acknowledged: remove), or neither
 * (unknown: report it, never touch it).
 */
export class Configuration {
	readonly path: string;
	/** What is exported over NVMe. */
	readonly subsystems: Subsystems;
	/** When snapshots are made, and which are kept. */
	readonly schedules: Schedules;
	/** Snapshots that are exported. */
	readonly mounts: SnapshotMounts;
	/** How far volumes are scrubbed, and when they are. */
	readonly scrubs: Scrubs;
	/** Where snapshots are archived. */
	readonly repositories: Repositories;
	/** What is to be done there. */
	readonly archiveJobs: ArchiveJobs;
	/** Quotas and thresholds. */
	readonly space: SpaceLimitsStore;
	/** Which volumes initiators may have sanitized. */
	readonly sanitizing: SanitizePermissions;
	readonly discoveryAuthentication: DiscoveryAuthentication;
	readonly #initiators: Initiators;
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;
	readonly #now: () => Date;
	readonly #reserve: Reserve | undefined;

	constructor(path: string, now: () => Date = () => new Date(), reserve?: Reserve) {
		this.path = path;
		this.#database = openDatabase(path, undefined, reserve);
		this.#reserve = reserve;
		this.#reserve?.keep();
		this.#transactions = new Transactions(path, this.#database, reserve);
		this.#now = now;
		this.#initiators = new Initiators(this.#transactions);
		this.repositories = new Repositories(this.#transactions, now);
		this.archiveJobs = new ArchiveJobs(this.#transactions, now);
		this.discoveryAuthentication = new DiscoveryAuthentication(this.#transactions);
		this.sanitizing = new SanitizePermissions(this.#transactions);
		this.mounts = new SnapshotMounts(this.#transactions);
		this.space = new SpaceLimitsStore(this.#transactions);
		this.subsystems = new Subsystems(this.#transactions, now, (volume) => void this.volume(volume), this.mounts);
		this.scrubs = new Scrubs(this.#transactions, now, (volume) => void this.volume(volume));
		this.schedules = new Schedules(
			this.#transactions,
			now,
			(volume) => void this.volume(volume),
			(repository) => void this.repositories.get(repository),
		);
	}

	get isEmpty(): boolean {
		return this.#count('volumes') === 0 && this.#count('targets') === 0 && this.subsystems.count === 0;
	}

	volumes(): VolumeRow[] {
		return this.#read(() => this.#database.prepare<[], VolumeRow>(`${selectVolume} ORDER BY name`).all());
	}

	findVolume(name: string): VolumeRow | undefined {
		return this.#read(() => this.#database.prepare<[string], VolumeRow>(`${selectVolume} WHERE name = ?`).get(name));
	}

	/** The row, or UsageError notFound. */
	volume(name: string): VolumeRow {
		const row = this.findVolume(name);
		if (row === undefined) throw new UsageError(`There is no volume ${name}.`, 'notFound');
		return row;
	}

	/** Refuses what addVolume would refuse, before a directory is made for it. */
	checkNewVolume(volume: { name: string; sizeBytes: number; blockSize: number }): void {
		checkVolumeName(volume.name);
		checkVolumeSize(volume.sizeBytes);
		checkBlockSize(volume.blockSize);
		if (this.findVolume(volume.name) !== undefined) throw new UsageError(`There is a volume ${volume.name} already.`, 'alreadyExists');
		if (this.#count('volumes') >= limits.volumes) throw new UsageError(`There are ${limits.volumes} volumes, which is the most.`, 'inUse');
	}

	doomDirectory(uuid: string): void {
		this.#change(() => this.#database.prepare('INSERT OR IGNORE INTO doomed_directories (uuid) VALUES (?)').run(uuid));
	}

	addVolume(volume: { name: string; uuid: string; sizeBytes: number; blockSize: 512 | 4096 }): VolumeRow {
		return this.#change(() => {
			this.checkNewVolume(volume);
			const row: VolumeRow = { ...volume, createdAt: this.#now().toISOString() };
			this.#database
				.prepare('INSERT INTO volumes (name, uuid, size_bytes, block_size, created_at) VALUES (?, ?, ?, ?, ?)')
				.run(row.name, row.uuid, row.sizeBytes, row.blockSize, row.createdAt);
			this.directoryRemoved(row.uuid);
			return row;
		});
	}

	/** Refuses what replaceVolume would refuse, before a directory is made for it. */
	checkReplacement(name: string, keepAs: string, { sizeBytes, blockSize }: { sizeBytes: number; blockSize: number }): VolumeRow {
		const row = this.volume(name);
		this.checkNewVolume({ name: keepAs, sizeBytes, blockSize });
		const users = this.#usersOf(name);
		if (this.scrubs.get(name).run !== undefined) users.push('end its scrub');
		if (users.length > 0) throw new UsageError(`Volume ${name} is in use: ${listed(users)} first.`, 'inUse');
		return row;
	}

	/**
	 * Another volume takes a name, and the one that has it is called `keepAs`, with its reservations. Takes the doom of the new directory back. Refused (inUse) like removeVolume.
	 */
	replaceVolume(volume: { name: string; uuid: string; sizeBytes: number; blockSize: 512 | 4096 }, keepAs: string): VolumeRow {
		return this.#change(() => {
			const old = this.checkReplacement(volume.name, keepAs, volume);
			const row: VolumeRow = { ...volume, createdAt: this.#now().toISOString() };
			// Reservations refer to the old uuid, which has no row between the two statements.
			this.#database.pragma('defer_foreign_keys = ON');
			this.#database
				.prepare('UPDATE volumes SET uuid = ?, size_bytes = ?, block_size = ?, created_at = ? WHERE name = ?')
				.run(row.uuid, row.sizeBytes, row.blockSize, row.createdAt, row.name);
			this.#database
				.prepare('INSERT INTO volumes (name, uuid, size_bytes, block_size, created_at) VALUES (?, ?, ?, ?, ?)')
				.run(keepAs, old.uuid, old.sizeBytes, old.blockSize, old.createdAt);
			this.scrubs.forget(row.name);
			this.directoryRemoved(row.uuid);
			return row;
		});
	}

	/** Grow only: what is behind the end of a smaller volume would be lost. */
	resizeVolume(name: string, sizeBytes: number): VolumeRow {
		return this.#change(() => {
			const row = this.checkResize(name, sizeBytes);
			this.#database.prepare('UPDATE volumes SET size_bytes = ? WHERE name = ?').run(sizeBytes, name);
			return { ...row, sizeBytes };
		});
	}

	/** What the volume itself says, which a restore may have made smaller. */
	takeVolumeSize(name: string, sizeBytes: number): void {
		this.#change(() => this.#database.prepare('UPDATE volumes SET size_bytes = ? WHERE name = ?').run(checkVolumeSize(sizeBytes), name));
	}

	/** Refuses what resizeVolume would refuse; the row as it is now. */
	checkResize(name: string, sizeBytes: number): VolumeRow {
		const row = this.volume(name);
		checkVolumeSize(sizeBytes);
		if (sizeBytes < row.sizeBytes) {
			throw new UsageError(
				`Volume ${name} has ${exactSize(row.sizeBytes)} and cannot shrink to ${exactSize(sizeBytes)}: make a smaller one and copy.`,
			);
		}
		return row;
	}

	/** Refused (inUse) while a target or a subsystem maps the volume or a snapshot of it, or a schedule snaps it. Its reservations go with it. Dooms the directory. */
	removeVolume(name: string): VolumeRow {
		return this.#change(() => {
			const row = this.volume(name);
			const users = this.#usersOf(name);
			if (users.length > 0) throw new UsageError(`Volume ${name} is in use: ${listed(users)} first.`, 'inUse');
			this.#database.prepare('DELETE FROM volumes WHERE name = ?').run(name);
			this.doomDirectory(row.uuid);
			return row;
		});
	}

	/** What has to be undone before the volume may go, each in words that begin with what to do. */
	#usersOf(name: string): string[] {
		return [
			...[...this.mappingsOf(name), ...this.subsystems.mappingsOf(name)].map((place) => `unmap ${placeText(place)}`),
			...new Set(this.mounts.of(name).map(({ snapshot }) => `unmount snapshot ${name}@${snapshot}`)),
			...this.schedules.of(name).map((schedule) => `delete schedule ${schedule}`),
		];
	}

	doomedDirectories(): string[] {
		return this.#read(() => this.#database.prepare<[], string>('SELECT uuid FROM doomed_directories ORDER BY uuid').pluck().all());
	}

	directoryRemoved(uuid: string): void {
		this.#change(() => this.#database.prepare('DELETE FROM doomed_directories WHERE uuid = ?').run(uuid));
		// There may be room again.
		this.#reserve?.keep();
	}

	targets(): TargetRow[] {
		return this.#read(() =>
			this.#database
				.prepare<[], TargetRecord>(`${selectTarget} ORDER BY name`)
				.all()
				.map((record) => this.#target(record)),
		);
	}

	findTarget(name: string): TargetRow | undefined {
		return this.#read(() => {
			const record = this.#database.prepare<[string], TargetRecord>(`${selectTarget} WHERE name = ?`).get(normal(name));
			return record === undefined ? undefined : this.#target(record);
		});
	}

	/** The row, or UsageError notFound. */
	target(name: string): TargetRow {
		const row = this.findTarget(name);
		if (row === undefined) throw new UsageError(`There is no target ${name}.`, 'notFound');
		return row;
	}

	/** Refuses a name that addTarget would refuse; returns it in its normal form. */
	checkNewTarget(asked: string): string {
		const name = checkIscsiName(asked, 'target');
		if (this.findTarget(name) !== undefined) throw new UsageError(`There is a target ${name} already.`, 'alreadyExists');
		if (this.#count('targets') >= limits.targets) throw new UsageError(`There are ${limits.targets} targets, which is the most.`, 'inUse');
		return name;
	}

	addTarget(target: { name: string; alias?: string; tpgt?: number; openToAll?: boolean }): TargetRow {
		return this.#change(() => {
			const name = this.checkNewTarget(target.name);
			const alias = checkAlias(target.alias ?? '');
			const tpgt = checkTpgt(target.tpgt ?? 1);
			this.#database
				.prepare('INSERT INTO targets (name, alias, tpgt, open_to_all, created_at) VALUES (?, ?, ?, ?, ?)')
				.run(name, alias, tpgt, target.openToAll === true ? 1 : 0, this.#now().toISOString());
			return this.target(name);
		});
	}

	/** Takes its mappings and its access list with it; volumes stay. Refused (inUse) while a snapshot is mounted there. */
	removeTarget(name: string): TargetRow {
		return this.#change(() => {
			const row = this.target(name);
			const mount = this.mounts.at(row.name)[0];
			if (mount !== undefined) {
				throw new UsageError(`Snapshot ${mount.volume}@${mount.snapshot} is ${placeText(mount.place)}: unmount it first.`, 'inUse');
			}
			this.#database.prepare('DELETE FROM targets WHERE name = ?').run(row.name);
			return row;
		});
	}

	/** Maps a volume at a LUN, by default the lowest free one. The same mapping again is no error. */
	map(target: string, volume: string, lun?: number): LunRow {
		return this.#change(() => {
			const row = this.target(target);
			this.volume(volume);
			const there = row.luns.find((mapping) => mapping.volume === volume);
			if (there !== undefined && (lun === undefined || lun === there.lun)) return there;
			if (there !== undefined) throw new UsageError(`Volume ${volume} is LUN ${there.lun} of ${row.name} already.`, 'alreadyExists');
			const chosen = this.mounts.chooseLun(row.name, lun);
			this.#database.prepare('INSERT INTO luns (target, lun, volume) VALUES (?, ?, ?)').run(row.name, chosen, volume);
			return { target: row.name, lun: chosen, volume };
		});
	}

	unmap(target: string, lun: number): LunRow {
		return this.#change(() => {
			const row = this.target(target);
			const mapping = row.luns.find((candidate) => candidate.lun === lun);
			if (mapping === undefined) throw new UsageError(`Target ${row.name} has no LUN ${lun}.`, 'notFound');
			this.#database.prepare('DELETE FROM luns WHERE target = ? AND lun = ?').run(row.name, lun);
			return mapping;
		});
	}

	/** Where a volume is mapped. */
	mappingsOf(volume: string): LunRow[] {
		return this.#read(() =>
			this.#database.prepare<[string], LunRow>('SELECT target, lun, volume FROM luns WHERE volume = ? ORDER BY target, lun').all(volume),
		);
	}

	/** Admits an initiator, or changes how; what `access` leaves out stays as it is. */
	allow(target: string, initiator: string, access: InitiatorAccess = {}): TargetRow {
		return this.#change(() => {
			const { name } = this.target(target);
			this.#initiators.allow(name, initiator, access);
			return this.target(name);
		});
	}

	disallow(target: string, initiator: string): TargetRow {
		return this.#change(() => {
			const { name } = this.target(target);
			this.#initiators.disallow(name, initiator);
			return this.target(name);
		});
	}

	/** Sends a target's logins elsewhere, or with undefined no longer. */
	redirect(target: string, to: { address: string; permanent: boolean } | undefined): TargetRow {
		return this.#change(() => {
			const { name } = this.target(target);
			const address = to === undefined ? null : checkRedirection(to.address);
			this.#database
				.prepare('UPDATE targets SET redirect = ?, redirect_permanent = ? WHERE name = ?')
				.run(address, to?.permanent === true ? 1 : 0, name);
			return this.target(name);
		});
	}

	/** Where the reservations of a volume that persist are kept. */
	reservationStore(uuid: string, log: Logger): SqliteReservationStore {
		return new SqliteReservationStore(this.#transactions, uuid, log);
	}

	close(): void {
		this.#database.close();
	}

	#target({ openToAll, redirect, redirectPermanent, ...record }: TargetRecord): TargetRow {
		const luns = this.#database
			.prepare<[string], LunRow>('SELECT target, lun, volume FROM luns WHERE target = ? ORDER BY lun')
			.all(record.name);
		return {
			...record,
			openToAll: openToAll === 1,
			luns,
			initiators: this.#initiators.of(record.name),
			redirection: redirect === null ? undefined : { address: redirect, permanent: redirectPermanent === 1 },
		};
	}

	#count(table: 'volumes' | 'targets'): number {
		return this.#read(() => this.#database.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get() ?? 0);
	}

	#change<T>(change: () => T): T {
		return this.#transactions.change(change);
	}

	#read<T>(read: () => T): T {
		return this.#transactions.read(read);
	}
}

const selectVolume = 'SELECT name, uuid, size_bytes AS sizeBytes, block_size AS blockSize, created_at AS createdAt FROM volumes';
const selectTarget =
	'SELECT name, alias, tpgt, open_to_all AS openToAll, created_at AS createdAt, redirect, redirect_permanent AS redirectPermanent FROM targets';

/** How many are named at most in a sentence. */
const listedMax = 16;

/** `a`, `a and b`, `a, b and c`. */
function listed(all: readonly string[]): string {
	const shown = all.length > listedMax ? [...all.slice(0, listedMax), `${all.length - listedMax} more`] : all;
	const last = shown.at(-1) ?? '';
	return shown.length < 2 ? last : `${shown.slice(0, -1).join(', ')} and ${last}`;
}

/** Names are kept in their normal form; a look-up with another spelling finds the same row. */
function normal(name: string): string {
	return name.normalize('NFKC').toLowerCase();
}
