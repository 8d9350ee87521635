import type { BlockDevice, Completion, Outcome } from '../blockvol/block-device.ts';
import type { GrantTaker } from '../os/grant-line.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { type NextStep, ScsiTask, type TaskOwner } from '../scsi/task.ts';
import type { Connection } from './connection.ts';
import type { Chunk } from './chunk.ts';
import { dataInBytesRead, dataInFlushed, dataInGranted } from './data-in.ts';
import { chunkWritten, memoryGranted } from './data-out.ts';
import { limits } from './limits.ts';

/** A range that one R2T asked for (RFC 7143 §11.8). They are fulfilled in order, so only the first of a task takes data. */
export interface OutstandingR2T {
	targetTransferTag: number;
	/** Offsets in the command's data. */
	next: number;
	end: number;
	dataSN: number;
}

/**
 * A SCSI command of a session, pooled. The phases:
 *
 *   started ─┬─ finished ──────────────────────────────────────────────────────────────┐
 *            ├─ pending ── taskFinished() ───────────────────────────────────────────────┤
 *            ├─ read ── sendData() ⇄ device, transmitter ─── status in the last Data-In ─→│ free
 *            ├─ write ── data ⇄ R2T, memory ─→ device ── all written ────────────────────┤
 *            └─ parameters ── data ─→ LogicalUnit.parameters() ── finished or pending ────┤
 *                                                                                        └→ answered when nothing is outstanding ─→ free
 *
 * Invariants: `answerable` is set once; an answer leaves only when unsolicited data and R2Ts are over and the device has nothing of the task; a task is free
 * only when the device has nothing of it.
 */
export class IscsiTask implements TaskOwner, Completion, GrantTaker {
	readonly scsi = new ScsiTask();
	readonly lun = Buffer.alloc(8);
	connection: Connection | undefined;
	unit: LogicalUnit | undefined;
	step: NextStep = 'finished';
	initiatorTaskTag = 0;
	immediate = false;
	/** Counts against the session's limits still. */
	occupies = false;
	read = false;
	write = false;
	expectedDataTransferLength = 0;

	/** The SCSI part is settled: status, sense and lengths are known. */
	answerable = false;
	/** Calls of the device, and `pending`, that have not come back. */
	atDevice = 0;
	/** Waits in the connection's line for room to transmit. */
	queued = false;
	/** 'silent': no answer is due any more. 'answered': TASK ABORTED is due (another nexus did it). */
	aborted: 'no' | 'silent' | 'answered' = 'no';

	/** Bytes that the CDB is about, whichever way. The device server may reuse its own field once it has the data. */
	dueBytes = 0;

	/** Data-out: how much of the command's data we keep, and how it comes. */
	wantedBytes = 0;
	/** Unsolicited Data-Out PDUs are still to come. */
	unsolicitedOpen = false;
	unsolicitedNext = 0;
	unsolicitedDataSN = 0;
	unsolicitedMax = 0;
	solicitedTo = 0;
	r2tSN = 0;
	readonly r2ts: OutstandingR2T[] = [];
	readonly chunks: Chunk[] = [];
	/** Bytes of chunks that went to the device, or to LogicalUnit.parameters(). */
	handedBytes = 0;
	/** Memory that it waits for; 0 if it does not. */
	wantedGrantBytes = 0;
	failed = false;
	parameters: Chunk | undefined;

	/** Data-in. */
	sendBytes = 0;
	sentBytes = 0;
	burstBytes = 0;
	dataSN = 0;
	/** Bytes sourceFrom to sourceTo of the data, to be copied into PDUs: data-in of the device server, or blocks read into `pooled`. */
	source: Buffer | undefined;
	sourceFrom = 0;
	sourceTo = 0;
	/** A buffer of the pool that the device fills, and what was granted for it. */
	pooled: Buffer | undefined;
	pooledBytes = 0;
	readingBytes = 0;

	constructor() {
		this.scsi.owner = this;
	}

	get device(): BlockDevice {
		return this.unit!.device;
	}

	/** Everything as if new. */
	reset(): void {
		this.scsi.reset();
		this.scsi.owner = this;
		this.connection = undefined;
		this.unit = undefined;
		this.answerable = false;
		this.atDevice = 0;
		this.queued = false;
		this.aborted = 'no';
		this.dueBytes = 0;
		this.wantedBytes = 0;
		this.unsolicitedOpen = false;
		this.unsolicitedNext = 0;
		this.unsolicitedDataSN = 0;
		this.unsolicitedMax = 0;
		this.solicitedTo = 0;
		this.r2tSN = 0;
		this.handedBytes = 0;
		this.wantedGrantBytes = 0;
		this.failed = false;
		this.parameters = undefined;
		this.sendBytes = 0;
		this.sentBytes = 0;
		this.burstBytes = 0;
		this.dataSN = 0;
		this.source = undefined;
		this.sourceFrom = 0;
		this.sourceTo = 0;
		this.pooled = undefined;
		this.pooledBytes = 0;
		this.readingBytes = 0;
	}

	/** TaskOwner: a `pending` task is done. */
	taskFinished(_task: ScsiTask): void {
		this.atDevice--;
		this.connection!.flow.finished(this);
	}

	/** Completion of a flush before a read, or of a read that had to wait. */
	complete(outcome: Outcome): void {
		this.atDevice--;
		if (this.readingBytes === 0) dataInFlushed(this, outcome);
		else dataInBytesRead(this, outcome);
	}

	/** Completion of one chunk's write. */
	chunkWritten(chunk: Chunk, outcome: Outcome): void {
		chunkWritten(chunk, outcome);
	}

	/** GrantTaker: memory for a read that has to wait, or for data-out. */
	memoryGranted(bytes: number): void {
		this.wantedGrantBytes = 0;
		if (this.step === 'read') dataInGranted(this);
		else memoryGranted(this, bytes);
	}
}

const pool: IscsiTask[] = [];

export function acquireTask(): IscsiTask {
	return pool.pop() ?? new IscsiTask();
}

/** The caller has taken it out of everything. */
export function releaseTask(task: IscsiTask): void {
	task.reset();
	if (pool.length < limits.pooledTasks) pool.push(task);
}
