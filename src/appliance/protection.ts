import type { FastifyPluginCallback } from 'fastify';
import type { Metric } from '../admin/metrics.ts';
import type { Configuration } from '../config/configuration.ts';
import type { Logger } from '../os/logger.ts';
import { ApplianceArchive } from './archive.ts';
import { type EventKeeper, EventLog } from './event-log.ts';
import { ApplianceHistory } from './history.ts';
import { ScheduleRunner, systemClock } from './schedule-runner.ts';
import { ApplianceScrubs, type ScrubsParts } from './scrubs.ts';
import { ApplianceSchedules } from './schedules.ts';
import type { ShadowVolumes } from './shadow-volumes.ts';
import { SnapshotMounts } from './snapshot-mounts.ts';
import { ApplianceSpaceLimits } from './space-limits.ts';
import { ApplianceSnapshots, type SnapshotsParts } from './snapshots.ts';
import type { ExportedSubsystems } from './subsystems.ts';
import type { Targets } from './targets.ts';
import type { VolumeEngine, Volumes } from './volumes.ts';

export interface ProtectionParts {
	readonly configuration: Configuration;
	readonly volumes: Volumes;
	readonly engine: VolumeEngine;
	readonly targets: Targets;
	readonly subsystems: ExportedSubsystems;
	readonly log: Logger;
	readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
	readonly announceLuns: (target: string) => void;
	readonly usersOf: SnapshotsParts['usersOf'];
	readonly shadows: () => ShadowVolumes;
	/** Of exports that are on their way. */
	readonly archiveDirectory: string;
	/** The data directory. */
	readonly directory: string;
	readonly version: string;
	/** Where events outlive the process. */
	readonly journal: EventKeeper;
}

/** What keeps data from being lost: snapshots, those that are mounted, schedules, scrubs, archives, and the events that tell of them. */
export class Protection {
	readonly events: EventLog;
	readonly snapshots: ApplianceSnapshots;
	readonly schedules: ApplianceSchedules;
	readonly scrubs: ApplianceScrubs;
	readonly history: ApplianceHistory;
	readonly archive: ApplianceArchive;
	readonly space: ApplianceSpaceLimits;
	readonly #mounts: SnapshotMounts;
	readonly #runner: ScheduleRunner;
	readonly #configuration: Configuration;

	/** Places of mounted snapshots are there when this returns, and answer later. */
	constructor(parts: ProtectionParts) {
		const {
			configuration,
			volumes,
			engine,
			targets,
			subsystems,
			log,
			inTurn,
			announceLuns,
			shadows,
			archiveDirectory,
			directory,
			version,
		} = parts;
		this.#configuration = configuration;
		const { schedules } = configuration;
		this.events = new EventLog(log, Date.now, parts.journal);
		this.#mounts = new SnapshotMounts({ configuration, volumes, targets, subsystems, log });
		const { events } = this;
		this.snapshots = new ApplianceSnapshots({
			configuration,
			volumes,
			engine,
			mounts: this.#mounts,
			events,
			inTurn,
			announceLuns,
			usersOf: parts.usersOf,
			jobOf: (volume, name) => this.archive.jobOf(volume, name),
		});
		const { snapshots } = this;
		this.archive = new ApplianceArchive({
			configuration,
			volumes,
			snapshots,
			shadows,
			events,
			disk: engine.disk,
			directory: archiveDirectory,
			tool: `blockport ${version}`,
			inTurn,
			clock: systemClock,
		});
		const archive = (...made: Parameters<ApplianceArchive['archive']>): void => this.archive.archive(...made);
		this.#runner = new ScheduleRunner({ schedules, snapshots, events, inTurn, archive });
		this.schedules = new ApplianceSchedules({ schedules, runner: this.#runner, snapshots, inTurn });
		this.history = new ApplianceHistory({ configuration, volumes, snapshots, events, inTurn });
		const scrub: ScrubsParts['scrub'] = (volume, options) => volumes.scrub(volume, options);
		this.space = new ApplianceSpaceLimits({ configuration, volumes, events, directory, inTurn, clock: systemClock });
		const repair: ScrubsParts['repair'] = (...finding) => this.archive.repairPage(...finding);
		this.scrubs = new ApplianceScrubs({ configuration, events, scrub, repair, inTurn, clock: systemClock });
	}

	/** After the volumes were opened. */
	openMounts(): Promise<void> {
		return this.#mounts.openAll();
	}

	/** Schedules, scrubs and archive jobs run from now on. */
	async start(): Promise<void> {
		this.history.start();
		this.#runner.start();
		this.scrubs.start();
		this.space.start();
		await this.archive.start();
	}

	/** No schedule, no scrub and no archive job runs any more when this resolves. */
	async stop(): Promise<void> {
		await Promise.all([this.#runner.stop(), this.scrubs.stop(), this.archive.stop(), this.space.stop()]);
	}

	/** Before the volumes are closed. */
	closeMounts(): Promise<void> {
		return this.#mounts.closeAll();
	}

	*metrics(): Generator<Metric> {
		yield* this.archive.metrics();
		yield* this.space.metrics();
		for (const [severity, value] of Object.entries(this.events.counts)) {
			yield { name: 'blockport_events_total', help: 'Events since the start, by severity.', value, labels: { severity } };
		}
		for (const { name, fault } of this.schedules.list()) {
			const help = '1 when the schedule has a fault, or failed the last time.';
			yield { name: 'blockport_schedule_failing', help, value: fault === undefined ? 0 : 1, labels: { schedule: name } };
		}
		for (const [volume, value] of this.snapshots.counts()) {
			yield { name: 'blockport_volume_snapshots', help: 'Snapshots of the volume.', value, labels: { volume } };
		}
		for (const { volume, run, last } of this.#configuration.scrubs.all()) {
			const labels = { volume };
			yield {
				name: 'blockport_scrub_unfinished',
				help: '1 when a scrub runs, waits, or stopped in the middle.',
				value: run === undefined ? 0 : 1,
				labels,
			};
			if (last === undefined) continue;
			const finished = Date.parse(last.finishedAt) / 1000;
			yield { name: 'blockport_scrub_finished_seconds', help: 'End of the last whole scrub, seconds since 1970.', value: finished, labels };
			const bad = last.findings - last.repaired;
			yield { name: 'blockport_scrub_findings', help: 'Pages that were not sound in the last whole scrub.', value: bad, labels };
		}
	}

	/** Not at the top: the listeners answer while these are loaded. */
	async routes(): Promise<FastifyPluginCallback[]> {
		const [
			{ archiveRoutes },
			{ eventRoutes },
			{ scheduleRoutes },
			{ snapshotRoutes },
			{ scrubRoutes },
			{ historyRoutes },
			{ spaceRoutes },
		] = await Promise.all([
			import('../admin/archive-routes.ts'),
			import('../admin/event-routes.ts'),
			import('../admin/schedule-routes.ts'),
			import('../admin/snapshot-routes.ts'),
			import('../admin/scrub-routes.ts'),
			import('../admin/history-routes.ts'),
			import('../admin/space-routes.ts'),
		]);
		return [
			eventRoutes(this.events),
			scheduleRoutes(this.schedules),
			snapshotRoutes(this.snapshots),
			scrubRoutes(this.scrubs),
			historyRoutes(this.history),
			spaceRoutes(this.space),
			archiveRoutes(this.archive),
		];
	}
}
