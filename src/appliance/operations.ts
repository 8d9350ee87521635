import type { Operations } from '../admin/operations.ts';
import type {
	ChapView,
	ControllerView,
	LunMappingView,
	NamespaceMappingView,
	NewChap,
	NewHostAccess,
	NewInitiatorAccess,
	NewMapping,
	NewNamespace,
	NewRedirection,
	NewSubsystem,
	NewTarget,
	NewVolume,
	SessionView,
	StatusView,
	SubsystemView,
	TargetView,
	VolumeView,
} from '../admin/schemas.ts';
import type { Configuration, TargetRow } from '../config/configuration.ts';
import { UsageError } from '../config/usage-error.ts';
import type { SessionSummary } from '../iscsi/listener.ts';
import { checkSecrets } from './host-secrets.ts';
import type { ExportedSubsystems } from './subsystems.ts';
import { chapView, type Targets } from './targets.ts';
import type { Volumes } from './volumes.ts';

/** What the operations need of the iSCSI side. */
export interface Portal {
	sessions(): readonly SessionSummary[];
	readonly statistics: object;
	/** Ends sessions, telling their initiators; how many. */
	endSessions(which: (session: SessionSummary) => boolean, reason: string): number;
	/** Asks initiators to log out, and ends the sessions of those that do not; how many are asked. */
	askForLogout(which: (session: SessionSummary) => boolean): number;
	/** Tells initiators that the LUNs of a target are others now. */
	announceLuns(targetName: string): void;
}

/** Counters of a listener since the start. */
export interface Counted {
	readonly statistics: object;
}

/** What `volume create --export` puts before the volume's name. */
export const exportPrefix = { iscsi: 'iqn.2026-11.dev.blockport:', nvme: 'nqn.2026-11.dev.blockport:' } as const;

/**
 * The admin API's view of the appliance. What changes something runs strictly one after the other, configuration first or engine first as each says, and reaches
 * running sessions at once: nothing needs a restart.
 */
export class ApplianceOperations implements Operations {
	readonly #configuration: Configuration;
	readonly #volumes: Volumes;
	readonly #targets: Targets;
	readonly #subsystems: ExportedSubsystems;
	readonly #portal: Portal;
	readonly #nvmeListeners: readonly Counted[];
	readonly #describe: () => Promise<StatusView>;
	#last: Promise<unknown> = Promise.resolve();
	#state: StatusView['state'] = 'starting';

	constructor(parts: {
		configuration: Configuration;
		volumes: Volumes;
		targets: Targets;
		subsystems: ExportedSubsystems;
		portal: Portal;
		nvmeListeners: readonly Counted[];
		describe: () => Promise<StatusView>;
	}) {
		this.#configuration = parts.configuration;
		this.#volumes = parts.volumes;
		this.#targets = parts.targets;
		this.#subsystems = parts.subsystems;
		this.#portal = parts.portal;
		this.#nvmeListeners = parts.nvmeListeners;
		this.#describe = parts.describe;
	}

	get state(): StatusView['state'] {
		return this.#state;
	}

	/** Opens what there is before the first change is made. */
	start(open: () => Promise<void>): Promise<void> {
		return this.#inTurn(async () => {
			await open();
			if (this.#state === 'starting') this.#state = 'ready';
		});
	}

	/** For what changes the appliance beside these operations: one after the other with them. */
	inTurn<T>(change: () => Promise<T>): Promise<T> {
		return this.#inTurn(change);
	}

	/** No change begins from now on; resolves when the running ones are done. */
	async stop(): Promise<void> {
		this.#state = 'stopping';
		await this.#last;
	}

	status(): Promise<StatusView> {
		return this.#describe();
	}

	volumes(): Promise<VolumeView[]> {
		return this.#volumes.list();
	}

	volume(name: string): Promise<VolumeView> {
		return this.#volumes.view(name);
	}

	createVolume(volume: NewVolume): Promise<VolumeView> {
		return this.#inTurn(async () => {
			const exports = new Set(volume.exports);
			const target = `${exportPrefix.iscsi}${volume.name}`;
			const subsystem = `${exportPrefix.nvme}${volume.name}`;
			this.#configuration.checkNewVolume(volume);
			if (exports.has('iscsi')) this.#configuration.checkNewTarget(target);
			if (exports.has('nvme')) this.#configuration.subsystems.check(subsystem);
			const made = await this.#volumes.create(volume);
			if (exports.size === 0) return made;
			if (exports.has('iscsi')) {
				this.#targets.add(this.#configuration.addTarget({ name: target }));
				this.#mapLun(target, volume.name, 0);
			}
			if (exports.has('nvme')) {
				this.#subsystems.add(this.#configuration.subsystems.add({ name: subsystem }));
				this.#subsystems.map(this.#configuration.subsystems.map(subsystem, volume.name, 1));
			}
			return this.#volumes.view(volume.name);
		});
	}

	resizeVolume(name: string, sizeBytes: number): Promise<VolumeView> {
		return this.#inTurn(() => this.#volumes.resize(name, sizeBytes));
	}

	setSanitizable(name: string, isAllowed: boolean): Promise<VolumeView> {
		return this.#inTurn(() => this.#volumes.setSanitizable(name, isAllowed));
	}

	deleteVolume(name: string): Promise<void> {
		return this.#inTurn(async () => {
			await this.#volumes.delete(name);
			this.#targets.forgetVolume(name);
		});
	}

	targets(): TargetView[] {
		return this.#targets.list((target) => this.#sessionsOf(target));
	}

	target(name: string): TargetView {
		return this.#targets.view(name, (target) => this.#sessionsOf(target));
	}

	createTarget(target: NewTarget): Promise<TargetView> {
		return this.#inTurn(async () => {
			const row = this.#configuration.addTarget(target);
			this.#targets.add(row);
			return this.target(row.name);
		});
	}

	/** Its sessions end: whoever asked for this was told that the target goes. */
	deleteTarget(name: string): Promise<void> {
		return this.#inTurn(async () => {
			const row = this.#configuration.removeTarget(name);
			this.#targets.remove(row.name);
			this.#portal.endSessions(({ target }) => target === row.name, 'its target was deleted');
		});
	}

	map(target: string, mapping: NewMapping): Promise<LunMappingView> {
		return this.#inTurn(async () => {
			return this.#mapLun(target, mapping.volume, mapping.lun);
		});
	}

	unmap(target: string, lun: number): Promise<void> {
		return this.#inTurn(async () => {
			const row = this.#configuration.unmap(target, lun);
			this.#targets.unmap(row.target, row.lun);
			this.#portal.announceLuns(row.target);
		});
	}

	/** Sessions that the initiator would not get any more end: from elsewhere, or without the proof that is asked for now. */
	allow(target: string, initiator: string, access: NewInitiatorAccess = {}): Promise<TargetView> {
		return this.#inTurn(async () => this.#accessChanged(this.#configuration.allow(target, initiator, access)));
	}

	/** Sessions that are no longer admitted end. */
	disallow(target: string, initiator: string): Promise<TargetView> {
		return this.#inTurn(async () => this.#accessChanged(this.#configuration.disallow(target, initiator)));
	}

	/** Sends logins elsewhere from now on, and asks who is here to log out; undefined ends that. */
	redirectTarget(target: string, to: NewRedirection | undefined): Promise<TargetView> {
		return this.#inTurn(async () => {
			const row = this.#configuration.redirect(target, to);
			this.#targets.setAccess(row);
			if (to !== undefined) this.#portal.askForLogout((session) => session.target === row.name);
			return this.target(row.name);
		});
	}

	discoveryAuthentication(): ChapView {
		return chapView(this.#configuration.discoveryAuthentication.get());
	}

	/** Discovery sessions that have not proved themselves end. */
	setDiscoveryAuthentication(wish: NewChap): Promise<ChapView> {
		return this.#inTurn(async () => {
			this.#targets.setDiscoveryAccess(this.#configuration.discoveryAuthentication.set(wish));
			this.#endUnwelcome((session) => session.target === undefined);
			return this.discoveryAuthentication();
		});
	}

	clearDiscoveryAuthentication(): Promise<void> {
		return this.#inTurn(async () => {
			this.#configuration.discoveryAuthentication.clear();
			this.#targets.setDiscoveryAccess(this.#configuration.discoveryAuthentication.get());
		});
	}

	sessions(): SessionView[] {
		return this.#portal
			.sessions()
			.map(({ target, since, initiator, isid, tsih, remote, authentication, commands, bytesRead, bytesWritten }) => ({
				kind: target === undefined ? 'discovery' : 'normal',
				...(target === undefined ? {} : { target }),
				since: since.toISOString(),
				initiator,
				isid,
				tsih,
				remote,
				authentication,
				commands,
				bytesRead,
				bytesWritten,
			}));
	}

	/** How many reach a volume now, by whatever maps it. */
	usersOf(volume: string): { sessions: number; controllers: number } {
		const targets = new Set<string | undefined>(this.#configuration.mappingsOf(volume).map(({ target }) => target));
		const subsystems = new Set(this.#configuration.subsystems.mappingsOf(volume).map(({ subsystem }) => subsystem));
		return {
			sessions: this.#portal.sessions().filter(({ target }) => targets.has(target)).length,
			controllers: this.controllers().filter(({ subsystem }) => subsystems.has(subsystem)).length,
		};
	}

	subsystems(): SubsystemView[] {
		return this.#subsystems.list();
	}

	subsystem(name: string): SubsystemView {
		return this.#subsystems.view(name);
	}

	createSubsystem(subsystem: NewSubsystem): Promise<SubsystemView> {
		return this.#inTurn(async () => {
			const row = this.#configuration.subsystems.add(subsystem);
			this.#subsystems.add(row);
			return this.subsystem(row.name);
		});
	}

	/** Its controllers end. */
	deleteSubsystem(name: string): Promise<void> {
		return this.#inTurn(async () => {
			const row = this.#configuration.subsystems.remove(name);
			this.#subsystems.remove(row.name);
		});
	}

	mapNamespace(subsystem: string, { volume, nsid }: NewNamespace): Promise<NamespaceMappingView> {
		return this.#inTurn(async () => {
			const row = this.#configuration.subsystems.map(subsystem, volume, nsid);
			this.#subsystems.map(row);
			return row;
		});
	}

	unmapNamespace(subsystem: string, nsid: number): Promise<void> {
		return this.#inTurn(async () => {
			this.#subsystems.unmap(this.#configuration.subsystems.unmap(subsystem, nsid));
		});
	}

	allowHost(subsystem: string, host: string, access: NewHostAccess): Promise<SubsystemView> {
		return this.#inTurn(async () => {
			const { hosts } = this.#configuration.subsystems.get(subsystem);
			checkSecrets(
				access,
				hosts.find((one) => one.host === host),
			);
			this.#subsystems.setAccess(this.#configuration.subsystems.allow(subsystem, host, access));
			return this.subsystem(subsystem);
		});
	}

	/** Controllers of a host that is no longer admitted end. */
	disallowHost(subsystem: string, host: string): Promise<SubsystemView> {
		return this.#inTurn(async () => {
			this.#subsystems.setAccess(this.#configuration.subsystems.disallow(subsystem, host));
			return this.subsystem(subsystem);
		});
	}

	controllers(): ControllerView[] {
		return this.#subsystems.controllers();
	}

	iscsiStatistics(): Record<string, number> {
		return Object.fromEntries(numbers(this.#portal.statistics));
	}

	nvmeStatistics(): Record<string, number> {
		const sums: Record<string, number> = {};
		for (const { statistics } of this.#nvmeListeners) {
			for (const [name, value] of numbers(statistics)) sums[name] = (sums[name] ?? 0) + value;
		}
		return sums;
	}

	#mapLun(target: string, volume: string, lun?: number): LunMappingView {
		const row = this.#configuration.map(target, volume, lun);
		if (this.#targets.map(row.target, row.lun, row.volume)) this.#portal.announceLuns(row.target);
		return row;
	}

	#accessChanged(row: TargetRow): TargetView {
		this.#targets.setAccess(row);
		this.#endUnwelcome((session) => session.target === row.name);
		return this.target(row.name);
	}

	#endUnwelcome(among: (session: SessionSummary) => boolean): void {
		this.#portal.endSessions((session) => among(session) && !this.#targets.welcomes(session), 'its initiator is admitted no longer');
	}

	#sessionsOf(target: string): number {
		return this.#portal.sessions().filter((session) => session.target === target).length;
	}

	#inTurn<T>(change: () => Promise<T>): Promise<T> {
		if (this.#state === 'stopping') return Promise.reject(new UsageError('The appliance is being stopped.', 'unavailable'));
		const turn = this.#last.then(change);
		// The next one does not care how this one ended: who asked for it is told.
		this.#last = turn.catch(() => undefined);
		return turn;
	}
}

function numbers(statistics: object): [string, number][] {
	return Object.entries(statistics).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
}
