import test from 'ava';
import { exploreFamily } from '../simulation/family.ts';

const states = Number(process.env.BLOCKPORT_SIMULATION_STATES ?? 160);
const firstSeed = Number(process.env.BLOCKPORT_SIMULATION_SEED ?? 1);
const crashesPerSeed = 20;

test('random trees of snapshots and clones, with a crash at any operation of merges, restores, clones and flattenings: everything reads as it must, no file is lost, link counts are right', async (t) => {
	t.timeout(60_000 + states * 500);
	let crashes = 0;
	let snapshots = 0;
	for (let seed = firstSeed; crashes < states; seed++) {
		// Every eighth is a tree of some fifty snapshots and clones.
		const explored = await exploreFamily(seed, seed % 8 === 0 ? 300 : 60, crashesPerSeed);
		crashes += explored.crashes;
		snapshots += explored.snapshots;
	}
	t.log(`${crashes} crashes, ${snapshots} snapshots at the ends`);
	t.pass();
});
