import type { BlockDevice } from '../blockvol/block-device.ts';
import type { SpaceReport } from '../blockvol/space.ts';
import { UsageError } from '../config/usage-error.ts';

/** A snapshot as the engine tells of it. */
export interface SnapshotInfo {
	/** Of this snapshot alone: another one of the same name has another. */
	readonly id: number;
	readonly name: string;
	/** Milliseconds since 1970, UTC. */
	readonly timeMs: number;
	/** Grows from snapshot to snapshot of a volume. */
	readonly lsn: number;
	/** Of the volume at that moment. */
	readonly sizeBytes: number;
	/** Id of the snapshot that this one stands on. */
	readonly parent: number | undefined;
}

/** What a snapshot holds, as a device that takes no writes. Its uuid is its own, and the same at each opening. */
export interface SnapshotDevice extends BlockDevice {
	close(): Promise<void>;
}

/** What the appliance needs of a volume that can be snapped. */
export interface SnapshotVolume {
	createSnapshot(name: string): Promise<SnapshotInfo>;
	/** Oldest first. */
	snapshots(): readonly SnapshotInfo[];
	openSnapshot(name: string): Promise<SnapshotDevice>;
	/** The volume becomes what it was; what is in it now is kept as a snapshot if a name is given, else lost. */
	restoreSnapshot(name: string, options: { keepLiveAs?: string }): Promise<void>;
	deleteSnapshot(name: string): Promise<void>;
	/** Has a clone stand on its own: what it shares is copied in the background. */
	flatten(): Promise<void>;
	/** How far the layer is that goes now, 0 to 1; undefined when none does. */
	readonly merge: { readonly done: number } | undefined;
	/** Resolves when no layer is on its way into another. */
	merged(): Promise<void>;
	/** Pages that differ between a snapshot and a later one, or the volume as it is: ranges, ascending, perhaps with some that do not. */
	diff(from: string, to?: string): AsyncIterable<{ readonly firstPage: number; readonly pages: number }>;
	/** What the volume and each snapshot hold. */
	space(): Promise<SpaceReport>;
}

/** The volume, which can do what is asked for; UsageError if it cannot. */
export function snapshotCalls<Name extends Exclude<keyof SnapshotVolume, 'merge'>>(
	volume: Partial<SnapshotVolume>,
	...names: Name[]
): Pick<SnapshotVolume, Name> {
	const missing = names.find((name) => typeof volume[name] !== 'function');
	if (missing !== undefined) throw new UsageError(`This build's engine has no ${missing}.`, 'unavailable');
	return volume as Pick<SnapshotVolume, Name>;
}

/** What a runner of schedules needs of snapshots. Rejects with UsageError for what cannot be done now. */
export interface SnapshotKeeper {
	/** Oldest first. */
	list(volume: string): readonly SnapshotInfo[];
	/** One moment of all volumes; resolves to what was made, in their order. All or none. */
	create(volumes: readonly string[], name: string): Promise<readonly SnapshotInfo[]>;
	delete(volume: string, name: string): Promise<void>;
	/** Somebody reads it: it is not to be deleted now. */
	isInUse(volume: string, name: string): boolean;
}
