/** Bounds of what a configuration can hold. */
export const limits = {
	volumes: 1024,
	targets: 256,
	lunsPerTarget: 256,
	initiatorsPerTarget: 256,
	/** Networks that one initiator may come from. */
	sourcesPerInitiator: 16,
	subsystems: 256,
	/** Also the highest NSID. */
	namespacesPerSubsystem: 1024,
	hostsPerSubsystem: 256,
	schedules: 256,
	snapshotMounts: 256,
	scrubBytesPerSecondMin: 64 * 1024,
	scrubBytesPerSecondMax: 64 * 2 ** 30,
	repositories: 64,
	repositoryPathLength: 1024,
	repositoryPrefixLength: 256,
	secretAccessKeyLength: 512,
	passphraseBytesMin: 8,
	passphraseBytesMax: 1024,
	/** Archive jobs that wait or run. */
	archiveJobs: 256,
	/** Those that ended and are still told of. */
	archiveJobsRemembered: 200,
	archiveBytesPerSecondMin: 64 * 1024,
	archiveBytesPerSecondMax: 64 * 2 ** 30,
	volumeNameLength: 63,
	/** Leaves room for a time in the names that are made of it. */
	scheduleNameLength: 32,
	/** RFC 7143 §4.2.7.1: an iSCSI name is at most 223 bytes. */
	iscsiNameBytes: 223,
	/** NVMe Base 2.0, NVMe Qualified Names. */
	nqnBytes: 223,
	chapUserBytes: 255,
	/** RFC 7143 §9.2.1: a secret below 96 bits would need IPsec. */
	chapSecretBytesMin: 12,
	chapSecretBytesMax: 255,
	/** RFC 7143 §13.7: TargetAlias is at most 255 bytes of UTF-8. */
	aliasBytes: 255,
	/** The smallest volume: one page of the engine. */
	volumeBytesMin: 4096,
	volumeBytesMax: 64 * 2 ** 40,
	/** A volume is whole pages. */
	volumeBytesStep: 4096,
} as const;

/** Flat addressing would allow 16,383; one byte of peripheral device addressing is what every initiator understands (SAM-5 §4.7.7). */
export const lunMax = limits.lunsPerTarget - 1;

/** RFC 7143 §13.9: a target portal group tag is a 16-bit number. */
export const tpgtMax = 0xffff;
