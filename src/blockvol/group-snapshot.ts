import type { SnapshotAttempt, SnapshotInfo } from './snapshots.ts';
import { VolumeUsageError } from './volume-fault.ts';

/** What a volume gives to a group. */
export interface GroupMember {
	readonly uuid: string;
	/** Prepares a snapshot and calls `work`, which appends or cancels it. */
	attemptSnapshot<T>(name: string, work: (attempt: SnapshotAttempt) => Promise<T>): Promise<T>;
	deleteSnapshot(name: string): Promise<void>;
}

/**
 * Snapshots of several volumes at one moment: each write to any of them is before it or after it, in all of them. So what is acknowledged on one volume before something is
 * written to another is in the group's snapshots if that is. All volumes are prepared first, and the records are appended in one turn, in which no command of any volume can
 * come in between. Answers in the order of the volumes when all are durable. Rejects as Volume.createSnapshot does; then no volume keeps one.
 */
export async function createGroupSnapshot(volumes: readonly GroupMember[], name: string): Promise<SnapshotInfo[]> {
	if (volumes.length === 0 || new Set(volumes.map(({ uuid }) => uuid)).size !== volumes.length)
		throw new VolumeUsageError('a group has at least one volume, and none twice');
	// In the same order whoever asks: two groups that have volumes in common never wait for each other in a circle.
	const ordered = volumes.toSorted((a, b) => (a.uuid < b.uuid ? -1 : 1));
	const outcomes = await prepare(ordered, name, []);
	const failed = outcomes.find((outcome) => outcome.status === 'rejected');
	if (failed !== undefined) {
		const made = ordered.filter((_, at) => outcomes[at]?.status === 'fulfilled');
		await Promise.allSettled(made.map((volume) => volume.deleteSnapshot(name)));
		throw failed.reason;
	}
	const infos = new Map(ordered.map(({ uuid }, at) => [uuid, (outcomes[at] as PromiseFulfilledResult<SnapshotInfo>).value]));
	return volumes.map(({ uuid }) => infos.get(uuid) as SnapshotInfo);
}

async function prepare(
	left: readonly GroupMember[],
	name: string,
	attempts: readonly SnapshotAttempt[],
): Promise<PromiseSettledResult<SnapshotInfo>[]> {
	const [volume, ...others] = left;
	if (volume === undefined) return append(attempts);
	return volume.attemptSnapshot(name, async (attempt) => {
		try {
			return await prepare(others, name, [...attempts, attempt]);
		} catch (error) {
			await attempt.cancel();
			throw error;
		}
	});
}

async function append(attempts: readonly SnapshotAttempt[]): Promise<PromiseSettledResult<SnapshotInfo>[]> {
	for (let waiting = firstUnready(attempts); waiting !== undefined; waiting = firstUnready(attempts)) await waiting.changed();
	for (const attempt of attempts) attempt.append();
	return Promise.allSettled(attempts.map((attempt) => attempt.durable));
}

function firstUnready(attempts: readonly SnapshotAttempt[]): SnapshotAttempt | undefined {
	return attempts.find((attempt) => !attempt.isReady());
}
