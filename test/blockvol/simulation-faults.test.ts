import test from 'ava';
import type { Outcome } from '../../src/blockvol/block-device.ts';
import { exploreFaults } from '../simulation/faults.ts';

const runs = Number(process.env.BLOCKPORT_SIMULATION_STATES ?? 400);
const firstSeed = Number(process.env.BLOCKPORT_SIMULATION_SEED ?? 1);
const runsPerSeed = 40;

test('EIO, ENOSPC, failed fsync, short transfers and wrong reads at every operation: legal outcomes, a stated fault, the other volume goes on, nothing promised is lost', async (t) => {
	t.timeout(60_000 + runs * 300);
	let explored = 0;
	let faulted = 0;
	const outcomes = new Map<Outcome, number>();
	for (let seed = firstSeed; explored < runs; seed++) {
		const result = await exploreFaults({ seed, steps: 24, statesMax: Math.min(runsPerSeed, runs - explored) });
		explored += result.runs;
		faulted += result.faulted;
		for (const [outcome, count] of result.outcomes) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + count);
	}
	t.log(
		`${explored} runs with a fault, ${faulted} volumes faulted, ${[...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(', ')}`,
	);
	t.true(faulted > 0);
	for (const outcome of ['noSpace', 'mediumError', 'faulted'] as const) t.true((outcomes.get(outcome) ?? 0) > 0, outcome);
});
