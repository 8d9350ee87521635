/** Bounds of the S3 store. Times in ms. */
export const s3Limits = {
	/** A put that is longer goes in parts. */
	singlePutBytes: 8 * 1024 * 1024,
	/** S3 takes no part but the last of less than 5 MiB, and 10,000 parts. */
	partBytes: 8 * 1024 * 1024,
	/** Parts of one put that are on their way at once. */
	partsAtOnce: 4,
	/** Connections to the server, and so requests under way. */
	sockets: 16,
	/** Requests that wait for a connection. */
	waiting: 4096,
	listPageKeys: 1000,
	/** Pages in a row without a key of ours: more is a server that never comes to an end, or somebody else's bucket. */
	foreignPages: 1000,
	connectMs: 5000,
	/** No byte for so long ends an attempt. */
	idleMs: 20_000,
	/** An attempt as a whole has this time, and more for each MiB: 256 KiB/s at the least. */
	attemptMs: 30_000,
	attemptMsPerMiB: 4000,
	attempts: 12,
	/** No new attempt begins when an operation has taken so long. */
	retryMs: 120_000,
	/** The first wait between attempts is up to so long, each further one up to twice as long: 40 to 85 s altogether, in which a server restarts. */
	firstWaitMs: 100,
	longestWaitMs: 20_000,
	/** At the opening somebody waits to be told what is wrong. */
	openAttempts: 4,
	openRetryMs: 15_000,
} as const;

/** What an attempt is given; tests give less. */
export interface S3Times {
	readonly connectMs: number;
	readonly idleMs: number;
	readonly attemptMs: number;
	readonly attemptMsPerMiB: number;
}
