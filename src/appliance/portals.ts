import { type Endpoint, type PortalEndpoint, printEndpoint } from '../config/endpoint.ts';
import { UsageError } from '../config/usage-error.ts';
import type { TargetRegistry } from '../iscsi/registry.ts';
import type { Portal as NvmePortalAddress, SubsystemRegistry } from '../nvmeof/registry.ts';
import type { Logger } from '../os/logger.ts';
import type { MemoryBudget } from '../os/memory-budget.ts';
import type { Portal } from './operations.ts';
import { listenAt } from './ports.ts';

const iscsiPort = 3260;
/** NVMe/TCP's port, and that of its discovery service (IANA; NVMe/TCP Transport 1.0). */
const nvmePort = 4420;
const nvmeDiscoveryPort = 8009;

/** What every listener can; IscsiListener, NvmeListener, or a stand-in of a test. */
export interface Listener {
	/** Counters since the start. */
	readonly statistics: object;
	listen(address: Endpoint): Promise<void>;
	readonly address: Endpoint;
	/** Lets what runs finish, at most so long, and closes. */
	drain(timeoutMs: number): Promise<void>;
	close(): Promise<void>;
}

/** It may listen at several places. */
export interface IscsiPortal extends Portal, Listener {
	listen(address: PortalEndpoint): Promise<void>;
	/** All of them, in the order of listen(). */
	readonly portals: readonly PortalEndpoint[];
}

/** What a test may put something else in place of. */
export interface PortalParts {
	readonly portal: (options: { registry: TargetRegistry; budget: MemoryBudget; log: Logger }) => IscsiPortal;
	/** Two listeners on one fabric: for I/O and for discovery. */
	readonly nvme: (options: {
		registry: SubsystemRegistry;
		budget: MemoryBudget;
		log: Logger;
		portals: () => readonly NvmePortalAddress[];
		version: string;
	}) => {
		readonly io: Listener;
		readonly discovery: Listener;
		/** Ends what is left of the controllers, when both have closed. */
		close(): void;
	};
}

/** Undefined: the usual port or the next free one. `none`: no such listener. */
export type Asked = Endpoint | 'none' | undefined;

export interface PortalOptions {
	readonly demo: boolean;
	readonly iscsi: PortalEndpoint | undefined;
	/** Further ones. */
	readonly iscsiMore: readonly PortalEndpoint[];
	readonly nvme: Asked;
	readonly nvmeDiscovery: Asked;
	readonly drainMs: number;
}

/** The listeners of both protocols, where they listen, and what the operator should know of that. */
export class Portals {
	readonly iscsi: IscsiPortal;
	readonly notices: string[] = [];
	readonly #nvme: ReturnType<PortalParts['nvme']>;
	readonly #options: PortalOptions;
	readonly #listening: Listener[] = [];

	/** Throws UsageError for options that do not go together. */
	constructor(
		parts: PortalParts,
		registries: { targets: TargetRegistry; subsystems: SubsystemRegistry },
		world: { budget: MemoryBudget; log: Logger; version: string },
		options: PortalOptions,
	) {
		if (options.nvme === 'none' && options.nvmeDiscovery !== 'none' && options.nvmeDiscovery !== undefined) {
			throw new UsageError('--nvme-discovery without --nvme would show hosts nothing to connect to: give both or leave both out.');
		}
		this.#options = options;
		this.iscsi = parts.portal({ registry: registries.targets, ...world });
		this.#nvme = parts.nvme({
			registry: registries.subsystems,
			...world,
			portals: () => (this.nvme === undefined ? [] : [this.nvme]),
		});
	}

	/** Where NVMe I/O queues are served. */
	get nvme(): Endpoint | undefined {
		return this.#addressOf(this.#nvme.io);
	}

	get nvmeDiscovery(): Endpoint | undefined {
		return this.#addressOf(this.#nvme.discovery);
	}

	get iscsiAddress(): Endpoint | undefined {
		return this.#addressOf(this.iscsi);
	}

	get iscsiPortals(): readonly PortalEndpoint[] {
		return this.iscsi.portals;
	}

	/** Those whose counters belong to NVMe. */
	get nvmeListeners(): readonly Listener[] {
		return [this.#nvme.io, this.#nvme.discovery];
	}

	/** Rejects with UsageError when one cannot listen; then drain() closes those that do. */
	async listen(): Promise<void> {
		const { iscsi, iscsiMore, nvme, nvmeDiscovery } = this.#options;
		await this.#listen(this.iscsi, 'iSCSI', '--iscsi', iscsi, iscsiPort);
		for (const more of iscsiMore)
			await listenAt({ name: 'iSCSI', flag: '--iscsi', asked: more, usual: more }, () => this.iscsi.listen(more));
		if (nvme === 'none') return;
		await this.#listen(this.#nvme.io, 'NVMe/TCP', '--nvme', nvme, nvmePort);
		if (nvmeDiscovery === 'none') return;
		// Where the I/O portal was told to be is where hosts will look for the other.
		const host = nvme?.host;
		await this.#listen(this.#nvme.discovery, 'NVMe discovery', '--nvme-discovery', nvmeDiscovery, nvmeDiscoveryPort, host);
	}

	/** All at once: whoever waits for one protocol's hosts does not wait longer for the other's. */
	async drain(): Promise<void> {
		const drained = await Promise.allSettled(this.#listening.map((listener) => listener.drain(this.#options.drainMs)));
		this.#nvme.close();
		for (const one of drained) {
			if (one.status === 'rejected') throw one.reason;
		}
	}

	async #listen(
		listener: Listener,
		name: string,
		flag: string,
		asked: Endpoint | undefined,
		port: number,
		host = this.#options.demo ? '127.0.0.1' : '0.0.0.0',
	): Promise<void> {
		// Also the portal group tag, if there is one.
		const { tried } = await listenAt({ name, flag, asked, usual: { host, port } }, (endpoint) =>
			listener.listen({ ...asked, ...endpoint }),
		);
		this.#listening.push(listener);
		if (tried > 0) this.notices.push(`port ${port} is taken by another program: ${name} is at ${printEndpoint(listener.address)}`);
	}

	#addressOf(listener: Listener): Endpoint | undefined {
		return this.#listening.includes(listener) ? listener.address : undefined;
	}
}
