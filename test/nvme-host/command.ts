import type { Queue } from './queue.ts';
import { sqeBytes } from './wire.ts';

/** Told when a command is over. Called from the queue's receive loop: submitting further commands from here is the way to keep a queue full. */
export interface CommandOwner {
	finished(command: Command): void;
}

/** Command.status of a command whose connection ended before its answer. It may have been carried out or not. */
export const connectionLost = -1;

/**
 * One command, pooled by its queue. Who takes one fills in the SQE, dataIn or dataOut and the owner, then calls Queue.submit(). Both buffers belong to the queue
 * until `finished`; after `finished` returns, the command itself does (unless it was submitted again).
 */
export class Command {
	readonly queue: Queue;
	readonly index: number;
	/** Command Identifier: the index in the low bits, a generation in the high ones, so that a late answer is not taken for the identifier's next use. */
	cid: number;
	/** Submission queue entry. submit() writes CID, and PSDT and SGL 1 unless ownSGL says that they are filled in. */
	readonly sqe: Buffer = Buffer.alloc(sqeBytes);
	ownSGL = false;
	/** What a write sends: dataOutBytes from dataOutStart on. */
	dataOut: Buffer | undefined = undefined;
	dataOutStart = 0;
	dataOutBytes = 0;
	/** Where read data goes; undefined with dataInBytes > 0 counts it and throws it away. */
	dataIn: Buffer | undefined = undefined;
	dataInBytes = 0;
	/** Send the data with R2Ts even where it fits into the capsule. */
	solicited = false;
	owner: CommandOwner | undefined = undefined;

	/** Status Code Type × 100h + Status Code, or connectionLost. */
	status = 0;
	/** Do Not Retry. */
	dnr = false;
	/** Dwords 0 and 1 of the completion. */
	result0 = 0;
	result1 = 0;
	receivedBytes = 0;
	/** How far the R2Ts have asked. */
	solicitedBytes = 0;
	r2ts = 0;
	/** The C2HData that was said to be the last has come. */
	lastSeen = false;
	/** It ended by the SUCCESS flag of a C2HData, without a completion. */
	bySuccessFlag = false;
	submittedMs = 0;
	active = false;
	/** Numbers for the owner's use. */
	a = 0;
	b = 0;

	constructor(queue: Queue, index: number) {
		this.queue = queue;
		this.index = index;
		this.cid = index;
	}

	/** Forgets everything of the last use but the SQE, which a builder of commands.ts overwrites whole. */
	reset(): void {
		this.ownSGL = false;
		this.dataOut = undefined;
		this.dataOutStart = 0;
		this.dataOutBytes = 0;
		this.dataIn = undefined;
		this.dataInBytes = 0;
		this.solicited = false;
		this.owner = undefined;
	}
}
