import { CronTimes } from './cron-times.ts';
import { expand, freeName } from './name-template.ts';
import { type Policy, policyFault } from './policy.ts';
import { type Dated, kept } from './retention.ts';

/** A snapshot as the planner sees it. */
export interface SnapshotFact extends Dated {
	/** This schedule has made it. */
	readonly own: boolean;
	/** Somebody reads it or stands on it: it is not deleted now. */
	readonly inUse: boolean;
}

export interface VolumeFact {
	readonly volume: string;
	readonly snapshots: readonly SnapshotFact[];
}

export interface PlanInput {
	readonly policy: Policy;
	/** Milliseconds since 1970. */
	readonly nowMs: number;
	/** Up to which moment the schedule has been seen to; at first, when it was made. */
	readonly seenMs: number;
	/** The volumes that are snapped in one moment. */
	readonly volumes: readonly VolumeFact[];
}

export interface Plan {
	/** One snapshot of all volumes, due since dueMs: once, however often its time has come since seenMs. */
	readonly create: { readonly name: string; readonly dueMs: number } | undefined;
	/** Oldest first. */
	readonly deletions: readonly { readonly volume: string; readonly name: string }[];
	/** What seenMs becomes now if nothing has to be made: a clock that was set back is followed. */
	readonly seenMs: number;
	/** When there is something to do next. */
	readonly nextMs: number | undefined;
}

/**
 * What a schedule has to do now: a pure function. Deletions look at what is there, not at what is about to be made, so a snapshot that cannot be made costs none; whoever has
 * made one plans again.
 *
 * Never deleted: what the schedule did not make, what is in use, the newest of its own in each volume, anything while the policy has a fault (which is what comes back then).
 */
export function plan({ policy, nowMs, seenMs, volumes }: PlanInput): Plan | { readonly fault: string } {
	const fault = policyFault(policy);
	if (fault !== undefined) return { fault };
	const times = new CronTimes(policy.cron, policy.zone);
	const deletions = volumes.flatMap(({ volume, snapshots }) => superfluous(policy, snapshots).map((name) => ({ volume, name })));
	const nextMs = times.after(nowMs);
	// The clock was set back: to wait until it is where it was might take years.
	if (seenMs > nowMs) return { create: undefined, deletions, seenMs: nowMs, nextMs };
	const dueMs = times.atOrBefore(nowMs);
	if (dueMs === undefined || dueMs <= seenMs) return { create: undefined, deletions, seenMs, nextMs };
	const taken = new Set(volumes.flatMap(({ snapshots }) => snapshots.map(({ name }) => name)));
	const name = freeName(expand(policy.template, policy.name, nowMs), (one) => taken.has(one));
	return { create: { name, dueMs }, deletions, seenMs, nextMs };
}

function superfluous({ keep, zone }: Policy, snapshots: readonly SnapshotFact[]): string[] {
	const own = snapshots.filter((snapshot) => snapshot.own).toSorted((a, b) => a.order - b.order);
	const newest = own.at(-1);
	const needed = kept(own, keep, zone);
	return own.filter((one) => one !== newest && !one.inUse && !needed.has(one.name)).map(({ name }) => name);
}
