import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Logger } from '../os/logger.ts';
import { ThrottledLog } from '../os/throttled-log.ts';
import { AuthLedger } from './auth-exchange.ts';
import type { Controller } from './controller.ts';
import { DiscoverySubsystem } from './discovery-subsystem.ts';
import type { FabricState } from './fabric-state.ts';
import { limits } from './limits.ts';
import { Queue } from './queue.ts';
import type { Portal, SubsystemRegistry } from './registry.ts';
import type { Fabric, QueueLink, QueueLogic } from './request.ts';

export interface NvmeFabricOptions {
	readonly registry: SubsystemRegistry;
	readonly log: Logger;
	/** Milliseconds of a clock that never goes back. */
	readonly now?: () => number;
	/** Where I/O queues are served now: what the discovery log names. */
	portals(): readonly Portal[];
	/** FR of the discovery subsystem. */
	readonly firmwareRevision?: string;
	/** As many unpredictable bytes as it is asked for. */
	readonly random?: (lengthBytes: number) => Buffer;
}

/** A tick that came later than this says that the process stood still; hosts are not to pay for that. */
const elapsedMsMax = 2000;

/** All subsystems behind one or more listeners, and the discovery subsystem. */
export class NvmeFabric implements Fabric, FabricState {
	readonly registry: SubsystemRegistry;
	readonly discovery: DiscoverySubsystem;
	readonly log: ThrottledLog;
	readonly ledger: AuthLedger;
	readonly unconnected = new Set<Queue>();
	readonly now: () => number;
	#tickedMs: number;

	constructor(options: NvmeFabricOptions) {
		this.registry = options.registry;
		this.now = options.now ?? (() => performance.now());
		this.log = new ThrottledLog(options.log, this.now);
		this.discovery = new DiscoverySubsystem(options.registry, () => options.portals(), options.firmwareRevision ?? '1');
		this.ledger = new AuthLedger(options.random ?? ((lengthBytes) => randomBytes(lengthBytes)));
		this.#tickedMs = this.now();
	}

	open(link: QueueLink): QueueLogic {
		const queue = new Queue(this, link);
		this.unconnected.add(queue);
		return queue;
	}

	tick(): void {
		const now = this.now();
		const elapsedMs = Math.min(now - this.#tickedMs, elapsedMsMax);
		this.#tickedMs = now;
		this.log.tick();
		for (const controller of this.controllers()) controller.tick(elapsedMs, now);
		for (const queue of this.unconnected) {
			if (now - queue.sinceMs > limits.connectMs) queue.link.end('no Connect');
		}
	}

	/** All controllers, discovery's among them. */
	controllers(): readonly Controller[] {
		return [...this.registry.all().flatMap(({ controllers }) => [...controllers.values()]), ...this.discovery.controllers.values()];
	}

	/** Access has gone: ends the controllers of a subsystem, of one host or of all. */
	endControllers(subsystemNQN: string, hostNQN?: string): void {
		this.registry.find(subsystemNQN)?.endControllers('its host has no access any more', hostNQN);
	}

	/** Ends every controller; the subsystems are the registry's. */
	close(): void {
		for (const controller of this.controllers()) controller.end('the target stops');
		this.discovery.close();
	}
}
