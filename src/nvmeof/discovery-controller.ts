import { ok as assert } from 'node:assert';
import { type AdminCommand, byOpcode } from './admin-command.ts';
import { asynchronousEvents } from './asynchronous-events.ts';
import { asynchronousEventRequest, keepAlive } from './common-commands.ts';
import { Controller, type Host } from './controller.ts';
import { discoveryLog } from './discovery-log.ts';
import type { DiscoverySubsystem } from './discovery-subsystem.ts';
import { defineGetLogPage } from './get-log-page.ts';
import { identifyDiscoveryController } from './identify-controller.ts';
import type { LogPage } from './log-page.ts';
import type { Queue } from './queue.ts';
import type { NextStep, QueueLink, Request } from './request.ts';
import { GetFeaturesSQE, IdentifySQE, SetFeaturesSQE } from './sqe.ts';
import { status } from './status.ts';

/** A controller of the discovery subsystem: no namespaces, no I/O queues, one log page. */
export class DiscoveryController extends Controller {
	override readonly type = 'discovery';
	readonly subsystem: DiscoverySubsystem;
	readonly link: QueueLink;
	/** What the host sees now, and since which generation. */
	#entries: Buffer;
	#genctr: number;

	constructor(subsystem: DiscoverySubsystem, id: number, host: Host, link: QueueLink) {
		super(subsystem, id, host);
		this.subsystem = subsystem;
		this.link = link;
		this.#entries = subsystem.entriesFor(this);
		this.#genctr = subsystem.generation;
	}

	override get ioQueuesMax(): number {
		return 0;
	}

	override startAdmin(queue: Queue, request: Request): NextStep {
		const command = commands.get(request.sqe[0]!);
		return command === undefined ? request.end(status.invalidCommandOpcode) : command.start(this, request, queue);
	}

	override adminParameters(): NextStep {
		assert(false, 'no admin command of a discovery controller has data');
	}

	/** There is no error log. */
	override recordError(): void {}

	/** A subsystem, a portal or an access rule changed. It is news to this host only if it sees the difference. */
	registryChanged(): void {
		const entries = this.subsystem.entriesFor(this);
		if (entries.equals(this.#entries)) return;
		this.#entries = entries;
		this.#genctr = this.subsystem.nextGeneration();
		this.events.raise(asynchronousEvents.discoveryLogChanged);
	}

	/** The portals may have changed without a word, so the page is made when it is asked for. */
	log(): Buffer {
		this.registryChanged();
		return discoveryLog(this.#genctr, this.#entries);
	}

	protected override resetState(): void {}

	protected override flushEverything(done: () => void): void {
		done();
	}
}

const logPages: ReadonlyMap<number, LogPage<DiscoveryController>> = new Map([
	[0x70, { name: 'Discovery', lid: 0x70, ofNamespace: true, page: (controller: DiscoveryController) => controller.log() }],
]);

const identify: AdminCommand<DiscoveryController> = {
	name: 'Identify',
	opcode: 0x06,
	start(controller, request) {
		if (IdentifySQE.cns.get(request.sqe, 0) !== 0x01) return request.end(status.invalidField);
		const { serialNumber, firmwareRevision } = controller.subsystem;
		request.dataToHost = identifyDiscoveryController(controller, serialNumber, firmwareRevision);
		return 'finished';
	},
};

const asynchronousEventConfiguration = 0x0b;
const keepAliveTimer = 0x0f;
const discoveryEventBits = 2 ** asynchronousEvents.discoveryLogChanged.bit;

const getFeatures: AdminCommand<DiscoveryController> = {
	name: 'Get Features',
	opcode: 0x0a,
	start(controller, request) {
		if (GetFeaturesSQE.sel.get(request.sqe, 0) !== 0) return request.end(status.invalidField);
		switch (GetFeaturesSQE.fid.get(request.sqe, 0)) {
			case asynchronousEventConfiguration:
				request.result0 = controller.events.configuration;
				return 'finished';
			case keepAliveTimer:
				request.result0 = controller.keepAlive.timeoutMs;
				return 'finished';
			default:
				return request.end(status.invalidField);
		}
	},
};

const setFeatures: AdminCommand<DiscoveryController> = {
	name: 'Set Features',
	opcode: 0x09,
	start(controller, request) {
		const { sqe } = request;
		if (SetFeaturesSQE.sv.get(sqe, 0) === 1) return request.end(status.featureIdentifierNotSaveable);
		const value = SetFeaturesSQE.cdw11.get(sqe, 0);
		switch (SetFeaturesSQE.fid.get(sqe, 0)) {
			case asynchronousEventConfiguration:
				if (value !== 0 && value !== discoveryEventBits) return request.end(status.invalidField);
				controller.events.configuration = value;
				return 'finished';
			case keepAliveTimer:
				return controller.keepAlive.set(value, true) ? 'finished' : request.end(status.keepAliveTimeoutInvalid);
			default:
				return request.end(status.invalidField);
		}
	},
};

/** Ascending by opcode. */
const commands = byOpcode<DiscoveryController>([
	defineGetLogPage((lid) => logPages.get(lid)),
	identify,
	setFeatures,
	getFeatures,
	asynchronousEventRequest,
	keepAlive,
]);
