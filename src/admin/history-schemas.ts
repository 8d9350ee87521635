import { z } from 'zod';

const name = z.string().max(512);

export const history = z.object({
	volume: name,
	isOn: z.boolean(),
	windowSeconds: z.number().optional(),
	maxBytes: z.int().optional().describe('Of log that is kept for it.'),
	from: z.string().optional().describe('Every later moment can be shown; absent for a moment after the history was begun.'),
	fromLSN: z.int().optional(),
	toLSN: z.int().optional().describe('Where the log ends now.'),
	heldBytes: z.int().optional().describe('Log that is kept for the history alone.'),
	anchors: z.int().optional().describe('Frozen layers that the log stands on.'),
});

export const newHistory = z.strictObject({
	windowSeconds: z.number().positive().describe('How far back the volume can be put: 1 second to 30 days.'),
	maxBytes: z.int().positive().describe('Of log that may be kept for it: 8 to 1,024 segments of the log (512 MiB to 64 GiB).'),
});

const moment = {
	at: z.iso
		.datetime({ offset: true })
		.optional()
		.describe('Everything that was acknowledged before this millisecond began, and nothing that was submitted in it or later.'),
	lsn: z.int().nonnegative().optional().describe('Or everything whose record in the log lies below.'),
};

export const rewind = z.strictObject({ ...moment, name: name.describe('Of the snapshot that shows it.') });
export const rewindRestore = z.strictObject({ ...moment, keepLiveAs: name.optional().describe('What is live now is kept as a snapshot.') });

export type HistoryView = z.infer<typeof history>;
export type HistoryWish = z.infer<typeof newHistory>;
export type MomentWish = Pick<z.infer<typeof rewind>, 'at' | 'lsn'>;
