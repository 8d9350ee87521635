import { z } from 'zod';

export const event = z.object({
	sequence: z.int().describe('Grows by one with each event, over restarts too.'),
	at: z.string(),
	severity: z.enum(['info', 'warning', 'error']),
	kind: z.string().describe('For programs: snapshot-made, schedule-failed, …'),
	message: z.string(),
	volume: z.string().optional(),
	snapshot: z.string().optional(),
	schedule: z.string().optional(),
});

export const events = z.object({ events: z.array(event) });

export const eventQuery = z.strictObject({
	after: z.coerce.number<string>().int().nonnegative().default(0).describe('Only events with a higher sequence number.'),
	limit: z.coerce.number<string>().int().min(1).max(1000).default(1000),
});

export type EventView = z.infer<typeof event>;
