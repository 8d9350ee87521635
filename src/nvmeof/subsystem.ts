import { ok as assert } from 'node:assert';
import type { BlockDevice } from '../blockvol/block-device.ts';
import type { Registrant } from '../reservation/registrant.ts';
import type { ReservationNotice } from '../reservation/reservation-table.ts';
import type { AuthSecrets } from './auth-exchange.ts';
import { ControllerIdentifiers } from './controller-identifiers.ts';
import type { Controller, ControllerOwner, Host } from './controller.ts';
import { serialNumberOf } from './identity.ts';
import { limits } from './limits.ts';
import { NamespaceStatistics } from './namespace-statistics.ts';
import { Namespace, type NamespaceOptions, type NamespaceWatcher } from './namespace.ts';
import { NvmController } from './nvm-controller.ts';

export interface SubsystemOptions {
	readonly nqn: string;
	/** SN derives from it, unless serialNumber is given. */
	readonly uuid: string;
	/** At most 20 ASCII characters. */
	readonly serialNumber?: string | undefined;
	/** FR: at most 8 ASCII characters. */
	readonly firmwareRevision?: string | undefined;
	/** Whether this host may see the subsystem and connect. Asked each time. */
	admits(hostNQN: string): boolean;
	/** What the host has to authenticate with; undefined if it need not. */
	secretFor(hostNQN: string): AuthSecrets | undefined;
}

/**
 * An NVM subsystem: namespaces, and the controllers of those who connected to it. Every controller has every namespace attached, and all namespaces are in one ANA group.
 *
 * Invariants: no two controllers have one CNTLID; a namespace that was removed is in no controller's lists.
 */
export class Subsystem implements ControllerOwner, NamespaceWatcher {
	readonly nqn: string;
	readonly uuid: string;
	readonly serialNumber: string;
	readonly firmwareRevision: string;
	/** In ascending order of their NSIDs. */
	readonly namespaces = new Map<number, Namespace>();
	readonly controllers = new Map<number, NvmController>();
	readonly #options: SubsystemOptions;
	readonly #identifiers = new ControllerIdentifiers();
	/** Of namespaces that were removed. */
	readonly #pastStatistics = new NamespaceStatistics();
	#changeCount = 0;

	constructor(options: SubsystemOptions) {
		this.#options = options;
		this.nqn = options.nqn;
		this.uuid = options.uuid;
		this.serialNumber = options.serialNumber ?? serialNumberOf(options.uuid);
		this.firmwareRevision = options.firmwareRevision ?? '1';
	}

	/** Changes of the ANA log page: CHGCNT. */
	get changeCount(): number {
		return this.#changeCount;
	}

	/** Over all namespaces, also those that are gone. */
	get statistics(): NamespaceStatistics {
		const sum = new NamespaceStatistics();
		sum.add(this.#pastStatistics);
		for (const { statistics } of this.namespaces.values()) sum.add(statistics);
		return sum;
	}

	admits(hostNQN: string): boolean {
		return this.#options.admits(hostNQN);
	}

	secretFor(hostNQN: string): AuthSecrets | undefined {
		return this.#options.secretFor(hostNQN);
	}

	/** Throws RangeError if the NSID is taken or none that NN allows. */
	addNamespace(nsid: number, device: BlockDevice, options: NamespaceOptions = {}): Namespace {
		if (!Number.isInteger(nsid) || nsid < 1 || nsid > limits.namespacesPerSubsystem)
			throw new RangeError(`${nsid} is no namespace identifier`);
		if (this.namespaces.has(nsid)) throw new RangeError(`namespace ${nsid} is there already`);
		const namespace = new Namespace(nsid, device, this, options);
		const all = [...this.namespaces, [nsid, namespace] as const].toSorted(([a], [b]) => a - b);
		this.namespaces.clear();
		for (const [id, one] of all) this.namespaces.set(id, one);
		this.#changed(nsid);
		return namespace;
	}

	/** What is outstanding on the namespace goes on until its device ends it. */
	removeNamespace(nsid: number): void {
		const namespace = this.namespaces.get(nsid);
		if (namespace === undefined) throw new RangeError(`no namespace ${nsid}`);
		this.namespaces.delete(nsid);
		this.#pastStatistics.add(namespace.statistics);
		namespace.close();
		this.#changed(nsid);
	}

	/** A new controller for a host; undefined if there are too many. */
	createController(host: Host, nowMs: number): NvmController | undefined {
		if (this.controllers.size >= limits.controllersPerSubsystem) return undefined;
		const controller = new NvmController(this, this.#identifiers.next(this.controllers), host, nowMs);
		this.controllers.set(controller.id, controller);
		return controller;
	}

	controllerEnded(controller: Controller): void {
		assert(this.controllers.get(controller.id) === controller);
		this.controllers.delete(controller.id);
	}

	/** Ends the controllers of one host, or all. */
	endControllers(reason: string, hostNQN?: string): void {
		for (const controller of this.controllers.values()) {
			if (hostNQN === undefined || controller.host.nqn === hostNQN) controller.end(reason);
		}
	}

	/** Ends all controllers and lets go of the volumes. */
	close(): void {
		this.endControllers('the subsystem closes');
		for (const namespace of this.namespaces.values()) namespace.close();
		this.namespaces.clear();
	}

	resized(namespace: Namespace): void {
		for (const controller of this.controllers.values()) controller.namespaceChanged(namespace.nsid);
	}

	reservationNotice(namespace: Namespace, registrant: Registrant, notice: ReservationNotice): void {
		for (const controller of this.controllers.values()) {
			if (controller.host.registrant.name === registrant.name) controller.reservations.notice(namespace.nsid, notice);
		}
	}

	abortReserved(namespace: Namespace, registrants: readonly Registrant[], finished: () => void): void {
		const names = new Set(registrants.map(({ name }) => name));
		let ended = 0;
		let asked = Infinity;
		const one = (): void => {
			ended++;
			if (ended === asked) finished();
		};
		let count = 0;
		for (const controller of this.controllers.values()) {
			if (names.has(controller.host.registrant.name)) count += controller.abortOn(namespace.nsid, one);
		}
		// Some may have ended while the others were asked.
		asked = count;
		if (ended === asked) finished();
	}

	#changed(nsid: number): void {
		this.#changeCount++;
		for (const controller of this.controllers.values()) controller.namespaceChanged(nsid);
	}
}
