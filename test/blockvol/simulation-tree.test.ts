import test from 'ava';
import { agreeOnTrees } from '../simulation/tree-agreement.ts';

const runs = Math.ceil(Number(process.env.BLOCKPORT_SIMULATION_STATES ?? 1500) / 10);
const seed = process.env.BLOCKPORT_SIMULATION_SEED;

test('any sequence of write, trim, snapshot, restore, delete, clone, flatten, resize, removal and crash, merges beside it, agrees with a model in memory', async (t) => {
	t.timeout(60_000 + runs * 2000);
	await agreeOnTrees(runs, seed === undefined ? undefined : Number(seed));
	t.pass();
});
