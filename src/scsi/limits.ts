import { atomicBytesMax, copiedBytesMax, writeBytesMax } from '../blockvol/block-device.ts';

/** What the device server accepts at most. What an initiator may know of it stands in VPD page B0h and is refused above it. */
export const limits = {
	/** Logical units of one target; all of them can be named by peripheral device addressing (SAM-5, 0 to 255). */
	lunsPerTarget: 256,
	/** I_T nexuses that one target, and one logical unit, keeps unit attentions for. */
	nexuses: 1024,
	/** Unit attentions waiting for one nexus on one logical unit; above it they are all replaced by 29h/00h. */
	unitAttentionsPerNexus: 8,
	/** One READ or WRITE. READ (10) of 65,535 blocks of 512 bytes is below it. */
	transferBytesMax: 32 * 1024 * 1024,
	/** What VPD page B0h recommends: one write that is whole or absent after a crash. */
	transferBytesOptimal: writeBytesMax,
	/** Data-out of the `parameters` step, which the transport collects whole; so also the longest VERIFY that compares. */
	parameterBytesMax: 1024 * 1024,
	/** Sum over the descriptors of one UNMAP; in blocks, since some initiators take more than 2^20 for a mistake. */
	unmapBlocksMax: 1024 * 1024,
	unmapDescriptorsMax: 256,
	/** COMPARE AND WRITE, and one step of ORWRITE: what the engine takes in one step. The field of VPD page B0h has one byte. */
	compareAndWriteBytesMax: copiedBytesMax,
	/** WRITE ATOMIC: below what the transport hands to the device in one piece, whatever a device can do. */
	atomicBytesMax,
	/** Tries of a step of ORWRITE, while other commands change the same blocks. */
	orwriteTriesMax: 64,
	/** EXTENDED COPY: CSCD and segment descriptors of one list, and their bytes together. */
	copyDevicesMax: 8,
	copySegmentsMax: 16,
	copyDescriptorBytesMax: 8 * 32 + 16 * 28,
	/** One segment. All of a command are a gigabyte, far below an initiator's time-out. */
	copySegmentBytesMax: 64 * 1024 * 1024,
	/** What a copy reads and writes at a time: its buffer. */
	copyPieceBytes: 256 * 1024,
	/** Copies under way on one logical unit, each with its buffer. One more is BUSY. */
	copiesPerUnit: 4,
	/** Of the latest copies of a nexus it is known what became of them. */
	copyResultsPerNexus: 16,
	/** One PRE-FETCH. */
	prefetchBytesMax: 32 * 1024 * 1024,
	/** A pattern that is not zero is written at the disk's speed, so this is far below an initiator's time-out. */
	writeSameBytesMax: 1024 * 1024 * 1024,
	/** Of PERSISTENT RESERVE OUT: as many TransportIDs of the longest iSCSI name and an ISID as a volume takes registrants, and some over. */
	persistentReserveOutBytesMax: 128 * 1024,
	/** What REPORT SUPPORTED OPERATION CODES recommends to wait for a command, and for one whose length only the limits above bound. */
	timeoutSeconds: 30,
	longTimeoutSeconds: 120,
	/** SANITIZE without IMMED: a terabyte at the speed of a slow disk, some times. */
	sanitizeTimeoutSeconds: 24 * 3600,
	/** What REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS recommends: a function waits for what the disk has. */
	taskManagementTimeoutSeconds: 60,
	/** So many writes may go by until somebody looks how much space is left; TEST UNIT READY looks too. */
	writesPerSpaceCheck: 64,
	/** RFC 7143 §4.2.7.1. */
	iscsiNameBytes: 223,
	/** Of one GET LBA STATUS answer. */
	lbaStatusDescriptorsMax: 128,
	/** Looks of the device that one GET LBA STATUS answer is put together of. */
	lbaStatusLooksMax: 16,
	/** Commands that walk over a range hold one buffer of this size, whatever the length in the CDB. */
	pieceBytes: copiedBytesMax,
} as const;
