import { z } from 'zod';

const name = z.string().max(512);
const count = z.int().nonnegative();

const keep = z
	.strictObject({
		last: count.describe('The newest ones.'),
		hourly: count.describe('The newest of each of the last hours that have any; likewise the others.'),
		daily: count,
		weekly: count.describe('Weeks begin on Monday.'),
		monthly: count,
		yearly: count,
	})
	.describe('How many snapshots each rule keeps of a volume. One that no rule keeps is deleted.');

const keepChange = keep.partial();

export const schedule = z.object({
	name,
	volumes: z.array(name),
	cron: z.string(),
	zone: z.string(),
	template: z.string(),
	keep,
	repository: name.optional().describe('Where its snapshots are archived once they are made.'),
	createdAt: z.string(),
	next: z.array(z.string()).describe('The next times, at most three; none if the schedule has a fault.'),
	fault: z.string().optional().describe('Why it does nothing, or failed the last time.'),
	retryAt: z.string().optional().describe('When it is tried again after a failure.'),
});

export const schedules = z.object({ schedules: z.array(schedule) });

export const scheduleDetail = schedule.extend({
	snapshots: z
		.array(
			z.object({
				volume: name,
				name,
				at: z.string(),
				keptFor: z
					.array(z.enum(['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly']))
					.describe('Rules that want it; none: the next to go.'),
			}),
		)
		.describe('What it made and is still there. Volumes that are not open are left out.'),
});

export const newSchedule = z.strictObject({
	name,
	volumes: z.array(name).min(1).max(64).describe('Each snapshot is one moment of all of them.'),
	cron: z.string().max(512).describe('Minute, hour, day of month, month and day of week; or @hourly, @daily, @weekly, @monthly, @yearly.'),
	zone: z.string().max(512).default('UTC').describe('IANA name of the time zone that cron and the calendar of the rules mean.'),
	template: z.string().max(512).optional().describe('Of the names: {schedule} and {utc:YYYYMMDD-HHmmss}.'),
	keep: keepChange,
	repository: name.optional().describe('Has each snapshot archived there.'),
});

export const scheduleChange = z.strictObject({
	cron: z.string().max(512).optional(),
	zone: z.string().max(512).optional(),
	template: z.string().max(512).optional(),
	keep: keepChange.optional(),
	repository: name.nullable().optional().describe('Null: no longer archived.'),
});

export const scheduleRun = z.object({
	name: z.string().describe('Of the snapshot that was made.'),
	volumes: z.array(name),
	deleted: z.array(z.object({ volume: name, name })),
});

export const scheduleParameters = z.object({ schedule: name });

export type ScheduleView = z.infer<typeof schedule>;
export type ScheduleDetailView = z.infer<typeof scheduleDetail>;
export type NewSchedule = z.infer<typeof newSchedule>;
export type ScheduleChangeWish = z.infer<typeof scheduleChange>;
export type ScheduleRunView = z.infer<typeof scheduleRun>;
