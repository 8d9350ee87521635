import test from 'ava';
import { crashUnderBothProtocols } from '../../simulation/protocols.ts';

const states = Number(process.env.BLOCKPORT_SIMULATION_STATES ?? 300);
const firstSeed = Number(process.env.BLOCKPORT_SIMULATION_SEED ?? 1);
const crashesPerSeed = 25;

test('kill and power loss while both protocols write one volume: what either was told is there, across both', async (t) => {
	t.timeout(60_000 + states * 200);
	let crashes = 0;
	let commands = 0;
	for (let seed = firstSeed; crashes < states; seed++) {
		const result = await crashUnderBothProtocols(seed, 80, crashesPerSeed);
		crashes += result.crashes;
		commands += result.commands;
	}
	t.log(`${crashes} states after crashes, ${commands} commands over both protocols`);
	t.true(crashes >= states);
});
