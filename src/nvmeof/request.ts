import type { BlockDevice, Completion, Outcome } from '../blockvol/block-device.ts';
import { status } from './status.ts';

/** Submission queue entry and completion queue entry (NVMe Base 2.0, Common Command Format, Completion Queue Entry). */
export const sqeBytes = 64;
export const cqeBytes = 16;

/**
 * What the transport does next with a request that QueueLogic.start() or QueueLogic.parameters() has looked at:
 * - finished: status, result and dataToHost are set; complete it
 * - read: with `fua` flush the device first; then send lengthBytes of request.device from offsetBytes (tryRead and read, piece by piece); on a bad outcome call QueueLogic.fail()
 * - write: take lengthBytes from the host and hand them to request.device.write in pieces; on a bad outcome call QueueLogic.fail(). What is no longer than
 *   limits.atomicBytes goes there in one piece: AWUN and AWUPF promise it
 * - parameters: take lengthBytes from the host whole (bounded by limits.parameterBytesMax), then call QueueLogic.parameters(); the buffer is the logic's until the
 *   request is finished
 * - pending: the logic calls request.owner when it is done
 *
 * For read, write and parameters the transport first compares lengthBytes with the length of SGL 1: another length ends the request with Data SGL Length Invalid.
 * Of a `finished` request with dataToHost as much is sent as SGL 1 has room for.
 */
export type NextStep = 'finished' | 'read' | 'write' | 'parameters' | 'pending';

/** The transport's side of a request: told when a `pending` one is done, once, never before start() or parameters() has returned. */
export interface RequestOwner {
	requestFinished(request: Request): void;
}

/**
 * One command of a queue on its way through the controller. The transport pools and reuses these objects: reset() before each use, and nobody keeps one after its
 * completion.
 */
export class Request implements Completion {
	/** The command as the host sent it. */
	readonly sqe: Buffer = Buffer.alloc(sqeBytes);
	/** Set by the logic for read and write: what and where on the medium. For parameters only the length. */
	device: BlockDevice | undefined = undefined;
	offsetBytes = 0;
	lengthBytes = 0;
	/** Force unit access: a write is complete when it is on stable storage, and a read begins when everything before it is. */
	fua = false;
	/** One of status.ts: status code type in bits 8 to 10, status code in bits 0 to 7. Meaningful once finished. */
	status: number = status.success;
	/** Do Not Retry. */
	dnr = false;
	/** Dwords 0 and 1 of the completion. */
	result0 = 0;
	result1 = 0;
	/** Data of a finished request that is no medium's; undefined if there is none. */
	dataToHost: Buffer | undefined = undefined;
	/** Told when a pending request is done. */
	owner: RequestOwner | undefined = undefined;
	/** Set by the transport when a `pending` request is to end early: the logic stops at its next piece and calls the owner. */
	aborted = false;
	/**
	 * Set by the logic for a pending request that waits for an event and not for work (Asynchronous Event Request): a target that stops does not wait for it.
	 */
	awaitsEvent = false;
	/** Of the logic: called by a device on completion of a pending step. */
	onOutcome: ((request: Request, outcome: Outcome) => void) | undefined = undefined;

	reset(): void {
		this.device = undefined;
		this.offsetBytes = 0;
		this.lengthBytes = 0;
		this.fua = false;
		this.status = status.success;
		this.dnr = false;
		this.result0 = 0;
		this.result1 = 0;
		this.dataToHost = undefined;
		this.aborted = false;
		this.awaitsEvent = false;
		this.onOutcome = undefined;
	}

	complete(outcome: Outcome): void {
		this.onOutcome?.(this, outcome);
	}

	/** Ends it with a status; for `return request.end(…)`. */
	end(code: number, dnr = true): 'finished' {
		this.status = code;
		this.dnr = dnr && code !== status.success;
		this.dataToHost = undefined;
		return 'finished';
	}
}

/**
 * The controller's side of one transport connection, which is one queue: it knows commands and no bytes of the transport. Made when the connection is initialised;
 * its first command must be Connect.
 */
export interface QueueLogic {
	/** Entries of the queue that Connect asked for; before it, 1. The transport ends a connection that has more requests outstanding. */
	readonly depth: number;
	/** Data that a capsule may bring; the transport ends a connection that sends more. */
	readonly inCapsuleBytesMax: number;
	/** HOSTNQN of Connect; undefined before it has succeeded. The transport shares memory by hosts. */
	readonly hostNQN: string | undefined;
	/** Submission queue flow control is off (Connect, CATTR): SQHD in completions means nothing. */
	readonly flowControlDisabled: boolean;
	/** Looks at a new command: request.sqe and request.owner are set, everything else as after reset(). Runs to its end before anything else does. */
	start(request: Request): NextStep;
	/** The data of a request whose step was `parameters`. */
	parameters(request: Request, data: Buffer): NextStep;
	/** Sets the status for an outcome of the device other than good. */
	fail(request: Request, outcome: Outcome): void;
	/**
	 * The transport has ended a request by itself, whose step was not `finished` (abort, Data SGL Length Invalid, a transfer error): its status is set, its completion has not left yet. Not
	 * called for what closed() ends.
	 */
	ended(request: Request): void;
	/**
	 * The connection is gone. Called once. What is outstanding is ended by the transport, without a completion: pending requests with awaitsEvent too, which the logic touches no more. Other
	 * pending ones it finishes as always, when the device has nothing of them: until then their data is kept.
	 */
	closed(): void;
}

/** The transport's side of a queue, for the controller. */
export interface QueueLink {
	/** host:port of the host. */
	readonly remote: string;
	/** Address and port that the host reached us by; the address without brackets. */
	readonly localAddress: string;
	readonly localPort: number;
	/** Closes behind what was said. */
	end(reason: string): void;
	/** Closes at once. */
	destroy(reason: string): void;
	/**
	 * Stops those outstanding requests that `select` names, by their sqe. Each of them completes with Command Abort Requested as soon as the device has nothing of it any more, or with
	 * what had become of it when it could not be stopped. `ended` is called once for each: after its completion was handed over, or when the connection is gone. Returns how many were
	 * named. Requests that the logic keeps by itself (an Asynchronous Event Request, half of a fused operation) it ends by itself before it asks.
	 */
	abort(select: (request: Request) => boolean, ended: (aborted: boolean) => void): number;
}

/** Where a connection gets its logic; subsystems and discovery are behind it. */
export interface Fabric {
	open(link: QueueLink): QueueLogic;
	/** Every second, or oftener: each listener of the fabric calls it. */
	tick(): void;
}
