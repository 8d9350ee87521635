/** Told when a command is over. Called from the session's receive loop: submitting further commands from here is the way to keep a queue full. */
export interface CommandOwner {
	finished(command: Command): void;
}

/** Command.status of a command whose connection ended before its answer. It may have been carried out or not. */
export const connectionLost = -1;

export const scsiStatus = {
	good: 0x00,
	checkCondition: 0x02,
	busy: 0x08,
	reservationConflict: 0x18,
	taskSetFull: 0x28,
	taskAborted: 0x40,
} as const;

/**
 * One SCSI command, pooled by its session. Who takes one sets lun, cdb, dataIn or dataOut and the owner, then calls Session.submit(). Both
 * buffers belong to the session until `finished`; after `finished` returns, the command itself does (unless it was submitted again).
 */
export class Command {
	readonly index: number;
	/** Index in the low 16 bits, a generation in the high ones, so that a late answer is not taken for the tag's next use. */
	tag: number;
	lun = 0;
	readonly cdb: Uint8Array = new Uint8Array(16);
	/** What a write sends: all of it, or its part of dataOutBytes from dataOutStart on. */
	dataOut: Buffer | undefined = undefined;
	dataOutStart = 0;
	dataOutBytes = 0;
	/** Where read data goes; undefined with dataInBytes > 0 counts it and throws it away. */
	dataIn: Buffer | undefined = undefined;
	dataInBytes = 0;
	owner: CommandOwner | undefined = undefined;

	status = 0;
	/** Positive: so many bytes fewer than expected were moved (underflow). Negative: overflow. */
	residual = 0;
	/** Sense data without its length prefix; empty without CHECK CONDITION. */
	sense: Buffer = noSense;
	receivedBytes = 0;
	/** Response code of the iSCSI layer (RFC 7143 §11.4.3); 0 = completed at target. */
	response = 0;
	submittedMs = 0;
	active = false;
	/** Numbers for the owner's use. */
	a = 0;
	b = 0;

	constructor(index: number) {
		this.index = index;
		this.tag = index;
	}

	/** Forgets everything of the last use. */
	reset(): void {
		this.lun = 0;
		this.dataOut = undefined;
		this.dataOutStart = 0;
		this.dataOutBytes = 0;
		this.dataIn = undefined;
		this.dataInBytes = 0;
		this.owner = undefined;
	}
}

export const noSense = Buffer.alloc(0);
