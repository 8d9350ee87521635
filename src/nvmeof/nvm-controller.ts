import { ok as assert } from 'node:assert';
import type { AdminCommand } from './admin-command.ts';
import { adminCommands, findAdminCommand } from './admin-commands.ts';
import { asynchronousEvents } from './asynchronous-events.ts';
import { ChangedNamespaces } from './changed-namespaces.ts';
import { Controller, type Host } from './controller.ts';
import { ErrorLog } from './error-log.ts';
import { FeatureValues } from './feature-values.ts';
import type { Queue } from './queue.ts';
import type { NextStep, Request } from './request.ts';
import { ReservationNotifications } from './reservation-notifications.ts';
import { CommonSQE, everyNamespace } from './sqe.ts';
import { status } from './status.ts';
import type { Subsystem } from './subsystem.ts';

/** A controller of an NVM subsystem: I/O queues, namespaces, logs. */
export class NvmController extends Controller {
	override readonly type = 'io';
	readonly subsystem: Subsystem;
	readonly features = new FeatureValues();
	readonly changedNamespaces = new ChangedNamespaces();
	readonly errors = new ErrorLog();
	readonly reservations: ReservationNotifications;
	/** On the fabric's clock. */
	readonly startedMs: number;
	#degraded = false;

	constructor(subsystem: Subsystem, id: number, host: Host, nowMs: number) {
		super(subsystem, id, host);
		this.subsystem = subsystem;
		this.startedMs = nowMs;
		this.reservations = new ReservationNotifications(() => this.events.raise(asynchronousEvents.reservationLogAvailable));
	}

	/** What its admin queue takes. */
	get adminCommands(): readonly Pick<AdminCommand, 'name' | 'opcode'>[] {
		return adminCommands;
	}

	override get ioQueuesMax(): number {
		return this.features.ioQueues;
	}

	override startAdmin(queue: Queue, request: Request): NextStep {
		const command = findAdminCommand(request.sqe[0]!);
		if (command === undefined) return request.end(status.invalidCommandOpcode);
		return command.start(this, request, queue);
	}

	override adminParameters(queue: Queue, request: Request, data: Buffer): NextStep {
		const command = findAdminCommand(request.sqe[0]!);
		assert(command?.parameters !== undefined);
		return command.parameters(this, request, data, queue);
	}

	override recordError(queue: Queue, request: Request): void {
		this.errors.add(queue.qid, request);
	}

	override tick(elapsedMs: number, nowMs: number): void {
		super.tick(elapsedMs, nowMs);
		// A device has no way to tell of its fault; the host learns of it within a second, or by its next write.
		const degraded = [...this.subsystem.namespaces.values()].some(({ device }) => device.fault !== undefined);
		if (degraded && !this.#degraded) this.events.raise(asynchronousEvents.reliabilityDegraded);
		this.#degraded = degraded;
	}

	/** A namespace came, went or has another size. */
	namespaceChanged(nsid: number): void {
		this.changedNamespaces.add(nsid);
		if (!this.subsystem.namespaces.has(nsid)) this.reservations.forgetNamespace(nsid);
		this.events.raise(asynchronousEvents.namespaceAttributeChanged);
	}

	/** Ends what the I/O queues have outstanding on a namespace. */
	abortOn(nsid: number, ended: () => void): number {
		const select = ({ sqe }: Request): boolean => {
			const named = CommonSQE.nsid.get(sqe, 0);
			return named === nsid || named === everyNamespace;
		};
		let count = 0;
		for (const queue of this.queues.values()) if (queue.qid !== 0) count += queue.abort(select, ended);
		return count;
	}

	/** Flushes every namespace. What cannot be flushed is faulted, and says so to the next command. */
	override flushEverything(done: () => void): void {
		let running = this.subsystem.namespaces.size + 1;
		const complete = (): void => {
			running--;
			if (running === 0) done();
		};
		for (const { device } of this.subsystem.namespaces.values()) device.flush({ complete });
		complete();
	}

	protected override resetState(): void {
		this.features.reset();
		this.reservations.reset();
		this.changedNamespaces.clear();
	}
}
