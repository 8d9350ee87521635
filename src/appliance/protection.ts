import type { FastifyPluginCallback } from 'fastify';
import type { Configuration } from '../config/configuration.ts';
import type { Logger } from '../os/logger.ts';
import { EventLog } from './event-log.ts';
import { ScheduleRunner } from './schedule-runner.ts';
import { ApplianceSchedules } from './schedules.ts';
import { SnapshotMounts } from './snapshot-mounts.ts';
import { ApplianceSnapshots } from './snapshots.ts';
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
}

/** What keeps data from being lost: snapshots, those that are mounted, schedules, and the events that tell of them. */
export class Protection {
	readonly events: EventLog;
	readonly snapshots: ApplianceSnapshots;
	readonly schedules: ApplianceSchedules;
	readonly #mounts: SnapshotMounts;
	readonly #runner: ScheduleRunner;

	/** Places of mounted snapshots are there when this returns, and answer later. */
	constructor({ configuration, volumes, engine, targets, subsystems, log, inTurn, announceLuns }: ProtectionParts) {
		const { schedules } = configuration;
		this.events = new EventLog(log);
		this.#mounts = new SnapshotMounts({ configuration, volumes, targets, subsystems, log });
		const { events } = this;
		this.snapshots = new ApplianceSnapshots({ configuration, volumes, engine, mounts: this.#mounts, events, inTurn, announceLuns });
		const { snapshots } = this;
		this.#runner = new ScheduleRunner({ schedules, snapshots, events, inTurn });
		this.schedules = new ApplianceSchedules({ schedules, runner: this.#runner, snapshots, inTurn });
	}

	/** After the volumes were opened. */
	openMounts(): Promise<void> {
		return this.#mounts.openAll();
	}

	/** Schedules run from now on. */
	start(): void {
		this.#runner.start();
	}

	/** No schedule runs any more when this resolves. */
	stop(): Promise<void> {
		return this.#runner.stop();
	}

	/** Before the volumes are closed. */
	closeMounts(): Promise<void> {
		return this.#mounts.closeAll();
	}

	/** Not at the top: the listeners answer while these are loaded. */
	async routes(): Promise<FastifyPluginCallback[]> {
		const [{ eventRoutes }, { scheduleRoutes }, { snapshotRoutes }] = await Promise.all([
			import('../admin/event-routes.ts'),
			import('../admin/schedule-routes.ts'),
			import('../admin/snapshot-routes.ts'),
		]);
		return [eventRoutes(this.events), scheduleRoutes(this.schedules), snapshotRoutes(this.snapshots)];
	}
}
