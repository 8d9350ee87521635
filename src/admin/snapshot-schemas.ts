import { z } from 'zod';
import { volume } from './schemas.ts';

const name = z.string().max(512);
const bytes = z.int().nonnegative();

export const mountPlace = z.union([z.object({ target: name, lun: z.int() }), z.object({ subsystem: name, nsid: z.int() })]);

export const snapshot = z.object({
	volume: name,
	name,
	id: z.int().describe('Of this snapshot alone: a later one of the same name has another.'),
	at: z.string().describe('When it was made. Everything that was acknowledged before is in it.'),
	sizeBytes: bytes.describe('Of the volume at that moment.'),
	parent: name.optional().describe('The snapshot that it stands on.'),
	schedule: name.optional().describe('Which made it, and will delete it.'),
	mounts: z.array(mountPlace),
});

export const snapshots = z.object({ snapshots: z.array(snapshot) });

export const newSnapshot = z.strictObject({
	volumes: z.array(name).min(1).max(64).describe('With several volumes it is one moment of all of them.'),
	name: name.describe("Letters, digits, '.', '_' and '-', at most 63."),
});

export const mount = z.strictObject({
	target: name.optional(),
	lun: z.int().optional().describe('The lowest free one if absent.'),
	subsystem: name.optional(),
	nsid: z.int().optional(),
});

export const restore = z
	.strictObject({
		keepLiveAs: name.optional().describe('The name of a snapshot that keeps what is in the volume now. Without it that is lost.'),
	})
	.nullish();

export const restored = volume.extend({
	told: z
		.object({ sessions: z.int(), controllers: z.int() })
		.describe(
			'Who used the volume meanwhile and was told that it is another one now: iSCSI sessions by a unit attention, NVMe controllers by an event.',
		),
});

export const newClone = z.strictObject({ name: name.describe('Of the new volume.') });

export const changes = z.object({
	from: name.optional(),
	to: name.optional().describe('Absent: what is in the volume now.'),
	fromLSN: z.int().describe('Where the log was at the first: what is told was written at it or behind it.'),
	toLSN: z.int().optional().describe('And before this one.'),
	changedBytes: bytes,
	truncated: z.boolean().describe('There are more ranges than the list has.'),
	ranges: z.array(z.object({ offsetBytes: bytes, lengthBytes: bytes })),
});

export const changesQuery = z.strictObject({
	to: name.optional(),
	limit: z.coerce.number<string>().int().min(0).max(100_000).default(10_000),
});

export const merge = z.object({
	isMerging: z.boolean().describe('What deleted snapshots or a flattened clone leave is being put in its place.'),
	done: z.number().optional().describe('0 to 1, of the layer that is under way; there may be more.'),
});

export const space = z.object({
	volume: name,
	referencedBytes: bytes.describe('Of the pages that the volume shows.'),
	exclusiveBytes: bytes.describe('Of those that no snapshot holds: what a restore to the newest snapshot would give back.'),
	totalBytes: bytes.describe('Of all pages of the volume and its snapshots; maps and log come on top.'),
	snapshots: z.array(z.object({ name, referencedBytes: bytes, exclusiveBytes: bytes.describe('What its deletion gives back.') })),
});

export const snapshotParameters = z.object({ volume: name, snapshot: name });

export type SnapshotView = z.infer<typeof snapshot>;
export type MountPlaceView = z.infer<typeof mountPlace>;
export type MountWish = z.infer<typeof mount>;
export type NewSnapshot = z.infer<typeof newSnapshot>;
export type RestoredView = z.infer<typeof restored>;
export type RestoreWish = NonNullable<z.infer<typeof restore>>;
export type SpaceView = z.infer<typeof space>;
export type MergeView = z.infer<typeof merge>;
export type ChangesView = z.infer<typeof changes>;
