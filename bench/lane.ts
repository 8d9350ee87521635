/** A command of either protocol, as far as a load knows it. */
export interface LaneCommand {
	dataOut: Buffer | undefined;
	dataOutStart: number;
	/** Where read data goes; undefined: it is counted and thrown away. */
	dataIn: Buffer | undefined;
	/** 0 is success on both protocols. */
	readonly status: number;
	submittedMs: number;
	/** Numbers for the load's use. */
	a: number;
	b: number;
}

export interface LaneOwner<C extends LaneCommand> {
	/** Called when a command is over; to give it another read or write at once keeps the lane full. */
	finished(command: C): void;
}

/** One connection that carries I/O: an iSCSI session, or an NVMe I/O queue. */
export interface Lane<C extends LaneCommand> {
	readonly blockSize: number;
	readonly sizeBytes: number;
	readonly outstanding: number;
	/** A cheap clock: performance.now() of the latest receive turn. */
	readonly nowMs: number;
	/** Undefined when the lane's depth is used up. */
	take(owner: LaneOwner<C>): C | undefined;
	/** Into command.dataIn. */
	read(command: C, lba: number, blocks: number): void;
	/** command.dataOut from command.dataOutStart on. */
	write(command: C, lba: number, blocks: number): void;
	flush(command: C): void;
	/** Zeros, with the space given back. */
	zero(command: C, lba: number, blocks: number): void;
	/** What is wrong with a command that is over, in words; undefined when all went well. */
	fault(command: C): string | undefined;
	close(): Promise<void>;
}

export interface LaneOptions {
	port: number;
	/** Target name or subsystem NQN. */
	target: string;
	/** LUNs or namespace identifiers, all of one size: the commands of a lane go to them in turn. */
	units: readonly number[];
	/** Commands outstanding on each lane. */
	depth: number;
	lanes: number;
	/** NVMe: each lane is a host of its own, instead of a queue of one host. iSCSI lanes are sessions of their own in any case. */
	separateHosts?: boolean;
}
