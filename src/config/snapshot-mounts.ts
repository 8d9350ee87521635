import type { SqliteDatabase } from './database.ts';
import { limits, lunMax } from './limits.ts';
import { checkLun, checkNsid } from './names.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

/** A snapshot that is exported read-only. One snapshot may be exported in several places. */
export interface MountRow {
	readonly volume: string;
	readonly snapshot: string;
	/** The engine's id of the snapshot: another one of that name is not it. */
	readonly snapshotId: number;
	/** What the device shows itself as, the same at each start. */
	readonly uuid: string;
	readonly sizeBytes: number;
	readonly place: MountPlace;
}

export type MountPlace = { readonly target: string; readonly lun: number } | { readonly subsystem: string; readonly nsid: number };

/** Where a snapshot is wanted; the lowest free number if none is said. */
export type WantedPlace =
	{ readonly target: string; readonly lun?: number | undefined } | { readonly subsystem: string; readonly nsid?: number | undefined };

interface MountRecord {
	volume: string;
	snapshot: string;
	snapshotId: number;
	uuid: string;
	sizeBytes: number;
	target: string | null;
	lun: number | null;
	subsystem: string | null;
	nsid: number | null;
}

/** The mounted snapshots of the configuration, with the manners of Configuration. LUNs and namespace identifiers are shared with those of volumes. */
export class SnapshotMounts {
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;

	constructor(transactions: Transactions) {
		this.#transactions = transactions;
		this.#database = transactions.database;
	}

	all(): MountRow[] {
		return this.#rows('1 = 1');
	}

	/** Of one volume. */
	of(volume: string): MountRow[] {
		return this.#rows('volume = ?', volume);
	}

	/** What is mounted as a LUN of a target. */
	at(target: string): MountRow[] {
		return this.#rows('target = ?', target);
	}

	/** What is mounted as a namespace of a subsystem. */
	in(subsystem: string): MountRow[] {
		return this.#rows('subsystem = ?', subsystem);
	}

	/** All places or none. Targets and subsystems are there, their names in the normal form: the caller sees to that. The same place again is no error. */
	add(mount: Omit<MountRow, 'place'>, wanted: readonly WantedPlace[]): MountRow[] {
		return this.#transactions.change(() => wanted.map((place) => this.#add(mount, place)));
	}

	/** A LUN of a target that neither a volume nor a snapshot has: the wanted one, or the lowest. */
	chooseLun(target: string, wanted: number | undefined): number {
		const taken = this.#taken(
			`SELECT lun AS number, 'volume ' || volume AS holder FROM luns WHERE target = ?
			UNION ALL SELECT lun, 'snapshot ' || volume || '@' || snapshot FROM snapshot_mounts WHERE target = ?`,
			target,
		);
		if (wanted === undefined) {
			const lun = lowestFree(taken, 0, lunMax);
			if (lun === undefined) throw new UsageError(`Target ${target} has ${limits.lunsPerTarget} LUNs, which is the most.`, 'inUse');
			return lun;
		}
		const holder = taken.get(checkLun(wanted));
		if (holder === undefined) return wanted;
		throw new UsageError(`LUN ${wanted} of ${target} is ${holder}: choose another LUN or unmap it.`, 'alreadyExists');
	}

	/** A namespace identifier of a subsystem, likewise. */
	chooseNsid(subsystem: string, wanted: number | undefined): number {
		const taken = this.#taken(
			`SELECT nsid AS number, 'volume ' || volume AS holder FROM namespaces WHERE subsystem = ?
			UNION ALL SELECT nsid, 'snapshot ' || volume || '@' || snapshot FROM snapshot_mounts WHERE subsystem = ?`,
			subsystem,
		);
		if (wanted === undefined) {
			const nsid = lowestFree(taken, 1, limits.namespacesPerSubsystem);
			if (nsid !== undefined) return nsid;
			throw new UsageError(`Subsystem ${subsystem} has ${limits.namespacesPerSubsystem} namespaces, which is the most.`, 'inUse');
		}
		const holder = taken.get(checkNsid(wanted));
		if (holder === undefined) return wanted;
		throw new UsageError(`Namespace ${wanted} of ${subsystem} is ${holder}: choose another identifier or unmap it.`, 'alreadyExists');
	}

	/** Takes all mounts of a snapshot away; what they were. */
	remove(volume: string, snapshot: string): MountRow[] {
		return this.#transactions.change(() => {
			const rows = this.of(volume).filter((row) => row.snapshot === snapshot);
			if (rows.length === 0) throw new UsageError(`Snapshot ${volume}@${snapshot} is not mounted.`, 'notFound');
			this.#database.prepare('DELETE FROM snapshot_mounts WHERE volume = ? AND snapshot = ?').run(volume, snapshot);
			return rows;
		});
	}

	#add(mount: Omit<MountRow, 'place'>, wanted: WantedPlace): MountRow {
		const { volume, snapshot, snapshotId, uuid, sizeBytes } = mount;
		const there = ('target' in wanted ? this.at(wanted.target) : this.in(wanted.subsystem)).find(
			(row) => row.volume === volume && row.snapshot === snapshot,
		);
		if (there !== undefined) {
			const number = 'target' in wanted ? wanted.lun : wanted.nsid;
			if (number === undefined || number === numberOf(there.place)) return there;
			throw new UsageError(`Snapshot ${volume}@${snapshot} is ${placeText(there.place)} already.`, 'alreadyExists');
		}
		if (this.all().length >= limits.snapshotMounts) {
			throw new UsageError(`There are ${limits.snapshotMounts} mounted snapshots, which is the most.`, 'inUse');
		}
		const place: MountPlace =
			'target' in wanted
				? { target: wanted.target, lun: this.chooseLun(wanted.target, wanted.lun) }
				: { subsystem: wanted.subsystem, nsid: this.chooseNsid(wanted.subsystem, wanted.nsid) };
		const [where, number] = 'target' in place ? ['target, lun', place.lun] : ['subsystem, nsid', place.nsid];
		this.#database
			.prepare(`INSERT INTO snapshot_mounts (volume, snapshot, snapshot_id, uuid, size_bytes, ${where}) VALUES (?, ?, ?, ?, ?, ?, ?)`)
			.run(volume, snapshot, snapshotId, uuid, sizeBytes, 'target' in place ? place.target : place.subsystem, number);
		return { ...mount, place };
	}

	#taken(query: string, owner: string): Map<number, string> {
		return this.#transactions.read(() => {
			const rows = this.#database.prepare<[string, string], { number: number; holder: string }>(query).all(owner, owner);
			return new Map(rows.map(({ number, holder }) => [number, holder]));
		});
	}

	#rows(condition: string, ...values: string[]): MountRow[] {
		return this.#transactions.read(() =>
			this.#database
				.prepare<string[], MountRecord>(
					`SELECT volume, snapshot, snapshot_id AS snapshotId, uuid, size_bytes AS sizeBytes, target, lun, subsystem, nsid FROM snapshot_mounts
					WHERE ${condition} ORDER BY volume, snapshot, target IS NULL, target, subsystem`,
				)
				.all(...values)
				.map(({ target, lun, subsystem, nsid, ...row }) => ({
					...row,
					place: target === null ? { subsystem: subsystem as string, nsid: nsid as number } : { target, lun: lun as number },
				})),
		);
	}
}

/** `LUN 3 of iqn…`. */
export function placeText(place: MountPlace): string {
	return 'target' in place ? `LUN ${place.lun} of ${place.target}` : `namespace ${place.nsid} of ${place.subsystem}`;
}

function lowestFree(taken: ReadonlyMap<number, string>, from: number, to: number): number | undefined {
	for (let number = from; number <= to; number++) if (!taken.has(number)) return number;
	return undefined;
}

function numberOf(place: MountPlace): number {
	return 'target' in place ? place.lun : place.nsid;
}
