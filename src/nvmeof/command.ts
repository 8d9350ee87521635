import type { Completion, Outcome } from '../blockvol/block-device.ts';
import type { GrantTaker } from '../os/grant-line.ts';
import { bytesRead, flushed, readGranted } from './c2h-data.ts';
import type { Connection } from './connection.ts';
import { capsuleWritten, chunkWritten, solicitationGranted } from './h2c-data.ts';
import { Request, type NextStep, type RequestOwner } from './request.ts';
import type { Chunk } from './chunk.ts';

/**
 * A command of a queue, pooled. The phases:
 *
 *   started ─┬─ finished ─────────────────────────────────────────────────────────────────────────────┐
 *            ├─ pending ── requestFinished() ─────────────────────────────────────────────────────────────┤
 *            ├─ read ── sendData() ⇄ device, transmitter ──────── SUCCESS in the last C2HData ─→ free         │
 *            ├─ write ─┬─ capsule ── memory ─→ device ──────────────────────────────────────────────────┤
 *            │         └─ memory ⇄ R2T ⇄ H2CData ─→ device ── all written ────────────────────────────────┤
 *            └─ parameters ── the same ─→ QueueLogic.parameters() ── finished or pending ──────────────────┤
 *                                                                                                      └→ CapsuleResp ─→ free
 *
 * Invariants: `answerable` is set once; an answer leaves only when the device has nothing of the command, and its R2Ts are over unless it was aborted; a command is free only when
 * the device has nothing of it.
 */
export class Command implements RequestOwner, Completion, GrantTaker {
	readonly request = new Request();
	connection: Connection | undefined;
	commandIdentifier = 0;
	/** It is the one of its queue that has this command identifier. */
	registered = false;
	step: NextStep = 'finished';

	/** Its status is settled, and all its data has been sent. */
	answerable = false;
	/** Calls of the device, and `pending`, that have not come back. */
	atDevice = 0;
	/** Waits in the connection's line for room to transmit. */
	queued = false;
	queuedBytes = 0;
	/** 'silent': no answer is due any more. 'answered': Command Abort Requested is due. */
	aborted: 'no' | 'silent' | 'answered' = 'no';
	/** It cannot succeed any more; status says why. */
	failed = false;
	/** The transport has set the status, and the logic has not been told. */
	untold = false;
	/** Who wants to know when it is over. */
	abortListeners: ((aborted: boolean) => void)[] | undefined;

	/** Data to the controller: how much of it came in the PDU of the command, and where what SGL 1 describes begins in that. */
	capsuleBytes = 0;
	capsuleOffset = 0;
	/** It is still to come. */
	inCapsule = false;
	/** Held of the budget for it. */
	capsuleHeldBytes = 0;
	wantedBytes = 0;
	solicitedTo = 0;
	/** What the device has got, or of parameters what has come. */
	handedBytes = 0;
	openR2Ts = 0;
	/** Memory is there for it, an R2T is not sent yet. */
	nextChunk: Chunk | undefined;
	/** Memory that it waits for; 0 if it does not. */
	wantedGrantBytes = 0;
	/** Held of the connection's share for parameters that R2Ts ask for. */
	solicitedBytes = 0;
	/** Of acquireBuffer(wantedBytes): a capsule's data that came in pieces, or parameters. */
	buffer: Buffer | undefined;

	/** Data to the host. */
	sendBytes = 0;
	sentBytes = 0;
	/** Of the read that the device has or memory is wanted for. */
	readingBytes = 0;
	/** Held of the connection's share for it. */
	readBytes = 0;
	/** Of the pool; its data begins at `readAt`. */
	readBuffer: Buffer | undefined;
	readAt = 0;

	constructor() {
		this.request.owner = this;
	}

	/** Everything as if new. */
	reset(): void {
		this.request.reset();
		this.request.owner = this;
		this.connection = undefined;
		this.registered = false;
		this.answerable = false;
		this.atDevice = 0;
		this.queued = false;
		this.queuedBytes = 0;
		this.aborted = 'no';
		this.failed = false;
		this.untold = false;
		this.abortListeners = undefined;
		this.capsuleBytes = 0;
		this.capsuleOffset = 0;
		this.inCapsule = false;
		this.capsuleHeldBytes = 0;
		this.wantedBytes = 0;
		this.solicitedTo = 0;
		this.handedBytes = 0;
		this.openR2Ts = 0;
		this.nextChunk = undefined;
		this.wantedGrantBytes = 0;
		this.solicitedBytes = 0;
		this.buffer = undefined;
		this.sendBytes = 0;
		this.sentBytes = 0;
		this.readingBytes = 0;
		this.readBytes = 0;
		this.readBuffer = undefined;
		this.readAt = 0;
	}

	/** RequestOwner: a `pending` request is done. */
	requestFinished(_request: Request): void {
		this.atDevice--;
		this.connection!.flow.finished(this);
	}

	/** Completion of a flush before a read, of a read that had to wait, or of a write whose data came in the capsule. */
	complete(outcome: Outcome): void {
		if (this.step === 'read') {
			if (this.readingBytes === 0) flushed(this, outcome);
			else bytesRead(this, outcome);
		} else capsuleWritten(this, outcome);
	}

	/** Completion of one chunk's write. */
	chunkWritten(chunk: Chunk, outcome: Outcome): void {
		chunkWritten(chunk, outcome);
	}

	/** GrantTaker: memory for a read that has to wait, or for data to solicit. */
	memoryGranted(bytes: number): void {
		this.wantedGrantBytes = 0;
		if (this.step === 'read') readGranted(this, bytes);
		else solicitationGranted(this, bytes);
	}
}

const pool: Command[] = [];
const pooledCommandsMax = 1024;

export function acquireCommand(): Command {
	return pool.pop() ?? new Command();
}

/** The caller has taken it out of everything. */
export function releaseCommand(command: Command): void {
	command.reset();
	if (pool.length < pooledCommandsMax) pool.push(command);
}
