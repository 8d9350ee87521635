import type { Outcome } from '../blockvol/block-device.ts';
import type { AuthExchange } from './auth-exchange.ts';
import type { Controller } from './controller.ts';
import { type FabricsCommand, findFabricsCommand } from './fabrics-commands.ts';
import type { FabricState } from './fabric-state.ts';
import { FusedPairs } from './fused.ts';
import type { IoContext } from './io-command.ts';
import { ioParameters, startIO } from './io-commands.ts';
import { limits } from './limits.ts';
import type { NvmController } from './nvm-controller.ts';
import { endWithOutcome } from './outcome-status.ts';
import type { NextStep, QueueLink, QueueLogic, Request } from './request.ts';
import { CommonSQE, fuse, psdtSGL } from './sqe.ts';
import { status } from './status.ts';

/** NVMe Base 2.0, Fabrics Command Type: the opcode of all Fabrics commands. */
const fabricsOpcode = 0x7f;

/**
 * One connection, which is one queue.
 *
 *     unconnected ──Connect──▶ [unauthenticated ──exchange──▶] connected ──Disconnect, closed──▶ gone
 *
 * unconnected: Connect only. unauthenticated: Authentication Send and Receive only. connected, controller not ready: Fabrics commands only.
 */
export class Queue implements QueueLogic {
	readonly fabric: FabricState;
	readonly link: QueueLink;
	depth = 1;
	flowControlDisabled = false;
	controller: Controller | undefined = undefined;
	qid = 0;
	/** When the connection came. */
	readonly sinceMs: number;
	/** Undefined when the host need not authenticate. */
	auth: AuthExchange | undefined = undefined;
	/** Of an I/O queue. */
	fused: FusedPairs | undefined = undefined;
	/** Ends a pending request with the outcome of its only step. */
	readonly settle = (request: Request, outcome: Outcome): void => {
		if (outcome !== 'good') endWithOutcome(request, outcome, 'write');
		this.finish(request);
	};
	#io: IoContext | undefined = undefined;
	#closed = false;

	constructor(fabric: FabricState, link: QueueLink) {
		this.fabric = fabric;
		this.link = link;
		this.sinceMs = fabric.now();
	}

	get inCapsuleBytesMax(): number {
		return this.#io === undefined ? limits.adminInCapsuleBytes : limits.inCapsuleBytes;
	}

	get hostNQN(): string | undefined {
		return this.controller?.host.nqn;
	}

	/** The connection is gone. */
	get isClosed(): boolean {
		return this.#closed;
	}

	/** Connect succeeded. */
	connect(controller: Controller, qid: number, depth: number, flowControlDisabled: boolean, auth: AuthExchange | undefined): void {
		this.controller = controller;
		this.qid = qid;
		this.depth = depth;
		this.flowControlDisabled = flowControlDisabled;
		this.auth = auth;
		controller.queues.set(qid, this);
	}

	/** Makes it an I/O queue. */
	serve(controller: NvmController): void {
		this.#io = { queue: this, controller };
		this.fused = new FusedPairs(this.#io);
	}

	start(request: Request): NextStep {
		const step = this.#dispatch(request);
		if (step === 'finished' && request.status !== status.success) this.#failed(request);
		return step;
	}

	parameters(request: Request, data: Buffer): NextStep {
		const step = this.#parameters(request, data);
		if (step === 'finished' && request.status !== status.success) this.#failed(request);
		return step;
	}

	fail(request: Request, outcome: Outcome): void {
		endWithOutcome(request, outcome, CommonSQE.opcode.get(request.sqe, 0) === writeOpcode ? 'write' : 'read');
		this.#io?.controller.subsystem.namespaces.get(CommonSQE.nsid.get(request.sqe, 0))?.statistics.failed(outcome);
		this.#failed(request);
	}

	ended(request: Request): void {
		if (CommonSQE.fuse.get(request.sqe, 0) !== fuse.normal) this.fused?.lost(request);
		if (request.status !== status.success) this.#failed(request);
	}

	closed(): void {
		this.#closed = true;
		this.auth?.close();
		this.fused?.forget();
		if (this.controller === undefined) this.fabric.unconnected.delete(this);
		else this.controller.queueClosed(this);
	}

	/** A pending request is done; its status is set. */
	finish(request: Request): void {
		if (request.status !== status.success) this.#failed(request);
		request.owner?.requestFinished(request);
	}

	/** Ends selected requests. */
	abort(select: (request: Request) => boolean, ended: (aborted: boolean) => void): number {
		let count = 0;
		const kept = (this.qid === 0 ? this.controller?.events : this.fused) ?? undefined;
		while (kept?.abort(select) === true) {
			count++;
			ended(true);
		}
		return count + this.link.abort(select, ended);
	}

	/** Closes the connection behind the answer that is being given now. */
	endBehindAnswer(reason: string): void {
		queueMicrotask(() => {
			if (!this.#closed) this.link.end(reason);
		});
	}

	tick(nowMs: number): void {
		if (this.auth?.tick(nowMs) === true) this.link.end(this.auth.failure ?? 'authentication took too long');
	}

	#dispatch(request: Request): NextStep {
		const { sqe } = request;
		const { controller } = this;
		const opcode = sqe[0]!;
		if (controller !== undefined) controller.keepAlive.heard = true;
		if (opcode === fabricsOpcode) return this.#startFabrics(request);
		if (controller === undefined) return request.end(status.commandSequenceError);
		if (this.auth !== undefined && !this.auth.authenticated) return request.end(status.authenticationRequired);
		if (!controller.properties.isReady) return request.end(status.commandSequenceError);
		if (this.#io !== undefined) return startIO(this.#io, request);
		if ((sqe[1]! & 0b11) !== fuse.normal || sqe[1]! >>> 6 !== psdtSGL) return request.end(status.invalidField);
		return controller.startAdmin(this, request);
	}

	#startFabrics(request: Request): NextStep {
		const { sqe } = request;
		if ((sqe[1]! & 0b11) !== fuse.normal || sqe[1]! >>> 6 !== psdtSGL) return request.end(status.invalidField);
		const command = findFabricsCommand(sqe);
		if (this.controller === undefined && command?.from !== 'unconnected') return request.end(status.commandSequenceError);
		if (command === undefined) return request.end(status.invalidCommandOpcode);
		if (command.from === 'connected' && this.auth?.authenticated === false) return request.end(status.authenticationRequired);
		return command.start(this, request);
	}

	#parameters(request: Request, data: Buffer): NextStep {
		if (request.sqe[0] === fabricsOpcode) {
			const command: FabricsCommand | undefined = findFabricsCommand(request.sqe);
			return command!.parameters!(this, request, data);
		}
		// Between the command and its data the controller may have been reset.
		if (this.controller?.properties.isReady !== true) return request.end(status.commandSequenceError);
		if (this.#io !== undefined) return ioParameters(this.#io, request, data);
		return this.controller.adminParameters(this, request, data);
	}

	#failed(request: Request): void {
		this.controller?.recordError(this, request);
	}
}

const writeOpcode = 0x01;
