import { z } from 'zod';

const bytes = z.int().nonnegative();
const percent = z.int();

export const volumeLimits = z.object({
	volume: z.string(),
	usedBytes: bytes
		.optional()
		.describe('Disk space of its data and that of its snapshots, a moment old; the log comes on top. Absent while it is not known.'),
	quotaBytes: bytes.optional().describe('Absent: as much as the file system has.'),
	thresholdPercent: percent
		.optional()
		.describe('Of the quota, or of the size where there is none: from there on an event and initiators tell. Absent: never.'),
	isLow: z.boolean().describe('The threshold is reached.'),
	isRefusing: z.boolean().describe('Writes are refused, because the quota is reached or the file system is full. Reads and trims go on.'),
});

export const volumeLimitsWish = z
	.strictObject({ quotaBytes: bytes.nullable().optional(), thresholdPercent: percent.nullable().optional() })
	.describe('What is left out stays as it is; null takes it away.');

export const directorySpace = z.object({
	totalBytes: bytes,
	freeBytes: bytes,
	usedPercent: percent,
	thresholdPercent: percent.optional().describe('From there on an event tells. Absent: never.'),
	isLow: z.boolean(),
});

export const directorySpaceWish = z.strictObject({ thresholdPercent: percent.nullable() });

export type VolumeLimitsView = z.infer<typeof volumeLimits>;
export type VolumeLimitsWish = z.infer<typeof volumeLimitsWish>;
export type DirectorySpaceView = z.infer<typeof directorySpace>;
export type DirectorySpaceWish = z.infer<typeof directorySpaceWish>;
