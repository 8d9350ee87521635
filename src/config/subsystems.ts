import { randomUUID } from 'node:crypto';
import type { SqliteDatabase } from './database.ts';
import { limits } from './limits.ts';
import { checkNqn } from './names.ts';
import { type SnapshotMounts, placeText } from './snapshot-mounts.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

export interface NamespaceRow {
	readonly subsystem: string;
	readonly nsid: number;
	readonly volume: string;
}

export type DhchapHash = 'sha256' | 'sha384' | 'sha512';
export type DhchapGroup = 'null' | 'ffdhe2048' | 'ffdhe3072' | 'ffdhe4096' | 'ffdhe6144' | 'ffdhe8192';

/** A host that is admitted. Its secrets are for the listener: no view of the admin API has them. */
export interface HostRow {
	readonly host: string;
	/** In the form DHHC-1; the host proves itself by it. */
	readonly dhchapSecret: string | undefined;
	/** The controller proves itself by it, if the host asks. */
	readonly dhchapCtrlSecret: string | undefined;
	/** The least that is accepted. */
	readonly dhchapHash: DhchapHash;
	readonly dhchapDhgroup: DhchapGroup;
}

/** What `allow` says; what it leaves out stays as it is. */
export type HostAccess = { readonly [Name in Exclude<keyof HostRow, 'host'>]?: HostRow[Name] | undefined };

export interface SubsystemRow {
	readonly name: string;
	/** The identity that serial numbers are made of. */
	readonly uuid: string;
	/** Admits every host, under --demo only. */
	readonly openToAll: boolean;
	readonly createdAt: string;
	/** Ascending by NSID. */
	readonly namespaces: readonly NamespaceRow[];
	/** Sorted by name. */
	readonly hosts: readonly HostRow[];
}

interface SubsystemRecord {
	name: string;
	uuid: string;
	openToAll: 0 | 1;
	createdAt: string;
}

interface HostRecord {
	host: string;
	dhchapSecret: string | null;
	dhchapCtrlSecret: string | null;
	dhchapHash: DhchapHash;
	dhchapDhgroup: DhchapGroup;
}

/** The NVM subsystems of the configuration, with the manners of Configuration: durable when a method returns, and nothing changed when it throws UsageError. */
export class Subsystems {
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;
	readonly #now: () => Date;
	readonly #checkVolume: (name: string) => void;
	readonly #mounts: SnapshotMounts;

	/** `checkVolume` throws UsageError for a volume that does not exist; `mounts` share the identifiers of namespaces. */
	constructor(transactions: Transactions, now: () => Date, checkVolume: (name: string) => void, mounts: SnapshotMounts) {
		this.#mounts = mounts;
		this.#transactions = transactions;
		this.#database = transactions.database;
		this.#now = now;
		this.#checkVolume = checkVolume;
	}

	get count(): number {
		return this.#transactions.read(() => this.#database.prepare<[], number>('SELECT count(*) FROM subsystems').pluck().get() ?? 0);
	}

	all(): SubsystemRow[] {
		return this.#transactions.read(() =>
			this.#database
				.prepare<[], SubsystemRecord>(`${selectSubsystem} ORDER BY name`)
				.all()
				.map((record) => this.#row(record)),
		);
	}

	find(name: string): SubsystemRow | undefined {
		return this.#transactions.read(() => {
			const record = this.#database.prepare<[string], SubsystemRecord>(`${selectSubsystem} WHERE name = ?`).get(name);
			return record === undefined ? undefined : this.#row(record);
		});
	}

	/** The row, or UsageError notFound. */
	get(name: string): SubsystemRow {
		const row = this.find(name);
		if (row === undefined) throw new UsageError(`There is no subsystem ${name}.`, 'notFound');
		return row;
	}

	/** Refuses what add() would refuse. */
	check(name: string): void {
		checkNqn(name, 'subsystem');
		if (this.find(name) !== undefined) throw new UsageError(`There is a subsystem ${name} already.`, 'alreadyExists');
		if (this.count >= limits.subsystems) throw new UsageError(`There are ${limits.subsystems} subsystems, which is the most.`, 'inUse');
	}

	add(subsystem: { name: string; openToAll?: boolean }): SubsystemRow {
		return this.#transactions.change(() => {
			this.check(subsystem.name);
			this.#database
				.prepare('INSERT INTO subsystems (name, uuid, open_to_all, created_at) VALUES (?, ?, ?, ?)')
				.run(subsystem.name, randomUUID(), subsystem.openToAll === true ? 1 : 0, this.#now().toISOString());
			return this.get(subsystem.name);
		});
	}

	/** Takes its mappings and its access list with it; volumes stay. Refused (inUse) while a snapshot is mounted there. */
	remove(name: string): SubsystemRow {
		return this.#transactions.change(() => {
			const row = this.get(name);
			const mount = this.#mounts.in(name)[0];
			if (mount !== undefined) {
				throw new UsageError(`Snapshot ${mount.volume}@${mount.snapshot} is ${placeText(mount.place)}: unmount it first.`, 'inUse');
			}
			this.#database.prepare('DELETE FROM subsystems WHERE name = ?').run(name);
			return row;
		});
	}

	/** Maps a volume as a namespace, by default with the lowest free identifier. The same mapping again is no error. */
	map(subsystem: string, volume: string, nsid?: number): NamespaceRow {
		return this.#transactions.change(() => {
			const row = this.get(subsystem);
			this.#checkVolume(volume);
			const there = row.namespaces.find((mapping) => mapping.volume === volume);
			if (there !== undefined && (nsid === undefined || nsid === there.nsid)) return there;
			if (there !== undefined) throw new UsageError(`Volume ${volume} is namespace ${there.nsid} of ${row.name} already.`, 'alreadyExists');
			const chosen = this.#mounts.chooseNsid(row.name, nsid);
			this.#database.prepare('INSERT INTO namespaces (subsystem, nsid, volume) VALUES (?, ?, ?)').run(row.name, chosen, volume);
			return { subsystem: row.name, nsid: chosen, volume };
		});
	}

	unmap(subsystem: string, nsid: number): NamespaceRow {
		return this.#transactions.change(() => {
			const row = this.get(subsystem);
			const mapping = row.namespaces.find((candidate) => candidate.nsid === nsid);
			if (mapping === undefined) throw new UsageError(`Subsystem ${row.name} has no namespace ${nsid}.`, 'notFound');
			this.#database.prepare('DELETE FROM namespaces WHERE subsystem = ? AND nsid = ?').run(row.name, nsid);
			return mapping;
		});
	}

	/** Where a volume is mapped. */
	mappingsOf(volume: string): NamespaceRow[] {
		return this.#transactions.read(() =>
			this.#database
				.prepare<[string], NamespaceRow>('SELECT subsystem, nsid, volume FROM namespaces WHERE volume = ? ORDER BY subsystem, nsid')
				.all(volume),
		);
	}

	/**
	 * Admits a host, or changes how it has to prove itself. A secret that is not said again stays: nobody loses authentication by an `allow` that says less. Whether a
	 * secret is one was checked by the caller.
	 */
	allow(subsystem: string, host: string, access: HostAccess = {}): SubsystemRow {
		return this.#transactions.change(() => {
			const row = this.get(subsystem);
			checkNqn(host, 'host');
			const before = row.hosts.find((one) => one.host === host);
			if (before === undefined && row.hosts.length >= limits.hostsPerSubsystem) {
				throw new UsageError(`Subsystem ${row.name} admits ${limits.hostsPerSubsystem} hosts, which is the most.`, 'inUse');
			}
			const next: HostRow = {
				host,
				dhchapSecret: access.dhchapSecret ?? before?.dhchapSecret,
				dhchapCtrlSecret: access.dhchapCtrlSecret ?? before?.dhchapCtrlSecret,
				dhchapHash: access.dhchapHash ?? before?.dhchapHash ?? 'sha256',
				dhchapDhgroup: access.dhchapDhgroup ?? before?.dhchapDhgroup ?? 'null',
			};
			if (next.dhchapCtrlSecret !== undefined && next.dhchapSecret === undefined) {
				throw new UsageError('A secret of the controller goes with one of the host: a host that asks for proof gives its own first.');
			}
			this.#database
				.prepare(
					'INSERT OR REPLACE INTO subsystem_hosts (subsystem, host, dhchap_secret, dhchap_ctrl_secret, dhchap_hash, dhchap_dhgroup) VALUES (?, ?, ?, ?, ?, ?)',
				)
				.run(row.name, host, next.dhchapSecret ?? null, next.dhchapCtrlSecret ?? null, next.dhchapHash, next.dhchapDhgroup);
			return this.get(row.name);
		});
	}

	disallow(subsystem: string, host: string): SubsystemRow {
		return this.#transactions.change(() => {
			const row = this.get(subsystem);
			const { changes } = this.#database.prepare('DELETE FROM subsystem_hosts WHERE subsystem = ? AND host = ?').run(row.name, host);
			if (changes === 0) throw new UsageError(`Subsystem ${row.name} does not admit ${host}.`, 'notFound');
			return this.get(row.name);
		});
	}

	#row(record: SubsystemRecord): SubsystemRow {
		const namespaces = this.#database
			.prepare<[string], NamespaceRow>('SELECT subsystem, nsid, volume FROM namespaces WHERE subsystem = ? ORDER BY nsid')
			.all(record.name);
		const hosts = this.#database
			.prepare<[string], HostRecord>(`${selectHost} WHERE subsystem = ? ORDER BY host`)
			.all(record.name)
			.map((one) => ({
				...one,
				dhchapSecret: one.dhchapSecret ?? undefined,
				dhchapCtrlSecret: one.dhchapCtrlSecret ?? undefined,
			}));
		return { ...record, openToAll: record.openToAll === 1, namespaces, hosts };
	}
}

const selectSubsystem = 'SELECT name, uuid, open_to_all AS openToAll, created_at AS createdAt FROM subsystems';
const selectHost = `SELECT host, dhchap_secret AS dhchapSecret, dhchap_ctrl_secret AS dhchapCtrlSecret, dhchap_hash AS dhchapHash,
	dhchap_dhgroup AS dhchapDhgroup FROM subsystem_hosts`;
