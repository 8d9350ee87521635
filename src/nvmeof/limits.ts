import { copiedBytesMax } from '../blockvol/block-device.ts';

/** Every bound of controllers and subsystems. What a host may know of it stands in CAP, Identify or a feature, and is refused above it. */
export const limits = {
	/** Entries of a queue: MQES + 1. */
	queueDepth: 128,
	/** I/O queues of a controller, so the highest queue identifier. */
	ioQueues: 16,
	/** Controllers of one subsystem; one more Connect gets Connect Controller Busy. More than the connections that one source address may have. */
	controllersPerSubsystem: 512,
	/** Namespaces of one subsystem, and the highest NSID: NN and MNAN. */
	namespacesPerSubsystem: 1024,
	/** Data of one command: MDTS. A power of two of 4 KiB. */
	transferBytesMax: 4 * 1024 * 1024,
	/** Data of the `parameters` step, which the transport collects whole. Compare takes as much as any other command. */
	parameterBytesMax: 4 * 1024 * 1024,
	/** One Write Zeroes: WZSL. A power of two of 4 KiB. */
	writeZeroesBytesMax: 32 * 1024 * 1024,
	/** Ranges of one Dataset Management; what its field can say. */
	dataManagementRangesMax: 256,
	/** What is written in one piece, so that a crash leaves all of it or none and no other command sees a part: AWUN, AWUPF and ACWU. */
	atomicBytes: copiedBytesMax,
	/** In-capsule data of an I/O queue: IOCCSZ less the command (docs/decisions/018). */
	inCapsuleBytes: 128 * 1024,
	/** The same of an admin queue, as the transport fixes it (NVMe/TCP Transport 1.0, In-capsule Data). */
	adminInCapsuleBytes: 8192,
	/** Commands that walk over a range read pieces of this size. */
	pieceBytes: copiedBytesMax,
	/** Buffers of that size for the Verify commands of one namespace; who finds none waits for its turn. */
	verifyBuffers: 4,
	/** Abort commands outstanding at a controller: ACL + 1. */
	aborts: 4,
	/** Asynchronous Event Requests outstanding at a controller: AERL + 1. */
	asynchronousEventRequests: 4,
	/** Entries of the Error Information log: ELPE + 1. */
	errorLogEntries: 64,
	/** Of one Changed Namespace List; above it the list says only that there were more. */
	changedNamespaces: 1024,
	/** Reservation notifications of one controller that nobody has read; the oldest goes. */
	reservationNotifications: 64,
	/** A log page that is asked for in more bytes than it has is filled with zeros up to this length, and not beyond. */
	paddedLogBytes: 64 * 1024,
	/** One NQN (NVMe Base 2.0, NVMe Qualified Names). */
	nqnBytes: 223,
	/** KAS: a KATO is rounded up to a multiple of it. */
	keepAliveGranularityMs: 1000,
	/** Longer than this nobody may keep a controller without a word. */
	keepAliveMsMax: 3_600_000,
	/** A discovery controller whose host asked for no KATO is given up after this silence (NVMe Base 2.0, Discovery Controller Initialization). */
	discoverySilenceMs: 120_000,
	/** From a connection to its Connect. */
	connectMs: 15_000,
	/** CAP.TO: how long CSTS.RDY may take. It takes no time; hosts wait this long for one that is being restarted. */
	readyMs: 20_000,
} as const;
