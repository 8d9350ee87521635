/** Bounds of what a schedule may say. */
export const limits = {
	/** Characters of a cron expression: longer than any list of all sixty minutes. */
	cronLength: 256,
	zoneLength: 64,
	templateLength: 64,
	/** Characters of a snapshot's name. */
	snapshotNameLength: 63,
	/** Of those, what a template leaves for `-2`, `-3`, … when a name is taken. */
	suffixLength: 5,
	/** Snapshots that all rules of one schedule together may keep of one volume: a volume holds 1,000. */
	keepTotal: 500,
	/** Volumes of one schedule, of which each snapshot is one moment. */
	volumesPerSchedule: 16,
} as const;
