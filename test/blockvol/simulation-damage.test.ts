import test from 'ava';
import { exploreDamage } from '../simulation/damage.ts';

const runs = Number(process.env.BLOCKPORT_SIMULATION_STATES ?? 1000);

test('a bit flipped at rest in layer, map or superblock: right data, a medium error or a refusal, never wrong data', async (t) => {
	t.timeout(60_000 + runs * 100);
	let explored = 0;
	let unreadableBlocks = 0;
	for (let seed = 1; explored < runs; seed++) {
		const result = await exploreDamage(seed, 100);
		explored += Math.max(1, result.runs);
		unreadableBlocks += result.unreadableBlocks;
	}
	t.log(`${explored} flipped bits, ${unreadableBlocks} blocks unreadable`);
	t.true(unreadableBlocks > 0);
});
