import { readFile } from 'node:fs/promises';
import type { StatusView } from './admin/schemas.ts';
import type { AdminServer } from './admin/server.ts';
import { DataDirectory } from './appliance/data-directory.ts';
import { type Demo, demoBytesDefault, ensureDemo, findDemo } from './appliance/demo.ts';
import { EventJournal } from './appliance/event-journal.ts';
import { ApplianceOperations } from './appliance/operations.ts';
import { type Asked, type PortalParts, Portals } from './appliance/portals.ts';
import { listenAt } from './appliance/ports.ts';
import { Protection } from './appliance/protection.ts';
import { ShadowVolumes } from './appliance/shadow-volumes.ts';
import { ApplianceStreams } from './appliance/streams.ts';
import { ExportedSubsystems } from './appliance/subsystems.ts';
import { Targets } from './appliance/targets.ts';
import type { OpenVolume } from './appliance/volume-slot.ts';
import { type VolumeEngine, Volumes } from './appliance/volumes.ts';
import { createGroupSnapshot } from './blockvol/group-snapshot.ts';
import { scrubVolume } from './blockvol/scrub.ts';
import { Volume } from './blockvol/volume.ts';
import { Configuration } from './config/configuration.ts';
import { type Endpoint, type PortalEndpoint, printEndpoint } from './config/endpoint.ts';
import { Reserve } from './config/reserve.ts';
import { UsageError } from './config/usage-error.ts';
import { IscsiListener } from './iscsi/listener.ts';
import { NvmeFabric } from './nvmeof/fabric.ts';
import { NvmeListener } from './nvmeof/listener.ts';
import { errorCode } from './os/disk.ts';
import { FairDisk } from './os/fair-disk.ts';
import { FileDisk } from './os/file-disk.ts';
import type { Logger } from './os/logger.ts';
import { MemoryBudget } from './os/memory-budget.ts';
import { busyPoll } from './wire/busy-poll.ts';
import { congestionControl, type CongestionChoice } from './wire/congestion-control.ts';

export const budgetBytesDefault = 64 * 2 ** 20;
export const drainMsDefault = 5000;
const adminPort = 9260;
const loopback = ['127.0.0.1', '::1', 'localhost'];

export interface ApplianceOptions {
	readonly dataDirectory: string;
	readonly version: string;
	readonly log: Logger;
	/** Without configuration, makes a volume with a target and a subsystem that are open to all; everything listens on loopback unless told otherwise. */
	readonly demo?: boolean;
	readonly demoBytes?: number | undefined;
	/** Undefined: the usual port or the next free one. */
	readonly iscsi?: PortalEndpoint | undefined;
	/** Further portals. */
	readonly iscsiMore?: readonly PortalEndpoint[];
	/** `none`: not served. */
	readonly nvme?: Asked;
	readonly nvmeDiscovery?: Asked;
	readonly admin?: Endpoint | undefined;
	/** Unix socket of the admin API; by default in the data directory. */
	readonly socket?: string | undefined;
	/** Files; needed, all three, to listen for administration beyond loopback. */
	readonly adminTokenFile?: string | undefined;
	readonly adminTlsCertFile?: string | undefined;
	readonly adminTlsKeyFile?: string | undefined;
	/** Verifies every volume on disk before it is served, clean stop or not. */
	readonly forceCheck?: boolean;
	/** How long the event loop stays awake after each arrival, microseconds; 0 is off. By default as long as it pays. */
	readonly busyPoll?: number | 'adaptive';
	/** Of connections: by default not BBR towards peers nearby. */
	readonly congestionControl?: CongestionChoice;
	readonly budgetBytes?: number;
	readonly drainMs?: number;
}

/** What a test may put something else in place of. */
export interface ApplianceParts extends PortalParts {
	readonly engine: VolumeEngine;
}

export function realParts(): ApplianceParts {
	const disk = new FileDisk();
	return {
		engine: {
			disk,
			create: (directory, geometry) => Volume.create(disk, directory, geometry),
			open: (directory, options) => Volume.open(new FairDisk(disk), directory, options),
			snapshotTogether: (volumes, name) => createGroupSnapshot(volumes.map(own), name),
			clone: (source, snapshot, directory, uuid) => Volume.clone(disk, own(source), snapshot, directory, uuid),
			scrub: (volume, directory, options) => scrubVolume(disk, directory, volume, options),
		},
		portal: (options) => new IscsiListener(options),
		nvme: ({ registry, budget, log, portals, version }) => {
			const fabric = new NvmeFabric({ registry, log, portals, firmwareRevision: firmwareRevision(version) });
			return {
				io: new NvmeListener({ fabric, budget, log }),
				discovery: new NvmeListener({ fabric, budget, log }),
				close: () => fabric.close(),
			};
		},
	};
}

/** A volume that the engine above has opened. */
function own(volume: OpenVolume): Volume {
	if (!(volume instanceof Volume)) throw new RangeError('a volume of another engine');
	return volume;
}

/**
 * One appliance: everything that is built from one data directory. start() in this order: the lock; the configuration; the listeners of iSCSI and NVMe, which answer at once and let
 * I/O wait; then the volumes, side by side with the admin server. What was opened is closed in the opposite order, by stop() or when start() fails.
 */
export class Appliance {
	readonly #options: ApplianceOptions;
	readonly #parts: ApplianceParts;
	readonly #startedAt = new Date();
	/** What has to be undone, the last first. */
	readonly #opened: (() => Promise<void>)[] = [];
	readonly #notices: string[] = [];
	#operations: ApplianceOperations | undefined;
	#portals: Portals | undefined;
	#protection: Protection | undefined;
	#shadows: ShadowVolumes | undefined;
	#streams: ApplianceStreams | undefined;
	#admin: Endpoint | undefined;
	#socket = '';
	#demo: Demo | undefined;
	#unclosed: readonly string[] = [];

	constructor(options: ApplianceOptions, parts: ApplianceParts = realParts()) {
		this.#options = options;
		this.#parts = parts;
	}

	/** Where it listens; undefined before start(). */
	get iscsi(): Endpoint | undefined {
		return this.#portals?.iscsiAddress;
	}

	get iscsiPortals(): readonly PortalEndpoint[] {
		return this.#portals?.iscsiPortals ?? [];
	}

	get nvme(): Endpoint | undefined {
		return this.#portals?.nvme;
	}

	get nvmeDiscovery(): Endpoint | undefined {
		return this.#portals?.nvmeDiscovery;
	}

	get admin(): Endpoint | undefined {
		return this.#admin;
	}

	get socket(): string {
		return this.#socket;
	}

	/** What the operator should read once it serves: another port than usual, a volume that is faulted. */
	get notices(): readonly string[] {
		return this.#notices;
	}

	/** What the demo exports; undefined unless --demo made or found it. */
	get demo(): Demo | undefined {
		return this.#demo;
	}

	/** Volumes that are being filled. */
	get shadows(): ShadowVolumes {
		if (this.#shadows === undefined) throw new RangeError('the appliance was not started');
		return this.#shadows;
	}

	/** Images that go out and come in. */
	get streams(): ApplianceStreams {
		if (this.#streams === undefined) throw new RangeError('the appliance was not started');
		return this.#streams;
	}

	get protection(): Protection {
		if (this.#protection === undefined) throw new RangeError('the appliance was not started');
		return this.#protection;
	}

	get operations(): ApplianceOperations {
		if (this.#operations === undefined) throw new RangeError('the appliance was not started');
		return this.#operations;
	}

	/** Resolves when every volume was opened or is faulted, and all listeners listen. Rejects with UsageError, nothing left open. */
	async start(): Promise<void> {
		try {
			await this.#start();
		} catch (error) {
			await this.#close();
			throw error;
		}
	}

	/** Asks sessions to log out, lets commands finish, flushes and stamps the volumes. Resolves to the names of volumes that could not be closed properly. */
	async stop(): Promise<readonly string[]> {
		// Both in this turn: no change begins any more, and a schedule that is turned away does not call that a failure.
		await Promise.all([this.#protection?.stop(), this.#operations?.stop()]);
		await this.#close();
		return this.#unclosed;
	}

	async #start(): Promise<void> {
		const options = this.#options;
		const guarded = await adminAccess(options);
		const { engine } = this.#parts;
		const directory = await DataDirectory.open(engine.disk, options.dataDirectory);
		this.#opened.push(() => directory.close());
		const reserve = new Reserve(directory.path, () =>
			options.log.warn({}, 'the file system is full: the space that was kept for the configuration is given up'),
		);
		const configuration = new Configuration(directory.configuration, undefined, reserve);
		this.#opened.push(async () => configuration.close());
		const journal = await EventJournal.open(engine.disk, directory.path, options.log);
		this.#opened.push(() => journal.close());
		this.#opened.push(async () => this.#protection?.archive.close());
		const volumes = new Volumes(engine, configuration, directory, options.log);
		volumes.remote = (identity) => this.protection.archive.pagesOf(identity);
		this.#opened.push(async () => {
			this.#unclosed = await volumes.closeAll();
		});
		await volumes.settle();
		if (options.demo === true) {
			await ensureDemo(configuration, volumes, options.demoBytes ?? demoBytesDefault);
			this.#demo = findDemo(configuration);
		}

		const targets = new Targets(configuration, volumes, { demo: options.demo === true, log: options.log });
		const subsystems = new ExportedSubsystems(configuration, volumes, {
			demo: options.demo === true,
			log: options.log,
			firmwareRevision: firmwareRevision(options.version),
		});
		const protection = new Protection({
			configuration,
			volumes,
			engine,
			targets,
			subsystems,
			log: options.log,
			inTurn: (change) => this.operations.inTurn(change),
			announceLuns: (target) => this.#portals?.iscsi.announceLuns(target),
			usersOf: (volume) => this.operations.usersOf(volume),
			shadows: () => this.shadows,
			archiveDirectory: directory.archive,
			directory: directory.path,
			version: options.version,
			journal,
		});
		this.#protection = protection;
		this.#opened.push(() => protection.closeMounts());
		const shadows = new ShadowVolumes({
			configuration,
			volumes,
			inTurn: (change) => this.operations.inTurn(change),
			replaced: (volume) => targets.forgetVolume(volume),
		});
		this.#shadows = shadows;
		this.#opened.push(() => shadows.closeAll());
		const { snapshots, events } = protection;
		const streams = new ApplianceStreams({ volumes, snapshots, shadows, events });
		this.#streams = streams;
		this.#opened.push(() => streams.closeAll());
		const budget = new MemoryBudget(options.budgetBytes ?? budgetBytesDefault);
		busyPoll.configure(options.busyPoll ?? 'adaptive');
		congestionControl.configure(options.congestionControl ?? 'auto');
		const portals = new Portals(
			this.#parts,
			{ targets, subsystems },
			{ budget, log: options.log, version: options.version },
			{
				demo: options.demo === true,
				iscsi: options.iscsi,
				iscsiMore: options.iscsiMore ?? [],
				nvme: options.nvme,
				nvmeDiscovery: options.nvmeDiscovery,
				drainMs: options.drainMs ?? drainMsDefault,
			},
		);
		this.#portals = portals;
		this.#opened.push(() => portals.drain());
		await portals.listen();
		this.#notices.push(...portals.notices);
		const operations = new ApplianceOperations({
			configuration,
			volumes,
			targets,
			subsystems,
			portal: portals.iscsi,
			nvmeListeners: portals.nvmeListeners,
			describe: () => this.#status(directory, configuration, volumes, budget, portals),
		});
		this.#operations = operations;

		const opening = operations.start(async () => {
			await volumes.openAll(options.forceCheck === true);
			await protection.openMounts();
		});
		// When the admin server cannot listen, the volumes are let finish before they are closed.
		const [opened, listening] = await Promise.allSettled([opening, this.#listenAdmin(operations, protection, directory, guarded)]);
		if (opened.status === 'rejected') throw opened.reason;
		if (listening.status === 'rejected') throw listening.reason;
		await protection.start();
		for (const { volume, fault } of volumes.faults()) this.#notices.push(`volume ${volume} is faulted: ${fault}`);
		if (volumes.unknownDirectories.length > 0) {
			this.#notices.push(
				`${volumes.unknownDirectories.length} directories under ${directory.volumes} belong to no volume and are left alone`,
			);
		}
	}

	async #listenAdmin(
		operations: ApplianceOperations,
		protection: Protection,
		directory: DataDirectory,
		access: AdminAccess,
	): Promise<void> {
		// Not at the top: the listener above answers while this is loaded.
		const [{ AdminServer }, { loopbackHosts }] = await Promise.all([import('./admin/server.ts'), import('./admin/guard.ts')]);
		const server: AdminServer = await AdminServer.create({
			operations,
			log: this.#options.log,
			version: this.#options.version,
			more: [...(await protection.routes()), await this.streams.routes()],
			moreMetrics: () => protection.metrics(),
		});
		this.#opened.push(() => server.close());
		this.#socket = this.#options.socket ?? directory.socket;
		await server.listenOnSocket(this.#socket);
		const usual = { host: '127.0.0.1', port: adminPort };
		const what = { name: 'administration', flag: '--admin', asked: this.#options.admin, usual };
		const { listening, tried } = await listenAt(what, async ({ host, port }) => {
			const guard = { hosts: loopback.includes(host) ? loopbackHosts : undefined, token: access.token };
			return { host, port: await server.listenOnTcp(host, port, guard, access.tls) };
		});
		this.#admin = listening;
		if (tried > 0) this.#notices.push(`port ${usual.port} is taken by another program: administration is at ${printEndpoint(listening)}`);
	}

	async #status(
		directory: DataDirectory,
		configuration: Configuration,
		volumes: Volumes,
		budget: MemoryBudget,
		portals: Portals,
	): Promise<StatusView> {
		return {
			version: this.#options.version,
			state: this.operations.state,
			pid: process.pid,
			startedAt: this.#startedAt.toISOString(),
			uptimeSeconds: (Date.now() - this.#startedAt.getTime()) / 1000,
			demo: this.#options.demo === true,
			dataDirectory: directory.path,
			freeBytes: await this.#parts.engine.disk.freeBytes(directory.path),
			...endpoints({ iscsi: portals.iscsiAddress, nvme: portals.nvme, nvmeDiscovery: portals.nvmeDiscovery, admin: this.#admin }),
			iscsiPortals: [...portals.iscsiPortals],
			volumes: volumes.counts(),
			faults: volumes.faults(),
			opening: volumes.opening(),
			targets: configuration.targets().length,
			sessions: portals.iscsi.sessions().length,
			subsystems: configuration.subsystems.count,
			controllers: this.operations.controllers().length,
			memory: {
				rssBytes: process.memoryUsage.rss(),
				budgetLimitBytes: budget.limitBytes,
				budgetUsedBytes: budget.usedBytes,
				budgetPeakBytes: budget.peakBytes,
				budgetWaiting: budget.waiting,
			},
			unknownDirectories: [...volumes.unknownDirectories],
		};
	}

	async #close(): Promise<void> {
		const failures: unknown[] = [];
		for (const undo of this.#opened.splice(0).toReversed()) {
			// Whatever becomes of one, the others are closed too: above all the volumes.
			await undo().catch((error: unknown) => failures.push(error));
		}
		if (failures.length > 0) throw failures[0];
	}
}

/** For the launcher: `blockport serve`. */
export function makeServer(settings: Omit<ApplianceOptions, 'version'>, version: string): Appliance {
	return new Appliance({ ...settings, version });
}

/** FR of Identify Controller has 8 characters. */
function firmwareRevision(version: string): string {
	return version.slice(0, 8);
}

/** Without those that are not there. */
function endpoints<Name extends string>(all: Record<Name, Endpoint | undefined>): Partial<Record<Name, Endpoint>> {
	return Object.fromEntries(Object.entries(all).filter(([, endpoint]) => endpoint !== undefined)) as Partial<Record<Name, Endpoint>>;
}

interface AdminAccess {
	readonly token: string | undefined;
	readonly tls: { cert: Buffer; key: Buffer } | undefined;
}

/** Beyond loopback the admin API speaks TLS and wants a token: without both it refuses to listen there. */
async function adminAccess(options: ApplianceOptions): Promise<AdminAccess> {
	const { adminTokenFile, adminTlsCertFile, adminTlsKeyFile, admin } = options;
	if (admin !== undefined && !loopback.includes(admin.host) && (adminTokenFile === undefined || adminTlsCertFile === undefined)) {
		throw new UsageError(
			`Administration at ${printEndpoint(admin)} needs a token and TLS: add --admin-token-file, --admin-tls-cert and --admin-tls-key, or use 127.0.0.1.`,
		);
	}
	if ((adminTlsCertFile === undefined) !== (adminTlsKeyFile === undefined))
		throw new UsageError('--admin-tls-cert and --admin-tls-key go together.');
	const token = adminTokenFile === undefined ? undefined : (await readOption(adminTokenFile, '--admin-token-file')).toString('utf8').trim();
	if (token !== undefined && token.length < 16) throw new UsageError(`The token in ${adminTokenFile} is shorter than 16 characters.`);
	if (adminTlsCertFile === undefined || adminTlsKeyFile === undefined) return { token, tls: undefined };
	const cert = await readOption(adminTlsCertFile, '--admin-tls-cert');
	const key = await readOption(adminTlsKeyFile, '--admin-tls-key');
	return { token, tls: { cert, key } };
}

async function readOption(path: string, flag: string): Promise<Buffer> {
	try {
		return await readFile(path);
	} catch (error) {
		throw new UsageError(`The file ${path} of ${flag} cannot be read (${errorCode(error)}): make it, or check its mode.`, 'unavailable', {
			cause: error,
		});
	}
}
