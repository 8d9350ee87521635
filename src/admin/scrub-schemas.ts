import { z } from 'zod';

const name = z.string().max(512);
const count = z.int().nonnegative();

export const scrub = z.object({
	volume: name,
	state: z.enum(['idle', 'waiting', 'running']).describe('waiting: another volume is being scrubbed.'),
	done: z.number().optional().describe('0 to 1, of the part that was left when it began or went on.'),
	startedAt: z.string().optional(),
	bytesPerSecond: z.int().optional(),
	pages: count.optional().describe('Compared so far.'),
	findings: count.optional(),
	repaired: count.optional(),
	fault: z.string().optional().describe('Why the last one stopped in the middle; it goes on where it was when it is asked for again.'),
	last: z
		.object({ startedAt: z.string(), finishedAt: z.string(), pages: count, findings: count, repaired: count })
		.optional()
		.describe('The last that came to its end.'),
	found: z
		.array(
			z.object({
				layer: z.int(),
				isLive: z.boolean().describe('False: of a snapshot.'),
				page: z.int(),
				lba: z.int(),
				kind: z.enum(['data', 'map', 'unreadable']),
				isRepaired: z.boolean(),
				repair: z.string().optional().describe('Where the page came from, or why none was found that is sure to be what was there.'),
			}),
		)
		.describe('What was found since the start of the process in the run that goes on or the last one; at most 100 are listed.'),
	cron: z.string().optional(),
	zone: z.string().optional(),
	next: z.string().optional(),
});

export const newScrub = z.strictObject({ bytesPerSecond: z.int().positive().optional().describe('By default 32 MiB.') }).nullish();

export const scrubTimes = z.strictObject({ cron: z.string().max(512), zone: z.string().max(512).default('UTC') });

export type ScrubView = z.infer<typeof scrub>;
export type NewScrub = NonNullable<z.infer<typeof newScrub>>;
export type ScrubTimes = z.infer<typeof scrubTimes>;
