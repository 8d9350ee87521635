import { agreeOnSequences } from './agreement.ts';
import { ArchiveRun } from './archive-run.ts';
import { exploreDamage } from './damage.ts';
import { messageOf } from './failure.ts';
import { exploreFamily } from './family.ts';
import { exploreFaults } from './faults.ts';
import { exploreHistory } from './history.ts';
import { explore } from './power-loss.ts';
import { agreeOnTrees } from './tree-agreement.ts';
import { exploreSanitize } from './sanitize.ts';

/**
 * Runs simulations, a little of each in turn, until one fails; prints which and why, as one line of JSON. Exit code 1: something was found.
 * Run in a copy of the tree with a defect in it. Arguments: simulations that go before the others, all their rounds.
 */
const lanes: readonly { test: string; round: (seed: number) => Promise<unknown> }[] = [
	{ test: 'simulation-power-loss.test.ts', round: (seed) => explore({ seed, steps: 40, depth: 3, statesMax: 150 }) },
	{ test: 'simulation-lazy.test.ts', round: (seed) => explore({ seed, steps: 40, depth: 3, statesMax: 60, isLazy: true }) },
	{ test: 'simulation-family.test.ts', round: (seed) => exploreFamily(seed, 60, 30) },
	{ test: 'simulation-history.test.ts', round: (seed) => exploreHistory(seed, 60, 10, 10) },
	{ test: 'simulation-model.test.ts', round: (seed) => agreeOnSequences(10, seed) },
	{ test: 'simulation-tree.test.ts', round: (seed) => agreeOnTrees(40, seed) },
	{ test: 'simulation-faults.test.ts', round: (seed) => exploreFaults({ seed, steps: 24, statesMax: 25 }) },
	{ test: 'simulation-damage.test.ts', round: (seed) => exploreDamage(seed, 200) },
	{
		test: 'simulation-sanitize.test.ts',
		round: (seed) =>
			exploreSanitize(seed, { method: 'blockErase', passes: 1, invert: false, pattern: new Uint8Array(1), mayExitFailure: false }, 0.2),
	},
	{ test: 'collector-simulation.test.ts', round: collectAndExport },
];

/** Interleavings of exporters and collectors in a round. */
const interleavings = 16;

async function collectAndExport(seed: number): Promise<void> {
	for (let run = (seed - 1) * interleavings; run < seed * interleavings; run++) {
		await new ArchiveRun({ seed: run, canPutIfAbsent: run % 2 === 0 }).run();
	}
}

const rounds = 10;

const first = new Set(process.argv.slice(2));
await hunt(lanes.filter(({ test }) => first.has(test)));
await hunt(lanes.filter(({ test }) => !first.has(test)));
console.log(JSON.stringify({ rounds }));

async function hunt(chosen: typeof lanes): Promise<void> {
	for (let seed = 1; seed <= rounds; seed++) {
		for (const lane of chosen) {
			try {
				await lane.round(seed);
			} catch (error) {
				console.log(JSON.stringify({ test: lane.test, round: seed, why: messageOf(error) }));
				process.exit(1);
			}
		}
	}
}
