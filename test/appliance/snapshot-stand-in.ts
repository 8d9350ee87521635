import { createHash } from 'node:crypto';
import type { SnapshotDevice, SnapshotInfo, SnapshotVolume } from '../../src/appliance/snapshot-engine.ts';
import type { OpenVolume, VolumeIdentity } from '../../src/appliance/volume-slot.ts';
import type { SpaceReport } from '../../src/blockvol/space.ts';
import { VolumeFault, VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { StandInEngine, StandInVolume } from './stand-in.ts';

/** What outlives the process. */
interface Remembered {
	readonly infos: SnapshotInfo[];
	lsn: number;
}

class StandInView extends StandInVolume implements SnapshotDevice {}

/** A volume in memory with snapshots, which are names and nothing more. */
export class SnappedVolume extends StandInVolume implements SnapshotVolume {
	readonly #remembered: Remembered;
	readonly views: StandInView[] = [];
	/** Called before each step; may throw. */
	before: (step: string) => void = () => undefined;
	readonly ranges: { firstPage: number; pages: number }[] = [];
	/** What restoreSnapshot makes of the size. */
	restoredBytes: number | undefined;

	constructor(identity: VolumeIdentity, remembered: Remembered) {
		super(identity);
		this.#remembered = remembered;
	}

	snapshots(): readonly SnapshotInfo[] {
		return this.#remembered.infos;
	}

	async createSnapshot(name: string): Promise<SnapshotInfo> {
		this.before(`create ${name}`);
		const lsn = ++this.#remembered.lsn;
		const parent = this.#remembered.infos.at(-1)?.id;
		const info = { id: lsn * 11, name, timeMs: Date.UTC(2026, 10, 21) + lsn, lsn, sizeBytes: this.sizeBytes, parent };
		this.#remembered.infos.push(info);
		return info;
	}

	async openSnapshot(name: string): Promise<StandInView> {
		this.before(`open ${name}`);
		const info = this.snapshots().find((one) => one.name === name);
		if (info === undefined) throw new VolumeUsageError(`there is no snapshot ${name}`);
		const hex = createHash('sha256').update(`${this.uuid} ${info.id}`).digest('hex');
		const uuid = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
		const view = new StandInView({ uuid, blockSize: this.blockSize, sizeBytes: info.sizeBytes });
		this.views.push(view);
		return view;
	}

	async restoreSnapshot(name: string, { keepLiveAs }: { keepLiveAs?: string }): Promise<void> {
		this.before(`restore ${name}`);
		if (keepLiveAs !== undefined) await this.createSnapshot(keepLiveAs);
		this.calls.push(`restore ${name}`);
		if (this.restoredBytes !== undefined) this.sizeBytes = this.restoredBytes;
	}

	async flatten(): Promise<void> {
		this.before('flatten');
		this.calls.push('flatten');
	}

	/** What a test says of a merge. */
	merge: { done: number } | undefined = undefined;

	merged(): Promise<void> {
		return this.merge === undefined ? Promise.resolve() : new Promise(() => undefined);
	}

	async deleteSnapshot(name: string): Promise<void> {
		this.before(`delete ${name}`);
		const at = this.#remembered.infos.findIndex((one) => one.name === name);
		if (at < 0) throw new VolumeFault('gone');
		this.#remembered.infos.splice(at, 1);
	}

	async space(): Promise<SpaceReport> {
		this.before('space');
		const snapshots = this.snapshots().map(({ id, name }) => ({ id, name, referencedBytes: 8192, exclusiveBytes: 4096 }));
		return { referencedBytes: 12_288, exclusiveBytes: 4096, totalBytes: 16_384, snapshots };
	}

	async *diff(from: string, to?: string): AsyncIterable<{ firstPage: number; pages: number }> {
		this.before(`changes ${from} ${to}`);
		yield* this.ranges;
	}
}

/** Volumes with snapshots, which a restart finds again. */
export class SnappingEngine extends StandInEngine {
	readonly volumes = new Map<string, SnappedVolume>();
	readonly #remembered = new Map<string, Remembered>();
	readonly clones: string[] = [];

	override async open(directory: string, options: { forceCheck: boolean }): Promise<SnappedVolume> {
		const { uuid, sizeBytes, blockSize } = await super.open(directory, options);
		const remembered = this.#remembered.get(uuid) ?? { infos: [], lsn: 0 };
		this.#remembered.set(uuid, remembered);
		const volume = new SnappedVolume({ uuid, sizeBytes, blockSize }, remembered);
		this.volumes.set(uuid, volume);
		return volume;
	}

	async snapshotTogether(volumes: readonly OpenVolume[], name: string): Promise<SnapshotInfo[]> {
		const made: SnapshotInfo[] = [];
		for (const volume of volumes) made.push(await (volume as SnappedVolume).createSnapshot(name));
		return made;
	}

	async clone(source: OpenVolume, snapshot: string, directory: string, uuid: string): Promise<void> {
		const info = (source as SnappedVolume).snapshots().find((one) => one.name === snapshot);
		if (info === undefined) throw new VolumeUsageError('no such snapshot');
		this.clones.push(snapshot);
		await this.create(directory, { uuid, sizeBytes: info.sizeBytes, blockSize: source.blockSize });
	}
}
