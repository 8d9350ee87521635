const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** Bounds of the archive's repository. What is part of the format stands in docs/archive-format.md too. */
export const limits = {
	/** Bytes of a chunk, a power of two; the default gives a 16 TiB volume 16 M chunks. */
	chunkBytes: 1024 * 1024,
	chunkBytesMin: 4096,
	chunkBytesMax: 16 * 1024 * 1024,
	/** Chunks that one list names. Part of the format. */
	entriesPerList: 4096,
	/** Lists of one manifest: 256 Mi chunks, which are 256 TiB at the default and 64 TiB at 256 KiB. */
	listsMax: 65_536,
	/** The JSON at the head of a manifest, and any other object that is JSON. */
	jsonBytesMax: 64 * 1024,
	/** Characters of a volume's and a snapshot's name, of a tool's. */
	nameLength: 256,
	/** Chunks on their way at once: each holds up to three times its length in memory. */
	parallel: 4,
	parallelMax: 64,
	/** Lists of one export, restore or verification that are open at once, 160 KiB each. */
	listsOpen: 4,
	/** Lists that a reader of single chunks remembers. */
	listsCached: 64,
	/** Generations that are held in memory at once, 16 bytes each; more take more passes over the lists. */
	marksMax: 4 * 1024 * 1024,
	/** Names of stored objects that an export remembers, 32 bytes each; in a larger repository it asks for each chunk. */
	namesMax: 1024 * 1024,
	/** New chunks for which an export asks one by one before it lists the names. */
	namesAskedFirst: 64,
	/** Objects that one run of the collector deletes; what is left is the next run's. */
	condemnedMax: 256 * 1024,
	condemnedPerBatch: 16 * 1024,
	/** Condemned objects of all batches that stand, 16 bytes each: an export refuses a repository with more, a collector leaves further batches to the next run. */
	condemnedStandingMax: 1024 * 1024,
	/** Batches of others that one run looks at. */
	batchesMax: 1024,
	/** Names under exports/ and under collected/, some 150 bytes each in memory. */
	recordsMax: 128 * 1024,
	/** Manifests of a repository. */
	manifestsMax: 100_000,
	/** Findings that a verification lists. */
	findingsMax: 1000,
	/** How often an export replaces what a collector has condemned before it gives up. */
	roundsMax: 4,
	/** Threads that hash, compress and encrypt. */
	threadsMax: 2,
} as const;

/** Times that decide how much is done in vain, and some that stand for assumptions: docs/archive-format.md, "Collecting". */
export interface Timing {
	/** Unreferenced objects younger than this are not collected. No single put, with its retries, may take longer. */
	readonly graceMs: number;
	/** An export or a collector that has not renewed its lease for so long is taken for dead: what it has not published may be collected. */
	readonly leaseMs: number;
	/** An export that has been dead for so long never publishes. */
	readonly abandonMs: number;
	/** How late a list may be, twice; 0 for stores whose lists are exact. */
	readonly settleMs: number;
	/** How long it is remembered that a collector ran: no export takes longer, and no process stands still for longer and then goes on. */
	readonly memoryMs: number;
}

export const defaultTiming: Timing = {
	graceMs: 6 * hourMs,
	leaseMs: 15 * minuteMs,
	abandonMs: dayMs,
	settleMs: 30_000,
	memoryMs: 30 * dayMs,
};
