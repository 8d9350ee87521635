import type { Configuration } from '../config/configuration.ts';
import type { MountRow } from '../config/snapshot-mounts.ts';
import { UsageError } from '../config/usage-error.ts';
import { VolumeFault, VolumeUsageError } from '../blockvol/volume-fault.ts';
import { LogicalUnit } from '../scsi/logical-unit.ts';
import type { Logger } from '../os/logger.ts';
import { kernelCode } from './kernel-code.ts';
import { type SnapshotDevice, snapshotCalls } from './snapshot-engine.ts';
import type { ExportedSubsystems } from './subsystems.ts';
import type { Targets } from './targets.ts';
import { VolumeSlot } from './volume-slot.ts';
import type { Volumes } from './volumes.ts';

interface Mounted {
	readonly slot: VolumeSlot<SnapshotDevice>;
	readonly unit: LogicalUnit;
}

export interface MountParts {
	readonly configuration: Configuration;
	readonly volumes: Volumes;
	readonly targets: Targets;
	readonly subsystems: ExportedSubsystems;
	readonly log: Logger;
}

/**
 * The snapshots that are exported, each one device and one logical unit however many places it has. As with volumes, a place is there from the moment the configuration names it;
 * commands wait until the snapshot is open.
 */
export class SnapshotMounts {
	readonly #parts: MountParts;
	readonly #mounted = new Map<string, Mounted>();

	constructor(parts: MountParts) {
		this.#parts = parts;
		for (const row of parts.configuration.mounts.all()) this.#place(row, this.#entry(row));
	}

	isMounted(volume: string, snapshot: string): boolean {
		return this.#mounted.has(keyOf(volume, snapshot));
	}

	/** After the volumes were opened. A snapshot that is gone, or whose volume is faulted, is a device that is faulted. */
	async openAll(): Promise<void> {
		const rows = new Map(this.#parts.configuration.mounts.all().map((row) => [keyOf(row.volume, row.snapshot), row]));
		await Promise.all([...rows.values()].map((row) => this.#open(row)));
	}

	/** Puts a snapshot where its row says. Of one that has no place yet, `device` is what was opened for it. */
	add(row: MountRow, device: SnapshotDevice | undefined): void {
		const entry = this.#entry(row);
		if (device !== undefined && entry.slot.state === 'opening') entry.slot.opened(device);
		this.#place(row, entry);
	}

	/** Takes a snapshot from all its places and closes it. */
	async remove(rows: readonly MountRow[]): Promise<void> {
		for (const { place } of rows) {
			if ('target' in place) this.#parts.targets.unmap(place.target, place.lun);
			else this.#parts.subsystems.unmap(place);
		}
		const [first] = rows;
		if (first === undefined) return;
		const key = keyOf(first.volume, first.snapshot);
		const entry = this.#mounted.get(key);
		this.#mounted.delete(key);
		entry?.unit.close();
		await entry?.slot.end()?.close();
	}

	async closeAll(): Promise<void> {
		const all = [...this.#mounted.values()];
		this.#mounted.clear();
		await Promise.all(all.map(async ({ slot }) => slot.end()?.close()));
	}

	async #open(row: MountRow): Promise<void> {
		const entry = this.#mounted.get(keyOf(row.volume, row.snapshot));
		if (entry === undefined) return;
		try {
			const volume = this.#parts.volumes.openVolume(row.volume);
			const info = snapshotCalls(volume, 'snapshots')
				.snapshots()
				.find(({ id, name }) => id === row.snapshotId && name === row.snapshot);
			if (info === undefined) throw new VolumeFault(`Snapshot ${row.volume}@${row.snapshot} is gone.`);
			const device = await snapshotCalls(volume, 'openSnapshot').openSnapshot(row.snapshot);
			if (device.uuid !== row.uuid || device.sizeBytes !== row.sizeBytes) {
				await device.close();
				throw new VolumeFault(`Snapshot ${row.volume}@${row.snapshot} is another one than was mounted.`);
			}
			entry.slot.opened(device);
		} catch (error) {
			const code = kernelCode(error);
			const isExpected = error instanceof UsageError || error instanceof VolumeFault || error instanceof VolumeUsageError;
			if (!isExpected && code === '') throw error;
			const reason = isExpected ? error.message : `The snapshot cannot be opened (${code}).`;
			this.#parts.log.error({ volume: row.volume, snapshot: row.snapshot, err: error }, `a mounted snapshot cannot be opened: ${reason}`);
			entry.slot.failed(reason);
		}
	}

	#entry(row: MountRow): Mounted {
		const key = keyOf(row.volume, row.snapshot);
		let entry = this.#mounted.get(key);
		if (entry === undefined) {
			const { blockSize } = this.#parts.configuration.volume(row.volume);
			const slot = new VolumeSlot<SnapshotDevice>({ uuid: row.uuid, sizeBytes: row.sizeBytes, blockSize });
			entry = { slot, unit: new LogicalUnit(slot, { readOnly: true }) };
			this.#mounted.set(key, entry);
		}
		return entry;
	}

	#place({ place }: MountRow, { slot, unit }: Mounted): void {
		if ('target' in place) this.#parts.targets.mapUnit(place.target, place.lun, unit);
		else this.#parts.subsystems.mapDevice(place.subsystem, place.nsid, slot, { readOnly: true });
	}
}

function keyOf(volume: string, snapshot: string): string {
	return `${volume}@${snapshot}`;
}
