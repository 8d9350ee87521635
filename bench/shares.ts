import { median } from './table.ts';

/** So much of what one session had the sum of more sessions may lack: runs differ by that. */
const sumToleranceShare = 0.1;
const shareMin = 0.5;

/** The smallest and the largest part that a session had, as a share of the mean: 1 is its fair share. */
export function shares(laneOps: readonly number[]): { min: number; max: number } {
	const mean = laneOps.reduce((sum, ops) => sum + ops, 0) / laneOps.length;
	return { min: Math.min(...laneOps) / mean, max: Math.max(...laneOps) / mean };
}

/** A load with so many sessions, in rounds: those of one number were measured one after the other, so that the disk and the machine were the same to all. */
export interface SessionsRun {
	sessions: number;
	rounds: readonly { iops: number; laneOps: readonly number[] }[];
}

/** The median, over the rounds, of what one run had for each operation of another. */
export function sumRatio(of: SessionsRun, over: SessionsRun): number {
	return median(of.rounds.map(({ iops }, round) => iops / over.rounds[round]!.iops));
}

/** The smallest and the largest share that a session had in any round. */
export function sharesInAll({ rounds }: SessionsRun): { min: number; max: number } {
	const each = rounds.map(({ laneOps }) => shares(laneOps));
	return { min: Math.min(...each.map(({ min }) => min)), max: Math.max(...each.map(({ max }) => max)) };
}

/** What is wrong with runs of one load that differ in their number of sessions: a sum below that of fewer sessions, a session that gets too little. */
export function sumFaults(load: string, runs: readonly SessionsRun[]): string[] {
	const faults: string[] = [];
	const ascending = runs.toSorted((a, b) => a.sessions - b.sessions);
	for (const [at, run] of ascending.entries()) {
		for (const fewer of ascending.slice(0, at)) {
			const ratio = sumRatio(run, fewer);
			// Written so that no operations at all are a fault too.
			if (!(ratio >= 1 - sumToleranceShare))
				faults.push(`${load}: ${ratio.toFixed(2)} times the IOPS with ${run.sessions} sessions as with ${fewer.sessions}`);
		}
		const { min } = sharesInAll(run);
		if (!(min >= shareMin)) faults.push(`${load}, ${run.sessions} sessions: one had ${min.toFixed(2)} of its share`);
	}
	return faults;
}
