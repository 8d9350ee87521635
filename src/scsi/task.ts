import type { CompareCompletion, Outcome } from '../blockvol/block-device.ts';
import type { Nexus } from './nexus.ts';

/** SAM-5, status codes that this device server returns. */
export const status = {
	good: 0x00,
	checkCondition: 0x02,
	busy: 0x08,
	reservationConflict: 0x18,
	taskSetFull: 0x28,
	taskAborted: 0x40,
} as const;

/**
 * What the transport does next with a task that LogicalUnit.start() or LogicalUnit.parameters() has looked at:
 * - finished: status, sense and dataIn are set; answer
 * - read: with `fua` flush the device first; then send lengthBytes of the medium from offsetBytes (device.tryRead and device.read, piece by piece); on a bad outcome call LogicalUnit.fail()
 * - write: take lengthBytes of data-out and hand them to device.write in pieces, at offsetBytes; on a bad outcome call LogicalUnit.fail()
 * - parameters: take lengthBytes of data-out whole (bounded by limits.parameterBytesMax), then call LogicalUnit.parameters(); the buffer is the unit's until
 *   the task is finished
 * - pending: the task calls its `finished` when it is done
 */
export type NextStep = 'finished' | 'read' | 'write' | 'parameters' | 'pending';

/** The transport's side of a task: told when a `pending` task is done. */
export interface TaskOwner {
	taskFinished(task: ScsiTask): void;
}

/**
 * One SCSI command on its way through the device server. The transport pools and reuses these objects: reset() before each use, and nobody keeps
 * one after its answer.
 */
export class ScsiTask implements CompareCompletion {
	/** CDB, 16 bytes; bytes behind a shorter CDB are zero. Owned by the task. */
	readonly cdb: Buffer = Buffer.alloc(16);
	/** Bytes that the initiator means to send, whatever the CDB says; 0 if it sends nothing. Set by the transport before start(). */
	dataOutBytes = 0;
	/** Set by LogicalUnit.start(). For read and write: the range on the medium. For parameters: how much data-out to collect. */
	offsetBytes = 0;
	lengthBytes = 0;
	/** Force unit access: what is written, or read, is on the medium first. */
	fua = false;
	/** SAM status; meaningful once finished. */
	status: number = status.good;
	/** Sense data, without length prefix; undefined unless status is CHECK CONDITION. */
	sense: Buffer | undefined = undefined;
	/** Data-in of a finished task, already cut to the allocation length; undefined if there is none. */
	dataIn: Buffer | undefined = undefined;
	/** Who is told when a pending task is done. */
	owner: TaskOwner | undefined = undefined;
	/** Set by the transport when task management ends a `pending` task: it stops at its next piece, with status TASK ABORTED, and calls its owner. */
	aborted = false;
	/** Of the device server: on which nexus the command came, for those that need it when their data-out is there. */
	nexus: Nexus | undefined = undefined;
	/** Of the device server: called by the device on completion of a pending step. */
	onOutcome: ((task: ScsiTask, outcome: Outcome) => void) | undefined = undefined;
	/** CompareCompletion: the first byte that differs. */
	miscompareOffset = 0;

	reset(): void {
		this.dataOutBytes = 0;
		this.offsetBytes = 0;
		this.lengthBytes = 0;
		this.fua = false;
		this.status = status.good;
		this.sense = undefined;
		this.dataIn = undefined;
		this.aborted = false;
		this.nexus = undefined;
		this.onOutcome = undefined;
	}

	complete(outcome: Outcome): void {
		this.onOutcome?.(this, outcome);
	}
}
