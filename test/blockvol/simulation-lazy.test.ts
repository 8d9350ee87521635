import test from 'ava';
import { explore } from '../simulation/power-loss.ts';

const states = Number(process.env.BLOCKPORT_SIMULATION_STATES ?? 240);
const firstSeed = Number(process.env.BLOCKPORT_SIMULATION_SEED ?? 1);
/** States of one workload: another workload finds more than another crash of the same one. */
const statesPerSeed = 40;

test('a lazily restored volume, power loss and kill at every disk operation: it reads for ever what the archive holds, and over it what was acknowledged', async (t) => {
	t.timeout(60_000 + states * 200);
	let explored = 0;
	let operations = 0;
	for (let seed = firstSeed; explored < states; seed++) {
		const result = await explore({ seed, steps: 40, depth: 3, statesMax: Math.min(statesPerSeed, states - explored), isLazy: true });
		explored += result.states;
		operations += result.operations;
	}
	t.log(`${explored} states after crashes, ${operations} operations before them`);
	t.pass();
});
