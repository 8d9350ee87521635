import type { Registrant } from '../reservation/registrant.ts';
import { AsynchronousEvents } from './asynchronous-events.ts';
import { KeepAlive } from './keep-alive.ts';
import { limits } from './limits.ts';
import { Properties, shutdownStatus } from './properties.ts';
import type { Queue } from './queue.ts';
import type { NextStep, Request } from './request.ts';

/** Who connected, as the Connect of the admin queue said. */
export interface Host {
	readonly nqn: string;
	/** HOSTID, 16 bytes. */
	readonly id: Buffer;
	/** HOSTID in the reservation tables. */
	readonly registrant: Registrant;
}

/** What a controller tells the subsystem that made it. */
export interface ControllerOwner {
	readonly nqn: string;
	/** The controller is gone: its identifier is free again. */
	controllerEnded(controller: Controller): void;
}

/**
 * What every controller has: its queues, properties, keep alive timer and asynchronous events. One host made it by the Connect of an admin queue, and it lives as long as that queue.
 *
 * Invariants: queues has the admin queue under 0 until the end, and never more than limits.ioQueues others; once ended, no queue is left.
 */
export abstract class Controller {
	abstract readonly type: 'io' | 'discovery';
	/** CNTLID. */
	readonly id: number;
	readonly host: Host;
	readonly owner: ControllerOwner;
	readonly properties = new Properties();
	readonly keepAlive = new KeepAlive();
	readonly events: AsynchronousEvents;
	readonly queues = new Map<number, Queue>();
	/** Abort commands that wait for the end of what they abort. */
	aborts = 0;
	#ended = false;

	constructor(owner: ControllerOwner, id: number, host: Host) {
		this.owner = owner;
		this.id = id;
		this.host = host;
		this.events = new AsynchronousEvents((request) => this.queues.get(0)?.finish(request));
	}

	/** I/O queues that may exist: what Number of Queues has granted. */
	abstract get ioQueuesMax(): number;

	/** An admin command that is no Fabrics command, of an enabled controller. */
	abstract startAdmin(queue: Queue, request: Request): NextStep;
	abstract adminParameters(queue: Queue, request: Request, data: Buffer): NextStep;

	/** A command ended with this status, for whoever keeps a record of errors. */
	abstract recordError(queue: Queue, request: Request): void;

	/** What a Controller Level Reset puts back, besides queues and events. */
	protected abstract resetState(): void;

	/** Puts everything that was written onto stable storage, then calls back. */
	protected abstract flushEverything(done: () => void): void;

	/** Property Set of CC; false for a value that is not supported. */
	configure(value: number): boolean {
		switch (this.properties.configure(value)) {
			case 'refused':
				return false;
			case 'reset':
				this.#reset();
				break;
			case 'normalShutdown':
				this.events.reset();
				this.properties.setShutdownStatus(shutdownStatus.occurring);
				this.flushEverything(() => this.#shutdownComplete());
				break;
			case 'abruptShutdown':
				this.events.reset();
				this.properties.setShutdownStatus(shutdownStatus.complete);
				break;
			case 'enable':
			case 'nothing':
				break;
		}
		return true;
	}

	/** Ends those outstanding requests of all queues that are selected; `ended` hears of each. How many there were. */
	abort(select: (request: Request) => boolean, ended: (aborted: boolean) => void): number {
		let count = 0;
		for (const queue of this.queues.values()) count += queue.abort(select, ended);
		return count;
	}

	/** Once a second or oftener. */
	tick(elapsedMs: number, nowMs: number): void {
		if (this.keepAlive.tick(elapsedMs)) {
			this.end(`no command for ${this.keepAlive.timeoutMs || limits.discoverySilenceMs} ms`);
			return;
		}
		for (const queue of this.queues.values()) queue.tick(nowMs);
	}

	/** A queue's connection is gone. Without its admin queue there is no controller. */
	queueClosed(queue: Queue): void {
		if (this.queues.get(queue.qid) === queue) this.queues.delete(queue.qid);
		if (queue.qid === 0) this.end('its admin queue is gone');
	}

	/** Closes every connection at once and frees everything. */
	end(reason: string): void {
		if (this.#ended) return;
		this.#ended = true;
		this.events.forget();
		const queues = [...this.queues.values()];
		this.queues.clear();
		this.owner.controllerEnded(this);
		for (const queue of queues) queue.link.destroy(`controller ${this.id} ends: ${reason}`);
	}

	/** NVMe Base 2.0, Controller Level Reset: I/O queues go, and features and events are as after Connect. */
	#reset(): void {
		this.events.reset();
		for (const [qid, queue] of this.queues) {
			if (qid === 0) continue;
			this.queues.delete(qid);
			queue.link.destroy(`controller ${this.id} was reset`);
		}
		this.resetState();
	}

	/** A reset meanwhile has taken the shutdown back. */
	#shutdownComplete(): void {
		if (this.properties.isShuttingDown) this.properties.setShutdownStatus(shutdownStatus.complete);
	}
}
