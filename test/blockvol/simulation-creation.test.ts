import test from 'ava';
import { exploreCreation } from '../simulation/creation.ts';

test('a crash at every operation of creation: no volume, said in words, or a sound empty one; a finished creation survives', async (t) => {
	let refused = 0;
	let opened = 0;
	for (let seed = 1; seed <= 12; seed++) {
		const result = await exploreCreation(seed, 3);
		refused += result.refused;
		opened += result.opened;
	}
	t.log(`${refused} refused, ${opened} opened`);
	t.true(refused > 0);
	t.true(opened > 0);
});
