import test from 'ava';
import { exploreHistory } from '../simulation/history.ts';

const states = Number(process.env.BLOCKPORT_SIMULATION_STATES ?? 80);
const firstSeed = Number(process.env.BLOCKPORT_SIMULATION_SEED ?? 1);
const crashesPerSeed = 20;
const seedOfMoments = firstSeed + 1_000_000;
const seedOfOperations = firstSeed + 2_000_000;

test('a history: power loss at any operation, rewinds included, and at random moments before and after it the volume held what is shown', async (t) => {
	t.timeout(60_000 + states * 1000);
	let crashes = 0;
	let moments = 0;
	for (let seed = firstSeed; crashes < states; seed++) {
		const explored = await exploreHistory(seed, 60, crashesPerSeed, 5);
		crashes += explored.crashes;
		moments += explored.moments;
	}
	t.log(`${crashes} crashes, ${moments} moments`);
	t.pass();
});

test('power loss at every operation of a short life that ends with two rewinds', async (t) => {
	t.timeout(180_000);
	const { crashes, moments } = await exploreHistory(seedOfOperations, 4, Infinity, 2);
	t.log(`${crashes} crashes, ${moments} moments`);
	t.true(crashes > 50);
});

test('1,000 random moments of one window: each shows exactly what was acknowledged before it, and nothing that was submitted later', async (t) => {
	t.timeout(180_000);
	const { moments, states: held, beyond } = await exploreHistory(seedOfMoments, 150, 0, 1100);
	t.log(`${moments} moments of ${held} states; ${beyond} were not in the window any more`);
	t.true(moments >= 1000);
});
