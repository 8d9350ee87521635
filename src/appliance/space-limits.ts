import { statfs } from 'node:fs/promises';
import type { SpaceOperations } from '../admin/space-routes.ts';
import type { DirectorySpaceView, DirectorySpaceWish, VolumeLimitsView, VolumeLimitsWish } from '../admin/space-schemas.ts';
import type { Metric } from '../admin/metrics.ts';
import type { Configuration } from '../config/configuration.ts';
import { UsageError } from '../config/usage-error.ts';
import type { EventLog } from './event-log.ts';
import { kernelCode } from './kernel-code.ts';
import type { RunnerClock } from './schedule-runner.ts';
import type { VolumeSlot } from './volume-slot.ts';
import type { Volumes } from './volumes.ts';

/** How often it is looked. */
export const lookMs = 5000;
/** What was too little is enough again so many points below the threshold: what stands at it does not tell each time. */
const hysteresisPercent = 2;

export interface SpaceLimitsParts {
	readonly configuration: Configuration;
	readonly volumes: Volumes;
	readonly events: EventLog;
	/** The data directory. */
	readonly directory: string;
	readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
	readonly clock: RunnerClock;
	/** Bytes of the file system that has the data directory. */
	readonly fileSystem?: () => Promise<{ totalBytes: number; freeBytes: number }>;
}

/** What was told last. */
interface Told {
	isLow: boolean;
	isRefusing: boolean;
}

/** Quotas and thresholds of volumes and of the data directory: sets them, and tells by events when one is reached and when it is not any more. */
export class ApplianceSpaceLimits implements SpaceOperations {
	readonly #parts: SpaceLimitsParts;
	/** By the volume's uuid: another volume may come to have the name. */
	readonly #told = new Map<string, Told>();
	#isDirectoryLow = false;
	#cancel: () => void = () => undefined;
	#looking: Promise<void> | undefined;
	#isStopped = false;

	constructor(parts: SpaceLimitsParts) {
		this.#parts = parts;
	}

	/** Looks from now on. */
	start(): void {
		if (this.#isStopped) return;
		this.#looking = this.look().finally(() => {
			this.#looking = undefined;
			if (!this.#isStopped) this.#cancel = this.#parts.clock.later(lookMs, () => this.start());
		});
	}

	async stop(): Promise<void> {
		this.#isStopped = true;
		this.#cancel();
		await this.#looking;
	}

	limits(name: string): VolumeLimitsView {
		this.#parts.configuration.volume(name);
		const slot = this.#parts.volumes.slot(name);
		const { quotaBytes, thresholdPercent } = slot.limits;
		const { diskBytes } = slot;
		return {
			volume: name,
			...(diskBytes === undefined ? {} : { usedBytes: diskBytes }),
			...(quotaBytes === undefined ? {} : { quotaBytes }),
			...(thresholdPercent === undefined ? {} : { thresholdPercent }),
			isLow: slot.isLow,
			isRefusing: isRefusing(slot),
		};
	}

	setLimits(name: string, wish: VolumeLimitsWish): Promise<VolumeLimitsView> {
		return this.#parts.inTurn(async () => {
			const { configuration, volumes } = this.#parts;
			const { uuid } = configuration.volume(name);
			const before = configuration.space.of(uuid);
			configuration.space.set(uuid, {
				quotaBytes: wish.quotaBytes === undefined ? before.quotaBytes : (wish.quotaBytes ?? undefined),
				thresholdPercent: wish.thresholdPercent === undefined ? before.thresholdPercent : (wish.thresholdPercent ?? undefined),
			});
			volumes.slot(name).setLimits(configuration.space.of(uuid));
			return this.limits(name);
		});
	}

	async directory(): Promise<DirectorySpaceView> {
		const { totalBytes, freeBytes } = await this.#fileSystem();
		const usedPercent = totalBytes === 0 ? 100 : Math.floor((100 * (totalBytes - freeBytes)) / totalBytes);
		const thresholdPercent = this.#parts.configuration.space.directoryThresholdPercent;
		const isLow = thresholdPercent !== undefined && usedPercent >= thresholdPercent;
		return { totalBytes, freeBytes, usedPercent, ...(thresholdPercent === undefined ? {} : { thresholdPercent }), isLow };
	}

	setDirectory({ thresholdPercent }: DirectorySpaceWish): Promise<DirectorySpaceView> {
		return this.#parts.inTurn(async () => {
			this.#parts.configuration.space.setDirectoryThreshold(thresholdPercent ?? undefined);
			return this.directory();
		});
	}

	/** Tells what has changed since the last look. */
	async look(): Promise<void> {
		const { configuration, volumes } = this.#parts;
		const rows = configuration.volumes();
		for (const { name, uuid } of rows) this.#lookAt(name, uuid, volumes.slot(name));
		for (const uuid of this.#told.keys()) if (!rows.some((row) => row.uuid === uuid)) this.#told.delete(uuid);
		await this.#lookAtDirectory();
	}

	*metrics(): Generator<Metric> {
		const { configuration, volumes } = this.#parts;
		for (const { name } of configuration.volumes()) {
			const slot = volumes.slot(name);
			const labels = { volume: name };
			const { quotaBytes } = slot.limits;
			const { diskBytes } = slot;
			if (diskBytes !== undefined)
				yield { name: 'blockport_volume_disk_bytes', help: 'Disk space of the volume and its snapshots.', value: diskBytes, labels };
			if (quotaBytes !== undefined)
				yield { name: 'blockport_volume_quota_bytes', help: 'How much of the disk it may take.', value: quotaBytes, labels };
			const help = '1 while writes are refused for want of space.';
			yield { name: 'blockport_volume_refusing', help, value: isRefusing(slot) ? 1 : 0, labels };
		}
	}

	#lookAt(volume: string, uuid: string, slot: VolumeSlot): void {
		const { events } = this.#parts;
		const told = this.#told.get(uuid) ?? { isLow: false, isRefusing: false };
		this.#told.set(uuid, told);
		const percent = slot.usedPercent;
		const { thresholdPercent = Infinity, quotaBytes } = slot.limits;
		const isLow = told.isLow ? percent >= thresholdPercent - hysteresisPercent : percent >= thresholdPercent;
		const of = quotaBytes === undefined ? 'its size' : 'its quota';
		if (isLow && !told.isLow)
			events.add({ severity: 'warning', kind: 'volume-space-low', volume, message: `Volume ${volume} takes ${percent} % of ${of}.` });
		if (!isLow && told.isLow)
			events.add({ severity: 'info', kind: 'volume-space-enough', volume, message: `Volume ${volume} takes ${percent} % of ${of} again.` });
		const refuses = isRefusing(slot);
		if (refuses && !told.isRefusing) {
			const why = slot.volume?.isQuotaReached === true ? 'its quota is reached' : 'the file system is full';
			const message = `Writes to volume ${volume} are refused: ${why}.`;
			events.add({ severity: 'error', kind: 'volume-full', volume, message });
		}
		if (!refuses && told.isRefusing)
			events.add({ severity: 'info', kind: 'volume-not-full', volume, message: `Volume ${volume} takes writes again.` });
		told.isLow = isLow;
		told.isRefusing = refuses;
	}

	async #lookAtDirectory(): Promise<void> {
		let view: DirectorySpaceView;
		try {
			view = await this.directory();
		} catch (error) {
			// What the disk cannot do, those who use it tell.
			if (kernelCode(error) === '' && !(error instanceof UsageError)) throw error;
			return;
		}
		const { usedPercent, thresholdPercent = Infinity, freeBytes } = view;
		const was = this.#isDirectoryLow;
		this.#isDirectoryLow = usedPercent >= (was ? thresholdPercent - hysteresisPercent : thresholdPercent);
		const { events } = this.#parts;
		const taken = `The file system of the data directory is ${usedPercent} % full, ${Math.floor(freeBytes / 2 ** 20)} MiB are left.`;
		if (this.#isDirectoryLow && !was) events.add({ severity: 'warning', kind: 'directory-space-low', message: taken });
		if (!this.#isDirectoryLow && was) events.add({ severity: 'info', kind: 'directory-space-enough', message: taken });
	}

	async #fileSystem(): Promise<{ totalBytes: number; freeBytes: number }> {
		const { fileSystem, directory } = this.#parts;
		if (fileSystem !== undefined) return fileSystem();
		const { blocks, bavail, bsize } = await statfs(directory);
		return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
	}
}

function isRefusing({ volume }: VolumeSlot): boolean {
	return volume?.isQuotaReached === true || volume?.isFull === true;
}
