import { ok as assert } from 'node:assert';
import { ControllerIdentifiers } from './controller-identifiers.ts';
import type { Controller, ControllerOwner, Host } from './controller.ts';
import { DiscoveryController } from './discovery-controller.ts';
import { discoveryEntries } from './discovery-log.ts';
import { serialNumberOf } from './identity.ts';
import { limits } from './limits.ts';
import { discoveryNQN } from './qualified-name.ts';
import type { Portal, SubsystemRegistry } from './registry.ts';
import type { QueueLink } from './request.ts';

/** It has no identity of its own; every discovery subsystem has the same NQN. */
const nilUUID = '00000000-0000-0000-0000-000000000000';

/** The discovery subsystem of a fabric (NVMe Base 2.0, Discovery Service). Each host sees what it may connect to. */
export class DiscoverySubsystem implements ControllerOwner {
	readonly nqn = discoveryNQN;
	readonly serialNumber = serialNumberOf(nilUUID);
	readonly firmwareRevision: string;
	readonly controllers = new Map<number, DiscoveryController>();
	readonly #registry: SubsystemRegistry;
	readonly #portals: () => readonly Portal[];
	readonly #identifiers = new ControllerIdentifiers();
	readonly #endChange: () => void;
	#generation = 0;

	constructor(registry: SubsystemRegistry, portals: () => readonly Portal[], firmwareRevision: string) {
		this.#registry = registry;
		this.#portals = portals;
		this.firmwareRevision = firmwareRevision;
		this.#endChange = registry.onChange(() => this.#changed());
	}

	/** Counts changes of the registry, and those that hosts have seen: GENCTR of a controller that is made now. */
	get generation(): number {
		return this.#generation;
	}

	nextGeneration(): number {
		this.#generation++;
		return this.#generation;
	}

	entriesFor({ host, link }: DiscoveryController): Buffer {
		const visible = this.#registry.all().filter((subsystem) => subsystem.admits(host.nqn));
		return discoveryEntries(
			visible.map(({ nqn }) => nqn),
			this.#portals(),
			link.localAddress,
		);
	}

	createController(host: Host, link: QueueLink): DiscoveryController | undefined {
		if (this.controllers.size >= limits.controllersPerSubsystem) return undefined;
		const controller = new DiscoveryController(this, this.#identifiers.next(this.controllers), host, link);
		this.controllers.set(controller.id, controller);
		return controller;
	}

	controllerEnded(controller: Controller): void {
		assert(this.controllers.get(controller.id) === controller);
		this.controllers.delete(controller.id);
	}

	close(): void {
		this.#endChange();
		for (const controller of this.controllers.values()) controller.end('discovery closes');
	}

	#changed(): void {
		this.nextGeneration();
		for (const controller of this.controllers.values()) controller.registryChanged();
	}
}
