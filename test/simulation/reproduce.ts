import { parseArgs } from 'node:util';
import { exploreDamage } from './damage.ts';
import { exploreFaults } from './faults.ts';
import { explore } from './power-loss.ts';

/** Runs one simulation again, as the message of a failure says. */
const { positionals, values } = parseArgs({
	allowPositionals: true,
	options: {
		seed: { type: 'string' },
		steps: { type: 'string', default: '40' },
		depth: { type: 'string', default: '2' },
		path: { type: 'string' },
		states: { type: 'string', default: 'Infinity' },
	},
});

const seed = Number(values.seed);
const steps = Number(values.steps);
const statesMax = Number(values.states);
const path = values.path?.split('/').map(Number);
const only = path === undefined ? {} : { path };

if (positionals[0] === 'lazy') console.log(await explore({ seed, steps, depth: Number(values.depth), statesMax, isLazy: true, ...only }));
else if (positionals[0] === 'power-loss') console.log(await explore({ seed, steps, depth: Number(values.depth), statesMax, ...only }));
else if (positionals[0] === 'faults') console.log(await exploreFaults({ seed, steps, statesMax, ...only }));
else if (positionals[0] === 'damage') console.log(await exploreDamage(seed, 100));
else console.error('say power-loss, lazy, faults or damage');
