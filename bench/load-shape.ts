export interface LoadShape {
	op: 'read' | 'write';
	sizeBytes: number;
	/** Outstanding on each lane. */
	depth: number;
	/** iSCSI sessions, or I/O queues of one NVMe controller. */
	lanes: number;
	pattern: 'random' | 'sequential';
	/** With writes: this many are sent at once, and when all are acknowledged a flush; depth / flushEvery such groups run beside each other. 0: never. */
	flushEvery: number;
	/** At most so many reads or writes a second on each lane; undefined: as many as there can be. */
	ratePerSecond?: number;
}

export interface LoadResult {
	seconds: number;
	/** Reads or writes; flushes are not counted in. */
	ops: number;
	flushes: number;
	/** All reads or writes, those of the warm-up and of the end included: what the server was asked to do. */
	opsInAll: number;
	/** Of the slowest lane. */
	p50Us: number;
	p99Us: number;
	maxUs: number;
	/** Of each lane. */
	laneOps: number[];
	laneP99Us: number[];
	/** Completions in each whole second that counts. */
	series: number[];
	/** The longest time without a completion, and how often there was none for more than 50 ms. */
	longestStallMs: number;
	stalls: number;
	/** All lanes: a latency in microseconds, and how many records are in its bucket. */
	histogram: [number, number][];
	clientCPUSeconds: number;
	/** How late this process's own event loop was at most: a stall of that length may be the client's. */
	clientPauseMs: number;
}

export type Protocol = 'iscsi' | 'nvme' | 'bare';

export interface LoadOptions {
	protocol: Protocol;
	port: number;
	target: string;
	/** LUN or namespace identifier. */
	unit: number;
	/** Further ones of the same size, all used in turn. */
	otherUnits?: readonly number[];
	/** NVMe: each lane is a host of its own. */
	separateHosts?: boolean;
	shape: LoadShape;
	seconds: number;
	warmUpSeconds: number;
	/** Only so many bytes of each unit from offsetBytes on; 0 = all. */
	rangeBytes: number;
	offsetBytes?: number;
	/** Ends once this many bytes were read or written on all lanes, if that is earlier than `seconds`; undefined: by time only. */
	bytesMax?: number;
	/** Called at the beginning and at the end of the time that counts. */
	onCounting?: (phase: 'counting' | 'counted') => void;
}
