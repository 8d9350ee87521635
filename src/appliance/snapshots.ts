import type { VolumeView } from '../admin/schemas.ts';
import type { SnapshotOperations } from '../admin/snapshot-routes.ts';
import type {
	ChangesView,
	MergeView,
	MountWish,
	NewSnapshot,
	RestoreWish,
	RestoredView,
	SnapshotView,
	SpaceView,
} from '../admin/snapshot-schemas.ts';
import { pageBytes } from '../blockvol/limits.ts';
import type { Configuration } from '../config/configuration.ts';
import type { WantedPlace } from '../config/snapshot-mounts.ts';
import { UsageError } from '../config/usage-error.ts';
import { isSnapshotName } from '../schedule/name-template.ts';
import type { EventLog } from './event-log.ts';
import { type SnapshotInfo, type SnapshotKeeper, snapshotCalls } from './snapshot-engine.ts';
import type { SnapshotMounts } from './snapshot-mounts.ts';
import { asUsage } from './refusals.ts';
import type { VolumeEngine, Volumes } from './volumes.ts';

export interface SnapshotsParts {
	readonly configuration: Configuration;
	readonly volumes: Volumes;
	readonly engine: VolumeEngine;
	readonly mounts: SnapshotMounts;
	readonly events: EventLog;
	/** Changes of the appliance run one at a time. */
	readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
	/** The LUNs of a target are others now. */
	readonly announceLuns: (target: string) => void;
	/** Sessions and controllers that reach a volume now. */
	readonly usersOf: (volume: string) => RestoredView['told'];
	/** The job that archives a snapshot, or is about to. */
	readonly jobOf: (volume: string, name: string) => number | undefined;
}

/**
 * Snapshots of the volumes. What the admin API asks for takes its turn here; what a schedule asks for (SnapshotKeeper) has its turn already.
 *
 * The engine knows which snapshots there are; the configuration knows which of them are exported and whose they are.
 */
export class ApplianceSnapshots implements SnapshotOperations, SnapshotKeeper {
	readonly #parts: SnapshotsParts;
	/** Whether something reads a snapshot of a volume (its uuid) now, and the snapshot has to stay. */
	readonly readers: ((volumeUuid: string, snapshot: string) => boolean)[] = [];

	constructor(parts: SnapshotsParts) {
		this.#parts = parts;
	}

	list(volume: string): readonly SnapshotInfo[] {
		return snapshotCalls(this.#parts.volumes.openVolume(volume), 'snapshots').snapshots();
	}

	async create(names: readonly string[], name: string): Promise<readonly SnapshotInfo[]> {
		const { volumes, engine, events } = this.#parts;
		const open = names.map((volume) => volumes.openVolume(volume));
		for (const volume of names) {
			if (this.list(volume).some((info) => info.name === name))
				throw new UsageError(`There is a snapshot ${volume}@${name} already.`, 'alreadyExists');
		}
		const [first] = open;
		if (first === undefined) throw new UsageError('A snapshot is of at least one volume.');
		let made: readonly SnapshotInfo[];
		try {
			if (open.length === 1) made = [await snapshotCalls(first, 'createSnapshot').createSnapshot(name)];
			else if (engine.snapshotTogether === undefined)
				throw new UsageError("This build's engine has no snapshots of several volumes.", 'unavailable');
			else made = await engine.snapshotTogether(open, name);
		} catch (error) {
			throw asUsage(error, `Snapshot ${name} of ${names.join(', ')} was not made`);
		}
		for (const volume of names) {
			events.add({ severity: 'info', kind: 'snapshot-made', volume, snapshot: name, message: `Snapshot ${volume}@${name} was made.` });
		}
		return made;
	}

	async delete(volume: string, name: string): Promise<void> {
		const open = this.#parts.volumes.openVolume(volume);
		const { id } = this.#info(volume, name);
		this.mustBeUnused(volume, name);
		try {
			await snapshotCalls(open, 'deleteSnapshot').deleteSnapshot(name);
		} catch (error) {
			throw asUsage(error, `Snapshot ${volume}@${name} was not deleted`);
		}
		const { configuration } = this.#parts;
		configuration.archiveJobs.forgetSnapshot(configuration.volume(volume).uuid, id);
		this.#parts.events.add({
			severity: 'info',
			kind: 'snapshot-deleted',
			volume,
			snapshot: name,
			message: `Snapshot ${volume}@${name} was deleted.`,
		});
	}

	isInUse(volume: string, name: string): boolean {
		return this.#parts.mounts.isMounted(volume, name) || this.#parts.jobOf(volume, name) !== undefined || this.#isRead(volume, name);
	}

	/** Throws UsageError while somebody reads it. */
	mustBeUnused(volume: string, name: string): void {
		if (this.#parts.mounts.isMounted(volume, name))
			throw new UsageError(`Snapshot ${volume}@${name} is mounted: unmount it first.`, 'inUse');
		const job = this.#parts.jobOf(volume, name);
		if (job !== undefined)
			throw new UsageError(
				`Snapshot ${volume}@${name} is being archived: wait for the end of archive job ${job}, or cancel it first.`,
				'inUse',
			);
		if (this.#isRead(volume, name)) throw new UsageError(`Snapshot ${volume}@${name} is being exported: wait for its end.`, 'inUse');
	}

	views(volume?: string): SnapshotView[] {
		const { configuration, volumes } = this.#parts;
		if (volume !== undefined) {
			configuration.volume(volume);
			return this.#views(volume);
		}
		// One that is faulted has none to show (`volume list` says so); but while one is not open yet, nobody may take its snapshots for gone.
		const sound = configuration.volumes().filter(({ name }) => volumes.slot(name).fault === undefined);
		return sound.flatMap(({ name }) => this.#views(name));
	}

	/** How many each volume has, of those that are open and sound. */
	counts(): [volume: string, snapshots: number][] {
		const { configuration, volumes } = this.#parts;
		return configuration.volumes().flatMap(({ name }): [string, number][] => {
			const { volume, fault } = volumes.slot(name);
			return fault === undefined && volume?.snapshots !== undefined ? [[name, volume.snapshots().length]] : [];
		});
	}

	view(volume: string, name: string): SnapshotView {
		const view = this.views(volume).find((one) => one.name === name);
		if (view === undefined) throw noSnapshot(volume, name);
		return view;
	}

	make({ volumes, name }: NewSnapshot): Promise<SnapshotView[]> {
		return this.#parts.inTurn(async () => {
			if (new Set(volumes).size !== volumes.length) throw new UsageError('A volume is named twice.');
			for (const volume of volumes) this.#checkNew(volume, name);
			await this.create(volumes, name);
			return volumes.map((volume) => this.view(volume, name));
		});
	}

	remove(volume: string, name: string): Promise<void> {
		return this.#parts.inTurn(() => this.delete(volume, name));
	}

	restore(volume: string, name: string, { keepLiveAs }: RestoreWish): Promise<RestoredView> {
		return this.#parts.inTurn(async () => {
			const open = this.#parts.volumes.openVolume(volume);
			this.#info(volume, name);
			if (keepLiveAs !== undefined) {
				this.#checkNew(volume, keepLiveAs);
				if (this.list(volume).some((info) => info.name === keepLiveAs)) {
					throw new UsageError(`There is a snapshot ${volume}@${keepLiveAs} already.`, 'alreadyExists');
				}
			}
			try {
				await snapshotCalls(open, 'restoreSnapshot').restoreSnapshot(name, keepLiveAs === undefined ? {} : { keepLiveAs });
			} catch (error) {
				throw asUsage(error, `Volume ${volume} was not restored`);
			}
			const told = this.#parts.usersOf(volume);
			const kept = keepLiveAs === undefined ? '' : ` What it was is ${volume}@${keepLiveAs}.`;
			const users =
				told.sessions + told.controllers === 0
					? ''
					: ` Who used it was told: iSCSI sessions ${told.sessions}, NVMe controllers ${told.controllers}.`;
			const message = `Volume ${volume} is what snapshot ${name} holds.${kept}${users}`;
			this.#parts.events.add({ severity: 'warning', kind: 'volume-restored', volume, snapshot: name, message });
			return { ...(await this.#parts.volumes.restored(volume)), told };
		});
	}

	clone(volume: string, name: string, newVolume: string): Promise<VolumeView> {
		return this.#parts.inTurn(async () => {
			const { volumes, events } = this.#parts;
			const { sizeBytes } = this.#info(volume, name);
			const made = await volumes.clone(volume, name, { name: newVolume, sizeBytes });
			const message = `Volume ${newVolume} was made of snapshot ${volume}@${name}.`;
			events.add({ severity: 'info', kind: 'volume-cloned', volume: newVolume, snapshot: name, message });
			return made;
		});
	}

	flatten(volume: string): Promise<MergeView> {
		return this.#parts.inTurn(async () => {
			const open = this.#parts.volumes.openVolume(volume);
			try {
				await snapshotCalls(open, 'flatten').flatten();
			} catch (error) {
				throw asUsage(error, `Volume ${volume} was not flattened`);
			}
			return await this.merge(volume);
		});
	}

	async merge(volume: string): Promise<MergeView> {
		const open = this.#parts.volumes.openVolume(volume);
		let isMerging = true;
		void snapshotCalls(open, 'merged')
			.merged()
			.then(() => (isMerging = false));
		// It resolves in this turn of the loop if there is nothing to wait for.
		await new Promise<void>((resolve) => setImmediate(resolve));
		const done = open.merge?.done;
		return { isMerging, ...(isMerging && done !== undefined ? { done } : {}) };
	}

	mount(volume: string, name: string, wish: MountWish): Promise<SnapshotView> {
		return this.#parts.inTurn(async () => {
			const { configuration, mounts, events } = this.#parts;
			const { id, sizeBytes } = this.#info(volume, name);
			const places = this.#places(wish);
			const known = configuration.mounts.of(volume).find((row) => row.snapshot === name);
			if (known !== undefined && known.snapshotId !== id) {
				throw new UsageError(`An earlier snapshot ${volume}@${name} is mounted: unmount that first.`, 'inUse');
			}
			const device = known === undefined ? await this.#open(volume, name) : undefined;
			try {
				const uuid = known?.uuid ?? device?.uuid ?? '';
				const rows = configuration.mounts.add({ volume, snapshot: name, snapshotId: id, uuid, sizeBytes }, places);
				for (const row of rows) {
					mounts.add(row, device);
					if ('target' in row.place) this.#parts.announceLuns(row.place.target);
				}
			} catch (error) {
				await device?.close();
				throw error;
			}
			events.add({
				severity: 'info',
				kind: 'snapshot-mounted',
				volume,
				snapshot: name,
				message: `Snapshot ${volume}@${name} was mounted.`,
			});
			return this.view(volume, name);
		});
	}

	unmount(volume: string, name: string): Promise<void> {
		return this.#parts.inTurn(async () => {
			const { configuration, mounts, events } = this.#parts;
			const rows = configuration.mounts.remove(volume, name);
			await mounts.remove(rows);
			for (const { place } of rows) if ('target' in place) this.#parts.announceLuns(place.target);
			events.add({
				severity: 'info',
				kind: 'snapshot-unmounted',
				volume,
				snapshot: name,
				message: `Snapshot ${volume}@${name} was unmounted.`,
			});
		});
	}

	async changes(volume: string, from: string, to: string | undefined, limit: number): Promise<ChangesView> {
		const open = this.#parts.volumes.openVolume(volume);
		const { lsn: fromLSN } = this.#info(volume, from);
		const toLSN = to === undefined ? undefined : this.#info(volume, to).lsn;
		const ranges: ChangesView['ranges'] = [];
		let changedBytes = 0;
		let count = 0;
		try {
			for await (const { firstPage, pages } of snapshotCalls(open, 'diff').diff(from, to)) {
				changedBytes += pages * pageBytes;
				if (count++ < limit) ranges.push({ offsetBytes: firstPage * pageBytes, lengthBytes: pages * pageBytes });
			}
		} catch (error) {
			throw asUsage(error, `The changes of volume ${volume} cannot be told`);
		}
		const ends = { from, ...(to === undefined ? {} : { to }), fromLSN, ...(toLSN === undefined ? {} : { toLSN }) };
		return { ...ends, changedBytes, truncated: count > limit, ranges };
	}

	async space(volume: string): Promise<SpaceView> {
		const open = this.#parts.volumes.openVolume(volume);
		try {
			const { snapshots, ...report } = await snapshotCalls(open, 'space').space();
			const known = new Set(this.list(volume).map(({ id }) => id));
			const shown = snapshots.filter(({ id }) => known.has(id));
			return {
				volume,
				...report,
				snapshots: shown.map(({ name, referencedBytes, exclusiveBytes }) => ({ name, referencedBytes, exclusiveBytes })),
			};
		} catch (error) {
			throw asUsage(error, `The space of volume ${volume} cannot be counted`);
		}
	}

	async #open(volume: string, name: string) {
		try {
			return await snapshotCalls(this.#parts.volumes.openVolume(volume), 'openSnapshot').openSnapshot(name);
		} catch (error) {
			throw asUsage(error, `Snapshot ${volume}@${name} was not mounted`);
		}
	}

	/** Where it is wanted; targets and subsystems that are not there are refused. */
	#places({ target, lun, subsystem, nsid }: MountWish): WantedPlace[] {
		const { configuration } = this.#parts;
		const places: WantedPlace[] = [];
		if (target !== undefined) places.push({ target: configuration.target(target).name, lun });
		else if (lun !== undefined) throw new UsageError('A LUN is one of a target: name the target.');
		if (subsystem !== undefined) places.push({ subsystem: configuration.subsystems.get(subsystem).name, nsid });
		else if (nsid !== undefined) throw new UsageError('A namespace is one of a subsystem: name the subsystem.');
		if (places.length === 0) throw new UsageError('Name the target or the subsystem that is to show the snapshot.');
		return places;
	}

	#checkNew(volume: string, name: string): void {
		if (!isSnapshotName(name)) {
			throw new UsageError(
				`${JSON.stringify(name.slice(0, 80))} is no name of a snapshot: use 1 to 63 letters, digits, '.', '_' and '-', the first a letter or digit.`,
			);
		}
		if (this.#parts.configuration.schedules.isIntended(volume, name))
			throw new UsageError(`A schedule is about to make ${volume}@${name}.`, 'alreadyExists');
	}

	#isRead(volume: string, name: string): boolean {
		const { uuid } = this.#parts.configuration.volume(volume);
		return this.readers.some((reads) => reads(uuid, name));
	}

	#info(volume: string, name: string): SnapshotInfo {
		const info = this.list(volume).find((one) => one.name === name);
		if (info === undefined) throw noSnapshot(volume, name);
		return info;
	}

	#views(volume: string): SnapshotView[] {
		const { configuration } = this.#parts;
		const infos = this.list(volume);
		const names = new Map(infos.map(({ id, name }) => [id, name]));
		const mounts = configuration.mounts.of(volume);
		const schedules = new Map(
			configuration.schedules
				.of(volume)
				.flatMap((schedule) =>
					configuration.schedules.snapshots(schedule).flatMap((one) => (one.volume === volume ? [[one.id, schedule] as const] : [])),
				),
		);
		return infos.map(({ id, name, timeMs, sizeBytes, parent }) => {
			const standsOn = parent === undefined ? undefined : names.get(parent);
			const schedule = schedules.get(id);
			return {
				volume,
				name,
				id,
				at: new Date(timeMs).toISOString(),
				sizeBytes,
				...(standsOn === undefined ? {} : { parent: standsOn }),
				...(schedule === undefined ? {} : { schedule }),
				mounts: mounts.filter((mount) => mount.snapshot === name && mount.snapshotId === id).map(({ place }) => place),
			};
		});
	}
}

function noSnapshot(volume: string, name: string): UsageError {
	return new UsageError(`There is no snapshot ${volume}@${name}.`, 'notFound');
}
