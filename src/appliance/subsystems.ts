import type { BlockDevice } from '../blockvol/block-device.ts';
import type { ControllerView, NamespaceMappingView, SubsystemView } from '../admin/schemas.ts';
import type { Configuration } from '../config/configuration.ts';
import type { HostRow, SubsystemRow } from '../config/subsystems.ts';
import type { AuthSecrets } from '../nvmeof/auth-exchange.ts';
import { DhchapKey, DhchapKeyError } from '../nvmeof/auth-key.ts';
import type { NamespaceOptions } from '../nvmeof/namespace.ts';
import type { SubsystemRegistry } from '../nvmeof/registry.ts';
import { Subsystem } from '../nvmeof/subsystem.ts';
import type { Logger } from '../os/logger.ts';
import type { Volumes } from './volumes.ts';

interface Exported {
	readonly subsystem: Subsystem;
	readonly openToAll: boolean;
	/** By NQN, with what the host has to prove itself by; undefined: nothing. */
	hosts: ReadonlyMap<string, AuthSecrets | undefined>;
}

/** The NVM subsystems of the configuration as the NVMe/TCP listeners see them. A volume has one reservation table, however many subsystems and targets map it. */
export class ExportedSubsystems implements SubsystemRegistry {
	readonly #configuration: Configuration;
	readonly #volumes: Volumes;
	/** One that is open to all is so under --demo only, as with targets. */
	readonly #demo: boolean;
	readonly #log: Logger;
	readonly #firmwareRevision: string;
	readonly #subsystems = new Map<string, Exported>();
	readonly #listeners = new Set<() => void>();

	constructor(configuration: Configuration, volumes: Volumes, options: { demo: boolean; log: Logger; firmwareRevision: string }) {
		this.#configuration = configuration;
		this.#volumes = volumes;
		this.#demo = options.demo;
		this.#log = options.log;
		this.#firmwareRevision = options.firmwareRevision;
		for (const row of configuration.subsystems.all()) this.add(row);
	}

	find(nqn: string): Subsystem | undefined {
		return this.#subsystems.get(nqn)?.subsystem;
	}

	all(): readonly Subsystem[] {
		return [...this.#subsystems.values()].map(({ subsystem }) => subsystem);
	}

	onChange(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	list(): SubsystemView[] {
		return this.#configuration.subsystems.all().map((row) => this.#view(row));
	}

	view(name: string): SubsystemView {
		return this.#view(this.#configuration.subsystems.get(name));
	}

	controllers(): ControllerView[] {
		return this.all().flatMap((subsystem) =>
			[...subsystem.controllers.values()].map(({ id, host, queues }) => ({
				subsystem: subsystem.nqn,
				cntlid: id,
				host: host.nqn,
				hostID: host.id.toString('hex'),
				ioQueues: [...queues.keys()].filter((qid) => qid !== 0).length,
				remote: queues.get(0)?.link.remote ?? '',
				authenticated: queues.get(0)?.auth?.authenticated ?? false,
			})),
		);
	}

	add(row: SubsystemRow): void {
		const exported: Exported = {
			subsystem: new Subsystem({
				nqn: row.name,
				uuid: row.uuid,
				firmwareRevision: this.#firmwareRevision,
				admits: (hostNQN) => (this.#demo && row.openToAll) || exported.hosts.has(hostNQN),
				secretFor: (hostNQN) => exported.hosts.get(hostNQN),
			}),
			openToAll: row.openToAll,
			hosts: this.#hosts(row),
		};
		this.#subsystems.set(row.name, exported);
		for (const { nsid, volume } of row.namespaces) this.map({ subsystem: row.name, nsid, volume });
		this.#changed();
	}

	/** Its controllers end. */
	remove(name: string): void {
		const { subsystem } = this.#exported(name);
		this.#subsystems.delete(name);
		subsystem.close();
		this.#changed();
	}

	map({ subsystem: name, nsid, volume }: NamespaceMappingView): void {
		const slot = this.#volumes.slot(volume);
		this.mapDevice(name, nsid, slot, { reservations: this.#volumes.reservations(volume), usedBytes: () => slot.usedBytes });
	}

	/** Also something else than a volume. */
	mapDevice(name: string, nsid: number, device: BlockDevice, options: NamespaceOptions): void {
		const { subsystem } = this.#exported(name);
		if (!subsystem.namespaces.has(nsid)) subsystem.addNamespace(nsid, device, options);
	}

	unmap({ subsystem: name, nsid }: Pick<NamespaceMappingView, 'subsystem' | 'nsid'>): void {
		this.#exported(name).subsystem.removeNamespace(nsid);
	}

	/** Takes the hosts of the row over. Controllers end of a host that is admitted no longer, or that never proved itself and now has to. */
	setAccess(row: SubsystemRow): void {
		const exported = this.#exported(row.name);
		exported.hosts = this.#hosts(row);
		for (const controller of exported.subsystem.controllers.values()) {
			const { nqn } = controller.host;
			if (!exported.subsystem.admits(nqn)) {
				exported.subsystem.endControllers('its host is admitted no longer', nqn);
			} else if (exported.hosts.get(nqn) !== undefined && controller.queues.get(0)?.auth === undefined) {
				exported.subsystem.endControllers('its host has to authenticate now', nqn);
			}
		}
		this.#changed();
	}

	#hosts(row: SubsystemRow): Map<string, AuthSecrets | undefined> {
		const hosts = new Map<string, AuthSecrets | undefined>();
		for (const host of row.hosts) {
			try {
				hosts.set(host.host, secretsOf(host));
			} catch (error) {
				if (!(error instanceof DhchapKeyError)) throw error;
				// Whoever edited the file by hand: better nobody gets in than somebody unproved.
				this.#log.error(
					{ subsystem: row.name, host: host.host, err: error },
					'a host is not admitted, because its secret is none: allow it again',
				);
			}
		}
		return hosts;
	}

	#exported(name: string): Exported {
		const exported = this.#subsystems.get(name);
		if (exported === undefined) throw new RangeError(`no subsystem ${name}`);
		return exported;
	}

	#changed(): void {
		for (const listener of this.#listeners) listener();
	}

	#view({ name, uuid, openToAll, createdAt, namespaces, hosts }: SubsystemRow): SubsystemView {
		return {
			name,
			uuid,
			openToAll,
			createdAt,
			namespaces: [...namespaces],
			snapshots: this.#configuration.mounts
				.in(name)
				.flatMap(({ volume, snapshot, place }) => ('nsid' in place ? [{ nsid: place.nsid, volume, snapshot }] : [])),
			hosts: hosts.map(({ host, dhchapSecret, dhchapCtrlSecret, dhchapHash, dhchapDhgroup }) => ({
				host,
				authentication: dhchapSecret === undefined ? 'none' : dhchapCtrlSecret === undefined ? 'host' : 'mutual',
				dhchapHash,
				dhchapDhgroup,
			})),
			controllers: this.#subsystems.get(name)?.subsystem.controllers.size ?? 0,
		};
	}
}

/** Throws DhchapKeyError. */
function secretsOf(host: HostRow): AuthSecrets | undefined {
	if (host.dhchapSecret === undefined) return undefined;
	return {
		host: DhchapKey.parse(host.dhchapSecret),
		controller: host.dhchapCtrlSecret === undefined ? undefined : DhchapKey.parse(host.dhchapCtrlSecret),
		hash: host.dhchapHash,
		dhGroup: host.dhchapDhgroup,
	};
}
