import test from 'ava';
import { agreeOnSequences } from '../simulation/agreement.ts';

const runs = Math.ceil(Number(process.env.BLOCKPORT_SIMULATION_STATES ?? 1500) / 10);

test('any sequence of write, trim, flush, flusher cycle, clean restart and kill -9 agrees with a model in memory', async (t) => {
	t.timeout(60_000 + runs * 200);
	await agreeOnSequences(runs);
	t.pass();
});
