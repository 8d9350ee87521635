/** So much of what one session had the sum of more sessions may lack: runs differ by that. */
const sumToleranceShare = 0.1;
const shareMin = 0.5;

/** The smallest and the largest part that a session had, as a share of the mean: 1 is its fair share. */
export function shares(laneOps: readonly number[]): { min: number; max: number } {
	const mean = laneOps.reduce((sum, ops) => sum + ops, 0) / laneOps.length;
	return { min: Math.min(...laneOps) / mean, max: Math.max(...laneOps) / mean };
}

export interface SessionsRun {
	sessions: number;
	iops: number;
	laneOps: readonly number[];
}

/** What is wrong with runs of one load that differ in their number of sessions: a sum below that of fewer sessions, a session that gets too little. */
export function sumFaults(load: string, runs: readonly SessionsRun[]): string[] {
	const faults: string[] = [];
	let best: SessionsRun | undefined;
	for (const run of runs.toSorted((a, b) => a.sessions - b.sessions)) {
		if (best !== undefined && run.iops < best.iops * (1 - sumToleranceShare)) {
			faults.push(`${load}: ${run.iops.toFixed(0)} IOPS with ${run.sessions} sessions, ${best.iops.toFixed(0)} with ${best.sessions}`);
		}
		const { min } = shares(run.laneOps);
		// Written so that no operations at all are a fault too.
		if (!(min >= shareMin)) faults.push(`${load}, ${run.sessions} sessions: one had ${min.toFixed(2)} of its share`);
		if (best === undefined || run.iops > best.iops) best = run;
	}
	return faults;
}
