import test from 'ava';
import { ArchiveRun, type ArchiveRunResult, noCounts } from '../simulation/archive-run.ts';

/** Each state is one interleaving of two exporters and two collectors; BLOCKPORT_SIMULATION_STATES=10000 goes through more. */
const states = Number(process.env['BLOCKPORT_SIMULATION_STATES'] ?? 200);
const firstSeed = Number(process.env['BLOCKPORT_SIMULATION_SEED'] ?? 1);

for (const [name, canPutIfAbsent] of [
	['a store with conditional puts', true],
	['a store without', false],
] as const) {
	test(`two exporters and two collectors, killed and stalled anywhere, on ${name}: every manifest stays whole, and no orphan is left`, async (t) => {
		t.timeout(30 * 60_000);
		const total = noCounts();
		for (let seed = firstSeed; seed < firstSeed + states / 2; seed++) {
			const result = await new ArchiveRun({ seed, canPutIfAbsent }).run();
			for (const key of Object.keys(total) as (keyof ArchiveRunResult)[]) total[key] += result[key];
		}
		t.log(JSON.stringify(total));
		// That it has met what it is about.
		t.true(total.exports >= (states / 2) * 8);
		t.true(total.deletedObjects > states * 4);
		for (const key of ['kills', 'replaced', 'takenOver', 'cameBack', 'busy', ...(canPutIfAbsent ? (['revoked'] as const) : [])] as const)
			t.true(total[key] > 0, key);
	});
}
